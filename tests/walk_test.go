package smartcar_test

import (
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/smartcartest"
	"github.com/stretchr/testify/require"
)

func TestWalkThroughConnectWithTheSimulatedClock(t *testing.T) {
	sim := smartcartest.New()
	client := newClient(t, sim, smartcar.WithClock(sim.Clock()))
	start := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = client.Connect().Start(w, r, smartcar.ConnectOptions{})
	})
	var grant *smartcar.Grant
	var failed error
	callback := client.Connect().CallbackHandler(func(_ http.ResponseWriter, _ *http.Request, g *smartcar.Grant, err error) {
		grant, failed = g, err
	})
	_, err := sim.Walk(start, callback)
	require.NoError(t, err)
	require.NoError(t, failed)

	v := client.User(grant.UserID).Vehicle(smartcartest.ModelY)
	_, err = v.Battery(t.Context())
	require.NoError(t, err)
	began := sim.Now()
	require.NoError(t, v.Wait(t.Context()))
	require.WithinDuration(t, began.Add(8*time.Hour), sim.Now(), time.Second)
	_, err = v.Battery(t.Context())
	require.NoError(t, err)
	require.Empty(t, sim.BrokenWindows(smartcartest.ModelY))

	_, err = sim.WalkAs(start, callback, url.Values{"decision": {"deny"}})
	require.NoError(t, err)
	require.ErrorIs(t, failed, smartcar.ErrAccessDenied)
}
