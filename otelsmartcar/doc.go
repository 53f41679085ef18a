// Package otelsmartcar tells OpenTelemetry what a smartcar client does: metrics, and a
// span of each operation and of each HTTP request.
//
//	observer, err := otelsmartcar.New()
//	client, err := smartcar.New(config, smartcar.WithObserver(observer))
//
// That is for the providers of otel.SetMeterProvider and otel.SetTracerProvider. With a
// fleet of one process, [ObserveFleet] tells what its cars are waiting for. The package
// needs none of OpenTelemetry's SDK.
//
// Metrics have no id of a vehicle, a user or a request, and no word that somebody else
// can make up, so how many series there are does not grow with the fleet. Neither metrics
// nor spans have a token, a VIN, a location or anything of an answer's data. Spans have
// ids of vehicles and users with [WithIDs] only.
//
// # Metrics
//
// Prometheus has underscores in place of the dots, and _seconds or _total at the end.
//
//	http.client.request.duration         s              HTTP requests to the API, as the conventions have it:
//	                                                    http.request.method, server.address, server.port,
//	                                                    http.response.status_code, error.type
//	smartcar.client.operation.duration   s              operations: smartcar.api.version, smartcar.operation.name,
//	                                                    smartcar.operation.kind, smartcar.operation.outcome, error.type
//	smartcar.client.calls                {call}         calls of vehicles' months: smartcar.api.version, smartcar.operation.kind
//	smartcar.client.refusals             {refusal}      requests that were not allowed: smartcar.rule, smartcar.refusal.local,
//	                                                    smartcar.refusal.repetition, smartcar.operation.kind, smartcar.api.version
//	smartcar.client.retries              {retry}        requests that were repeated: smartcar.operation.kind,
//	                                                    smartcar.api.version, error.type
//	smartcar.client.cached_answers       {answer}       answers without a request: smartcar.answer.source,
//	                                                    smartcar.answer.stale, smartcar.api.version
//	smartcar.client.answer.age           s              age of the data in answers: smartcar.answer.source, smartcar.api.version
//	smartcar.token.refreshes             {refresh}      requests for tokens: smartcar.token.owner (user, application),
//	                                                    smartcar.token.outcome, error.type
//	smartcar.key.changes                 {change}       virtual keys: smartcar.key.from, smartcar.key.to, smartcar.key.source
//	smartcar.vehicle.class_changes       {change}       classes of vehicles: smartcar.vehicle.class_before, smartcar.vehicle.class
//	smartcar.webhook.deliveries          {delivery}     webhooks: smartcar.webhook.type, smartcar.webhook.verdict,
//	                                                    smartcar.webhook.reason
//	smartcar.webhook.delivery.delay      s              from the car's own time to the arrival, of what was accepted:
//	                                                    smartcar.webhook.type
//	smartcar.fleet.visit.duration        s              visits: smartcar.vehicle.class, smartcar.rule (what the next one
//	                                                    waits for), smartcar.visit.asked, smartcar.visit.news, error.type
//	smartcar.budget.left                 {call}         calls that a visited car had left for reads: smartcar.vehicle.class
//	smartcar.budget.exhaustions          {exhaustion}   cars whose month had none left: smartcar.budget.said_by_smartcar
//	smartcar.fleet.vehicle.count         {vehicle}      cars of [ObserveFleet]: smartcar.fleet.state (waiting, visited, retired),
//	                                                    smartcar.rule (what they wait for)
//	smartcar.fleet.lateness              s              how long the car is due that has waited longest
//
// The values are the short codes of package smartcar, such as keyless-window of
// smartcar.Rule, and error.type is a smartcar.Failure. An empty code is "none", and a word
// that is on no list is "_OTHER". Of what alerts look at, the counters begin with 0.
//
// # Spans
//
// An operation is an internal span, "smartcar battery"; each HTTP request a client span
// below it, "GET /v2.0/vehicles/{vehicle}/battery", with the attributes of the
// conventions. In url.full the ids are replaced by REDACTED. Beside these, the span of a request
// has smartcar.request.id, by which Smartcar's support finds it, smartcar.error.type and
// smartcar.error.code of Smartcar's own answer, and smartcar.request.takes_turn,
// smartcar.request.sent and smartcar.request.calls; that of an operation has
// smartcar.operation.attempts. A refusal is no error of an operation. A request for
// tokens is a span when it has ended.
//
// All else is an event: smartcar.refused with smartcar.refusal.next_allowed,
// smartcar.retried with smartcar.retry.wait, smartcar.cached_answer with
// smartcar.answer.age, smartcar.key_changed, smartcar.class_changed,
// smartcar.webhook_received with smartcar.webhook.delay, smartcar.visited with
// smartcar.visit.next and smartcar.visit.retired, and smartcar.budget_spent. It stands in
// the span under which it happens: that of an operation or, outside of any, one of the
// program, such as otelhttp's of a webhook or otelriver's of a job that visits a car.
//
// No trace is passed on to Smartcar.
//
// # Beside others
//
// redisotel, otelpgx and otelriver see the store and the jobs; the spans of a program that
// has all of them are one tree. otelhttp in the transport of the client sees each request
// once more: use [WithoutAttempts] then. Its url.full has the vehicle's id.
//
// smartcar.OperationFromContext tells any transport which operation it works for.
package otelsmartcar
