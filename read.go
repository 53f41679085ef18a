package smartcar

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

func itoa(n int) string { return strconv.Itoa(n) }

// newRequest fills in what every request to the vehicle has.
func (v *Vehicle) newRequest(ctx context.Context, op Operation) (*request, error) {
	r, err := v.unauthorized(ctx, op)
	if err != nil {
		return nil, err
	}
	return r, v.core.reach.authorize(ctx, r, v.grantID)
}

// unauthorized is newRequest without a credential.
func (v *Vehicle) unauthorized(ctx context.Context, op Operation) (*request, error) {
	if err := v.ready(ctx); err != nil {
		return nil, err
	}
	return &request{
		op: op, kind: KindMetadata, car: v.car, base: v.base, units: cmp.Or(v.opts.units, v.core.opts.units),
		override: v.opts.override, kept: v.core.answers.of(v.car.id),
	}, nil
}

// ready reports what is wrong with the handle itself.
func (v *Vehicle) ready(ctx context.Context) error {
	if v == nil || v.core == nil {
		return argumentError("Vehicle", "must come from User.Vehicle or User.Vehicles")
	}
	if err := checkContext(ctx); err != nil {
		return err
	}
	if v.opts.err != nil {
		return v.opts.err
	}
	return validateID("vehicle id", v.car.id)
}

func checkContext(ctx context.Context) error {
	if ctx == nil {
		return argumentError("ctx", "is nil; use context.Background()")
	}
	return nil
}

// validateID refuses what could leave its segment of a path or a store's key.
func validateID(argument, id string) error {
	switch {
	case id == "":
		return argumentError(argument, "is empty")
	case id == "." || id == "..":
		return argumentError(argument, "is not an id")
	case len(id) > 200:
		return argumentError(argument, "is longer than 200 bytes")
	case strings.ContainsFunc(id, func(r rune) bool { return r < ' ' || r == 0x7f || r == '\uFFFD' }):
		return argumentError(argument, "has control characters or is not UTF-8")
	}
	return nil
}

// readOne reads a single operation into its typed result.
func readOne[T any, P readingOf[T]](ctx context.Context, v *Vehicle, op Operation) (*T, error) {
	return readWithQuery[T, P](ctx, v, op, nil)
}

func readWithQuery[T any, P readingOf[T]](ctx context.Context, v *Vehicle, op Operation, query url.Values) (*T, error) {
	parts, err := v.read(ctx, op, lookup(op), query)
	if err != nil {
		return nil, err
	}
	return result[T, P](v.core.wire, &parts[0])
}

// result turns a part into the typed result of its operation.
func result[T any, P readingOf[T]](w wire, p *part) (*T, error) {
	if p.refused != nil {
		return nil, p.refused
	}
	value := p.value
	if value == nil {
		var err error
		if value, err = w.decode(p.op, p.body, p.meta.UnitSystem); err != nil {
			return nil, &Error{Operation: p.op.name, StatusCode: http.StatusOK, RequestID: p.meta.RequestID, Err: err}
		}
		value.setMeta(p.meta)
	}
	typed, ok := value.(P)
	if !ok {
		return nil, &NotSupportedError{Operation: p.op.name, API: w.version()}
	}
	return typed, nil
}

// read asks for all ops in one request and returns a part for each, in order.
// Answers that Smartcar would only repeat are taken from what is kept.
func (v *Vehicle) read(ctx context.Context, op Operation, ops []operation, query url.Values) ([]part, error) {
	r, err := v.newRequest(ctx, op)
	if err != nil {
		return nil, err
	}
	for i := range ops {
		if !v.core.wire.supports(&ops[i]) {
			return nil, &NotSupportedError{Operation: ops[i].name, API: v.core.wire.version()}
		}
		if v.core.wire.kind(&ops[i]) == KindData {
			r.kind = KindData
		}
	}
	r.query = query
	known, missing := v.current(ctx, r, ops)
	if len(missing) == 0 {
		return known, nil
	}
	r.reads, r.wire = missing, v.core.wire.read(missing)
	asked := v.core.opts.now()
	var fetched []part
	a, err := v.core.send(ctx, r, nil)
	if err == nil {
		fetched = a.answer.parts
	} else if fetched, err = v.instead(ctx, r, asked, err); err != nil {
		return nil, err
	}
	if len(known) == 0 {
		return fetched, nil
	}
	return inOrder(ops, known, fetched), nil
}

// current returns the kept answers that Smartcar would only repeat, and what
// is left to be asked for.
func (v *Vehicle) current(ctx context.Context, r *request, ops []operation) (known []part, missing []operation) {
	if r.override || r.query != nil {
		return nil, ops
	}
	answers := v.core.answers
	if answers.stored != nil && r.kept.unclassified() { // another replica may know the car
		if c, _, err := v.core.cars.lookUp(ctx, r.car); err == nil {
			r.kept.classify(c.state)
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
		known = append(known, p)
	}
	return known, missing
}

// inOrder puts the parts of two sources back into the order of ops.
func inOrder(ops []operation, known, fetched []part) []part {
	parts := make([]part, 0, len(ops))
	for i := range ops {
		if len(known) > 0 && known[0].op.name == ops[i].name {
			parts, known = append(parts, known[0]), known[1:]
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
			parts[i] = part{op: &r.reads[i], refused: &refused}
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
