package policy

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestSpent(t *testing.T) {
	now := time.Date(2026, 12, 30, 12, 0, 0, 0, time.UTC)
	var s Spent
	require.False(t, s.Known())
	require.Zero(t, s.Next(now, false))
	require.Equal(t, Spent{}, s.Allow(now, true))

	s = s.Refuse(now, false, time.Hour)
	require.Equal(t, now.Add(24*time.Hour), s.Next(now, false), "a day later, as far as the month lasts")
	require.Zero(t, s.Next(now, true), "metadata was not refused")
	s = s.Refuse(now.Add(24*time.Hour), true, time.Hour)
	require.Equal(t, time.Date(2027, 1, 1, 1, 0, 0, 0, time.UTC), s.Next(now, true), "the month begins earlier")

	later := now.Add(48 * time.Hour)
	require.Zero(t, s.Next(later, false))
	require.Equal(t, later.Add(time.Minute), s.Probe(later).Next(later, false), "one finds out, the others wait")
	s = s.Probe(later).Allow(later, true)
	require.Zero(t, s.Next(later, false), "metadata tells nothing of data: a read finds out")
	require.True(t, s.Known())
	require.Equal(t, s, s.Allow(later, true))
	require.Equal(t, Spent{}, s.Allow(later, false))
}
