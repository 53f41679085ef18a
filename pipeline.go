package smartcar

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed-498a1bc4/smartcar/internal/lru"
	"github.com/seed-498a1bc4/smartcar/internal/policy"
)

// A request is one HTTP request as its maker describes it. The layers of the
// pipeline read it and return what they find as an attempt. They change nothing in it
// but carRef.registered, which the gate sets for all tries of the request, and refusal.
type request struct {
	op      Operation
	kind    Kind
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
	maxBody int             // the largest answer that is read; 0 means maxBody
	units   UnitSystem

	kept     *vehicleKept // where the answers are kept; nil keeps none
	keptIn   UnitSystem   // see wire.keptIn
	alone    bool         // the answer is for this request alone, and is not kept
	scope    string       // whose answers these are: the user's
	override bool         // the caller asked to ignore the policy

	connect     uint64 // the user's last run of Connect when the request was made; see answerRef
	withoutTurn bool   // the caller does not want the car to be asked

	refusal RateLimitError // of the gate; it stands here to save an allocation
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
//	           replaced and the request sent once more.
//	classify   turns what came back into results or typed errors, so that the
//	           layers above see types and not statuses.
//	transmit   makes the HTTP request and reads the whole answer.
//
// The gate asks its probe what a car is. The requests of the probe take no turn
// and pass the same layers without the gate, but for the pause of the whole
// application.
func newPipeline(g *gate, w wire, own secrets) layer {
	sending := g.allowances.guarding(g.budgets.guarding(authorizing(classifying(g.opts, w, transmitting(g.opts, own)))))
	g.probe = newProbe(g.opts, w, retrying(g.opts, g.pause.pausing(sending)))
	return retrying(g.opts, g.guarding(sending))
}

// retrying repeats what is safe to repeat. When the gate refuses a repetition,
// the error of the attempt before is returned and says when to come back.
func retrying(o *options, next layer) layer {
	return func(ctx context.Context, r *request, t *turn) (attempt, error) {
		var first error
		for try := 1; ; try++ {
			a, err := next(ctx, r, t)
			if err == nil {
				return a, nil
			}
			if refused, ok := errors.AsType[*RateLimitError](err); ok && refused.Local && first != nil {
				return a, withNextAllowed(first, refused.NextAllowed)
			}
			wait, ok := retryDelay(o, err, try)
			if !ok {
				return a, err
			}
			first = err
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

// bareApplicationPause answers an application-wide 429 that names no time: the
// documented bucket refills one request each 30 s.
const bareApplicationPause = 30 * time.Second

// A pause is the application-wide limit, from Smartcar's 429 until it ends. Everything
// of a client that sends requests shares one.
type pause struct {
	opts  *options
	until atomic.Int64 // when the limit opens again, by the time that has passed; 0 if there was none
}

// end is when the limit ends, by the present wall clock; zero if there is none. The
// limit lasts for a length of time, whatever the wall clock does meanwhile.
func (p *pause) end() time.Time {
	if rest := time.Duration(p.until.Load()) - p.opts.clock.Elapsed(); rest > 0 {
		return p.opts.now().Add(rest)
	}
	return time.Time{}
}

// begin starts the pause after an application-wide 429. If the 429 has no type, it may
// be a proxy's, so the pause lasts for a minute at most.
func (p *pause) begin(op Operation, e *Error) error {
	wait := e.RetryAfter
	if wait == 0 {
		wait = bareApplicationPause
	}
	if e.Type == "" {
		wait = min(wait, policy.BareLimitPause)
	}
	p.until.Store(int64(p.opts.clock.Elapsed() + wait))
	return &RateLimitError{Operation: op, NextAllowed: p.opts.now().Add(wait), Rule: RuleApplication, Err: e}
}

// refuse returns an error for a request that the limit does not allow now.
func (p *pause) refuse(r *request) error {
	if p.until.Load() == 0 || r.override {
		return nil
	}
	end := p.end()
	if end.IsZero() {
		return nil
	}
	return &RateLimitError{Operation: r.op, NextAllowed: end, Rule: RuleApplication, Local: true}
}

// pausing is the application-wide limit as a layer of its own, for requests that
// pass no gate.
func (p *pause) pausing(next layer) layer {
	return func(ctx context.Context, r *request, t *turn) (attempt, error) {
		if err := p.refuse(r); err != nil {
			return attempt{}, err
		}
		a, err := next(ctx, r, t)
		if e := a.failure; err != nil && e != nil && e.isApplicationLimit() {
			err = p.begin(r.op, e)
		}
		return a, err
	}
}

// allowances remember of which cars Smartcar has said that no call of their month is
// left (430, VEHICLE_REQUEST_LIMIT): asking again does not bring it back. It is known
// to this process alone; another one learns it from a request of its own. Commands are
// never refused for it.
type allowances struct {
	opts *options
	mu   sync.Mutex // makes a look and the change that follows one step
	cars *lru.Cache[string, spentCar]
	any  atomic.Bool // there is a car, or was one: else nothing needs to be looked up
}

type spentCar struct {
	policy.Spent
	said *Error // Smartcar's own words
}

func newAllowances(o *options) *allowances {
	return &allowances{opts: o, cars: lru.New[string, spentCar](max(o.cacheSize, leastUserCars))}
}

// isRequestLimit: the plan's calls of the month for this car are used up.
func (e *Error) isRequestLimit() bool {
	return e.Type == typeBilling && e.Code == "VEHICLE_REQUEST_LIMIT"
}

// isRefusable reports whether a request is a read that can wait for another month.
func (r *request) isRefusable() bool {
	return r.car.id != "" && !r.override && (r.kind == KindData || r.kind == KindMetadata && r.reads != nil)
}

// refuse returns an error for a read of a car whose month is used up.
func (l *allowances) refuse(r *request) error {
	if !r.isRefusable() {
		return nil
	}
	spent, ok := l.cars.Get(r.car.id)
	if !ok {
		return nil
	}
	next := spent.Next(l.opts.now(), r.kind == KindMetadata)
	if next.IsZero() {
		return nil
	}
	return &RateLimitError{Operation: r.op, VehicleID: r.car.id, NextAllowed: next, Rule: RuleBudget, Local: true, Err: spent.said}
}

// next is when data of a car may be read again as far as its month is concerned.
func (l *allowances) next(vehicleID string) time.Time {
	spent, ok := l.cars.Get(vehicleID)
	if !ok {
		return time.Time{}
	}
	return spent.Next(l.opts.now(), false)
}

func (l *allowances) forget(vehicleID string) { l.cars.Delete(vehicleID) }

func (l *allowances) forgetAll() {
	for _, id := range l.cars.Keys() {
		l.forget(id)
	}
}

// guarding is the layer right above those that send: it meets the requests that pass
// the gate and those of the probe.
func (l *allowances) guarding(next layer) layer {
	return func(ctx context.Context, r *request, t *turn) (attempt, error) {
		if r.car.id == "" {
			return next(ctx, r, t)
		}
		if l.any.Load() {
			if err := l.leave(r); err != nil {
				return attempt{outcome: policy.OutcomeReleased}, err
			}
		}
		a, err := next(ctx, r, t)
		failed := err != nil || a.failure != nil || slices.ContainsFunc(a.answer.parts, func(p part) bool { return p.err != nil })
		if failed || l.any.Load() {
			l.settle(r, a, err)
		}
		return a, err
	}
}

// leave lets one of several reads find out whether there are calls again.
func (l *allowances) leave(r *request) error {
	if _, ok := l.cars.Get(r.car.id); !ok || !r.isRefusable() {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.refuse(r); err != nil {
		return err
	}
	if spent, ok := l.cars.Get(r.car.id); ok && spent.Covers(r.kind == KindMetadata) {
		spent.Spent = spent.Probe(l.opts.now())
		l.cars.Put(r.car.id, spent)
	}
	return nil
}

// settle takes what came back.
func (l *allowances) settle(r *request, a attempt, err error) {
	said := requestLimitIn(a)
	metadata := r.kind == KindMetadata
	if _, ok := l.cars.Get(r.car.id); !ok && said == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	spent, _ := l.cars.Get(r.car.id)
	switch {
	case said != nil:
		spent = spentCar{spent.Refuse(l.opts.now(), metadata, rand.N(24*time.Hour)), said}
	case err == nil:
		spent.Spent = spent.Allow(l.opts.now(), metadata)
	}
	if spent.Known() {
		l.any.Store(true)
		l.cars.Put(r.car.id, spent)
	} else {
		l.cars.Delete(r.car.id)
	}
}

// requestLimitIn finds the refusal of a request, or of an item of a batch.
func requestLimitIn(a attempt) *Error {
	if a.failure != nil && a.failure.isRequestLimit() {
		return a.failure
	}
	if a.answer == nil {
		return nil
	}
	for i := range a.answer.parts {
		if e := a.answer.parts[i].err; e != nil && e.isRequestLimit() {
			return e
		}
	}
	return nil
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

// notAsked: the limit of the application, or the plan, leaves no request now, which says
// nothing of the car. The car's data would be refused for the same reason.
func notAsked(err error) bool {
	limit, ok := errors.AsType[*RateLimitError](err)
	return ok && (limit.Local || limit.Rule == RuleApplication)
}
