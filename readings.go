package smartcar

import (
	"encoding/json"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/seed-498a1bc4/smartcar/internal/lenient"
)

// The results of reads. A nil pointer means that the car did not say: that is
// not zero. Percentages run from 0 to 100. Lengths, volumes, pressures and
// temperatures are in the unit system of [Meta.UnitSystem]; texts that are
// enumerations at Smartcar stay open: compare with the constants, but expect
// others.
//
// Pointers also keep where a car is out of %v, %+v and %#v.

// AttributesReading identifies a vehicle.
type AttributesReading struct {
	ID    string
	Make  string // as Smartcar writes it, mostly upper case: TESLA
	Model string // "Model 3"
	Year  int    // model year; 0 if not known
	Meta
}

// VINReading is the vehicle identification number: personal data.
type VINReading struct {
	VIN string
	Meta
}

// OdometerReading is the distance driven.
type OdometerReading struct {
	Distance *float64 // km or miles
	Meta
}

// LocationReading is where the car is.
type LocationReading struct {
	Latitude  *float64 // degrees, -90 to 90
	Longitude *float64 // degrees, -180 to 180
	Meta
}

// FuelReading is the state of the tank; many makes give only some of it.
type FuelReading struct {
	Amount  *float64 // liters or US gallons
	Percent *float64 // 0 to 100
	Range   *float64 // km or miles
	Meta
}

// BatteryReading is the state of the traction battery.
type BatteryReading struct {
	Percent *float64 // 0 to 100
	Range   *float64 // km or miles
	Meta
}

// BatteryCapacityReading is the capacity of the traction battery.
type BatteryCapacityReading struct {
	Capacity *float64 // kWh
	Meta
}

// NominalCapacityReading is the rated capacity, and where it comes from.
type NominalCapacityReading struct {
	Nominal   *float64 // kWh; nil while the owner has to choose among Available
	Source    string   // SMARTCAR or USER_SELECTED
	Available []CapacityOption
	// SelectURL lets the owner choose; nil when Smartcar is sure. It holds a
	// token and is partial: complete it with [Connect.CompleteURL].
	SelectURL *string
	Meta
}

// CapacityOption is one battery the car may have.
type CapacityOption struct {
	Capacity    *float64 // kWh
	Description string   // "BEV:Extended Range"; empty if not known
}

// The states of [ChargeReading].
const (
	ChargeStateCharging     = "CHARGING"
	ChargeStateFullyCharged = "FULLY_CHARGED"
	ChargeStateNotCharging  = "NOT_CHARGING"
)

// ChargeReading tells whether the car charges.
type ChargeReading struct {
	PluggedIn *bool
	State     string // ChargeStateCharging, ...; empty if not known
	Meta
}

// ChargeLimitReading is how far the car will charge.
type ChargeLimitReading struct {
	Percent *float64 // 0 to 100
	Meta
}

// TirePressureReading is in kPa or psi.
type TirePressureReading struct {
	FrontLeft  *float64
	FrontRight *float64
	BackLeft   *float64
	BackRight  *float64
	Meta
}

// EngineOilReading is the oil's remaining life.
type EngineOilReading struct {
	LifePercent *float64 // 0 to 100
	Meta
}

// The states of an [Opening].
const (
	OpeningOpen    = "OPEN"
	OpeningClosed  = "CLOSED"
	OpeningLocked  = "LOCKED"
	OpeningUnknown = "UNKNOWN" // the car has it but does not say
)

// An Opening is a door, window, trunk or flap.
type Opening struct {
	Type   string // "frontLeft", "rear", "chargingPort", ...
	Status string // OpeningOpen, ...
}

// LockStatusReading tells what is locked and what stands open. Lists are empty
// where the car does not support them.
type LockStatusReading struct {
	Locked       *bool
	Doors        []Opening
	Windows      []Opening
	Sunroof      []Opening
	Storage      []Opening // "front" is the frunk of an electric car
	ChargingPort []Opening
	Meta
}

// ServiceHistoryReading lists what was done to the car.
//
// https://smartcar.com/docs/api-reference/get-service-records
type ServiceHistoryReading struct {
	Records []ServiceRecord
	Meta
}

// A ServiceRecord is one visit to a workshop. Ids are texts whatever Smartcar sends.
type ServiceRecord struct {
	ID       string
	Odometer *float64 // km
	Date     time.Time
	Tasks    []ServiceTask
	Details  []ServiceDetail
	Cost     *float64
	Currency string
}

// A ServiceTask is a piece of work.
type ServiceTask struct {
	ID          string
	Description string
}

// A ServiceDetail is a note on a [ServiceRecord].
type ServiceDetail struct {
	Type  string
	Value string
}

// SystemStatusReading is the car's own diagnosis of its systems.
type SystemStatusReading struct {
	Systems []SystemState
	Meta
}

// A SystemState is OK or ALERT.
type SystemState struct {
	SystemID    string // SYSTEM_TPMS, SYSTEM_AIRBAG, ...
	Status      string
	Description string
}

// TroubleCodesReading lists the active diagnostic trouble codes.
type TroubleCodesReading struct {
	Active []TroubleCode
	Meta
}

// A TroubleCode is active since At, which is zero if not known.
type TroubleCode struct {
	Code string
	At   time.Time
}

// TeslaStatusReading is asked for without waking the car.
type TeslaStatusReading struct {
	Status    string // ASLEEP, ONLINE, ...
	InService *bool
	Gear      string
	Meta
}

// TeslaAttributesReading is what Tesla knows of the car's build and software.
type TeslaAttributesReading struct {
	ID, Make, Model     string
	Year                int
	Nickname            string
	FirmwareVersion     string
	TrimBadging         string
	EfficiencyPackage   string
	PerformancePackage  string
	DriverAssistVersion string
	AtHome              *bool // nil if not known, or the car cannot stream
	SentryAvailable     *bool
	SentryEnabled       *bool
	ExteriorColor       string
	ExteriorTrim        string
	InteriorTrim        string
	WheelStyle          string
	WheelDiameter       *float64 // mm
	DriveUnitFront      string
	DriveUnitRear       string
	Meta
}

// TeslaUserAccessReading is what the connected Tesla account may do.
type TeslaUserAccessReading struct {
	AccessType  string   // OWNER or DRIVER; only owners can add the virtual key from afar
	Permissions []string // Tesla scopes: vehicle_cmds, vehicle_device_data, ...
	Meta
}

// TeslaChargeReading is how a Tesla charges. Cars that stream leave some of it out.
type TeslaChargeReading struct {
	PluggedIn        *bool
	State            string   // ChargeStateCharging, ...; empty if not known
	LimitPercent     *float64 // how far the car will charge: 0 to 100
	Amperes          *float64 // the current now
	AmperesRequested *float64 // what [Vehicle.SetChargeCurrent] sets
	AmperesMax       *float64 // the most that the car can take
	Volts            *float64
	Kilowatts        *float64
	EnergyAdded      *float64  // kWh
	RangeAdded       *float64  // km or miles; API v2.0 only
	ChargeRate       *float64  // km/h or mph: the range that an hour of charging brings
	CompleteAt       time.Time // when the limit will be reached; zero if not known
	Phases           *float64
	Connector        string // J1772, ...; empty if there is none
	FastCharger      *bool
	FastChargerType  string
	PortOpen         *bool
	PortLatched      *bool  // the cable is locked to the car
	PortColor        string // of the port's light, such as GREEN
	Meta
}

// TeslaClimateReading is the climate of the cabin.
type TeslaClimateReading struct {
	On          *bool
	Temperature *float64 // the one that is set: degrees Celsius or Fahrenheit
	Meta
}

// A Unit is what the number of a signal is counted in. Smartcar spells units in
// several ways, km and kilometers: here each has one. A spelling that is not
// known is kept as it was sent. Where none was sent, it is the documented one of
// the signal.
type Unit string

// The units of signals.
const (
	UnitPercent           Unit = "percent"
	UnitKilometers        Unit = "km"
	UnitMiles             Unit = "mi"
	UnitKilometersPerHour Unit = "km/h"
	UnitMilesPerHour      Unit = "mph"
	UnitCelsius           Unit = "celsius"
	UnitFahrenheit        Unit = "fahrenheit"
	UnitLiters            Unit = "liters"
	UnitGallons           Unit = "gallons"
	UnitKilopascals       Unit = "kPa"
	UnitPSI               Unit = "psi"
	UnitBars              Unit = "bar"
	UnitAmperes           Unit = "amperes"
	UnitVolts             Unit = "volts"
	UnitWatts             Unit = "watts"
	UnitKilowatts         Unit = "kW"
	UnitKilowattHours     Unit = "kWh"
	UnitSeconds           Unit = "seconds"
	UnitMinutes           Unit = "minutes"
	UnitHours             Unit = "hours"
)

// unitSpellings lists for each unit, in lower case, how it was seen or may be
// written.
var unitSpellings = [...]struct {
	unit      Unit
	spellings string
}{
	{UnitPercent, "percent percentage pct %"},
	{UnitKilometers, "km kms kilometer kilometers kilometre kilometres"}, //nolint:misspell // as the British write it
	{UnitMiles, "mi mile miles"},
	{UnitKilometersPerHour, "km/h kmh kph kmph kilometers/hour kilometers_per_hour"},
	{UnitMilesPerHour, "mph mi/h miles/hour miles_per_hour"},
	{UnitCelsius, "celsius c °c degc"},
	{UnitFahrenheit, "fahrenheit f °f degf"},
	{UnitLiters, "l liter liters litre litres"}, //nolint:misspell // as the British write it
	{UnitGallons, "gal gallon gallons"},
	{UnitKilopascals, "kpa kpas kilopascal kilopascals"},
	{UnitPSI, "psi"},
	{UnitBars, "bar bars"},
	{UnitAmperes, "a amp amps ampere amperes"},
	{UnitVolts, "v volt volts"},
	{UnitWatts, "w watt watts"},
	{UnitKilowatts, "kw kilowatt kilowatts"},
	{UnitKilowattHours, "kwh kwhr kwhrs kw-h kw-hr kilowatthour kilowatthours kilowatt-hour kilowatt-hours kilowatt_hour kilowatt_hours"},
	{UnitSeconds, "s sec secs second seconds"},
	{UnitMinutes, "min mins minute minutes"},
	{UnitHours, "h hr hrs hour hours"},
}

// unitOf reads a unit as it was sent; assumed is that of an answer that names none.
func unitOf(v lenient.Value, assumed Unit) Unit {
	plain, _ := v.Plain()
	for i := range unitSpellings { // as documented, which spares an allocation
		if documented := unitSpellings[i].unit; string(plain) == string(documented) {
			return documented
		}
	}
	return unit(lenient.String(v.Text()), assumed)
}

// unit reads a spelling; assumed is the unit of an answer that names none.
func unit(spelled lenient.String, assumed Unit) Unit {
	text := strings.TrimSpace(string(spelled))
	if text == "" {
		return assumed
	}
	folded := strings.ToLower(text)
	for _, u := range unitSpellings {
		for s := range strings.FieldsSeq(u.spellings) {
			if s == folded {
				return u.unit
			}
		}
	}
	return Unit(text)
}

// conversions from metric units to imperial ones: imperial = metric * factor + offset.
var conversions = [...]struct {
	metric, imperial Unit
	factor, offset   float64
}{
	{UnitKilometers, UnitMiles, 1 / 1.609344, 0},
	{UnitKilometersPerHour, UnitMilesPerHour, 1 / 1.609344, 0},
	{UnitLiters, UnitGallons, 1 / 3.785411784, 0},
	{UnitKilopascals, UnitPSI, 1 / 6.894757293168361, 0},
	{UnitCelsius, UnitFahrenheit, 1.8, 32},
}

// inUnits converts a value to the unit system; what has no counterpart there,
// such as a percentage, stays as it is.
func inUnits(system UnitSystem, value *float64, from Unit) *float64 {
	if value == nil {
		return nil
	}
	if from == UnitBars {
		from, value = UnitKilopascals, new(*value*100)
	}
	for _, c := range conversions {
		switch {
		case system == Imperial && from == c.metric:
			return new(*value*c.factor + c.offset)
		case system != Imperial && from == c.imperial:
			return new((*value - c.offset) / c.factor)
		}
	}
	return value
}

// ownReading is a copy of a small result for a caller, who may change it, in two
// allocations at most. It is nil for a result that is decoded anew for each caller.
func ownReading(r reading) reading {
	switch r := r.(type) {
	case *VINReading:
		return new(*r)
	case *AttributesReading:
		return new(*r)
	case *OdometerReading:
		own, n := *r, new(numbers)
		own.Distance = n.copy(0, r.Distance)
		return &own
	case *LocationReading:
		own, n := *r, new(numbers)
		own.Latitude, own.Longitude = n.copy(0, r.Latitude), n.copy(1, r.Longitude)
		return &own
	case *FuelReading:
		own, n := *r, new(numbers)
		own.Amount, own.Percent, own.Range = n.copy(0, r.Amount), n.copy(1, r.Percent), n.copy(2, r.Range)
		return &own
	case *BatteryReading:
		own, n := *r, new(numbers)
		own.Percent, own.Range = n.copy(0, r.Percent), n.copy(1, r.Range)
		return &own
	case *BatteryCapacityReading:
		own, n := *r, new(numbers)
		own.Capacity = n.copy(0, r.Capacity)
		return &own
	case *ChargeLimitReading:
		own, n := *r, new(numbers)
		own.Percent = n.copy(0, r.Percent)
		return &own
	case *TirePressureReading:
		own, n := *r, new(numbers)
		own.FrontLeft, own.FrontRight = n.copy(0, r.FrontLeft), n.copy(1, r.FrontRight)
		own.BackLeft, own.BackRight = n.copy(2, r.BackLeft), n.copy(3, r.BackRight)
		return &own
	case *EngineOilReading:
		own, n := *r, new(numbers)
		own.LifePercent = n.copy(0, r.LifePercent)
		return &own
	case *ChargeReading:
		own := *r
		if r.PluggedIn != nil {
			own.PluggedIn = new(*r.PluggedIn)
		}
		return &own
	}
	return nil
}

// numbers is where the copies of one result stand together.
type numbers [4]float64

func (n *numbers) copy(i int, from *float64) *float64 {
	if from == nil {
		return nil
	}
	n[i] = *from
	return &n[i]
}

// A Response is the answer to a [Request]. It does not print its body, which
// may tell where the car is.
type Response struct {
	StatusCode int
	Meta
	body func() []byte
}

// Bytes returns a copy of the body.
func (r *Response) Bytes() []byte {
	if r.body == nil {
		return nil
	}
	return slices.Clone(r.body())
}

// Decode reads the JSON body into v, as [json.Unmarshal] does.
func (r *Response) Decode(v any) error { return json.Unmarshal(r.Bytes(), v) }

// MarshalJSON gives the fields and, as Body, the body as it was sent: a text if it is not
// JSON. Where the car is stands in it if that was read.
func (r *Response) MarshalJSON() ([]byte, error) {
	out := struct {
		StatusCode int
		Meta
		Body json.RawMessage `json:",omitempty"`
	}{r.StatusCode, r.Meta, r.Bytes()}
	if !json.Valid(out.Body) && len(out.Body) > 0 {
		out.Body, _ = json.Marshal(string(out.Body)) // a text: cannot fail
	}
	return json.Marshal(out)
}

// LogValue keeps the body out of structured logs.
func (r *Response) LogValue() slog.Value {
	return slog.GroupValue(slog.Int("status", r.StatusCode), slog.String("request_id", r.RequestID))
}
