package smartcar_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/smartcartest"
	"github.com/seed-498a1bc4/smartcar/store"
	"github.com/stretchr/testify/require"
)

// lateStore reads the record of a car at once, and answers late, once.
type lateStore struct {
	store.Store
	late time.Duration
}

func (s *lateStore) Load(ctx context.Context, key string) (store.Record, error) {
	r, err := s.Store.Load(ctx, key)
	if late := s.late; late > 0 && strings.HasPrefix(key, "car/") {
		s.late = 0
		time.Sleep(late)
	}
	return r, err
}

// A record of an open car is as old as the question for it: the key may have been seen to
// be gone before the answer comes.
func TestOpenCarIsReadByARecordAsOldAsTheQuestion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New(smartcartest.WithKeylessAnswer(smartcartest.StaleData))
		memory := store.NewMemory()
		db := &lateStore{Store: memory}
		_, user := connected(t, sim, smartcar.WithStore(db))
		v := user.Vehicle(smartcartest.Model3)
		there := newClient(t, sim, smartcar.WithStore(memory)).User(user.ID()).Vehicle(v.ID())
		_, err := v.Battery(t.Context())
		require.NoError(t, err)
		time.Sleep(2 * time.Minute)
		var removed sync.WaitGroup
		removed.Go(func() {
			time.Sleep(time.Second)
			require.NoError(t, sim.Unpair(v.ID()))
			_, err := there.KeyStatus(t.Context())
			require.NoError(t, err)
		})
		db.late = 100 * time.Second
		var last time.Time
		for range 60 {
			if _, err := v.Battery(t.Context()); err != nil {
				require.ErrorIs(t, err, smartcar.ErrRateLimited)
				break
			}
			last = time.Now()
			time.Sleep(time.Second)
		}
		removed.Wait()
		_, err = there.Battery(t.Context())
		time.Sleep(time.Until(requireKeyless(t, err).NextAllowed))
		require.GreaterOrEqual(t, time.Since(last), window)
	})
}

// That the reads of others are counted until a moment from now is no sign of a clock that
// was set back, however short the lease of a turn is.
func TestRemovedKeyTellsOneTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New(smartcartest.WithKeylessAnswer(smartcartest.StaleData))
		db := &listingStore{Store: store.NewMemory()}
		_, user := connected(t, sim, smartcar.WithStore(db), smartcar.WithTimeout(10*time.Second))
		v := user.Vehicle(smartcartest.Model3)
		_, err := v.Battery(t.Context())
		require.NoError(t, err)
		time.Sleep(time.Minute)
		require.NoError(t, sim.Unpair(v.ID()))
		_, err = v.KeyStatus(t.Context())
		require.NoError(t, err)
		counted := time.Now().Add(2 * time.Minute)
		for range 5 {
			for _, call := range db.during(func() { _, err = v.Battery(t.Context()) }) {
				require.NotContains(t, call, "swap")
			}
			require.WithinDuration(t, counted.Add(window), requireKeyless(t, err).NextAllowed, time.Second)
			time.Sleep(40 * time.Second)
		}
	})
}

// A car that was not read for long may be read by two processes: one that has heard that
// its key is gone, and one that has not. The first waits until the second has heard of it.
func TestTurnOfARemovedKeyWaitsForThoseWhoHaveNotHeard(t *testing.T) {
	for name, unheard := range map[string]bool{"somebody reads": true, "nobody reads": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sim := smartcartest.New(smartcartest.WithKeylessAnswer(smartcartest.StaleData))
				db := store.NewMemory()
				_, user := connected(t, sim, smartcar.WithStore(db))
				v := user.Vehicle(smartcartest.Model3)
				there := newClient(t, sim, smartcar.WithStore(db)).User(user.ID()).Vehicle(v.ID())
				_, err := v.Access(t.Context())
				require.NoError(t, err)
				time.Sleep(10 * time.Second)
				require.NoError(t, sim.Unpair(v.ID()))
				_, err = there.KeyStatus(t.Context())
				require.NoError(t, err)
				_, err = there.Battery(t.Context())
				require.LessOrEqual(t, time.Until(requireKeyless(t, err).NextAllowed), 2*time.Minute)
				time.Sleep(time.Second)
				if unheard {
					_, err = v.Battery(t.Context())
					require.NoError(t, err)
				}
				time.Sleep(2 * time.Minute)
				_, err = there.Battery(t.Context())
				if unheard {
					refusedLocally(t, there)
				} else {
					require.NoError(t, err)
				}
				require.Empty(t, sim.BrokenWindows(v.ID()))
			})
		})
	}
}
