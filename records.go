package smartcar

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"github.com/seed-498a1bc4/smartcar/store"
	"time"
)

// records is the store as the rest of the package uses it: failures wrapped,
// and unclear answers resolved instead of guessed.
type records struct {
	store store.Store
	clock Clock
}

// A write whose answer got lost is repeated after a moment, twice.
const (
	unclearTries = 3
	unclearPause = 50 * time.Millisecond
)

func (r records) load(ctx context.Context, key string) (store.Record, error) {
	if ctx.Err() != nil {
		return store.Record{}, endOf(ctx)
	}
	record, err := r.store.Load(ctx, key)
	return record, storeError(ctx, err)
}

// swap is CompareAndSwap with a definite answer wherever one can be had. After
// a failure the same write is sent again: it can only land once, and if the
// first one had landed, the conflict shows our own value. Values must
// therefore be unique to the write.
func (r records) swap(ctx context.Context, key string, old store.Revision, value []byte, ttl time.Duration) (store.Record, error) {
	var record store.Record
	var err error
	for try := range unclearTries {
		if ctx.Err() != nil {
			return store.Record{}, endOf(ctx)
		}
		record, err = r.store.CompareAndSwap(ctx, key, old, value, ttl)
		switch {
		case err == nil:
			return record, nil
		case errors.Is(err, store.ErrConflict) && try > 0 && bytes.Equal(record.Value, value):
			return record, nil
		case errors.Is(err, store.ErrConflict) || ctx.Err() != nil || try == unclearTries-1:
			return record, storeError(ctx, err)
		}
		if ended := r.clock.Sleep(ctx, unclearPause<<(2*try)); ended != nil {
			return record, ended
		}
	}
	return record, storeError(ctx, err)
}

// remove deletes the record, at whatever revision it is.
func (r records) remove(ctx context.Context, key string) error {
	for {
		record, err := r.load(ctx, key)
		if errors.Is(err, store.ErrNotFound) {
			return nil
		}
		if err == nil {
			err = storeError(ctx, r.store.Delete(ctx, key, record.Revision))
		}
		if !errors.Is(err, store.ErrConflict) {
			return err
		}
	}
}

// storeError wraps what is neither of the two answers a store may give, nor the
// end of the caller's patience.
func storeError(ctx context.Context, err error) error {
	switch {
	case err == nil || errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrConflict):
		return err
	case ctx.Err() != nil:
		return endOf(ctx)
	}
	return fmt.Errorf("%w: %w", ErrStore, err)
}

// errUnchanged ends a change without a write and without an error.
var errUnchanged = errors.New("nothing to change")

// changeJSON loads the JSON record under key, lets change edit it and stores
// it, again and again until nobody was faster. A record that is not there is
// given to change as the zero T. The time is the store's where it has a clock.
func changeJSON[T any](ctx context.Context, r records, key string, ttl time.Duration, change func(v *T, found bool, now time.Time) error) (T, error) {
	var none T
	record, err := r.load(ctx, key)
	for {
		if err != nil && !errors.Is(err, store.ErrNotFound) && !errors.Is(err, store.ErrConflict) {
			return none, err
		}
		var v T
		found := record.Revision != ""
		if found {
			if v, err = decodeRecord[T](record.Value); err != nil {
				return none, err
			}
		}
		now := record.Now
		if now.IsZero() {
			now = r.clock.Now()
		}
		if err := change(&v, found, now); err != nil {
			if errors.Is(err, errUnchanged) {
				return v, nil
			}
			return none, err
		}
		value, err2 := json.Marshal(v)
		if err2 != nil {
			return none, storeError(ctx, err2)
		}
		if record, err = r.swap(ctx, key, record.Revision, value, ttl); err == nil {
			return v, nil
		}
	}
}

// loadJSON returns [store.ErrNotFound] if there is none.
func loadJSON[T any](ctx context.Context, r records, key string) (T, error) {
	record, err := r.load(ctx, key)
	if err != nil {
		var none T
		return none, err
	}
	return decodeRecord[T](record.Value)
}

// decodeRecord never repeats what it could not read: records hold tokens.
func decodeRecord[T any](value []byte) (T, error) {
	var v T
	if json.Unmarshal(value, &v) != nil {
		return v, fmt.Errorf("%w: the stored record is not what this version writes", ErrStore)
	}
	return v, nil
}
