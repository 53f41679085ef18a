// Package contexts says why a context ended, and lets a short write outlive its
// caller.
package contexts

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// DetachedTime bounds what is done after a caller has left.
const DetachedTime = 10 * time.Second

// Detached returns a context that the caller's cancellation does not reach and
// that ends after [DetachedTime].
func Detached(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), DetachedTime)
}

// EndOf says why ctx ended. Whatever cause it was given, the result matches
// context.Canceled or context.DeadlineExceeded too.
func EndOf(ctx context.Context) error {
	err, cause := ctx.Err(), context.Cause(ctx)
	if cause == nil || errors.Is(cause, err) {
		return cause
	}
	return fmt.Errorf("%w: %w", err, cause)
}

// IsEnd reports whether err is the end of a context.
func IsEnd(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}
