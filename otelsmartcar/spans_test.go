package otelsmartcar_test

import (
	"context"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/otelsmartcar"
	"github.com/seed-498a1bc4/smartcar/smartcartest"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// named are the ended spans of this name, in the order in which they began.
func (l *lab) named(name string) (all []sdktrace.ReadOnlySpan) {
	for _, span := range l.spans.Started() {
		if span.Name() == name {
			all = append(all, span)
		}
	}
	return all
}

func attributesOf(span sdktrace.ReadOnlySpan) map[string]string {
	all := map[string]string{}
	for _, a := range span.Attributes() {
		all[string(a.Key)] = a.Value.String()
	}
	return all
}

func eventNames(span sdktrace.ReadOnlySpan) (names []string) {
	for _, e := range span.Events() {
		names = append(names, e.Name)
	}
	return names
}

// traced is a client whose owner has connected, before anything is kept.
func traced(t *testing.T, l *lab, sim *smartcartest.Server, opts ...otelsmartcar.Option) *smartcar.User {
	t.Helper()
	client := newClient(t, sim, smartcar.V2, smartcar.WithObserver(l.observer(t, opts...)))
	user := connect(t, sim, client)
	l.spans.Reset()
	return user
}

// without drops the spans of one name.
type without struct{ name string }

func (w without) ShouldSample(p sdktrace.SamplingParameters) sdktrace.SamplingResult {
	decision := sdktrace.RecordAndSample
	if p.Name == w.name {
		decision = sdktrace.Drop
	}
	return sdktrace.SamplingResult{Decision: decision}
}

func (w without) Description() string { return "without " + w.name }

// The end of an operation whose span is dropped leaves the span around it alone.
func TestSpansAroundADroppedOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, sim := newLab(t), smartcartest.New()
		l.tracers = sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(l.spans), sdktrace.WithSampler(without{"smartcar key-status"}))
		user := traced(t, l, sim)
		sim.Inject(smartcartest.Fault{Path: "/battery", Status: 200, Times: 1, Latency: time.Minute})
		began := time.Now()
		_, _ = user.Vehicle(smartcartest.ModelY).Battery(t.Context())
		require.Empty(t, l.named("smartcar key-status"))
		spans := l.named("smartcar battery")
		require.Len(t, spans, 1)
		require.Equal(t, time.Since(began), spans[0].EndTime().Sub(spans[0].StartTime()))
	})
}

func TestSpansFollowTheConventions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, sim := newLab(t), smartcartest.New()
		user := traced(t, l, sim)
		sim.Inject(smartcartest.Fault{Path: "/odometer", ErrorType: "UPSTREAM", ErrorCode: "NO_RESPONSE", Times: 1, Latency: time.Second})
		ctx, program := l.tracers.Tracer("program").Start(t.Context(), "a page")
		began := time.Now()
		_, err := user.Vehicle(smartcartest.MachE).Odometer(ctx)
		require.NoError(t, err)
		program.End()

		operations := l.named("smartcar odometer")
		require.Len(t, operations, 1)
		operation := operations[0]
		require.Equal(t, trace.SpanKindInternal, operation.SpanKind())
		require.Equal(t, program.SpanContext().SpanID(), operation.Parent().SpanID())
		require.Equal(t, codes.Unset, operation.Status().Code)
		require.Equal(t, map[string]string{
			"smartcar.operation.name": "odometer", "smartcar.operation.kind": "data", "smartcar.api.version": "v2.0",
			"smartcar.operation.outcome": "ok", "smartcar.operation.attempts": "2",
		}, attributesOf(operation))
		require.Equal(t, []string{"smartcar.class_changed", "smartcar.retried"}, eventNames(operation))
		require.Equal(t, time.Since(began), operation.EndTime().Sub(operation.StartTime()))

		attempts := l.named("GET /v2.0/vehicles/{vehicle}/odometer")
		require.Len(t, attempts, 2)
		for i, attempt := range attempts {
			require.Equal(t, trace.SpanKindClient, attempt.SpanKind())
			require.Equal(t, operation.SpanContext().SpanID(), attempt.Parent().SpanID())
			require.Equal(t, []codes.Code{codes.Error, codes.Unset}[i], attempt.Status().Code)
			require.Empty(t, attempt.Status().Description)
			require.False(t, attempt.EndTime().IsZero())
		}
		require.Equal(t, time.Second, attempts[0].EndTime().Sub(attempts[0].StartTime()))
		first, second := attributesOf(attempts[0]), attributesOf(attempts[1])
		require.NotEmpty(t, first["smartcar.request.id"])
		delete(first, "smartcar.request.id")
		require.Equal(t, map[string]string{
			"http.request.method": "GET", "http.response.status_code": "502", "server.address": "api.smartcar.com", "server.port": "443",
			"url.full": "https://api.smartcar.com/v2.0/vehicles/REDACTED/odometer", "url.template": "/v2.0/vehicles/{vehicle}/odometer",
			"error.type": "unavailable", "smartcar.error.type": "UPSTREAM", "smartcar.error.code": "NO_RESPONSE",
			"smartcar.operation.name": "odometer", "smartcar.request.takes_turn": "false", "smartcar.request.sent": "true", "smartcar.request.calls": "1",
		}, first)
		require.Equal(t, "1", second["http.request.resend_count"])
		require.Equal(t, "200", second["http.response.status_code"])
		require.NotContains(t, second, "error.type")
	})
}

// A refusal is no error of anybody's: the span says what it was and until when.
func TestSpansTellOfRefusalsAndRenewals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, sim := newLab(t), smartcartest.New()
		car := traced(t, l, sim).Vehicle(smartcartest.ModelY)
		_, err := car.Battery(t.Context())
		require.NoError(t, err)
		l.spans.Reset()
		_, err = car.Battery(t.Context())
		require.ErrorIs(t, err, smartcar.ErrRateLimited)
		next, _ := smartcar.NextAllowed(err)
		refused := l.named("smartcar battery")
		require.Len(t, refused, 1)
		require.Equal(t, codes.Unset, refused[0].Status().Code)
		require.Equal(t, "refused", attributesOf(refused[0])["smartcar.operation.outcome"])
		require.Len(t, refused[0].Events(), 1)
		event := refused[0].Events()[0]
		require.Equal(t, "smartcar.refused", event.Name)
		require.Contains(t, event.Attributes, attribute.String("smartcar.rule", "keyless-window"))
		require.Contains(t, event.Attributes, attribute.String("smartcar.refusal.next_allowed", next.UTC().Format(time.RFC3339)))

		l.spans.Reset()
		ctx, program := l.tracers.Tracer("program").Start(t.Context(), "a page")
		_, err = car.With(smartcar.MaxAge(time.Hour)).Battery(ctx)
		require.NoError(t, err)
		program.End()
		require.Equal(t, []string{"smartcar.cached_answer"}, eventNames(l.named("a page")[0]), "no operation: it is an event of the program's span")

		l.spans.Reset()
		sim.ExpireAccessTokens()
		_, err = car.Permissions(t.Context())
		require.NoError(t, err)
		operation, renewal := l.named("smartcar permissions")[0], l.named("smartcar token-refresh")
		require.Len(t, renewal, 1)
		require.Equal(t, operation.SpanContext().SpanID(), renewal[0].Parent().SpanID())
		require.Equal(t, "user", attributesOf(renewal[0])["smartcar.token.owner"])
	})
}

// A caller who leaves ends the operation; the request goes on, and its span with it.
func TestSpansOfACallerWhoLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, sim := newLab(t), smartcartest.New()
		client := newClient(t, sim, smartcar.V2, smartcar.WithObserver(l.observer(t)))
		car := connect(t, sim, client).Vehicle(smartcartest.ModelY)
		_, err := car.Attributes(t.Context())
		require.NoError(t, err)
		sim.Inject(smartcartest.Fault{Path: "/battery", LatencyAfter: time.Minute, Times: 1})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err = car.Battery(ctx)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		operation := l.named("smartcar battery")[0]
		require.Equal(t, "left", attributesOf(operation)["smartcar.operation.outcome"])
		require.Equal(t, time.Second, operation.EndTime().Sub(operation.StartTime()))
		require.NoError(t, client.Drain(t.Context()))
		attempt := l.named("GET /v2.0/vehicles/{vehicle}/battery")[0]
		require.Equal(t, time.Minute, attempt.EndTime().Sub(attempt.StartTime()))
		require.Equal(t, "true", attributesOf(attempt)["smartcar.request.takes_turn"])
		require.Len(t, l.spans.Ended(), len(l.spans.Started()), "none stays open")
	})
}

func TestOptions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, sim := newLab(t), smartcartest.New()
		_, err := traced(t, l, sim, otelsmartcar.WithIDs()).Vehicle(smartcartest.MachE).Odometer(t.Context())
		require.NoError(t, err)
		require.Equal(t, smartcartest.MachE, attributesOf(l.named("smartcar odometer")[0])["smartcar.vehicle.id"])
		attempt := attributesOf(l.named("GET /v2.0/vehicles/{vehicle}/odometer")[0])
		require.Equal(t, sim.UserID(), attempt["smartcar.user.id"])
		require.Equal(t, "https://api.smartcar.com/v2.0/vehicles/"+smartcartest.MachE+"/odometer", attempt["url.full"])

		l, sim = newLab(t), smartcartest.New()
		_, err = traced(t, l, sim, otelsmartcar.WithoutAttempts()).Vehicle(smartcartest.MachE).Odometer(t.Context())
		require.NoError(t, err)
		require.NotEmpty(t, l.named("smartcar odometer"))
		require.Empty(t, l.named("GET /v2.0/vehicles/{vehicle}/odometer"))
		require.Zero(t, total(l.read(t), "http.client.request.duration"))
		require.Positive(t, total(l.read(t), "smartcar.client.calls"), "nobody else counts these")

		l, sim = newLab(t), smartcartest.New()
		_, err = traced(t, l, sim, otelsmartcar.WithoutSpans()).Vehicle(smartcartest.MachE).Odometer(t.Context())
		require.NoError(t, err)
		require.Empty(t, l.spans.Started())
		require.Positive(t, total(l.read(t), "http.client.request.duration"))
	})
}

// A method that the program has made up, and a port, are what the conventions say.
func TestAttributesOfOddRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, sim := newLab(t), smartcartest.New()
		user := traced(t, l, sim)
		_, _ = user.Vehicle(smartcartest.MachE).Request(t.Context(), smartcar.Request{Method: "BREW", Path: "coffee"})
		spans := l.named("HTTP /v2.0/vehicles/{vehicle}/{path}")
		require.NotEmpty(t, spans)
		require.Equal(t, "_OTHER", attributesOf(spans[0])["http.request.method"])
		require.Equal(t, "https://api.smartcar.com/v2.0/vehicles/REDACTED/REDACTED", attributesOf(spans[0])["url.full"])
		require.Positive(t, total(l.read(t), "http.client.request.duration", "http.request.method=_OTHER"))
	})
}

// Two observers of this package, or one of the program's beside it, each end their own.
func TestSpansOfTwoObservers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first, second, sim := newLab(t), newLab(t), smartcartest.New()
		client := newClient(t, sim, smartcar.V2, smartcar.WithObserver(first.observer(t)), smartcar.WithObserver(second.observer(t)))
		_, err := connect(t, sim, client).Vehicle(smartcartest.MachE).Odometer(t.Context())
		require.NoError(t, err)
		for _, l := range []*lab{first, second} {
			require.NotEmpty(t, l.spans.Started())
			require.Len(t, l.spans.Ended(), len(l.spans.Started()))
		}
	})
}

// Smartcar gets no trace of ours.
func TestNoTraceIsSentToSmartcar(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, sim := newLab(t), smartcartest.New()
		var headers []http.Header
		client := newClient(t, sim, smartcar.V2, smartcar.WithObserver(l.observer(t)), smartcar.WithHTTPClient(&http.Client{
			Transport: transportFunc(func(r *http.Request) (*http.Response, error) {
				headers = append(headers, r.Header.Clone())
				return sim.Transport().RoundTrip(r)
			}),
		}))
		_, err := connect(t, sim, client).Vehicle(smartcartest.MachE).Odometer(t.Context())
		require.NoError(t, err)
		for _, h := range headers {
			require.Empty(t, h.Get("Traceparent"))
			require.Empty(t, h.Get("Baggage"))
		}
	})
}

type transportFunc func(*http.Request) (*http.Response, error)

func (f transportFunc) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// The age of an answer is counted once for each who gets it: as live for the one whose
// request it was, as kept for those who share it.
func TestAgesOfASharedAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, sim := newLab(t), smartcartest.New()
		car := traced(t, l, sim).Vehicle(smartcartest.ModelY)
		sim.Inject(smartcartest.Fault{Path: "/odometer", Times: 1, Latency: time.Second})
		for range 3 {
			go func() { _, _ = car.Odometer(t.Context()) }()
		}
		time.Sleep(time.Minute)
		all := l.read(t)
		require.InDelta(t, 1, total(all, "smartcar.client.answer.age", "smartcar.answer.source=live"), 0)
		require.InDelta(t, 2, total(all, "smartcar.client.answer.age", "smartcar.answer.source=cache"), 0)
	})
}
