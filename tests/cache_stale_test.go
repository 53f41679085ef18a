package smartcar_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/smartcartest"
	"github.com/seed-498a1bc4/smartcar/store"
	"github.com/stretchr/testify/require"
)

func TestStaleAnswersOfAKeylessCar(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		_, user := connected(t, sim)
		strict := user.Vehicle(smartcartest.ModelY)
		v := strict.With(smartcar.AllowStale())
		first, err := v.Odometer(t.Context())
		require.NoError(t, err)
		require.Equal(t, smartcar.SourceLive, first.Source)
		require.False(t, first.Stale)

		time.Sleep(3 * time.Hour)
		stale, err := v.Odometer(t.Context())
		require.NoError(t, err)
		require.Equal(t, smartcar.SourceCache, stale.Source)
		require.True(t, stale.Stale)
		require.Equal(t, first.RecordedAt, stale.RecordedAt)
		require.Equal(t, first.ReceivedAt, stale.ReceivedAt)

		_, err = v.Battery(t.Context())
		var limited *smartcar.RateLimitError
		require.ErrorAs(t, err, &limited, "never read")
		require.Equal(t, smartcar.Battery, limited.Operation)
		_, err = strict.Odometer(t.Context())
		require.ErrorIs(t, err, smartcar.ErrRateLimited, "only where it was asked for")

		snapshot, err := v.Snapshot(t.Context(), smartcar.Battery, smartcar.Odometer, smartcar.Location)
		require.NoError(t, err)
		require.Equal(t, []smartcar.Operation{smartcar.Battery, smartcar.Odometer, smartcar.Location}, asked(t, snapshot))
		for op, err := range snapshot.Operations() {
			if op == smartcar.Odometer {
				require.NoError(t, err)
				continue
			}
			require.ErrorAs(t, err, &limited)
			require.Equal(t, op, limited.Operation)
			require.Equal(t, smartcar.RuleKeyless, limited.Rule)
			require.WithinDuration(t, first.ReceivedAt.Add(window), limited.NextAllowed, time.Second)
		}
		odometer, err := snapshot.Odometer()
		require.NoError(t, err)
		require.True(t, odometer.Stale)
		_, err = snapshot.Location()
		require.ErrorIs(t, err, smartcar.ErrRateLimited)

		_, err = v.Snapshot(t.Context(), smartcar.Battery, smartcar.Location)
		require.ErrorAs(t, err, &limited, "there is nothing at all")
		require.Equal(t, 1, countedData(sim, smartcartest.ModelY))

		// When the window opens, the car is asked again.
		time.Sleep(5*time.Hour + time.Second)
		fresh, err := v.Odometer(t.Context())
		require.NoError(t, err)
		require.Equal(t, smartcar.SourceLive, fresh.Source)
		require.Empty(t, sim.BrokenWindows(smartcartest.ModelY))
	})
}

func TestStaleAnswersWhereSmartcarLimitsTheVehicle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		v := metCar(t, sim).With(smartcar.AllowStale())
		_, err := v.Odometer(t.Context())
		require.NoError(t, err)
		sim.Inject(smartcartest.Fault{Path: "/odometer", ErrorType: "RATE_LIMIT", ErrorCode: "VEHICLE"})
		for range 2 { // the server's refusal, and then our own
			stale, err := v.Odometer(t.Context())
			require.NoError(t, err)
			require.True(t, stale.Stale)
		}
		require.Equal(t, 2, countPath(sim, "/odometer"))
	})
}

// Failures that are no limit are told, stale answers or not.
func TestStaleAnswersHideNoOtherError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		v := metCar(t, sim).With(smartcar.AllowStale())
		_, err := v.Odometer(t.Context())
		require.NoError(t, err)
		for _, f := range []smartcartest.Fault{{ErrorType: "PERMISSION"}, {Status: 503, Times: 3}, {ErrorType: "VEHICLE_STATE", ErrorCode: "ASLEEP"}} {
			f.Path = "/odometer"
			sim.Inject(f)
			_, err = v.Odometer(t.Context())
			require.Error(t, err)
		}
	})
}

// inFlight starts a slow first read of a keyless car.
func inFlight(t *testing.T, sim *smartcartest.Server, v *smartcar.Vehicle, fault smartcartest.Fault) (result chan error) {
	t.Helper()
	_, err := v.Access(t.Context())
	require.NoError(t, err)
	fault.Path = "/odometer"
	sim.Inject(fault)
	result = make(chan error, 1)
	go func() { _, err := v.Odometer(t.Context()); result <- err }()
	synctest.Wait()
	return result
}

func TestReadInFlightIsShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		_, user := connected(t, sim)
		v := user.Vehicle(smartcartest.ModelY)
		first := inFlight(t, sim, v, smartcartest.Fault{Latency: 20 * time.Second})

		_, err := v.Odometer(t.Context())
		var limited *smartcar.RateLimitError
		require.ErrorAs(t, err, &limited)
		require.True(t, limited.InFlight)

		shared := make(chan error)
		for range 5 {
			go func() {
				r, err := v.With(smartcar.ShareInFlight()).Odometer(t.Context())
				if err == nil && (r.Source != smartcar.SourceCache || r.Stale || r.Distance == nil) {
					err = errors.New("not the answer of the first caller")
				}
				shared <- err
			}()
		}
		other := make(chan error)
		go func() { _, err := v.With(smartcar.ShareInFlight()).Battery(t.Context()); other <- err }()
		require.NoError(t, <-first)
		for range 5 {
			require.NoError(t, <-shared)
		}
		require.ErrorIs(t, <-other, smartcar.ErrRateLimited, "it was not asked for that")
		require.Equal(t, 1, countedData(sim, smartcartest.ModelY))
		require.Empty(t, sim.BrokenWindows(smartcartest.ModelY))
	})
}

// However the scheduler interleaves the two, they share.
func TestReadInFlightIsSharedInAnyOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		_, user := connected(t, sim)
		v := user.Vehicle(smartcartest.ModelY)
		_, err := v.Access(t.Context())
		require.NoError(t, err)
		for range 500 {
			sim.Inject(smartcartest.Fault{Path: "/odometer", Latency: time.Second})
			first := make(chan error, 1)
			go func() { _, err := v.Odometer(t.Context()); first <- err }()
			synctest.Wait()
			_, err := v.With(smartcar.ShareInFlight()).Odometer(t.Context())
			require.NoError(t, err)
			require.NoError(t, <-first)
			time.Sleep(window + time.Second)
		}
	})
}

// lateStore stores at once and answers late, as a slow network does.
type lateStore struct{ store.Store }

func (s lateStore) CompareAndSwap(ctx context.Context, key string, old store.Revision, value []byte, ttl time.Duration) (store.Record, error) {
	r, err := s.Store.CompareAndSwap(ctx, key, old, value, ttl)
	time.Sleep(100 * time.Millisecond)
	return r, err
}

// The turn is taken in the store, and the request has not left yet.
func TestReadAboutToLeaveIsShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		_, user := connected(t, sim, smartcar.WithStore(lateStore{store.NewMemory()}))
		v := user.Vehicle(smartcartest.ModelY)
		_, err := v.Access(t.Context())
		require.NoError(t, err)
		first := make(chan error, 1)
		go func() { _, err := v.Odometer(t.Context()); first <- err }()
		time.Sleep(50 * time.Millisecond)
		require.Zero(t, countedData(sim, smartcartest.ModelY))
		_, err = v.With(smartcar.ShareInFlight()).Odometer(t.Context())
		require.NoError(t, err)
		require.NoError(t, <-first)
		require.Equal(t, 1, countedData(sim, smartcartest.ModelY))
	})
}

func TestSharedReadThatFails(t *testing.T) {
	for name, opts := range map[string][]smartcar.CallOption{
		"sharing": {smartcar.ShareInFlight()}, "sharing or stale": {smartcar.ShareInFlight(), smartcar.AllowStale()},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sim := smartcartest.New()
				_, user := connected(t, sim)
				v := user.Vehicle(smartcartest.ModelY)
				first := inFlight(t, sim, v, smartcartest.Fault{Latency: 20 * time.Second, DropAfter: true})
				_, err := v.With(opts...).Odometer(t.Context())
				require.ErrorIs(t, err, smartcar.ErrRateLimited)
				require.Error(t, <-first)
				require.Equal(t, 1, countedData(sim, smartcartest.ModelY))
			})
		})
	}
}

// An answer of an earlier window is not what the one in flight will say.
func TestSharedReadIsNotAnEarlierAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		_, user := connected(t, sim)
		v := user.Vehicle(smartcartest.ModelY)
		old, err := v.Odometer(t.Context())
		require.NoError(t, err)
		time.Sleep(window + time.Second)
		first := inFlight(t, sim, v, smartcartest.Fault{Latency: 20 * time.Second})
		stale, err := v.With(smartcar.AllowStale()).Odometer(t.Context())
		require.NoError(t, err)
		require.True(t, stale.Stale)
		require.Equal(t, old.RecordedAt, stale.RecordedAt)
		fresh, err := v.With(smartcar.ShareInFlight(), smartcar.AllowStale()).Odometer(t.Context())
		require.NoError(t, err)
		require.False(t, fresh.Stale)
		require.True(t, fresh.RecordedAt.After(old.RecordedAt))
		require.NoError(t, <-first)
	})
}

func TestWaitingForASharedReadEndsWithTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		_, user := connected(t, sim)
		v := user.Vehicle(smartcartest.ModelY)
		first := inFlight(t, sim, v, smartcartest.Fault{Latency: 20 * time.Second})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		_, err := v.With(smartcar.ShareInFlight()).Odometer(ctx)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, time.Second, time.Since(began))
		require.NoError(t, <-first)
	})
}

func TestIgnoredPolicyIsBooked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New(smartcartest.WithKeylessAnswer(smartcartest.StaleData))
		_, user := connected(t, sim)
		v := user.Vehicle(smartcartest.ModelY)
		_, err := v.Odometer(t.Context())
		require.NoError(t, err)
		time.Sleep(3 * time.Hour)
		forced, err := v.With(smartcar.IgnorePolicy()).Odometer(t.Context())
		require.NoError(t, err)
		require.True(t, forced.PolicyOverridden)
		require.Equal(t, smartcar.SourceLive, forced.Source)
		require.Equal(t, 2, countedData(sim, smartcartest.ModelY))
		refusedUntil(t, v, time.Now().Add(window))

		snapshot, err := v.With(smartcar.IgnorePolicy()).Snapshot(t.Context(), smartcar.Odometer)
		require.NoError(t, err)
		odometer, err := snapshot.Odometer()
		require.NoError(t, err)
		require.True(t, odometer.PolicyOverridden)
		again, err := v.With(smartcar.AllowStale()).Odometer(t.Context())
		require.NoError(t, err)
		require.True(t, again.Stale)
	})
}

func TestIgnoredPolicyOfACommand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		_, user := connected(t, sim)
		v := user.Vehicle(smartcartest.ModelY)
		_, err := v.Odometer(t.Context())
		require.NoError(t, err)
		_, err = v.With(smartcar.IgnorePolicy()).Lock(t.Context())
		var missing *smartcar.VirtualKeyRequiredError
		require.ErrorAs(t, err, &missing)
		require.False(t, missing.Local, "Smartcar was asked")
		require.NoError(t, sim.Pair(smartcartest.ModelY))
		result, err := v.With(smartcar.IgnorePolicy()).Lock(t.Context())
		require.NoError(t, err)
		require.True(t, result.PolicyOverridden)
		_, err = v.Odometer(t.Context())
		require.NoError(t, err, "a command that worked proves the key")
	})
}
