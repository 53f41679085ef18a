// Package budget counts the calls of each car's month and the requests of the application,
// in blocks: a process takes some of them from the store and counts those by itself. What is
// permitted is decided by package policy.
package budget

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed-498a1bc4/smartcar/internal/clocks"
	"github.com/seed-498a1bc4/smartcar/internal/contexts"
	"github.com/seed-498a1bc4/smartcar/internal/lru"
	"github.com/seed-498a1bc4/smartcar/internal/policy"
	"github.com/seed-498a1bc4/smartcar/internal/randid"
	"github.com/seed-498a1bc4/smartcar/internal/records"
	"github.com/seed-498a1bc4/smartcar/store"
)

const (
	accountTTL = 40 * 24 * time.Hour // outlasts its month
	// bucketSize is how many requests of the application a process takes at once, and
	// bucketTime for how long it has them. Between two writes of the bucket it waits for
	// bucketPause.
	bucketSize  = 20
	bucketTime  = time.Minute
	bucketPause = time.Second
	// resetTrust is how long a process may go on without having seen ResetBudget.
	resetTrust = time.Minute

	bucketKey = "budget/application"
	resetKey  = "budget/reset"
)

func accountKey(vehicleID string) string { return "budget/car/" + vehicleID }

// Limits are what a plan allows.
type Limits struct {
	PerVehicle int // calls of a car in a month; 0 counts none
	Reserve    int // how many of them reads leave
	Requests   int // of the application, at once; below 0 counts none
	PerMinute  float64
}

// A Call is a request that is about to be sent.
type Call struct {
	Car       string // empty if it concerns none
	Cost      int    // calls of the car's month
	Refusable bool   // a read: Smartcar decides about everything else
	Unlimited bool   // it is not one of the application's requests
}

// A Refusal says which limit leaves nothing.
type Refusal struct {
	Limit Limit
	Wait  time.Duration // of ApplicationLimit: until the next request
	First bool          // of MonthLimit: this process did not know it before
}

// A Limit is one of those that are counted.
type Limit uint8

// The limits.
const (
	NoLimit Limit = iota
	ApplicationLimit
	MonthLimit
)

// Blocks are what one process has taken. They are safe for concurrent use.
type Blocks struct {
	limits  Limits
	clock   *clocks.Clock
	records records.Records
	taking  records.Flights

	mu      sync.Mutex
	cars    *lru.Cache[string, block]
	bucket  bucketBlock
	reset   uint64        // the operator's last word
	resetAt time.Duration // when it was asked for, by the time that has passed; 0 is never
}

// New makes blocks of which those of that many cars are remembered.
func New(limits Limits, clock *clocks.Clock, r records.Records, cars int) *Blocks {
	return &Blocks{limits: limits, clock: clock, records: r, cars: lru.New[string, block](cars)}
}

// block is what this process has taken of a car's calls.
type block struct {
	account  policy.Account
	revision store.Revision
	left     int  // that were taken, and not used
	known    bool // the account was seen in the store
	toStore  time.Duration
	told     bool // First was returned in this month
	full     int  // a read of that cost found too little left in this month; 0 if none did
}

// bucketBlock is what this process has taken of the application's requests.
type bucketBlock struct {
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

// Unsend gives back what was counted for a request that was not sent.
func (b *Blocks) Unsend(c Call) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.bucket.left >= 0 {
		b.bucket.left++
	}
	if blk, ok := b.cars.Get(c.Car); ok && c.Cost > 0 {
		blk.left += c.Cost
		b.cars.Put(c.Car, blk)
	}
}

// Known reports what this process knows, without the store, that a read may not be sent for.
func (b *Blocks) Known(c Call) Refusal {
	b.mu.Lock()
	defer b.mu.Unlock()
	elapsed := b.clock.Elapsed()
	if b.bucket.left <= 0 && b.bucket.next > elapsed+bucketPause {
		return Refusal{Limit: ApplicationLimit, Wait: b.bucket.next - elapsed}
	}
	blk, _ := b.cars.Get(c.Car)
	thisMonth := blk.account.IsOf(b.now().Add(blk.toStore), b.reset) && b.resetAt > 0 && elapsed-b.resetAt < resetTrust
	if thisMonth && c.Cost > blk.left && blk.full > 0 && c.Cost >= blk.full {
		return Refusal{Limit: MonthLimit}
	}
	return Refusal{}
}

// Spend counts a call. Only a read is refused; one that is refused is not counted. While the
// store is away, nothing is counted and nothing refused. The error is that of ctx.
func (b *Blocks) Spend(ctx context.Context, c Call) (Refusal, error) {
	refused, err := b.spendRequest(ctx, c)
	if err != nil || refused.Limit != NoLimit {
		return refused, err
	}
	refused, err = b.spendCalls(ctx, c)
	if err != nil || refused.Limit != NoLimit {
		b.Unsend(Call{Car: c.Car})
	}
	return refused, err
}

// spendCalls takes a request's calls from this process's block, after taking a new block
// if need be.
func (b *Blocks) spendCalls(ctx context.Context, c Call) (Refusal, error) {
	for c.Cost > 0 {
		b.mu.Lock()
		blk, _ := b.cars.Get(c.Car)
		ready := blk.left >= c.Cost && blk.account.IsOf(b.now().Add(blk.toStore), b.reset)
		if ready {
			blk.left -= c.Cost
			b.cars.Put(c.Car, blk)
		}
		b.mu.Unlock()
		if ready {
			return Refusal{}, nil
		}
		flight, must, first := c.Car, !c.Refusable, false
		if must {
			flight = "must/" + flight
		}
		err := b.taking.Do(ctx, flight, func() (err error) {
			first, err = b.take(ctx, c.Car, c.Cost, must)
			return err
		})
		switch {
		case errors.Is(err, errNothingLeft) && c.Refusable:
			return Refusal{Limit: MonthLimit, First: first}, nil
		case contexts.IsEnd(err):
			return Refusal{}, err
		case err != nil:
			return Refusal{}, nil //nolint:nilerr // a command goes whatever is left; and while the store is away nothing is counted
		}
	}
	return Refusal{}, nil
}

// errNothingLeft: the month leaves no calls.
var errNothingLeft = errors.New("no call of the month is left")

// take takes a block of a car's calls from the store; one that must is taken whatever is
// left, since Smartcar decides about a command. First reports that nothing is left, and that
// this process did not know it.
func (b *Blocks) take(ctx context.Context, car string, cost int, must bool) (first bool, err error) {
	reset, err := b.lastReset(ctx)
	if err != nil {
		return false, err
	}
	taken := 0
	err = b.change(ctx, car, reset, func(blk *block) (write bool) {
		had := blk.left
		blk.account.Spent -= had // they go back, and are taken again
		if must {
			taken = max(cost, had)
			blk.account.Spent += taken
		} else if blk.account, taken = blk.account.Take(cost, b.limits.PerVehicle-b.limits.Reserve); taken == 0 {
			blk.account.Spent += had
			first, blk.told, blk.full = !blk.told, true, cost
			return false
		}
		blk.left, blk.full = taken, 0
		return true
	})
	if err == nil && taken == 0 {
		err = errNothingLeft
	}
	return first, err
}

// change edits a car's block together with its account in the store. What it edits is the
// account as this process saw it last, so that in most cases one swap will do. While it
// has the block, what is left of it cannot be used by others.
func (b *Blocks) change(ctx context.Context, vehicleID string, reset uint64, edit func(*block) (write bool)) error {
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
		if account := blk.account.At(b.now().Add(blk.toStore), reset); account != blk.account {
			fresh.account, fresh.left, fresh.full, fresh.told = account, 0, 0, false
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
func (b *Blocks) seen(blk block, record store.Record) block {
	stored, err := records.Decode[storedAccount](record.Value)
	if err != nil {
		stored = storedAccount{}
	}
	if record.Revision != blk.revision || !blk.known {
		blk.account = stored.Account
	}
	if !record.Now.IsZero() {
		blk.toStore = record.Now.Sub(b.now())
	}
	blk.revision, blk.known = record.Revision, true
	return blk
}

// borrow returns a car's block and leaves nothing of it for others.
func (b *Blocks) borrow(vehicleID string) block {
	b.mu.Lock()
	defer b.mu.Unlock()
	blk, _ := b.cars.Get(vehicleID)
	rest := blk
	rest.left = 0
	b.cars.Put(vehicleID, rest)
	return blk
}

// keep puts a block back that was borrowed. What was given back meanwhile is added.
func (b *Blocks) keep(vehicleID string, blk block) {
	b.mu.Lock()
	defer b.mu.Unlock()
	meanwhile, _ := b.cars.Get(vehicleID)
	blk.left += meanwhile.left
	b.cars.Put(vehicleID, blk)
}

// spendRequest takes one of the application's requests from this process's block.
func (b *Blocks) spendRequest(ctx context.Context, c Call) (Refusal, error) {
	if b.limits.Requests < 0 || c.Unlimited {
		return Refusal{}, nil
	}
	for {
		b.mu.Lock()
		elapsed := b.clock.Elapsed()
		blk := &b.bucket
		ready := blk.left > 0 && elapsed < blk.until
		wait := blk.next - elapsed
		if ready {
			blk.left--
		}
		b.mu.Unlock()
		switch {
		case ready:
			return Refusal{}, nil
		case wait > 0 && c.Refusable:
			return Refusal{Limit: ApplicationLimit, Wait: wait}, nil
		case wait > 0:
			return Refusal{}, nil // Smartcar decides
		}
		if err := b.taking.Do(ctx, bucketKey, func() error { return b.fill(ctx) }); err != nil {
			if contexts.IsEnd(err) {
				return Refusal{}, err
			}
			return Refusal{}, nil // while the store is away nothing is counted
		}
	}
}

// fill takes a block of the application's requests from the store, and gives back what is
// left of the last one.
func (b *Blocks) fill(ctx context.Context) error {
	b.mu.Lock()
	left := max(b.bucket.left, 0)
	b.bucket.left = 0
	b.mu.Unlock()
	taken, wait := 0, time.Duration(0)
	_, err := records.Repair(ctx, b.records, bucketKey, accountTTL, storedBucket{}, func(s *storedBucket, _ bool, now time.Time) error {
		bucket := s.Bucket.At(now, b.limits.Requests, b.limits.PerMinute)
		bucket.Calls += float64(left)
		s.Bucket, taken = bucket.Take(bucketSize)
		s.Write, wait = randid.New(), s.Bucket.Next(b.limits.PerMinute)
		return nil
	})
	b.mu.Lock()
	defer b.mu.Unlock()
	elapsed := b.clock.Elapsed()
	if err != nil {
		b.bucket.left += left
		return err
	}
	b.bucket = bucketBlock{left: b.bucket.left + taken, until: elapsed + bucketTime}
	if taken == 0 {
		b.bucket.next = elapsed + max(wait, bucketPause)
	}
	return nil
}

// lastReset returns the operator's last word, as of the last minute.
func (b *Blocks) lastReset(ctx context.Context) (uint64, error) {
	b.mu.Lock()
	reset, fresh := b.reset, b.resetAt > 0 && b.clock.Elapsed()-b.resetAt < resetTrust
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
	b.reset, b.resetAt = r.Reset, max(b.clock.Elapsed(), 1)
	return r.Reset, nil
}

// Spent returns how many calls of a car's month are spent, and how many are left, the
// reserve included. Ok is false if calls are not counted, or the store is away.
func (b *Blocks) Spent(ctx context.Context, vehicleID string) (spent, left int, ok bool) {
	if b.limits.PerVehicle == 0 {
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
	return spent, max(b.limits.PerVehicle-spent, 0), true
}

// givers is how many blocks are given back at the same time: a process that ends has a
// block of each of its cars.
const givers = 16

// GiveBack returns all blocks to the store.
func (b *Blocks) GiveBack(ctx context.Context) error {
	ids, next := b.cars.Keys(), atomic.Int64{}
	b.mu.Lock()
	reset := b.reset
	b.mu.Unlock()
	var errs [givers]error
	var all sync.WaitGroup
	for giver := range errs {
		all.Go(func() {
			for errs[giver] == nil {
				i := int(next.Add(1)) - 1
				if i >= len(ids) {
					return
				}
				errs[giver] = contexts.EndOf(ctx)
				if errs[giver] == nil {
					errs[giver] = b.giveBack(ctx, ids[i], reset)
				}
			}
		})
	}
	all.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func (b *Blocks) giveBack(ctx context.Context, vehicleID string, reset uint64) error {
	return b.taking.Do(ctx, vehicleID, func() error {
		return b.change(ctx, vehicleID, reset, func(blk *block) bool {
			had := blk.left > 0
			blk.account.Spent -= blk.left
			blk.left, blk.full = 0, 0
			return had
		})
	})
}

// Reset has all processes count anew. Those that share the store see it within a minute.
func (b *Blocks) Reset(ctx context.Context) error {
	reset := storedReset{Reset: randid.New()}
	_, err := records.Repair(ctx, b.records, resetKey, 0, reset, func(r *storedReset, _ bool, _ time.Time) error {
		*r = reset
		return nil
	})
	if err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.reset, b.resetAt = reset.Reset, max(b.clock.Elapsed(), 1)
	return nil
}

func (b *Blocks) now() time.Time { return b.clock.Now().UTC() }
