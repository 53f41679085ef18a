package smartcar

import (
	"time"

	"github.com/seed-498a1bc4/smartcar/signals"
)

func wantNumber(value float64, unit Unit) *NumberSignal {
	return &NumberSignal{Value: &value, Unit: unit}
}
func wantBool(value bool) *BoolSignal       { return &BoolSignal{Value: &value} }
func wantText(value string) *TextSignal     { return &TextSignal{Value: &value} }
func wantList(values ...string) *ListSignal { return &ListSignal{Values: values} }
func wantClosure(open bool) *ClosureSignal  { return &ClosureSignal{Open: &open} }
func wantOK() *DiagnosticSignal             { return &DiagnosticSignal{State: "OK"} }
func wantAlert(text string) *DiagnosticSignal {
	return &DiagnosticSignal{State: "ALERT", Description: text}
}

func wantLockable(open, locked bool) *ClosureSignal {
	return &ClosureSignal{Open: &open, Locked: &locked}
}

func exampleHome() ChargePlace {
	return ChargePlace{Name: new("Casa Verde"), Address: new("1 Example Street"), Latitude: new(48.1371), Longitude: new(11.5754)}
}

func wantDoors() *ClosuresSignal {
	return &ClosuresSignal{Rows: 2, Columns: 2, Closures: []ClosureState{
		{Row: 0, Column: 0, Open: new(false), Locked: new(true)}, {Row: 0, Column: 1, Open: new(false), Locked: new(true)},
		{Row: 1, Column: 0, Open: new(true), Locked: new(false)}, {Row: 1, Column: 1},
	}}
}

// signalWants is what the accessor of each signal makes of the fixture of its
// code, without the SignalMeta.
func signalWants() map[signals.Code]any {
	return map[signals.Code]any{
		signals.ChargeAmperage:          wantNumber(31.5, UnitAmperes),
		signals.ChargeAmperageMax:       wantNumber(48, UnitAmperes),
		signals.ChargeAmperageRequested: wantNumber(32, UnitAmperes),
		signals.ChargeChargeLimits: &ChargeLimitsSignal{Active: new(80.0), Unit: UnitPercent, Limits: []ChargeLimitRule{
			{Type: ChargeRuleGlobal, Limit: new(80.0)},
			{Type: ChargeRuleLocation, Limit: new(90.0), Condition: &ChargeCondition{ChargePlace: exampleHome()}},
			{Type: ChargeRuleConnector, Limit: new(70.0), Condition: &ChargeCondition{ConnectorType: "CCS"}},
		}},
		signals.ChargeChargePortStatusColor: wantText("GREEN"),
		signals.ChargeChargeRate:            wantNumber(42, UnitKilometersPerHour),
		signals.ChargeChargeRecords: &ChargeRecordsSignal{Records: []ChargeRecord{{
			ID: "cr_1", StartTime: time.Date(2026, 9, 20, 18, 0, 0, 0, time.UTC), EndTime: time.Date(2026, 9, 20, 21, 30, 0, 0, time.UTC),
			EnergyAdded: new(31.2), StartPercent: new(32.0), EndPercent: new(80.0), ConnectorType: "TYPE_2", PublicCharger: new(false),
			Cost: &ChargeCost{Currency: "EUR", Energy: new(12.4), Other: new(1.5)}, Location: new(exampleHome()),
		}}},
		signals.ChargeChargerPhases: wantNumber(3, ""),
		signals.ChargeChargeTimers: &ChargeTimersSignal{Timers: []ChargeTimer{{
			Type: ChargeRuleLocation, ScheduleType: "WEEKLY", ScheduleID: "sched_abc123", Condition: &ChargeCondition{ChargePlace: exampleHome()},
			Schedules:       []ChargeWindow{{Start: "22:00:00", End: "06:00:00", Days: []string{"MONDAY", "FRIDAY"}}},
			DepartureTimers: []DepartureTimer{{Time: "07:30:00", Days: []string{"MONDAY"}}}, OEMOptimized: new(true),
		}}},
		signals.ChargeChargingConnectorType:    wantText("J1772"),
		signals.ChargeDetailedChargingStatus:   wantText(ChargeStateCharging),
		signals.ChargeEnergyAdded:              wantNumber(18.7, UnitKilowattHours),
		signals.ChargeFastChargerType:          wantText("CCS"),
		signals.ChargeIsCharging:               wantBool(true),
		signals.ChargeIsChargingCableConnected: wantBool(true),
		signals.ChargeIsChargingCableLatched:   wantBool(false),
		signals.ChargeIsChargingPortFlapOpen:   wantBool(true),
		signals.ChargeIsFastChargerPresent:     wantBool(false),
		signals.ChargeTimeToComplete:           wantNumber(95, UnitMinutes),
		signals.ChargeVoltage:                  wantNumber(230, UnitVolts),
		signals.ChargeWattage:                  wantNumber(7200, UnitWatts),

		signals.ClimateExternalTemperature: wantNumber(-3.5, UnitCelsius),
		signals.ClimateInternalTemperature: wantNumber(21.5, UnitCelsius),

		signals.ClosureDoors:       wantDoors(),
		signals.ClosureEngineCover: wantClosure(false),
		signals.ClosureFrontTrunk:  wantLockable(false, true),
		signals.ClosureIsLocked:    wantBool(true),
		signals.ClosureRearTrunk:   wantLockable(true, false),
		signals.ClosureSunroof:     wantClosure(true),
		signals.ClosureTailgate:    wantLockable(false, false),
		signals.ClosureWindows: &ClosuresSignal{Rows: 2, Columns: 2, Closures: []ClosureState{
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
		signals.DiagnosticsDTCList: &TroubleCodesSignal{Codes: []TroubleCode{
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

		signals.HVACCabinTargetTemperature: wantNumber(20.5, UnitCelsius),
		signals.HVACIsCabinHVACActive:      wantBool(true),
		signals.HVACIsFrontDefrosterActive: wantBool(false),
		signals.HVACIsRearDefrosterActive:  wantBool(true),
		signals.HVACIsSteeringHeaterActive: wantBool(false),

		signals.InternalCombustionEngineAmountRemaining: wantNumber(41.2, UnitLiters),
		signals.InternalCombustionEngineFuelLevel:       wantNumber(73, UnitPercent),
		signals.InternalCombustionEngineOilLife:         wantNumber(64, UnitPercent),
		signals.InternalCombustionEngineRange:           wantNumber(612, UnitKilometers),

		signals.LocationIsAtHome: wantBool(true),
		signals.LocationPreciseLocation: &LocationSignal{
			Latitude: new(48.1371), Longitude: new(11.5754), Heading: new(87.5), Direction: "E", Type: "LAST_PARKED",
		},

		signals.LowVoltageBatteryStateOfCharge: wantNumber(88, UnitPercent),
		signals.LowVoltageBatteryStatus:        wantText("GOOD"),
		signals.MotionCurrentSpeed:             wantNumber(57, UnitKilometersPerHour),
		signals.OdometerTraveledDistance:       wantNumber(32208.5, UnitKilometers),

		signals.ServiceIsInService: wantBool(false),
		signals.ServiceRecords: &ServiceRecordsSignal{Records: []ServiceRecord{{
			ID: "12345", Odometer: new(30120.0), Date: time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC), Cost: new(249.9), Currency: "EUR",
			Tasks: []ServiceTask{{ID: "t1", Description: "Brake fluid"}}, Details: []ServiceDetail{{Type: "d1", Value: "Changed"}},
		}}},

		signals.SurveillanceBrand:     wantText("Sentry Mode"),
		signals.SurveillanceIsEnabled: wantBool(true),

		signals.TractionBatteryIsHeaterActive:        wantBool(false),
		signals.TractionBatteryMaxRangeChargeCounter: wantNumber(7, ""),
		signals.TractionBatteryNominalCapacity: &NominalCapacitySignal{
			Capacity: new(81.5), Source: "SMARTCAR", Unit: UnitKilowattHours, Available: []CapacityOption{
				{Capacity: new(78.1), Description: "BEV:Standard Range"}, {Capacity: new(81.5), Description: "BEV:Extended Range"},
			},
		},
		signals.TractionBatteryRange: &RangeSignal{
			Value: new(280.0), Type: "DEFAULT", Unit: UnitKilometers, Additional: []RangeEstimate{
				{Type: "IDEAL_CONDITIONS", Value: new(310.0)}, {Type: "ESTIMATED", Value: new(280.0)}, {Type: "RATED", Value: new(295.0)},
			},
		},
		signals.TractionBatteryStateOfCharge: wantNumber(45, UnitPercent),

		signals.TransmissionDriveMode: &DriveModeSignal{Canonical: "ECO", OEMName: "Chill"},
		signals.TransmissionGearState: wantText("PARK"),

		signals.VehicleIdentificationExteriorColor: wantText("Pearl White"),
		signals.VehicleIdentificationNickname:      wantText("Lightning"),
		signals.VehicleIdentificationPackages:      wantList("Premium", "Cold Weather"),
		signals.VehicleIdentificationTrim:          wantText("Long Range"),
		signals.VehicleIdentificationVIN:           wantText("5YJSA1CN5DFP00101"),

		signals.VehicleUserAccountPermissions: wantList("vehicle_cmds", "vehicle_device_data"),
		signals.VehicleUserAccountRole:        wantText("Driver"),

		signals.WheelStyle: wantText("Pinwheel18"),
		signals.WheelTires: &TiresSignal{Rows: 2, Columns: 2, Unit: UnitKilopascals, Tires: []TireState{
			{Row: 0, Column: 0, Pressure: new(290.0)}, {Row: 0, Column: 1, Pressure: new(288.5)},
			{Row: 1, Column: 0, Pressure: new(291.0)}, {Row: 1, Column: 1},
		}},
	}
}
