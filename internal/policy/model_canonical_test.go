package policy

import "time"

// Canonical is s as the exhaustive check stores it: by how much its times are moved, so
// that worlds which differ only in the hour are one; what is older than floor is as old as
// floor, or gone, if that changes no decision; rename gives the attempts other numbers.
// What only says when to look at the key next is dropped: in the check, anybody looks
// whenever it can matter.
func Canonical(s State, now time.Time, by, floor time.Duration, rename func(uint64) uint64) State {
	oldest := now.Add(-floor)
	at := func(t time.Time) time.Time {
		if t.IsZero() {
			return t
		}
		return later(t.Add(by), oldest)
	}
	s.class.checkAt = time.Time{}
	s.key = keyKnown{is: s.key.is, source: FromEndpoint, at: at(s.key.at), unreadable: s.key.unreadable}
	s.data = dataKnown{quiet: quiet{times: s.data.quiet.times, to: at(s.data.quiet.to)}}
	s.said.at, s.said.trialAt, s.said.bareAt = at(s.said.at), at(s.said.trialAt), at(s.said.bareAt)
	if s.said.bareAt.Equal(oldest) {
		s.said.bareAt = time.Time{}
	}
	t := &s.turn
	t.usedAt, t.leaseEnd = at(t.usedAt), at(t.leaseEnd)
	if t.phase == phaseIdle {
		t.nonce, t.leaseEnd = 0, time.Time{}
		if !t.usedAt.Add(-t.behind).After(oldest) {
			*t = turn{}
		}
	} else {
		t.nonce = rename(t.nonce)
	}
	l := &s.limit
	if l.to, l.at = at(l.to), at(l.at); !l.to.Add(-l.behind).After(oldest) {
		*l = limit{}
	}
	return s
}
