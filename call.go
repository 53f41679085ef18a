package smartcar

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"time"
)

// A call is one request on its way down the chain.
type call struct {
	op      Operation
	kind    Kind
	vehicle *Vehicle        // nil for calls that concern no vehicle
	grant   grantCredential // of v2.0; what auth points to, to save an allocation
	scope   string          // whose answers these are: the grant on v2.0, the user on v3
	user    string          // in whose name the application asks, on v3
	ops     []operation     // what a read carries; nil for everything else
	command *operation      // a typed command; nil for everything else
	base    string          // the URL that request.path is relative to
	request wireRequest
	query   url.Values
	alone   bool // the answer is to this call only, and not kept
	auth    credential
	units   UnitSystem
	bearer  []string // the Authorization header; calls are never printed

	override bool                        // the caller asked to ignore the policy
	takes    bool                        // takes a keyless car's turn: must not be sent twice by anybody
	kept     *vehicleKept                // where the answers of this vehicle are kept
	leaving  func(context.Context) error // called before each send of a call that takes a turn
	renewing func(context.Context)       // called before its token is renewed, since it was refused

	// What the last attempt led to, for the gate to settle.
	outcome outcome
	failure *Error
	began   time.Time
}

// A layer takes a call down to the next one.
type layer func(context.Context, *call) (*answer, error)

// newChain fixes the order of everything that happens to a request. The gate
// is inside retry, because each try costs; authorization is inside the gate,
// because a refused call must not spend a token refresh; classification is
// inside both, so that they see types and not statuses.
func (c *core) newChain() layer {
	return c.retrying(c.gate.guarding(c.authorizing(c.classifying(c.transmit))))
}

// retrying repeats what is safe to repeat. When the gate refuses a repetition,
// the original error is returned and says when to come back.
func (c *core) retrying(next layer) layer {
	return func(ctx context.Context, call *call) (*answer, error) {
		var first error
		for attempt := 1; ; attempt++ {
			a, err := next(ctx, call)
			if err == nil {
				return a, nil
			}
			if refused, ok := errors.AsType[*RateLimitError](err); ok && refused.Local && first != nil {
				return nil, withNextAllowed(first, refused.NextAllowed)
			}
			wait, ok := c.retryDelay(err, attempt)
			if !ok {
				return nil, err
			}
			first = err
			if ended := c.opts.clock.Sleep(ctx, wait); ended != nil {
				return nil, fmt.Errorf("%w (stopped waiting to retry: %w)", err, ended)
			}
		}
	}
}

// withNextAllowed returns a copy: several callers may share the failure of one
// token refresh.
func withNextAllowed(err error, at time.Time) error {
	e, ok := err.(*Error) //nolint:errorlint // what wraps an Error says when to come back itself
	if !ok {
		return err
	}
	dated := *e
	dated.NextAllowed = at
	return &dated
}

// retryDelay says how long to wait after a failed attempt, and whether to try
// again at all: never when it would take longer than the policy's MaxDelay.
func (c *core) retryDelay(err error, attempt int) (time.Duration, bool) {
	policy := c.opts.retry
	if attempt >= policy.MaxAttempts || !Retryable(err) {
		return 0, false
	}
	wait := min(policy.BaseDelay<<(attempt-1), policy.MaxDelay)
	wait = wait/2 + rand.N(wait/2+1) // jitter, so that replicas spread
	if at, ok := NextAllowed(err); ok {
		wait = max(wait, at.Sub(c.now()))
	}
	if e, ok := errors.AsType[*Error](err); ok {
		wait = max(wait, e.RetryAfter)
	}
	return wait, wait <= policy.MaxDelay
}

// A credential authorizes a request.
type credential interface {
	// ready reports whether header can answer without asking anybody.
	ready() bool
	// header returns the Authorization header, as package http keeps it.
	header(ctx context.Context) ([]string, error)
	// refused is told that Smartcar did not accept header; without an error
	// there is another one now, which this call has renewed or found.
	refused(ctx context.Context, header []string) (renewed bool, err error)
	// renewalHelped is told whether a renewed one was accepted, and says what it
	// may mean if it was not.
	renewalHelped(helped bool) (hint string)
}

var errNoOtherToken = errors.New("there is no other token to try")

// fixedCredential never changes.
type fixedCredential string

func (f fixedCredential) ready() bool                              { return true }
func (f fixedCredential) header(context.Context) ([]string, error) { return []string{string(f)}, nil }
func (f fixedCredential) renewalHelped(bool) string                { return "" }
func (f fixedCredential) refused(context.Context, []string) (bool, error) {
	return false, errNoOtherToken
}

// authorizing adds the token. A token refused before its time is replaced and
// the request sent once more: a 401 was never carried out. What another replica
// had renewed may have been refused meanwhile, too: then it is renewed here.
func (c *core) authorizing(next layer) layer {
	return func(ctx context.Context, call *call) (*answer, error) {
		call.outcome, call.failure = outcomeReleased, nil
		a, err := c.authorized(ctx, call, next)
		for range 2 {
			if !call.unauthorized(err) {
				return a, err
			}
			if call.renewing != nil {
				call.renewing(ctx)
			}
			renewed, ended := call.auth.refused(ctx, call.bearer)
			switch {
			case errors.Is(ended, ErrReconnectRequired):
				return nil, ended // says what helps
			case ended != nil:
				return a, err
			}
			call.failure = nil
			a, err = c.authorized(ctx, call, next)
			if !renewed {
				continue
			}
			if hint := call.auth.renewalHelped(!call.unauthorized(err)); hint != "" {
				call.failure.Description = hint + "; " + call.failure.Description
			}
			return a, err
		}
		return a, err
	}
}

// unauthorized: the request as a whole was refused for its token. What says so
// inside an answer was asked for, and may have cost the car's turn.
func (c *call) unauthorized(err error) bool {
	return err != nil && c.failure != nil && c.failure.StatusCode == 401 && !c.failure.inside
}

func (c *core) authorized(ctx context.Context, call *call, next layer) (*answer, error) {
	var err error
	if call.bearer, err = call.auth.header(ctx); err != nil {
		return nil, err
	}
	if call.leaving != nil {
		if err := call.leaving(ctx); err != nil {
			return nil, err
		}
	}
	return next(ctx, call)
}

// classifying turns what came back into typed errors, and notes what it means
// for the vehicle's turn.
func (c *core) classifying(next layer) layer {
	return func(ctx context.Context, call *call) (*answer, error) {
		call.began = c.now()
		a, err := next(ctx, call)
		if err == nil {
			a, err = c.classify(call, a)
		}
		if err == nil {
			call.outcome, call.failure = c.strongest(call.kind, a.parts)
			if a.observed.wasChecked {
				call.outcome = a.observed.turn(call.outcome)
				if call.failure != nil && call.failure.isKeyRequired() {
					call.failure = nil // one of those observed
				}
				call.failure = cmp.Or(call.failure, a.observed.needsKey(c.opts.ignoreKeySignal))
			}
			return a, nil
		}
		e, ok := errors.AsType[*Error](err)
		if !ok {
			return nil, err
		}
		e.command = call.kind == KindCommand
		e.read = call.ops != nil || call.request.method == http.MethodGet && !e.command
		call.outcome, call.failure = outcomeOf(e), e
		return nil, e
	}
}

func (c *core) classify(call *call, a *answer) (*answer, error) {
	if a.status < 200 || a.status > 299 {
		e := decodeError(call.op, a.status, a.header, a.body, a.at)
		if a.status >= 300 && a.status < 400 {
			e.Description = "Smartcar answered with a redirect, which is never followed"
		}
		return nil, e
	}
	if call.ops != nil || call.command != nil {
		if e := errorInside(call.op, a.status, a.header, a.body, a.at); e != nil {
			return nil, e
		}
	}
	if call.command != nil {
		return a, c.classifyCommand(call, a)
	}
	if call.ops == nil {
		return a, nil
	}
	parts, err := c.wire.split(call.ops, a)
	if err != nil {
		// It may be an error, as those of commands are.
		if e := decodeError(call.op, a.status, a.header, a.body, a.at); e.Type != "" {
			e.inside = true
			return nil, e
		}
		return nil, unreadable(call.op, a, err)
	}
	a.parts = parts
	for i := range parts {
		c.decode(&parts[i], call, a)
	}
	return a, nil
}

// classifyCommand lets the body decide whether a command succeeded.
func (c *core) classifyCommand(call *call, a *answer) error {
	var err error
	if a.result, err = c.wire.commandResult(call.command, a); err == nil {
		return nil
	}
	if e, ok := errors.AsType[*Error](err); ok {
		e.inside = true
		return e
	}
	return unreadable(call.op, a, err)
}

// decode turns the body of a part into its typed result, or into an error of
// that part: what cannot be read must not be kept as what the car said.
func (c *core) decode(p *part, call *call, a *answer) {
	if p.err != nil {
		p.err.read = true
		return
	}
	if p.meta.UnitSystem == "" {
		p.meta.UnitSystem = call.units
	}
	p.meta.PolicyOverridden = call.override && call.kind == KindData
	value, err := c.wire.decode(p.op, p.body, p.meta.UnitSystem)
	if err != nil {
		p.err = unreadable(p.op.name, a, err)
		return
	}
	value.(interface{ setMeta(Meta) }).setMeta(p.meta)
	p.value = value
}

// unreadable is a success that cannot be understood.
func unreadable(op Operation, a *answer, cause error) *Error {
	return &Error{Operation: op, StatusCode: a.status, RequestID: a.header.Get(headerRequestID), Err: cause}
}

// outcomeOf says what a failed request means for the vehicle's turn.
func outcomeOf(e *Error) outcome {
	switch {
	case e.reach == reachedNever:
		return outcomeReleased
	case e.StatusCode == 0:
		return outcomeUnclear
	case errors.Is(e, ErrAsleep):
		return outcomeAsleep
	case e.isVehicleLimit():
		return outcomeLimited
	case e.isApplicationLimit():
		return outcomeReleased
	case e.StatusCode == 400 && e.Type != typeAccount,
		e.StatusCode == 401, e.StatusCode == 403, e.StatusCode == 404, e.StatusCode == 430, e.StatusCode == 501:
		return outcomeReleased
	default:
		return outcomeAnswered
	}
}

// strength orders outcomes by how sure it is that the server counted the request.
var strength = [...]uint8{
	outcomeNone: 0, outcomeReleased: 1, outcomeAsleep: 2, outcomeLimited: 3,
	outcomeUnclear: 4, outcomeAnswered: 5, outcomeOK: 6,
}

// strongest is the outcome of an answer with parts: of a batch the strongest
// item counts, where it concerns the car. The failure is one that carries
// evidence, if any does.
func (c *core) strongest(kind Kind, parts []part) (outcome, *Error) {
	if len(parts) == 0 {
		return outcomeOK, nil
	}
	best, failure := outcomeNone, (*Error)(nil)
	for i := range parts {
		if kind == KindData && c.wire.kind(parts[i].op) != KindData {
			continue
		}
		o := outcomeOK
		if e := parts[i].err; e != nil {
			o = outcomeOf(e)
			if failure == nil || e.isKeyRequired() || e.isVehicleLimit() && !failure.isKeyRequired() {
				failure = e
			}
		}
		if strength[o] > strength[best] {
			best = o
		}
	}
	return best, failure
}
