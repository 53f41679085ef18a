package smartcar

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/seed-498a1bc4/smartcar/internal/contexts"
	"github.com/seed-498a1bc4/smartcar/internal/policy"
	"github.com/seed-498a1bc4/smartcar/internal/randid"
	"github.com/seed-498a1bc4/smartcar/internal/records"
	"github.com/seed-498a1bc4/smartcar/signals"
)

// learnEvent tells the policy what an event shows, and keeps its signals as
// answers. Seen is when the event came first, by our clock: the evidence is no
// newer than that, however often it had to be sent. It fails only where trying
// again helps.
func (c *core) learnEvent(ctx context.Context, e *WebhookEvent, seen time.Time) error {
	if e.Mode == string(ModeTest) {
		return nil
	}
	seen = notReplayed(earlier(seen, c.now()), e.DeliveredAt)
	for _, car := range e.Vehicles { // of version 2.0
		if err := c.learnReadings(ctx, car, seen); err != nil {
			return err
		}
	}
	if !isID(e.UserID) || !isID(e.VehicleID) {
		return nil
	}
	// Of users who are not stored nothing is kept: they may have been forgotten.
	if _, err := c.tokens.storedUser(ctx, e.UserID); err != nil {
		return worthRepeating(err)
	}
	v := c.user(e.UserID).vehicle(e.VehicleID, "")
	events, err := c.gate.evidenceOfEvent(ctx, e, seen)
	if err != nil || len(events) == 0 {
		return worthRepeating(err)
	}
	known, err := c.gate.update(ctx, v, car{}, events...)
	if err != nil {
		return worthRepeating(err)
	}
	c.answers.of(v.id).note(known.state)
	if e.Signals != nil && c.opts.api == V3 {
		c.keepSignals(ctx, v, e, asOf(e.Signals.content(), seen))
	}
	return nil
}

// notReplayed dates what Smartcar says it told long before: a delivery that
// somebody has recorded and sends again when it is no longer remembered. A
// shorter difference is that of the clocks.
func notReplayed(seen, told time.Time) time.Time {
	if !told.IsZero() && seen.Sub(told) >= webhookMinRemember {
		return told
	}
	return seen
}

func isID(id string) bool { return validateID("id", id) == nil }

// worthRepeating drops the errors that would come again: the user is not known
// here, or was forgotten.
func worthRepeating(err error) error {
	if errors.Is(err, ErrStore) || contexts.IsEnd(err) {
		return err
	}
	return nil
}

// evidenceOfEvent is what an event of version 4.0 shows about its car.
func (g *gate) evidenceOfEvent(ctx context.Context, e *WebhookEvent, seen time.Time) ([]policy.Event, error) {
	var events []policy.Event
	identity := VehicleIdentity{Make: e.Make, Model: e.Model, Year: e.Year}
	if class := classOf(identity); class != policy.ClassUnknown {
		events = append(events, policy.LearnClass(class))
	}
	keyAt := seen
	if e.tellsOfKeyError() {
		var err error
		if keyAt, err = g.orderKeyEvent(ctx, e, seen); err != nil {
			return nil, err
		}
	}
	if e.Signals != nil {
		events = append(events, g.evidenceOfSignals(e.Signals.content(), seen, keyAt)...)
	}
	for _, problem := range e.Errors {
		events = append(events, evidenceOfError(problem, keyAt, seen)...)
	}
	return events, nil
}

// tellsOfKeyError: an error says that the key is missing, or no longer.
func (e *WebhookEvent) tellsOfKeyError() bool {
	return slices.ContainsFunc(e.Errors, func(p EventError) bool { return p.Err.isKeyRequired() }) ||
		e.Signals != nil && slices.ContainsFunc(e.Signals.content().signals, storedSignal.needsKey)
}

func (s storedSignal) needsKey() bool { return s.err != nil && s.err.isKeyRequired() }

func keyGone(at time.Time) policy.Event {
	return policy.LearnKeyRequired(policy.FromWebhook, at)
}

func (g *gate) evidenceOfSignals(set *signalSet, seen, keyAt time.Time) []policy.Event {
	o := set.observe()
	needsKey := o.needsKey(g.opts.ignoreKeySignal) != nil
	_, told := set.find(signals.ConnectivityStatusIsDigitalKeyPaired)
	switch {
	case !told, g.keyIsFree() && (o.key == policy.KeyUnavailable || g.opts.ignoreKeySignal):
		o.key, o.wasChecked = policy.KeyNotAsked, false // the webhook is not set to tell it, or another source does: that shows nothing
	case o.keyAt.IsZero():
		o.keyAt = seen
	}
	o.keyAt = earlier(o.keyAt, seen)
	source := policy.FromWebhook
	if o.key <= policy.KeyUnavailable || g.opts.ignoreKeySignal {
		source = policy.FromSignal // says that there is no key signal
	}
	events := g.evidenceIn(o, source, seen)
	if needsKey {
		events = append(events, keyGone(keyAt))
	}
	data := policy.Data{Wake: o.wake}
	for _, s := range set.signals {
		if s.err == nil {
			data.Stored = policy.StoredSome
			data.RecordedAt = later(data.RecordedAt, s.meta.OEMUpdatedAt)
		}
	}
	return append(events, policy.LearnData(data, asOf(set, seen)))
}

// asOf is when Smartcar said what a list holds: it had the newest of it then.
func asOf(set *signalSet, seen time.Time) (at time.Time) {
	for _, s := range set.signals {
		at = later(at, s.meta.RetrievedAt)
	}
	if at.IsZero() {
		return seen
	}
	return earlier(at, seen)
}

func evidenceOfError(problem EventError, keyAt, at time.Time) []policy.Event {
	switch {
	case problem.Err.isKeyRequired() && problem.Resolved():
		return []policy.Event{policy.LearnKey(policy.KeyInstalled, policy.FromWebhook, keyAt)}
	case problem.Err.isKeyRequired():
		return []policy.Event{keyGone(keyAt)}
	case errors.Is(problem.Err, ErrAsleep) && problem.Resolved():
		return []policy.Event{policy.LearnData(policy.Data{Wake: policy.WakeAwake}, at)}
	case errors.Is(problem.Err, ErrAsleep) && problem.State != "":
		return []policy.Event{policy.LearnData(policy.Data{Wake: policy.WakeAsleep}, at)}
	}
	return nil
}

// keyEventRecord is the newest word of a webhook about the key of a car.
type keyEventRecord struct {
	Sequence int64     `json:"sequence"`
	At       time.Time `json:"at"` // the store's clock
	Write    uint64    `json:"write"`
}

// keyEventTTL is more than an event can be late.
const keyEventTTL = time.Hour

// orderKeyEvent dates what a webhook says about the key: that it is missing and
// that it is there may arrive in the wrong order, and the sequence tells which
// came last. Without one, it is when each was seen first.
func (g *gate) orderKeyEvent(ctx context.Context, e *WebhookEvent, seen time.Time) (time.Time, error) {
	if e.Sequence == 0 {
		return seen, nil
	}
	at := seen
	_, err := records.Change(ctx, g.records, "webhook/key/"+e.VehicleID, keyEventTTL, func(r *keyEventRecord, _ bool, now time.Time) error {
		offset := now.Sub(g.now())
		switch {
		case e.Sequence < r.Sequence:
			at = r.At.Add(-offset - time.Millisecond) // older evidence than what is known
			return records.ErrUnchanged
		case e.Sequence == r.Sequence:
			at = r.At.Add(-offset)
			return records.ErrUnchanged
		}
		at = later(seen, r.At.Add(time.Millisecond-offset))
		*r = keyEventRecord{Sequence: e.Sequence, At: at.Add(offset), Write: randid.New()}
		return nil
	})
	return at, err
}

// learnReadings takes what readings of version 2.0 show. They name no user, so
// that a car of which nothing is known stays so.
func (c *core) learnReadings(ctx context.Context, w WebhookVehicle, seen time.Time) error {
	if !isID(w.VehicleID) {
		return nil
	}
	v := c.user("").vehicle(w.VehicleID, "")
	known, err := c.gate.load(ctx, v)
	if err != nil || known.state.Blank() {
		return worthRepeating(err) // nothing, or what Forget leaves of a car
	}
	seen = notReplayed(seen, w.Timestamp)
	var data policy.Data
	var events []policy.Event
	for _, p := range w.Readings.all() {
		switch {
		case p.err == nil:
			data.Stored = policy.StoredSome
			data.RecordedAt = later(data.RecordedAt, p.meta.RecordedAt)
		case p.err.isKeyRequired():
			events = append(events, keyGone(seen))
		}
	}
	if data.Stored == policy.StoredSome {
		events = append(events, policy.LearnData(data, seen))
	}
	_, err = c.gate.update(ctx, v, known, events...)
	return worthRepeating(err)
}

// keepSignals keeps an event's signals as answers to the reads whose signals it
// has all of. They are of the time at which Smartcar said them, so that one
// that came late is not taken for news.
func (c *core) keepSignals(ctx context.Context, v *Vehicle, e *WebhookEvent, at time.Time) {
	kept, set := c.answers.of(v.id), e.Signals.content()
	if kept == nil {
		return
	}
	meta := Meta{ReceivedAt: at, Source: SourceLive}
	var parts []part
	for i := range operations {
		if op := &operations[i]; op.kind == KindData && set.covers(op.signals) {
			if p := (wireV3{}).part(op, set, meta); p.err == nil {
				p.pushed, p.sequence = true, e.Sequence
				parts = append(parts, p)
			}
		}
	}
	for _, units := range []UnitSystem{Metric, Imperial} { // the body holds its own; it is read in either
		call := &call{vehicle: v, scope: v.userID, units: units, began: at, kept: kept}
		for i := range parts {
			parts[i].meta.UnitSystem = units
			kept.putNewer(call.answerKey(parts[i].op.name), parts[i])
		}
		c.answers.stored.keep(ctx, call, parts)
	}
}
