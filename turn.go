package smartcar

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/seed-498a1bc4/smartcar/internal/contexts"
	"github.com/seed-498a1bc4/smartcar/internal/policy"
	"github.com/seed-498a1bc4/smartcar/internal/randid"
)

// askForData sends a data request if the car's rule allows one now.
func askForData(ctx context.Context, g *gate, r *request, ref carRef, next layer) (a attempt, err error) {
	if r.withoutTurn {
		return attempt{}, ErrTakesTurn
	}
	t := taking{gate: g, r: r, ref: ref, next: next}
	if r.override {
		// An answer with dates of its own may show what was so before the last evidence. Where
		// this machine's clock and the record's disagree, those dates tell nothing, and the
		// answer counts as newer than what was known when its request left.
		if c, _, err := g.cars.lookUp(ctx, ref); err == nil && g.opts.now().Sub(c.now()).Abs() > clockGrain {
			t.c = c
		}
		return t.send(ctx)
	}
	t.past = g.underway.Enter(ref.key)
	defer g.underway.Exit(ref.key)
	var done, known bool
	if t.c, known = g.cars.cached.Get(ref.key); !known || t.c.state.Unlearned(t.c.now(), g.probe.keyIsFree) {
		a, done, err = t.learn(ctx, known)
	}
	for !done && err == nil {
		a, done, err = t.step(ctx)
	}
	if done {
		return a, err
	}
	ref, ended := g.cars.register(ctx, ref)
	if ended != nil {
		return attempt{}, ended
	}
	a, err = g.withoutStore(ctx, r, ref, err, next)
	return g.conclude(ctx, r, ref, nil, a, err)
}

// taking is a data request that asks the policy for the turn of its car, or whether it may
// go without one. Its methods report done with what the caller gets: the answer of a
// request, its own or a shared one, or a refusal. An error of a method that is not done
// means that the policy could not be asked.
type taking struct {
	gate *gate
	r    *request
	ref  carRef
	next layer
	past *flight // the car's last one, if it had ended when the request came

	nonce    uint64 // 0 until a turn may be taken
	c        car    // the record that the policy is asked with
	fresh    bool   // c was loaded or written since the request came
	prepared bool   // the token was asked for
	redated  int    // how often the store's clock was set
}

// learn learns what must be known of the car before its data is asked for. If that is the
// status of its key, the write of what it shows also takes the turn. A car that is not
// known here is looked up first.
func (t *taking) learn(ctx context.Context, known bool) (a attempt, done bool, err error) {
	g := t.gate
	if !known {
		if err = t.load(ctx); err != nil || !g.wants(&t.c) {
			return attempt{}, false, err
		}
	}
	t.nonce = randid.New()
	w := wish{nonce: t.nonce, flight: newFlight(t.r, t.ref)}
	t.c, t.fresh, err = g.learn(ctx, t.r, t.ref, &t.c, t.fresh, &w)
	if !w.asked {
		return attempt{}, false, err
	}
	if err == nil && t.c.state.Holds(t.nonce) && g.cars.stillOpen(&w.before, &t.c) {
		a, err = t.fly(ctx, w.flight, &t.c, true)
		return a, true, err
	}
	g.underway.Withdraw(w.flight)
	// With StorePolicy.SendKeyless the request is sent although the store has failed (see
	// gate.withoutStore): a turn that may be stored must stay.
	if goes := err != nil && !contexts.IsEnd(err) && g.opts.storePolicy.SendKeyless; !goes && (err != nil || t.c.state.Holds(t.nonce)) {
		g.cars.giveBack(ctx, t.ref, t.nonce)
		t.nonce = randid.New()
	}
	if err == nil {
		t.c, err = g.cars.load(ctx, t.ref)
	}
	return attempt{}, false, err
}

// step asks the policy once, and does what it says.
func (t *taking) step(ctx context.Context) (a attempt, done bool, err error) {
	g, now := t.gate, t.c.now()
	if k := t.r.kept; k != nil && (!k.plain.Load() || t.c.state.Repeats()) {
		k.setClass(&t.c.state)
	}
	// A request whose token is at hand leaves at once: then taking the turn and leaving
	// are one write.
	ask, leaves := policy.AskData(t.nonce, g.reserve), false
	if t.nonce != 0 && t.c.state.Keyless() {
		if leaves = t.r.auth.ready(); leaves {
			ask = policy.AskDataAndLeave(t.nonce, g.lease)
		}
		ask = g.cars.witnessed(ask, now)
	}
	state, d := policy.Step(&t.c.state, ask, now, g.cars.rules)
	trusted := t.fresh || g.opts.clock.Elapsed() < t.c.asOf+g.cars.trust
	switch {
	case d.Verdict == policy.VerdictRefuse && trusted:
		return t.refused(ctx, &state, d)
	case d.Verdict == policy.VerdictSend && (t.fresh || trusted && t.c.state.Open()):
		a, err = t.send(ctx)
		return a, true, err
	case d.Verdict != policy.VerdictTake:
		// The record may not decide this alone: it is older than recordTrust, or the car may
		// be under a rule (it is not Open) and was not loaded for this request. Another
		// replica may have learned about its key meanwhile, or an earlier version have
		// written what it knows.
		if err = t.load(ctx); err == nil && g.wants(&t.c) {
			t.c, t.fresh, err = g.learn(ctx, t.r, t.ref, &t.c, true, nil)
		}
		return attempt{}, false, err
	case t.nonce == 0: // a turn may be taken: draw a nonce, and ask the policy again with it
		t.nonce = randid.New()
		return attempt{}, false, nil
	case !leaves && !t.prepared && t.r.auth.shared():
		// The token of all cars is renewed before the turn is taken: then taking it and
		// leaving are one write. What fails here fails again when the token is needed.
		_, _ = t.r.auth.authorization(ctx)
		t.prepared = true
		return attempt{}, false, nil
	}
	return t.take(ctx, &state, leaves)
}

func (t *taking) load(ctx context.Context) (err error) {
	t.c, err = t.gate.cars.load(ctx, t.ref)
	t.fresh = true
	return err
}

// refused shares a request that is under way, or returns the refusal.
func (t *taking) refused(ctx context.Context, state *policy.State, d policy.Decision) (attempt, bool, error) {
	f := t.gate.flightFor(t.r, t.past)
	if f == nil {
		return attempt{}, true, t.gate.refuse(ctx, t.r, t.ref, &t.c, state, d)
	}
	if a, ok, err := t.gate.share(ctx, t.r, t.ref, f); ok || err != nil {
		return a, true, err
	}
	return attempt{}, false, t.load(ctx)
}

// take writes that the request has the turn, and sends it.
func (t *taking) take(ctx context.Context, state *policy.State, leaves bool) (a attempt, done bool, err error) {
	g := t.gate
	f := newFlight(t.r, t.ref)
	g.underway.Announce(f, false)
	stored, taken, err := g.cars.swap(ctx, t.ref, &t.c, state)
	taken = taken || err == nil && stored.state.Holds(t.nonce) // a conflict with our own write, which had landed
	if taken && g.cars.stillOpen(&t.c, &stored) {
		a, err = t.fly(ctx, f, &stored, leaves)
		return a, true, err
	}
	t.c, t.fresh = stored, true
	g.underway.Withdraw(f)
	switch {
	case taken: // the store's clock was set since the car was looked up
		g.cars.giveBack(ctx, t.ref, t.nonce)
		if t.redated++; t.redated > maxRedated {
			return attempt{}, false, fmt.Errorf("%w: %w", ErrStore, errStoreClock)
		}
		err = t.load(ctx)
	case err != nil && (contexts.IsEnd(err) || leaves && !g.opts.storePolicy.SendKeyless):
		g.cars.giveBack(ctx, t.ref, t.nonce)
	}
	return attempt{}, false, err
}

// fly sends the request, which has the turn by that record.
func (t *taking) fly(ctx context.Context, f *flight, record *car, sentStored bool) (attempt, error) {
	t.gate.underway.Announce(f, true)
	held := &turn{cars: t.gate.cars, car: t.ref, op: t.r.op, nonce: t.nonce, record: *record, sentStored: sentStored}
	return t.gate.fly(ctx, t.r, f, held, t.next)
}

// send sends the request without a turn.
func (t *taking) send(ctx context.Context) (a attempt, err error) {
	if t.ref.vouched {
		if t.ref, err = t.gate.cars.register(ctx, t.ref); err != nil {
			return attempt{}, err
		}
	}
	a, err = t.next(ctx, t.r, nil)
	t.gate.settle(ctx, t.r, t.ref, &t.c, nil, a)
	return t.gate.conclude(ctx, t.r, t.ref, nil, a, err)
}

// A turn is the one data request that a keyless car may have under way. It is
// taken in the store before anything is sent, with a lease that ends by itself:
//
//	taken          by taking: the store holds a nonce that names this attempt
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
	// sentStored says that the turn's last write has already stored the phase sent, so
	// that the next leave need not write it.
	sentStored bool

	mu        sync.Mutex
	onWire    bool // the request has been given to the transport
	abandoned bool // the caller has left
}

var (
	// errTurnLost: the lease ran out before the request could leave, and another
	// replica took the turn.
	errTurnLost = errors.New("the turn of this vehicle was taken over before the request could be sent")
	// errStoreSlow: three writes of the lease took so long that what was left of it did not
	// cover the request, or another write came first.
	errStoreSlow = errors.New("the store answers too slowly, or is written too often, for a turn to be taken")
	// errStoreClock: each answer of the store shows another time.
	errStoreClock = errors.New("the clock of the store was set several times while a turn was taken")
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
	t.onWire = true
	return nil
}

// abandon says that the caller has left. It reports whether the request is on the wire,
// and so goes on; else it cancels the request's context. leave takes the same lock,
// and transmitting looks at the context after that: a request that leaves later than this
// is not sent.
func (t *turn) abandon(cancel func()) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.abandoned = true
	if !t.onWire {
		cancel()
	}
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

// noteLeaving stores that the request leaves now. It writes nothing if the write that took
// the turn has stored that already, and its lease still covers the request.
func (t *turn) noteLeaving(ctx context.Context) error {
	if t.sentStored && t.covered() {
		t.sentStored = false
		return nil
	}
	cause := errStoreSlow
	for range 3 {
		state, d := t.cars.step(&t.record, policy.Leave(t.nonce, t.cars.opts.lease()))
		if d.Verdict == policy.VerdictLost {
			return &RateLimitError{
				Operation: t.op, VehicleID: t.car.id, Rule: RuleKeyless, Local: true, InFlight: true,
				NextAllowed: t.record.ours(t.cars.nextData(&t.record).Next), Err: errTurnLost,
			}
		}
		before := t.record
		record, stored, err := t.cars.swap(ctx, t.car, &before, &state)
		if t.record = record; err != nil {
			return err
		}
		switch wasSet := record.setSince(&before); {
		case stored && t.covered() && !wasSet:
			return nil
		case wasSet:
			cause = errStoreClock
		default:
			cause = errStoreSlow
		}
	}
	return fmt.Errorf("%w: %w", ErrStore, cause)
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
		state, d := t.cars.step(&t.record, policy.ReserveAgain(t.nonce, t.cars.opts.reserveLease()))
		if d.Verdict == policy.VerdictLost {
			return
		}
		record, stored, err := t.cars.swap(ctx, t.car, &t.record, &state)
		if err != nil {
			return
		}
		if t.record = record; stored {
			return
		}
	}
}

// giveBack frees a turn whose request will not leave: the store's answer was unclear, the
// store's clock was set, or the caller has left. Without this, a turn that is stored as sent
// would count as used.
func (cs *cars) giveBack(ctx context.Context, ref carRef, nonce uint64) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), giveBackTime)
	defer cancel()
	_, _ = cs.apply(ctx, ref, nil, policy.Settle(nonce, 0, policy.Result{Outcome: policy.OutcomeReleased}))
}
