package main

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/smartcartest"
	"github.com/seed-498a1bc4/smartcar/store"
)

// callRow counts the calls of the store.
type callRow struct {
	name string
	most float64
	// do returns how many calls one of what it does has taken.
	do func(testing.TB) float64
}

// callRows are those that hold exactly, on every machine: with a cache of the size of
// the fleet there is no cliff, however many cars there are.
func callRows(short bool) []callRow {
	sizes := []int{9_000, 11_000}
	if !short {
		sizes = append(sizes, 60_000)
	}
	rows := []callRow{
		{"store calls: a turn, token and key known", 2, func(tb testing.TB) float64 { return callsOfReads(tb, "", time.Nanosecond) }},
		{"store calls: a read of a Ford", 0, func(tb testing.TB) float64 { return callsOfReads(tb, free, longTime) }},
		{"store calls: a minute of a Ford read each second, v2", 2, eachSecond(smartcar.V2, smartcartest.MachE)},
		{"store calls: a minute of a Ford read each second, v3", 2, eachSecond(smartcar.V3, smartcartest.MachE)},
		{"store calls: a minute of a paired Tesla read each second, v2", 2.5, eachSecond(smartcar.V2, smartcartest.Model3)},
		{"store calls: a minute of a paired Tesla read each second, v3", 2.5, eachSecond(smartcar.V3, smartcartest.Model3)},
		{"store calls: a whole turn after 8 h, v2", 6, wholeTurn(smartcar.V2)},
		{"store calls: a whole turn after 8 h, v3", 4, wholeTurn(smartcar.V3)},
		{"store calls: a webhook handled", 3, webhook},
	}
	for _, n := range sizes {
		rows = append(rows, callRow{fmt.Sprintf("store calls: a refusal, %d cars and users known", n), 0, func(tb testing.TB) float64 {
			return callsOfRefusals(tb, n)
		}})
	}
	return rows
}

func callsOfReads(tb testing.TB, kind string, window time.Duration) float64 {
	kept := &counted{Store: store.NewMemory()}
	cars := newCars(tb, kept, kind, cars, window)
	before := kept.trips.Load()
	for _, car := range cars {
		if _, err := car.Battery(tb.Context()); err != nil {
			tb.Fatal(err)
		}
	}
	return float64(kept.trips.Load()-before) / float64(len(cars))
}

// callsOfRefusals reads n cars of n users, and looks at the first of them again, which
// a cache that is too small has lost.
func callsOfRefusals(tb testing.TB, n int) float64 {
	kept := &counted{Store: store.NewMemory()}
	read := newFleet(tb, kept, n)
	const sample = 500
	before := kept.trips.Load()
	for _, car := range read[:sample] {
		if _, err := car.Battery(tb.Context()); err == nil {
			tb.Fatal("not refused")
		}
	}
	return float64(kept.trips.Load()-before) / sample
}

// newFleet returns keyless cars, each with an owner of its own, whose turns are used.
func newFleet(tb testing.TB, kept store.Store, n int) []*smartcar.Vehicle {
	tb.Helper()
	client := newClient(tb, kept, longTime, smartcar.WithCacheSize(n), smartcar.WithClock(stopped{time.Now()}))
	cars := make([]*smartcar.Vehicle, n)
	for i := range cars {
		cars[i] = newOwner(tb, client).Vehicle(fmt.Sprintf("fleet-%029d", i))
		if _, err := cars[i].Battery(tb.Context()); err != nil {
			tb.Fatal(err)
		}
	}
	return cars
}

// stopped is a clock that stands still: what is known does not age while it is filled in.
type stopped struct{ at time.Time }

func (s stopped) Now() time.Time                             { return s.at }
func (s stopped) Elapsed() time.Duration                     { return 0 }
func (s stopped) Sleep(context.Context, time.Duration) error { return nil }

func (t *table) calls(row callRow) {
	err := onBed(func(tb testing.TB) {
		got := row.do(tb)
		t.line(row.name, "", "", "", "", "", "", fmt.Sprintf("%.2f", got), fmt.Sprintf("%.2g", row.most), t.judge(row.name, got, row.most))
	})
	if err != nil {
		t.line(row.name, err.Error(), "", "", "", "", "", "", "", t.judge(row.name, 1, 0))
	}
}
