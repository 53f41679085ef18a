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
//	go test -run TestReport -v -benchtime 30ms -rounds 40
//
// A round measures each once, the baseline right before what is compared with
// it. Two ratios are shown: the median of those within a round, and that of the
// best rounds, which is what a machine that does nothing else would show.
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
	fmt.Fprintln(out, "| Store\t| What\t| ns/op\t| best\t| allocs/op\t| round trips\t| ratio\t| of the best\t|")
	fmt.Fprintln(out, "| ---\t| ---\t| ---:\t| ---:\t| ---:\t| ---:\t| ---:\t| ---:\t|")
	for _, p := range plans() {
		t.Run(p.name, func(t *testing.T) {
			lines := measure(p.open(t).works(t))
			for _, l := range lines {
				best := slices.Min(l.ns)
				fmt.Fprintf(out, "| %s\t| %s\t| %.0f\t| %.0f\t| %.0f\t| %s\t| %.2f\t| %.2f\t|\n",
					p.name, l.name, median(l.ns), best, median(l.allocs), l.roundTrips(), median(l.ratios), best/slices.Min(lines[0].ns))
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
	var lines []*line
	for _, w := range works {
		lines = append(lines, &line{work: w})
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
	return append(lines, policyAlone(lines))
}

// policyAlone is the turn less the same call without one: reserve and settle.
func policyAlone(lines []*line) *line {
	alone := &line{work: work{name: "reserve and settle alone"}}
	var with, without *line
	for _, l := range lines {
		switch l.name {
		case turn:
			with = l
		case openRead:
			without = l
		}
	}
	for i := range with.ns {
		ns := with.ns[i] - without.ns[i]
		alone.ns = append(alone.ns, ns)
		alone.allocs = append(alone.allocs, with.allocs[i]-without.allocs[i])
		alone.ratios = append(alone.ratios, ns/lines[0].ns[i])
	}
	return alone
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
