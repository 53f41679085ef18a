package smartcar

import (
	"bytes"
	"context"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// put writes value whatever is there.
func put(t *testing.T, s Store, key, value string, ttl time.Duration) Record {
	t.Helper()
	current, err := s.Load(t.Context(), key)
	if err != nil {
		require.ErrorIs(t, err, ErrRecordNotFound)
	}
	r, err := s.CompareAndSwap(t.Context(), key, current.Revision, []byte(value), ttl)
	require.NoError(t, err)
	require.Equal(t, value, string(r.Value))
	require.NotEmpty(t, r.Revision)
	return r
}

func TestMemoryStoreCreatesOnce(t *testing.T) {
	s := NewMemoryStore()
	zero, err := s.Load(t.Context(), "k")
	require.ErrorIs(t, err, ErrRecordNotFound)
	require.Empty(t, zero)

	zero, err = s.CompareAndSwap(t.Context(), "k", "made-up", []byte("v"), 0)
	require.ErrorIs(t, err, ErrConflict)
	require.Empty(t, zero, "there is no current record")
	_, err = s.Load(t.Context(), "k")
	require.ErrorIs(t, err, ErrRecordNotFound)

	first, err := s.CompareAndSwap(t.Context(), "k", "", []byte("v"), 0)
	require.NoError(t, err)
	current, err := s.CompareAndSwap(t.Context(), "k", "", []byte("w"), 0)
	require.ErrorIs(t, err, ErrConflict)
	require.Equal(t, first, current)
	loaded, err := s.Load(t.Context(), "k")
	require.NoError(t, err)
	require.Equal(t, first, loaded)
}

func TestMemoryStoreSwapsAtTheRevisionOnly(t *testing.T) {
	s := NewMemoryStore()
	first := put(t, s, "k", "1", 0)
	second, err := s.CompareAndSwap(t.Context(), "k", first.Revision, []byte("2"), 0)
	require.NoError(t, err)
	require.NotEqual(t, first.Revision, second.Revision)
	current, err := s.CompareAndSwap(t.Context(), "k", first.Revision, []byte("3"), 0)
	require.ErrorIs(t, err, ErrConflict)
	require.Equal(t, second, current)

	same, err := s.CompareAndSwap(t.Context(), "k", second.Revision, []byte("2"), 0)
	require.NoError(t, err)
	require.NotEqual(t, second.Revision, same.Revision, "the same value is a write all the same")
}

func TestMemoryStoreDeletes(t *testing.T) {
	s := NewMemoryStore()
	require.NoError(t, s.Delete(t.Context(), "absent", ""))
	require.NoError(t, s.Delete(t.Context(), "absent", "made-up"))

	r := put(t, s, "k", "1", 0)
	require.ErrorIs(t, s.Delete(t.Context(), "k", ""), ErrConflict)
	require.ErrorIs(t, s.Delete(t.Context(), "k", "made-up"), ErrConflict)
	newer := put(t, s, "k", "2", 0)
	require.ErrorIs(t, s.Delete(t.Context(), "k", r.Revision), ErrConflict)
	require.NoError(t, s.Delete(t.Context(), "k", newer.Revision))
	_, err := s.Load(t.Context(), "k")
	require.ErrorIs(t, err, ErrRecordNotFound)
	_, err = s.CompareAndSwap(t.Context(), "k", newer.Revision, []byte("3"), 0)
	require.ErrorIs(t, err, ErrConflict, "a deleted record is not updated")
}

func TestMemoryStoreRecordsExpire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewMemoryStore()
		put(t, s, "kept", "v", 0)
		r := put(t, s, "k", "v", time.Minute)
		time.Sleep(time.Minute - 1)
		_, err := s.Load(t.Context(), "k")
		require.NoError(t, err)
		time.Sleep(time.Nanosecond)
		_, err = s.Load(t.Context(), "k")
		require.ErrorIs(t, err, ErrRecordNotFound)
		current, err := s.CompareAndSwap(t.Context(), "k", r.Revision, []byte("w"), 0)
		require.ErrorIs(t, err, ErrConflict)
		require.Empty(t, current)
		require.NoError(t, s.Delete(t.Context(), "k", "made-up"), "what has expired is absent")

		put(t, s, "k", "again", time.Minute)
		put(t, s, "k", "for good", 0) // each write sets its own end
		time.Sleep(1000 * time.Hour)
		for _, key := range []string{"k", "kept"} {
			_, err = s.Load(t.Context(), key)
			require.NoError(t, err)
		}
	})
}

func TestMemoryStoreRevisionsNeverComeAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewMemoryStore()
		seen := make(map[Revision]bool)
		for i := range 3000 {
			r := put(t, s, "k", "v", time.Minute)
			require.False(t, seen[r.Revision])
			seen[r.Revision] = true
			switch i % 3 {
			case 0:
				require.NoError(t, s.Delete(t.Context(), "k", r.Revision))
			case 1:
				time.Sleep(time.Hour)
			}
		}
	})
}

func TestMemoryStoreKeepsCopies(t *testing.T) {
	s := NewMemoryStore()
	value := []byte("value")
	written, err := s.CompareAndSwap(t.Context(), "k", "", value, 0)
	require.NoError(t, err)
	value[0], written.Value[1] = 'X', 'X'
	loaded, err := s.Load(t.Context(), "k")
	require.NoError(t, err)
	require.Equal(t, "value", string(loaded.Value))
	loaded.Value[2] = 'X'
	current, err := s.CompareAndSwap(t.Context(), "k", "", nil, 0)
	require.ErrorIs(t, err, ErrConflict)
	require.Equal(t, "value", string(current.Value))
}

func TestMemoryStoreTakesAnyKeyAndValue(t *testing.T) {
	s := NewMemoryStore()
	for _, key := range []string{"", "a", "a/b", "ä ö", string(bytes.Repeat([]byte("k"), 512))} {
		for _, value := range []string{"", "\x00\xff", string(bytes.Repeat([]byte("v"), 1<<20))} {
			r := put(t, s, key, value, 0)
			loaded, err := s.Load(t.Context(), key)
			require.NoError(t, err)
			require.Equal(t, r, loaded)
		}
	}
}

// Everybody adds one, many times: a lost swap would be missing in the sum.
func TestMemoryStoreLosesNoConcurrentSwap(t *testing.T) {
	const workers, rounds = 16, 200
	s := NewMemoryStore()
	var all sync.WaitGroup
	for range workers {
		all.Go(func() {
			for range rounds {
				current, _ := s.Load(t.Context(), "k")
				for {
					n, _ := strconv.Atoi(string(current.Value))
					next, err := s.CompareAndSwap(t.Context(), "k", current.Revision, []byte(strconv.Itoa(n+1)), 0)
					if err == nil {
						break
					}
					current = next
				}
			}
		})
	}
	all.Wait()
	r, err := s.Load(t.Context(), "k")
	require.NoError(t, err)
	require.Equal(t, strconv.Itoa(workers*rounds), string(r.Value))
}

func TestMemoryStoreHonorsTheContext(t *testing.T) {
	s := NewMemoryStore()
	r := put(t, s, "k", "v", 0)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := s.Load(ctx, "k")
	require.ErrorIs(t, err, context.Canceled)
	_, err = s.CompareAndSwap(ctx, "k", r.Revision, []byte("w"), 0)
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorIs(t, s.Delete(ctx, "k", r.Revision), context.Canceled)
	loaded, err := s.Load(t.Context(), "k")
	require.NoError(t, err)
	require.Equal(t, r, loaded)
}

func (m *MemoryStore) inMemory() int {
	n := 0
	for i := range m.shards {
		n += len(m.shards[i].records)
	}
	return n
}

// Records that nobody loads again leave memory as others are written.
func TestMemoryStoreForgetsExpiredRecords(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewMemoryStore()
		const perHour, hours = 5000, 20
		for hour := range hours {
			for i := range perHour {
				put(t, s, fmt.Sprintf("state/%d-%d", hour, i), "v", time.Hour)
			}
			put(t, s, fmt.Sprintf("kept/%d", hour), "v", 0)
			require.LessOrEqual(t, s.inMemory(), 2*(perHour+hours)+64*len(s.shards))
			time.Sleep(time.Hour)
		}
		for hour := range hours {
			_, err := s.Load(t.Context(), fmt.Sprintf("kept/%d", hour))
			require.NoError(t, err)
		}
	})
}

// The default store lives by the client's clock, so that simulations need no other.
func TestMemoryStoreOfAClientUsesItsClock(t *testing.T) {
	now := time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)
	s := newMemoryStore(func() time.Time { return now })
	put(t, s, "k", "v", time.Minute)
	now = now.Add(time.Hour)
	_, err := s.Load(t.Context(), "k")
	require.ErrorIs(t, err, ErrRecordNotFound)
}

func TestChangesOfARecordAreNotLost(t *testing.T) {
	r := records{store: NewMemoryStore(), clock: systemClock{}}
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
	r := records{store: NewMemoryStore(), clock: systemClock{}}
	put(t, r.store, "k", `{"refresh_token":"a-secret`, 0)
	_, err := loadJSON[grantRecord](t.Context(), r, "k")
	require.ErrorIs(t, err, ErrStore)
	require.NotContains(t, fmt.Sprintf("%v %+v %#v", err, err, err), "a-secret")
	_, err = changeJSON(t.Context(), r, "k", 0, func(*grantRecord, bool, time.Time) error { return nil })
	require.ErrorIs(t, err, ErrStore)
}

func TestZeroMemoryStoreIsReady(t *testing.T) {
	var store MemoryStore
	written, err := store.CompareAndSwap(t.Context(), "k", "", []byte("v"), time.Hour)
	require.NoError(t, err)
	read, err := store.Load(t.Context(), "k")
	require.NoError(t, err)
	require.Equal(t, written, read)
}
