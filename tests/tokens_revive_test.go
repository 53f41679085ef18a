package smartcar_test

import (
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/smartcartest"
	"github.com/seed-498a1bc4/smartcar/store"
	"github.com/stretchr/testify/require"
)

// cutOff is a replica that refreshes a token just when it loses the store, and
// another one that is told, after the grace, that the token is void, and ends
// the grant. It returns what gives the first one the store back.
func cutOff(t *testing.T, sim *smartcartest.Server) (holder, other *smartcar.User, reconnect func()) {
	t.Helper()
	shared := store.NewMemory()
	var away atomic.Bool
	spoiled := &spoiledStore{Store: shared, seenKeys: map[string]bool{}}
	spoiled.load = func(string) error {
		if away.Load() {
			return errStoreDown
		}
		return nil
	}
	spoiled.before = func(key string, value []byte) error {
		if strings.HasPrefix(key, "grant/") && sim.TokenRequests() > 1 {
			away.Store(true) // the new pair is here and nowhere else
		}
		if away.Load() {
			return errStoreDown
		}
		return nil
	}
	_, holder = connected(t, sim, smartcar.WithStore(spoiled))
	other = newClient(t, sim, smartcar.WithStore(shared)).User(holder.ID())
	time.Sleep(3 * time.Hour) // the access token has ended
	_, err := holder.Vehicle(smartcartest.Model3).Odometer(t.Context())
	require.ErrorIs(t, err, smartcar.ErrStore)
	require.Equal(t, 2, sim.TokenRequests())
	time.Sleep(2 * time.Minute) // the grace is over
	_, err = other.Vehicle(smartcartest.Model3).Odometer(t.Context())
	require.ErrorIs(t, err, smartcar.ErrReconnectRequired, "it cannot know better")
	return holder, other, func() { spoiled.before = nil; away.Store(false) }
}

// A pair that could not be stored saves a login that another replica gave up.
func TestPairThatCouldNotBeStoredRevivesItsGrant(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		holder, other, reconnect := cutOff(t, sim)
		reconnect()
		time.Sleep(2 * time.Minute)
		_, err := holder.Vehicle(smartcartest.Model3).Odometer(t.Context())
		require.NoError(t, err)
		time.Sleep(2 * time.Minute)
		_, err = other.Vehicle(smartcartest.Model3).Odometer(t.Context())
		require.NoError(t, err, "it is there for all again")
		ids, err := listedVehicles(t.Context(), other)
		require.NoError(t, err)
		require.Len(t, ids, 7)
		require.NoError(t, other.Renew(t.Context(), 61*24*time.Hour))
	})
}

// But not one of a user who was forgotten.
func TestPairThatCouldNotBeStoredIsForgottenWithItsUser(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		holder, other, reconnect := cutOff(t, sim)
		require.NoError(t, other.Forget(t.Context()))
		reconnect()
		time.Sleep(2 * time.Minute)
		_, err := holder.Vehicle(smartcartest.Model3).Odometer(t.Context())
		require.ErrorIs(t, err, smartcar.ErrNotConnected)
		_, err = other.Vehicle(smartcartest.Model3).Odometer(t.Context())
		require.ErrorIs(t, err, smartcar.ErrNotConnected)
	})
}
