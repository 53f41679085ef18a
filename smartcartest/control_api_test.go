package smartcartest_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seed-498a1bc4/smartcar/smartcartest"
)

func TestControlIsOffByDefault(t *testing.T) {
	a := newAPI(t)
	require.Equal(t, 404, a.get("/_sim/cars").status)
}

func TestControl(t *testing.T) {
	a := connected(t, stopped(), smartcartest.WithControl())
	var cars struct {
		Cars []struct {
			ID, Integration         string
			Paired, Keyless, Asleep bool
		}
	}
	a.get("/_sim/cars").ok(&cars)
	require.Len(t, cars.Cars, 7)
	require.Equal(t, "streaming", cars.Cars[1].Integration)
	require.True(t, cars.Cars[1].Keyless)
	require.True(t, cars.Cars[4].Asleep)

	var one struct{ Paired, Asleep bool }
	a.post("/_sim/cars/"+modelY+"/pair", "").ok(&one)
	require.True(t, one.Paired)
	a.post("/_sim/cars/"+modelY+"/unpair", "").ok(&one)
	require.False(t, one.Paired)
	a.post("/_sim/cars/"+modelY+"/sleep", "").ok(&one)
	require.True(t, one.Asleep)
	a.post("/_sim/cars/"+modelY+"/wake", "").ok(&one)
	a.post("/_sim/cars/"+modelY+"/schedule", "").ok(&one)
	require.False(t, one.Asleep)
	require.Equal(t, 409, a.post("/_sim/cars/"+smartcartest.MachE+"/pair", "").status)
	require.Equal(t, 404, a.post("/_sim/cars/unknown/pair", "").status)
	require.Equal(t, 404, a.post("/_sim/cars/"+modelY+"/explode", "").status)

	a.get(car(modelY, "/battery")).ok(nil)
	a.get(car(modelY, "/battery"))
	var ledger struct {
		Entries []smartcartest.Entry
		Broken  []smartcartest.Broken
	}
	a.get("/_sim/cars/" + modelY + "/ledger").ok(&ledger)
	require.Len(t, ledger.Entries, 2)
	require.Len(t, ledger.Broken, 1)
	require.Equal(t, 429, ledger.Broken[0].Second.Status)

	var clock struct{ Now time.Time }
	before := a.sim.Now()
	a.post("/_sim/clock", `{"advance":"1h30m"}`).ok(&clock)
	require.Equal(t, before.Add(90*time.Minute), clock.Now)
	a.post("/_sim/clock", `{"advance":"-90m"}`).ok(&clock)
	a.get("/_sim/clock").ok(&clock)
	require.Equal(t, before, clock.Now)
	require.Equal(t, 400, a.post("/_sim/clock", `{"advance":"soon"}`).status)

	a.post("/_sim/faults", `{"path":"/user","method":"GET","errorType":"SERVER","errorCode":"INTERNAL","times":2,"header":{"X-Test":"1"}}`).ok(nil)
	res := a.get("/v2.0/user")
	res.fails(500, "SERVER", "INTERNAL")
	require.Equal(t, "1", res.header.Get("X-Test"))
	a.call(http.MethodDelete, "/_sim/faults", "").ok(nil)
	a.get("/v2.0/user").ok(nil)
	require.Equal(t, 400, a.post("/_sim/faults", `{"latency":7}`).status)

	var log struct{ Requests []smartcartest.Request }
	a.get("/_sim/requests").ok(&log)
	require.NotEmpty(t, log.Requests)
	for _, r := range log.Requests {
		require.NotContains(t, r.Path, "_sim")
	}
	a.call(http.MethodDelete, "/_sim/tokens", "").ok(nil)
	a.get("/v2.0/user").fails(401, "AUTHENTICATION", "")
	require.Equal(t, 404, a.get("/_sim/").status)
}
