package bench

import (
	"flag"
	"fmt"
	"slices"
	"strings"
	"testing"
	"text/tabwriter"
)

var rounds = flag.Int("rounds", 1, "how often TestReport measures everything; it shows medians")

// TestReport prints one table of everything. Times are shown, never judged:
//
//	go test -run TestReport -v -benchtime 1s -rounds 5
//
// The baselines are measured right before the turn they are compared with, and
// ratios are made within a round, so that what else a machine does matters less.
// Without -benchtime each is done once, which only shows that it can be done.
func TestReport(t *testing.T) {
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "test.benchtime" })
	if !given {
		benchtime := flag.Lookup("test.benchtime").Value
		before := benchtime.String()
		defer func() { _ = benchtime.Set(before) }()
		if err := benchtime.Set("1x"); err != nil {
			t.Fatal(err)
		}
	}
	var table strings.Builder
	out := tabwriter.NewWriter(&table, 0, 0, 1, ' ', 0)
	fmt.Fprintln(out, "| Store\t| What\t| ns/op\t| allocs/op\t| round trips\t| ratio\t|")
	fmt.Fprintln(out, "| ---\t| ---\t| ---:\t| ---:\t| ---:\t| ---:\t|")
	for _, p := range plans() {
		t.Run(p.name, func(t *testing.T) {
			for _, l := range measure(p.open(t).works(t)) {
				fmt.Fprintf(out, "| %s\t| %s\t| %.0f\t| %.0f\t| %s\t| %.2f\t|\n",
					p.name, l.name, median(l.ns), median(l.allocs), l.roundTrips(), median(l.ratios))
			}
		})
	}
	_ = out.Flush()
	t.Log("\n" + table.String())
}

// line is what was measured of one work, by round.
type line struct {
	work
	ns, allocs, trips, ratios []float64
}

func measure(works []work) []*line {
	lines := make([]*line, len(works))
	for i, w := range works {
		lines[i] = &line{work: w}
	}
	for range *rounds {
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
