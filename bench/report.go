package main

import (
	"fmt"
	"slices"
	"testing"
)

// line is what was measured of one work, by round.
type line struct {
	work
	ns, allocs, trips, ratios []float64
}

// measureStore measures each work once a round, the baseline right before what is
// compared with it.
func measureStore(works []work, rounds int) []*line {
	var lines []*line
	for _, w := range works {
		lines = append(lines, &line{work: w})
	}
	for range rounds {
		for _, l := range lines {
			r := testing.Benchmark(l.run)
			ns := float64(r.T.Nanoseconds()) / float64(r.N)
			l.ns = append(l.ns, ns)
			l.allocs = append(l.allocs, float64(r.AllocsPerOp()))
			l.trips = append(l.trips, r.Extra["roundtrips/op"])
			l.ratios = append(l.ratios, ns/lines[0].ns[len(lines[0].ns)-1])
		}
	}
	return lines
}

func (l *line) roundTrips() string {
	if l.work.trips == nil {
		return ""
	}
	return fmt.Sprintf("%.2f", median(l.trips))
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return (sorted[(len(sorted)-1)/2] + sorted[len(sorted)/2]) / 2
}

// spread are the median, the least and the most.
func spread(values []float64) string {
	return fmt.Sprintf("%.2f (%.2f-%.2f)", median(values), slices.Min(values), slices.Max(values))
}
