package smartcar

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"math/rand/v2"
	"runtime/debug"
	"slices"
	"time"

	"github.com/seed-498a1bc4/smartcar/internal/contexts"
	"github.com/seed-498a1bc4/smartcar/internal/policy"
)

const (
	// leastVisit and longestVisit bound how far ahead Visit.Next is. A program that comes
	// back after a day sees what another process has changed meanwhile.
	leastVisit   = time.Second
	longestVisit = 24 * time.Hour
	// visitBackOff follows an error of the store.
	visitBackOff = time.Minute
	// retiredFor is when a car that could not be reached is tried again. A new Connect
	// brings it back at once.
	retiredFor = 24 * time.Hour
	// pushesCount is how long an event of a webhook shows that webhooks bring an
	// operation's data.
	pushesCount = 24 * time.Hour
	// applicationSpread is over how much time the visits are spread, at least, that have
	// waited for the limit of the application.
	applicationSpread = time.Minute
)

// A Visit is what one look at a car has come to: see [Vehicle.Visit].
type Visit struct {
	// Next is when to come back: at least a second and at most a day from now. It is
	// zero of a car whose user is not stored: there is nothing to come back to.
	Next time.Time
	Rule Rule // what Next follows from; RuleNone after an error
	// Snapshot is what was handed over. It is nil if nothing was new, or handle failed.
	Snapshot *Snapshot
	// Asked says that Smartcar was asked for the car's data.
	Asked bool
	// KeyAsked says that Smartcar was asked for the status of the car's key, which is a
	// request of its own.
	KeyAsked bool
	// HeldUntil is set if the limit of the whole application has refused the read: no
	// car's data can be read before. Next is spread behind it.
	HeldUntil time.Time
	// KeyLookEvery is how often Smartcar is asked for the status of the car's key, beside
	// its data, to the minute; zero if it is not. The daily looks of a fleet are spread: it
	// may be up to 2 hours less than a day. A read that comes later than that after the
	// last one takes two requests.
	KeyLookEvery time.Duration
	// Retired says that the car cannot be reached: it is gone, or its owner has to connect
	// again. The error says so once; until the owner has connected, a visit then looks
	// into the store only, and once a day asks Smartcar.
	Retired bool
}

// Visit makes one step of a program that keeps a car's data fresh. It reads the
// operations if something new can be learned now, hands over what is new, and returns
// when to come back: for a Tesla without its key after its window, for a legacy car after
// its next refresh, for others at the pace of [Every] or that of the car's class; while
// webhooks bring the data, only when they fall silent. The times of cars are spread.
//
// Whoever comes too early, or twice, is told the same time again, and nothing is
// requested. So any engine that can wake a car at a time may call it: see package fleet,
// which has one for a single process, and module riverfleet for many. When a webhook has
// brought data, or something has happened to the car, come early.
//
// What is new is handed over at least once, also if the process dies after it was read:
// the answer is in the store by then, and the next visit, in whatever process, hands it
// over. So the client has to store answers: see [Client.CanVisit]. An answer that was not
// handed over yet is dropped when a newer one comes. If handle fails or panics, it is called again, with the newest
// that there is, after 1, 5, 15 and then 60 minutes, and nothing is read before. Handle is
// called in Visit; two visits to one car at the same time may both hand over the same.
//
// Errors that may pass (those of [Vehicle.Snapshot], of handle, and [ErrStore]) come with
// a Next; reads that fail are repeated with the same back-off, also those of a car that
// sleeps or of which nothing is stored. If the car cannot be
// reached, [Visit.Retired] is true. If the user is not stored, Retired is true and Next
// is zero. The error is an [*ArgumentError] without a Next if the call can never work,
// and that of ctx when it ends.
func (v *Vehicle) Visit(ctx context.Context, handle func(context.Context, *Snapshot) error, want ...Operation) (Visit, error) {
	if _, err := v.calls().unauthorized(ctx, opVisit); err != nil {
		return Visit{}, err
	}
	ops, err := v.handle.core.visited(want)
	switch {
	case err != nil:
		return Visit{}, err
	case handle == nil:
		return Visit{}, argumentError("Visit handle", "is nil")
	}
	known := v.handle
	known.car.registered = true // who is not stored is not made known by a visit
	known.opts.allowStale, known.opts.withoutTurn, known.opts.maxAge = false, false, 0
	s := &step{through: &known, visits: v.handle.core.visits, ops: ops, want: want, handle: handle}
	began, o := s.through.core.opts.clock.Elapsed(), s.through.core.opts
	visit, err := Visit{}, errPanicked
	defer func() { tellVisit(ctx, o.emitter, s, began, visit, err) }()
	visit, err = s.run(ctx)
	return visit, err
}

// errPanicked is told of a visit in which the transport, or a store, panics. The panic goes
// on to the caller.
var errPanicked = errors.New("smartcar: a function that the visit calls has panicked")

// CanVisit returns nil if [Vehicle.Visit] can keep its promise with this client for
// these operations. Else it is an [*ArgumentError]: the client stores no answers, see
// [WithStoredAnswers], or not those that tell where the car is, although one of the
// operations does; or none of the operations reads the car's data.
func (c *Client) CanVisit(want ...Operation) error {
	if err := c.core.made(); err != nil {
		return err
	}
	_, err := c.core.visited(want)
	return err
}

// visited returns the rows of what a visit wants.
func (c *core) visited(want []Operation) ([]operation, error) {
	ops, err := readsOf("Visit", want)
	if err != nil {
		return nil, err
	}
	stored := c.answers.stored
	if stored == nil {
		return nil, argumentError("Visit", "needs answers that outlive the process: use the option WithStoredAnswers, and leave the answer cache on")
	}
	data := false
	for i := range ops {
		isData := c.wire.kind(&ops[i]) == KindData
		if isData && ops[i].mayTellPlace() && !stored.bounds.Location {
			return nil, argumentError("Visit", "is to read "+string(ops[i].name)+", which tells where the car is, and such answers are not stored: set StoredAnswers.Location")
		}
		data = data || isData
	}
	if !data {
		return nil, argumentError("Visit", "needs at least one operation that reads the car's data, such as smartcar.Battery")
	}
	return ops, nil
}

// step is one visit.
type step struct {
	through *handle
	visits  *visits
	ops     []operation
	want    []Operation
	handle  func(context.Context, *Snapshot) error

	handled error // by handle
	mark    visitMark
	before  visitMark     // as it was loaded
	toStore time.Duration // from our clock to the store's
	began   time.Time     // by the store's clock
	visit   Visit
	seen    Visited // as far as next knows it
}

func (s *step) now() time.Time { return s.through.core.opts.now() }

// stored is the present by the store's clock.
func (s *step) stored() time.Time { return s.now().Add(s.toStore) }

func (s *step) run(ctx context.Context) (Visit, error) {
	user, err := s.through.core.accounts.stored(ctx, s.through.car.user)
	if err == nil {
		asked := s.now()
		var now time.Time
		s.mark, now, err = s.visits.load(ctx, s.through.car)
		s.toStore, s.before, s.began = now.Sub(asked), s.mark, now
	}
	switch {
	case errors.Is(err, ErrNotConnected):
		return Visit{Retired: true}, err
	case err != nil:
		return s.failed(err)
	}
	if s.mark.RetiredUntil.After(s.stored()) && s.mark.Connect == user.Connect {
		s.visit.Retired = true
		return s.until(s.mark.RetiredUntil, RuleNone), nil
	}
	if s.mark.Handling.Until.After(s.stored()) {
		return s.until(s.mark.Handling.Until, RuleNone), nil
	}
	err = s.look(ctx)
	switch {
	case ctx.Err() != nil:
		s.visit.Next = s.now().Add(leastVisit)
		return s.visit, contexts.EndOf(ctx)
	case err != nil && isOut(err):
		retired := !s.before.RetiredUntil.IsZero() && s.before.Connect == user.Connect
		s.mark.RetiredUntil, s.mark.Connect = s.stored().Add(retiredFor), user.Connect
		s.mark.FailedAt, s.mark.Failure = s.stored(), failureOf(err)
		s.mark.Reading, s.mark.AskedAt = backOff{}, time.Time{}
		s.visit.Retired = true
		s.until(s.mark.RetiredUntil, RuleNone)
		if retired {
			err = nil // it was said
		}
		return s.visit, errors.Join(err, s.handled, s.save(ctx))
	case s.mark.RetiredUntil.IsZero():
	case s.visit.Asked:
		s.mark.RetiredUntil, s.mark.Connect = time.Time{}, 0
	}
	return s.visit, errors.Join(err, s.handled, s.save(ctx))
}

// isOut reports whether a car cannot be reached until something changes.
func isOut(err error) bool { return terminal(err) && !errors.Is(err, ErrNothingStored) }

// failed is a visit that came to nothing because the store, or the context, failed.
func (s *step) failed(err error) (Visit, error) {
	s.visit.Next = s.now().Add(visitBackOff + rand.N(visitBackOff/4))
	return s.visit, err
}

// until sets when to come back, by the store's clock.
func (s *step) until(at time.Time, rule Rule) Visit {
	now := s.now()
	next := at.Add(-s.toStore)
	s.visit.Next, s.visit.Rule = later(earlier(next, now.Add(longestVisit)), now.Add(leastVisit)), rule
	return s.visit
}

// save stores what the visit has changed of the mark.
func (s *step) save(ctx context.Context) error {
	if s.mark.equal(s.before) {
		return nil
	}
	return s.visits.save(ctx, s.through.car, s.mark)
}

func (m visitMark) equal(o visitMark) bool {
	if len(m.Pushed) != len(o.Pushed) {
		return false
	}
	for op, at := range m.Pushed {
		if !o.Pushed[op].Equal(at) {
			return false
		}
	}
	return m.Delivered == o.Delivered && m.AskedAt.Equal(o.AskedAt) && m.Handling == o.Handling && m.Reading == o.Reading &&
		m.RetiredUntil.Equal(o.RetiredUntil) && m.Connect == o.Connect && m.FailedAt.Equal(o.FailedAt) && m.Failure == o.Failure
}

// look reads the car if that is due, and hands over what is new.
func (s *step) look(ctx context.Context) error {
	g := s.through.core.gate
	r, err := s.through.newRequest(ctx, opVisit)
	if err != nil {
		return s.unable(err)
	}
	c, err := g.learned(ctx, r)
	refused := notAsked(err)
	if err != nil && !refused {
		return s.unable(err)
	}
	news := s.kept(ctx, r)
	readAt := s.received(news)
	if next := s.next(ctx, &c, readAt); !refused && !next.Next.After(s.stored()) {
		began := s.now()
		var read *Snapshot
		read, err = s.through.snapshot(ctx, s.want)
		s.visit.Asked = wasAsked(read, err, began)
		if ctx.Err() != nil {
			return err
		}
		if err == nil {
			news, err = s.completed(ctx, r, read), read.allFailed()
		}
		if s.visit.Asked {
			readAt = s.stored()
			s.mark.AskedAt = time.Time{}
		}
		err = s.readFailed(err)
		if err != nil && s.visit.Asked {
			s.mark.AskedAt = readAt
		}
		if latest, _, lookErr := g.cars.lookUp(ctx, s.through.car); lookErr == nil {
			c = latest
		}
		if errors.Is(err, ErrAsleep) || errors.Is(err, ErrNothingStored) {
			s.rest(&c)
		}
	}
	next := s.next(ctx, &c, readAt)
	s.until(next.Next, publicRules[next.Rule])
	err = s.limited(err)
	s.handled = s.deliver(ctx, news)
	return err
}

// unable is a look that could not find out whether the car is to be read. The visit has
// a Next all the same: else an engine takes the car for one that is gone.
func (s *step) unable(err error) error {
	s.until(s.stored().Add(visitBackOff), RuleNone)
	return s.limited(s.readFailed(err))
}

// limited puts off the visit until a limit ends, if err is one, and returns what the
// visit has to say beside its Next and Rule. The limit of the application ends for all
// cars at once, so they are spread over as long as it lasts.
func (s *step) limited(err error) error {
	limit, ok := errors.AsType[*RateLimitError](err)
	if !ok {
		return err
	}
	next, now := limit.NextAllowed, s.now()
	if limit.Rule == RuleApplication && next.After(now) {
		s.visit.HeldUntil = next
		next = next.Add(rand.N(max(next.Sub(now), applicationSpread)))
	}
	if next.After(s.visit.Next) {
		s.visit.Next, s.visit.Rule = earlier(next, now.Add(longestVisit)), limit.Rule
	}
	if limit.Local && limit.Rule != RuleStore {
		return nil
	}
	return err
}

// next derives when the car is to be visited, by the store's clock.
func (s *step) next(ctx context.Context, c *car, readAt time.Time) policy.Decision {
	g := s.through.core.gate
	cost, left := g.budgets.forReads(ctx, s.through.car.id, s.ops)
	s.seen = Visited{Class: publicClass(c.state.Class()), Key: keyStatus(&c.state).State, Left: left, Counted: cost > 0}
	s.visit.KeyLookEvery = c.state.KeyLookEvery(g.probe.asksForKey())
	s.visit.KeyAsked = c.state.KeyLookedAtSince(s.began)
	d := c.state.NextVisit(policy.Pace{
		Every: s.through.opts.every, Cost: cost, Left: left, ReadAt: later(readAt, s.mark.AskedAt), PushedAt: s.pushedAt(),
		Car: hashOf(s.through.car.user, s.through.car.id), KeyIsFree: g.probe.keyIsFree,
	}, c.now(), g.cars.rules)
	if s.mark.Reading.Until.After(d.Next) && s.mark.Reading.Until.After(s.stored()) {
		d = policy.Decision{Next: s.mark.Reading.Until}
	}
	return d
}

func hashOf(texts ...string) uint64 {
	h := fnv.New64a()
	for _, text := range texts {
		_, _ = h.Write([]byte(text))
		_, _ = h.Write([]byte{0})
	}
	return h.Sum64()
}

// readFailed notes how a read has ended, and returns the error. What a rule or the car's
// sleep explains has its own time; after other errors the read backs off.
func (s *step) readFailed(err error) error {
	limit, limited := errors.AsType[*RateLimitError](err)
	if limited && !limit.Local {
		s.mark.FailedAt, s.mark.Failure = s.stored(), failureOf(err)
	}
	switch {
	case errors.Is(err, ErrAsleep) || errors.Is(err, ErrNothingStored): // see rest
	case err == nil:
		s.mark.Reading = backOff{}
	case !limited:
		s.mark.Reading = s.mark.Reading.again(s.stored())
		s.mark.FailedAt, s.mark.Failure = s.stored(), failureOf(err)
		s.until(s.mark.Reading.Until, RuleNone)
	}
	return err
}

// rest notes that a car had nothing to say. A rule of the policy has a pause for such a
// car, which an event ends. The read of a car that is under no rule backs off as after an
// error: asking a car that sleeps every few minutes brings nothing.
func (s *step) rest(c *car) {
	if c.state.NextData(c.now(), s.through.core.gate.cars.rules).Next.IsZero() {
		s.mark.Reading = s.mark.Reading.again(s.stored())
		return
	}
	s.mark.Reading = backOff{}
}

// kept is what is known without a request: what this process or another has read, and
// what webhooks have brought. It is nil if nothing is.
func (s *step) kept(ctx context.Context, r *request) *Snapshot {
	asked := *r
	asked.op, asked.reads = opSnapshot, s.ops
	known := *s.through
	known.opts.withoutTurn = true
	parts, err := known.instead(ctx, &asked, ErrTakesTurn)
	if err != nil {
		return nil
	}
	return newSnapshot(s.through.core.wire, parts)
}

// completed returns what was read with what is kept in the place of parts that were
// refused.
func (s *step) completed(ctx context.Context, r *request, read *Snapshot) *Snapshot {
	parts := slices.Clone(read.all())
	if slices.ContainsFunc(parts, func(p part) bool { return mayBeReplaced(p.callerErr) }) {
		kept := s.kept(ctx, r).all()
		for i, p := range parts {
			if kept != nil && mayBeReplaced(p.callerErr) && kept[i].callerErr == nil {
				parts[i] = kept[i]
			}
		}
	}
	return newSnapshot(read.wire, parts)
}

// wasAsked reports whether a read has sent a request for data that was not refused for
// the whole application.
func wasAsked(read *Snapshot, err error, began time.Time) bool {
	if err != nil {
		limit, limited := errors.AsType[*RateLimitError](err)
		return !limited || !limit.Local && limit.Rule != RuleApplication
	}
	for _, p := range read.all() {
		if p.callerErr != nil || !p.meta.ReceivedAt.Before(began) {
			return true
		}
	}
	return false
}

// received notes what webhooks have brought, and returns when the car was read last, by the
// store's clock.
func (s *step) received(kept *Snapshot) (readAt time.Time) {
	pushed := make(map[Operation]time.Time, len(s.ops))
	for op, at := range s.mark.Pushed {
		pushed[op] = at
	}
	for _, p := range kept.all() {
		at := p.meta.ReceivedAt.Add(s.toStore)
		switch {
		case p.callerErr != nil:
		case p.meta.Source != SourceWebhook:
			readAt = later(readAt, at)
		case at.Sub(pushed[p.op.name]) > time.Second:
			pushed[p.op.name] = at.Round(0)
		}
	}
	if len(pushed) > 0 {
		s.mark.Pushed = pushed
	}
	return readAt
}

// pushedAt is when webhooks last brought something, if they bring all that is wanted.
func (s *step) pushedAt() (last time.Time) {
	for i := range s.ops {
		at := s.mark.Pushed[s.ops[i].name]
		if s.stored().Sub(at) > pushesCount {
			return time.Time{}
		}
		last = later(last, at)
	}
	return last
}

// deliver hands over what is new.
func (s *step) deliver(ctx context.Context, news *Snapshot) error {
	name := news.fingerprint()
	if name == 0 || name == s.mark.Delivered {
		s.mark.Handling = backOff{}
		return nil
	}
	if err := s.call(ctx, news); err != nil {
		if ctx.Err() != nil {
			return err // not the handler's fault
		}
		s.mark.Handling = s.mark.Handling.again(s.stored())
		s.mark.FailedAt, s.mark.Failure = s.stored(), FailureHandler
		s.until(s.mark.Handling.Until, RuleNone)
		return err
	}
	s.visit.Snapshot, s.mark.Delivered, s.mark.Handling = news, name, backOff{}
	return nil
}

// call calls the handler. What a panic says may hold anything, and stays out of the
// error.
func (s *step) call(ctx context.Context, news *Snapshot) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %T", ErrHandlerPanicked, p)
			s.through.core.opts.logger.LogAttrs(ctx, slog.LevelError, "smartcar: the handler of a visit panicked",
				slog.String("vehicle", s.through.car.id), slog.String("stack", string(debug.Stack())))
		}
	}()
	return s.handle(ctx, news)
}

// ErrHandlerPanicked says that a function of the application has panicked. Where is
// logged; what it said may be a secret and is not.
var ErrHandlerPanicked = errors.New("smartcar: the handler panicked")
