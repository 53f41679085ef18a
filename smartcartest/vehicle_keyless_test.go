package smartcartest_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seed-498a1bc4/smartcar/smartcartest"
)

func TestKeylessRateLimited(t *testing.T) {
	a := connected(t, stopped())
	a.get(car(modelY, "/battery")).ok(nil)
	a.get(car(modelY, "/vin")).ok(nil) // metadata is not limited
	a.get(car(modelY, "/tesla/virtual_key")).ok(nil)
	a.sim.Advance(time.Hour + time.Millisecond)
	res := a.get(car(modelY, "/odometer"))
	res.fails(429, "RATE_LIMIT", "VEHICLE")
	require.Equal(t, "25200", res.header.Get("Retry-After"), "rounded up")
	require.Empty(t, res.header.Get("SC-Data-Age"))
	a.sim.Advance(7*time.Hour - 2*time.Millisecond)
	a.token = refreshed(a)
	require.Equal(t, "1", a.get(car(modelY, "/battery")).header.Get("Retry-After"))
	a.sim.Advance(time.Millisecond)
	a.get(car(modelY, "/battery")).ok(nil)
	broken := a.sim.BrokenWindows(modelY)
	require.Len(t, broken, 2)
	require.Equal(t, 200, broken[0].First.Status)
	require.Equal(t, 429, broken[0].Second.Status)
	require.True(t, broken[0].First.Live)
	require.True(t, broken[0].Second.RecordedAt.IsZero())
	require.Empty(t, a.sim.BrokenWindows(smartcartest.Cybertruck))
}

func TestKeylessStaleData(t *testing.T) {
	a := connected(t, stopped(), smartcartest.WithKeylessAnswer(smartcartest.StaleData))
	first := a.get(car(modelY, "/odometer")).ok(nil)
	a.sim.Advance(time.Hour)
	second := a.get(car(modelY, "/odometer")).ok(nil)
	require.Equal(t, first.body, second.body)
	require.Equal(t, first.time("SC-Data-Age"), second.time("SC-Data-Age"))
	require.Equal(t, first.time("SC-Fetched-At"), second.time("SC-Fetched-At"))
	ledger := a.sim.Ledger(modelY)
	require.True(t, ledger[0].Counted && ledger[0].Live && ledger[0].Keyless)
	require.False(t, ledger[1].Counted || ledger[1].Live)
	require.True(t, ledger[1].AtGate)
	require.Equal(t, ledger[0].RecordedAt, ledger[1].RecordedAt)
	require.Len(t, a.sim.BrokenWindows(modelY), 1)
}

func TestKeylessKeyRequired(t *testing.T) {
	a := connected(t, stopped(), smartcartest.WithKeylessAnswer(smartcartest.KeyRequired))
	a.get(car(modelY, "/odometer")).ok(nil)
	f := a.get(car(modelY, "/odometer")).fails(400, "CONNECTED_SERVICES_ACCOUNT", "VIRTUAL_KEY_REQUIRED")
	require.Equal(t, "ACTION_REQUIRED", *f.Resolution.Type)
	require.Equal(t, "https://www.tesla.com/_ak/smartcar.com", f.Resolution.URL)
	require.Len(t, a.sim.BrokenWindows(modelY), 1)
}

func TestKeylessCommands(t *testing.T) {
	a := connected(t)
	f := a.post(car(modelY, "/security"), `{"action":"LOCK"}`).fails(400, "CONNECTED_SERVICES_ACCOUNT", "VIRTUAL_KEY_REQUIRED")
	require.Equal(t, "https://www.tesla.com/_ak/smartcar.com", f.Resolution.URL)
	entry := a.sim.Ledger(modelY)[0]
	require.Equal(t, smartcartest.Command, entry.Kind)
	require.False(t, entry.Executed || entry.AtGate)
	require.NoError(t, a.sim.Pair(modelY))
	a.post(car(modelY, "/security"), `{"action":"LOCK"}`).ok(nil)
	require.True(t, a.sim.Ledger(modelY)[1].Executed)
}

func TestPairingOpensAndUnpairingStartsOver(t *testing.T) {
	a := connected(t, stopped())
	a.get(car(modelY, "/battery")).ok(nil)
	require.NoError(t, a.sim.Pair(modelY))
	for range 3 {
		a.get(car(modelY, "/battery")).ok(nil)
	}
	require.NoError(t, a.sim.Unpair(modelY))
	a.get(car(modelY, "/battery")).ok(nil)
	require.Empty(t, a.sim.BrokenWindows(modelY), "no window reaches across a change of the key")
	a.get(car(modelY, "/battery")).fails(429, "RATE_LIMIT", "VEHICLE")
	require.Len(t, a.sim.BrokenWindows(modelY), 1)
}

func TestKeylessWindowOptionAndClockStepBack(t *testing.T) {
	a := connected(t, stopped(), smartcartest.WithKeylessWindow(3*time.Second))
	a.get(car(modelY, "/battery")).ok(nil)
	a.sim.Advance(-time.Hour)
	res := a.get(car(modelY, "/battery"))
	res.fails(429, "RATE_LIMIT", "VEHICLE")
	require.Equal(t, "3", res.header.Get("Retry-After"), "never longer than the window")
	a.sim.Advance(time.Hour + 3*time.Second)
	a.get(car(modelY, "/battery")).ok(nil)
}

func TestKeylessNeverWakes(t *testing.T) {
	at := time.Date(2026, time.November, 23, 12, 0, 0, 0, time.UTC)
	cars := []smartcartest.Car{{ID: "y", Make: "TESLA", Model: "Model Y", Integration: smartcartest.Streaming, AwakeFrom: 8 * time.Hour, AwakeFor: time.Hour}}
	a := connected(t, smartcartest.WithCars(cars...), smartcartest.WithClock(func() time.Time { return at }))
	res := a.get(car("y", "/battery")).ok(nil)
	require.Equal(t, at.Add(-3*time.Hour), res.time("SC-Data-Age"))
	require.Equal(t, at, res.time("SC-Fetched-At"))
}

func TestRequestsThatNeverReachTheGate(t *testing.T) {
	asleep := smartcartest.Car{ID: "z", Make: "TESLA", Integration: smartcartest.Streaming, Asleep: true, AsleepError: true, Unsupported: []string{"/fuel"}}
	a := connected(t, stopped(), smartcartest.WithCars(asleep))
	a.get(car("z", "/battery")).fails(409, "VEHICLE_STATE", "ASLEEP")
	a.get(car("z", "/fuel")).fails(501, "COMPATIBILITY", "VEHICLE_NOT_CAPABLE")
	require.NoError(t, a.sim.Wake("z"))
	a.get(car("z", "/battery")).ok(nil) // so no turn had been spent
	require.Empty(t, a.sim.BrokenWindows("z"))
	ledger := a.sim.Ledger("z")
	require.Len(t, ledger, 3)
	require.False(t, ledger[0].AtGate || ledger[1].AtGate)
}
