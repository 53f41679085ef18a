package fleet

import (
	"cmp"
	"context"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/seed-498a1bc4/smartcar"
	"github.com/stretchr/testify/require"
)

// BenchmarkLateness is how long after its time a visit begins, of 100,000 cars that sleep
// and 50 that are due each second, for as long as FLEET_TIME says.
func BenchmarkLateness(b *testing.B) {
	const n, perSecond = 100_000, 50
	measured, err := time.ParseDuration(cmp.Or(os.Getenv("FLEET_TIME"), "2s"))
	require.NoError(b, err)
	due := int(measured.Seconds()) * perSecond
	for range b.N {
		var mu sync.Mutex
		var late []time.Duration
		var f *Fleet
		done := make(chan struct{})
		f = newEngine(b, 0, func(_ context.Context, e *entry) (smartcar.Visit, error) {
			mu.Lock()
			defer mu.Unlock()
			if late = append(late, f.engine.since()-e.due); len(late) == due {
				close(done)
			}
			return smartcar.Visit{Next: time.Now().Add(measured)}, nil
		})
		for i := range n {
			f.engine.add(key(i))
		}
		g := &f.engine
		first := g.since() + time.Second
		for i := range n { // as after a first visit
			e := g.cars[key(i)]
			g.queue.remove(e)
			g.forget(e)
			e.due, e.gap = first+24*time.Hour, float32((24 * time.Hour).Seconds())
			if i < due {
				e.due, e.gap = first+time.Duration(i)*time.Second/perSecond, float32(measured.Seconds())
			}
			g.count(e, 1)
			g.queue.add(e)
		}
		ctx, stop := context.WithCancel(b.Context())
		ended := make(chan error, 1)
		go func() { ended <- f.Run(ctx, nil) }()
		<-done
		stop()
		require.NoError(b, <-ended)
		slices.Sort(late)
		at := func(q float64) float64 {
			return float64(late[min(int(q*float64(due)), due-1)].Microseconds()) / 1000
		}
		b.ReportMetric(at(0.5), "ms-p50")
		b.ReportMetric(at(0.95), "ms-p95")
		b.ReportMetric(at(0.99), "ms-p99")
		b.ReportMetric(at(1), "ms-max")
	}
}
