package smartcartest

import (
	"context"
	"errors"
	"time"
)

// Now is the simulated time: the clock plus everything Advance added, in UTC.
func (s *Server) Now() time.Time {
	s.lock()
	defer s.mu.Unlock()
	return s.now()
}

// now is the simulated time. The caller holds the lock.
func (s *Server) now() time.Time {
	return s.cfg.now().Round(0).UTC().Add(s.offset)
}

// Advance moves the simulated clock, which tokens, cars and windows live by.
// d may be negative.
func (s *Server) Advance(d time.Duration) {
	s.lock()
	defer s.mu.Unlock()
	s.passed()
	s.offset += d
	if d < 0 {
		s.seen = s.now() // time that is set back has not passed
	}
	s.passed()
}

// passed is how much simulated time has passed, which setting the clock back
// does not undo. The caller holds the lock.
func (s *Server) passed() time.Duration {
	now := s.now()
	if !s.seen.IsZero() {
		s.elapsed += max(0, now.Sub(s.seen))
	}
	s.seen = now
	return s.elapsed
}

// Clock is the simulated time as a clock for the client under test: what
// [Server.Advance] moves, it sees. The zero value belongs to no server and stands still.
type Clock struct{ server *Server }

// Clock returns the simulated clock. It is safe for concurrent use.
func (s *Server) Clock() Clock { return Clock{s} }

// Now is the simulated time.
func (c Clock) Now() time.Time {
	if c.server == nil {
		return time.Time{}
	}
	return c.server.Now()
}

// Elapsed is how much simulated time has passed. It never goes back: see
// smartcar.Clock.
func (c Clock) Elapsed() time.Duration {
	if c.server == nil {
		return 0
	}
	c.server.lock()
	defer c.server.mu.Unlock()
	return c.server.passed()
}

// Sleep moves the simulated clock by d and returns at once, so that waits cost
// no time. It returns ctx's error if that has ended.
func (c Clock) Sleep(ctx context.Context, d time.Duration) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if c.server == nil {
		return errors.New("smartcartest: a Clock that no Server has given stands still")
	}
	c.server.Advance(d)
	return nil
}
