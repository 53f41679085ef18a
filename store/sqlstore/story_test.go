package sqlstore_test

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/smartcartest"
	"github.com/seed-498a1bc4/smartcar/store"
	"github.com/stretchr/testify/require"
)

func newClient(t *testing.T, sim *smartcartest.Server, kept store.Store) *smartcar.Client {
	t.Helper()
	client, err := smartcar.New(smartcar.Config{
		ClientID: sim.ClientID(), ClientSecret: sim.ClientSecret(), RedirectURL: sim.RedirectURL(),
		StateKey: []byte("0123456789abcdef0123456789abcdef"),
	}, smartcar.WithHTTPClient(&http.Client{Transport: sim.Transport()}), smartcar.WithStore(kept))
	require.NoError(t, err)
	return client
}

// connect walks the whole of Connect as a consenting owner.
func connect(t *testing.T, sim *smartcartest.Server, client *smartcar.Client) string {
	t.Helper()
	w := httptest.NewRecorder()
	require.NoError(t, client.Connect().Start(w, httptest.NewRequest(http.MethodGet, "/connect", nil), smartcar.ConnectOptions{}))
	callback, err := sim.Grant(w.Header().Get("Location"))
	require.NoError(t, err)
	r := httptest.NewRequest(http.MethodGet, callback, nil)
	for _, c := range w.Result().Cookies() {
		r.AddCookie(c)
	}
	grant, err := client.Connect().HandleCallback(httptest.NewRecorder(), r)
	require.NoError(t, err)
	return grant.UserID
}

// story: the login and the open window of a car without its key are there for
// a program that starts later. Open returns a new handle on the same data.
func story(t *testing.T, open func() store.Store) {
	ctx, sim := t.Context(), smartcartest.New()
	first := newClient(t, sim, open())
	user := connect(t, sim, first)
	_, err := first.User(user).Vehicle(smartcartest.ModelY).Battery(ctx)
	require.NoError(t, err)
	answered := time.Now()

	second := newClient(t, sim, open())
	v := second.User(user).Vehicle(smartcartest.ModelY)
	_, err = v.VIN(ctx) // the login is there
	require.NoError(t, err)
	_, err = v.Odometer(ctx)
	var limited *smartcar.RateLimitError
	require.ErrorAs(t, err, &limited)
	require.True(t, limited.Local)
	require.Equal(t, smartcar.RuleKeyless, limited.Rule)
	require.WithinDuration(t, answered.Add(8*time.Hour), limited.NextAllowed, 5*time.Second)
	require.Empty(t, sim.BrokenWindows(smartcartest.ModelY))
	require.Equal(t, 1, sim.TokenRequests())
}
