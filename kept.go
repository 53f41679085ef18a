package smartcar

import (
	"context"
	"errors"
	"time"
)

// This file hands out answers that are kept, in the place of a request.

// current returns the kept answers that Smartcar would only repeat, and what
// is left to be asked for.
func (v *Vehicle) current(ctx context.Context, r *request, ops []operation) (repeated []part, missing []operation) {
	if r.override || r.query != nil {
		return nil, ops
	}
	answers := v.core.answers
	if answers.stored != nil && r.kept.lacksClass() { // another replica may know the car
		if c, _, err := v.core.cars.lookUp(ctx, r.car); err == nil {
			r.kept.setClass(c.state)
		}
	}
	if !r.kept.repeats() {
		return nil, ops
	}
	ref := r.answerRef()
	answers.stored.sync(ctx, ref)
	for _, op := range ops {
		p, ok := r.kept.current(ref.key(op.name), v.core.opts.now(), v.core.opts.policyRules())
		if !ok || op.kind != KindData {
			missing = append(missing, op)
			continue
		}
		p.meta.Source = SourceCache
		repeated = append(repeated, p)
	}
	return repeated, missing
}

// inOrder puts the parts of two sources back into the order of ops.
func inOrder(ops []operation, repeated, fetched []part) []part {
	parts := make([]part, 0, len(ops))
	for i := range ops {
		if len(repeated) > 0 && repeated[0].op.name == ops[i].name {
			parts, repeated = append(parts, repeated[0]), repeated[1:]
			continue
		}
		parts, fetched = append(parts, fetched[0]), fetched[1:]
	}
	return parts
}

// instead answers a refused read by other means, if the caller allowed any.
func (v *Vehicle) instead(ctx context.Context, r *request, asked time.Time, refused error) ([]part, error) {
	limit, ok := errors.AsType[*RateLimitError](refused)
	if !ok || r.query != nil {
		return nil, refused
	}
	if v.opts.share && limit.InFlight {
		if err := v.core.gate.turns.Wait(ctx, r.car.key); err != nil {
			return nil, err
		}
		if parts := lastAnswers(r, limit, asked); parts != nil {
			return parts, nil
		}
	}
	if v.opts.allowStale {
		v.core.answers.stored.sync(ctx, r.answerRef())
		if parts := lastAnswers(r, limit, time.Time{}); parts != nil {
			return parts, nil
		}
	}
	return nil, refused
}

// lastAnswers returns the kept answers that were received at since or later;
// without a since they are stale. An operation without one fails by itself; if
// none has one, lastAnswers returns nil.
func lastAnswers(r *request, limit *RateLimitError, since time.Time) []part {
	parts := make([]part, len(r.reads))
	found := false
	for i := range r.reads {
		p, ok := r.kept.get(r.answerRef().key(r.reads[i].name))
		if !ok || p.meta.ReceivedAt.Before(since) {
			refused := *limit
			refused.Operation = r.reads[i].name
			parts[i] = part{op: &r.reads[i], callerErr: &refused}
			continue
		}
		found = true
		p.meta.Source, p.meta.Stale = SourceCache, since.IsZero()
		parts[i] = p
	}
	if !found {
		return nil
	}
	return parts
}
