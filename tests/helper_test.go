package smartcar_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"

	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/smartcartest"
	"github.com/stretchr/testify/require"
)

var stateKey = []byte("0123456789abcdef0123456789abcdef")

// newClient returns a client of the simulator, over its in-memory transport.
func newClient(t testing.TB, sim *smartcartest.Server, opts ...smartcar.Option) *smartcar.Client {
	t.Helper()
	return newClientOver(t, sim, sim.Transport(), opts...)
}

func newClientOver(t testing.TB, sim *smartcartest.Server, transport http.RoundTripper, opts ...smartcar.Option) *smartcar.Client {
	t.Helper()
	opts = append([]smartcar.Option{smartcar.WithHTTPClient(&http.Client{Transport: transport})}, opts...)
	client, err := smartcar.New(smartcar.Config{
		ClientID: sim.ClientID(), ClientSecret: sim.ClientSecret(), RedirectURL: sim.RedirectURL(),
		StateKey: stateKey, ManagementToken: sim.ManagementToken(),
	}, opts...)
	require.NoError(t, err)
	return client
}

// begin starts Connect as an owner's browser would, and returns the address of
// Connect with the cookies the browser keeps.
func begin(t testing.TB, client *smartcar.Client, o smartcar.ConnectOptions) (authorizeURL string, cookies []*http.Cookie) {
	t.Helper()
	w := httptest.NewRecorder()
	require.NoError(t, client.Connect().Start(w, httptest.NewRequest(http.MethodGet, "/connect", nil), o))
	return w.Header().Get("Location"), w.Result().Cookies()
}

// finish is the browser coming back to the application.
func finish(client *smartcar.Client, callbackURL string, cookies []*http.Cookie) (*smartcar.Grant, error) {
	r := httptest.NewRequest(http.MethodGet, callbackURL, nil)
	for _, c := range cookies {
		r.AddCookie(c)
	}
	return client.Connect().HandleCallback(httptest.NewRecorder(), r)
}

// connect walks the whole of Connect as a consenting owner.
func connect(t testing.TB, sim *smartcartest.Server, client *smartcar.Client) *smartcar.Grant {
	t.Helper()
	authorizeURL, cookies := begin(t, client, smartcar.ConnectOptions{})
	callbackURL, err := sim.Grant(authorizeURL)
	require.NoError(t, err)
	grant, err := finish(client, callbackURL, cookies)
	require.NoError(t, err)
	return grant
}

// connected returns a client with one connected owner of the default garage.
func connected(t testing.TB, sim *smartcartest.Server, opts ...smartcar.Option) (*smartcar.Client, *smartcar.User) {
	t.Helper()
	client := newClient(t, sim, opts...)
	return client, client.User(connect(t, sim, client).UserID)
}

func mustParse(t testing.TB, raw string) *url.URL {
	t.Helper()
	u, err := url.Parse(raw)
	require.NoError(t, err)
	return u
}

// noContext is the nil that a caller may pass by mistake.
func noContext() context.Context { return nil }
