package fleet

import (
	"context"
	"log/slog"
	"math"
	"time"

	"github.com/seed-498a1bc4/smartcar"
)

// asks is how many requests a second a car wants: its visits, and the looks at its key that
// come before a read. A car without its key is visited for a look alone while it waits for
// its window, so its looks are among its visits.
func (g *engine) asks(e *entry) float64 {
	requests := 1 / float64(e.gap)
	if e.look > 0 && g.rules[e.rule] != smartcar.RuleKeyless {
		requests += 1 / float64(max(e.look, e.gap))
	}
	return requests
}

// pace is the shortest time between two reads of a car that the application's limit allows,
// if the cars want more requests than that; 0 if the limit suffices. At such a pace the
// looks at missing keys come before reads, too.
func (g *engine) pace() time.Duration {
	limit := g.fleet.client.Budget().ApplicationLimit
	if limit.Requests <= 0 || g.asked <= limit.PerMinute/60 {
		return 0
	}
	looks := make(map[float32]int)
	for _, e := range g.cars {
		if e.look > 0 {
			looks[e.look]++
		}
	}
	return paceOf(len(g.cars), looks, limit.PerMinute)
}

// paceOf is how long it takes to read each of so many cars once, at so many requests a
// minute. Looks are the cars whose key is looked at, by the seconds between two looks at
// one: a look that is due comes before the next read, and is a request more. Reads that are
// more frequent than looks need fewer looks each. It starts with the slowest pace, one look
// for each read, and repeats with the result until the pace gets no faster.
func paceOf(cars int, looks map[float32]int, perMinute float64) time.Duration {
	pace := math.Inf(1)
	for {
		requests := float64(cars)
		for every, n := range looks {
			requests += float64(n) / max(math.Ceil(float64(every)/pace), 1)
		}
		next := math.Round(requests / perMinute * 60) // in seconds
		if next >= pace {
			return time.Duration(pace) * time.Second
		}
		pace = next
	}
}

// warn says once that the cars want more than the limit of the application allows.
func (g *engine) warn(ctx context.Context) {
	g.mu.Lock()
	pace := time.Duration(0)
	if g.fresh == 0 && !g.warned {
		pace = g.pace()
		g.warned = pace > 0
	}
	g.mu.Unlock()
	if pace > 0 {
		g.fleet.config.Logger.LogAttrs(ctx, slog.LevelWarn, "smartcar fleet: the cars want more requests than the limit of the application allows",
			slog.Duration("pace", pace))
	}
}
