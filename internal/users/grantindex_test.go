package users

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The grants of a user whose record is garbage are found all the same.
func TestGrantsAreFoundWithoutTheRecord(t *testing.T) {
	h := newHooked()
	u, _ := process(h)
	alice(t, u)
	require.NoError(t, u.AddGrant(t.Context(), "alice", "grant-2", time.Unix(2, 0)))
	h.overwrite(t, "user/alice", "garbage")
	marked, err := u.MarkForgotten(t.Context(), "alice")
	require.NoError(t, err)
	grants, err := u.GrantsOf(t.Context(), "alice", &marked)
	require.NoError(t, err)
	require.ElementsMatch(t, []string{"grant-1", "grant-2"}, grants)
	forget(t, u)
	require.Empty(t, h.live(t))
}

// What an earlier version has stored gets an index when it is written anew; one that
// cannot be read is no obstacle.
func TestGrantIndexIsMadeUpFor(t *testing.T) {
	h := newHooked()
	u, _ := process(h)
	h.overwrite(t, "user/alice", `{"grants":[{"id":"grant-1","connected_at":"2026-11-23T12:00:00Z"},{"id":"grant-2","connected_at":"2026-11-24T12:00:00Z"}]}`)
	require.NoError(t, u.Rewrite(t.Context(), "alice"))
	grants, err := u.GrantsOf(t.Context(), "alice", new(Record))
	require.NoError(t, err)
	require.Equal(t, []string{"grant-1", "grant-2"}, grants)

	h.overwrite(t, "usergrants/alice", "garbage")
	grants, err = u.GrantsOf(t.Context(), "alice", &Record{Grants: []Grant{{ID: "grant-1"}}})
	require.NoError(t, err)
	require.Equal(t, []string{"grant-1"}, grants)
	require.NoError(t, u.Rewrite(t.Context(), "alice"))
	grants, err = u.GrantsOf(t.Context(), "alice", new(Record))
	require.NoError(t, err)
	require.Equal(t, []string{"grant-1", "grant-2"}, grants)
	require.NoError(t, u.RemoveGrant(t.Context(), "alice", filed(t, u, "grant-1")))
	require.NoError(t, u.RemoveGrant(t.Context(), "alice", filed(t, u, "grant-2")))
	require.Equal(t, []string{"user/alice"}, h.live(t))
}

// Forget runs between the filing of a grant and the index: nothing is left.
//
//  1. A files grant-2 in the user's record.
//  2. B forgets the user, and deletes the record.
//  3. A adds grant-2 to the index, sees that the user is gone, and takes it out again.
func TestIndexOfAUserWhoIsForgottenMeanwhile(t *testing.T) {
	h := newHooked()
	u, _ := process(h)
	other, _ := process(h)
	alice(t, u)
	ran := false
	h.swapped = func(key string) {
		if key == "user/alice" && !ran {
			ran = true
			_, err := other.MarkForgotten(t.Context(), "alice")
			require.NoError(t, err)
			require.NoError(t, other.Delete(t.Context(), "alice"))
		}
	}
	require.NoError(t, u.AddGrant(t.Context(), "alice", "grant-2", time.Unix(2, 0)))
	require.True(t, ran)
	require.Empty(t, h.live(t))
}
