package smartcar_test

import (
	"strings"
	"testing"
	"testing/synctest"

	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/smartcartest"
	"github.com/stretchr/testify/require"
)

// atStoreStep runs other before the n-th load or swap of do, and reports whether
// there was one.
func atStoreStep(db *spoiledStore, n int, other, do func()) (came bool) {
	step := func() error {
		if n--; n == 0 {
			db.load, db.before = nil, nil
			came = true
			other()
		}
		return nil
	}
	db.load = func(string) error { return step() }
	db.before = func(string, []byte) error { return step() }
	do()
	db.load, db.before = nil, nil
	return came
}

// forgetAtEachStep has the user forgotten at each step of what is done with a car,
// by this process or another one, and then looks at what is left.
func forgetAtEachStep(t *testing.T, do func(*testing.T, *smartcar.Client, *smartcar.User), left func(*testing.T, *spoiledStore, *smartcar.User)) {
	t.Helper()
	for _, api := range []smartcar.API{smartcar.V2, smartcar.V3} {
		for _, where := range []string{"here", "elsewhere"} {
			t.Run(string(api)+" "+where, func(t *testing.T) {
				steps := 0
				for came := true; came; steps++ {
					synctest.Test(t, func(t *testing.T) {
						sim := smartcartest.New()
						db := newSpoiledStore()
						client := apiClient(t, sim, api, smartcar.WithStore(db), allAnswers)
						forgets := client
						if where == "elsewhere" {
							forgets = apiClient(t, sim, api, smartcar.WithStore(db), allAnswers)
						}
						user := client.User(connect(t, sim, client).UserID)
						came = atStoreStep(db, steps+1, func() {
							require.NoError(t, forgets.User(user.ID()).Forget(t.Context()))
						}, func() { do(t, client, user) })
						if came {
							left(t, db, user)
						}
					})
				}
				require.Greater(t, steps, 5)
			})
		}
	}
}

// Of a first read, the next Forget finds all that is left of it, but for the open
// window of the car.
func TestForgetAtAnyStepOfAFirstRead(t *testing.T) {
	for _, id := range []string{smartcartest.ModelY, smartcartest.MachE} {
		forgetAtEachStep(t, func(t *testing.T, _ *smartcar.Client, user *smartcar.User) {
			_, _ = user.Vehicle(id).Odometer(t.Context())
		}, func(t *testing.T, db *spoiledStore, user *smartcar.User) {
			require.NoError(t, user.Forget(t.Context()))
			for _, key := range db.live(t) {
				window := key == "car/"+smartcartest.ModelY
				require.True(t, window || strings.HasPrefix(key, "answers/") || strings.HasPrefix(key, "application/"), key)
			}
			require.False(t, db.holds(t, id, "scope"))
		})
	}
}

// An event makes nobody known: after Forget there is nothing of the user, however
// far the event had come.
func TestForgetAtAnyStepOfAnEvent(t *testing.T) {
	forgetAtEachStep(t, func(t *testing.T, client *smartcar.Client, user *smartcar.User) {
		receiver := hookReceiver(t, client, smartcar.WebhookOptions{}, nil)
		require.Equal(t, 200, send(t, receiver, pushed("e", user, smartcartest.ModelY, 0, odometerOf(5)).body(t)))
	}, func(t *testing.T, db *spoiledStore, _ *smartcar.User) {
		for _, key := range db.live(t) {
			require.False(t, strings.HasPrefix(key, "user") || strings.HasPrefix(key, "car/"), key)
		}
		require.False(t, db.holds(t, smartcartest.ModelY, "scope"))
	})
}
