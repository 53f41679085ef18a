package smartcar_test

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/smartcartest"
	"github.com/seed-498a1bc4/smartcar/store"
	"github.com/stretchr/testify/require"
)

// laggingStore has a clock, and paths to and from it that take their time.
type laggingStore struct {
	store.Store
	to, from func(key string) // before and after the store does, and reads its clock
}

func (s *laggingStore) Load(ctx context.Context, key string) (store.Record, error) {
	s.to(key)
	r, err := s.Store.Load(ctx, key)
	r.Now = time.Now()
	s.from(key)
	return r, err
}

func (s *laggingStore) CompareAndSwap(ctx context.Context, key string, old store.Revision, value []byte, ttl time.Duration) (store.Record, error) {
	s.to(key)
	r, err := s.Store.CompareAndSwap(ctx, key, old, value, ttl)
	r.Now = time.Now()
	s.from(key)
	return r, err
}

// A process dies with its request on the wire, which reaches the car as late as
// it may. However late the store said what time it is, or that the user is
// known, the next replica must not come before the window has passed.
func TestLeaseCoversARequestWhateverTheStoreWasLateWith(t *testing.T) {
	for name, slow := range map[string]string{"the car": "car/", "the user": "user/"} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sim := smartcartest.New()
				memory := store.NewMemory()
				var late, dead atomic.Bool
				wait := func(key string) {
					if late.Load() && strings.HasPrefix(key, slow) && late.CompareAndSwap(true, false) {
						time.Sleep(100 * time.Second)
					}
				}
				spoiled := &spoiledStore{Store: memory, seenKeys: make(map[string]bool)}
				spoiled.before = func(string, []byte) error {
					if dead.Load() {
						return errStoreDown
					}
					return nil
				}
				db := &laggingStore{Store: spoiled, to: func(string) {}, from: wait}
				// The class is not to be known, so that the turn is the first thing stored.
				sim.Inject(smartcartest.Fault{Match: attributesOf(smartcartest.ModelY), ErrorType: "UPSTREAM", Times: -1})
				a, user := connected(t, sim, smartcar.WithStore(db), smartcar.WithRetry(smartcar.RetryPolicy{MaxAttempts: 1}))
				b := newClient(t, sim, smartcar.WithStore(&laggingStore{memory, func(string) {}, func(string) {}})).User(user.ID()).Vehicle(smartcartest.ModelY)
				v := a.User(user.ID()).Vehicle(smartcartest.ModelY)
				_, err := b.Access(t.Context()) // the car has a record
				require.NoError(t, err)

				late.Store(true)
				sim.Inject(smartcartest.Fault{Latency: 305 * time.Second, LatencyAfter: time.Hour, Match: func(r *http.Request) bool {
					hit := strings.HasSuffix(r.URL.Path, "/battery")
					if hit {
						dead.Store(true)
					}
					return hit
				}})
				_, err = v.Battery(t.Context())
				require.Error(t, err)
				require.True(t, dead.Load(), "the request did not leave: the test proves nothing")
				for {
					if _, err = b.Odometer(t.Context()); err == nil {
						break
					}
					at, ok := smartcar.NextAllowed(err)
					require.True(t, ok)
					time.Sleep(max(time.Until(at), time.Second))
				}
				require.Empty(t, sim.BrokenWindows(smartcartest.ModelY))
				require.Equal(t, 2, countedData(sim, smartcartest.ModelY))
			})
		})
	}
}

// What Forget leaves of a car must not go before its window closes.
func TestForgetThroughASlowStoreKeepsTheWholeWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		var once sync.Once
		var late atomic.Bool
		db := &laggingStore{Store: store.NewMemory(), from: func(string) {}, to: func(key string) {
			if late.Load() && strings.HasPrefix(key, "car/") {
				once.Do(func() { time.Sleep(20 * time.Second) })
			}
		}}
		client, user := connected(t, sim, smartcar.WithStore(db))
		_, err := user.Vehicle(smartcartest.ModelY).Odometer(t.Context())
		require.NoError(t, err)
		answered := time.Now()
		time.Sleep(time.Hour)
		late.Store(true)
		require.NoError(t, user.Forget(t.Context()))
		connect(t, sim, client)
		v := user.Vehicle(smartcartest.ModelY)
		time.Sleep(time.Until(answered.Add(window)) - 5*time.Second)
		refusedLocally(t, v)
		require.Empty(t, sim.BrokenWindows(smartcartest.ModelY))
	})
}

// A caller leaves while the store notes that the turn is taken: nothing was
// sent, so that the turn is there for the next one.
func TestCallerWhoLeavesWhileTheTurnIsTakenCostsNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		db := newSpoiledStore()
		_, user := connected(t, sim, smartcar.WithStore(db))
		v := user.Vehicle(smartcartest.ModelY)
		_, err := v.Access(t.Context())
		require.NoError(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		var once sync.Once
		db.after = func(string, []byte) (err error) {
			once.Do(func() { cancel(); err = context.Canceled })
			return err
		}
		_, err = v.Odometer(ctx)
		require.ErrorIs(t, err, context.Canceled)
		require.Zero(t, countedData(sim, smartcartest.ModelY))
		_, err = v.Odometer(t.Context())
		require.NoError(t, err)
	})
}

// The store hangs after a read of a paired car: the caller's patience ends, and
// the answer is there.
func TestStoreThatHangsAfterAnAnswerHoldsNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		db := &stuckStore{Store: store.NewMemory()}
		_, user := connected(t, sim, smartcar.WithStore(db))
		v := user.Vehicle(smartcartest.Model3)
		_, err := v.Odometer(t.Context())
		require.NoError(t, err)
		sim.Inject(smartcartest.Fault{Match: func(r *http.Request) bool { db.hangs.Store(true); return false }})
		done := make(chan error, 1)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		go func() { _, err := v.Odometer(ctx); done <- err }()
		select {
		case err := <-done:
			require.NoError(t, err)
		case <-time.After(5 * time.Minute):
			t.Error("the answer is there, and the caller waits for the store")
			db.hangs.Store(false)
			close(db.let())
			require.NoError(t, <-done)
		}
	})
}

// stuckStore answers nothing while it hangs, except that a context ended.
type stuckStore struct {
	store.Store
	hangs atomic.Bool
	once  sync.Once
	free  chan struct{}
}

func (s *stuckStore) let() chan struct{} {
	s.once.Do(func() { s.free = make(chan struct{}) })
	return s.free
}

func (s *stuckStore) Load(ctx context.Context, key string) (store.Record, error) {
	if s.hangs.Load() {
		select {
		case <-ctx.Done():
			return store.Record{}, ctx.Err()
		case <-s.let():
		}
	}
	return s.Store.Load(ctx, key)
}
