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

// Step is the whole policy. Every change of a State is made here.
func Step(s State, e Event, now time.Time, rules Rules) (State, Decision) {
	after, d := s.step(e, now, rules)
	if after.Keyless() && !s.Keyless() && e.source != FromSignal { // that one comes with an answer, which is booked
		after = after.close(e.attempt, now, rules)
	}
	after.doubt = doubt{}
	return after, d
}

// close books what may have been sent while the car was open: nobody noted it then,
// and what is under way may be counted until its lease ends.
func (s State) close(a attempt, now time.Time, rules Rules) State {
	s.turn = s.turn.use(a, s.turn.onClock(now).Add(rules.MaxLease))
	return s
}

func (s State) step(e Event, now time.Time, rules Rules) (State, Decision) {
	s.turn, s.limit = s.turn.bridge(now, rules), s.limit.bridge(now, rules)
	switch e.kind {
	case askData:
		return s.decideData(e.attempt, now, rules)
	case askCommand:
		return s, s.decideCommand(now)
	case leave, holdBack:
		return s.hold(e.attempt, now)
	case settle:
		return s.charge(e.attempt, e.result, now, rules), Decision{}
	case limited:
		return s.applyLimit(e.result.RetryAfter, now, rules), Decision{}
	case learnClass:
		s.class = s.class.infer(e.class, e.byVIN, now)
	case classCheckFailed:
		s.class.checkAt = now.Add(classCheck)
	case learnKey:
		return s.applyKey(e, now, rules), Decision{}
	case keyCheckFailed:
		s.key = s.key.backOff(now)
	case accessChanged:
		return s.applyAccess(), Decision{}
	case learnData:
		return s.applyData(e, now, rules), Decision{}
	}
	return s, Decision{}
}

func (s State) decideData(a attempt, now time.Time, rules Rules) (State, Decision) {
	if d := s.NextData(now, rules); !d.Next.IsZero() {
		d.Verdict = VerdictRefuse
		return s, d
	}
	if !s.Keyless() {
		return s, Decision{Verdict: VerdictSend}
	}
	s.turn = s.turn.hold(a, now)
	return s, Decision{Verdict: VerdictTake}
}

// hold puts the turn into another phase and renews its lease.
func (s State) hold(a attempt, now time.Time) (State, Decision) {
	if !s.turn.heldBy(a.nonce) {
		return s, Decision{Verdict: VerdictLost}
	}
	s.turn = s.turn.hold(a, now)
	return s, Decision{Verdict: VerdictTake}
}

// decideCommand refuses only on fresh evidence. All else is the server's to say.
func (s State) decideCommand(now time.Time) Decision {
	switch {
	case !s.NeedsKey():
		return Decision{Verdict: VerdictSend}
	case now.Sub(s.key.at) < keyEvidenceTTL:
		return Decision{Verdict: VerdictKey}
	default:
		return Decision{Verdict: VerdictRecheck}
	}
}

// charge books what a data request cost. An attempt whose turn was taken over
// only adds what the server may have counted: it cannot give back the turn of
// the attempt that owns it now.
func (s State) charge(a attempt, r Result, now time.Time, rules Rules) State {
	owner := s.turn.heldBy(a.nonce)
	present := s.turn.onClock(now)
	end := present.Add(a.lease)
	if owner {
		end = s.turn.leaseEnd
		s.turn.phase = phaseIdle
	}
	counts := owner || s.Keyless()
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
		s = s.applyLimit(r.RetryAfter, now, rules)
	case OutcomeAsleep:
		s.data.wake = WakeAsleep
	}
	if r.Outcome == OutcomeOK {
		s.data = s.data.asked(r.Data, s.class.is, now, rules)
	}
	s.data = s.data.listed(r.Data)
	return s
}

// applyLimit takes the server's own word that this vehicle has to wait. Without a
// time it is believed for a moment, for a keyless car for a window. A streaming
// car that is limited may have lost its key: its status is read next.
func (s State) applyLimit(retryAfter time.Duration, now time.Time, rules Rules) State {
	pause := retryAfter
	if pause <= 0 {
		pause = BareLimitPause
		if s.Keyless() {
			pause = rules.KeylessWindow
		}
	}
	said := s.limit.onClock(now)
	s.limit.to, s.limit.at = later(s.limit.to, said.Add(pause)), said
	if s.class.is == ClassStreaming && s.key.is == KeyInstalled {
		s.key.checkAt = now
	}
	return s
}

// applyKey takes evidence about the key, never backwards in time. That this
// connection cannot read the status is no evidence: what others showed is kept.
// A car that was asked for its key by the server needs one, whatever was inferred.
// A limit that was given while the key was missing does not outlive pairing.
func (s State) applyKey(e Event, now time.Time, rules Rules) State {
	switch {
	case s.key.newerThan(e, now, rules):
		return s
	case e.key == KeyUnavailable && s.key.is > KeyUnavailable:
		s.key = s.key.backOff(now)
		return s
	case e.demands:
		s.class = s.class.prove(ClassStreaming)
	}
	needsKey := s.class.is == ClassStreaming || s.class.is == ClassUnresolved
	if needsKey && e.key == KeyInstalled && s.key.is != KeyInstalled && s.limit.onClock(e.asOf).After(s.limit.at) {
		s.limit.to = time.Time{}
	}
	s.key = s.key.learn(e.key, e.source, e.asOf, now)
	return s
}

func (s State) applyAccess() State {
	s.class.checkAt = time.Time{}
	if s.key.is == KeyUnavailable {
		s.key.checkAt = time.Time{}
	}
	return s
}

// applyData takes data that nobody asked for. That there is some shows even data
// that is older than what is known.
func (s State) applyData(e Event, now time.Time, rules Rules) State {
	if e.data.Stored == StoredSome {
		s.data.nothing = false
	}
	s.data = s.data.pushed(e.data, e.asOf, s.class.is, now, rules)
	return s
}
