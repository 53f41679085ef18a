package smartcar

import (
	"cmp"
	"encoding/json"
	"net/http"

	"github.com/seed-498a1bc4/smartcar/signals"
)

// signalSet is what one answer or one event holds, sorted by code.
type signalSet struct {
	signals    []storedSignal
	incomplete bool
	lastKnown  bool            // signals that failed are read, too: see [Signals.LastKnown]
	absent     string          // why a signal may be missing
	requestID  string          // of the answer
	vehicle    json.RawMessage // the answer's included vehicle, or nil
}

// storedSignal is a signal with its body still to be read.
type storedSignal struct {
	meta        SignalMeta
	name, group string
	body        json.RawMessage
	err         *Error // status was not SUCCESS; copied before it is handed out
}

func (set *signalSet) find(code signals.Code) (storedSignal, bool) {
	for _, s := range set.signals {
		if s.meta.Code == code {
			return s, true
		}
	}
	return storedSignal{}, false
}

// covers reports whether all of codes are in the set, well or failed.
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
	if !ok {
		return storedSignal{}, set.notFound(code)
	}
	stored, err := set.judge(stored)
	if err != nil {
		return storedSignal{}, err
	}
	return stored, nil
}

// judge is where a failed signal is refused, or marked as stale.
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

// raw keeps the body of a failed signal back, unless it was asked for.
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
		Operation: signalOperation(code), StatusCode: http.StatusNotFound, Type: "RESOURCE_NOT_FOUND", Code: "SIGNAL_NOT_FOUND",
		RequestID: set.requestID, Description: set.absent,
	}
	if set.incomplete {
		e.Description = "not among the signals that were sent, which are not all there are: ask for this one alone"
	}
	return e
}

// saysSomething reports whether a body has any value beside its unit.
func saysSomething(body json.RawMessage) bool {
	fields, err := decodeObject[map[string]json.RawMessage](body)
	if err != nil {
		return false
	}
	for name, value := range *fields {
		if name != "unit" && !isNull(value) {
			return true
		}
	}
	return false
}

// signalOperation names a signal in errors, where a code from afar must not
// reach a terminal as it came.
func signalOperation(code signals.Code) Operation { return Operation(printable(string(code), 64)) }
