package smartcartest_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/seed-498a1bc4/smartcar/smartcartest"
)

func TestCommands(t *testing.T) {
	a := connected(t, stopped())
	id := smartcartest.Model3
	for _, c := range []struct{ path, body string }{
		{"/security", `{"action":"LOCK"}`},
		{"/security", `{"action":"UNLOCK"}`},
		{"/charge", `{"action":"START"}`},
		{"/charge", `{"action":"STOP"}`},
		{"/charge/limit", `{"limit":0.5}`},
		{"/navigation/destination", `{"latitude":51.5007,"longitude":0.1246}`},
		{"/tesla/security/trunk", `{"action":"OPEN"}`},
		{"/tesla/security/frunk", `{"action":"CLOSE"}`},
		{"/tesla/charge/charge_port_door", `{"action":"OPEN"}`},
	} {
		var got map[string]string
		a.post(car(id, c.path), c.body).ok(&got)
		require.Equal(t, map[string]string{"status": "success", "message": "Successfully sent request to vehicle"}, got, c.path)
	}
	var limit struct{ Limit float64 }
	a.get(car(id, "/charge/limit")).ok(&limit)
	require.InDelta(t, 0.5, limit.Limit, 0)
	a.post(car(id, "/charge/limit"), `{"limit":"0.7"}`).ok(nil) // as the vendor's node SDK sends it
	a.get(car(id, "/charge/limit")).ok(&limit)
	require.InDelta(t, 0.7, limit.Limit, 0)
	var cabin struct {
		Status      string
		Temperature float64
	}
	a.units = "imperial"
	a.post(car(id, "/tesla/climate/cabin"), `{"action":"START","temperature":68}`).ok(&cabin)
	require.Equal(t, "ON", cabin.Status)
	require.InDelta(t, 68, cabin.Temperature, 0.01)
	a.units = ""
	a.get(car(id, "/tesla/climate/cabin")).ok(&cabin)
	require.InDelta(t, 20, cabin.Temperature, 0.01)
}

func TestCommandErrors(t *testing.T) {
	a := connected(t)
	id := smartcartest.Model3
	for _, c := range []struct{ path, body, field string }{
		{"/security", ``, "action"},
		{"/security", `{"action":"lock"}`, "action"},
		{"/security", `{"action":7}`, "action"},
		{"/charge", `{}`, "action"},
		{"/charge/limit", `{"limit":0.49}`, "limit"},
		{"/charge/limit", `{"limit":1.01}`, "limit"},
		{"/charge/limit", `{"limit":"0.49"}`, "limit"},
		{"/charge/limit", `{"limit":""}`, "limit"},
		{"/charge/limit", `{"limit":"much"}`, "limit"},
		{"/charge/limit", `{"limit":true}`, "limit"},
		{"/navigation/destination", `{"latitude":"1","longitude":0}`, "latitude"},
		{"/charge/limit", `{"limit":null}`, "limit"},
		{"/navigation/destination", `{"latitude":91,"longitude":0}`, "latitude"},
		{"/navigation/destination", `{"latitude":0,"longitude":-181}`, "longitude"},
		{"/navigation/destination", `{"latitude":0}`, "longitude"},
		{"/tesla/climate/cabin", `{"action":"SET"}`, "temperature"},
		{"/tesla/climate/cabin", `{"action":"SET","temperature":99}`, "temperature"},
	} {
		f := a.post(car(id, c.path), c.body).fails(400, "VALIDATION", "")
		require.Equal(t, []string{c.field}, f.Detail[0].Field, c.body)
		require.Contains(t, f.Detail[0].Message, c.field)
	}
	a.post(car(smartcartest.ModelS2018, "/charge"), `{"action":"START"}`).fails(409, "VEHICLE_STATE", "CHARGING_PLUG_NOT_CONNECTED")
	require.NoError(t, a.sim.SetPermissions(id, "read_vin"))
	a.post(car(id, "/security"), `{"action":"LOCK"}`).fails(403, "PERMISSION", "")
	for _, e := range a.sim.Ledger(id) {
		require.False(t, e.Executed)
	}
}
