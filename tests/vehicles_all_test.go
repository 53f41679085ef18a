package smartcar_test

import (
	"context"
	"strings"
	"testing"

	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/smartcartest"
	"github.com/seed-498a1bc4/smartcar/store"
	"github.com/stretchr/testify/require"
)

// allVehicles are the cars that the store of a client knows, with how often each came.
func allVehicles(t *testing.T, client *smartcar.Client) map[string]int {
	t.Helper()
	found := make(map[string]int)
	for v, err := range client.Vehicles(t.Context()) {
		require.NoError(t, err)
		found[v.UserID()+" "+v.ID()]++
	}
	return found
}

// A program that starts again finds all cars of all users, without a list of its own
// and without a request.
func TestVehiclesOfAllUsers(t *testing.T) {
	for _, api := range []smartcar.API{smartcar.V2, smartcar.V3} {
		t.Run(string(api), func(t *testing.T) {
			sim := smartcartest.New(smartcartest.WithCars(sharedModelY(), smartcartest.Car{ID: "own", Owner: "driver", Make: "FORD", Model: "F-150", Year: 2023}))
			db := store.NewMemory()
			client := apiClient(t, sim, api, smartcar.WithStore(db))
			require.Empty(t, allVehicles(t, client))
			owner := connect(t, sim, client).UserID
			driver := connectAs(t, sim, client, "driver").UserID
			for _, id := range []string{owner, driver} {
				for v, err := range client.User(id).Vehicles(t.Context()) {
					require.NoError(t, err)
					require.NotEmpty(t, v.ID())
				}
			}

			again := apiClient(t, sim, api, smartcar.WithStore(db))
			asked := len(sim.Requests())
			want := map[string]int{owner + " " + smartcartest.ModelY: 1, driver + " " + smartcartest.ModelY: 1, driver + " own": 1}
			require.Equal(t, want, allVehicles(t, again))
			require.Len(t, sim.Requests(), asked)

			require.NoError(t, again.User(driver).Forget(t.Context()))
			require.Equal(t, map[string]int{owner + " " + smartcartest.ModelY: 1}, allVehicles(t, client))
			for v, err := range client.Vehicles(t.Context()) {
				require.NoError(t, err)
				_, err = v.Access(t.Context())
				require.NoError(t, err)
				break
			}
		})
	}
}

// plainStore cannot list.
type plainStore struct{ store.Store }

func TestVehiclesNeedAListerAndAStore(t *testing.T) {
	sim := smartcartest.New()
	only := func(client *smartcar.Client, ctx context.Context) error {
		for v, err := range client.Vehicles(ctx) {
			require.Nil(t, v)
			return err
		}
		return nil
	}
	sealed, err := store.NewSealed(plainStore{store.NewMemory()}, []byte(strings.Repeat("k", 32)))
	require.NoError(t, err)
	for _, db := range []store.Store{plainStore{store.NewMemory()}, sealed} {
		for _, opts := range [][]smartcar.Option{{}, {smartcar.WithSharedStore()}} {
			client := newClient(t, sim, append(opts, smartcar.WithStore(db))...)
			require.ErrorIs(t, only(client, t.Context()), store.ErrCannotList)
			require.NotErrorIs(t, only(client, t.Context()), smartcar.ErrStore)
		}
	}
	client := newClient(t, sim)
	require.ErrorIs(t, only(client, noContext()), smartcar.ErrInvalidArgument)
	require.ErrorIs(t, only(new(smartcar.Client), t.Context()), smartcar.ErrInvalidArgument)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, only(client, ended), context.Canceled)
}

// What another application has stored beside is not listed, nor what was stored before
// there were several: nobody knows whose it is.
func TestVehiclesOfASharedStore(t *testing.T) {
	mache := smartcartest.Car{ID: smartcartest.MachE, Make: "FORD", Model: "Mustang Mach-E", Year: 2022}
	sim := smartcartest.New(smartcartest.WithCars(mache, smartcartest.Car{ID: "own", Owner: "driver", Make: "FORD", Model: "F-150", Year: 2023}))
	db := store.NewMemory()
	sealed, err := store.NewSealed(db, []byte(strings.Repeat("k", 32)))
	require.NoError(t, err)
	other, user := connected(t, sim, smartcar.WithStore(sealed))
	_, err = user.Vehicle(smartcartest.MachE).Battery(t.Context())
	require.NoError(t, err)
	client := newClient(t, sim, smartcar.WithStore(sealed), smartcar.WithSharedStore())
	require.Empty(t, allVehicles(t, client))
	grant := connectAs(t, sim, client, "driver")
	_, err = client.User(grant.UserID).Vehicle("own").Battery(t.Context())
	require.NoError(t, err)
	require.Equal(t, map[string]int{grant.UserID + " own": 1}, allVehicles(t, client))
	require.Equal(t, map[string]int{user.ID() + " " + smartcartest.MachE: 1}, allVehicles(t, other))
}

// The cars of a user whose record cannot be read are found all the same.
func TestVehiclesOfAUserWhoseRecordIsGarbage(t *testing.T) {
	sim := smartcartest.New()
	db := store.NewMemory()
	client, user := connected(t, sim, smartcar.WithStore(db))
	_, err := user.Vehicle(smartcartest.MachE).Battery(t.Context())
	require.NoError(t, err)
	r, err := db.Load(t.Context(), "user/"+user.ID())
	require.NoError(t, err)
	_, err = db.CompareAndSwap(t.Context(), "user/"+user.ID(), r.Revision, []byte("garbage"), 0)
	require.NoError(t, err)
	require.Equal(t, map[string]int{user.ID() + " " + smartcartest.MachE: 1}, allVehicles(t, client))
}
