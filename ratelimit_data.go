package smartcar

import "time"

// What data shows of the car, in the state machine of ratelimit.go.

func (s carState) noteData(e event, now time.Time, rules Rules) carState {
	s.fetchedAt = later(s.fetchedAt, now)
	if apart := e.recordedAt.Sub(s.recordedAt); s.class == classLegacy && !s.recordedAt.IsZero() {
		s.streams = s.streams || apart > streamsAbove(rules) && apart < streamsBelow(rules)
	}
	s.recordedAt = later(s.recordedAt, e.recordedAt)
	return s.noteWake(e, now, rules)
}

// noteWake infers it from the age of the data, unless the car itself says it.
func (s carState) noteWake(e event, now time.Time, rules Rules) carState {
	switch {
	case e.wake != wakeUnknown:
		s.wake = e.wake
	case e.recordedAt.IsZero():
	case now.Sub(e.recordedAt) < awakeWithin(rules):
		s.wake = wakeAwake
	case s.class == classLegacy:
		s.wake = wakeAsleep
	}
	return s
}

// learnData takes data that came without being asked for, which costs no turn.
// What is older than what is known changes nothing; and how far apart it was
// recorded proves nothing, since nobody knows what was left out in between.
func (s carState) learnData(e event, now time.Time, rules Rules) carState {
	if e.seen {
		s.nothing = false
	}
	known := earlier(s.recordedAt, now) // a car whose clock is ahead is not believed for ever
	e.recordedAt = earlier(e.recordedAt, now)
	switch {
	case e.recordedAt.IsZero() && e.at.Before(known), !e.recordedAt.IsZero() && e.recordedAt.Before(known):
		return s
	case !e.recordedAt.IsZero():
		s.recordedAt, s.fetchedAt = e.recordedAt, later(s.fetchedAt, earlier(e.at, now))
	}
	return s.noteWake(e, now, rules)
}
