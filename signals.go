package smartcar

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"time"

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
	s.content().requestID = m.RequestID
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
