package smartcartest

import (
	"math"
	"net/url"
	"strings"
	"time"
)

const (
	streamingBeat   = time.Minute     // how often a streaming car records
	legacyPollDelay = 5 * time.Second // from a recording of a legacy car until the poller has stored it
	asleepFor       = 3 * time.Hour   // age of the values of a car that starts asleep
	historyKept     = 64              // changes of a car that are remembered
)

// sleepMode says what decides whether a car sleeps.
type sleepMode int

const (
	bySchedule sleepMode = iota
	keptAwake
	keptAsleep
)

// vehicle is a car at run time. The server's mutex guards it.
type vehicle struct {
	Car
	rules rules
	born  time.Time // when New made it: values drift from here

	sleepMode       sleepMode
	sleepModeSince  time.Time // when sleepMode was chosen; zero before the first choice
	beatAnchor      time.Time // a car that is kept awake records at this time plus a number of beats
	recordedAtLeast time.Time // newest recording before sleepModeSince or by a command to a sleeping car

	lostAccess bool // the vendor cannot log in to the owner's account any more

	keyEpoch      int       // rises when the key is added or removed
	turnAt        time.Time // when the newest window of a keyless car began
	turnUsed      bool      // a window has begun in this key epoch
	turnRecording recording // what the request saw that began the window

	signalsFrom time.Time // when the first subscription to a webhook begins; zero is never

	servedFetch time.Time // when the newest data that was given out had been fetched
	changes     []change
	ledger      []Entry
}

// rules are what New was told about keyless and legacy cars.
type rules struct {
	keylessWindow time.Duration
	legacyRefresh time.Duration
	keylessAnswer KeylessAnswer
}

// recording says when values were recorded by the car, and when the vendor
// fetched them.
type recording struct{ recorded, fetched time.Time }

// newVehicle makes the car as it is at New.
func newVehicle(c Car, r rules, now time.Time) *vehicle {
	v := &vehicle{Car: c, rules: r, born: now}
	v.changes = []change{{condition: condition{
		battery: c.Battery, batteryAt: now, charging: c.Charging, plugged: c.Plugged,
		locked: !c.Unlocked, limit: c.ChargeLimit, amperage: 16, climateSet: 21,
	}}}
	if c.Asleep {
		v.sleepMode, v.sleepModeSince = keptAsleep, now
		v.recordedAtLeast = now.Add(-asleepFor).Truncate(v.beat())
	}
	return v
}

// keyless says whether the car is one that needs the virtual key and does not
// have it.
func (v *vehicle) keyless() bool { return v.Integration == Streaming && !v.Paired }

// polled says whether the vendor's poller fetches the car's data.
func (v *vehicle) polled() bool { return v.Integration == Legacy && !v.DataSharing }

// schedulable says whether the car's make knows a kind of charge schedule.
func (v *vehicle) schedulable(kind string) bool {
	return v.tesla() || strings.EqualFold(v.Make, "VOLVO") && kind == "daily"
}

// setPaired adds or removes the key. Each change begins a new key epoch and
// ends the open window, so that no window reaches from one epoch into the
// next.
func (v *vehicle) setPaired(paired bool) {
	if v.Paired == paired {
		return
	}
	v.Paired = paired
	v.keyEpoch++
	v.turnUsed = false
}

// storeSignalsFrom lets the vendor store the car's signals from a time on. The
// earliest time counts.
func (v *vehicle) storeSignalsFrom(from time.Time) {
	if v.signalsFrom.IsZero() || from.Before(v.signalsFrom) {
		v.signalsFrom = from
	}
}

// hasSignals says whether the vendor has stored signals of the car, which
// API v3 then lists.
func (v *vehicle) hasSignals(now time.Time) bool {
	return !v.NeverSubscribed || !v.signalsFrom.IsZero() && !now.Before(v.signalsFrom)
}

// beat is how often the car records while it is awake.
func (v *vehicle) beat() time.Duration {
	if v.polled() {
		return v.rules.legacyRefresh
	}
	return streamingBeat
}

// pollDelay is how long the vendor takes to store a recording.
func (v *vehicle) pollDelay() time.Duration {
	if v.polled() {
		return legacyPollDelay
	}
	return 0
}

// wakePeriod is the latest time of being awake that began at or before t; ok
// is false when the car has not been awake since the sleep mode was chosen.
func (v *vehicle) wakePeriod(t time.Time) (start, end time.Time, ok bool) {
	forever := t.Add(24 * time.Hour)
	switch v.sleepMode {
	case keptAsleep:
		return time.Time{}, time.Time{}, false
	case keptAwake:
		return v.beatAnchor, forever, !t.Before(v.beatAnchor)
	}
	if v.AwakeFor <= 0 || v.AwakeFor >= 24*time.Hour {
		return later(time.Unix(0, 0).UTC(), v.sleepModeSince), forever, !t.Before(v.sleepModeSince)
	}
	start = t.Truncate(24 * time.Hour).Add(v.AwakeFrom)
	for start.After(t) { // AwakeFrom may be beyond a day
		start = start.Add(-24 * time.Hour)
	}
	end = start.Add(v.AwakeFor)
	return later(start, v.sleepModeSince), end, end.After(v.sleepModeSince)
}

// asleep says whether the car sleeps.
func (v *vehicle) asleep(now time.Time) bool {
	_, end, ok := v.wakePeriod(now)
	return !ok || !now.Before(end)
}

// setSleepMode changes what decides about sleep. Values recorded so far stay
// recorded: recordedAtLeast keeps the time of the newest.
func (v *vehicle) setSleepMode(mode sleepMode, now time.Time) {
	start, _, awake := v.wakePeriod(now)
	if !awake || v.asleep(now) {
		start = now
	}
	v.recordedAtLeast = later(v.recordedAtLeast, v.recorded(now))
	v.sleepMode, v.sleepModeSince, v.beatAnchor = mode, now, start
}

// recorded is when the car recorded the newest values that the vendor has.
func (v *vehicle) recorded(now time.Time) time.Time {
	newest := v.recordedAtLeast
	visible := now.Add(-v.pollDelay())
	if start, end, ok := v.wakePeriod(visible); ok {
		t := visible
		if t.After(end) {
			t = end
		}
		newest = later(newest, start.Add(t.Sub(start).Truncate(v.beat())))
	}
	if !v.polled() && !v.asleep(now) { // such a car records when a command changes it
		newest = later(newest, v.changes[len(v.changes)-1].at)
	}
	if newest.After(now) { // the clock was put back
		newest = now
	}
	if newest.IsZero() {
		newest = v.born.Add(-asleepFor)
	}
	return newest
}

// pushed is the newest recording that the vendor has, without a request to the
// car.
func (v *vehicle) pushed(now time.Time) recording {
	at := v.recorded(now)
	fetched := at.Add(v.pollDelay())
	if fetched.After(now) {
		fetched = now
	}
	return recording{recorded: at, fetched: fetched}
}

// accessError is the error of a car whose owner must re-authenticate; nil when
// there is no need.
func (v *vehicle) accessError() *apiError {
	if !v.lostAccess {
		return nil
	}
	err := newError("CONNECTED_SERVICES_ACCOUNT", "AUTHENTICATION_FAILED")
	q := url.Values{"response_type": {"vehicle_id"}, "client_id": {clientID}, "vehicle_id": {v.ID}}
	err.resolutionURL = "https://connect.smartcar.com/oauth/reauthenticate?" + q.Encode()
	return err
}

// gate admits a data request to the car and returns the recording that the
// request sees, or refuses it. It writes to the entry whether the request took
// a turn. Inside the window of a keyless car, no request takes a turn: it sees
// the recording of the window's turn (StaleData) or is refused. With
// VIRTUAL_KEY_REQUIRED that recording comes back too, because v3 sends it
// beside the error.
func (v *vehicle) gate(now time.Time, e *Entry) (recording, *apiError) {
	if err := v.accessError(); err != nil {
		return recording{}, err // nobody can ask the car, and it takes no turn
	}
	if v.AsleepError && v.asleep(now) {
		return recording{}, newError("VEHICLE_STATE", "ASLEEP") // the request is not sent and takes no turn
	}
	e.AtGate, e.Keyless, e.epoch = true, v.keyless(), v.keyEpoch
	r := recording{recorded: v.recorded(now), fetched: now}
	if e.Keyless {
		left := v.rules.keylessWindow
		if gone := now.Sub(v.turnAt); gone > 0 { // negative when the clock was put back
			left -= gone
		}
		if v.turnUsed && left > 0 {
			r = v.turnRecording
			switch v.rules.keylessAnswer {
			case StaleData:
				e.RecordedAt = r.recorded
				return r, nil
			case KeyRequired:
				return r, newError("CONNECTED_SERVICES_ACCOUNT", "VIRTUAL_KEY_REQUIRED")
			default:
				err := newError("RATE_LIMIT", "VEHICLE")
				err.retryAfter = left
				return r, err
			}
		}
		v.turnAt, v.turnUsed, v.turnRecording = now, true, r
	} else if v.Integration != Other { // pushed or polled, not fetched for this request
		r.fetched = r.recorded.Add(v.pollDelay())
		if r.fetched.After(now) {
			r.fetched = now
		}
	}
	e.Counted, e.RecordedAt = true, r.recorded
	e.Live = r.fetched.After(v.servedFetch)
	v.servedFetch = later(v.servedFetch, r.fetched)
	return r, nil
}

// conditionAt is the condition of the car at a time.
func (v *vehicle) conditionAt(t time.Time) condition {
	for i := len(v.changes) - 1; i > 0; i-- {
		if !v.changes[i].at.After(t) {
			return v.changes[i].condition
		}
	}
	return v.changes[0].condition
}

// execute sends a command to the car. A sleeping car may refuse it, and a
// keyless one always does. The entry learns whether the command was carried
// out; it may be nil.
func (v *vehicle) execute(now time.Time, entry *Entry, e effect) *apiError {
	if entry != nil {
		entry.Keyless = v.keyless()
	}
	if err := v.accessError(); err != nil {
		return err
	}
	switch {
	case v.AsleepError && v.asleep(now):
		return newError("VEHICLE_STATE", "ASLEEP")
	case v.keyless():
		return newError("CONNECTED_SERVICES_ACCOUNT", "VIRTUAL_KEY_REQUIRED")
	}
	if e.check != nil {
		if err := e.check(v.conditionAt(now)); err != nil {
			return err
		}
	}
	apply := e.apply
	if apply == nil {
		apply = func(*condition) {}
	}
	v.apply(now, apply)
	if entry != nil {
		entry.Executed = true
	}
	return nil
}

// apply changes the condition of the car from now on. The car records once,
// even while it sleeps.
func (v *vehicle) apply(now time.Time, effect func(*condition)) {
	c := v.conditionAt(now)
	c.battery, c.batteryAt = c.percent(now), now
	effect(&c)
	v.changes = append(v.changes, change{at: now, condition: c})
	if len(v.changes) > historyKept {
		v.changes = append(v.changes[:0], v.changes[1:]...)
	}
	if v.asleep(now) {
		v.recordedAtLeast = later(v.recordedAtLeast, now)
	}
}

// odometer is in km at a time.
func (v *vehicle) odometer(t time.Time) float64 {
	return math.Max(0, v.OdometerKm+v.KmPerDay*t.Sub(v.born).Hours()/24)
}

// later is the later of two times.
func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// round rounds to a number of decimal places, and never to minus zero, which
// JavaScript prints as 0.
func round(v float64, places int) float64 {
	p := math.Pow10(places)
	return math.Round(v*p)/p + 0
}
