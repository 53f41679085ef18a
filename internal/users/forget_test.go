package users

import (
	"runtime"
	"strings"
	"testing"

	"github.com/seed-498a1bc4/smartcar/internal/records"
	"github.com/stretchr/testify/require"
)

// forget is what the client does with the users in its Forget.
func forget(t *testing.T, u *Users) []string {
	t.Helper()
	r, err := u.MarkForgotten(t.Context(), "alice")
	require.NoError(t, err)
	cars, err := u.Cars(t.Context(), "alice", &r)
	require.NoError(t, err)
	require.NoError(t, u.Delete(t.Context(), "alice"))
	return idsOf(cars)
}

// atStep runs other before the n-th call of the store, and reports whether there
// was one.
func atStep(h *hooked, n int, other func(), do func()) (came bool) {
	h.before = func(string, string) {
		if n--; n == 0 {
			h.before = nil
			came = true
			other()
		}
	}
	do()
	h.before = nil
	return came
}

// Forget may come at any moment while a car is added: the car is then not added,
// or the next Forget finds it.
func TestForgetWhileACarIsAdded(t *testing.T) {
	for _, cars := range []int{0, 200} {
		for _, isNew := range []bool{false, true} {
			steps := 0
			for came := true; came; steps++ {
				h := newHooked()
				u, _ := process(h)
				other, _ := process(h)
				alice(t, u)
				require.NoError(t, u.AddCars(t.Context(), "alice", carIDs(cars)))
				known := false
				came = atStep(h, steps+1, func() { forget(t, other) }, func() {
					known = u.AddCarNow(t.Context(), "alice", "the-car", isNew)
				})
				if known {
					require.Contains(t, forget(t, other), "the-car")
				}
				require.Empty(t, h.live(t), "step %d", steps)
			}
			require.Greater(t, steps, 3)
		}
	}
}

// A car may be added at any moment of a Forget: it is found, or not added.
func TestACarIsAddedDuringForget(t *testing.T) {
	for _, cars := range []int{0, 200} {
		steps := 0
		for came := true; came; steps++ {
			h := newHooked()
			u, _ := process(h)
			other, _ := process(h)
			alice(t, u)
			require.NoError(t, u.AddCars(t.Context(), "alice", carIDs(cars)))
			_, err := other.Connected(t.Context(), "alice") // it believes in the user for a minute
			require.NoError(t, err)
			known := false
			var found []string
			came = atStep(h, steps+1, func() { known = other.AddCarNow(t.Context(), "alice", "the-car", false) }, func() {
				found = forget(t, u)
			})
			if known {
				require.Contains(t, found, "the-car", "step %d", steps)
			}
			require.Empty(t, h.live(t), "step %d", steps)
		}
		require.Greater(t, steps, 5)
	}
}

// A Forget that is cut off at any moment is finished by the next one.
func TestForgetIsCutOff(t *testing.T) {
	for steps, died := 0, true; died; steps++ {
		h := newHooked()
		u, _ := process(h)
		alice(t, u)
		ids := carIDs(200)
		require.NoError(t, u.AddCars(t.Context(), "alice", ids))
		done := make(chan struct{})
		go func() {
			defer close(done)
			died = true
			atStep(h, steps+1, func() { runtime.Goexit() }, func() { forget(t, u) }) //nolint:testifylint // Goexit is what kills this goroutine; the test waits for it
			died = false
		}()
		<-done
		h.before = nil
		other, _ := process(h)
		found := forget(t, other)
		if steps < 3 {
			require.ElementsMatch(t, ids, found)
		}
		require.Empty(t, h.live(t), "step %d", steps)
	}
}

// The user connects again while an old Forget is still at work: the new life's
// cars stay.
func TestConnectDuringForgetKeepsTheNewCars(t *testing.T) {
	steps := 0
	for came := true; came; steps++ {
		h := newHooked()
		u, _ := process(h)
		other, _ := process(h)
		alice(t, u)
		require.NoError(t, u.AddCars(t.Context(), "alice", carIDs(70)))
		_, err := u.MarkForgotten(t.Context(), "alice")
		require.NoError(t, err)
		came = atStep(h, steps+1, func() {
			forget(t, other)
			alice(t, other)
			require.True(t, other.AddCar(t.Context(), "alice", "the-car", false))
		}, func() { require.NoError(t, u.Delete(t.Context(), "alice")) })
		if came {
			require.Equal(t, []string{"the-car"}, allCars(t, other), "step %d", steps)
			_, err = other.Connected(t.Context(), "alice")
			require.NoError(t, err)
		}
	}
	require.Greater(t, steps, 5)
}

// What a process remembers of a user's first life is not believed in the second.
func TestCarsOfAFormerLifeAreNotKnown(t *testing.T) {
	h := newHooked()
	u, c := process(h)
	other, _ := process(h)
	alice(t, u)
	ids := carIDs(100)
	for _, id := range ids {
		require.True(t, u.AddCar(t.Context(), "alice", id, false))
	}
	forget(t, other)
	alice(t, other)
	c.pass(recentTime)
	for _, id := range ids {
		require.True(t, u.AddCar(t.Context(), "alice", id, false))
	}
	require.ElementsMatch(t, ids, allCars(t, u))
}

// The record of a user is garbage: cars are still filed and found, Forget deletes
// everything, and Connect repairs it.
func TestUserWhoCannotBeRead(t *testing.T) {
	h := newHooked()
	u, c := process(h)
	alice(t, u)
	require.True(t, u.AddCar(t.Context(), "alice", "car-1", false))
	h.overwrite(t, "user/alice", "garbage")
	c.pass(recentTime)
	_, err := u.Connected(t.Context(), "alice")
	require.ErrorIs(t, err, records.ErrUnreadable)
	require.ErrorIs(t, err, records.ErrStore)
	require.True(t, u.AddCar(t.Context(), "alice", "car-2", false))
	require.ErrorIs(t, u.RemoveGrant(t.Context(), "alice", Grant{ID: "grant-1"}), records.ErrUnreadable)

	filed, err := u.Arrive(t.Context(), "alice", Arrival{Grant: "grant-2"})
	require.NoError(t, err)
	require.True(t, filed)
	r, err := u.Connected(t.Context(), "alice")
	require.NoError(t, err)
	require.True(t, r.Has("grant-2"))
	require.True(t, r.Lost)
	require.ElementsMatch(t, []string{"car-1", "car-2"}, allCars(t, u))

	h.overwrite(t, "user/alice", "garbage")
	marked, err := u.MarkForgotten(t.Context(), "alice")
	require.NoError(t, err)
	require.True(t, marked.Lost)
	require.ElementsMatch(t, []string{"car-1", "car-2"}, forget(t, u))
	require.Empty(t, h.live(t))
}

// A node that cannot be read hides the cars it held, and no others.
func TestNodeThatCannotBeRead(t *testing.T) {
	h := newHooked()
	u, _ := process(h)
	alice(t, u)
	ids := carIDs(500)
	require.NoError(t, u.AddCars(t.Context(), "alice", ids))
	h.overwrite(t, "usercars/alice/", "garbage")
	require.Len(t, allCars(t, u), len(ids)-nodeSize)
	other, _ := process(h)
	for _, id := range ids {
		require.True(t, other.AddCar(t.Context(), "alice", id, false))
	}
	require.ElementsMatch(t, ids, allCars(t, u))
	forget(t, u)
	require.Empty(t, h.live(t))
}

// A record that an earlier version wrote is read, and its lists never grow.
func TestRecordOfAnEarlierVersion(t *testing.T) {
	const old = `{"grants":[{"id":"grant-1","connected_at":"2026-11-23T12:00:00Z","vehicles":["listed-1","both"]},` +
		`{"id":"grant-2","connected_at":"2026-11-24T12:00:00Z","vehicles":["listed-2"]}],` +
		`"virtual_key_url":"https://www.tesla.com/_ak/smartcar.com","external_id":"acct_42","cars":["both","read"]}`
	h := newHooked()
	u, c := process(h)
	h.overwrite(t, "user/alice", old)
	r, err := u.Connected(t.Context(), "alice")
	require.NoError(t, err)
	require.Equal(t, "acct_42", r.ExternalID)
	require.Equal(t, "grant-1", u.GrantOf(t.Context(), "alice", r, "both"))
	require.Equal(t, "grant-2", u.GrantOf(t.Context(), "alice", r, "listed-2"))
	require.Empty(t, u.GrantOf(t.Context(), "alice", r, "read"))

	require.True(t, u.AddCarNow(t.Context(), "alice", "read", false))
	require.Equal(t, []string{"user/alice"}, h.live(t), "it is filed already")
	require.True(t, u.AddCarNow(t.Context(), "alice", "new", false))
	c.pass(recentTime)
	record, err := h.Store.Load(t.Context(), "user/alice")
	require.NoError(t, err)
	require.Equal(t, []byte(old), record.Value, "not a byte is changed") //nolint:testifylint // the bytes count, not what they mean as JSON

	require.NoError(t, u.RemoveCar(t.Context(), "alice", "read"))
	require.NoError(t, u.Unlist(t.Context(), "alice", "listed-1"))
	r, err = u.Connected(t.Context(), "alice")
	require.NoError(t, err)
	cars, err := u.Cars(t.Context(), "alice", r)
	require.NoError(t, err)
	require.ElementsMatch(t, []string{"new", "both", "listed-2"}, idsOf(cars))
	require.ElementsMatch(t, []string{"new", "both", "listed-2"}, forget(t, u))
	require.Empty(t, h.live(t))
}

func TestNobodyIsForgotten(t *testing.T) {
	h := newHooked()
	u, _ := process(h)
	require.Empty(t, forget(t, u))
	require.False(t, u.AddCar(t.Context(), "alice", "car-1", false))
	require.Empty(t, h.live(t))
	require.True(t, u.AddCar(t.Context(), "alice", "car-1", true))
	require.Len(t, h.live(t), 2)
	require.NotContains(t, strings.Join(h.live(t), " "), "car-1", "a key tells no car")
	require.NoError(t, u.RemoveCar(t.Context(), "alice", "car-1"))
	require.Equal(t, []string{"user/alice"}, h.live(t), "an empty node goes")
}
