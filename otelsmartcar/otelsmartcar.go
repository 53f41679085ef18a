package otelsmartcar

import (
	"context"

	"github.com/seed-498a1bc4/smartcar"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/metric"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"
)

const scope = "github.com/seed-498a1bc4/smartcar/otelsmartcar"

// An Option changes what [New] and [ObserveFleet] do.
type Option func(*config)

type config struct {
	meters   metric.MeterProvider
	tracers  trace.TracerProvider
	spans    bool
	attempts bool
	ids      bool
}

// WithMeterProvider has the metrics go to this provider, and not to that of
// otel.GetMeterProvider.
func WithMeterProvider(p metric.MeterProvider) Option {
	return func(c *config) { c.meters = p }
}

// WithTracerProvider has the spans go to this provider, and not to that of
// otel.GetTracerProvider.
func WithTracerProvider(p trace.TracerProvider) Option {
	return func(c *config) { c.tracers = p }
}

// WithoutSpans leaves the metrics, for programs that trace nothing.
func WithoutSpans() Option {
	return func(c *config) { c.spans = false }
}

// WithoutAttempts leaves the HTTP requests to otelhttp, in the transport that the client
// was given: their spans, and http.client.request.duration. Otherwise each request would
// be seen twice.
func WithoutAttempts() Option {
	return func(c *config) { c.attempts = false }
}

// WithIDs puts the ids of vehicles and users on spans. Metrics never have them.
func WithIDs() Option {
	return func(c *config) { c.ids = true }
}

func newConfig(opts []Option) config {
	c := config{meters: otel.GetMeterProvider(), tracers: otel.GetTracerProvider(), spans: true, attempts: true}
	for _, o := range opts {
		o(&c)
	}
	return c
}

func (c *config) meter() metric.Meter {
	return c.meters.Meter(scope, metric.WithInstrumentationVersion(smartcar.Version), metric.WithSchemaURL(semconv.SchemaURL))
}

func (c *config) tracer() trace.Tracer {
	return c.tracers.Tracer(scope, trace.WithInstrumentationVersion(smartcar.Version), trace.WithSchemaURL(semconv.SchemaURL))
}

// New returns an observer for [smartcar.WithObserver]. It fails if the provider of meters
// refuses an instrument.
func New(opts ...Option) (smartcar.Observer, error) {
	c := newConfig(opts)
	m, err := newMetrics(c.meter(), c.attempts)
	if err != nil {
		return smartcar.Observer{}, err
	}
	if !c.spans {
		return smartcar.Observer{Event: m.event}, nil
	}
	s := newSpans(c.tracer(), c.ids)
	observer := smartcar.Observer{
		StartOperation: s.startOperation,
		Event: func(ctx context.Context, e smartcar.Event) {
			m.event(ctx, e) // first: an exemplar needs a span that has not ended
			s.event(ctx, e)
		},
	}
	if c.attempts {
		observer.StartAttempt = s.startAttempt
	}
	return observer, nil
}
