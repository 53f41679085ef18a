package policy_test

import (
	"time"

	"github.com/seed-498a1bc4/smartcar/internal/policy"
)

// This file is the server that the walks ask, and what they hold the client to.

// failure is a property that does not hold.
type failure uint8

const (
	_ failure = iota
	twice
	tooLong
	stolen
	limited
	oldLimit
	woken
)

var failures = map[failure]string{
	twice:    "two data requests were counted inside a window",
	tooLong:  "the car is refused longer than the rule, a lease and the steps of the clocks allow",
	stolen:   "a turn was taken from an attempt whose lease had not ended",
	limited:  "a data request left before the time that the server has named",
	oldLimit: "the car is refused for a limit from before the key was there",
	woken:    "a car that sleeps was asked again before its pause was over",
}

// process: the server has the request of a replica.
func (w *world) process(i int) {
	r := &w.replicas[i]
	r.stage, r.at, r.keyThen = processed, w.now, w.hasKey
	r.wait = w.count(orphan{told: r.told, ended: r.ended, heedLimit: r.heedLimit})
	r.counted = !w.hasKey && r.wait == 0
}

// count: the server counts a data request, and refuses the car for as long as it
// returns.
func (w *world) count(o orphan) (wait int16) {
	w.heed(o.heedLimit)
	if w.hasKey {
		return 0
	}
	if w.counted != never && w.now-w.counted < window {
		if known := max(w.bound, o.ended); o.told && known != never && w.now-known < window {
			w.wrong = twice
		}
		return window - (w.now - w.counted)
	}
	w.counted = w.now
	if o.told {
		w.bound = w.now
	}
	return 0
}

// heed: a request has come that was to heed the server's limit, or not.
func (w *world) heed(limit bool) {
	if limit && w.now < w.limitTo {
		w.wrong = limited
	}
}

// refused checks that a car is not locked for too long: see model_test.go.
func (w *world) refused(i int, d policy.Decision) {
	due := w.due
	for k := range w.replicas {
		due = max(due, w.replicas[k].due)
	}
	if due = max(due, w.now-1); w.stepped > 0 {
		due += w.stepped + lease
	}
	const grain = lease / 2 // a read without a turn is booked with a grain
	switch {
	case w.now+int16(d.Next.Sub(w.storeTime(i))/time.Minute) > due+grain:
		w.wrong = tooLong
	case d.Rule == policy.RuleServer && w.limitAt == never && w.stepped == 0:
		w.wrong = oldLimit
	}
}

// expect notes when the car has to be open again after a result.
func (w *world) expect(result policy.Result) {
	switch result.Outcome {
	case policy.OutcomeOK, policy.OutcomeAnswered:
		w.bookedBy = w.storeBy
		w.due = max(w.due, w.now+window)
		w.asleepTo = never
	case policy.OutcomeUnclear:
		w.bookedBy = w.storeBy
		w.due = max(w.due, w.now+lease+window)
	case policy.OutcomeLimited:
		wait := int16(result.RetryAfter / time.Minute)
		w.due, w.limitTo, w.limitAt = max(w.due, w.now+wait), max(w.limitTo, w.now+wait), w.now
		w.limitBy = w.storeBy
	case policy.OutcomeAsleep:
		w.due, w.asleepTo = max(w.due, w.now+12*lease), max(w.asleepTo, w.now+lease)
	}
}
