package smartcar_test

import (
	"context"
	"errors"
	"fmt"
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

// failNth makes the nth write to keys with the prefix fail once, after or
// before it has happened, and counts them.
func failNth(db *spoiledStore, prefix string, n int64, landed bool) (writes *atomic.Int64) {
	writes = new(atomic.Int64)
	hook := func(key string, _ []byte) error {
		if strings.HasPrefix(key, prefix) && writes.Add(1) == n {
			return errStoreDown
		}
		return nil
	}
	if landed {
		db.after = hook
	} else {
		db.before = hook
	}
	return writes
}

// What a program does in its life: one write whose answer is lost, or that
// fails, must not be noticed, wherever it happens.
func TestOneFailedWriteIsNotNoticed(t *testing.T) {
	for _, landed := range []bool{true, false} {
		for n := int64(1); ; n++ {
			var writes int64
			t.Run(fmt.Sprintf("write %d, landed %t", n, landed), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					sim := smartcartest.New()
					db := newSpoiledStore()
					count := failNth(db, "", n, landed)
					client, user := connected(t, sim, smartcar.WithStore(db))
					ids, err := listedVehicles(t.Context(), user)
					require.NoError(t, err)
					require.Len(t, ids, 7)
					keyless, paired := user.Vehicle(smartcartest.ModelY), user.Vehicle(smartcartest.Model3)

					_, err = keyless.Odometer(t.Context())
					require.NoError(t, err)
					refusedUntil(t, keyless, time.Now().Add(window))
					_, err = paired.Lock(t.Context())
					require.NoError(t, err)
					time.Sleep(window + time.Second)
					_, err = keyless.Odometer(t.Context()) // refreshes the tokens, too
					require.NoError(t, err)
					refusedUntil(t, keyless, time.Now().Add(window))
					require.Equal(t, 2, countedData(sim, smartcartest.ModelY))
					require.Empty(t, sim.BrokenWindows(smartcartest.ModelY))
					require.Equal(t, 2, sim.TokenRequests())

					require.NoError(t, user.Forget(t.Context()))
					connect(t, sim, client)
					writes = count.Load()
				})
			})
			if t.Failed() {
				t.FailNow()
			}
			if n > writes {
				require.Greater(t, n, int64(10), "hardly anything was written: the test proves nothing")
				break
			}
		}
	}
}

// knownCars is a client that has met every kind of car, and can lose its store.
func knownCars(t *testing.T, sim *smartcartest.Server) (*smartcar.User, *spoiledStore) {
	t.Helper()
	db := newSpoiledStore()
	_, user := connected(t, sim, smartcar.WithStore(db))
	for _, id := range []string{smartcartest.Model3, smartcartest.ModelS2018, smartcartest.MachE, smartcartest.ModelY} {
		_, err := user.Vehicle(id).Odometer(t.Context())
		require.NoError(t, err)
	}
	return user, db
}

func TestWithoutItsStore(t *testing.T) {
	read := func(t *testing.T, v *smartcar.Vehicle) error { _, err := v.Odometer(t.Context()); return err }
	batch := func(t *testing.T, v *smartcar.Vehicle) error {
		_, err := v.Snapshot(t.Context(), smartcar.Odometer, smartcar.Battery)
		return err
	}
	lock := func(t *testing.T, v *smartcar.Vehicle) error { _, err := v.Lock(t.Context()); return err }
	closed := func(t *testing.T, err error, _ time.Duration) {
		var limited *smartcar.RateLimitError
		require.ErrorAs(t, err, &limited)
		require.Equal(t, smartcar.RuleStore, limited.Rule)
		require.True(t, limited.Local)
		require.True(t, limited.NextAllowed.IsZero())
		require.ErrorIs(t, err, smartcar.ErrStore)
		require.ErrorIs(t, err, errStoreDown)
		require.False(t, smartcar.Retryable(err))
	}
	// For a minute, a replica may go by what it has seen itself.
	known := func(t *testing.T, err error, away time.Duration) {
		var limited *smartcar.RateLimitError
		if away >= time.Minute {
			closed(t, err, away)
		} else if require.ErrorAs(t, err, &limited); limited.Rule != smartcar.RuleKeyless {
			closed(t, err, away)
		}
	}
	open := func(t *testing.T, err error, _ time.Duration) { require.NoError(t, err) }
	asked := func(t *testing.T, err error, away time.Duration) {
		var missing *smartcar.VirtualKeyRequiredError
		require.ErrorAs(t, err, &missing)
		require.Equal(t, away < time.Minute, missing.Local, "Smartcar is asked where the evidence is old")
	}
	for name, tt := range map[string]struct {
		id   string
		call func(*testing.T, *smartcar.Vehicle) error
		want func(*testing.T, error, time.Duration)
		sent bool
	}{
		"data of a car without the key":     {smartcartest.ModelY, read, known, false},
		"snapshot of a car without the key": {smartcartest.ModelY, batch, known, false},
		"data of a car not met before":      {smartcartest.Cybertruck, read, closed, false},
		"data of a car with the key":        {smartcartest.Model3, read, open, true},
		"data of a legacy car":              {smartcartest.ModelS2018, read, open, true},
		"data of another make":              {smartcartest.MachE, read, open, true},
		"command to a car with the key":     {smartcartest.Model3, lock, open, true},
		"command to another make":           {smartcartest.MachE, lock, open, true},
		"command to a car without the key":  {smartcartest.ModelY, lock, asked, true},
		"metadata":                          {smartcartest.ModelY, func(t *testing.T, v *smartcar.Vehicle) error { _, err := v.VIN(t.Context()); return err }, open, true},
	} {
		for _, away := range []time.Duration{10 * time.Second, 6 * time.Minute, 90 * time.Minute, accessLife - 30*time.Second} {
			t.Run(fmt.Sprintf("%s, %v", name, away), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					sim := smartcartest.New()
					user, db := knownCars(t, sim)
					back := db.goDown()
					time.Sleep(away)
					before := len(sim.Ledger(tt.id))
					tt.want(t, tt.call(t, user.Vehicle(tt.id)), away)
					if away >= time.Minute {
						require.Equal(t, tt.sent, len(sim.Ledger(tt.id)) > before)
					}
					back()
					require.Empty(t, sim.BrokenWindows(tt.id))
				})
			})
		}
	}
}

// Once the tokens have ended, nothing can be sent, and nothing is lost.
func TestStoreIsAwayLongerThanTheTokensLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		user, db := knownCars(t, sim)
		back := db.goDown()
		time.Sleep(3 * time.Hour)
		_, err := user.Vehicle(smartcartest.MachE).Odometer(t.Context())
		require.ErrorIs(t, err, smartcar.ErrStore)
		require.NotErrorIs(t, err, smartcar.ErrReconnectRequired)
		require.Equal(t, 1, sim.TokenRequests(), "a refresh that cannot be stored must not begin")
		back()
		requireLoggedIn(t, user.Vehicle(smartcartest.MachE))
	})
}

// Away in the middle of a request, the turn counts as used: never two in a window.
func TestStoreThatGoesAwayDuringTheRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		db := newSpoiledStore()
		_, user := connected(t, sim, smartcar.WithStore(db))
		v := user.Vehicle(smartcartest.ModelY)
		_, err := v.Access(t.Context())
		require.NoError(t, err)
		var down atomic.Bool
		db.load = func(string) error {
			if down.Load() {
				return errStoreDown
			}
			return nil
		}
		db.before = func(key string, _ []byte) error { return db.load(key) }
		sim.Inject(smartcartest.Fault{Path: "/odometer", Latency: time.Second, Match: nil})
		go func() { time.Sleep(time.Millisecond); down.Store(true) }()
		_, err = v.Odometer(t.Context())
		require.NoError(t, err, "the answer is there, whatever the store says")
		time.Sleep(time.Minute)
		down.Store(false)
		_, err = v.Odometer(t.Context())
		require.ErrorIs(t, err, smartcar.ErrRateLimited)
		at, ok := smartcar.NextAllowed(err)
		require.True(t, ok)
		require.LessOrEqual(t, time.Until(at), maxBlocked)
		time.Sleep(time.Until(at) + time.Second)
		_, err = v.Odometer(t.Context())
		require.NoError(t, err)
		require.Empty(t, sim.BrokenWindows(smartcartest.ModelY))
	})
}

// hangingStore answers nothing before the caller's patience ends, and then
// something of its own.
type hangingStore struct {
	store.Store
	hangs atomic.Bool
}

func (s *hangingStore) Load(ctx context.Context, key string) (store.Record, error) {
	if s.hangs.Load() {
		<-ctx.Done()
		return store.Record{}, errors.New("driver: statement was canceled")
	}
	return s.Store.Load(ctx, key)
}

func (s *hangingStore) CompareAndSwap(ctx context.Context, key string, old store.Revision, value []byte, ttl time.Duration) (store.Record, error) {
	if s.hangs.Load() {
		<-ctx.Done()
		return store.Record{}, errors.New("driver: statement was canceled")
	}
	return s.Store.CompareAndSwap(ctx, key, old, value, ttl)
}

func TestCallerWhoLeavesWhileTheStoreHangs(t *testing.T) {
	errGone := errors.New("the browser is gone")
	for name, call := range map[string]func(context.Context, *smartcar.User) error{
		"read": func(ctx context.Context, u *smartcar.User) error {
			_, err := u.Vehicle(smartcartest.ModelY).Odometer(ctx)
			return err
		},
		"command": func(ctx context.Context, u *smartcar.User) error {
			_, err := u.Vehicle(smartcartest.ModelY).Lock(ctx)
			return err
		},
		"list":   func(ctx context.Context, u *smartcar.User) error { _, err := listedVehicles(ctx, u); return err },
		"renew":  func(ctx context.Context, u *smartcar.User) error { return u.Renew(ctx, time.Hour) },
		"forget": func(ctx context.Context, u *smartcar.User) error { return u.Forget(ctx) },
		"access": func(ctx context.Context, u *smartcar.User) error {
			_, err := u.Vehicle(smartcartest.ModelY).Access(ctx)
			return err
		},
		"key status": func(ctx context.Context, u *smartcar.User) error {
			return u.Vehicle(smartcartest.ModelY).SetKeyState(ctx, smartcar.KeyMissing)
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				db := &hangingStore{Store: store.NewMemory()}
				_, user := connected(t, smartcartest.New(), smartcar.WithStore(db))
				db.hangs.Store(true)
				ctx, cancel := context.WithCancelCause(t.Context())
				go func() { time.Sleep(time.Second); cancel(errGone) }()
				began := time.Now()
				err := call(ctx, user)
				require.ErrorIs(t, err, context.Canceled)
				require.ErrorIs(t, err, errGone)
				require.NotErrorIs(t, err, smartcar.ErrStore)
				require.Equal(t, time.Second, time.Since(began))
			})
		})
	}
}

func TestStorePolicyChoosesWhatIsSentWithoutTheStore(t *testing.T) {
	for name, tt := range map[string]struct {
		policy                  smartcar.StorePolicy
		keyless, paired, unlock bool // sent
	}{
		"default":           {smartcar.StorePolicy{}, false, true, true},
		"send everything":   {smartcar.StorePolicy{SendKeyless: true}, true, true, true},
		"refuse everything": {smartcar.StorePolicy{RefuseOthers: true}, false, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sim := smartcartest.New()
				store := newSpoiledStore()
				_, user := connected(t, sim, smartcar.WithStore(store), smartcar.WithStorePolicy(tt.policy))
				for _, id := range []string{smartcartest.Model3, smartcartest.ModelY} {
					_, err := user.Vehicle(id).Access(t.Context())
					require.NoError(t, err)
				}
				store.goDown()
				time.Sleep(2 * time.Minute)
				expect := func(sent bool, err error) {
					t.Helper()
					if sent {
						require.NoError(t, err)
						return
					}
					var limited *smartcar.RateLimitError
					require.ErrorAs(t, err, &limited)
					require.Equal(t, smartcar.RuleStore, limited.Rule)
					require.ErrorIs(t, err, smartcar.ErrStore)
				}
				_, err := user.Vehicle(smartcartest.ModelY).Battery(t.Context())
				expect(tt.keyless, err)
				_, err = user.Vehicle(smartcartest.Model3).Battery(t.Context())
				expect(tt.paired, err)
				_, err = user.Vehicle(smartcartest.Model3).Unlock(t.Context())
				expect(tt.unlock, err)
			})
		})
	}
}

// conflictStore lets no write through: somebody else is always faster.
type conflictStore struct {
	store.Store
	on atomic.Bool
}

func (s *conflictStore) CompareAndSwap(ctx context.Context, key string, old store.Revision, value []byte, ttl time.Duration) (store.Record, error) {
	if !s.on.Load() {
		return s.Store.CompareAndSwap(ctx, key, old, value, ttl)
	}
	time.Sleep(10 * time.Millisecond)
	current, err := s.Store.Load(context.WithoutCancel(ctx), key) // it does not honor the context
	if err == nil || errors.Is(err, store.ErrNotFound) {
		err = store.ErrConflict
	}
	return current, err
}

// The caller's deadline ends what the store never would.
func TestStoreThatConflictsForEver(t *testing.T) {
	for name, call := range map[string]func(context.Context, *smartcar.User) error{
		"read": func(ctx context.Context, u *smartcar.User) error {
			_, err := u.Vehicle(smartcartest.ModelY).Odometer(ctx)
			return err
		},
		"read that needs a refresh": func(ctx context.Context, u *smartcar.User) error {
			_, err := u.Vehicle(smartcartest.MachE).Odometer(ctx)
			return err
		},
		"renew":  func(ctx context.Context, u *smartcar.User) error { return u.Renew(ctx, 90*day) },
		"forget": func(ctx context.Context, u *smartcar.User) error { return u.Forget(ctx) },
		"key status": func(ctx context.Context, u *smartcar.User) error {
			return u.Vehicle(smartcartest.ModelY).SetKeyState(ctx, smartcar.KeyMissing)
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				db := &conflictStore{Store: store.NewMemory()}
				_, user := connected(t, smartcartest.New(), smartcar.WithStore(db))
				if strings.Contains(name, "refresh") {
					time.Sleep(3 * time.Hour)
				}
				db.on.Store(true)
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				began := time.Now()
				require.ErrorIs(t, call(ctx, user), context.DeadlineExceeded)
				require.LessOrEqual(t, time.Since(began), 1100*time.Millisecond)
			})
		})
	}
}
