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
	opts   *options
	log    *logbook // nil without WithLogger
	panics atomic.Int64
}

func newEmitter(o *options) *emitter {
	if len(o.observers) == 0 && !o.logs {
		return nil
	}
	e := &emitter{opts: o}
	if o.logs {
		e.log = newLogbook(o)
	}
	return e
}

// scope stands in the context of an operation, and of what gathers events outside of one.
type scope struct {
	events   *gathered
	about    About
	attempts atomic.Int32
}

type scopeKey struct{}

func scopeOf(ctx context.Context) *scope {
	s, _ := ctx.Value(scopeKey{}).(*scope)
	return s
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
	if e == nil || scopeOf(ctx) != nil {
		return ctx, nil
	}
	s := &scope{events: &gathered{by: e}, about: about}
	return context.WithValue(ctx, scopeKey{}, s), s.events
}

// tellRest tells what was gathered under ctx since the caller of its operation has left.
func (e *emitter) tellRest(ctx context.Context) {
	if s := scopeOf(ctx); e != nil && s != nil {
		s.events.tell()
	}
}

// emit has an event told: by the operation under which it happens, or else now.
func (e *emitter) emit(ctx context.Context, event Event) {
	if e == nil {
		return
	}
	s := scopeOf(ctx)
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
		e.log.write(ctx, event)
	}
	for i := range e.opts.observers {
		if f := e.opts.observers[i].Event; f != nil {
			e.calling(ctx, func() { f(ctx, event) })
		}
	}
}

// calling calls a function of an observer. What a panic says may hold anything, and is
// not logged.
func (e *emitter) calling(ctx context.Context, f func()) {
	defer func() {
		if p := recover(); p != nil && e.panics.Add(1) == 1 {
			e.opts.logger.LogAttrs(ctx, slog.LevelError, "smartcar: an observer panicked; this is logged once",
				slog.String("kind", fmt.Sprintf("%T", p)), slog.String("stack", string(debug.Stack())))
		}
	}()
	f()
}

// about fills in what an event is about.
func (e *emitter) about(op Operation, ref carRef, user string) About {
	return About{At: e.opts.now(), API: e.opts.api, Operation: op, VehicleID: ref.id, UserID: cmp.Or(ref.user, user)}
}

func (e *emitter) startOf(r *request) OperationStart {
	return OperationStart{About: e.about(r.op, r.car, cmp.Or(r.user, r.grant.userID)), Kind: r.kind}
}

func (e *emitter) refused(ctx context.Context, r *request, limit *RateLimitError, repetition bool) {
	if e == nil {
		return
	}
	e.emit(ctx, Refused{
		OperationStart: e.startOf(r), Rule: limit.Rule, NextAllowed: limit.NextAllowed, Local: limit.Local,
		InFlight: limit.InFlight, Repetition: repetition,
	})
}

func (e *emitter) retried(ctx context.Context, r *request, try int, wait time.Duration, err error) {
	if e == nil {
		return
	}
	event := Retried{OperationStart: e.startOf(r), Attempt: try, Wait: wait, Failure: failureOf(err)}
	if failed, ok := errors.AsType[*Error](err); ok {
		event.StatusCode = failed.StatusCode
	}
	e.emit(ctx, event)
}

// cached tells of the parts of an answer that were kept, or that another caller had
// asked for.
func (e *emitter) cached(ctx context.Context, ref carRef, parts []part) {
	for i := range parts {
		p := &parts[i]
		if p.callerErr != nil || p.meta.Source == SourceLive || p.meta.Source == "" {
			continue
		}
		event := CachedAnswer{About: e.about(p.op.name, ref, ""), Source: p.meta.Source, RecordedAt: p.meta.RecordedAt, Stale: p.meta.Stale}
		if at := firstKnown(p.meta.RecordedAt, p.meta.FetchedAt); !at.IsZero() {
			event.Age = max(event.At.Sub(at), 0)
		}
		e.emit(ctx, event)
	}
}

// changed tells how what is stored of a car differs from what was stored before.
func (e *emitter) changed(ctx context.Context, ref carRef, before, after policy.State) {
	if e == nil {
		return
	}
	of := e.about("", ref, "")
	if s := scopeOf(ctx); s != nil {
		of.Operation = s.about.Operation
	}
	if from, to := publicClass(before.Class()), publicClass(after.Class()); from != to {
		e.emit(ctx, ClassChanged{About: of, From: from, To: to})
	}
	if from, to := keyStatus(before), keyStatus(after); from.State != to.State {
		e.emit(ctx, KeyChanged{About: of, From: from.State, To: to.State, Source: to.Source})
	}
}

// spent tells that a car's month leaves nothing for reads.
func (e *emitter) spent(ctx context.Context, ref carRef, until time.Time, bySmartcar bool) {
	if e != nil {
		e.emit(ctx, BudgetSpent{About: e.about("", ref, ""), Until: until, BySmartcar: bySmartcar})
	}
}

// refreshed tells of a request to a token endpoint. Its user is that of the operation.
func (e *emitter) refreshed(ctx context.Context, op Operation, began time.Duration, err error) {
	if e == nil {
		return
	}
	took := e.opts.clock.Elapsed() - began
	event := TokenRefreshed{
		About: e.about(op, carRef{}, ""), Application: op == opAppToken, Duration: took, Outcome: OutcomeOK, Failure: failureOf(err),
	}
	event.At = event.At.Add(-took)
	if s := scopeOf(ctx); s != nil && !event.Application {
		event.UserID = s.about.UserID
	}
	if err != nil {
		event.Outcome = OutcomeFailed
	}
	if failed, ok := errors.AsType[*Error](err); ok {
		event.StatusCode = failed.StatusCode
	}
	e.emit(ctx, event)
}

// visited tells of a visit that has ended.
func (e *emitter) visited(ctx context.Context, s *step, began time.Duration, visit Visit, err error) {
	if e == nil {
		return
	}
	event := s.seen
	event.About, event.Duration = e.about(opVisit, s.through.car, ""), e.opts.clock.Elapsed()-began
	event.At = event.At.Add(-event.Duration)
	event.Next, event.Rule, event.Asked = visit.Next, visit.Rule, visit.Asked
	event.News, event.Retired, event.Failure = visit.Snapshot != nil, visit.Retired, failureOf(err)
	if s.handled != nil && ctx.Err() == nil {
		event.Failure = FailureHandler
	}
	e.emit(ctx, event)
}

// delivered tells of a delivery of a webhook, and how it was answered.
func (e *emitter) delivered(ctx context.Context, d *delivery, status int, reason WebhookReason) {
	if e == nil {
		return
	}
	took := e.opts.clock.Elapsed() - d.began
	event := WebhookReceived{
		About: e.about(opWebhookEvent, carRef{}, ""), Verdict: d.verdict, Reason: reason, StatusCode: status, Duration: took,
	}
	event.At = event.At.Add(-took)
	if got := d.event; got != nil {
		event.Type = EventType(printable(string(got.Type), 64))
		event.VehicleID, event.UserID = printable(got.VehicleID, 64), printable(got.UserID, 64)
		if event.RecordedAt = got.RecordedAt; !got.RecordedAt.IsZero() {
			event.Delay = max(got.ReceivedAt.Sub(got.RecordedAt), 0)
		}
	} else if d.verdict == VerdictVerified {
		event.Type = EventVerify
	}
	e.emit(ctx, event)
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
	opts    *options
	refused *repeats.Counter[refusalKey, Event]
}

// refusalKey is what makes two refusals the same.
type refusalKey struct {
	vehicle string
	rule    Rule
	reason  WebhookReason // of a webhook, which has no rule
}

func newLogbook(o *options) *logbook {
	return &logbook{o, repeats.New[refusalKey, Event](repeatedEvery, mostRepeated)}
}

func (l *logbook) write(ctx context.Context, event Event) {
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
	for _, due := range l.refused.Add(key, event, l.opts.clock.Elapsed()) {
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
	if !l.opts.logger.Enabled(ctx, level) {
		return
	}
	attrs := make(logAttrs, 0, 12)
	attrs.of(event)
	attrs.number("count", count)
	l.opts.logger.LogAttrs(ctx, level, message, attrs...)
}
