package smartcartest_test

import (
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seed-498a1bc4/smartcar/smartcartest"
)

func TestWebhookVectors(t *testing.T) {
	require.Equal(t, "9baf5a7464bd86740ad5a06e439dcf535a075022ed2c92d74efacf646d79328e", mac("amt", []byte("challenge")))
	a := newAPI(t)
	r := &receiver{key: "amt"}
	_, err := a.sim.AddWebhook(t.Context(), smartcartest.Webhook{CallbackURL: "https://example.com/h", Token: "amt", Handler: r})
	require.NoError(t, err)
}

func TestWebhookVerify(t *testing.T) {
	a := v3(t)
	r := &receiver{key: "wrong"}
	w := smartcartest.Webhook{ID: "wh_1", Name: "Mine", CallbackURL: "https://example.com/hook?x=1", Handler: r, AutoSubscribe: true}
	_, err := a.sim.AddWebhook(t.Context(), w)
	require.ErrorContains(t, err, "not the HMAC")
	require.Empty(t, a.deliver(), "not verified, so nothing flows")
	r.key = a.sim.ManagementToken()
	for status, want := range map[int]string{201: "want 200", 302: "want 200", 500: "want 200"} {
		r.statuses = []int{status}
		require.ErrorContains(t, a.sim.VerifyWebhook(t.Context(), "wh_1"), want)
	}
	r.silent = true
	require.ErrorContains(t, a.sim.VerifyWebhook(t.Context(), "wh_1"), "no JSON")
	r.silent = false
	r.take(t)
	require.NoError(t, a.sim.VerifyWebhook(t.Context(), "wh_1"))
	require.Empty(t, r.got[0].header.Get("SC-Signature"), "VERIFY is not signed")
	require.Equal(t, "application/json", r.got[0].header.Get("Content-Type"))
	require.Contains(t, r.got[0].header.Get("User-Agent"), "Smartcar/")
	e := r.take(t)[0]
	require.Equal(t, "VERIFY", e["eventType"])
	require.Equal(t, "4.0", at(e, "meta", "version"))
	require.Equal(t, "wh_1", at(e, "meta", "webhookId"))
	require.Equal(t, "Mine", at(e, "meta", "webhookName"))
	require.IsType(t, "", at(e, "meta", "deliveredAt"))
	require.NotEmpty(t, a.deliver())

	_, err = a.sim.AddWebhook(t.Context(), w)
	require.ErrorContains(t, err, "exists")
	for _, bad := range []smartcartest.Webhook{
		{}, {CallbackURL: "https://h/", Version: "3.0"}, {CallbackURL: "https://h/", Data: []string{"unknown"}},
	} {
		_, err = a.sim.AddWebhook(t.Context(), bad)
		require.ErrorContains(t, err, "smartcartest: ")
	}
	require.Error(t, a.sim.VerifyWebhook(t.Context(), "unknown"))
}

func TestWebhookDisabled(t *testing.T) {
	a, r, id := hooked(t, smartcartest.Webhook{AutoSubscribe: true}, smartcartest.WithCars(smartcartest.Car{ID: "x", Make: "FORD"}))
	require.Len(t, a.deliver(), 1, "subscribed by itself")
	require.NoError(t, a.sim.EnableWebhook(id, false))
	a.post(v3car("x", "/commands/security/unlock"), "").ok(nil)
	require.Empty(t, a.deliver())
	r.take(t)
	require.NoError(t, a.sim.EnableWebhook(id, true))
	require.Len(t, a.deliver(), 1)
	require.Equal(t, "FIRST_DELIVERY", at(r.take(t)[0], "triggers", 0, "type"))
	a.sim.Disconnect("x")
	a.sim.Advance(2 * time.Hour)
	require.Empty(t, a.deliver(), "the subscription went with the connection")
	a.answer(a.authorize(nil), url.Values{"decision": {"grant"}})
	require.Len(t, a.deliver(), 1)
	require.Error(t, a.sim.EnableWebhook("unknown", true))
	require.Error(t, a.sim.Subscribe(id, "unknown"))
}
