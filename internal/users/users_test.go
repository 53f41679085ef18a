package users

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed-498a1bc4/smartcar/internal/records"
	"github.com/seed-498a1bc4/smartcar/store"
	"github.com/stretchr/testify/require"
)

// clock is a clock that a test moves.
type clock struct{ now atomic.Int64 }

func (c *clock) Now() time.Time { return time.Unix(0, c.now.Load()) }
func (c *clock) Sleep(_ context.Context, d time.Duration) error {
	c.pass(d)
	return nil
}
func (c *clock) pass(d time.Duration) { c.now.Add(int64(d)) }

// hooked is a store that counts its calls and the bytes that cross to it and back,
// and lets a test come in between.
type hooked struct {
	store.Store
	mu      sync.Mutex
	keys    map[string]bool
	calls   atomic.Int64
	bytes   atomic.Int64
	before  func(call, key string)
	swapped func(key string) // after a swap
}

func (h *hooked) note(call, key string) {
	h.calls.Add(1)
	h.mu.Lock()
	h.keys[key] = true
	h.mu.Unlock()
	if h.before != nil {
		h.before(call, key)
	}
}

func (h *hooked) Load(ctx context.Context, key string) (store.Record, error) {
	h.note("load", key)
	r, err := h.Store.Load(ctx, key)
	h.bytes.Add(int64(len(r.Value)))
	return r, err
}

func (h *hooked) CompareAndSwap(ctx context.Context, key string, old store.Revision, value []byte, ttl time.Duration) (store.Record, error) {
	h.note("swap", key)
	h.bytes.Add(int64(len(value)))
	r, err := h.Store.CompareAndSwap(ctx, key, old, value, ttl)
	if h.swapped != nil {
		h.swapped(key)
	}
	return r, err
}

func (h *hooked) Delete(ctx context.Context, key string, old store.Revision) error {
	h.note("delete", key)
	return h.Store.Delete(ctx, key, old)
}

// live lists the keys that hold something.
func (h *hooked) live(t *testing.T) (keys []string) {
	t.Helper()
	h.mu.Lock()
	defer h.mu.Unlock()
	for key := range h.keys {
		if _, err := h.Store.Load(t.Context(), key); err == nil {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	return keys
}

func (h *hooked) overwrite(t *testing.T, key, value string) {
	t.Helper()
	r, _ := h.Store.Load(t.Context(), key)
	_, err := h.Store.CompareAndSwap(t.Context(), key, r.Revision, []byte(value), 0)
	require.NoError(t, err)
	h.mu.Lock()
	h.keys[key] = true
	h.mu.Unlock()
}

func newHooked() *hooked { return &hooked{Store: store.NewMemory(), keys: make(map[string]bool)} }

// process returns the users as one process sees them.
func process(h *hooked) (*Users, *clock) {
	c := new(clock)
	c.pass(time.Hour)
	return New(records.New(h, c), c, 100_000), c
}

// alice is a user with one grant.
func alice(t *testing.T, u *Users) {
	t.Helper()
	filed, err := u.Arrive(t.Context(), "alice", Arrival{Grant: "grant-1", ConnectedAt: time.Unix(1, 0).UTC()})
	require.NoError(t, err)
	require.True(t, filed)
}

func carIDs(n int) []string {
	ids := make([]string, n)
	for i := range ids {
		ids[i] = fmt.Sprintf("36ab27d0-fd9d-4455-823a-%012d", i)
	}
	return ids
}

func idsOf(cars []Car) []string {
	ids := make([]string, len(cars))
	for i, c := range cars {
		ids[i] = c.ID
	}
	return ids
}

func allCars(t *testing.T, u *Users) []string {
	t.Helper()
	cars, err := u.Cars(t.Context(), "alice", nil)
	require.NoError(t, err)
	return idsOf(cars)
}

// However many cars there are, all are found, none twice, in records that are small.
func TestCarsAreFoundAgain(t *testing.T) {
	for _, n := range []int{0, 1, 63, 64, 65, 500, 1100} {
		for name, add := range map[string]func(*testing.T, *Users, []string){
			"one by one": func(t *testing.T, u *Users, ids []string) {
				for _, id := range ids {
					require.True(t, u.AddCar(t.Context(), "alice", id, false))
				}
			},
			"at once": func(t *testing.T, u *Users, ids []string) {
				require.NoError(t, u.AddCars(t.Context(), "alice", ids))
			},
			"as listed, twice": func(t *testing.T, u *Users, ids []string) {
				require.NoError(t, u.List(t.Context(), "alice", "grant-1", ids))
				require.NoError(t, u.List(t.Context(), "alice", "grant-1", ids))
			},
		} {
			t.Run(fmt.Sprint(n, " ", name), func(t *testing.T) {
				h := newHooked()
				u, _ := process(h)
				alice(t, u)
				ids := carIDs(n)
				add(t, u, ids)
				require.ElementsMatch(t, ids, allCars(t, u))
				other, _ := process(h)
				for _, id := range ids {
					require.True(t, other.AddCarNow(t.Context(), "alice", id, false))
				}
				require.ElementsMatch(t, ids, allCars(t, u), "known already")
				for _, key := range h.live(t) {
					r, err := h.Store.Load(t.Context(), key)
					require.NoError(t, err)
					require.Less(t, len(r.Value), 6000, key)
				}
				_, err := u.MarkForgotten(t.Context(), "alice")
				require.NoError(t, err)
				require.NoError(t, u.Delete(t.Context(), "alice"))
				require.Empty(t, h.live(t))
			})
		}
	}
}

// A car costs the same, whether it is the user's 500th or their 10,000th.
func TestFirstContactCostsTheSameForAnyNumberOfCars(t *testing.T) {
	type cost struct{ calls, bytes, allocated uint64 }
	measure := func(cars int) cost {
		const sample = 100
		h := newHooked()
		u, c := process(h)
		alice(t, u)
		ids := carIDs(cars)
		require.NoError(t, u.AddCars(t.Context(), "alice", ids[2*sample:]))
		i := 0
		add := func() {
			c.pass(recentTime) // so that the user's record is loaded each time
			require.True(t, u.AddCarNow(t.Context(), "alice", ids[i], false))
			i++
		}
		for range sample { // a process that has seen the others knows the full nodes
			add()
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		calls, bytes := h.calls.Load(), h.bytes.Load()
		for range sample {
			add()
		}
		runtime.ReadMemStats(&after)
		return cost{
			uint64(h.calls.Load() - calls), uint64(h.bytes.Load()-bytes) / sample,
			(after.TotalAlloc - before.TotalAlloc) / sample,
		}
	}
	few := measure(500)
	for _, cars := range []int{3000, 10_000} {
		many := measure(cars)
		t.Log(cars, "cars:", many, "500 cars:", few)
		require.LessOrEqual(t, 2*many.calls, 3*few.calls)
		require.LessOrEqual(t, 2*many.bytes, 3*few.bytes)
		require.LessOrEqual(t, 2*many.allocated, 3*few.allocated)
	}
}

// Another process takes a car out again that it could not read. This process has
// seen the car in the tree, and is about to keep something of it.
func TestCarThatWasTakenOutElsewhereIsAddedAgain(t *testing.T) {
	h := newHooked()
	u, _ := process(h)
	other, _ := process(h)
	alice(t, u)
	require.True(t, u.AddCar(t.Context(), "alice", "the-car", false))
	require.NoError(t, other.RemoveCar(t.Context(), "alice", "the-car"))
	require.True(t, u.AddCarNow(t.Context(), "alice", "the-car", false))
	require.Equal(t, []string{"the-car"}, allCars(t, u))
}

// filed is a grant of alice as it is stored.
func filed(t *testing.T, u *Users, grant string) Grant {
	t.Helper()
	r, err := u.Stored(t.Context(), "alice")
	require.NoError(t, err)
	require.True(t, r.Has(grant))
	return r.Grant(grant)
}

// A grant ends, and is filed again meanwhile: who ends it has seen the old one.
func TestGrantThatIsFiledAgainStays(t *testing.T) {
	u, _ := process(newHooked())
	alice(t, u)
	seen := filed(t, u, "grant-1")
	require.NoError(t, u.AddGrant(t.Context(), "alice", "grant-1", time.Unix(2, 0)))
	require.NoError(t, u.RemoveGrant(t.Context(), "alice", seen))
	again := filed(t, u, "grant-1")
	require.True(t, again.ConnectedAt.Equal(time.Unix(2, 0)))
	ids, err := u.GrantsOf(t.Context(), "alice", new(Record))
	require.NoError(t, err)
	require.Equal(t, []string{"grant-1"}, ids)

	require.NoError(t, u.RemoveGrant(t.Context(), "alice", again))
	require.NoError(t, u.RemoveGrant(t.Context(), "alice", again), "again, by who died in between")
	require.NoError(t, u.AddGrant(t.Context(), "alice", "grant-1", time.Unix(3, 0)))
	require.NoError(t, u.RemoveGrant(t.Context(), "alice", Grant{ID: "grant-1"}), "as who saw none")
	filed(t, u, "grant-1")
}

// A record that was not changed is not decoded again.
func TestUnchangedRecordIsNotDecodedAgain(t *testing.T) {
	h := newHooked()
	u, _ := process(h)
	other, _ := process(h)
	alice(t, u)
	first, err := u.Connected(t.Context(), "alice")
	require.NoError(t, err)
	again, err := u.Connected(t.Context(), "alice")
	require.NoError(t, err)
	require.Same(t, first, again)
	require.NoError(t, other.AddGrant(t.Context(), "alice", "grant-2", time.Unix(2, 0).UTC()))
	changed, err := u.Connected(t.Context(), "alice")
	require.NoError(t, err)
	require.True(t, changed.Has("grant-2"))
	require.False(t, first.Has("grant-2"))
}
