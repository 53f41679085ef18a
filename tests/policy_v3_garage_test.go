package smartcar_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/smartcartest"
	"github.com/seed-498a1bc4/smartcar/store"
	"github.com/stretchr/testify/require"
)

// vehicleRequests are those for a car, in order, without the host and the id.
func vehicleRequests(sim *smartcartest.Server, id string) (paths []string) {
	for _, r := range sim.Requests() {
		if _, path, ok := strings.Cut(r.Path, "/v3/vehicles/"+id); ok {
			paths = append(paths, r.Method+" "+path)
		}
	}
	return paths
}

// Everything the policy learns comes with the read that was asked for; nobody
// is ever asked for the status of the key.
func TestTheKeyIsLearnedFromTheAnswerPaidFor(t *testing.T) {
	for id, want := range map[string]struct {
		key  smartcar.KeyState
		open bool
	}{smartcartest.Model3: {smartcar.KeyInstalled, true}, smartcartest.ModelY: {smartcar.KeyMissing, false}} {
		t.Run(id, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sim := smartcartest.New()
				v := onV3(t, sim).Vehicle(id)
				status, err := v.KeyStatus(t.Context())
				require.NoError(t, err)
				require.Equal(t, smartcar.KeyUnknown, status.State)
				require.NotEmpty(t, status.Reason)
				require.Equal(t, []string{"GET "}, vehicleRequests(sim, id), "make and model")

				_, err = v.Battery(t.Context())
				require.NoError(t, err)
				require.Equal(t, []string{"GET ", "GET /signals"}, vehicleRequests(sim, id))
				status, err = v.KeyStatus(t.Context())
				require.NoError(t, err)
				require.Equal(t, want.key, status.State)
				require.Equal(t, smartcar.KeyFromSignal, status.Source)
				access, err := v.Access(t.Context())
				require.NoError(t, err)
				require.Equal(t, want.open, access.NextRead.IsZero())
				require.Equal(t, !want.open, access.NeedsKey)

				ctx, cancel := context.WithTimeout(t.Context(), 3*time.Hour)
				defer cancel()
				status, err = v.WaitForKey(ctx)
				if want.open {
					require.NoError(t, err)
					require.Equal(t, smartcar.KeyInstalled, status.State)
				} else {
					require.ErrorIs(t, err, context.DeadlineExceeded)
				}
				require.Equal(t, []string{"GET ", "GET /signals"}, vehicleRequests(sim, id), "waiting asks nobody")
				_, _ = v.Lock(t.Context())
				require.Equal(t, []string{"GET ", "GET /signals", "POST /commands/security/lock"}, vehicleRequests(sim, id))
			})
		})
	}
}

// WaitForKey sees what a command of another process has shown.
func TestWaitForKeyOnV3(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		db := store.NewMemory()
		a := onV3(t, sim, smartcar.WithStore(db))
		b := apiClient(t, sim, smartcar.V3, smartcar.WithStore(db)).User(a.ID())
		waited := make(chan smartcar.KeyStatus, 1)
		go func() {
			status, err := a.Vehicle(smartcartest.ModelY).WaitForKey(t.Context())
			if err == nil {
				waited <- status
			}
		}()
		time.Sleep(10 * time.Minute)
		require.NoError(t, sim.Pair(smartcartest.ModelY))
		_, err := b.Vehicle(smartcartest.ModelY).Unlock(t.Context())
		require.NoError(t, err)
		time.Sleep(5 * time.Second)
		synctest.Wait()
		require.Equal(t, smartcar.KeyFromCommand, (<-waited).Source)
		_, err = a.Vehicle(smartcartest.ModelS2018).WaitForKey(t.Context())
		require.ErrorIs(t, err, smartcar.ErrKeyNotNeeded)
	})
}

// The signal opens and closes the gate with the very answer it came in.
func TestTheSignalOpensAndCloses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		v := onV3(t, sim).Vehicle(smartcartest.ModelY)
		_, err := v.Battery(t.Context())
		require.NoError(t, err)
		require.NoError(t, sim.Pair(smartcartest.ModelY))
		time.Sleep(2 * time.Minute) // it records
		_, err = v.Battery(t.Context())
		require.ErrorIs(t, err, smartcar.ErrRateLimited, "nobody has said that the key is there")
		battery, err := v.With(smartcar.IgnorePolicy()).Battery(t.Context())
		require.NoError(t, err)
		require.True(t, battery.PolicyOverridden)
		for range 3 {
			_, err = v.Battery(t.Context())
			require.NoError(t, err)
		}
		require.NoError(t, sim.Unpair(smartcartest.ModelY))
		time.Sleep(time.Minute)
		_, err = v.Battery(t.Context())
		require.NoError(t, err)
		_, err = v.Battery(t.Context())
		require.ErrorIs(t, err, smartcar.ErrRateLimited)
		require.Empty(t, sim.BrokenWindows(smartcartest.ModelY))
	})
}

// Whatever the server does with a second read of a keyless car, there is none.
func TestAWeekOfAKeylessCarOnV3(t *testing.T) {
	for name, answer := range map[string]smartcartest.KeylessAnswer{
		"limited": smartcartest.RateLimited, "stale": smartcartest.StaleData, "key required": smartcartest.KeyRequired,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sim := smartcartest.New(smartcartest.WithKeylessAnswer(answer))
				v := onV3(t, sim).Vehicle(smartcartest.Cybertruck)
				live := 0
				for range 7 * 24 * 4 {
					if _, err := v.Snapshot(t.Context(), smartcar.Battery, smartcar.Odometer, smartcar.AllSignals); err == nil {
						live++
					}
					time.Sleep(15 * time.Minute)
				}
				require.InDelta(t, 21, live, 1)
				require.Empty(t, sim.BrokenWindows(smartcartest.Cybertruck))
			})
		})
	}
}

func TestASnapshotIsOneTurnOnV3(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		v := onV3(t, sim).Vehicle(smartcartest.ModelY)
		snapshot, err := v.Snapshot(t.Context(), smartcar.Battery, smartcar.Odometer, smartcar.Location, smartcar.VIN,
			smartcar.Attributes, smartcar.LockStatus, smartcar.TeslaStatus, smartcar.TeslaAttributes, smartcar.Fuel, smartcar.AllSignals)
		require.NoError(t, err)
		bad := 0
		for op, err := range snapshot.Operations() {
			if err != nil {
				require.Equal(t, smartcar.Fuel, op)
				require.ErrorIs(t, err, smartcar.ErrNotSupported)
				bad++
			}
		}
		require.Equal(t, 1, bad)
		require.Equal(t, []string{"GET ", "GET /signals"}, vehicleRequests(sim, smartcartest.ModelY))
		require.Equal(t, 1, countedData(sim, smartcartest.ModelY))
	})
}

// Asleep is what the car says, and asking for it wakes nobody.
func TestWakefulnessOnV3(t *testing.T) {
	for id, want := range map[string]smartcar.Wakefulness{smartcartest.ModelX2020: smartcar.Asleep, smartcartest.ModelS2018: smartcar.Awake, smartcartest.Model3: smartcar.Awake} {
		synctest.Test(t, func(t *testing.T) {
			sim := smartcartest.New()
			v := onV3(t, sim).Vehicle(id)
			access, err := v.Access(t.Context())
			require.NoError(t, err)
			require.Equal(t, smartcar.WakeUnknown, access.Wake)
			_, err = v.Odometer(t.Context())
			require.NoError(t, err)
			access, err = v.Access(t.Context())
			require.NoError(t, err)
			require.Equal(t, want, access.Wake, id)
		})
	}
}

// The VIN, which comes with the list, settles what make and year leave open.
func TestTheVINInTheListDecidesTheClass(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		v := onV3(t, sim).Vehicle(smartcartest.ModelS2021)
		access, err := v.Access(t.Context())
		require.NoError(t, err)
		require.Equal(t, smartcar.ClassUnknown, access.Class)
		_, err = v.Odometer(t.Context())
		require.NoError(t, err)
		access, err = v.Access(t.Context())
		require.NoError(t, err)
		require.Equal(t, smartcar.ClassLegacy, access.Class)
		require.Equal(t, []string{"GET ", "GET /signals"}, vehicleRequests(sim, smartcartest.ModelS2021))
	})
}

// Two replicas share the window and what was learned.
func TestReplicasOnV3(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		db := store.NewMemory()
		a := onV3(t, sim, smartcar.WithStore(db))
		b := apiClient(t, sim, smartcar.V3, smartcar.WithStore(db)).User(a.ID())
		for i, err := range allOf(20, func(i int) error {
			_, err := []*smartcar.User{a, b}[i%2].Vehicle(smartcartest.ModelY).Battery(t.Context())
			return err
		}) {
			if err != nil {
				require.ErrorIs(t, err, smartcar.ErrRateLimited, "%d", i)
			}
		}
		require.Equal(t, 1, countedData(sim, smartcartest.ModelY))
		for _, u := range []*smartcar.User{a, b} {
			access, err := u.Vehicle(smartcartest.ModelY).Access(t.Context())
			require.NoError(t, err)
			require.Equal(t, smartcar.KeyMissing, access.Key.State)
		}
		require.NoError(t, sim.Pair(smartcartest.ModelY))
		time.Sleep(16 * time.Minute)
		_, err := a.Vehicle(smartcartest.ModelY).Lock(t.Context())
		require.NoError(t, err)
		_, err = b.Vehicle(smartcartest.ModelY).Battery(t.Context())
		require.NoError(t, err)
		require.Empty(t, sim.BrokenWindows(smartcartest.ModelY))
		require.Equal(t, 1, sim.AppTokenRequests())
	})
}

// A 430 stops, and says so for reads and commands: the first request of a read, for
// the attributes, has shown it.
func TestThePlanIsUsedUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		v := onV3(t, sim).Vehicle(smartcartest.MachE)
		sim.Inject(smartcartest.Fault{Path: "/vehicles/", ErrorType: "BILLING", ErrorCode: "VEHICLE_REQUEST_LIMIT", Times: -1})
		before := len(vehicleRequests(sim, smartcartest.MachE))
		_, err := v.Odometer(t.Context())
		require.ErrorIs(t, err, smartcar.ErrBilling)
		_, err = v.Lock(t.Context())
		require.ErrorIs(t, err, smartcar.ErrBilling)
		require.False(t, smartcar.MayHaveSucceeded(err) || smartcar.Retryable(err))
		require.Len(t, vehicleRequests(sim, smartcartest.MachE), before+2)
	})
}

// However Smartcar writes its answers, they mean the same.
func TestVariantsOfTheWireMeanTheSame(t *testing.T) {
	every := []smartcar.Operation{
		smartcar.Odometer, smartcar.Location, smartcar.Fuel, smartcar.Battery, smartcar.BatteryCapacity, smartcar.NominalCapacity,
		smartcar.Charge, smartcar.ChargeLimit, smartcar.TirePressure, smartcar.EngineOil, smartcar.LockStatus, smartcar.VIN, smartcar.TroubleCodes,
	}
	for _, id := range []string{smartcartest.Model3, smartcartest.MachE} {
		for _, units := range []smartcar.UnitSystem{smartcar.Metric, smartcar.Imperial} {
			want := map[smartcar.Operation]any{}
			for i, v := range []smartcartest.Variants{
				{}, {UnitAliases: true}, {NoUnits: true}, {EpochTimes: true}, {NamedClosures: true}, {PlainPaging: true, RelativeLinks: true, NullPowertrain: true},
				{UnitAliases: true, NoUnits: true, EpochTimes: true, NamedClosures: true, PlainPaging: true, NumericStatus: true},
			} {
				synctest.Test(t, func(t *testing.T) {
					vehicle := onV3(t, smartcartest.New(smartcartest.WithVariants(v)), smartcar.WithUnitSystem(units)).Vehicle(id)
					snapshot, err := vehicle.Snapshot(t.Context(), slices.Concat(every, []smartcar.Operation{smartcar.AllSignals})...)
					require.NoError(t, err)
					reads := neutralReads(t, snapshot)
					status, err := snapshot.LockStatus()
					require.NoError(t, err)
					reads["doors"] = []any{status.Doors, status.Windows}
					read, err := snapshot.Signals()
					require.NoError(t, err)
					left, err := read.ChargeTimeToComplete()
					if err == nil {
						require.Equal(t, smartcar.UnitMinutes, left.Unit)
					}
					if i == 0 {
						want = reads
					}
					require.Equal(t, want, reads, "%+v", v)
				})
			}
		}
	}
}
