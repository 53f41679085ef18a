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

// longLimit: a Retry-After of 2 hours (of a window of 8 hours) or more can only
// come from the rule of keyless cars.
func (r Rules) longLimit() time.Duration { return r.KeylessWindow / 4 }

// bareApart: two limits without a time, further apart than 15 minutes (of a window
// of 8 hours) and closer than a window, come from the rule of keyless cars.
func (r Rules) bareApart() time.Duration { return r.KeylessWindow / 32 }

// Unseen is how long a process may go by a record of an open car: a 240th of the window,
// two minutes of 8 hours. A request that left on such a record, and was answered within
// that time, is counted by whoever has seen meanwhile that the key is gone: see
// turn.counted.
func (r Rules) Unseen() time.Duration { return min(maxUnseen, r.KeylessWindow/240) }

const maxUnseen = 2 * time.Minute

// ahead is how far in the future a time of a turn may lie as it is written: the end of a
// lease, or what Unseen was added to.
func (r Rules) ahead() time.Duration { return max(r.MaxLease, r.Unseen()) }

// trialAfter is how long after its last turn a car is asked as a trial: later than
// an hour (of a window of 8 hours), a car that is awake has recorded again.
func (r Rules) trialAfter() time.Duration { return r.KeylessWindow / 8 }

// asleepPause is the pause after so many answers in a row that a car sleeps, or
// that nothing is stored of it: 5, 15 and then 60 minutes.
func (r Rules) asleepPause(times uint8) time.Duration {
	switch times {
	case 0:
		return r.LegacyRefresh
	case 1:
		return 3 * r.LegacyRefresh
	}
	return 12 * r.LegacyRefresh
}

// BareLimitPause answers a vehicle's 429 that names no time.
const BareLimitPause = time.Minute

// The looks at the status of a key, where looking takes no turn.
const (
	// An installed key is looked up once a day while the car is used, and when its
	// data has stood still for one, four and twelve hours: Smartcar repeats old
	// data once the owner has removed the key, and tells nobody.
	installedLook                                  = 24 * time.Hour
	firstStillLook, secondStillLook, lastStillLook = time.Hour, 4 * time.Hour, 12 * time.Hour

	// A missing key is looked for after each of these pauses, one after the other,
	// and then at the slowest. A keyless car that is polled for a month of 31 days
	// costs 93 turns, one read of its attributes and 11 looks.
	firstMissingLook, secondMissingLook, thirdMissingLook = 5 * time.Minute, 15 * time.Minute, time.Hour
	fourthMissingLook, fifthMissingLook                   = 4 * time.Hour, 24 * time.Hour
	slowestMissingLook                                    = 5 * 24 * time.Hour

	// slowestFailedLook bounds the pause after looks that failed: what ended them
	// may have ended.
	slowestFailedLook = 2 * time.Hour

	// keyFreshFor is how old a status may be that a person waits for.
	keyFreshFor = 5 * time.Minute
	// leastLook is how old the status of a missing key may be when a command asks,
	// and keeps its looks apart: owners press the button right after they have added
	// the key.
	leastLook = time.Minute
	// keyFreshWithData is the same where only the car's data tells the status: after
	// that the server decides about a command.
	keyFreshWithData = 15 * time.Minute

	// readGrain is how exactly it is stored when a car was read that needs no turn for
	// it; see State.mustBookRead.
	readGrain = 5 * time.Minute

	// commandOutranks is how long a command that worked counts for more than a
	// status that says that the key is missing.
	commandOutranks = 24 * time.Hour
	// proofEvery is how often a command that worked is noted of a key that is there.
	proofEvery = time.Hour
)

const (
	// unavailableCheck is how often something that this connection cannot tell is
	// asked for all the same: the owner may have granted a permission.
	unavailableCheck = 24 * time.Hour
	// classCheck is the pause after make and model could not be read. After
	// classGivenUp they count as not to be told, and lateClassCheck is the pause.
	classCheck     = 5 * time.Minute
	classGivenUp   = 24 * time.Hour
	lateClassCheck = time.Hour

	// trialEvery is how often a car of which the server has shown that it counts as
	// keyless, and whose status cannot be read, is asked inside its window.
	trialEvery = 7 * 24 * time.Hour

	// A legacy car is asked early for signs of streaming, first after firstEarlyLook,
	// then daily, and weekly after fruitlessLooks that showed none.
	firstEarlyLook = time.Hour
	dailyLook      = 24 * time.Hour
	weeklyLook     = 7 * 24 * time.Hour
	fruitlessLooks = 3
	// That it streams is forgotten after so many answers in a row that are refreshes
	// apart, or after so long without proof.
	refreshesInRow = 3
	streamsFor     = 7 * 24 * time.Hour

	// stillGrain is how exactly it is stored when a car's data moved last.
	stillGrain = 15 * time.Minute
)

// A Rule names what a time follows from.
type Rule uint8

// The rules that this package knows.
const (
	RuleNone    Rule = iota
	RuleKeyless      // one data request per window without the key
	RuleLegacy       // nothing new before the next refresh
	RuleServer       // Smartcar's own limit of this vehicle
	RuleAsleep       // nothing new while the car sleeps
	RuleNothing      // Smartcar has stored none of the car's data
	RulePaused       // the operator wants no reads
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
