package smartcar_test

import (
	"net/http"
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

// endedAndAlive is a user whose first grant ends while the second one works.
func endedAndAlive(t *testing.T, sim *smartcartest.Server, client *smartcar.Client, first, second string) *smartcar.User {
	t.Helper()
	user := client.User(connectAs(t, sim, client, "", first).UserID)
	sim.RevokeRefreshTokens()
	connectAs(t, sim, client, "", second)
	time.Sleep(3 * time.Hour)
	return user
}

func TestSecondGrantWorksOnWhenTheFirstHasEnded(t *testing.T) {
	for name, tt := range map[string]struct{ first, second string }{
		"other car": {smartcartest.MachE, smartcartest.Model3},
		"same car":  {smartcartest.Model3, smartcartest.Model3},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sim := smartcartest.New()
				user := endedAndAlive(t, sim, newClient(t, sim), tt.first, tt.second)
				ids, err := listedVehicles(t.Context(), user)
				require.NoError(t, err)
				require.Equal(t, []string{tt.second}, ids)
				_, err = user.Vehicle(tt.second).Odometer(t.Context())
				require.NoError(t, err)
				require.ElementsMatch(t, []int{200, 200, 200, 400}, statuses(sim, "/oauth/token"))
			})
		})
	}
}

func TestRenewGoesOnPastAGrantThatHasEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		user := endedAndAlive(t, sim, newClient(t, sim), smartcartest.MachE, smartcartest.Model3)
		require.ErrorIs(t, user.Renew(t.Context(), 90*24*time.Hour), smartcar.ErrReconnectRequired)
		require.Equal(t, 4, sim.TokenRequests())
		require.NoError(t, user.Renew(t.Context(), 24*time.Hour), "the ended grant is gone")
		requireLoggedIn(t, user.Vehicle(smartcartest.Model3))
	})
}

// A handle keeps working when the grant that listed it ends and another one of
// the user reaches the car.
func TestVehicleMovesToTheGrantThatIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		client := newClient(t, sim)
		user := client.User(connectAs(t, sim, client, "", smartcartest.MachE).UserID)
		var v *smartcar.Vehicle
		for listed, err := range user.Vehicles(t.Context()) {
			require.NoError(t, err)
			v = listed
		}
		sim.RevokeRefreshTokens()
		connectAs(t, sim, client, "", smartcartest.MachE)
		time.Sleep(3 * time.Hour)
		_, err := v.Odometer(t.Context())
		require.ErrorIs(t, err, smartcar.ErrReconnectRequired)
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
