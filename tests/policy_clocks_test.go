package smartcar_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/smartcartest"
	"github.com/seed-498a1bc4/smartcar/store"
	"github.com/stretchr/testify/require"
)

// TestClocksThatAreSetBreakNoWindow sets the clocks of two machines and of their store,
// in either direction and also while a request is under way, and drives a keyless car
// from both. No window may break, and the car may not be locked for longer than the
// rule, a lease and the steps that happened.
func TestClocksThatAreSetBreakNoWindow(t *testing.T) {
	seeds := uint64(20)
	if testing.Short() {
		seeds = 2
	}
	for _, kind := range []string{"with a clock", "without a clock"} {
		for seed := range seeds {
			t.Run(fmt.Sprint(kind, seed), func(t *testing.T) {
				onEitherAPI(t, func(t *testing.T, sim *smartcartest.Server, api smartcar.API) {
					setClocks(t, sim, api, rand.New(rand.NewPCG(seed, 7)), kind == "with a clock")
				})
			})
		}
	}
}

func setClocks(t *testing.T, sim *smartcartest.Server, api smartcar.API, random *rand.Rand, dated bool) {
	mine := new(steppingClock)
	theirs, db := mine, store.Store(undatedStore{store.NewMemory()}) // a file is read on one machine
	steps := []func(time.Duration){mine.step}
	if dated {
		stepping := newSteppingStore(store.NewMemory())
		theirs, db = new(steppingClock), stepping
		steps = append(steps, theirs.step, stepping.step)
	}
	w := newWrongClock(t, sim, api, mine, db)
	other, wire := machine(t, sim, api, theirs, db)
	_, err := w.on(other).Access(t.Context())
	require.NoError(t, err)
	var stepped time.Duration
	step := func() {
		by := time.Duration(random.Int64N(int64(20*time.Hour))) - 10*time.Hour
		if random.IntN(3) == 0 {
			by = time.Duration(random.Int64N(int64(10*time.Minute))) - 5*time.Minute
		}
		steps[random.IntN(len(steps))](by)
		stepped += by.Abs()
	}
	last, turns := time.Now(), 0
	for range 6 * 24 * 12 {
		time.Sleep(5 * time.Minute)
		switch random.IntN(200) {
		case 0:
			step()
		case 1:
			w.wire.arm(step)
		case 2:
			wire.arm(step)
		}
		v := w.car
		if random.IntN(2) == 0 {
			v = w.on(other)
		}
		_, _ = v.Battery(t.Context())
		if n := w.turns(); n > turns {
			last, turns = time.Now(), n
		}
		require.LessOrEqual(t, time.Since(last), maxBlocked+10*time.Minute+stepped, "the car is locked for too long")
	}
	require.Empty(t, sim.BrokenWindows(w.car.ID()))
	require.GreaterOrEqual(t, turns, 6, "the car was hardly asked: the test proves nothing")
}

// A machine that is as wrong as the store was when the turn was used cannot tell that
// the store's clock has jumped. A process that has seen the store before can.
func TestJumpThatOnlyTheProcessHasSeen(t *testing.T) {
	onEitherAPI(t, func(t *testing.T, sim *smartcartest.Server, api smartcar.API) {
		db := newSteppingStore(store.NewMemory())
		slow := new(steppingClock)
		slow.step(-9 * time.Hour)
		w := newWrongClock(t, sim, api, slow, db)
		other, _ := machine(t, sim, api, new(steppingClock), db)
		_, err := w.on(other).Access(t.Context())
		require.NoError(t, err)
		w.read(t)
		used := time.Now()
		time.Sleep(time.Minute)
		db.step(9 * time.Hour)
		for range 7 {
			closed(t, w.on(other))
			time.Sleep(time.Hour)
		}
		w.counted(t, 1)
		w.opensBy(t, w.on(other), used, 18*time.Hour)
	})
}

// The store's clock is ahead when a young process on a machine that is ahead, too, finds
// the window open, and is set right before the turn is taken. The store says so with the
// swap, before the request leaves.
func TestClockThatIsSetRightWhileATurnIsTaken(t *testing.T) {
	onEitherAPI(t, func(t *testing.T, sim *smartcartest.Server, api smartcar.API) {
		clock := newSteppingStore(store.NewMemory())
		db := &onLoad{Store: clock}
		w := newWrongClock(t, sim, api, new(steppingClock), db)
		w.read(t)
		used := time.Now()
		time.Sleep(time.Minute)
		ahead := new(steppingClock)
		ahead.step(9 * time.Hour)
		clock.step(9 * time.Hour)
		young, _ := machine(t, sim, api, ahead, db)
		db.arm(func() { clock.step(-9 * time.Hour) })
		closed(t, w.on(young))
		w.counted(t, 1)
		w.opensBy(t, w.car, used, 18*time.Hour)
	})
}

// The store's clock is set forward while it is written that Smartcar limits the car: the
// limit is dated anew. If it is set later, a process that begins after that has the clock
// of its machine to doubt it by.
func TestClockThatIsSetWhileTheServersLimitLasts(t *testing.T) {
	for _, at := range []string{"while it is stored", "later"} {
		t.Run(at, func(t *testing.T) {
			onEitherAPI(t, func(t *testing.T, sim *smartcartest.Server, api smartcar.API) {
				clock := newSteppingStore(store.NewMemory())
				db := &replica{Store: clock}
				w := newWrongClock(t, sim, api, new(steppingClock), db)
				_, err := w.car.Access(t.Context())
				require.NoError(t, err)
				application, _ := machine(t, sim, api, new(steppingClock), nil) // another one, which shares no store
				connect(t, sim, application)
				_, err = w.on(application).Battery(t.Context())
				require.NoError(t, err)
				if at == "while it is stored" {
					w.wire.arm(func() { db.arm(1, func() { clock.step(9 * time.Hour) }) })
				}
				_, err = w.car.Battery(t.Context())
				require.ErrorIs(t, err, smartcar.ErrRateLimited)
				limited := time.Now()
				if at == "later" {
					clock.step(9 * time.Hour)
				}
				young, _ := machine(t, sim, api, new(steppingClock), db)
				for range 7 {
					time.Sleep(time.Hour)
					for _, v := range []*smartcar.Vehicle{w.car, w.on(young)} {
						_, err = v.Battery(t.Context())
						var limit *smartcar.RateLimitError
						require.ErrorAs(t, err, &limit)
						require.True(t, limit.Local, "Smartcar has said that the car has to wait")
					}
				}
				for ; err != nil; _, err = w.on(young).Battery(t.Context()) {
					require.Less(t, time.Since(limited), maxBlocked+9*time.Hour, "the car is locked for too long")
					time.Sleep(10 * time.Minute)
				}
			})
		})
	}
}

// Two processes on one machine share a store that has no clock, such as SQLite. The
// machine's clock is set back, a process begins, reads the car, and the clock is set right:
// by any clock, the turn was used long ago. The older process has not asked meanwhile, but
// it has seen the car before, and the turn was not used then.
func TestTurnThatWasUsedSinceTheCarWasSeen(t *testing.T) {
	onEitherAPI(t, func(t *testing.T, sim *smartcartest.Server, api smartcar.API) {
		clock, db := new(steppingClock), undatedStore{store.NewMemory()}
		w := newWrongClock(t, sim, api, clock, db)
		_, err := w.car.Access(t.Context())
		require.NoError(t, err)
		time.Sleep(time.Minute)
		clock.step(-9 * time.Hour)
		young, _ := machine(t, sim, api, clock, db)
		_, err = w.on(young).Battery(t.Context())
		require.NoError(t, err)
		used := time.Now()
		clock.step(9 * time.Hour)
		for range 7 {
			closed(t, w.car)
			time.Sleep(time.Hour)
		}
		w.counted(t, 1)
		w.opensBy(t, w.car, used, 18*time.Hour)
	})
}

// What a slow read of the status shows is as old as the read, also when the clock of its
// machine is set meanwhile: another replica has seen since then that the key is gone.
func TestOldEvidenceOfAMachineWhoseClockIsSet(t *testing.T) {
	for _, by := range []time.Duration{-3 * time.Hour, 3 * time.Hour} {
		t.Run(by.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sim := smartcartest.New()
				db := newSteppingStore(store.NewMemory())
				w := newWrongClock(t, sim, smartcar.V2, new(steppingClock), db)
				other, _ := machine(t, sim, smartcar.V2, new(steppingClock), db)
				w.car = w.user.Vehicle(smartcartest.Model3)
				time.Sleep(10 * time.Minute)
				sim.Inject(smartcartest.Fault{Path: "/virtual_key", LatencyAfter: time.Minute})
				w.wire.arm(func() { w.clock.step(by) })
				slow := make(chan error, 1)
				go func() { _, err := w.car.KeyStatus(t.Context()); slow <- err }()
				time.Sleep(20 * time.Second)
				require.NoError(t, sim.Unpair(w.car.ID()))
				status, err := w.on(other).KeyStatus(t.Context())
				require.NoError(t, err)
				require.Equal(t, smartcar.KeyMissing, status.State)
				require.NoError(t, <-slow)
				access, err := w.on(other).Access(t.Context())
				require.NoError(t, err)
				require.True(t, access.NeedsKey, "%+v", access.Key)
			})
		})
	}
}
