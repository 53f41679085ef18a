// Package clocks tells how much time has passed in this process, whatever the wall
// clock of the machine says, and by how much another clock has jumped meanwhile.
package clocks

import (
	"context"
	"sync"
	"time"
)

// A Source is smartcar.Clock.
type Source interface {
	Now() time.Time
	Sleep(ctx context.Context, d time.Duration) error
}

// A Clock is a [Source] of which it is known how much time has passed. Its Now is the
// wall clock, in UTC, which may be wrong and may be stepped: the difference of two
// readings is never taken as the time that has passed between them. It is safe for
// concurrent use.
type Clock struct {
	Source
	// Elapsed is how much time has passed. It never goes back, and does not count the
	// time for which the machine was suspended.
	Elapsed func() time.Duration
}

// New returns a source with its elapsed time: its own Elapsed if it has one, else
// that of this process if the source runs by itself, else what the source moves
// forward.
func New(s Source) *Clock {
	if c, ok := s.(System); ok {
		return &Clock{c, c.Elapsed}
	}
	c := &Clock{Source: utc{s}}
	if e, ok := s.(interface{ Elapsed() time.Duration }); ok {
		c.Elapsed = e.Elapsed
	} else if runs(s) {
		c.Elapsed = NewSystem().Elapsed
	} else {
		c.Elapsed = (&moved{source: s, last: s.Now()}).elapsed
	}
	return c
}

// utc is a source whose times are in UTC and have no monotonic reading.
type utc struct{ Source }

func (u utc) Now() time.Time { return u.Source.Now().UTC() }

// Steady is a clock that is never stepped: it begins with what the wall clock shows
// now, and goes on by what has passed. What it times must not leave this process.
func (c *Clock) Steady() Steady { return Steady{c, c.Now().Add(-c.Elapsed())} }

// Steady is what [Clock.Steady] returns.
type Steady struct {
	*Clock
	zero time.Time // what it showed when nothing had passed
}

// Now is the steady time.
func (s Steady) Now() time.Time { return s.zero.Add(s.Elapsed()) }

// maxOff is how far the clock of a machine may be off inside testing/synctest.
const maxOff = 100 * 24 * time.Hour

// runs reports whether a source moves without being told to. Inside
// testing/synctest, where time stands still while anybody is busy, one that shows
// about the time of the bubble is taken for one that runs.
func runs(s Source) bool {
	first := s.Now()
	began := time.Now()
	for range 100 {
		if time.Since(began) > 0 {
			return s.Now().After(first)
		}
	}
	return first.Sub(began).Abs() < maxOff
}

// moved counts how much a simulated clock has moved forward.
type moved struct {
	source Source
	mu     sync.Mutex
	last   time.Time
	total  time.Duration
}

func (m *moved) elapsed() time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.source.Now()
	m.total += max(0, now.Sub(m.last))
	m.last = now
	return m.total
}
