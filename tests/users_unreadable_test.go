package smartcar_test

import (
	"strings"
	"testing"

	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/smartcartest"
	"github.com/stretchr/testify/require"
)

// spoilUser overwrites the record of a user with what nobody can read.
func spoilUser(t *testing.T, db *spoiledStore, user *smartcar.User) {
	t.Helper()
	spoil(t, db, "user/"+user.ID())
}

func spoil(t *testing.T, db *spoiledStore, key string) {
	t.Helper()
	r, err := db.Store.Load(t.Context(), key)
	require.NoError(t, err)
	_, err = db.Store.CompareAndSwap(t.Context(), key, r.Revision, []byte("garbage"), 0)
	require.NoError(t, err)
}

// The owner's way out of a record that cannot be read is to connect again.
func TestConnectRepairsAUserWhoCannotBeRead(t *testing.T) {
	onEitherAPI(t, func(t *testing.T, sim *smartcartest.Server, api smartcar.API) {
		db := newSpoiledStore()
		client := apiClient(t, sim, api, smartcar.WithStore(db), allAnswers)
		user := client.User(connect(t, sim, client).UserID)
		_, err := user.Vehicle(smartcartest.MachE).Odometer(t.Context())
		require.NoError(t, err)
		spoilUser(t, db, user)
		fresh := apiClient(t, sim, api, smartcar.WithStore(db), allAnswers)
		_, err = fresh.User(user.ID()).VirtualKeyURL(t.Context())
		require.ErrorIs(t, err, smartcar.ErrStore)

		require.Equal(t, user.ID(), connect(t, sim, fresh).UserID)
		_, err = fresh.User(user.ID()).VirtualKeyURL(t.Context())
		require.NoError(t, err)
		_, err = fresh.User(user.ID()).Vehicle(smartcartest.MachE).Odometer(t.Context())
		require.NoError(t, err)

		// The first grant and what it was told go, too, though the record has lost them.
		require.NoError(t, user.Forget(t.Context()))
		requireNothingKeptOfUser(t, db)
	})
}

// So it is for a grant: the new one takes its place, whether the program lists the cars
// first or reads one that the lost grant had listed.
func TestConnectRepairsAGrantThatCannotBeRead(t *testing.T) {
	for _, lists := range []bool{true, false} {
		onEitherAPI(t, func(t *testing.T, sim *smartcartest.Server, api smartcar.API) {
			db := newSpoiledStore()
			client := apiClient(t, sim, api, smartcar.WithStore(db), allAnswers)
			user := client.User(connect(t, sim, client).UserID)
			connect(t, sim, client) // which grant lists a car is filed where there are several
			for _, err := range user.Vehicles(t.Context()) {
				require.NoError(t, err)
			}
			for _, key := range db.live(t) {
				if strings.HasPrefix(key, "grant/") {
					spoil(t, db, key)
				}
			}
			fresh := apiClient(t, sim, api, smartcar.WithStore(db), allAnswers)
			user = fresh.User(connect(t, sim, fresh).UserID)
			if lists {
				n := 0
				for _, err := range user.Vehicles(t.Context()) {
					require.NoError(t, err)
					n++
				}
				require.Len(t, smartcartest.DefaultGarage(), n)
			}
			_, err := user.Vehicle(smartcartest.MachE).Odometer(t.Context())
			require.NoError(t, err)
			require.NoError(t, user.Forget(t.Context()))
			requireNothingKeptOfUser(t, db)
		})
	}
}

// A right to be forgotten does not depend on what can be read.
func TestForgetOfAUserWhoCannotBeRead(t *testing.T) {
	onEitherAPI(t, func(t *testing.T, sim *smartcartest.Server, api smartcar.API) {
		db := newSpoiledStore()
		client := apiClient(t, sim, api, smartcar.WithStore(db), allAnswers)
		user := client.User(connect(t, sim, client).UserID)
		for _, id := range []string{smartcartest.MachE, smartcartest.ModelS2018, smartcartest.ModelY} {
			_, err := user.Vehicle(id).Location(t.Context())
			require.NoError(t, err)
		}
		spoilUser(t, db, user)
		require.NoError(t, apiClient(t, sim, api, smartcar.WithStore(db), allAnswers).User(user.ID()).Forget(t.Context()))
		requireNothingKeptOfUser(t, db, "car/"+smartcartest.ModelY)
		_, err := client.User(user.ID()).VirtualKeyURL(t.Context())
		require.ErrorIs(t, err, smartcar.ErrNotConnected)
		require.NoError(t, user.Forget(t.Context()))
	})
}

// requireNothingKeptOfUser: no tokens, no answers, and of the cars open windows alone.
func requireNothingKeptOfUser(t *testing.T, db *spoiledStore, windows ...string) {
	t.Helper()
	for _, key := range db.live(t) {
		if strings.HasPrefix(key, "answers/") {
			record, err := db.Store.Load(t.Context(), key)
			require.NoError(t, err)
			require.NotContains(t, string(record.Value), "scope")
			continue
		}
		if !strings.HasPrefix(key, "application/") {
			require.Contains(t, windows, key)
		}
	}
}
