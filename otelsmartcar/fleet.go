package otelsmartcar

import (
	"context"
	"errors"
	"sync"

	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/fleet"
	"go.opentelemetry.io/otel/metric"
)

// ObserveFleet tells how the cars of a fleet.Fleet are doing whenever metrics are read:
// how many are waiting, and by which rule. It is for one process with [fleet.Fleet.Run].
// On several machines the cars are jobs of River, which otelriver counts.
//
// Unregister the registration when the fleet is no longer used.
func ObserveFleet(f *fleet.Fleet, opts ...Option) (metric.Registration, error) {
	c := newConfig(opts)
	meter := c.meter()
	cars, err := meter.Int64ObservableUpDownCounter("smartcar.fleet.vehicle.count", metric.WithUnit("{vehicle}"),
		metric.WithDescription("Cars of the fleet by what they are doing, and of those that wait by the rule that keeps them waiting."))
	late, err2 := meter.Float64ObservableGauge("smartcar.fleet.lateness", metric.WithUnit("s"),
		metric.WithDescription("For how long the car is due that has waited longest."))
	if err := errors.Join(err, err2); err != nil {
		return nil, err
	}
	g := &gauges{fleet: f, cars: cars, late: late, rules: map[smartcar.Rule]bool{smartcar.RuleKeyless: true}}
	return meter.RegisterCallback(g.observe, cars, late)
}

type gauges struct {
	fleet *fleet.Fleet
	cars  metric.Int64Observable
	late  metric.Float64Observable

	mu    sync.Mutex
	rules map[smartcar.Rule]bool // that cars have waited by: a series that ends looks like a process that died
}

func (g *gauges) observe(_ context.Context, o metric.Observer) error {
	stats := g.fleet.Stats()
	g.mu.Lock()
	defer g.mu.Unlock()
	for rule := range stats.Waiting {
		g.rules[rule] = true
	}
	for rule := range g.rules {
		o.ObserveInt64(g.cars, int64(stats.Waiting[rule]), metric.WithAttributes(keyState.String("waiting"), keyRule.String(code(rule))))
	}
	o.ObserveInt64(g.cars, int64(stats.Running), metric.WithAttributes(keyState.String("visited"), keyRule.String(none)))
	o.ObserveInt64(g.cars, int64(stats.Retired), metric.WithAttributes(keyState.String("retired"), keyRule.String(none)))
	o.ObserveFloat64(g.late, stats.Late.Seconds())
	return nil
}
