package main

import (
	"bytes"
	"cmp"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/seed-498a1bc4/smartcar/internal/testserver"
	"github.com/stretchr/testify/require"
)

// takeOver is how long River takes at most until the visit of a process that has died goes
// on elsewhere: another leader is elected, each half minute it looks for visits that are
// older than their timeout and half a minute, and those start within 10 seconds.
const takeOver = 30*time.Second + 2*requestTime + 30*time.Second + 30*time.Second + 10*time.Second

// shared is what came of one run.
type shared struct {
	*testing.T
	world    *world
	requests int
	longest  time.Duration // between two reads of a car
	doubtful int           // values that were not handed over, of a read that a death may have met
}

// share lets replicas share cars over one PostgreSQL. Each kills, a process meets with
// trouble; nil is its death.
func share(t *testing.T, replicas, cars int, window, duration, kills, calm time.Duration, trouble func(url string, p *process)) shared {
	t.Helper()
	t.Setenv(envRedis, "")
	t.Setenv(envPostgres, "")
	w := newWorld(cars, 0, window)
	w.killEvery, w.calm = kills, calm
	if calm > 0 { // a long run of many cars, whose requests are not to be renewals
		w.expireEvery = time.Minute
	}
	w.store = stores{postgres: testserver.StartPostgres(t, "fsync=off", "synchronous_commit=off").URL()}
	if trouble != nil {
		w.trouble = func(p *process) { trouble(w.store.postgres, p) }
	}
	var out bytes.Buffer
	require.NoError(t, w.run(t.Context(), replicas, duration, &out), "%s", &out)
	s := shared{T: t, world: w, requests: len(w.sim.Requests())}
	missed := 0
	for _, id := range w.cars {
		last := w.began
		for _, e := range w.sim.Ledger(id) {
			if !e.AtGate {
				continue // it had to renew its token
			}
			if e.Time.Before(w.ended) {
				s.longest = max(s.longest, e.Time.Sub(last))
				last = e.Time
			}
			switch {
			case !e.Live || e.Dropped || w.wasSaved(id, e.RecordedAt):
			case w.diedSoonAfter(e.Time):
				s.doubtful++
			default:
				missed++
			}
		}
		s.longest = max(s.longest, w.ended.Sub(last))
	}
	require.Zero(t, missed, "values were not handed over")
	delivered, failed, _ := w.done.sum()
	t.Logf("%d replicas, %d cars: %d requests, %d reads, %d handed over, %d visits failed, %d killed, %d values lost with their process, longest without a read %v",
		replicas, cars, s.requests, w.sent(), delivered, failed, len(w.killed), s.doubtful, s.longest.Round(time.Second))
	return s
}

func (w *world) wasSaved(id string, recorded time.Time) bool {
	w.done.mu.Lock()
	defer w.done.mu.Unlock()
	for at := range w.done.saved[id] {
		if d := at.Sub(recorded); d > -time.Second && d < time.Second {
			return true
		}
	}
	return false
}

// diedSoonAfter reports whether a process died while it may have had an answer and not
// stored it, or while it was handing it over.
func (w *world) diedSoonAfter(answered time.Time) bool {
	for _, at := range w.killed {
		if d := at.Sub(answered); d >= 0 && d < requestTime {
			return true
		}
	}
	return false
}

// Two replicas, then four, share the cars of one PostgreSQL while they are killed at
// random: no window is broken, each value is handed over, and they ask hardly more often
// than one alone. With FLEET_CARS=1000 they are killed for a minute, and then no car may be
// without a read for longer than its window and the time in which River takes over: that
// takes ten minutes.
func TestReplicasThatAreKilled(t *testing.T) {
	cars, err := strconv.Atoi(cmp.Or(os.Getenv("FLEET_CARS"), "40"))
	require.NoError(t, err)
	window, duration, calm, kills := 4*time.Second, 16*time.Second, time.Duration(0), 2*killEvery
	if cars >= 1000 {
		window, calm, kills = 30*time.Second, takeOver, killEvery
		duration = time.Minute + calm
	}
	alone := share(t, 1, cars, window, duration, 0, calm, nil)
	for _, replicas := range []int{2, 4} {
		s := share(t, replicas, cars, window, duration, kills, calm, nil)
		require.NotEmpty(t, s.world.killed)
		require.LessOrEqual(t, float64(s.requests), 1.1*float64(alone.requests))
		require.LessOrEqual(t, float64(s.world.sent()), 1.1*float64(alone.world.sent()))
		require.LessOrEqual(t, s.longest, window+takeOver)
		require.LessOrEqual(t, s.doubtful, len(s.world.killed)*replicas*2, "few, even of those")
	}
}
