package smartcar_test

import (
	"net/http"
	"testing"

	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/smartcartest"
	"github.com/stretchr/testify/require"
)

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
