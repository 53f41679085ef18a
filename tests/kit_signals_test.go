package smartcar_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"testing"
	"time"

	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/internal/catalog"
	"github.com/seed-498a1bc4/smartcar/signals"
	"github.com/seed-498a1bc4/smartcar/smartcartest"
	"github.com/stretchr/testify/require"
)

func wantNumber(value float64, unit smartcar.Unit) *smartcar.NumberSignal {
	return &smartcar.NumberSignal{Value: &value, Unit: unit}
}
func wantBool(value bool) *smartcar.BoolSignal        { return &smartcar.BoolSignal{Value: &value} }
func wantText(value string) *smartcar.TextSignal      { return &smartcar.TextSignal{Value: &value} }
func wantWords(values ...string) *smartcar.ListSignal { return &smartcar.ListSignal{Values: values} }
func wantClosure(open bool) *smartcar.ClosureSignal   { return &smartcar.ClosureSignal{Open: &open} }
func wantOK() *smartcar.DiagnosticSignal              { return &smartcar.DiagnosticSignal{State: "OK"} }
func wantAlert(text string) *smartcar.DiagnosticSignal {
	return &smartcar.DiagnosticSignal{State: "ALERT", Description: text}
}

func wantLockable(open, locked bool) *smartcar.ClosureSignal {
	return &smartcar.ClosureSignal{Open: &open, Locked: &locked}
}

func exampleHome() smartcar.ChargePlace {
	return smartcar.ChargePlace{Name: new("Casa Verde"), Address: new("1 Example Street"), Latitude: new(48.1371), Longitude: new(11.5754)}
}

func wantDoors() *smartcar.ClosuresSignal {
	return &smartcar.ClosuresSignal{Rows: 2, Columns: 2, Closures: []smartcar.ClosureState{
		{Row: 0, Column: 0, Open: new(false), Locked: new(true)}, {Row: 0, Column: 1, Open: new(false), Locked: new(true)},
		{Row: 1, Column: 0, Open: new(true), Locked: new(false)}, {Row: 1, Column: 1},
	}}
}

// signalWants is what the accessor of each signal makes of the fixture of its
// code, without the SignalMeta.
func signalWants() map[signals.Code]any {
	return map[signals.Code]any{
		signals.ChargeAmperage:          wantNumber(31.5, smartcar.UnitAmperes),
		signals.ChargeAmperageMax:       wantNumber(48, smartcar.UnitAmperes),
		signals.ChargeAmperageRequested: wantNumber(32, smartcar.UnitAmperes),
		signals.ChargeChargeLimits: &smartcar.ChargeLimitsSignal{Active: new(80.0), Unit: smartcar.UnitPercent, Limits: []smartcar.ChargeLimitRule{
			{Type: smartcar.ChargeRuleGlobal, Limit: new(80.0)},
			{Type: smartcar.ChargeRuleLocation, Limit: new(90.0), Condition: &smartcar.ChargeCondition{ChargePlace: exampleHome()}},
			{Type: smartcar.ChargeRuleConnector, Limit: new(70.0), Condition: &smartcar.ChargeCondition{ConnectorType: "CCS"}},
		}},
		signals.ChargeChargePortStatusColor: wantText("GREEN"),
		signals.ChargeChargeRate:            wantNumber(42, smartcar.UnitKilometersPerHour),
		signals.ChargeChargeRecords: &smartcar.ChargeRecordsSignal{Records: []smartcar.ChargeRecord{{
			ID: "cr_1", StartTime: time.Date(2026, 9, 20, 18, 0, 0, 0, time.UTC), EndTime: time.Date(2026, 9, 20, 21, 30, 0, 0, time.UTC),
			EnergyAdded: new(31.2), StartPercent: new(32.0), EndPercent: new(80.0), ConnectorType: "TYPE_2", PublicCharger: new(false),
			Cost: &smartcar.ChargeCost{Currency: "EUR", Energy: new(12.4), Other: new(1.5)}, Location: new(exampleHome()),
		}}},
		signals.ChargeChargerPhases: wantNumber(3, ""),
		signals.ChargeChargeTimers: &smartcar.ChargeTimersSignal{Timers: []smartcar.ChargeTimer{{
			Type: smartcar.ChargeRuleLocation, ScheduleType: "WEEKLY", ScheduleID: "sched_abc123", Condition: &smartcar.ChargeCondition{ChargePlace: exampleHome()},
			Schedules:       []smartcar.ChargeWindow{{Start: "22:00:00", End: "06:00:00", Days: []string{"MONDAY", "FRIDAY"}}},
			DepartureTimers: []smartcar.DepartureTimer{{Time: "07:30:00", Days: []string{"MONDAY"}}}, OEMOptimized: new(true),
		}}},
		signals.ChargeChargingConnectorType:    wantText("J1772"),
		signals.ChargeDetailedChargingStatus:   wantText(smartcar.ChargeStateCharging),
		signals.ChargeEnergyAdded:              wantNumber(18.7, smartcar.UnitKilowattHours),
		signals.ChargeFastChargerType:          wantText("CCS"),
		signals.ChargeIsCharging:               wantBool(true),
		signals.ChargeIsChargingCableConnected: wantBool(true),
		signals.ChargeIsChargingCableLatched:   wantBool(false),
		signals.ChargeIsChargingPortFlapOpen:   wantBool(true),
		signals.ChargeIsFastChargerPresent:     wantBool(false),
		signals.ChargeTimeToComplete:           wantNumber(95, smartcar.UnitMinutes),
		signals.ChargeVoltage:                  wantNumber(230, smartcar.UnitVolts),
		signals.ChargeWattage:                  wantNumber(7200, smartcar.UnitWatts),

		signals.ClimateExternalTemperature: wantNumber(-3.5, smartcar.UnitCelsius),
		signals.ClimateInternalTemperature: wantNumber(21.5, smartcar.UnitCelsius),

		signals.ClosureDoors:       wantDoors(),
		signals.ClosureEngineCover: wantClosure(false),
		signals.ClosureFrontTrunk:  wantLockable(false, true),
		signals.ClosureIsLocked:    wantBool(true),
		signals.ClosureRearTrunk:   wantLockable(true, false),
		signals.ClosureSunroof:     wantClosure(true),
		signals.ClosureTailgate:    wantLockable(false, false),
		signals.ClosureWindows: &smartcar.ClosuresSignal{Rows: 2, Columns: 2, Closures: []smartcar.ClosureState{
			{Row: 0, Column: 0, Open: new(false)}, {Row: 1, Column: 1, Open: new(true)},
		}},

		signals.ConnectivitySoftwareCurrentFirmwareVersion: wantText("2026.32.6"),
		signals.ConnectivityStatusIsAsleep:                 wantBool(false),
		signals.ConnectivityStatusIsDigitalKeyPaired:       wantBool(true),
		signals.ConnectivityStatusIsOnline:                 wantBool(true),

		signals.DiagnosticsABS:              wantAlert("Have abs checked."),
		signals.DiagnosticsActiveSafety:     wantOK(),
		signals.DiagnosticsAirbag:           wantOK(),
		signals.DiagnosticsBrakeFluid:       wantAlert("Have brakefluid checked."),
		signals.DiagnosticsDriverAssistance: wantOK(),
		signals.DiagnosticsDTCCount:         wantNumber(2, ""),
		signals.DiagnosticsDTCList: &smartcar.TroubleCodesSignal{Codes: []smartcar.TroubleCode{
			{Code: "P302D", At: time.Date(2026, 9, 1, 11, 48, 0, 0, time.UTC)}, {Code: "P0420"},
		}},
		signals.DiagnosticsEmissions:              wantOK(),
		signals.DiagnosticsEVBatteryConditioning:  wantAlert("Have evbatteryconditioning checked."),
		signals.DiagnosticsEVCharging:             wantOK(),
		signals.DiagnosticsEVDriveUnit:            wantOK(),
		signals.DiagnosticsEVHVBattery:            wantAlert("Have evhvbattery checked."),
		signals.DiagnosticsLighting:               wantOK(),
		signals.DiagnosticsMIL:                    wantOK(),
		signals.DiagnosticsOilLife:                wantAlert("Have oillife checked."),
		signals.DiagnosticsOilPressure:            wantOK(),
		signals.DiagnosticsOilTemperature:         wantOK(),
		signals.DiagnosticsTelematics:             wantAlert("Have telematics checked."),
		signals.DiagnosticsTirePressure:           wantOK(),
		signals.DiagnosticsTirePressureMonitoring: wantOK(),
		signals.DiagnosticsTransmission:           wantAlert("Have transmission checked."),
		signals.DiagnosticsWasherFluid:            wantOK(),
		signals.DiagnosticsWaterInFuel:            wantOK(),

		signals.HVACCabinTargetTemperature: wantNumber(20.5, smartcar.UnitCelsius),
		signals.HVACIsCabinHVACActive:      wantBool(true),
		signals.HVACIsFrontDefrosterActive: wantBool(false),
		signals.HVACIsRearDefrosterActive:  wantBool(true),
		signals.HVACIsSteeringHeaterActive: wantBool(false),

		signals.InternalCombustionEngineAmountRemaining: wantNumber(41.2, smartcar.UnitLiters),
		signals.InternalCombustionEngineFuelLevel:       wantNumber(73, smartcar.UnitPercent),
		signals.InternalCombustionEngineOilLife:         wantNumber(64, smartcar.UnitPercent),
		signals.InternalCombustionEngineRange:           wantNumber(612, smartcar.UnitKilometers),

		signals.LocationIsAtHome: wantBool(true),
		signals.LocationPreciseLocation: &smartcar.LocationSignal{
			Latitude: new(48.1371), Longitude: new(11.5754), Heading: new(87.5), Direction: "E", Type: "LAST_PARKED",
		},

		signals.LowVoltageBatteryStateOfCharge: wantNumber(88, smartcar.UnitPercent),
		signals.LowVoltageBatteryStatus:        wantText("GOOD"),
		signals.MotionCurrentSpeed:             wantNumber(57, smartcar.UnitKilometersPerHour),
		signals.OdometerTraveledDistance:       wantNumber(32208.5, smartcar.UnitKilometers),

		signals.ServiceIsInService: wantBool(false),
		signals.ServiceRecords: &smartcar.ServiceRecordsSignal{Records: []smartcar.ServiceRecord{{
			ID: "12345", Odometer: new(30120.0), Date: time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC), Cost: new(249.9), Currency: "EUR",
			Tasks: []smartcar.ServiceTask{{ID: "t1", Description: "Brake fluid"}}, Details: []smartcar.ServiceDetail{{Type: "d1", Value: "Changed"}},
		}}},

		signals.SurveillanceBrand:     wantText("Sentry Mode"),
		signals.SurveillanceIsEnabled: wantBool(true),

		signals.TractionBatteryIsHeaterActive:        wantBool(false),
		signals.TractionBatteryMaxRangeChargeCounter: wantNumber(7, ""),
		signals.TractionBatteryNominalCapacity: &smartcar.NominalCapacitySignal{
			Capacity: new(81.5), Source: "SMARTCAR", Unit: smartcar.UnitKilowattHours, Available: []smartcar.CapacityOption{
				{Capacity: new(78.1), Description: "BEV:Standard Range"}, {Capacity: new(81.5), Description: "BEV:Extended Range"},
			},
		},
		signals.TractionBatteryRange: &smartcar.RangeSignal{
			Value: new(280.0), Type: "DEFAULT", Unit: smartcar.UnitKilometers, Additional: []smartcar.RangeEstimate{
				{Type: "IDEAL_CONDITIONS", Value: new(310.0)}, {Type: "ESTIMATED", Value: new(280.0)}, {Type: "RATED", Value: new(295.0)},
			},
		},
		signals.TractionBatteryStateOfCharge: wantNumber(45, smartcar.UnitPercent),

		signals.TransmissionDriveMode: &smartcar.DriveModeSignal{Canonical: "ECO", OEMName: "Chill"},
		signals.TransmissionGearState: wantText("PARK"),

		signals.VehicleIdentificationExteriorColor: wantText("Pearl White"),
		signals.VehicleIdentificationNickname:      wantText("Lightning"),
		signals.VehicleIdentificationPackages:      wantWords("Premium", "Cold Weather"),
		signals.VehicleIdentificationTrim:          wantText("Long Range"),
		signals.VehicleIdentificationVIN:           wantText("5YJSA1CN5DFP00101"),

		signals.VehicleUserAccountPermissions: wantWords("vehicle_cmds", "vehicle_device_data"),
		signals.VehicleUserAccountRole:        wantText("Driver"),

		signals.WheelStyle: wantText("Pinwheel18"),
		signals.WheelTires: &smartcar.TiresSignal{Rows: 2, Columns: 2, Unit: smartcar.UnitKilopascals, Tires: []smartcar.TireState{
			{Row: 0, Column: 0, Pressure: new(290.0)}, {Row: 0, Column: 1, Pressure: new(288.5)},
			{Row: 1, Column: 0, Pressure: new(291.0)}, {Row: 1, Column: 1},
		}},
	}
}

var (
	signalRecorded  = time.Date(2026, 9, 22, 12, 34, 51, 0, time.UTC)
	signalRetrieved = time.Date(2026, 9, 22, 12, 41, 16, 476e6, time.UTC)
	signalIngested  = time.Date(2026, 9, 22, 12, 43, 14, 379e6, time.UTC)
)

func signalFixture(t testing.TB, name string) fixture {
	t.Helper()
	return readFixture(t, "v3/signals/"+name)
}

// answeredSignals reads the signals of a car for which Smartcar's answer is made up.
func answeredSignals(t testing.TB, answer reply) (*smartcar.Signals, error) {
	t.Helper()
	return carAnswering(t, answer).Signals(t.Context())
}

// carAnswering is a car on API v3 without rules of its own, whose list of
// signals is made up.
func carAnswering(t testing.TB, answer reply) *smartcar.Vehicle {
	t.Helper()
	sim := smartcartest.New()
	client, tap := tapped(t, sim)
	tap.instead = onlyTo("/signals", func(sentRequest) *http.Response {
		resp, err := answer.response(nil)
		require.NoError(t, err)
		return resp
	})
	return client.User(connect(t, sim, client).UserID).Vehicle(smartcartest.MachE)
}

func fixtureSignals(t testing.TB, name string) *smartcar.Signals {
	t.Helper()
	s, err := answeredSignals(t, signalFixture(t, name).reply())
	require.NoError(t, err)
	return s
}

// eventSignals are the signals of a webhook event, which says how many it has.
func eventSignals(t testing.TB, list string, count int) *smartcar.Signals {
	t.Helper()
	body := fmt.Sprintf(`{"eventId":"1","eventType":"VEHICLE_STATE","data":{"signals":%s},"meta":{"version":"4.0","signalCount":%d}}`, list, count)
	e, err := smartcar.ParseWebhookEvent([]byte(body), fixtureTime)
	require.NoError(t, err)
	return e.Signals
}

// access calls the accessor of a signal.
func access(t testing.TB, s *smartcar.Signals, row catalog.Signal) (any, error) {
	t.Helper()
	method := reflect.ValueOf(s).MethodByName(row.Accessor())
	require.True(t, method.IsValid(), "no accessor %s", row.Accessor())
	out := method.Call(nil)
	err, _ := out[1].Interface().(error)
	require.Equal(t, err != nil, out[0].IsNil(), "a value beside an error, or neither")
	if err != nil {
		return nil, err
	}
	return out[0].Interface(), nil
}

// takeMeta removes what every signal has from a value.
func takeMeta(value any) smartcar.SignalMeta {
	field := reflect.ValueOf(value).Elem().FieldByName("SignalMeta")
	meta, _ := field.Interface().(smartcar.SignalMeta)
	field.SetZero()
	return meta
}

// asEvent puts the signal of an answer into the shape of a webhook: without the
// wrapper, with times in milliseconds.
func asEvent(t testing.TB, answer json.RawMessage) *smartcar.Signals {
	t.Helper()
	var body struct {
		Data struct {
			Attributes map[string]any       `json:"attributes"`
			Meta       map[string]time.Time `json:"meta"`
		} `json:"data"`
	}
	require.NoError(t, json.Unmarshal(answer, &body))
	entry, meta := body.Data.Attributes, map[string]int64{}
	for name, at := range body.Data.Meta {
		if name == "retrievedAt" {
			name = "fetchedAt"
		}
		meta[name] = at.UnixMilli()
	}
	entry["meta"] = meta
	raw, err := json.Marshal([]any{entry})
	require.NoError(t, err)
	return eventSignals(t, string(raw), 1)
}
