package smartcartest_test

import (
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seed-498a1bc4/smartcar/smartcartest"
)

func TestTeslaChargeWhileCharging(t *testing.T) {
	a := connected(t, stopped())
	path := car(smartcartest.Model3, "/tesla/charge")
	a.get(path+"/ammeter").fails(409, "VEHICLE_STATE", "NOT_CHARGING")
	a.post(car(smartcartest.Model3, "/charge/limit"), `{"limit":1}`).ok(nil)
	a.post(car(smartcartest.Model3, "/charge"), `{"action":"START"}`).ok(nil)
	a.post(path+"/ammeter", `{"amperage":32}`).ok(nil)
	var amps struct{ Amperage float64 }
	a.get(path + "/ammeter").ok(&amps)
	require.InDelta(t, 32, amps.Amperage, 0)
	var charge struct {
		State    string
		SocLimit float64
	}
	a.get(path).ok(&charge)
	require.Equal(t, "CHARGING", charge.State)
	require.InDelta(t, 1, charge.SocLimit, 0)
	a.sim.Advance(2 * time.Hour)
	a.sim.ExpireAccessTokens()
	a.login(map[string][]string{"decision": {"grant"}})
	a.get(path).ok(&charge)
	require.Equal(t, "FULLY_CHARGED", charge.State)
}

func TestKeyStatus(t *testing.T) {
	cars := append(smartcartest.DefaultGarage(),
		smartcartest.Car{ID: "old", Make: "TESLA", Integration: smartcartest.Legacy, PlatformNotCapable: true},
		smartcartest.Car{ID: "driven", Make: "TESLA", Integration: smartcartest.Streaming, Driver: true})
	a := connected(t, smartcartest.WithCars(cars...))
	for id, want := range map[string]bool{
		smartcartest.Model3: true, smartcartest.ModelY: false, smartcartest.Cybertruck: false,
		smartcartest.ModelS2018: false, smartcartest.ModelX2020: false, smartcartest.ModelS2021: false,
	} {
		var key struct{ IsPaired *bool }
		a.get(car(id, "/tesla/virtual_key")).ok(&key)
		require.NotNil(t, key.IsPaired)
		require.Equal(t, want, *key.IsPaired, id)
	}
	a.get(car("old", "/tesla/virtual_key")).fails(501, "COMPATIBILITY", "PLATFORM_NOT_CAPABLE")
	a.get(car("driven", "/tesla/virtual_key")).fails(400, "CONNECTED_SERVICES_ACCOUNT", "VEHICLE_MISSING")
	a.get(car(smartcartest.MachE, "/tesla/virtual_key")).fails(501, "COMPATIBILITY", "VEHICLE_NOT_CAPABLE")
	require.Error(t, a.sim.Pair("old"))
	require.Error(t, a.sim.Pair("unknown"))
}

func TestTeslaChargePlan(t *testing.T) {
	a := connected(t, stopped())
	path := car(smartcartest.Model3, "/tesla/charge/schedule")
	body := func(r answer) string { return string(r.ok(nil).body) }
	const (
		none      = `{"departureTime":{"enabled":false,"time":null},"startTime":{"enabled":false,"time":null}}`
		start     = `{"departureTime":{"enabled":false,"time":null},"startTime":{"enabled":true,"time":"23:30"}}`
		departure = `{"departureTime":{"enabled":true,"time":"07:00"},"startTime":{"enabled":false,"time":null}}`
	)
	require.JSONEq(t, none, body(a.get(path)))
	require.JSONEq(t, start, body(a.post(path, `{"type":"START_TIME","enable":true,"time":"23:30"}`)))
	require.JSONEq(t, start, body(a.get(path)))
	require.JSONEq(t, departure, body(a.post(path, `{"type":"DEPARTURE_TIME","enabled":true,"time":"07:00"}`)), "at most one is enabled")
	require.JSONEq(t, departure, body(a.post(path, `{"type":"START_TIME","enable":false}`)))
	require.JSONEq(t, none, body(a.post(path, `{"type":"DEPARTURE_TIME","enable":false}`)))
	for _, bad := range []string{``, `{}`, `{"type":"NOW","enable":true,"time":"01:00"}`, `{"type":"START_TIME","time":"01:00"}`, `{"type":"START_TIME","enable":true}`, `{"type":"START_TIME","enable":true,"time":"1:00"}`} {
		a.post(path, bad).fails(400, "VALIDATION", "")
	}

	a.get(car(smartcartest.Model3, "/tesla/charge/completion")).fails(409, "VEHICLE_STATE", "NOT_CHARGING")
	a.post(car(smartcartest.Model3, "/charge/limit"), `{"limit":1}`).ok(nil)
	a.post(car(smartcartest.Model3, "/charge"), `{"action":"START"}`).ok(nil)
	var end struct{ Time time.Time }
	a.get(car(smartcartest.Model3, "/tesla/charge/completion")).ok(&end)
	require.Equal(t, a.sim.Now().Add(2*time.Hour), end.Time, "a fifth of the battery")
}

func TestTeslaChargeRecords(t *testing.T) {
	a := connected(t, stopped())
	type records struct {
		Records     []map[string]any
		HasMoreData bool
	}
	read := func(path string) (r records) {
		t.Helper()
		a.get(car(smartcartest.Model3, "/tesla/charge/records"+path)).ok(&r)
		return r
	}
	require.Len(t, read("").Records, 5, "of 30 days")
	require.Len(t, read("?startDate=2026-11-15&endDate=2026-11-22").Records, 2)
	require.Empty(t, read("?startDate=2026-11-23").Records)
	pages, bills := 0, 0
	for more := true; more; pages++ {
		r := read("/billing?page=" + string(rune('1'+pages)))
		more = r.HasMoreData
		bills += len(r.Records)
		require.Equal(t, pages == 1, len(r.Records) == 0, "a page may be empty although more follows")
	}
	require.Equal(t, 4, pages)
	require.Equal(t, 5, bills)
	require.False(t, read("/billing?page=9").HasMoreData)
	for _, q := range []string{"?startDate=yesterday", "?endDate=2026-13-01", "/billing?page=0", "/billing?startDate=1"} {
		a.get(car(smartcartest.Model3, "/tesla/charge/records"+q)).fails(400, "VALIDATION", "")
	}
}

func TestTeslaCabin(t *testing.T) {
	app := v3(t)
	a := &api{t: t, sim: app.sim, http: app.http, origin: app.origin}
	a.login(url.Values{"decision": {"grant"}})
	for _, c := range []struct{ path, signal, on, off string }{
		{"/tesla/climate/defroster", "hvac-isfrontdefrosteractive", `{"frontStatus":"ON","rearStatus":"ON"}`, `{"frontStatus":"OFF","rearStatus":"OFF"}`},
		{"/tesla/climate/steering_wheel", "hvac-issteeringheateractive", `{"status":"ON"}`, `{"status":"OFF"}`},
	} {
		path := car(smartcartest.Model3, c.path)
		require.JSONEq(t, c.off, string(a.get(path).body))
		require.JSONEq(t, `{"status":"START"}`, string(a.post(path, `{"action":"START"}`).ok(nil).body))
		require.JSONEq(t, c.on, string(a.get(path).body))
		require.Equal(t, true, signalsOf(app, smartcartest.Model3)[c.signal].Attributes.Body["value"])
		require.JSONEq(t, `{"status":"STOP"}`, string(a.post(path, `{"action":"STOP"}`).ok(nil).body))
		require.JSONEq(t, c.off, string(a.get(path).body))
		a.post(path, `{"action":"ON"}`).fails(400, "VALIDATION", "")
		require.Equal(t, false, signalsOf(app, smartcartest.Model3)[c.signal].Attributes.Body["value"])
	}
}

func TestTeslaPIN(t *testing.T) {
	a := connected(t)
	path := car(smartcartest.Model3, "/tesla/pin")
	success := `{"status":"success","message":"Successfully sent request to vehicle"}`
	require.JSONEq(t, success, string(a.post(path, `{"pin":"1234"}`).ok(nil).body))
	require.JSONEq(t, success, string(a.post(path, `{"pin":"0000"}`).ok(nil).body), "overrides")
	require.JSONEq(t, success, string(a.call(http.MethodDelete, path, "").ok(nil).body))
	for _, bad := range []string{``, `{}`, `{"pin":1234}`, `{"pin":"123"}`, `{"pin":"12a4"}`} {
		a.post(path, bad).fails(400, "VALIDATION", "")
	}
	a.call(http.MethodDelete, car(modelY, "/tesla/pin"), "").fails(400, "CONNECTED_SERVICES_ACCOUNT", "VIRTUAL_KEY_REQUIRED")
	require.NoError(t, a.sim.SetPermissions(smartcartest.Model3, "control_trunk"))
	a.post(path, `{"pin":"1234"}`).fails(403, "PERMISSION", "")
	a.token = a.sim.ManagementToken()
	a.call(http.MethodDelete, path, "").fails(401, "AUTHENTICATION", "")
}
