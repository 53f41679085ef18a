package smartcar_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/internal/records"
	"github.com/seed-498a1bc4/smartcar/internal/users"
	"github.com/seed-498a1bc4/smartcar/smartcartest"
	"github.com/seed-498a1bc4/smartcar/store"
	"github.com/stretchr/testify/require"
)

// steadyStore takes a moment for each load.
type steadyStore struct {
	store.Store
	takes time.Duration
}

func (s *steadyStore) Load(ctx context.Context, key string) (store.Record, error) {
	time.Sleep(s.takes)
	if ctx.Err() != nil {
		return store.Record{}, ctx.Err()
	}
	return s.Store.Load(ctx, key)
}

// The end of a grant takes the answers about all of the user's cars along. However
// many they are, it comes to its end.
func TestGrantOfAFleetEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		db := &steadyStore{Store: store.NewMemory()}
		_, user := connected(t, sim, smartcar.WithStore(db), allAnswers)
		_, ids := garageOf(1100)
		require.NoError(t, users.New(records.New(db, wallClock{}), wallClock{}, 0).AddCars(t.Context(), user.ID(), ids))
		time.Sleep(3 * time.Hour)
		sim.RevokeGrants()
		db.takes = 10 * time.Millisecond
		_, err := user.Vehicle(smartcartest.MachE).Odometer(t.Context())
		require.ErrorIs(t, err, smartcar.ErrReconnectRequired)
		require.NotErrorIs(t, err, context.DeadlineExceeded)
		asked := sim.TokenRequests()
		_, err = user.Vehicle(smartcartest.MachE).Odometer(t.Context())
		require.ErrorIs(t, err, smartcar.ErrReconnectRequired)
		require.Equal(t, asked, sim.TokenRequests(), "it is known that the grant has ended")
	})
}
