package smartcar

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/seed-498a1bc4/smartcar/store"
	"github.com/stretchr/testify/require"
)

func TestChangesOfARecordAreNotLost(t *testing.T) {
	r := records{store: store.NewMemory(), clock: systemClock{}}
	var all sync.WaitGroup
	for i := range 20 {
		all.Go(func() {
			_, err := changeJSON(t.Context(), r, "k", 0, func(list *[]int, _ bool, _ time.Time) error {
				*list = append(*list, i)
				return nil
			})
			require.NoError(t, err)
		})
	}
	all.Wait()
	list, err := loadJSON[[]int](t.Context(), r, "k")
	require.NoError(t, err)
	require.Len(t, list, 20)
}

func TestRecordOfAnotherVersionIsAStoreError(t *testing.T) {
	r := records{store: store.NewMemory(), clock: systemClock{}}
	_, err := r.store.CompareAndSwap(t.Context(), "k", "", []byte(`{"refresh_token":"a-secret`), 0)
	require.NoError(t, err)
	_, err = loadJSON[grantRecord](t.Context(), r, "k")
	require.ErrorIs(t, err, ErrStore)
	require.NotContains(t, fmt.Sprintf("%v %+v %#v", err, err, err), "a-secret")
	_, err = changeJSON(t.Context(), r, "k", 0, func(*grantRecord, bool, time.Time) error { return nil })
	require.ErrorIs(t, err, ErrStore)
}
