package smartcar

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed-498a1bc4/smartcar/internal/contexts"
)

// An Observer is told what a client does: see [WithObserver]. Its functions may be nil,
// and may be called concurrently. Fields may be added in later versions.
//
// StartOperation is called when an operation begins that may send a request, and
// StartAttempt before each HTTP request to the API of vehicles and to that of the
// management. They return the context that the operation, or the request, goes on with:
// ctx itself or one derived from it, such as one with a span. Others may be waiting for
// the same answer, so they should be quick.
//
// Event is told of everything else, and of the end of what has begun: an [OperationEnded]
// comes with a context derived from that of StartOperation, an [AttemptEnded] with one
// derived from that of StartAttempt. It is called by the goroutine that made the call,
// when the call is about to return: the turn of the car is settled, the token is stored,
// no lock is held. So an Event that is slow holds up its own caller and nobody else. The
// context may have ended by then.
//
// A panic of an observer is recovered, counted by [Client.ObserverPanics], and logged
// the first time.
type Observer struct {
	StartOperation func(ctx context.Context, o OperationStart) context.Context
	StartAttempt   func(ctx context.Context, a AttemptStart) context.Context
	Event          func(ctx context.Context, e Event)
}

// WithObserver has an observer told what the client does. Used more than once, each
// observer is told, in the order of the options.
//
// What an observer is told holds no token, no code, no location, no VIN and no text of
// Smartcar's or of a person's. The ids of vehicles and users are fields of their own, see
// [About], so that an exporter can leave them out.
func WithObserver(observer Observer) Option {
	return func(o *options) error {
		if observer.StartOperation == nil && observer.StartAttempt == nil && observer.Event == nil {
			return argumentError("WithObserver", "the observer has no functions; leave the option out")
		}
		o.observers = append(o.observers, observer)
		return nil
	}
}

// OperationFromContext says which operation a request is sent for: inside the transport
// of [WithHTTPClient], in [Observer.StartAttempt] and in what either calls. It is how a
// transport that measures or traces can name what it sees. It is empty outside of one.
func OperationFromContext(ctx context.Context) Operation {
	if ctx == nil {
		return ""
	}
	return Operation(contexts.NameOf(ctx))
}

// About says what an event is about. Every event has it.
type About struct {
	// At is when it happened; of what takes time, when it began. Events are told late,
	// see [Observer], and need not be in the order of these times.
	At        time.Time
	API       API
	Operation Operation // empty for events outside of any
	VehicleID string    // empty where no vehicle is concerned
	UserID    string    // empty where it is not known
}

// An Event is one of the types of this package that embed [About]: [OperationEnded],
// [AttemptEnded], [Refused], [Retried], [CachedAnswer], [TokenRefreshed], [KeyChanged],
// [ClassChanged], [WebhookReceived], [Visited] and [BudgetSpent]. Types may be added in
// later versions, and fields to each of them. Each is told by value, and once.
type Event interface {
	// Subject is the About of the event.
	Subject() About
}

// Subject is About itself, for the events that embed it.
func (a About) Subject() About { return a }

// OperationStart is an operation that begins: a call of a method, or a question that the
// client asks by itself on the way, such as for the status of the key. A read that is
// answered with what is kept begins none.
type OperationStart struct {
	About
	Kind Kind
}

// AttemptStart is one HTTP request of an operation, before it is sent.
type AttemptStart struct {
	OperationStart
	// Number counts the requests of one operation, from 1.
	Number int
	Method string
	// Template is the path without ids, such as /v2.0/vehicles/{vehicle}/battery.
	Template string
	Server   string // host, and port if the URL has one
	// TakesTurn says that it is the one data request that a car without its key allows in
	// a window.
	TakesTurn bool
}

// An Outcome says how an operation or a request has ended. It is a short code that does
// not change.
type Outcome string

// The outcomes.
const (
	OutcomeOK Outcome = "ok"
	// OutcomeRefused: nothing was sent, because the policy does not allow it now, or
	// [WithoutTurn] does not. A [Refused] says by which rule of the policy.
	OutcomeRefused Outcome = "refused"
	OutcomeFailed  Outcome = "failed"
	// OutcomeLeft: the context of the caller ended first.
	OutcomeLeft Outcome = "left"
)

// A Failure says why something failed, as the sentinels of this package do. It is a
// short code that does not change; later versions may know more of them.
type Failure string

// The failures.
const (
	FailureNone          Failure = ""
	FailureArgument      Failure = "argument"
	FailureLimited       Failure = "limited"
	FailureKeyRequired   Failure = "virtual-key-required"
	FailureNotConnected  Failure = "not-connected"
	FailureReconnect     Failure = "reconnect-required"
	FailureReauth        Failure = "reauthenticate"
	FailureAccount       Failure = "account"
	FailurePermission    Failure = "permission"
	FailureVehicleGone   Failure = "vehicle-gone"
	FailureUnauthorized  Failure = "unauthorized"
	FailureAsleep        Failure = "asleep"
	FailureVehicleState  Failure = "vehicle-state"
	FailureNotSupported  Failure = "not-supported"
	FailureBilling       Failure = "billing"
	FailureNothingStored Failure = "nothing-stored"
	FailureNotFound      Failure = "not-found"
	FailureValidation    Failure = "validation"
	FailureAnswer        Failure = "unexpected-answer"
	FailureStore         Failure = "store"
	FailureTakesTurn     Failure = "takes-turn"
	FailureTimeout       Failure = "timeout"
	FailureCanceled      Failure = "canceled"
	FailureUnavailable   Failure = "unavailable"
	FailureHandler       Failure = "handler"
	FailureOther         Failure = "other"
)

// failureOf is the code of an error. Its order matters: an error may match several
// sentinels, and what an owner or a rule has to do with comes first.
func failureOf(err error) Failure {
	switch {
	case err == nil:
		return FailureNone
	case errors.Is(err, errAttemptTime):
		return FailureTimeout
	}
	for _, f := range [...]struct {
		sentinel error
		failure  Failure
	}{
		{ErrTakesTurn, FailureTakesTurn},
		{ErrVirtualKeyRequired, FailureKeyRequired},
		{ErrStore, FailureStore},
		{ErrBilling, FailureBilling},
		{ErrRateLimited, FailureLimited},
		{ErrInvalidArgument, FailureArgument},
		{ErrNotConnected, FailureNotConnected},
		{ErrNotMoved, FailureNotConnected},
		{ErrReconnectRequired, FailureReconnect},
		{ErrReauthenticate, FailureReauth},
		{ErrAccount, FailureAccount},
		{ErrPermission, FailurePermission},
		{ErrVehicleGone, FailureVehicleGone},
		{ErrUnauthorized, FailureUnauthorized},
		{ErrAsleep, FailureAsleep},
		{ErrVehicleState, FailureVehicleState},
		{ErrNotSupported, FailureNotSupported},
		{ErrNothingStored, FailureNothingStored},
		{ErrNotFound, FailureNotFound},
		{ErrValidation, FailureValidation},
		{ErrHandlerPanicked, FailureHandler},
		{context.DeadlineExceeded, FailureTimeout},
		{context.Canceled, FailureCanceled},
		{ErrUnexpectedAnswer, FailureAnswer},
		{ErrUnavailable, FailureUnavailable},
	} {
		if errors.Is(err, f.sentinel) {
			return f.failure
		}
	}
	return FailureOther
}

// OperationEnded is the end of an operation for its caller.
type OperationEnded struct {
	OperationStart
	Duration time.Duration
	Outcome  Outcome
	Failure  Failure // FailureNone with OutcomeOK
	Attempts int     // how many HTTP requests it has sent so far
	// RecordedAt is when the car recorded the newest of what the answer brought; zero if
	// that is not known.
	RecordedAt time.Time
}

// AttemptEnded is the end of one HTTP request. If the caller of the operation has left,
// it comes after the [OperationEnded].
type AttemptEnded struct {
	AttemptStart
	Duration   time.Duration
	StatusCode int     // 0 if no answer came
	Failure    Failure // of the request as a whole; FailureNone with OutcomeOK
	Type, Code string  // of Smartcar's error: open strings
	RequestID  string  // by which Smartcar's support finds the request
	Sent       bool    // false if it certainly never left
	// Calls is how many calls of the vehicle's month it counts as, by the rules of
	// [Budget]. It is 0 if the request was not sent or concerns no vehicle.
	Calls int
}

// Refused is a request that was not allowed now.
type Refused struct {
	OperationStart
	Rule        Rule      // RuleVirtualKey for a command that needs the key
	NextAllowed time.Time // zero if no time is known
	Local       bool      // decided here, without asking Smartcar
	InFlight    bool      // another request holds the turn
	Repetition  bool      // the request was sent once and failed; it may not be repeated now
}

// Retried is a request that failed and is repeated.
type Retried struct {
	OperationStart
	Attempt    int           // the number of the one that failed
	Wait       time.Duration // before the repetition
	StatusCode int
	Failure    Failure
}

// CachedAnswer is the answer to one operation that was handed out without a request of
// its own: from an earlier one, from one that another caller had under way, or from a
// webhook.
type CachedAnswer struct {
	About
	Source     Source        // SourceCache or SourceWebhook
	Age        time.Duration // since the car recorded it, or Smartcar fetched it; 0 if not known
	RecordedAt time.Time
	Stale      bool // handed out because a request was not allowed
}

// TokenRefreshed is one request to a token endpoint: for a new pair of a user's grant on
// API v2.0, for a token of the application on v3.
type TokenRefreshed struct {
	About
	Application bool // the token of the application
	Duration    time.Duration
	Outcome     Outcome
	Failure     Failure // FailureReconnect: the grant has ended
	StatusCode  int     // of a failure; 0 if no answer came
}

// KeyChanged says that what is known of a virtual key has changed.
type KeyChanged struct {
	About
	From, To KeyState
	Source   KeySource
}

// ClassChanged says that what is known of a vehicle's class has changed.
type ClassChanged struct {
	About
	From, To VehicleClass
}

// A WebhookVerdict says what has become of a delivery. It is a short code that does not
// change.
type WebhookVerdict string

// The verdicts.
const (
	VerdictAccepted WebhookVerdict = "accepted"
	VerdictRepeated WebhookVerdict = "repeated" // the event had been handled already
	VerdictVerified WebhookVerdict = "verified" // the answer to VERIFY
	VerdictRefused  WebhookVerdict = "refused"
)

// WebhookReceived is a delivery to a [WebhookReceiver], and how it was answered. Of what
// is not signed nothing is told but the reason of the refusal.
type WebhookReceived struct {
	About
	Type       EventType
	Verdict    WebhookVerdict
	Reason     WebhookReason // of VerdictRefused
	StatusCode int
	Duration   time.Duration
	// RecordedAt is when the car recorded what the event brings, Delay how long before its
	// arrival that was. Zero if it is not known.
	RecordedAt time.Time
	Delay      time.Duration
}

// Visited is a visit to a car: see [Vehicle.Visit].
type Visited struct {
	About
	Duration time.Duration
	Class    VehicleClass
	Key      KeyState
	Next     time.Time
	Rule     Rule // what Next follows from
	Asked    bool // Smartcar was asked for the car's data
	News     bool // something new was handed over
	Retired  bool
	Failure  Failure
	// Left is how many calls of the month are left for reads; with Counted false, nobody
	// counts them.
	Left    int
	Counted bool
}

// BudgetSpent says that a vehicle's month leaves no calls for reads.
type BudgetSpent struct {
	About
	BySmartcar bool // Smartcar has said so; else they were counted here
	Until      time.Time
}

// An emitter tells observers and the log what happens. It is nil if nobody listens, and
// then costs nothing.
//
// Events from below an operation are gathered and told when the operation returns to its
// caller: see Observer. If a caller has left a request that goes on, what happens later
// is told when the request has ended.
type emitter struct {
	opts   *options
	panics atomic.Int64
}

func newEmitter(o *options) *emitter {
	if len(o.observers) == 0 && !o.logs {
		return nil
	}
	return &emitter{opts: o}
}

// scope stands in the context of an operation, and of what gathers events outside of one.
type scope struct {
	events   *gathered
	start    OperationStart // zero outside of an operation
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
func (e *emitter) gather(ctx context.Context) (context.Context, *gathered) {
	if e == nil || scopeOf(ctx) != nil {
		return ctx, nil
	}
	s := &scope{events: &gathered{by: e}}
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

// ObserverPanics is how often an observer has panicked.
func (c *Client) ObserverPanics() int64 {
	if c == nil || c.core == nil || c.core.opts.emitter == nil {
		return 0
	}
	return c.core.opts.emitter.panics.Load()
}
