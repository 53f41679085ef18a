package smartcar

import (
	"context"
	"sync"
	"time"

	"github.com/seed-498a1bc4/smartcar/internal/lru"
	"github.com/seed-498a1bc4/smartcar/internal/policy"
	"github.com/seed-498a1bc4/smartcar/internal/records"
	"github.com/seed-498a1bc4/smartcar/internal/users"
)

// answerCache keeps the last answers of each vehicle. Below the vehicle they are
// keyed by scope (the grant on v2.0, the user on v3), operation and units, so
// that a shared car leaks nothing between its owners.
type answerCache struct {
	vehicles *lru.Cache[string, *vehicleKept] // nil keeps none
	stored   *storedAnswers                   // nil shares none
}

// An answerRef says where the answers to a request are kept.
type answerRef struct {
	kept  *vehicleKept // nil keeps none
	car   carRef
	scope string     // whose answers these are
	units UnitSystem // as asked for
}

func (r answerRef) key(op Operation) answerKey {
	return answerKey{scope: r.scope, op: op, units: r.units}
}

func (r *request) answerRef() answerRef {
	return answerRef{kept: r.kept, car: r.car, scope: r.scope, units: r.units}
}

func newAnswerCache(o *options, r records.Records, u *users.Users) *answerCache {
	if o.cacheSize == 0 {
		return &answerCache{}
	}
	cache := &answerCache{vehicles: lru.New[string, *vehicleKept](o.cacheSize)}
	if o.storedAnswers != nil {
		cache.stored = &storedAnswers{o, r, u, *o.storedAnswers}
	}
	return cache
}

// vehicleKept is what is kept of one vehicle. A command replaces it whole: an
// answer that was on its way then lands where nobody looks.
type vehicleKept struct {
	mu      sync.Mutex
	answers map[answerKey]part
	since   time.Time // answers stored elsewhere and received until then are worthless
	// Of the car: its class is known; its answers stay the same until it refreshes.
	classified, repeating bool
}

type answerKey struct {
	scope string
	op    Operation
	units UnitSystem
}

// of returns where the answers of a vehicle are kept; nil when none are.
func (c *answerCache) of(vehicleID string) *vehicleKept {
	if c.vehicles == nil {
		return nil
	}
	if k, ok := c.vehicles.Get(vehicleID); ok {
		return k
	}
	return c.vehicles.GetOrPut(vehicleID, new(vehicleKept))
}

// keep stores what the car said, for the next caller of the same scope.
func (c *answerCache) keep(ctx context.Context, ref answerRef, began time.Time, parts []part) {
	ref.kept.keep(ref, parts)
	c.stored.keep(ctx, ref, began, parts)
}

// discard forgets a vehicle's answers after a command that may have changed it.
// Should the store be away, what it holds is not believed by this process.
func (c *answerCache) discard(ctx context.Context, vehicleID string, now time.Time) {
	old, ok := c.vehicles.Get(vehicleID)
	if !ok && c.stored == nil {
		return
	}
	fresh := &vehicleKept{since: now}
	if ok {
		old.mu.Lock()
		fresh.classified, fresh.repeating = old.classified, old.repeating
		old.mu.Unlock()
	}
	c.vehicles.Put(vehicleID, fresh)
	_ = c.stored.discard(ctx, vehicleID)
}

// dropScope forgets what one scope was told about a car: its connection has ended.
func (c *answerCache) dropScope(ctx context.Context, vehicleID, scope string) error {
	c.of(vehicleID).dropScope(scope)
	return c.stored.dropScope(ctx, vehicleID, scope)
}

func (k *vehicleKept) dropScope(scope string) {
	if k == nil {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	for key := range k.answers {
		if key.scope == scope {
			delete(k.answers, key)
		}
	}
}

func (k *vehicleKept) get(key answerKey) (part, bool) {
	if k == nil {
		return part{}, false
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	p, ok := k.answers[key]
	return p, ok
}

func (k *vehicleKept) keep(ref answerRef, parts []part) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.answers == nil {
		k.answers = make(map[answerKey]part)
	}
	for _, p := range parts {
		if p.err == nil && p.op.kind == KindData {
			p.value = nil // the caller's
			k.answers[ref.key(p.op.name)] = p
		}
	}
}

// putNewer stores an answer that this process did not ask for, unless it is outdated.
func (k *vehicleKept) putNewer(key answerKey, p part) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if old, ok := k.answers[key]; !p.meta.ReceivedAt.After(k.since) || ok && !p.outdates(old) {
		return
	}
	if k.answers == nil {
		k.answers = make(map[answerKey]part)
	}
	k.answers[key] = p
}

// outdates reports whether p is newer than old. Answers are ordered by when they
// came; what was pushed comes in any order: there the vehicle's clock counts, as
// far as it is not ahead, and then the order in which Smartcar said it.
func (p part) outdates(old part) bool {
	was, is := earlier(old.meta.RecordedAt, old.meta.ReceivedAt), earlier(p.meta.RecordedAt, p.meta.ReceivedAt)
	switch {
	case p.pushed && !was.IsZero() && !is.IsZero() && !was.Equal(is):
		return is.After(was)
	case p.pushed && p.sequence != 0 && old.sequence != 0:
		return p.sequence > old.sequence
	}
	return p.meta.ReceivedAt.After(old.meta.ReceivedAt)
}

// dropUntil forgets what was received until a command elsewhere.
func (k *vehicleKept) dropUntil(at time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.since = later(k.since, at)
	for key, p := range k.answers {
		if !p.meta.ReceivedAt.After(k.since) {
			delete(k.answers, key)
		}
	}
}

// current returns the answer that Smartcar would give again: that of a legacy
// car before its data is refreshed.
func (k *vehicleKept) current(key answerKey, now time.Time, rules policy.Rules) (part, bool) {
	p, ok := k.get(key)
	if !ok || !k.repeats() || !now.Before(policy.NextLegacy(p.meta.RecordedAt, p.meta.ReceivedAt, rules)) {
		return part{}, false
	}
	return p, true
}

// repeats reports whether the vehicle's answers stay the same until it refreshes.
func (k *vehicleKept) repeats() bool {
	if k == nil {
		return false
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.repeating
}

func (k *vehicleKept) unclassified() bool {
	if k == nil {
		return false
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	return !k.classified
}

// classify remembers of the car's state what decides whether an answer is current.
func (k *vehicleKept) classify(s policy.State) {
	if k == nil {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.classified, k.repeating = s.Class() != policy.ClassUnresolved, s.Repeats()
}

// newest returns the latest recording among parts.
func newest(parts []part) (at time.Time) {
	for _, p := range parts {
		if p.err == nil {
			at = later(at, p.meta.RecordedAt)
		}
	}
	return at
}
