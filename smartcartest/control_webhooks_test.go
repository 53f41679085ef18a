package smartcartest_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/seed-498a1bc4/smartcar/smartcartest"
)

func TestControlWebhooks(t *testing.T) {
	a := connected(t, stopped(), smartcartest.WithControl())
	r := &receiver{key: a.sim.ManagementToken()}
	srv := httptest.NewServer(r)
	defer srv.Close()
	type state struct {
		ID, Name          string
		Verified, Enabled bool
		Subscriptions     []string
	}
	var made struct {
		Webhook state
		Error   string
	}
	create := func(body string) answer { return a.post("/_sim/webhooks", body) }
	res := create(`{"name":"Mine","callbackUri":"` + srv.URL + `","variants":{"isoTimes":true}}`)
	require.Equal(t, http.StatusCreated, res.status)
	require.NoError(t, json.Unmarshal(res.body, &made))
	require.True(t, made.Webhook.Verified && made.Webhook.Enabled)
	require.Empty(t, made.Error)
	id := made.Webhook.ID
	require.Equal(t, 400, create(`{}`).status)
	require.Equal(t, 400, create(`[`).status)

	press := func(what, body string) answer { return a.post("/_sim/webhooks/"+id+"/"+what, body) }
	press("subscribe", `{"vehicleId":"`+modelY+`"}`).ok(nil)
	a.post("/_sim/cars/"+modelY+"/pair", "").ok(nil)
	var sent struct{ Deliveries []map[string]any }
	a.post("/_sim/deliveries", "").ok(&sent)
	require.Len(t, sent.Deliveries, 3, "the missing key, the key, and the first delivery")
	r.take(t)
	press("test", "").ok(nil)
	e := r.take(t)[0]
	require.Equal(t, "TEST", at(e, "meta", "mode"))
	require.IsType(t, "", at(e, "meta", "deliveredAt"))
	press("verify", "").ok(nil)
	press("disable", "").ok(nil)
	var all struct{ Webhooks []state }
	a.get("/_sim/webhooks").ok(&all)
	require.Len(t, all.Webhooks, 1)
	require.False(t, all.Webhooks[0].Enabled)
	require.Equal(t, []string{modelY}, all.Webhooks[0].Subscriptions)
	press("enable", "").ok(nil)
	a.get("/_sim/deliveries").ok(&sent)
	require.Len(t, sent.Deliveries, 6)
	srv.Close()
	require.Equal(t, 409, press("test", "").status)
	require.Equal(t, 409, press("subscribe", `{"vehicleId":"unknown"}`).status)
	require.Equal(t, 404, press("explode", "").status)
	require.Equal(t, 400, press("test", "[").status)
	require.Equal(t, http.StatusCreated, create(`{"callbackUri":"`+srv.URL+`"}`).status, "not verified, but there")
}
