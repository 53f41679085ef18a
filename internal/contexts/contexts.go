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

// A Named context says what is done under it. It is a struct, so that a caller can keep
// it where it costs no allocation.
type Named struct {
	context.Context //nolint:containedctx // this is a context
	Name            string
}

// Under puts the name below ctx, once.
func (n *Named) Under(ctx context.Context, name string) context.Context {
	*n = Named{ctx, name}
	return n
}

type nameKey struct{}

// Value knows the name, and all that the context below knows.
func (n *Named) Value(key any) any {
	if _, ok := key.(nameKey); ok {
		return n
	}
	return n.Context.Value(key)
}

// NameOf is the name of the innermost [Named] context; empty if there is none.
func NameOf(ctx context.Context) string {
	if n, ok := ctx.Value(nameKey{}).(*Named); ok {
		return n.Name
	}
	return ""
}
