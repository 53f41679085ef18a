package tokens

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-498a1bc4/smartcar/internal/records"
	"github.com/seed-498a1bc4/smartcar/store"
	"github.com/stretchr/testify/require"
)

// clock is the clock of a synctest bubble.
type clock struct{}

func (clock) Now() time.Time { return time.Now() }

func (clock) Sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// mint gives token-1, token-2 and so on, each good for an hour.
type mint struct {
	minted atomic.Int64
	err    error
	takes  time.Duration
}

func (m *mint) exchange(ctx context.Context, refreshToken string) (Pair, error) {
	if m.takes > 0 {
		if err := (clock{}).Sleep(ctx, m.takes); err != nil {
			return Pair{}, err
		}
	}
	if m.err != nil {
		return Pair{}, m.err
	}
	n := m.minted.Add(1)
	return Pair{
		AccessToken: fmt.Sprint("token-", n), RefreshToken: fmt.Sprint("refresh-", n),
		Obtained: time.Now(), Expires: time.Now().Add(time.Hour),
	}, nil
}

func newApp(s store.Store, m *mint) *Application {
	return NewApplication(records.New(s, clock{}), clock{}, "client_1", m.exchange, 200*time.Millisecond)
}

// Callers who were sent with the refused token go on with the new one, however
// late they look and whatever has become of it meanwhile.
func TestWhoWasSentWithTheOldTokenGoesOnWithTheNewOne(t *testing.T) {
	for name, accepted := range map[string]bool{"not accepted yet": false, "accepted": true} {
		t.Run(name, func(t *testing.T) {
			m := new(mint)
			app := newApp(store.NewMemory(), m)
			old, err := app.Header(t.Context())
			require.NoError(t, err)
			seen := app.current.Load() // by a caller who is stopped right here

			minted, err := app.Replace(t.Context(), old)
			require.NoError(t, err)
			require.True(t, minted)
			fresh, err := app.Header(t.Context())
			require.NoError(t, err)
			require.NotEqual(t, old, fresh)
			if accepted {
				app.Accepted(fresh)
			}
			minted, err = app.Replace(t.Context(), old)
			require.NoError(t, err, "a caller who looks now")
			require.False(t, minted)

			require.True(t, seen.is(old))
			got, err := app.renewed(t.Context(), old)
			require.NoError(t, err, "a caller who saw the old token in use, and asks for another one now")
			require.True(t, got.is(fresh))
			require.Equal(t, !accepted, !app.current.Load().replaced.IsZero(), "what is known of the new token is kept")
			require.EqualValues(t, 2, m.minted.Load())
		})
	}
}

// A token that replaced a refused one and is refused itself says that tokens are not
// the problem, until a minute has passed, or it has once been accepted.
func TestANewTokenIsNotReplacedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := new(mint)
		app := newApp(store.NewMemory(), m)
		replace := func() error {
			h, err := app.Header(t.Context())
			require.NoError(t, err)
			_, err = app.Replace(t.Context(), h)
			return err
		}
		require.NoError(t, replace())
		require.ErrorIs(t, replace(), ErrNoOther)
		time.Sleep(time.Minute)
		require.NoError(t, replace())
		require.ErrorIs(t, replace(), ErrNoOther)
		h, err := app.Header(t.Context())
		require.NoError(t, err)
		app.Accepted([]string{"Bearer another"})
		require.ErrorIs(t, replace(), ErrNoOther, "another one was accepted")
		app.Accepted(h)
		require.NoError(t, replace())
		require.EqualValues(t, 4, m.minted.Load())
	})
}

// A store that is away costs the sharing, and a lease of somebody who has died,
// its time.
func TestApplicationTokenIsShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &mint{takes: time.Second}
		s := store.NewMemory()
		apps := []*Application{newApp(s, m), newApp(s, m), newApp(s, m)}
		var all sync.WaitGroup
		for i := range 30 {
			all.Go(func() {
				h, err := apps[i%3].Header(t.Context())
				require.NoError(t, err)
				require.Equal(t, []string{"Bearer token-1"}, h)
			})
		}
		all.Wait()

		m.err = errors.New("the endpoint is down")
		_, err := apps[0].Replace(t.Context(), []string{"Bearer token-1"})
		require.ErrorIs(t, err, m.err)
		m.err = nil
		minted, err := apps[0].Replace(t.Context(), []string{"Bearer token-1"})
		require.NoError(t, err)
		require.True(t, minted)
		minted, err = apps[1].Replace(t.Context(), []string{"Bearer token-1"})
		require.NoError(t, err)
		require.False(t, minted, "another process has")
		require.EqualValues(t, 2, m.minted.Load())
		require.NotContains(t, fmt.Sprintf("%v %+v", apps[0], apps[0]), "token-2")
	})
}

// wall is the clock of a machine, which is set.
type wall struct {
	clock
	by time.Duration
}

func (w *wall) Now() time.Time { return time.Now().Add(w.by) }

// A token has expired by the store's clock, and this machine's clock was set back.
func TestHeldTokenIsNotUsedAgainByAClockThatWasSetBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, w := new(mint), new(wall)
		a := NewApplication(records.New(store.NewMemory(), w), clock{}, "client_1", m.exchange, 200*time.Millisecond)
		_, err := a.Header(t.Context())
		require.NoError(t, err)
		time.Sleep(61 * time.Minute)
		w.by = -30 * time.Minute
		now, err := a.Header(t.Context())
		require.NoError(t, err)
		require.Equal(t, "Bearer token-2", now[0])
	})
}
