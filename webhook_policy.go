package smartcar

import (
	"context"
	"errors"
	"time"

	"github.com/seed-498a1bc4/smartcar/internal/contexts"
	"github.com/seed-498a1bc4/smartcar/internal/randid"
	"github.com/seed-498a1bc4/smartcar/internal/records"
)

// learnEvent tells the policy what an event shows, and keeps its signals as
// answers. Seen is when the event came first, by our clock: the evidence is no
// newer than that, however often it had to be sent. It fails only where trying
// again helps.
func (c *core) learnEvent(ctx context.Context, e *WebhookEvent, seen time.Time) error {
	if e.Mode == string(ModeTest) {
		return nil
	}
	seen = notReplayed(earlier(seen, c.opts.now()), e.DeliveredAt)
	for _, car := range e.Vehicles { // of version 2.0
		if err := c.learnReadings(ctx, car, seen); err != nil {
			return err
		}
	}
	if !isID(e.UserID) || !isID(e.VehicleID) {
		return nil
	}
	// Of users who are not stored nothing is kept: they may have been forgotten.
	if _, err := c.accounts.stored(ctx, e.UserID); err != nil {
		return worthRepeating(err)
	}
	ref := newCarRef(e.UserID, e.VehicleID)
	keyAt := seen
	if e.tellsOfKeyError() {
		var err error
		if keyAt, err = c.orderKeyEvent(ctx, e, seen); err != nil {
			return worthRepeating(err)
		}
	}
	events := evidenceOfEvent(e, seen, keyAt, c.gate.probe.tellers())
	if len(events) == 0 {
		return nil
	}
	known, err := c.cars.apply(ctx, ref, car{}, events...)
	if err != nil {
		return worthRepeating(err)
	}
	c.answers.of(ref.id).classify(known.state)
	if e.Signals != nil && c.opts.api == V3 {
		c.keepSignals(ctx, ref, e, asOf(e.Signals.content(), seen))
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
func (c *core) orderKeyEvent(ctx context.Context, e *WebhookEvent, seen time.Time) (time.Time, error) {
	if e.Sequence == 0 {
		return seen, nil
	}
	at := seen
	_, err := records.Change(ctx, c.cars.records, "webhook/key/"+e.VehicleID, keyEventTTL, func(r *keyEventRecord, _ bool, now time.Time) error {
		offset := now.Sub(c.opts.now())
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
	ref := newCarRef("", w.VehicleID)
	known, err := c.cars.load(ctx, ref)
	if err != nil || known.state.Blank() {
		return worthRepeating(err) // nothing, or what Forget leaves of a car
	}
	seen = notReplayed(seen, w.Timestamp)
	_, err = c.cars.apply(ctx, ref, known, evidenceOfReadings(w.Readings, seen)...)
	return worthRepeating(err)
}

// keepSignals keeps an event's signals as answers to the reads whose signals it
// has all of. They are of the time at which Smartcar said them, so that one
// that came late is not taken for news.
func (c *core) keepSignals(ctx context.Context, ref carRef, e *WebhookEvent, at time.Time) {
	kept, set := c.answers.of(ref.id), e.Signals.content()
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
		to := answerRef{kept: kept, car: ref, scope: ref.user, units: units}
		for i := range parts {
			parts[i].meta.UnitSystem = units
			kept.putNewer(to.key(parts[i].op.name), parts[i])
		}
		c.answers.stored.keep(ctx, to, at, parts)
	}
}
