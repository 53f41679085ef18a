package smartcar_test

import (
	"context"
	"math"
	"net/http"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/smartcartest"
	"github.com/seed-498a1bc4/smartcar/store"
	"github.com/stretchr/testify/require"
)

// legacyCar is read first a minute after a beat of its own: the next useful
// read is 4 min 15 s later.
func legacyCar(t *testing.T, sim *smartcartest.Server, opts ...smartcar.Option) *smartcar.Vehicle {
	t.Helper()
	_, user := connected(t, sim, opts...)
	time.Sleep(time.Minute)
	v := user.Vehicle(smartcartest.ModelS2018)
	first, err := v.Odometer(t.Context())
	require.NoError(t, err)
	require.Equal(t, smartcar.SourceLive, first.Source)
	return v
}

func TestLegacyCarIsAskedOnceAnInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		v := legacyCar(t, sim)
		first, err := v.Odometer(t.Context())
		require.NoError(t, err)
		for _, wait := range []time.Duration{0, time.Minute, untilNextBeat - time.Minute - time.Millisecond} {
			time.Sleep(wait)
			again, err := v.Odometer(t.Context())
			require.NoError(t, err)
			require.Equal(t, smartcar.SourceCache, again.Source)
			require.False(t, again.Stale, "Smartcar would say the same")
			require.Equal(t, first.RecordedAt, again.RecordedAt)
			require.Equal(t, first.ReceivedAt, again.ReceivedAt)
			require.InDelta(t, *first.Distance, *again.Distance, 0)
			require.Equal(t, 1, countedData(sim, smartcartest.ModelS2018))
		}
		time.Sleep(time.Millisecond)
		next, err := v.Odometer(t.Context())
		require.NoError(t, err)
		require.Equal(t, smartcar.SourceLive, next.Source)
		require.Equal(t, 5*time.Minute, next.RecordedAt.Sub(first.RecordedAt))
		require.Equal(t, 2, countedData(sim, smartcartest.ModelS2018))
	})
}

func TestSnapshotAsksOnlyForWhatIsNew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		v := legacyCar(t, sim)
		want := []smartcar.Operation{smartcar.Battery, smartcar.Odometer, smartcar.Location, smartcar.VIN}
		snapshot, err := v.Snapshot(t.Context(), want...)
		require.NoError(t, err)
		ledger := sim.Ledger(smartcartest.ModelS2018)
		require.Equal(t, []string{"/battery", "/location", "/vin"}, ledger[len(ledger)-1].Items)
		require.Equal(t, want, asked(t, snapshot))
		odometer, err := snapshot.Odometer()
		require.NoError(t, err)
		require.Equal(t, smartcar.SourceCache, odometer.Source)
		battery, err := snapshot.Battery()
		require.NoError(t, err)
		require.Equal(t, smartcar.SourceLive, battery.Source)

		// All of it is known now, in whatever order.
		before := len(sim.Ledger(smartcartest.ModelS2018))
		slices.Reverse(want)
		snapshot, err = v.Snapshot(t.Context(), want[1:]...)
		require.NoError(t, err)
		require.Equal(t, want[1:], asked(t, snapshot))
		require.Len(t, sim.Ledger(smartcartest.ModelS2018), before)
		for op, err := range snapshot.Operations() {
			require.NoError(t, err, op)
		}
	})
}

func TestCommandDiscardsTheAnswers(t *testing.T) {
	for name, tt := range map[string]struct {
		fault  smartcartest.Fault
		source smartcar.Source
	}{
		"carried out":           {smartcartest.Fault{}, smartcar.SourceLive},
		"answer lost":           {smartcartest.Fault{DropAfter: true}, smartcar.SourceLive},
		"maker's cloud failed":  {smartcartest.Fault{ErrorType: "UPSTREAM", ErrorCode: "NO_RESPONSE"}, smartcar.SourceLive},
		"certainly not allowed": {smartcartest.Fault{ErrorType: "PERMISSION"}, smartcar.SourceCache},
		"asleep":                {smartcartest.Fault{ErrorType: "VEHICLE_STATE", ErrorCode: "ASLEEP"}, smartcar.SourceCache},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sim := smartcartest.New()
				v := legacyCar(t, sim)
				if name != "carried out" {
					tt.fault.Path = "/security"
					sim.Inject(tt.fault)
				}
				_, _ = v.Lock(t.Context())
				again, err := v.Odometer(t.Context())
				require.NoError(t, err)
				require.Equal(t, tt.source, again.Source)
			})
		})
	}
}

// A read that was on its way when the command ran may show the car before it.
func TestCommandDiscardsTheAnswerInFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		v := legacyCar(t, sim)
		sim.Inject(smartcartest.Fault{Path: "/battery", LatencyAfter: 10 * time.Second})
		done := make(chan error)
		go func() { _, err := v.Battery(t.Context()); done <- err }()
		synctest.Wait()
		_, err := v.Lock(t.Context())
		require.NoError(t, err)
		require.NoError(t, <-done)
		battery, err := v.Battery(t.Context())
		require.NoError(t, err)
		require.Equal(t, smartcar.SourceLive, battery.Source)
	})
}

func TestWithoutAnswerCacheEveryReadIsSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		v := legacyCar(t, sim, smartcar.WithCacheSize(0))
		for n := 2; n < 5; n++ {
			again, err := v.Odometer(t.Context())
			require.NoError(t, err)
			require.Equal(t, smartcar.SourceLive, again.Source)
			require.Equal(t, n, countedData(sim, smartcartest.ModelS2018))
		}
		_, user := connected(t, sim, smartcar.WithCacheSize(0))
		keyless := user.Vehicle(smartcartest.ModelY).With(smartcar.AllowStale())
		_, err := keyless.Odometer(t.Context())
		require.NoError(t, err)
		_, err = keyless.Odometer(t.Context())
		require.ErrorIs(t, err, smartcar.ErrRateLimited)
		_, err = v.Lock(t.Context())
		require.NoError(t, err)
	})
}

// What does not fit is forgotten, never mixed up.
func TestAnswerCacheOfOneVehicle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		_, user := connected(t, sim, smartcar.WithCacheSize(1))
		time.Sleep(time.Minute)
		read := func(id string) *smartcar.OdometerReading {
			r, err := user.Vehicle(id).Odometer(t.Context())
			require.NoError(t, err)
			return r
		}
		first := read(smartcartest.ModelS2018)
		require.Equal(t, smartcar.SourceCache, read(smartcartest.ModelS2018).Source)
		require.NotEqual(t, *first.Distance, *read(smartcartest.ModelS2021).Distance)
		require.Equal(t, smartcar.SourceLive, read(smartcartest.ModelS2018).Source)
	})
}

func TestUnitsAreKeptApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		km := legacyCar(t, sim)
		miles := km.With(smartcar.InUnits(smartcar.Imperial))
		for range 2 {
			inMiles, err := miles.Odometer(t.Context())
			require.NoError(t, err)
			inKm, err := km.Odometer(t.Context())
			require.NoError(t, err)
			require.Equal(t, smartcar.Imperial, inMiles.UnitSystem)
			require.Equal(t, smartcar.Metric, inKm.UnitSystem)
			require.InDelta(t, *inKm.Distance, *inMiles.Distance*1.609344, 0.1)
		}
		require.Equal(t, 2, countedData(sim, smartcartest.ModelS2018))
	})
}

func TestReadingsAreTheCallersOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		v := legacyCar(t, sim)
		read := func() *smartcar.OdometerReading {
			r, err := v.Odometer(t.Context())
			require.NoError(t, err)
			return r
		}
		truth := *read().Distance
		spoil := func(r *smartcar.OdometerReading) {
			*r.Distance = math.Inf(1)
			r.RecordedAt, r.Source = time.Time{}, "spoiled"
		}
		for range 2 {
			r := read()
			require.InDelta(t, truth, *r.Distance, 0)
			require.False(t, r.RecordedAt.IsZero())
			spoil(r)
		}
		snapshot, err := v.Snapshot(t.Context(), smartcar.Odometer, smartcar.Battery)
		require.NoError(t, err)
		first, err := snapshot.Odometer()
		require.NoError(t, err)
		first.Distance, first.Source = nil, "spoiled"
		second, err := snapshot.Odometer()
		require.NoError(t, err)
		require.InDelta(t, truth, *second.Distance, 0)
		require.Equal(t, smartcar.SourceCache, second.Source)

		battery, err := snapshot.Battery()
		require.NoError(t, err)
		*battery.Percent = -1
		battery, err = snapshot.Battery()
		require.NoError(t, err)
		require.NotEqual(t, -1.0, *battery.Percent)
		kept, err := v.Battery(t.Context())
		require.NoError(t, err)
		require.Equal(t, smartcar.SourceCache, kept.Source)
		require.Positive(t, *kept.Percent)
	})
}

// Metadata is never taken from the answers, nor does it follow a cadence.
func TestMetadataOfALegacyCarIsAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		v := legacyCar(t, sim)
		before := len(sim.Ledger(smartcartest.ModelS2018))
		for range 2 {
			number, err := v.VIN(t.Context())
			require.NoError(t, err)
			require.Equal(t, smartcar.SourceLive, number.Source)
		}
		require.Len(t, sim.Ledger(smartcartest.ModelS2018), before+2)
	})
}

func TestErrorsAreNotKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		v := legacyCar(t, sim)
		for _, f := range []smartcartest.Fault{
			{ErrorType: "VEHICLE_STATE", ErrorCode: "UNREACHABLE"}, {Status: 200, Body: `{"percentRemaining":`}, {ErrorType: "PERMISSION"},
		} {
			f.Path = "/battery"
			sim.Inject(f)
			_, err := v.Battery(t.Context())
			require.Error(t, err)
		}
		battery, err := v.Battery(t.Context())
		require.NoError(t, err)
		require.Equal(t, smartcar.SourceLive, battery.Source)
	})
}

func TestIgnoredPolicyOfALegacyCar(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		v := legacyCar(t, sim)
		forced, err := v.With(smartcar.IgnorePolicy()).Odometer(t.Context())
		require.NoError(t, err)
		require.Equal(t, smartcar.SourceLive, forced.Source)
		require.True(t, forced.PolicyOverridden)
		require.Equal(t, 2, countedData(sim, smartcartest.ModelS2018))
		again, err := v.Odometer(t.Context())
		require.NoError(t, err)
		require.Equal(t, smartcar.SourceCache, again.Source)
	})
}

// A legacy car whose owner shares its data records every minute: once seen,
// there is nothing to wait for.
func TestLegacyCarThatStreamsIsNotHeldBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New(garageEach(func(c *smartcartest.Car) { c.DataSharing = c.ID == smartcartest.ModelS2018 }))
		db := smartcar.WithStore(store.NewMemory())
		client, user := connected(t, sim, db)
		v := user.Vehicle(smartcartest.ModelS2018)
		read := func(v *smartcar.Vehicle) smartcar.Source {
			r, err := v.Odometer(t.Context())
			require.NoError(t, err)
			return r.Source
		}
		require.Equal(t, smartcar.SourceLive, read(v))
		time.Sleep(2 * time.Minute)
		require.Equal(t, smartcar.SourceCache, read(v), "nothing proves it yet")
		require.Equal(t, smartcar.SourceLive, read(v.With(smartcar.IgnorePolicy())))
		for range 3 {
			time.Sleep(time.Minute)
			require.Equal(t, smartcar.SourceLive, read(v))
		}
		access, err := v.Access(t.Context())
		require.NoError(t, err)
		require.True(t, access.NextRead.IsZero())

		// Another replica knows it from the store.
		other := newClient(t, sim, db).User(client.User(user.ID()).ID()).Vehicle(smartcartest.ModelS2018)
		require.Equal(t, smartcar.SourceLive, read(other))
		time.Sleep(time.Minute)
		require.Equal(t, smartcar.SourceLive, read(other))
	})
}

// Callers of one process may all come at once: the cache bears it.
func TestManyReadersOfALegacyCar(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		v := legacyCar(t, sim)
		sim.Inject(smartcartest.Fault{Match: func(*http.Request) bool { return true }, Latency: time.Second, Times: -1})
		var callers sync.WaitGroup
		for i := range 30 {
			callers.Go(func() {
				for range 20 {
					ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
					switch i % 5 {
					case 0:
						_, _ = v.Lock(ctx)
					case 1:
						_, err := v.Snapshot(ctx, smartcar.Odometer, smartcar.Battery)
						require.NoError(t, err)
					default:
						_, err := v.Odometer(ctx)
						require.NoError(t, err)
					}
					cancel()
				}
			})
		}
		callers.Wait()
	})
}

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

// Failures that are neither a limit nor sleep are told, stale answers or not.
func TestStaleAnswersHideNoOtherError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		v := metCar(t, sim).With(smartcar.AllowStale())
		_, err := v.Odometer(t.Context())
		require.NoError(t, err)
		for _, f := range []smartcartest.Fault{{ErrorType: "PERMISSION"}, {Status: 503, Times: 3}, {ErrorType: "VEHICLE_STATE", ErrorCode: "UNREACHABLE"}} {
			f.Path = "/odometer"
			sim.Inject(f)
			_, err = v.Odometer(t.Context())
			require.Error(t, err)
		}
	})
}
