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

// Elapsed is what a [Source] has that knows how much time has passed.
type Elapsed interface{ Elapsed() time.Duration }

// A Clock is a [Source] of which it is known how much time has passed. It is safe
// for concurrent use.
type Clock struct {
	Source
	elapsed func() time.Duration
}

// New returns a source with its elapsed time: its own Elapsed if it has one, else
// that of this process if the source runs by itself, else what the source moves
// forward.
func New(s Source) *Clock {
	if e, ok := s.(Elapsed); ok {
		return &Clock{s, e.Elapsed}
	}
	if runs(s) {
		began := time.Now()
		return &Clock{s, func() time.Duration { return time.Since(began) }}
	}
	return &Clock{s, (&moved{source: s, last: s.Now()}).elapsed}
}

// Now is the wall clock, which may be wrong and may be stepped. Its difference to
// another reading is never taken as the time that has passed between the two.
func (c *Clock) Now() time.Time { return c.Source.Now().Round(0).UTC() }

// Elapsed never goes back. It does not count the time for which the machine was
// suspended.
func (c *Clock) Elapsed() time.Duration { return c.elapsed() }

// Moment reads both.
func (c *Clock) Moment() Moment { return Moment{c.Now(), c.Elapsed()} }

// Steady is a clock that is never stepped: it begins with what the wall clock shows
// now, and goes on by what has passed. What it times must not leave this process.
func (c *Clock) Steady() Steady { return Steady{c, c.Moment()} }

// Steady is what [Clock.Steady] returns.
type Steady struct {
	*Clock
	began Moment
}

// Now is the steady time.
func (s Steady) Now() time.Time { return s.began.After(s.Elapsed()) }

// A Moment is an instant of this process.
type Moment struct {
	Wall    time.Time
	Elapsed time.Duration
}

// After is what the wall clock shows when elapsed has passed, if it is not stepped.
func (m Moment) After(elapsed time.Duration) time.Time { return m.Wall.Add(elapsed - m.Elapsed) }

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
