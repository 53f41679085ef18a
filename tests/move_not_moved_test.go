package smartcar_test

import (
	"net/http"
	"testing"
	"testing/synctest"

	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/smartcartest"
	"github.com/stretchr/testify/require"
)

// A client of API v3 that meets a user whom it knows from v2.0 only says what
// helps. Whoever is not known at all, or was moved and has disconnected since,
// is not connected.
func TestUserOfV2OnlyIsNotMoved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		v2, _, known, db := moving(t, sim)
		none := onlyTo("/connections", func(sentRequest) *http.Response { return respond(200, `{"data":[]}`) })
		v3, tap := tapped(t, sim, smartcar.WithStore(db))
		tap.instead = none
		user := v3.User(known.ID())

		_, err := listedVehicles(t.Context(), user)
		require.ErrorIs(t, err, smartcar.ErrNotMoved)
		require.NotErrorIs(t, err, smartcar.ErrNotConnected)
		require.ErrorContains(t, err, "MoveToV3")
		_, err = user.Vehicle(smartcartest.Model3).Permissions(t.Context())
		require.ErrorIs(t, err, smartcar.ErrNotMoved)
		require.ErrorIs(t, user.Vehicle(smartcartest.Model3).Disconnect(t.Context()), smartcar.ErrNotMoved)
		_, err = listedVehicles(t.Context(), v3.User("somebody-else"))
		require.ErrorIs(t, err, smartcar.ErrNotConnected)

		tap.instead = nil
		_, err = v3.MoveToV3(t.Context(), smartcar.MoveOptions{Apply: true})
		require.NoError(t, err)
		_, err = listedVehicles(t.Context(), user)
		require.NoError(t, err)
		tap.instead = none
		_, err = listedVehicles(t.Context(), user)
		require.ErrorIs(t, err, smartcar.ErrNotConnected)
		_, err = listedVehicles(t.Context(), v2.User(known.ID()))
		require.NoError(t, err, "v2.0 goes on working")
	})
}
