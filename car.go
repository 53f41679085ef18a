package smartcar

import (
	"context"
	"errors"
	"time"

	"github.com/seed-498a1bc4/smartcar/internal/contexts"
	"github.com/seed-498a1bc4/smartcar/internal/policy"
	"github.com/seed-498a1bc4/smartcar/internal/randid"
	"github.com/seed-498a1bc4/smartcar/store"
)

// car is a vehicle's record in the store, with the clock it is to be judged by.
type car struct {
	state    policy.State
	revision store.Revision
	asked    time.Time // our clock, before the store was asked
	replied  time.Time // our clock, when it had answered
	answered time.Time // the store's clock while it answered; ours if it has none
	clock    Clock

	unreadable bool // the record is not what this version writes; state stands in for it
}

// now is a lower bound of the store's present: right for permitting.
func (c car) now() time.Time { return c.answered.Add(c.clock.Now().Sub(c.replied)) }

// upper is an upper bound of the store's present: right for recording.
func (c car) upper() time.Time { return c.answered.Add(c.clock.Now().Sub(c.asked)) }

// ours turns a time of the store's clock into one of ours, which is the one the
// caller goes by.
func (c car) ours(t time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	return t.Add(c.replied.Sub(c.answered))
}

func (c car) loaded() bool { return !c.asked.IsZero() }

func (g *gate) load(ctx context.Context, v *Vehicle) (car, error) {
	asked := g.now()
	record, err := g.records.Load(ctx, v.policyKey)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return car{}, err
	}
	return g.carFrom(v, record, asked), nil
}

// loadAnyway is load, also for a caller who has left or leaves meanwhile.
func (g *gate) loadAnyway(ctx context.Context, v *Vehicle) (car, error) {
	if c, err := g.load(ctx, v); ctx.Err() == nil {
		return c, err
	}
	ctx, cancel := contexts.Detached(ctx)
	defer cancel()
	return g.load(ctx, v)
}

// lookUp is load, except that it spares the round trip where the record is
// known from before: a swap finds out by itself that it is outdated. Fresh says
// whether the store was asked.
func (g *gate) lookUp(ctx context.Context, v *Vehicle) (c car, fresh bool, err error) {
	if c, ok := g.known.Get(v.policyKey); ok {
		return c, false, nil
	}
	c, err = g.load(ctx, v)
	return c, true, err
}

// recent reports whether c was loaded so lately that it is good enough to refuse by.
func (g *gate) recent(c car) bool {
	return g.now().Sub(c.replied).Abs() < g.opts.knownFor()
}

// step is what the policy makes of an event at present.
func (g *gate) step(c car, e policy.Event) (policy.State, policy.Decision) {
	return policy.Step(c.state, e, c.now(), g.opts.policyRules())
}

// nextData is when a data request is allowed, by the store's clock.
func (g *gate) nextData(c car) policy.Decision {
	return c.state.NextData(c.now(), g.opts.policyRules())
}

func (g *gate) carFrom(v *Vehicle, record store.Record, asked time.Time) car {
	c := car{revision: record.Revision, asked: asked, replied: g.now(), answered: record.Now, clock: g.opts.clock}
	if c.answered.IsZero() {
		c.answered, c.replied = asked, asked
	}
	if record.Revision != "" {
		state, err := policy.Decode(record.Value)
		if err != nil {
			// Written by another version: closed for a window, then overwritten.
			c.unreadable, state = true, policy.Closed(c.answered)
		}
		c.state = state
	}
	g.known.Put(v.policyKey, c)
	return c
}

// swap stores state in place of c. When somebody else was faster it returns
// what is stored now, and false.
func (g *gate) swap(ctx context.Context, v *Vehicle, c car, state policy.State) (car, bool, error) {
	note := g.tokens.noteCar
	if c.revision == "" { // nothing new is kept of a user who was forgotten elsewhere a moment ago
		note = g.tokens.noteCarNow
	}
	switch {
	case v.userID == "": // a webhook that names no user: see learnReadings
		if c.revision == "" {
			return c, false, ErrNotConnected
		}
	case !note(ctx, v.userID, v.id, !v.noted) && (c.revision == "" || !state.Keyless()):
		return c, false, ErrNotConnected // of a user who was forgotten, only an open window is kept
	}
	asked := g.now()
	record, err := g.records.Swap(ctx, v.policyKey, c.revision, policy.Encode(state, randid.New()), carRecordTTL)
	if err != nil && !errors.Is(err, store.ErrConflict) {
		g.known.Delete(v.policyKey) // it may have landed
		return car{}, false, err
	}
	return g.carFrom(v, record, asked), err == nil, nil
}

// update applies events to the stored state, until they are there. It begins
// with c if that was loaded, which saves a round trip while nobody was faster.
func (g *gate) update(ctx context.Context, v *Vehicle, c car, events ...policy.Event) (car, error) {
	var err error
	if !c.loaded() {
		c, err = g.load(ctx, v)
	}
	for err == nil {
		state := c.state
		for _, e := range events {
			stored := c.upper()
			state, _ = policy.Step(state, e.OnClock(g.now(), stored), stored, g.opts.policyRules())
		}
		if state == c.state && !c.unreadable {
			return c, nil
		}
		var done bool
		if c, done, err = g.swap(ctx, v, c, state); done {
			return c, nil
		}
	}
	return car{}, err
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}
