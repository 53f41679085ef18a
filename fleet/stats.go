package fleet

import (
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/seed-498a1bc4/smartcar"
)

// counts are of all visits of this process.
type counts struct {
	visits, requests, delivered, failed atomic.Int64
}

func (c *counts) add(visit smartcar.Visit, err error) {
	c.visits.Add(1)
	if visit.Asked {
		c.requests.Add(1)
	}
	if visit.Snapshot != nil {
		c.delivered.Add(1)
	}
	if err != nil {
		c.failed.Add(1)
	}
}

// Stats say how a fleet is doing. All but the first four are of [Fleet.Run].
type Stats struct {
	Visits    int64 // since New, in this process
	Requests  int64 // of them, those that asked Smartcar for a car's data
	Delivered int64 // of them, those that handed something over
	Failed    int64 // of them, those that met an error

	Cars    int // that Run knows
	Running int // visits under way
	Retired int // cars that cannot be reached until their owners connect again
	// Waiting are the cars by the rule that keeps them waiting. RuleNone are those that
	// were not visited yet, and those that an error keeps waiting.
	Waiting map[smartcar.Rule]int
	// Late is for how long the car is due that has waited longest; zero if none is.
	Late time.Duration
	// Wanted is how many visits a second the cars' pace asks for. If Late grows, Wanted is
	// more than Rate and Concurrency allow, or than the limit of the application.
	Wanted float64
	// Pace is the least time between two reads of a car that the limit of the application
	// leaves, see smartcar.WithBudget, the looks at the keys of cars included: on API v2.0
	// these are requests. It is zero if the cars want no more than the limit allows.
	Pace time.Duration
	// HeldUntil is when the limit of the whole application ends; zero if there is none.
	HeldUntil time.Time
}

// Stats returns the present state.
func (f *Fleet) Stats() Stats {
	if f.ready() != nil {
		return Stats{}
	}
	s := f.engine.stats()
	s.Visits, s.Requests = f.counts.visits.Load(), f.counts.requests.Load()
	s.Delivered, s.Failed = f.counts.delivered.Load(), f.counts.failed.Load()
	return s
}

// String is one line for people. The text may change.
func (s Stats) String() string {
	var b strings.Builder
	if s.Cars > 0 {
		fmt.Fprintf(&b, "%d cars (%d running, %d out), ", s.Cars, s.Running, s.Retired)
	}
	fmt.Fprintf(&b, "%d visits, %d requests, %d delivered, %d failed", s.Visits, s.Requests, s.Delivered, s.Failed)
	if s.Late > time.Second {
		fmt.Fprintf(&b, ", %v late", s.Late.Round(time.Second))
	}
	for _, rule := range slices.Sorted(maps.Keys(s.Waiting)) {
		if rule != smartcar.RuleNone {
			fmt.Fprintf(&b, ", %d wait: %s", s.Waiting[rule], string(rule))
		}
	}
	if s.Pace > 0 {
		fmt.Fprintf(&b, ", the limit of the application leaves each car a read in %v", s.Pace.Round(time.Minute))
	}
	if !s.HeldUntil.IsZero() {
		fmt.Fprintf(&b, ", held until %s", s.HeldUntil.Format(time.TimeOnly))
	}
	return b.String()
}

// LogValue is the same as attributes.
func (s Stats) LogValue() slog.Value {
	attrs := []slog.Attr{
		slog.Int64("visits", s.Visits), slog.Int64("requests", s.Requests), slog.Int64("delivered", s.Delivered), slog.Int64("failed", s.Failed),
		slog.Int("cars", s.Cars), slog.Int("running", s.Running), slog.Int("retired", s.Retired),
		slog.Duration("late", s.Late), slog.Float64("wanted_per_second", s.Wanted),
	}
	if s.Pace > 0 {
		attrs = append(attrs, slog.Duration("pace", s.Pace))
	}
	if !s.HeldUntil.IsZero() {
		attrs = append(attrs, slog.Time("held_until", s.HeldUntil))
	}
	return slog.GroupValue(attrs...)
}
