package smartcartest_test

import (
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
