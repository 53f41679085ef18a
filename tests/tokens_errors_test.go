package smartcar_test

import (
	"context"
	"net/http"
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

func TestTokenThatIsStillGoodIsUsedWhileTheEndpointIsDown(t *testing.T) {
	for name, fault := range map[string]smartcartest.Fault{
		"down":          {Status: 503},
		"server error":  {ErrorType: "server_error"},
		"unreachable":   {DropBefore: true},
		"rate limited":  {Status: 429},
		"misconfigured": {ErrorType: "invalid_client", Status: 401},
	} {
		for _, process := range []string{"the same process", "a new process"} {
			t.Run(name+", "+process, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					sim := smartcartest.New()
					db := smartcar.WithStore(store.NewMemory())
					client, user := connected(t, sim, db)
					time.Sleep(accessLife - 30*time.Second)
					if process == "a new process" {
						client = newClient(t, sim, db)
					}
					fault.Path, fault.Times = "/oauth/token", -1
					sim.Inject(fault)
					v := client.User(user.ID()).Vehicle(smartcartest.MachE)
					_, err := v.Odometer(t.Context())
					require.NoError(t, err)
					time.Sleep(30 * time.Second)
					_, err = v.Odometer(t.Context())
					require.Error(t, err, "the token has ended")
					require.NotErrorIs(t, err, smartcar.ErrReconnectRequired)
					sim.ClearFaults()
					requireLoggedIn(t, v)
				})
			})
		}
	}
}

// The attempts to refresh take longer than the old token has left.
func TestTokenThatEndsDuringTheRefreshIsNotSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		_, user := connected(t, sim)
		time.Sleep(accessLife - 11*time.Second)
		sim.Inject(smartcartest.Fault{Path: "/oauth/token", Latency: time.Hour, Times: 3})
		_, _ = user.Vehicle(smartcartest.MachE).Odometer(t.Context())
		requireNoExpiredToken(t, sim)
	})
}

func TestTokenRefusedBeforeItsTimeIsRenewedOnce(t *testing.T) {
	for name, call := range map[string]func(*testing.T, *smartcar.Vehicle) error{
		"read":    func(t *testing.T, v *smartcar.Vehicle) error { _, err := v.Odometer(t.Context()); return err },
		"command": func(t *testing.T, v *smartcar.Vehicle) error { _, err := v.Lock(t.Context()); return err },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sim := smartcartest.New()
				_, user := connected(t, sim)
				v := user.Vehicle(smartcartest.MachE)
				_, err := v.Attributes(t.Context())
				require.NoError(t, err)
				time.Sleep(10 * time.Minute)
				sim.ExpireAccessTokens()
				before := len(sim.Ledger(smartcartest.MachE))
				require.NoError(t, call(t, v))
				require.Equal(t, 2, sim.TokenRequests())
				entries := sim.Ledger(smartcartest.MachE)[before:]
				require.Len(t, entries, 2)
				require.Equal(t, []int{401, 200}, []int{entries[0].Status, entries[1].Status})
				require.Equal(t, entries[0].Path, entries[1].Path)
			})
		})
	}
}

// Sent once more with another token, a request still takes one turn.
func TestTokenRefusedBeforeItsTimeCostsAKeylessCarOneTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		_, user := connected(t, sim)
		v := user.Vehicle(smartcartest.ModelY)
		_, err := v.Access(t.Context())
		require.NoError(t, err)
		time.Sleep(10 * time.Minute)
		sim.ExpireAccessTokens()
		_, err = v.Odometer(t.Context())
		require.NoError(t, err)
		require.Equal(t, 2, sim.TokenRequests())
		require.Empty(t, sim.BrokenWindows(smartcartest.ModelY))
	})
}

func TestTokenThatDoesNotCoverACarIsRenewedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		client := newClient(t, sim)
		user := client.User(connectAs(t, sim, client, "", smartcartest.MachE).UserID)
		v := user.Vehicle(smartcartest.Model3) // which the grant does not cover
		_, err := v.Odometer(t.Context())
		require.ErrorIs(t, err, smartcar.ErrUnauthorized)
		require.NotErrorIs(t, err, smartcar.ErrReconnectRequired)
		require.ErrorContains(t, err, "does not reach this vehicle")
		require.Equal(t, 2, sim.TokenRequests())

		// Once, not for every call, and the grant's own car is not affected.
		time.Sleep(10 * time.Minute)
		for range 20 {
			_, err = v.Odometer(t.Context())
			require.ErrorIs(t, err, smartcar.ErrUnauthorized)
			time.Sleep(time.Second)
		}
		require.Equal(t, 2, sim.TokenRequests())
		requireLoggedIn(t, user.Vehicle(smartcartest.MachE))
	})
}

// A replica that was idle while another one renewed has two tokens to find out
// about, its own and the stored one; neither says anything about the car.
func TestIdleReplicaRenewsWhatAnotherHadRenewed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		db := store.NewMemory()
		_, user := connected(t, sim, smartcar.WithStore(db))
		read := func(v *smartcar.Vehicle) {
			t.Helper()
			_, err := v.Odometer(t.Context())
			require.NoError(t, err)
		}
		idle := newClient(t, sim, smartcar.WithStore(db)).User(user.ID()).Vehicle(smartcartest.MachE)
		read(idle)
		for range 2 {
			time.Sleep(time.Minute)
			sim.ExpireAccessTokens()
			read(user.Vehicle(smartcartest.MachE))
		}
		sim.ExpireAccessTokens()
		read(idle)
		require.Equal(t, 4, sim.TokenRequests(), "Connect, two renewals, and one of the idle replica's")
	})
}

// The owner has withdrawn consent: the first call must already say what helps.
func TestRevokedGrantSaysSoAtTheFirstCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		_, user := connected(t, sim)
		v := user.Vehicle(smartcartest.MachE)
		_, err := v.Odometer(t.Context())
		require.NoError(t, err)
		time.Sleep(10 * time.Minute)
		sim.RevokeGrants()
		_, err = v.Odometer(t.Context())
		require.ErrorIs(t, err, smartcar.ErrReconnectRequired)
	})
}

func TestInvalidGrantIsTheEndOfThatGrant(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		db := newSpoiledStore()
		client, user := connected(t, sim, smartcar.WithStore(db))
		v := user.Vehicle(smartcartest.MachE)
		_, err := v.Odometer(t.Context())
		require.NoError(t, err)
		time.Sleep(3 * time.Hour)
		sim.RevokeRefreshTokens()

		_, err = v.Odometer(t.Context())
		require.ErrorIs(t, err, smartcar.ErrReconnectRequired)
		var answer *smartcar.Error
		require.ErrorAs(t, err, &answer)
		require.Equal(t, "invalid_grant", answer.Code)
		require.False(t, smartcar.Retryable(err))
		asked := sim.TokenRequests()
		require.Equal(t, 2, asked, "an ended grant is not tried again")

		for range 3 {
			_, err = v.Odometer(t.Context())
			require.ErrorIs(t, err, smartcar.ErrReconnectRequired)
			_, err = listedVehicles(t.Context(), user)
			require.ErrorIs(t, err, smartcar.ErrReconnectRequired)
			require.ErrorIs(t, user.Renew(t.Context(), time.Hour), smartcar.ErrReconnectRequired)
		}
		require.Equal(t, asked, sim.TokenRequests())
		for _, key := range db.live(t) {
			require.NotContains(t, key, "grant/", "the tokens of an ended grant are kept")
		}

		require.Equal(t, user.ID(), connect(t, sim, client).UserID)
		requireLoggedIn(t, v)
	})
}

func TestTokenRequestsAuthenticateInTheHeaderOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		watch := &tokenWatch{RoundTripper: sim.Transport()}
		watch.token = func(r *http.Request) (*http.Response, error) {
			id, secret, ok := r.BasicAuth()
			require.True(t, ok)
			require.Equal(t, sim.ClientID(), id)
			require.Equal(t, sim.ClientSecret(), secret)
			return watch.RoundTripper.RoundTrip(r)
		}
		client := newClientOver(t, sim, watch)
		user := client.User(connect(t, sim, client).UserID)
		time.Sleep(3 * time.Hour)
		_, err := user.Vehicle(smartcartest.MachE).Odometer(t.Context())
		require.NoError(t, err)
		require.Len(t, watch.forms, 2)
		for _, form := range watch.forms {
			require.Empty(t, form.Get("client_secret"))
		}
	})
}

// A grant revoked a moment after Connect, and the owner connects again at once.
func TestRevokedAtOnceAndConnectedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		client, user := connected(t, sim)
		sim.RevokeGrants()
		_, err := listedVehicles(t.Context(), user)
		require.ErrorIs(t, err, smartcar.ErrReconnectRequired)
		connect(t, sim, client)
		ids, err := listedVehicles(t.Context(), user)
		require.NoError(t, err)
		require.Len(t, ids, 7)
		requireLoggedIn(t, user.Vehicle(smartcartest.MachE))
	})
}

// The refreshed pair is on its way when the store stops answering: fails at
// once, or keeps its callers waiting.
func TestStoreOutageAfterARefresh(t *testing.T) {
	for name, hangs := range map[string]bool{"fails": false, "hangs": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sim := smartcartest.New()
				db := &awayStore{Store: store.NewMemory(), keys: "grant/", hangs: hangs}
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

// A caller's deadline is a deadline, also where a refresh is needed first.
func TestDeadlineWhileTheStoreHangsAtARefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		db := &awayStore{Store: store.NewMemory(), keys: "grant/", hangs: true}
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

// cutOff is a replica that refreshes a token just when it loses the store, and
// another one that is told, after the grace, that the token is void, and ends
// the grant. It returns what gives the first one the store back.
func cutOff(t *testing.T, sim *smartcartest.Server) (holder, other *smartcar.User, reconnect func()) {
	t.Helper()
	shared := store.NewMemory()
	var away atomic.Bool
	spoiled := &spoiledStore{Store: shared, seenKeys: map[string]bool{}}
	spoiled.load = func(string) error {
		if away.Load() {
			return errStoreDown
		}
		return nil
	}
	spoiled.before = func(key string, value []byte) error {
		if strings.HasPrefix(key, "grant/") && sim.TokenRequests() > 1 {
			away.Store(true) // the new pair is here and nowhere else
		}
		if away.Load() {
			return errStoreDown
		}
		return nil
	}
	_, holder = connected(t, sim, smartcar.WithStore(spoiled))
	other = newClient(t, sim, smartcar.WithStore(shared)).User(holder.ID())
	time.Sleep(3 * time.Hour) // the access token has ended
	_, err := holder.Vehicle(smartcartest.Model3).Odometer(t.Context())
	require.ErrorIs(t, err, smartcar.ErrStore)
	require.Equal(t, 2, sim.TokenRequests())
	time.Sleep(2 * time.Minute) // the grace is over
	_, err = other.Vehicle(smartcartest.Model3).Odometer(t.Context())
	require.ErrorIs(t, err, smartcar.ErrReconnectRequired, "it cannot know better")
	return holder, other, func() { spoiled.before = nil; away.Store(false) }
}

// A pair that could not be stored saves a login that another replica gave up.
func TestPairThatCouldNotBeStoredRevivesItsGrant(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		holder, other, reconnect := cutOff(t, sim)
		reconnect()
		time.Sleep(2 * time.Minute)
		_, err := holder.Vehicle(smartcartest.Model3).Odometer(t.Context())
		require.NoError(t, err)
		time.Sleep(2 * time.Minute)
		_, err = other.Vehicle(smartcartest.Model3).Odometer(t.Context())
		require.NoError(t, err, "it is there for all again")
		ids, err := listedVehicles(t.Context(), other)
		require.NoError(t, err)
		require.Len(t, ids, 7)
		require.NoError(t, other.Renew(t.Context(), 61*24*time.Hour))
	})
}

// But not one of a user who was forgotten.
func TestPairThatCouldNotBeStoredIsForgottenWithItsUser(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		holder, other, reconnect := cutOff(t, sim)
		require.NoError(t, other.Forget(t.Context()))
		reconnect()
		time.Sleep(2 * time.Minute)
		_, err := holder.Vehicle(smartcartest.Model3).Odometer(t.Context())
		require.ErrorIs(t, err, smartcar.ErrNotConnected)
		_, err = other.Vehicle(smartcartest.Model3).Odometer(t.Context())
		require.ErrorIs(t, err, smartcar.ErrNotConnected)
	})
}
