package redisstore_test

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/internal/testserver"
	"github.com/seed-498a1bc4/smartcar/smartcartest"
	"github.com/seed-498a1bc4/smartcar/store"
	"github.com/stretchr/testify/require"
)

// newClient is a process of its own: it shares the store with others, and
// nothing else.
func newClient(t *testing.T, sim *smartcartest.Server, db store.Store) *smartcar.Client {
	t.Helper()
	client, err := smartcar.New(smartcar.Config{
		ClientID: sim.ClientID(), ClientSecret: sim.ClientSecret(), RedirectURL: sim.RedirectURL(),
		StateKey: []byte("0123456789abcdef0123456789abcdef"),
	}, smartcar.WithHTTPClient(&http.Client{Transport: sim.Transport()}), smartcar.WithStore(db))
	require.NoError(t, err)
	return client
}

// Connect begins in one process and ends in another; a keyless car's window is
// kept by all of them, and through the death of the server.
func TestKeylessWindowSurvivesProcessesAndServer(t *testing.T) {
	eachServer(t, func(t *testing.T, binary string) {
		ctx := t.Context()
		s := startServer(t, binary, testserver.Durable()...)
		sim := smartcartest.New()
		process := func() *smartcar.Client { return newClient(t, sim, newStore(t, s.client(t))) }

		w := httptest.NewRecorder()
		require.NoError(t, process().Connect().Start(w, httptest.NewRequest(http.MethodGet, "/connect", nil), smartcar.ConnectOptions{}))
		callbackURL, err := sim.Grant(w.Header().Get("Location"))
		require.NoError(t, err)
		callback := httptest.NewRequest(http.MethodGet, callbackURL, nil)
		for _, c := range w.Result().Cookies() {
			callback.AddCookie(c)
		}
		grant, err := process().Connect().HandleCallback(httptest.NewRecorder(), callback)
		require.NoError(t, err)

		began := time.Now()
		first := process().User(grant.UserID).Vehicle(smartcartest.ModelY)
		battery, err := first.Battery(ctx)
		require.NoError(t, err)
		require.NotNil(t, battery.Percent)

		refused := func() {
			t.Helper()
			v := process().User(grant.UserID).Vehicle(smartcartest.ModelY)
			_, err := v.Odometer(ctx)
			var limited *smartcar.RateLimitError
			require.ErrorAs(t, err, &limited)
			require.True(t, limited.Local)
			require.Equal(t, smartcar.RuleKeyless, limited.Rule)
			require.WithinRange(t, limited.NextAllowed, began.Add(8*time.Hour), time.Now().Add(8*time.Hour+time.Minute))
		}
		refused()
		s.Kill()
		_, err = first.Odometer(ctx)
		var limited *smartcar.RateLimitError
		require.ErrorAs(t, err, &limited, "closed while the store is away")
		require.True(t, limited.Local)
		_, err = process().User(grant.UserID).Vehicle(smartcartest.ModelY).Odometer(ctx)
		require.ErrorIs(t, err, smartcar.ErrStore)
		s.Start(t)
		refused()
		require.Empty(t, sim.BrokenWindows(smartcartest.ModelY))
	})
}
