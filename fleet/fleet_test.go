package fleet_test

import (
	"context"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/fleet"
	"github.com/seed-498a1bc4/smartcar/smartcartest"
	"github.com/seed-498a1bc4/smartcar/store"
	"github.com/stretchr/testify/require"
)

func bothAPIs(t *testing.T, test func(t *testing.T, api smartcar.API)) {
	t.Helper()
	for _, api := range []smartcar.API{smartcar.V2, smartcar.V3} {
		t.Run(string(api), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { test(t, api) })
		})
	}
}

// Each car is read at its own pace, what it brings is handed over, and no window is
// broken.
func TestFleetKeepsCarsFresh(t *testing.T) {
	bothAPIs(t, func(t *testing.T, api smartcar.API) {
		cars := slices.Concat(garage(2, "paired", paired()), garage(2, "keyless", keyless()), garage(2, "legacy", legacy()), garage(2, "other", other()))
		sim := smartcartest.New(smartcartest.WithCars(cars...))
		client := newClient(t, sim, api)
		connect(t, sim, client, "")
		f := run(t, client, newInbox(), func(c *fleet.Config) { c.Every = 20 * minute })
		time.Sleep(day)
		for _, car := range cars {
			require.Empty(t, sim.BrokenWindows(car.ID))
			n, most := len(data(sim, car.ID)), 72
			switch {
			case car.Make == "TESLA" && car.Integration == smartcartest.Streaming && !car.Paired:
				require.Equal(t, 3, n, car.ID)
			case car.Integration == smartcartest.Legacy:
				most = 90
				fallthrough
			default:
				require.GreaterOrEqual(t, n, 35, car.ID)
				require.LessOrEqual(t, n, most, car.ID)
			}
			require.LessOrEqual(t, len(f.inbox.of(car.ID)), n, car.ID)
			require.NotEmpty(t, f.inbox.of(car.ID), car.ID)
		}
		stats := f.Stats()
		require.Equal(t, len(cars), stats.Cars)
		require.Zero(t, stats.Failed, "%s", stats)
		require.Positive(t, stats.Waiting[smartcar.RulePace])
		require.Positive(t, stats.Waiting[smartcar.RuleKeyless])
		require.NoError(t, f.stop())
		require.Empty(t, f.inbox.out)
	})
}

// A restart asks nobody too early, and hands over nothing twice.
func TestRestart(t *testing.T) {
	bothAPIs(t, func(t *testing.T, api smartcar.API) {
		cars := slices.Concat(garage(3, "keyless", keyless()), garage(3, "other", other()))
		sim := smartcartest.New(smartcartest.WithCars(cars...))
		db := store.NewMemory()
		connect(t, sim, newClient(t, sim, api, smartcar.WithStore(db)), "")
		b := newInbox()
		for range 30 { // it is stopped again and again
			f := run(t, newClient(t, sim, api, smartcar.WithStore(db)), b, nil)
			time.Sleep(48 * minute)
			require.NoError(t, f.stop())
		}
		for _, car := range cars {
			require.Empty(t, sim.BrokenWindows(car.ID))
			n := len(data(sim, car.ID))
			require.Len(t, b.of(car.ID), n, car.ID)
			if car.Make == "TESLA" {
				require.Equal(t, 3, n)
			} else {
				require.InDelta(t, 48, n, 10)
			}
		}
	})
}

// A handler that is slow, and a car that is woken a hundred times meanwhile: it is
// visited once more, and nothing is lost.
func TestWakeWhileACarIsVisited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New(smartcartest.WithCars(garage(1, "other", other())...))
		client := newClient(t, sim, smartcar.V2)
		user := connect(t, sim, client, "")
		release := make(chan struct{})
		var calls atomic.Int32
		f := run(t, client, newInbox(), func(c *fleet.Config) {
			c.Handle = func(context.Context, *smartcar.Vehicle, *smartcar.Snapshot) error {
				calls.Add(1)
				<-release
				return nil
			}
		})
		car := user.Vehicle("other-0")
		time.Sleep(minute)
		require.Equal(t, 1, f.Stats().Running)
		for range 100 {
			f.Wake(car)
		}
		time.Sleep(minute)
		require.Equal(t, 1, f.Stats().Running)
		require.Zero(t, f.Stats().Visits)
		close(release)
		time.Sleep(minute)
		require.EqualValues(t, 2, f.Stats().Visits)
		require.EqualValues(t, 1, calls.Load(), "there was nothing new")
		require.Len(t, data(sim, "other-0"), 1)
		for range 100 {
			f.Wake(car)
		}
		time.Sleep(minute)
		require.Contains(t, []int64{3, 4}, f.Stats().Visits, "the first of them may begin a visit, and the others ask for one more")
	})
}

// An owner adds the key, and a webhook says so: the car is read at once.
func TestWakeAfterPairing(t *testing.T) {
	bothAPIs(t, func(t *testing.T, api smartcar.API) {
		sim := smartcartest.New(smartcartest.WithCars(garage(1, "keyless", keyless())...))
		client := newClient(t, sim, api)
		user := connect(t, sim, client, "")
		f := run(t, client, newInbox(), nil)
		time.Sleep(2 * time.Hour)
		require.Len(t, f.inbox.of("keyless-0"), 1)
		require.NoError(t, sim.Pair("keyless-0"))
		v := user.Vehicle("keyless-0")
		require.NoError(t, v.SetKeyState(t.Context(), smartcar.KeyInstalled))
		f.Wake(v)
		time.Sleep(minute)
		require.Len(t, f.inbox.of("keyless-0"), 2)
		time.Sleep(time.Hour)
		require.Greater(t, len(f.inbox.of("keyless-0")), 15)
		require.Empty(t, sim.BrokenWindows("keyless-0"))
	})
}

func TestStopWaitsForVisits(t *testing.T) {
	for name, tt := range map[string]struct {
		takes time.Duration
		heeds bool
		cut   bool
	}{
		"in time":                          {10 * time.Second, true, false},
		"too long":                         {time.Hour, true, true},
		"too long, and heeds no context":   {time.Hour, false, true},
		"in time, though the context ends": {29 * time.Second, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sim := smartcartest.New(smartcartest.WithCars(garage(3, "other", other())...))
				client := newClient(t, sim, smartcar.V2)
				connect(t, sim, client, "")
				var done atomic.Int32
				f := run(t, client, newInbox(), func(c *fleet.Config) {
					c.Handle = func(ctx context.Context, _ *smartcar.Vehicle, _ *smartcar.Snapshot) error {
						if !tt.heeds {
							ctx = context.WithoutCancel(ctx)
						}
						timer := time.NewTimer(tt.takes)
						defer timer.Stop()
						select {
						case <-ctx.Done():
							return ctx.Err()
						case <-timer.C:
							done.Add(1)
							return nil
						}
					}
				})
				time.Sleep(5 * time.Second)
				require.Equal(t, 3, f.Stats().Running)
				began := time.Now()
				err := f.stop()
				require.LessOrEqual(t, time.Since(began), 31*time.Second)
				if tt.cut {
					require.ErrorIs(t, err, context.DeadlineExceeded)
				} else {
					require.NoError(t, err)
					require.EqualValues(t, 3, done.Load())
				}
				time.Sleep(2 * time.Hour) // whoever heeds nothing ends by himself
			})
		})
	}
}

// A car whose owner has to connect again is reported once, is asked about once a day, and
// is back after a Connect.
func TestRetiredCars(t *testing.T) {
	bothAPIs(t, func(t *testing.T, api smartcar.API) {
		cars := slices.Concat(garage(2, "other", other()), garage(1, "keyless", keyless()))
		sim := smartcartest.New(smartcartest.WithCars(cars...))
		client := newClient(t, sim, api)
		user := connect(t, sim, client, "")
		f := run(t, client, newInbox(), nil)
		time.Sleep(3 * time.Hour)
		if api == smartcar.V2 {
			sim.RevokeGrants()
		} else {
			for _, car := range cars {
				sim.Disconnect(car.ID)
			}
		}
		time.Sleep(9 * time.Hour)
		require.Equal(t, 3, f.Stats().Retired, "%s", f.Stats())
		asked := len(sim.Requests())
		time.Sleep(3 * day)
		require.LessOrEqual(t, len(sim.Requests())-asked, 3*3*4)
		for _, car := range cars {
			require.Len(t, f.inbox.out[car.ID], 1, car.ID)
		}
		delivered := len(f.inbox.of("other-0"))
		connect(t, sim, client, "")
		f.Wake(user.Vehicle("other-0"))
		time.Sleep(70 * minute) // the others come with the next list
		require.Greater(t, len(f.inbox.of("other-0")), delivered)
		require.Zero(t, f.Stats().Retired, "%s", f.Stats())
	})
}

// Forget and Pause are obeyed.
func TestForgetAndPause(t *testing.T) {
	bothAPIs(t, func(t *testing.T, api smartcar.API) {
		cars := slices.Concat(garage(1, "other", other()), garage(1, "paused", other()))
		sim := smartcartest.New(smartcartest.WithCars(cars...))
		client := newClient(t, sim, api)
		user := connect(t, sim, client, "")
		f := run(t, client, newInbox(), nil)
		time.Sleep(time.Hour)
		paused := user.Vehicle("paused-0")
		require.NoError(t, paused.Pause(t.Context(), time.Now().Add(10*time.Hour)))
		n := len(data(sim, "paused-0"))
		time.Sleep(9 * time.Hour)
		require.Len(t, data(sim, "paused-0"), n)
		require.Equal(t, 1, f.Stats().Waiting[smartcar.RulePaused])
		time.Sleep(2 * time.Hour)
		require.Greater(t, len(data(sim, "paused-0")), n)

		require.NoError(t, user.Forget(t.Context()))
		asked := len(sim.Requests())
		time.Sleep(2 * day)
		require.Len(t, sim.Requests(), asked)
		require.Zero(t, f.Stats().Cars)
		require.NoError(t, f.stop())
		for v, err := range client.Vehicles(t.Context()) {
			t.Error("a forgotten user was made known again", v, err)
		}
	})
}

// A car that comes while the fleet runs is found by the next list, or is woken; one that
// is removed is left alone.
func TestCarsComeAndGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		own, late := other(), other()
		own.ID, late.ID, late.Owner = "own", "late", "late@example.com"
		sim := smartcartest.New(smartcartest.WithCars(own, late))
		client := newClient(t, sim, smartcar.V2)
		user := connect(t, sim, client, "")
		f := run(t, client, newInbox(), func(c *fleet.Config) { c.Relist = 10 * minute })
		time.Sleep(time.Hour)
		newcomer := connect(t, sim, client, "late@example.com")
		time.Sleep(12 * minute)
		require.NotEmpty(t, f.inbox.of("late"))
		require.Equal(t, 2, f.Stats().Cars)
		f.Remove(newcomer.Vehicle("late"))
		f.Remove(newcomer.Vehicle("late"))
		require.Equal(t, 1, f.Stats().Cars)
		f.Wake(newcomer.Vehicle("late"))
		require.Equal(t, 2, f.Stats().Cars)
		f.Remove(newcomer.Vehicle("late"))
		f.Remove(user.Vehicle("own"))
		require.Zero(t, f.Stats().Cars)
		require.Empty(t, f.Stats().Waiting)
	})
}

// After a 429 for the whole application nobody asks until it ends, and then there is no
// wave: the cars come one after the other, those that have waited longest first.
func TestLimitOfTheApplication(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 400
		sim := smartcartest.New(smartcartest.WithCars(garage(n, "other", other())...), smartcartest.WithAppRateLimit(120, 2))
		client := newClient(t, sim, smartcar.V2)
		connect(t, sim, client, "")
		f := run(t, client, newInbox(), func(c *fleet.Config) { c.Every = time.Hour })
		const hours = 7 // of 2 calls a minute
		time.Sleep(hours * time.Hour)
		refused := 0
		for _, r := range sim.Requests() {
			if r.Status == 429 {
				refused++
			}
		}
		require.Less(t, refused, hours*60*5/2, "about one for each that goes through")
		seen := 0
		for _, car := range garage(n, "other", other()) {
			if len(f.inbox.of(car.ID)) > 0 {
				seen++
			}
		}
		require.Greater(t, seen, n*9/10, "each car has its turn: %s", f.Stats())
		require.Positive(t, f.Stats().Late)
	})
}

func TestNewRefuses(t *testing.T) {
	sim := smartcartest.New()
	client := newClient(t, sim, smartcar.V2)
	good := newInbox().config()
	_, err := fleet.New(client, good)
	require.NoError(t, err)
	for name, change := range map[string]func(*fleet.Config){
		"Reads":       func(c *fleet.Config) { c.Reads = nil },
		"data":        func(c *fleet.Config) { c.Reads = []smartcar.Operation{smartcar.Attributes} },
		"Location":    func(c *fleet.Config) { c.Reads = []smartcar.Operation{smartcar.Location} },
		"Handle":      func(c *fleet.Config) { c.Handle = nil },
		"Every":       func(c *fleet.Config) { c.Every = time.Millisecond },
		"Concurrency": func(c *fleet.Config) { c.Concurrency = -1 },
		"Rate":        func(c *fleet.Config) { c.Rate = -1 },
		"Relist":      func(c *fleet.Config) { c.Relist = time.Second },
		"Drain":       func(c *fleet.Config) { c.Drain = -1 },
	} {
		bad := good
		change(&bad)
		_, err := fleet.New(client, bad)
		require.ErrorIs(t, err, smartcar.ErrInvalidArgument, name)
		if name != "Reads" {
			require.ErrorContains(t, err, name)
		}
	}
	_, err = fleet.New(nil, good)
	require.ErrorIs(t, err, smartcar.ErrInvalidArgument)
	plain, err := smartcar.New(smartcar.Config{ClientID: "a", ClientSecret: "b", RedirectURL: "https://example.com/"})
	require.NoError(t, err)
	_, err = fleet.New(plain, good)
	require.ErrorContains(t, err, "WithStoredAnswers")
}

func TestZeroFleet(t *testing.T) {
	for _, f := range []*fleet.Fleet{nil, new(fleet.Fleet)} {
		_, err := f.Visit(t.Context(), nil)
		require.ErrorIs(t, err, smartcar.ErrInvalidArgument)
		require.ErrorIs(t, f.Run(t.Context(), nil), smartcar.ErrInvalidArgument)
		f.Wake(nil)
		f.Remove(nil)
		require.Zero(t, f.Stats())
	}
}

type plainStore struct{ store.Store }

func TestRunEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		client := newClient(t, sim, smartcar.V2, smartcar.WithStore(plainStore{store.NewMemory()}))
		f, err := fleet.New(client, newInbox().config())
		require.NoError(t, err)
		require.ErrorIs(t, f.Run(t.Context(), client.Vehicles(t.Context())), store.ErrCannotList)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- f.Run(ctx, nil) }()
		synctest.Wait()
		require.ErrorIs(t, f.Run(ctx, nil), smartcar.ErrInvalidArgument, "it runs already")
		cancel()
		require.NoError(t, <-done)
		require.NoError(t, f.Run(ctx, nil), "it can run again")
		_, err = f.Visit(t.Context(), nil)
		require.ErrorIs(t, err, smartcar.ErrInvalidArgument)
	})
}
