package smartcar

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed-498a1bc4/smartcar/internal/lru"
	"github.com/seed-498a1bc4/smartcar/internal/policy"
)

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
