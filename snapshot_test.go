package smartcar_test

import (
	"reflect"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/smartcartest"
	"github.com/stretchr/testify/require"
)

// snapshotReads are the methods of Snapshot by operation.
func snapshotReads(s *smartcar.Snapshot) map[smartcar.Operation]func() (any, error) {
	return map[smartcar.Operation]func() (any, error){
		smartcar.Attributes:      func() (any, error) { return s.Attributes() },
		smartcar.VIN:             func() (any, error) { return s.VIN() },
		smartcar.Odometer:        func() (any, error) { return s.Odometer() },
		smartcar.Location:        func() (any, error) { return s.Location() },
		smartcar.Fuel:            func() (any, error) { return s.Fuel() },
		smartcar.Battery:         func() (any, error) { return s.Battery() },
		smartcar.BatteryCapacity: func() (any, error) { return s.BatteryCapacity() },
		smartcar.NominalCapacity: func() (any, error) { return s.NominalCapacity() },
		smartcar.Charge:          func() (any, error) { return s.Charge() },
		smartcar.ChargeLimit:     func() (any, error) { return s.ChargeLimit() },
		smartcar.TirePressure:    func() (any, error) { return s.TirePressure() },
		smartcar.EngineOil:       func() (any, error) { return s.EngineOil() },
		smartcar.LockStatus:      func() (any, error) { return s.LockStatus() },
		smartcar.ServiceHistory:  func() (any, error) { return s.ServiceHistory() },
		smartcar.SystemStatus:    func() (any, error) { return s.SystemStatus() },
		smartcar.TroubleCodes:    func() (any, error) { return s.TroubleCodes() },
		smartcar.TeslaStatus:     func() (any, error) { return s.TeslaStatus() },
		smartcar.TeslaAttributes: func() (any, error) { return s.TeslaAttributes() },
		smartcar.TeslaUserAccess: func() (any, error) { return s.TeslaUserAccess() },
		smartcar.Permissions:     func() (any, error) { return s.Permissions() },
	}
}

// readAlone is what the method of Vehicle says.
func readAlone(t *testing.T, v *smartcar.Vehicle, op smartcar.Operation) (any, error) {
	t.Helper()
	switch op {
	case smartcar.Permissions:
		return v.Permissions(t.Context())
	case smartcar.ServiceHistory: // for the last year
		return v.ServiceHistory(t.Context(), time.Time{}, time.Time{})
	}
	return typedRead(t.Context(), v, op)
}

// requireSame compares two results but for the id of the request.
func requireSame(t *testing.T, want, got any) {
	t.Helper()
	for _, r := range []any{want, got} {
		if v := reflect.ValueOf(r); v.Kind() == reflect.Pointer {
			v.Elem().FieldByName("RequestID").SetString("")
		}
	}
	require.Equal(t, want, got)
}

func TestSnapshotSaysWhatTheVehicleSays(t *testing.T) {
	for name, tt := range map[string]struct {
		id      string
		answers int // operations that this car supports
	}{
		"Mach-E": {smartcartest.MachE, 17}, "Model 3": {smartcartest.Model3, 15},
	} {
		for _, units := range []smartcar.UnitSystem{smartcar.Metric, smartcar.Imperial} {
			t.Run(name+", "+string(units), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					// A plug-in hybrid, so that one car has fuel and a battery.
					hybrid := garageWith(smartcartest.MachE, func(c *smartcartest.Car) { c.Powertrain = "PHEV" })
					_, user := connected(t, smartcartest.New(hybrid))
					v := user.Vehicle(tt.id).With(smartcar.InUnits(units))
					operations := append(typedReads(), smartcar.Permissions)
					s, err := v.Snapshot(t.Context(), operations...)
					require.NoError(t, err)
					reads := snapshotReads(s)
					require.Len(t, reads, len(operations))
					require.Equal(t, operations, asked(t, s))

					answered := 0
					met := make(map[smartcar.Operation]error)
					for op, err := range s.Operations() {
						met[op] = err
					}
					for _, op := range operations {
						want, wantErr := readAlone(t, v, op)
						got, gotErr := reads[op]()
						require.Equal(t, met[op], gotErr, op)
						if wantErr == nil {
							require.NoError(t, gotErr, op)
							if all, ok := want.([]string); ok { // a snapshot has the first page
								require.NotEmpty(t, got)
								want = all[:min(len(all), 25)]
							}
							requireSame(t, want, got)
							answered++
							continue
						}
						var a, b *smartcar.Error
						require.ErrorAs(t, wantErr, &a, op)
						require.ErrorAs(t, gotErr, &b, op)
						require.Equal(t, []any{a.Operation, a.StatusCode, a.Type, a.Code}, []any{b.Operation, b.StatusCode, b.Type, b.Code})
						require.Nil(t, got, op)
					}
					require.Equal(t, tt.answers, answered)
				})
			})
		}
	}
}

func TestSnapshotOfOneHasNothingElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, user := connected(t, smartcartest.New())
		for _, only := range []smartcar.Operation{smartcar.Battery, smartcar.VIN} {
			s, err := user.Vehicle(smartcartest.Model3).Snapshot(t.Context(), only)
			require.NoError(t, err)
			for op, read := range snapshotReads(s) {
				got, err := read()
				if op == only {
					require.NoError(t, err)
					continue
				}
				require.ErrorIs(t, err, smartcar.ErrNotRequested, op)
				require.Nil(t, got, op)
			}
		}
		for op, read := range snapshotReads(new(smartcar.Snapshot)) {
			_, err := read()
			require.ErrorIs(t, err, smartcar.ErrNotRequested, op)
		}
	})
}

func TestSnapshotWithDuplicates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		_, user := connected(t, sim)
		v := user.Vehicle(smartcartest.ModelY)
		s, err := v.Snapshot(t.Context(), smartcar.Battery, smartcar.Odometer, smartcar.Battery, smartcar.VIN, smartcar.Odometer)
		require.NoError(t, err)
		require.Equal(t, []smartcar.Operation{smartcar.Battery, smartcar.Odometer, smartcar.VIN}, asked(t, s))
		require.Equal(t, 1, countedData(sim, v.ID()))
		for _, e := range sim.Ledger(v.ID()) {
			if e.Kind == smartcartest.Data {
				require.Equal(t, []string{"/battery", "/odometer", "/vin"}, e.Items)
			}
		}
	})
}

func TestSnapshotRefusesWhatIsNoRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		_, user := connected(t, sim)
		v := user.Vehicle(smartcartest.MachE)
		before := len(sim.Requests())
		for _, op := range []smartcar.Operation{
			smartcar.Lock, smartcar.Unlock, smartcar.StartCharge, smartcar.StopCharge, smartcar.SetChargeLimit, smartcar.SendDestination,
			"disconnect", "request", "snapshot", "Battery", "/battery", "unheard-of",
		} {
			s, err := v.Snapshot(t.Context(), smartcar.Battery, op)
			require.Nil(t, s, op)
			require.ErrorIs(t, err, smartcar.ErrInvalidArgument, op)
		}
		require.Len(t, sim.Requests(), before)
	})
}
