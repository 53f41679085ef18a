package records

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/seed-498a1bc4/smartcar/store"
	"github.com/stretchr/testify/require"
)

// slowStore counts what it is asked, by a clock of its own that can be set.
type slowStore struct {
	store.Store
	loads, swaps int
	by           time.Duration
	next         func() // before the next swap
}

func (s *slowStore) Load(ctx context.Context, key string) (store.Record, error) {
	s.loads++
	return s.dated(s.Store.Load(ctx, key))
}

func (s *slowStore) CompareAndSwap(ctx context.Context, key string, old store.Revision, value []byte, ttl time.Duration) (store.Record, error) {
	s.swaps++
	if do := s.next; do != nil {
		s.next = nil
		do()
	}
	return s.dated(s.Store.CompareAndSwap(ctx, key, old, value, ttl))
}

func (s *slowStore) dated(r store.Record, err error) (store.Record, error) {
	r.Now = r.Now.Add(s.by)
	return r, err
}

type dated struct {
	At   time.Time `json:"at"`
	Note string    `json:"note"`
}

func write(note string) func(*dated, bool, time.Time) error {
	return func(d *dated, _ bool, now time.Time) error {
		d.At, d.Note = now, d.Note+note
		return nil
	}
}

var errOfChange = errors.New("an error of the change")

func TestHeldRecordIsNotLoaded(t *testing.T) {
	s := &slowStore{Store: store.NewMemory(), by: 5 * time.Hour}
	r, ctx := New(s, noPauses{}), t.Context()
	_, err := r.Load(ctx, "k") // which tells the store's time
	require.ErrorIs(t, err, store.ErrNotFound)
	s.loads = 0

	held, err := ChangeHeld(ctx, r, "k", 0, new(Held[dated]), write("a"))
	require.NoError(t, err)
	held, err = ChangeHeld(ctx, r, "k", 0, &held, write("b"))
	require.NoError(t, err)
	require.Equal(t, "ab", held.Value.Note)
	require.True(t, held.Stored())
	require.Zero(t, s.loads)
	require.Equal(t, 2, s.swaps)
	require.WithinDuration(t, time.Now().Add(s.by), held.Value.At, time.Minute, "by the store's clock")

	_, err = ChangeHeld(ctx, r, "k", 0, &held, func(*dated, bool, time.Time) error { return errOfChange })
	require.ErrorIs(t, err, errOfChange)
	same, err := ChangeHeld(ctx, r, "k", 0, &held, func(*dated, bool, time.Time) error { return ErrUnchanged })
	require.NoError(t, err)
	require.Equal(t, held, same)
	require.Equal(t, 2, s.swaps)
}

// A held record that is outdated is not written over.
func TestHeldRecordIsOutdated(t *testing.T) {
	s := &slowStore{Store: store.NewMemory()}
	r, ctx := New(s, noPauses{}), t.Context()
	old, err := ChangeHeld(ctx, r, "k", 0, new(Held[dated]), write("a"))
	require.NoError(t, err)
	_, err = Change(ctx, r, "k", 0, write("b"))
	require.NoError(t, err)
	is, err := ChangeHeld(ctx, r, "k", 0, &old, write("c"))
	require.NoError(t, err)
	require.Equal(t, "abc", is.Value.Note)
	is, err = ChangeHeld(ctx, r, "k", 0, new(Held[dated]), write("d"))
	require.NoError(t, err)
	require.Equal(t, "abcd", is.Value.Note)
}

// The store's clock is set while a record is held, or a write takes long: what was
// written is dated anew, and changed once.
func TestHeldRecordIsDatedAnew(t *testing.T) {
	s := &slowStore{Store: store.NewMemory()}
	r, ctx := New(s, noPauses{}), t.Context()
	held, err := ChangeHeld(ctx, r, "k", 0, new(Held[dated]), write("a"))
	require.NoError(t, err)
	s.swaps = 0
	s.next = func() { s.by -= time.Hour }
	held, err = ChangeHeld(ctx, r, "k", 0, &held, write("b"))
	require.NoError(t, err)
	require.Equal(t, "ab", held.Value.Note)
	require.WithinDuration(t, time.Now().Add(s.by), held.Value.At, time.Minute)
	require.Equal(t, 2, s.swaps)

	s.next = func() { s.by += time.Hour }
	other := new(Held[dated])
	fresh, err := ChangeHeld(ctx, r, "new", 0, other, write("c"))
	require.NoError(t, err)
	require.Equal(t, "c", fresh.Value.Note)
	require.WithinDuration(t, time.Now().Add(s.by), fresh.Value.At, time.Minute)
}

// What a later version has written is carried along, and for that the record is loaded.
func TestHeldRecordOfALaterVersion(t *testing.T) {
	s := &slowStore{Store: store.NewMemory()}
	r, ctx := New(s, noPauses{}), t.Context()
	_, err := s.CompareAndSwap(ctx, "k", "", []byte(`{"at":"2026-01-01T00:00:00Z","note":"a","later":1}`), 0)
	require.NoError(t, err)
	held, err := Hold[dated](ctx, r, "k")
	require.NoError(t, err)
	for range 2 {
		held, err = ChangeHeld(ctx, r, "k", 0, &held, write("b"))
		require.NoError(t, err)
	}
	record, err := s.Load(ctx, "k")
	require.NoError(t, err)
	require.Contains(t, string(record.Value), `"later":1`)
	require.Equal(t, "abb", held.Value.Note)

	again, err := HoldAgain(ctx, r, "k", &held)
	require.NoError(t, err)
	require.Same(t, &held, again)
	_, err = HoldAgain[dated](ctx, r, "none", nil)
	require.ErrorIs(t, err, store.ErrNotFound)
}
