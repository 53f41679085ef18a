package smartcar_test

import (
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/smartcartest"
	"github.com/seed-498a1bc4/smartcar/store"
	"github.com/stretchr/testify/require"
)

// wrongClock is a client on a machine whose clock is stepped.
type wrongClock struct {
	sim    *smartcartest.Server
	clock  *steppingClock
	wire   *midway
	client *smartcar.Client
	user   *smartcar.User
	car    *smartcar.Vehicle // without its key
}

// machine is another one that shares the store, where an owner may be connected.
func machine(t *testing.T, sim *smartcartest.Server, api smartcar.API, clock *steppingClock, db store.Store) (*smartcar.Client, *midway) {
	t.Helper()
	wire := &midway{RoundTripper: sim.Transport()}
	opts := []smartcar.Option{smartcar.WithHTTPClient(&http.Client{Transport: wire}), smartcar.WithClock(clock)}
	if db != nil {
		opts = append(opts, smartcar.WithStore(db))
	}
	return apiClient(t, sim, api, opts...), wire
}

func newWrongClock(t *testing.T, sim *smartcartest.Server, api smartcar.API, clock *steppingClock, db store.Store) *wrongClock {
	t.Helper()
	client, wire := machine(t, sim, api, clock, db)
	user := client.User(connect(t, sim, client).UserID)
	return &wrongClock{sim, clock, wire, client, user, user.Vehicle(smartcartest.ModelY)}
}

// on is the same car as another client asks for it.
func (w *wrongClock) on(client *smartcar.Client) *smartcar.Vehicle {
	return client.User(w.user.ID()).Vehicle(w.car.ID())
}

func (w *wrongClock) read(t *testing.T) {
	t.Helper()
	_, err := w.car.Battery(t.Context())
	require.NoError(t, err)
}

func closed(t *testing.T, v *smartcar.Vehicle) {
	t.Helper()
	_, err := v.Battery(t.Context())
	_ = requireKeyless(t, err)
}

// turns is how many data requests took a turn. One whose token was refused did
// not: a clock that was wrong may have dated it.
func (w *wrongClock) turns() (n int) {
	for _, e := range w.sim.Ledger(w.car.ID()) {
		if e.Counted {
			n++
		}
	}
	return n
}

// counted: so many data requests took a turn, none of them inside a window.
func (w *wrongClock) counted(t *testing.T, n int) {
	t.Helper()
	require.Empty(t, w.sim.BrokenWindows(w.car.ID()))
	require.Equal(t, n, w.turns())
}

// opensBy: the window opens by then, and not before 8 hours after the last
// request, which was at used.
func (w *wrongClock) opensBy(t *testing.T, v *smartcar.Vehicle, used time.Time, extra time.Duration) {
	t.Helper()
	before := w.turns()
	for {
		_, err := v.Battery(t.Context())
		if err == nil {
			break
		}
		_ = requireKeyless(t, err)
		require.Less(t, time.Since(used), maxBlocked+extra, "the car is locked for too long")
		time.Sleep(5 * time.Minute)
	}
	require.GreaterOrEqual(t, time.Since(used), window)
	w.counted(t, before+1)
}

// eachStore runs a test for each kind of store on both APIs.
func eachStore(t *testing.T, test func(t *testing.T, w *wrongClock)) {
	t.Helper()
	kinds := storeKinds(nil)
	for name := range kinds {
		t.Run(strings.ReplaceAll(name, " ", "_"), func(t *testing.T) {
			onEitherAPI(t, func(t *testing.T, sim *smartcartest.Server, api smartcar.API) {
				clock := new(steppingClock)
				test(t, newWrongClock(t, sim, api, clock, storeKinds(clock)[name]()))
			})
		})
	}
}

// Row 1 of the group: the process knows how much time has passed.
func TestClockThatIsAheadForAMinuteOpensNoWindow(t *testing.T) {
	eachStore(t, func(t *testing.T, w *wrongClock) {
		w.read(t)
		used := time.Now()
		time.Sleep(time.Hour)
		w.clock.step(9 * time.Hour)
		_, _ = w.car.Battery(t.Context())
		time.Sleep(time.Minute)
		w.clock.step(-9 * time.Hour)
		closed(t, w.car)
		w.counted(t, 1)
		w.opensBy(t, w.car, used, 9*time.Hour)
	})
}

// The same with the turn used while the clock was ahead: 8 hours later, however
// far ahead it was.
func TestTurnThatWasUsedWhileTheClockWasAhead(t *testing.T) {
	eachStore(t, func(t *testing.T, w *wrongClock) {
		for _, ahead := range []time.Duration{time.Hour, 9 * time.Hour, 240 * time.Hour} {
			w.clock.step(ahead)
			w.read(t)
			used := time.Now()
			time.Sleep(time.Minute)
			w.clock.step(-ahead)
			closed(t, w.car)
			w.opensBy(t, w.car, used, ahead)
			time.Sleep(20 * window)
		}
	})
}

// Row 2: the clock is set while the request is under way, in either direction.
func TestClockThatIsSetDuringARequest(t *testing.T) {
	for _, by := range []time.Duration{-3 * time.Hour, 3 * time.Hour, -9 * time.Hour, 9 * time.Hour} {
		t.Run(by.String(), func(t *testing.T) {
			eachStore(t, func(t *testing.T, w *wrongClock) {
				_, err := w.car.Access(t.Context()) // what the car is
				require.NoError(t, err)
				w.wire.arm(func() { w.clock.step(by) })
				w.read(t)
				used := time.Now()
				for range 7 {
					time.Sleep(time.Hour)
					closed(t, w.car)
				}
				w.counted(t, 1)
				w.opensBy(t, w.car, used, by.Abs())
			})
		})
	}
}

// Row 3: a pause is a length of time.
func TestPauseOfTheApplicationIsALengthOfTime(t *testing.T) {
	for _, by := range []time.Duration{-24 * time.Hour, 24 * time.Hour} {
		onEitherAPI(t, func(t *testing.T, sim *smartcartest.Server, api smartcar.API) {
			w := newWrongClock(t, sim, api, new(steppingClock), nil)
			mache := w.user.Vehicle(smartcartest.MachE)
			_, err := mache.Odometer(t.Context())
			require.NoError(t, err)
			sim.Inject(smartcartest.Fault{
				ErrorType: "RATE_LIMIT", ErrorCode: "SMARTCAR_API", Header: http.Header{"Retry-After": {"600"}},
			})
			_, err = mache.Odometer(t.Context())
			require.ErrorIs(t, err, smartcar.ErrRateLimited)
			w.clock.step(by)
			time.Sleep(599 * time.Second)
			_, err = mache.Odometer(t.Context())
			var limited *smartcar.RateLimitError
			require.ErrorAs(t, err, &limited)
			require.True(t, limited.Local)
			require.Equal(t, smartcar.RuleApplication, limited.Rule)
			require.WithinDuration(t, w.clock.Now().Add(time.Second), limited.NextAllowed, time.Second, "by the clock of the caller")
			a, err := mache.Access(t.Context())
			require.NoError(t, err)
			require.Equal(t, smartcar.RuleApplication, a.Rule)
			time.Sleep(2 * time.Second)
			_, err = mache.Odometer(t.Context())
			require.NoError(t, err)
		})
	}
}

// Row 4: the refresh token lives 60 days of real time.
func TestClockErrorEndsNoLogin(t *testing.T) {
	for _, ahead := range []time.Duration{61 * 24 * time.Hour, 400 * 24 * time.Hour, -61 * 24 * time.Hour} {
		t.Run(ahead.String(), func(t *testing.T) {
			eachStore(t, func(t *testing.T, w *wrongClock) {
				mache := w.user.Vehicle(smartcartest.MachE)
				w.read(t)
				used := time.Now()
				time.Sleep(2 * time.Minute) // the record in memory is not trusted for so long
				w.clock.step(ahead)
				_, _ = mache.Odometer(t.Context())
				_, _ = w.car.Battery(t.Context())
				time.Sleep(time.Minute)
				w.clock.step(-ahead)
				_, err := mache.Odometer(t.Context())
				require.NoError(t, err)
				closed(t, w.car)
				w.counted(t, 1)
				for range 100 { // the login is kept alive in time
					time.Sleep(24 * time.Hour)
					require.NoError(t, w.user.Renew(t.Context(), 30*24*time.Hour))
				}
				_, err = mache.Odometer(t.Context())
				require.NoError(t, err)
				w.opensBy(t, w.car, used, 1000*24*time.Hour)
			})
		})
	}
}

// A clock that was a day slow at start, in a process that finds a turn of the day
// before, and is set right: the time that was true is not written over.
func TestSlowClockThatIsSetRight(t *testing.T) {
	for _, behind := range []time.Duration{3 * time.Hour, 9 * time.Hour, 24 * time.Hour, 240 * time.Hour} {
		onEitherAPI(t, func(t *testing.T, sim *smartcartest.Server, api smartcar.API) {
			db := undatedStore{store.NewMemory()}
			w := newWrongClock(t, sim, api, new(steppingClock), db)
			w.read(t)
			used := time.Now()
			time.Sleep(time.Hour)
			slow := new(steppingClock)
			slow.step(-behind)
			client, _ := machine(t, sim, api, slow, db)
			closed(t, w.on(client))
			time.Sleep(time.Minute)
			slow.step(behind)
			closed(t, w.on(client))
			third, _ := machine(t, sim, api, new(steppingClock), db) // knows nothing of all this
			closed(t, w.on(third))
			time.Sleep(6 * time.Hour)
			closed(t, w.on(client))
			closed(t, w.on(third))
			w.counted(t, 1)
			w.opensBy(t, w.on(third), used, 0)
		})
	}
}

// The clock of a store is stepped, as after a failover: whoever has seen it before
// knows that less time has passed, and whoever has not has the machine's clock.
func TestStoreWhoseClockIsStepped(t *testing.T) {
	for _, by := range []time.Duration{3 * time.Hour, 9 * time.Hour, 100 * time.Hour, -3 * time.Hour, -9 * time.Hour, -100 * time.Hour} {
		t.Run(by.String(), func(t *testing.T) {
			onEitherAPI(t, func(t *testing.T, sim *smartcartest.Server, api smartcar.API) {
				db := newSteppingStore(store.NewMemory())
				w := newWrongClock(t, sim, api, new(steppingClock), db)
				other, _ := machine(t, sim, api, new(steppingClock), db)
				_, err := other.User(w.user.ID()).Vehicle(smartcartest.MachE).Odometer(t.Context())
				require.NoError(t, err)
				w.read(t)
				used := time.Now()
				time.Sleep(time.Minute)
				db.step(by)
				young, _ := machine(t, sim, api, new(steppingClock), db)
				for range 7 {
					closed(t, w.car)
					closed(t, w.on(other))
					closed(t, w.on(young))
					time.Sleep(time.Hour)
				}
				w.counted(t, 1)
				w.opensBy(t, w.car, used, by.Abs())
				used = time.Now()
				db.step(-by)
				youngest, _ := machine(t, sim, api, new(steppingClock), db)
				for range 7 {
					closed(t, w.car)
					closed(t, w.on(other))
					closed(t, w.on(youngest))
					time.Sleep(time.Hour)
				}
				w.opensBy(t, w.on(youngest), used, by.Abs())
			})
		})
	}
}

// The same while the request is under way.
func TestStoreWhoseClockIsSteppedDuringARequest(t *testing.T) {
	for _, by := range []time.Duration{3 * time.Hour, 9 * time.Hour, -3 * time.Hour, -9 * time.Hour} {
		t.Run(by.String(), func(t *testing.T) {
			onEitherAPI(t, func(t *testing.T, sim *smartcartest.Server, api smartcar.API) {
				db := newSteppingStore(store.NewMemory())
				w := newWrongClock(t, sim, api, new(steppingClock), db)
				other, _ := machine(t, sim, api, new(steppingClock), db)
				_, err := w.on(other).Access(t.Context())
				require.NoError(t, err)
				_, err = w.car.Access(t.Context())
				require.NoError(t, err)
				w.wire.arm(func() { db.step(by) })
				w.read(t)
				used := time.Now()
				young, _ := machine(t, sim, api, new(steppingClock), db)
				for range 7 {
					time.Sleep(time.Hour)
					closed(t, w.car)
					closed(t, w.on(other))
					closed(t, w.on(young))
				}
				w.counted(t, 1)
				w.opensBy(t, w.on(other), used, by.Abs())
			})
		})
	}
}

// Replicas whose clocks are hours apart, and a store that knows better.
func TestReplicasWithClocksFarApart(t *testing.T) {
	onEitherAPI(t, func(t *testing.T, sim *smartcartest.Server, api smartcar.API) {
		db := clockStore{store.NewMemory(), 0}
		fast, slow := new(steppingClock), new(steppingClock)
		fast.step(9 * time.Hour)
		slow.step(-9 * time.Hour)
		w := newWrongClock(t, sim, api, fast, db)
		late, _ := machine(t, sim, api, slow, db)
		for i := range 25 * 60 {
			v := w.car
			if i%2 == 1 {
				v = w.on(late)
			}
			if _, err := v.Battery(t.Context()); err != nil {
				at := requireKeyless(t, err).NextAllowed
				require.LessOrEqual(t, at.Sub([]*steppingClock{fast, slow}[i%2].Now()), maxBlocked, "by the clock of the caller")
			}
			time.Sleep(time.Minute)
		}
		w.counted(t, 4)
	})
}

// A legacy car's answer is kept for a length of time.
func TestKeptAnswerEndsByTheTimeThatHasPassed(t *testing.T) {
	for _, by := range []time.Duration{-24 * time.Hour, 24 * time.Hour} {
		onEitherAPI(t, func(t *testing.T, sim *smartcartest.Server, api smartcar.API) {
			w := newWrongClock(t, sim, api, new(steppingClock), nil)
			v := w.user.Vehicle(smartcartest.ModelS2018)
			first, err := v.Battery(t.Context())
			require.NoError(t, err)
			require.Equal(t, smartcar.SourceLive, first.Source)
			w.clock.step(by)
			again, err := v.Battery(t.Context())
			require.NoError(t, err)
			require.Equal(t, smartcar.SourceCache, again.Source)
			time.Sleep(11 * time.Minute)
			again, err = v.Battery(t.Context())
			require.NoError(t, err)
			require.Equal(t, smartcar.SourceLive, again.Source)
		})
	}
}

// A clock that is set while the status of the key is read, the machine's or the store's,
// does not date what is learned: the owner has just added the key, and it counts.
func TestEvidenceWhileTheClockIsSet(t *testing.T) {
	for _, by := range []time.Duration{-9 * time.Hour, 9 * time.Hour} {
		for _, whose := range []string{"machine", "store"} {
			t.Run(whose+" "+by.String(), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					sim := smartcartest.New()
					db := newSteppingStore(store.NewMemory())
					w := newWrongClock(t, sim, smartcar.V2, new(steppingClock), db)
					set := map[string]*steppingClock{"machine": w.clock, "store": &db.steppingClock}[whose]
					w.read(t)
					for _, paired := range []bool{true, false, true} {
						time.Sleep(time.Minute)
						if paired {
							require.NoError(t, sim.Pair(w.car.ID()))
						} else {
							require.NoError(t, sim.Unpair(w.car.ID()))
						}
						w.wire.arm(func() { set.step(by) })
						status, err := w.car.KeyStatus(t.Context())
						require.NoError(t, err)
						require.Equal(t, paired, status.State == smartcar.KeyInstalled)
						a, err := w.car.Access(t.Context())
						require.NoError(t, err)
						require.Equal(t, !paired, a.NeedsKey)
					}
				})
			})
		}
	}
}

// Waiting for the key goes on when the clock is set back by a day.
func TestWaitForKeyWhileTheClockIsSetBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		w := newWrongClock(t, sim, smartcar.V2, new(steppingClock), nil)
		done := make(chan error)
		go func() {
			_, err := w.car.WaitForKey(t.Context())
			done <- err
		}()
		time.Sleep(time.Minute)
		w.clock.step(-24 * time.Hour)
		require.NoError(t, sim.Pair(w.car.ID()))
		began := time.Now()
		require.NoError(t, <-done)
		require.Less(t, time.Since(began), 10*time.Minute)
	})
}

// A clock that is replaced and has no Elapsed: what stands still until it is moved
// is time that passes, what runs by itself is a computer's clock.
func TestReplacedClocks(t *testing.T) {
	t.Run("simulated", func(t *testing.T) {
		clock := new(simClock)
		sim := smartcartest.New(smartcartest.WithClock(clock.Now))
		_, user := connected(t, sim, smartcar.WithClock(clock))
		v := user.Vehicle(smartcartest.ModelY)
		for range 3 {
			_, err := v.Battery(t.Context())
			require.NoError(t, err)
			clock.advance(window - time.Minute)
			closed(t, v)
			clock.advance(2 * time.Minute)
		}
		require.Empty(t, sim.BrokenWindows(smartcartest.ModelY))
	})
	t.Run("of the simulator", func(t *testing.T) {
		sim := smartcartest.New()
		_, user := connected(t, sim, smartcar.WithClock(sim.Clock()))
		v := user.Vehicle(smartcartest.ModelY)
		for range 3 {
			_, err := v.Battery(t.Context())
			require.NoError(t, err)
			sim.Advance(window - time.Minute)
			closed(t, v)
			sim.Advance(-24 * time.Hour)
			closed(t, v)
			sim.Advance(48 * time.Hour)
		}
	})
	t.Run("running", func(t *testing.T) {
		clock := new(steppingClock)
		sim := smartcartest.New()
		_, user := connected(t, sim, smartcar.WithClock(clock))
		v := user.Vehicle(smartcartest.ModelY)
		_, err := v.Battery(t.Context())
		require.NoError(t, err)
		clock.step(9 * time.Hour)
		closed(t, v)
		require.Equal(t, 1, countedData(sim, smartcartest.ModelY))
	})
}
