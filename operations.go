package smartcar

import "github.com/seed-498a1bc4/smartcar/signals"

// An Operation is one thing that can be asked of Smartcar. Reads of a vehicle
// are what [Vehicle.Snapshot] and [Vehicle.Watch] take; the others name what
// failed in errors and logs.
type Operation string

// Reads that Smartcar answers by itself: not limited by the vehicle rules.
const (
	Attributes  Operation = "attributes"
	VIN         Operation = "vin"
	Permissions Operation = "permissions"
)

// Reads of the vehicle's data.
const (
	Odometer        Operation = "odometer"
	Location        Operation = "location"
	Fuel            Operation = "fuel"
	Battery         Operation = "battery"
	BatteryCapacity Operation = "battery-capacity"
	NominalCapacity Operation = "nominal-capacity"
	Charge          Operation = "charge"
	ChargeLimit     Operation = "charge-limit"
	TirePressure    Operation = "tire-pressure"
	EngineOil       Operation = "engine-oil"
	LockStatus      Operation = "lock-status"
	ServiceHistory  Operation = "service-history"
	SystemStatus    Operation = "system-status"
	TroubleCodes    Operation = "dtcs"
	TeslaStatus     Operation = "tesla-status"
	TeslaAttributes Operation = "tesla-attributes"
	TeslaUserAccess Operation = "tesla-user-access"
)

// Commands, which change the vehicle.
const (
	Lock            Operation = "lock"
	Unlock          Operation = "unlock"
	StartCharge     Operation = "start-charge"
	StopCharge      Operation = "stop-charge"
	SetChargeLimit  Operation = "set-charge-limit"
	SendDestination Operation = "send-destination"
)

// What only API v3 can do.
const (
	AllSignals           Operation = "signals"
	OpenChargePort       Operation = "open-charge-port"
	CloseChargePort      Operation = "close-charge-port"
	SetChargeSchedule    Operation = "set-charge-schedule"
	DeleteChargeSchedule Operation = "delete-charge-schedule"
)

// What else errors and logs may name.
const (
	opKeyStatus   Operation = "key-status"
	opDisconnect  Operation = "disconnect"
	opConnect     Operation = "connect"
	opRequest     Operation = "request"
	opSnapshot    Operation = "snapshot"
	opUser        Operation = "user"
	opVehicles    Operation = "vehicles"
	opExchange    Operation = "code-exchange"
	opRefresh     Operation = "token-refresh"
	opCompatible  Operation = "compatibility"
	opConnections Operation = "connections"
	opDeleteConns Operation = "delete-connections"
	opRemoveUser  Operation = "remove-user"
	opMove        Operation = "move-to-v3"

	opSubscribe     Operation = "subscribe"
	opUnsubscribe   Operation = "unsubscribe"
	opWebhooks      Operation = "webhooks"
	opSubscriptions Operation = "subscriptions"
	opWebhookEvent  Operation = "webhook-event"
)

// A Kind says how the policy treats a request.
type Kind uint8

// The kinds of a request to a vehicle.
const (
	// KindDefault lets [Vehicle.Request] choose: a GET is data, anything else a command.
	KindDefault Kind = iota
	// KindMetadata is answered by Smartcar itself and not limited by the vehicle rules.
	KindMetadata
	// KindData reads the vehicle, and takes its turn where turns are limited.
	KindData
	// KindCommand changes the vehicle.
	KindCommand
)

// operation is a row of the one table that everything derives from: routing,
// kind, permission, the README's capability table and the coverage test.
// Adding an endpoint is one row, one type and one fixture.
type operation struct {
	name       Operation
	kind       Kind
	method     string         // of the request for it alone
	v2         string         // path below the vehicle on v2.0; "/" is the vehicle itself
	v3         string         // path below the vehicle on v3, where it is no signal
	signals    []signals.Code // the v3 signals that make up the result
	permission string
	tellsPlace bool   // the answer may tell where the car is: stored only when asked for
	call       string // how the README shows it
}

// operations is never written to.
var operations = [...]operation{
	{name: Attributes, kind: KindMetadata, method: "GET", v2: "/", v3: "/", permission: "read_vehicle_info", call: "Attributes"},
	{name: VIN, kind: KindMetadata, method: "GET", v2: "/vin", signals: []signals.Code{signals.VehicleIdentificationVIN}, permission: "read_vin", call: "VIN"},
	{name: Permissions, kind: KindMetadata, method: "GET", v2: "/permissions", call: "Permissions"},
	{name: opKeyStatus, kind: KindMetadata, method: "GET", v2: "/tesla/virtual_key", permission: "read_vehicle_info", call: "KeyStatus"},
	{name: opDisconnect, kind: KindMetadata, method: "DELETE", v2: "/application", call: "Disconnect"},

	{name: Odometer, kind: KindData, method: "GET", v2: "/odometer", signals: []signals.Code{signals.OdometerTraveledDistance}, permission: "read_odometer", call: "Odometer"},
	{name: Location, kind: KindData, method: "GET", v2: "/location", signals: []signals.Code{signals.LocationPreciseLocation}, tellsPlace: true, permission: "read_location", call: "Location"},
	{name: Fuel, kind: KindData, method: "GET", v2: "/fuel", signals: []signals.Code{signals.InternalCombustionEngineAmountRemaining, signals.InternalCombustionEngineFuelLevel, signals.InternalCombustionEngineRange}, permission: "read_fuel", call: "Fuel"},
	{name: Battery, kind: KindData, method: "GET", v2: "/battery", signals: []signals.Code{signals.TractionBatteryStateOfCharge, signals.TractionBatteryRange}, permission: "read_battery", call: "Battery"},
	{name: BatteryCapacity, kind: KindData, method: "GET", v2: "/battery/capacity", signals: []signals.Code{signals.TractionBatteryNominalCapacity}, permission: "read_battery", call: "BatteryCapacity"},
	{name: NominalCapacity, kind: KindData, method: "GET", v2: "/battery/nominal_capacity", signals: []signals.Code{signals.TractionBatteryNominalCapacity}, permission: "read_battery", call: "NominalCapacity"},
	{name: Charge, kind: KindData, method: "GET", v2: "/charge", signals: []signals.Code{signals.ChargeIsChargingCableConnected, signals.ChargeDetailedChargingStatus, signals.ChargeIsCharging}, permission: "read_charge", call: "Charge"},
	{name: ChargeLimit, kind: KindData, method: "GET", v2: "/charge/limit", signals: []signals.Code{signals.ChargeChargeLimits}, tellsPlace: true, permission: "read_charge", call: "ChargeLimit"},
	{name: TirePressure, kind: KindData, method: "GET", v2: "/tires/pressure", signals: []signals.Code{signals.WheelTires}, permission: "read_tires", call: "TirePressure"},
	{name: EngineOil, kind: KindData, method: "GET", v2: "/engine/oil", signals: []signals.Code{signals.InternalCombustionEngineOilLife}, permission: "read_engine_oil", call: "EngineOil"},
	{name: LockStatus, kind: KindData, method: "GET", v2: "/security", signals: lockSignals[:], permission: "read_security", call: "LockStatus"},
	{name: ServiceHistory, kind: KindData, method: "GET", v2: "/service/history", signals: []signals.Code{signals.ServiceRecords}, permission: "read_service_history", call: "ServiceHistory"},
	{name: SystemStatus, kind: KindData, method: "GET", v2: "/diagnostics/system_status", signals: systemSignals[:], permission: "read_diagnostics", call: "SystemStatus"},
	{name: TroubleCodes, kind: KindData, method: "GET", v2: "/diagnostics/dtcs", signals: []signals.Code{signals.DiagnosticsDTCList}, permission: "read_diagnostics", call: "TroubleCodes"},
	{name: TeslaStatus, kind: KindData, method: "GET", v2: "/tesla/status", signals: []signals.Code{signals.ConnectivityStatusIsAsleep, signals.ConnectivityStatusIsOnline, signals.ServiceIsInService, signals.TransmissionGearState}, permission: "read_extended_vehicle_info", call: "TeslaStatus"},
	{name: TeslaAttributes, kind: KindData, method: "GET", v2: "/tesla/attributes", signals: teslaSignals[:], tellsPlace: true, permission: "read_extended_vehicle_info", call: "TeslaAttributes"},
	{name: TeslaUserAccess, kind: KindData, method: "GET", v2: "/tesla/user/access", signals: []signals.Code{signals.VehicleUserAccountRole, signals.VehicleUserAccountPermissions}, call: "TeslaUserAccess"},
	{name: AllSignals, kind: KindData, method: "GET", v3: "/signals", tellsPlace: true, call: "Signals"},

	{name: Lock, kind: KindCommand, method: "POST", v2: "/security", v3: "/commands/security/lock", permission: "control_security", call: "Lock"},
	{name: Unlock, kind: KindCommand, method: "POST", v2: "/security", v3: "/commands/security/unlock", permission: "control_security", call: "Unlock"},
	{name: StartCharge, kind: KindCommand, method: "POST", v2: "/charge", v3: "/commands/charge/start", permission: "control_charge", call: "StartCharge"},
	{name: StopCharge, kind: KindCommand, method: "POST", v2: "/charge", v3: "/commands/charge/stop", permission: "control_charge", call: "StopCharge"},
	{name: SetChargeLimit, kind: KindCommand, method: "POST", v2: "/charge/limit", v3: "/commands/charge/set-limit", permission: "control_charge", call: "SetChargeLimit"},
	{name: SendDestination, kind: KindCommand, method: "POST", v2: "/navigation/destination", v3: "/commands/navigation/set-destination", permission: "control_navigation", call: "SendDestination"},
	{name: OpenChargePort, kind: KindCommand, method: "POST", v3: "/commands/charge-port/open", permission: "control_charge", call: "OpenChargePort"},
	{name: CloseChargePort, kind: KindCommand, method: "POST", v3: "/commands/charge-port/close", permission: "control_charge", call: "CloseChargePort"},
	{name: SetChargeSchedule, kind: KindCommand, method: "POST", v3: "/charge-schedules", permission: "control_charge", call: "SetChargeSchedule"},
	{name: DeleteChargeSchedule, kind: KindCommand, method: "DELETE", v3: "/charge-schedules", permission: "control_charge", call: "DeleteChargeSchedule"},
}

// The signals of the longer rows. They are never written to.
//
//nolint:gochecknoglobals // the table above is the one place that needs them, and it is a global, too
var (
	lockSignals = [...]signals.Code{
		signals.ClosureIsLocked, signals.ClosureDoors, signals.ClosureWindows, signals.ClosureSunroof, signals.ClosureFrontTrunk,
		signals.ClosureRearTrunk, signals.ClosureTailgate, signals.ChargeIsChargingPortFlapOpen,
	}
	teslaSignals = [...]signals.Code{
		signals.VehicleIdentificationNickname, signals.VehicleIdentificationExteriorColor, signals.VehicleIdentificationTrim,
		signals.ConnectivitySoftwareCurrentFirmwareVersion, signals.LocationIsAtHome, signals.SurveillanceIsEnabled, signals.WheelStyle,
	}
	systemSignals = [...]signals.Code{
		signals.DiagnosticsABS, signals.DiagnosticsActiveSafety, signals.DiagnosticsAirbag, signals.DiagnosticsBrakeFluid,
		signals.DiagnosticsDriverAssistance, signals.DiagnosticsEmissions, signals.DiagnosticsEVBatteryConditioning,
		signals.DiagnosticsEVCharging, signals.DiagnosticsEVDriveUnit, signals.DiagnosticsEVHVBattery, signals.DiagnosticsLighting,
		signals.DiagnosticsMIL, signals.DiagnosticsOilLife, signals.DiagnosticsOilPressure, signals.DiagnosticsOilTemperature,
		signals.DiagnosticsTelematics, signals.DiagnosticsTirePressure, signals.DiagnosticsTirePressureMonitoring,
		signals.DiagnosticsTransmission, signals.DiagnosticsWasherFluid, signals.DiagnosticsWaterInFuel,
	}
)

// lookup returns the row of op, as a slice of that one row; it is empty if
// there is none.
func lookup(op Operation) []operation {
	for i := range operations {
		if operations[i].name == op {
			return operations[i : i+1 : i+1]
		}
	}
	return nil
}

func (o *operation) isRead() bool { return o.method == "GET" && o.kind != KindCommand }
