// Command bench measures what the client costs beside doing without it, and prints one
// table. It exits with a status other than zero if a goal is missed that does not depend
// on the time of day: allocations and calls of the store. Times are shown, never judged.
//
//	go run .          # everything, with servers, in some minutes
//	go run . -short   # allocations and calls only
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/seed-498a1bc4/smartcar/tests/costs"
)

func main() {
	short := flag.Bool("short", false, "allocations and calls of the store only: no times, no servers")
	rounds := flag.Int("rounds", 5, "how often each time is measured")
	testing.Init()
	flag.Parse()
	if err := flag.Set("test.benchtime", "20ms"); err != nil {
		panic(err)
	}
	t := &table{short: *short, rounds: *rounds}
	t.line("What", "beside", "allocs", "of", "goal", "time, beside = 1", "goal", "calls", "goal", "")
	t.line("---", "---", "---:", "---:", "---:", "---:", "---:", "---:", "---:", "---")
	for _, row := range costs.Rows("../testdata") {
		t.cost(row)
	}
	t.observed()
	for _, row := range callRows(*short) {
		t.calls(row)
	}
	t.sizes()
	t.perCar()
	if !*short {
		t.on("refusal known here", func(tb testing.TB) {
			for _, row := range refusalRows(tb) {
				t.cost(row)
			}
		})
		t.stores()
	}
	if len(t.missed) > 0 {
		fmt.Fprintln(os.Stderr, "\nmissed: "+strings.Join(t.missed, "; "))
		os.Exit(1)
	}
}

type table struct {
	short  bool
	rounds int
	missed []string
}

// line prints a row at once: a run that is cut off is worth what it has printed.
func (t *table) line(cells ...string) { fmt.Println("| " + strings.Join(cells, " | ") + " |") }

// judge returns a mark, and notes what is missed.
func (t *table) judge(name string, got, most float64) string {
	if got <= most {
		return "met"
	}
	t.missed = append(t.missed, fmt.Sprintf("%s: %.0f of %.0f", name, got, most))
	return "MISSED"
}

func (t *table) cost(row costs.Row) {
	runs := 100
	if row.Large {
		runs = 1
	}
	allocs := allocations(runs, row.Do)
	bare, most := "", row.MostAllocs
	if row.Bare != nil {
		n := allocations(runs, row.Bare)
		bare = fmt.Sprintf("%.0f", n)
		if row.MostOfBare > 0 {
			most = row.MostOfBare * n
		}
	}
	ratio, goal := "", ""
	if row.Bare != nil && !t.short {
		ratio = t.compare(row)
	}
	if row.MostTime > 0 {
		goal = fmt.Sprintf("%.1f", row.MostTime)
	}
	t.line(row.Name, row.BareIs, fmt.Sprintf("%.0f", allocs), bare, fmt.Sprintf("%.0f", most), ratio, goal, "", "", t.judge(row.Name, allocs, most))
}

// allocations of one call: the least of some counts, because the runtime allocates a
// little by itself.
func allocations(runs int, do func(context.Context) error) float64 {
	once := func() {
		if err := do(context.Background()); err != nil {
			panic(err)
		}
	}
	least := testing.AllocsPerRun(runs, once)
	for range 3 {
		least = min(least, testing.AllocsPerRun(runs, once))
	}
	return least
}

// compare measures both in turn, and returns the ratio within a round.
func (t *table) compare(row costs.Row) string {
	var ratios []float64
	for range t.rounds {
		bare := timeOf(row.Bare)
		ratios = append(ratios, timeOf(row.Do)/bare)
	}
	return spread(ratios)
}

// timeOf is the time of one call, as one of many.
func timeOf(do func(context.Context) error) float64 {
	const least = 20 * time.Millisecond
	runtime.GC()
	n, began := 0, time.Now()
	for time.Since(began) < least {
		for range 10 {
			if err := do(context.Background()); err != nil {
				panic(err)
			}
			n++
		}
	}
	return float64(time.Since(began)) / float64(n)
}

// stores compares a turn on each store with the least that is written there.
func (t *table) stores() {
	for _, p := range plans() {
		err := onBed(func(tb testing.TB) {
			for _, l := range measureStore(p.open(tb).works(tb), t.rounds) {
				t.line(p.name+": "+l.name, "the first of this store", fmt.Sprintf("%.0f", median(l.allocs)), "", "", spread(l.ratios), "", l.roundTrips(), "", "")
			}
		})
		if err != nil {
			t.line(p.name, err.Error(), "", "", "", "", "", "", "", "not measured")
		}
	}
}
