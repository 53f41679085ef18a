package smartcar_test

import (
	"errors"
	"reflect"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/smartcartest"
	"github.com/stretchr/testify/require"
)

// snapshotReads are the methods of Snapshot by operation.
func snapshotReads(s *smartcar.Snapshot) map[smartcar.Operation]func() (any, error) {
	reads := map[smartcar.Operation]func() (any, error){
		smartcar.ServiceHistory: func() (any, error) { return s.ServiceHistory() },
		smartcar.Permissions:    func() (any, error) { return s.Permissions() },
	}
	for _, r := range tableReads() {
		reads[r.op] = func() (any, error) { return r.snapshot(s) }
	}
	return reads
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

// teslaReads are the reads that only a Tesla has.
func teslaReads() (ops []smartcar.Operation) {
	for _, r := range tableReads() {
		if r.tesla {
			ops = append(ops, r.op)
		}
	}
	return ops
}

// simulated are the reads that the simulator knows; the path of another is none
// that it has.
func simulated(t *testing.T) map[smartcar.Operation]bool {
	t.Helper()
	known := make(map[smartcar.Operation]bool)
	synctest.Test(t, func(t *testing.T) {
		_, user := connected(t, smartcartest.New())
		s, err := user.Vehicle(smartcartest.Model3).Snapshot(t.Context(), append(typedReads(), smartcar.Permissions)...)
		require.NoError(t, err)
		for op, err := range s.Operations() {
			known[op] = !errors.Is(err, smartcar.ErrNotFound)
		}
	})
	return known
}

func TestSnapshotSaysWhatTheVehicleSays(t *testing.T) {
	known := simulated(t)
	for name, tt := range map[string]struct {
		id    string
		lacks []smartcar.Operation // operations that this car does not support
	}{
		"Mach-E": {smartcartest.MachE, teslaReads()},
		"Model 3": {smartcartest.Model3, []smartcar.Operation{
			smartcar.Fuel, smartcar.EngineOil, smartcar.ServiceHistory, smartcar.SystemStatus, smartcar.TroubleCodes,
		}},
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

					var refused []smartcar.Operation
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
							continue
						}
						var a, b *smartcar.Error
						require.ErrorAs(t, wantErr, &a, op)
						require.ErrorAs(t, gotErr, &b, op)
						require.Equal(t, []any{a.Operation, a.StatusCode, a.Type, a.Code}, []any{b.Operation, b.StatusCode, b.Type, b.Code})
						require.Nil(t, got, op)
						if known[op] {
							refused = append(refused, op)
						}
					}
					lacks := slices.DeleteFunc(slices.Clone(tt.lacks), func(op smartcar.Operation) bool { return !known[op] })
					require.ElementsMatch(t, lacks, refused)
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

func TestBatchFixtures(t *testing.T) {
	tests := map[string]func(*testing.T, *smartcar.Snapshot){
		"all-ok": func(t *testing.T, s *smartcar.Snapshot) {
			attributes, err := s.Attributes()
			require.NoError(t, err)
			require.Equal(t, "Model S", attributes.Model)
			require.Zero(t, attributes.RecordedAt)
			requireBattery(t, s, 30, 40.5)
			charge, err := s.Charge()
			require.NoError(t, err)
			require.Equal(t, smartcar.ChargeStateFullyCharged, charge.State)
			requireOdometer(t, s, 104.32)
		},
		"all-forbidden": func(t *testing.T, s *smartcar.Snapshot) {
			for _, err := range s.Operations() {
				require.ErrorIs(t, err, smartcar.ErrPermission)
			}
		},
		"asleep-item": func(t *testing.T, s *smartcar.Snapshot) {
			requireBattery(t, s, 30, 40.5)
			odometer, err := s.Odometer()
			require.ErrorIs(t, err, smartcar.ErrAsleep)
			require.Nil(t, odometer)
		},
		"make-specific": func(t *testing.T, s *smartcar.Snapshot) {
			status, err := s.TeslaStatus()
			require.NoError(t, err)
			require.Equal(t, "ASLEEP", status.Status)
			require.Empty(t, status.Gear)
		},
		"missing-headers": func(t *testing.T, s *smartcar.Snapshot) {
			requireOdometer(t, s, 104.32)
			battery, err := s.Battery()
			require.NoError(t, err)
			location, err := s.Location()
			require.NoError(t, err)
			for _, meta := range []smartcar.Meta{battery.Meta, location.Meta} {
				require.Zero(t, meta.RecordedAt)
				require.Zero(t, meta.FetchedAt)
				require.Equal(t, "1989d938-6eb8-4fc2-9afd-74c418ff0f78", meta.RequestID)
				require.Equal(t, fixtureTime, meta.ReceivedAt)
			}
		},
		"mixed": func(t *testing.T, s *smartcar.Snapshot) {
			requireBattery(t, s, 68, 275)
			requireOdometer(t, s, 21919)
			failed := map[smartcar.Operation]bool{smartcar.EngineOil: true, smartcar.Fuel: true, smartcar.LockStatus: true, smartcar.TirePressure: true}
			for op, err := range s.Operations() {
				if failed[op] {
					require.ErrorIs(t, err, smartcar.ErrPermission, op)
				} else {
					require.NoError(t, err, op)
				}
			}
			limit, err := s.ChargeLimit()
			require.NoError(t, err)
			require.Equal(t, new(100.0), limit.Percent)
		},
		"not-a-batch": nil, // see TestNoBatchAtAll
		"null-body": func(t *testing.T, s *smartcar.Snapshot) {
			requireOdometer(t, s, 104.32)
			_, err := s.Location()
			require.ErrorIs(t, err, smartcar.ErrUnavailable)
			battery, err := s.Battery()
			require.ErrorIs(t, err, smartcar.ErrUnexpectedAnswer)
			require.Nil(t, battery)
		},
		"reordered-and-missing": func(t *testing.T, s *smartcar.Snapshot) {
			requireBattery(t, s, 30, 40.5)
			requireOdometer(t, s, 104.32)
			location, err := s.Location()
			require.ErrorIs(t, err, smartcar.ErrUnexpectedAnswer)
			require.Nil(t, location)
		},
		"vehicle-rate-limited-item": func(t *testing.T, s *smartcar.Snapshot) {
			requireOdometer(t, s, 104.32)
			requireLimitedFor(t, s, 600)
		},
		"vehicle-rate-limited-item.no-retry-after": func(t *testing.T, s *smartcar.Snapshot) { requireLimitedFor(t, s, 60) },
		"virtual-key-required": func(t *testing.T, s *smartcar.Snapshot) {
			for _, err := range s.Operations() {
				var key *smartcar.VirtualKeyRequiredError
				require.ErrorAs(t, err, &key)
				require.False(t, key.Local)
				require.Equal(t, "https://www.tesla.com/_ak/smartcar.com", key.URL.String())
			}
		},
	}
	for _, name := range fixtureNames(t, "v2/batch") {
		t.Run(name, func(t *testing.T) {
			require.Contains(t, tests, name)
			if check := tests[name]; check != nil {
				check(t, batchSnapshot(t, name))
			}
		})
	}
}

// A portal's answer fails the request as a whole: there are no items to look at.
func TestNoBatchAtAll(t *testing.T) {
	f := readFixture(t, "v2/batch/not-a-batch")
	transport := newCanned(t).on(batchPath, f.reply())
	snapshot, err := cannedVehicle(t, transport).Snapshot(t.Context(), batchOperations(t, f)...)
	require.ErrorIs(t, err, smartcar.ErrUnexpectedAnswer)
	require.Nil(t, snapshot)
	require.Len(t, transport.requests(batchPath), 1)
}

// requireLimitedFor looks at the battery of a snapshot.
func requireLimitedFor(t *testing.T, s *smartcar.Snapshot, seconds int) {
	t.Helper()
	_, err := s.Battery()
	var limited *smartcar.RateLimitError
	require.ErrorAs(t, err, &limited)
	require.Equal(t, smartcar.RuleServer, limited.Rule)
	require.Equal(t, smartcar.Battery, limited.Operation)
	require.Equal(t, fixtureVehicle, limited.VehicleID)
	next, ok := smartcar.NextAllowed(err)
	require.True(t, ok, "it must say when to come back")
	require.Equal(t, fixtureTime.Add(time.Duration(seconds)*time.Second), next.UTC())
}

// Every item's times and units are its own.
func TestBatchItemsKeepTheirOwnMeta(t *testing.T) {
	s := batchSnapshot(t, "mixed")
	battery, err := s.Battery()
	require.NoError(t, err)
	location, err := s.Location()
	require.NoError(t, err)
	require.Equal(t, "2025-05-09T15:40:57Z", battery.RecordedAt.Format(time.RFC3339Nano))
	require.Equal(t, "2025-05-09T15:40:52Z", location.RecordedAt.Format(time.RFC3339Nano))
	require.Equal(t, "2025-05-09T17:27:26.712Z", battery.FetchedAt.Format(time.RFC3339Nano))
	require.Equal(t, "1ae8a91d-4898-4f4a-ba08-d20aff3759ca", location.RequestID)
}

// What was not asked for is an error that says so, not a zero reading.
func TestSnapshotHasOnlyWhatWasAskedFor(t *testing.T) {
	s := batchSnapshot(t, "asleep-item")
	fuel, err := s.Fuel()
	require.ErrorIs(t, err, smartcar.ErrNotRequested)
	require.Nil(t, fuel)
	require.Contains(t, err.Error(), string(smartcar.Fuel))
}

// The same operation twice is asked for once, and each item counts against
// the monthly allowance.
func TestSnapshotAsksForEachOperationOnce(t *testing.T) {
	transport := newCanned(t).on(batteryPath, readFixture(t, "v2/reads/battery").reply())
	s, err := cannedVehicle(t, transport).Snapshot(t.Context(), smartcar.Battery, smartcar.Battery)
	require.NoError(t, err)
	requireBattery(t, s, 30, 40.5)
	require.Len(t, transport.requests(batteryPath), 1)
}

// The key's status is evidence, also as one item of a batch: it opens the gate
// at once.
func TestSnapshotOfTheKeyStatusIsEvidence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		_, user := connected(t, sim)
		v := user.Vehicle(smartcartest.ModelY)
		_, err := v.Battery(t.Context())
		require.NoError(t, err)
		_, err = v.Odometer(t.Context())
		require.ErrorIs(t, err, smartcar.ErrRateLimited)
		require.NoError(t, sim.Pair(smartcartest.ModelY))
		_, err = v.With(smartcar.IgnorePolicy()).Snapshot(t.Context(), smartcar.Operation("key-status"), smartcar.Battery)
		require.NoError(t, err)
		_, err = v.Odometer(t.Context())
		require.NoError(t, err)
		require.Empty(t, sim.BrokenWindows(smartcartest.ModelY))
	})
}
