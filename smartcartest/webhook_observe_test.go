package smartcartest_test

import (
	"maps"
	"net/url"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seed-498a1bc4/smartcar/smartcartest"
)

func TestWebhookState(t *testing.T) {
	a, r, id := hooked(t, smartcartest.Webhook{Triggers: []string{"charge-ischarging", "closure-islocked"}, Data: []string{
		"tractionbattery-stateofcharge", "vehicleidentification-vin", "charge-chargerate", "internalcombustionengine-range",
	}})
	a.answer(a.authorize(url.Values{"external_id": {"acct_42"}}), url.Values{"decision": {"grant"}})
	require.Empty(t, a.deliver(), "nobody is subscribed")
	require.NoError(t, a.sim.Subscribe(id, smartcartest.Model3))
	require.NoError(t, a.sim.Subscribe(id, smartcartest.Model3))
	sent := a.deliver()
	require.Len(t, sent, 1)
	require.True(t, sent[0].Succeeded())
	require.Equal(t, r.got[0].body, sent[0].Body)
	require.Equal(t, mac(a.sim.ManagementToken(), r.got[0].body), r.got[0].header.Get("SC-Signature"))
	e := r.take(t)[0]
	require.Equal(t, "VEHICLE_STATE", e["eventType"])
	require.Equal(t, []any{map[string]any{"type": "FIRST_DELIVERY"}}, e["triggers"])
	require.Equal(t, map[string]any{"id": a.sim.UserID(), "externalId": "acct_42"}, at(e, "data", "user"))
	require.Equal(t, smartcartest.Model3, at(e, "data", "vehicle", "id"))
	require.Equal(t, "live", at(e, "data", "vehicle", "mode"))
	require.Equal(t, "LIVE", at(e, "meta", "mode"))
	require.InDelta(t, 4, at(e, "meta", "signalCount"), 0)
	require.InDelta(t, float64(a.sim.Now().UnixMilli()), at(e, "meta", "deliveredAt"), 0)
	require.Equal(t, map[string]any{
		"code": "tractionbattery-stateofcharge", "name": "StateOfCharge", "group": "TractionBattery", "status": map[string]any{"value": "SUCCESS"},
		"body": map[string]any{"value": 80.0, "unit": "percent"},
		"meta": map[string]any{
			"oemUpdatedAt": float64(a.sim.Now().Truncate(time.Minute).UnixMilli()), "retrievedAt": float64(a.sim.Now().Truncate(time.Minute).UnixMilli()),
		},
	}, at(e, "data", "signals", 0))
	require.InDelta(t, 0, at(e, "data", "signals", 1, "meta", "oemUpdatedAt"), 0, "as seen for the VIN")
	require.Equal(t, map[string]any{"type": "VEHICLE_STATE", "code": "NOT_CHARGING"}, at(e, "data", "signals", 2, "status", "error"))
	require.InDelta(t, 30, at(e, "data", "signals", 2, "body", "value"), 0, "an old value beside the error")
	require.Equal(t, "VEHICLE_NOT_CAPABLE", at(e, "data", "signals", 3, "status", "error", "code"))
	require.Nil(t, at(e, "data", "signals", 3, "body"))

	require.Empty(t, a.deliver(), "nothing has changed")
	a.sim.Advance(time.Hour)
	require.Empty(t, a.deliver(), "the battery is no trigger")
	a.post(v3car(smartcartest.Model3, "/commands/security/unlock"), "").ok(nil)
	a.post(v3car(smartcartest.Model3, "/commands/charge/set-limit"), `{"data":{"attributes":{"percent":90}}}`).ok(nil)
	a.post(v3car(smartcartest.Model3, "/commands/charge/start"), "").ok(nil)
	require.Len(t, a.deliver(), 2)
	events := r.take(t)
	require.Equal(t, []any{map[string]any{"type": "SIGNAL_UPDATED", "signal": map[string]any{"code": "closure-islocked", "name": "IsLocked", "group": "Closure"}}}, events[0]["triggers"])
	require.Equal(t, "charge-ischarging", at(events[1], "triggers", 0, "signal", "code"))
	require.Greater(t, at(events[1], "meta", "sequence"), at(events[0], "meta", "sequence"))
	require.NotEqual(t, events[0]["eventId"], events[1]["eventId"])
}

func TestWebhookVirtualKey(t *testing.T) {
	a, r, id := hooked(t, smartcartest.Webhook{ErrorCallbackURL: "https://example.com/errors", Data: []string{"odometer-traveleddistance"}})
	require.NoError(t, a.sim.Subscribe(id, modelY))
	require.Len(t, a.deliver(), 1)
	require.Equal(t, "/errors", r.got[0].path)
	require.Equal(t, mac(a.sim.ManagementToken(), r.got[0].body), r.got[0].header.Get("SC-Signature"))
	require.NotContains(t, string(r.got[0].body), `\u`, "JavaScript prints the body without escapes")
	e := r.take(t)[0]
	require.Equal(t, "VEHICLE_ERROR", e["eventType"])
	one := at(e, "data", "errors", 0)
	require.Equal(t, "CONNECTED_SERVICES_ACCOUNT", at(one, "type"))
	require.Equal(t, "VIRTUAL_KEY_REQUIRED", at(one, "code"))
	require.Equal(t, "ERROR", at(one, "state"))
	require.Equal(t, "https://www.tesla.com/_ak/smartcar.com", at(one, "resolution", "url"))
	require.NotEmpty(t, at(one, "docURL"))
	require.Contains(t, at(one, "suggestedUserMessage"), a.sim.ApplicationName())
	require.Equal(t, "odometer-traveleddistance", at(one, "signals", 0, "code"))
	require.Nil(t, at(e, "data", "signals"))
	require.Empty(t, a.deliver())
	require.Empty(t, a.sim.Ledger(modelY), "no webhook reads the car")

	require.NoError(t, a.sim.Pair(modelY))
	require.Len(t, a.deliver(), 2)
	require.Equal(t, "/hook", r.got[1].path)
	events := r.take(t)
	require.Equal(t, "RESOLVED", at(events[0], "data", "errors", 0, "state"))
	require.Nil(t, at(events[0], "data", "errors", 0, "resolution"))
	require.Equal(t, "FIRST_DELIVERY", at(events[1], "triggers", 0, "type"))
	require.NoError(t, a.sim.Unpair(modelY))
	require.NoError(t, a.sim.Pair(modelY))
	require.Len(t, a.deliver(), 2, "what changed and changed back is told too")

	require.NoError(t, a.sim.VehicleError(modelY, "VEHICLE_STATE", "UNREACHABLE", false))
	require.NoError(t, a.sim.VehicleError(modelY, "PERMISSION", "", true))
	require.Error(t, a.sim.VehicleError("unknown", "PERMISSION", "", true))
	r.take(t)
	require.Len(t, a.deliver(), 2)
	events = r.take(t)
	require.Equal(t, "UNREACHABLE", at(events[0], "data", "errors", 0, "code"))
	require.Nil(t, at(events[1], "data", "errors", 0, "code"))
}

func TestWebhookVariants(t *testing.T) {
	a, r, id := hooked(t, smartcartest.Webhook{Variants: smartcartest.WebhookVariants{
		DataTriggers: true, FetchedAt: true, ISOTimes: true, EpochVerify: true, SwappedMode: true, Sparse: true, StateErrors: true,
	}, Data: []string{"odometer-traveleddistance", "internalcombustionengine-range"}})
	a.answer(a.authorize(url.Values{"external_id": {"acct_42"}}), url.Values{"decision": {"grant"}})
	require.NoError(t, a.sim.Subscribe(id, smartcartest.Model3))
	a.deliver()
	e := r.take(t)[0]
	require.Nil(t, e["triggers"])
	require.Equal(t, []any{map[string]any{"code": "FIRST_DELIVERY"}}, at(e, "data", "triggers"))
	require.Equal(t, smartcartest.Model3, e["vehicleId"])
	require.IsType(t, "", at(e, "data", "signals", 0, "meta", "fetchedAt"))
	require.IsType(t, "", at(e, "meta", "deliveredAt"))
	require.Equal(t, "live", at(e, "meta", "mode"))
	require.Equal(t, "LIVE", at(e, "data", "vehicle", "mode"))
	require.Nil(t, at(e, "meta", "sequence"))
	require.Nil(t, at(e, "data", "user", "externalId"))
	require.Equal(t, []any{map[string]any{
		"type": "COMPATIBILITY", "code": "VEHICLE_NOT_CAPABLE", "resolution": map[string]any{"type": nil},
		"signals": []any{map[string]any{"code": "internalcombustionengine-range"}},
	}}, at(e, "data", "errors"))
	a.post(v3car(smartcartest.Model3, "/commands/security/unlock"), "").ok(nil)
	a.deliver()
	require.Equal(t, []any{map[string]any{"code": "closure-islocked", "name": "IsLocked", "group": "Closure"}}, at(r.take(t)[0], "data", "triggers"))
	require.NoError(t, a.sim.VerifyWebhook(t.Context(), id))
	require.IsType(t, 0.0, at(r.take(t)[0], "meta", "deliveredAt"))
}

func TestWebhookEarlyForm(t *testing.T) {
	a, r, id := hooked(t, smartcartest.Webhook{
		Variants: smartcartest.WebhookVariants{Early: true}, Triggers: []string{"closure-islocked"},
		Data: []string{"odometer-traveleddistance", "internalcombustionengine-range", "vehicleidentification-vin"},
	})
	require.NoError(t, a.sim.Subscribe(id, smartcartest.Model3))
	a.deliver()
	r.take(t)
	a.post(v3car(smartcartest.Model3, "/commands/security/unlock"), "").ok(nil)
	a.deliver()
	e := r.take(t)[0]
	require.Equal(t, []any{map[string]any{"type": "SIGNAL_UPDATED", "signal": "Closure.IsLocked"}}, e["triggers"])
	require.ElementsMatch(t, []string{"deliveryId", "deliveredAt", "deliveryTime"}, slices.Collect(maps.Keys(e["meta"].(map[string]any))))
	require.Nil(t, at(e, "data", "signals", 0, "status"), "it is good")
	require.Equal(t, "odometer-traveleddistance", at(e, "data", "signals", 0, "code"))
	require.Equal(t, "ERROR", at(e, "data", "signals", 1, "status", "value"))
	require.NoError(t, a.sim.VehicleError(smartcartest.Model3, "VEHICLE_STATE", "ASLEEP", false))
	a.deliver()
	require.Equal(t, []any{
		map[string]any{"name": "Odometer", "group": "TraveledDistance"}, "InternalCombustionEngine.Range", "VehicleIdentification.VIN",
	}, at(r.take(t)[0], "data", "errors", 0, "signals"))
}
