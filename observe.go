package smartcar

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
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
// StartOperation, StartAttempt and a transport must not call the client: what they would
// wait for may be what they hold up.
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
	Scheme   string // https; http in tests at most
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
		{ErrUnavailable, FailureUnavailable},
		{ErrUnexpectedAnswer, FailureAnswer},
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
// API v2.0, for a token of the application on v3. Of those that another process makes,
// this one only sees the result: that process tells its own observers.
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

// BudgetSpent says that a vehicle's month leaves too few calls for a read. It is told
// once a month by each process that meets it.
type BudgetSpent struct {
	About
	BySmartcar bool // Smartcar has said so; else they were counted here
	Until      time.Time
}

// ObserverPanics is how often an observer has panicked.
func (c *Client) ObserverPanics() int64 {
	if c == nil || c.core == nil || c.core.opts.emitter == nil {
		return 0
	}
	return c.core.opts.emitter.panics.Load()
}

// headOf is the level and the message of an event in the log.
func headOf(event Event) (slog.Level, string) {
	switch e := event.(type) {
	case OperationEnded:
		return slog.LevelDebug, "smartcar operation"
	case AttemptEnded:
		return slog.LevelDebug, "smartcar request"
	case Refused:
		return slog.LevelInfo, "smartcar refused"
	case Retried:
		return slog.LevelDebug, "smartcar repeats a request"
	case CachedAnswer:
		return slog.LevelDebug, "smartcar kept answer"
	case TokenRefreshed:
		if e.Outcome != OutcomeOK {
			return slog.LevelWarn, "smartcar token"
		}
		return slog.LevelDebug, "smartcar token"
	case KeyChanged:
		return slog.LevelInfo, "smartcar key"
	case ClassChanged:
		return slog.LevelInfo, "smartcar class"
	case WebhookReceived:
		switch {
		case e.Verdict != VerdictRefused:
			return slog.LevelDebug, "smartcar webhook"
		case e.StatusCode >= http.StatusInternalServerError:
			return slog.LevelWarn, "smartcar refused a webhook"
		}
		return slog.LevelInfo, "smartcar refused a webhook" // anybody can cause it
	case Visited:
		return slog.LevelDebug, "smartcar visit"
	case BudgetSpent:
		return slog.LevelWarn, "smartcar budget"
	}
	return slog.LevelDebug, "smartcar"
}

// logAttrs are the attributes of a line. What has no value is left out.
type logAttrs []slog.Attr

func (l *logAttrs) text(key, value string) {
	if value != "" {
		*l = append(*l, slog.String(key, value))
	}
}

func (l *logAttrs) number(key string, value int) {
	if value != 0 {
		*l = append(*l, slog.Int(key, value))
	}
}

func (l *logAttrs) flag(key string, value bool) {
	if value {
		*l = append(*l, slog.Bool(key, true))
	}
}

func (l *logAttrs) time(key string, value time.Time) {
	if !value.IsZero() {
		*l = append(*l, slog.Time(key, value))
	}
}

func (l *logAttrs) span(key string, value time.Duration) {
	if value != 0 {
		*l = append(*l, slog.Duration(key, value))
	}
}

// of adds what an event says.
func (l *logAttrs) of(event Event) {
	about := event.Subject()
	l.text("operation", string(about.Operation))
	l.text("vehicle", about.VehicleID)
	switch e := event.(type) {
	case OperationEnded:
		l.text("outcome", string(e.Outcome))
		l.text("failure", string(e.Failure))
		l.number("attempts", e.Attempts)
		l.span("took", e.Duration)
	case AttemptEnded:
		l.number("attempt", e.Number)
		l.number("status", e.StatusCode)
		l.text("failure", string(e.Failure))
		l.text("type", e.Type)
		l.text("code", e.Code)
		l.flag("turn", e.TakesTurn)
		l.span("took", e.Duration)
		l.text("request_id", e.RequestID)
	case Refused:
		l.text("rule", string(e.Rule))
		l.time("next_allowed", e.NextAllowed)
		l.flag("local", e.Local)
		l.flag("in_flight", e.InFlight)
		l.flag("repetition", e.Repetition)
	case Retried:
		l.number("attempt", e.Attempt)
		l.number("status", e.StatusCode)
		l.text("failure", string(e.Failure))
		l.span("wait", e.Wait)
	case CachedAnswer:
		l.text("source", string(e.Source))
		l.span("age", e.Age)
		l.flag("stale", e.Stale)
	case TokenRefreshed:
		l.text("user", about.UserID)
		l.text("outcome", string(e.Outcome))
		l.text("failure", string(e.Failure))
		l.number("status", e.StatusCode)
		l.span("took", e.Duration)
	case KeyChanged:
		l.text("from", e.From.String())
		l.text("to", e.To.String())
		l.text("source", string(e.Source))
	case ClassChanged:
		l.text("from", string(e.From))
		l.text("to", string(e.To))
	case WebhookReceived:
		l.text("type", string(e.Type))
		l.text("verdict", string(e.Verdict))
		l.text("reason", string(e.Reason))
		l.number("status", e.StatusCode)
		l.span("delay", e.Delay)
		l.span("took", e.Duration)
	case Visited:
		l.flag("asked", e.Asked)
		l.flag("news", e.News)
		l.flag("retired", e.Retired)
		l.text("failure", string(e.Failure))
		l.time("next", e.Next)
		l.text("rule", string(e.Rule))
		l.span("took", e.Duration)
	case BudgetSpent:
		l.flag("by_smartcar", e.BySmartcar)
		l.time("next_allowed", e.Until)
	}
}
