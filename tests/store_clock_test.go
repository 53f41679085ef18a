package smartcar_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/smartcartest"
	"github.com/seed-498a1bc4/smartcar/store"
	"github.com/stretchr/testify/require"
)

// clockStore has a clock of its own, as a database server has.
type clockStore struct {
	store.Store
	ahead time.Duration
}

func (s clockStore) stamp(r store.Record) store.Record {
	r.Now = time.Now().Add(s.ahead)
	return r
}

func (s clockStore) Load(ctx context.Context, key string) (store.Record, error) {
	r, err := s.Store.Load(ctx, key)
	return s.stamp(r), err
}

func (s clockStore) CompareAndSwap(ctx context.Context, key string, old store.Revision, value []byte, ttl time.Duration) (store.Record, error) {
	r, err := s.Store.CompareAndSwap(ctx, key, old, value, ttl)
	return s.stamp(r), err
}

var clockOffsets = []time.Duration{-90 * time.Second, 0, 90 * time.Second}

func TestWindowsHoldByTheClockOfTheStore(t *testing.T) {
	for _, ahead := range clockOffsets {
		t.Run(ahead.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sim := smartcartest.New()
				_, user := connected(t, sim, smartcar.WithStore(clockStore{store.NewMemory(), ahead}))
				v := user.Vehicle(smartcartest.ModelY)
				var last time.Time
				for range 25 * 60 * 6 {
					_, err := v.Odometer(t.Context())
					var limited *smartcar.RateLimitError
					if err == nil {
						if !last.IsZero() {
							require.Less(t, time.Since(last), window+15*time.Second)
						}
						last = time.Now()
					} else {
						require.ErrorAs(t, err, &limited)
						require.WithinDuration(t, last.Add(window), limited.NextAllowed, time.Second, "by the clock of the caller")
					}
					time.Sleep(10 * time.Second)
				}
				require.Equal(t, 4, countedData(sim, smartcartest.ModelY))
				require.Empty(t, sim.BrokenWindows(smartcartest.ModelY))
			})
		})
	}
}

// Replicas whose clocks are three minutes apart, and a store that knows better.
func skewedReplicas(t *testing.T, sim *smartcartest.Server) (early, late *smartcar.Client, userID string) {
	t.Helper()
	db := smartcar.WithStore(clockStore{store.NewMemory(), 0})
	fast, slow := new(steppingClock), new(steppingClock)
	fast.stepBack(-90 * time.Second)
	slow.stepBack(90 * time.Second)
	early, late = newClient(t, sim, db, smartcar.WithClock(slow)), newClient(t, sim, db, smartcar.WithClock(fast))
	return early, late, connect(t, sim, late).UserID
}

func TestWindowsHoldAmongReplicasWithClocksApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		early, late, userID := skewedReplicas(t, sim)
		replicas := []*smartcar.Client{early, late}
		for i := range 25 * 60 * 6 {
			_, err := replicas[i%2].User(userID).Vehicle(smartcartest.ModelY).Odometer(t.Context())
			if err != nil {
				require.ErrorIs(t, err, smartcar.ErrRateLimited)
			}
			time.Sleep(10 * time.Second)
		}
		require.Equal(t, 4, countedData(sim, smartcartest.ModelY))
		require.Empty(t, sim.BrokenWindows(smartcartest.ModelY))
	})
}

// What a replica with a slow clock learns is not older than it is.
func TestEvidenceOfPairingOpensTheGateWhateverTheClocksSay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		early, late, userID := skewedReplicas(t, sim)
		_, err := late.User(userID).Vehicle(smartcartest.ModelY).Odometer(t.Context())
		require.NoError(t, err)
		time.Sleep(10 * time.Second)
		require.NoError(t, sim.Pair(smartcartest.ModelY))
		v := early.User(userID).Vehicle(smartcartest.ModelY)
		status, err := v.KeyStatus(t.Context())
		require.NoError(t, err)
		require.Equal(t, smartcar.KeyInstalled, status.State)
		_, err = v.Odometer(t.Context())
		require.NoError(t, err)
		_, err = late.User(userID).Vehicle(smartcartest.ModelY).Lock(t.Context())
		require.NoError(t, err)
	})
}

// The same for tokens: a lease is a lease by any clock.
func TestReplicasWithClocksApartKeepTheLogin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		early, late, userID := skewedReplicas(t, sim)
		for i := range 10 {
			time.Sleep(3 * time.Hour)
			sim.Inject(smartcartest.Fault{Path: "/oauth/token", LatencyAfter: 5 * time.Second})
			done := make(chan error)
			for _, client := range []*smartcar.Client{early, late} {
				go func() {
					_, err := client.User(userID).Vehicle(smartcartest.MachE).Odometer(t.Context())
					done <- err
				}()
				time.Sleep(time.Millisecond)
			}
			require.NoError(t, <-done)
			require.NoError(t, <-done)
			require.Equal(t, 2+i, sim.TokenRequests())
		}
	})
}

func TestWaitEndsWhenTheStoreSaysSo(t *testing.T) {
	for _, ahead := range clockOffsets {
		t.Run(ahead.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sim := smartcartest.New()
				_, user := connected(t, sim, smartcar.WithStore(clockStore{store.NewMemory(), ahead}))
				v := user.Vehicle(smartcartest.ModelY)
				_, err := v.Odometer(t.Context())
				require.NoError(t, err)
				began := time.Now()
				require.NoError(t, v.Wait(t.Context()))
				require.WithinDuration(t, began.Add(window), time.Now(), 5*time.Second)
				_, err = v.Odometer(t.Context())
				require.NoError(t, err)
			})
		})
	}
}
