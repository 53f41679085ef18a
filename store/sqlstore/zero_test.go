package sqlstore_test

import (
	"fmt"
	"testing"

	"github.com/seed-498a1bc4/smartcar/store"
	"github.com/seed-498a1bc4/smartcar/store/sqlstore"
	"github.com/stretchr/testify/require"
)

// A Store that was declared and not made says so, and does not panic.
func TestZeroStoreReturnsErrors(t *testing.T) {
	t.Parallel()
	s := new(sqlstore.Store)
	var _ store.Store = s
	_, err := s.Load(t.Context(), "key")
	require.ErrorContains(t, err, "must come from sqlstore.New")
	require.NotErrorIs(t, err, store.ErrNotFound)
	_, err = s.CompareAndSwap(t.Context(), "key", "", []byte("value"), 0)
	require.ErrorContains(t, err, "must come from sqlstore.New")
	require.NotErrorIs(t, err, store.ErrConflict)
	require.ErrorContains(t, s.Delete(t.Context(), "key", ""), "must come from sqlstore.New")
	_, err = s.DeleteExpired(t.Context())
	require.ErrorContains(t, err, "must come from sqlstore.New")
	_, _, err = s.List(t.Context(), "", "")
	require.ErrorContains(t, err, "must come from sqlstore.New")
	require.NotEmpty(t, fmt.Sprintf("%v %+v %#v", s, s, s))
}
