package smartcar

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/seed-498a1bc4/smartcar/internal/contexts"
	"github.com/seed-498a1bc4/smartcar/internal/losable"
	"github.com/seed-498a1bc4/smartcar/internal/randid"
	"github.com/seed-498a1bc4/smartcar/internal/records"
	"github.com/seed-498a1bc4/smartcar/internal/users"
	"github.com/seed-498a1bc4/smartcar/store"
)

// visits are what is stored of the visits to cars.
type visits struct {
	opts    *options
	records records.Records
	users   *users.Users
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

// change edits the mark of a user who is still stored. It is done when the caller has
// left, too. A crash of the store may take it back: something is handed over again then.
func (s *visits) change(ctx context.Context, car carRef, edit func(m *visitMark)) error {
	ctx, cancel := contexts.Detached(ctx)
	defer cancel()
	if !s.users.AddCar(ctx, car.user, car.id, false) {
		return ErrNotConnected
	}
	first := false
	_, err := records.Repair(losable.Mark(ctx), s.records, visitsKey(car.id), carRecordTTL, visitsRecord{}, func(r *visitsRecord, _ bool, _ time.Time) error {
		i := r.index(car.user)
		if first = i < 0; first {
			i = len(r.Marks)
			r.Marks = append(r.Marks, visitMark{User: car.user})
		}
		edit(&r.Marks[i])
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
	for {
		record, err := s.records.Load(ctx, visitsKey(car.id))
		if errors.Is(err, store.ErrNotFound) {
			return nil
		}
		if err != nil {
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
			_, err = records.Change(ctx, s.records, visitsKey(car.id), carRecordTTL, func(r *visitsRecord, _ bool, _ time.Time) error {
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
