package smartcar

import (
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/seed-498a1bc4/smartcar/internal/clocks"
	"github.com/seed-498a1bc4/smartcar/internal/contexts"
	"github.com/seed-498a1bc4/smartcar/internal/lru"
	"github.com/seed-498a1bc4/smartcar/internal/policy"
	"github.com/seed-498a1bc4/smartcar/internal/randid"
	"github.com/seed-498a1bc4/smartcar/internal/records"
	"github.com/seed-498a1bc4/smartcar/internal/users"
	"github.com/seed-498a1bc4/smartcar/store"
)

// A carRef names a car as one user's connection reaches it.
type carRef struct {
	user string // empty for a webhook that names no user
	id   string
	key  string // under which the store keeps the policy's record of the car
	// registered says that the user was stored before the request left. A user who is
	// gone when the request ends was forgotten in between.
	registered bool
	// vouched says that the user need not be loaded: this process has written the car's
	// record for that user, and nobody has changed it since. See cars.vouched.
	vouched bool
}

func newCarRef(user, id string) carRef { return carRef{user: user, id: id, key: carKeyPrefix + id} }

const carKeyPrefix = "car/"

// cars are the policy's records of the vehicles, one for each, as this process
// sees them. It is safe for concurrent use.
type cars struct {
	opts    *options
	records records.Records
	users   *users.Users
	rules   policy.Rules
	trust   time.Duration // how old a record may be that decides a request which takes no turn: see recordTrust
	// cached are the records that this process has read or written last. A refusal
	// that follows from one needs no round trip; and while the store is away they
	// tell which cars may be asked.
	cached *lru.Cache[string, car]
	// jumps are those of the clock that dates the records. It is nil for a
	// store.Memory, whose clock does not jump.
	jumps *clocks.Jumps
}

// carRecordTTL is how long a record lives without a write. What the policy knew of
// the car is learned again after that.
const carRecordTTL = 90 * 24 * time.Hour

func newCars(o *options, r records.Records, u *users.Users) *cars {
	c := &cars{opts: o, records: r, users: u, rules: o.policyRules(), trust: o.recordTrust(), cached: lru.New[string, car](o.cacheSize)}
	if _, ok := o.store.(*store.Memory); !ok {
		c.jumps = clocks.NewJumps(c.rules.KeylessWindow + 2*c.rules.MaxLease)
	}
	return c
}

// A car is a vehicle's record in the store, with the clock it is to be judged by: the
// store's, or the wall clock of this machine if the store has none. From one answer of
// the store to the next, that clock goes on by the time that passes in this process,
// whatever a wall clock does meanwhile.
type car struct {
	state    policy.State
	revision store.Revision
	answered time.Time     // the clock of the record while the store answered; zero for a car not loaded
	asked    time.Duration // how much time had passed here before the store was asked
	replied  time.Duration // and after the store had answered
	asOf     time.Duration // how much time had passed when the store may have read the record
	clock    *clocks.Clock
	number   uint64 // drawn when the store had answered: see records.Records.Number
	voucher

	unreadable bool // the record is not what this version writes; state stands in for it
}

// A voucher names the user who is stored with a car for certain at its revision: see
// cars.vouched. The zero value vouches for nobody.
type voucher struct {
	by   string
	born uint64
}

func (c *car) loaded() bool { return !c.answered.IsZero() }

// vouched reports whether a record shows that its user is still stored, so that the
// user's own record need not be loaded: this process made the last write to it, for that
// user, whom it had loaded after the record that was replaced. Forget removes or changes
// the record of each car:
//
//  1. A loads the record of a car, then its user, and writes the record of the car.
//  2. B forgets the user: the car's record is gone, or was written anew.
//  3. A swaps what it has written in step 1. The swap conflicts, and A looks at the user.
//
// If the swap lands, or the record is loaded and still the same, step 2 has not ended. If
// A had loaded the user first, step 2 could have come before the record was loaded.
func (cs *cars) vouched(ref carRef, c *car) bool {
	if c.revision == "" || c.by == "" || c.by != ref.user {
		return false
	}
	user := cs.users.Known(ref.user)
	return user != nil && user.Born == c.born
}

// expected is register for a request for data that will not leave before the turn of a
// keyless car is taken: the swap that takes it shows whether the user is still stored.
func (cs *cars) expected(ctx context.Context, r *request) (carRef, error) {
	if c, ok := cs.cached.Get(r.car.key); ok && r.kind == KindData && !r.override && c.state.Keyless() && cs.vouched(r.car, &c) {
		ref := r.car
		ref.vouched = true
		return ref, nil
	}
	return cs.register(ctx, r.car)
}

// register stores the user and the car of a request of API v3 before it is sent:
// API v3 answers for users who were never stored here. If the user is gone when
// the answer arrives, Forget ran in between, and the answer is dropped.
func (cs *cars) register(ctx context.Context, ref carRef) (carRef, error) {
	if cs.opts.api != V3 || ref.registered {
		return ref, nil
	}
	if !cs.users.AddCar(ctx, ref.user, ref.id, cs.mayStore(ref)) {
		return ref, ErrNotConnected
	}
	ref.registered, ref.vouched = true, false
	return ref, nil
}

// mayStore reports whether a user who is not stored may be stored for a request. One who
// was known when the request began was forgotten since.
func (cs *cars) mayStore(ref carRef) bool {
	return cs.opts.api == V3 && !ref.registered && !ref.vouched
}

// stillRegistered reports whether the user of a registered car is still stored.
func (cs *cars) stillRegistered(ctx context.Context, ref carRef) bool {
	return cs.users.AddCar(ctx, ref.user, ref.id, false)
}

// unregisterUnknown undoes register for a car that Smartcar does not know, so that
// guessed ids do not pile up in the store.
func (cs *cars) unregisterUnknown(ctx context.Context, ref carRef, err error) {
	if ref.registered && isGone(err) {
		if c, err := cs.load(ctx, ref); err == nil && c.revision == "" {
			_ = cs.users.RemoveCar(ctx, ref.user, ref.id)
		}
	}
}

func (cs *cars) load(ctx context.Context, ref carRef) (car, error) {
	asked := cs.opts.clock.Elapsed()
	record, err := cs.records.Load(ctx, ref.key)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return car{}, err
	}
	return cs.keep(ref, record, asked, voucher{}), nil
}

// loadDetached is load for a caller who has left.
func (cs *cars) loadDetached(ctx context.Context, ref carRef) (car, error) {
	ctx, cancel := contexts.Detached(ctx)
	defer cancel()
	return cs.load(ctx, ref)
}

// lookUp is load without the round trip where the record is cached. An outdated
// record does no harm: a swap fails on it, and then the store is asked. Fresh says
// whether the store was asked.
func (cs *cars) lookUp(ctx context.Context, ref carRef) (c car, fresh bool, err error) {
	if c, ok := cs.cached.Get(ref.key); ok {
		return c, false, nil
	}
	c, err = cs.load(ctx, ref)
	return c, true, err
}

// after is lookUp for a record that has come after that number was drawn.
func (cs *cars) after(ctx context.Context, ref carRef, number uint64) (car, error) {
	if c, ok := cs.cached.Get(ref.key); ok && c.number > number {
		return c, nil
	}
	return cs.load(ctx, ref)
}

// step applies an event to a car at the present, and stores nothing.
func (cs *cars) step(c *car, e policy.Event) (policy.State, policy.Decision) {
	now := c.now()
	return policy.Step(&c.state, cs.witnessed(e, now), now, cs.rules)
}

// nextData is when a data request is allowed, by the clock of the record.
func (cs *cars) nextData(c *car) policy.Decision {
	return c.state.NextData(c.now(), cs.rules)
}

// keep makes a car of what the store has answered, and keeps it as the last that was seen.
// If v vouches for nobody, a car that was seen with the same revision keeps its voucher.
func (cs *cars) keep(ref carRef, record store.Record, asked time.Duration, v voucher) (c car) {
	c.revision, c.answered, c.clock, c.number, c.voucher = record.Revision, record.Now, cs.opts.clock, cs.records.Number(), v
	c.asked, c.replied = asked, c.clock.Elapsed()
	c.asOf = asked           // even if the store has no clock
	if c.answered.IsZero() { // the store has no clock
		c.asked, c.answered = c.replied, cs.opts.now()
		c.replied = c.clock.Elapsed()
	}
	var before car
	if cs.jumps != nil || v.by == "" { // else the car is what this process has just written, and no other clock is asked
		before, _ = cs.cached.Get(ref.key)
	}
	var err error
	if record.Revision == "" {
		c.state = cs.lost(&before)
	} else if c.state, err = policy.Decode(record.Value); err != nil {
		// Written by another version. The car counts as just asked, and the next write
		// replaces the record with that.
		c.unreadable, c.state = true, policy.Closed(c.answered)
	}
	if cs.jumps != nil {
		cs.jumps.Observe(c.answered, c.asked, c.replied)
		c.state = cs.doubted(&c.state, &c, &before)
	}
	if v.by == "" && before.loaded() && before.revision == c.revision {
		c.voucher = before.voucher
	}
	cs.cached.Put(ref.key, c)
	return c
}

// swap stores state in place of c. If another write came first, it returns what
// that one has stored, and false.
func (cs *cars) swap(ctx context.Context, ref carRef, c *car, state *policy.State) (written car, done bool, err error) {
	vouches := cs.vouched(ref, c)
	addCar := cs.users.AddCar
	if c.revision == "" { // nothing new is kept of a user who was forgotten elsewhere a moment ago
		addCar = cs.users.AddCarNow
	}
	switch {
	case ref.user == "": // a webhook that names no user: see learnReadings
		if c.revision == "" {
			return *c, false, ErrNotConnected
		}
	case vouches:
	case !addCar(ctx, ref.user, ref.id, cs.mayStore(ref)) && (c.revision == "" || !state.Keyless()):
		return *c, false, ErrNotConnected // of a user who was forgotten, only a running window is kept
	}
	v := voucher{ref.user, c.born}
	if !vouches {
		if v.born, vouches = cs.users.Since(ref.user, ref.id, c.number); !vouches {
			v = voucher{}
		}
	}
	asked := cs.opts.clock.Elapsed()
	record, err := cs.records.Swap(ctx, ref.key, c.revision, policy.Encode(state, randid.New()), carRecordTTL)
	switch {
	case errors.Is(err, store.ErrConflict):
		return cs.keep(ref, record, asked, voucher{}), false, nil
	case err != nil:
		cs.cached.Delete(ref.key) // the write may have landed
		return car{}, false, err
	case c.revision == "":
		if err := cs.checkNew(ctx, ref, record.Revision); err != nil {
			return *c, false, err
		}
	}
	written = cs.keep(ref, record, asked, v)
	tellChange(ctx, cs.opts.emitter, ref, &c.state, state)
	return written, true, nil
}

// checkNew deletes a record that was made while its user was being forgotten, and
// returns ErrNotConnected then:
//
//  1. The user is looked at before the record is made, and is known.
//  2. Forget marks the user and removes the cars. This one has no record yet.
//  3. The record is made. Nothing leads to it any more.
//
// So the user is looked at once more after step 3. If there is no mark by then,
// Forget has not begun to look for records, and will find this one.
func (cs *cars) checkNew(ctx context.Context, ref carRef, made store.Revision) error {
	ctx, cancel := contexts.Detached(ctx)
	defer cancel()
	if cs.users.AddCarNow(ctx, ref.user, ref.id, false) {
		return nil
	}
	cs.cached.Delete(ref.key)
	err := cs.records.Delete(ctx, ref.key, made)
	if errors.Is(err, store.ErrConflict) { // another request has changed it meanwhile
		err = cs.forget(ctx, ref)
	}
	return cmp.Or(err, ErrNotConnected)
}

// apply stores what events make of the stored state. It starts from a car that is loaded,
// else from the cached record, without asking the store: if that record is outdated, the
// swap conflicts and shows the newer one, to which the events are applied. If the events
// change nothing, no swap would show that, so the record is loaded first. If the store's
// clock was set during the write, the events are dated anew and applied once more.
func (cs *cars) apply(ctx context.Context, ref carRef, from *car, events ...policy.Event) (c car, err error) {
	fresh, began, left := from != nil && from.loaded(), cs.opts.now(), cs.opts.clock.Elapsed()
	if fresh {
		c = *from
	} else {
		c, fresh, err = cs.lookUp(ctx, ref)
	}
	for redated := 0; err == nil; {
		state := c.state
		stored, here := c.upper(), began.Add(cs.opts.clock.Elapsed()-left) // our clock, if it is not set meanwhile
		for _, e := range events {
			state, _ = policy.Step(&state, cs.witnessed(e.OnClock(here, stored), stored), stored, cs.rules)
		}
		if state == c.state && !c.unreadable {
			if fresh {
				return c, nil
			}
			c, err = cs.load(ctx, ref)
			fresh = true
			continue
		}
		fresh = true
		var written car
		var done bool
		switch written, done, err = cs.swap(ctx, ref, &c, &state); {
		case !done:
		case redated == maxRedated || !written.setSince(&c):
			return written, nil
		case !state.KeyAt().Equal(c.state.KeyAt()):
			events = knowing(&written, events) // this write holds what they show
			fallthrough
		default:
			redated++
		}
		c = written
	}
	return car{}, err
}

// maxRedated is how often one write is made again since the store's clock was set
// meanwhile. If that happens more often, no date of this store can be relied on.
const maxRedated = 3

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

// forget removes what is stored of a car. What makes it wait stays until the wait ends, the
// turn of a running window or a limit of Smartcar's: else a new owner could ask too early. A
// record that cannot be read is deleted: its window is not known.
func (cs *cars) forget(ctx context.Context, ref carRef) error {
	for {
		c, err := cs.load(ctx, ref)
		if err != nil || c.revision == "" {
			return err
		}
		if c.unreadable {
			c.state = policy.State{}
		}
		cs.cached.Delete(ref.key)
		now := c.now() // the lower bound: the record must not go before its window is over
		c.state = c.state.RunningWindow()
		rest := cs.nextData(&c).Next.Sub(now)
		if rest <= 0 {
			err = cs.records.Delete(ctx, ref.key, c.revision)
		} else {
			_, err = cs.records.Swap(ctx, ref.key, c.revision, policy.Encode(&c.state, randid.New()), rest)
		}
		if !errors.Is(err, store.ErrConflict) {
			return err
		}
	}
}

// What follows is about clocks. There are three: that of the store, which dates the
// records of the cars, the wall clock of this machine, and the time that passes in
// this process, which nobody sets. The first two may be wrong and may be set at any
// moment, also while a request is under way. A fourth, opts.steady, is the wall clock as
// it was when this process began, carried on by the time that passes. Package policy
// takes their times as values: see its clock.go.

// now is a lower bound of the record's present, which makes no window end early.
func (c *car) now() time.Time { return c.answered.Add(c.clock.Elapsed() - c.replied) }

// upper is an upper bound of the record's present, which makes no turn look older
// than it is.
func (c *car) upper() time.Time { return c.answered.Add(c.clock.Elapsed() - c.asked) }

// ours turns a time of the record's clock into one of our wall clock, as callers see it.
func (c *car) ours(t time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	return c.clock.Now().Add(t.Sub(c.now()))
}

// clockGrain is by how much two clocks that nobody has set may drift apart.
const clockGrain = time.Minute

// setSince reports whether the clock of the record was set between two answers of
// the store.
func (c *car) setSince(before *car) bool {
	moved := c.answered.Sub(before.answered)
	return moved-(c.replied-before.asked) > clockGrain || c.asked-before.replied-moved > clockGrain
}

// doubted is a state as this process judges it while the clock of c shows what it
// does, by all other clocks that the process knows of. Seen is the car as it was seen
// last; not loaded if it was not.
func (cs *cars) doubted(s *policy.State, c, seen *car) policy.State {
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
func (cs *cars) stillOpen(before, taken *car) bool {
	if cs.jumps == nil {
		return true
	}
	state := cs.doubted(&before.state, taken, before)
	return state.NextData(taken.now(), cs.rules).Next.IsZero()
}

// lost is what this process knows of a car that the store does not know: nothing,
// unless it has seen a window that still runs, by the time that has passed here.
// Then the clock of the store was so far ahead that the record expired. Seen is the car
// as it was seen last; not loaded if it was not.
func (cs *cars) lost(seen *car) policy.State {
	if seen.loaded() && !cs.nextData(seen).Next.IsZero() {
		return seen.state.RunningWindow()
	}
	return policy.State{}
}

// knowing notes that a request which has brought evidence began when c was known: see
// policy.Event.Knowing.
func knowing(c *car, events []policy.Event) []policy.Event {
	if c.loaded() {
		keyAt, now := c.state.KeyAt(), c.now()
		for i := range events {
			events[i] = events[i].Knowing(keyAt, now)
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
