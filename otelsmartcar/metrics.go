package otelsmartcar

import (
	"context"
	"errors"

	"github.com/seed-498a1bc4/smartcar"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/semconv/v1.43.0/httpconv"
)

// The limits of the histograms. A car may take minutes to answer; its data may be minutes
// or weeks old.
const (
	minute = 60.0
	hour   = 60 * minute
	day    = 24 * hour
)

// As the conventions say.
var requestSeconds = [...]float64{0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10}

var operationSeconds = [...]float64{0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300}

var ageSeconds = [...]float64{
	1, 10, 30, minute, 5 * minute, 15 * minute, 30 * minute, hour, 2 * hour, 4 * hour, 8 * hour, 12 * hour, day, 2 * day, 7 * day, 30 * day,
}

var callsLeft = [...]float64{0, 10, 25, 50, 75, 100, 150, 200, 300, 400, 500, 750, 1000}

// metrics are the instruments, and what they count apart.
type metrics struct {
	operations  metric.Float64Histogram
	operationOf *series[operationSeries]
	requests    httpconv.ClientRequestDuration
	attempts    bool // otherwise requests is not used
	requestOf   *series[requestSeries]
	calls       metric.Int64Counter
	callOf      *series[callSeries]
	refusals    metric.Int64Counter
	refusalOf   *series[refusalSeries]
	retries     metric.Int64Counter
	retryOf     *series[retrySeries]
	cached      metric.Int64Counter
	cachedOf    *series[cachedSeries]
	ages        metric.Float64Histogram
	ageOf       *series[ageSeries]
	refreshes   metric.Int64Counter
	refreshOf   *series[refreshSeries]
	keys        metric.Int64Counter
	keyOf       *series[keySeries]
	classes     metric.Int64Counter
	classOf     *series[classSeries]
	deliveries  metric.Int64Counter
	deliveryOf  *series[deliverySeries]
	delays      metric.Float64Histogram
	delayOf     *series[string]
	visits      metric.Float64Histogram
	visitOf     *series[visitSeries]
	left        metric.Int64Histogram
	leftOf      *series[smartcar.VehicleClass]
	spent       metric.Int64Counter
	spentOf     *series[bool]
}

// instruments makes instruments, and keeps what went wrong.
type instruments struct {
	meter metric.Meter
	err   error
}

func (i *instruments) counter(name, unit, about string) metric.Int64Counter {
	c, err := i.meter.Int64Counter(name, metric.WithUnit(unit), metric.WithDescription(about))
	i.err = errors.Join(i.err, err)
	return c
}

func (i *instruments) seconds(name, about string, limits []float64) metric.Float64Histogram {
	h, err := i.meter.Float64Histogram(name, metric.WithUnit("s"), metric.WithDescription(about), metric.WithExplicitBucketBoundaries(limits...))
	i.err = errors.Join(i.err, err)
	return h
}

func newMetrics(meter metric.Meter, attempts bool) (*metrics, error) {
	i := &instruments{meter: meter}
	m := &metrics{
		operations:  i.seconds("smartcar.client.operation.duration", "Duration of operations, with all they had to wait for.", operationSeconds[:]),
		operationOf: newSeries(operationSeries.attributes),
		attempts:    attempts,
		requestOf:   newSeries(requestSeries.attributes),
		calls:       i.counter("smartcar.client.calls", "{call}", "Calls of vehicles' months that requests count as."),
		callOf:      newSeries(callSeries.attributes),
		refusals:    i.counter("smartcar.client.refusals", "{refusal}", "Requests that were not allowed at the time."),
		refusalOf:   newSeries(refusalSeries.attributes),
		retries:     i.counter("smartcar.client.retries", "{retry}", "Requests that failed and were repeated."),
		retryOf:     newSeries(retrySeries.attributes),
		cached:      i.counter("smartcar.client.cached_answers", "{answer}", "Answers handed out without a request of their own."),
		cachedOf:    newSeries(cachedSeries.attributes),
		ages:        i.seconds("smartcar.client.answer.age", "How long ago the car recorded the data of an answer that was handed out.", ageSeconds[:]),
		ageOf:       newSeries(ageSeries.attributes),
		refreshes:   i.counter("smartcar.token.refreshes", "{refresh}", "Requests for new tokens."),
		refreshOf:   newSeries(refreshSeries.attributes),
		keys:        i.counter("smartcar.key.changes", "{change}", "Changes of what is known of virtual keys."),
		keyOf:       newSeries(keySeries.attributes),
		classes:     i.counter("smartcar.vehicle.class_changes", "{change}", "Changes of what is known of vehicles' classes."),
		classOf:     newSeries(classSeries.attributes),
		deliveries:  i.counter("smartcar.webhook.deliveries", "{delivery}", "Deliveries of webhooks."),
		deliveryOf:  newSeries(deliverySeries.attributes),
		delays:      i.seconds("smartcar.webhook.delivery.delay", "From when the car recorded what an event brings to its arrival.", ageSeconds[:]),
		delayOf:     newSeries(func(t string) []attribute.KeyValue { return []attribute.KeyValue{keyEventType.String(t)} }),
		visits:      i.seconds("smartcar.fleet.visit.duration", "Duration of visits to cars.", operationSeconds[:]),
		visitOf:     newSeries(visitSeries.attributes),
		leftOf: newSeries(func(c smartcar.VehicleClass) []attribute.KeyValue {
			return []attribute.KeyValue{keyClass.String(code(c))}
		}),
		spent:   i.counter("smartcar.budget.exhaustions", "{exhaustion}", "Vehicles whose month had no calls left for reads."),
		spentOf: newSeries(func(b bool) []attribute.KeyValue { return []attribute.KeyValue{keyBySmartcar.Bool(b)} }),
	}
	var err error
	m.left, err = meter.Int64Histogram("smartcar.budget.left", metric.WithUnit("{call}"),
		metric.WithDescription("Calls of the month that a visited car had left for reads."), metric.WithExplicitBucketBoundaries(callsLeft[:]...))
	i.err = errors.Join(i.err, err)
	if attempts {
		m.requests, err = httpconv.NewClientRequestDuration(meter, metric.WithExplicitBucketBoundaries(requestSeconds[:]...))
		i.err = errors.Join(i.err, err)
	}
	m.begin(context.Background())
	return m, i.err
}

// begin has the counters that alerts look at begin with 0: Prometheus takes the first
// count that it sees of a series for where it has begun, and no increase.
func (m *metrics) begin(ctx context.Context) {
	for _, by := range []bool{false, true} {
		m.spent.Add(ctx, 0, m.spentOf.of(by).add...)
	}
	for _, source := range []smartcar.KeySource{
		smartcar.KeyFromEndpoint, smartcar.KeyFromSignal, smartcar.KeyFromError, smartcar.KeyFromCommand, smartcar.KeyFromWebhook,
	} {
		for _, to := range []smartcar.KeyState{smartcar.KeyInstalled, smartcar.KeyMissing} {
			for _, from := range []smartcar.KeyState{smartcar.KeyUnknown, smartcar.KeyInstalled, smartcar.KeyMissing} {
				if from != to {
					m.keys.Add(ctx, 0, m.keyOf.of(keySeries{from, to, source}).add...)
				}
			}
		}
	}
	for _, failure := range []smartcar.Failure{
		smartcar.FailureReconnect, smartcar.FailureUnauthorized, smartcar.FailureUnavailable, smartcar.FailureTimeout, smartcar.FailureAnswer,
	} {
		for _, application := range []bool{false, true} {
			m.refreshes.Add(ctx, 0, m.refreshOf.of(refreshSeries{application, smartcar.OutcomeFailed, failure}).add...)
		}
	}
	for _, reason := range []smartcar.WebhookReason{smartcar.WebhookUnsigned, smartcar.WebhookMalformedSignature, smartcar.WebhookWrongSignature} {
		m.deliveries.Add(ctx, 0, m.deliveryOf.of(deliverySeries{none, smartcar.VerdictRefused, reason}).add...)
	}
}

// event counts what it is told, once.
func (m *metrics) event(ctx context.Context, event smartcar.Event) {
	switch e := event.(type) {
	case smartcar.OperationEnded:
		m.operation(ctx, &e)
	case smartcar.AttemptEnded:
		m.attempt(ctx, &e)
	case smartcar.Refused:
		m.refusals.Add(ctx, 1, m.refusalOf.of(refusalSeries{e.API, e.Kind, e.Rule, e.Local, e.Repetition}).add...)
	case smartcar.Retried:
		m.retries.Add(ctx, 1, m.retryOf.of(retrySeries{e.API, e.Kind, e.Failure}).add...)
	case smartcar.CachedAnswer:
		m.cached.Add(ctx, 1, m.cachedOf.of(cachedSeries{e.API, e.Source, e.Stale}).add...)
		if !e.RecordedAt.IsZero() {
			m.ages.Record(ctx, e.Age.Seconds(), m.ageOf.of(ageSeries{e.API, e.Source}).record...)
		}
	case smartcar.TokenRefreshed:
		m.refreshes.Add(ctx, 1, m.refreshOf.of(refreshSeries{e.Application, e.Outcome, e.Failure}).add...)
	case smartcar.KeyChanged:
		m.keys.Add(ctx, 1, m.keyOf.of(keySeries{e.From, e.To, e.Source}).add...)
	case smartcar.ClassChanged:
		m.classes.Add(ctx, 1, m.classOf.of(classSeries{e.From, e.To}).add...)
	case smartcar.WebhookReceived:
		m.deliveries.Add(ctx, 1, m.deliveryOf.of(deliverySeries{eventType(e.Type), e.Verdict, e.Reason}).add...)
		if e.Verdict == smartcar.VerdictAccepted && !e.RecordedAt.IsZero() {
			m.delays.Record(ctx, e.Delay.Seconds(), m.delayOf.of(eventType(e.Type)).record...)
		}
	case smartcar.Visited:
		m.visits.Record(ctx, e.Duration.Seconds(), m.visitOf.of(visitSeries{e.Class, e.Rule, e.Asked, e.News, e.Failure}).record...)
		if e.Counted {
			m.left.Record(ctx, int64(e.Left), m.leftOf.of(e.Class).record...)
		}
	case smartcar.BudgetSpent:
		m.spent.Add(ctx, 1, m.spentOf.of(e.BySmartcar).add...)
	}
}

func (m *metrics) operation(ctx context.Context, e *smartcar.OperationEnded) {
	m.operations.Record(ctx, e.Duration.Seconds(), m.operationOf.of(operationSeries{e.API, e.Operation, e.Kind, e.Outcome, e.Failure}).record...)
	if e.Outcome == smartcar.OutcomeOK && e.Kind == smartcar.KindData && e.Attempts > 0 && !e.RecordedAt.IsZero() { // else it was shared, and is told as kept
		age := max(e.At.Add(e.Duration).Sub(e.RecordedAt), 0)
		m.ages.Record(ctx, age.Seconds(), m.ageOf.of(ageSeries{e.API, smartcar.SourceLive}).record...)
	}
}

func (m *metrics) attempt(ctx context.Context, e *smartcar.AttemptEnded) {
	if e.Calls > 0 {
		m.calls.Add(ctx, int64(e.Calls), m.callOf.of(callSeries{e.API, e.Kind}).add...)
	}
	if m.attempts {
		l := m.requestOf.of(requestSeries{method(e.Method), e.Scheme, e.Server, e.StatusCode, e.Failure})
		m.requests.Inst().Record(ctx, e.Duration.Seconds(), l.record...)
	}
}

type operationSeries struct {
	api       smartcar.API
	operation smartcar.Operation
	kind      smartcar.Kind
	outcome   smartcar.Outcome
	failure   smartcar.Failure
}

func (s operationSeries) attributes() []attribute.KeyValue {
	return withFailure([]attribute.KeyValue{
		keyAPI.String(string(s.api)), keyOperation.String(code(s.operation)), keyKind.String(s.kind.String()), keyOutcome.String(string(s.outcome)),
	}, s.failure)
}

type requestSeries struct {
	method, scheme, server string
	status                 int
	failure                smartcar.Failure
}

func (s requestSeries) attributes() []attribute.KeyValue {
	host, port := address(s.scheme, s.server)
	all := []attribute.KeyValue{semconv.HTTPRequestMethodKey.String(s.method), semconv.ServerAddress(host), semconv.ServerPort(port)}
	if s.status != 0 {
		all = append(all, semconv.HTTPResponseStatusCode(s.status))
	}
	return withFailure(all, s.failure)
}

type callSeries struct {
	api  smartcar.API
	kind smartcar.Kind
}

func (s callSeries) attributes() []attribute.KeyValue {
	return []attribute.KeyValue{keyAPI.String(string(s.api)), keyKind.String(s.kind.String())}
}

type refusalSeries struct {
	api               smartcar.API
	kind              smartcar.Kind
	rule              smartcar.Rule
	local, repetition bool
}

func (s refusalSeries) attributes() []attribute.KeyValue {
	return []attribute.KeyValue{
		keyAPI.String(string(s.api)), keyKind.String(s.kind.String()), keyRule.String(code(s.rule)), keyLocal.Bool(s.local), keyRepetition.Bool(s.repetition),
	}
}

type retrySeries struct {
	api     smartcar.API
	kind    smartcar.Kind
	failure smartcar.Failure
}

func (s retrySeries) attributes() []attribute.KeyValue {
	return withFailure([]attribute.KeyValue{keyAPI.String(string(s.api)), keyKind.String(s.kind.String())}, s.failure)
}

type cachedSeries struct {
	api    smartcar.API
	source smartcar.Source
	stale  bool
}

func (s cachedSeries) attributes() []attribute.KeyValue {
	return []attribute.KeyValue{keyAPI.String(string(s.api)), keySource.String(code(s.source)), keyStale.Bool(s.stale)}
}

type ageSeries struct {
	api    smartcar.API
	source smartcar.Source
}

func (s ageSeries) attributes() []attribute.KeyValue {
	return []attribute.KeyValue{keyAPI.String(string(s.api)), keySource.String(code(s.source))}
}

type refreshSeries struct {
	application bool
	outcome     smartcar.Outcome
	failure     smartcar.Failure
}

func (s refreshSeries) attributes() []attribute.KeyValue {
	return withFailure([]attribute.KeyValue{keyTokenOwner.String(tokenOwner(s.application)), keyTokenOutcome.String(string(s.outcome))}, s.failure)
}

func tokenOwner(application bool) string {
	if application {
		return "application"
	}
	return "user"
}

type keySeries struct {
	from, to smartcar.KeyState
	source   smartcar.KeySource
}

func (s keySeries) attributes() []attribute.KeyValue {
	return []attribute.KeyValue{keyKeyFrom.String(s.from.String()), keyKeyTo.String(s.to.String()), keyKeySource.String(code(s.source))}
}

type classSeries struct{ from, to smartcar.VehicleClass }

func (s classSeries) attributes() []attribute.KeyValue {
	return []attribute.KeyValue{keyClassFrom.String(code(s.from)), keyClass.String(code(s.to))}
}

type deliverySeries struct {
	eventType string
	verdict   smartcar.WebhookVerdict
	reason    smartcar.WebhookReason
}

func (s deliverySeries) attributes() []attribute.KeyValue {
	return []attribute.KeyValue{keyEventType.String(s.eventType), keyVerdict.String(string(s.verdict)), keyReason.String(code(s.reason))}
}

type visitSeries struct {
	class       smartcar.VehicleClass
	rule        smartcar.Rule
	asked, news bool
	failure     smartcar.Failure
}

func (s visitSeries) attributes() []attribute.KeyValue {
	return withFailure([]attribute.KeyValue{
		keyClass.String(code(s.class)), keyRule.String(code(s.rule)), keyAsked.Bool(s.asked), keyNews.Bool(s.news),
	}, s.failure)
}
