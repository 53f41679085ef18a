package smartcartest

import (
	"net/http"
	"slices"
	"strings"
	"time"
)

// Kind says what a request does to a car.
type Kind string

const (
	// Metadata is answered by the vendor itself and never limited by a car.
	Metadata Kind = "metadata"
	// Data reads the car. A batch or a signals request is one data request.
	Data Kind = "data"
	// Command changes the car.
	Command Kind = "command"
)

// Entry is one request for a car that reached the vehicle API. Requests that
// were dropped before processing never did.
type Entry struct {
	// Time is when it was processed, in simulated time.
	Time   time.Time `json:"time"`
	Kind   Kind      `json:"kind"`
	Method string    `json:"method"`
	// Path is below the base path, e.g. /v2.0/vehicles/{id}/battery.
	Path string `json:"path"`
	// Items are the paths of a batch, e.g. /battery.
	Items []string `json:"items,omitempty"`
	// Status is the HTTP status that was sent; with Dropped the one that would
	// have been.
	Status  int  `json:"status"`
	Dropped bool `json:"dropped,omitempty"`
	// AtGate is true for a data request that passed authentication, permission,
	// capability and validation, whatever came back then. BrokenWindows looks
	// at these.
	AtGate bool `json:"atGate"`
	// Counted is true when the request spent a turn: of a keyless car the
	// first of its window, of any other car every request at the gate.
	Counted bool `json:"counted"`
	// Live is true when the request got data fetched later than all data given
	// out for the car before.
	Live bool `json:"live"`
	// Keyless is true when the car then was a streaming Tesla without the key.
	Keyless bool `json:"keyless"`
	// Executed is true for a command that the car carried out, even when its
	// answer was lost or replaced.
	Executed bool `json:"executed,omitempty"`
	// RecordedAt is when the car recorded the data of the answer; zero without
	// data.
	RecordedAt time.Time `json:"recordedAt,omitzero"`

	epoch int // the car's key epoch: no window reaches into another
}

// Broken is a data request of a keyless car that came inside the window which
// an earlier one had opened. The earlier request comes first.
type Broken struct {
	First  Entry `json:"first"`
	Second Entry `json:"second"`
}

// Ledger returns a copy of what reached the vehicle API for a car, in order of
// processing; nil for an unknown car. The newest 100,000 entries are kept.
func (s *Server) Ledger(vehicleID string) []Entry {
	s.lock()
	defer s.mu.Unlock()
	v := s.vehicles[vehicleID]
	if v == nil {
		return nil
	}
	out := slices.Clone(v.ledger)
	for i := range out {
		out[i].Items = slices.Clone(out[i].Items)
	}
	return out
}

// BrokenWindows returns every wasted data request of a keyless car, each with
// the request that had opened the window. A request is wasted when it arrives
// at the car's gate before the window of an earlier one has passed, and the
// car had no key all that time. The answers do not matter, nor whether they
// arrived.
func (s *Server) BrokenWindows(vehicleID string) []Broken {
	var out []Broken
	var opened *Entry
	ledger := s.Ledger(vehicleID)
	for i := range ledger {
		e := &ledger[i]
		if !e.AtGate || !e.Keyless {
			continue
		}
		if opened != nil && opened.epoch == e.epoch && e.Time.Sub(opened.Time) < s.cfg.rules.keylessWindow {
			out = append(out, Broken{First: *opened, Second: *e})
		}
		if e.Counted {
			opened = e
		}
	}
	return out
}

// write appends to the ledger. An entry that reads the same as the one before shares its
// texts: a car that is read again and again for weeks has many. The caller holds the lock.
func (v *vehicle) write(e Entry) {
	if n := len(v.ledger); n > 0 {
		before := &v.ledger[n-1]
		if e.Path == before.Path {
			e.Path = before.Path
		}
		if slices.Equal(e.Items, before.Items) {
			e.Items = before.Items
		}
	}
	v.ledger = appendCapped(v.ledger, e)
}

// identify finds the car and the v2 operation that the path names; either may
// be nil. When the car exists, it opens the entry that process writes to the
// car's ledger. The caller holds the lock.
func (s *Server) identify(c *call) (*vehicle, *operation) {
	if len(c.path) < 3 || c.path[1] != "vehicles" || (c.path[0] != "v2.0" && c.path[0] != "v3") {
		return nil, nil
	}
	v := s.vehicles[c.path[2]]
	var op *operation
	kind := Data
	if c.request.Method != http.MethodGet {
		kind = Command
	}
	if c.v3 {
		if len(c.path) == 3 {
			kind = Metadata
		}
	} else if op = s.operation(c.request.Method, c.path[3:]); op != nil {
		kind = op.kind
	}
	if v != nil {
		c.car = v
		c.entry = &Entry{Time: c.now, Kind: kind, Method: c.request.Method, Path: "/" + strings.Join(c.path, "/")}
	}
	return v, op
}
