package smartcar

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/seed-498a1bc4/smartcar/signals"
)

// This file hands out answers that are kept, in the place of a request or of its
// refusal.

// ErrTakesTurn says that the read would ask the car, which [WithoutTurn] forbids, and no
// answer to it is kept.
var ErrTakesTurn = errors.New("smartcar: the read would take a turn of the car, and no answer to it is kept")

// AllowStale hands out the last answer, marked [Meta.Stale], where the policy or
// Smartcar's limit would refuse a read, and while the car sleeps.
func AllowStale() CallOption { return func(o *callOptions) { o.allowStale = true } }

// MaxAge lets a read take an answer that is kept, from a read or a webhook, if
// the car recorded it less than d ago. Where it is not known when it was
// recorded, when Smartcar fetched it counts; where that is not known either, the
// answer is not taken. Without such an answer the read is sent, if the policy
// allows it.
func MaxAge(d time.Duration) CallOption {
	return func(o *callOptions) {
		if d <= 0 {
			o.err = argumentError("MaxAge", "must be above zero")
		}
		o.maxAge = d
	}
}

// WithoutTurn never takes a turn: use it for pages that only show what is known. A read
// of the car's data is answered with what is kept, marked [Meta.Stale] unless it is
// current, or fails with [ErrTakesTurn]. Metadata, which Smartcar answers without the
// car, is still asked for. A VIN is metadata on API v2.0, and data on v3.
func WithoutTurn() CallOption { return func(o *callOptions) { o.withoutTurn = true } }

// handedOut is a kept answer as a caller gets it.
func (p part) handedOut(units UnitSystem, stale bool) part {
	p.meta.Source, p.meta.Stale = SourceCache, stale
	if p.pushed {
		p.meta.Source = SourceWebhook
	}
	p.meta.UnitSystem = cmp.Or(p.meta.UnitSystem, units)
	if p.value != nil {
		p.value.setMeta(p.meta)
	}
	return p
}

// current returns the kept answers that do as well as a request, and what is left
// to be asked for: answers that Smartcar would only repeat, and those that are
// young enough for the caller.
func (h *handle) current(ctx context.Context, r *request, ops []operation) (known []part, missing []operation) {
	if r.override || r.query != nil || r.kept == nil {
		return nil, ops
	}
	answers := h.core.answers
	if answers.stored != nil && r.kept.lacksClass() { // another replica may know the car
		if c, _, err := h.core.cars.lookUp(ctx, r.car); err == nil {
			r.kept.setClass(&c.state)
		}
	}
	repeats := r.kept.repeats()
	if !repeats && h.opts.maxAge == 0 {
		return nil, ops
	}
	answers.stored.sync(ctx, r.answerRef())
	for i := range ops {
		p, ok := h.lastAnswer(ctx, r, &ops[i])
		if ok && h.opts.maxAge > 0 && p.youngerThan(h.opts.maxAge, h.core.opts) || ok && repeats && h.repeated(r, p) {
			known = append(known, p.handedOut(r.units, false))
		} else if p, ok = h.notInList(ctx, r, &ops[i]); ok && repeats {
			known = append(known, p)
		} else {
			missing = append(missing, ops[i])
		}
	}
	return known, missing
}

// keptReading hands out what current would, at the least cost: where all that it takes is
// at hand in this process. Otherwise it reports false.
func (h *handle) keptReading(k *vehicleKept, op Operation) (part, bool) {
	c := h.core
	user, fresh := c.users.Recent(h.car.user)
	switch {
	case h.wrong != nil, h.opts.err != nil, h.opts.override && !h.opts.withoutTurn, c.answers.stored != nil, !fresh:
		return part{}, false
	case c.opts.api == V2 && len(user.Grants) == 0:
		return part{}, false
	}
	units := cmp.Or(h.opts.units, c.opts.units)
	key := answerKey{scope: h.car.user, op: op, units: c.wire.keptIn(units)}
	k.mu.Lock()
	p, ok := k.answers[key]
	k.mu.Unlock()
	current := h.opts.maxAge > 0 && p.youngerThan(h.opts.maxAge, c.opts) || k.repeats() && k.stillRepeats(p, c.opts.clock.Elapsed(), c.opts.policyRules())
	if !ok || p.connect != user.Connect || !current {
		return part{}, false
	}
	original := p.value
	if p.value = nil; original != nil && p.valueIn == units {
		p.value = ownReading(original)
	}
	if p.value == nil {
		kept := p
		p = p.unpacked()
		p.meta.UnitSystem = cmp.Or(p.meta.UnitSystem, units)
		var err error
		if p, err = decoded(c.wire, p); err != nil {
			return part{}, false
		}
		k.keepOriginal(key, kept, ownReading(p.value), units)
	}
	return p.handedOut(units, false), true
}

// keepOriginal keeps the typed result of an answer, unless another has come meanwhile.
func (k *vehicleKept) keepOriginal(key answerKey, of part, original reading, units UnitSystem) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if now, ok := k.answers[key]; ok && original != nil && now.meta == of.meta && now.came == of.came && now.connect == of.connect {
		now.value, now.valueIn = original, units
		k.answers[key] = now
	}
}

// repeated reports whether Smartcar would give an answer again.
func (h *handle) repeated(r *request, p part) bool {
	return r.kept.stillRepeats(p, h.core.opts.clock.Elapsed(), h.core.opts.policyRules())
}

// clockTolerance is how far a car's clock or Smartcar's may be ahead of ours to be
// believed.
const clockTolerance = time.Minute

// youngerThan reports whether an answer was recorded less than d ago, by the wall
// clock and by the time that has passed since it came. A time that lies after the
// answer had arrived is not known.
func (p part) youngerThan(d time.Duration, o *options) bool {
	for _, at := range []time.Time{p.meta.RecordedAt, p.meta.FetchedAt} {
		if !at.IsZero() && !at.After(p.meta.ReceivedAt.Add(clockTolerance)) {
			return o.now().Sub(at) < d && p.meta.ReceivedAt.Sub(at)+o.clock.Elapsed()-p.came < d
		}
	}
	return false
}

// lastAnswer returns the kept answer to one operation, if it can be read, and the
// user's last run of Connect allows it.
func (h *handle) lastAnswer(ctx context.Context, r *request, op *operation) (part, bool) {
	p, ok := r.kept.get(r.answerRef().key(op.name))
	if !ok || !h.permitted(ctx, r, p) {
		return part{}, false
	}
	p.meta.UnitSystem = cmp.Or(p.meta.UnitSystem, r.units)
	p, err := decoded(h.core.wire, p)
	return p, err == nil
}

// permitted reports whether a kept answer is still the user's. For one that was
// given before the last run of Connect, the permissions of that run are asked for,
// once for the car, which takes no turn. What cannot be told is not handed out.
// While the store is away, what this process has seen has to do.
func (h *handle) permitted(ctx context.Context, r *request, p part) bool {
	user, err := h.core.accounts.recent(ctx, r.car.user)
	switch {
	case errors.Is(err, ErrStore):
		return true
	case err != nil:
		return false
	case user.Connect == p.connect:
		return true
	}
	granted, ok := r.kept.grantedTo(r.scope, user.Connect)
	if !ok {
		asked := *r
		asked.kind, asked.reads = KindMetadata, nil
		list, err := h.core.reach.permissions(ctx, &asked)
		if err != nil {
			return false
		}
		granted = permissionsOf{user.Connect, list}
		h.core.answers.restrict(ctx, r.car.id, r.scope, granted)
	}
	return granted.cover(p.op)
}

// notInList is the error for what the last list of signals of API v3 does not
// hold, while the next list would be the same.
func (h *handle) notInList(ctx context.Context, r *request, op *operation) (part, bool) {
	list, ok := h.lastAnswer(ctx, r, &lookup(AllSignals)[0])
	if !ok || h.core.wire.kind(op) != KindData || !h.repeated(r, list) {
		return part{}, false
	}
	set, err := listOf(list.body, list.list)
	if err != nil {
		return part{}, false
	}
	p := (wireV3{}).part(op, set, list.meta)
	p.callerErr = p.err
	return p, p.err != nil
}

// keptSignal is what the kept list of all signals holds of one: in the place of a request
// if refused is nil, else of its refusal.
func (h *handle) keptSignal(ctx context.Context, r *request, code signals.Code, refused error) (part, bool) {
	switch {
	case r.override, r.kept == nil, refused == nil && h.opts.maxAge == 0 && !r.kept.repeats(), refused != nil && !mayBeReplaced(refused):
		return part{}, false
	}
	h.core.answers.stored.sync(ctx, r.answerRef())
	p, ok := h.lastAnswer(ctx, r, &lookup(AllSignals)[0])
	if !ok {
		return part{}, false
	}
	list, err := listOf(p.body, p.list)
	if err != nil {
		return part{}, false
	}
	found, ok := list.find(code)
	if !ok || refused != nil && found.err != nil {
		return part{}, false
	}
	current := r.kept.repeats() && h.repeated(r, p)
	p.body, p.value = nil, nil
	p.list = &signalSet{signals: []storedSignal{found}, requestID: list.requestID, absent: list.absent}
	p.meta.RecordedAt, p.meta.FetchedAt = found.meta.OEMUpdatedAt, found.meta.RetrievedAt
	if refused == nil {
		ok = current || h.opts.maxAge > 0 && p.youngerThan(h.opts.maxAge, h.core.opts)
	} else {
		ok, current = h.standsIn(p, refused), p.isNews(refused, h.core.opts)
	}
	if !ok {
		return part{}, false
	}
	p = p.handedOut(r.units, refused != nil && !current)
	if seen := h.core.opts.emitter; seen != nil {
		tellKept(ctx, seen, h.car, []part{p})
	}
	return p, true
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

// instead answers a refused read by other means: by what a webhook has brought
// since, and by what the caller allows. An operation without an answer fails by
// itself; if none has one, the read does.
func (h *handle) instead(ctx context.Context, r *request, refused error) ([]part, error) {
	if r.query != nil || r.kept == nil || !mayBeReplaced(refused) {
		return nil, refused
	}
	h.core.answers.stored.sync(ctx, r.answerRef())
	if !h.mayHand(r, refused) {
		return nil, refused
	}
	parts := make([]part, len(r.reads))
	found := false
	for i := range r.reads {
		op := &r.reads[i]
		p, ok := h.insteadOf(ctx, r, op, refused)
		if !ok {
			p = part{op: op, callerErr: namedFor(op.name, refused)}
		}
		parts[i], found = p, found || ok
	}
	if !found {
		return nil, refused
	}
	return parts, nil
}

// insteadOfParts is instead for the parts of an answer that were refused.
func (h *handle) insteadOfParts(ctx context.Context, r *request, parts []part) []part {
	if r.query != nil || r.kept == nil ||
		!slices.ContainsFunc(parts, func(p part) bool { return mayBeReplaced(p.callerErr) }) {
		return parts
	}
	h.core.answers.stored.sync(ctx, r.answerRef())
	parts = slices.Clone(parts) // others may have the answer, too
	for i, p := range parts {
		if !mayBeReplaced(p.callerErr) {
			continue
		}
		if kept, ok := h.insteadOf(ctx, r, p.op, p.callerErr); ok {
			parts[i] = kept
		}
	}
	return parts
}

// mayHand reports, at little cost, whether any answer is kept that may stand in.
func (h *handle) mayHand(r *request, refused error) bool {
	for i := range r.reads {
		if p, ok := r.kept.get(r.answerRef().key(r.reads[i].name)); ok && h.standsIn(p, refused) {
			return true
		}
	}
	return false
}

// standsIn reports whether a kept answer may stand in for a refused one: as
// current, or as the caller allows.
func (h *handle) standsIn(p part, refused error) bool {
	return h.opts.allowStale || h.opts.withoutTurn || p.isNews(refused, h.core.opts)
}

// isNews: a webhook has brought it since the car was last asked, as far as the
// refusal of a read shows when that was.
func (p part) isNews(refused error, o *options) bool {
	if !p.pushed {
		return false
	}
	limit, ok := errors.AsType[*RateLimitError](refused)
	received := o.now().Add(p.came - o.clock.Elapsed()) // by the present wall clock, as lastAsked
	return ok && !limit.lastAsked.IsZero() && received.After(limit.lastAsked)
}

// mayBeReplaced: the car was not asked, or was not in a state to answer.
func mayBeReplaced(refused error) bool {
	_, limited := errors.AsType[*RateLimitError](refused)
	return limited || errors.Is(refused, ErrAsleep) || errors.Is(refused, ErrTakesTurn)
}

// insteadOf is the kept answer that stands in for one that was refused.
func (h *handle) insteadOf(ctx context.Context, r *request, op *operation, refused error) (part, bool) {
	p, ok := h.lastAnswer(ctx, r, op)
	if !ok || !h.standsIn(p, refused) {
		return part{}, false
	}
	return p.handedOut(r.units, !p.isNews(refused, h.core.opts)), true
}

// namedFor is the refusal of several operations as one of them shows it.
func namedFor(op Operation, refused error) error {
	switch e := refused.(type) { //nolint:errorlint // what wraps a refusal has a name of its own
	case *RateLimitError:
		named := *e
		named.Operation = op
		return &named
	case *Error:
		named := *e
		named.Operation = op
		return &named
	}
	return refused
}
