package smartcar

import "time"

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
func signalWants() map[SignalCode]any {
	return map[SignalCode]any{
		SignalChargeAmperage:          wantNumber(31.5, UnitAmperes),
		SignalChargeAmperageMax:       wantNumber(48, UnitAmperes),
		SignalChargeAmperageRequested: wantNumber(32, UnitAmperes),
		SignalChargeChargeLimits: &ChargeLimitsSignal{Active: new(80.0), Unit: UnitPercent, Limits: []ChargeLimitRule{
			{Type: ChargeRuleGlobal, Limit: new(80.0)},
			{Type: ChargeRuleLocation, Limit: new(90.0), Condition: &ChargeCondition{ChargePlace: exampleHome()}},
			{Type: ChargeRuleConnector, Limit: new(70.0), Condition: &ChargeCondition{ConnectorType: "CCS"}},
		}},
		SignalChargeChargePortStatusColor: wantText("GREEN"),
		SignalChargeChargeRate:            wantNumber(42, UnitKilometersPerHour),
		SignalChargeChargeRecords: &ChargeRecordsSignal{Records: []ChargeRecord{{
			ID: "cr_1", StartTime: time.Date(2026, 9, 20, 18, 0, 0, 0, time.UTC), EndTime: time.Date(2026, 9, 20, 21, 30, 0, 0, time.UTC),
			EnergyAdded: new(31.2), StartPercent: new(32.0), EndPercent: new(80.0), ConnectorType: "TYPE_2", PublicCharger: new(false),
			Cost: &ChargeCost{Currency: "EUR", Energy: new(12.4), Other: new(1.5)}, Location: new(exampleHome()),
		}}},
		SignalChargeChargerPhases: wantNumber(3, ""),
		SignalChargeChargeTimers: &ChargeTimersSignal{Timers: []ChargeTimer{{
			Type: ChargeRuleLocation, ScheduleType: "WEEKLY", ScheduleID: "sched_abc123", Condition: &ChargeCondition{ChargePlace: exampleHome()},
			Schedules:       []ChargeWindow{{Start: "22:00:00", End: "06:00:00", Days: []string{"MONDAY", "FRIDAY"}}},
			DepartureTimers: []DepartureTimer{{Time: "07:30:00", Days: []string{"MONDAY"}}}, OEMOptimized: new(true),
		}}},
		SignalChargeChargingConnectorType:    wantText("J1772"),
		SignalChargeDetailedChargingStatus:   wantText(ChargeStateCharging),
		SignalChargeEnergyAdded:              wantNumber(18.7, UnitKilowattHours),
		SignalChargeFastChargerType:          wantText("CCS"),
		SignalChargeIsCharging:               wantBool(true),
		SignalChargeIsChargingCableConnected: wantBool(true),
		SignalChargeIsChargingCableLatched:   wantBool(false),
		SignalChargeIsChargingPortFlapOpen:   wantBool(true),
		SignalChargeIsFastChargerPresent:     wantBool(false),
		SignalChargeTimeToComplete:           wantNumber(95, UnitMinutes),
		SignalChargeVoltage:                  wantNumber(230, UnitVolts),
		SignalChargeWattage:                  wantNumber(7200, UnitWatts),

		SignalClimateExternalTemperature: wantNumber(-3.5, UnitCelsius),
		SignalClimateInternalTemperature: wantNumber(21.5, UnitCelsius),

		SignalClosureDoors:       wantDoors(),
		SignalClosureEngineCover: wantClosure(false),
		SignalClosureFrontTrunk:  wantLockable(false, true),
		SignalClosureIsLocked:    wantBool(true),
		SignalClosureRearTrunk:   wantLockable(true, false),
		SignalClosureSunroof:     wantClosure(true),
		SignalClosureTailgate:    wantLockable(false, false),
		SignalClosureWindows: &ClosuresSignal{Rows: 2, Columns: 2, Closures: []ClosureState{
			{Row: 0, Column: 0, Open: new(false)}, {Row: 1, Column: 1, Open: new(true)},
		}},

		SignalConnectivitySoftwareCurrentFirmwareVersion: wantText("2026.32.6"),
		SignalConnectivityStatusIsAsleep:                 wantBool(false),
		SignalConnectivityStatusIsDigitalKeyPaired:       wantBool(true),
		SignalConnectivityStatusIsOnline:                 wantBool(true),

		SignalDiagnosticsABS:              wantAlert("Have abs checked."),
		SignalDiagnosticsActiveSafety:     wantOK(),
		SignalDiagnosticsAirbag:           wantOK(),
		SignalDiagnosticsBrakeFluid:       wantAlert("Have brakefluid checked."),
		SignalDiagnosticsDriverAssistance: wantOK(),
		SignalDiagnosticsDTCCount:         wantNumber(2, ""),
		SignalDiagnosticsDTCList: &TroubleCodesSignal{Codes: []TroubleCode{
			{Code: "P302D", At: time.Date(2026, 9, 1, 11, 48, 0, 0, time.UTC)}, {Code: "P0420"},
		}},
		SignalDiagnosticsEmissions:              wantOK(),
		SignalDiagnosticsEVBatteryConditioning:  wantAlert("Have evbatteryconditioning checked."),
		SignalDiagnosticsEVCharging:             wantOK(),
		SignalDiagnosticsEVDriveUnit:            wantOK(),
		SignalDiagnosticsEVHVBattery:            wantAlert("Have evhvbattery checked."),
		SignalDiagnosticsLighting:               wantOK(),
		SignalDiagnosticsMIL:                    wantOK(),
		SignalDiagnosticsOilLife:                wantAlert("Have oillife checked."),
		SignalDiagnosticsOilPressure:            wantOK(),
		SignalDiagnosticsOilTemperature:         wantOK(),
		SignalDiagnosticsTelematics:             wantAlert("Have telematics checked."),
		SignalDiagnosticsTirePressure:           wantOK(),
		SignalDiagnosticsTirePressureMonitoring: wantOK(),
		SignalDiagnosticsTransmission:           wantAlert("Have transmission checked."),
		SignalDiagnosticsWasherFluid:            wantOK(),
		SignalDiagnosticsWaterInFuel:            wantOK(),

		SignalHVACCabinTargetTemperature: wantNumber(20.5, UnitCelsius),
		SignalHVACIsCabinHVACActive:      wantBool(true),
		SignalHVACIsFrontDefrosterActive: wantBool(false),
		SignalHVACIsRearDefrosterActive:  wantBool(true),
		SignalHVACIsSteeringHeaterActive: wantBool(false),

		SignalInternalCombustionEngineAmountRemaining: wantNumber(41.2, UnitLiters),
		SignalInternalCombustionEngineFuelLevel:       wantNumber(73, UnitPercent),
		SignalInternalCombustionEngineOilLife:         wantNumber(64, UnitPercent),
		SignalInternalCombustionEngineRange:           wantNumber(612, UnitKilometers),

		SignalLocationIsAtHome: wantBool(true),
		SignalLocationPreciseLocation: &LocationSignal{
			Latitude: new(48.1371), Longitude: new(11.5754), Heading: new(87.5), Direction: "E", Type: "LAST_PARKED",
		},

		SignalLowVoltageBatteryStateOfCharge: wantNumber(88, UnitPercent),
		SignalLowVoltageBatteryStatus:        wantText("GOOD"),
		SignalMotionCurrentSpeed:             wantNumber(57, UnitKilometersPerHour),
		SignalOdometerTraveledDistance:       wantNumber(32208.5, UnitKilometers),

		SignalServiceIsInService: wantBool(false),
		SignalServiceRecords: &ServiceRecordsSignal{Records: []ServiceRecord{{
			ID: "12345", Odometer: new(30120.0), Date: time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC), Cost: new(249.9), Currency: "EUR",
			Tasks: []ServiceTask{{ID: "t1", Description: "Brake fluid"}}, Details: []ServiceDetail{{Type: "d1", Value: "Changed"}},
		}}},

		SignalSurveillanceBrand:     wantText("Sentry Mode"),
		SignalSurveillanceIsEnabled: wantBool(true),

		SignalTractionBatteryIsHeaterActive:        wantBool(false),
		SignalTractionBatteryMaxRangeChargeCounter: wantNumber(7, ""),
		SignalTractionBatteryNominalCapacity: &NominalCapacitySignal{
			Capacity: new(81.5), Source: "SMARTCAR", Unit: UnitKilowattHours, Available: []CapacityOption{
				{Capacity: new(78.1), Description: "BEV:Standard Range"}, {Capacity: new(81.5), Description: "BEV:Extended Range"},
			},
		},
		SignalTractionBatteryRange: &RangeSignal{
			Value: new(280.0), Type: "DEFAULT", Unit: UnitKilometers, Additional: []RangeEstimate{
				{Type: "IDEAL_CONDITIONS", Value: new(310.0)}, {Type: "ESTIMATED", Value: new(280.0)}, {Type: "RATED", Value: new(295.0)},
			},
		},
		SignalTractionBatteryStateOfCharge: wantNumber(45, UnitPercent),

		SignalTransmissionDriveMode: &DriveModeSignal{Canonical: "ECO", OEMName: "Chill"},
		SignalTransmissionGearState: wantText("PARK"),

		SignalVehicleIdentificationExteriorColor: wantText("Pearl White"),
		SignalVehicleIdentificationNickname:      wantText("Lightning"),
		SignalVehicleIdentificationPackages:      wantList("Premium", "Cold Weather"),
		SignalVehicleIdentificationTrim:          wantText("Long Range"),
		SignalVehicleIdentificationVIN:           wantText("5YJSA1CN5DFP00101"),

		SignalVehicleUserAccountPermissions: wantList("vehicle_cmds", "vehicle_device_data"),
		SignalVehicleUserAccountRole:        wantText("Driver"),

		SignalWheelStyle: wantText("Pinwheel18"),
		SignalWheelTires: &TiresSignal{Rows: 2, Columns: 2, Unit: UnitKilopascals, Tires: []TireState{
			{Row: 0, Column: 0, Pressure: new(290.0)}, {Row: 0, Column: 1, Pressure: new(288.5)},
			{Row: 1, Column: 0, Pressure: new(291.0)}, {Row: 1, Column: 1},
		}},
	}
}
