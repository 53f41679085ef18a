package smartcar_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/smartcartest"
	"github.com/seed-498a1bc4/smartcar/store"
	"github.com/stretchr/testify/require"
)

// garageOf has n cars of the default owner.
func garageOf(n int) (cars []smartcartest.Car, ids []string) {
	for i := range n {
		id := fmt.Sprintf("car-%03d", i)
		ids = append(ids, id)
		cars = append(cars, smartcartest.Car{ID: id, Make: "FORD", Model: "Focus", Year: 2020})
	}
	return cars, ids
}

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

// Two owners, one car: what one was told is nothing the other may hear without
// asking Smartcar in his own name.
func TestSharedCarLeaksNoAnswerBetweenItsOwners(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		garage := smartcartest.DefaultGarage()
		for i := range garage {
			garage[i].SharedWith = []string{"bob"}
		}
		sim := smartcartest.New(smartcartest.WithCars(garage...))
		client := newClient(t, sim)
		alice := client.User(connectAs(t, sim, client, "").UserID)
		bob := client.User(connectAs(t, sim, client, "bob").UserID)
		require.NotEqual(t, alice.ID(), bob.ID())

		_, err := alice.Vehicle(smartcartest.ModelS2018).Odometer(t.Context())
		require.NoError(t, err)
		his, err := bob.Vehicle(smartcartest.ModelS2018).Odometer(t.Context())
		require.NoError(t, err)
		require.Equal(t, smartcar.SourceLive, his.Source)
		require.Equal(t, 2, countedData(sim, smartcartest.ModelS2018))

		// Nor where the policy refuses and stale answers are allowed.
		_, err = alice.Vehicle(smartcartest.ModelY).Odometer(t.Context())
		require.NoError(t, err)
		_, err = bob.Vehicle(smartcartest.ModelY).With(smartcar.AllowStale()).Odometer(t.Context())
		require.ErrorIs(t, err, smartcar.ErrRateLimited)
		_, err = alice.Vehicle(smartcartest.ModelY).With(smartcar.AllowStale()).Odometer(t.Context())
		require.NoError(t, err)

		// Bob is out: what he was told goes, what she was told stays.
		require.NoError(t, bob.Vehicle(smartcartest.ModelS2018).Disconnect(t.Context()))
		hers, err := alice.Vehicle(smartcartest.ModelS2018).Odometer(t.Context())
		require.NoError(t, err)
		require.Equal(t, smartcar.SourceCache, hers.Source)
		require.Empty(t, sim.BrokenWindows(smartcartest.ModelY))
	})
}

// An owner who shares an answer in flight shares it with himself only.
func TestSharedCarInFlightLeaksNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		garage := smartcartest.DefaultGarage()
		for i := range garage {
			garage[i].SharedWith = []string{"bob"}
		}
		sim := smartcartest.New(smartcartest.WithCars(garage...))
		client := newClient(t, sim)
		alice := client.User(connectAs(t, sim, client, "").UserID).Vehicle(smartcartest.ModelY)
		bob := client.User(connectAs(t, sim, client, "bob").UserID).Vehicle(smartcartest.ModelY)
		_, err := alice.Access(t.Context())
		require.NoError(t, err)
		sim.Inject(smartcartest.Fault{Path: "/odometer", Latency: 10 * time.Second})
		done := make(chan error)
		go func() { _, err := alice.Odometer(t.Context()); done <- err }()
		synctest.Wait()
		_, err = bob.With(smartcar.ShareInFlight(), smartcar.AllowStale()).Odometer(t.Context())
		require.ErrorIs(t, err, smartcar.ErrRateLimited)
		require.NoError(t, <-done)
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
