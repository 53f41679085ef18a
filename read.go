package smartcar

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

func itoa(n int) string { return strconv.Itoa(n) }

// newCall fills in what every call to the vehicle has.
func (v *Vehicle) newCall(ctx context.Context, op Operation) (*call, error) {
	if err := v.ready(ctx); err != nil {
		return nil, err
	}
	units := v.opts.units
	if units == "" {
		units = v.core.opts.units
	}
	c := &call{
		op: op, vehicle: v, base: v.base, units: units, override: v.opts.override, kept: v.core.answers.of(v.id),
	}
	return c, v.core.reach.authorize(ctx, v, c)
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
	return validateID("vehicle id", v.id)
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
	return result[T, P](v.core, &parts[0])
}

// result turns a part into the typed result of its operation.
func result[T any, P readingOf[T]](c *core, p *part) (*T, error) {
	if p.refused != nil {
		return nil, p.refused
	}
	value := p.value
	if value == nil {
		var err error
		if value, err = c.wire.decode(p.op, p.body, p.meta.UnitSystem); err != nil {
			return nil, &Error{Operation: p.op.name, StatusCode: http.StatusOK, RequestID: p.meta.RequestID, Err: err}
		}
		value.setMeta(p.meta)
	}
	typed, ok := value.(P)
	if !ok {
		return nil, &NotSupportedError{Operation: p.op.name, API: c.wire.version()}
	}
	return typed, nil
}

// read asks for all ops in one request and returns a part for each, in order.
// Answers that Smartcar would only repeat are taken from what is kept.
func (v *Vehicle) read(ctx context.Context, op Operation, ops []operation, query url.Values) ([]part, error) {
	call, err := v.newCall(ctx, op)
	if err != nil {
		return nil, err
	}
	for i := range ops {
		if !v.core.wire.supports(&ops[i]) {
			return nil, &NotSupportedError{Operation: ops[i].name, API: v.core.wire.version()}
		}
	}
	call.query = query
	known, missing := v.current(ctx, call, ops)
	if len(missing) == 0 {
		return known, nil
	}
	asked := v.core.now()
	fetched, err := v.fetch(ctx, call, missing)
	if err != nil {
		if fetched, err = v.instead(ctx, call, missing, asked, err); err != nil {
			return nil, err
		}
	}
	if len(known) == 0 {
		return fetched, nil
	}
	return inOrder(ops, known, fetched), nil
}

// current returns the kept answers that Smartcar would only repeat, and what
// is left to be asked for.
func (v *Vehicle) current(ctx context.Context, call *call, ops []operation) (known []part, missing []operation) {
	if call.override || call.query != nil {
		return nil, ops
	}
	if v.core.answers.stored != nil && call.kept.unclassified() { // another replica may know the car
		if c, _, err := v.core.gate.lookUp(ctx, v); err == nil {
			call.kept.note(c.state)
		}
	}
	if !call.kept.repeats() {
		return nil, ops
	}
	v.core.answers.stored.sync(ctx, call)
	for _, op := range ops {
		p, ok := call.kept.current(call.answerKey(op.name), v.core.now(), v.core.opts.policyRules())
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

// fetch asks for ops and keeps what comes back.
func (v *Vehicle) fetch(ctx context.Context, call *call, ops []operation) ([]part, error) {
	call.ops = ops
	call.request = v.core.wire.read(ops)
	call.kind = KindMetadata
	for i := range ops {
		if v.core.wire.kind(&ops[i]) == KindData {
			call.kind = KindData
		}
	}
	a, err := v.core.send(ctx, call)
	if err != nil {
		return nil, err
	}
	for i := range a.parts {
		p := &a.parts[i]
		if p.err != nil {
			p.refused = v.core.gate.explainVehicle(ctx, call, p.err)
		}
	}
	return a.parts, nil
}

// instead answers a refused read by other means, if the caller allowed any.
func (v *Vehicle) instead(ctx context.Context, call *call, ops []operation, asked time.Time, refused error) ([]part, error) {
	limit, ok := errors.AsType[*RateLimitError](refused)
	if !ok || call.query != nil {
		return nil, refused
	}
	if v.opts.share && limit.InFlight {
		if err := v.core.gate.turns.Wait(ctx, v.policyKey); err != nil {
			return nil, err
		}
		if parts := v.lastAnswers(call, ops, limit, asked); parts != nil {
			return parts, nil
		}
	}
	if v.opts.allowStale {
		v.core.answers.stored.sync(ctx, call)
		if parts := v.lastAnswers(call, ops, limit, time.Time{}); parts != nil {
			return parts, nil
		}
	}
	return nil, refused
}

// lastAnswers returns the kept answers that were received at since or later;
// without a since they are stale. An operation without one fails by itself; if
// none has one, lastAnswers returns nil.
func (v *Vehicle) lastAnswers(call *call, ops []operation, limit *RateLimitError, since time.Time) []part {
	parts := make([]part, len(ops))
	found := false
	for i := range ops {
		p, ok := call.kept.get(call.answerKey(ops[i].name))
		if !ok || p.meta.ReceivedAt.Before(since) {
			refused := *limit
			refused.Operation = ops[i].name
			parts[i] = part{op: &ops[i], refused: &refused}
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
