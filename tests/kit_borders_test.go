package smartcar_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/smartcartest"
	"github.com/stretchr/testify/require"
)

// borderClient is a client of the simulator, over a transport of the test's.
func borderClient(t *testing.T, sim *smartcartest.Server, api smartcar.API, transport http.RoundTripper, opts ...smartcar.Option) *smartcar.Client {
	t.Helper()
	opts = append([]smartcar.Option{smartcar.WithHTTPClient(&http.Client{Transport: transport}), smartcar.WithAPI(api)}, opts...)
	config := smartcar.Config{
		ApplicationID: sim.ApplicationID(), RedirectURL: sim.RedirectURL(),
		StateKey: []byte("0123456789abcdef0123456789abcdef"), ManagementToken: sim.ManagementToken(),
	}
	if api == smartcar.V3 {
		config.APIClientID, config.APIClientSecret = sim.APIClientID(), sim.APIClientSecret()
	} else {
		config.ClientSecret = sim.ClientSecret()
	}
	client, err := smartcar.New(config, opts...)
	require.NoError(t, err)
	return client
}

// borderConnect walks Connect as a consenting owner.
func borderConnect(t *testing.T, sim *smartcartest.Server, client *smartcar.Client) (*smartcar.Grant, error) {
	t.Helper()
	w := httptest.NewRecorder()
	require.NoError(t, client.Connect().Start(w, httptest.NewRequest(http.MethodGet, "/connect", nil), smartcar.ConnectOptions{}))
	callbackURL, err := sim.Grant(w.Header().Get("Location"))
	require.NoError(t, err)
	r := httptest.NewRequest(http.MethodGet, callbackURL, nil)
	for _, c := range w.Result().Cookies() {
		r.AddCookie(c)
	}
	return client.Connect().HandleCallback(httptest.NewRecorder(), r)
}

// borderConnected is a connected owner of the simulator's cars, on API v2.0.
func borderConnected(t *testing.T, sim *smartcartest.Server, opts ...smartcar.Option) *smartcar.User {
	t.Helper()
	client := borderClient(t, sim, smartcar.V2, sim.Transport(), opts...)
	grant, err := borderConnect(t, sim, client)
	require.NoError(t, err)
	return client.User(grant.UserID)
}
