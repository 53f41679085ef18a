package smartcartest_test

import (
	"encoding/json"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seed-498a1bc4/smartcar/smartcartest"
)

func TestV3Signals(t *testing.T) {
	a := v3(t)
	for code, body := range map[string]map[string]any{
		"tractionbattery-stateofcharge": {"value": 80.0, "unit": "percent"},
		"tractionbattery-range":         {"value": 360.0, "unit": "km", "type": "DEFAULT", "additionalValues": []any{map[string]any{"type": "ESTIMATED", "value": 360.0}, map[string]any{"type": "RATED", "value": 378.0}}},
		"odometer-traveleddistance":     {"value": 30104.31, "unit": "km"},
	} {
		var got struct{ Data signal }
		a.get(v3car(smartcartest.Model3, "/signals/"+code)).ok(&got)
		require.Equal(t, code, got.Data.ID)
		require.Equal(t, "signal", got.Data.Type)
		require.Equal(t, "SUCCESS", got.Data.Attributes.Status.Value)
		require.Equal(t, code, strings.ToLower(got.Data.Attributes.Group+"-"+got.Data.Attributes.Name))
		require.Equal(t, body, got.Data.Attributes.Body)
		require.Equal(t, a.sim.Now().Truncate(time.Minute), got.Data.Meta.OEMUpdatedAt)
	}
	a.get(v3car(smartcartest.Model3, "/signals/vin")).fails3(404, "RESOURCE_NOT_FOUND", "SIGNAL_NOT_FOUND")
	require.NoError(t, a.sim.SetPermissions(smartcartest.Model3, "read_battery"))
	a.get(v3car(smartcartest.Model3, "/signals/odometer-traveleddistance")).fails3(403, "PERMISSION", "")
	list := signalsOf(a, smartcartest.Model3)
	require.Equal(t, "SUCCESS", list["tractionbattery-range"].Attributes.Status.Value)
	require.Equal(t, "PERMISSION", list["odometer-traveleddistance"].Attributes.Status.Error.Type)
	require.Nil(t, list["odometer-traveleddistance"].Attributes.Body)
	ford := signalsOf(a, smartcartest.MachE)
	require.Equal(t, "VEHICLE_NOT_CAPABLE", *ford["connectivitystatus-isdigitalkeypaired"].Attributes.Status.Error.Code)
}

func TestV3NeverSubscribed(t *testing.T) {
	a := v3(t, smartcartest.WithCars(smartcartest.Car{ID: "new", Make: "TESLA", Integration: smartcartest.Streaming, NeverSubscribed: true}))
	require.Empty(t, signalsOf(a, "new"))
	a.get(v3car("new", "/signals/odometer-traveleddistance")).fails3(404, "RESOURCE_NOT_FOUND", "SIGNAL_NOT_FOUND")
	require.Empty(t, a.sim.BrokenWindows("new"), "nothing was read")
	v2 := &api{t: t, sim: a.sim, http: a.http, origin: a.origin}
	v2.login(map[string][]string{"decision": {"grant"}})
	v2.post(car("new", "/webhooks/5a8e5e38-12e7-4a85-9f2d-1f1b64c0f2a1"), "{}").ok(nil)
	require.Len(t, signalsOf(a, "new"), 93)
}

func TestV3SharesTheWindow(t *testing.T) {
	a := v3(t)
	signalsOf(a, modelY)
	res := a.get(v3car(modelY, "/signals/tractionbattery-range"))
	e := res.fails3(429, "RATE_LIMIT", "VEHICLE")
	require.Equal(t, "429", e["status"])
	require.Equal(t, "28800", res.header.Get("Retry-After"))
	v2 := &api{t: t, sim: a.sim, http: a.http, origin: a.origin}
	v2.login(url.Values{"decision": {"grant"}})
	v2.get(car(modelY, "/battery")).fails(429, "RATE_LIMIT", "VEHICLE")
	require.Len(t, a.sim.BrokenWindows(modelY), 2)
	require.Equal(t, smartcartest.Data, a.sim.Ledger(modelY)[0].Kind)
}

func TestV3KeyRequiredKeepsTheOldBody(t *testing.T) {
	a := v3(t, smartcartest.WithKeylessAnswer(smartcartest.KeyRequired))
	first := signalsOf(a, modelY)["tractionbattery-stateofcharge"]
	a.sim.Advance(30 * time.Minute)
	second := signalsOf(a, modelY)["tractionbattery-stateofcharge"]
	require.Equal(t, "ERROR", second.Attributes.Status.Value)
	require.Equal(t, "VIRTUAL_KEY_REQUIRED", *second.Attributes.Status.Error.Code)
	require.Equal(t, first.Attributes.Body, second.Attributes.Body)
	require.Equal(t, first.Meta, second.Meta)
}

func TestV3OldValueBesideAnError(t *testing.T) {
	a := v3(t)
	list := signalsOf(a, smartcartest.Model3)
	rate := list["charge-chargerate"]
	require.Equal(t, "ERROR", rate.Attributes.Status.Value)
	require.Equal(t, "NOT_CHARGING", *rate.Attributes.Status.Error.Code)
	require.InDelta(t, 30, rate.Attributes.Body["value"], 0)
	require.Less(t, rate.Meta.OEMUpdatedAt, a.sim.Now().Add(-24*time.Hour))
	left := list["charge-timetocomplete"]
	require.Equal(t, map[string]any{"value": nil, "unit": "minutes"}, left.Attributes.Body)
	require.Equal(t, "ERROR", left.Attributes.Status.Value)
	a.post(v3car(smartcartest.Model3, "/commands/charge/set-limit"), `{"data":{"attributes":{"percent":100}}}`).ok(nil)
	a.post(v3car(smartcartest.Model3, "/commands/charge/start"), "").ok(nil)
	list = signalsOf(a, smartcartest.Model3)
	require.Equal(t, "SUCCESS", list["charge-chargerate"].Attributes.Status.Value)
	require.Equal(t, map[string]any{"value": 120.0, "unit": "minutes"}, list["charge-timetocomplete"].Attributes.Body)
}

func TestV3CommandsShowInTheSignals(t *testing.T) {
	a := v3(t)
	require.NoError(t, a.sim.Pair(modelY))
	value := func(code string) any { return signalsOf(a, modelY)[code].Attributes.Body["value"] }
	require.Equal(t, false, value("charge-ischargingportflapopen"))
	a.post(v3car(modelY, "/commands/charge-port/open"), "").ok(nil)
	require.Equal(t, true, value("charge-ischargingportflapopen"))
	a.post(v3car(modelY, "/commands/charge-port/close"), "").ok(nil)
	require.Equal(t, false, value("charge-ischargingportflapopen"))
	var made execution
	a.post(v3car(modelY, "/charge-schedules/workweek"),
		`{"data":{"attributes":{"location":{"latitude":1,"longitude":2},"weekdays":{"startTime":"01:00","stopTime":"02:00"}}}}`).ok(&made)
	raw, err := json.Marshal(signalsOf(a, modelY)["charge-chargetimers"].Attributes.Body["values"])
	require.NoError(t, err)
	require.JSONEq(t, `[{"type":"LOCATION","scheduleType":"WORKWEEK","scheduleId":"`+made.Data.Attributes.ScheduleID+`",
		"condition":{"name":null,"address":null,"latitude":1,"longitude":2},"departureTimers":[],"isOEMOptimizationEnabled":false,
		"schedules":[{"start":"01:00:00","end":"02:00:00","days":["MONDAY","TUESDAY","WEDNESDAY","THURSDAY","FRIDAY"]}]}]`, string(raw))
	a.post(v3car(modelY, "/commands/security/unlock"), "").ok(nil)
	doors := signalsOf(a, modelY)["closure-doors"].Attributes.Body["values"].([]any)
	require.Equal(t, map[string]any{"row": 0.0, "column": 0.0, "isOpen": false, "isLocked": false}, doors[0])
}
