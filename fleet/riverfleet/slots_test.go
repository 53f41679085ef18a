package riverfleet

import (
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
