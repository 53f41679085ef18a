// Package records is a store as the rest of the module uses it: failures are wrapped
// in one sentinel, and a write whose answer was lost is repeated, so that the caller
// learns whether it landed.
package records

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"sync/atomic"
	"time"

	"github.com/seed-498a1bc4/smartcar/internal/contexts"
	"github.com/seed-498a1bc4/smartcar/store"
)

// ErrStore is smartcar.ErrStore.
var ErrStore = errors.New("smartcar: store failed")

// A Clock is the time of this process. Its wall clock may be stepped; where only lengths
// of time count, callers pass a clock that is never stepped.
type Clock interface {
	Now() time.Time
	// Sleep returns nil after d, or the cause of ctx's end.
	Sleep(ctx context.Context, d time.Duration) error
}

// Records are those of one store. They are safe for concurrent use.
type Records struct {
	store store.Store
	clock Clock
	ahead *ahead
	order *atomic.Uint64 // see Number
}

// New returns the records of a store. The clock times the pauses, and is used as the
// store's time if the store has none.
func New(s store.Store, clock Clock) Records {
	return Records{store: s, clock: clock, ahead: new(ahead), order: new(atomic.Uint64)}
}

// Number returns numbers that rise. What was numbered before a record was asked for is
// older than what the store has answered.
func (r Records) Number() uint64 { return r.order.Add(1) }

// ahead is by how much the store's clock was ahead of ours when the store answered last.
type ahead struct{ by atomic.Pointer[time.Duration] }

// note takes the time of an answer.
func (r Records) note(answer store.Record) store.Record {
	if answer.Now.IsZero() {
		return answer
	}
	by := answer.Now.Sub(r.clock.Now())
	if last := r.ahead.by.Load(); last == nil || (by-*last).Abs() > ClockGrain/4 {
		changed := by // on the heap only now
		r.ahead.by.Store(&changed)
	}
	return answer
}

// now is what the store's clock shows, as far as its last answer tells.
func (r Records) now() time.Time {
	now := r.clock.Now()
	if by := r.ahead.by.Load(); by != nil {
		now = now.Add(*by)
	}
	return now
}

// ClockGrain is by how much the store's clock may differ from what is known of it.
const ClockGrain = time.Second

// A write whose answer got lost is repeated after a moment, twice.
const (
	unclearTries = 3
	unclearPause = 50 * time.Millisecond
)

// Load returns the record under key, or store.ErrNotFound.
func (r Records) Load(ctx context.Context, key string) (store.Record, error) {
	if ctx.Err() != nil {
		return store.Record{}, contexts.EndOf(ctx)
	}
	record, err := r.store.Load(ctx, key)
	return r.note(record), Wrap(ctx, err)
}

// Swap is CompareAndSwap that says whether the write has landed, if that can be found
// out. After a failure it sends the same write again. The write lands once at most:
// if the first one had landed, the second conflicts, and the conflict shows our own
// value. So no two writes may have the same value.
func (r Records) Swap(ctx context.Context, key string, old store.Revision, value []byte, ttl time.Duration) (store.Record, error) {
	var record store.Record
	var err error
	for try := range unclearTries {
		if ctx.Err() != nil {
			return store.Record{}, contexts.EndOf(ctx)
		}
		record, err = r.store.CompareAndSwap(ctx, key, old, value, ttl)
		record = r.note(record)
		switch {
		case err == nil:
			return record, nil
		case errors.Is(err, store.ErrConflict) && try > 0 && bytes.Equal(record.Value, value):
			return record, nil
		case errors.Is(err, store.ErrConflict) || ctx.Err() != nil || try == unclearTries-1:
			return record, Wrap(ctx, err)
		}
		if ended := r.clock.Sleep(ctx, unclearPause<<(2*try)); ended != nil {
			return record, ended
		}
	}
	return record, Wrap(ctx, err)
}

// Delete removes the record at that revision, or returns store.ErrConflict.
func (r Records) Delete(ctx context.Context, key string, old store.Revision) error {
	return Wrap(ctx, r.store.Delete(ctx, key, old))
}

// Remove deletes the record at whatever revision it is.
func (r Records) Remove(ctx context.Context, key string) error {
	for {
		record, err := r.Load(ctx, key)
		if errors.Is(err, store.ErrNotFound) {
			return nil
		}
		if err == nil {
			err = r.Delete(ctx, key, record.Revision)
		}
		if !errors.Is(err, store.ErrConflict) {
			return err
		}
	}
}

// List yields the keys that begin with prefix, as store.Lister has them: some may come
// twice. It ends with an error, or store.ErrCannotList.
func (r Records) List(ctx context.Context, prefix string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		lister, ok := r.store.(store.Lister)
		if !ok {
			yield("", store.ErrCannotList)
			return
		}
		cursor := ""
		for {
			if ctx.Err() != nil {
				yield("", contexts.EndOf(ctx))
				return
			}
			keys, next, err := lister.List(ctx, prefix, cursor)
			if err != nil {
				yield("", Wrap(ctx, err))
				return
			}
			for _, key := range keys {
				if !yield(key, nil) {
					return
				}
			}
			if next == "" {
				return
			}
			cursor = next
		}
	}
}

// Wrap puts [ErrStore] around each error but store.ErrNotFound, store.ErrConflict,
// store.ErrCannotList and the end of the caller's context.
func Wrap(ctx context.Context, err error) error {
	switch {
	case err == nil || errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrConflict) || errors.Is(err, store.ErrCannotList):
		return err
	case ctx.Err() != nil:
		return contexts.EndOf(ctx)
	}
	return fmt.Errorf("%w: %w", ErrStore, err)
}
