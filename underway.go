package smartcar

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"runtime/debug"
	"sync"
	"time"

	"github.com/seed-498a1bc4/smartcar/internal/contexts"
	"github.com/seed-498a1bc4/smartcar/internal/policy"
	"github.com/seed-498a1bc4/smartcar/internal/underway"
)

// maxDetached is how many reads may go on at once whose callers have left.
const maxDetached = 1000

// lingerBelow is how quickly an answer has to come for its flight to linger.
const lingerBelow = time.Millisecond

// A flight is a request that holds the turn of a car, as those see it who may
// share its answer.
type flight = underway.Flight[shared]

type shared struct {
	car          carRef
	scope, grant string // whose answer it will be
	connect      uint64
	units        UnitSystem
	reads        []operation // what it asks for; nil for what nobody can share

	// Set before the flight ends:
	attempt  attempt
	err      error
	panicked any  // what a panic of the transport was called with
	died     bool // the goroutine ended in the middle of it
}

// shares reports whether a read may take an answer that somebody else asked for,
// and give others its own.
func (r *request) shares() bool { return r.reads != nil && r.query == nil && !r.alone && !r.override }

// newFlight describes the request to those who may share it.
func newFlight(r *request, ref carRef) *flight {
	v := shared{car: ref, scope: r.scope, grant: r.grant.grant, connect: r.connect, units: r.keptIn}
	if r.shares() {
		v.reads = r.reads
	}
	return underway.NewFlight(ref.key, v)
}

// flightFor returns the flight of a car, if a caller who came after past had ended
// can share it.
func (g *gate) flightFor(r *request, past *flight) *flight {
	if !r.shares() {
		return nil
	}
	return g.underway.Shared(r.car.key, past, func(v *shared, ended bool) bool {
		return !(ended && v.attempt.answer == nil) && v.reads != nil && v.scope == r.scope && v.connect == r.connect &&
			v.grant == r.grant.grant && v.units == r.keptIn && g.probe.wire.holds(r.reads, v.reads)
	})
}

// fly sends a request that has taken its car's turn. If the caller's context can
// end, the request is sent by a goroutine of its own: once it is on the wire it goes
// on when its caller leaves, so that neither the turn nor the answer is lost. A
// caller who leaves before that takes the turn back.
//
//  1. the caller's context ends
//  2. not sent: the goroutine is canceled, the turn is given back, the caller
//     returns when that is stored
//     sent: the caller returns at once; the goroutine waits for the answer, within
//     the time of one attempt, sends nothing more, books the turn and keeps what
//     the answer brought
//
// A panic of the transport is logged with its stack, and raised again in the
// caller. If the caller has left, the process goes on. Nothing is booked, so that
// the turn counts as used when its lease ends.
func (g *gate) fly(ctx context.Context, r *request, f *flight, t *turn, next layer) (attempt, error) {
	if g.opts.neverDetached || ctx.Done() == nil {
		defer g.underway.End(f)
		f.Value.attempt, f.Value.err = g.carryOut(ctx, r, f.Value.car, t, next)
		g.linger(f)
		return f.Value.attempt, f.Value.err
	}
	flying, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	go func() {
		defer cancel(nil)
		f.Value.died = true
		defer g.land(flying, f)
		f.Value.attempt, f.Value.err = g.carryOut(flying, r, f.Value.car, t, next)
		f.Value.died = false
	}()
	select {
	case <-f.Done:
	case <-ctx.Done():
		ended := &Error{Operation: r.op, reach: reachedUnsure, Err: contexts.EndOf(ctx)}
		if !t.abandon() {
			cancel(ended.Err)
			<-f.Done
			ended.reach = reachedNever
			return attempt{outcome: f.Value.attempt.outcome}, ended
		}
		if g.underway.Leave(f) {
			return attempt{}, ended
		}
	}
	switch {
	case f.Value.panicked != nil:
		panic(f.Value.panicked)
	case f.Value.died:
		runtime.Goexit()
	}
	return f.Value.attempt, f.Value.err
}

// land ends a flight, and catches a panic of the transport.
func (g *gate) land(ctx context.Context, f *flight) {
	if f.Value.died {
		f.Value.panicked = recover() // nil where the transport has ended the goroutine
	}
	if f.Value.panicked != nil {
		g.opts.logger.LogAttrs(ctx, slog.LevelError, "smartcar: the transport has panicked; the vehicle's turn counts as used",
			slog.String("vehicle", f.Value.car.id), slog.String("stack", string(debug.Stack())))
	}
	g.linger(f)
	g.underway.End(f)
}

// linger keeps a flight open a moment if its answer came as quickly as no Smartcar
// answers.
func (g *gate) linger(f *flight) {
	if a := f.Value.attempt.answer; a != nil && a.at.Sub(f.Value.attempt.began) < lingerBelow {
		g.underway.Linger(f)
	}
}

// carryOut sends a request that has a turn, books what came back, keeps what it
// brought, and makes of it what the caller gets.
func (g *gate) carryOut(ctx context.Context, r *request, ref carRef, t *turn, next layer) (attempt, error) {
	a, err := next(ctx, r, t)
	g.settle(ctx, r, ref, t.record, t, a)
	return g.conclude(ctx, r, ref, nil, a, err)
}

// share waits for the answer of somebody else's request. It reports false if that
// has brought none, and its turn may have been given back.
func (g *gate) share(ctx context.Context, r *request, ref carRef, f *flight) (attempt, bool, error) {
	select {
	case <-f.Done:
	case <-ctx.Done():
		return attempt{}, false, &Error{Operation: r.op, reach: reachedNever, Err: contexts.EndOf(ctx)}
	}
	if f.Value.attempt.answer == nil {
		return attempt{}, false, nil
	}
	theirs := *f.Value.attempt.answer
	parts, ok := g.probe.wire.within(r.reads, &theirs)
	if !ok {
		return attempt{}, false, nil
	}
	for i := range parts {
		parts[i].value = nil // each caller has its own
		parts[i] = parts[i].handedOut(r.units, false)
	}
	theirs.parts = parts
	a := f.Value.attempt
	a.answer, a.failure = &theirs, nil
	a, err := g.conclude(ctx, r, ref, nil, a, nil)
	return a, true, err
}

// Drain waits for the reads whose callers have left: a read that has taken the
// turn of a car and was sent goes on without its caller, see "When a caller
// leaves" in the package documentation. Call it when a program ends, after its
// last call, and at the end of tests. It returns nil, or the error of ctx when
// that ends first.
func (c *Client) Drain(ctx context.Context) error {
	if c == nil || c.core == nil {
		return argumentError("Client", "must come from New")
	}
	if err := checkContext(ctx); err != nil {
		return err
	}
	return errors.Join(c.core.gate.underway.Drain(ctx), c.core.gate.budgets.giveBack(ctx))
}

// WithoutDetachedReads is for programs that cannot have a goroutine which goes on
// after a call, such as those that are frozen between two requests. A read then
// ends with its caller, and where it had been sent, the turn of the car is spent
// and its answer lost.
func WithoutDetachedReads() Option {
	return func(o *options) error { o.neverDetached = true; return nil }
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
	left bool

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

// alone reports whether the caller has left: nothing more may be sent.
func (t *turn) alone() bool {
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
	t.left = false
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
