package smartcar

import "time"

// This file is the policy as a pure state machine: (state, event, now) gives
// (state, decision). It does no I/O and reads no clock; gate.go applies it and
// testdata/policy.golden shows every pair of state and event.

// Rules are the two windows of Smartcar's Tesla page. The defaults are the
// truth; tests may scale them down, and everything derived scales along.
//
// https://smartcar.com/docs/help/oem-integrations/tesla/virtual-key-tesla
type Rules struct {
	// KeylessWindow is how far apart data requests to a streaming-capable
	// Tesla without the virtual key must be. Default 8 hours.
	KeylessWindow time.Duration
	// LegacyRefresh is how often the data of a 2020-or-earlier Model S or X is
	// refreshed while the car is awake. Default 5 minutes.
	LegacyRefresh time.Duration
}

// DefaultRules returns the rules as Smartcar documents them.
func DefaultRules() Rules {
	return Rules{KeylessWindow: 8 * time.Hour, LegacyRefresh: 5 * time.Minute}
}

const (
	// keyEvidenceTTL is how long a missing key is believed before a command
	// makes us look again: owners press the button right after pairing.
	keyEvidenceTTL = time.Minute
	// Status reads back off from a minute to two hours, so that a car polled
	// for a month stays below the 500 calls of the smallest plan.
	firstKeyCheck = time.Minute
	lastKeyCheck  = 2 * time.Hour
	// neverHadCheck is how often what could not be had is tried again after
	// all: the owner may have granted a permission.
	neverHadCheck = 24 * time.Hour
	// classCheck is when make and model are read again that could not be read.
	classCheck = 5 * time.Minute
	// bareLimitPause answers a vehicle's 429 that names no time.
	bareLimitPause = time.Minute
)

// carClass is what is stored of VehicleClass.
type carClass uint8

const (
	classUnresolved carClass = iota // never asked, or asking failed for the moment
	classUnknown                    // asked, and it cannot be told
	classStreaming
	classLegacy
	classOther
)

// keyKnowledge is KeyState with the two reasons for not knowing it.
type keyKnowledge uint8

const (
	keyNotAsked    keyKnowledge = iota // also: asking failed for the moment
	keyUnavailable                     // it can never be had with this connection
	keyMissing
	keyInstalled
)

// turnPhase of the one data request that a governed car may have under way.
type turnPhase uint8

const (
	turnIdle     turnPhase = iota
	turnReserved           // one replica owns the next turn; nothing can be on the wire
	turnSent               // stored before the first byte may leave
)

type wakefulness uint8

const (
	wakeUnknown wakefulness = iota
	wakeAwake
	wakeAsleep
)

// carState is all that is stored about one vehicle. Nothing derived is in it:
// when the next request is allowed follows from it, the rules and the time.
type carState struct {
	class     carClass
	key       keyKnowledge
	keySource keySourceCode
	keyChecks uint8 // status reads in a row that did not show a key
	wake      wakefulness
	streams   bool // a legacy car seen recording faster than its cadence
	proven    bool // class is what the server's answers showed, not an inference
	byVIN     bool // class is what the VIN showed, which make and year cannot outweigh
	nothing   bool // Smartcar has stored no data of the car; API v3
	phase     turnPhase

	nonce      uint64    // the attempt that owns the turn
	leaseEnd   time.Time // when that attempt counts as dead
	usedAt     time.Time // latest instant the server may have counted a data request
	limitedTo  time.Time // the server's own word (Retry-After)
	limitedAt  time.Time // when it was given
	keyAt      time.Time // when the evidence for key was asked for
	keyCheckAt time.Time // next status read
	classAt    time.Time // next read of what tells the class
	recordedAt time.Time // newest data seen, by the vehicle's clock
	fetchedAt  time.Time // when we last asked for data
}

type eventKind uint8

const (
	askData    eventKind = iota // may a data request go?
	askCommand                  // may a command go?
	markSent                    // the reserved request is about to leave
	holdBack                    // it was refused for its token and may leave again
	settle                      // a data request came back, or did not
	learnClass
	learnKey
	keyCheckFailed
	classCheckFailed
	accessChanged // the owner connected again: what could not be known may be now
	learnData     // Smartcar sent data by itself
)

// outcome of a request, as the policy sees it.
type outcome uint8

const (
	outcomeNone     outcome = iota
	outcomeOK               // 2xx; of a batch, the strongest item
	outcomeReleased         // for certain not counted: not sent, or refused before the car
	outcomeAsleep           // 409 ASLEEP: documented as not sent
	outcomeLimited          // 429 VEHICLE
	outcomeAnswered         // an answer that may have been counted: VIRTUAL_KEY_REQUIRED, other 409, 5xx
	outcomeUnclear          // no answer after the write: it may be counted until the lease ends
)

type event struct {
	kind  eventKind
	nonce uint64
	lease time.Duration // askData, markSent: as long as the request may take
	sent  bool          // askData: token at hand, skip the reserved phase

	outcome    outcome       // settle
	retryAfter time.Duration // settle
	recordedAt time.Time     // settle, learnData: newest data in the answer
	seen       bool          // settle: the answer shows the next two; learnData: there is data
	wake       wakefulness   // settle, learnData: as the car itself says
	nothing    bool          // settle: Smartcar has no data of the car

	class     carClass     // learnClass
	byVIN     bool         // learnClass
	key       keyKnowledge // learnKey
	keySource keySourceCode
	proves    bool      // learnKey: Smartcar itself asked for the key
	at        time.Time // learnKey, settle: when the request that proves it began; learnData: when Smartcar had it
}

type verdict uint8

const (
	verdictNone    verdict = iota
	verdictSend            // no turn to take
	verdictTake            // the turn is taken once the new state is stored
	verdictRefuse          // not before next
	verdictKey             // refused until the owner adds the key
	verdictRecheck         // the evidence is old: read the key status, then ask again
	verdictLost            // somebody else owns the turn now
)

type decision struct {
	verdict  verdict
	rule     Rule
	next     time.Time
	inFlight bool
}

// step is the whole policy. maxLease is the longest lease any replica asks for.
func step(s carState, e event, now time.Time, rules Rules, maxLease time.Duration) (carState, decision) {
	s = s.clampFuture(now, maxLease)
	switch e.kind {
	case askData:
		return s.askData(e, now, rules)
	case askCommand:
		return s, s.askCommand(now)
	case markSent:
		return s.hold(e, turnSent, now)
	case holdBack:
		return s.hold(e, turnReserved, now)
	case settle:
		return s.settle(e, now, rules), decision{}
	case learnClass:
		return s.learnClass(e, now), decision{}
	case learnKey:
		return s.learnKey(e, now), decision{}
	case keyCheckFailed:
		return s.backOffKeyCheck(now), decision{}
	case classCheckFailed:
		s.classAt = now.Add(classCheck)
		return s, decision{}
	case learnData:
		return s.learnData(e, now, rules), decision{}
	case accessChanged:
		s.classAt = time.Time{}
		if s.key == keyUnavailable {
			s.keyCheckAt = time.Time{}
		}
		return s, decision{}
	}
	return s, decision{}
}

// clampFuture forgets what a clock that has since jumped back wrote: no car
// may be locked for longer than the rule and one lease.
func (s carState) clampFuture(now time.Time, maxLease time.Duration) carState {
	horizon := now.Add(maxLease + recordGrain) // what was written a moment ago is rounded up
	if s.leaseEnd.After(horizon) {
		s.leaseEnd = now.Add(maxLease)
	}
	if s.usedAt.After(horizon) {
		s.usedAt = now
	}
	if s.limitedAt.After(horizon) {
		s.limitedTo = now.Add(s.limitedTo.Sub(s.limitedAt))
		s.limitedAt = now
	}
	if s.keyAt.After(horizon) {
		s.keyAt = now
	}
	if s.keyCheckAt.After(now.Add(neverHadCheck + maxLease)) {
		s.keyCheckAt = now
	}
	if s.classAt.After(now.Add(neverHadCheck + maxLease)) {
		s.classAt = now
	}
	if s.fetchedAt.After(horizon) {
		s.fetchedAt = now
	}
	return s
}

// keyless reports whether the one-per-window rule holds: the key is missing,
// or might be. What is not known yet counts as missing; what can never be
// known is left to the server.
func (s carState) keyless() bool {
	switch s.class {
	case classStreaming, classUnresolved:
		return s.key == keyMissing || s.key == keyNotAsked
	}
	return false
}

// wantsClass and wantsKey say what must be learned before data is asked for.
func (s carState) wantsClass(now time.Time) bool {
	return s.class <= classUnknown && !now.Before(s.classAt)
}

func (s carState) wantsKey(now time.Time) bool {
	return s.class == classStreaming && (s.key != keyInstalled || !s.keyCheckAt.IsZero()) && !now.Before(s.keyCheckAt)
}

// countedAt is the latest instant at which the server may have counted a data
// request. A sent attempt nobody settled counts at the end of its lease.
func (s carState) countedAt() time.Time {
	if s.phase == turnSent {
		return later(s.usedAt, s.leaseEnd)
	}
	return s.usedAt
}

// nextData derives when a data request may go; a time not after now means now.
func (s carState) nextData(now time.Time, rules Rules) decision {
	d := decision{}
	if s.keyless() {
		if counted := s.countedAt(); !counted.IsZero() {
			d.next, d.rule = counted.Add(rules.KeylessWindow), RuleKeyless
		}
		if s.phase == turnReserved {
			d.next, d.rule = later(d.next, s.leaseEnd), RuleKeyless
		}
		d.inFlight = s.phase != turnIdle && s.leaseEnd.After(now)
	}
	if s.limitedTo.After(d.next) {
		d.next, d.rule, d.inFlight = s.limitedTo, RuleServer, false
	}
	if !d.next.After(now) {
		return decision{}
	}
	return d
}

func (s carState) askData(e event, now time.Time, rules Rules) (carState, decision) {
	if d := s.nextData(now, rules); !d.next.IsZero() {
		d.verdict = verdictRefuse
		return s, d
	}
	if !s.keyless() {
		return s, decision{verdict: verdictSend}
	}
	s.phase, s.nonce, s.leaseEnd = turnReserved, e.nonce, now.Add(e.lease)
	if e.sent {
		s.phase = turnSent
	}
	return s, decision{verdict: verdictTake}
}

// holds reports whether the attempt owns the turn.
func (s carState) holds(nonce uint64) bool { return s.phase != turnIdle && s.nonce == nonce }

// hold puts a turn into the other phase and renews its lease.
func (s carState) hold(e event, phase turnPhase, now time.Time) (carState, decision) {
	if !s.holds(e.nonce) {
		return s, decision{verdict: verdictLost}
	}
	s.phase, s.leaseEnd = phase, now.Add(e.lease)
	return s, decision{verdict: verdictTake}
}

// askCommand refuses only on fresh evidence; everything else is the server's to say.
func (s carState) askCommand(now time.Time) decision {
	switch {
	case s.class != classStreaming || s.key != keyMissing:
		return decision{verdict: verdictSend}
	case now.Sub(s.keyAt) < keyEvidenceTTL:
		return decision{verdict: verdictKey}
	default:
		return decision{verdict: verdictRecheck}
	}
}

// settle books what a data request cost. An attempt that was taken over only
// adds what the server may have counted; it cannot give back another's turn.
func (s carState) settle(e event, now time.Time, rules Rules) carState {
	owner := s.holds(e.nonce)
	end := s.leaseEnd
	if owner {
		s.phase = turnIdle
	} else {
		end = now.Add(e.lease)
	}
	switch e.outcome {
	case outcomeOK, outcomeAnswered:
		if owner || s.keyless() {
			s.usedAt = later(s.usedAt, now)
		}
	case outcomeUnclear:
		if owner || s.keyless() {
			s.usedAt = later(s.usedAt, later(now, end))
		}
	case outcomeLimited:
		s = s.limit(e, now, rules)
	case outcomeAsleep:
		s.wake = wakeAsleep
	}
	if e.outcome == outcomeOK {
		s = s.noteData(e, now, rules)
	}
	if e.seen { // whether what was wanted was in it or not
		s.nothing = e.nothing
	}
	if e.wake != wakeUnknown {
		s.wake = e.wake
	}
	return s
}

func (s carState) limit(e event, now time.Time, rules Rules) carState {
	pause := e.retryAfter
	if pause <= 0 {
		pause = bareLimitPause
		if s.keyless() {
			pause = rules.KeylessWindow
		}
	}
	s.limitedTo, s.limitedAt = later(s.limitedTo, now.Add(pause)), now
	if s.class == classStreaming && s.key == keyInstalled {
		s.keyCheckAt = now // a limited streaming car may have lost its key
	}
	return s
}

// learnClass takes an inference, which the server's own answers outweigh, and
// the VIN make and year. Not to be known for good is tried again once a day.
func (s carState) learnClass(e event, now time.Time) carState {
	switch {
	case s.proven || s.byVIN && !e.byVIN:
		return s
	case e.class == classUnknown:
		s.classAt = now.Add(neverHadCheck)
	}
	s.class, s.byVIN = e.class, e.byVIN
	return s
}

// learnKey takes evidence about the key, never backwards in time. Server
// evidence beats inference: a car that asks for the key is a streaming one.
// That one connection cannot read the status is no evidence about the key.
func (s carState) learnKey(e event, now time.Time) carState {
	switch {
	case e.at.Before(s.keyAt):
		return s
	case e.key == keyUnavailable && s.key > keyUnavailable:
		return s.backOffKeyCheck(now)
	case (e.keySource == fromError || e.proves) && e.key == keyMissing:
		s.class, s.proven = classStreaming, true
	}
	needsKey := s.class == classStreaming || s.class == classUnresolved
	if needsKey && e.key == keyInstalled && s.key != keyInstalled && e.at.After(s.limitedAt) {
		s.limitedTo = time.Time{} // given while the key was missing, it does not outlive pairing
	}
	s.key, s.keySource, s.keyAt = e.key, e.keySource, e.at
	switch e.key {
	case keyInstalled:
		s.keyChecks, s.keyCheckAt = 0, time.Time{}
	case keyUnavailable:
		s.keyCheckAt = now.Add(neverHadCheck)
	default:
		return s.backOffKeyCheck(now)
	}
	return s
}

func (s carState) backOffKeyCheck(now time.Time) carState {
	wait := lastKeyCheck
	if s.keyChecks < 7 {
		wait = min(firstKeyCheck<<s.keyChecks, lastKeyCheck)
		s.keyChecks++
	}
	s.keyCheckAt = now.Add(wait)
	return s
}

// awakeWithin: data younger than two refreshes means that the car is awake.
func awakeWithin(rules Rules) time.Duration { return 2 * rules.LegacyRefresh }

// streamsBelow and streamsAbove: recordings that lie apart by a time between
// them prove a car that streams. The parts of one recording may differ a little.
func streamsBelow(rules Rules) time.Duration { return rules.LegacyRefresh * 4 / 5 }
func streamsAbove(rules Rules) time.Duration { return rules.LegacyRefresh / 10 }

// nextLegacy is when asking a legacy car again brings something new: just
// after the next beat of its own clock while awake, one refresh after the last
// look while asleep. The margin keeps us from asking exactly on a beat, which
// races the poller, and a day's reads below the number of its beats.
func nextLegacy(recordedAt, fetchedAt time.Time, rules Rules) time.Time {
	const marginShare = 20 // 15 s of 5 min
	step := rules.LegacyRefresh + rules.LegacyRefresh/marginShare
	if recordedAt.After(fetchedAt) {
		recordedAt = fetchedAt // a car whose clock is ahead
	}
	if recordedAt.IsZero() || fetchedAt.Sub(recordedAt) >= awakeWithin(rules) {
		return fetchedAt.Add(step)
	}
	beat := recordedAt.Add(step)
	for !beat.After(fetchedAt) {
		beat = beat.Add(rules.LegacyRefresh)
	}
	return beat
}

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
