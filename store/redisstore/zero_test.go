package redisstore_test

import (
	"fmt"
	"testing"

	"github.com/seed-498a1bc4/smartcar/store"
	"github.com/seed-498a1bc4/smartcar/store/redisstore"
	"github.com/stretchr/testify/require"
)

// A Store that was declared and not made says so, and does not panic.
func TestZeroStoreReturnsErrors(t *testing.T) {
	t.Parallel()
	s := new(redisstore.Store)
	var _ store.Store = s
	_, err := s.Load(t.Context(), "key")
	require.ErrorContains(t, err, "must come from redisstore.New")
	require.NotErrorIs(t, err, store.ErrNotFound)
	_, err = s.CompareAndSwap(t.Context(), "key", "", []byte("value"), 0)
	require.ErrorContains(t, err, "must come from redisstore.New")
	require.NotErrorIs(t, err, store.ErrConflict)
	require.ErrorContains(t, s.Delete(t.Context(), "key", ""), "must come from redisstore.New")
	_, _, err = s.List(t.Context(), "", "")
	require.ErrorContains(t, err, "must come from redisstore.New")
	require.ErrorContains(t, s.Reindex(t.Context()), "must come from redisstore.New")
	require.NotEmpty(t, fmt.Sprintf("%v %+v %#v", s, s, s))
}
