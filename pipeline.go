package smartcar

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/seed-498a1bc4/smartcar/internal/contexts"
	"github.com/seed-498a1bc4/smartcar/internal/policy"
)

// A request is one HTTP request as its maker describes it. The layers of the
// pipeline read it and return what they find as an attempt. They change nothing in it
// but car.registered and connect, which the gate sets, and refusal and named, which stand
// here to save an allocation.
type request struct {
	op      Operation
	car     carRef      // zero for a request that concerns no vehicle
	reads   []operation // what a read carries; nil for everything else
	command *operation  // a typed command; nil for everything else
	own     string      // of everything else: the shapes of its answer, see lenient.HasShape; anyJSON for those of Vehicle.Request
	base    string      // the URL that wire.path is relative to
	wire    wireRequest
	query   url.Values
	auth    credential
	grant   grantCredential // of v2.0: auth points to it, to save an allocation
	user    string          // in whose name the application asks; API v3
	units   UnitSystem
	maxBody int32 // the largest answer that is read; 0 means maxBody
	kind    Kind

	override    bool         // the caller asked to ignore the policy
	withoutTurn bool         // the caller does not want the car to be asked
	alone       bool         // the answer is for this request alone, and is not kept
	kept        *vehicleKept // where the answers are kept; nil keeps none
	keptIn      UnitSystem   // see wire.keptIn
	scope       string       // whose answers these are: the user's

	connect uint64 // the user's last run of Connect, as the gate knew it at the last try; see answerRef

	refusal RateLimitError // of the gate; it stands here to save an allocation
	named   contexts.Named // the context of all tries, for OperationFromContext; likewise
}

// An attempt is what one layer of the pipeline found out about a request.
type attempt struct {
	answer  *answer        // nil unless a whole answer came that is no error
	outcome policy.Outcome // what the request means for the turn of its car
	failure *Error         // what the policy learns from; beside an answer, the error of one of its parts
	began   time.Time      // when the request left, by the wall clock
	left    time.Duration  // the same, by the time that has passed in this process
	back    time.Duration  // when the answer was complete, by the same
}

// A layer is one step of the pipeline: it sends the request through the layers
// below it, zero or more times. T is the turn of the car that the request has
// taken, nil if it has taken none.
type layer func(ctx context.Context, r *request, t *turn) (attempt, error)

// newPipeline puts the layers into the order in which every request passes them
// on its way down:
//
//	observe    tells observers and the log of the operation, when its turn is settled.
//	           Without any of them it is left out.
//	retry      repeats what is safe to repeat. It is above the gate, because each
//	           repetition costs and has to be allowed.
//	gate       refuses what the policy does not allow now, takes the turn of a
//	           keyless car, books what came back and keeps the answers.
//	allowance  refuses reads of a car of whose month Smartcar has said that no call
//	           is left. It is below the gate, because the requests of its probe
//	           are met, too; the gate gives the turn back.
//	budget     counts calls, and refuses reads when the plan leaves none. It is below
//	           the gate for the same reason, and next to what is sent.
//	authorize  adds the token. It is below the gate, because a refused request
//	           must not spend a token refresh; a token that is refused is
//	           replaced and the request sent once more. Each sending is an attempt, of
//	           which observers are told.
//	classify   turns what came back into results or typed errors, so that the
//	           layers above see types and not statuses.
//	transmit   makes the HTTP request and reads the whole answer.
//
// The gate asks its probe what a car is. The requests of the probe take no turn
// and pass the same layers without the gate, but for the pause of the whole
// application.
func newPipeline(g *gate, w wire, own secrets) layer {
	seen := g.opts.emitter
	sending := g.allowances.guarding(g.budgets.guarding(authorizing(seen, classifying(g.opts, w, transmitting(g.opts, own)))))
	g.probe = newProbe(g.opts, w, observing(seen, retrying(g.opts, g.pause.pausing(sending))))
	return observing(seen, retrying(g.opts, guarding(g, sending)))
}

// retrying repeats what is safe to repeat. When the gate refuses a repetition,
// the error of the attempt before is returned and says when to come back.
func retrying(o *options, next layer) layer {
	return func(ctx context.Context, r *request, t *turn) (attempt, error) {
		ctx = r.named.Under(ctx, string(r.op))
		var before error // of the try before, which was followed by a pause of waited
		var waited time.Duration
		for try := 1; ; try++ {
			a, err := next(ctx, r, t)
			if try > 1 {
				if refused, ok := errors.AsType[*RateLimitError](err); ok && refused.Local { // nothing was repeated
					tellRefused(ctx, o.emitter, r, refused, true)
					return a, withNextAllowed(before, refused.NextAllowed)
				}
				tellRetried(ctx, o.emitter, r, try-1, waited, before)
			}
			if err == nil {
				return a, nil
			}
			wait, ok := retryDelay(o, err, try)
			if !ok {
				return a, err
			}
			before, waited = err, wait
			if ended := o.clock.Sleep(ctx, wait); ended != nil {
				return a, fmt.Errorf("%w (stopped waiting to retry: %w)", err, ended)
			}
		}
	}
}

// withNextAllowed returns a copy of err with a NextAllowed. It must be a copy: several
// callers may share the failure of one token refresh.
func withNextAllowed(err error, at time.Time) error {
	e, ok := err.(*Error) //nolint:errorlint // an error that wraps one says itself when to come back
	if !ok {
		return err
	}
	dated := *e
	dated.NextAllowed = at
	return &dated
}

// retryDelay says how long to wait after a failed attempt, and whether to try again at
// all: not if the pause would be longer than RetryPolicy.MaxDelay.
func retryDelay(o *options, err error, try int) (time.Duration, bool) {
	if try >= o.retry.MaxAttempts || !Retryable(err) {
		return 0, false
	}
	wait := min(o.retry.BaseDelay<<(try-1), o.retry.MaxDelay)
	wait = wait/2 + rand.N(wait/2+1) // jitter, so that replicas spread
	if at, ok := NextAllowed(err); ok {
		wait = max(wait, at.Sub(o.now()))
	}
	if e, ok := errors.AsType[*Error](err); ok {
		wait = max(wait, e.RetryAfter)
	}
	return wait, wait <= o.retry.MaxDelay
}

// A probe asks Smartcar what a car is and whether its key is there, where that
// takes no turn, and returns what it was told as evidence. It stores nothing.
type probe struct {
	opts *options
	wire wire
	send layer
	// keyIsFree: the API tells the status of the key without asking the car. On v3
	// the status comes with the car's data.
	keyIsFree bool
	tellers   keyTellers // the ways in which this client learns of a car's key
}

func newProbe(o *options, w wire, send layer) *probe {
	free := w.supports(&lookup(opKeyStatus)[0])
	return &probe{
		opts: o, wire: w, send: send, keyIsFree: free,
		tellers: keyTellers{endpoint: free, believed: !o.ignoreKeyEndpoint, signal: !o.ignoreKeySignal},
	}
}

// asksForKey reports whether the status of the key is looked at with a request.
func (p *probe) asksForKey() bool { return p.keyIsFree && !p.opts.ignoreKeyEndpoint }

// class asks for the attributes, and for the VIN where they leave the class open
// or are not granted, and the VIN takes no turn. Found is false if neither showed
// it: then the events say that it was asked for. An error says that this user
// cannot reach the car at all, or that a limit lets nobody ask now.
func (p *probe) class(ctx context.Context, r *request) (events []policy.Event, found bool, err error) {
	var identity VehicleIdentity
	answered, _, err := p.read(ctx, r, Attributes)
	if notReachable(err) || notAsked(err) {
		return nil, false, err
	}
	if attributes, ok := answered.value.(*AttributesReading); ok {
		identity = attributes.identity()
	}
	open := classOf(identity) == policy.ClassUnknown && (err == nil || permanent(err))
	free := p.wire.kind(&lookup(VIN)[0]) == KindMetadata
	if open && free {
		answered, _, err = p.read(ctx, r, VIN)
		if number, ok := answered.value.(*VINReading); ok {
			identity.VIN = number.VIN
		}
		if notAsked(err) {
			return nil, false, err
		}
	}
	events, found = evidenceOfIdentity(identity)
	if !found {
		events = evidenceOfClassCheck(err, !free)
	}
	return events, found, nil
}

// key asks for the status of the key. The error says why it could not be read;
// the events say so, too, unless a limit lets nobody ask now.
func (p *probe) key(ctx context.Context, r *request) ([]policy.Event, error) {
	if p.opts.ignoreKeyEndpoint {
		return []policy.Event{policy.LearnKey(policy.KeyUnavailable, policy.FromEndpoint, p.opts.now())}, nil
	}
	answered, a, err := p.read(ctx, r, opKeyStatus)
	if notAsked(err) {
		return nil, err
	}
	if err != nil {
		return evidenceOfKeyCheck(err, p.opts.now()), err
	}
	return a.redated(p.opts, evidenceOfReading(answered.value, a.began, p.tellers)), nil
}

// read asks for one operation about the car of r, with the same credentials.
func (p *probe) read(ctx context.Context, r *request, op Operation) (part, attempt, error) {
	asked := request{
		op: op, car: r.car, reads: lookup(op),
		base: r.base, auth: r.auth, user: r.user, units: r.units,
	}
	var err error
	if asked.wire, asked.kind, err = p.wire.read(asked.reads); err != nil {
		return part{}, attempt{}, err
	}
	a, err := p.send(ctx, &asked, nil)
	if err != nil {
		return part{}, a, err
	}
	answered := a.answer.parts[0]
	if answered.err != nil {
		return part{}, a, answered.err
	}
	return answered, a, nil
}

// notReachable: this user cannot reach the car at all, whatever is asked.
func notReachable(err error) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && e.Type != "" && (errors.Is(e, ErrUnauthorized) || errors.Is(e, ErrNotFound)) ||
		errors.Is(err, ErrReconnectRequired) || errors.Is(err, ErrNotConnected)
}

// virtualKeyReading is the answer of the v2.0 key endpoint.
type virtualKeyReading struct {
	Paired *bool
	Meta
}

// gatherFor is emitter.gather for what a request needs to know before it is made.
func gatherFor(ctx context.Context, seen *emitter, r *request) (context.Context, *gathered) {
	if seen == nil {
		return ctx, nil
	}
	return seen.gather(ctx, r.start(seen).About)
}

// observing is the layer of an operation.
func observing(seen *emitter, next layer) layer {
	if seen == nil {
		return next
	}
	return func(ctx context.Context, r *request, t *turn) (a attempt, err error) {
		start := r.start(seen)
		ctx, gathered := seen.gather(ctx, start.About)
		defer gathered.tell()
		s := &report{events: seen.reportOf(ctx).events, about: start.About}
		ctx = seen.start(context.WithValue(ctx, reportKey{}, s), start)
		began := seen.clock.Elapsed()
		end := OperationEnded{OperationStart: start, Outcome: OutcomeFailed, Failure: FailureOther} // if the transport panics
		defer func() {
			end.Duration, end.Attempts = seen.clock.Elapsed()-began, int(s.attempts.Load())
			seen.emit(ctx, end)
		}()
		a, err = next(ctx, r, t)
		failed := err
		if err != nil {
			tellIfRefused(ctx, seen, r, err)
		} else if a.answer != nil {
			failed = tellParts(ctx, seen, r, a.answer.parts)
			for i := range a.answer.parts {
				end.RecordedAt = later(end.RecordedAt, a.answer.parts[i].meta.RecordedAt)
			}
		}
		end.Outcome, end.Failure = outcomeFor(ctx, failed), failureOf(failed)
		return a, err
	}
}

// tellIfRefused tells of a limit and of a missing key, and returns the rule.
func tellIfRefused(ctx context.Context, seen *emitter, r *request, err error) Rule {
	if limit, ok := errors.AsType[*RateLimitError](err); ok {
		tellRefused(ctx, seen, r, limit, false)
		return limit.Rule
	}
	if key, ok := errors.AsType[*VirtualKeyRequiredError](err); ok {
		seen.emit(ctx, Refused{OperationStart: r.start(seen), Rule: RuleVirtualKey, Local: key.Local})
		return RuleVirtualKey
	}
	return RuleNone
}

// tellParts tells of refusals that stand inside an answer, by each rule once. It returns
// the first error if no part was answered.
func tellParts(ctx context.Context, seen *emitter, r *request, parts []part) error {
	var told []Rule
	var first error
	answered := len(parts) == 0
	for i := range parts {
		err := parts[i].callerErr
		if err == nil && parts[i].err != nil { // a request that passes no gate
			err = parts[i].err
		}
		if err == nil {
			answered = true
			continue
		}
		first = cmp.Or(first, err)
		if limit, ok := errors.AsType[*RateLimitError](err); ok && slices.Contains(told, limit.Rule) ||
			errors.Is(err, ErrVirtualKeyRequired) && slices.Contains(told, RuleVirtualKey) {
			continue
		}
		told = append(told, tellIfRefused(ctx, seen, r, err))
	}
	if answered {
		return nil
	}
	return first
}

// observedAttempt is an attempt that observers were told of.
type observedAttempt struct {
	start AttemptStart
	began time.Duration // by the time that has passed
}

// begin tells of an attempt that is about to be sent.
func begin(ctx context.Context, seen *emitter, r *request, takesTurn bool) (context.Context, *observedAttempt) {
	o := &observedAttempt{start: AttemptStart{
		OperationStart: r.start(seen), Number: 1, Method: r.wire.method, TakesTurn: takesTurn,
	}}
	o.start.Scheme, o.start.Server, o.start.Template = r.template()
	if s := seen.reportOf(ctx); s != nil {
		o.start.Number = int(s.attempts.Add(1))
	}
	ctx = seen.startAttempt(ctx, o.start)
	o.start.At, o.began = seen.clock.Now().UTC(), seen.clock.Elapsed()
	return ctx, o
}

// end tells of the end of an attempt.
func (o *observedAttempt) end(ctx context.Context, seen *emitter, r *request, a attempt, err error) {
	end := AttemptEnded{AttemptStart: o.start, Duration: seen.clock.Elapsed() - o.began, Failure: failureOf(err), Sent: true}
	failed, ok := errors.AsType[*Error](err)
	switch {
	case ok:
		end.StatusCode, end.Type, end.Code = failed.StatusCode, errorWord(failed.Type), errorWord(failed.Code)
		end.RequestID, end.Sent = printable(failed.RequestID, 64), failed.reach != reachedNever
	case err != nil:
		end.Sent = false
	case a.answer != nil:
		end.StatusCode, end.RequestID = a.answer.status, printable(a.answer.header.Get(headerRequestID), 64)
	}
	if end.Sent && !a.unauthorized(err) {
		end.Calls = r.calls(seen.api, seen.plan)
	}
	seen.emit(ctx, end)
}

// errorWord is a code of Smartcar's. Other servers may put a sentence in its place, which may
// say anything.
func errorWord(text string) string {
	word := func(c rune) bool {
		return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '-' || c == '.'
	}
	if len(text) > 64 || strings.ContainsFunc(text, func(c rune) bool { return !word(c) }) {
		return "other"
	}
	return text
}

// template is the scheme and the host of the request, and its path without anything that
// its maker put in.
func (r *request) template() (scheme, host, path string) {
	u, err := url.Parse(r.base)
	if err != nil {
		return "", "", ""
	}
	path = u.EscapedPath()
	if r.car.id != "" {
		path = strings.TrimSuffix(path, url.PathEscape(r.car.id)) + "{vehicle}"
	}
	words := strings.Split(strings.Trim(r.wire.path, "/"), "/")
	switch {
	case r.op == opRequest:
		words = []string{"{path}"}
	case r.alone || r.op == DeleteChargeSchedule:
		words[len(words)-1] = "{id}"
	case r.reads == nil && r.command == nil:
		for i := 1; i < len(words); i++ {
			words[i] = "{id}"
		}
	}
	return u.Scheme, u.Host, strings.TrimSuffix(path+"/"+strings.Join(words, "/"), "/")
}

// outcomeFor is how an operation has ended for its caller.
func outcomeFor(ctx context.Context, err error) Outcome {
	limit, limited := errors.AsType[*RateLimitError](err)
	key, keyless := errors.AsType[*VirtualKeyRequiredError](err)
	switch {
	case err == nil:
		return OutcomeOK
	case limited && limit.Local, keyless && key.Local, errors.Is(err, ErrTakesTurn):
		return OutcomeRefused
	case ctx.Err() != nil && contexts.IsEnd(err):
		return OutcomeLeft
	}
	return OutcomeFailed
}

// notAsked: the limit of the application, or the plan, leaves no request now, which says
// nothing of the car. The car's data would be refused for the same reason.
func notAsked(err error) bool {
	limit, ok := errors.AsType[*RateLimitError](err)
	return ok && (limit.Local || limit.Rule == RuleApplication)
}
