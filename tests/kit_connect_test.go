package smartcar_test

import (
	"context"
	"iter"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
	"testing/synctest"

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

// newClientV3 returns a client of the simulator that speaks API v3.
func newClientV3(t testing.TB, sim *smartcartest.Server, opts ...smartcar.Option) *smartcar.Client {
	t.Helper()
	opts = append([]smartcar.Option{
		smartcar.WithHTTPClient(&http.Client{Transport: sim.Transport()}), smartcar.WithAPI(smartcar.V3),
	}, opts...)
	client, err := smartcar.New(smartcar.Config{
		ApplicationID: sim.ClientID(), APIClientID: sim.APIClientID(), APIClientSecret: sim.APIClientSecret(),
		RedirectURL: sim.RedirectURL(), StateKey: stateKey, ManagementToken: sim.ManagementToken(),
	}, opts...)
	require.NoError(t, err)
	return client
}

// connectedV3 returns such a client with one connected owner.
func connectedV3(t testing.TB, sim *smartcartest.Server, opts ...smartcar.Option) (*smartcar.Client, *smartcar.User) {
	t.Helper()
	client := newClientV3(t, sim, opts...)
	return client, client.User(connect(t, sim, client).UserID)
}

// onV3 is the owner alone.
func onV3(t testing.TB, sim *smartcartest.Server, opts ...smartcar.Option) *smartcar.User {
	t.Helper()
	_, user := connectedV3(t, sim, opts...)
	return user
}

// apiClient is the client of either API: one option makes the difference.
func apiClient(t testing.TB, sim *smartcartest.Server, api smartcar.API, opts ...smartcar.Option) *smartcar.Client {
	t.Helper()
	opts = append([]smartcar.Option{
		smartcar.WithHTTPClient(&http.Client{Transport: sim.Transport()}), smartcar.WithAPI(api),
	}, opts...)
	client, err := smartcar.New(smartcar.Config{
		ClientID: sim.ClientID(), ClientSecret: sim.ClientSecret(),
		APIClientID: sim.APIClientID(), APIClientSecret: sim.APIClientSecret(),
		RedirectURL: sim.RedirectURL(), StateKey: stateKey, ManagementToken: sim.ManagementToken(),
	}, opts...)
	require.NoError(t, err)
	return client
}

// tapped returns a client of API v3 and what it sends.
func tapped(t testing.TB, sim *smartcartest.Server, opts ...smartcar.Option) (*smartcar.Client, *wireTap) {
	t.Helper()
	tap := &wireTap{next: sim.Transport()}
	opts = append([]smartcar.Option{smartcar.WithHTTPClient(&http.Client{Transport: tap})}, opts...)
	return apiClient(t, sim, smartcar.V3, opts...), tap
}

// connectAs walks Connect as a named owner who grants some of the cars, all if
// none is named.
func connectAs(t *testing.T, sim *smartcartest.Server, client *smartcar.Client, owner string, cars ...string) *smartcar.Grant {
	t.Helper()
	authorizeURL, cookies := begin(t, client, smartcar.ConnectOptions{})
	callback, err := sim.AnswerConnect(authorizeURL, url.Values{"decision": {"grant"}, "user": {owner}, "vehicle": cars})
	require.NoError(t, err)
	grant, err := finish(client, callback, cookies)
	require.NoError(t, err)
	return grant
}

func bothConfig() smartcar.Config {
	return smartcar.Config{
		ClientID: someUUID, ClientSecret: someLegacy, APIClientID: someAPIClient, APIClientSecret: someAPISecret,
		RedirectURL: someCallback, StateKey: stateKey, ManagementToken: someManagement,
	}
}

func withParameter(t *testing.T, rawURL, name, value string) string {
	t.Helper()
	u := mustParse(t, rawURL)
	q := u.Query()
	q.Set(name, value)
	u.RawQuery = q.Encode()
	return u.String()
}

// beginReauth sends the owner of a car to log in again.
func beginReauth(t *testing.T, client *smartcar.Client, v *smartcar.Vehicle, o smartcar.ReauthOptions) (link string, cookies []*http.Cookie) {
	t.Helper()
	w := httptest.NewRecorder()
	require.NoError(t, client.Connect().StartReauth(w, httptest.NewRequest(http.MethodGet, "/", nil), v, o))
	require.Equal(t, "no-store", w.Header().Get("Cache-Control"))
	return w.Header().Get("Location"), w.Result().Cookies()
}

const (
	loopbackURL = "http://localhost:8000/callback"
	secureURL   = "https://app.example/callback"
)

const (
	someUUID       = "8229df9f-91a0-4ff0-a1ae-a1f38ee24d07"
	otherUUID      = "00000000-91a0-4ff0-a1ae-a1f38ee24d07"
	someAPIClient  = "client_01J9ZV3"
	someAPISecret  = "s3cr3t-of-the-api"
	someLegacy     = "s3cr3t-of-legacy"
	someCallback   = "https://example.com/callback"
	someManagement = "s3cr3t-management"
)

// collected reads a list to its end, or to its first error.
func collected[T any](list iter.Seq2[T, error]) (all []T, err error) {
	for v, err := range list {
		if err != nil {
			return all, err
		}
		all = append(all, v)
	}
	return all, nil
}

func gather[T any](t testing.TB, list iter.Seq2[T, error]) []T {
	t.Helper()
	all, err := collected(list)
	require.NoError(t, err)
	return all
}

func collectConnections(ctx context.Context, client *smartcar.Client, filter smartcar.ConnectionFilter) ([]smartcar.Connection, error) {
	return collected(client.Connections(ctx, filter))
}

// listedVehicles are the ids of a user's cars.
func listedVehicles(ctx context.Context, u *smartcar.User) ([]string, error) {
	vehicles, err := collected(u.Vehicles(ctx))
	if err != nil {
		return nil, err
	}
	var ids []string
	for _, v := range vehicles {
		ids = append(ids, v.ID())
	}
	return ids, nil
}

// onEitherAPI runs a story on each API, in a bubble of its own.
func onEitherAPI(t *testing.T, story func(t *testing.T, sim *smartcartest.Server, api smartcar.API)) {
	t.Helper()
	for _, api := range []smartcar.API{smartcar.V2, smartcar.V3} {
		t.Run(string(api), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { story(t, smartcartest.New(), api) })
		})
	}
}

// bothAPIs runs a test on each API, with a connected owner.
func bothAPIs(t *testing.T, test func(t *testing.T, sim *smartcartest.Server, client *smartcar.Client, user *smartcar.User), opts ...smartcar.Option) {
	t.Helper()
	onEitherAPI(t, func(t *testing.T, sim *smartcartest.Server, api smartcar.API) {
		begin := connected
		if api == smartcar.V3 {
			begin = connectedV3
		}
		client, user := begin(t, sim, opts...)
		test(t, sim, client, user)
	})
}

// onBothAPIs runs a story on each API and requires the same result.
func onBothAPIs[T any](t *testing.T, story func(t *testing.T, api smartcar.API) T) {
	t.Helper()
	got := map[smartcar.API]T{}
	for _, api := range []smartcar.API{smartcar.V2, smartcar.V3} {
		t.Run(string(api), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { got[api] = story(t, api) })
		})
	}
	require.Equal(t, got[smartcar.V2], got[smartcar.V3])
}
