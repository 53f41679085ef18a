package smartcar

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"time"

	"github.com/seed-498a1bc4/smartcar/internal/contexts"
	"github.com/seed-498a1bc4/smartcar/internal/lru"
	"github.com/seed-498a1bc4/smartcar/internal/policy"
	"github.com/seed-498a1bc4/smartcar/internal/randid"
	"github.com/seed-498a1bc4/smartcar/internal/records"
	"github.com/seed-498a1bc4/smartcar/store"
)

const (
	accountTTL = 40 * 24 * time.Hour // outlasts its month
	// bucketBlock is how many requests of the application a process takes at once, and
	// bucketTime for how long it has them. Between two writes of the bucket it waits for
	// bucketPause.
	bucketBlock = 20
	bucketTime  = time.Minute
	bucketPause = time.Second
	// resetTrust is how long a process may go on without having seen ResetBudget.
	resetTrust = time.Minute

	bucketKey = "budget/application"
	resetKey  = "budget/reset"
)

func accountKey(vehicleID string) string { return "budget/car/" + vehicleID }

// budgets count calls. A nil one counts none.
type budgets struct {
	opts    *options
	budget  Budget
	records records.Records
	taking  records.Flights

	mu      sync.Mutex
	cars    *lru.Cache[string, block]
	bucket  bucketBlockOf
	reset   uint64        // the operator's last word
	resetAt time.Duration // when it was asked for, by the time that has passed; 0 is never
}

// block is what this process has taken of a car's calls.
type block struct {
	account  policy.Account
	revision store.Revision
	left     int  // that were taken, and not used
	known    bool // the account was seen in the store
	toStore  time.Duration
	full     int // a read of that cost found too little left in this month; 0 if none did
}

// bucketBlockOf is what this process has taken of the application's requests.
type bucketBlockOf struct {
	left  int
	until time.Duration // when what is left goes back, by the time that has passed
	next  time.Duration // when the bucket may be asked again, by the same
}

// storedAccount and storedBucket are distinct in every write; see records.Swap.
type storedAccount struct {
	policy.Account
	Write uint64 `json:"write"`
}

type storedBucket struct {
	policy.Bucket
	Write uint64 `json:"write"`
}

type storedReset struct {
	Reset uint64 `json:"reset"`
}

func newBudgets(o *options, r records.Records) *budgets {
	if o.budget == nil {
		return nil
	}
	return &budgets{opts: o, budget: *o.budget, records: r, cars: lru.New[string, block](max(o.cacheSize, leastCachedCars))}
}

// cost is how many calls of a car's month a request takes.
func (b *budgets) cost(r *request) int {
	if b.budget.PerVehicle == 0 {
		return 0
	}
	return r.calls(b.opts.api, b.budget)
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
		if err := b.spendRequest(ctx, r); err != nil {
			return attempt{outcome: policy.OutcomeReleased}, err
		}
		cost := b.cost(r)
		if err := b.spendCalls(ctx, r, cost); err != nil {
			b.unsend(r.car.id, 0)
			return attempt{outcome: policy.OutcomeReleased}, err
		}
		a, err := next(ctx, r, t)
		if e, ok := errors.AsType[*Error](err); ok && e.reach == reachedNever {
			b.unsend(r.car.id, cost)
		}
		return a, err
	}
}

// unsend gives back what was counted for a request that was not sent.
func (b *budgets) unsend(vehicleID string, cost int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.bucket.left >= 0 {
		b.bucket.left++
	}
	if blk, ok := b.cars.Get(vehicleID); ok && cost > 0 {
		blk.left += cost
		b.cars.Put(vehicleID, blk)
	}
}

// refuse returns an error for a read of which this process knows, without the store, that
// it may not go. It spares the car's turn.
func (b *budgets) refuse(r *request) error {
	if !r.isRefusable() {
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	now, elapsed := b.opts.now(), b.opts.clock.Elapsed()
	if b.bucket.left <= 0 && b.bucket.next > elapsed+bucketPause {
		return b.refused(r, RuleApplication, now.Add(b.bucket.next-elapsed))
	}
	blk, _ := b.cars.Get(r.car.id)
	thisMonth := blk.account.IsOf(now.Add(blk.toStore), b.reset) && b.resetAt > 0 && elapsed-b.resetAt < resetTrust
	if cost := b.cost(r); thisMonth && cost > blk.left && blk.full > 0 && cost >= blk.full {
		return b.refused(r, RuleBudget, b.nextMonth(r.car))
	}
	return nil
}

// nextMonth is when the reads of a car begin again that the month leaves none.
func (b *budgets) nextMonth(car carRef) time.Time {
	if b == nil {
		return time.Time{}
	}
	return policy.NextMonth(hashOf(car.user, car.id), b.opts.now())
}

func (b *budgets) refused(r *request, rule Rule, next time.Time) error {
	limit := &RateLimitError{Operation: r.op, VehicleID: r.car.id, NextAllowed: next, Rule: rule, Local: true}
	if rule == RuleApplication {
		limit.VehicleID = ""
	}
	return limit
}

// spendCalls takes a request's calls from this process's block, after taking a new block
// if need be.
func (b *budgets) spendCalls(ctx context.Context, r *request, cost int) error {
	for cost > 0 {
		b.mu.Lock()
		blk, _ := b.cars.Get(r.car.id)
		now := b.opts.now()
		ready := blk.left >= cost && blk.account.IsOf(now.Add(blk.toStore), b.reset)
		if ready {
			blk.left -= cost
			b.cars.Put(r.car.id, blk)
		}
		b.mu.Unlock()
		if ready {
			return nil
		}
		flight, must := r.car.id, !r.isRefusable()
		if must {
			flight = "must/" + flight
		}
		err := b.taking.Do(ctx, flight, func() error { return b.take(ctx, r.car, cost, must) })
		switch {
		case errors.Is(err, errNothingLeft) && r.isRefusable():
			return b.refused(r, RuleBudget, b.nextMonth(r.car))
		case contexts.IsEnd(err):
			return err
		case err != nil:
			return nil //nolint:nilerr // a command goes whatever is left; and while the store is away nothing is counted
		}
	}
	return nil
}

// errNothingLeft: the month leaves no calls.
var errNothingLeft = errors.New("no call of the month is left")

// take takes a block of a car's calls from the store; one that must is taken whatever is
// left, since Smartcar decides about a command.
func (b *budgets) take(ctx context.Context, car carRef, cost int, must bool) error {
	reset, err := b.lastReset(ctx)
	if err != nil {
		return err
	}
	taken, first := 0, false
	err = b.change(ctx, car.id, reset, func(blk *block) (write bool) {
		had := blk.left
		blk.account.Spent -= had // they go back, and are taken again
		if must {
			taken = max(cost, had)
			blk.account.Spent += taken
		} else if blk.account, taken = blk.account.Take(cost, b.budget.PerVehicle-b.budget.Reserve); taken == 0 {
			blk.account.Spent += had
			first, blk.full = blk.full == 0, cost
			return false
		}
		blk.left, blk.full = taken, 0
		return true
	})
	if err == nil && taken == 0 {
		err = errNothingLeft
		if first {
			tellSpent(ctx, b.opts.emitter, car, b.nextMonth(car), false)
		}
	}
	return err
}

// change edits a car's block together with its account in the store. What it edits is the
// account as this process saw it last, so that in most cases one swap will do. While it
// has the block, what is left of it cannot be used by others.
func (b *budgets) change(ctx context.Context, vehicleID string, reset uint64, edit func(*block) (write bool)) error {
	blk := b.borrow(vehicleID)
	had := blk.left
	if !blk.known {
		record, err := b.records.Load(ctx, accountKey(vehicleID))
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			b.keep(vehicleID, blk)
			return err
		}
		blk = b.seen(blk, record)
	}
	for {
		fresh := blk
		if account := blk.account.At(b.opts.now().Add(blk.toStore), reset); account != blk.account {
			fresh.account, fresh.left, fresh.full = account, 0, 0
		}
		if !edit(&fresh) {
			b.keep(vehicleID, fresh)
			return nil
		}
		value, _ := json.Marshal(storedAccount{fresh.account, randid.New()}) // numbers: cannot fail
		record, err := b.records.Swap(ctx, accountKey(vehicleID), blk.revision, value, accountTTL)
		switch {
		case errors.Is(err, store.ErrConflict): // another process has taken a block
			blk = b.seen(blk, record)
		case err != nil:
			blk.left, blk.known = had, false // the write may have landed
			b.keep(vehicleID, blk)
			return err
		default:
			fresh.revision, fresh.known = record.Revision, true
			b.keep(vehicleID, fresh)
			return nil
		}
	}
}

// seen is a block with the account as it stands in the store. A record that cannot be
// read begins anew.
func (b *budgets) seen(blk block, record store.Record) block {
	stored, err := records.Decode[storedAccount](record.Value)
	if err != nil {
		stored = storedAccount{}
	}
	if record.Revision != blk.revision || !blk.known {
		blk.account = stored.Account
	}
	if !record.Now.IsZero() {
		blk.toStore = record.Now.Sub(b.opts.now())
	}
	blk.revision, blk.known = record.Revision, true
	return blk
}

// borrow returns a car's block and leaves nothing of it for others.
func (b *budgets) borrow(vehicleID string) block {
	b.mu.Lock()
	defer b.mu.Unlock()
	blk, _ := b.cars.Get(vehicleID)
	rest := blk
	rest.left = 0
	b.cars.Put(vehicleID, rest)
	return blk
}

// keep puts a block back that was borrowed. What was given back meanwhile is added.
func (b *budgets) keep(vehicleID string, blk block) {
	b.mu.Lock()
	defer b.mu.Unlock()
	meanwhile, _ := b.cars.Get(vehicleID)
	blk.left += meanwhile.left
	b.cars.Put(vehicleID, blk)
}

// spendRequest takes one of the application's requests from this process's block.
func (b *budgets) spendRequest(ctx context.Context, r *request) error {
	if b.budget.ApplicationLimit.Requests < 0 || r.override {
		return nil
	}
	for {
		b.mu.Lock()
		elapsed := b.opts.clock.Elapsed()
		blk := &b.bucket
		ready := blk.left > 0 && elapsed < blk.until
		wait := blk.next - elapsed
		if ready {
			blk.left--
		}
		b.mu.Unlock()
		switch {
		case ready:
			return nil
		case wait > 0 && r.isRefusable():
			return b.refused(r, RuleApplication, b.opts.now().Add(wait))
		case wait > 0:
			return nil // Smartcar decides
		}
		if err := b.taking.Do(ctx, bucketKey, func() error { return b.fill(ctx) }); err != nil {
			if contexts.IsEnd(err) {
				return err
			}
			return nil // while the store is away nothing is counted
		}
	}
}

// fill takes a block of the application's requests from the store, and gives back what is
// left of the last one.
func (b *budgets) fill(ctx context.Context) error {
	limit := b.budget.ApplicationLimit
	b.mu.Lock()
	left := max(b.bucket.left, 0)
	b.bucket.left = 0
	b.mu.Unlock()
	taken, wait := 0, time.Duration(0)
	_, err := records.Repair(ctx, b.records, bucketKey, accountTTL, storedBucket{}, func(s *storedBucket, _ bool, now time.Time) error {
		bucket := s.Bucket.At(now, limit.Requests, limit.PerMinute)
		bucket.Calls += float64(left)
		s.Bucket, taken = bucket.Take(bucketBlock)
		s.Write, wait = randid.New(), s.Bucket.Next(limit.PerMinute)
		return nil
	})
	b.mu.Lock()
	defer b.mu.Unlock()
	elapsed := b.opts.clock.Elapsed()
	if err != nil {
		b.bucket.left += left
		return err
	}
	b.bucket = bucketBlockOf{left: b.bucket.left + taken, until: elapsed + bucketTime}
	if taken == 0 {
		b.bucket.next = elapsed + max(wait, bucketPause)
	}
	return nil
}

// lastReset returns the operator's last word, as of the last minute.
func (b *budgets) lastReset(ctx context.Context) (uint64, error) {
	b.mu.Lock()
	reset, fresh := b.reset, b.resetAt > 0 && b.opts.clock.Elapsed()-b.resetAt < resetTrust
	b.mu.Unlock()
	if fresh {
		return reset, nil
	}
	r, err := records.Read[storedReset](ctx, b.records, resetKey)
	if err != nil && !errors.Is(err, store.ErrNotFound) && !errors.Is(err, records.ErrUnreadable) {
		return 0, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.reset, b.resetAt = r.Reset, max(b.opts.clock.Elapsed(), 1)
	return r.Reset, nil
}

// spent returns how many calls of a car's month are spent, and how many are left, the
// reserve included. Ok is false if calls are not counted, or the store is away.
func (b *budgets) spent(ctx context.Context, vehicleID string) (spent, left int, ok bool) {
	if b == nil || b.budget.PerVehicle == 0 {
		return 0, 0, false
	}
	reset, err := b.lastReset(ctx)
	if err == nil {
		err = b.taking.Do(ctx, vehicleID, func() error {
			return b.change(ctx, vehicleID, reset, func(*block) bool { return false })
		})
	}
	if err != nil {
		return 0, 0, false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	blk, _ := b.cars.Get(vehicleID)
	spent = max(blk.account.Spent-blk.left, 0)
	return spent, max(b.budget.PerVehicle-spent, 0), true
}

// forReads is what a read of several operations costs, and how many calls are left for
// reads; no cost means that they are not counted.
func (b *budgets) forReads(ctx context.Context, vehicleID string, ops []operation) (cost, left int) {
	_, left, ok := b.spent(ctx, vehicleID)
	if !ok {
		return 0, 0
	}
	cost = b.cost(&request{car: carRef{id: vehicleID}, kind: KindData, reads: ops})
	return cost, max(left-b.budget.Reserve, 0)
}

// giveBack returns all blocks to the store.
func (b *budgets) giveBack(ctx context.Context) error {
	if b == nil {
		return nil
	}
	for _, id := range b.cars.Keys() {
		if ctx.Err() != nil {
			return contexts.EndOf(ctx)
		}
		err := b.taking.Do(ctx, id, func() error {
			return b.change(ctx, id, b.reset, func(blk *block) bool {
				had := blk.left > 0
				blk.account.Spent -= blk.left
				blk.left, blk.full = 0, 0
				return had
			})
		})
		if err != nil {
			return err
		}
	}
	return nil
}
