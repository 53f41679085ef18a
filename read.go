package smartcar

import (
	"context"
	"errors"
	"net/url"
	"strconv"
	"strings"
	"time"
)

func itoa(n int) string { return strconv.Itoa(n) }

// newCall fills in what every call to the vehicle has.
func (v *Vehicle) newCall(ctx context.Context, op Operation) (*call, error) {
	if ctx == nil {
		return nil, argumentError("ctx", "is nil; use context.Background()")
	}
	if v.opts.err != nil {
		return nil, v.opts.err
	}
	if err := validateID("vehicle id", v.id); err != nil {
		return nil, err
	}
	grant, err := v.grant(ctx)
	if err != nil {
		return nil, err
	}
	units := v.opts.units
	if units == "" {
		units = v.core.opts.units
	}
	return &call{
		op: op, vehicle: v, grant: grant, units: units, override: v.opts.override,
		origin: v.core.api, auth: v.core.tokens.credential(grant), kept: v.core.answers.of(v.id),
	}, nil
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
func readOne[T any](ctx context.Context, v *Vehicle, op Operation) (*T, error) {
	return readWithQuery[T](ctx, v, op, nil)
}

func readWithQuery[T any](ctx context.Context, v *Vehicle, op Operation, query url.Values) (*T, error) {
	parts, err := v.read(ctx, op, []*operation{lookup(op)}, query)
	if err != nil {
		return nil, err
	}
	return result[T](v.core, parts[0])
}

// result turns a part into the typed result of its operation.
func result[T any](c *core, p readPart) (*T, error) {
	if p.failure != nil {
		return nil, p.failure
	}
	value, err := c.wire.decode(p.op, p.body)
	if err != nil {
		return nil, &Error{Operation: p.op.name, StatusCode: 200, RequestID: p.meta.RequestID, Err: err}
	}
	typed, ok := value.(*T)
	if !ok {
		return nil, &NotSupportedError{Operation: p.op.name, API: c.wire.version()}
	}
	any(typed).(interface{ setMeta(Meta) }).setMeta(p.meta)
	return typed, nil
}

// readPart is a part with the error as the caller will see it.
type readPart struct {
	part
	failure error
}

// read asks for all ops in one request and returns a part for each, in order.
// Answers that Smartcar would only repeat are taken from what is kept.
func (v *Vehicle) read(ctx context.Context, op Operation, ops []*operation, query url.Values) ([]readPart, error) {
	for _, o := range ops {
		if !v.core.wire.supports(o) {
			return nil, &NotSupportedError{Operation: o.name, API: v.core.wire.version()}
		}
	}
	call, err := v.newCall(ctx, op)
	if err != nil {
		return nil, err
	}
	call.query = query
	parts := make([]readPart, len(ops))
	missing := v.takeCurrent(call, ops, parts)
	if len(missing) == 0 {
		return parts, nil
	}
	if err := v.fetch(ctx, call, missing, parts); err != nil {
		if err = v.instead(ctx, call, missing, parts, err); err != nil {
			return nil, err
		}
	}
	return parts, nil
}

// takeCurrent fills in what need not be asked again and returns the rest. A
// nil op in the result of parts means that it is still wanted.
func (v *Vehicle) takeCurrent(call *call, ops []*operation, parts []readPart) []*operation {
	if call.override || call.query != nil || !call.kept.legacy() {
		return ops
	}
	var missing []*operation
	for i, op := range ops {
		if p, ok := call.kept.current(call.answerKey(op.name), v.core.now(), v.core.opts.rules); ok && op.kind == KindData {
			p.meta.Source = SourceCache
			parts[i] = readPart{part: p}
			continue
		}
		missing = append(missing, op)
	}
	return missing
}

// fetch asks for ops and puts their parts into the free places.
func (v *Vehicle) fetch(ctx context.Context, call *call, ops []*operation, parts []readPart) error {
	call.ops = ops
	call.request = v.core.wire.read(v.id, ops)
	call.kind = KindMetadata
	for _, op := range ops {
		if op.kind == KindData {
			call.kind = KindData
		}
	}
	a, err := v.core.send(ctx, call)
	if err != nil {
		return err
	}
	for _, p := range a.parts {
		if p.meta.UnitSystem == "" {
			p.meta.UnitSystem = call.units
		}
		p.meta.PolicyOverridden = call.override && call.kind == KindData
		done := readPart{part: p}
		if p.err != nil {
			done.failure = v.core.gate.explainVehicle(ctx, call, p.err)
		} else if p.op.kind == KindData && call.query == nil {
			call.kept.put(call.answerKey(p.op.name), p)
		}
		place(parts, done)
	}
	return nil
}

// place puts p into the first free place; fetch and takeCurrent keep the order.
func place(parts []readPart, p readPart) {
	for i := range parts {
		if parts[i].op == nil {
			parts[i] = p
			return
		}
	}
}

// instead answers a refused read by other means, if the caller allowed any.
func (v *Vehicle) instead(ctx context.Context, call *call, ops []*operation, parts []readPart, refused error) error {
	var limit *RateLimitError
	if !errors.As(refused, &limit) || call.query != nil {
		return refused
	}
	asked := v.core.now()
	if v.opts.share && limit.InFlight {
		if err := v.core.gate.turns.wait(ctx, v.policyKey); err != nil {
			return err
		}
		if v.takeKept(call, ops, parts, limit, asked) {
			return nil
		}
	}
	if v.opts.allowStale && v.takeKept(call, ops, parts, limit, time.Time{}) {
		return nil
	}
	return refused
}

// takeKept fills the free places with the last answers that were received at
// since or later; those from before it was asked for are stale. An operation
// without one fails by itself; takeKept returns false if none has one.
func (v *Vehicle) takeKept(call *call, ops []*operation, parts []readPart, limit *RateLimitError, since time.Time) bool {
	kept := make([]readPart, len(ops))
	found := false
	for i, op := range ops {
		p, ok := call.kept.get(call.answerKey(op.name))
		if !ok || p.meta.ReceivedAt.Before(since) {
			refused := *limit
			refused.Operation = op.name
			kept[i] = readPart{part: part{op: op}, failure: &refused}
			continue
		}
		found = true
		p.meta.Source, p.meta.Stale = SourceCache, since.IsZero()
		kept[i] = readPart{part: p}
	}
	if !found {
		return false
	}
	for _, p := range kept {
		place(parts, p)
	}
	return true
}
