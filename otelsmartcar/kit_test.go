package otelsmartcar_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/otelsmartcar"
	"github.com/seed-498a1bc4/smartcar/smartcartest"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	promexporter "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
)

// lab has what a program sets up: a provider of meters that a reader in memory and
// Prometheus read, and one of tracers whose spans are kept.
type lab struct {
	meters   *metric.MeterProvider
	reader   *metric.ManualReader
	registry *prometheus.Registry
	tracers  *trace.TracerProvider
	spans    *tracetest.SpanRecorder
}

func newLab(t testing.TB) *lab {
	t.Helper()
	l := &lab{reader: metric.NewManualReader(), registry: prometheus.NewRegistry(), spans: tracetest.NewSpanRecorder()}
	exporter, err := promexporter.New(promexporter.WithRegisterer(l.registry))
	require.NoError(t, err)
	l.meters = metric.NewMeterProvider(metric.WithReader(l.reader), metric.WithReader(exporter))
	l.tracers = trace.NewTracerProvider(trace.WithSpanProcessor(l.spans))
	return l
}

func (l *lab) observer(t testing.TB, opts ...otelsmartcar.Option) smartcar.Observer {
	t.Helper()
	observer, err := otelsmartcar.New(append([]otelsmartcar.Option{
		otelsmartcar.WithMeterProvider(l.meters), otelsmartcar.WithTracerProvider(l.tracers),
	}, opts...)...)
	require.NoError(t, err)
	return observer
}

// A point is one series: the value of a counter or gauge, or how much a histogram counts.
type point struct {
	name       string
	attributes attribute.Set
	value      float64
	sum        float64 // of a histogram
	limits     []float64
	buckets    []uint64
}

// read is what the reader in memory gives.
func (l *lab) read(t testing.TB) (all []point) {
	t.Helper()
	var data metricdata.ResourceMetrics
	require.NoError(t, l.reader.Collect(t.Context(), &data))
	for _, scope := range data.ScopeMetrics {
		for _, m := range scope.Metrics {
			all = append(all, points(t, m)...)
		}
	}
	return all
}

func points(t testing.TB, m metricdata.Metrics) (all []point) {
	t.Helper()
	switch data := m.Data.(type) {
	case metricdata.Sum[int64]:
		for _, p := range data.DataPoints {
			all = append(all, point{name: m.Name, attributes: p.Attributes, value: float64(p.Value)})
		}
	case metricdata.Gauge[float64]:
		for _, p := range data.DataPoints {
			all = append(all, point{name: m.Name, attributes: p.Attributes, value: p.Value})
		}
	case metricdata.Histogram[float64]:
		for _, p := range data.DataPoints {
			all = append(all, point{name: m.Name, attributes: p.Attributes, value: float64(p.Count), sum: p.Sum, limits: p.Bounds, buckets: p.BucketCounts})
		}
	case metricdata.Histogram[int64]:
		for _, p := range data.DataPoints {
			all = append(all, point{name: m.Name, attributes: p.Attributes, value: float64(p.Count), sum: float64(p.Sum), limits: p.Bounds, buckets: p.BucketCounts})
		}
	default:
		require.Failf(t, "unknown kind of metric", "%s: %T", m.Name, data)
	}
	return all
}

// total adds up the series of a metric that have these attributes, as "key=value".
func total(all []point, name string, attributes ...string) (sum float64) {
	for _, p := range all {
		if p.name == name && p.has(attributes) {
			sum += p.value
		}
	}
	return sum
}

func (p point) has(attributes []string) bool {
	for _, want := range attributes {
		key, value, _ := strings.Cut(want, "=")
		if got, _ := p.attributes.Value(attribute.Key(key)); got.String() != value {
			return false
		}
	}
	return true
}

// scrape is what Prometheus gets, as text and parsed.
func (l *lab) scrape(t testing.TB) (string, map[string]*dto.MetricFamily) {
	t.Helper()
	w := httptest.NewRecorder()
	promhttp.HandlerFor(l.registry, promhttp.HandlerOpts{}).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	require.Equal(t, http.StatusOK, w.Code)
	text, err := io.ReadAll(w.Body)
	require.NoError(t, err)
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(string(text)))
	require.NoError(t, err)
	return string(text), families
}

// told keeps the events that an observer is told.
type told struct {
	mu     sync.Mutex
	events []smartcar.Event
}

func (k *told) observer() smartcar.Observer {
	return smartcar.Observer{Event: func(_ context.Context, e smartcar.Event) {
		k.mu.Lock()
		defer k.mu.Unlock()
		k.events = append(k.events, e)
	}}
}

// of are the events of one type.
func of[E smartcar.Event](k *told) (all []E) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, e := range k.events {
		if e, ok := e.(E); ok {
			all = append(all, e)
		}
	}
	return all
}

func newClient(t testing.TB, sim *smartcartest.Server, api smartcar.API, opts ...smartcar.Option) *smartcar.Client {
	t.Helper()
	opts = append([]smartcar.Option{smartcar.WithHTTPClient(&http.Client{Transport: sim.Transport()}), smartcar.WithAPI(api)}, opts...)
	client, err := smartcar.New(smartcar.Config{
		ClientID: sim.ClientID(), ClientSecret: sim.ClientSecret(), APIClientID: sim.APIClientID(), APIClientSecret: sim.APIClientSecret(),
		RedirectURL: sim.RedirectURL(), StateKey: []byte("0123456789abcdef0123456789abcdef"), ManagementToken: sim.ManagementToken(),
	}, opts...)
	require.NoError(t, err)
	return client
}

// connect takes the owner through Connect.
func connect(t testing.TB, sim *smartcartest.Server, client *smartcar.Client) *smartcar.User {
	t.Helper()
	var user *smartcar.User
	var began error
	start := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began = client.Connect().Start(w, r, smartcar.ConnectOptions{})
	})
	_, err := sim.WalkAs(start, client.Connect().CallbackHandler(func(_ http.ResponseWriter, _ *http.Request, grant *smartcar.Grant, err error) {
		require.NoError(t, err)
		user = client.User(grant.UserID)
	}), url.Values{"decision": {"grant"}})
	require.NoError(t, errors.Join(began, err))
	return user
}
