package policy

import "time"

// A Verdict answers the events that ask for something.
type Verdict uint8

// The verdicts.
const (
	VerdictNone    Verdict = iota // nothing was asked
	VerdictSend                   // the request may go, and takes no turn
	VerdictTake                   // the attempt has the turn once the new state is stored
	VerdictRefuse                 // not before Next
	VerdictKey                    // not before the owner has added the key
	VerdictRecheck                // the evidence is old: read the key status, then ask again
	VerdictLost                   // another attempt owns the turn now
)

// A Decision is what Step and the questions of a State answer.
type Decision struct {
	Verdict  Verdict
	Next     time.Time // when a request is allowed; zero means now
	Rule     Rule      // what Next follows from
	InFlight bool      // a request holds the turn; it may be given back before Next
}

// Step is the whole policy. Every change of a State is made here, to the copy of s that is
// returned.
func Step(s *State, e Event, now time.Time, rules Rules) (next State, d Decision) {
	next = *s
	next.bridgeFuture(now, rules)
	if next.class.held && next.NextData(now, rules).Next.IsZero() {
		next.class.held = false
	}
	wasKeyless, wasOpen := next.Keyless(), next.Open()
	d = next.change(&e, now, rules)
	if !wasKeyless && next.Keyless() {
		unseen := time.Duration(0)
		if wasOpen {
			unseen = rules.Unseen()
		}
		next.turn = next.turn.counted(now, unseen, rules)
	}
	return next, d
}

// change is Step without what is common to all events. It changes s itself.
func (s *State) change(e *Event, now time.Time, rules Rules) Decision {
	switch e.kind {
	case askData:
		return s.decideData(e.attempt, now, rules)
	case askCommand:
		return s.decideCommand(e.canLook, now)
	case leave, reserveAgain:
		return s.changePhase(e.attempt, now)
	case settle:
		s.charge(e.attempt, &e.result, now, rules)
	case limited:
		s.applyLimit(e.result.RetryAfter, now, rules)
	case learnClass:
		s.classify(s.class.infer(e.class, e.byVIN, now))
	case classNotTold:
		s.classify(s.class.notTold(e.byData, now))
	case classCheckFailed:
		s.classify(s.class.failed(now))
	case learnKey:
		s.applyKey(e, now, rules)
	case keyCheckFailed:
		s.key = s.key.failed(now)
	case accessChanged:
		s.applyAccess(now, rules)
	case learnData:
		s.applyData(e, now, rules)
	case subscribed:
		if s.data.nothing {
			s.data.quiet = quiet{}
		}
	case paused:
		s.pausedTo = e.asOf
	case reset:
		held := s.class.held || s.Keyless() && s.class.is != ClassUnresolved
		s.class, s.key, s.data = classKnown{held: held}, keyKnown{}, dataKnown{}
	}
	return Decision{}
}

// bridgeFuture deals with times that lie in the future: a clock that has since been set
// back has written them. No car may be refused for longer than the rule and one lease.
// A time written a moment ago may lie ahead by the grain of the record. The times of
// the turn and of the limit stay: see clock.go. The others set a pace only, and are
// replaced. When the key was learned stays, too: see keyKnown.newerThan.
func (s *State) bridgeFuture(now time.Time, rules Rules) {
	moment := rules.MaxLease + recordGrain
	horizon := now.Add(moment)
	if t := s.turn; t.behind != 0 || t.usedAt.After(horizon) || t.leaseEnd.After(horizon) {
		s.turn = s.turn.bridge(now, rules)
	}
	if s.limit.behind != 0 || s.limit.at.After(horizon) {
		s.limit = s.limit.bridge(now, rules)
	}
	pause := rules.asleepPause(maxQuiet)
	for _, pace := range [...]struct {
		at      *time.Time
		most    time.Duration // how far in the future it may lie
		instead time.Duration // how far it lies then
	}{
		{&s.said.at, moment, 0}, {&s.said.bareAt, moment, 0}, {&s.said.trialAt, trialEvery, trialEvery},
		{&s.data.fetchedAt, moment, 0}, {&s.data.movedAt, moment, 0}, {&s.data.stillAt, moment, 0},
		{&s.data.quiet.to, pause, pause}, {&s.data.streaming.at, weeklyLook, 0},
	} {
		if pace.at.After(now) && pace.at.Sub(now) > pace.most {
			*pace.at = now.Add(pace.instead)
		}
	}
}

func (s *State) decideData(a attempt, now time.Time, rules Rules) Decision {
	if d := s.NextData(now, rules); !d.Next.IsZero() {
		d.Verdict = VerdictRefuse
		return d
	}
	if !s.Keyless() {
		return Decision{Verdict: VerdictSend}
	}
	s.turn = s.turn.assign(a, now)
	return Decision{Verdict: VerdictTake}
}

// mustBookRead reports whether a read that took no turn must be stored. If the car
// proves later to have been keyless at the time, the server may have counted the read,
// and its window has to be known. At most one read in readGrain is stored, so that a car
// which is read every second costs hardly any writes.
func (s *State) mustBookRead(o Outcome, now time.Time) bool {
	mayTurnOut := s.untold() || s.key.is == KeyInstalled && s.class.is <= ClassStreaming
	return o.mayCount() && mayTurnOut && now.Add(s.turn.behind).Sub(s.turn.usedAt).Abs() >= readGrain
}

// changePhase puts the turn into another phase and renews its lease.
func (s *State) changePhase(a attempt, now time.Time) Decision {
	if !s.turn.heldBy(a.nonce) {
		return Decision{Verdict: VerdictLost}
	}
	s.turn = s.turn.assign(a, now)
	return Decision{Verdict: VerdictTake}
}

// decideCommand refuses a command only on fresh evidence that the key is missing.
// Otherwise the server decides.
func (s *State) decideCommand(canLook bool, now time.Time) Decision {
	fresh := keyFreshWithData
	if canLook {
		fresh = leastLook
	}
	switch {
	case !s.NeedsKey():
		return Decision{Verdict: VerdictSend}
	case now.Sub(s.key.at).Abs() < fresh:
		return Decision{Verdict: VerdictKey}
	case canLook && now.Sub(s.key.lookedAt).Abs() >= leastLook:
		return Decision{Verdict: VerdictRecheck}
	default:
		return Decision{Verdict: VerdictSend}
	}
}

// charge books what a data request cost. If another attempt has taken the turn over
// meanwhile, charge only adds what the server may have counted: it does not give
// back the turn of the other.
func (s *State) charge(a attempt, r *Result, now time.Time, rules Rules) {
	owner := s.turn.heldBy(a.nonce)
	present := s.turn.written(now)
	end := present.Add(a.lease)
	if owner {
		end = s.turn.leaseEnd
		s.endTrial(r, now, rules)
		s.turn, s.gave = s.turn.idle(), r.Outcome
	}
	counts := owner || s.Keyless() || s.mustBookRead(r.Outcome, now)
	if r.Outcome.mayCount() && !s.showsWindow(r, now, rules) {
		s.said = s.said.unsureUntil(now.Add(rules.MaxLease + rules.KeylessWindow))
	}
	switch r.Outcome {
	case OutcomeOK, OutcomeAnswered:
		if counts {
			s.turn = s.turn.use(a, present)
		}
	case OutcomeUnclear:
		if counts {
			s.turn = s.turn.use(a, later(present, end))
		}
	case OutcomeLimited:
		s.applyLimit(r.RetryAfter, now, rules)
	case OutcomeAsleep:
		s.data.wake, s.data.quiet = WakeAsleep, s.data.quiet.again(now, rules)
	}
	if r.Outcome == OutcomeOK {
		s.data = s.data.asked(r.Data, s.class.is, now, rules)
		s.said = s.said.moved(r.Data.RecordedAt)
		if s.untold() && r.Data.isOld(now, rules) {
			s.data.quiet = standsStill(now, rules)
		}
	}
	if r.Data.Stored == StoredNothing {
		s.data.quiet = s.data.quiet.again(now, rules)
	}
	s.data = s.data.listed(r.Data)
}

// showsWindow reports whether an answer shows that the server has counted the request,
// so that a window has begun: it has just fetched data newer than what is known. Any
// other request counts only to be safe, and the server's window may end earlier.
func (s *State) showsWindow(r *Result, now time.Time, rules Rules) bool {
	return r.Outcome == OutcomeOK && r.Data.RecordedAt.After(s.data.recordedAt) && !r.Data.isOld(now, rules)
}

// endTrial judges a request that was made inside a window: data that was recorded
// after the window began shows that the rule does not hold.
func (s *State) endTrial(r *Result, now time.Time, rules Rules) {
	used := shifted(s.turn.usedAt, -s.turn.behind)
	inside := now.Sub(used) < rules.KeylessWindow
	if !s.onTrial() || !inside || r.Outcome == OutcomeNone || r.Outcome == OutcomeReleased || r.Outcome == OutcomeAsleep {
		return
	}
	s.said.trialAt = now.Add(trialEvery)
	if r.Outcome == OutcomeOK && r.Data.RecordedAt.After(later(used, s.data.recordedAt)) {
		s.said = said{}
		if s.key.is == KeyMissing {
			s.key = s.key.learn(KeyUnavailable, FromNowhere, s.key.at, now)
		}
	}
}

// applyLimit takes the server's word that this vehicle has to wait. If the server
// names no time, the vehicle waits for a minute, a keyless one for a window; one
// whose key status cannot be read waits long enough for a second limit to show
// whether the rule holds. A car that is limited may have lost its key, so its status is
// read next, and outranks a command of before.
func (s *State) applyLimit(retryAfter time.Duration, now time.Time, rules Rules) {
	if s.class.is != ClassLegacy && s.class.is != ClassOther {
		s.said = s.said.limited(retryAfter, now, rules)
	}
	pause := retryAfter
	if pause <= 0 {
		pause = BareLimitPause
		switch {
		case s.Keyless():
			pause = rules.KeylessWindow
		case s.untold():
			pause += rules.bareApart()
		}
	}
	at := s.limit.written(now)
	s.limit.to, s.limit.at, s.limit.bare = later(s.limit.to, at.Add(pause)), at, retryAfter <= 0
	if !s.TakesNoKey() && s.key.is == KeyInstalled {
		s.key.checkAt, s.key.doubted = now, true
	}
}

// classify takes a class. If the class has no window, a wait that was booked only
// because the class was not known is void: NextData ignores the turn by itself, and the
// limit is shortened here.
func (s *State) classify(c classKnown) {
	waits := s.class.is == ClassUnresolved || s.class.held
	if waits && (c.is == ClassLegacy || c.is == ClassOther || c.is == ClassUnknown && !s.said.holds() && !c.held) {
		s.limit = s.limit.shortened()
	}
	s.class = c
}

// applyKey takes evidence about the key, unless it is older than what is known.
//
//   - If this connection cannot read the status, what other connections showed stays.
//   - If the server asked for the key, the car needs one, whatever was inferred.
//   - If the key is there now, a limit from before it was there is void.
func (s *State) applyKey(e *Event, now time.Time, rules Rules) {
	switch {
	case s.key.newerThan(e, now, s.doubt.key, rules):
		return
	case e.key == KeyUnavailable && s.key.is > KeyUnavailable:
		s.key = s.key.cannotBeRead(now)
		return
	case e.key == KeyMissing && e.source == FromEndpoint && s.key.outranks(e.asOf):
		s.key = s.key.overrule(now)
		return
	case e.demands:
		s.class = s.class.prove(ClassStreaming)
		s.said = s.said.show(now)
	}
	if e.key == KeyInstalled {
		needsKey := s.class.is == ClassStreaming || s.class.is == ClassUnresolved || s.said.holds()
		less := e.byWebhook(possible(s.doubt.limit, s.limit.at, s.limit.written(now)))
		if s.key.is != KeyInstalled && needsKey && s.limit.written(e.asOf).After(shifted(s.limit.at, less)) {
			s.limit.to = time.Time{}
		}
		if !e.asOf.Before(shifted(s.said.at, e.byWebhook(s.doubt.said))) {
			s.said = said{}
		}
	}
	s.key = s.key.learn(e.key, e.source, e.asOf, now)
}

// applyAccess books that the owner connected again, and may have added the key on the
// way. What the server's limits have shown counts until the running window ends.
func (s *State) applyAccess(now time.Time, rules Rules) {
	s.class = s.class.askAgain()
	if s.key.is != KeyInstalled {
		s.key.checkAt = time.Time{}
	}
	if s.Keyless() && s.onTrial() {
		s.limit.at = s.limit.written(now)
		s.limit.to = later(s.limit.to, s.limit.written(shifted(s.turn.next(rules.KeylessWindow), s.doubt.turn)))
		if s.key.is == KeyMissing {
			s.key = s.key.forget()
		}
		s.said = said{}
	}
}

// applyData takes data that a webhook sent. Even old data shows that Smartcar has
// stored some.
func (s *State) applyData(e *Event, now time.Time, rules Rules) {
	if e.result.Data.Stored == StoredSome && s.data.nothing {
		s.data.nothing, s.data.quiet = false, quiet{}
	}
	s.data = s.data.pushed(e.result.Data, e.asOf, s.class.is, now, rules)
}
