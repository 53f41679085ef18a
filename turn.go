package smartcar

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/seed-498a1bc4/smartcar/internal/policy"
)

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
