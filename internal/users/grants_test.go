package users

import (
	"testing"
	"time"

	"github.com/seed-498a1bc4/smartcar/internal/records"
	"github.com/seed-498a1bc4/smartcar/store"
	"github.com/stretchr/testify/require"
)

// With one grant nothing is written about which grant listed a car, and a
// listing that brings nothing new writes nothing.
func TestListingOfTheOnlyGrant(t *testing.T) {
	h := newHooked()
	u, _ := process(h)
	alice(t, u)
	ids := carIDs(200)
	require.NoError(t, u.List(t.Context(), "alice", "grant-1", ids))
	swaps := 0
	h.swapped = func(string) { swaps++ }
	require.NoError(t, u.List(t.Context(), "alice", "grant-1", ids))
	require.NoError(t, u.List(t.Context(), "alice", "grant-1", ids[:3]))
	require.Zero(t, swaps)
	r, err := u.Connected(t.Context(), "alice")
	require.NoError(t, err)
	require.Empty(t, u.GrantOf(t.Context(), "alice", r, ids[0]))
	require.NoError(t, u.List(t.Context(), "alice", "of somebody else", []string{"another"}))
	require.ElementsMatch(t, ids, allCars(t, u))
}

// Which of several grants lists a car is stored, and follows the newest listing.
func TestListingsOfSeveralGrants(t *testing.T) {
	h := newHooked()
	u, c := process(h)
	other, otherClock := process(h)
	alice(t, u)
	ids := carIDs(100)
	require.NoError(t, u.List(t.Context(), "alice", "grant-1", ids))
	_, err := u.Arrive(t.Context(), "alice", Arrival{Grant: "grant-2", ConnectedAt: time.Unix(2, 0)})
	require.NoError(t, err)
	require.NoError(t, u.List(t.Context(), "alice", "grant-2", ids[:60]))
	require.NoError(t, u.List(t.Context(), "alice", "grant-1", ids[60:]))
	grants := func(u *Users) (first, second, none int) {
		r, err := u.Connected(t.Context(), "alice")
		require.NoError(t, err)
		for _, id := range ids {
			switch u.GrantOf(t.Context(), "alice", r, id) {
			case "grant-1":
				first++
			case "grant-2":
				second++
			default:
				none++
			}
		}
		return first, second, none
	}
	first, second, none := grants(u)
	require.Equal(t, [3]int{40, 60, 0}, [3]int{first, second, none})
	first, second, none = grants(other)
	require.Equal(t, [3]int{40, 60, 0}, [3]int{first, second, none})
	calls := h.calls.Load()
	grants(other)
	require.EqualValues(t, 1, h.calls.Load()-calls, "the user; the cars are remembered")

	// One car has gone from the second grant, another one is disconnected.
	require.NoError(t, u.List(t.Context(), "alice", "grant-2", ids[:59]))
	require.NoError(t, u.Unlist(t.Context(), "alice", ids[99]))
	first, second, none = grants(u)
	require.Equal(t, [3]int{39, 59, 2}, [3]int{first, second, none})
	otherClock.pass(recentTime)
	c.pass(recentTime)
	first, second, none = grants(other)
	require.Equal(t, [3]int{39, 59, 2}, [3]int{first, second, none}, "seen within a minute")

	require.NoError(t, u.RemoveGrant(t.Context(), "alice", filed(t, u, "grant-2")))
	first, second, none = grants(u)
	require.Equal(t, [3]int{39, 0, 61}, [3]int{first, second, none}, "a grant that ended is nobody's")
	require.ElementsMatch(t, ids, allCars(t, u))
}

// A key of the ring is rotated: the user and all nodes are sealed anew.
func TestRewriteReachesTheCars(t *testing.T) {
	plain := store.NewMemory()
	key := func(b byte) []byte {
		k := make([]byte, 32)
		k[0] = b
		return k
	}
	seal := func(keys ...[]byte) *Users {
		s, err := store.NewSealed(plain, keys...)
		require.NoError(t, err)
		c := new(clock)
		return New(records.New(s, c), c, 1000)
	}
	before, rotating, after := seal(key(1)), seal(key(2), key(1)), seal(key(2))
	alice(t, before)
	ids := carIDs(300)
	require.NoError(t, before.AddCars(t.Context(), "alice", ids))
	require.NoError(t, rotating.Rewrite(t.Context(), "alice"))
	_, err := after.Connected(t.Context(), "alice")
	require.NoError(t, err)
	require.ElementsMatch(t, ids, allCars(t, after))
	require.NoError(t, rotating.Rewrite(t.Context(), "nobody"))
}
