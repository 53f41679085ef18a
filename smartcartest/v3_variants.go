package smartcartest

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

// Variants choose, where the vendor's documentation, its examples and its live
// answers differ, what API v3 sends. The zero value is what was seen live. A
// client has to bear all of them.
type Variants struct {
	// UnitAliases spells units as the older examples do: kilometers for km,
	// watt for watts, min for minutes, kph for km/h and the reverse.
	UnitAliases bool
	// NoUnits leaves out the unit of charge-timetocomplete.
	NoUnits bool
	// NullPowertrain sends null for powertrainType.
	NullPowertrain bool
	// EpochTimes sends the times of signals, connections, vehicles and command
	// executions as milliseconds since 1970 rather than RFC 3339.
	EpochTimes bool
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
	// NumericStatus sends the status of an error as a number.
	NumericStatus bool
	// StreamedError is the shape of an error that a long command ends with.
	StreamedError ErrorShape
}

// unit spells a unit as UnitAliases asks.
func (v *Variants) unit(name any) any {
	if !v.UnitAliases {
		return name
	}
	switch name {
	case "km":
		return "kilometers"
	case "watts":
		return "watt"
	case "minutes":
		return "min"
	case "km/h":
		return "kph"
	case "kph":
		return "km/h"
	default:
		return name
	}
}
