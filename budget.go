package smartcar

import (
	"cmp"
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed-498a1bc4/smartcar/internal/budget"
	"github.com/seed-498a1bc4/smartcar/internal/lru"
	"github.com/seed-498a1bc4/smartcar/internal/policy"
	"github.com/seed-498a1bc4/smartcar/internal/records"
)

// A Budget is what a plan allows: see [WithBudget].
type Budget struct {
	// PerVehicle is how many calls each vehicle has in a calendar month, UTC. Zero counts
	// none. Plans are not published in full; 500 is a common one.
	PerVehicle int
	// Reserve is how many of them are for commands: reads are refused when only these are
	// left. At least 0, less than PerVehicle.
	Reserve int
	// FreeMetadata does not count what Smartcar answers by itself: attributes,
	// permissions, the status of the key. The plans do not say whether these count.
	FreeMetadata bool
	// BatchOnce counts a batch of API v2.0 as one call, instead of one for each read in it.
	BatchOnce bool

	ApplicationLimit ApplicationLimit
}

// An ApplicationLimit is how many requests the whole application may send.
type ApplicationLimit struct {
	// Requests may be sent at once. Zero is 120, as Smartcar documents it; below zero there
	// is no limit here, and Smartcar's 429 counts.
	Requests int
	// PerMinute is how many more there are each minute; above 0. Default 2.
	PerMinute float64
}

// WithBudget keeps the program within its plan, in all processes that share the store.
//
// A read of a vehicle of whose month only the reserve is left is refused as a
// [*RateLimitError] with [RuleBudget], until the next month and a share of its first day.
// A batch that is larger than what is left is refused whole. While the application has
// used up its requests, reads of vehicles are refused with [RuleApplication]. A command is
// counted and never refused: Smartcar decides. How a month's reads are spread over it is a
// pace, which [Vehicle.Visit] and package fleet keep.
//
// Calls are taken from the store in blocks: those of a vehicle for ten reads, those of the
// application for a minute. So counting costs a store call in ten reads. What a process
// that dies has taken counts as spent; [Client.Drain] gives it back. While the store is
// away, nothing is counted and nothing refused. Calls that were made before the option
// was set, or beside this package, are not known.
func WithBudget(b Budget) Option {
	return func(o *options) error {
		b.ApplicationLimit.Requests = cmp.Or(b.ApplicationLimit.Requests, 120)
		b.ApplicationLimit.PerMinute = cmp.Or(b.ApplicationLimit.PerMinute, 2)
		switch {
		case b.PerVehicle < 0:
			return argumentError("Budget.PerVehicle", "must not be negative; 0 counts none")
		case b.Reserve < 0 || b.Reserve > 0 && b.Reserve >= b.PerVehicle:
			return argumentError("Budget.Reserve", "must not be negative, and less than PerVehicle")
		case !(b.ApplicationLimit.PerMinute > 0):
			return argumentError("ApplicationLimit.PerMinute", "must be above zero; 0 is 2")
		}
		o.budget = &b
		return nil
	}
}

// Budget returns what [WithBudget] has set, with its defaults; the zero Budget if it was
// not used.
func (c *Client) Budget() Budget {
	if c.core == nil || c.core.opts.budget == nil {
		return Budget{}
	}
	return *c.core.opts.budget
}

// ResetBudget is the operator's word that calls are counted anew, because the plan has
// changed or the count is wrong: all vehicles have their whole month, and a refusal by
// Smartcar for the month ([RuleBudget]) is forgotten. Other processes that share the store
// see it within a minute; what Smartcar has refused there, they find out within a day.
// Errors: [ErrStore].
func (c *Client) ResetBudget(ctx context.Context) error {
	if err := errors.Join(c.core.made(), checkContext(ctx)); err != nil {
		return err
	}
	c.core.gate.allowances.forgetAll()
	b := c.core.gate.budgets
	if b == nil {
		return nil
	}
	return b.blocks.Reset(ctx)
}

// budgets apply what package budget counts to requests. A nil one counts none.
type budgets struct {
	opts   *options
	budget Budget
	blocks *budget.Blocks
}

func newBudgets(o *options, r records.Records) *budgets {
	if o.budget == nil {
		return nil
	}
	limits := budget.Limits{
		PerVehicle: o.budget.PerVehicle, Reserve: o.budget.Reserve,
		Requests: o.budget.ApplicationLimit.Requests, PerMinute: o.budget.ApplicationLimit.PerMinute,
	}
	return &budgets{opts: o, budget: *o.budget, blocks: budget.New(limits, o.clock, r, max(o.cacheSize, leastCachedCars))}
}

// call is what a request costs.
func (b *budgets) call(r *request) budget.Call {
	c := budget.Call{Car: r.car.id, Refusable: r.isRefusable(), Unlimited: r.override}
	if b.budget.PerVehicle > 0 {
		c.Cost = r.calls(b.opts.api, b.budget)
	}
	return c
}

// calls is how many calls a request counts as, by the rules of a budget.
func (r *request) calls(api API, rules Budget) int {
	switch {
	case r.car.id == "" || r.kind == KindMetadata && rules.FreeMetadata:
		return 0
	case api == V2 && !rules.BatchOnce && r.kind == KindData:
		return max(len(r.reads), 1)
	}
	return 1
}

// guarding is the layer below that of the allowances: it counts what is about to be sent,
// and gives back what certainly was not.
func (b *budgets) guarding(next layer) layer {
	if b == nil {
		return next
	}
	return func(ctx context.Context, r *request, t *turn) (attempt, error) {
		c := b.call(r)
		refused, err := b.blocks.Spend(ctx, c)
		if err == nil {
			err = b.refusal(r, refused)
		}
		if refused.First {
			tellSpent(ctx, b.opts.emitter, r.car, b.nextMonth(r.car), false)
		}
		if err != nil {
			return attempt{outcome: policy.OutcomeReleased}, err
		}
		a, err := next(ctx, r, t)
		if e, ok := errors.AsType[*Error](err); ok && e.reach == reachedNever {
			b.blocks.Unsend(c)
		}
		return a, err
	}
}

// refuse returns an error for a read of which this process knows, without the store, that
// it may not go. It spares the car's turn.
func (b *budgets) refuse(r *request) error {
	if !r.isRefusable() {
		return nil
	}
	return b.refusal(r, b.blocks.Known(b.call(r)))
}

func (b *budgets) refusal(r *request, refused budget.Refusal) error {
	switch refused.Limit {
	case budget.MonthLimit:
		return &RateLimitError{Operation: r.op, VehicleID: r.car.id, NextAllowed: b.nextMonth(r.car), Rule: RuleBudget, Local: true}
	case budget.ApplicationLimit:
		return &RateLimitError{Operation: r.op, NextAllowed: b.opts.now().Add(refused.Wait), Rule: RuleApplication, Local: true}
	default:
		return nil
	}
}

// nextMonth is when the reads of a car begin again that the month leaves none.
func (b *budgets) nextMonth(car carRef) time.Time {
	if b == nil {
		return time.Time{}
	}
	return policy.NextMonth(hashOf(car.user, car.id), b.opts.now())
}

// spent returns how many calls of a car's month are spent, and how many are left, the
// reserve included. Ok is false if calls are not counted, or the store is away.
func (b *budgets) spent(ctx context.Context, vehicleID string) (spent, left int, ok bool) {
	if b == nil {
		return 0, 0, false
	}
	return b.blocks.Spent(ctx, vehicleID)
}

// forReads is what a read of several operations costs, and how many calls are left for
// reads; no cost means that they are not counted.
func (b *budgets) forReads(ctx context.Context, vehicleID string, ops []operation) (cost, left int) {
	_, left, ok := b.spent(ctx, vehicleID)
	if !ok {
		return 0, 0
	}
	cost = b.call(&request{car: carRef{id: vehicleID}, kind: KindData, reads: ops}).Cost
	return cost, max(left-b.budget.Reserve, 0)
}

// giveBack returns all blocks to the store.
func (b *budgets) giveBack(ctx context.Context) error {
	if b == nil {
		return nil
	}
	return b.blocks.GiveBack(ctx)
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
	p.extend(int64(p.opts.clock.Elapsed() + wait))
	return &RateLimitError{Operation: op, NextAllowed: p.opts.now().Add(wait), Rule: RuleApplication, Err: e}
}

// extend sets the end of the pause, unless it ends later already: requests that were
// under way when it began may bring a shorter one.
func (p *pause) extend(until int64) {
	for {
		old := p.until.Load()
		if old >= until || p.until.CompareAndSwap(old, until) {
			return
		}
	}
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
	return &allowances{opts: o, cars: lru.New[string, spentCar](max(o.cacheSize, leastCachedCars))}
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
			l.settle(ctx, r, a, err)
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
func (l *allowances) settle(ctx context.Context, r *request, a attempt, err error) {
	said := requestLimitIn(a)
	if first := l.learn(r, said, err); first {
		tellSpent(ctx, l.opts.emitter, r.car, l.next(r.car.id), true)
	}
}

// learn reports whether Smartcar has said for the first time that the month is used up.
func (l *allowances) learn(r *request, said *Error, err error) (first bool) {
	metadata := r.kind == KindMetadata
	if _, ok := l.cars.Get(r.car.id); !ok && said == nil {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	spent, known := l.cars.Get(r.car.id)
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
	return !known && spent.Known()
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
