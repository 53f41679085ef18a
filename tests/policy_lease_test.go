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
// sent, so that the turn is there for the next one, whatever is sent without a store.
func TestCallerWhoLeavesWhileTheTurnIsTakenCostsNone(t *testing.T) {
	for name, policy := range map[string]smartcar.StorePolicy{"default": {}, "send everything": {SendKeyless: true}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sim := smartcartest.New()
				db := newSpoiledStore()
				_, user := connected(t, sim, smartcar.WithStore(db), smartcar.WithStorePolicy(policy))
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
		})
	}
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

// Replica A's store answers late that the turn is taken; A dies with its
// request on the wire. Replica B must not come before the window has passed.
func TestSlowStoreLetsNoRequestOutliveItsLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		db := newSpoiledStore()
		a, user := connected(t, sim, smartcar.WithStore(db), smartcar.WithRetry(smartcar.RetryPolicy{MaxAttempts: 1}))
		b := newClient(t, sim, smartcar.WithStore(db.Store)).User(user.ID()).Vehicle(smartcartest.ModelY)
		v := a.User(user.ID()).Vehicle(smartcartest.ModelY)
		_, err := v.Access(t.Context())
		require.NoError(t, err)

		var once sync.Once
		var dead atomic.Bool
		db.after = func(string, []byte) error { once.Do(func() { time.Sleep(400 * time.Second) }); return nil }
		db.before = func(string, []byte) error {
			if dead.Load() {
				return errStoreDown
			}
			return nil
		}
		sim.Inject(smartcartest.Fault{DropAfter: true, Match: func(r *http.Request) bool {
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
		require.Equal(t, 2, countedData(sim, smartcartest.ModelY))
		require.Empty(t, sim.BrokenWindows(smartcartest.ModelY))
	})
}

// A store that is always that slow can guard nothing: nothing is sent.
func TestStoreThatIsTooSlowForATurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		db := newSpoiledStore()
		_, user := connected(t, sim, smartcar.WithStore(db))
		v := user.Vehicle(smartcartest.ModelY)
		_, err := v.Access(t.Context())
		require.NoError(t, err)
		db.after = func(string, []byte) error { time.Sleep(400 * time.Second); return nil }
		_, err = v.Battery(t.Context())
		require.ErrorIs(t, err, smartcar.ErrStore)
		require.Zero(t, countedData(sim, smartcartest.ModelY))
	})
}

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

// skewedReplicas are two whose clocks are three minutes apart, and a store that knows better.
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
