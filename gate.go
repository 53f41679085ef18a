package smartcar

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/seed-498a1bc4/smartcar/internal/contexts"
	"github.com/seed-498a1bc4/smartcar/internal/losable"
	"github.com/seed-498a1bc4/smartcar/internal/policy"
	"github.com/seed-498a1bc4/smartcar/internal/records"
	"github.com/seed-498a1bc4/smartcar/internal/underway"
)

// gate applies the policy of internal/policy to every request to a vehicle: it
// reserves a turn in the store, sends the request, and settles the turn. It never
// waits for a window to end.
type gate struct {
	opts    *options
	pause   *pause
	cars    *cars
	links   *keyLinks
	answers *answerCache
	probe   *probe
	// allowances know the cars whose month is used up.
	allowances *allowances
	budgets    *budgets // nil if calls are not counted
	// How long a turn is held: before its request leaves, see reserveLease, and
	// from then on.
	reserve, lease time.Duration
	unseen         time.Duration // see policy.Rules.Unseen
	// learning lets one caller ask for the class of a car, or for its key, in place of
	// all who need it for the same user.
	learning records.Flights
	underway *underway.Set[shared]
}

const (
	maxReserveLease = 30 * time.Second // see reserveLease
	// giveBackTime bounds the write of giveBack, for which the caller waits.
	giveBackTime   = 2 * time.Second
	maxRecordTrust = time.Minute // see recordTrust
)

// reserveLease is how long a turn is reserved before its request leaves, while the
// token may be refreshed. It is short on purpose: if a process crashes during the
// refresh, its turn must end early enough for two more processes to try before
// Smartcar stops honoring the old refresh token (the grace period).
func (o *options) reserveLease() time.Duration { return min(maxReserveLease, o.refreshLease()) }

// recordTrust is how old a cached record may be and still justify a refusal: 1/480
// of the window (1 minute for 8 hours). After that the store is asked again.
func (o *options) recordTrust() time.Duration { return min(maxRecordTrust, o.rules.KeylessWindow/480) }

// guarding is the gate as a layer of the pipeline.
func guarding(g *gate, next layer) layer {
	return func(ctx context.Context, r *request, _ *turn) (attempt, error) {
		if g.pause.until.Load() != 0 {
			if err := g.pause.refuse(r); err != nil {
				return attempt{}, err
			}
		}
		if g.allowances.any.Load() {
			if err := g.allowances.refuse(r); err != nil {
				return attempt{}, err
			}
		}
		if g.budgets != nil {
			if err := g.budgets.refuse(r); err != nil {
				return attempt{}, err
			}
		}
		if r.car.id == "" {
			a, err := next(ctx, r, nil)
			return a, g.explain(ctx, r, a, err)
		}
		var a attempt
		var err error
		if g.opts.api == V3 {
			// A user who is forgotten before the next try is not registered again.
			if r.car, err = g.cars.expected(ctx, r); err != nil {
				return attempt{}, err
			}
		}
		if user := g.cars.users.Known(r.car.user); user != nil {
			r.connect = user.Connect
		}
		ref := r.car
		switch r.kind {
		case KindData:
			return askForData(ctx, g, r, ref, next)
		case KindCommand:
			a, err = g.command(ctx, r, ref, next)
		default:
			var before car
			if r.op == opKeyStatus {
				before, _, _ = g.cars.lookUp(ctx, ref)
			}
			a, err = next(ctx, r, nil)
			return g.conclude(ctx, r, ref, &before, a, err)
		}
		return g.conclude(ctx, r, ref, nil, a, err)
	}
}

// conclude learns from the end of a request about a car, and explains its errors.
// Before is the car as it was when a request for the status of its key left. An empty
// car, like nil, means that it was not looked up.
func (g *gate) conclude(ctx context.Context, r *request, ref carRef, before *car, a attempt, err error) (attempt, error) {
	if err != nil {
		g.cars.unregisterUnknown(ctx, ref, err)
		return a, g.explain(ctx, r, a, err)
	}
	for i := range a.answer.parts {
		switch p := &a.answer.parts[i]; {
		case p.err != nil:
			p.callerErr = g.explainCar(ctx, ref, p.err)
		case p.op.kind == KindMetadata:
			g.learnFrom(ctx, ref, before, a, p.value)
		}
	}
	return a, nil
}

// explain gives limits and missing keys the types that say what to do.
func (g *gate) explain(ctx context.Context, r *request, a attempt, err error) error {
	e, ok := errors.AsType[*Error](err)
	switch {
	case !ok || a.failure != e:
		return err
	case e.isApplicationLimit():
		return g.pause.begin(r.op, e)
	case r.car.id == "":
		return err
	}
	return g.explainCar(ctx, r.car, e)
}

// explainCar is explain for one vehicle, or one item of a batch.
func (g *gate) explainCar(ctx context.Context, ref carRef, e *Error) error {
	switch {
	case e.isApplicationLimit():
		return g.pause.begin(e.Operation, e)
	case e.isVehicleLimit():
		limit := &RateLimitError{Operation: e.Operation, VehicleID: ref.id, Rule: RuleServer, Err: e}
		if c, _, err := g.cars.lookUp(ctx, ref); err == nil {
			limit.NextAllowed = c.ours(g.cars.nextData(&c).Next)
		}
		if limit.NextAllowed.IsZero() { // a command's limit is not booked
			limit.NextAllowed = g.opts.now().Add(max(e.RetryAfter, policy.BareLimitPause))
		}
		return limit
	case e.isRequestLimit() && !e.command:
		return &RateLimitError{Operation: e.Operation, VehicleID: ref.id, Rule: RuleBudget, NextAllowed: g.allowances.next(ref.id), Err: e}
	case e.isKeyRequired():
		return &VirtualKeyRequiredError{
			Operation: e.Operation, VehicleID: ref.id, URL: g.links.forCar(ctx, ref.user, e.Resolution.URL), Err: e,
		}
	}
	return e
}

// learnFrom stores what an answer shows of the car's class and key, whoever asked
// for it.
func (g *gate) learnFrom(ctx context.Context, ref carRef, before *car, a attempt, value reading) {
	events := a.redated(g.opts, evidenceOfReading(value, a.began, g.probe.tellers))
	if before != nil {
		events = knowing(before, events)
	}
	if len(events) > 0 {
		_, _ = g.cars.apply(ctx, ref, nil, events...)
	}
}

// refuse returns the error for a data request that the policy does not allow now.
func (g *gate) refuse(ctx context.Context, r *request, ref carRef, c *car, state *policy.State, d policy.Decision) error {
	// Step has noted how far the present clock is behind the record. If that were not
	// stored, the wait would start anew at each call.
	if *state != c.state || c.unreadable {
		_, _, _ = g.cars.swap(ctx, ref, c, state)
	}
	ahead := g.opts.now().Sub(c.now()) // of our wall clock
	r.refusal = RateLimitError{
		Operation: r.op, VehicleID: ref.id, NextAllowed: d.Next.Add(ahead), Rule: publicRules[d.Rule], Local: true, InFlight: d.InFlight,
	}
	if asked := c.state.LastAsked(); !asked.IsZero() {
		r.refusal.lastAsked = asked.Add(ahead)
	}
	return &r.refusal
}

// withoutStore decides about a data request while the store is away. If the car may
// be without its key, the request is refused; otherwise it is sent. The StorePolicy
// can say otherwise.
func (g *gate) withoutStore(ctx context.Context, r *request, ref carRef, cause error, next layer) (attempt, error) {
	if !errors.Is(cause, ErrStore) {
		return attempt{}, cause
	}
	c, _ := g.cars.cached.Get(ref.key)
	keyless := c.state.Keyless() // so is a car of which nothing is known, or whose record cannot be read
	if keyless && g.opts.storePolicy.SendKeyless || !keyless && !g.opts.storePolicy.RefuseOthers {
		return next(ctx, r, nil)
	}
	return attempt{}, storeAway(r, cause)
}

func storeAway(r *request, cause error) error {
	return &RateLimitError{Operation: r.op, VehicleID: r.car.id, Rule: RuleStore, Local: true, Err: cause}
}

// wants reports whether the class of the car, or its key, must be learned before
// its data is asked for.
func (g *gate) wants(c *car) bool { return c.state.Unlearned(c.now(), g.probe.keyIsFree) }

// learned loads the record of a car, after learning what can be learned without
// taking a turn. If a limit prevents asking, it returns the record as loaded together
// with the [*RateLimitError].
func (g *gate) learned(ctx context.Context, r *request) (car, error) {
	c, err := g.cars.load(ctx, r.car)
	if err == nil && g.wants(&c) {
		c, _, err = g.learn(ctx, r, r.car, &c, true, nil)
	}
	return c, err
}

// learn has the probe ask for what the policy needs to know about a car: its class,
// once, and the status of its key, with a back-off. Both are metadata, which cost a
// keyless car no turn. R is any request for the car; its credentials are used.
//
// It returns an error only if asking for data would fail for the same reason: the
// car is not this user's, the connection has ended, or a limit leaves no request.
//
// With a wish, the write of what the status of the key shows also takes the turn. The bool
// reports whether the car was loaded from the store by this call, or is newer than it.
func (g *gate) learn(ctx context.Context, r *request, ref carRef, from *car, fresh bool, w *wish) (c car, loaded bool, err error) {
	ctx, gathered := gatherFor(ctx, g.opts.emitter, r)
	defer gathered.tell()
	began := g.cars.records.Number()
	if c = *from; !fresh { // another replica may have learned it
		if c, err = g.cars.load(ctx, ref); err != nil || !g.wants(&c) {
			return c, true, err
		}
	}
	// Only callers for the same user wait for each other: if one user may not ask,
	// another may.
	err = g.learning.Do(ctx, ref.user+"\x00"+ref.key, func() error { return g.learnNow(ctx, r, ref, w) })
	if err != nil {
		return c, fresh, asErrorOf(r.op, err)
	}
	c, err = g.cars.after(ctx, ref, began)
	return c, true, err
}

// asErrorOf returns the error of a request of the probe as that of the operation
// which the caller has asked for. It is a copy: several callers may share the error.
func asErrorOf(op Operation, err error) error {
	e, ok := err.(*Error) //nolint:errorlint // an error that wraps one names its own operation
	if !ok {
		return err
	}
	named := *e
	named.Operation = op
	return &named
}

// A wish is a turn that is to be taken with what is learned of a key.
type wish struct {
	nonce  uint64
	flight *flight // announced when the turn is asked for
	asked  bool
	before car // as it was then
}

func (g *gate) learnNow(ctx context.Context, r *request, ref carRef, w *wish) error {
	ref, err := g.cars.register(ctx, ref)
	if err != nil {
		return err
	}
	// The caller before this one may have learned it. What is cached is from then, or from
	// when this caller loaded it.
	c, _, err := g.cars.lookUp(ctx, ref)
	if err != nil {
		return err
	}
	if c.state.WantsClass(c.now()) {
		if c, err = g.learnClass(ctx, r, ref); err != nil {
			return err
		}
	}
	if c.state.WantsKey(c.now()) && g.probe.keyIsFree {
		if err = g.learnKey(ctx, r, ref, w); notAsked(err) { // other errors are stored as evidence
			return err
		}
	}
	return nil
}

func (g *gate) learnClass(ctx context.Context, r *request, ref carRef) (car, error) {
	events, found, err := g.probe.class(ctx, r)
	if err != nil {
		g.cars.unregisterUnknown(ctx, ref, err)
		return car{}, err
	}
	c, err := g.cars.load(ctx, ref)
	// "Asked, and it cannot be told" must not replace a class that somebody else has
	// learned meanwhile.
	if err == nil && (found || c.state.WantsClass(c.now())) {
		c, err = g.cars.apply(ctx, ref, &c, events...)
	}
	if err != nil {
		return car{clock: g.opts.clock}, nil //nolint:nilerr // what could not be stored will be learned again
	}
	return c, nil
}

// askKey is learnKey, done once for all callers of this process who ask at the same
// time.
func (g *gate) askKey(ctx context.Context, r *request) error {
	ctx, gathered := gatherFor(ctx, g.opts.emitter, r)
	defer gathered.tell()
	return g.learning.Do(ctx, "wait/"+r.car.user+"\x00"+r.car.key, func() error { return g.learnKey(ctx, r, r.car, nil) })
}

// learnKey reads the status of the key and stores what it shows. A failure is
// stored, too, as a back-off: callers who only want the record may ignore the error.
func (g *gate) learnKey(ctx context.Context, r *request, ref carRef, w *wish) error {
	before, _, _ := g.cars.lookUp(ctx, ref)
	events, err := g.probe.key(ctx, r)
	events = knowing(&before, events)
	if w != nil && err == nil && r.auth.ready() {
		if w.before, _, err = g.cars.lookUp(ctx, ref); err != nil {
			return err
		}
		g.underway.Announce(w.flight, false)
		w.asked, events = true, append(events, policy.AskDataAndLeave(w.nonce, g.lease))
	}
	if len(events) > 0 {
		_, _ = g.cars.apply(ctx, ref, nil, events...)
	}
	return err
}

// settle ends a data request: it books what the request cost, applies the evidence
// in the answer, and keeps the answer. C is the record by which the request was
// allowed; t is nil if it has taken no turn.
func (g *gate) settle(ctx context.Context, r *request, ref carRef, c *car, t *turn, a attempt) {
	// A plain success of a car without a local limit changes nothing that the policy
	// goes by, and is not booked.
	plain := (a.outcome == policy.OutcomeOK || a.outcome == policy.OutcomeReleased) && a.failure == nil
	booked := t != nil || !plain || r.override || c.answered.IsZero() || c.state.Class() == policy.ClassLegacy
	if !booked {
		var events [4]policy.Event // on the stack: nearly every read passes here
		shown := evidenceOfData(events[:0], a, 0, 0, g.probe.tellers)
		if len(shown) > 1 { // the end of the request alone has no date
			shown = knowing(c, a.redated(g.opts, shown))
		}
		booked = c.state.WorthStoring(c.now(), g.cars.rules, shown...)
	}
	if !booked && c.state.Class() == policy.ClassStreaming && a.outcome == policy.OutcomeOK && g.opts.clock.Elapsed() >= c.asOf+g.unseen {
		// The key may have been removed since the record was loaded.
		latest, err := g.cars.load(ctx, ref)
		if err != nil && ctx.Err() != nil {
			latest, err = g.cars.loadDetached(ctx, ref)
		}
		c, booked = &latest, err == nil && latest.state.Keyless()
	}
	if booked {
		latest := g.book(ctx, r, ref, c, t, a)
		c = &latest
	}
	switch {
	case a.answer == nil || r.kept == nil || r.query != nil || r.alone: // no answer, or none that another request wants
	case (ref.registered || ref.vouched) && !(booked && g.cars.vouched(ref, c)) && !g.cars.stillRegistered(ctx, ref): // forgotten meanwhile
	default:
		parts := a.answer.parts
		if len(parts) != 1 || a.answer.list != nil {
			parts = g.probe.wire.brought(a.answer)
		}
		to := answerRef{kept: r.kept, car: r.car, scope: r.scope, units: r.keptIn, connect: r.connect}
		g.answers.keep(ctx, to, a.left, a.back, parts)
	}
}

// book stores what a data request cost, and returns the record. If the write fails, the
// lease ends by itself, and the turn counts as used.
func (g *gate) book(ctx context.Context, r *request, ref carRef, from *car, t *turn, a attempt) car {
	ctx, cancel := contexts.Detached(ctx)
	defer cancel()
	nonce := uint64(0)
	if t != nil { // if this write is lost, the store still has the turn as sent
		nonce, ctx = t.nonce, losable.Mark(ctx)
	}
	events := make([]policy.Event, 0, 4)
	events = evidenceOfData(events, a, nonce, g.lease, g.probe.tellers)
	if from != nil && from.loaded() && g.opts.now().Sub(from.now()) > clockGrain {
		for i := range events { // the car has dated the key's signal, and by our clock that looks too old
			events[i] = events[i].ClosesFrom(a.began)
		}
	}
	c, err := g.cars.apply(ctx, ref, from, knowing(from, a.redated(g.opts, events))...)
	if err == nil {
		r.kept.setClass(&c.state)
	} else if !errors.Is(err, ErrNotConnected) { // which means that the user was forgotten meanwhile
		g.opts.logger.LogAttrs(ctx, slog.LevelWarn, "smartcar could not store what a data request of a vehicle cost", slog.String("vehicle", ref.id))
	}
	return c
}
