package smartcar

import (
	"context"
	"errors"
	"fmt"

	"github.com/seed-498a1bc4/smartcar/internal/policy"
)

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
		if t.record, stored, err = t.cars.swap(ctx, t.car, t.record, state); err != nil || stored && t.covered() {
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
