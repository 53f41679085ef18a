package smartcar

import (
	"cmp"
	"context"
	"errors"
	"net/http"

	"github.com/seed-498a1bc4/smartcar/internal/policy"
)

// classifying turns what came back into results or typed errors, and says what
// it means for the vehicle's turn.
func classifying(o *options, w wire, next exchange) exchange {
	return func(ctx context.Context, r *request, header []string, takes bool) (attempt, error) {
		a, err := next(ctx, r, header, takes)
		if err == nil {
			err = a.answer.read(r, w)
		}
		if err == nil {
			a.outcome, a.failure = a.answer.bookedAs(r.kind, w, o.ignoreKeySignal)
			return a, nil
		}
		a.answer = nil
		if e, ok := errors.AsType[*Error](err); ok {
			e.command = r.kind == KindCommand
			e.read = r.reads != nil || r.wire.method == http.MethodGet && !e.command
			a.outcome, a.failure = outcomeOf(e), e
			return a, e
		}
		return a, err
	}
}

// read fills in what the answer holds for the request: the parts of a read, the
// result of a command.
func (a *answer) read(r *request, w wire) error {
	if a.status < 200 || a.status > 299 {
		e := decodeError(r.op, a.status, a.header, a.body, a.at)
		if a.status >= 300 && a.status < 400 {
			e.Description = "Smartcar answered with a redirect, which is never followed"
		}
		return e
	}
	var err error
	switch {
	case r.command != nil:
		a.result, err = w.commandResult(r.command, a)
	case r.reads != nil:
		if a.parts, err = w.split(r.reads, a); err != nil {
			// The body of a success may be an error, as those of commands are.
			if e := decodeError(r.op, a.status, a.header, a.body, a.at); e.Type != "" {
				err = e
			}
		}
	}
	if err != nil {
		e, ok := errors.AsType[*Error](err)
		if !ok {
			return unreadable(r.op, a, err)
		}
		e.inside = true
		return e
	}
	for i := range a.parts {
		a.parts[i].decode(r, w, a)
	}
	return nil
}

// decode turns the body of a part into its typed result, or into an error of
// that part: what cannot be read must not be kept as what the car said.
func (p *part) decode(r *request, w wire, a *answer) {
	if p.err != nil {
		p.err.read = true
		return
	}
	if p.meta.UnitSystem == "" {
		p.meta.UnitSystem = r.units
	}
	p.meta.PolicyOverridden = r.override && r.kind == KindData
	value, err := w.decode(p.op, p.body, p.meta.UnitSystem)
	if err != nil {
		p.err = unreadable(p.op.name, a, err)
		return
	}
	value.setMeta(p.meta)
	p.value = value
}

// unreadable is a success that cannot be understood.
func unreadable(op Operation, a *answer, cause error) *Error {
	return &Error{Operation: op, StatusCode: a.status, RequestID: a.header.Get(headerRequestID), Err: cause}
}

// bookedAs says what an answer that is no error means for the vehicle's turn. The
// failure is that of a part which carries evidence, if any does.
func (a *answer) bookedAs(kind Kind, w wire, ignoreKeySignal bool) (policy.Outcome, *Error) {
	outcome, failure := strongest(kind, w, a.parts)
	if !a.observed.wasChecked {
		return outcome, failure
	}
	if failure != nil && failure.isKeyRequired() {
		failure = nil // one of those observed
	}
	return a.observed.turn(outcome), cmp.Or(failure, a.observed.needsKey(ignoreKeySignal))
}

// strongest is the outcome of an answer with parts: of a batch the strongest
// item counts, where it concerns the car.
func strongest(kind Kind, w wire, parts []part) (policy.Outcome, *Error) {
	if len(parts) == 0 {
		return policy.OutcomeOK, nil
	}
	best, failure := policy.OutcomeNone, (*Error)(nil)
	for i := range parts {
		if kind == KindData && w.kind(parts[i].op) != KindData {
			continue
		}
		outcome := policy.OutcomeOK
		if e := parts[i].err; e != nil {
			outcome = outcomeOf(e)
			if failure == nil || e.isKeyRequired() || e.isVehicleLimit() && !failure.isKeyRequired() {
				failure = e
			}
		}
		if outcome.Stronger(best) {
			best = outcome
		}
	}
	return best, failure
}

// outcomeOf says what a failed request means for the vehicle's turn.
func outcomeOf(e *Error) policy.Outcome {
	switch {
	case e.reach == reachedNever:
		return policy.OutcomeReleased
	case e.StatusCode == 0:
		return policy.OutcomeUnclear
	case errors.Is(e, ErrAsleep):
		return policy.OutcomeAsleep
	case e.isVehicleLimit():
		return policy.OutcomeLimited
	case e.isApplicationLimit():
		return policy.OutcomeReleased
	case e.StatusCode == 400 && e.Type != typeAccount,
		e.StatusCode == 401, e.StatusCode == 403, e.StatusCode == 404, e.StatusCode == 430, e.StatusCode == 501:
		return policy.OutcomeReleased
	default:
		return policy.OutcomeAnswered
	}
}
