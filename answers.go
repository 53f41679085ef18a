package smartcar

import (
	"bytes"
	"compress/flate"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"iter"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed-498a1bc4/smartcar/internal/lru"
	"github.com/seed-498a1bc4/smartcar/internal/policy"
	"github.com/seed-498a1bc4/smartcar/internal/records"
	"github.com/seed-498a1bc4/smartcar/internal/users"
)

// answerCache keeps the last answers of each vehicle. Below the vehicle they are
// keyed by scope (the user), operation and units, so
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
	units UnitSystem // as asked for; see wire.keptIn
	// connect is the run of Connect under whose permissions they were given.
	connect uint64
}

func (r answerRef) key(op Operation) answerKey {
	return answerKey{scope: r.scope, op: op, units: r.units}
}

func (r *request) answerRef() answerRef {
	return answerRef{kept: r.kept, car: r.car, scope: r.scope, units: r.keptIn, connect: r.connect}
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

// vehicleKept are the answers that are kept of one vehicle. A command replaces it
// by an empty one: an answer to a request from before the command is then put into
// the old one, where nobody looks.
type vehicleKept struct {
	mu      sync.Mutex
	answers map[answerKey]part
	since   time.Time // of a command: stored answers that were received before are outdated
	// What the policy knows of the car: its class is known; its answers stay the same
	// until its next refresh.
	hasClass, repeating bool
	cadence             policy.Cadence
	// plain: the class is known, and the answers are new each time. Then there is
	// nothing to look for before a read.
	plain atomic.Bool
	// granted has the permissions of a scope, as the last run of Connect that is
	// known has left them.
	granted map[string]permissionsOf
}

// permissionsOf are those that one run of Connect has granted for a car.
type permissionsOf struct {
	connect uint64
	list    []string
}

// cover reports whether an answer that was kept before the last run of Connect may still
// be handed out. The list of all signals never may: it may hold signals of permissions
// that were withdrawn.
func (g permissionsOf) cover(op *operation) bool {
	return op.name != AllSignals && (op.permission == "" || slices.Contains(g.list, op.permission))
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

// keep keeps answers, in memory and in the store, for the next caller of the same
// scope. Left and came are when the request left and when the answers came, by the
// time that has passed.
func (c *answerCache) keep(ctx context.Context, ref answerRef, left, came time.Duration, parts []part) {
	k := ref.kept
	k.mu.Lock()
	if k.answers == nil {
		k.answers = make(map[answerKey]part)
	}
	for i := range parts {
		parts[i].connect, parts[i].came = ref.connect, came
		p := parts[i]
		if p.err != nil {
			continue
		}
		p.value = nil // the caller may change it
		switch {
		case p.list != nil:
			p.body = nil // the list has all of it
		case len(p.body) >= largeBody:
			p = p.pack()
		}
		k.answers[answerKey{scope: ref.scope, op: p.op.name, units: ref.units}] = p
	}
	k.mu.Unlock()
	if c.stored != nil {
		c.stored.keep(ctx, ref, left, parts)
	}
}

// discard deletes a vehicle's answers after a command that may have changed it. If
// the store is away, this process no longer believes the answers stored there.
func (c *answerCache) discard(ctx context.Context, vehicleID string, now time.Time) {
	old, ok := c.vehicles.Get(vehicleID)
	if !ok && c.stored == nil {
		return
	}
	fresh := &vehicleKept{since: now}
	if ok {
		old.mu.Lock()
		fresh.hasClass, fresh.repeating, fresh.cadence, fresh.granted = old.hasClass, old.repeating, old.cadence, old.granted
		fresh.plain.Store(old.plain.Load())
		old.mu.Unlock()
	}
	c.vehicles.Put(vehicleID, fresh)
	_ = c.stored.discard(ctx, vehicleID)
}

// dropScope deletes the answers of one scope about a car, whose connection has ended.
func (c *answerCache) dropScope(ctx context.Context, vehicleID, scope string) error {
	if k, ok := c.vehicles.Get(vehicleID); ok {
		k.dropScope(scope)
	}
	return c.stored.dropScope(ctx, vehicleID, scope)
}

// restrict deletes what a new run of Connect does not cover of the answers that a
// scope was given before it.
func (c *answerCache) restrict(ctx context.Context, vehicleID, scope string, granted permissionsOf) {
	if k, ok := c.vehicles.Get(vehicleID); ok {
		k.restrict(scope, granted)
	}
	_ = c.stored.restrict(ctx, vehicleID, scope, granted)
}

func (k *vehicleKept) restrict(scope string, granted permissionsOf) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for key, p := range k.answers {
		switch {
		case key.scope != scope || p.connect == granted.connect:
		case granted.cover(p.op):
			p.connect = granted.connect
			k.answers[key] = p
		default:
			delete(k.answers, key)
		}
	}
	all := maps.Clone(k.granted) // another vehicleKept may have the same
	if all == nil {
		all = make(map[string]permissionsOf)
	}
	all[scope] = granted
	k.granted = all
}

// grantedTo returns the permissions of a scope by a run of Connect, if they are known.
func (k *vehicleKept) grantedTo(scope string, connect uint64) (permissionsOf, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	granted, ok := k.granted[scope]
	return granted, ok && granted.connect == connect
}

func (k *vehicleKept) dropScope(scope string) {
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
	p, ok := k.answers[key]
	k.mu.Unlock()
	p.value = nil // which is not for callers
	return p.unpacked(), ok
}

// largeBody is from where on a body is packed: the list of all signals is some 50 kB
// of JSON, and packed a tenth of that.
const largeBody = 8 << 10

// pack makes a kept part smaller.
func (p part) pack() part {
	if len(p.body) < largeBody {
		return p
	}
	var small bytes.Buffer
	w, err := flate.NewWriter(&small, flate.BestSpeed)
	if err == nil {
		_, err = w.Write(p.body)
		err = errors.Join(err, w.Close())
	}
	if err == nil {
		p.body, p.packed = nil, slices.Clip(small.Bytes())
	}
	return p
}

func (p part) unpacked() part {
	if p.packed != nil {
		p.body, _ = io.ReadAll(flate.NewReader(bytes.NewReader(p.packed))) // from memory: cannot fail
		p.packed = nil
	}
	return p
}

// putNewer stores an answer that this process did not ask for, unless it is outdated.
func (k *vehicleKept) putNewer(key answerKey, p part) {
	p = p.pack()
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
// were received. Webhook events are received in any order: for them, the time of the
// recording decides, unless the car's clock is ahead, and then the sequence number.
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

// dropUntil deletes answers that were received until a command of another replica.
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

// stillRepeats reports whether Smartcar would give an answer again: that of a
// legacy car before its data is refreshed. Passed is how much time has passed in this
// process.
func (k *vehicleKept) stillRepeats(p part, passed time.Duration, rules policy.Rules) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return p.meta.ReceivedAt.Add(passed - p.came).Before(k.cadence.Next(p.meta.RecordedAt, p.meta.ReceivedAt, rules))
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

func (k *vehicleKept) lacksClass() bool {
	if k == nil {
		return false
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	return !k.hasClass
}

// setClass remembers what decides whether a kept answer is current.
func (k *vehicleKept) setClass(s *policy.State) {
	if k == nil {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.hasClass, k.repeating, k.cadence = s.Class() != policy.ClassUnresolved, s.Repeats(), s.Cadence()
	k.plain.Store(k.hasClass && !k.repeating)
}

// A Snapshot is the answer to many reads in one request: for each operation a
// result or an error of its own. Its methods are those of [Vehicle]. It is
// safe for concurrent use.
type Snapshot struct {
	wire  wire
	parts func() []part    // a function, so that no verb of fmt prints them
	taken func(i int) bool // reports whether the result of a part was handed out before
}

// newSnapshot takes parts whose results nobody else has.
func newSnapshot(w wire, parts []part) *Snapshot {
	taken := make([]atomic.Bool, len(parts))
	return &Snapshot{
		wire: w, parts: func() []part { return parts },
		taken: func(i int) bool { return taken[i].Swap(true) },
	}
}

// Operations yields what was asked for, with the error each met, if any.
func (s *Snapshot) Operations() iter.Seq2[Operation, error] {
	return func(yield func(Operation, error) bool) {
		for _, p := range s.all() {
			if !yield(p.op.name, p.callerErr) {
				return
			}
		}
	}
}

// Format names the operations and nothing of what they said.
func (s *Snapshot) Format(f fmt.State, _ rune) {
	_, _ = io.WriteString(f, "smartcar.Snapshot[")
	for i, p := range s.all() {
		if i > 0 {
			_, _ = io.WriteString(f, " ")
		}
		_, _ = io.WriteString(f, string(p.op.name))
	}
	_, _ = io.WriteString(f, "]")
}

// LogValue keeps what was read out of structured logs.
func (s *Snapshot) LogValue() slog.Value { return slog.StringValue(fmt.Sprint(s)) }

// MarshalJSON gives what was read, under the names of the operations: results as the
// fields of their types, all signals as Smartcar sent them, and the texts of the errors.
// Where the car is stands in it if that was read.
func (s *Snapshot) MarshalJSON() ([]byte, error) {
	out := struct {
		Results map[Operation]any    `json:"results"`
		Errors  map[Operation]string `json:"errors,omitempty"`
	}{Results: map[Operation]any{}, Errors: map[Operation]string{}}
	for op, err := range s.Operations() {
		var p part
		if err == nil {
			p, err = s.reading(op)
		}
		if err != nil {
			out.Errors[op] = err.Error()
			continue
		}
		switch value := p.value.(type) {
		case *permissionsV2:
			out.Results[op] = value.list()
		case *Signals:
			out.Results[op] = p.json()
		default:
			out.Results[op] = value
		}
	}
	return json.Marshal(out)
}

func (s *Snapshot) all() []part {
	if s == nil || s.parts == nil {
		return nil
	}
	return s.parts()
}

// reading returns the part of one operation, decoded.
func (s *Snapshot) reading(op Operation) (part, error) {
	parts := s.all()
	for i := range parts {
		if parts[i].op.name == op {
			p := parts[i]
			if s.taken(i) {
				p.value = nil // each caller may change what it gets
			}
			return decoded(s.wire, p)
		}
	}
	return part{}, fmt.Errorf("%w: %s", ErrNotRequested, op)
}

// Permissions returns the first page of what [Vehicle.Permissions] would.
func (s *Snapshot) Permissions() ([]string, error) {
	page, err := readingAs[permissionsV2](s.reading(Permissions))
	if err != nil {
		return nil, err
	}
	return page.list(), nil
}

// ServiceHistory returns what [Vehicle.ServiceHistory] would, for the last year.
func (s *Snapshot) ServiceHistory() (*ServiceHistoryReading, error) {
	return readingAs[ServiceHistoryReading](s.reading(ServiceHistory))
}

// Signals returns what [Vehicle.Signals] would.
func (s *Snapshot) Signals() (*Signals, error) { return readingAs[Signals](s.reading(AllSignals)) }

// notARead says why an operation cannot be part of a snapshot. It repeats the name of
// a known operation only: any other text could be a secret.
func notARead(op Operation) string {
	if len(lookup(op)) == 0 {
		return "takes reads such as smartcar.Battery, and one of the operations is unknown"
	}
	return "takes reads such as smartcar.Battery; " + string(op) + " is a command and has a method of its own"
}

// allFailed returns the first error of a snapshot in which nothing was read.
func (s *Snapshot) allFailed() error {
	var first error
	for _, p := range s.all() {
		if p.callerErr == nil {
			return nil
		}
		if first == nil {
			first = p.callerErr
		}
	}
	return first
}

// fingerprint names what is in a snapshot: when it was recorded or, if that is not known,
// by which request it came. It is zero if nothing was read.
func (s *Snapshot) fingerprint() uint64 {
	h := fnv.New64a()
	found := false
	for _, p := range s.all() {
		if p.callerErr != nil {
			continue
		}
		found = true
		_, _ = fmt.Fprint(h, p.op.name, "\x00")
		switch {
		case !p.meta.RecordedAt.IsZero():
			_, _ = fmt.Fprint(h, p.meta.RecordedAt.UnixMilli())
		case p.meta.RequestID != "":
			_, _ = fmt.Fprint(h, p.meta.RequestID)
		default:
			_, _ = fmt.Fprint(h, p.meta.ReceivedAt.Unix()/60)
		}
	}
	if !found {
		return 0
	}
	return max(h.Sum64(), 1)
}
