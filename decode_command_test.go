package smartcar_test

import (
	"context"
	"encoding/json"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/smartcartest"
	"github.com/stretchr/testify/require"
)

type commandCall func(context.Context, *smartcar.Vehicle) (*smartcar.CommandResult, error)

func commandCalls() map[string]commandCall {
	return map[string]commandCall{
		"lock":   func(ctx context.Context, v *smartcar.Vehicle) (*smartcar.CommandResult, error) { return v.Lock(ctx) },
		"unlock": func(ctx context.Context, v *smartcar.Vehicle) (*smartcar.CommandResult, error) { return v.Unlock(ctx) },
		"start-charge": func(ctx context.Context, v *smartcar.Vehicle) (*smartcar.CommandResult, error) {
			return v.StartCharge(ctx)
		},
		"stop-charge": func(ctx context.Context, v *smartcar.Vehicle) (*smartcar.CommandResult, error) {
			return v.StopCharge(ctx)
		},
		"set-charge-limit": func(ctx context.Context, v *smartcar.Vehicle) (*smartcar.CommandResult, error) {
			return v.SetChargeLimit(ctx, 70)
		},
		"send-destination": func(ctx context.Context, v *smartcar.Vehicle) (*smartcar.CommandResult, error) {
			return v.SendDestination(ctx, 51.5007, 0.1246)
		},
	}
}

// The exact request of every command, and what is made of its answer.
func TestCommandFixtures(t *testing.T) {
	for name, call := range commandCalls() {
		t.Run(name, func(t *testing.T) {
			f := readFixture(t, "v2/commands/"+name)
			key := f.Request.Method + " " + f.Request.Path
			transport := newCanned(t).on(key, f.reply())
			result, err := call(t.Context(), cannedVehicle(t, transport))
			require.NoError(t, err)
			require.Equal(t, &smartcar.CommandResult{
				Status: "success", Message: "Successfully sent request to vehicle",
				Meta: smartcar.Meta{RequestID: f.Response.Headers["SC-Request-Id"], ReceivedAt: fixtureTime, Source: smartcar.SourceLive},
			}, result)

			sent := transport.requests(key)
			require.Len(t, sent, 1)
			require.JSONEq(t, string(f.Request.Body), sent[0].body)
			require.Equal(t, f.Request.Headers["Content-Type"], sent[0].header.Get("Content-Type"))
			require.Empty(t, sent[0].header.Get("SC-Unit-System"), "a command has no units")
			require.Empty(t, sent[0].query)
		})
	}
}

func TestNoCommandFixtureIsForgotten(t *testing.T) {
	used := []string{"disconnect"}
	for name := range commandCalls() {
		used = append(used, name)
	}
	require.ElementsMatch(t, fixtureNames(t, "v2/commands"), used)
}

func TestDisconnectFixture(t *testing.T) {
	f := readFixture(t, "v2/commands/disconnect")
	key := f.Request.Method + " " + f.Request.Path
	transport := newCanned(t).on(key, f.reply())
	require.NoError(t, cannedVehicle(t, transport).Disconnect(t.Context()))
	sent := transport.requests(key)
	require.Len(t, sent, 1)
	require.Empty(t, sent[0].body)
	require.Empty(t, sent[0].header.Get("Content-Type"))
}

// A percentage goes out as the fraction it stands for, without rounding noise.
func TestChargeLimitIsSentExactly(t *testing.T) {
	for percent, want := range map[float64]string{
		50: `{"limit":0.5}`, 55: `{"limit":0.55}`, 57: `{"limit":0.57}`, 58.5: `{"limit":0.585}`, 100: `{"limit":1}`,
	} {
		transport := newCanned(t).on("POST /v2.0/vehicles/{id}/charge/limit", jsonReply(200, `{"status":"success"}`))
		_, err := cannedVehicle(t, transport).SetChargeLimit(t.Context(), percent)
		require.NoError(t, err)
		require.Equal(t, want, transport.requests("POST /v2.0/vehicles/{id}/charge/limit")[0].body)
	}
}

// Answers of success that say less, or more, than documented.
func TestCommandAnswersOfEveryForm(t *testing.T) {
	for name, tt := range map[string]struct {
		reply           reply
		status, message string
	}{
		"accepted":         {jsonReply(202, `{"status":"success"}`), "success", ""},
		"created":          {jsonReply(201, `{"status":"success","message":"ok"}`), "success", "ok"},
		"no content":       {reply{status: 204}, "", ""},
		"empty":            {reply{status: 200}, "", ""},
		"with more fields": {jsonReply(200, `{"status":"success","message":null,"trace":{"id":1}}`), "success", ""},
	} {
		t.Run(name, func(t *testing.T) {
			result, err := cannedVehicle(t, newCanned(t).on(lockPath, tt.reply)).Lock(t.Context())
			require.NoError(t, err)
			require.Equal(t, tt.status, result.Status)
			require.Equal(t, tt.message, result.Message)
		})
	}
}

func batchOperations(t *testing.T, f fixture) []smartcar.Operation {
	t.Helper()
	operations := map[string]smartcar.Operation{
		"/": smartcar.Attributes, "/battery": smartcar.Battery, "/battery/nominal_capacity": smartcar.NominalCapacity,
		"/charge": smartcar.Charge, "/charge/limit": smartcar.ChargeLimit, "/engine/oil": smartcar.EngineOil, "/fuel": smartcar.Fuel,
		"/location": smartcar.Location, "/odometer": smartcar.Odometer, "/security": smartcar.LockStatus,
		"/tires/pressure": smartcar.TirePressure, "/tesla/virtual_key": smartcar.Operation("key-status"), "/tesla/status": smartcar.TeslaStatus,
	}
	var body struct{ Requests []struct{ Path string } }
	require.NoError(t, json.Unmarshal(f.Request.Body, &body))
	var list []smartcar.Operation
	for _, r := range body.Requests {
		op, ok := operations[r.Path]
		require.True(t, ok, r.Path)
		list = append(list, op)
	}
	return list
}

const batchPath = "POST /v2.0/vehicles/{id}/batch"

// batchSnapshot serves a batch fixture and checks the one request it takes.
func batchSnapshot(t *testing.T, name string, opts ...smartcar.Option) *smartcar.Snapshot {
	t.Helper()
	f := readFixture(t, "v2/batch/"+name)
	transport := newCanned(t).on(batchPath, f.reply())
	want := batchOperations(t, f)
	snapshot, err := cannedVehicle(t, transport, opts...).Snapshot(t.Context(), want...)
	require.NoError(t, err)
	sent := transport.requests(batchPath)
	require.Len(t, sent, 1)
	require.JSONEq(t, string(f.Request.Body), sent[0].body)
	require.Equal(t, "application/json", sent[0].header.Get("Content-Type"))
	var got []smartcar.Operation
	for op, err := range snapshot.Operations() {
		if err != nil {
			require.Contains(t, err.Error(), string(op), "an item's error names its operation")
		}
		got = append(got, op)
	}
	require.Equal(t, want, got, "one result for each operation, in the order asked")
	return snapshot
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
		"not-a-batch": func(t *testing.T, s *smartcar.Snapshot) {
			for _, err := range s.Operations() {
				require.ErrorIs(t, err, smartcar.ErrUnexpectedAnswer)
			}
		},
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
			tests[name](t, batchSnapshot(t, name))
		})
	}
}

func requireBattery(t *testing.T, s *smartcar.Snapshot, percent, distance float64) {
	t.Helper()
	battery, err := s.Battery()
	require.NoError(t, err)
	require.Equal(t, &percent, battery.Percent)
	require.Equal(t, &distance, battery.Range)
}

func requireOdometer(t *testing.T, s *smartcar.Snapshot, distance float64) {
	t.Helper()
	odometer, err := s.Odometer()
	require.NoError(t, err)
	require.Equal(t, &distance, odometer.Distance)
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
