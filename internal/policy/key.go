package policy

import "time"

// A Key says whether the virtual key is on the car. The numbers are stored.
type Key uint8

// What can be known of a key. The first two are the reasons for not knowing it.
const (
	KeyNotAsked    Key = iota // nobody has asked yet, or asking failed for the moment
	KeyUnavailable            // this connection can never tell
	KeyMissing
	KeyInstalled
)

// A KeySource says what a Key was learned from. The numbers are stored.
type KeySource uint8

// The sources.
const (
	FromNowhere KeySource = iota
	FromEndpoint
	FromSignal
	FromError
	FromCommand
	FromWebhook
	FromApplication
)

// keyKnown is what is known of a car's key.
type keyKnown struct {
	is      Key
	source  KeySource
	at      time.Time // when the request that showed it began, or the car said so
	checks  uint8     // status reads in a row that did not show a key
	checkAt time.Time // when the status may be read next
}

// learn takes evidence that is not older than what is known.
func (k keyKnown) learn(is Key, source KeySource, at, now time.Time) keyKnown {
	k.is, k.source, k.at = is, source, at
	switch is {
	case KeyInstalled:
		k.checks, k.checkAt = 0, time.Time{}
	case KeyUnavailable:
		k.checkAt = now.Add(unavailableCheck)
	default:
		return k.backOff(now)
	}
	return k
}

// backOff follows a status read that did not show a key.
func (k keyKnown) backOff(now time.Time) keyKnown {
	wait := SlowestKeyCheck
	if k.checks < 7 {
		wait = min(firstKeyCheck<<k.checks, SlowestKeyCheck)
		k.checks++
	}
	k.checkAt = now.Add(wait)
	return k
}

// wanted reports whether it is time to read the status. An installed key is
// asked about only after something has put it in doubt.
func (k keyKnown) wanted(now time.Time) bool {
	return (k.is != KeyInstalled || !k.checkAt.IsZero()) && due(k.checkAt, now)
}

// due reports whether it is time for a check. One that lies farther ahead than
// any pause was set by a clock that was wrong.
func due(checkAt, now time.Time) bool {
	return !now.Before(checkAt) || checkAt.After(now.Add(2*unavailableCheck))
}

// newerThan reports whether what is known of the key is newer than the evidence. If
// a clock was set in between, the dates do not tell it: then what closes the car is
// believed, which is safe.
func (k keyKnown) newerThan(e Event, now time.Time, rules Rules) bool {
	knows := !e.knewNow.IsZero()
	switch {
	case knows && e.knew.Equal(k.at), e.source == FromApplication:
		return false
	case knows && now.Sub(e.knewNow).Abs() > witnessGrain:
		return e.key != KeyMissing
	case rules.future(k.at, now) && e.key == KeyMissing:
		return e.asOf.Before(now.Add(-rules.MaxLease))
	}
	return e.asOf.Before(k.at)
}
