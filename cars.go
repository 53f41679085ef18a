package smartcar

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
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
	// cached are the records that this process has read or written last. A refusal
	// that follows from one needs no round trip; and while the store is away they
	// tell which cars may be asked. It is nil for a store.Memory, which is as fast.
	cached *lru.Cache[string, car]
	// jumps are those of the clock that dates the records. It is nil for a
	// store.Memory, whose clock does not jump.
	jumps *clocks.Jumps
}

// carRecordTTL is how long a record lives without a write. What the policy knew of
// the car is learned again after that.
const carRecordTTL = 90 * 24 * time.Hour

func newCars(o *options, r records.Records, u *users.Users) *cars {
	c := &cars{opts: o, records: r, users: u, rules: o.policyRules()}
	if _, ok := o.store.(*store.Memory); !ok {
		c.cached = lru.New[string, car](o.cacheSize)
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
	clock    *clocks.Clock

	unreadable bool // the record is not what this version writes; state stands in for it
}

func (c car) loaded() bool { return !c.answered.IsZero() }

// register stores the user and the car of a request of API v3 before it is sent:
// API v3 answers for users who were never stored here. If the user is gone when
// the answer arrives, Forget ran in between, and the answer is dropped.
func (cs *cars) register(ctx context.Context, ref carRef) (carRef, error) {
	if cs.opts.api != V3 || ref.registered {
		return ref, nil
	}
	if !cs.users.AddCar(ctx, ref.user, ref.id, true) {
		return ref, ErrNotConnected
	}
	ref.registered = true
	return ref, nil
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
	return cs.carFrom(ref, record, asked), nil
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

// recent reports whether c is young enough to refuse a request by it.
func (cs *cars) recent(c car) bool {
	return cs.opts.clock.Elapsed()-c.replied < cs.opts.recordTrust()
}

// step applies an event to a car at the present, and stores nothing.
func (cs *cars) step(c car, e policy.Event) (policy.State, policy.Decision) {
	now := c.now()
	return policy.Step(c.state, cs.witnessed(e, now), now, cs.rules)
}

// nextData is when a data request is allowed, by the clock of the record.
func (cs *cars) nextData(c car) policy.Decision {
	return c.state.NextData(c.now(), cs.rules)
}

func (cs *cars) carFrom(ref carRef, record store.Record, asked time.Duration) car {
	c := car{revision: record.Revision, asked: asked, replied: cs.opts.clock.Elapsed(), answered: record.Now, clock: cs.opts.clock}
	if c.answered.IsZero() { // the store has no clock
		c.asked, c.answered = c.replied, cs.opts.now()
		c.replied = cs.opts.clock.Elapsed()
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
	if cs.jumps != nil {
		cs.jumps.Observe(c.answered, c.asked, c.replied)
		seen, _ := cs.cached.Get(ref.key)
		c.state = cs.doubted(c.state, c, seen)
	}
	cs.cached.Put(ref.key, c)
	return c
}

// swap stores state in place of c. If another write came first, it returns what
// that one has stored, and false.
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
	case !addCar(ctx, ref.user, ref.id, !ref.registered && cs.opts.api == V3) && (c.revision == "" || !state.Keyless()):
		return c, false, ErrNotConnected // of a user who was forgotten, only an open window is kept
	}
	asked := cs.opts.clock.Elapsed()
	record, err := cs.records.Swap(ctx, ref.key, c.revision, policy.Encode(state, randid.New()), carRecordTTL)
	if err != nil && !errors.Is(err, store.ErrConflict) {
		cs.cached.Delete(ref.key) // the write may have landed
		return car{}, false, err
	}
	if err == nil && c.revision == "" {
		if err := cs.checkNew(ctx, ref, record.Revision); err != nil {
			return c, false, err
		}
	}
	if err == nil {
		tellChange(ctx, cs.opts.emitter, ref, c.state, state)
	}
	return cs.carFrom(ref, record, asked), err == nil, nil
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

// apply stores what events make of the stored state. If another write comes first,
// the events are applied to what that one has stored. A loaded c saves the first
// round trip. If the write shows that the store's clock was set meanwhile, the events
// are dated anew and applied once more.
func (cs *cars) apply(ctx context.Context, ref carRef, c car, events ...policy.Event) (car, error) {
	var err error
	if !c.loaded() {
		c, err = cs.load(ctx, ref)
	}
	for redated := 0; err == nil; {
		state := c.state
		for _, e := range events {
			stored := c.upper()
			state, _ = policy.Step(state, cs.witnessed(e.OnClock(cs.opts.now(), stored), stored), stored, cs.rules)
		}
		if state == c.state && !c.unreadable {
			return c, nil
		}
		before := c
		var done bool
		switch c, done, err = cs.swap(ctx, ref, c, state); {
		case !done:
		case redated == maxRedated || !c.setSince(before):
			return c, nil
		case !state.KeyAt().Equal(before.state.KeyAt()):
			events = knowing(c, events) // this write holds what they show
			fallthrough
		default:
			redated++
		}
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

// forget removes what is stored of a car. Only a turn that still counts stays,
// until its window is over: else a new owner would get a second turn.
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
		c.state = c.state.OpenWindow()
		rest := cs.nextData(c).Next.Sub(now)
		if rest <= 0 {
			err = cs.records.Delete(ctx, ref.key, c.revision)
		} else {
			_, err = cs.records.Swap(ctx, ref.key, c.revision, policy.Encode(c.state, randid.New()), rest)
		}
		if !errors.Is(err, store.ErrConflict) {
			return err
		}
	}
}

// A turn is the one data request that a keyless car may have under way. It is
// taken in the store before anything is sent, with a lease that ends by itself:
//
//	taken          by gate.data: the store holds a nonce that names this attempt
//	leave          the request is about to be sent: from here on the turn counts
//	               as used unless an answer says otherwise
//	reserve again  the request was refused for its token, and will be sent with
//	               another one
//	abandon        the caller has left: a request that is on the wire goes on, see
//	               gate.fly
//	settle         by gate.settle: what came back decides whether the turn is used
//
// Two replicas A and B, of which A is slow:
//
//  1. A takes the turn. Its lease covers the time until its request leaves.
//  2. A is stopped for longer than the lease, with nothing sent.
//  3. B sees that the lease has run out, takes the turn with a nonce of its own, and
//     sends its request.
//  4. A goes on. The swap of leave conflicts, and the record has the nonce of B: A
//     sends nothing and returns errTurnLost.
//
// If A is stopped after leave instead, B finds a turn that was sent and never
// settled: it counts as used when its lease ends, and B is refused for a window.
//
// A request that takes no turn has a nil turn, whose methods do nothing.
type turn struct {
	cars  *cars
	car   carRef
	op    Operation
	nonce uint64
	// record is what the store held of the car after the turn's last write.
	record car
	// left says that the last write has stored the phase sent, for a request that
	// leaves right after it.
	sentStored bool

	mu        sync.Mutex
	onWire    bool // the request has been given to the transport
	abandoned bool // the caller has left
}

var (
	// errTurnLost: the lease ran out before the request could leave, and another
	// replica took the turn.
	errTurnLost = errors.New("the turn of this vehicle was taken over before the request could be sent")
	// errStoreSlow: the store took so long to write the lease that what is left of the
	// lease does not cover the request.
	errStoreSlow = errors.New("the store answers too slowly for a turn to be taken")
	// errStoreClock: each answer of the store shows another time.
	errStoreClock = errors.New("the clock of the store was set several times while a turn was taken")
	// errAbandoned: the caller has left before the request could.
	errAbandoned = fmt.Errorf("the caller has left: %w", context.Canceled)
)

// leave lets the request go to the transport. It is called before each time the
// request is sent: a lease covers one sending. A caller who has left by then takes
// the request back; one who leaves later does not.
func (t *turn) leave(ctx context.Context) error {
	if t == nil {
		return nil
	}
	if err := t.noteLeaving(ctx); err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.abandoned {
		return &Error{Operation: t.op, reach: reachedNever, Err: errAbandoned}
	}
	t.onWire = true
	return nil
}

// abandon says that the caller has left. It reports whether the request is on the
// wire, and so goes on.
func (t *turn) abandon() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.abandoned = true
	return t.onWire
}

// callerLeft reports whether the caller has left: nothing more may be sent.
func (t *turn) callerLeft() bool {
	if t == nil {
		return false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.abandoned
}

// noteLeaving stores that the request leaves now, unless the turn was taken with
// that.
func (t *turn) noteLeaving(ctx context.Context) error {
	if t.sentStored && t.covered() {
		t.sentStored = false
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

// covered reports whether the stored lease outlasts a request that leaves now. It
// may not if the store was slow: the lease runs from before the write.
func (t *turn) covered() bool {
	return t.record.state.LeaseCovers(t.record.upper().Add(t.cars.opts.timeout + attemptMargin/2))
}

// reserveAgain is called when the request was refused for its token. It puts the
// turn back into the phase reserved, with the short lease of that phase: if this
// process dies during the token refresh that follows, the turn is free again while
// Smartcar still honors the used refresh token. If the write fails, the longer
// lease stays.
func (t *turn) reserveAgain(ctx context.Context) {
	if t == nil {
		return
	}
	t.sentStored = false
	t.mu.Lock()
	t.onWire = false
	t.mu.Unlock()
	for range 3 {
		state, d := t.cars.step(t.record, policy.ReserveAgain(t.nonce, t.cars.opts.reserveLease()))
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

// giveBack frees a turn after an unclear answer of the store: the turn may be
// stored as sent, and its request will not leave, so it would count as used.
func (cs *cars) giveBack(ctx context.Context, ref carRef, nonce uint64) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), giveBackTime)
	defer cancel()
	_, _ = cs.apply(ctx, ref, car{}, policy.Settle(nonce, 0, policy.Result{Outcome: policy.OutcomeReleased}))
}
