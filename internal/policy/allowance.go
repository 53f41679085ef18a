package policy

import "time"

// Spent is what is known of a car of which Smartcar has said that no call of its
// month is left. The zero value is a car of which it has not. When a month begins and
// a plan changes is not published: one read a day finds out.
type Spent struct {
	next time.Time // when a read may find out again
	all  bool      // what Smartcar answers by itself is refused, too, and not data alone
}

const (
	spentProbe  = 24 * time.Hour
	probeFlight = time.Minute // how long others wait for a read that finds out
)

// Refuse: Smartcar has refused a call for the month, of data or of metadata. Spread
// is up to a day, so that cars are not all asked in the first minute of a month.
func (s Spent) Refuse(now time.Time, metadata bool, spread time.Duration) Spent {
	y, m, _ := now.UTC().Date()
	month := time.Date(y, m+1, 1, 0, 0, 0, 0, time.UTC).Add(spread)
	return Spent{next: earlier(now.Add(spentProbe), month), all: s.all || metadata}
}

// Next is when a read of data, or of metadata, is useful again; zero means now.
func (s Spent) Next(now time.Time, metadata bool) time.Time {
	if !s.Covers(metadata) || !s.next.After(now) {
		return time.Time{}
	}
	return s.next
}

// Covers reports whether reads of data, or of metadata, have been refused.
func (s Spent) Covers(metadata bool) bool { return s.Known() && (!metadata || s.all) }

// Probe lets one read find out; the others wait for it.
func (s Spent) Probe(now time.Time) Spent {
	s.next = now.Add(probeFlight)
	return s
}

// Allow: a call was answered. Metadata may not count at all: what it means for data, a
// read of data finds out now.
func (s Spent) Allow(now time.Time, metadata bool) Spent {
	switch {
	case !metadata || !s.Known():
		return Spent{}
	case s.all:
		return Spent{next: now}
	}
	return s
}

// Known reports that a call was refused for the month, and none was answered since.
func (s Spent) Known() bool { return !s.next.IsZero() }
