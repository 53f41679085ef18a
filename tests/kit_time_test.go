package smartcar_test

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

const (
	window = 8 * time.Hour
	// maxBlocked is what a car may be refused after the last thing that
	// counted: the rule, one lease of a request, and rounding.
	maxBlocked = window + 320*time.Second + time.Second
)

const day = 24 * time.Hour

const (
	accessLife = 2 * time.Hour
	tokenSkew  = time.Minute // an access token is renewed this long before its end
)

const untilNextBeat = 4*time.Minute + 15*time.Second

// steppingClock is the wall clock of a machine that is set back now and then.
type steppingClock struct{ offset, steppedAt atomic.Int64 }

func (c *steppingClock) Now() time.Time { return time.Now().Add(time.Duration(c.offset.Load())) }

func (c *steppingClock) Sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (c *steppingClock) stepBack(d time.Duration) {
	c.offset.Add(-int64(d))
	c.steppedAt.Store(time.Now().UnixNano())
}

// simClock only moves when told to.
type simClock struct{ offset atomic.Int64 }

func (c *simClock) Now() time.Time {
	return time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(c.offset.Load()))
}

func (c *simClock) Sleep(ctx context.Context, d time.Duration) error {
	c.advance(d)
	return ctx.Err()
}

func (c *simClock) advance(d time.Duration) { c.offset.Add(int64(d)) }

// standingClock stands still, except that sleeping moves it.
type standingClock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *standingClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *standingClock) Sleep(ctx context.Context, d time.Duration) error {
	c.mu.Lock()
	c.now = c.now.Add(d)
	c.mu.Unlock()
	return context.Cause(ctx)
}
