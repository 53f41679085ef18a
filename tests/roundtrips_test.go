package smartcar_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/smartcartest"
	"github.com/seed-498a1bc4/smartcar/store"
	"github.com/stretchr/testify/require"
)

// countingStore counts the round trips that a shared store would cost.
type countingStore struct {
	store.Store
	trips atomic.Int64
}

func (s *countingStore) Load(ctx context.Context, key string) (store.Record, error) {
	s.trips.Add(1)
	return s.Store.Load(ctx, key)
}

func (s *countingStore) CompareAndSwap(ctx context.Context, key string, old store.Revision, value []byte, ttl time.Duration) (store.Record, error) {
	s.trips.Add(1)
	return s.Store.CompareAndSwap(ctx, key, old, value, ttl)
}

func (s *countingStore) during(f func()) int64 {
	before := s.trips.Load()
	f()
	return s.trips.Load() - before
}

func TestRoundTripsOfATurnAndOfARefusal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		db := &countingStore{Store: store.NewMemory()}
		_, user := connected(t, sim, smartcar.WithStore(db))
		v := user.Vehicle(smartcartest.ModelY)
		time.Sleep(100 * time.Microsecond) // records round: a refusal in the same millisecond must not mend them
		read := func() error { _, err := v.Battery(t.Context()); return err }
		require.NoError(t, read())

		require.Zero(t, db.during(func() { require.ErrorIs(t, read(), smartcar.ErrRateLimited) }), "a refusal that is known here")

		// A window later, with nothing else to learn on the way: the token and
		// the key status are fresh, and so is what is known of the user.
		time.Sleep(window + time.Millisecond)
		_, err := v.KeyStatus(t.Context())
		require.NoError(t, err)
		_, err = user.Vehicle(smartcartest.MachE).Attributes(t.Context())
		require.NoError(t, err)
		require.EqualValues(t, 2, db.during(func() { require.NoError(t, read()) }), "reserve and settle")
	})
}
