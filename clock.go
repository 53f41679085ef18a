package smartcar

import (
	"context"
	"time"

	"github.com/seed-498a1bc4/smartcar/internal/policy"
)

// This file is about clocks. There are three: that of the store, which dates the
// records of the cars, the wall clock of this machine, and the time that passes in
// this process, which nobody sets. The first two may be wrong and may be set at any
// moment, also while a request is under way. Package policy takes their times as
// values: see its clock.go.

// A Clock is the client's only source of time beside the deadlines of
// requests. The default is the computer's.
//
// Now may be wrong, and may be stepped like the clock of any machine: that opens
// no window and ends no login. So it does not tell how much time has passed.
// That is:
//
//   - what the Clock's own method Elapsed() time.Duration says, if it has one,
//     which must never go back; the computer's and that of package smartcartest do
//   - for a Clock that runs by itself, the time that passes in this process
//   - for a Clock that stands still until it is moved, what it is moved forward
//
// A Clock that runs and is moved as well, as a way to let hours pass in a test,
// needs Elapsed: else it is taken for a clock that was stepped.
type Clock interface {
	Now() time.Time
	// Sleep returns nil after d, or the cause of ctx's end.
	Sleep(ctx context.Context, d time.Duration) error
}

// now is a lower bound of the record's present, which makes no window end early.
func (c car) now() time.Time { return c.answered.Add(c.clock.Elapsed() - c.replied) }

// upper is an upper bound of the record's present, which makes no turn look older
// than it is.
func (c car) upper() time.Time { return c.answered.Add(c.clock.Elapsed() - c.asked) }

// ours turns a time of the record's clock into one of our wall clock, as callers see it.
func (c car) ours(t time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	return c.clock.Now().Add(t.Sub(c.now()))
}

// clockGrain is by how much two clocks that nobody has set may drift apart.
const clockGrain = time.Minute

// setSince reports whether the clock of the record was set between two answers of
// the store.
func (c car) setSince(before car) bool {
	return c.now().Sub(before.upper()) > clockGrain || before.now().Sub(c.upper()) > clockGrain
}

// doubted is a state as this process judges it while the clock of c shows what it
// does, by all other clocks that the process knows of. Seen is the car as it was seen
// last; not loaded if it was not.
func (cs *cars) doubted(s policy.State, c, seen car) policy.State {
	now, passed := c.now(), c.clock.Elapsed()
	w := policy.Witness{
		Machine: cs.opts.steady.Now(),
		Jumped:  func(since time.Time) time.Duration { return cs.jumps.Since(since, passed) },
	}
	if seen.loaded() {
		w.Seen = seen.state.SeenAgo(passed - seen.asked)
	}
	return s.Doubted(now, w, cs.rules)
}

// witnessed notes what the clock of this machine shows beside that of the record.
func (cs *cars) witnessed(e policy.Event, now time.Time) policy.Event {
	return e.Witnessed(cs.opts.steady.Now(), now)
}

// stillOpen reports whether a turn that was taken by what was known before may be
// used, now that the store has said what time it is.
func (cs *cars) stillOpen(before, taken car) bool {
	if cs.jumps == nil {
		return true
	}
	if taken.setSince(before) {
		return false // what was stored is dated by a clock that shows another time now
	}
	taken.state = cs.doubted(before.state, taken, before)
	return cs.nextData(taken).Next.IsZero()
}

// lost is what this process knows of a car that the store does not know: nothing,
// unless it has seen a window that is still open by the time that has passed here.
// Then the clock of the store was so far ahead that the record expired.
func (cs *cars) lost(ref carRef) policy.State {
	if c, ok := cs.cached.Get(ref.key); ok && !cs.nextData(c).Next.IsZero() {
		return c.state.OpenWindow()
	}
	return policy.State{}
}

// knowing notes that a request which has brought evidence began when c was known: see
// policy.Event.Knowing.
func knowing(c car, events []policy.Event) []policy.Event {
	if c.loaded() {
		for i := range events {
			events[i] = events[i].Knowing(c.state.KeyAt(), c.now())
		}
	}
	return events
}

// redated are events that the attempt has shown, dated by the present wall clock: it
// may have been set while the request was under way.
func (a attempt) redated(o *options, events []policy.Event) []policy.Event {
	here, now := a.began.Add(o.clock.Elapsed()-a.left), o.now()
	for i := range events {
		events[i] = events[i].OnClock(here, now)
	}
	return events
}
