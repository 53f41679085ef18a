package smartcar

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/seed-498a1bc4/smartcar/internal/contexts"
	"github.com/seed-498a1bc4/smartcar/internal/losable"
	"github.com/seed-498a1bc4/smartcar/internal/policy"
	"github.com/seed-498a1bc4/smartcar/internal/randid"
	"github.com/seed-498a1bc4/smartcar/internal/records"
)

// gate applies the policy of internal/policy to every request to a vehicle:
// reserve in the store, send, settle. It never sleeps for a window.
type gate struct {
	opts    *options
	pause   *pause
	cars    *cars
	links   *keyLinks
	answers *answerCache
	probe   *probe
	// learning keeps callers who need the same car's class or key status for the
	// same user from all asking for it.
	learning records.Flights
	// turns are the requests of this process that hold a car's turn.
	turns records.Flights
}

const (
	// maxReserveLease: see reserveLease.
	maxReserveLease = 30 * time.Second
	// giveBackTime bounds a write that a caller who has left waits for.
	giveBackTime = 2 * time.Second
	// maxKnownFor: see knownFor.
	maxKnownFor = time.Minute
)

// reserveLease is how long a turn is held before its request leaves. It is short
// on purpose: if a process crashes during the token refresh that comes between,
// its turn must end early enough for two more processes to try before Smartcar
// stops honoring the old refresh token (the grace period).
func (o *options) reserveLease() time.Duration { return min(maxReserveLease, o.refreshLease()) }

// knownFor is how old a cached record may be and still justify a refusal: 1/480
// of the window (1 minute for 8 hours). After that the store is asked again.
func (o *options) knownFor() time.Duration { return min(maxKnownFor, o.rules.KeylessWindow/480) }

// guarding is the gate as a layer of the pipeline.
func (g *gate) guarding(next layer) layer {
	return func(ctx context.Context, r *request, _ *turn) (attempt, error) {
		if err := g.pause.refuse(r); err != nil {
			return attempt{}, err
		}
		if r.car.id == "" {
			a, err := next(ctx, r, nil)
			return a, g.explain(ctx, r, a, err)
		}
		ref, err := g.cars.enter(ctx, r.car)
		if err != nil {
			return attempt{}, err
		}
		var a attempt
		var known car // before the request
		switch r.kind {
		case KindData:
			a, err = g.data(ctx, r, ref, next)
		case KindCommand:
			a, err = g.command(ctx, r, ref, next)
		default:
			if r.op == opKeyStatus {
				known, _, _ = g.cars.lookUp(ctx, ref)
			}
			a, err = next(ctx, r, nil)
		}
		if err != nil {
			g.cars.leaveUnknown(ctx, ref, err)
			return a, g.explain(ctx, r, a, err)
		}
		g.learnFrom(ctx, ref, known, a)
		return a, nil
	}
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
			limit.NextAllowed = c.ours(g.cars.nextData(c).Next)
		}
		if limit.NextAllowed.IsZero() { // a command's limit is not booked
			limit.NextAllowed = g.opts.now().Add(max(e.RetryAfter, policy.BareLimitPause))
		}
		return limit
	case e.isKeyRequired():
		return &VirtualKeyRequiredError{
			Operation: e.Operation, VehicleID: ref.id, URL: g.links.forCar(ctx, ref.user, e.Resolution.URL), Err: e,
		}
	}
	return e
}

// learnFrom takes what an answer says about the car itself, whoever asked for it,
// and explains the errors of its parts. Known is the car before it was asked, as far
// as that was looked up.
func (g *gate) learnFrom(ctx context.Context, ref carRef, known car, a attempt) {
	for i := range a.answer.parts {
		p := &a.answer.parts[i]
		if p.err != nil {
			p.refused = g.explainCar(ctx, ref, p.err)
			continue
		}
		if events := evidenceOfReading(p.value, a.began); len(events) > 0 {
			_, _ = g.cars.apply(ctx, ref, car{}, knowing(known, a.onClock(g.opts, events))...)
		}
	}
}

// data sends a data request if the car's rule allows one now.
func (g *gate) data(ctx context.Context, r *request, ref carRef, next layer) (attempt, error) {
	if r.override {
		a, err := next(ctx, r, nil)
		g.settle(ctx, r, ref, car{}, nil, a)
		return a, err
	}
	c, fresh, err := g.cars.lookUp(ctx, ref)
	if err == nil && g.wants(c) {
		c, fresh, err = g.learn(ctx, r, ref, c, fresh)
	}
	nonce, ready := randid.New(), r.auth.ready()
	ask := g.opts.askData(nonce, ready)
	for err == nil {
		r.kept.classify(c.state)
		state, d := g.cars.step(c, ask)
		switch {
		case d.Verdict == policy.VerdictRefuse && (fresh || g.cars.recent(c)):
			return attempt{}, g.refuse(ctx, r, ref, c, state, d)
		case d.Verdict == policy.VerdictSend && fresh:
			a, err := next(ctx, r, nil)
			g.settle(ctx, r, ref, c, nil, a)
			return a, err
		case d.Verdict != policy.VerdictTake:
			// Another replica may have seen that the key has come, or gone.
			c, err = g.cars.load(ctx, ref)
			fresh = true
			continue
		}
		release := g.turns.Hold(ref.key)
		var taken bool
		before := c
		c, taken, err = g.cars.swap(ctx, ref, c, state)
		fresh = true
		if taken = taken || err == nil && c.state.Holds(nonce); taken && !g.cars.stillOpen(before, c) {
			// The store's clock was set back since the car was looked up.
			g.cars.giveBack(ctx, ref, nonce)
			release()
			c, err = g.cars.load(ctx, ref)
			continue
		}
		if taken {
			defer release()
			t := &turn{cars: g.cars, car: ref, op: r.op, nonce: nonce, record: c, left: ready}
			a, err := next(ctx, r, t)
			g.settle(ctx, r, ref, t.record, t, a)
			return a, err
		}
		release()
		if err != nil && ready && !g.opts.storePolicy.SendKeyless {
			g.cars.giveBack(ctx, ref, nonce)
		}
	}
	return g.withoutStore(ctx, r, ref, err, next)
}

func (g *gate) refuse(ctx context.Context, r *request, ref carRef, c car, state policy.State, d policy.Decision) error {
	if state != c.state || c.unreadable { // a clock jumped back: what it wrote must not hold for ever
		_, _, _ = g.cars.swap(ctx, ref, c, state)
	}
	rule, next := publicRules[d.Rule], c.ours(d.Next)
	if g.opts.logger.Enabled(ctx, slog.LevelInfo) {
		g.opts.logger.LogAttrs(ctx, slog.LevelInfo, "smartcar refused locally",
			slog.String("operation", string(r.op)), slog.String("vehicle", ref.id),
			slog.String("rule", string(rule)), slog.Time("next_allowed", next))
	}
	return &RateLimitError{
		Operation: r.op, VehicleID: ref.id, NextAllowed: next, Rule: rule, Local: true, InFlight: d.InFlight,
	}
}

// withoutStore decides about data while the store is away: closed for a car
// that may be without a key, open for the rest, unless the StorePolicy says
// otherwise.
func (g *gate) withoutStore(ctx context.Context, r *request, ref carRef, cause error, next layer) (attempt, error) {
	if !errors.Is(cause, ErrStore) {
		return attempt{}, cause
	}
	c, ok := g.cars.known.Get(ref.key)
	keyless := !ok || c.state.Keyless() || c.unreadable
	if keyless && g.opts.storePolicy.SendKeyless || !keyless && !g.opts.storePolicy.RefuseOthers {
		return next(ctx, r, nil)
	}
	return attempt{}, storeAway(r, cause)
}

func storeAway(r *request, cause error) error {
	return &RateLimitError{Operation: r.op, VehicleID: r.car.id, Rule: RuleStore, Local: true, Err: cause}
}

// wants reports whether something about the car has to be learned before its
// data is asked for.
func (g *gate) wants(c car) bool {
	now := c.now()
	return c.state.WantsClass(now) || c.state.WantsKey(now) && g.probe.keyIsFree()
}

// learned is the record of a car with everything in it that can be learned
// without taking a turn.
func (g *gate) learned(ctx context.Context, r *request) (car, error) {
	c, err := g.cars.load(ctx, r.car)
	if err == nil && g.wants(c) {
		c, _, err = g.learn(ctx, r, r.car, c, true)
	}
	return c, err
}

// learn finds out what the policy needs to know about a car: its class, once,
// and the status of its key, with a back-off. Both are metadata, which cost a
// keyless car no turn. R is any request for the car, whose credentials are used.
//
// It fails only where asking for data would fail alike: the car is not this
// user's, or the connection has ended.
func (g *gate) learn(ctx context.Context, r *request, ref carRef, c car, fresh bool) (car, bool, error) {
	var err error
	if !fresh { // another replica may know; and what is learned must be stored
		if c, err = g.cars.load(ctx, ref); err != nil || !g.wants(c) {
			return c, true, err
		}
	}
	// The key of the flight is of one user: what another one is refused is not
	// their failure.
	err = g.learning.Do(ctx, ref.user+"\x00"+ref.key, func() error { return g.learnNow(ctx, r, ref) })
	if err != nil {
		return c, fresh, err
	}
	c, err = g.cars.load(ctx, ref)
	return c, true, err
}

func (g *gate) learnNow(ctx context.Context, r *request, ref carRef) error {
	ref, err := g.cars.enter(ctx, ref)
	if err != nil {
		return err
	}
	// Another caller may have learned it while this one waited to ask.
	c, err := g.cars.load(ctx, ref)
	if err != nil {
		return err
	}
	if c.state.WantsClass(c.now()) {
		if c, err = g.learnClass(ctx, r, ref); err != nil {
			return err
		}
	}
	if c.state.WantsKey(c.now()) && g.probe.keyIsFree() {
		_ = g.learnKey(ctx, r, ref) // stored as evidence, too
	}
	return nil
}

func (g *gate) learnClass(ctx context.Context, r *request, ref carRef) (car, error) {
	events, told, err := g.probe.class(ctx, r)
	if err != nil {
		g.cars.leaveUnknown(ctx, ref, err)
		return car{}, err
	}
	c, err := g.cars.load(ctx, ref)
	// That nothing told it counts only if nobody else was told meanwhile.
	if err == nil && (told || c.state.WantsClass(c.now())) {
		c, err = g.cars.apply(ctx, ref, c, events...)
	}
	if err != nil {
		return car{clock: g.opts.clock}, nil //nolint:nilerr // what could not be stored is learned again
	}
	return c, nil
}

// askKey is learnKey once for all callers of this process who want it now.
func (g *gate) askKey(ctx context.Context, r *request) error {
	return g.learning.Do(ctx, "wait/"+r.car.user+"\x00"+r.car.key, func() error { return g.learnKey(ctx, r, r.car) })
}

// learnKey reads the status of the key and stores what it says. The error is
// stored, too, and not needed by those who only want to know.
func (g *gate) learnKey(ctx context.Context, r *request, ref carRef) error {
	c, _, _ := g.cars.lookUp(ctx, ref)
	events, err := g.probe.key(ctx, r)
	_, _ = g.cars.apply(ctx, ref, car{}, knowing(c, events)...)
	return err
}

// knowing notes that a request which has brought evidence began when c was known.
func knowing(c car, events []policy.Event) []policy.Event {
	if c.loaded() {
		for i := range events {
			events[i] = events[i].Knowing(c.state.KeyAt(), c.now())
		}
	}
	return events
}

// settle books what a data request cost, with the evidence it brought, and keeps
// its answers. C is the car as it was known when the request left; t is nil for a
// request that held no turn.
func (g *gate) settle(ctx context.Context, r *request, ref carRef, c car, t *turn, a attempt) {
	if c, ok := g.worthBooking(ctx, ref, c, t, a); ok {
		g.book(ctx, r, ref, c, t, a)
	}
	switch {
	case a.answer == nil || r.kept == nil || r.query != nil || r.alone: // nothing, or for this request alone
	case ref.entered && !g.cars.stillEntered(ctx, ref): // forgotten meanwhile
	default:
		for i := range a.answer.parts {
			a.answer.parts[i].came = a.left + a.answer.at.Sub(a.began)
		}
		g.answers.keep(ctx, r.answerRef(), a.left, a.answer.parts)
	}
}

// worthBooking reports whether the store has to know of a request. A plain
// success of a car without a local limit would only cost the store work. The car
// that it returns is as new as was needed to tell.
func (g *gate) worthBooking(ctx context.Context, ref carRef, c car, t *turn, a attempt) (car, bool) {
	plain := (a.outcome == policy.OutcomeOK || a.outcome == policy.OutcomeReleased) && a.failure == nil
	if t != nil || !plain || !c.loaded() || c.state.Class() == policy.ClassLegacy {
		return c, true
	}
	var events [4]policy.Event // on the stack: nearly every read passes here
	if c.state.OutdatedBy(evidenceOfData(events[:0], a, 0, 0, g.probe.tellers())...) {
		return c, true
	}
	if c.state.Class() != policy.ClassStreaming || a.outcome == policy.OutcomeReleased {
		return c, false
	}
	// The key may have gone while the request was under way.
	c, err := g.cars.loadAnyway(ctx, ref)
	return c, err == nil && c.state.Keyless()
}

// book stores what a request cost. A failure to write is harmless: the lease then
// ends by itself and the turn counts as used.
func (g *gate) book(ctx context.Context, r *request, ref carRef, c car, t *turn, a attempt) {
	ctx, cancel := contexts.Detached(ctx)
	defer cancel()
	nonce := uint64(0)
	if t != nil { // the turn stands in the store as sent
		nonce, ctx = t.nonce, losable.Mark(ctx)
	}
	events := make([]policy.Event, 0, 4)
	events = evidenceOfData(events, a, nonce, g.opts.lease(), g.probe.tellers())
	c, err := g.cars.apply(ctx, ref, c, knowing(c, a.onClock(g.opts, events))...)
	if err == nil {
		r.kept.classify(c.state)
	} else if !errors.Is(err, ErrNotConnected) { // else the user was forgotten meanwhile
		g.opts.logger.LogAttrs(ctx, slog.LevelWarn, "smartcar could not settle a vehicle's turn", slog.String("vehicle", ref.id))
	}
}

// command sends a command unless there is fresh evidence that it needs the key.
func (g *gate) command(ctx context.Context, r *request, ref carRef, next layer) (attempt, error) {
	if !r.override {
		if err := g.allowCommand(ctx, r, ref); err != nil {
			return attempt{}, err
		}
	}
	a, err := next(ctx, r, nil)
	if err == nil || MayHaveSucceeded(err) {
		g.answers.discard(ctx, ref.id, g.opts.now())
	}
	events := a.onClock(g.opts, evidenceOfCommand(r.command != nil, a, err))
	if len(events) == 0 {
		return a, err
	}
	detached, cancel := contexts.Detached(ctx)
	defer cancel()
	c, _, lookErr := g.cars.lookUp(detached, ref)
	if lookErr == nil && (err != nil || c.state.Class() == policy.ClassStreaming && c.state.Key() != policy.KeyInstalled) {
		_, _ = g.cars.apply(detached, ref, c, events...)
	}
	return a, err
}

func (g *gate) allowCommand(ctx context.Context, r *request, ref carRef) error {
	c, fresh, err := g.cars.lookUp(ctx, ref)
	verdict := func() policy.Verdict {
		_, d := g.cars.step(c, policy.AskCommand())
		return d.Verdict
	}
	if strict := g.opts.storePolicy.RefuseOthers; err == nil && !fresh && (strict || verdict() != policy.VerdictSend) {
		var latest car
		if latest, err = g.cars.load(ctx, ref); err == nil {
			c = latest // another replica may have seen the key
		} else if !strict {
			err = nil // what is known here has to do
		}
	}
	if err == nil && verdict() == policy.VerdictRecheck && g.probe.keyIsFree() {
		_ = g.learnKey(ctx, r, ref)
		c, err = g.cars.load(ctx, ref)
	}
	switch {
	case errors.Is(err, ErrStore) && g.opts.storePolicy.RefuseOthers:
		return storeAway(r, err)
	case errors.Is(err, ErrStore):
		return nil // open: the server decides
	case err != nil:
		return err
	case verdict() != policy.VerdictKey:
		return nil
	}
	return &VirtualKeyRequiredError{
		Operation: r.op, VehicleID: ref.id, Local: true, URL: g.links.forCar(ctx, ref.user, ""),
	}
}
