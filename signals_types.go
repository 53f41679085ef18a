package smartcar

import "time"

// What the accessors of [Signals] return. As in readings, a nil pointer means
// that the car did not say, percentages run from 0 to 100, texts that are
// enumerations at Smartcar stay open, and pointers keep where a car is out of
// %v, %+v and %#v. Numbers are in the Unit beside them.

// NumberSignal is a number.
type NumberSignal struct {
	SignalMeta
	Value *float64
	Unit  Unit // empty for a count, or if it was not sent
}

// BoolSignal is true or false.
type BoolSignal struct {
	SignalMeta
	Value *bool
}

// TextSignal is a text. One that is an enumeration is in upper case.
type TextSignal struct {
	SignalMeta
	Value *string
}

// ListSignal is a list of texts, as they were sent.
type ListSignal struct {
	SignalMeta
	Values []string
}

// The states of [DiagnosticSignal].
const (
	DiagnosticOK    = "OK"
	DiagnosticAlert = "ALERT"
)

// DiagnosticSignal is the car's own diagnosis of one of its systems.
type DiagnosticSignal struct {
	SignalMeta
	State       string // DiagnosticOK, DiagnosticAlert; empty if not known
	Description string // in words; empty if there are none
}

// TroubleCodesSignal lists the diagnostic trouble codes.
type TroubleCodesSignal struct {
	SignalMeta
	Codes []TroubleCode
}

// ClosureSignal is a trunk, the tailgate, the sunroof or the engine's cover.
type ClosureSignal struct {
	SignalMeta
	Open   *bool
	Locked *bool // nil for what has no lock, too
}

// ClosuresSignal is the doors or the windows.
type ClosuresSignal struct {
	SignalMeta
	Closures []ClosureState
	Rows     int // 0 if not known
	Columns  int // 0 if not known
}

// A ClosureState is one door or window.
type ClosureState struct {
	Row    int // 0 is the front; -1 if not known
	Column int // 0 is the left; -1 if not known
	Open   *bool
	Locked *bool // nil for windows
}

// TiresSignal is the pressure of each tire.
type TiresSignal struct {
	SignalMeta
	Tires   []TireState
	Rows    int // 0 if not known
	Columns int // 0 if not known
	// Unit is often not sent: most likely kPa. It is that of the numbers, which is
	// not always the one that was sent: makes label kPa as bar, and the reverse. A
	// pressure that no tire can have, in neither, is nil. [Signals.Raw] has what was
	// sent.
	Unit Unit
}

// A TireState is the pressure of one tire.
type TireState struct {
	Row      int // 0 is the front; -1 if not known
	Column   int // 0 is the left; -1 if not known
	Pressure *float64
}

// LocationSignal is where the car is, or where it was parked.
type LocationSignal struct {
	SignalMeta
	Latitude  *float64 // degrees, -90 to 90
	Longitude *float64 // degrees, -180 to 180
	Heading   *float64 // degrees, 0 is north
	Direction string   // N, NE, E, SE, S, SW, W, NW; empty if not known
	Type      string   // CURRENT or LAST_PARKED; empty if not known
}

// RangeSignal is how far the battery lasts, by the best estimate there is.
type RangeSignal struct {
	SignalMeta
	Value      *float64
	Type       string // what Value is: DEFAULT
	Additional []RangeEstimate
	Unit       Unit // of all values
}

// A RangeEstimate is a range counted in another way.
type RangeEstimate struct {
	Type  string   // IDEAL_CONDITIONS, ESTIMATED, RATED
	Value *float64 // in the Unit of the signal
}

// NominalCapacitySignal is the rated capacity, and where it comes from.
type NominalCapacitySignal struct {
	SignalMeta
	Capacity  *float64 // nil while the owner has to choose among Available
	Source    string   // SMARTCAR or USER_SELECTED
	Available []CapacityOption
	Unit      Unit // kWh
}

// DriveModeSignal is how the car is set to drive.
type DriveModeSignal struct {
	SignalMeta
	Canonical string // in upper case, the same for all makes; empty if not known
	OEMName   string // as the make displays it
}

// ServiceRecordsSignal lists what was done to the car. The id of a detail is
// its [ServiceDetail.Type], the description its Value.
type ServiceRecordsSignal struct {
	SignalMeta
	Records []ServiceRecord
}

// What a [ChargeLimitRule] or a [ChargeTimer] applies to.
const (
	ChargeRuleGlobal    = "GLOBAL"    // everywhere
	ChargeRuleLocation  = "LOCATION"  // at the place of the condition
	ChargeRuleConnector = "CONNECTOR" // with the connector of the condition
	// ChargeRuleChargingType is what newer answers call ChargeRuleConnector.
	ChargeRuleChargingType = "CHARGING_TYPE"
)

// ChargeLimitsSignal is how far the car will charge.
type ChargeLimitsSignal struct {
	SignalMeta
	Limits []ChargeLimitRule
	Active *float64 // the limit in force; nil while the car is not plugged in
	Unit   Unit     // percent, 0 to 100
}

// A ChargeLimitRule is a limit and when it applies.
type ChargeLimitRule struct {
	Type      string           // ChargeRuleGlobal, ...
	Limit     *float64         // in the Unit of the signal: percent, 0 to 100
	Condition *ChargeCondition // nil for one that always applies
}

// A ChargeCondition says where, or with which connector, a rule applies.
type ChargeCondition struct {
	ChargePlace
	ConnectorType string // empty if not known
}

// A ChargePlace is where cars are charged.
type ChargePlace struct {
	Name      *string
	Address   *string
	Latitude  *float64 // degrees, -90 to 90
	Longitude *float64 // degrees, -180 to 180
}

// ChargeRecordsSignal lists past charging.
type ChargeRecordsSignal struct {
	SignalMeta
	Records []ChargeRecord
}

// A ChargeRecord is one time that the car was charged.
type ChargeRecord struct {
	ID            string
	StartTime     time.Time    // zero if not known
	EndTime       time.Time    // zero if not known, or not over
	EnergyAdded   *float64     // kWh
	StartPercent  *float64     // 0 to 100
	EndPercent    *float64     // 0 to 100
	ConnectorType string       // empty if not known
	PublicCharger *bool        // whether anybody can charge there
	Cost          *ChargeCost  // nil if not known
	Location      *ChargePlace // nil if not known
}

// ChargeCost is what charging cost.
type ChargeCost struct {
	Currency string   // such as EUR
	Energy   *float64 // in Currency, for the energy
	Other    *float64 // in Currency, for anything else
}

// ChargeTimersSignal lists when the car is to charge.
type ChargeTimersSignal struct {
	SignalMeta
	Timers []ChargeTimer
}

// A ChargeTimer is when the car is to charge or to be ready.
type ChargeTimer struct {
	Type            string // ChargeRuleGlobal, ...
	ScheduleType    string // DAILY, WEEKLY, WORKWEEK; empty if not known
	ScheduleID      string // empty if not known
	Condition       *ChargeCondition
	Schedules       []ChargeWindow
	DepartureTimers []DepartureTimer
	OEMOptimized    *bool // whether the make moves charging to when it is cheaper
}

// A ChargeWindow is a time of day in which the car may charge.
type ChargeWindow struct {
	Start string   // "HH:MM:SS", the car's local time
	End   string   // the same; before Start it is on the next day
	Days  []string // MONDAY, ...; none means not known
}

// A DepartureTimer is when the car is to be ready.
type DepartureTimer struct {
	Time string   // "HH:MM:SS", the car's local time
	Days []string // MONDAY, ...; none means not known
}
