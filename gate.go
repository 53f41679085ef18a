package smartcar

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/seed-498a1bc4/smartcar/internal/contexts"
	"github.com/seed-498a1bc4/smartcar/internal/losable"
	"github.com/seed-498a1bc4/smartcar/internal/lru"
	"github.com/seed-498a1bc4/smartcar/internal/policy"
	"github.com/seed-498a1bc4/smartcar/internal/randid"
	"github.com/seed-498a1bc4/smartcar/internal/records"
	"github.com/seed-498a1bc4/smartcar/store"
)

// gate applies the policy of internal/policy to every request to a vehicle:
// reserve in the store, send, settle. It never sleeps for a window.
type gate struct {
	*core
	records records.Records
	// learning keeps callers who need the same car's class or key status for the
	// same user from all asking for it.
	learning records.Flights
	// turns are the requests of this process that hold a car's turn.
	turns records.Flights
	// known remembers the records of cars in a shared store: a refusal that
	// follows from them needs no round trip, and when the store is away they
	// tell which cars are open. It is nil for a store.Memory.
	known *lru.Cache[string, car]
}

const (
	// maxReserveLease: see reserveLease.
	maxReserveLease = 30 * time.Second
	// giveBackTime is less than contexts.DetachedTime: the caller may have left, and waits for it.
	giveBackTime = 2 * time.Second
	// carRecordTTL forgets cars nobody asks for. What it loses is learned again.
	carRecordTTL = 90 * 24 * time.Hour
	// maxKnownFor: see knownFor.
	maxKnownFor = time.Minute
	// bareApplicationPause answers an application-wide 429 that names no time:
	// the documented bucket refills one request each 30 s.
	bareApplicationPause = 30 * time.Second
)

// reserveLease is how long a turn is held while nothing can be on the wire. A
// token may be refreshed meanwhile: when the process dies of it, and the next
// one too, the third must still have its turn while the used refresh token is
// honored.
func (o *options) reserveLease() time.Duration { return min(maxReserveLease, o.refreshLease()) }

// knownFor bounds how long this replica refuses by what it knows before it
// looks whether another one has learned better: a minute of 8 hours.
func (o *options) knownFor() time.Duration { return min(maxKnownFor, o.rules.KeylessWindow/480) }

func newGate(c *core) *gate {
	g := &gate{core: c, records: records.New(c.opts.store, c.opts.clock)}
	if _, ok := c.opts.store.(*store.Memory); !ok {
		g.known = lru.New[string, car](c.opts.cacheSize)
	}
	return g
}

// guarding is the gate as a layer of the chain.
func (g *gate) guarding(next layer) layer {
	return func(ctx context.Context, call *call) (*answer, error) {
		if err := g.paused(call); err != nil {
			return nil, err
		}
		if err := g.note(ctx, call); err != nil {
			return nil, err
		}
		a, err := g.pass(ctx, call, next)
		if err != nil {
			g.unnote(ctx, call, err)
			return nil, g.explain(ctx, call, err)
		}
		g.learnFrom(ctx, call, a)
		return a, nil
	}
}

// note stores whom a request of API v3 is for before it is sent: who is not
// stored any more when it comes back was forgotten meanwhile.
func (g *gate) note(ctx context.Context, call *call) error {
	v := call.vehicle
	if g.opts.api != V3 || v == nil || v.noted {
		return nil
	}
	if !g.tokens.noteCar(ctx, v.userID, v.id, true) {
		return ErrNotConnected
	}
	noted := *v
	noted.noted = true
	call.vehicle = &noted
	return nil
}

// unnote takes back what note has stored of a car that Smartcar does not know,
// so that ids which are guessed do not pile up.
func (g *gate) unnote(ctx context.Context, call *call, err error) {
	if v := call.vehicle; v != nil && v.noted && isGone(err) {
		if c, err := g.load(ctx, v); err == nil && c.revision == "" {
			_ = g.tokens.forgetCar(ctx, v.userID, v.id)
		}
	}
}

func (g *gate) pass(ctx context.Context, call *call, next layer) (*answer, error) {
	call.takes, call.leaving, call.renewing = false, nil, nil // what an earlier attempt held
	switch {
	case call.vehicle == nil:
		return next(ctx, call)
	case call.kind == KindData:
		return g.data(ctx, call, next)
	case call.kind == KindCommand:
		return g.command(ctx, call, next)
	default:
		return next(ctx, call)
	}
}

// paused refuses locally while the application-wide limit is known to hold.
func (g *gate) paused(call *call) error {
	until := g.pausedUntil.Load()
	if until == 0 || call.override || g.now().UnixNano() >= until {
		return nil
	}
	return &RateLimitError{Operation: call.op, NextAllowed: time.Unix(0, until).UTC(), Rule: RuleApplication, Local: true}
}

// explain gives limits and missing keys the types that say what to do.
func (g *gate) explain(ctx context.Context, call *call, err error) error {
	e, ok := errors.AsType[*Error](err)
	if !ok || call.failure != e {
		return err
	}
	switch {
	case e.isApplicationLimit():
		return g.pauseAll(call.op, e)
	case call.vehicle == nil:
		return err
	}
	return g.explainVehicle(ctx, call, e)
}

// pauseAll notes the application-wide limit. What a proxy says, and not
// Smartcar, is believed for a moment only.
func (g *gate) pauseAll(op Operation, e *Error) error {
	pause := e.RetryAfter
	if pause == 0 {
		pause = bareApplicationPause
	}
	if e.Type == "" {
		pause = min(pause, policy.BareLimitPause)
	}
	until := g.now().Add(pause)
	g.pausedUntil.Store(until.UnixNano())
	return &RateLimitError{Operation: op, NextAllowed: until, Rule: RuleApplication, Err: e}
}

// explainVehicle is explain for one vehicle, or one item of a batch.
func (g *gate) explainVehicle(ctx context.Context, call *call, e *Error) error {
	switch {
	case e.isApplicationLimit():
		return g.pauseAll(e.Operation, e)
	case e.isVehicleLimit():
		r := &RateLimitError{Operation: e.Operation, VehicleID: call.vehicle.id, Rule: RuleServer, Err: e}
		if c, _, err := g.lookUp(ctx, call.vehicle); err == nil {
			r.NextAllowed = c.ours(g.nextData(c).Next)
		}
		if r.NextAllowed.IsZero() { // a command's limit is not booked
			r.NextAllowed = g.now().Add(max(e.RetryAfter, policy.BareLimitPause))
		}
		return r
	case e.isKeyRequired():
		return &VirtualKeyRequiredError{
			Operation: e.Operation, VehicleID: call.vehicle.id,
			URL: g.keyURL(ctx, call.vehicle.userID, e.Resolution.URL), Err: e,
		}
	}
	return e
}

// data sends a data request if the car's rule allows one now.
func (g *gate) data(ctx context.Context, call *call, next layer) (*answer, error) {
	v := call.vehicle
	if call.override {
		a, err := next(ctx, call)
		g.finish(ctx, call, a, car{}, 0, true)
		return a, err
	}
	c, fresh, err := g.lookUp(ctx, v)
	if err == nil {
		c, fresh, err = g.learn(ctx, v, c, fresh)
	}
	nonce, ready := randid.New(), call.auth.ready()
	ask := policy.AskData(nonce, g.opts.reserveLease())
	if ready {
		ask = policy.AskDataAndLeave(nonce, g.opts.lease())
	}
	for err == nil {
		call.kept.note(c.state)
		state, d := g.step(c, ask)
		switch {
		case d.Verdict == policy.VerdictRefuse && (fresh || g.recent(c)):
			return nil, g.refuse(ctx, call, c, state, d)
		case d.Verdict == policy.VerdictSend && fresh:
			a, err := next(ctx, call)
			g.finish(ctx, call, a, c, 0, c.state.Class() == policy.ClassLegacy)
			return a, err
		case d.Verdict != policy.VerdictTake:
			// Another replica may have seen that the key has come, or gone.
			c, err = g.load(ctx, v)
			fresh = true
			continue
		}
		release := g.turns.Hold(v.policyKey)
		var taken bool
		c, taken, err = g.swap(ctx, v, c, state)
		fresh = true
		if taken || err == nil && c.state.Holds(nonce) {
			defer release()
			return g.sendTurn(ctx, call, c, nonce, ready, next)
		}
		release()
		if err != nil && ready && !g.opts.storePolicy.SendKeyless {
			g.giveBack(ctx, v, nonce)
		}
	}
	return g.withoutStore(ctx, call, err, next)
}

// giveBack frees a turn of which it is not clear whether it was stored, and
// whose request will not leave: else it would count as used.
func (g *gate) giveBack(ctx context.Context, v *Vehicle, nonce uint64) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), giveBackTime)
	defer cancel()
	_, _ = g.update(ctx, v, car{}, policy.Settle(nonce, 0, policy.Result{Outcome: policy.OutcomeReleased}))
}

func (g *gate) refuse(ctx context.Context, call *call, c car, state policy.State, d policy.Decision) error {
	if state != c.state || c.unreadable { // a clock jumped back: what it wrote must not hold for ever
		_, _, _ = g.swap(ctx, call.vehicle, c, state)
	}
	if g.opts.logger.Enabled(ctx, slog.LevelInfo) {
		g.opts.logger.LogAttrs(ctx, slog.LevelInfo, "smartcar refused locally",
			slog.String("operation", string(call.op)), slog.String("vehicle", call.vehicle.id),
			slog.String("rule", string(publicRules[d.Rule])), slog.Time("next_allowed", c.ours(d.Next)))
	}
	return &RateLimitError{
		Operation: call.op, VehicleID: call.vehicle.id,
		NextAllowed: c.ours(d.Next), Rule: publicRules[d.Rule], Local: true, InFlight: d.InFlight,
	}
}

// withoutStore decides about data while the store is away: closed for a car
// that may be without a key, open for the rest, unless the StorePolicy says
// otherwise.
func (g *gate) withoutStore(ctx context.Context, call *call, cause error, next layer) (*answer, error) {
	if !errors.Is(cause, ErrStore) {
		return nil, cause
	}
	c, ok := g.known.Get(call.vehicle.policyKey)
	keyless := !ok || c.state.Keyless() || c.unreadable
	if keyless && g.opts.storePolicy.SendKeyless || !keyless && !g.opts.storePolicy.RefuseOthers {
		return next(ctx, call)
	}
	return nil, g.storeAway(call, cause)
}

func (g *gate) storeAway(call *call, cause error) error {
	return &RateLimitError{Operation: call.op, VehicleID: call.vehicle.id, Rule: RuleStore, Local: true, Err: cause}
}

// sendTurn sends the one request that may be under way for a keyless car. C is
// the record in which the turn was taken; stored tells that it was stored as
// sent, so that the request may leave without another write.
func (g *gate) sendTurn(ctx context.Context, call *call, c car, nonce uint64, stored bool, next layer) (*answer, error) {
	call.takes = true
	call.leaving = func(ctx context.Context) (err error) {
		// The lease of a turn that was stored as sent covers a request that
		// leaves at once, and no second one.
		if stored && g.covers(c) {
			stored = false
			return nil
		}
		c, err = g.storeLeaving(ctx, call, c, nonce)
		return err
	}
	call.renewing = func(ctx context.Context) {
		c, stored = g.storeHeldBack(ctx, call, c, nonce), false
	}
	a, err := next(ctx, call)
	g.finish(ctx, call, a, c, nonce, true)
	return a, err
}

// covers reports whether the lease in c outlasts a request that leaves now. The
// store may have been late with anything since the lease was reckoned.
func (g *gate) covers(c car) bool {
	return c.state.LeaseCovers(c.upper().Add(g.opts.timeout + attemptMargin/2))
}

// errTurnLost: the lease ran out before the request could leave, and another
// replica took the turn.
var errTurnLost = errors.New("the turn of this vehicle was taken over before the request could be sent")

// errStoreSlow: the store took so long to note that the request leaves that its
// lease would not cover it.
var errStoreSlow = errors.New("the store answers too slowly for a turn to be taken")

// storeLeaving stores that the request which holds the turn is about to be sent.
func (g *gate) storeLeaving(ctx context.Context, call *call, c car, nonce uint64) (car, error) {
	var err error
	for range 3 {
		state, d := g.step(c, policy.Leave(nonce, g.opts.lease()))
		if d.Verdict == policy.VerdictLost {
			return c, &RateLimitError{
				Operation: call.op, VehicleID: call.vehicle.id, Rule: RuleKeyless, Local: true, InFlight: true,
				NextAllowed: c.ours(g.nextData(c).Next), Err: errTurnLost,
			}
		}
		var done bool
		c, done, err = g.swap(ctx, call.vehicle, c, state)
		if err != nil || done && g.covers(c) {
			return c, err
		}
	}
	return c, fmt.Errorf("%w: %w", ErrStore, errStoreSlow)
}

// storeHeldBack lets a turn whose request was refused for its token be reserved
// again, so that it does not outlast the grace of the refresh token, which is
// about to be used, if this process dies of it. If that cannot be stored, the
// longer lease stays.
func (g *gate) storeHeldBack(ctx context.Context, call *call, c car, nonce uint64) car {
	for range 3 {
		state, d := g.step(c, policy.HoldBack(nonce, g.opts.reserveLease()))
		if d.Verdict == policy.VerdictLost {
			return c
		}
		latest, done, err := g.swap(ctx, call.vehicle, c, state)
		if err != nil {
			return c
		}
		if c = latest; done {
			return c
		}
	}
	return c
}

// finish books what a request cost and keeps its answers.
func (g *gate) finish(ctx context.Context, call *call, a *answer, c car, nonce uint64, always bool) {
	g.book(ctx, call, a, c, nonce, always)
	if a != nil && (!call.vehicle.noted || g.tokens.noteCar(ctx, call.vehicle.userID, call.vehicle.id, false)) {
		g.answers.keep(ctx, call, a.parts)
	}
}

// book stores what a request cost, with the evidence it brought. Always tells
// whether plain successes are worth a write too: a car without a local limit
// would only cost the store work. A failure to write is harmless: the lease then
// ends by itself and the turn counts as used.
func (g *gate) book(ctx context.Context, call *call, a *answer, c car, nonce uint64, always bool) {
	result := policy.Result{Outcome: call.outcome}
	if call.failure != nil {
		result.RetryAfter = call.failure.RetryAfter
	}
	var seen []policy.Event
	if a != nil {
		result.Data = a.observed.data()
		result.Data.RecordedAt = later(newest(a.parts), a.observed.recordedAt)
		seen = g.evidenceIn(a.observed, policy.FromSignal, a.at)
	}
	settle := policy.Settle(nonce, g.opts.lease(), result)
	outdated := c.state.OutdatedBy(settle) || c.state.OutdatedBy(seen...)
	if !always && !outdated && (call.outcome == policy.OutcomeOK || call.outcome == policy.OutcomeReleased) && call.failure == nil {
		if c.state.Class() != policy.ClassStreaming || call.outcome == policy.OutcomeReleased {
			return
		}
		// The key may have gone while the request was under way.
		var err error
		if c, err = g.loadAnyway(ctx, call.vehicle); err != nil || !c.state.Keyless() {
			return
		}
	}
	ctx, cancel := contexts.Detached(ctx)
	defer cancel()
	if nonce != 0 { // the turn stands in the store as sent
		ctx = losable.Mark(ctx)
	}
	events := make([]policy.Event, 0, 2+len(seen))
	if f := call.failure; f != nil {
		switch {
		case f.isKeyRequired(): // first, because it decides what the turn costs
			events = append(events, policy.LearnKeyRequired(policy.FromError, call.began))
		case f.isVehicleLimit() && call.outcome != policy.OutcomeLimited: // one item of a batch
			events = append(events, policy.Limited(f.RetryAfter))
		}
	}
	// The turn next: what it cost is judged by what was known when it was taken,
	// except that a car which answers without its key was without it when asked.
	for _, s := range seen {
		if s.LearnsKeyMissing() {
			events = append(events, s)
		}
	}
	events = append(append(events, settle), slices.DeleteFunc(seen, policy.Event.LearnsKeyMissing)...)
	c, err := g.update(ctx, call.vehicle, c, events...)
	if err == nil {
		call.kept.note(c.state)
	} else if !errors.Is(err, ErrNotConnected) { // else the user was forgotten meanwhile
		g.opts.logger.LogAttrs(ctx, slog.LevelWarn, "smartcar could not settle a vehicle's turn", slog.String("vehicle", call.vehicle.id))
	}
}

// command sends a command unless there is fresh evidence that it needs the key.
func (g *gate) command(ctx context.Context, call *call, next layer) (*answer, error) {
	if !call.override {
		if err := g.commandAllowed(ctx, call); err != nil {
			return nil, err
		}
	}
	a, err := next(ctx, call)
	if err == nil || MayHaveSucceeded(err) {
		g.answers.discard(ctx, call.vehicle.id, g.now())
	}
	var evidence policy.Event
	switch {
	case call.failure != nil && call.failure.isKeyRequired():
		evidence = policy.LearnKeyRequired(policy.FromError, call.began)
	case err == nil && call.command != nil: // what else a POST may be proves nothing
		evidence = policy.LearnKey(policy.KeyInstalled, policy.FromCommand, call.began)
	default:
		return a, err
	}
	detached, cancel := contexts.Detached(ctx)
	defer cancel()
	c, _, lookErr := g.lookUp(detached, call.vehicle)
	if lookErr == nil && (evidence.LearnsKeyMissing() || c.state.Class() == policy.ClassStreaming && c.state.Key() != policy.KeyInstalled) {
		_, _ = g.update(detached, call.vehicle, c, evidence)
	}
	return a, err
}

func (g *gate) commandAllowed(ctx context.Context, call *call) error {
	c, fresh, err := g.lookUp(ctx, call.vehicle)
	ask := func() policy.Verdict {
		_, d := g.step(c, policy.AskCommand())
		return d.Verdict
	}
	if strict := g.opts.storePolicy.RefuseOthers; err == nil && !fresh && (strict || ask() != policy.VerdictSend) {
		var latest car
		if latest, err = g.load(ctx, call.vehicle); err == nil {
			c = latest // another replica may have seen the key
		} else if !strict {
			err = nil // what is known here has to do
		}
	}
	if err == nil && ask() == policy.VerdictRecheck && g.keyIsFree() {
		_ = g.readKey(ctx, call.vehicle)
		c, err = g.load(ctx, call.vehicle)
	}
	switch {
	case errors.Is(err, ErrStore) && g.opts.storePolicy.RefuseOthers:
		return g.storeAway(call, err)
	case errors.Is(err, ErrStore):
		return nil // open: the server decides
	case err != nil:
		return err
	case ask() != policy.VerdictKey:
		return nil
	}
	return &VirtualKeyRequiredError{
		Operation: call.op, VehicleID: call.vehicle.id, Local: true,
		URL: g.keyURL(ctx, call.vehicle.userID, ""),
	}
}
