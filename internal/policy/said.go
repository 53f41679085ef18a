package policy

import "time"

// said is what the server's limits have shown of a car whose status cannot be
// read: that it answers one data request per window.
type said struct {
	at      time.Time // when they showed it; zero if they have not
	trialAt time.Time // when the car may be asked inside its window, to see whether it still is so
	bareAt  time.Time // of a limit without a time, which another one may confirm
}

func (s said) holds() bool { return !s.at.IsZero() }

// show books that the limits have shown the rule.
func (s said) show(now time.Time) said {
	if !s.holds() {
		s.trialAt = now.Add(trialEvery)
	}
	s.at, s.bareAt = now, time.Time{}
	return s
}

// unsureUntil puts a trial off until the end of a window that may be over earlier: there,
// newer data would not show that the rule does not hold.
func (s said) unsureUntil(end time.Time) said {
	if s.holds() {
		s.trialAt = later(s.trialAt, end)
	}
	return s
}

// limited takes a limit. One of 2 hours or more shows the rule. So do two limits
// without a time that are far enough apart.
func (s said) limited(retryAfter time.Duration, now time.Time, rules Rules) said {
	apart := now.Sub(s.bareAt)
	switch {
	case retryAfter >= rules.longLimit():
		return s.show(now)
	case retryAfter > 0:
	case s.bareAt.IsZero() || apart < 0 || apart >= rules.KeylessWindow:
		s.bareAt = now
	case apart > rules.bareApart():
		return s.show(now)
	}
	return s
}

// moved takes the time at which data was recorded. A limit without a time from before
// does not count any more: the car has answered since.
func (s said) moved(recordedAt time.Time) said {
	if recordedAt.After(s.bareAt) {
		s.bareAt = time.Time{}
	}
	return s
}
