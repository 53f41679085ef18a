package smartcartest

import "strings"

// ErrorShape is how an error of API v3 is wrapped. The list is documented; of
// the result of a long command, which is streamed, the others were seen too.
type ErrorShape int

const (
	// ErrorList is {"errors":[{…}]}.
	ErrorList ErrorShape = iota
	// SingleError is {"error":{…}}.
	SingleError
	// BareError is the error object itself.
	BareError
)

// TireShape is how the signal wheel-tires tells pressures. The label is not to
// be trusted: each of these was seen.
type TireShape int

const (
	// TiresInKPa is what is documented.
	TiresInKPa TireShape = iota
	// TiresLabeledBar has numbers in kPa with the label bar, one corner 699.9,
	// which is no value, and the corners in no order.
	TiresLabeledBar
	// TiresInBar has numbers in bar with the label kPa.
	TiresInBar
	// TiresUnlabeled has numbers in kPa and no label.
	TiresUnlabeled
)

// UnknownTime is how a signal tells that nobody knows when the car recorded it.
type UnknownTime int

const (
	// KnownTime has the time.
	KnownTime UnknownTime = iota
	// ZeroTime has 0.
	ZeroTime
	// NullTime has null.
	NullTime
)

// Variants choose, where the vendor's documentation, its examples and its live
// answers differ, what API v3 sends. The zero value is what was seen live. A
// client has to bear all of them. Those about the bodies and names of signals
// hold for webhooks, too.
type Variants struct {
	// UnitAliases spells units as the examples do: kilometers for km, watt for
	// watts, amps for ampere, kWhr for kWh, min for minutes, kph for km/h and
	// the reverse.
	UnitAliases bool
	// NoUnits leaves out the unit of charge-timetocomplete, and as a BMW did,
	// those of fuel level and range: the level is a fraction then.
	NoUnits bool
	// NullPowertrain sends null for powertrainType.
	NullPowertrain bool
	// EpochTimes sends the times of signals, connections, vehicles and command
	// executions as milliseconds since 1970 rather than RFC 3339. With
	// FractionTimes they have a fraction: 1782777353743.0.
	EpochTimes, FractionTimes bool
	// OffsetTimes sends RFC 3339 with an offset, +02:00, rather than Z.
	OffsetTimes bool
	// UnknownTimes sends something else for oemUpdatedAt of every signal.
	UnknownTimes UnknownTime
	// RelativeLinks sends links such as /connections instead of absolute ones.
	RelativeLinks bool
	// PlainPaging names the page meta.page and the link links.previous.
	PlainPaging bool
	// BareSignal answers a single signal without data around it.
	BareSignal bool
	// ShortSignals sends only the first half of the list of signals, while
	// meta.totalCount still counts all: the list has pages after all.
	ShortSignals bool
	// NamedClosures lists doors and windows below their own names instead of
	// below values, as the examples of the specification do.
	NamedClosures bool
	// Tires is the shape of wheel-tires.
	Tires TireShape
	// WrongNames gives internalcombustionengine-range the name FuelLevel, as
	// captured: of a signal only the code is right.
	WrongNames bool
	// OEMBodies sends bodies that depend on the make: charge-chargerphases is a
	// word, charge-ischargingportflapopen has isOpen, and charge-chargelimits
	// no values beside its activeLimit.
	OEMBodies bool
	// DescribedErrors gives the error of a signal a description beside its
	// detail, which only says that it is deprecated, as until September 2026.
	DescribedErrors bool
	// NumericStatus sends the status of an error as a number.
	NumericStatus bool
	// StreamedError is the shape of an error that a long command ends with.
	StreamedError ErrorShape
}

// apply gives a reading the shape that the variants ask for.
func (v *Variants) apply(r *reading) {
	code := r.code()
	if unit, ok := r.body["unit"]; ok {
		r.body["unit"] = v.unit(unit)
	}
	if v.NoUnits && r.body != nil {
		v.leaveOutUnit(r, code)
	}
	if list, ok := r.body["values"]; ok && v.NamedClosures && (r.name == "Doors" || r.name == "Windows") {
		r.body[strings.ToLower(r.name)] = list
		delete(r.body, "values")
	}
	if code == "wheel-tires" && r.body != nil {
		v.Tires.apply(r.body)
	}
	if v.OEMBodies && r.body != nil {
		switch code {
		case "charge-chargerphases":
			r.body["value"] = "SINGLE_PHASE"
		case "charge-ischargingportflapopen":
			r.body = object{"isOpen": r.body["value"]}
		case "charge-chargelimits":
			r.body["values"] = []object{}
		}
	}
	if v.WrongNames && code == "internalcombustionengine-range" {
		r.shownAs = "FuelLevel"
	}
}

// leaveOutUnit drops the unit of some signals.
func (v *Variants) leaveOutUnit(r *reading, code string) {
	switch code {
	case "internalcombustionengine-fuellevel":
		if percent, ok := r.body["value"].(float64); ok {
			r.body["value"] = round(percent/100, 4)
		}
		delete(r.body, "unit")
	case "charge-timetocomplete", "internalcombustionengine-range":
		delete(r.body, "unit")
	}
}

// apply gives the body of wheel-tires the shape.
func (s TireShape) apply(body object) {
	list, _ := body["values"].([]object)
	switch s {
	case TiresLabeledBar:
		body["unit"] = "bar"
		list[0], list[3] = list[3], list[0]
		list[1]["tirePressure"] = 699.9
	case TiresInBar:
		for _, tire := range list {
			kPa, _ := tire["tirePressure"].(float64)
			tire["tirePressure"] = round(kPa/100, 3)
		}
	case TiresUnlabeled:
		delete(body, "unit")
	}
}

// unit spells a unit as UnitAliases asks.
func (v *Variants) unit(name any) any {
	if !v.UnitAliases {
		return name
	}
	aliases := map[any]string{
		"km": "kilometers", "watts": "watt", "minutes": "min", "km/h": "kph", "kph": "km/h", "ampere": "amps", "kWh": "kWhr",
	}
	if alias, ok := aliases[name]; ok {
		return alias
	}
	return name
}
