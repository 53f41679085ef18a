package smartcar

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed-498a1bc4/smartcar/internal/clocks"
	"github.com/seed-498a1bc4/smartcar/internal/policy"
	"github.com/seed-498a1bc4/smartcar/internal/repeats"
)

// An emitter tells observers and the log what happens. It is nil if nobody listens, and
// then costs nothing.
//
// Events from below an operation are gathered and told when the operation returns to its
// caller: see Observer. If a caller has left a request that goes on, what happens later
// is told when the request has ended.
type emitter struct {
	observers []Observer
	logger    *slog.Logger
	log       *logbook // nil without WithLogger
	clock     *clocks.Clock
	api       API
	plan      Budget // by whose rules calls are counted
	panics    atomic.Int64
}

func newEmitter(o *options) *emitter {
	if len(o.observers) == 0 && !o.logs {
		return nil
	}
	e := &emitter{observers: o.observers, logger: o.logger, clock: o.clock, api: o.api}
	if o.budget != nil {
		e.plan = *o.budget
	}
	if o.logs {
		e.log = &logbook{o.logger, repeats.New[refusalKey, Event](repeatedEvery, mostRepeated)}
	}
	return e
}

// report stands in the context of an operation, and of what gathers events outside of one.
type report struct {
	events   *gathered
	about    About
	attempts atomic.Int32
}

type reportKey struct{}

// reportOf is what gathers events under ctx for this emitter; nil if nothing does.
func (e *emitter) reportOf(ctx context.Context) *report {
	if s, ok := ctx.Value(reportKey{}).(*report); ok && s != nil && s.events.by == e {
		return s
	}
	return nil
}

// withoutReport is ctx for functions of the application: what they do under it, or under
// what they derive from it and keep, is told by itself.
func withoutReport(ctx context.Context) context.Context {
	return context.WithValue(ctx, reportKey{}, (*report)(nil))
}

// gathered are the events that are still to be told.
type gathered struct {
	by   *emitter
	mu   sync.Mutex
	list []emission
}

type emission struct {
	ctx   context.Context //nolint:containedctx // that of the event, for the observer
	event Event
}

// tell tells what was gathered so far. A nil one has nothing to tell.
func (g *gathered) tell() {
	if g == nil {
		return
	}
	g.mu.Lock()
	list := g.list
	g.list = nil
	g.mu.Unlock()
	for _, e := range list {
		g.by.tell(e.ctx, e.event)
	}
}

// gather has the events under the context that it returns told by gathered.tell, which
// the caller calls in the end. Within an operation, the operation does that, and gathered
// is nil.
func (e *emitter) gather(ctx context.Context, about About) (context.Context, *gathered) {
	if e == nil || e.reportOf(ctx) != nil {
		return ctx, nil
	}
	s := &report{events: &gathered{by: e}, about: about}
	return context.WithValue(ctx, reportKey{}, s), s.events
}

// tellRest tells what was gathered under ctx since the caller of its operation has left.
func (e *emitter) tellRest(ctx context.Context) {
	if e == nil {
		return
	}
	if s := e.reportOf(ctx); s != nil {
		s.events.tell()
	}
}

// emit has an event told: by the operation under which it happens, or else now.
func (e *emitter) emit(ctx context.Context, event Event) {
	if e == nil {
		return
	}
	s := e.reportOf(ctx)
	if s == nil {
		e.tell(ctx, event)
		return
	}
	s.events.mu.Lock()
	defer s.events.mu.Unlock()
	s.events.list = append(s.events.list, emission{ctx, event})
}

func (e *emitter) tell(ctx context.Context, event Event) {
	if e.log != nil {
		e.log.write(ctx, event, e.clock.Elapsed())
	}
	if len(e.observers) > 0 {
		ctx = withoutReport(ctx)
	}
	for i := range e.observers {
		if f := e.observers[i].Event; f != nil {
			e.calling(ctx, func() { f(ctx, event) })
		}
	}
}

// calling calls a function of an observer. What a panic says may hold anything, and is
// not logged.
func (e *emitter) calling(ctx context.Context, f func()) {
	defer func() {
		if p := recover(); p != nil && e.panics.Add(1) == 1 {
			e.logger.LogAttrs(ctx, slog.LevelError, "smartcar: an observer panicked; this is logged once",
				slog.String("kind", fmt.Sprintf("%T", p)), slog.String("stack", string(debug.Stack())))
		}
	}()
	f()
}

// about fills in what an event is about. Took is how long ago it began.
func (e *emitter) about(op Operation, vehicle, user string, took time.Duration) About {
	return About{At: e.clock.Now().UTC().Add(-took), API: e.api, Operation: op, VehicleID: vehicle, UserID: user}
}

// start tells observers that an operation begins.
func (e *emitter) start(ctx context.Context, o OperationStart) context.Context {
	for i := range e.observers {
		if f := e.observers[i].StartOperation; f != nil {
			e.calling(ctx, func() { ctx = cmp.Or(f(ctx, o), ctx) })
		}
	}
	return ctx
}

// startAttempt tells observers that a request is about to be sent.
func (e *emitter) startAttempt(ctx context.Context, a AttemptStart) context.Context {
	for i := range e.observers {
		if f := e.observers[i].StartAttempt; f != nil {
			e.calling(ctx, func() { ctx = cmp.Or(f(ctx, a), ctx) })
		}
	}
	return ctx
}

// The functions below make events of what happens. With a nil emitter they do nothing.

func (r *request) start(seen *emitter) OperationStart {
	return OperationStart{About: seen.about(r.op, r.car.id, cmp.Or(r.car.user, r.user, r.grant.userID), 0), Kind: r.kind}
}

func tellRefused(ctx context.Context, seen *emitter, r *request, limit *RateLimitError, repetition bool) {
	if seen != nil {
		seen.emit(ctx, Refused{
			OperationStart: r.start(seen), Rule: limit.Rule, NextAllowed: limit.NextAllowed, Local: limit.Local,
			InFlight: limit.InFlight, Repetition: repetition,
		})
	}
}

func tellRetried(ctx context.Context, seen *emitter, r *request, try int, wait time.Duration, err error) {
	if seen != nil {
		seen.emit(ctx, Retried{OperationStart: r.start(seen), Attempt: try, Wait: wait, StatusCode: statusIn(err), Failure: failureOf(err)})
	}
}

// statusIn is the HTTP status of an error of Smartcar's, 0 for others.
func statusIn(err error) int {
	if failed, ok := errors.AsType[*Error](err); ok {
		return failed.StatusCode
	}
	return 0
}

// tellKept tells of the parts of an answer that were kept, or that another caller had
// asked for.
func tellKept(ctx context.Context, seen *emitter, ref carRef, parts []part) {
	for i := range parts {
		p := &parts[i]
		if seen == nil || p.callerErr != nil || p.meta.Source == SourceLive || p.meta.Source == "" {
			continue
		}
		event := CachedAnswer{
			About: seen.about(p.op.name, ref.id, ref.user, 0), Source: p.meta.Source, RecordedAt: p.meta.RecordedAt, Stale: p.meta.Stale,
		}
		if at := firstKnown(p.meta.RecordedAt, p.meta.FetchedAt); !at.IsZero() {
			event.Age = max(event.At.Sub(at), 0)
		}
		seen.emit(ctx, event)
	}
}

// tellChange tells how what is stored of a car differs from what was stored before.
func tellChange(ctx context.Context, seen *emitter, ref carRef, before, after *policy.State) {
	if seen == nil {
		return
	}
	of := seen.about(seen.operationIn(ctx), ref.id, ref.user, 0)
	if from, to := publicClass(before.Class()), publicClass(after.Class()); from != to {
		seen.emit(ctx, ClassChanged{About: of, From: from, To: to})
	}
	if from, to := keyStatus(before), keyStatus(after); from.State != to.State {
		seen.emit(ctx, KeyChanged{About: of, From: from.State, To: to.State, Source: to.Source})
	}
}

// operationIn is the operation under which something happens; empty if there is none.
func (e *emitter) operationIn(ctx context.Context) Operation {
	if s := e.reportOf(ctx); s != nil {
		return s.about.Operation
	}
	return ""
}

// tellSpent tells that a car's month leaves too little for a read.
func tellSpent(ctx context.Context, seen *emitter, ref carRef, until time.Time, bySmartcar bool) {
	if seen != nil {
		seen.emit(ctx, BudgetSpent{About: seen.about(seen.operationIn(ctx), ref.id, ref.user, 0), Until: until, BySmartcar: bySmartcar})
	}
}

// tellToken tells of a request to a token endpoint. Its user is that of the operation.
func tellToken(ctx context.Context, seen *emitter, op Operation, began time.Duration, err error) {
	if seen == nil {
		return
	}
	event := TokenRefreshed{
		Application: op == opAppToken, Duration: seen.clock.Elapsed() - began, Outcome: OutcomeOK, Failure: failureOf(err), StatusCode: statusIn(err),
	}
	event.About = seen.about(op, "", "", event.Duration)
	if s := seen.reportOf(ctx); s != nil && !event.Application {
		event.UserID = s.about.UserID
	}
	if err != nil {
		event.Outcome = OutcomeFailed
	}
	seen.emit(ctx, event)
}

// tellVisit tells of a visit that has ended.
func tellVisit(ctx context.Context, seen *emitter, s *step, began time.Duration, visit Visit, err error) {
	if seen == nil {
		return
	}
	event := s.seen
	event.Duration = seen.clock.Elapsed() - began
	event.About = seen.about(opVisit, s.through.car.id, s.through.car.user, event.Duration)
	event.Next, event.Rule, event.Asked = visit.Next, visit.Rule, visit.Asked
	event.News, event.Retired, event.Failure = visit.Snapshot != nil, visit.Retired, failureOf(err)
	if s.handled != nil && ctx.Err() == nil {
		event.Failure = FailureHandler
	}
	seen.emit(ctx, event)
}

// tellDelivery tells of a delivery of a webhook, and how it was answered.
func tellDelivery(ctx context.Context, seen *emitter, d *delivery, status int, reason WebhookReason) {
	if seen == nil {
		return
	}
	event := WebhookReceived{Verdict: d.verdict, Reason: reason, StatusCode: status, Duration: seen.clock.Elapsed() - d.began}
	event.About = seen.about(opWebhookEvent, "", "", event.Duration)
	if got := d.event; got != nil {
		event.Type = EventType(printable(string(got.Type), 64))
		event.VehicleID, event.UserID = printable(got.VehicleID, 64), printable(got.UserID, 64)
		if event.RecordedAt = got.RecordedAt; !got.RecordedAt.IsZero() {
			event.Delay = max(got.ReceivedAt.Sub(got.RecordedAt), 0)
		}
	} else if d.verdict == VerdictVerified {
		event.Type = EventVerify
	}
	seen.emit(ctx, event)
}

const (
	// repeatedEvery is how often the log says that one refusal of a car was repeated.
	repeatedEvery = time.Minute
	// mostRepeated is of how many refusals the log counts the repeats at a time.
	mostRepeated = 10_000
)

// A logbook writes events to the log of WithLogger. Refusals that are repeated are
// counted, and said once a minute.
type logbook struct {
	logger  *slog.Logger
	refused *repeats.Counter[refusalKey, Event]
}

// refusalKey is what makes two refusals the same.
type refusalKey struct {
	vehicle string
	rule    Rule
	reason  WebhookReason // of a webhook, which has no rule
}

// write writes an event that came when so much time had passed.
func (l *logbook) write(ctx context.Context, event Event, passed time.Duration) {
	var key refusalKey
	switch e := event.(type) {
	case Refused:
		key = refusalKey{vehicle: e.VehicleID, rule: e.Rule}
	case WebhookReceived:
		key = refusalKey{vehicle: e.VehicleID, reason: e.Reason}
	}
	if key.rule == "" && key.reason == "" {
		l.line(ctx, event, 0)
		return
	}
	for _, due := range l.refused.Add(key, event, passed) {
		l.line(ctx, due.Value, due.Count)
	}
}

// rest writes what was counted and not written yet.
func (l *logbook) rest(ctx context.Context) {
	if l == nil {
		return
	}
	for _, due := range l.refused.Rest() {
		l.line(ctx, due.Value, due.Count)
	}
}

// line writes one line. Count is how many refusals it stands for; 0 for other events.
func (l *logbook) line(ctx context.Context, event Event, count int) {
	level, message := headOf(event)
	if !l.logger.Enabled(ctx, level) {
		return
	}
	attrs := make(logAttrs, 0, 12)
	attrs.of(event)
	attrs.number("count", count)
	l.logger.LogAttrs(ctx, level, message, attrs...)
}
