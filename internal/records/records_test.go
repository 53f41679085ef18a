package records

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/seed-498a1bc4/smartcar/store"
	"github.com/stretchr/testify/require"
)

// noPauses is a clock that does not wait.
type noPauses struct{}

func (noPauses) Now() time.Time                             { return time.Now() }
func (noPauses) Sleep(context.Context, time.Duration) error { return nil }

// secrets is a record of which nothing may be printed.
type secrets struct {
	RefreshToken string `json:"refresh_token"`
}

func TestChangesOfARecordAreNotLost(t *testing.T) {
	r := New(store.NewMemory(), noPauses{})
	var all sync.WaitGroup
	for i := range 20 {
		all.Go(func() {
			_, err := Change(t.Context(), r, "k", 0, func(list *[]int, _ bool, _ time.Time) error {
				*list = append(*list, i)
				return nil
			})
			require.NoError(t, err)
		})
	}
	all.Wait()
	list, err := Read[[]int](t.Context(), r, "k")
	require.NoError(t, err)
	require.Len(t, list, 20)
}

func TestRecordOfAnotherVersionIsAStoreError(t *testing.T) {
	r := New(store.NewMemory(), noPauses{})
	_, err := r.store.CompareAndSwap(t.Context(), "k", "", []byte(`{"refresh_token":"a-secret`), 0)
	require.NoError(t, err)
	_, err = Read[secrets](t.Context(), r, "k")
	require.ErrorIs(t, err, ErrStore)
	require.NotContains(t, fmt.Sprintf("%v %+v %#v", err, err, err), "a-secret")
	_, err = Change(t.Context(), r, "k", 0, func(*secrets, bool, time.Time) error { return nil })
	require.ErrorIs(t, err, ErrStore)
}

// What cannot be read is replaced by a caller who knows what to put there.
func TestRecordThatCannotBeReadIsRepaired(t *testing.T) {
	r := New(store.NewMemory(), noPauses{})
	_, err := r.store.CompareAndSwap(t.Context(), "k", "", []byte("garbage"), 0)
	require.NoError(t, err)
	repaired, err := Repair(t.Context(), r, "k", 0, secrets{"substitute"}, func(v *secrets, found bool, _ time.Time) error {
		require.True(t, found)
		v.RefreshToken += ", changed"
		return nil
	})
	require.NoError(t, err)
	require.Equal(t, secrets{"substitute, changed"}, repaired)
	read, err := Read[secrets](t.Context(), r, "k")
	require.NoError(t, err)
	require.Equal(t, repaired, read)
}
