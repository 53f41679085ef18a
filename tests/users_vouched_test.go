package smartcar_test

import (
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/smartcartest"
	"github.com/stretchr/testify/require"
)

// requireNoUser requires that nothing of a user is stored, nor a car of one.
func requireNoUser(t *testing.T, db *spoiledStore) {
	t.Helper()
	for _, key := range db.live(t) {
		require.False(t, strings.HasPrefix(key, "user"), key)
	}
}

// inItsThirdWindow returns a keyless car of API v3 that was read twice: what this process
// wrote of it last tells that its user is stored.
func inItsThirdWindow(t *testing.T, user *smartcar.User) *smartcar.Vehicle {
	t.Helper()
	v := user.Vehicle(smartcartest.ModelY)
	for range 2 {
		_, err := v.Odometer(t.Context())
		require.NoError(t, err)
		time.Sleep(window + time.Second)
	}
	return v
}

// Forget comes while a turn is under way.
func TestTurnInFlightDoesNotBringAForgottenUserBack(t *testing.T) {
	for name, fault := range map[string]smartcartest.Fault{
		"slow answer": {LatencyAfter: 5 * time.Second},
		"no answer":   {LatencyAfter: 5 * time.Second, DropAfter: true},
	} {
		for where, forgetter := range map[string]func(here, there *smartcar.User) *smartcar.User{
			"here":      func(here, _ *smartcar.User) *smartcar.User { return here },
			"elsewhere": func(_, there *smartcar.User) *smartcar.User { return there },
		} {
			t.Run(name+", forgotten "+where, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					sim := smartcartest.New()
					db := newSpoiledStore()
					user := onV3(t, sim, smartcar.WithStore(db))
					there := apiClient(t, sim, smartcar.V3, smartcar.WithStore(db)).User(user.ID())
					v := inItsThirdWindow(t, user)
					fault.Path = "/v3/"
					sim.Inject(fault)
					var reader sync.WaitGroup
					reader.Go(func() { _, _ = v.Odometer(t.Context()) })
					synctest.Wait()
					time.Sleep(time.Second)
					require.NoError(t, forgetter(user, there).Forget(t.Context()))
					reader.Wait()
					requireNoUser(t, db)
				})
			})
		}
	}
}

// Forget comes while the token is renewed, before the turn is taken.
func TestTurnThatIsNotTakenYetDoesNotBringAForgottenUserBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		db := newSpoiledStore()
		var forget atomic.Pointer[func()]
		transport := roundTripper(func(r *http.Request) (*http.Response, error) {
			if f := forget.Swap(nil); f != nil {
				(*f)()
			}
			return sim.Transport().RoundTrip(r)
		})
		user := onV3(t, sim, smartcar.WithStore(db), smartcar.WithHTTPClient(&http.Client{Transport: transport}))
		v := inItsThirdWindow(t, user)
		asked := countedData(sim, v.ID())
		f := func() { require.NoError(t, user.Forget(t.Context())) }
		forget.Store(&f)
		_, err := v.Odometer(t.Context())
		require.ErrorIs(t, err, smartcar.ErrNotConnected)
		require.Nil(t, forget.Load(), "the token was renewed")
		require.Equal(t, asked, countedData(sim, v.ID()))
		requireNoUser(t, db)
	})
}

// A user is forgotten and connects again elsewhere while a turn is under way here. What
// this process writes of the car does not tell that the user of today has it.
func TestCarOfAUserWhoConnectedAgainElsewhereIsForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		db := newSpoiledStore()
		user := onV3(t, sim, smartcar.WithStore(db))
		elsewhere := apiClient(t, sim, smartcar.V3, smartcar.WithStore(db))
		v := user.Vehicle(smartcartest.ModelY)
		_, err := v.Odometer(t.Context())
		require.NoError(t, err)
		time.Sleep(window + time.Second)
		_, err = user.Vehicle(smartcartest.MachE).Odometer(t.Context())
		require.NoError(t, err, "the user is loaded, and known for a minute")
		sim.Inject(smartcartest.Fault{Path: "/signals", LatencyAfter: 20 * time.Second})
		var reader sync.WaitGroup
		reader.Go(func() { _, _ = v.Odometer(t.Context()) })
		synctest.Wait()
		time.Sleep(time.Second)
		require.NoError(t, elsewhere.User(user.ID()).Forget(t.Context()))
		require.Equal(t, user.ID(), connect(t, sim, elsewhere).UserID)
		reader.Wait()
		for range 2 {
			time.Sleep(window + time.Minute)
			_, err = v.Odometer(t.Context())
			require.NoError(t, err)
		}
		require.NoError(t, elsewhere.User(user.ID()).Forget(t.Context()))
		time.Sleep(window + time.Hour)
		require.NotContains(t, db.live(t), "car/"+v.ID())
		requireNoUser(t, db)
	})
}
