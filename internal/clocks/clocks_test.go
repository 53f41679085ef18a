package clocks

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// wall is the clock of a machine, which is stepped.
type wall struct{ off time.Duration }

func (w *wall) Now() time.Time                             { return time.Now().Add(w.off) }
func (w *wall) Sleep(context.Context, time.Duration) error { return nil }

// still is a clock that stands until it is moved.
type still struct{ now time.Time }

func (s *still) Now() time.Time                             { return s.now }
func (s *still) Sleep(context.Context, time.Duration) error { return nil }

// telling says itself how much time has passed.
type telling struct {
	wall
	passed time.Duration
}

func (t *telling) Elapsed() time.Duration { return t.passed }

func TestElapsed(t *testing.T) {
	t.Run("a clock that runs", func(t *testing.T) {
		require.True(t, runs(new(wall)))
		synctest.Test(t, func(t *testing.T) {
			w := &wall{off: -24 * time.Hour}
			c := New(w)
			wall, elapsed, steady := c.Now(), c.Elapsed(), c.Steady()
			time.Sleep(time.Hour)
			w.off = 9 * time.Hour
			require.Equal(t, time.Hour, c.Elapsed()-elapsed)
			require.Equal(t, wall.Add(time.Hour), steady.Now())
			require.Equal(t, wall.Add(34*time.Hour), c.Now())
		})
	})
	t.Run("a clock that stands", func(t *testing.T) {
		s := &still{time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
		require.False(t, runs(s))
		synctest.Test(t, func(t *testing.T) { require.False(t, runs(s)) })
		c := New(s)
		for _, by := range []time.Duration{time.Hour, -24 * time.Hour, time.Hour} {
			s.now = s.now.Add(by)
			c.Elapsed()
		}
		require.Equal(t, 2*time.Hour, c.Elapsed(), "setting it back is no time that passes")
	})
	t.Run("a clock that tells", func(t *testing.T) {
		c := New(&telling{passed: time.Minute})
		require.Equal(t, time.Minute, c.Elapsed())
	})
}

// observed is a clock that shows readings, each with how much time has passed here.
func observed(readings ...[2]time.Duration) *Jumps {
	j := NewJumps(8 * time.Hour)
	for _, r := range readings {
		j.Observe(midnight.Add(r[0]), r[1], r[1])
	}
	return j
}

var midnight = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func TestJumps(t *testing.T) {
	const h, m = time.Hour, time.Minute
	for name, tt := range map[string]struct {
		seen      [][2]time.Duration // what the clock showed, and how much time had passed here
		since, at time.Duration
		by        time.Duration
	}{
		"none":                             {[][2]time.Duration{{10 * h, 0}, {12 * h, 2 * h}}, 10 * h, 2 * h, 0},
		"seen once":                        {[][2]time.Duration{{10 * h, 0}}, 9 * h, 0, 0},
		"before a jump":                    {[][2]time.Duration{{10 * h, 0}, {19 * h, m}}, 10 * h, m, 9*h - m},
		"in a jump":                        {[][2]time.Duration{{10 * h, 0}, {19 * h, m}}, 18 * h, m, 9*h - m},
		"after a jump":                     {[][2]time.Duration{{10 * h, 0}, {19 * h, m}}, 19 * h, m, 0},
		"a jump that is long over":         {[][2]time.Duration{{10 * h, 0}, {19 * h, m}}, 10 * h, 8*h + 2*m, 0},
		"forward and back":                 {[][2]time.Duration{{10 * h, 0}, {19*h + m, m}, {10*h + 2*m, 2 * m}}, 10 * h, 2 * m, 0},
		"forward and half of it back":      {[][2]time.Duration{{10 * h, 0}, {18*h + m, m}, {14*h + 2*m, 2 * m}}, 10 * h, 2 * m, 4 * h},
		"used after half of it back":       {[][2]time.Duration{{10 * h, 0}, {18*h + m, m}, {14*h + 2*m, 2 * m}}, 14*h + 3*m, 4 * m, 0},
		"back, and right again":            {[][2]time.Duration{{10 * h, 0}, {7*h + m, m}, {10*h + 2*m, 2 * m}}, 7*h + m, 2 * m, 3 * h},
		"two jumps":                        {[][2]time.Duration{{10 * h, 0}, {12*h + h, h}, {16*h + 2*h, 2 * h}}, 10 * h, 2 * h, 2*h + 4*h},
		"two jumps, used in between":       {[][2]time.Duration{{10 * h, 0}, {12*h + h, h}, {16*h + 2*h, 2 * h}}, 14 * h, 2 * h, 4 * h},
		"jumps that follow closely":        {[][2]time.Duration{{10 * h, 0}, {11*h + m, m}, {12*h + 2*m, 2 * m}}, 11*h + m, 2 * m, 2 * h},
		"further back than it was forward": {[][2]time.Duration{{10 * h, 0}, {12*h + m, m}, {5*h + 2*m, 2 * m}}, 4 * h, 2 * m, 0},
	} {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, tt.by, observed(tt.seen...).Since(midnight.Add(tt.since), tt.at))
		})
	}
}

// An answer that was long on its way, and one that was overtaken, show no jump.
func TestJumpsAndSlowAnswers(t *testing.T) {
	j := NewJumps(8 * time.Hour)
	j.Observe(midnight.Add(time.Minute), 0, 2*time.Minute)
	j.Observe(midnight.Add(3*time.Minute), time.Minute, 5*time.Minute)
	j.Observe(midnight, 0, 4*time.Minute) // overtaken
	require.Zero(t, j.Since(midnight, 5*time.Minute))
	j.Observe(midnight.Add(2*time.Hour), 6*time.Minute, 6*time.Minute)
	require.Equal(t, 2*time.Hour-3*time.Minute-time.Minute, j.Since(midnight, 6*time.Minute), "by as much as it may have been")
}

// What a slow answer may show of a clock that was set back is the least: the rest of a
// jump stays.
func TestJumpsAndASlowAnswerOfAClockThatWasSetBack(t *testing.T) {
	j := observed([2]time.Duration{0, 0}, [2]time.Duration{4*time.Hour + time.Minute, time.Minute})
	j.Observe(midnight.Add(2*time.Hour+2*time.Minute), 2*time.Minute, 12*time.Minute)
	require.Equal(t, 2*time.Hour+time.Minute-time.Minute, j.Since(midnight, 12*time.Minute))
}

// A clock that runs a little fast for a year takes no memory.
func TestJumpsOfAClockThatRunsFast(t *testing.T) {
	j := NewJumps(8 * time.Hour)
	for passed := time.Duration(0); passed < 365*24*time.Hour; passed += time.Minute {
		j.Observe(midnight.Add(passed+passed/10_000), passed, passed)
	}
	require.Less(t, len(j.all), 100)
}
