package smartcar_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/smartcartest"
	"github.com/seed-498a1bc4/smartcar/store"
	"github.com/stretchr/testify/require"
)

// notingStore notes the writes of cars, and which may be lost.
type notingStore struct {
	store.Store
	cars    int
	losable []string
}

func (s *notingStore) CompareAndSwap(ctx context.Context, key string, old store.Revision, value []byte, ttl time.Duration) (store.Record, error) {
	if strings.HasPrefix(key, "car/") {
		s.cars++
	}
	if store.MayBeLost(ctx) {
		s.losable = append(s.losable, key)
	}
	return s.Store.CompareAndSwap(ctx, key, old, value, ttl)
}

// Only what ends a turn that stands in the store may be lost: not the turn
// itself, no token, no evidence and no user.
func TestOnlyTheEndOfATurnMayBeLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		db := &notingStore{Store: store.NewMemory()}
		_, user := connected(t, sim, smartcar.WithStore(db))
		keyless, paired := user.Vehicle(smartcartest.ModelY), user.Vehicle(smartcartest.Model3)
		_, err := paired.Odometer(t.Context())
		require.NoError(t, err)
		require.NoError(t, keyless.SetKeyState(t.Context(), smartcar.KeyMissing))
		require.Empty(t, db.losable)

		before := db.cars
		_, err = keyless.Odometer(t.Context())
		require.NoError(t, err)
		require.Equal(t, []string{"car/" + smartcartest.ModelY}, db.losable)
		require.Greater(t, db.cars, before+1)

		sim.Inject(smartcartest.Fault{ErrorType: "CONNECTED_SERVICES_ACCOUNT", ErrorCode: "VIRTUAL_KEY_REQUIRED"})
		_, err = paired.Odometer(t.Context()) // no turn was reserved for it
		require.ErrorIs(t, err, smartcar.ErrVirtualKeyRequired)
		require.Len(t, db.losable, 1)
	})
}
