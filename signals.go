package smartcar

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"net/http"
	"time"

	"github.com/seed-498a1bc4/smartcar/internal/lenient"
	"github.com/seed-498a1bc4/smartcar/signals"
)

// The states of [SignalMeta.Status].
const (
	SignalStatusSuccess     = "SUCCESS"
	SignalStatusError       = "ERROR"
	SignalStatusUnavailable = "UNAVAILABLE"
)

// SignalMeta stands in every signal. Times that are zero are not known.
type SignalMeta struct {
	Code signals.Code
	// Status is SignalStatusSuccess, another only where Stale is true or in a
	// [RawSignal]. It is empty where an old answer has none.
	Status string
	// OEMUpdatedAt is when the car recorded the value: judge freshness by it.
	OEMUpdatedAt time.Time
	// RetrievedAt is when Smartcar had the value from the make.
	RetrievedAt time.Time
	// IngestedAt is when Smartcar stored the value.
	IngestedAt time.Time
	// Stale marks the last known value of a signal that failed: see [Signals.LastKnown].
	Stale bool
}

// Signals are what Smartcar has stored of one vehicle. Each has an accessor, such
// as [Signals.TractionBatteryStateOfCharge], that returns a value of the
// caller's own, or nil and one of these errors, each an [*Error]:
//
//   - RESOURCE_NOT_FOUND:SIGNAL_NOT_FOUND, which matches [ErrNotFound]: there is
//     no such signal. Its Description says why that may be.
//   - the type and code that the signal failed with. They match [ErrPermission],
//     [ErrNotSupported], [ErrVehicleState], [ErrVirtualKeyRequired] and the
//     others. A status without an error, such as UNAVAILABLE, is the Code.
//     Smartcar may send the last known value along: it is never returned as if
//     it were fresh, only by [Signals.LastKnown].
//   - an error that matches [ErrUnexpectedAnswer]: the body cannot be read. It
//     concerns this signal alone.
//
// A signal without an error may still have a nil Value: the car did not say.
// Signals do not change and are safe for concurrent use.
//
// https://smartcar.com/docs/api-reference/list-signals
type Signals struct {
	Meta
	set func() *signalSet // a function, so that no verb of fmt prints it
}

func (s *Signals) content() *signalSet {
	if s == nil || s.set == nil {
		return &signalSet{absent: "no signals were read"}
	}
	return s.set()
}

// setMeta dates the signals, and names the request in their errors.
func (s *Signals) setMeta(m Meta) {
	s.Meta = m
	s.content().requestID = m.RequestID // their own set: see newSignals
}

// LastKnown returns a view of the same signals for programs that prefer an old
// value to none: where a signal failed and Smartcar sent the last known value
// beside the error, the accessors of the view return that value with
// [SignalMeta.Stale] true instead of the error. Everything else is as before.
func (s *Signals) LastKnown() *Signals {
	if s == nil {
		return nil
	}
	set := *s.content()
	set.lastKnown = true
	return &Signals{Meta: s.Meta, set: func() *signalSet { return &set }}
}

// Len is the number of signals, those that failed included.
func (s *Signals) Len() int { return len(s.content().signals) }

// Incomplete reports whether Smartcar announced more signals than it sent, or
// sent some that cannot be read: a signal that is not here may be stored all
// the same. Ask for it alone.
func (s *Signals) Incomplete() bool { return s.content().incomplete }

// All yields every signal by its code, in the order of the codes: those that
// failed and those this package has no accessor for, too.
func (s *Signals) All() iter.Seq2[signals.Code, *RawSignal] {
	return func(yield func(signals.Code, *RawSignal) bool) {
		set := s.content()
		for _, stored := range set.signals {
			if !yield(stored.meta.Code, set.raw(stored)) {
				return
			}
		}
	}
}

// Raw returns a signal undecoded, whether it has an accessor or not. Its errors
// are those of the accessors, but for the body, which nobody has read.
func (s *Signals) Raw(code signals.Code) (*RawSignal, error) {
	set := s.content()
	stored, err := set.usable(code)
	if err != nil {
		return nil, err
	}
	return set.raw(stored), nil
}

// Format names the signals and nothing of what they said.
func (s *Signals) Format(f fmt.State, _ rune) {
	_, _ = io.WriteString(f, "smartcar.Signals[")
	for i, stored := range s.content().signals {
		if i > 0 {
			_, _ = io.WriteString(f, " ")
		}
		_, _ = io.WriteString(f, printable(string(stored.meta.Code), 64))
	}
	_, _ = io.WriteString(f, "]")
}

// MarshalJSON gives every signal by its code: the body as Smartcar sent it, when the
// car recorded it, and the text of its error. Where the car is stands in it if that
// is among the signals.
func (s *Signals) MarshalJSON() ([]byte, error) {
	type signal struct {
		Body         json.RawMessage `json:"body,omitempty"`
		OEMUpdatedAt time.Time       `json:"oemUpdatedAt,omitzero"`
		Error        string          `json:"error,omitempty"`
	}
	out := make(map[signals.Code]signal, s.Len())
	for code, raw := range s.All() {
		one := signal{Body: raw.Body(), OEMUpdatedAt: raw.OEMUpdatedAt}
		if raw.Err != nil {
			one.Error = raw.Err.Error()
		}
		out[code] = one
	}
	return json.Marshal(out)
}

// A RawSignal is a signal as Smartcar sent it. It prints without its body.
type RawSignal struct {
	SignalMeta
	Name  string // "StateOfCharge"
	Group string // "TractionBattery"
	// Err is why the signal cannot be used, or nil.
	Err error

	body func() []byte // a function, so that no verb of fmt prints it
}

// Body returns a copy of the JSON of the signal's body. It is nil if there is
// none, and if the signal failed, unless it is read from [Signals.LastKnown].
func (r *RawSignal) Body() json.RawMessage {
	if r == nil || r.body == nil {
		return nil
	}
	return bytes.Clone(r.body())
}

// Format names the signal and its status, and nothing of what it said.
func (r *RawSignal) Format(f fmt.State, _ rune) {
	if r == nil {
		_, _ = io.WriteString(f, "smartcar.RawSignal(nil)")
		return
	}
	_, _ = io.WriteString(f, "smartcar.RawSignal("+printable(string(r.Code)+" "+r.Status, 100)+")")
}

// signalSet is what one answer or one event holds, sorted by code. Several may share the
// signals, which do not change.
type signalSet struct {
	signals    []storedSignal
	incomplete bool
	lastKnown  bool   // signals that failed are read, too: see [Signals.LastKnown]
	onlyUsable bool   // signals that failed count as absent
	absent     string // why a signal may be missing
	requestID  string // of the answer
}

// storedSignal is a signal with its body still to be read.
type storedSignal struct {
	meta        SignalMeta
	name, group string
	body        lenient.Value
	status      lenient.Value // as it was sent, if it was not SUCCESS
	err         *Error        // status was not SUCCESS; copied before it is handed out
}

func (set *signalSet) find(code signals.Code) (storedSignal, bool) {
	from, to := 0, len(set.signals)
	for from < to {
		middle := (from + to) / 2
		switch found := &set.signals[middle]; {
		case found.meta.Code == code:
			s := *found
			s.meta.Code = code // that of s is a part of a large text
			return s, true
		case found.meta.Code < code:
			from = middle + 1
		default:
			to = middle
		}
	}
	return storedSignal{}, false
}

// covers reports whether all of codes are in the set, failed ones included.
func (set *signalSet) covers(codes []signals.Code) bool {
	for _, code := range codes {
		if _, ok := set.find(code); !ok {
			return false
		}
	}
	return len(codes) > 0
}

// usable returns a signal whose body may be read.
func (set *signalSet) usable(code signals.Code) (storedSignal, error) {
	stored, ok := set.find(code)
	if !ok || set.onlyUsable && stored.err != nil {
		return storedSignal{}, set.notFound(code)
	}
	stored, err := set.judge(stored)
	if err != nil {
		return storedSignal{}, err
	}
	return stored, nil
}

// judge returns the error of a failed signal. With lastKnown, it returns the signal
// marked as stale, if Smartcar sent the last known value.
func (set *signalSet) judge(stored storedSignal) (storedSignal, error) {
	if stored.err == nil {
		return stored, nil
	}
	if set.lastKnown && saysSomething(stored.body) {
		stored.meta.Stale = true
		return stored, nil
	}
	e := *stored.err
	e.RequestID = cmp.Or(e.RequestID, set.requestID)
	return stored, &e
}

// raw leaves out the body of a failed signal, unless the set is a LastKnown.
func (set *signalSet) raw(stored storedSignal) *RawSignal {
	stored, err := set.judge(stored)
	r := &RawSignal{SignalMeta: stored.meta, Name: stored.name, Group: stored.group}
	if err != nil {
		r.Err = err
		return r
	}
	r.body = func() []byte { return stored.body }
	return r
}

func (set *signalSet) notFound(code signals.Code) *Error {
	e := &Error{
		Operation: signalOperation(code), StatusCode: http.StatusNotFound, Type: typeNotFound, Code: "SIGNAL_NOT_FOUND",
		RequestID: set.requestID, Description: set.absent, partial: set.incomplete || set.absent != absentFromList,
	}
	if set.incomplete {
		e.Description = "not among the signals that were sent, which are not all there are: ask for this one alone"
	}
	return e
}

// saysSomething reports whether a body has any value beside its unit.
func saysSomething(body lenient.Value) bool {
	var fields map[string]json.RawMessage
	if !body.IsObject() || json.Unmarshal(body, &fields) != nil {
		return false
	}
	for name, value := range fields {
		if name != "unit" && !isNull(value) {
			return true
		}
	}
	return false
}

// signalOperation names a signal in errors. The code comes from a server, so it is
// made printable.
func signalOperation(code signals.Code) Operation { return Operation(printable(string(code), 64)) }

// What the accessors of [Signals] return. As in readings, a nil pointer means
// that the car did not say, percentages run from 0 to 100, texts that are
// enumerations at Smartcar stay open, and pointers keep where a car is out of
// %v, %+v and %#v. Numbers are in the Unit beside them, which is the documented
// one of the signal where Smartcar sent none.

// NumberSignal is a number.
type NumberSignal struct {
	SignalMeta
	Value *float64
	Unit  Unit // empty for a count
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
	// Unit is often not sent: then it is kPa. It is that of the numbers, which is
	// not always the one that was sent: makes label kPa as bar, and the reverse, or
	// with no unit of pressure. A pressure that no tire can have, in neither, is nil.
	// [Signals.Raw] has what was sent.
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
