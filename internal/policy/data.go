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
	Wake       Wake      // as the car itself says
	Stored     Stored
}

// dataKnown is what is known of a car's data.
type dataKnown struct {
	wake       Wake
	streams    bool      // a legacy car that recorded faster than its refresh
	nothing    bool      // Smartcar has stored none of it; API v3
	recordedAt time.Time // the newest, by the car's clock
	fetchedAt  time.Time // when Smartcar was last asked for it, or sent it
}

// asked takes the data of an answer.
func (d dataKnown) asked(shown Data, class Class, now time.Time, rules Rules) dataKnown {
	d = d.fetched(now, now, rules)
	if class == ClassLegacy && !d.recordedAt.IsZero() {
		d.streams = d.streams || provesStreaming(shown.RecordedAt.Sub(d.recordedAt), rules)
	}
	d.recordedAt = later(d.recordedAt, shown.RecordedAt)
	return d.woken(shown, class, now, rules)
}

// pushed takes data that came without being asked for, as Smartcar had it at
// asOf. Data older than the newest known changes nothing. How far apart two of
// them were recorded proves no streaming: nobody knows what was left out in
// between.
func (d dataKnown) pushed(shown Data, asOf time.Time, class Class, now time.Time, rules Rules) dataKnown {
	known := earlier(d.recordedAt, now) // a car whose clock is ahead is not believed for ever
	shown.RecordedAt = earlier(shown.RecordedAt, now)
	switch {
	case shown.RecordedAt.IsZero() && asOf.Before(known), !shown.RecordedAt.IsZero() && shown.RecordedAt.Before(known):
		return d
	case !shown.RecordedAt.IsZero():
		d.recordedAt = shown.RecordedAt
		d = d.fetched(earlier(asOf, now), now, rules)
	}
	return d.woken(shown, class, now, rules)
}

// fetched notes when Smartcar was asked. What a clock that was wrong has dated in
// the future is not believed.
func (d dataKnown) fetched(at, now time.Time, rules Rules) dataKnown {
	if rules.future(d.fetchedAt, now) {
		d.fetchedAt = at
	}
	d.fetchedAt = later(d.fetchedAt, at)
	return d
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

// listed takes what a whole list of data shows, whatever was wanted of it.
func (d dataKnown) listed(shown Data) dataKnown {
	if shown.Stored != StoredNotTold {
		d.nothing = shown.Stored == StoredNothing
	}
	if shown.Wake != WakeUnknown {
		d.wake = shown.Wake
	}
	return d
}

// outdatedBy reports whether a list shows the car otherwise.
func (d dataKnown) outdatedBy(shown Data) bool { return d.listed(shown) != d }
