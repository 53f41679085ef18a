package smartcar

import (
	"encoding/json"
	"strconv"

	"github.com/seed-498a1bc4/smartcar/internal/lenient"
	"github.com/seed-498a1bc4/smartcar/signals"
)

//go:generate go run ./internal/catalog/generate
//go:generate go test . -run ^TestOperationsTable$ -update

// An Operation is one thing that can be asked of Smartcar. Reads of a vehicle
// are what [Vehicle.Snapshot] and [Vehicle.Watch] take; the others name what
// failed in errors and logs.
type Operation string

// The reads whose methods are written by hand. The constants of the others are
// generated.
const (
	Permissions    Operation = "permissions"
	opKeyStatus    Operation = "key-status"
	ServiceHistory Operation = "service-history"
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

// Commands to the flap of the charge port: on API v2.0 of a Tesla alone.
const (
	OpenChargePort  Operation = "open-charge-port"
	CloseChargePort Operation = "close-charge-port"
)

// What only API v2.0 can do, and of a Tesla alone.
const (
	StartClimate     Operation = "start-climate"
	StopClimate      Operation = "stop-climate"
	SetClimate       Operation = "set-climate"
	SetChargeCurrent Operation = "set-charge-current"
)

// What only API v3 can do.
const (
	AllSignals           Operation = "signals"
	SetChargeSchedule    Operation = "set-charge-schedule"
	DeleteChargeSchedule Operation = "delete-charge-schedule"
)

// What else errors and logs may name.
const (
	opDisconnect  Operation = "disconnect"
	opConnect     Operation = "connect"
	opRequest     Operation = "request"
	opSnapshot    Operation = "snapshot"
	opAccess      Operation = "access"
	opVisit       Operation = "visit"
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

// String is a short code that does not change: default, metadata, data or command.
func (k Kind) String() string {
	if k > KindCommand {
		return "kind-" + strconv.Itoa(int(k))
	}
	return [...]string{KindDefault: "default", KindMetadata: "metadata", KindData: "data", KindCommand: "command"}[k]
}

// operation is a row of the one table that everything derives from: routing,
// decoding, kind, permission, the methods of Vehicle and Snapshot, the table of
// docs/operations.md and the tests' lists of reads. See "Adding an endpoint" in CONTRIBUTING.
type operation struct {
	name       Operation
	call       string // the method of Vehicle, and of Snapshot if it is a read
	kind       Kind
	method     string // of the request for it alone
	permission string
	on         versions // which versions of the API have it
	place      placeMark
	provesKey  bool // the command goes through with the virtual key only, where a car needs one

	byHand bool   // the methods are not generated
	does   string // completes "Battery ..." in the method's comment, with units
	page   string // of Smartcar's reference

	v2       string // path below the vehicle on v2.0; "/" is the vehicle itself
	own      string // the shapes of the answer on v2.0, of which it must have one: see lenient.HasShape
	decodeV2 decoder

	v3       string         // path below the vehicle on v3, where it is no signal
	signals  []signals.Code // the v3 signals that make up the result
	decodeV3 decoderV3
}

// versions says which versions of the API have an operation.
type versions uint8

const (
	bothVersions versions = iota
	onlyV2
	onlyV3
)

// A decoder turns the body of an answer of API v2.0 into the typed result of its
// row, with numbers in units as far as the body names its own.
type decoder func(body json.RawMessage, units UnitSystem) (reading, error)

// A reading is the typed result of a read.
type reading interface{ setMeta(Meta) }

// readingOf is a pointer to a T that is a reading.
type readingOf[T any] interface {
	*T
	reading
}

// placeMark says whether an answer may tell where the car is: such an answer is
// stored only when asked for. A row without a mark counts as one that may.
type placeMark uint8

const (
	placeNotMarked placeMark = iota
	tellsPlace
	tellsNoPlace
)

func (o *operation) mayTellPlace() bool { return o.place != tellsNoPlace }

// The shapes of answers that several operations have.
const (
	aList    = "[]"
	aSuccess = "status=success"
	aClimate = "status=ON status=OFF " + aSuccess // of the commands to the climate, which say what it is now
	aPage    = "data[].id"                        // of API v3
	aThing   = "data.id"                          // of API v3
	aRemoval = "- meta"                           // of API v3: documented as a 204
	anyJSON  = "any JSON"                         // what only the caller of Vehicle.Request knows
)

// isAnswer reports whether a body can be the answer of v2.0 to this operation: a
// portal or a proxy answers 200 with an object of its own. A field that is null is
// there: the car did not say.
func (o *operation) isAnswer(body json.RawMessage) bool { return lenient.HasShape(body, o.own) }

// operations is never written to.
var operations = [...]operation{
	{
		name: "attributes", call: "Attributes", kind: KindMetadata, method: "GET", permission: "read_vehicle_info",
		does: "reads make, model and year",
		page: "get-vehicle-info", place: tellsNoPlace,
		v2: "/", own: "make:text model:text year:number", decodeV2: fromObject(attributesV2.reading),
		v3: "/", decodeV3: decodeVehicleV3,
	},
	{
		name: "vin", call: "VIN", kind: KindMetadata, method: "GET", permission: "read_vin",
		does: "reads the vehicle identification number",
		page: "get-vin", place: tellsNoPlace,
		v2: "/vin", own: "vin:text", decodeV2: fromObject(vinV2.reading),
		signals: []signals.Code{signals.VehicleIdentificationVIN}, decodeV3: fromSignals(vinV3),
	},
	{
		name: Permissions, call: "Permissions", kind: KindMetadata, method: "GET", on: onlyV2, byHand: true,
		place: tellsNoPlace,
		v2:    "/permissions", own: "permissions[text]", decodeV2: fromObject(permissionsV2.reading),
	},
	{
		name: opKeyStatus, call: "KeyStatus", kind: KindMetadata, method: "GET", permission: "read_vehicle_info", on: onlyV2, byHand: true,
		place: tellsNoPlace,
		v2:    "/tesla/virtual_key", own: "isPaired:truth", decodeV2: fromObject(virtualKeyV2.reading),
	},
	{
		name: opDisconnect, call: "Disconnect", kind: KindMetadata, method: "DELETE", on: onlyV2,
		v2: "/application", own: aSuccess,
	},

	{
		name: "odometer", call: "Odometer", kind: KindData, method: "GET", permission: "read_odometer",
		does: "reads the distance driven, in km or miles",
		page: "get-odometer", place: tellsNoPlace,
		v2: "/odometer", own: "distance:number", decodeV2: fromValue(odometerV2),
		signals: []signals.Code{signals.OdometerTraveledDistance}, decodeV3: fromSignals(odometerV3),
	},
	{
		name: "location", call: "Location", kind: KindData, method: "GET", permission: "read_location",
		does: "reads where the car is, in degrees",
		page: "get-location", place: tellsPlace,
		v2: "/location", own: "latitude:number longitude:number", decodeV2: fromValue(locationV2),
		signals: []signals.Code{signals.LocationPreciseLocation}, decodeV3: fromSignals(locationV3),
	},
	{
		name: "fuel", call: "Fuel", kind: KindData, method: "GET", permission: "read_fuel",
		does: "reads the state of the tank, in liters or US gallons and from 0 to 100, and the range, in km or miles",
		page: "get-fuel-tank", place: tellsNoPlace,
		v2: "/fuel", own: "amountRemaining:number percentRemaining:number range:number", decodeV2: fromValue(fuelV2),
		signals: []signals.Code{signals.InternalCombustionEngineAmountRemaining, signals.InternalCombustionEngineFuelLevel, signals.InternalCombustionEngineRange}, decodeV3: fromSignals(fuelV3),
	},
	{
		name: "battery", call: "Battery", kind: KindData, method: "GET", permission: "read_battery",
		does: "reads the state of charge, from 0 to 100, and the range, in km or miles",
		page: "evs/get-battery-level", place: tellsNoPlace,
		v2: "/battery", own: "percentRemaining:number range:number", decodeV2: fromValue(batteryV2),
		signals: []signals.Code{signals.TractionBatteryStateOfCharge, signals.TractionBatteryRange}, decodeV3: fromSignals(batteryV3),
	},
	{
		name: "battery-capacity", call: "BatteryCapacity", kind: KindData, method: "GET", permission: "read_battery",
		does: "reads the battery's capacity, in kWh",
		page: "evs/get-battery-capacity", place: tellsNoPlace,
		v2: "/battery/capacity", own: "capacity:number", decodeV2: fromObject(capacityV2.reading),
		signals: []signals.Code{signals.TractionBatteryNominalCapacity}, decodeV3: fromSignals(capacityV3),
	},
	{
		name: "nominal-capacity", call: "NominalCapacity", kind: KindData, method: "GET", permission: "read_battery",
		does: "reads the rated capacity, in kWh; US and EU only",
		page: "evs/get-nominal-capacity", place: tellsNoPlace,
		v2: "/battery/nominal_capacity", own: "availableCapacities:list capacity.nominal:number", decodeV2: fromObject(nominalCapacityV2.reading),
		signals: []signals.Code{signals.TractionBatteryNominalCapacity}, decodeV3: fromSignals(nominalCapacityV3),
	},
	{
		name: "charge", call: "Charge", kind: KindData, method: "GET", permission: "read_charge",
		does: "reads whether the car is plugged in and charging",
		page: "evs/get-charge-status", place: tellsNoPlace,
		v2: "/charge", own: "isPluggedIn:truth state:text", decodeV2: fromObject(chargeV2.reading),
		signals: []signals.Code{signals.ChargeIsChargingCableConnected, signals.ChargeDetailedChargingStatus, signals.ChargeIsCharging}, decodeV3: fromSignals(chargeV3),
	},
	{
		name: "charge-limit", call: "ChargeLimit", kind: KindData, method: "GET", permission: "read_charge",
		does: "reads how far the car will charge, from 0 to 100",
		page: "evs/get-charge-limit", place: tellsPlace,
		v2: "/charge/limit", own: "limit:number", decodeV2: fromValue(chargeLimitV2),
		signals: []signals.Code{signals.ChargeChargeLimits}, decodeV3: fromSignals(chargeLimitV3),
	},
	{
		name: "tire-pressure", call: "TirePressure", kind: KindData, method: "GET", permission: "read_tires",
		does: "reads the four tires, in kPa or psi",
		page: "get-tire-pressure", place: tellsNoPlace,
		v2: "/tires/pressure", own: "frontLeft:number frontRight:number backLeft:number backRight:number", decodeV2: decodeTires,
		signals: []signals.Code{signals.WheelTires}, decodeV3: fromSignals(tiresV3),
	},
	{
		name: "engine-oil", call: "EngineOil", kind: KindData, method: "GET", permission: "read_engine_oil",
		does: "reads the oil's remaining life, from 0 to 100",
		page: "get-engine-oil-life", place: tellsNoPlace,
		v2: "/engine/oil", own: "lifeRemaining:number", decodeV2: fromValue(oilV2),
		signals: []signals.Code{signals.InternalCombustionEngineOilLife}, decodeV3: fromSignals(oilV3),
	},
	{
		name: "lock-status", call: "LockStatus", kind: KindData, method: "GET", permission: "read_security",
		does: "reads what is locked and what is open",
		page: "get-lock-status", place: tellsNoPlace,
		v2: "/security", own: "isLocked:truth doors:list windows:list sunroof:list storage:list chargingPort:list", decodeV2: fromObject(lockStatusV2.reading),
		signals: lockSignals[:], decodeV3: fromSignals(lockStatusV3),
	},
	{
		name: ServiceHistory, call: "ServiceHistory", kind: KindData, method: "GET", permission: "read_service_history", byHand: true,
		place: tellsNoPlace,
		v2:    "/service/history", own: aList + " serviceId:text odometerDistance:number serviceDate:text serviceTasks:list serviceDetails:list serviceCost:object", decodeV2: decodeServiceHistory,
		signals: []signals.Code{signals.ServiceRecords}, decodeV3: fromSignals(serviceHistoryV3),
	},
	{
		name: "system-status", call: "SystemStatus", kind: KindData, method: "GET", permission: "read_diagnostics",
		does: "reads the car's own diagnosis",
		page: "get-system-status", place: tellsNoPlace,
		v2: "/diagnostics/system_status", own: "systems:list", decodeV2: fromObject(systemStatusV2.reading),
		signals: systemSignals[:], decodeV3: fromSignals(systemStatusV3),
	},
	{
		name: "dtcs", call: "TroubleCodes", kind: KindData, method: "GET", permission: "read_diagnostics",
		does: "reads the active diagnostic trouble codes",
		page: "get-dtcs", place: tellsNoPlace,
		v2: "/diagnostics/dtcs", own: "activeCodes:list", decodeV2: fromObject(troubleCodesV2.reading),
		signals: []signals.Code{signals.DiagnosticsDTCList}, decodeV3: fromSignals(troubleCodesV3),
	},
	{
		name: "tesla-status", call: "TeslaStatus", kind: KindData, method: "GET", permission: "read_extended_vehicle_info",
		does: "reads whether a Tesla sleeps, without waking it",
		page: "tesla/get-vehicle-status", place: tellsNoPlace,
		v2: "/tesla/status", own: "inService:truth gear:text", decodeV2: fromObject(teslaStatusV2.reading),
		signals:  []signals.Code{signals.ConnectivityStatusIsAsleep, signals.ConnectivityStatusIsOnline, signals.ServiceIsInService, signals.TransmissionGearState},
		decodeV3: fromSignals(teslaStatusV3),
	},
	{
		name: "tesla-attributes", call: "TeslaAttributes", kind: KindData, method: "GET", permission: "read_extended_vehicle_info",
		does: "reads a Tesla's build and software",
		page: "tesla/get-ext-vehicle-info", place: tellsPlace,
		v2: "/tesla/attributes", own: "make:text model:text year:number nickname:text firmwareVersion:text trimBadging:text efficiencyPackage:text performancePackage:text driverAssistVersion:text atHome:truth sentryMode:object style:object wheel:object driveUnit:object", decodeV2: fromObject(teslaAttributesV2.reading),
		signals: teslaSignals[:], decodeV3: fromSignals(teslaAttributesV3),
	},
	{
		name: "tesla-user-access", call: "TeslaUserAccess", kind: KindData, method: "GET",
		does: "reads what the connected Tesla account may do",
		page: "tesla/get-user-access", place: tellsNoPlace,
		v2: "/tesla/user/access", own: "accessType:text permissions[text]", decodeV2: fromObject(teslaAccessV2.reading),
		signals: []signals.Code{signals.VehicleUserAccountRole, signals.VehicleUserAccountPermissions}, decodeV3: fromSignals(teslaAccessV3),
	},
	{
		name: "tesla-charge", call: "TeslaCharge", kind: KindData, method: "GET", permission: "read_charge",
		does: "reads how a Tesla charges: current, voltage, power, limit, energy added, cable and flap",
		page: "tesla/get-charge", place: tellsPlace,
		v2: "/tesla/charge", own: "amperage:number voltage:number amperageRequested:number chargePortLatch:text", decodeV2: fromObject(teslaChargeV2.reading),
		signals: teslaChargeSignals[:], decodeV3: fromSignals(teslaChargeV3),
	},
	{
		name: "tesla-climate", call: "TeslaClimate", kind: KindData, method: "GET", permission: "read_climate",
		does: "reads whether a Tesla heats or cools its cabin, and the temperature that is set, in degrees Celsius or Fahrenheit",
		page: "signals/schema", place: tellsNoPlace,
		v2: "/tesla/climate/cabin", own: "temperature:number", decodeV2: fromObject(teslaClimateV2.reading),
		signals: []signals.Code{signals.HVACIsCabinHVACActive, signals.HVACCabinTargetTemperature}, decodeV3: fromSignals(teslaClimateV3),
	},
	{
		name: AllSignals, call: "Signals", kind: KindData, method: "GET", on: onlyV3, byHand: true,
		place: tellsPlace,
		v3:    "/signals", decodeV3: decodeAllSignals,
	},

	{
		name: Lock, call: "Lock", kind: KindCommand, method: "POST", permission: "control_security", provesKey: true,
		v2: "/security", own: aSuccess, v3: "/commands/security/lock",
	},
	{
		name: Unlock, call: "Unlock", kind: KindCommand, method: "POST", permission: "control_security", provesKey: true,
		v2: "/security", own: aSuccess, v3: "/commands/security/unlock",
	},
	{
		name: StartCharge, call: "StartCharge", kind: KindCommand, method: "POST", permission: "control_charge", provesKey: true,
		v2: "/charge", own: aSuccess, v3: "/commands/charge/start",
	},
	{
		name: StopCharge, call: "StopCharge", kind: KindCommand, method: "POST", permission: "control_charge", provesKey: true,
		v2: "/charge", own: aSuccess, v3: "/commands/charge/stop",
	},
	{
		name: SetChargeLimit, call: "SetChargeLimit", kind: KindCommand, method: "POST", permission: "control_charge", provesKey: true,
		v2: "/charge/limit", own: aSuccess, v3: "/commands/charge/set-limit",
	},
	{
		name: SendDestination, call: "SendDestination", kind: KindCommand, method: "POST", permission: "control_navigation",
		v2: "/navigation/destination", own: aSuccess, v3: "/commands/navigation/set-destination",
	},
	{
		name: OpenChargePort, call: "OpenChargePort", kind: KindCommand, method: "POST", permission: "control_charge", provesKey: true,
		v2: "/tesla/charge/charge_port_door", own: aSuccess, v3: "/commands/charge-port/open",
	},
	{
		name: CloseChargePort, call: "CloseChargePort", kind: KindCommand, method: "POST", permission: "control_charge", provesKey: true,
		v2: "/tesla/charge/charge_port_door", own: aSuccess, v3: "/commands/charge-port/close",
	},
	{
		name: SetChargeCurrent, call: "SetChargeCurrent", kind: KindCommand, method: "POST", permission: "control_charge", on: onlyV2, provesKey: true,
		v2: "/tesla/charge/ammeter", own: aSuccess,
	},
	{
		name: StartClimate, call: "StartClimate", kind: KindCommand, method: "POST", permission: "control_climate", on: onlyV2, provesKey: true,
		v2: "/tesla/climate/cabin", own: aClimate,
	},
	{
		name: StopClimate, call: "StopClimate", kind: KindCommand, method: "POST", permission: "control_climate", on: onlyV2, provesKey: true,
		v2: "/tesla/climate/cabin", own: aClimate,
	},
	{
		name: SetClimate, call: "SetClimate", kind: KindCommand, method: "POST", permission: "control_climate", on: onlyV2, provesKey: true,
		v2: "/tesla/climate/cabin", own: aClimate,
	},
	{
		name: SetChargeSchedule, call: "SetChargeSchedule", kind: KindCommand, method: "POST", permission: "control_charge", on: onlyV3,
		v3: "/charge-schedules",
	},
	{
		name: DeleteChargeSchedule, call: "DeleteChargeSchedule", kind: KindCommand, method: "DELETE", permission: "control_charge", on: onlyV3,
		v3: "/charge-schedules",
	},
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
	teslaChargeSignals = [...]signals.Code{
		signals.ChargeAmperage, signals.ChargeAmperageMax, signals.ChargeAmperageRequested, signals.ChargeChargeLimits,
		signals.ChargeChargePortStatusColor, signals.ChargeChargeRate, signals.ChargeChargerPhases, signals.ChargeChargingConnectorType,
		signals.ChargeDetailedChargingStatus, signals.ChargeEnergyAdded, signals.ChargeFastChargerType, signals.ChargeIsCharging,
		signals.ChargeIsChargingCableConnected, signals.ChargeIsChargingCableLatched, signals.ChargeIsChargingPortFlapOpen,
		signals.ChargeIsFastChargerPresent, signals.ChargeTimeToComplete, signals.ChargeVoltage, signals.ChargeWattage,
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

// rowsByName is what lookup returns of each operation.
func rowsByName() map[Operation][]operation {
	rows := make(map[Operation][]operation, len(operations))
	for i := range operations {
		rows[operations[i].name] = operations[i : i+1 : i+1]
	}
	return rows
}

func (o *operation) isRead() bool { return o.method == "GET" && o.kind != KindCommand }
