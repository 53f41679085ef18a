package smartcar_test

import (
	"strings"
	"testing"

	"github.com/seed-498a1bc4/smartcar/tests/costs"
	"github.com/stretchr/testify/require"
)

func BenchmarkCosts(b *testing.B) {
	for _, row := range costs.Rows("../testdata") {
		b.Run(strings.ReplaceAll(row.Name, " ", "_"), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				require.NoError(b, row.Do(b.Context()))
			}
		})
	}
}

// What the client does allocates about as much as what is written by hand.
func TestAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates by itself")
	}
	for _, row := range costs.Rows("../testdata") {
		require.NoError(t, row.Do(t.Context()), row.Name)
		count := allocations
		if row.Large {
			count = func(f func()) float64 { return testing.AllocsPerRun(1, f) }
		}
		got, most := count(func() { require.NoError(t, row.Do(t.Context())) }), row.MostAllocs
		if row.MostOfBare > 0 {
			require.NoError(t, row.Bare(t.Context()), row.Name)
			most = row.MostOfBare * count(func() { _ = row.Bare(t.Context()) })
		}
		t.Logf("%s: %v allocations of %v", row.Name, got, most)
		require.LessOrEqual(t, got, most, row.Name)
	}
}
