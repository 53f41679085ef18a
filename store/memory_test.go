package store

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
		require.ErrorIs(t, err, ErrNotFound)
	}
	r, err := s.CompareAndSwap(t.Context(), key, current.Revision, []byte(value), ttl)
	require.NoError(t, err)
	require.Equal(t, value, string(r.Value))
	require.NotEmpty(t, r.Revision)
	return r
}

// undated is a record without the time, which every record has.
func undated(t *testing.T, r Record) Record {
	t.Helper()
	require.False(t, r.Now.IsZero())
	r.Now = time.Time{}
	return r
}

func TestMemoryCreatesOnce(t *testing.T) {
	s := NewMemory()
	zero, err := s.Load(t.Context(), "k")
	require.ErrorIs(t, err, ErrNotFound)
	require.Empty(t, undated(t, zero))

	zero, err = s.CompareAndSwap(t.Context(), "k", "made-up", []byte("v"), 0)
	require.ErrorIs(t, err, ErrConflict)
	require.Empty(t, undated(t, zero), "there is no current record")
	_, err = s.Load(t.Context(), "k")
	require.ErrorIs(t, err, ErrNotFound)

	first, err := s.CompareAndSwap(t.Context(), "k", "", []byte("v"), 0)
	require.NoError(t, err)
	current, err := s.CompareAndSwap(t.Context(), "k", "", []byte("w"), 0)
	require.ErrorIs(t, err, ErrConflict)
	require.Equal(t, undated(t, first), undated(t, current))
	loaded, err := s.Load(t.Context(), "k")
	require.NoError(t, err)
	require.Equal(t, undated(t, first), undated(t, loaded))
}

func TestMemorySwapsAtTheRevisionOnly(t *testing.T) {
	s := NewMemory()
	first := put(t, s, "k", "1", 0)
	second, err := s.CompareAndSwap(t.Context(), "k", first.Revision, []byte("2"), 0)
	require.NoError(t, err)
	require.NotEqual(t, first.Revision, second.Revision)
	current, err := s.CompareAndSwap(t.Context(), "k", first.Revision, []byte("3"), 0)
	require.ErrorIs(t, err, ErrConflict)
	require.Equal(t, undated(t, second), undated(t, current))

	same, err := s.CompareAndSwap(t.Context(), "k", second.Revision, []byte("2"), 0)
	require.NoError(t, err)
	require.NotEqual(t, second.Revision, same.Revision, "the same value is a write all the same")
}

func TestMemoryDeletes(t *testing.T) {
	s := NewMemory()
	require.NoError(t, s.Delete(t.Context(), "absent", ""))
	require.NoError(t, s.Delete(t.Context(), "absent", "made-up"))

	r := put(t, s, "k", "1", 0)
	require.ErrorIs(t, s.Delete(t.Context(), "k", ""), ErrConflict)
	require.ErrorIs(t, s.Delete(t.Context(), "k", "made-up"), ErrConflict)
	newer := put(t, s, "k", "2", 0)
	require.ErrorIs(t, s.Delete(t.Context(), "k", r.Revision), ErrConflict)
	require.NoError(t, s.Delete(t.Context(), "k", newer.Revision))
	_, err := s.Load(t.Context(), "k")
	require.ErrorIs(t, err, ErrNotFound)
	_, err = s.CompareAndSwap(t.Context(), "k", newer.Revision, []byte("3"), 0)
	require.ErrorIs(t, err, ErrConflict, "a deleted record is not updated")
}

func TestMemoryRecordsExpire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewMemory()
		put(t, s, "kept", "v", 0)
		r := put(t, s, "k", "v", time.Minute)
		time.Sleep(time.Minute - 1)
		_, err := s.Load(t.Context(), "k")
		require.NoError(t, err)
		time.Sleep(time.Nanosecond)
		_, err = s.Load(t.Context(), "k")
		require.ErrorIs(t, err, ErrNotFound)
		current, err := s.CompareAndSwap(t.Context(), "k", r.Revision, []byte("w"), 0)
		require.ErrorIs(t, err, ErrConflict)
		require.Empty(t, undated(t, current))
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

func TestMemoryRevisionsNeverComeAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewMemory()
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

func TestMemoryKeepsCopies(t *testing.T) {
	s := NewMemory()
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

func TestMemoryTakesAnyKeyAndValue(t *testing.T) {
	s := NewMemory()
	for _, key := range []string{"", "a", "a/b", "ä ö", string(bytes.Repeat([]byte("k"), 512))} {
		for _, value := range []string{"", "\x00\xff", string(bytes.Repeat([]byte("v"), 1<<20))} {
			r := put(t, s, key, value, 0)
			loaded, err := s.Load(t.Context(), key)
			require.NoError(t, err)
			require.Equal(t, undated(t, r), undated(t, loaded))
		}
	}
}

// Everybody adds one, many times: a lost swap would be missing in the sum.
func TestMemoryLosesNoConcurrentSwap(t *testing.T) {
	const workers, rounds = 16, 200
	s := NewMemory()
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

func TestMemoryHonorsTheContext(t *testing.T) {
	s := NewMemory()
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
	require.Equal(t, undated(t, r), undated(t, loaded))
}

func (m *Memory) inMemory() int {
	n := 0
	for i := range m.shards {
		n += len(m.shards[i].records)
	}
	return n
}

// Records that nobody loads again leave memory as others are written.
func TestMemoryForgetsExpiredRecords(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewMemory()
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
func TestMemoryOfAClientUsesItsClock(t *testing.T) {
	now := time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)
	s := NewMemoryAt(func() time.Time { return now })
	put(t, s, "k", "v", time.Minute)
	now = now.Add(time.Hour)
	_, err := s.Load(t.Context(), "k")
	require.ErrorIs(t, err, ErrNotFound)
}

func TestZeroMemoryIsReady(t *testing.T) {
	var store Memory
	written, err := store.CompareAndSwap(t.Context(), "k", "", []byte("v"), time.Hour)
	require.NoError(t, err)
	read, err := store.Load(t.Context(), "k")
	require.NoError(t, err)
	require.Equal(t, undated(t, written), undated(t, read))
}

// Every answer says what time it is by the store's clock: one of its own, which
// begins when the store is used first, or the one that it was given.
func TestMemoryHasAClock(t *testing.T) {
	given := time.Date(2026, 11, 23, 9, 15, 4, 0, time.UTC)
	at := NewMemoryAt(func() time.Time { return given })
	outside := NewMemory()
	synctest.Test(t, func(t *testing.T) {
		for _, s := range []*Memory{NewMemory(), outside, new(Memory)} {
			began := time.Now()
			r, err := s.Load(t.Context(), "k")
			require.ErrorIs(t, err, ErrNotFound)
			require.True(t, r.Now.Equal(began))
			time.Sleep(time.Hour)
			r = put(t, s, "k", "v", 0)
			require.True(t, r.Now.Equal(began.Add(time.Hour)))
			r, err = s.CompareAndSwap(t.Context(), "k", "", nil, 0)
			require.ErrorIs(t, err, ErrConflict)
			require.True(t, r.Now.Equal(began.Add(time.Hour)))
		}
	})
	require.Equal(t, given, put(t, at, "k", "v", 0).Now)
	keys := [][]byte{bytes.Repeat([]byte("k"), 32)}
	sealed, err := NewSealed(at, keys...)
	require.NoError(t, err)
	r, err := sealed.Load(t.Context(), "absent")
	require.ErrorIs(t, err, ErrNotFound)
	require.Equal(t, given, r.Now, "a sealed store passes it on")
}
