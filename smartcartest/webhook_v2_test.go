package smartcartest_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seed-498a1bc4/smartcar/smartcartest"
)

func TestWebhookOldVerify(t *testing.T) {
	a := v3(t)
	r := &receiver{key: a.sim.ManagementToken()}
	_, err := a.sim.AddWebhook(t.Context(), smartcartest.Webhook{CallbackURL: "https://h/", Version: "2.0", Handler: r})
	require.NoError(t, err)
	e := r.take(t)[0]
	require.Equal(t, "2.0", e["version"])
	require.Equal(t, "verify", e["eventName"])
	require.NotEmpty(t, at(e, "payload", "challenge"))
}

func TestWebhookVersion2(t *testing.T) {
	a, r, id := hooked(t, smartcartest.Webhook{Version: "2.0", Data: []string{"/charge", "/tesla/virtual_key", "/fuel", "/unknown"}})
	require.NoError(t, a.sim.Subscribe(id, smartcartest.Model3))
	require.NoError(t, a.sim.Subscribe(id, modelY))
	require.Len(t, a.deliver(), 2)
	require.Equal(t, mac(a.sim.ManagementToken(), r.got[0].body), r.got[0].header.Get("SC-Signature"))
	events := r.take(t)
	require.Equal(t, "2.0", events[0]["version"])
	require.Equal(t, "scheduled", events[0]["eventName"])
	require.Equal(t, "live", events[0]["mode"])
	data := at(events[0], "payload", "vehicles", 0, "data")
	require.Equal(t, map[string]any{"isPluggedIn": true, "state": "FULLY_CHARGED"}, at(data, 0, "body"))
	require.InDelta(t, 200, at(data, 0, "code"), 0)
	require.NotEmpty(t, at(data, 0, "headers", "sc-data-age"))
	require.InDelta(t, 501, at(data, 2, "code"), 0)
	require.InDelta(t, 404, at(data, 3, "code"), 0)
	keyless := at(events[1], "payload", "vehicles", 0, "data")
	require.Equal(t, "VIRTUAL_KEY_REQUIRED", at(keyless, 0, "body", "code"))
	require.Equal(t, map[string]any{"isPaired": false}, at(keyless, 1, "body"))
	require.Empty(t, a.deliver())
	_, err := a.sim.TestWebhook(t.Context(), id, "")
	require.NoError(t, err)
	require.Equal(t, "test", r.take(t)[0]["mode"])
}

func TestWebhookVersion2Charging(t *testing.T) {
	a, r, id := hooked(t, smartcartest.Webhook{Version: "2.0", EventName: "eventBased", Variants: smartcartest.WebhookVariants{SwappedMode: true}})
	require.NoError(t, a.sim.Subscribe(id, smartcartest.Model3))
	require.Empty(t, a.deliver())
	a.post(v3car(smartcartest.Model3, "/commands/charge/set-limit"), `{"data":{"attributes":{"percent":90}}}`).ok(nil)
	a.post(v3car(smartcartest.Model3, "/commands/charge/start"), "").ok(nil)
	a.sim.Advance(30 * time.Minute)
	a.post(v3car(smartcartest.Model3, "/commands/charge/stop"), "").ok(nil)
	a.post(v3car(smartcartest.Model3, "/commands/charge/start"), "").ok(nil)
	a.sim.Advance(10 * time.Hour)
	require.Len(t, a.deliver(), 4)
	var kinds []any
	for _, e := range r.take(t) {
		require.Equal(t, "eventBased", e["eventName"])
		require.Equal(t, "LIVE", e["mode"])
		kinds = append(kinds, at(e, "payload", "eventType"))
	}
	require.Equal(t, []any{"CHARGING_STARTED", "CHARGING_STOPPED", "CHARGING_STARTED", "CHARGING_COMPLETED"}, kinds)
	_, err := a.sim.TestWebhook(t.Context(), id, "")
	require.NoError(t, err)
	require.Equal(t, "CHARGING_STARTED", at(r.take(t)[0], "payload", "eventType"))
}
