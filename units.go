package smartcar

import (
	"strings"

	"github.com/seed-498a1bc4/smartcar/internal/lenient"
)

// A Unit is what the number of a signal is counted in. Smartcar spells units in
// several ways, km and kilometers: here each has one. A spelling that is not
// known is kept as it was sent; an empty Unit was not sent.
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

func orUnit(u, assumed Unit) Unit {
	if u == "" {
		return assumed
	}
	return u
}
