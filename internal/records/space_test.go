package records

import (
	"testing"

	"github.com/seed-498a1bc4/smartcar/store"
	"github.com/seed-498a1bc4/smartcar/store/storetest"
	"github.com/stretchr/testify/require"
)

// A part of a store is a store.
func TestSpaceIsAStore(t *testing.T) {
	storetest.Run(t, func(*testing.T) store.Store { return NewSpace(store.NewMemory(), "app/a/live/") })
}

// Two parts of a store hold different records under one key; what was stored before
// there were parts is one record for both, and for who knows of no parts.
func TestSpacesOfOneStore(t *testing.T) {
	db := store.NewMemory()
	a, b := NewSpace(db, "app/a/live/"), NewSpace(db, "app/b/live/")
	ctx := t.Context()
	_, err := a.CompareAndSwap(ctx, "k", "", []byte("of a"), 0)
	require.NoError(t, err)
	_, err = b.Load(ctx, "k")
	require.ErrorIs(t, err, store.ErrNotFound)
	_, err = b.CompareAndSwap(ctx, "k", "", []byte("of b"), 0)
	require.NoError(t, err)
	r, err := a.Load(ctx, "k")
	require.NoError(t, err)
	require.Equal(t, "of a", string(r.Value))

	_, err = db.CompareAndSwap(ctx, "old", "", []byte("1"), 0)
	require.NoError(t, err)
	r, err = a.Load(ctx, "old")
	require.NoError(t, err)
	require.Equal(t, "1", string(r.Value))
	written, err := a.CompareAndSwap(ctx, "old", r.Revision, []byte("2"), 0)
	require.NoError(t, err)
	plain, err := db.Load(ctx, "old")
	require.NoError(t, err)
	require.Equal(t, "2", string(plain.Value), "it stays where the others look for it")
	conflict, err := b.CompareAndSwap(ctx, "old", r.Revision, []byte("3"), 0)
	require.ErrorIs(t, err, store.ErrConflict)
	require.Equal(t, written.Revision, conflict.Revision)
	require.NoError(t, b.Delete(ctx, "old", conflict.Revision))
	_, err = db.Load(ctx, "old")
	require.ErrorIs(t, err, store.ErrNotFound)
	conflict, err = a.CompareAndSwap(ctx, "old", written.Revision, []byte("4"), 0)
	require.ErrorIs(t, err, store.ErrConflict)
	require.Empty(t, conflict.Revision)
}
