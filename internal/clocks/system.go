// Package clocks has the clocks of a client.
package clocks

import (
	"context"
	"time"

	"github.com/seed-498a1bc4/smartcar/internal/contexts"
)

// System is the computer's clock.
type System struct{}

// Now implements smartcar.Clock.
func (System) Now() time.Time { return time.Now() }

// Sleep implements smartcar.Clock.
func (System) Sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return contexts.EndOf(ctx)
	}
}
