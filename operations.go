package smartcar

// An Operation is one thing that can be asked of Smartcar. Reads of a vehicle
// are what [Vehicle.Snapshot] and [Vehicle.Watch] take; the others name what
// failed in errors and logs.
type Operation string

// Reads that Smartcar answers by itself: not limited by the vehicle rules.
const (
	Attributes      Operation = "attributes"
	VIN             Operation = "vin"
	Permissions     Operation = "permissions"
	TeslaVirtualKey Operation = "tesla-virtual-key"
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

// What else errors and logs may name.
const (
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
	method     string   // on v2.0
	v2         string   // path below the vehicle on v2.0; "/" is the vehicle itself
	v3         string   // path below the vehicle on v3, where it is no signal
	signals    []string // the v3 signals that make up the result
	permission string
	tellsPlace bool   // the answer may tell where the car is: stored only when asked for
	call       string // how the README shows it
}

// operations is never written to.
var operations = [...]operation{
	{name: Attributes, kind: KindMetadata, method: "GET", v2: "/", v3: "/", permission: "read_vehicle_info", call: "Attributes"},
	{name: VIN, kind: KindMetadata, method: "GET", v2: "/vin", permission: "read_vin", call: "VIN"},
	{name: Permissions, kind: KindMetadata, method: "GET", v2: "/permissions", call: "Permissions"},
	{name: TeslaVirtualKey, kind: KindMetadata, method: "GET", v2: "/tesla/virtual_key", permission: "read_vehicle_info", call: "KeyStatus"},
	{name: opDisconnect, kind: KindMetadata, method: "DELETE", v2: "/application", call: "Disconnect"},

	{name: Odometer, kind: KindData, method: "GET", v2: "/odometer", signals: []string{"odometer-traveleddistance"}, permission: "read_odometer", call: "Odometer"},
	{name: Location, kind: KindData, method: "GET", v2: "/location", tellsPlace: true, permission: "read_location", call: "Location"},
	{name: Fuel, kind: KindData, method: "GET", v2: "/fuel", permission: "read_fuel", call: "Fuel"},
	{name: Battery, kind: KindData, method: "GET", v2: "/battery", signals: []string{"tractionbattery-stateofcharge", "tractionbattery-range"}, permission: "read_battery", call: "Battery"},
	{name: BatteryCapacity, kind: KindData, method: "GET", v2: "/battery/capacity", permission: "read_battery", call: "BatteryCapacity"},
	{name: NominalCapacity, kind: KindData, method: "GET", v2: "/battery/nominal_capacity", permission: "read_battery", call: "NominalCapacity"},
	{name: Charge, kind: KindData, method: "GET", v2: "/charge", permission: "read_charge", call: "Charge"},
	{name: ChargeLimit, kind: KindData, method: "GET", v2: "/charge/limit", permission: "read_charge", call: "ChargeLimit"},
	{name: TirePressure, kind: KindData, method: "GET", v2: "/tires/pressure", permission: "read_tires", call: "TirePressure"},
	{name: EngineOil, kind: KindData, method: "GET", v2: "/engine/oil", permission: "read_engine_oil", call: "EngineOil"},
	{name: LockStatus, kind: KindData, method: "GET", v2: "/security", permission: "read_security", call: "LockStatus"},
	{name: ServiceHistory, kind: KindData, method: "GET", v2: "/service/history", permission: "read_service_history", call: "ServiceHistory"},
	{name: SystemStatus, kind: KindData, method: "GET", v2: "/diagnostics/system_status", permission: "read_diagnostics", call: "SystemStatus"},
	{name: TroubleCodes, kind: KindData, method: "GET", v2: "/diagnostics/dtcs", permission: "read_diagnostics", call: "TroubleCodes"},
	{name: TeslaStatus, kind: KindData, method: "GET", v2: "/tesla/status", permission: "read_extended_vehicle_info", call: "TeslaStatus"},
	{name: TeslaAttributes, kind: KindData, method: "GET", v2: "/tesla/attributes", permission: "read_extended_vehicle_info", call: "TeslaAttributes"},
	{name: TeslaUserAccess, kind: KindData, method: "GET", v2: "/tesla/user/access", call: "TeslaUserAccess"},

	{name: Lock, kind: KindCommand, method: "POST", v2: "/security", v3: "/commands/security/lock", permission: "control_security", call: "Lock"},
	{name: Unlock, kind: KindCommand, method: "POST", v2: "/security", permission: "control_security", call: "Unlock"},
	{name: StartCharge, kind: KindCommand, method: "POST", v2: "/charge", permission: "control_charge", call: "StartCharge"},
	{name: StopCharge, kind: KindCommand, method: "POST", v2: "/charge", permission: "control_charge", call: "StopCharge"},
	{name: SetChargeLimit, kind: KindCommand, method: "POST", v2: "/charge/limit", permission: "control_charge", call: "SetChargeLimit"},
	{name: SendDestination, kind: KindCommand, method: "POST", v2: "/navigation/destination", permission: "control_navigation", call: "SendDestination"},
}

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
