package records

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"time"

	"github.com/seed-498a1bc4/smartcar/store"
)

// ErrUnchanged ends a change without a write and without an error.
var ErrUnchanged = errors.New("nothing to change")

// ErrUnreadable says that a record is not what this version writes. It matches
// [ErrStore], too.
var ErrUnreadable = fmt.Errorf("%w: the stored record is not what this version writes", ErrStore)

// Held is a JSON record as this process has read or written it last. A zero Held is that
// of a key under which nothing is stored.
type Held[T any] struct {
	Value    T
	revision store.Revision
	// foreign: a later version may have written what T does not know. To carry that along,
	// the record has to be loaded.
	foreign bool
}

// Stored reports whether there is such a record.
func (h *Held[T]) Stored() bool { return h.revision != "" }

// Change loads the JSON record under key, lets change edit it and stores it. If
// another write came first, it begins again, so change may be called several times.
// If there is no record, change gets the zero T. The time is the store's, or ours if
// the store has no clock.
func Change[T any](ctx context.Context, r Records, key string, ttl time.Duration, change func(v *T, found bool, now time.Time) error) (T, error) {
	h, err := edit(ctx, r, key, ttl, nil, nil, change)
	return h.Value, err
}

// ChangeHeld is [Change] for a caller who holds the record: it is not loaded, unless
// another write came first. What it was changed to is returned. A nil Held is loaded. What
// the value points to must not be changed.
func ChangeHeld[T any](ctx context.Context, r Records, key string, ttl time.Duration, from *Held[T], change func(v *T, found bool, now time.Time) error) (Held[T], error) {
	return edit(ctx, r, key, ttl, from, nil, change)
}

// Repair is [Change] for a caller who can replace a record that cannot be read: in
// its place change gets the substitute, with found as true.
func Repair[T any](ctx context.Context, r Records, key string, ttl time.Duration, substitute T, change func(v *T, found bool, now time.Time) error) (T, error) {
	h, err := edit(ctx, r, key, ttl, nil, &substitute, change)
	return h.Value, err
}

// maxRedated is how often a write is repeated because the store's clock showed another time
// than the write is dated with. After that the date stays as it is: the store is too slow to
// be dated more exactly.
const maxRedated = 3

func edit[T any](ctx context.Context, r Records, key string, ttl time.Duration, from *Held[T], substitute *T, change func(v *T, found bool, now time.Time) error) (Held[T], error) {
	var was version[T]
	var err error
	if from == nil || from.foreign {
		was, err = load(ctx, r, key, substitute)
	} else {
		was = version[T]{Held: *from, found: from.Stored(), now: r.now(), assumed: true}
	}
	for redated := 0; err == nil; {
		v := was.Value
		if err = change(&v, was.found, was.now); errors.Is(err, ErrUnchanged) {
			is := was.Held
			is.Value, is.foreign = v, is.foreign || was.raw != nil // it may be: finding out would cost a decode and an encode
			return is, nil
		}
		var value []byte
		if err == nil {
			value, err = was.encode(v)
		}
		if err != nil {
			break
		}
		var record store.Record
		record, err = r.Swap(ctx, key, was.revision, value, ttl)
		switch {
		case err == nil && was.assumed && redated < maxRedated && !record.Now.IsZero() && record.Now.Sub(was.now).Abs() > ClockGrain:
			// What was written is dated by another time than the store's: a clock was set, or
			// the write took long. It is written again, as an edit of what was there before.
			was.revision, was.now = record.Revision, record.Now
			redated++
		case err == nil:
			return Held[T]{Value: v, revision: record.Revision, foreign: was.foreign}, nil
		case errors.Is(err, store.ErrConflict):
			was, err = decode(r, record, substitute)
		}
	}
	return Held[T]{}, err
}

// version is a record that an edit begins with.
type version[T any] struct {
	Held[T]
	found   bool
	now     time.Time // the store's, or ours
	assumed bool      // the store's time is not known, but reckoned from its last answer
	raw     []byte    // what is stored, if it can be read
}

// encode returns what is written in place of the version.
func (w *version[T]) encode(v T) ([]byte, error) {
	value, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrStore, err)
	}
	if w.judge(); w.foreign {
		value = carry(w.raw, value, reflect.TypeFor[T]())
	}
	return value, nil
}

// judge finds out whether the version is foreign.
func (w *version[T]) judge() { w.foreign = w.foreign || w.raw != nil && !isOurs[T](w.raw) }

func load[T any](ctx context.Context, r Records, key string, substitute *T) (version[T], error) {
	record, err := r.Load(ctx, key)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return version[T]{}, err
	}
	return decode(r, record, substitute)
}

func decode[T any](r Records, record store.Record, substitute *T) (version[T], error) {
	w := version[T]{found: record.Revision != "", now: record.Now}
	w.revision = record.Revision
	if w.now.IsZero() {
		w.now = r.clock.Now()
	}
	if !w.found {
		return w, nil
	}
	var err error
	switch w.Value, err = Decode[T](record.Value); {
	case err != nil && substitute == nil:
		return version[T]{}, err
	case err != nil:
		w.Value = *substitute
	default:
		w.raw = record.Value
	}
	return w, nil
}

// Hold returns the JSON record under key, or store.ErrNotFound.
func Hold[T any](ctx context.Context, r Records, key string) (Held[T], error) {
	record, err := r.Load(ctx, key)
	if err != nil {
		return Held[T]{}, err
	}
	w, err := decode[T](r, record, nil)
	if err == nil {
		w.judge()
	}
	return w.Held, err
}

// HoldAgain is [Hold] for a caller who may have held the record before: it is decoded only
// if it was changed since.
func HoldAgain[T any](ctx context.Context, r Records, key string, before *Held[T]) (*Held[T], error) {
	record, err := r.Load(ctx, key)
	switch {
	case err != nil:
		return nil, err
	case before != nil && before.revision == record.Revision:
		return before, nil
	}
	w, err := decode[T](r, record, nil)
	if err != nil {
		return nil, err
	}
	w.foreign = true // it may be: finding out would cost a decode and an encode
	return &w.Held, nil
}

// Read returns the JSON record under key, or store.ErrNotFound.
func Read[T any](ctx context.Context, r Records, key string) (T, error) {
	record, err := r.Load(ctx, key)
	if err != nil {
		var none T
		return none, err
	}
	return Decode[T](record.Value)
}

// Decode reads a record. Its error repeats nothing of the record, which holds tokens.
func Decode[T any](value []byte) (T, error) {
	var v T
	if json.Unmarshal(value, &v) != nil {
		return v, ErrUnreadable
	}
	return v, nil
}
