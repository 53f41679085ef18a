package smartcar

import (
	"context"
	"errors"
	"fmt"
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
	// entered: the user was stored before the request left, and must still be when
	// the request ends. A user who is gone by then was forgotten meanwhile.
	entered bool
}

func newCarRef(user, id string) carRef { return carRef{user: user, id: id, key: "car/" + id} }

// cars are the policy's records of the vehicles, one for each, as this process
// sees them. It is safe for concurrent use.
type cars struct {
	opts    *options
	records records.Records
	users   *users.Users
	// known remembers the records of cars in a shared store: a refusal that
	// follows from them needs no round trip, and when the store is away they
	// tell which cars are open. It is nil for a store.Memory.
	known *lru.Cache[string, car]
	// jumps are those of the clock by which the records are dated. It is nil for a
	// store.Memory, whose clock does not jump.
	jumps *clocks.Jumps
}

// carRecordTTL forgets cars nobody asks for. What it loses is learned again.
const carRecordTTL = 90 * 24 * time.Hour

func newCars(o *options, r records.Records, u *users.Users) *cars {
	c := &cars{opts: o, records: r, users: u}
	if _, ok := o.store.(*store.Memory); !ok {
		c.known = lru.New[string, car](o.cacheSize)
		c.jumps = clocks.NewJumps(o.rules.KeylessWindow + 2*o.policyRules().MaxLease)
	}
	return c
}

// A car is a vehicle's record in the store, with the clock it is to be judged by:
// the store's, and the wall clock of this machine if the store has none. From one
// answer of the store to the next, that clock goes on by the time that passes in
// this process, whatever a wall clock does meanwhile.
type car struct {
	state    policy.State
	revision store.Revision
	answered time.Time     // the clock of the record while the store answered; zero for a car not loaded
	asked    time.Duration // how much time had passed here before the store was asked
	replied  time.Duration // and when it had answered
	clock    *clocks.Clock

	unreadable bool // the record is not what this version writes; state stands in for it
}

// now is a lower bound of the record's present: right for permitting.
func (c car) now() time.Time { return c.answered.Add(c.clock.Elapsed() - c.replied) }

// upper is an upper bound of the record's present: right for recording.
func (c car) upper() time.Time { return c.answered.Add(c.clock.Elapsed() - c.asked) }

// ours turns a time of the record's clock into one of our wall clock, which is the
// one the caller goes by.
func (c car) ours(t time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	return c.clock.Now().Add(t.Sub(c.now()))
}

func (c car) loaded() bool { return !c.answered.IsZero() }

// enter stores, on API v3, whom a request is for before it is sent: a user need
// not be known here to be asked about. If the user is gone when the answer
// arrives, Forget ran in between and the answer is dropped.
func (cs *cars) enter(ctx context.Context, ref carRef) (carRef, error) {
	if cs.opts.api != V3 || ref.entered {
		return ref, nil
	}
	if !cs.users.AddCar(ctx, ref.user, ref.id, true) {
		return ref, ErrNotConnected
	}
	ref.entered = true
	return ref, nil
}

// stillEntered reports whether the user of a car that was entered is still there.
func (cs *cars) stillEntered(ctx context.Context, ref carRef) bool {
	return cs.users.AddCar(ctx, ref.user, ref.id, false)
}

// leaveUnknown undoes enter for a car that Smartcar does not know, so that ids
// which are guessed do not pile up.
func (cs *cars) leaveUnknown(ctx context.Context, ref carRef, err error) {
	if ref.entered && isGone(err) {
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
	return cs.carFrom(ref, record, asked), nil
}

// loadAnyway is load, also for a caller who has left or leaves meanwhile.
func (cs *cars) loadAnyway(ctx context.Context, ref carRef) (car, error) {
	if c, err := cs.load(ctx, ref); ctx.Err() == nil {
		return c, err
	}
	ctx, cancel := contexts.Detached(ctx)
	defer cancel()
	return cs.load(ctx, ref)
}

// lookUp is load, except that it spares the round trip where the record is
// known from before: a swap finds out by itself that it is outdated. Fresh says
// whether the store was asked.
func (cs *cars) lookUp(ctx context.Context, ref carRef) (c car, fresh bool, err error) {
	if c, ok := cs.known.Get(ref.key); ok {
		return c, false, nil
	}
	c, err = cs.load(ctx, ref)
	return c, true, err
}

// recent reports whether c was loaded so lately that it is good enough to refuse by.
func (cs *cars) recent(c car) bool {
	return cs.opts.clock.Elapsed()-c.replied < cs.opts.knownFor()
}

// judged is the state of a car as this process sees it at present, by all clocks
// that it knows of.
func (cs *cars) judged(c car) policy.State {
	if cs.jumps == nil {
		return c.state
	}
	passed := c.clock.Elapsed()
	return c.state.Doubted(c.now(), policy.Witness{
		Machine: cs.opts.steady.Now(),
		Jumped:  func(since time.Time) time.Duration { return cs.jumps.Since(since, passed) },
	}, cs.opts.policyRules())
}

// step is what the policy makes of an event at present.
func (cs *cars) step(c car, e policy.Event) (policy.State, policy.Decision) {
	now := c.now()
	return policy.Step(cs.judged(c), e.Witnessed(cs.opts.steady.Now(), now), now, cs.opts.policyRules())
}

// nextData is when a data request is allowed, by the clock of the record.
func (cs *cars) nextData(c car) policy.Decision {
	return cs.judged(c).NextData(c.now(), cs.opts.policyRules())
}

// stillOpen reports whether a turn that was taken from before may be used, now that
// the store has said what time it is.
func (cs *cars) stillOpen(before, taken car) bool {
	if taken.setSince(before) {
		return false // what is stored is dated by a clock that shows another time now
	}
	taken.state = before.state
	return cs.nextData(taken).Next.IsZero()
}

// clockGrain is by how much two clocks that nobody has set may drift apart.
const clockGrain = time.Minute

// setSince reports whether the clock of the record was set between two answers of
// the store.
func (c car) setSince(before car) bool {
	return c.now().Sub(before.upper()) > clockGrain || before.now().Sub(c.upper()) > clockGrain
}

func (cs *cars) carFrom(ref carRef, record store.Record, asked time.Duration) car {
	c := car{revision: record.Revision, answered: record.Now, asked: asked, replied: cs.opts.clock.Elapsed(), clock: cs.opts.clock}
	if c.answered.IsZero() { // the store has no clock
		c.asked, c.answered = c.replied, cs.opts.now()
		c.replied = cs.opts.clock.Elapsed()
	}
	if cs.jumps != nil {
		cs.jumps.Observe(c.answered, c.asked, c.replied)
	}
	if record.Revision == "" {
		c.state = cs.lost(ref)
	} else {
		state, err := policy.Decode(record.Value)
		if err != nil {
			// Written by another version: closed for a window, then overwritten.
			c.unreadable, state = true, policy.Closed(c.answered)
		}
		c.state = state
	}
	cs.known.Put(ref.key, c)
	return c
}

// lost is what this process knows of a car that the store does not know: nothing,
// unless it has seen a window that is still open by the time that has passed here.
// Then the clock of the store was so far ahead that the record expired.
func (cs *cars) lost(ref carRef) policy.State {
	if c, ok := cs.known.Get(ref.key); ok && !cs.nextData(c).Next.IsZero() {
		return c.state.OpenWindow()
	}
	return policy.State{}
}

// swap stores state in place of c. When somebody else was faster it returns
// what is stored now, and false.
func (cs *cars) swap(ctx context.Context, ref carRef, c car, state policy.State) (car, bool, error) {
	addCar := cs.users.AddCar
	if c.revision == "" { // nothing new is kept of a user who was forgotten elsewhere a moment ago
		addCar = cs.users.AddCarNow
	}
	switch {
	case ref.user == "": // a webhook that names no user: see learnReadings
		if c.revision == "" {
			return c, false, ErrNotConnected
		}
	case !addCar(ctx, ref.user, ref.id, !ref.entered && cs.opts.api == V3) && (c.revision == "" || !state.Keyless()):
		return c, false, ErrNotConnected // of a user who was forgotten, only an open window is kept
	}
	asked := cs.opts.clock.Elapsed()
	record, err := cs.records.Swap(ctx, ref.key, c.revision, policy.Encode(state, randid.New()), carRecordTTL)
	if err != nil && !errors.Is(err, store.ErrConflict) {
		cs.known.Delete(ref.key) // it may have landed
		return car{}, false, err
	}
	return cs.carFrom(ref, record, asked), err == nil, nil
}

// apply applies events to the stored state, until they are there. It begins
// with c if that was loaded, which saves a round trip while nobody was faster.
func (cs *cars) apply(ctx context.Context, ref carRef, c car, events ...policy.Event) (car, error) {
	var err error
	if !c.loaded() {
		c, err = cs.load(ctx, ref)
	}
	for err == nil {
		state := c.state
		for _, e := range events {
			stored := c.upper()
			e = e.OnClock(cs.opts.now(), stored).Witnessed(cs.opts.steady.Now(), stored)
			state, _ = policy.Step(state, e, stored, cs.opts.policyRules())
		}
		if state == c.state && !c.unreadable {
			return c, nil
		}
		before := c
		var done bool
		if c, done, err = cs.swap(ctx, ref, c, state); done && !c.setSince(before) {
			return c, nil
		}
		if done && !state.KeyAt().Equal(before.state.KeyAt()) {
			events = knowing(c, events) // which hold, and are dated anew
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

// forget removes what is known of a car, but for a window that is still open.
func (cs *cars) forget(ctx context.Context, ref carRef) error {
	for {
		c, err := cs.load(ctx, ref)
		if err != nil || c.revision == "" {
			return err
		}
		if c.unreadable {
			c.state = policy.State{}
		}
		cs.known.Delete(ref.key)
		now := c.now() // the earliest it can be: the record must not go before its window closes
		rest := cs.nextData(c).Next.Sub(now)
		if rest <= 0 {
			err = cs.records.Delete(ctx, ref.key, c.revision)
		} else {
			_, err = cs.records.Swap(ctx, ref.key, c.revision, policy.Encode(c.state.OpenWindow(), randid.New()), rest)
		}
		if !errors.Is(err, store.ErrConflict) {
			return err
		}
	}
}

// A turn is the one data request that a keyless car may have under way. It is
// taken in the store before anything is sent, with a lease that ends by itself:
//
//	taken      by gate.data: the store holds a nonce that names this attempt
//	leave      the request is about to be sent: from here on the turn counts as
//	           used unless an answer says otherwise
//	hold back  the request was refused for its token and will leave once more
//	settle     by gate.settle: what came back decides whether the turn is used
//
// The methods of a nil turn, of a request that takes none, do nothing.
type turn struct {
	cars  *cars
	car   carRef
	op    Operation
	nonce uint64
	// record is what the store held of the car after the turn's last write.
	record car
	// left: record says that the request leaves, and its lease was reckoned for a
	// request that leaves right after that write.
	left bool
}

var (
	// errTurnLost: the lease ran out before the request could leave, and another
	// replica took the turn.
	errTurnLost = errors.New("the turn of this vehicle was taken over before the request could be sent")
	// errStoreSlow: the store took so long to note that the request leaves that its
	// lease would not cover the request.
	errStoreSlow = errors.New("the store answers too slowly for a turn to be taken")
)

// askData is what the policy is asked for a turn. A request whose token is at
// hand leaves at once: then taking the turn and leaving are one write.
func (o *options) askData(nonce uint64, ready bool) policy.Event {
	if ready {
		return policy.AskDataAndLeave(nonce, o.lease())
	}
	return policy.AskData(nonce, o.reserveLease())
}

// leave stores that the request leaves now, unless the turn was taken with that.
// It is called before each time the request is sent: a lease covers one sending.
func (t *turn) leave(ctx context.Context) error {
	if t == nil {
		return nil
	}
	if t.left && t.covered() {
		t.left = false
		return nil
	}
	var err error
	for range 3 {
		state, d := t.cars.step(t.record, policy.Leave(t.nonce, t.cars.opts.lease()))
		if d.Verdict == policy.VerdictLost {
			return &RateLimitError{
				Operation: t.op, VehicleID: t.car.id, Rule: RuleKeyless, Local: true, InFlight: true,
				NextAllowed: t.record.ours(t.cars.nextData(t.record).Next), Err: errTurnLost,
			}
		}
		var stored bool
		before := t.record
		t.record, stored, err = t.cars.swap(ctx, t.car, t.record, state)
		if err != nil || stored && t.covered() && !t.record.setSince(before) {
			return err
		}
	}
	return fmt.Errorf("%w: %w", ErrStore, errStoreSlow)
}

// covered reports whether the stored lease outlasts a request that leaves now.
// The store may have been late with anything since the lease was reckoned.
func (t *turn) covered() bool {
	return t.record.state.LeaseCovers(t.record.upper().Add(t.cars.opts.timeout + attemptMargin/2))
}

// holdBack lets a turn whose request was refused for its token be reserved
// again, with the short lease of a reservation: if this process dies of the
// token refresh that follows, the turn is free again while the used refresh
// token is still honored. If that cannot be stored, the longer lease stays.
func (t *turn) holdBack(ctx context.Context) {
	if t == nil {
		return
	}
	t.left = false
	for range 3 {
		state, d := t.cars.step(t.record, policy.HoldBack(t.nonce, t.cars.opts.reserveLease()))
		if d.Verdict == policy.VerdictLost {
			return
		}
		record, stored, err := t.cars.swap(ctx, t.car, t.record, state)
		if err != nil {
			return
		}
		if t.record = record; stored {
			return
		}
	}
}

// giveBack frees a turn of which it is not clear whether it was stored, and whose
// request will not leave: else it would count as used.
func (cs *cars) giveBack(ctx context.Context, ref carRef, nonce uint64) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), giveBackTime)
	defer cancel()
	_, _ = cs.apply(ctx, ref, car{}, policy.Settle(nonce, 0, policy.Result{Outcome: policy.OutcomeReleased}))
}
