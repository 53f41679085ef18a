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

// Change loads the JSON record under key, lets change edit it and stores it. If
// another write came first, it begins again, so change may be called several times.
// If there is no record, change gets the zero T. The time is the store's, or ours if
// the store has no clock.
func Change[T any](ctx context.Context, r Records, key string, ttl time.Duration, change func(v *T, found bool, now time.Time) error) (T, error) {
	return edit(ctx, r, key, ttl, nil, change)
}

// Repair is [Change] for a caller who can replace a record that cannot be read: in
// its place change gets the substitute, with found as true.
func Repair[T any](ctx context.Context, r Records, key string, ttl time.Duration, substitute T, change func(v *T, found bool, now time.Time) error) (T, error) {
	return edit(ctx, r, key, ttl, &substitute, change)
}

func edit[T any](ctx context.Context, r Records, key string, ttl time.Duration, substitute *T, change func(v *T, found bool, now time.Time) error) (T, error) {
	var none T
	record, err := r.Load(ctx, key)
	for {
		if err != nil && !errors.Is(err, store.ErrNotFound) && !errors.Is(err, store.ErrConflict) {
			return none, err
		}
		var v T
		found, readable := record.Revision != "", false
		if found {
			v, err = Decode[T](record.Value)
			readable = err == nil
			switch {
			case err != nil && substitute == nil:
				return none, err
			case err != nil:
				v = *substitute
			}
		}
		now := record.Now
		if now.IsZero() {
			now = r.clock.Now()
		}
		if err := change(&v, found, now); err != nil {
			if errors.Is(err, ErrUnchanged) {
				return v, nil
			}
			return none, err
		}
		value, err2 := json.Marshal(v)
		if err2 != nil {
			return none, Wrap(ctx, err2)
		}
		if readable && !isOurs[T](record.Value) {
			value = carry(record.Value, value, reflect.TypeFor[T]())
		}
		if record, err = r.Swap(ctx, key, record.Revision, value, ttl); err == nil {
			return v, nil
		}
	}
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
