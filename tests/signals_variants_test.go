package smartcar_test

import (
	"encoding/json"
	"fmt"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/internal/catalog"
	"github.com/seed-498a1bc4/smartcar/signals"
	"github.com/stretchr/testify/require"
)

// signalVariantWants is what accessors make of the odd fixtures, those that
// are no errors, without the SignalMeta.
func signalVariantWants() map[string]any {
	return map[string]any{
		"tractionbattery-stateofcharge.null-value":        &smartcar.NumberSignal{Unit: smartcar.UnitPercent},
		"tractionbattery-stateofcharge.number-as-text":    wantNumber(45.5, smartcar.UnitPercent),
		"tractionbattery-stateofcharge.no-unit":           wantNumber(45, smartcar.UnitPercent),
		"tractionbattery-stateofcharge.lower-case-status": wantNumber(45, smartcar.UnitPercent),
		"odometer-traveleddistance.long-unit":             wantNumber(32208.5, smartcar.UnitKilometers),
		"odometer-traveleddistance.miles":                 wantNumber(20013, smartcar.UnitMiles),
		"odometer-traveleddistance.unknown-unit":          wantNumber(32208.5, "Furlongs"),
		"odometer-traveleddistance.epoch-times":           wantNumber(32208.5, smartcar.UnitKilometers),
		"odometer-traveleddistance.no-times":              wantNumber(32208.5, smartcar.UnitKilometers),
		"motion-currentspeed.kmh":                         wantNumber(57, smartcar.UnitKilometersPerHour),
		"charge-chargerate.kph":                           wantNumber(42, smartcar.UnitKilometersPerHour),
		"charge-wattage.watt":                             wantNumber(7200, smartcar.UnitWatts),
		"charge-voltage.volt":                             wantNumber(230, smartcar.UnitVolts),
		"charge-voltage.bare":                             wantNumber(230, smartcar.UnitVolts),
		"charge-voltage.flat":                             wantNumber(230, smartcar.UnitVolts),
		"charge-timetocomplete.min":                       wantNumber(95, smartcar.UnitMinutes),
		"charge-timetocomplete.no-unit":                   wantNumber(95, smartcar.UnitMinutes),
		"charge-ischarging.text":                          wantBool(true),
		"charge-chargeportstatuscolor.lower-case":         wantText("GREEN"),
		"charge-chargeportstatuscolor.unknown-word":       wantText("NEON_PINK"),
		"lowvoltagebattery-status.lower-case":             wantText("WARN"),
		"transmission-gearstate.lower-case":               wantText("DRIVE"),
		"tractionbattery-nominalcapacity.null-capacity": &smartcar.NominalCapacitySignal{
			Source: "USER_SELECTED", Unit: smartcar.UnitKilowattHours, Available: []smartcar.CapacityOption{{Capacity: new(78.1)}},
		},
		"location-preciselocation.lower-case": &smartcar.LocationSignal{Latitude: new(48.1371), Longitude: new(11.5754), Direction: "SW", Type: "CURRENT"},
		"location-preciselocation.nulls":      &smartcar.LocationSignal{},
		"closure-doors.doors":                 wantDoors(),
		"closure-doors.odd-positions": &smartcar.ClosuresSignal{Closures: []smartcar.ClosureState{
			{Row: -1, Column: -1, Open: new(true)}, {Row: 1, Column: 0, Open: new(false), Locked: new(true)}, {Row: -1, Column: -1},
		}},
		"charge-chargelimits.charging-type": &smartcar.ChargeLimitsSignal{Unit: smartcar.UnitPercent, Limits: []smartcar.ChargeLimitRule{
			{Type: smartcar.ChargeRuleChargingType, Limit: new(70.0), Condition: &smartcar.ChargeCondition{ConnectorType: "CCS"}},
		}},
		"charge-chargelimits.lower-case": &smartcar.ChargeLimitsSignal{Active: new(80.0), Unit: smartcar.UnitPercent, Limits: []smartcar.ChargeLimitRule{
			{Type: smartcar.ChargeRuleGlobal, Limit: new(80.0)},
		}},
		"charge-chargerecords.charging-type": &smartcar.ChargeRecordsSignal{Records: []smartcar.ChargeRecord{{
			ID: "77", StartTime: time.Date(2026, 9, 20, 18, 0, 0, 0, time.UTC), ConnectorType: "CCS", PublicCharger: new(true),
		}}},
		"charge-chargetimers.lower-case": &smartcar.ChargeTimersSignal{Timers: []smartcar.ChargeTimer{{
			Type: smartcar.ChargeRuleChargingType, ScheduleType: "DAILY", Condition: &smartcar.ChargeCondition{ConnectorType: "CCS"},
			Schedules: []smartcar.ChargeWindow{{Start: "22:00:00", End: "06:00:00", Days: []string{"MONDAY"}}},
		}}},
		"diagnostics-abs.lower-case": wantOK(),
		"wheel-tires.bare":           &smartcar.TiresSignal{Unit: smartcar.UnitKilopascals, Tires: []smartcar.TireState{{Pressure: new(42.0)}}},
	}
}

func TestSignalVariants(t *testing.T) {
	rows := map[string]catalog.Signal{}
	for _, row := range catalog.Signals() {
		rows[row.Code()] = row
	}
	for name, want := range signalVariantWants() {
		t.Run(name, func(t *testing.T) {
			code, _, _ := strings.Cut(name, ".")
			got, err := access(t, fixtureSignals(t, name), rows[code])
			require.NoError(t, err)
			meta := takeMeta(got)
			require.Equal(t, smartcar.SignalStatusSuccess, meta.Status)
			require.False(t, meta.Stale)
			require.Equal(t, want, got)
			switch name {
			case "odometer-traveleddistance.no-times":
				require.True(t, meta.OEMUpdatedAt.IsZero() && meta.RetrievedAt.IsZero() && meta.IngestedAt.IsZero())
			case "charge-voltage.flat":
				require.Equal(t, []time.Time{signalRecorded, signalRetrieved, {}}, []time.Time{meta.OEMUpdatedAt, meta.RetrievedAt, meta.IngestedAt})
			default:
				require.Equal(t, []time.Time{signalRecorded, signalRetrieved, signalIngested}, []time.Time{meta.OEMUpdatedAt, meta.RetrievedAt, meta.IngestedAt})
			}
		})
	}
}

// Every fixture of a signal stands in a test.
func TestNoSignalFixtureIsForgotten(t *testing.T) {
	variants, wants := signalVariantWants(), signalWants()
	tested := map[string]bool{"list": true, "list.incomplete": true, "list.odd-entries": true, "charge-sparkle.unknown": true}
	for _, name := range []string{
		"charge-chargerate.error-stale-body", "charge-chargerate.error-null-body", "tractionbattery-nominalcapacity.not-capable",
		"location-preciselocation.permission", "charge-ischarging.virtual-key-required", "tractionbattery-stateofcharge.unavailable",
		"tractionbattery-stateofcharge.error-without-status", "tractionbattery-stateofcharge.no-body", "tractionbattery-stateofcharge.scalar-body",
	} {
		tested[name] = true // TestSignalErrors
	}
	for _, name := range fixtureNames(t, "v3/signals") {
		require.True(t, tested[name] || wants[signals.Code(name)] != nil || variants[name] != nil, name)
	}
}

func TestSignalWithoutAnAccessor(t *testing.T) {
	s := fixtureSignals(t, "charge-sparkle.unknown")
	raw, err := s.Raw("charge-sparkle")
	require.NoError(t, err)
	require.JSONEq(t, `{"value":"s","depth":[1,2]}`, string(raw.Body()))
	require.Equal(t, []string{"Sparkle", "Charge", smartcar.SignalStatusSuccess}, []string{raw.Name, raw.Group, raw.Status})
	require.NoError(t, raw.Err)

	body := raw.Body()
	body[0] = 'x'
	require.JSONEq(t, `{"value":"s","depth":[1,2]}`, string(raw.Body()), "every caller has a body of its own")
	_, err = s.Raw("charge-glitter")
	require.ErrorIs(t, err, smartcar.ErrNotFound)
	require.Nil(t, (*smartcar.RawSignal)(nil).Body())

	s = fixtureSignals(t, "charge-chargerate.error-stale-body")
	_, err = s.Raw(signals.ChargeChargeRate)
	require.ErrorIs(t, err, smartcar.ErrVehicleState)
	raw, err = s.LastKnown().Raw(signals.ChargeChargeRate)
	require.NoError(t, err)
	require.True(t, raw.Stale)
	require.JSONEq(t, `{"value":42,"unit":"km/h"}`, string(raw.Body()))
}

// A webhook's signals are read with what both the documentation and real
// deliveries hold.
func TestEventSignals(t *testing.T) {
	s := eventSignals(t, `[
		{"code":"tractionbattery-stateofcharge","name":"StateOfCharge","group":"TractionBattery","body":{"value":80,"unit":"percent"},
		 "meta":{"oemUpdatedAt":1780222506000,"retrievedAt":1780222662364},"status":{"value":"SUCCESS"}},
		{"code":"charge-chargerate","name":"ChargeRate","group":"Charge","body":{"value":30,"unit":"km/h"},
		 "meta":{"oemUpdatedAt":1780222271000,"retrievedAt":1780222301541},
		 "status":{"value":"ERROR","error":{"type":"VEHICLE_STATE","code":"NOT_CHARGING"}}},
		{"code":"vehicleidentification-vin","body":{"value":"5YJSA1CN5DFP00101"},"meta":{"oemUpdatedAt":0},"status":"SUCCESS"}]`, 3)
	require.False(t, s.Incomplete())
	require.Equal(t, smartcar.Meta{
		ReceivedAt: fixtureTime, RecordedAt: time.UnixMilli(1780222506000).UTC(), FetchedAt: time.UnixMilli(1780222662364).UTC(),
	}, s.Meta, "dated by its newest signal")
	charge, err := s.TractionBatteryStateOfCharge()
	require.NoError(t, err)
	require.Equal(t, new(80.0), charge.Value)
	require.Equal(t, time.UnixMilli(1780222662364).UTC(), charge.RetrievedAt)
	vin, err := s.VehicleIdentificationVIN()
	require.NoError(t, err)
	require.True(t, vin.OEMUpdatedAt.IsZero())

	_, err = s.ChargeChargeRate()
	require.ErrorIs(t, err, smartcar.ErrVehicleState)
	require.ErrorContains(t, err, "the status is ERROR")
	rate, err := s.LastKnown().ChargeChargeRate()
	require.NoError(t, err)
	require.True(t, rate.Stale)
	require.Equal(t, new(30.0), rate.Value)

	for value, want := range map[string]*string{`{}`: nil, `["x"]`: nil, `null`: nil, `""`: new(""), `18`: new("18")} {
		s = eventSignals(t, `{"code":"wheel-style","body":{"value":`+value+`}}`, 1)
		style, err := s.WheelStyle()
		require.NoError(t, err)
		require.Equal(t, want, style.Value, value)
	}
	require.True(t, eventSignals(t, `[]`, 3).Incomplete())
	require.Zero(t, eventSignals(t, `null`, 0).Len())
}

func TestAnswerWithoutSignals(t *testing.T) {
	for _, body := range []string{``, `[]`, `"x"`, `{}`, `{"errors":[]}`, `{"id":"", "type":"signal"}`, `{"data":{}}`, `{"data":{"status":"welcome"}}`, `{"data":"x"}`, `{"data":null}`, `{"data":[{"id":"c1","attributes":{"permissions":[]}}]}`, `{"data":[1,null]}`} {
		s, err := answeredSignals(t, jsonReply(200, body))
		require.Error(t, err, body)
		require.Nil(t, s)
	}
	for _, body := range []string{`{"data":[]}`, `{"data": [ ] }`} {
		s, err := answeredSignals(t, jsonReply(200, body))
		require.NoError(t, err, body)
		require.Zero(t, s.Len())
	}
}

// withoutUnits takes every label of a unit out of a body.
func withoutUnits(t *testing.T, body string) string {
	t.Helper()
	bare := regexp.MustCompile(`,\s*"unit":\s*"[^"]*"`).ReplaceAllString(body, "")
	require.True(t, json.Valid([]byte(bare)))
	require.NotContains(t, bare, `"unit"`)
	return bare
}

// A number without the label of its unit is in the documented unit of its
// signal, which is the one that the fixtures name.
func TestNumbersWithoutAUnit(t *testing.T) {
	labeled := 0
	for _, row := range catalog.Signals() {
		f := signalFixture(t, row.Code())
		want, err := access(t, fixtureSignals(t, row.Code()), row)
		require.NoError(t, err)
		unit := reflect.ValueOf(want).Elem().FieldByName("Unit")
		require.Equal(t, row.Unit.Name != "", unit.IsValid() && unit.String() != "", row.Code())
		if row.Unit.Name == "" {
			continue
		}
		labeled++
		a := f.reply()
		a.body = withoutUnits(t, a.body)
		bare, err := answeredSignals(t, a)
		require.NoError(t, err)
		got, err := access(t, bare, row)
		require.NoError(t, err)
		require.Equal(t, want, got, row.Code())
	}
	require.NotZero(t, labeled)
}

// The readings of API v3 are in the units that were asked for, whether the
// number came with the label of its own or without.
func TestReadingsOfNumbersWithoutAUnit(t *testing.T) {
	a := signalFixture(t, "list").reply()
	bare := withoutUnits(t, a.body)
	for op, want := range map[smartcar.Operation]map[smartcar.UnitSystem]any{
		smartcar.Odometer: {smartcar.Metric: &smartcar.OdometerReading{Distance: new(32208.5)}, smartcar.Imperial: &smartcar.OdometerReading{Distance: new(32208.5 / 1.609344)}},
		smartcar.Battery: {
			smartcar.Metric:   &smartcar.BatteryReading{Percent: new(45.0), Range: new(280.0)},
			smartcar.Imperial: &smartcar.BatteryReading{Percent: new(45.0), Range: new(280 / 1.609344)},
		},
		smartcar.Fuel: {
			smartcar.Metric:   &smartcar.FuelReading{Amount: new(41.2), Percent: new(73.0), Range: new(612.0)},
			smartcar.Imperial: &smartcar.FuelReading{Amount: new(41.2 / 3.785411784), Percent: new(73.0), Range: new(612 / 1.609344)},
		},
		smartcar.EngineOil: {smartcar.Metric: &smartcar.EngineOilReading{LifePercent: new(64.0)}, smartcar.Imperial: &smartcar.EngineOilReading{LifePercent: new(64.0)}},
		smartcar.TirePressure: {
			smartcar.Metric:   &smartcar.TirePressureReading{FrontLeft: new(290.0), FrontRight: new(288.5), BackLeft: new(291.0)},
			smartcar.Imperial: &smartcar.TirePressureReading{FrontLeft: new(290 / 6.894757293168361), FrontRight: new(288.5 / 6.894757293168361), BackLeft: new(291 / 6.894757293168361)},
		},
	} {
		for units, want := range want {
			for label, body := range map[string]string{"labeled": a.body, "bare": bare} {
				t.Run(fmt.Sprintf("%s, %s, %s", op, units, label), func(t *testing.T) {
					a.body = body
					got, err := typedRead(t.Context(), carAnswering(t, a).With(smartcar.InUnits(units)), op)
					require.NoError(t, err)
					reflect.ValueOf(got).Elem().FieldByName("Meta").SetZero()
					requireNearly(t, want, got)
				})
			}
		}
	}
}

// requireNearly compares two readings but for what floating point rounds away.
func requireNearly(t *testing.T, want, got any) {
	t.Helper()
	require.IsType(t, want, got)
	w, g := reflect.ValueOf(want).Elem(), reflect.ValueOf(got).Elem()
	for i := range w.NumField() {
		w, ok := w.Field(i).Interface().(*float64)
		if !ok {
			require.Equal(t, reflect.ValueOf(want).Elem().Field(i).Interface(), g.Field(i).Interface())
			continue
		}
		g, _ := g.Field(i).Interface().(*float64)
		require.Equal(t, w == nil, g == nil)
		if w != nil {
			require.InEpsilon(t, *w, *g, 1e-12)
		}
	}
}

// Signals may hold where a car is, and its VIN.
func TestSignalsPrintNothingOfTheirBodies(t *testing.T) {
	hidden := []string{"48.1371", "11.5754", "5YJSA1CN5DFP00101", "1 Example Street", "Casa Verde"}
	s := fixtureSignals(t, "list")
	type mine struct {
		signals *smartcar.Signals
		inPlace smartcar.Signals
		raw     smartcar.RawSignal
	}
	values := map[string]any{"signals": s, "view": s.LastKnown(), "copied": *s}
	for code, raw := range s.All() {
		values["raw "+string(code)] = raw
		values["copied "+string(code)] = *raw
		values["mine "+string(code)] = mine{s, *s, *raw}
	}
	for _, row := range catalog.Signals() {
		if value, err := access(t, s, row); err == nil {
			values[row.Code()] = value
		}
	}
	timers, err := s.ChargeChargeTimers()
	require.NoError(t, err)
	values["a condition"] = timers.Timers[0].Condition
	values["a place"] = timers.Timers[0].Condition.ChargePlace
	for name, value := range values {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%d", "%x", "%X"} {
			for _, holder := range []any{value, []any{value}, struct{ V any }{value}} {
				text := fmt.Sprintf(verb, holder)
				for _, secret := range hidden {
					require.NotContains(t, text, secret, "%s by %s", name, verb)
					require.NotContains(t, strings.ToLower(text), fmt.Sprintf("%x", secret), "%s by %s", name, verb)
				}
			}
		}
	}
	require.Contains(t, fmt.Sprint(s), "tractionbattery-stateofcharge")
	raw, err := s.Raw(signals.MotionCurrentSpeed)
	require.NoError(t, err)
	require.Equal(t, "smartcar.RawSignal(motion-currentspeed SUCCESS)", fmt.Sprintf("%+v", raw))
	require.Equal(t, "smartcar.RawSignal(nil)", fmt.Sprint((*smartcar.RawSignal)(nil)))
}
