package smartcartest_test

import (
	"context"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seed-498a1bc4/smartcar/smartcartest"
)

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

func TestWebhookOverASocket(t *testing.T) {
	a := v3(t)
	r := &receiver{key: a.sim.ManagementToken()}
	srv := httptest.NewServer(r)
	defer srv.Close()
	id, err := a.sim.AddWebhook(t.Context(), smartcartest.Webhook{CallbackURL: srv.URL + "/hook"})
	require.NoError(t, err)
	require.NoError(t, a.sim.Subscribe(id, smartcartest.MachE))
	require.Len(t, a.deliver(), 1)
	srv.Close()
	a.sim.Advance(2 * time.Hour)
	sent := a.deliver()
	require.Len(t, sent, 1)
	require.Error(t, sent[0].Err)
	require.False(t, sent[0].Retry.IsZero())
}

func TestWebhookTiming(t *testing.T) {
	a, r, id := hooked(t, smartcartest.Webhook{}, smartcartest.WithWebhookTiming(time.Minute, time.Second))
	require.NoError(t, a.sim.Subscribe(id, smartcartest.MachE))
	r.statuses = []int{500, 500}
	require.Len(t, a.deliver(), 1)
	a.sim.Advance(time.Second)
	sent := a.deliver()
	require.Len(t, sent, 1)
	require.Equal(t, 2, sent[0].Attempt)
	require.True(t, sent[0].Retry.IsZero(), "one retry, no more")
}

func TestWebhookDeliverEndsWithItsContext(t *testing.T) {
	a, r, id := hooked(t, smartcartest.Webhook{})
	require.NoError(t, a.sim.Subscribe(id, modelY))
	require.NoError(t, a.sim.Pair(modelY))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	sent, err := a.sim.Deliver(ctx)
	require.ErrorIs(t, err, context.Canceled)
	require.Empty(t, sent)
	require.ErrorIs(t, a.sim.RunWebhooks(ctx, 0), context.Canceled)
	require.Empty(t, r.take(t))
	require.Len(t, a.deliver(), 3, "nothing was lost")

	// What waits for its retry goes with the subscription.
	r.statuses = []int{500}
	require.NoError(t, a.sim.Unpair(modelY))
	require.Len(t, a.deliver(), 1)
	a.sim.Disconnect(modelY)
	a.sim.Advance(time.Hour)
	require.Empty(t, a.deliver())
}

func TestWebhookConcurrentDeliveries(t *testing.T) {
	a, r, _ := hooked(t, smartcartest.Webhook{AutoSubscribe: true})
	var wait sync.WaitGroup
	for range 8 {
		wait.Go(func() {
			if _, err := a.sim.Deliver(t.Context()); err != nil {
				t.Error(err)
			}
			_ = a.sim.Pair(smartcartest.Cybertruck)
			_ = a.sim.Deliveries()
		})
	}
	wait.Wait()
	a.deliver()
	seen := map[any]bool{}
	for _, e := range r.take(t) {
		require.False(t, seen[e["eventId"]], "each once")
		seen[e["eventId"]] = true
	}
	require.GreaterOrEqual(t, len(seen), 7)
}
