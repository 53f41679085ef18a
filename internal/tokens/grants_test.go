package tokens

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-498a1bc4/smartcar/internal/records"
	"github.com/seed-498a1bc4/smartcar/internal/users"
	"github.com/seed-498a1bc4/smartcar/store"
	"github.com/stretchr/testify/require"
)

var (
	errVoid  = errors.New("invalid_grant")
	errAway  = errors.New("the store is away")
	errProxy = errors.New("bad gateway")
)

func judge(err error) Verdict {
	return Verdict{Ended: errors.Is(err, errVoid), Unclear: errors.Is(err, errProxy), Again: errors.Is(err, errProxy)}
}

// failing is a store that fails where away says so.
type failing struct {
	store.Store
	away func(key string) bool
}

func (f *failing) Load(ctx context.Context, key string) (store.Record, error) {
	if f.away != nil && f.away(key) {
		return store.Record{}, errAway
	}
	return f.Store.Load(ctx, key)
}

func (f *failing) CompareAndSwap(ctx context.Context, key string, old store.Revision, value []byte, ttl time.Duration) (store.Record, error) {
	if f.away != nil && f.away(key) {
		return store.Record{}, errAway
	}
	return f.Store.CompareAndSwap(ctx, key, old, value, ttl)
}

func newGrants(s store.Store, exchange Exchange) (*Grants, *users.Users) {
	r := records.New(s, clock{})
	u := users.New(r, clock{}, 100)
	return NewGrants(r, clock{}, clock{}, u, exchange, judge, Timing{
		Grace: time.Minute, Lease: 15 * time.Second, Poll: 200 * time.Millisecond,
		Pause: 500 * time.Millisecond, StorePause: 500 * time.Millisecond, StorePauseMax: 10 * time.Second,
	}, 100), u
}

// linked adds a grant whose access token has run out, and returns its id.
func linked(t *testing.T, g *Grants, u *users.Users) string {
	t.Helper()
	id, err := g.Add(t.Context(), Pair{AccessToken: "access-0", RefreshToken: "refresh-0", Obtained: time.Now(), Expires: time.Now()}, Pending{ExternalID: "acct_42"})
	require.NoError(t, err)
	pending, userID, err := g.Pending(t.Context(), id)
	require.NoError(t, err)
	require.Equal(t, Pending{ExternalID: "acct_42"}, pending)
	require.Empty(t, userID)
	filed, err := u.Arrive(t.Context(), "alice", users.Arrival{Grant: id})
	require.NoError(t, err)
	require.True(t, filed)
	require.NoError(t, g.Link(t.Context(), id, "alice"))
	_, userID, err = g.Pending(t.Context(), id)
	require.NoError(t, err)
	require.Equal(t, "alice", userID)
	return id
}

// The end of a grant is said, and left to the caller: what was told to it has to
// go first.
func TestEndOfAGrantIsLeftToTheCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := store.NewMemory()
		g, u := newGrants(s, func(context.Context, string) (Pair, error) { return Pair{}, errVoid })
		id := linked(t, g, u)
		_, err := g.Authorization(t.Context(), id)
		require.ErrorIs(t, err, errVoid)
		_, err = s.Load(t.Context(), "grant/"+id)
		require.NoError(t, err)
		require.NoError(t, g.Forget(t.Context(), id))
		for range 2 {
			_, err = g.Authorization(t.Context(), id)
			require.ErrorIs(t, err, ErrEnded)
		}
	})
}

// A process stands still with a new pair for longer than the grace, and stores it while
// another one ends the grant: the login stays.
func TestPairThatComesWhileTheGrantEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := store.NewMemory()
		m := new(mint)
		slow, u := newGrants(s, m.exchange)
		other, _ := newGrants(s, func(context.Context, string) (Pair, error) { return Pair{}, errVoid })
		id := linked(t, slow, u)
		slow.exchange = func(ctx context.Context, refreshToken string) (Pair, error) {
			pair, err := m.exchange(ctx, refreshToken)
			time.Sleep(2 * time.Minute)
			_, otherErr := other.Authorization(t.Context(), id)
			require.ErrorIs(t, otherErr, errVoid)
			return pair, err
		}
		_, err := slow.Authorization(t.Context(), id)
		require.NoError(t, err)
		ended, err := other.End(t.Context(), id)
		require.NoError(t, err)
		require.False(t, ended)
		a, err := other.Authorization(t.Context(), id)
		require.NoError(t, err)
		require.Equal(t, []string{"Bearer token-1"}, a.Header)

		_, err = other.Replace(t.Context(), id, "car", a.Header)
		require.ErrorIs(t, err, errVoid)
		ended, err = other.End(t.Context(), id)
		require.NoError(t, err)
		require.True(t, ended)
		_, err = other.Authorization(t.Context(), id)
		require.ErrorIs(t, err, ErrEnded)
		ended, err = other.End(t.Context(), id)
		require.NoError(t, err)
		require.True(t, ended, "by another one, too")
	})
}

// A grant was ended elsewhere while its new pair was under way, and the store
// fails just when it is revived: the pair is kept and stored later.
func TestPairOfAnEndedGrantSurvivesTheStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &failing{Store: store.NewMemory()}
		var away atomic.Bool
		m := new(mint)
		g, u := newGrants(s, m.exchange)
		other, _ := newGrants(s, m.exchange)
		id := linked(t, g, u)
		g.exchange = func(ctx context.Context, refreshToken string) (Pair, error) {
			user, err := u.Stored(ctx, "alice")
			require.NoError(t, err)
			require.NoError(t, u.RemoveGrant(ctx, "alice", user.Grant(id)))
			require.NoError(t, other.Forget(ctx, id))
			s.away = func(key string) bool { return away.Load() && strings.HasPrefix(key, "user/") }
			away.Store(true)
			return m.exchange(ctx, refreshToken)
		}
		_, err := g.Authorization(t.Context(), id)
		require.ErrorIs(t, err, records.ErrStore)
		away.Store(false)
		require.True(t, g.Revive(t.Context(), "alice"))
		r, err := u.Connected(t.Context(), "alice")
		require.NoError(t, err)
		require.True(t, r.Has(id))
		a, err := g.Authorization(t.Context(), id)
		require.NoError(t, err)
		require.Equal(t, []string{"Bearer token-1"}, a.Header)
		require.False(t, g.Revive(t.Context(), "alice"))
	})
}

// Nothing is kept of a pair whose user is gone.
func TestPairOfAForgottenUserIsDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := store.NewMemory()
		m := new(mint)
		g, u := newGrants(s, m.exchange)
		id := linked(t, g, u)
		g.exchange = func(ctx context.Context, refreshToken string) (Pair, error) {
			_, err := u.MarkForgotten(ctx, "alice")
			require.NoError(t, err)
			require.NoError(t, g.Forget(ctx, id))
			require.NoError(t, u.Delete(ctx, "alice"))
			return m.exchange(ctx, refreshToken)
		}
		_, err := g.Authorization(t.Context(), id)
		require.ErrorIs(t, err, ErrEnded)
		require.False(t, g.Revive(t.Context(), "alice"))
		for _, key := range []string{"grant/" + id, "user/alice"} {
			_, err = s.Load(t.Context(), key)
			require.ErrorIs(t, err, store.ErrNotFound)
		}
	})
}

// A lease was taken over by a process of which nothing has come yet: the pair that comes
// first may be void, and the old refresh token is all that is left.
//
//  1. A is slow, and B takes the lease over.
//  2. Both send refresh-0. The answer to B is given later, which makes A's pair void.
//  3. B dies.
//  4. A stores its pair.
func TestPairThatMayBeVoidLeavesATrace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := store.NewMemory()
		m := new(mint)
		a, u := newGrants(s, m.exchange)
		b, _ := newGrants(s, m.exchange)
		id := linked(t, a, u)
		var sent []string
		a.exchange = func(ctx context.Context, refreshToken string) (Pair, error) {
			time.Sleep(20 * time.Second)
			_, err := b.leases.acquire(ctx, grantKey(id), "b", nil, never)
			require.NoError(t, err)
			return m.exchange(ctx, refreshToken)
		}
		_, err := a.Authorization(t.Context(), id)
		require.NoError(t, err)

		time.Sleep(20 * time.Second)
		a.exchange = func(ctx context.Context, refreshToken string) (Pair, error) {
			if sent = append(sent, refreshToken); refreshToken != "refresh-0" {
				return Pair{}, errVoid
			}
			return m.exchange(ctx, refreshToken)
		}
		got, err := a.Authorization(t.Context(), id)
		require.NoError(t, err)
		require.Equal(t, []string{"refresh-1", "refresh-0"}, sent)
		require.Equal(t, []string{"Bearer token-2"}, got.Header)
		require.Empty(t, got.Spare)
	})
}

// A pair is revived, and the store fails before the grant is filed with the user again.
// When it comes back, the pair is stored already, and only filed.
func TestRevivedPairIsFiledLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &failing{Store: store.NewMemory()}
		m := new(mint)
		g, u := newGrants(s, m.exchange)
		id := linked(t, g, u)
		var away atomic.Bool
		g.exchange = func(ctx context.Context, refreshToken string) (Pair, error) {
			user, err := u.Stored(ctx, "alice")
			require.NoError(t, err)
			require.NoError(t, g.records.Remove(ctx, grantKey(id)))
			require.NoError(t, u.RemoveGrant(ctx, "alice", user.Grant(id)))
			stored := false
			s.away = func(key string) bool {
				stored = stored || key == "user/alice" && away.Load()
				away.Store(away.Load() || key == grantKey(id))
				return stored
			}
			return m.exchange(ctx, refreshToken)
		}
		_, err := g.Authorization(t.Context(), id)
		require.ErrorIs(t, err, records.ErrStore)
		s.away = nil
		require.True(t, g.Revive(t.Context(), "alice"))
		user, err := u.Connected(t.Context(), "alice")
		require.NoError(t, err)
		require.True(t, user.Has(id))
		a, err := g.Authorization(t.Context(), id)
		require.NoError(t, err)
		require.Equal(t, []string{"Bearer token-1"}, a.Header)
		require.Empty(t, a.Spare)
	})
}
