package riverfleet

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// However many cars wait for the limit of the application: they come back one after the
// other, as fast as the application may ask.
func TestNoSecondWave(t *testing.T) {
	var s slots
	held := time.Now().Add(time.Minute)
	each := make(map[time.Duration]int)
	for range 2000 {
		at := s.take(held, 2)
		require.False(t, at.Before(held))
		require.Less(t, at.Sub(held), longestSlot+time.Hour)
		each[at.Sub(held).Truncate(time.Minute)]++
	}
	for _, n := range each {
		require.LessOrEqual(t, n, 6)
	}
	later := held.Add(100 * time.Hour)
	require.Less(t, s.take(later, 2).Sub(later), time.Minute, "the next limit begins anew")
}

// Whatever time a visit names, the job neither runs all the time nor sleeps for ever.
func TestSnoozes(t *testing.T) {
	for _, next := range []time.Time{{}, time.Unix(0, 0), time.Now().Add(-time.Hour), time.Now()} {
		require.Equal(t, leastSnooze, snoozeUntil(next))
	}
	for _, next := range []time.Time{time.Now().AddDate(900, 0, 0), time.Unix(math.MaxInt32<<20, 0)} {
		require.Equal(t, mostSnooze, snoozeUntil(next))
	}
	require.InDelta(t, float64(time.Hour), float64(snoozeUntil(time.Now().Add(time.Hour))), float64(time.Minute))
}
