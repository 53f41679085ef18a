package smartcar

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/url"
	"sync/atomic"
	"time"

	"github.com/seed-498a1bc4/smartcar/internal/clocks"
	"github.com/seed-498a1bc4/smartcar/internal/policy"
)

// A request is one HTTP request as its maker describes it. The layers of the
// pipeline read it and change nothing in it; what they find they return as an
// attempt.
type request struct {
	op      Operation
	kind    Kind
	car     carRef      // zero for a request that concerns no vehicle
	reads   []operation // what a read carries; nil for everything else
	command *operation  // a typed command; nil for everything else
	base    string      // the URL that wire.path is relative to
	wire    wireRequest
	query   url.Values
	auth    credential
	grant   grantCredential // of v2.0: auth points to it, to save an allocation
	user    string          // in whose name the application asks; API v3
	units   UnitSystem

	kept     *vehicleKept // where the answers are kept; nil keeps none
	alone    bool         // the answer is for this request alone, and is not kept
	scope    string       // whose answers these are: the grant on v2.0, the user on v3
	override bool         // the caller asked to ignore the policy
}

// An attempt is what one layer of the pipeline found out about a request.
type attempt struct {
	answer  *answer        // nil unless a whole answer came that is no error
	outcome policy.Outcome // what the request means for the turn of its car
	failure *Error         // what the policy learns from; it may stand beside an answer, as one item of a batch
	began   time.Time      // when the request left, by the wall clock
	left    time.Duration  // the same by the time that has passed in this process
}

// onClock dates what the attempt shows by the present wall clock, which may have been
// stepped while the request was under way.
func (a attempt) onClock(o *options, events []policy.Event) []policy.Event {
	here := clocks.Moment{Wall: a.began, Elapsed: a.left}.After(o.clock.Elapsed())
	for i := range events {
		events[i] = events[i].OnClock(here, o.now())
	}
	return events
}

// A layer is one step of the pipeline: it sends the request through the layers
// below it, zero or more times. T is the turn of the car that the request has
// taken, nil if it has taken none.
type layer func(ctx context.Context, r *request, t *turn) (attempt, error)

// newPipeline puts the layers into the order in which every request passes them
// on its way down:
//
//	retry      repeats what is safe to repeat. It is above the gate, because each
//	           repetition costs and has to be allowed.
//	gate       refuses what the policy does not allow now, takes the turn of a
//	           keyless car, books what came back and keeps the answers.
//	authorize  adds the token. It is below the gate, because a refused request
//	           must not spend a token refresh; a token that is refused is
//	           replaced and the request sent once more.
//	classify   turns what came back into results or typed errors, so that the
//	           layers above see types and not statuses.
//	transmit   makes the HTTP request and reads the whole answer.
//
// The gate asks its probe what a car is. The requests of the probe take no turn
// and pass the same layers without the gate, but for the pause of the whole
// application.
func newPipeline(g *gate, w wire, own func() secrets) layer {
	sending := authorizing(classifying(g.opts, w, transmitting(g.opts, own)))
	g.probe = &probe{opts: g.opts, wire: w, send: retrying(g.opts, g.pause.pausing(sending))}
	return retrying(g.opts, g.guarding(sending))
}

// retrying repeats what is safe to repeat. When the gate refuses a repetition,
// the error of the attempt before is returned and says when to come back.
func retrying(o *options, next layer) layer {
	return func(ctx context.Context, r *request, t *turn) (attempt, error) {
		var first error
		for try := 1; ; try++ {
			a, err := next(ctx, r, t)
			if err == nil {
				return a, nil
			}
			if refused, ok := errors.AsType[*RateLimitError](err); ok && refused.Local && first != nil {
				return a, withNextAllowed(first, refused.NextAllowed)
			}
			wait, ok := retryDelay(o, err, try)
			if !ok {
				return a, err
			}
			first = err
			if ended := o.clock.Sleep(ctx, wait); ended != nil {
				return a, fmt.Errorf("%w (stopped waiting to retry: %w)", err, ended)
			}
		}
	}
}

// withNextAllowed returns a dated copy of err: several callers may share the
// failure of one token refresh.
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
func retryDelay(o *options, err error, try int) (time.Duration, bool) {
	if try >= o.retry.MaxAttempts || !Retryable(err) {
		return 0, false
	}
	wait := min(o.retry.BaseDelay<<(try-1), o.retry.MaxDelay)
	wait = wait/2 + rand.N(wait/2+1) // jitter, so that replicas spread
	if at, ok := NextAllowed(err); ok {
		wait = max(wait, at.Sub(o.now()))
	}
	if e, ok := errors.AsType[*Error](err); ok {
		wait = max(wait, e.RetryAfter)
	}
	return wait, wait <= o.retry.MaxDelay
}

// bareApplicationPause answers an application-wide 429 that names no time: the
// documented bucket refills one request each 30 s.
const bareApplicationPause = 30 * time.Second

// A pause remembers the application-wide limit while it is known to hold. It is
// shared by everything of a client that sends requests.
type pause struct {
	opts  *options
	until atomic.Int64 // when the limit opens again, by the time that has passed; 0 if it is open
}

// end is when the limit opens again; zero if it is open. The limit lasts for a
// length of time, whatever the wall clock does meanwhile.
func (p *pause) end() time.Time {
	if rest := time.Duration(p.until.Load()) - p.opts.clock.Elapsed(); rest > 0 {
		return p.opts.now().Add(rest)
	}
	return time.Time{}
}

// begin remembers an application-wide limit. What a proxy says, and not
// Smartcar, is believed for a moment only.
func (p *pause) begin(op Operation, e *Error) error {
	wait := e.RetryAfter
	if wait == 0 {
		wait = bareApplicationPause
	}
	if e.Type == "" {
		wait = min(wait, policy.BareLimitPause)
	}
	p.until.Store(int64(p.opts.clock.Elapsed() + wait))
	return &RateLimitError{Operation: op, NextAllowed: p.opts.now().Add(wait), Rule: RuleApplication, Err: e}
}

// refuse returns an error for a request that the limit does not allow now.
func (p *pause) refuse(r *request) error {
	if p.until.Load() == 0 || r.override {
		return nil
	}
	end := p.end()
	if end.IsZero() {
		return nil
	}
	return &RateLimitError{Operation: r.op, NextAllowed: end, Rule: RuleApplication, Local: true}
}

// pausing is the application-wide limit as a layer of its own, for requests that
// pass no gate.
func (p *pause) pausing(next layer) layer {
	return func(ctx context.Context, r *request, t *turn) (attempt, error) {
		if err := p.refuse(r); err != nil {
			return attempt{}, err
		}
		a, err := next(ctx, r, t)
		if e := a.failure; err != nil && e != nil && e.isApplicationLimit() {
			err = p.begin(r.op, e)
		}
		return a, err
	}
}
