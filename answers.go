package smartcar

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"
	"sync"
	"time"

	"github.com/seed-498a1bc4/smartcar/internal/contexts"
	"github.com/seed-498a1bc4/smartcar/internal/lru"
	"github.com/seed-498a1bc4/smartcar/internal/policy"
	"github.com/seed-498a1bc4/smartcar/internal/randid"
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

// keep stores what the car said, for the next caller of the same scope. Left is when
// the request left, by the time that has passed.
func (c *answerCache) keep(ctx context.Context, ref answerRef, left time.Duration, parts []part) {
	ref.kept.keep(ref.scope, ref.units, parts)
	c.stored.keep(ctx, ref, left, parts)
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

func (k *vehicleKept) keep(scope string, units UnitSystem, parts []part) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.answers == nil {
		k.answers = make(map[answerKey]part)
	}
	for _, p := range parts {
		if p.err == nil && p.op.kind == KindData {
			p.value = nil // the caller's
			k.answers[answerKey{scope: scope, op: p.op.name, units: units}] = p
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
// car before its data is refreshed. Passed is how much time has passed in this
// process.
func (k *vehicleKept) current(key answerKey, passed time.Duration, rules policy.Rules) (part, bool) {
	p, ok := k.get(key)
	if !ok || !k.repeats() {
		return part{}, false
	}
	good := policy.NextLegacy(p.meta.RecordedAt, p.meta.ReceivedAt, rules).Sub(p.meta.ReceivedAt)
	return p, passed-p.came < good
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

// StoredAnswers bounds what [WithStoredAnswers] keeps of each vehicle.
type StoredAnswers struct {
	// MaxAge is how long an answer is kept at most, up to 90 days. Default a day.
	MaxAge time.Duration
	// MaxBytes is the size of all answers of one vehicle, up to 1 MiB; the
	// oldest go first. Default 64 KiB, which is more than a car has to say.
	MaxBytes int
	// Location keeps answers that may tell where the car is, too. They stand
	// in the store as Smartcar sent them: consider a [store.Sealed] store.
	Location bool
}

const (
	maxAnswerAge   = 90 * 24 * time.Hour
	maxAnswerBytes = 1 << 20
)

// WithStoredAnswers keeps the last answers in the store too, so that replicas
// share them and a restart does not forget them: a legacy car is then asked
// once a refresh by all replicas together, and [AllowStale] works anywhere.
// Each answer costs a read and a write of the store, so does each command, and
// each answer that is handed out a read. A store that is away costs nothing but
// the sharing. Without an answer cache, [WithAnswerCache] at zero, none are kept.
func WithStoredAnswers(bounds StoredAnswers) Option {
	return func(o *options) error {
		bounds.MaxAge = cmp.Or(bounds.MaxAge, 24*time.Hour)
		bounds.MaxBytes = cmp.Or(bounds.MaxBytes, 64<<10)
		switch {
		case bounds.MaxAge < 0 || bounds.MaxAge > maxAnswerAge:
			return argumentError("StoredAnswers.MaxAge", "must be above zero and at most 90 days; zero is a day")
		case bounds.MaxBytes < 0 || bounds.MaxBytes > maxAnswerBytes:
			return argumentError("StoredAnswers.MaxBytes", "must be above zero and at most 1 MiB; zero is 64 KiB")
		}
		o.storedAnswers = &bounds
		return nil
	}
}

// storedAnswers is the part of the answer cache that replicas share. A nil one
// keeps nothing.
type storedAnswers struct {
	opts    *options
	records records.Records
	users   *users.Users
	bounds  StoredAnswers
}

// answersRecord is what is stored of one vehicle. All times are the store's.
type answersRecord struct {
	// DiscardedAt is when a command made everything older worthless, which
	// holds for answers that were on their way, too.
	DiscardedAt time.Time      `json:"discarded_at,omitzero"`
	Answers     []storedAnswer `json:"answers,omitempty"`
	Write       uint64         `json:"write"` // makes every write distinct; see records.swap
}

type storedAnswer struct {
	Scope      string          `json:"scope"`
	Operation  Operation       `json:"operation"`
	Units      UnitSystem      `json:"units"` // as asked for
	Body       json.RawMessage `json:"body"`
	RequestID  string          `json:"request_id,omitempty"`
	RecordedAt time.Time       `json:"recorded_at,omitzero"`
	FetchedAt  time.Time       `json:"fetched_at,omitzero"`
	ReceivedAt time.Time       `json:"received_at"`
	UnitSystem UnitSystem      `json:"unit_system,omitempty"` // as answered
	Pushed     bool            `json:"pushed,omitempty"`      // by a webhook
	Sequence   int64           `json:"sequence,omitempty"`    // of its event
}

// part is the answer as it is kept in memory; its operation is still to be found.
func (a *storedAnswer) part() part {
	return part{body: a.Body, pushed: a.Pushed, sequence: a.Sequence, meta: Meta{
		RequestID: a.RequestID, UnitSystem: a.UnitSystem, Source: SourceCache,
		RecordedAt: a.RecordedAt, FetchedAt: a.FetchedAt, ReceivedAt: a.ReceivedAt,
	}}
}

func answersKey(vehicleID string) string { return "answers/" + vehicleID }

// change edits the record of a vehicle and keeps it within its bounds.
func (s *storedAnswers) change(ctx context.Context, vehicleID string, change func(r *answersRecord, now time.Time) bool) error {
	_, err := records.Change(ctx, s.records, answersKey(vehicleID), s.bounds.MaxAge, func(r *answersRecord, _ bool, now time.Time) error {
		if !change(r, now) {
			return records.ErrUnchanged
		}
		r.bound(s.bounds, now)
		r.Write = randid.New()
		return nil
	})
	return err
}

// bound drops what is too old, and the oldest of what is too much.
func (r *answersRecord) bound(bounds StoredAnswers, now time.Time) {
	slices.SortFunc(r.Answers, func(a, b storedAnswer) int { return b.ReceivedAt.Compare(a.ReceivedAt) })
	left := bounds.MaxBytes
	r.Answers = slices.DeleteFunc(r.Answers, func(a storedAnswer) bool {
		left -= a.size()
		return left < 0 || now.Sub(a.ReceivedAt) >= bounds.MaxAge
	})
}

// size is what the answer takes in the record, the names of its fields included.
func (a *storedAnswer) size() int {
	const fields = 250
	return fields + len(a.Scope) + len(a.Operation) + len(a.RequestID) + len(a.Body)
}

// keep stores the answers to a request that left then, if its user is still known.
func (s *storedAnswers) keep(ctx context.Context, ref answerRef, left time.Duration, parts []part) {
	if s == nil {
		return
	}
	parts = slices.DeleteFunc(slices.Clone(parts), func(p part) bool {
		return p.err != nil || p.op.kind != KindData || p.op.mayTellPlace() && !s.bounds.Location || !json.Valid(p.body)
	})
	ctx, cancel := contexts.Detached(ctx)
	defer cancel()
	if len(parts) == 0 || !s.users.AddCar(ctx, ref.car.user, ref.car.id, false) {
		return
	}
	_ = s.change(ctx, ref.car.id, func(r *answersRecord, now time.Time) bool {
		passed := s.opts.clock.Elapsed()
		if !r.DiscardedAt.IsZero() && !now.Add(left-passed).After(r.DiscardedAt) {
			return false
		}
		first := !slices.ContainsFunc(r.Answers, func(a storedAnswer) bool { return a.Scope == ref.scope })
		if first && !s.users.AddCarNow(ctx, ref.car.user, ref.car.id, false) {
			return false // forgotten elsewhere, a moment ago
		}
		for _, p := range parts {
			r.put(storedAnswer{
				Scope: ref.scope, Operation: p.op.name, Units: ref.units, Body: p.body,
				RequestID: p.meta.RequestID, UnitSystem: p.meta.UnitSystem,
				RecordedAt: p.meta.RecordedAt, FetchedAt: p.meta.FetchedAt, ReceivedAt: now.Add(p.came - passed),
				Pushed: p.pushed, Sequence: p.sequence,
			})
		}
		return true
	})
}

// put replaces an answer by a newer one.
func (r *answersRecord) put(a storedAnswer) {
	for i, old := range r.Answers {
		if old.Scope == a.Scope && old.Operation == a.Operation && old.Units == a.Units {
			if a.part().outdates(old.part()) {
				r.Answers[i] = a
			}
			return
		}
	}
	r.Answers = append(r.Answers, a)
}

// sync brings what this process keeps of a vehicle up to what other replicas have
// stored, as far as it concerns the scope.
func (s *storedAnswers) sync(ctx context.Context, ref answerRef) {
	if s == nil || ref.kept == nil {
		return
	}
	record, err := s.records.Load(ctx, answersKey(ref.car.id))
	if err != nil {
		return // gone, or away: what this process keeps has to do
	}
	r, err := records.Decode[answersRecord](record.Value)
	if err != nil {
		return // written by another version
	}
	now, passed := s.opts.now(), s.opts.clock.Elapsed()
	toOurs := time.Duration(0)
	if !record.Now.IsZero() {
		toOurs = now.Sub(record.Now)
	}
	if !r.DiscardedAt.IsZero() {
		ref.kept.dropUntil(r.DiscardedAt.Add(toOurs))
	}
	for _, a := range r.Answers {
		op := lookup(a.Operation)
		received := a.ReceivedAt.Add(toOurs)
		if a.Scope != ref.scope || len(op) == 0 || now.Sub(received) >= s.bounds.MaxAge {
			continue
		}
		p := a.part()
		p.op, p.meta.ReceivedAt = &op[0], received
		p.came = passed - max(0, now.Sub(received)) // what came in the future was dated by a clock that was wrong
		ref.kept.putNewer(answerKey{scope: a.Scope, op: a.Operation, units: a.Units}, p)
	}
}

// discard forgets the answers of all owners, also those that are on their way.
func (s *storedAnswers) discard(ctx context.Context, vehicleID string) error {
	if s == nil {
		return nil
	}
	ctx, cancel := contexts.Detached(ctx)
	defer cancel()
	return s.change(ctx, vehicleID, func(r *answersRecord, now time.Time) bool {
		r.Answers, r.DiscardedAt = nil, now
		return true
	})
}

// dropScope forgets what one scope was told.
func (s *storedAnswers) dropScope(ctx context.Context, vehicleID, scope string) error {
	if s == nil {
		return nil
	}
	return s.change(ctx, vehicleID, func(r *answersRecord, _ time.Time) bool {
		before := len(r.Answers)
		r.Answers = slices.DeleteFunc(r.Answers, func(a storedAnswer) bool { return a.Scope == scope })
		return len(r.Answers) != before
	})
}
