package clocks

import (
	"context"
	"time"

	"github.com/seed-498a1bc4/smartcar/internal/contexts"
)

// System is the computer's clock.
type System struct{ began time.Time }

// NewSystem returns the computer's clock, by which no time has passed yet.
func NewSystem() System { return System{time.Now()} }

// Now implements smartcar.Clock.
func (System) Now() time.Time { return time.Now().UTC() }

// Elapsed is read from the monotonic clock.
func (s System) Elapsed() time.Duration { return time.Since(s.began) }

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
