package smartcar

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"github.com/seed-498a1bc4/smartcar/internal/contexts"
	"github.com/seed-498a1bc4/smartcar/internal/losable"
	"github.com/seed-498a1bc4/smartcar/internal/lru"
	"github.com/seed-498a1bc4/smartcar/internal/randid"
	"github.com/seed-498a1bc4/smartcar/internal/records"
	"github.com/seed-498a1bc4/smartcar/internal/users"
	"github.com/seed-498a1bc4/smartcar/store"
)

// StoredAnswers bounds what [WithStoredAnswers] keeps of each vehicle.
type StoredAnswers struct {
	// Keep is how long an answer is kept, at most 90 days; 0 means one day. How old an
	// answer a read accepts is set by [MaxAge].
	Keep time.Duration
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
// Storing an answer costs one read and one write of the store, and so does a command;
// handing one out costs one read. A store that is away costs nothing but
// the sharing. Without an answer cache, [WithCacheSize] at zero, none are kept.
func WithStoredAnswers(bounds StoredAnswers) Option {
	return func(o *options) error {
		bounds.Keep = cmp.Or(bounds.Keep, 24*time.Hour)
		bounds.MaxBytes = cmp.Or(bounds.MaxBytes, 64<<10)
		switch {
		case bounds.Keep < 0 || bounds.Keep > maxAnswerAge:
			return argumentError("StoredAnswers.Keep", "must not be negative and at most 90 days (0 means one day)")
		case bounds.MaxBytes < 0 || bounds.MaxBytes > maxAnswerBytes:
			return argumentError("StoredAnswers.MaxBytes", "must not be negative and at most 1 MiB (0 means 64 KiB)")
		}
		o.storedAnswers = &bounds
		return nil
	}
}

// storedAnswers is the part of the answer cache that replicas share through the
// store. A nil one keeps nothing.
type storedAnswers struct {
	opts    *options
	records records.Records
	users   *users.Users
	bounds  StoredAnswers
}

// answersRecord is what is stored of one vehicle. All times are the store's.
type answersRecord struct {
	// DiscardedAt is when a command made all answers to earlier requests outdated,
	// also those that have not arrived yet.
	DiscardedAt time.Time      `json:"discarded_at,omitzero"`
	Answers     []storedAnswer `json:"answers,omitempty"`
	Write       uint64         `json:"write"` // makes every write distinct; see records.Swap
	lost        bool           // it stands in for a record that cannot be read
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
	Connect    uint64          `json:"connect,omitempty"`     // see answerRef
}

// part is the answer as it is kept in memory; its operation is still to be found.
func (a *storedAnswer) part() part {
	return part{body: a.Body, pushed: a.Pushed, sequence: a.Sequence, connect: a.Connect, meta: Meta{
		RequestID: a.RequestID, UnitSystem: a.UnitSystem, Source: SourceCache,
		RecordedAt: a.RecordedAt, FetchedAt: a.FetchedAt, ReceivedAt: a.ReceivedAt,
	}}
}

func answersKey(vehicleID string) string { return "answers/" + vehicleID }

// change edits the record of a vehicle and keeps it within its bounds. A record that cannot
// be read is replaced by an empty one: nobody can tell whose answers it holds, and Forget
// must not fail on it.
func (s *storedAnswers) change(ctx context.Context, vehicleID string, change func(r *answersRecord, now time.Time) bool) error {
	_, err := records.Repair(ctx, s.records, answersKey(vehicleID), s.bounds.Keep, answersRecord{lost: true}, func(r *answersRecord, _ bool, now time.Time) error {
		if !change(r, now) && !r.lost {
			return records.ErrUnchanged
		}
		r.bound(s.bounds, now)
		r.Write = randid.New()
		return nil
	})
	return err
}

// bound drops what is older than Keep, and then the oldest answers until the rest fits. An
// answer that is too large by itself is dropped alone.
func (r *answersRecord) bound(bounds StoredAnswers, now time.Time) {
	slices.SortFunc(r.Answers, func(a, b storedAnswer) int { return b.ReceivedAt.Compare(a.ReceivedAt) })
	left := bounds.MaxBytes
	r.Answers = slices.DeleteFunc(r.Answers, func(a storedAnswer) bool {
		size := a.size()
		if size > bounds.MaxBytes {
			return true
		}
		left -= size
		return left < 0 || now.Sub(a.ReceivedAt) >= bounds.Keep
	})
}

// size is what the answer takes in the record, the names of its fields included.
func (a *storedAnswer) size() int {
	const fields = 250
	return fields + len(a.Scope) + len(a.Operation) + len(a.RequestID) + len(a.Body)
}

// keep stores the answers to a request, if its user is still known. Left is when the
// request left, as a reading of clock.Elapsed.
func (s *storedAnswers) keep(ctx context.Context, ref answerRef, left time.Duration, parts []part) {
	if s == nil {
		return
	}
	parts = slices.DeleteFunc(slices.Clone(parts), func(p part) bool {
		return p.err != nil || p.op.kind != KindData || p.op.mayTellPlace() && !s.bounds.Location || p.list == nil && !json.Valid(p.body)
	})
	ctx, cancel := contexts.Detached(ctx)
	defer cancel()
	if len(parts) == 0 || !s.users.AddCar(ctx, ref.car.user, ref.car.id, false) {
		return
	}
	first := false
	err := s.change(ctx, ref.car.id, func(r *answersRecord, now time.Time) bool {
		passed := s.opts.clock.Elapsed()
		if !r.DiscardedAt.IsZero() && !now.Add(left-passed).After(r.DiscardedAt) {
			return false
		}
		first = !slices.ContainsFunc(r.Answers, func(a storedAnswer) bool { return a.Scope == ref.scope })
		if first && !s.users.AddCarNow(ctx, ref.car.user, ref.car.id, false) {
			return false // another replica has just forgotten the user
		}
		for _, p := range parts {
			r.put(storedAnswer{
				Scope: ref.scope, Operation: p.op.name, Units: ref.units, Body: p.json(),
				RequestID: p.meta.RequestID, UnitSystem: p.meta.UnitSystem,
				RecordedAt: p.meta.RecordedAt, FetchedAt: p.meta.FetchedAt, ReceivedAt: now.Add(p.came - passed),
				Pushed: p.pushed, Sequence: p.sequence, Connect: ref.connect,
			})
		}
		return true
	})
	// As in cars.checkNew: Forget may have come before there was an answer to find.
	if err == nil && first && !s.users.AddCarNow(ctx, ref.car.user, ref.car.id, false) {
		_ = s.dropScope(ctx, ref.car.id, ref.scope)
	}
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
		return // nothing is stored, or the store is away: only the answers in memory count
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
		if a.Scope != ref.scope || len(op) == 0 || now.Sub(received) >= s.bounds.Keep {
			continue
		}
		p := a.part()
		p.op, p.meta.ReceivedAt = &op[0], received
		p.came = passed - max(0, now.Sub(received)) // a time in the future was written by a clock that was wrong
		ref.kept.putNewer(answerKey{scope: a.Scope, op: a.Operation, units: a.Units}, p)
	}
}

// newest returns the latest time at which any kept answer of the user's car was recorded,
// and the latest at which one was received; they may be of different answers.
func (c *answerCache) newest(ctx context.Context, car carRef) (recorded, received time.Time) {
	k := c.of(car.id)
	if k == nil {
		return recorded, received
	}
	c.stored.sync(ctx, answerRef{kept: k, car: car, scope: car.user})
	k.mu.Lock()
	defer k.mu.Unlock()
	for key, p := range k.answers {
		if key.scope == car.user {
			recorded, received = later(recorded, p.meta.RecordedAt), later(received, p.meta.ReceivedAt)
		}
	}
	return recorded, received
}

// discard deletes the answers of all owners, also those that have not arrived yet.
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

// dropScope deletes the answers of one scope.
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

// restrict deletes what a new run of Connect does not cover.
func (s *storedAnswers) restrict(ctx context.Context, vehicleID, scope string, granted permissionsOf) error {
	if s == nil {
		return nil
	}
	ctx, cancel := contexts.Detached(ctx)
	defer cancel()
	return s.change(ctx, vehicleID, func(r *answersRecord, _ time.Time) bool {
		changed := false
		r.Answers = slices.DeleteFunc(r.Answers, func(a storedAnswer) bool {
			if a.Scope != scope || a.Connect == granted.connect {
				return false
			}
			changed = true
			op := lookup(a.Operation)
			return len(op) == 0 || !granted.cover(&op[0])
		})
		for i := range r.Answers {
			if r.Answers[i].Scope == scope {
				r.Answers[i].Connect = granted.connect
			}
		}
		return changed
	})
}

// visits are what is stored of the visits to cars.
type visits struct {
	opts    *options
	records records.Records
	users   *users.Users
	heard   *lru.Cache[string, heardHere] // the last delivery of each car to this process
}

// visitsRecord is what is stored of the visits to one vehicle. All times are the store's.
type visitsRecord struct {
	Marks []visitMark `json:"marks,omitempty"`
	Write uint64      `json:"write"` // makes every write distinct; see records.Swap
}

// visitMark is how far the visits of one user's car have come.
type visitMark struct {
	User string `json:"user"`
	// Delivered is the fingerprint of what was handed over last, 0 for nothing.
	Delivered uint64 `json:"delivered,omitempty"`
	// Pushed says when a webhook last brought what an operation wants.
	Pushed map[Operation]time.Time `json:"pushed,omitempty"`
	// AskedAt is when the car was last asked in vain.
	AskedAt time.Time `json:"asked_at,omitzero"`
	// Handling and Reading are the back-offs after handle, and after a read, has failed.
	Handling backOff `json:"handling,omitzero"`
	Reading  backOff `json:"reading,omitzero"`
	// RetiredUntil is set of a car that cannot be reached: when to look again. Connect is
	// the run of Connect under which it could not.
	RetiredUntil time.Time `json:"retired_until,omitzero"`
	Connect      uint64    `json:"connect,omitempty"`
	// FailedAt and Failure are when a visit last failed, and why.
	FailedAt time.Time `json:"failed_at,omitzero"`
	Failure  Failure   `json:"failure,omitempty"`
	// Heard is the last delivery of a webhook about the car, Webhook the one that it was
	// subscribed to. They are not of visits, see visits.save.
	Heard   heardMark `json:"heard,omitzero"`
	Webhook string    `json:"webhook,omitempty"`
}

// heardMark is a delivery of a webhook, and how it was answered.
type heardMark struct {
	At      time.Time      `json:"at"`
	Type    EventType      `json:"type"`
	Verdict WebhookVerdict `json:"verdict"`
	Reason  WebhookReason  `json:"reason,omitempty"`
}

// heardHere is a delivery to this process.
type heardHere struct {
	mark       heardMark     // without its time
	born       uint64        // of the user
	at, stored time.Duration // when it came, and when one like it was last stored, as readings of clock.Elapsed
}

const heardGrain = time.Hour // how often deliveries that were all answered alike are stored of a car

// hear notes a delivery for [Vehicle.Diagnosis] alone: that the store fails does not matter.
// Of an event that comes again, another process may have stored another end.
func (s *visits) hear(ctx context.Context, car carRef, heard heardMark, again bool) {
	now, key := s.opts.clock.Elapsed(), heardKey(car)
	last, known := s.heardHere(car)
	if known && !again && last.mark == heard && now-last.stored < heardGrain {
		last.at = now
		s.heard.Put(key, last)
		return
	}
	err := s.change(ctx, car, func(m *visitMark, now time.Time) {
		m.Heard = heard
		m.Heard.At = now
	})
	if user := s.users.Known(car.user); err == nil && user != nil {
		s.heard.Put(key, heardHere{mark: heard, born: user.Born, at: now, stored: now})
	}
}

// heardHere is the last delivery to this process, unless the user was forgotten since.
func (s *visits) heardHere(car carRef) (heardHere, bool) {
	last, known := s.heard.Get(heardKey(car))
	user := s.users.Known(car.user)
	return last, known && user != nil && user.Born == last.born
}

// lastHeard is the last delivery of a car that is known here: the one that is stored, or
// a later one to this process. The times are those of our clock.
func (s *visits) lastHeard(car carRef, mark heardMark) heardMark {
	last, known := s.heardHere(car)
	at := s.opts.now().Add(last.at - s.opts.clock.Elapsed())
	if known && at.After(mark.At) {
		mark, mark.At = last.mark, at
	}
	return mark
}

// RecordID is by what a mark is found again in a record of a later version.
func (m visitMark) RecordID() string { return m.User }

// backOff is the pause after failures in a row.
type backOff struct {
	Times int       `json:"times,omitempty"`
	Until time.Time `json:"until,omitzero"`
}

// again follows a failure: 1, 5, 15 and then 60 minutes.
func (b backOff) again(now time.Time) backOff {
	pauses := [...]time.Duration{time.Minute, 5 * time.Minute, 15 * time.Minute, time.Hour}
	return backOff{Times: min(b.Times+1, len(pauses)), Until: now.Add(pauses[min(b.Times, len(pauses)-1)])}
}

func heardKey(car carRef) string { return car.id + "\x00" + car.user }

func visitsKey(vehicleID string) string { return "visits/" + vehicleID }

// load returns the mark of a user's car, and the store's time. A record that cannot be
// read counts as none: then everything is handed over once more.
func (s *visits) load(ctx context.Context, car carRef) (visitMark, time.Time, error) {
	none := visitMark{User: car.user}
	record, err := s.records.Load(ctx, visitsKey(car.id))
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return none, time.Time{}, err
	}
	now := record.Now
	if now.IsZero() {
		now = s.opts.now()
	}
	r, err := records.Decode[visitsRecord](record.Value)
	if err != nil {
		return none, now, nil //nolint:nilerr // nothing is stored, or nothing that can be read
	}
	if i := r.index(car.user); i >= 0 {
		return r.Marks[i], now, nil
	}
	return none, now, nil
}

func (r *visitsRecord) index(user string) int {
	return slices.IndexFunc(r.Marks, func(m visitMark) bool { return m.User == user })
}

// save stores what a visit has changed of the mark.
func (s *visits) save(ctx context.Context, car carRef, mark visitMark) error {
	return s.change(ctx, car, func(m *visitMark, _ time.Time) {
		mark.Heard, mark.Webhook = m.Heard, m.Webhook
		*m = mark
	})
}

// change edits the mark of a user who is still stored. It is done when the caller has
// left, too. A crash of the store may take it back: something is handed over again then.
func (s *visits) change(ctx context.Context, car carRef, edit func(m *visitMark, now time.Time)) error {
	ctx, cancel := contexts.Detached(ctx)
	defer cancel()
	if !s.users.AddCar(ctx, car.user, car.id, false) {
		return ErrNotConnected
	}
	first := false
	_, err := records.Repair(losable.Mark(ctx), s.records, visitsKey(car.id), carRecordTTL, visitsRecord{}, func(r *visitsRecord, _ bool, now time.Time) error {
		i := r.index(car.user)
		if first = i < 0; first {
			i = len(r.Marks)
			r.Marks = append(r.Marks, visitMark{User: car.user})
		}
		edit(&r.Marks[i], now)
		r.Write = randid.New()
		return nil
	})
	// As in cars.checkNew: Forget may have come before there was a mark to find.
	if err == nil && first && !s.users.AddCarNow(ctx, car.user, car.id, false) {
		return errors.Join(ErrNotConnected, s.forget(ctx, car))
	}
	return err
}

// forget removes the mark of a user's car, and a record that cannot be read.
func (s *visits) forget(ctx context.Context, car carRef) error {
	s.heard.Delete(heardKey(car))
	for {
		record, err := s.records.Load(ctx, visitsKey(car.id))
		switch {
		case errors.Is(err, store.ErrNotFound):
			return nil
		case err != nil:
			return err
		}
		r, unreadable := records.Decode[visitsRecord](record.Value)
		i := r.index(car.user)
		switch {
		case unreadable != nil || i == 0 && len(r.Marks) == 1:
			err = s.records.Delete(ctx, visitsKey(car.id), record.Revision)
		case i < 0:
			return nil
		default:
			_, err = records.Change(ctx, s.records, visitsKey(car.id), carRecordTTL, func(r *visitsRecord, found bool, _ time.Time) error {
				if !found { // another process has removed it since
					return records.ErrUnchanged
				}
				r.Marks = slices.DeleteFunc(r.Marks, func(m visitMark) bool { return m.User == car.user })
				r.Write = randid.New()
				return nil
			})
		}
		if !errors.Is(err, store.ErrConflict) {
			return err
		}
	}
}
