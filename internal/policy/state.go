package policy

import "time"

// State is all that is known of one vehicle. The zero value is a car that nobody
// has asked about. Nothing derived is in it: when the next request is allowed
// follows from the state, the rules and the time.
type State struct {
	class classKnown
	key   keyKnown
	turn  turn
	limit limit
	said  said
	data  dataKnown

	gave     Outcome   // what came back for the last turn; no rule goes by it
	pausedTo time.Time // by the operator: no data before

	doubt   doubt   // how much other clocks disagree; set by Doubted, and not stored
	carried carried // fields of a later version, which are written back as they came
}

// Closed is a car that was asked at that time and of which nothing else is
// known. It stands in for a record that cannot be read.
func Closed(at time.Time) State { return State{turn: turn{usedAt: at}} }

// Class is the car's class.
func (s *State) Class() Class { return s.class.is }

// Key is what is known of the car's key.
func (s *State) Key() Key { return s.key.is }

// KeySource is what Key was learned from.
func (s *State) KeySource() KeySource { return s.key.source }

// KeyAt is the time of the evidence for Key: see LearnKey.
func (s *State) KeyAt() time.Time { return s.key.at }

// KeySince is when the key was first seen there, or gone, as it is now.
func (s *State) KeySince() time.Time { return s.key.since }

// KeyRemoved reports that the key is missing, and was seen on the car before.
func (s *State) KeyRemoved() bool { return s.key.is == KeyMissing && s.key.had }

// NeedsProof reports whether a command that worked tells something new of the key.
func (s *State) NeedsProof(now time.Time) bool {
	return !s.TakesNoKey() && (s.key.is != KeyInstalled || s.said.holds() || s.key.doubted || now.Sub(s.key.at).Abs() >= proofEvery)
}

// WantsFreshKey reports whether the status is to be looked at before a person
// relies on it.
func (s *State) WantsFreshKey(now time.Time) bool {
	return s.class.is == ClassStreaming && !s.key.unreadable && min(now.Sub(s.key.at).Abs(), now.Sub(s.key.lookedAt).Abs()) > keyFreshFor
}

// NextKeyLook is when the status is to be looked at next.
func (s *State) NextKeyLook() time.Time { return s.key.checkAt }

// AwaitsData reports that only the car's data may still tell its class.
func (s *State) AwaitsData() bool { return s.class.is == ClassUnresolved && s.class.silent }

// Quiet reports that the car has answered lately that it sleeps.
func (s *State) Quiet() bool { return s.data.quiet.times > 0 || s.data.asleep > 0 }

// SaidKeyless reports that Smartcar's limits have shown the rule of keyless cars.
func (s *State) SaidKeyless() bool { return s.said.holds() }

// LastTurn is the latest instant at which the server may have counted a data request,
// and what the last turn of the car gave: OutcomeNone if it has taken none since this was
// noted, or the request is under way. Of a turn that was given back there is no time.
func (s *State) LastTurn(now time.Time) (at time.Time, gave Outcome) {
	switch {
	case s.turn.phase == phaseSent && s.turn.leaseEnd.After(now):
		return s.turn.usedAt, OutcomeNone
	case s.turn.phase == phaseSent: // whoever sent it has died
		return s.turn.countedAt(), OutcomeUnclear
	case s.gave == OutcomeReleased:
		return time.Time{}, s.gave
	}
	return s.turn.countedAt(), s.gave
}

// ClassByVIN and ClassProven say what the class was learned from, if not from make, model
// and year: from the VIN, or from what the server answered.
func (s *State) ClassByVIN() bool { return s.class.byVIN }

// ClassProven: see ClassByVIN.
func (s *State) ClassProven() bool { return s.class.proven }

// Wake says whether the car is awake.
func (s *State) Wake() Wake { return s.data.wake }

// NothingStored reports that Smartcar has stored no data of the car.
func (s *State) NothingStored() bool { return s.data.nothing }

// Blank reports that nothing was learned about the car: neither of its key nor
// by asking for data.
func (s *State) Blank() bool { return s.key.at.IsZero() && s.data.fetchedAt.IsZero() }

// Keyless reports whether the rule of one request per window holds: the key is
// missing, or may be. A key that was not asked for yet counts as missing. While the
// class is not known, every key counts as missing that nothing but its signal has
// shown: the signal does not say whose key it is. If the status can never be read,
// the server's limits decide; of a car that was reset, also what was known before, for as
// long as its window runs.
func (s *State) Keyless() bool {
	switch s.class.is {
	case ClassStreaming:
		return s.key.is == KeyMissing || s.key.is == KeyNotAsked || s.said.holds()
	case ClassUnresolved:
		return s.key.is != KeyInstalled || s.key.source == FromSignal || s.said.holds()
	case ClassUnknown:
		return s.said.holds() || s.class.held && s.key.is != KeyInstalled
	}
	return false
}

// Open reports that the car is known to be under no rule: it is of another make, or its
// key is there. Such a car is read by a record that another process may have changed a
// moment ago; see Rules.Unseen.
func (s *State) Open() bool {
	return s.class.is == ClassOther || s.class.is == ClassStreaming && s.key.is == KeyInstalled && !s.said.holds()
}

// untold reports that the car may need the key, and that its status can never be read.
func (s *State) untold() bool {
	return s.class.is == ClassUnknown || s.class.is == ClassStreaming && s.key.is == KeyUnavailable
}

// onTrial reports that the server's limits have shown the rule, and that the status of
// the key cannot be read to check whether it still holds. Then a trial read shows it.
func (s *State) onTrial() bool { return s.said.holds() && (s.key.is != KeyMissing || s.key.unreadable) }

// NeedsKey reports that the car needs the key and is known to be without it.
func (s *State) NeedsKey() bool { return s.class.is == ClassStreaming && s.key.is == KeyMissing }

// MayNeedKey is NeedsKey, or that it is not known yet whether the key is there.
func (s *State) MayNeedKey() bool {
	return s.class.is == ClassStreaming && (s.key.is == KeyMissing || s.key.is == KeyNotAsked)
}

// TakesNoKey reports that the key plays no role for the car.
func (s *State) TakesNoKey() bool { return s.class.is == ClassLegacy || s.class.is == ClassOther }

// Repeats reports that the car's answers stay the same until its next refresh: a
// legacy car that does not stream.
func (s *State) Repeats() bool { return s.class.is == ClassLegacy && !s.data.streaming.on }

// Cadence is the pace of a legacy car.
func (s *State) Cadence() Cadence {
	return Cadence{asleep: s.data.asleep, earlyAt: s.data.streaming.at}
}

// WantsClass reports whether the class must be learned before data is asked for.
func (s *State) WantsClass(now time.Time) bool { return s.class.wanted(now) }

// WantsKey reports whether the key status must be learned before data is asked for.
func (s *State) WantsKey(now time.Time) bool {
	return s.class.is == ClassStreaming && s.key.wanted(s.data, now)
}

// Unlearned reports whether the class or the status of the key must be learned
// before data is asked for. Without askable, the status cannot be asked for.
func (s *State) Unlearned(now time.Time, askable bool) bool {
	return s.WantsClass(now) || askable && s.WantsKey(now)
}

// Holds reports whether the attempt with that nonce owns the turn.
func (s *State) Holds(nonce uint64) bool { return s.turn.heldBy(nonce) }

// LeaseCovers reports whether the lease of the turn lasts until end.
func (s *State) LeaseCovers(end time.Time) bool { return !s.turn.written(end).After(s.turn.leaseEnd) }

// NextData derives when a data request is allowed; no Next means now.
func (s *State) NextData(now time.Time, rules Rules) Decision {
	d := Decision{}
	if s.Keyless() {
		if d.Next = s.nextTurn(rules); !d.Next.IsZero() {
			d.Rule = RuleKeyless
		}
		d.InFlight = s.turn.inFlight(now)
	}
	if !s.limit.to.IsZero() {
		if next := s.limit.next().Add(s.doubt.limit); next.After(d.Next) {
			d = Decision{Next: next, Rule: RuleServer}
		}
	}
	switch {
	case !s.data.quiet.to.After(d.Next):
	case s.data.nothing && (s.Keyless() || s.class.is == ClassLegacy):
		d = Decision{Next: s.data.quiet.to, Rule: RuleNothing}
	case !s.data.nothing && (s.Keyless() || s.untold() || s.class.is == ClassLegacy):
		d = Decision{Next: s.data.quiet.to, Rule: RuleAsleep}
	}
	if s.pausedTo.After(d.Next) {
		d = Decision{Next: s.pausedTo, Rule: RulePaused}
	}
	if !d.Next.After(now) {
		return Decision{}
	}
	return d
}

// LastAsked is the latest instant at which the car may have been asked for data, or
// Smartcar refused to ask it, as far as a rule was known to hold.
func (s *State) LastAsked() time.Time {
	return later(shifted(s.turn.countedAt(), -s.turn.behind), shifted(s.limit.at, -s.limit.behind))
}

// nextTurn is when the next turn may be taken, for once also as a trial.
func (s *State) nextTurn(rules Rules) time.Time {
	next := s.turn.next(rules.KeylessWindow)
	if s.onTrial() && s.turn.phase == phaseIdle {
		next = earlier(next, later(s.said.trialAt, s.turn.next(rules.trialAfter())))
	}
	return shifted(next, s.doubt.turn)
}

// NextUseful derives when a data request is allowed and brings something new.
func (s *State) NextUseful(now time.Time, rules Rules) Decision {
	d := s.NextData(now, rules)
	if s.Repeats() && !s.data.fetchedAt.IsZero() && !rules.future(s.data.fetchedAt, now) {
		if next := s.Cadence().Next(s.data.recordedAt, s.data.fetchedAt, rules); next.After(now) && next.After(d.Next) {
			return Decision{Next: next, Rule: RuleLegacy}
		}
	}
	return d
}

// WorthStoring reports whether the events change what the policy goes by, so that they
// are worth a write.
func (s *State) WorthStoring(now time.Time, rules Rules, events ...Event) bool {
	for i := range events {
		switch e := &events[i]; e.kind {
		case settle:
			if s.outdatedByAnswer(&e.result, now, rules) {
				return true
			}
		case classNotTold:
			if s.class.is == ClassUnresolved {
				return true
			}
		case learnKey:
			if e.key != s.key.is && !s.key.newerThan(e, now, s.doubt.key, rules) {
				return true
			}
		case learnClass:
			if e.class != s.class.is && !s.class.proven {
				return true
			}
		}
	}
	return false
}

func (s *State) outdatedByAnswer(r *Result, now time.Time, rules Rules) bool {
	if s.data.outdatedBy(r.Data) || s.mustBookRead(r.Outcome, now) {
		return true
	}
	if r.Outcome != OutcomeOK {
		return false
	}
	return s.untold() && (s.data.quiet.times > 0 || !s.said.bareAt.IsZero() || r.Data.isOld(now, rules)) ||
		s.class.is == ClassStreaming && s.key.is == KeyInstalled && s.data.outdatedStill(r.Data, now)
}

// RunningWindow is what must stay of a car that is forgotten: its turn, and why it has to
// wait. When the key was learned, and from which source, is dropped. So a key that does
// not count as installed because only its signal has shown it is one that was not asked
// for: else the window would be open without its source.
func (s *State) RunningWindow() State {
	key := s.key.is
	if s.Keyless() && key == KeyInstalled {
		key = KeyNotAsked
	}
	return State{
		class: classKnown{is: s.class.is, proven: s.class.proven, held: s.class.held},
		key:   keyKnown{is: key},
		turn:  s.turn, limit: s.limit, said: s.said,
		doubt: s.doubt,
	}
}
