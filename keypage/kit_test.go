package keypage_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"

	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/keypage"
	"github.com/seed-498a1bc4/smartcar/smartcartest"
	"github.com/stretchr/testify/require"
)

const (
	iPhone  = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 Version/18.0 Mobile/15E148 Safari/604.1"
	desktop = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/140.0.0.0 Safari/537.36"
	keyLink = "https://www.tesla.com/_ak/smartcar.com"
)

func newClient(t testing.TB, sim *smartcartest.Server, opts ...smartcar.Option) *smartcar.Client {
	t.Helper()
	opts = append([]smartcar.Option{smartcar.WithHTTPClient(&http.Client{Transport: sim.Transport()})}, opts...)
	client, err := smartcar.New(smartcar.Config{
		ClientID: sim.ClientID(), ClientSecret: sim.ClientSecret(), RedirectURL: sim.RedirectURL(),
		StateKey: []byte("0123456789abcdef0123456789abcdef"),
	}, opts...)
	require.NoError(t, err)
	return client
}

// connect walks the owner through Connect with their choices.
func connect(t testing.TB, sim *smartcartest.Server, client *smartcar.Client, choices url.Values) *smartcar.User {
	t.Helper()
	var user *smartcar.User
	_, err := sim.WalkAs(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = client.Connect().Start(w, r, smartcar.ConnectOptions{})
	}), client.Connect().CallbackHandler(func(_ http.ResponseWriter, _ *http.Request, g *smartcar.Grant, err error) {
		require.NoError(t, err)
		user = client.User(g.UserID)
	}), choices)
	require.NoError(t, err)
	return user
}

// connected returns a connected owner of the simulator.
func connected(t testing.TB, sim *smartcartest.Server, opts ...smartcar.Option) *smartcar.User {
	t.Helper()
	return connect(t, sim, newClient(t, sim, opts...), url.Values{"decision": {"grant"}})
}

// pageOf is the page of one user, with the changes to its configuration.
func pageOf(t testing.TB, user *smartcar.User, change func(*keypage.Config)) *keypage.Handler {
	t.Helper()
	config := keypage.Config{
		Who:  func(*http.Request) (*smartcar.User, error) { return user, nil },
		Done: "/dashboard",
	}
	if change != nil {
		change(&config)
	}
	page, err := keypage.New(config)
	require.NoError(t, err)
	return page
}

func get(h http.Handler, target, agent string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodGet, target, nil)
	r.Header.Set("User-Agent", agent)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}
