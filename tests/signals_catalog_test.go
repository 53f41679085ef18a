package smartcar_test

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/internal/catalog"
	"github.com/seed-498a1bc4/smartcar/signals"
	"github.com/stretchr/testify/require"
)

// The specification of API v3 has 93 signals.
func TestSignalCatalogIsComplete(t *testing.T) {
	perGroup, seen := map[string]int{}, map[string]bool{}
	for _, s := range catalog.Signals() {
		require.False(t, seen[s.Code()], s.Code())
		seen[s.Code()] = true
		perGroup[s.Group]++
	}
	require.Len(t, seen, 93)
	require.Equal(t, map[string]int{
		"Charge": 21, "Climate": 2, "Closure": 8, "ConnectivitySoftware": 1, "ConnectivityStatus": 3, "Diagnostics": 21 + 2, "HVAC": 5,
		"InternalCombustionEngine": 4, "Location": 2, "LowVoltageBattery": 2, "Motion": 1, "Odometer": 1, "Service": 2, "Surveillance": 2,
		"TractionBattery": 5, "Transmission": 2, "VehicleIdentification": 5, "VehicleUserAccount": 2, "Wheel": 2,
	}, perGroup)
	permissions := map[string]bool{"": true}
	for _, p := range strings.Fields(`read_alerts read_battery read_charge read_charge_locations read_charge_records read_charge_events
		read_climate read_compass read_diagnostics read_engine_oil read_extended_vehicle_info read_fuel read_location read_odometer
		read_security read_service_history read_speedometer read_thermometer read_tires read_user_profile read_vehicle_info read_vin`) {
		permissions[p] = true
	}
	for _, s := range catalog.Signals() {
		require.True(t, permissions[s.Permission], "%s: %s", s.Code(), s.Permission)
	}
}

// Each code has a fixture, a constant and an accessor that returns its values,
// from an answer and from a webhook.
func TestEverySignalIsRead(t *testing.T) {
	wants := signalWants()
	rows := catalog.Signals()
	require.Len(t, wants, len(rows))
	for _, row := range rows {
		t.Run(row.Code(), func(t *testing.T) {
			code := signals.Code(row.Code())
			want, ok := wants[code]
			require.True(t, ok)
			f := signalFixture(t, row.Code())
			require.Equal(t, "/v3/vehicles/{id}/signals/"+row.Code(), f.Request.Path)
			meta := smartcar.SignalMeta{Code: code, Status: smartcar.SignalStatusSuccess, OEMUpdatedAt: signalRecorded, RetrievedAt: signalRetrieved, IngestedAt: signalIngested}
			if code == signals.VehicleIdentificationVIN {
				meta.OEMUpdatedAt, meta.RetrievedAt, meta.IngestedAt = time.Time{}, time.Time{}, time.Date(2026, 6, 24, 3, 52, 17, 940e6, time.UTC)
			}
			for shape, read := range map[string]*smartcar.Signals{
				"answer": fixtureSignals(t, row.Code()), "event": asEvent(t, f.Response.Body),
				"last known": fixtureSignals(t, row.Code()).LastKnown(),
			} {
				got, err := access(t, read, row)
				require.NoError(t, err, shape)
				require.Equal(t, meta, takeMeta(got), shape)
				require.Equal(t, want, got, shape)
				require.Equal(t, 1, read.Len())
				require.False(t, read.Incomplete())
			}
		})
	}
}

func TestListOfSignals(t *testing.T) {
	s := fixtureSignals(t, "list")
	require.Equal(t, 94, s.Len())
	require.False(t, s.Incomplete())
	wants := signalWants()
	for _, row := range catalog.Signals() {
		got, err := access(t, s, row)
		switch signals.Code(row.Code()) {
		case signals.ChargeChargeRate:
			require.ErrorIs(t, err, smartcar.ErrVehicleState)
		case signals.TractionBatteryNominalCapacity:
			require.ErrorIs(t, err, smartcar.ErrNotSupported)
		default:
			require.NoError(t, err, row.Code())
			takeMeta(got)
			require.Equal(t, wants[signals.Code(row.Code())], got)
		}
	}
	snapshot, err := carAnswering(t, signalFixture(t, "list").reply()).Snapshot(t.Context(), smartcar.AllSignals, smartcar.Attributes)
	require.NoError(t, err)
	_, err = snapshot.Attributes()
	require.NoError(t, err, "the vehicle stands beside its signals")
	require.Equal(t, signalFixture(t, "list").Response.Headers["SC-Request-Id"], s.RequestID)

	var codes []string
	failed := map[signals.Code]bool{}
	for code, raw := range s.All() {
		require.Equal(t, code, raw.Code)
		codes = append(codes, string(code))
		if raw.Err != nil {
			failed[code] = true
			require.Nil(t, raw.Body())
		} else {
			require.NotEmpty(t, raw.Body())
		}
		require.NotEmpty(t, raw.Name)
		require.NotEmpty(t, raw.Group)
	}
	require.IsIncreasing(t, codes)
	require.Len(t, codes, 94)
	require.Equal(t, map[signals.Code]bool{signals.ChargeChargeRate: true, signals.TractionBatteryNominalCapacity: true}, failed)
	for code := range s.All() {
		require.Equal(t, codes[0], string(code))
		break
	}
}

func TestListThatIsNotComplete(t *testing.T) {
	s := fixtureSignals(t, "list.incomplete")
	require.True(t, s.Incomplete())
	require.True(t, s.LastKnown().Incomplete())
	_, err := s.ChargeVoltage()
	require.NoError(t, err)
	_, err = s.ChargeWattage()
	require.ErrorIs(t, err, smartcar.ErrNotFound)
	require.ErrorContains(t, err, "not all there are")

	s = fixtureSignals(t, "list.odd-entries")
	require.True(t, s.Incomplete(), "some entries could not be read")
	require.Equal(t, 1, s.Len())
	voltage, err := s.ChargeVoltage()
	require.NoError(t, err)
	require.Equal(t, new(230.0), voltage.Value, "the last one counts")
}

func TestSignalThatIsNotThere(t *testing.T) {
	s := fixtureSignals(t, "charge-voltage")
	for _, row := range catalog.Signals() {
		if row.Code() == "charge-voltage" {
			continue
		}
		_, err := access(t, s, row)
		require.ErrorIs(t, err, smartcar.ErrNotFound)
		var e *smartcar.Error
		require.ErrorAs(t, err, &e)
		require.Equal(t, "RESOURCE_NOT_FOUND:SIGNAL_NOT_FOUND", e.Type+":"+e.Code)
		require.Equal(t, row.Code(), string(e.Operation))
		require.Equal(t, s.RequestID, e.RequestID)
		require.Contains(t, e.Description, "has not stored")
	}
	_, err := eventSignals(t, `[]`, 0).ChargeVoltage()
	require.ErrorIs(t, err, smartcar.ErrNotFound)
	require.ErrorContains(t, err, "webhook")
	for _, none := range []*smartcar.Signals{nil, {}, (*smartcar.Signals)(nil).LastKnown()} {
		_, err = none.ChargeVoltage()
		require.ErrorIs(t, err, smartcar.ErrNotFound)
		require.Zero(t, none.Len())
	}
}

// What a signal failed with is its error, and matches what programs branch on.
func TestSignalErrors(t *testing.T) {
	for name, want := range map[string]struct {
		read     func(*smartcar.Signals) (any, error)
		sentinel error
		label    string
		lastKnow bool
	}{
		"charge-chargerate.error-stale-body": {
			func(s *smartcar.Signals) (any, error) { return s.ChargeChargeRate() }, smartcar.ErrVehicleState, "VEHICLE_STATE:NOT_CHARGING", true,
		},
		"charge-chargerate.error-null-body": {
			func(s *smartcar.Signals) (any, error) { return s.ChargeChargeRate() }, smartcar.ErrVehicleState, "VEHICLE_STATE:NOT_CHARGING", false,
		},
		"tractionbattery-nominalcapacity.not-capable": {
			func(s *smartcar.Signals) (any, error) { return s.TractionBatteryNominalCapacity() }, smartcar.ErrNotSupported, "COMPATIBILITY:VEHICLE_NOT_CAPABLE", false,
		},
		"location-preciselocation.permission": {
			func(s *smartcar.Signals) (any, error) { return s.LocationPreciseLocation() }, smartcar.ErrPermission, "PERMISSION:", false,
		},
		"charge-ischarging.virtual-key-required": {
			func(s *smartcar.Signals) (any, error) { return s.ChargeIsCharging() }, smartcar.ErrVirtualKeyRequired,
			"CONNECTED_SERVICES_ACCOUNT:VIRTUAL_KEY_REQUIRED", true,
		},
		"tractionbattery-stateofcharge.unavailable": {
			func(s *smartcar.Signals) (any, error) { return s.TractionBatteryStateOfCharge() }, nil, ":UNAVAILABLE", true,
		},
		"tractionbattery-stateofcharge.error-without-status": {
			func(s *smartcar.Signals) (any, error) { return s.TractionBatteryStateOfCharge() }, smartcar.ErrUnavailable, "UPSTREAM:NO_RESPONSE", true,
		},
		"tractionbattery-stateofcharge.no-body": {
			func(s *smartcar.Signals) (any, error) { return s.TractionBatteryStateOfCharge() }, smartcar.ErrUnexpectedAnswer, ":", false,
		},
		"tractionbattery-stateofcharge.scalar-body": {
			func(s *smartcar.Signals) (any, error) { return s.TractionBatteryStateOfCharge() }, smartcar.ErrUnexpectedAnswer, ":", false,
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := fixtureSignals(t, name)
			value, err := want.read(s)
			require.Nil(t, reflect.ValueOf(value).UnsafePointer(), "no value beside an error")
			var e *smartcar.Error
			require.ErrorAs(t, err, &e)
			require.Equal(t, want.label, e.Type+":"+e.Code)
			require.NotEmpty(t, e.Description)
			require.Equal(t, s.RequestID, e.RequestID)
			require.False(t, smartcar.Retryable(err))
			require.False(t, smartcar.MayHaveSucceeded(err))
			if want.sentinel != nil {
				require.ErrorIs(t, err, want.sentinel)
			} else {
				require.NotErrorIs(t, err, smartcar.ErrUnexpectedAnswer)
			}
			e.Code = "EDITED"
			_, again := want.read(s)
			require.NotEqual(t, err, again, "every caller has an error of its own")

			value, err = want.read(s.LastKnown())
			if !want.lastKnow {
				require.Error(t, err)
				return
			}
			require.NoError(t, err)
			meta := takeMeta(value)
			require.True(t, meta.Stale)
			require.NotEqual(t, smartcar.SignalStatusSuccess, meta.Status)
			_, err = want.read(s)
			require.Error(t, err, "the view changed the set")
		})
	}
	key := fixtureSignals(t, "charge-ischarging.virtual-key-required")
	_, err := key.ChargeIsCharging()
	var e *smartcar.Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, smartcar.Resolution{Type: "ACTION_REQUIRED", URL: "https://www.tesla.com/_ak/smartcar.com"}, e.Resolution)
}
