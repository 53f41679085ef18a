// Package losable marks a write that a crash of the store may take back.
// Package smartcar marks, package store tells a store of it.
package losable

import "context"

type key struct{}

// Mark returns a context for a write that may be lost.
func Mark(ctx context.Context) context.Context { return context.WithValue(ctx, key{}, true) }

// Is reports whether the write that ctx was given to may be lost.
func Is(ctx context.Context) bool {
	marked, _ := ctx.Value(key{}).(bool)
	return marked
}
