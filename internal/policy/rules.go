package policy

import "time"

// Rules are the durations that differ between programs.
type Rules struct {
	// KeylessWindow is how far apart data requests to a streaming-capable Tesla
	// without the virtual key must be.
	KeylessWindow time.Duration
	// LegacyRefresh is how often the data of a 2020-or-earlier Model S or X is
	// refreshed while the car is awake.
	LegacyRefresh time.Duration
	// MaxLease is the longest lease that any replica takes of a turn. A stored
	// lease that ends later was written by a clock that has since been set back.
	MaxLease time.Duration
}

// future reports whether a time cannot have been written by the clock that shows
// now. One that was written a moment ago may lie ahead by the grain of the record.
func (r Rules) future(t, now time.Time) bool { return t.After(now.Add(r.MaxLease + recordGrain)) }

const (
	// BareLimitPause answers a vehicle's 429 that names no time.
	BareLimitPause = time.Minute
	// SlowestKeyCheck is the longest pause between two reads of the key status
	// while the key is missing.
	SlowestKeyCheck = 2 * time.Hour

	// keyEvidenceTTL is how long a missing key is believed when a command asks.
	// After that the status is read again: owners press the button right after
	// they have added the key.
	keyEvidenceTTL = time.Minute
	// firstKeyCheck is the pause after the first read of the key status. It
	// doubles up to SlowestKeyCheck, so that a car polled for a month stays below
	// the 500 calls of the smallest plan.
	firstKeyCheck = time.Minute
	// unavailableCheck is how often something that this connection cannot tell is
	// asked for all the same: the owner may have granted a permission.
	unavailableCheck = 24 * time.Hour
	// classCheck is the pause after make and model could not be read.
	classCheck = 5 * time.Minute
)

// A Rule names what a time follows from.
type Rule uint8

// The rules that this package knows.
const (
	RuleNone    Rule = iota
	RuleKeyless      // one data request per window without the key
	RuleLegacy       // nothing new before the next refresh
	RuleServer       // Smartcar's own limit of this vehicle
)

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}
