//go:build unix

// Package chaos has real processes, killed at random, share a real store that
// is killed, too, and lets Smartcar's ledger judge: no window of a keyless car
// is ever broken, no login lost, and hardly a permitted read missed.
package chaos

import (
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/seed-498a1bc4/smartcar/internal/testserver"
	"github.com/stretchr/testify/require"
)

// stormTime is how long each store has to stand it: CHAOS_DURATION, or 16 s.
func stormTime(t *testing.T) time.Duration {
	t.Helper()
	text := os.Getenv("CHAOS_DURATION")
	if text == "" {
		return 16 * time.Second
	}
	d, err := time.ParseDuration(text)
	require.NoError(t, err)
	return d
}

func durableRedis(t *testing.T) database {
	t.Helper()
	return redisServer{testserver.StartRedis(t, testserver.FindRedis(t, "redis-server"), testserver.Durable()...)}
}

func TestRedis(t *testing.T) { stands(t, "redis", durableRedis(t)) }

func TestPostgres(t *testing.T) {
	stands(t, "postgres", postgresServer{testserver.StartPostgres(t)})
}

func stands(t *testing.T, name string, db database) {
	t.Helper()
	w := newWorld(t, db, policy)
	w.spoil()
	d := stormTime(t)
	whole := w.storm(d, max(1, int(d/(20*time.Second))))
	v := w.judge(whole)
	t.Log(w.summary(name, whole, v))
	require.Zero(t, v.broken, "windows broken")
	require.Zero(t, v.lost, "logins lost")
	least := 95.0 // on a machine with nothing else to do
	if d < 30*time.Second {
		least = 90 // one unlucky kill after the restart weighs much in a short run
	}
	require.GreaterOrEqual(t, v.percent(), least, "percent of the permitted reads")
	require.Greater(t, v.used, keylessCars, "hardly anything was read")
}

func (w *world) summary(name string, whole span, v verdict) string {
	return fmt.Sprintf("chaos %s: %d processes, %.0f s, %d kills, %d server restarts, %d reads, %d token requests, %d windows broken, %d logins lost, %.1f %% of permitted reads",
		name, workers, whole.to.Sub(whole.from).Seconds(), w.kills, w.restarts, v.reads, w.sim.TokenRequests(), v.broken, v.lost, v.percent())
}

// The judge can find a fault: neither a store that does not compare nor a
// limiter in each process keeps the windows.
func TestBrokenOnPurpose(t *testing.T) {
	for _, broken := range []mode{torn, limiter} {
		t.Run(string(broken), func(t *testing.T) {
			w := newWorld(t, durableRedis(t), broken)
			whole := w.storm(7*time.Second, 0)
			v := w.judge(whole)
			t.Log(w.summary("redis, "+string(broken), whole, v))
			require.Positive(t, v.broken)
		})
	}
}
