package smartcar_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/smartcartest"
	"github.com/seed-498a1bc4/smartcar/store"
	"github.com/stretchr/testify/require"
)

// The code is spent while the browser leaves: the tokens must not be lost.
func TestBrowserThatLeavesDuringTheExchange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		client := newClient(t, sim)
		authorizeURL, cookies := begin(t, client, smartcar.ConnectOptions{})
		callback, err := sim.Grant(authorizeURL)
		require.NoError(t, err)
		sim.Inject(smartcartest.Fault{Path: "/oauth/token", LatencyAfter: 3 * time.Second})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		r := httptest.NewRequest(http.MethodGet, callback, nil).WithContext(ctx)
		for _, c := range cookies {
			r.AddCookie(c)
		}
		grant, err := client.Connect().HandleCallback(httptest.NewRecorder(), r)
		require.NoError(t, err)
		_, err = finish(client, callback, cookies)
		require.ErrorIs(t, err, smartcar.ErrStateReplayed, "the page is loaded again")
		require.Zero(t, sim.CodeReuse())
		requireLoggedIn(t, client.User(grant.UserID).Vehicle(smartcartest.MachE))
	})
}

// awayFor makes the writes of grants fail for a while, from the first one on.
func awayFor(db *spoiledStore, d time.Duration) {
	var from time.Time
	db.before = func(key string, _ []byte) error {
		if !strings.HasPrefix(key, "grant/") {
			return nil
		}
		if from.IsZero() {
			from = time.Now()
		}
		if time.Since(from) < d {
			return errStoreDown
		}
		return nil
	}
}

func TestStoreHiccupAfterTheExchange(t *testing.T) {
	for _, away := range []time.Duration{time.Second, 10 * time.Second} {
		t.Run(away.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sim := smartcartest.New()
				db := newSpoiledStore()
				client := newClient(t, sim, smartcar.WithStore(db))
				awayFor(db, away)
				grant := connect(t, sim, client)
				require.Zero(t, sim.CodeReuse())
				requireLoggedIn(t, client.User(grant.UserID).Vehicle(smartcartest.MachE))
			})
		})
	}
}

func TestStoreOutageAfterTheExchange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		db := newSpoiledStore()
		client := newClient(t, sim, smartcar.WithStore(db))
		authorizeURL, cookies := begin(t, client, smartcar.ConnectOptions{ExternalID: "acct-42"})
		callback, err := sim.Grant(authorizeURL)
		require.NoError(t, err)
		awayFor(db, time.Hour)
		grant, err := finish(client, callback, cookies)
		require.Nil(t, grant)
		var pending *smartcar.PendingGrantError
		require.ErrorAs(t, err, &pending)
		require.ErrorIs(t, err, smartcar.ErrStore)
		require.ErrorIs(t, err, errStoreDown)

		_, err = client.Connect().Resume(t.Context(), pending.GrantID)
		require.ErrorIs(t, err, smartcar.ErrStore, "still away")
		require.Empty(t, db.live(t), "it is in memory only")
		time.Sleep(time.Hour)
		grant, err = client.Connect().Resume(t.Context(), pending.GrantID)
		require.NoError(t, err)
		require.Equal(t, sim.UserID(), grant.UserID)
		require.Equal(t, "acct-42", grant.ExternalID)
		require.False(t, grant.VirtualKeyURL.IsZero())
		require.Equal(t, 1, sim.TokenRequests())
		requireLoggedIn(t, client.User(grant.UserID).Vehicle(smartcartest.MachE))
	})
}

// The refreshed pair is on its way when the store stops answering: fails at
// once, or keeps its callers waiting.
func TestStoreOutageAfterARefresh(t *testing.T) {
	for name, hangs := range map[string]bool{"fails": false, "hangs": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sim := smartcartest.New()
				db := &grantOutage{Store: store.NewMemory(), hangs: hangs}
				_, user := connected(t, sim, smartcar.WithStore(db))
				v := user.Vehicle(smartcartest.MachE)
				_, err := v.Odometer(t.Context())
				require.NoError(t, err)
				time.Sleep(3 * time.Hour)
				sim.Inject(smartcartest.Fault{Path: "/oauth/token", LatencyAfter: time.Second})
				result := make(chan error, 1)
				go func() { _, err := v.Odometer(t.Context()); result <- err }()
				time.Sleep(500 * time.Millisecond)
				require.Equal(t, 2, sim.TokenRequests())
				db.away.Store(true)
				require.Error(t, <-result)
				time.Sleep(5 * time.Minute) // longer than a used refresh token is honored
				db.away.Store(false)
				requireLoggedIn(t, v)
			})
		})
	}
}

// grantOutage is a store that does not answer for grants while it is away.
type grantOutage struct {
	store.Store
	away  atomic.Bool
	hangs bool
}

func (s *grantOutage) gone(ctx context.Context, key string) error {
	if !s.away.Load() || !strings.HasPrefix(key, "grant/") {
		return nil
	}
	if s.hangs {
		<-ctx.Done()
		return ctx.Err()
	}
	return errStoreDown
}

func (s *grantOutage) Load(ctx context.Context, key string) (store.Record, error) {
	if err := s.gone(ctx, key); err != nil {
		return store.Record{}, err
	}
	return s.Store.Load(ctx, key)
}

func (s *grantOutage) CompareAndSwap(ctx context.Context, key string, old store.Revision, value []byte, ttl time.Duration) (store.Record, error) {
	if err := s.gone(ctx, key); err != nil {
		return store.Record{}, err
	}
	return s.Store.CompareAndSwap(ctx, key, old, value, ttl)
}

// A caller's deadline is a deadline, also where a refresh is needed first.
func TestDeadlineWhileTheStoreHangsAtARefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		db := &grantOutage{Store: store.NewMemory(), hangs: true}
		_, user := connected(t, sim, smartcar.WithStore(db))
		v := user.Vehicle(smartcartest.MachE)
		time.Sleep(3 * time.Hour)
		db.away.Store(true)
		requireLeavesAfterASecond(t, v)
		db.away.Store(false)
		requireLoggedIn(t, v)
	})
}

func TestDeadlineWhileAnotherReplicaRefreshes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		db := smartcar.WithStore(store.NewMemory())
		_, user := connected(t, sim, db)
		other := newClient(t, sim, db).User(user.ID()).Vehicle(smartcartest.MachE)
		v := user.Vehicle(smartcartest.MachE)
		time.Sleep(3 * time.Hour)
		sim.Inject(smartcartest.Fault{Path: "/oauth/token", Times: -1, Latency: time.Minute})
		refreshing := make(chan error, 1)
		go func() { _, err := v.Odometer(t.Context()); refreshing <- err }()
		time.Sleep(time.Second)
		requireLeavesAfterASecond(t, other)
		require.Error(t, <-refreshing)
		sim.ClearFaults()
		requireLoggedIn(t, other)
	})
}

func requireLeavesAfterASecond(t *testing.T, v *smartcar.Vehicle) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	began := time.Now()
	_, err := v.Odometer(ctx)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.Equal(t, time.Second, time.Since(began))
}

// cutStore fails to delete once left deletions have been made.
type cutStore struct {
	*spoiledStore
	left int
}

func (s *cutStore) Delete(ctx context.Context, key string, old store.Revision) error {
	if s.left--; s.left < 0 {
		return errStoreDown
	}
	return s.spoiledStore.Delete(ctx, key, old)
}

// However far Forget came: nobody is served, and calling it again finishes it.
func TestForgetThatIsCutOff(t *testing.T) {
	for _, after := range []string{"Forget again", "Connect again"} {
		deletions := 0
		for done := false; !done; deletions++ {
			synctest.Test(t, func(t *testing.T) {
				sim := smartcartest.New()
				db := &cutStore{newSpoiledStore(), 1000}
				client, user := connected(t, sim, smartcar.WithStore(db))
				connect(t, sim, client)
				_, err := listedVehicles(t.Context(), user)
				require.NoError(t, err)
				for _, id := range []string{smartcartest.MachE, smartcartest.Model3, smartcartest.ModelS2018} {
					_, err := user.Vehicle(id).Odometer(t.Context())
					require.NoError(t, err)
				}
				db.left = deletions
				if err := user.Forget(t.Context()); err == nil {
					done = true
				} else {
					require.ErrorIs(t, err, smartcar.ErrStore)
					_, err = user.Vehicle(smartcartest.ModelS2018).Odometer(t.Context())
					require.ErrorIs(t, err, smartcar.ErrNotConnected)
				}
				db.left = 1000
				if after == "Connect again" {
					connect(t, sim, client)
					odometer, err := user.Vehicle(smartcartest.ModelS2018).Odometer(t.Context())
					require.NoError(t, err)
					require.Equal(t, smartcar.SourceLive, odometer.Source)
				}
				require.NoError(t, user.Forget(t.Context()))
				require.Empty(t, db.live(t))
			})
		}
		require.Greater(t, deletions, 5, "hardly anything was deleted: the test proves nothing")
	}
}

// The record of the newest grant is gone; the older grant still reaches the car.
func TestDeadNewestGrantFallsBackToTheOlderOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		db := newSpoiledStore()
		client, user := connected(t, sim, smartcar.WithStore(db))
		_, err := listedVehicles(t.Context(), user)
		require.NoError(t, err)
		older := db.live(t)
		connect(t, sim, client)
		_, err = listedVehicles(t.Context(), user)
		require.NoError(t, err)
		for _, key := range db.live(t) {
			if strings.HasPrefix(key, "grant/") && !slices.Contains(older, key) {
				record, err := db.Load(t.Context(), key)
				require.NoError(t, err)
				require.NoError(t, db.Delete(t.Context(), key, record.Revision))
			}
		}
		restarted := newClient(t, sim, smartcar.WithStore(db)).User(user.ID())
		v := restarted.Vehicle(smartcartest.MachE)
		_, err = v.Odometer(t.Context())
		require.ErrorIs(t, err, smartcar.ErrReconnectRequired)
		requireLoggedIn(t, v)
		require.NoError(t, restarted.Renew(t.Context(), day))
	})
}
