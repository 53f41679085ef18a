package smartcartest

import (
	"math"
	"strings"
	"time"
)

const (
	streamingBeat   = time.Minute     // how often a streaming car records
	legacyPollDelay = 5 * time.Second // from the beat of a legacy car until the poller has stored it
	asleepFor       = 3 * time.Hour   // age of the values of a car that starts asleep
	historyKept     = 64              // changes of a car that are remembered
)

// sleepMode is who decides whether a car sleeps.
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
	born  time.Time // drift counts from here

	sleepMode       sleepMode
	sleepModeSince  time.Time // when mode was chosen; zero: has always been so
	beatAnchor      time.Time // what the beats of a kept-awake car align to
	recordedAtLeast time.Time // recorded before since, or by waking for a command

	keyEpoch      int       // changes with every pairing and unpairing
	turnAt        time.Time // when the open window of a keyless car began
	turnUsed      bool
	turnRecording recording // what that turn fetched

	signalsFrom time.Time // to a webhook for the first time; zero is never

	servedFetch time.Time // fetch time of the newest answer given
	changes     []change
	ledger      []Entry
}

// rules are the two windows.
type rules struct {
	keylessWindow time.Duration
	legacyRefresh time.Duration
	keylessAnswer KeylessAnswer
}

// recording is when values were recorded by the car and fetched by the vendor.
type recording struct{ recorded, fetched time.Time }

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

// keyless says whether the one-per-window rule holds for the car now.
func (v *vehicle) keyless() bool { return v.Integration == Streaming && !v.Paired }

// polled says whether the vendor's poller fetches the car's data.
func (v *vehicle) polled() bool { return v.Integration == Legacy && !v.DataSharing }

// schedulable says which kinds a make knows.
func (v *vehicle) schedulable(kind string) bool {
	return v.tesla() || strings.EqualFold(v.Make, "VOLVO") && kind == "daily"
}

// setPaired starts a new key epoch: windows never reach across one.
func (v *vehicle) setPaired(paired bool) {
	if v.Paired == paired {
		return
	}
	v.Paired = paired
	v.keyEpoch++
	v.turnUsed = false
}

// storeSignalsFrom notes when the vendor begins to store the car's signals.
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

func (v *vehicle) beat() time.Duration {
	if v.polled() {
		return v.rules.legacyRefresh
	}
	return streamingBeat
}

func (v *vehicle) pollDelay() time.Duration {
	if v.polled() {
		return legacyPollDelay
	}
	return 0
}

// wakePeriod is the latest stretch of wakefulness that began at or before t. The
// third result is false when there is none since the mode was chosen.
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

func (v *vehicle) asleep(now time.Time) bool {
	_, end, ok := v.wakePeriod(now)
	return !ok || !now.Before(end)
}

// setSleepMode keeps what was recorded so far and hands the sleep to somebody else.
func (v *vehicle) setSleepMode(mode sleepMode, now time.Time) {
	start, _, awake := v.wakePeriod(now)
	if !awake || v.asleep(now) {
		start = now
	}
	v.recordedAtLeast = later(v.recordedAtLeast, v.recorded(now))
	v.sleepMode, v.sleepModeSince, v.beatAnchor = mode, now, start
}

// recorded is when the newest values that the vendor has were recorded.
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
	if !v.polled() && !v.asleep(now) { // these report a change when it happens
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

// pushed is what the vendor has of a car without asking it.
func (v *vehicle) pushed(now time.Time) recording {
	at := v.recorded(now)
	fetched := at.Add(v.pollDelay())
	if fetched.After(now) {
		fetched = now
	}
	return recording{recorded: at, fetched: fetched}
}

// gate lets a data request in and says what it may see. The entry learns how
// the car answered. An error means that the car was not read.
func (v *vehicle) gate(now time.Time, e *Entry) (recording, *apiError) {
	if v.AsleepError && v.asleep(now) {
		return recording{}, newError("VEHICLE_STATE", "ASLEEP") // not sent: no turn
	}
	e.AtGate, e.Keyless, e.epoch = true, v.keyless(), v.keyEpoch
	r := recording{recorded: v.recorded(now), fetched: now}
	if e.Keyless {
		left := v.rules.keylessWindow
		if gone := now.Sub(v.turnAt); gone > 0 { // negative: the clock was put back
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

// execute sends a command to the car, if it takes any.
func (v *vehicle) execute(now time.Time, entry *Entry, e effect) *apiError {
	if entry != nil {
		entry.Keyless = v.keyless()
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

// apply carries a command out. The car reports once, even when it was asleep.
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

func (v *vehicle) odometer(t time.Time) float64 {
	return math.Max(0, v.OdometerKm+v.KmPerDay*t.Sub(v.born).Hours()/24)
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

func round(v float64, places int) float64 {
	p := math.Pow10(places)
	return math.Round(v*p) / p
}
