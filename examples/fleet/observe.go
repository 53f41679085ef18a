package main

import (
	"context"
	"database/sql"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"os"
	"time"

	"github.com/exaring/otelpgx"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/redis/go-redis/extra/redisotel/v9"
	"github.com/redis/go-redis/v9"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"
	"github.com/riverqueue/rivercontrib/otelriver"
	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/fleet"
	"github.com/seed-498a1bc4/smartcar/otelsmartcar"
	"github.com/seed-498a1bc4/smartcar/store"
	"go.opentelemetry.io/otel"
	promexporter "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/sdk/metric"
)

// envMetrics is where processes serve /metrics and /healthz.
const envMetrics = "FLEET_METRICS"

// telemetry is what a process shows of itself.
type telemetry struct {
	registry *prometheus.Registry
	meters   *metric.MeterProvider
	stopping chan struct{}
}

// newTelemetry has all libraries of the program report to Prometheus. For traces, set a
// provider of tracers with an exporter, too.
func newTelemetry() (*telemetry, error) {
	t := &telemetry{registry: prometheus.NewRegistry(), stopping: make(chan struct{})}
	exporter, err := promexporter.New(promexporter.WithRegisterer(t.registry))
	if err != nil {
		return nil, err
	}
	t.meters = metric.NewMeterProvider(metric.WithReader(exporter))
	otel.SetMeterProvider(t.meters)
	return t, nil
}

// watch is the option of the client to be observed.
func watch() (smartcar.Option, error) {
	observer, err := otelsmartcar.New()
	return smartcar.WithObserver(observer), err
}

// serve begins to serve at the address in the environment, if there is one, or at the
// first free port after it: other processes may be there. Call the function it returns
// when the process ends.
func (t *telemetry) serve(ctx context.Context, f *fleet.Fleet, kept store.Store) (stop func(), err error) {
	address := os.Getenv(envMetrics)
	if address == "" {
		return func() {}, nil
	}
	listener, err := listen(ctx, address)
	if err != nil {
		return nil, err
	}
	cars, err := otelsmartcar.ObserveFleet(f)
	if err != nil {
		return nil, errors.Join(err, listener.Close())
	}
	server := &http.Server{Handler: t.handler(kept), ReadHeaderTimeout: requestTime}
	go func() { _ = server.Serve(listener) }()
	return func() {
		close(t.stopping)
		_ = cars.Unregister()
		_ = server.Close()
	}, nil
}

// listen tries some ports after that of the address.
func listen(ctx context.Context, address string) (net.Listener, error) {
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return nil, err
	}
	const ports = 16
	var listener net.Listener
	for i := range uint16(ports) {
		next := netip.AddrPortFrom(at.Addr(), at.Port()+i)
		if listener, err = new(net.ListenConfig).Listen(ctx, "tcp", next.String()); err == nil {
			break
		}
	}
	return listener, err
}

// handler serves /metrics, and /healthz for what starts and ends processes.
func (t *telemetry) handler(kept store.Store) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(t.registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-t.stopping:
			http.Error(w, "stopping", http.StatusServiceUnavailable)
			return
		default:
		}
		ctx, cancel := context.WithTimeout(r.Context(), time.Second)
		defer cancel()
		// Smartcar need not answer: a process that waits for it is well.
		if _, err := kept.Load(ctx, "healthz"); err != nil && !errors.Is(err, store.ErrNotFound) {
			http.Error(w, "the store does not answer", http.StatusServiceUnavailable)
			return
		}
		_, _ = w.Write([]byte("ok\n"))
	})
	return mux
}

// observeRedis must not put statements on spans: their values are tokens.
func observeRedis(rdb *redis.Client) error {
	return errors.Join(redisotel.InstrumentMetrics(rdb), redisotel.InstrumentTracing(rdb, redisotel.WithDBStatement(false)))
}

// openPostgres is sql.Open with spans and metrics. Values are parameters, which
// otelpgx leaves out unless it is told otherwise.
func openPostgres(url string) (*sql.DB, error) {
	config, err := pgx.ParseConfig(url)
	if err != nil {
		return nil, err
	}
	config.Tracer = otelpgx.NewTracer()
	return stdlib.OpenDB(*config), nil
}

// openPool is pgxpool.New with spans and metrics.
func openPool(ctx context.Context, url string) (*pgxpool.Pool, error) {
	config, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, err
	}
	config.ConnConfig.Tracer = otelpgx.NewTracer()
	return pgxpool.NewWithConfig(ctx, config)
}

// observeJobs makes each visit the span of a job, under which those of the client stand.
func observeJobs(config *river.Config) {
	config.Middleware = append(config.Middleware, rivertype.Middleware(otelriver.NewMiddleware(nil)))
}
