package smartcar

import (
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"sync/atomic"
)

// A Snapshot is the answer to many reads in one request: for each operation a
// result or an error of its own. Its methods are those of [Vehicle]. It is
// safe for concurrent use.
type Snapshot struct {
	wire  wire
	parts func() []part    // a function, so that no verb of fmt prints them
	taken func(i int) bool // reports whether the result of a part was handed out before
}

// newSnapshot takes parts whose results nobody else has.
func newSnapshot(w wire, parts []part) *Snapshot {
	taken := make([]atomic.Bool, len(parts))
	return &Snapshot{
		wire: w, parts: func() []part { return parts },
		taken: func(i int) bool { return taken[i].Swap(true) },
	}
}

// Operations yields what was asked for, with the error each met, if any.
func (s *Snapshot) Operations() iter.Seq2[Operation, error] {
	return func(yield func(Operation, error) bool) {
		for _, p := range s.all() {
			if !yield(p.op.name, p.callerErr) {
				return
			}
		}
	}
}

// Format names the operations and nothing of what they said.
func (s *Snapshot) Format(f fmt.State, _ rune) {
	_, _ = io.WriteString(f, "smartcar.Snapshot[")
	for i, p := range s.all() {
		if i > 0 {
			_, _ = io.WriteString(f, " ")
		}
		_, _ = io.WriteString(f, string(p.op.name))
	}
	_, _ = io.WriteString(f, "]")
}

// LogValue keeps what was read out of structured logs.
func (s *Snapshot) LogValue() slog.Value { return slog.StringValue(fmt.Sprint(s)) }

// MarshalJSON gives what was read, under the names of the operations: results as the
// fields of their types, all signals as Smartcar sent them, and the texts of the errors.
// Where the car is stands in it if that was read.
func (s *Snapshot) MarshalJSON() ([]byte, error) {
	out := struct {
		Results map[Operation]any    `json:"results"`
		Errors  map[Operation]string `json:"errors,omitempty"`
	}{Results: map[Operation]any{}, Errors: map[Operation]string{}}
	for op, err := range s.Operations() {
		var p part
		if err == nil {
			p, err = s.reading(op)
		}
		if err != nil {
			out.Errors[op] = err.Error()
			continue
		}
		switch value := p.value.(type) {
		case *permissionsV2:
			out.Results[op] = value.list()
		case *Signals:
			out.Results[op] = p.json()
		default:
			out.Results[op] = value
		}
	}
	return json.Marshal(out)
}

func (s *Snapshot) all() []part {
	if s == nil || s.parts == nil {
		return nil
	}
	return s.parts()
}

// reading returns the part of one operation, decoded.
func (s *Snapshot) reading(op Operation) (part, error) {
	parts := s.all()
	for i := range parts {
		if parts[i].op.name == op {
			p := parts[i]
			if s.taken(i) {
				p.value = nil // each caller may change what it gets
			}
			return decoded(s.wire, p)
		}
	}
	return part{}, fmt.Errorf("%w: %s", ErrNotRequested, op)
}

// Permissions returns the first page of what [Vehicle.Permissions] would.
func (s *Snapshot) Permissions() ([]string, error) {
	page, err := readingAs[permissionsV2](s.reading(Permissions))
	if err != nil {
		return nil, err
	}
	return page.list(), nil
}

// ServiceHistory returns what [Vehicle.ServiceHistory] would, for the last year.
func (s *Snapshot) ServiceHistory() (*ServiceHistoryReading, error) {
	return readingAs[ServiceHistoryReading](s.reading(ServiceHistory))
}

// Signals returns what [Vehicle.Signals] would.
func (s *Snapshot) Signals() (*Signals, error) { return readingAs[Signals](s.reading(AllSignals)) }

// notARead says why an operation cannot be part of a snapshot. It repeats the name of
// a known operation only: any other text could be a secret.
func notARead(op Operation) string {
	if len(lookup(op)) == 0 {
		return "takes reads such as smartcar.Battery, and one of the operations is unknown"
	}
	return "takes reads such as smartcar.Battery; " + string(op) + " is a command and has a method of its own"
}
