package policy

import "time"

// Wake says whether a car is awake. The numbers are stored.
type Wake uint8

// The states of being awake.
const (
	WakeUnknown Wake = iota
	WakeAwake
	WakeAsleep
)

// Stored says whether Smartcar has stored data of a car, which on API v3 begins
// with the car's subscription to a webhook.
type Stored uint8

// What an answer tells of it.
const (
	StoredNotTold Stored = iota
	StoredNothing
	StoredSome
)

// Data is what an answer or a webhook event shows of a car's data.
type Data struct {
	RecordedAt time.Time // of the newest that it holds, by the car's clock; zero if not known
	FetchedAt  time.Time // when Smartcar fetched the newest for an answer; zero if it did not say
	Wake       Wake      // as the car itself says
	Stored     Stored
}

// isOld reports that Smartcar did not fetch it for this answer, nor for one of the
// last 15 minutes (of a window of 8 hours).
func (d Data) isOld(now time.Time, rules Rules) bool {
	return !d.FetchedAt.IsZero() && now.Sub(d.FetchedAt) >= rules.bareApart()
}

// dataKnown is what is known of a car's data.
type dataKnown struct {
	wake       Wake
	nothing    bool      // Smartcar has stored none of it; API v3
	asleep     uint8     // answers in a row that showed a legacy car asleep, after the first
	recordedAt time.Time // the newest, by the car's clock
	fetchedAt  time.Time // when Smartcar was last asked for it, or sent it
	movedAt    time.Time // when an answer last brought newer data than was known
	stillAt    time.Time // when an answer last brought none; zero if one has brought newer data since
	quiet      quiet
	streaming  streaming // of a legacy car
}

// asked takes the data of an answer.
func (d dataKnown) asked(shown Data, class Class, now time.Time, rules Rules) dataKnown {
	moved := shown.RecordedAt.After(d.recordedAt)
	if class == ClassLegacy && !shown.RecordedAt.IsZero() {
		d = d.askedLegacy(shown.RecordedAt, moved, now, rules)
	}
	switch {
	case moved:
		d.recordedAt, d.movedAt, d.stillAt = shown.RecordedAt, now, time.Time{}
	case !shown.RecordedAt.IsZero() && d.movedAt.IsZero():
		d.movedAt = now
	case !shown.RecordedAt.IsZero():
		d.stillAt = now
	}
	d.fetchedAt = later(d.fetchedAt, now)
	if shown.Stored != StoredNothing {
		d.quiet = quiet{}
	}
	return d.woken(shown, class, now, rules)
}

func (d dataKnown) askedLegacy(recordedAt time.Time, moved bool, now time.Time, rules Rules) dataKnown {
	if !d.recordedAt.IsZero() {
		early := now.Before(Cadence{}.Next(d.recordedAt, d.fetchedAt, rules))
		d.streaming = d.streaming.learn(recordedAt.Sub(d.recordedAt), early, now, rules)
	}
	switch {
	case moved || now.Sub(recordedAt) < awakeWithin(rules):
		d.asleep = 0
	case now.Sub(d.fetchedAt) > rules.LegacyRefresh*4/5: // several reads at once are one look
		d.asleep = min(d.asleep+1, maxQuiet)
	}
	return d
}

// stillLookDue reports whether no newer data came for so long that the key is to be
// looked at, and that it was not looked at since then.
func (d dataKnown) stillLookDue(lookedAt time.Time) bool {
	for _, still := range [...]time.Duration{firstStillLook, secondStillLook, lastStillLook} {
		if d.stillAt.Sub(d.movedAt) >= still && !d.movedAt.IsZero() && lookedAt.Before(d.movedAt.Add(still)) {
			return true
		}
	}
	return false
}

// outdatedStill reports whether stillLookDue needs this answer to be stored. Storing
// every answer would cost a write for each.
func (d dataKnown) outdatedStill(shown Data, now time.Time) bool {
	switch {
	case shown.RecordedAt.IsZero():
		return false
	case shown.RecordedAt.After(d.recordedAt):
		return !d.stillAt.IsZero() || now.Sub(d.movedAt) >= stillGrain
	}
	return now.Sub(later(d.stillAt, d.movedAt)) >= stillGrain
}

// pushed takes data that a webhook sent, as Smartcar had it at asOf. Data older than
// the newest known changes nothing. How far apart two pushed recordings are does not
// prove streaming: Smartcar may have left out others in between.
func (d dataKnown) pushed(shown Data, asOf time.Time, class Class, now time.Time, rules Rules) dataKnown {
	newest := earlier(d.recordedAt, now) // a car whose clock is ahead is not believed for ever
	shown.RecordedAt = earlier(shown.RecordedAt, now)
	switch {
	case shown.RecordedAt.IsZero() && asOf.Before(newest), !shown.RecordedAt.IsZero() && shown.RecordedAt.Before(newest):
		return d
	case !shown.RecordedAt.IsZero():
		if shown.RecordedAt.After(newest) {
			d.movedAt, d.stillAt, d.asleep = now, time.Time{}, 0
		}
		d.recordedAt, d.fetchedAt = shown.RecordedAt, later(d.fetchedAt, earlier(asOf, now))
	}
	if shown.Wake == WakeAwake || shown.RecordedAt.After(newest) {
		d.quiet, d.asleep = quiet{}, 0
	}
	return d.woken(shown, class, now, rules)
}

// woken infers from the age of data whether the car is awake, unless the car
// itself says it.
func (d dataKnown) woken(shown Data, class Class, now time.Time, rules Rules) dataKnown {
	switch {
	case shown.Wake != WakeUnknown:
		d.wake = shown.Wake
	case shown.RecordedAt.IsZero():
	case now.Sub(shown.RecordedAt) < awakeWithin(rules):
		d.wake = WakeAwake
	case class == ClassLegacy:
		d.wake = WakeAsleep
	}
	return d
}

// listed takes what a complete list of data shows of the car.
func (d dataKnown) listed(shown Data) dataKnown {
	if shown.Stored != StoredNotTold {
		d.nothing = shown.Stored == StoredNothing
	}
	if shown.Wake != WakeUnknown {
		d.wake = shown.Wake
	}
	return d
}

// outdatedBy reports whether a list contradicts what is known.
func (d dataKnown) outdatedBy(shown Data) bool { return d.listed(shown) != d }
