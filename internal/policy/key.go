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
	is     Key
	source KeySource
	looks  uint8 // looks at the status in a row that did not show a key
	// unreadable: the status could not be read with the connection that looked last.
	unreadable bool
	// doubted: the server has limited the car since the key was seen.
	doubted bool
	// had: the key was seen on the car, and is not there as far as is known now.
	had     bool
	at      time.Time // when the request that showed it began, or the car said so
	since   time.Time // when it was seen so first
	checkAt time.Time // when to look at the status next
	// lookedAt is when the status was looked at without a result that counts.
	lookedAt time.Time
}

// learn takes evidence that is not older than what is known.
func (k keyKnown) learn(is Key, source KeySource, at, now time.Time) keyKnown {
	if is != k.is {
		k.since, k.looks = at, 0
		k.had = is != KeyInstalled && (k.had || k.is == KeyInstalled)
	}
	k.is, k.source, k.at, k.lookedAt, k.doubted = is, source, at, time.Time{}, false
	if source == FromEndpoint || source == FromSignal {
		k.unreadable = is == KeyUnavailable
	}
	switch is {
	case KeyInstalled:
		k.checkAt = now.Add(installedLook - lookSpread(now))
	case KeyUnavailable:
		k.since, k.checkAt = time.Time{}, now.Add(unavailableCheck)
	default:
		k.checkAt = now.Add(missingLook(k.looks))
		if source == FromEndpoint && k.looks < slowLooks {
			k.looks++
		}
	}
	return k
}

// lookSpread is by how much earlier the next daily look at a key comes, up to 2 hours. The
// keys of a fleet are first looked at within minutes; without a spread, all looks of a day
// would come within the same minutes ever after. It follows from the fraction of the second
// of the last look, which differs from car to car.
func lookSpread(last time.Time) time.Duration {
	return time.Duration(last.Nanosecond()) * (2 * time.Hour / time.Second)
}

// slowLooks is how many looks for a missing key come before those at the slowest
// pace. Looks that failed count as no more than failedLooks of them.
const slowLooks, failedLooks = 5, 3

// missingLook is the pause after so many looks that showed no key.
func missingLook(looks uint8) time.Duration {
	switch looks {
	case 0:
		return firstMissingLook
	case 1:
		return secondMissingLook
	case 2:
		return thirdMissingLook
	case 3:
		return fourthMissingLook
	case 4:
		return fifthMissingLook
	}
	return slowestMissingLook
}

// failed follows a look that did not show whether the key is there.
func (k keyKnown) failed(now time.Time) keyKnown {
	k.lookedAt = now
	k.checkAt = now.Add(min(missingLook(k.looks), slowestFailedLook))
	if k.looks < failedLooks {
		k.looks++
	}
	return k
}

// cannotBeRead: this connection cannot read the status. That is no evidence: what
// others showed is kept.
func (k keyKnown) cannotBeRead(now time.Time) keyKnown {
	k.unreadable = true
	k.checkAt = later(k.checkAt, now.Add(missingLook(k.looks)))
	return k
}

// pause is the time between the last look at the status and the next, to the minute; zero
// if none is to come.
func (k keyKnown) pause() time.Duration {
	if k.checkAt.IsZero() {
		return 0
	}
	return max(k.checkAt.Sub(later(k.at, k.lookedAt)).Round(time.Minute), 0)
}

// outranks reports whether a command that worked counts for more than a status
// that was read at that time.
func (k keyKnown) outranks(status time.Time) bool {
	return k.is == KeyInstalled && k.source == FromCommand && !k.doubted && status.Sub(k.at).Abs() < commandOutranks
}

// overrule keeps what a command has shown, against a status.
func (k keyKnown) overrule(now time.Time) keyKnown {
	k.lookedAt, k.checkAt = now, k.at.Add(commandOutranks)
	return k
}

// forget lets the status be learned anew. That the key was there stays true.
func (k keyKnown) forget() keyKnown { return keyKnown{at: k.at, had: k.had} }

// wanted reports whether it is time to look at the status.
func (k keyKnown) wanted(d dataKnown, now time.Time) bool {
	return due(k.checkAt, now, slowestMissingLook) || k.is == KeyInstalled && d.stillLookDue(later(k.at, k.lookedAt))
}

// newerThan reports whether what is known of the key is newer than the evidence. If
// a clock was set in between, their dates do not tell it. Then what closes the car is
// believed, which is safe; so it is if a webhook has brought both with a date in the same
// millisecond, since events may come in any order and a record keeps no more of a date.
// Less is how much less time than the clock says has passed since k.at: see doubt.
func (k keyKnown) newerThan(e *Event, now time.Time, less time.Duration, rules Rules) bool {
	known := !e.knewNow.IsZero()
	switch {
	case known && e.knew.Equal(k.at), e.source == FromApplication: // see Event.Knowing
		return false
	case known && now.Sub(e.knewNow).Abs() > witnessGrain:
		return e.key != KeyMissing
	case k.at.After(now.Add(recordGrain)) && e.key == KeyMissing:
		return e.asOf.Before(now.Add(-rules.MaxLease))
	case k.is <= KeyUnavailable && e.key == KeyMissing: // nothing is known that could be newer
		return e.asOf.Before(k.at.Add(-rules.MaxLease))
	}
	at := shifted(k.at, e.byWebhook(less))
	if k.is == KeyMissing && k.source == FromWebhook && e.opensByWebhook() {
		at = at.Truncate(recordGrain).Add(recordGrain)
	}
	return e.asOf.Before(at)
}
