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
	data  dataKnown
	doubt doubt // not stored: see Doubted
}

// Closed is a car that was asked at that time and of which nothing else is
// known. It stands in for a record that cannot be read.
func Closed(at time.Time) State { return State{turn: turn{usedAt: at}} }

// Class is the car's class.
func (s State) Class() Class { return s.class.is }

// Key is what is known of the car's key.
func (s State) Key() Key { return s.key.is }

// KeySource is what Key was learned from.
func (s State) KeySource() KeySource { return s.key.source }

// KeyAt is how old what Key says may be: see LearnKey.
func (s State) KeyAt() time.Time { return s.key.at }

// Wake says whether the car is awake.
func (s State) Wake() Wake { return s.data.wake }

// NothingStored reports that Smartcar has stored no data of the car.
func (s State) NothingStored() bool { return s.data.nothing }

// Blank reports that nothing was learned about the car: neither of its key nor
// by asking for data.
func (s State) Blank() bool { return s.key.at.IsZero() && s.data.fetchedAt.IsZero() }

// Keyless reports whether the one-per-window rule holds: the key is missing, or
// may be. A key that was not asked for yet counts as missing; one that can never
// be known is left to the server.
func (s State) Keyless() bool {
	switch s.class.is {
	case ClassStreaming, ClassUnresolved:
		return s.key.is == KeyMissing || s.key.is == KeyNotAsked
	}
	return false
}

// NeedsKey reports that the car needs the key and is known to be without it.
func (s State) NeedsKey() bool { return s.class.is == ClassStreaming && s.key.is == KeyMissing }

// MayNeedKey is NeedsKey, also while nobody has said yet whether the key is there.
func (s State) MayNeedKey() bool { return s.class.is == ClassStreaming && s.Keyless() }

// TakesNoKey reports that the key plays no role for the car.
func (s State) TakesNoKey() bool { return s.class.is == ClassLegacy || s.class.is == ClassOther }

// Repeats reports that the car's answers stay the same until its next refresh: a
// legacy car that does not stream.
func (s State) Repeats() bool { return s.class.is == ClassLegacy && !s.data.streams }

// WantsClass reports whether the class must be learned before data is asked for.
func (s State) WantsClass(now time.Time) bool { return s.class.wanted(now) }

// WantsKey reports whether the key status must be learned before data is asked for.
func (s State) WantsKey(now time.Time) bool {
	return s.class.is == ClassStreaming && s.key.wanted(now)
}

// Holds reports whether the attempt with that nonce owns the turn.
func (s State) Holds(nonce uint64) bool { return s.turn.heldBy(nonce) }

// LeaseCovers reports whether the lease of the turn lasts until end.
func (s State) LeaseCovers(end time.Time) bool { return !s.turn.onClock(end).After(s.turn.leaseEnd) }

// NextData derives when a data request is allowed; no Next means now.
func (s State) NextData(now time.Time, rules Rules) Decision {
	d := Decision{}
	if s.Keyless() {
		if next := s.turn.next(rules.KeylessWindow); !next.IsZero() {
			d.Next, d.Rule = next.Add(s.doubt.turn-s.turn.behind), RuleKeyless
		}
		d.InFlight = s.turn.inFlight(now)
	}
	if next := s.limit.next(); !next.IsZero() && next.Add(s.doubt.limit).After(d.Next) {
		d = Decision{Next: next.Add(s.doubt.limit), Rule: RuleServer}
	}
	if !d.Next.After(now) {
		return Decision{}
	}
	return d
}

// NextUseful derives when a data request is allowed and brings something new.
func (s State) NextUseful(now time.Time, rules Rules) Decision {
	d := s.NextData(now, rules)
	if s.Repeats() && !s.data.fetchedAt.IsZero() && !rules.future(s.data.fetchedAt, now) {
		if next := NextLegacy(s.data.recordedAt, s.data.fetchedAt, rules); next.After(now) && next.After(d.Next) {
			return Decision{Next: next, Rule: RuleLegacy}
		}
	}
	return d
}

// OutdatedBy reports whether an event shows the car otherwise than it is known.
func (s State) OutdatedBy(events ...Event) bool {
	for _, e := range events {
		switch e.kind {
		case settle:
			if s.data.outdatedBy(e.result.Data) {
				return true
			}
		case learnKey:
			if e.key != s.key.is {
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

// OpenWindow is what must stay of a car that is forgotten: its turn, and why it
// has to wait. When and from what the key was learned goes.
func (s State) OpenWindow() State {
	return State{
		class: classKnown{is: s.class.is, proven: s.class.proven},
		key:   keyKnown{is: s.key.is},
		turn:  s.turn, limit: s.limit,
	}
}
