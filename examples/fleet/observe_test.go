package main

import (
	"context"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/fleet"
	"github.com/seed-498a1bc4/smartcar/internal/testserver"
	"github.com/seed-498a1bc4/smartcar/smartcartest"
	"github.com/seed-498a1bc4/smartcar/store"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
)

// The application's own metrics and spans stand beside those of go-redis, pgx and River,
// in one scrape and in one tree, and none has a token.
func TestOneProgramIsObservedWhole(t *testing.T) {
	spans := tracetest.NewSpanRecorder()
	otel.SetTracerProvider(sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans)))
	shown, err := newTelemetry()
	require.NoError(t, err)
	observed, err := watch()
	require.NoError(t, err)

	url := testserver.StartPostgres(t).URL()
	kept, closeStore, err := stores{redis: testserver.StartRedis(t, testserver.FindRedis(t, "redis-server")).Addr()}.open(t.Context())
	require.NoError(t, err)
	defer func() { require.NoError(t, closeStore()) }()
	sim := smartcartest.New()
	var mu sync.Mutex
	var tokens []string
	client, err := newClient(configOf(sim), kept, observed, smartcar.WithHTTPClient(&http.Client{Transport: transportFunc(func(r *http.Request) (*http.Response, error) {
		if _, token, ok := strings.Cut(r.Header.Get("Authorization"), "Bearer "); ok {
			mu.Lock()
			tokens = append(tokens, token)
			mu.Unlock()
		}
		return sim.Transport().RoundTrip(r)
	})}))
	require.NoError(t, err)
	connectOwner(t, sim, client)

	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	f, err := newFleet(client, func(context.Context, *smartcar.Vehicle, *smartcar.Snapshot) error {
		stop()
		return nil
	})
	require.NoError(t, err)
	require.NoError(t, migrateRiver(t.Context(), url))
	require.NoError(t, shareWork(ctx, url, f, kept))

	scrape := get(t, shown.handler(kept), "/metrics").Body.String()
	for _, name := range []string{
		"smartcar_client_operation_duration_seconds_count", "http_client_request_duration_seconds_count", "smartcar_fleet_visit_duration_seconds_count",
		"db_client_operation_duration_seconds_count", "db_client_connections_use_time", "river_work_count",
	} {
		require.Contains(t, scrape, "\n"+name, "in the scrape")
	}
	requireTree(t, spans.Ended(), "river.work", "smartcar ", "redis")
	requireTree(t, spans.Ended(), "river.work", "smartcar ", "/v2.0/vehicles/{vehicle}")
	all := scrape
	for _, span := range spans.Ended() {
		all += fmt.Sprintln(span.Name(), span.Attributes(), span.Events(), span.Status())
	}
	require.NotEmpty(t, tokens)
	for _, token := range tokens {
		require.NotContains(t, all, token)
		require.NotContains(t, all, hex.EncodeToString([]byte(token)), "as redisotel would write it")
	}
}

// requireTree looks for spans whose names have these parts, each below the one before.
func requireTree(t *testing.T, spans []sdktrace.ReadOnlySpan, parts ...string) {
	t.Helper()
	byID := map[string]sdktrace.ReadOnlySpan{}
	for _, span := range spans {
		byID[span.SpanContext().SpanID().String()] = span
	}
	seen := map[string]bool{}
	for _, span := range spans {
		var path []string
		rest := parts
		for s, ok := span, true; ok; s, ok = byID[s.Parent().SpanID().String()] {
			path = append(path, s.Name())
			if len(rest) > 0 && strings.Contains(s.Name()+" "+s.InstrumentationScope().Name, rest[len(rest)-1]) {
				rest = rest[:len(rest)-1]
			}
		}
		if len(rest) == 0 {
			return
		}
		seen[strings.Join(path, " < ")] = true
	}
	require.Failf(t, "no such tree", "%v in %v", parts, seen)
}

type transportFunc func(*http.Request) (*http.Response, error)

func (f transportFunc) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func configOf(sim *smartcartest.Server) smartcar.Config {
	return smartcar.Config{
		ClientID: sim.ClientID(), ClientSecret: sim.ClientSecret(), RedirectURL: sim.RedirectURL(), StateKey: make([]byte, 32),
		ManagementToken: sim.ManagementToken(),
	}
}

// connectOwner takes the owner through Connect, and files the cars.
func connectOwner(t *testing.T, sim *smartcartest.Server, client *smartcar.Client) (user *smartcar.User) {
	t.Helper()
	start := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = client.Connect().Start(w, r, smartcar.ConnectOptions{})
	})
	_, err := sim.WalkAs(start, client.Connect().CallbackHandler(func(_ http.ResponseWriter, _ *http.Request, grant *smartcar.Grant, err error) {
		require.NoError(t, err)
		user = client.User(grant.UserID)
	}), url.Values{"decision": {"grant"}})
	require.NoError(t, err)
	for _, err := range user.Vehicles(t.Context()) {
		require.NoError(t, err)
	}
	return user
}

func get(t *testing.T, h http.Handler, path string) *httptest.ResponseRecorder {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
	return w
}

// away is a store that does not answer.
type away struct{ store.Store }

func (away) Load(context.Context, string) (store.Record, error) {
	return store.Record{}, context.DeadlineExceeded
}

func TestHealth(t *testing.T) {
	shown, err := newTelemetry()
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, get(t, shown.handler(store.NewMemory()), "/healthz").Code)
	down := get(t, shown.handler(away{}), "/healthz")
	require.Equal(t, http.StatusServiceUnavailable, down.Code)
	require.Contains(t, down.Body.String(), "the store does not answer")
	close(shown.stopping)
	require.Equal(t, http.StatusServiceUnavailable, get(t, shown.handler(store.NewMemory()), "/healthz").Code)
}

// Two processes on one machine serve at ports of their own.
func TestProcessesServeSideBySide(t *testing.T) {
	t.Setenv(envMetrics, "127.0.0.1:39464")
	sim := smartcartest.New()
	kept := store.NewMemory()
	client, err := newClient(configOf(sim), kept, smartcar.WithHTTPClient(&http.Client{Transport: sim.Transport()}))
	require.NoError(t, err)
	f, err := fleet.New(client, fleet.Config{Reads: []smartcar.Operation{smartcar.Battery}, Handle: func(context.Context, *smartcar.Vehicle, *smartcar.Snapshot) error { return nil }})
	require.NoError(t, err)
	answers := 0
	for range 2 {
		shown, err := newTelemetry()
		require.NoError(t, err)
		stop, err := shown.serve(t.Context(), f, kept)
		require.NoError(t, err)
		defer stop()
	}
	for port := range 4 {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("http://127.0.0.1:%d/metrics", 39464+port), http.NoBody)
		require.NoError(t, err)
		resp, err := new(http.Client).Do(req)
		if err != nil {
			continue
		}
		require.NoError(t, resp.Body.Close())
		answers++
	}
	require.GreaterOrEqual(t, answers, 2)
}
