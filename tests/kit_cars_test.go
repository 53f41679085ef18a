package smartcar_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/signals"
	"github.com/seed-498a1bc4/smartcar/smartcartest"
	"github.com/stretchr/testify/require"
)

// sharedModelY is the garage's Model Y without a key, reached by a driver, too.
func sharedModelY() smartcartest.Car {
	for _, c := range smartcartest.DefaultGarage() {
		if c.ID == smartcartest.ModelY {
			c.SharedWith = []string{"driver"}
			return c
		}
	}
	panic("no Model Y in the garage")
}

func attributesOf(vehicleID string) func(*http.Request) bool {
	return func(r *http.Request) bool { return strings.HasSuffix(r.URL.Path, "/vehicles/"+vehicleID) }
}

// metCar is a car of another make whose class is known, so that each read is
// one request.
func metCar(t *testing.T, sim *smartcartest.Server, opts ...smartcar.Option) *smartcar.Vehicle {
	t.Helper()
	_, user := connected(t, sim, opts...)
	v := user.Vehicle(smartcartest.MachE)
	_, err := v.Battery(t.Context())
	require.NoError(t, err)
	return v
}

// typedReads are the reads that return a reading, as the table has them.
func typedReads() []smartcar.Operation {
	ops := []smartcar.Operation{smartcar.ServiceHistory}
	for _, r := range tableReads() {
		ops = append(ops, r.op)
	}
	return ops
}

// typedRead calls the method of Vehicle that stands for an operation.
func typedRead(ctx context.Context, v *smartcar.Vehicle, op smartcar.Operation) (any, error) {
	if op == smartcar.ServiceHistory {
		return v.ServiceHistory(ctx, time.Date(2023, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2023, 12, 31, 0, 0, 0, 0, time.UTC))
	}
	for _, r := range tableReads() {
		if r.op == op {
			return r.vehicle(ctx, v)
		}
	}
	return nil, errors.New("no method for " + string(op))
}

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

func neutralReads(t *testing.T, s *smartcar.Snapshot) map[smartcar.Operation]any {
	t.Helper()
	reads := map[smartcar.Operation]any{}
	note := func(op smartcar.Operation, err error, value ...any) {
		if err != nil {
			require.ErrorIs(t, err, smartcar.ErrNotSupported, string(op))
			value = []any{"not supported"}
		}
		for i, v := range value {
			if f, ok := v.(*float64); ok && f != nil {
				value[i] = float64(int64(*f*1000+0.5)) / 1000 // conversions differ in the last digits
			}
		}
		reads[op] = value
	}
	if r, err := s.Odometer(); true {
		note(smartcar.Odometer, err, on(r, func(r *smartcar.OdometerReading) []any { return []any{r.Distance, r.UnitSystem, r.RecordedAt} })...)
	}
	if r, err := s.Location(); true {
		note(smartcar.Location, err, on(r, func(r *smartcar.LocationReading) []any { return []any{r.Latitude, r.Longitude} })...)
	}
	if r, err := s.Fuel(); true {
		note(smartcar.Fuel, err, on(r, func(r *smartcar.FuelReading) []any { return []any{r.Amount, r.Percent, r.Range} })...)
	}
	if r, err := s.Battery(); true {
		note(smartcar.Battery, err, on(r, func(r *smartcar.BatteryReading) []any { return []any{r.Percent, r.Range} })...)
	}
	if r, err := s.BatteryCapacity(); true {
		note(smartcar.BatteryCapacity, err, on(r, func(r *smartcar.BatteryCapacityReading) []any { return []any{r.Capacity} })...)
	}
	if r, err := s.NominalCapacity(); true {
		note(smartcar.NominalCapacity, err, on(r, func(r *smartcar.NominalCapacityReading) []any { return []any{r.Nominal} })...)
	}
	if r, err := s.Charge(); true {
		note(smartcar.Charge, err, on(r, func(r *smartcar.ChargeReading) []any { return []any{*r.PluggedIn, r.State} })...)
	}
	if r, err := s.ChargeLimit(); true {
		note(smartcar.ChargeLimit, err, on(r, func(r *smartcar.ChargeLimitReading) []any { return []any{r.Percent} })...)
	}
	if r, err := s.TirePressure(); true {
		note(smartcar.TirePressure, err, on(r, func(r *smartcar.TirePressureReading) []any {
			return []any{r.FrontLeft, r.FrontRight, r.BackLeft, r.BackRight}
		})...)
	}
	if r, err := s.EngineOil(); true {
		note(smartcar.EngineOil, err, on(r, func(r *smartcar.EngineOilReading) []any { return []any{r.LifePercent} })...)
	}
	if r, err := s.LockStatus(); true {
		note(smartcar.LockStatus, err, on(r, func(r *smartcar.LockStatusReading) []any { return []any{*r.Locked} })...)
	}
	if r, err := s.VIN(); true {
		note(smartcar.VIN, err, on(r, func(r *smartcar.VINReading) []any { return []any{r.VIN} })...)
	}
	if r, err := s.TroubleCodes(); true {
		note(smartcar.TroubleCodes, err, on(r, func(r *smartcar.TroubleCodesReading) []any { return []any{len(r.Active)} })...)
	}
	return reads
}

// on is for results that are nil beside an error.
func on[T any](r *T, values func(*T) []any) []any {
	if r == nil {
		return nil
	}
	return values(r)
}

// statusReads are the times at which the status of the key was asked for.
func statusReads(sim *smartcartest.Server) []time.Time {
	var at []time.Time
	for _, r := range sim.Requests() {
		if strings.HasSuffix(r.Path, "/tesla/virtual_key") {
			at = append(at, r.Time)
		}
	}
	return at
}

func textIf(condition bool, text string) string {
	if condition {
		return text
	}
	return ""
}

// signalEntry is one signal of a list: rest stands beside its code.
func signalEntry(code signals.Code, status, body string, meta string) string {
	return fmt.Sprintf(`{"id":%q,"type":"signal","attributes":{"code":%q,"status":%s%s},"meta":{%s}}`,
		code, code, status, textIf(body != "", `,"body":`+body), meta)
}

const success = `{"value":"SUCCESS"}`

func newMadeUp(t *testing.T, attributes string, opts ...smartcar.Option) *madeUp {
	t.Helper()
	client, tap := tapped(t, smartcartest.New(), opts...)
	m := &madeUp{Vehicle: client.User("u").Vehicle("v"), tap: tap}
	tap.instead = func(r sentRequest) *http.Response {
		switch {
		case strings.Contains(r.path, "/signals"):
			return respond(200, `{"data":[`+strings.Join(m.signals, ",")+`]}`)
		case strings.Contains(r.path, "/commands/"):
			if answer := m.command; answer != nil {
				m.command = nil
				return answer
			}
			return respond(200, `{"data":{"id":"e","attributes":{"status":{"value":"SUCCESS"}}}}`)
		case strings.Contains(r.path, "/v3/"):
			return respond(200, `{"data":{"id":"v","attributes":{`+attributes+`}}}`)
		}
		return nil
	}
	return m
}

// madeUp is a car of API v3 whose list of signals a test writes.
type madeUp struct {
	*smartcar.Vehicle
	tap     *wireTap
	signals []string
	command *http.Response // of the next one; nil succeeds
}

// read asks whatever the policy says, and then whether it would ask again.
func (m *madeUp) read(t *testing.T) {
	t.Helper()
	_, err := m.With(smartcar.IgnorePolicy()).Odometer(t.Context())
	require.NoError(t, err)
}

func (m *madeUp) requireKey(t *testing.T, state smartcar.KeyState, source smartcar.KeySource) {
	t.Helper()
	access, err := m.Access(t.Context())
	require.NoError(t, err)
	require.Equal(t, state, access.Key.State, access.Why)
	require.Equal(t, source, access.Key.Source)
}

const (
	aModelY     = `"make":"TESLA","model":"Model Y","year":2023`
	aModelS2018 = `"make":"TESLA","model":"Model S","year":2018`
	aFord       = `"make":"FORD","model":"F-150","year":2023`
)

// asked are the operations of a snapshot, in order.
func asked(t *testing.T, s *smartcar.Snapshot) []smartcar.Operation {
	t.Helper()
	var ops []smartcar.Operation
	for op, err := range s.Operations() {
		ops = append(ops, op)
		_ = err // the callers look at each
	}
	return ops
}

// garageEach is the default garage with each car changed.
func garageEach(change func(*smartcartest.Car)) smartcartest.Option {
	cars := smartcartest.DefaultGarage()
	for i := range cars {
		change(&cars[i])
	}
	return smartcartest.WithCars(cars...)
}

// garageWith is the default garage with one car changed.
func garageWith(id string, change func(*smartcartest.Car)) smartcartest.Option {
	return garageEach(func(c *smartcartest.Car) {
		if c.ID == id {
			change(c)
		}
	})
}

// garageOf has n cars of the default owner.
func garageOf(n int) (cars []smartcartest.Car, ids []string) {
	for i := range n {
		id := fmt.Sprintf("car-%03d", i)
		ids = append(ids, id)
		cars = append(cars, smartcartest.Car{ID: id, Make: "FORD", Model: "Mustang Mach-E", Year: 2022})
	}
	return cars, ids
}
