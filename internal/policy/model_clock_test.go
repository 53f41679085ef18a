package policy_test

import (
	"time"

	"github.com/seed-498a1bc4/smartcar/internal/clocks"
	"github.com/seed-498a1bc4/smartcar/internal/policy"
)

// judged is cars.judged.
func (w *world) judged(i int, state policy.State) policy.State {
	r := &w.replicas[i]
	jumps := clocks.NewJumps(minutes(window + 2*lease))
	for _, s := range r.seen {
		if s.used {
			passed := minutes(s.first - r.boot)
			jumps.Observe(instant(s.first+s.by), passed, passed)
		}
	}
	passed := minutes(w.now - r.boot)
	return state.Doubted(w.storeTime(i), policy.Witness{
		Machine: w.machineTime(i),
		Jumped:  func(since time.Time) time.Duration { return jumps.Since(since, passed) },
	}, checkRules)
}

// witnessed is cars.witnessed.
func (w *world) witnessed(i int, e policy.Event) policy.Event {
	return e.Witnessed(w.machineTime(i), w.storeTime(i))
}

func knowing(e policy.Event, keyAt, now time.Time) policy.Event { return e.Knowing(keyAt, now) }
