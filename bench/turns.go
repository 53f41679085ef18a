package main

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/smartcartest"
	"github.com/seed-498a1bc4/smartcar/store"
	"github.com/stretchr/testify/require"
)

// A garage is a client of one user, at a simulator with a clock of its own.
type garage struct {
	sim    *smartcartest.Server
	client *smartcar.Client
	user   *smartcar.User
	store  *counted
}

func newGarage(tb testing.TB, api smartcar.API) *garage {
	tb.Helper()
	g := &garage{sim: smartcartest.New()}
	g.store = &counted{Store: store.NewMemoryAt(g.sim.Now)}
	var err error
	g.client, err = smartcar.New(smartcar.Config{
		ClientID: g.sim.ClientID(), ClientSecret: g.sim.ClientSecret(), APIClientID: g.sim.APIClientID(), APIClientSecret: g.sim.APIClientSecret(),
		RedirectURL: g.sim.RedirectURL(), StateKey: make([]byte, 32), ManagementToken: secret,
	}, smartcar.WithAPI(api), smartcar.WithStore(g.store), smartcar.WithClock(g.sim.Clock()),
		smartcar.WithHTTPClient(&http.Client{Transport: g.sim.Transport()}))
	require.NoError(tb, err)
	start := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := g.client.Connect().Start(w, r, smartcar.ConnectOptions{}); err != nil {
			panic(err)
		}
	})
	_, err = g.sim.Walk(start, g.client.Connect().CallbackHandler(func(_ http.ResponseWriter, _ *http.Request, grant *smartcar.Grant, err error) {
		if err != nil {
			panic(err)
		}
		g.user = g.client.User(grant.UserID)
	}))
	require.NoError(tb, err)
	return g
}

const secret = "application-management-token"

// read reads a car n times, each time after a pause, and returns the calls of the store.
func (g *garage) read(tb testing.TB, car string, n int, pause time.Duration) float64 {
	tb.Helper()
	before := g.store.trips.Load()
	for range n {
		g.sim.Advance(pause)
		_, err := g.user.Vehicle(car).Battery(tb.Context())
		require.NoError(tb, err)
	}
	return float64(g.store.trips.Load() - before)
}

// eachSecond returns the calls of a minute in which a car is read each second.
func eachSecond(api smartcar.API, car string) func(testing.TB) float64 {
	return func(tb testing.TB) float64 {
		tb.Helper()
		const minutes = 10
		g := newGarage(tb, api)
		g.read(tb, car, 60, time.Second)
		return g.read(tb, car, 60*minutes, time.Second) / minutes
	}
}

// wholeTurn returns the calls of a turn after a window: the token has expired, and the
// status of the key is read again.
func wholeTurn(api smartcar.API) func(testing.TB) float64 {
	return func(tb testing.TB) float64 {
		tb.Helper()
		g := newGarage(tb, api)
		g.read(tb, smartcartest.ModelY, 3, longTime+time.Second)
		return g.read(tb, smartcartest.ModelY, 1, longTime+time.Second)
	}
}

// webhook returns the calls of an event about a car that the process knows.
func webhook(tb testing.TB) float64 {
	tb.Helper()
	g := newGarage(tb, smartcar.V3)
	g.read(tb, smartcartest.Model3, 1, time.Second)
	receiver, err := g.client.WebhookReceiver(smartcar.WebhookOptions{}, func(context.Context, *smartcar.WebhookEvent) error { return nil })
	require.NoError(tb, err)
	var calls float64
	for i := range 2 { // the first is noted for a diagnosis, as once an hour
		g.sim.Advance(50 * time.Minute)
		body := fmt.Appendf(nil, `{"eventId":"event-%d","eventType":"VEHICLE_STATE","meta":{"version":"4.0","webhookId":"hook","mode":"LIVE"},
			"data":{"user":{"id":%q},"vehicle":{"id":%q,"make":"TESLA","mode":"live"},"signals":[{"code":"odometer-traveleddistance",
			"body":{"value":%d,"unit":"km"},"status":{"value":"SUCCESS"},"meta":{"oemUpdatedAt":%d}}]}}`,
			i, g.user.ID(), smartcartest.Model3, 100+i, g.sim.Now().Add(-time.Minute).UnixMilli())
		mac := hmac.New(sha256.New, []byte(secret))
		mac.Write(body)
		before := g.store.trips.Load()
		status, _, err := receiver.Receive(tb.Context(), http.Header{"Sc-Signature": {hex.EncodeToString(mac.Sum(nil))}}, body)
		require.NoError(tb, err)
		require.Equal(tb, http.StatusOK, status)
		calls = float64(g.store.trips.Load() - before)
	}
	return calls
}
