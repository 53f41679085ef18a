package smartcar_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/smartcartest"
	"github.com/seed-498a1bc4/smartcar/store"
	"github.com/stretchr/testify/require"
)

func TestCarsOfSeveralGrantsAreListedOnceEach(t *testing.T) {
	for _, tt := range []struct{ inFirst, shared, inSecond, pages int }{
		{1, 0, 1, 2}, {0, 3, 0, 2}, {49, 2, 20, 3}, {60, 60, 40, 5}, {0, 50, 0, 2}, {0, 51, 0, 4},
	} {
		t.Run(fmt.Sprint(tt), func(t *testing.T) {
			cars, ids := garageOf(tt.inFirst + tt.shared + tt.inSecond)
			sim := smartcartest.New(smartcartest.WithCars(cars...))
			client := newClient(t, sim)
			user := client.User(connectAs(t, sim, client, "", ids[:tt.inFirst+tt.shared]...).UserID)
			require.Equal(t, user.ID(), connectAs(t, sim, client, "", ids[tt.inFirst:]...).UserID)
			listed, err := listedVehicles(t.Context(), user)
			require.NoError(t, err)
			require.ElementsMatch(t, ids, listed)
			require.Equal(t, tt.pages, countPath(sim, "/v2.0/vehicles"))
		})
	}
}

func TestListingStopsWithTheLoop(t *testing.T) {
	cars, _ := garageOf(120)
	sim := smartcartest.New(smartcartest.WithCars(cars...))
	_, user := connected(t, sim)
	for v, err := range user.Vehicles(t.Context()) {
		require.NoError(t, err)
		require.Equal(t, user.ID(), v.UserID())
		break
	}
	require.Equal(t, 1, countPath(sim, "/v2.0/vehicles"))
}

func TestListingEndsAtAnError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cars, _ := garageOf(120)
		sim := smartcartest.New(smartcartest.WithCars(cars...))
		_, user := connected(t, sim, smartcar.WithRetry(smartcar.RetryPolicy{MaxAttempts: 1}))
		sim.Inject(smartcartest.Fault{Path: "/v2.0/vehicles", Latency: 1})
		sim.Inject(smartcartest.Fault{Path: "/v2.0/vehicles", Status: 503, Times: -1})
		listed, failures := 0, 0
		for v, err := range user.Vehicles(t.Context()) {
			if err != nil {
				require.Nil(t, v)
				require.ErrorIs(t, err, smartcar.ErrUnavailable)
				failures++
				continue
			}
			listed++
		}
		require.Equal(t, 50, listed)
		require.Equal(t, 1, failures)
	})
}

// Each grant reaches its own cars only: a wrong one would be answered 401.
func TestCarIsReachedThroughTheGrantThatListsIt(t *testing.T) {
	type handles func(*testing.T, *smartcar.User, string) *smartcar.Vehicle
	byID := func(_ *testing.T, user *smartcar.User, id string) *smartcar.Vehicle { return user.Vehicle(id) }
	for name, handle := range map[string]handles{
		"by id": byID,
		"as listed": func(t *testing.T, user *smartcar.User, id string) *smartcar.Vehicle {
			for v, err := range user.Vehicles(t.Context()) {
				require.NoError(t, err)
				if v.ID() == id {
					return v
				}
			}
			t.Fatal("not listed")
			return nil
		},
		"by id, listed before": func(t *testing.T, user *smartcar.User, id string) *smartcar.Vehicle {
			_, err := listedVehicles(t.Context(), user)
			require.NoError(t, err)
			return user.Vehicle(id)
		},
	} {
		t.Run(name, func(t *testing.T) {
			cars, ids := garageOf(55)
			sim := smartcartest.New(smartcartest.WithCars(cars...))
			client := newClient(t, sim)
			user := client.User(connectAs(t, sim, client, "", ids[1:]...).UserID)
			connectAs(t, sim, client, "", ids[0])
			for _, id := range []string{ids[0], ids[1], ids[54]} {
				_, err := handle(t, user, id).Odometer(t.Context())
				require.NoError(t, err, id)
			}
			requireNoExpiredToken(t, sim)
		})
	}
}

// Which grant reaches a car is found out once and then remembered in the store.
func TestGrantOfACarIsLookedUpOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		db := smartcar.WithStore(store.NewMemory())
		client := newClient(t, sim, db)
		user := client.User(connectAs(t, sim, client, "", smartcartest.MachE).UserID)
		connectAs(t, sim, client, "", smartcartest.Model3)
		for range 5 {
			_, err := user.Vehicle(smartcartest.MachE).Odometer(t.Context())
			require.NoError(t, err)
		}
		lists := countPath(sim, "/v2.0/vehicles")
		require.LessOrEqual(t, lists, 2)
		_, err := newClient(t, sim, db).User(user.ID()).Vehicle(smartcartest.MachE).Odometer(t.Context())
		require.NoError(t, err)
		require.Equal(t, lists, countPath(sim, "/v2.0/vehicles"))
	})
}

// A replica learns within a minute of a grant that another one has connected.
func TestGrantConnectedElsewhereIsSeenWithinAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		db := smartcar.WithStore(store.NewMemory())
		first, second := newClient(t, sim, db), newClient(t, sim, db)
		user := first.User(connectAs(t, sim, first, "", smartcartest.MachE).UserID)
		_, err := user.Vehicle(smartcartest.MachE).Odometer(t.Context())
		require.NoError(t, err)
		connectAs(t, sim, second, "", smartcartest.Model3)
		time.Sleep(time.Minute)
		_, err = user.Vehicle(smartcartest.Model3).Odometer(t.Context())
		require.NoError(t, err)
		listed, err := listedVehicles(t.Context(), user)
		require.NoError(t, err)
		require.ElementsMatch(t, []string{smartcartest.MachE, smartcartest.Model3}, listed)
	})
}

func TestDisconnectTakesTheAnswersOfThatCarAlong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		_, user := connected(t, sim)
		gone, kept := user.Vehicle(smartcartest.ModelS2018), user.Vehicle(smartcartest.ModelS2021)
		for _, v := range []*smartcar.Vehicle{gone, kept} {
			_, err := v.Odometer(t.Context())
			require.NoError(t, err)
			again, err := v.Odometer(t.Context())
			require.NoError(t, err)
			require.Equal(t, smartcar.SourceCache, again.Source)
		}
		require.NoError(t, gone.Disconnect(t.Context()))
		for _, opts := range [][]smartcar.CallOption{nil, {smartcar.AllowStale()}} {
			_, err := gone.With(opts...).Odometer(t.Context())
			require.ErrorIs(t, err, smartcar.ErrUnauthorized)
		}
		again, err := kept.Odometer(t.Context())
		require.NoError(t, err)
		require.Equal(t, smartcar.SourceCache, again.Source)
		listed, err := listedVehicles(t.Context(), user)
		require.NoError(t, err)
		require.Len(t, listed, 6)
		require.NotContains(t, listed, smartcartest.ModelS2018)
	})
}

// A disconnect that failed has taken nothing.
func TestFailedDisconnectKeepsTheCar(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		_, user := connected(t, sim)
		v := user.Vehicle(smartcartest.ModelS2018)
		_, err := v.Odometer(t.Context())
		require.NoError(t, err)
		sim.Inject(smartcartest.Fault{Path: "/application", ErrorType: "PERMISSION"})
		require.Error(t, v.Disconnect(t.Context()))
		again, err := v.Odometer(t.Context())
		require.NoError(t, err)
		require.Equal(t, smartcar.SourceCache, again.Source)
	})
}

func TestEndedGrantTakesItsAnswersAlong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		_, user := connected(t, sim)
		v := user.Vehicle(smartcartest.ModelX2020).With(smartcar.AllowStale())
		_, err := v.Odometer(t.Context())
		require.NoError(t, err)
		time.Sleep(3 * time.Hour)
		sim.RevokeGrants()
		for range 2 {
			_, err = v.Odometer(t.Context())
			require.ErrorIs(t, err, smartcar.ErrReconnectRequired)
		}
	})
}

func TestUserNobodyConnected(t *testing.T) {
	client := newClient(t, smartcartest.New())
	_, err := listedVehicles(t.Context(), client.User("nobody"))
	require.ErrorIs(t, err, smartcar.ErrNotConnected)
	_, err = client.User("nobody").Vehicle(smartcartest.MachE).Odometer(t.Context())
	require.ErrorIs(t, err, smartcar.ErrNotConnected)
	_, err = client.User("nobody").VirtualKeyURL(t.Context())
	require.ErrorIs(t, err, smartcar.ErrNotConnected)
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

// One owner of a shared car has lost the connection: the other one, who asks at
// the same time, must not be sent through Connect for it.
func TestOwnersOfACarShareNoFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New(smartcartest.WithCars(sharedModelY()))
		client := newClient(t, sim)
		owner := client.User(connectAs(t, sim, client, "").UserID).Vehicle(smartcartest.ModelY)
		driver := client.User(connectAs(t, sim, client, "driver").UserID).Vehicle(smartcartest.ModelY)
		first := true
		sim.Inject(smartcartest.Fault{
			Match: func(r *http.Request) bool {
				hit := first && attributesOf(smartcartest.ModelY)(r)
				first = first && !hit
				return hit
			},
			Latency: time.Second, ErrorType: "RESOURCE_NOT_FOUND", ErrorCode: "VEHICLE",
		})
		driven := make(chan error, 1)
		go func() { _, err := driver.Odometer(t.Context()); driven <- err }()
		time.Sleep(500 * time.Millisecond)
		_, err := owner.Odometer(t.Context())
		require.NoError(t, err)
		require.ErrorIs(t, <-driven, smartcar.ErrNotFound)
	})
}

// Nobody has to be stored to be asked about: a user id is enough, as after a
// move to v3 whose users were read from the list of connections.
func TestAUserWhoIsNotStored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		user := connect(t, sim, apiClient(t, sim, smartcar.V2)).UserID
		store := newSpoiledStore()
		client := apiClient(t, sim, smartcar.V3, smartcar.WithStore(store))
		v := client.User(user).Vehicle(smartcartest.ModelY)
		_, err := v.Battery(t.Context())
		require.NoError(t, err)
		_, err = v.Battery(t.Context())
		require.ErrorIs(t, err, smartcar.ErrRateLimited)
		access, err := v.Access(t.Context())
		require.NoError(t, err)
		require.Equal(t, "https://www.tesla.com/_ak/smartcar.com", access.VirtualKeyURL.String())
		_, err = client.User(user).Vehicle(smartcartest.ModelS2018).Odometer(t.Context())
		require.NoError(t, err)

		require.NoError(t, client.User(user).Forget(t.Context()))
		var left []string
		for _, key := range store.live(t) {
			if !strings.HasPrefix(key, "application/") {
				left = append(left, key)
			}
		}
		require.Equal(t, []string{"car/" + smartcartest.ModelY}, left, "the window of a keyless car alone")
		_, err = v.Battery(t.Context())
		require.ErrorIs(t, err, smartcar.ErrRateLimited, "forgetting opens no window")
		require.Empty(t, sim.BrokenWindows(smartcartest.ModelY))
	})
}

// Live cars hide simulated ones, unless the client is for these.
func TestVehiclesByModeOnV3(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		live, simulated := apiClient(t, sim, smartcar.V3), apiClient(t, sim, smartcar.V3, smartcar.WithMode(smartcar.ModeSimulated))
		tests := apiClient(t, sim, smartcar.V3, smartcar.WithMode(smartcar.ConnectMode("test")))
		count := func(client *smartcar.Client) (n int) {
			for _, err := range client.User(sim.UserID()).Vehicles(t.Context()) {
				if err != nil {
					require.ErrorIs(t, err, smartcar.ErrNotConnected)
					continue
				}
				n++
			}
			return n
		}
		walkThrough := func(o smartcar.ConnectOptions) {
			link, cookies := begin(t, live, o)
			callback, err := sim.Grant(link)
			require.NoError(t, err)
			_, err = finish(live, callback, cookies)
			require.NoError(t, err)
		}
		walkThrough(smartcar.ConnectOptions{Make: "FORD", Mode: smartcar.ModeSimulated})
		require.Equal(t, [3]int{1, 1, 1}, [3]int{count(live), count(simulated), count(tests)})
		walkThrough(smartcar.ConnectOptions{Make: "TESLA"})
		require.Equal(t, [3]int{6, 1, 1}, [3]int{count(live), count(simulated), count(tests)})
		permissions, err := live.User(sim.UserID()).Vehicle(smartcartest.MachE).Permissions(t.Context())
		require.NoError(t, err)
		require.NotEmpty(t, permissions)
	})
}
