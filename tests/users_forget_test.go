package smartcar_test

import (
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/smartcartest"
	"github.com/stretchr/testify/require"
)

func TestForgetLeavesNothing(t *testing.T) {
	for name, prepare := range map[string]func(*testing.T, *smartcartest.Server, *smartcar.User){
		"listed": func(t *testing.T, _ *smartcartest.Server, user *smartcar.User) {
			_, err := listedVehicles(t.Context(), user)
			require.NoError(t, err)
		},
		"never listed": func(*testing.T, *smartcartest.Server, *smartcar.User) {},
		"paused": func(t *testing.T, _ *smartcartest.Server, user *smartcar.User) {
			for _, id := range []string{smartcartest.MachE, smartcartest.Model3, smartcartest.ModelS2018} {
				require.NoError(t, user.Vehicle(id).Pause(t.Context(), time.Now().AddDate(1, 0, 0)))
			}
		},
		"listed in part": func(t *testing.T, _ *smartcartest.Server, user *smartcar.User) {
			for _, err := range user.Vehicles(t.Context()) {
				require.NoError(t, err)
				break
			}
		},
		"disconnected": func(t *testing.T, _ *smartcartest.Server, user *smartcar.User) {
			_, err := listedVehicles(t.Context(), user)
			require.NoError(t, err)
			require.NoError(t, user.Vehicle(smartcartest.MachE).Disconnect(t.Context()))
		},
		"all grants ended": func(t *testing.T, sim *smartcartest.Server, user *smartcar.User) {
			_, err := listedVehicles(t.Context(), user)
			require.NoError(t, err)
			time.Sleep(3 * time.Hour)
			sim.RevokeGrants()
			_, err = listedVehicles(t.Context(), user)
			require.ErrorIs(t, err, smartcar.ErrReconnectRequired)
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sim := smartcartest.New()
				store := newSpoiledStore()
				_, user := connected(t, sim, smartcar.WithStore(store))
				for _, id := range []string{smartcartest.MachE, smartcartest.Model3, smartcartest.ModelS2018} {
					_, err := user.Vehicle(id).Odometer(t.Context())
					require.NoError(t, err)
				}
				prepare(t, sim, user)
				require.NotEmpty(t, store.live(t))
				require.NoError(t, user.Forget(t.Context()))
				require.Empty(t, store.live(t))
				require.NoError(t, user.Forget(t.Context()), "once is enough, twice is no error")
				_, err := user.Vehicle(smartcartest.ModelS2018).Odometer(t.Context())
				require.ErrorIs(t, err, smartcar.ErrNotConnected)
				_, err = user.VirtualKeyURL(t.Context())
				require.ErrorIs(t, err, smartcar.ErrNotConnected)
			})
		})
	}
}

// The window protects the car, not the user: it stays until it closes.
func TestForgetKeepsARunningWindowUntilItEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		store := newSpoiledStore()
		client, user := connected(t, sim, smartcar.WithStore(store))
		_, err := listedVehicles(t.Context(), user)
		require.NoError(t, err)
		_, err = user.Vehicle(smartcartest.ModelY).Odometer(t.Context())
		require.NoError(t, err)
		answered := time.Now()
		time.Sleep(time.Hour)
		require.NoError(t, user.Forget(t.Context()))
		require.Equal(t, []string{"car/" + smartcartest.ModelY}, store.live(t))

		connect(t, sim, client)
		v := user.Vehicle(smartcartest.ModelY)
		_, err = v.Odometer(t.Context())
		var limited *smartcar.RateLimitError
		require.ErrorAs(t, err, &limited)
		require.Equal(t, smartcar.RuleKeyless, limited.Rule)
		require.WithinDuration(t, answered.Add(window), limited.NextAllowed, time.Second)
		_, err = listedVehicles(t.Context(), user)
		require.NoError(t, err)
		require.NoError(t, user.Forget(t.Context()))
		time.Sleep(time.Until(answered.Add(window)) + time.Second)
		require.Empty(t, store.live(t))
		require.Empty(t, sim.BrokenWindows(smartcartest.ModelY))
	})
}

// Forget comes while a request of the user is at the token endpoint.
func TestRefreshInFlightDoesNotBringAForgottenUserBack(t *testing.T) {
	for name, fault := range map[string]smartcartest.Fault{
		"slow answer":           {LatencyAfter: 5 * time.Second},
		"answer lost, repeated": {LatencyAfter: 5 * time.Second, DropAfter: true},
		"refused":               {LatencyAfter: 5 * time.Second, ErrorType: "invalid_grant", AfterProcessing: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sim := smartcartest.New()
				store := newSpoiledStore()
				client, user := connected(t, sim, smartcar.WithStore(store))
				v := user.Vehicle(smartcartest.MachE)
				_, err := v.Odometer(t.Context())
				require.NoError(t, err)
				_, err = listedVehicles(t.Context(), user)
				require.NoError(t, err)
				time.Sleep(3 * time.Hour)
				fault.Path = "/oauth/token"
				sim.Inject(fault)
				var reader sync.WaitGroup
				reader.Go(func() {
					_, err := v.Odometer(t.Context())
					// Which of the two depends on how far the request had come.
					if !errors.Is(err, smartcar.ErrReconnectRequired) {
						require.ErrorIs(t, err, smartcar.ErrNotConnected)
					}
				})
				synctest.Wait()
				require.NoError(t, user.Forget(t.Context()))
				reader.Wait()
				require.Empty(t, store.live(t))
				_, err = client.User(user.ID()).Vehicle(smartcartest.MachE).Odometer(t.Context())
				require.ErrorIs(t, err, smartcar.ErrNotConnected)
			})
		})
	}
}

func TestForgetOfNobodyIsNoError(t *testing.T) {
	client := newClient(t, smartcartest.New())
	require.NoError(t, client.User("nobody").Forget(t.Context()))
	require.ErrorIs(t, client.User("").Forget(t.Context()), smartcar.ErrInvalidArgument)
}

func TestForgetTakesTheAnswersAlong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		client, user := connected(t, sim)
		v := user.Vehicle(smartcartest.ModelS2018)
		_, err := v.Odometer(t.Context())
		require.NoError(t, err)
		require.NoError(t, user.Forget(t.Context()))
		connect(t, sim, client)
		odometer, err := v.Odometer(t.Context())
		require.NoError(t, err)
		require.Equal(t, smartcar.SourceLive, odometer.Source)
	})
}

// The link can be shown to an owner who has to connect again.
func TestVirtualKeyURLOutlivesTheGrants(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		_, user := connected(t, sim)
		time.Sleep(3 * time.Hour)
		sim.RevokeGrants()
		_, err := user.Vehicle(smartcartest.MachE).Odometer(t.Context())
		require.ErrorIs(t, err, smartcar.ErrReconnectRequired)
		link, err := user.VirtualKeyURL(t.Context())
		require.NoError(t, err)
		require.Equal(t, "https://www.tesla.com/_ak/smartcar.com", link.String())
	})
}

var allAnswers = smartcar.WithStoredAnswers(smartcar.StoredAnswers{Location: true})

// Another replica reads one more car just before the user is marked.
func TestForgetFindsTheCarThatCameLast(t *testing.T) {
	onEitherAPI(t, func(t *testing.T, sim *smartcartest.Server, api smartcar.API) {
		db := newSpoiledStore()
		client := apiClient(t, sim, api, smartcar.WithStore(db), allAnswers)
		other := apiClient(t, sim, api, smartcar.WithStore(db), allAnswers)
		user := client.User(connect(t, sim, client).UserID)
		_, err := user.Vehicle(smartcartest.MachE).Odometer(t.Context())
		require.NoError(t, err)
		var once sync.Once
		db.before = func(_ string, value []byte) error {
			if strings.Contains(string(value), `"forgotten":true`) {
				once.Do(func() {
					_, err := other.User(user.ID()).Vehicle(smartcartest.ModelS2018).Location(t.Context())
					require.NoError(t, err)
				})
			}
			return nil
		}
		require.NoError(t, user.Forget(t.Context()))
		requireNothingKept(t, db)
	})
}

// A read comes back in the middle of Forget, after its car was forgotten.
func TestForgetWhileAReadComesBack(t *testing.T) {
	onEitherAPI(t, func(t *testing.T, sim *smartcartest.Server, api smartcar.API) {
		db := newSpoiledStore()
		client := apiClient(t, sim, api, smartcar.WithStore(db), allAnswers)
		user := client.User(connect(t, sim, client).UserID)
		v := user.Vehicle(smartcartest.ModelS2018)
		_, err := v.Odometer(t.Context())
		require.NoError(t, err)
		sim.Inject(smartcartest.Fault{Path: "/vehicles/", LatencyAfter: time.Minute})
		done := make(chan error, 1)
		go func() { _, err := v.Location(t.Context()); done <- err }()
		time.Sleep(time.Second)
		db.deleted = func(key string) {
			if strings.HasPrefix(key, "car/") {
				db.deleted = nil
				require.NoError(t, <-done)
			}
		}
		require.NoError(t, user.Forget(t.Context()))
		requireNothingKept(t, db)
	})
}

// A replica that has not heard of it goes on reading: what it keeps is found by
// the next Forget, and none of it is of the time before.
func TestForgetIsHeardOfByOtherReplicas(t *testing.T) {
	onEitherAPI(t, func(t *testing.T, sim *smartcartest.Server, api smartcar.API) {
		for _, pause := range []time.Duration{time.Second, 10 * time.Minute} {
			db := newSpoiledStore()
			client := apiClient(t, sim, api, smartcar.WithStore(db), allAnswers)
			other := apiClient(t, sim, api, smartcar.WithStore(db), allAnswers)
			user := client.User(connect(t, sim, client).UserID)
			v := other.User(user.ID()).Vehicle(smartcartest.ModelS2018)
			_, err := v.Location(t.Context())
			require.NoError(t, err)
			require.NoError(t, user.Forget(t.Context()))
			time.Sleep(pause)
			_, _ = v.Odometer(t.Context())
			_, _ = v.Signals(t.Context())
			require.NoError(t, user.Forget(t.Context()))
			requireNothingKept(t, db)
		}
	})
}

// The owner comes back while Forget is still at work: the new login is theirs.
func TestConnectWhileForgetIsAtWork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		db := newSpoiledStore()
		client, user := connected(t, sim, smartcar.WithStore(db))
		other := newClient(t, sim, smartcar.WithStore(db))
		_, err := user.Vehicle(smartcartest.MachE).Odometer(t.Context())
		require.NoError(t, err)
		db.deleted = func(string) {
			db.deleted = nil
			connect(t, sim, other)
		}
		require.NoError(t, user.Forget(t.Context()))
		_, err = other.User(user.ID()).Vehicle(smartcartest.MachE).Odometer(t.Context())
		require.NoError(t, err)
		time.Sleep(2 * time.Minute)
		requireLoggedIn(t, client.User(user.ID()).Vehicle(smartcartest.MachE))
	})
}

// Another replica marks the user just before the new grant is filed.
func TestConnectIsNotFiledUnderAForgottenUser(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		db := newSpoiledStore()
		client, user := connected(t, sim, smartcar.WithStore(db))
		_, err := user.Vehicle(smartcartest.MachE).Odometer(t.Context())
		require.NoError(t, err)
		loads := 0
		db.load = func(key string) error {
			if !strings.HasPrefix(key, "user/") {
				return nil
			}
			if loads++; loads == 2 {
				r, err := db.Store.Load(t.Context(), key)
				require.NoError(t, err)
				marked := strings.TrimSuffix(string(r.Value), "}") + `,"forgotten":true}`
				_, err = db.Store.CompareAndSwap(t.Context(), key, r.Revision, []byte(marked), 0)
				require.NoError(t, err)
			}
			return nil
		}
		connect(t, sim, client)
		require.Greater(t, loads, 2)
		requireLoggedIn(t, newClient(t, sim, smartcar.WithStore(db)).User(user.ID()).Vehicle(smartcartest.MachE))
	})
}

// However far Forget came: nobody is served, and calling it again finishes it.
func TestForgetThatIsCutOff(t *testing.T) {
	for _, after := range []string{"Forget again", "Connect again"} {
		deletions := 0
		for done := false; !done; deletions++ {
			synctest.Test(t, func(t *testing.T) {
				sim := smartcartest.New()
				db, left := newSpoiledStore(), 1000
				db.deletes = func(string) error {
					if left--; left < 0 {
						return errStoreDown
					}
					return nil
				}
				client, user := connected(t, sim, smartcar.WithStore(db))
				connect(t, sim, client)
				_, err := listedVehicles(t.Context(), user)
				require.NoError(t, err)
				for _, id := range []string{smartcartest.MachE, smartcartest.Model3, smartcartest.ModelS2018} {
					_, err := user.Vehicle(id).Odometer(t.Context())
					require.NoError(t, err)
				}
				left = deletions
				if err := user.Forget(t.Context()); err == nil {
					done = true
				} else {
					require.ErrorIs(t, err, smartcar.ErrStore)
					_, err = user.Vehicle(smartcartest.ModelS2018).Odometer(t.Context())
					require.ErrorIs(t, err, smartcar.ErrNotConnected)
				}
				left = 1000
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

// An owner who is forgotten while a read is under way leaves nothing behind.
func TestForgetWhileAReadIsUnderWayOnV3(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		store := newSpoiledStore()
		client := apiClient(t, sim, smartcar.V3, smartcar.WithStore(store),
			smartcar.WithStoredAnswers(smartcar.StoredAnswers{Keep: time.Hour, MaxBytes: 1 << 20, Location: true}))
		user := client.User(connect(t, sim, client).UserID)
		v := user.Vehicle(smartcartest.MachE)
		sim.Inject(smartcartest.Fault{Path: "/vehicles/", LatencyAfter: time.Minute, Times: -1})
		done := make(chan error, 2)
		go func() { _, err := v.Attributes(t.Context()); done <- err }()
		go func() { _, err := v.Location(t.Context()); done <- err }()
		time.Sleep(time.Minute + time.Second) // one waits for the attributes, one for the signals
		require.NoError(t, user.Forget(t.Context()))
		require.NoError(t, <-done)
		require.NoError(t, <-done)
		sim.ClearFaults()
		sim.Inject(smartcartest.Fault{Path: "/signals", ErrorType: "RATE_LIMIT", ErrorCode: "VEHICLE", Times: -1})
		for _, key := range store.live(t) {
			require.True(t, strings.HasPrefix(key, "application/"), "%s is kept of a forgotten user", key)
		}
		location, err := v.With(smartcar.AllowStale()).Location(t.Context())
		require.ErrorIs(t, err, smartcar.ErrRateLimited, "nor where they were: %v", location)
	})
}

// The user is forgotten between two tries of one read: the second one must not
// make them known again.
//
//  1. The read makes the user known, and its first try fails.
//  2. While it waits to try again, Forget removes all there is.
//  3. The second try brings an answer.
func TestForgetBetweenTwoTriesOfARead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		db := newSpoiledStore()
		client := apiClient(t, sim, smartcar.V3, smartcar.WithStore(db), allAnswers)
		user := client.User(connect(t, sim, client).UserID)
		sim.Inject(smartcartest.Fault{Path: "/signals", Status: 503})
		done := make(chan error, 1)
		go func() { _, err := user.Vehicle(smartcartest.MachE).Odometer(t.Context()); done <- err }()
		synctest.Wait() // until the first try has failed
		require.NoError(t, user.Forget(t.Context()))
		require.ErrorIs(t, <-done, smartcar.ErrNotConnected)
		requireNothingKept(t, db)
	})
}
