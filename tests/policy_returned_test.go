package smartcar_test

import (
	"bytes"
	"context"
	"errors"
	"testing"

	"time"

	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/smartcartest"
	"github.com/seed-498a1bc4/smartcar/store"
	"github.com/stretchr/testify/require"
)

// A turn whose request does not leave is given back, and what may have been sent keeps it.

// The store's clock is right again as a turn is taken that it showed as free:
//
//  1. 00:00  The car is read, and is closed until 08:00.
//  2. 03:00  The store's clock is set to 12:00. A process begins on a machine that is
//     ahead as much, and finds the window over.
//  3. 03:00  The store's clock is set right. The process takes the turn, and the answer of
//     the store says 03:00.
//  4. 03:00  Nothing is sent, and the turn is given back: the car opens at 08:00, as
//     if the process had not asked.
func TestTurnThatAWrongClockShowedIsGivenBack(t *testing.T) {
	onEitherAPI(t, func(t *testing.T, sim *smartcartest.Server, api smartcar.API) {
		clock := newSteppingStore(store.NewMemory())
		w := newWrongClock(t, sim, api, new(steppingClock), clock)
		w.read(t)
		used := time.Now()
		time.Sleep(3 * time.Hour)
		clock.step(9 * time.Hour)
		ahead := new(steppingClock)
		ahead.step(9 * time.Hour)
		db := &onSwap{Store: clock}
		young, _ := machine(t, sim, api, ahead, db)
		db.before = func() {
			clock.step(-9 * time.Hour)
			db.before = nil
		}
		closed(t, w.on(young))
		require.Nil(t, db.before, "the turn was taken")
		w.counted(t, 1)
		time.Sleep(time.Until(used.Add(window + time.Minute)))
		right, _ := machine(t, sim, api, new(steppingClock), clock)
		w.opensBy(t, w.on(right), used, time.Hour)
	})
}

// The caller leaves while another token is fetched for a request that was refused: its turn
// is free for others from then on, and not only when the token endpoint has answered.
func TestCallerWhoLeavesDuringTheRenewalGivesTheTurnBack(t *testing.T) {
	bothAPIs(t, func(t *testing.T, sim *smartcartest.Server, client *smartcar.Client, user *smartcar.User) {
		v := user.Vehicle(smartcartest.ModelY)
		_, err := v.Access(t.Context())
		require.NoError(t, err)
		sim.Inject(refusesTheToken)
		sim.Inject(smartcartest.Fault{Path: "/token", LatencyAfter: 8 * time.Second})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err = v.Battery(ctx)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.ErrorContains(t, err, "not sent")
		_, err = v.Odometer(t.Context())
		require.NoError(t, err)
		require.Empty(t, sim.BrokenWindows(v.ID()))
	})
}

// The store takes the write of a turn, and then fails for a moment, so that nobody knows of
// it. With SendKeyless the request is sent all the same, and so the turn stays: no
// other process sends a second one.
func TestTurnOfARequestSentWithoutTheStoreStays(t *testing.T) {
	for _, known := range []bool{true, false} {
		onEitherAPI(t, func(t *testing.T, sim *smartcartest.Server, api smartcar.API) {
			db, fails := newSpoiledStore(), errors.New("the store is away")
			client := apiClient(t, sim, api, smartcar.WithStore(db), smartcar.WithStorePolicy(smartcar.StorePolicy{SendKeyless: true}))
			user := client.User(connect(t, sim, client).UserID)
			v := user.Vehicle(smartcartest.ModelY)
			if known {
				_, err := v.Access(t.Context())
				require.NoError(t, err)
			}
			var turn []byte // else it is taken with what is learned of the car last
			db.after = func(key string, value []byte) error {
				learned := known || api == smartcar.V2 && countPath(sim, "/tesla/virtual_key") > 0 || api == smartcar.V3 && countPath(sim, "/vehicles/"+v.ID()) > 0
				if turn != nil || !isCarKey(key) || !learned {
					return nil
				}
				turn = value
				return fails
			}
			db.before = func(_ string, value []byte) error {
				if turn != nil && bytes.Equal(value, turn) {
					return fails
				}
				return nil
			}
			withTheKey := !known && api == smartcar.V2 // one write stores what was learned, and takes the turn
			db.load = func(key string) error {
				if turn != nil && withTheKey && isCarKey(key) {
					withTheKey = false
					return fails
				}
				return nil
			}
			_, err := v.Battery(t.Context())
			require.NoError(t, err)
			require.NotNil(t, turn)
			require.Equal(t, 1, countedData(sim, v.ID()))
			other := apiClient(t, sim, api, smartcar.WithStore(db)).User(user.ID()).Vehicle(v.ID())
			_, err = other.Odometer(t.Context())
			_ = requireKeyless(t, err)
			require.Empty(t, sim.BrokenWindows(v.ID()))
		})
	}
}
