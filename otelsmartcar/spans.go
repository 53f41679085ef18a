package otelsmartcar

import (
	"context"
	"net/url"
	"strings"
	"time"

	"github.com/seed-498a1bc4/smartcar"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"
)

// spans makes a span of each operation and of each of its requests. What else happens is
// an event of the span in whose context it happens: of an operation, or of what the
// program has begun itself.
type spans struct {
	tracer     trace.Tracer
	ids        bool
	operations *ready[operationStart, beginning]
	attempts   *ready[attemptStart, beginning]
}

func newSpans(tracer trace.Tracer, ids bool) *spans {
	return &spans{tracer, ids, newReady(operationStart.beginning), newReady(attemptStart.beginning)}
}

// The keys of the spans in a context. The context may hold the span of another observer
// by the time the operation ends.
type (
	operationKey struct{ by *spans }
	attemptKey   struct{ by *spans }
)

// A beginning is what spans that begin alike have in common.
type beginning struct {
	name    string
	options [2]trace.SpanStartOption // the kind and the attributes
}

func begin(name string, kind trace.SpanKind, attributes ...attribute.KeyValue) beginning {
	return beginning{name, [...]trace.SpanStartOption{trace.WithSpanKind(kind), trace.WithAttributes(attributes...)}}
}

type operationStart struct {
	api       smartcar.API
	operation smartcar.Operation
	kind      smartcar.Kind
}

func (o operationStart) beginning() beginning {
	return begin("smartcar "+string(o.operation), trace.SpanKindInternal,
		keyOperation.String(string(o.operation)), keyKind.String(o.kind.String()), keyAPI.String(string(o.api)))
}

type attemptStart struct {
	method, scheme, server, template string
	operation                        smartcar.Operation
	takesTurn                        bool
}

func (a attemptStart) beginning() beginning {
	host, port := address(a.scheme, a.server)
	name := a.method
	if name == other {
		name = "HTTP"
	}
	return begin(name+" "+a.template, trace.SpanKindClient, semconv.HTTPRequestMethodKey.String(a.method),
		semconv.ServerAddress(host), semconv.ServerPort(port), semconv.URLFull(a.url("")), semconv.URLTemplate(a.template),
		keyOperation.String(string(a.operation)), keyTakesTurn.Bool(a.takesTurn))
}

// url is the URL of a request without what its maker put in, which the conventions want
// redacted so. The id of the vehicle may stand in it.
func (a attemptStart) url(vehicle string) string {
	words := strings.Split(a.template, "/")
	for i, word := range words {
		switch {
		case word == "{vehicle}" && vehicle != "":
			words[i] = url.PathEscape(vehicle)
		case strings.HasPrefix(word, "{"):
			words[i] = "REDACTED"
		}
	}
	return a.scheme + "://" + a.server + strings.Join(words, "/")
}

func (s *spans) startOperation(ctx context.Context, o smartcar.OperationStart) context.Context {
	begin := s.operations.of(operationStart{o.API, o.Operation, o.Kind})
	ctx, span := s.tracer.Start(ctx, begin.name, begin.options[0], begin.options[1], trace.WithTimestamp(o.At))
	if s.ids && span.IsRecording() {
		span.SetAttributes(s.of(o.About)...)
	}
	// Also if it is not recorded: else the end of this operation would end the span around it.
	return context.WithValue(ctx, operationKey{s}, span)
}

func (s *spans) startAttempt(ctx context.Context, a smartcar.AttemptStart) context.Context {
	key := attemptStart{method(a.Method), a.Scheme, a.Server, a.Template, a.Operation, a.TakesTurn}
	begin := s.attempts.of(key)
	ctx, span := s.tracer.Start(ctx, begin.name, begin.options[0], begin.options[1], trace.WithTimestamp(a.At))
	if !span.IsRecording() {
		return context.WithValue(ctx, attemptKey{s}, span)
	}
	if a.Number > 1 {
		span.SetAttributes(semconv.HTTPRequestResendCount(a.Number - 1))
	}
	if s.ids {
		span.SetAttributes(s.of(a.About, semconv.URLFull(key.url(a.VehicleID)))...)
	}
	return context.WithValue(ctx, attemptKey{s}, span)
}

// of adds the ids of the car and the user, if they are wanted.
func (s *spans) of(about smartcar.About, attributes ...attribute.KeyValue) []attribute.KeyValue {
	if !s.ids {
		return attributes
	}
	if about.VehicleID != "" {
		attributes = append(attributes, keyVehicle.String(about.VehicleID))
	}
	if about.UserID != "" {
		attributes = append(attributes, keyUser.String(about.UserID))
	}
	return attributes
}

func (s *spans) event(ctx context.Context, event smartcar.Event) {
	switch e := event.(type) {
	case smartcar.OperationEnded:
		if span, ok := ctx.Value(operationKey{s}).(trace.Span); ok && span.IsRecording() {
			endOperation(span, &e)
		}
	case smartcar.AttemptEnded:
		if span, ok := ctx.Value(attemptKey{s}).(trace.Span); ok && span.IsRecording() {
			endAttempt(span, &e)
		}
	case smartcar.TokenRefreshed:
		s.refresh(ctx, &e)
	default:
		if span := trace.SpanFromContext(ctx); span.IsRecording() {
			if name, attributes := eventOf(event); name != "" {
				about := event.Subject()
				span.AddEvent(name, trace.WithTimestamp(about.At), trace.WithAttributes(s.of(about, attributes...)...))
			}
		}
	}
}

func endOperation(span trace.Span, e *smartcar.OperationEnded) {
	span.SetAttributes(withFailure([]attribute.KeyValue{keyOutcome.String(string(e.Outcome)), keyAttempts.Int(e.Attempts)}, e.Failure)...)
	if e.Outcome == smartcar.OutcomeFailed {
		span.SetStatus(codes.Error, "")
	}
	span.End(trace.WithTimestamp(e.At.Add(e.Duration)))
}

func endAttempt(span trace.Span, e *smartcar.AttemptEnded) {
	attributes := withFailure([]attribute.KeyValue{keySent.Bool(e.Sent), keyCalls.Int(e.Calls)}, e.Failure)
	if e.StatusCode != 0 {
		attributes = append(attributes, semconv.HTTPResponseStatusCode(e.StatusCode))
	}
	for _, a := range [...]attribute.KeyValue{keyRequestID.String(e.RequestID), keyErrorType.String(e.Type), keyErrorCode.String(e.Code)} {
		if a.Value.AsString() != "" {
			attributes = append(attributes, a)
		}
	}
	span.SetAttributes(attributes...)
	if e.Failure != smartcar.FailureNone {
		span.SetStatus(codes.Error, "")
	}
	span.End(trace.WithTimestamp(e.At.Add(e.Duration)))
}

// refresh makes the span of a request for tokens when it has ended: it has no start that
// observers are told of.
func (s *spans) refresh(ctx context.Context, e *smartcar.TokenRefreshed) {
	_, span := s.tracer.Start(ctx, "smartcar "+string(e.Operation), trace.WithTimestamp(e.At), trace.WithSpanKind(trace.SpanKindInternal),
		trace.WithAttributes(s.of(e.About, keyTokenOwner.String(tokenOwner(e.Application)), keyTokenOutcome.String(string(e.Outcome)))...))
	if !span.IsRecording() {
		return
	}
	attributes := withFailure(nil, e.Failure)
	if e.StatusCode != 0 {
		attributes = append(attributes, semconv.HTTPResponseStatusCode(e.StatusCode))
	}
	span.SetAttributes(attributes...)
	if e.Failure != smartcar.FailureNone {
		span.SetStatus(codes.Error, "")
	}
	span.End(trace.WithTimestamp(e.At.Add(e.Duration)))
}

// eventOf is the name and the attributes of what is an event of a span. The name is empty
// for what this version does not know.
func eventOf(event smartcar.Event) (string, []attribute.KeyValue) {
	switch e := event.(type) {
	case smartcar.Refused:
		return "smartcar.refused", at([]attribute.KeyValue{
			keyOperation.String(string(e.Operation)), keyRule.String(code(e.Rule)), keyLocal.Bool(e.Local), keyRepetition.Bool(e.Repetition),
		}, keyNextAllowed, e.NextAllowed)
	case smartcar.Retried:
		return "smartcar.retried", withFailure([]attribute.KeyValue{keyOperation.String(string(e.Operation)), keyWait.Float64(e.Wait.Seconds())}, e.Failure)
	case smartcar.CachedAnswer:
		return "smartcar.cached_answer", []attribute.KeyValue{
			keyOperation.String(string(e.Operation)), keySource.String(code(e.Source)), keyStale.Bool(e.Stale), keyAge.Float64(e.Age.Seconds()),
		}
	case smartcar.KeyChanged:
		return "smartcar.key_changed", keySeries{e.From, e.To, e.Source}.attributes()
	case smartcar.ClassChanged:
		return "smartcar.class_changed", classSeries{e.From, e.To}.attributes()
	case smartcar.WebhookReceived:
		attributes := deliverySeries{eventType(e.Type), e.Verdict, e.Reason}.attributes()
		if !e.RecordedAt.IsZero() {
			attributes = append(attributes, keyDelay.Float64(e.Delay.Seconds()))
		}
		return "smartcar.webhook_received", attributes
	case smartcar.Visited:
		attributes := append(visitSeries{e.Class, e.Rule, e.Asked, e.News, e.Failure}.attributes(), keyRetired.Bool(e.Retired))
		return "smartcar.visited", at(attributes, keyNext, e.Next)
	case smartcar.BudgetSpent:
		return "smartcar.budget_spent", []attribute.KeyValue{keyBySmartcar.Bool(e.BySmartcar)}
	}
	return "", nil
}

// at adds a time, if it is known.
func at(to []attribute.KeyValue, key attribute.Key, t time.Time) []attribute.KeyValue {
	if t.IsZero() {
		return to
	}
	return append(to, key.String(t.UTC().Format(time.RFC3339)))
}
