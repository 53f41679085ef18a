package smartcar_test

import (
	"context"
	"net/http"
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

// The store's clock is set while a turn is taken, or while it is noted that its request
// leaves, and what is written then is dated by a clock that shows another time now:
//
//  1. 10:00  The first process takes the turn, until 10:01.
//  2. 10:00  The store's clock is set to 19:00, and the request is sent.
//  3. 19:00  A process that begins now, on a machine that is ahead as much, finds a turn
//     that was used nine hours ago.
func TestStoresClockThatIsSetWhileATurnIsTaken(t *testing.T) {
	for _, token := range []string{"at hand", "refused"} {
		t.Run(token, func(t *testing.T) {
			for after := 1; after <= 12; after++ {
				onEitherAPI(t, func(t *testing.T, sim *smartcartest.Server, api smartcar.API) {
					clock := newSteppingStore(store.NewMemory())
					db := &replica{Store: clock}
					w := newWrongClock(t, sim, api, new(steppingClock), db)
					_, err := w.car.Access(t.Context())
					require.NoError(t, err)
					if token == "refused" { // it is noted anew that the request leaves
						sim.Inject(refusesTheToken)
					}
					ahead := new(steppingClock)
					ahead.step(9 * time.Hour)
					young, _ := machine(t, sim, api, ahead, clock)
					sim.Inject(smartcartest.Fault{LatencyAfter: 20 * time.Second, Match: readsBattery})
					db.arm(after, func() { clock.step(9 * time.Hour) })
					done := make(chan error)
					go func() { _, err := w.car.Battery(t.Context()); done <- err }()
					time.Sleep(10 * time.Second)
					if clock.offset.Load() != 0 { // there were as many accesses
						_, err = w.on(young).Battery(t.Context())
						require.Error(t, err, "access %d", after)
					}
					require.NoError(t, <-done)
					w.counted(t, 1)
				})
			}
		})
	}
}

// refusesTheToken meets the first read.
var refusesTheToken = smartcartest.Fault{Status: http.StatusUnauthorized, Times: 1, Match: readsBattery}

func readsBattery(r *http.Request) bool {
	return strings.HasSuffix(r.URL.Path, "/battery") || strings.HasSuffix(r.URL.Path, "/signals")
}

// Its clock is set back while it is written that the key is gone. That is not from the
// future then, and what comes after it counts.
func TestStoresClockThatIsSetBackWhileEvidenceIsWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		clock := newSteppingStore(store.NewMemory())
		db := &onSwap{Store: clock}
		w := newWrongClock(t, smartcartest.New(), smartcar.V3, new(steppingClock), db)
		w.car = w.user.Vehicle(smartcartest.Model3)
		w.read(t)
		time.Sleep(time.Minute)
		receiver := hookReceiver(t, w.client, smartcar.WebhookOptions{}, nil)
		db.before = func() {
			clock.step(-9 * time.Hour)
			db.before = nil
		}
		require.Equal(t, 200, send(t, receiver, keyWords["an error"](t, w, false, time.Now())))
		w.needsKey(t, true)
		require.Nil(t, db.before)
		time.Sleep(time.Minute)
		require.Equal(t, 200, send(t, receiver, keyWords["an error"](t, w, true, time.Now())))
		w.needsKey(t, false)
	})
}

// A store that answers after more than a minute has no clock that was set.
func TestSlowStoreIsNoClockThatIsSet(t *testing.T) {
	for _, slow := range []string{"load", "swap"} {
		for _, when := range []string{"before it reads its clock", "after"} {
			t.Run(slow+" "+when, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					sim := smartcartest.New()
					var armed atomic.Bool
					wait := func(key string) {
						if isCarKey(key) && armed.Swap(false) {
							time.Sleep(70 * time.Second)
						}
					}
					none := func(string) {}
					db := &laggingStore{Store: store.NewMemory(), to: wait, from: none}
					if when == "after" {
						db.to, db.from = none, wait
					}
					_, user := connected(t, sim, smartcar.WithStore(db))
					v := user.Vehicle(smartcartest.ModelY)
					_, err := v.Access(t.Context())
					require.NoError(t, err)
					if slow == "load" {
						time.Sleep(3 * time.Minute) // the record in memory is not trusted for so long
					}
					armed.Store(true)
					_, err = v.Battery(t.Context())
					require.NoError(t, err)
					require.False(t, armed.Load())
					require.Equal(t, 1, countedData(sim, smartcartest.ModelY))
				})
			})
		}
	}
}

// A slow store reads its clock long before it answers. What it dates, such as a turn, is
// not older than it is.
func TestTurnIsNoOlderThanTheStoresAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var armed atomic.Bool
		db := &laggingStore{Store: store.NewMemory(), to: func(string) {}, from: func(key string) {
			if isCarKey(key) && armed.Swap(false) {
				time.Sleep(2 * time.Second)
			}
		}}
		w := newWrongClock(t, smartcartest.New(), smartcar.V2, new(steppingClock), db)
		_, err := w.car.Access(t.Context())
		require.NoError(t, err)
		armed.Store(true)
		w.read(t)
		used := time.Now()
		require.False(t, armed.Load())
		young, _ := machine(t, w.sim, smartcar.V2, new(steppingClock), db)
		time.Sleep(time.Until(used.Add(window - time.Second)))
		closed(t, w.on(young))
		w.counted(t, 1)
	})
}

// Each answer of the store shows another time while it is noted that a request leaves. The
// error says so, and nothing was sent.
func TestStoreWhoseClockIsNeverRight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		clock := newSteppingStore(store.NewMemory())
		db := &onSwap{Store: clock}
		w := newWrongClock(t, sim, smartcar.V2, new(steppingClock), db)
		_, err := w.car.Access(t.Context())
		require.NoError(t, err)
		sim.Inject(refusesTheToken)
		swaps, by := 0, 9*time.Hour
		db.before = func() {
			if swaps++; swaps > 2 { // the turn was taken, and reserved again
				clock.step(by)
				by = -by
			}
		}
		_, err = w.car.Battery(t.Context())
		require.ErrorIs(t, err, smartcar.ErrStore)
		require.ErrorContains(t, err, "clock of the store")
		require.Greater(t, swaps, 2)
		require.Zero(t, w.turns())
	})
}

// onSwap calls a function before each swap of a car's record.
type onSwap struct {
	store.Store
	before func()
}

func (s *onSwap) CompareAndSwap(ctx context.Context, key string, old store.Revision, value []byte, ttl time.Duration) (store.Record, error) {
	if s.before != nil && isCarKey(key) {
		s.before()
	}
	return s.Store.CompareAndSwap(ctx, key, old, value, ttl)
}

// isCarKey reports whether the store has the record of a car under a key.
func isCarKey(key string) bool {
	return strings.Contains(key, "car/") && !strings.Contains(key, "usercars/")
}

// heedingStore fails once the context has ended, as a database does.
type heedingStore struct{ store.Store }

func (s heedingStore) Load(ctx context.Context, key string) (store.Record, error) {
	if err := ctx.Err(); err != nil {
		return store.Record{}, err
	}
	return s.Store.Load(ctx, key)
}

// Two owners have a car, and two processes forget one each. The second finds the record of
// their visits, and it is gone before it is changed: nothing is written then.
func TestVisitsOfOwnersWhoAreForgottenAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New(garageEach(func(c *smartcartest.Car) { c.SharedWith = []string{"bob"} }))
		db := newSpoiledStore()
		client := newClient(t, sim, smartcar.WithStore(db), allPlaces)
		var users []*smartcar.User
		for _, owner := range []string{"", "bob"} {
			user := client.User(connectAs(t, sim, client, owner).UserID)
			_, err := user.Vehicle(smartcartest.Model3).Visit(t.Context(), new(taken).handle, smartcar.Battery)
			require.NoError(t, err)
			users = append(users, user)
		}
		require.NotEqual(t, users[0].ID(), users[1].ID())
		loads := 0
		db.load = func(key string) error {
			if strings.HasPrefix(key, "visits/") {
				if loads++; loads == 2 {
					r, err := db.Store.Load(t.Context(), key)
					require.NoError(t, err)
					require.NoError(t, db.Store.Delete(t.Context(), key, r.Revision))
				}
			}
			return nil
		}
		require.NoError(t, users[0].Forget(t.Context()))
		require.GreaterOrEqual(t, loads, 2)
		for _, key := range db.live(t) {
			require.False(t, strings.HasPrefix(key, "visits/"), key)
		}
	})
}

// A caller leaves in the moment in which it is noted that the request leaves. The request
// is taken back, also from a transport that does not look at its context.
func TestCallerWhoLeavesAsTheRequestDoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		db := newSpoiledStore()
		_, user := connected(t, sim, smartcar.WithStore(db))
		v := user.Vehicle(smartcartest.ModelY)
		_, err := v.Access(t.Context())
		require.NoError(t, err)
		sim.Inject(refusesTheToken)
		ctx, cancel := context.WithCancel(t.Context())
		swaps := 0
		db.after = func(key string, _ []byte) error {
			if isCarKey(key) {
				swaps++
				if swaps == 3 { // the turn was taken, and reserved again
					cancel()
					synctest.Wait()
				}
			}
			return nil
		}
		_, err = v.Battery(ctx)
		require.ErrorIs(t, err, context.Canceled)
		require.False(t, slices.ContainsFunc(sim.Ledger(v.ID()), func(e smartcartest.Entry) bool { return e.Counted }))
		_, err = v.Battery(t.Context())
		require.NoError(t, err, "nothing was sent")
	})
}

// The caller of a long read of an open car leaves as its answer comes. Another process has
// seen meanwhile that the key is gone, and the read was counted later than that process
// can know: it has used the turn.
func TestCallerWhoLeavesAsALongReadEnds(t *testing.T) {
	onEitherAPI(t, func(t *testing.T, sim *smartcartest.Server, api smartcar.API) {
		db := heedingStore{store.NewMemory()}
		leave := func() {}
		wire := roundTripFunc(func(r *http.Request) (*http.Response, error) {
			resp, err := sim.Transport().RoundTrip(r)
			if readsBattery(r) {
				leave()
			}
			return resp, err
		})
		client := apiClient(t, sim, api, smartcar.WithStore(db), smartcar.WithHTTPClient(&http.Client{Transport: wire}), smartcar.WithTimeout(10*time.Minute))
		user := client.User(connect(t, sim, client).UserID)
		v := user.Vehicle(smartcartest.Model3)
		_, err := v.Battery(t.Context()) // is stored, and so the next one is not
		require.NoError(t, err)
		began := time.Now()
		other := apiClient(t, sim, api, smartcar.WithStore(db)).User(user.ID()).Vehicle(v.ID())
		ctx, cancel := context.WithCancel(t.Context())
		leave = cancel
		sim.Inject(smartcartest.Fault{Latency: 3 * time.Minute, Match: readsBattery, Times: 1})
		done := make(chan struct{})
		go func() { _, _ = v.Battery(ctx); close(done) }()
		time.Sleep(10 * time.Second)
		require.NoError(t, sim.Unpair(v.ID()))
		require.NoError(t, other.SetKeyState(t.Context(), smartcar.KeyMissing))
		<-done
		time.Sleep(time.Until(began.Add(window + 150*time.Second)))
		closed(t, other)
		require.Empty(t, sim.BrokenWindows(v.ID()))
	})
}
