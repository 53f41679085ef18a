package smartcar

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

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
