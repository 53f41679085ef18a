package smartcar

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/seed-498a1bc4/smartcar/internal/policy"
)

// bareApplicationPause answers an application-wide 429 that names no time: the
// documented bucket refills one request each 30 s.
const bareApplicationPause = 30 * time.Second

// A pause remembers the application-wide limit while it is known to hold. It is
// shared by everything of a client that sends requests.
type pause struct {
	opts  *options
	until atomic.Int64 // when the limit opens again: nanoseconds since 1970, 0 if it is open
}

// end is when the limit opens again; a time that is over means that it is open.
func (p *pause) end() time.Time { return time.Unix(0, p.until.Load()).UTC() }

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
	until := p.opts.now().Add(wait)
	p.until.Store(until.UnixNano())
	return &RateLimitError{Operation: op, NextAllowed: until, Rule: RuleApplication, Err: e}
}

// refuse returns an error for a request that the limit does not allow now.
func (p *pause) refuse(r *request) error {
	until := p.until.Load()
	if until == 0 || r.override || p.opts.now().UnixNano() >= until {
		return nil
	}
	return &RateLimitError{Operation: r.op, NextAllowed: p.end(), Rule: RuleApplication, Local: true}
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
