package main

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/otelsmartcar"
	"github.com/seed-498a1bc4/smartcar/store"
	"github.com/seed-498a1bc4/smartcar/tests/costs"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/trace"
)

// observed are the rows of a client that is observed, beside one that is not.
func (t *table) observed() {
	meters := otelsmartcar.WithMeterProvider(metric.NewMeterProvider(metric.WithReader(metric.NewManualReader())))
	sampling := func(s trace.Sampler) otelsmartcar.Option {
		return otelsmartcar.WithTracerProvider(trace.NewTracerProvider(trace.WithSampler(s)))
	}
	nobody := smartcar.WithObserver(smartcar.Observer{Event: func(context.Context, smartcar.Event) {}})
	metrics := observing(meters, otelsmartcar.WithoutSpans())
	for _, row := range []struct {
		name   string
		most   float64
		window time.Duration
		opt    smartcar.Option
	}{
		{"read, an observer that does nothing", 42, 0, nobody},
		{"read, otelsmartcar: metrics", 42, 0, metrics},
		{"read, otelsmartcar: metrics, and spans that are not sampled", 56, 0, observing(meters, sampling(trace.NeverSample()))},
		{"read, otelsmartcar: metrics, and all spans", 65, 0, observing(meters, sampling(trace.AlwaysSample()))},
		{"refusal known here, otelsmartcar: metrics", 14, longTime, metrics},
	} {
		err := onBed(func(tb testing.TB) {
			t.cost(costs.Row{
				Name: row.name, MostAllocs: row.most, Do: readOf(tb, row.window, row.opt),
				Bare: readOf(tb, row.window), BareIs: "the same, unobserved",
			})
		})
		if err != nil {
			t.line(row.name, err.Error(), "", "", "", "", "", "", "", t.judge(row.name, 1, 0))
		}
	}
}

func observing(opts ...otelsmartcar.Option) smartcar.Option {
	observer, err := otelsmartcar.New(opts...)
	if err != nil {
		panic(err)
	}
	return smartcar.WithObserver(observer)
}

// readOf reads cars under no rule; with a window, one whose turn is used, which is refused.
func readOf(tb testing.TB, window time.Duration, opts ...smartcar.Option) func(context.Context) error {
	tb.Helper()
	kind, n := free, cars
	if window > 0 {
		kind, n = "", 1
	}
	read := newCars(tb, store.NewMemory(), kind, n, window+time.Nanosecond, opts...)
	next := 0
	do := func(ctx context.Context) error {
		next = (next + 1) % len(read)
		_, err := read[next].Battery(ctx)
		if window > 0 && !errors.Is(err, smartcar.ErrRateLimited) {
			return fmt.Errorf("not refused: %w", err)
		}
		if window > 0 {
			return nil
		}
		return err
	}
	require.NoError(tb, do(tb.Context()))
	return do
}
