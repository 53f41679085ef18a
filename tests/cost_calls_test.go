package smartcar_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/smartcartest"
	"github.com/seed-498a1bc4/smartcar/store"
	"github.com/stretchr/testify/require"
)

// listingStore lists the calls that it gets, each of which a shared store would take one
// round trip for.
type listingStore struct {
	store.Store
	mu    sync.Mutex
	calls []string
}

func (s *listingStore) note(call, key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls = append(s.calls, call+" "+key)
}

func (s *listingStore) Load(ctx context.Context, key string) (store.Record, error) {
	s.note("load", key)
	return s.Store.Load(ctx, key)
}

func (s *listingStore) CompareAndSwap(ctx context.Context, key string, old store.Revision, value []byte, ttl time.Duration) (store.Record, error) {
	s.note("swap", key)
	return s.Store.CompareAndSwap(ctx, key, old, value, ttl)
}

func (s *listingStore) Delete(ctx context.Context, key string, old store.Revision) error {
	s.note("delete", key)
	return s.Store.Delete(ctx, key, old)
}

// during returns the calls that f takes.
func (s *listingStore) during(f func()) []string {
	s.mu.Lock()
	before := len(s.calls)
	s.mu.Unlock()
	f()
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.calls[before:])
}

// eachAPI runs a test on both APIs, with a client whose store lists its calls.
func eachAPI(t *testing.T, test func(t *testing.T, sim *smartcartest.Server, db *listingStore, client *smartcar.Client, user *smartcar.User)) {
	for _, api := range []smartcar.API{smartcar.V2, smartcar.V3} {
		t.Run(string(api), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sim := smartcartest.New()
				db := &listingStore{Store: store.NewMemory()}
				client := apiClient(t, sim, api, smartcar.WithStore(db))
				test(t, sim, db, client, client.User(connect(t, sim, client).UserID))
			})
		})
	}
}

// The records of an open car and of its user are loaded once a minute, however often the
// car is read. That a car with its key was read is noted once in 5 minutes.
func TestCallsOfReadsEachSecond(t *testing.T) {
	const minutes = 10
	for name, car := range map[string]struct {
		id     string
		writes int
	}{"a Ford": {smartcartest.MachE, 0}, "a Tesla with its key": {smartcartest.Model3, 2}} {
		t.Run(name, func(t *testing.T) {
			eachAPI(t, func(t *testing.T, _ *smartcartest.Server, db *listingStore, _ *smartcar.Client, user *smartcar.User) {
				v := user.Vehicle(car.id)
				read := func(seconds int) {
					for range seconds {
						_, err := v.Battery(t.Context())
						require.NoError(t, err)
						time.Sleep(time.Second)
					}
				}
				read(60)
				require.LessOrEqual(t, len(db.during(func() { read(50) })), 2, "one of each record")
				calls := db.during(func() { read(60 * minutes) })
				count := func(what string) (n int) {
					for _, call := range calls {
						if strings.HasPrefix(call, what) {
							n++
						}
					}
					return n
				}
				t.Logf("%d reads: %d calls of the store", 60*minutes, len(calls))
				require.LessOrEqual(t, count("load car/"), minutes)
				require.LessOrEqual(t, count("load user/"), minutes)
				require.LessOrEqual(t, count("swap car/"), car.writes)
				require.LessOrEqual(t, len(calls), 2*minutes+car.writes)
			})
		})
	}
}

// A turn after a window: the token has expired, and on API v2.0 the status of the key is
// read again.
func TestCallsOfAWholeTurn(t *testing.T) {
	eachAPI(t, func(t *testing.T, sim *smartcartest.Server, db *listingStore, client *smartcar.Client, user *smartcar.User) {
		v := user.Vehicle(smartcartest.ModelY)
		turn := func() {
			time.Sleep(window + time.Second)
			_, err := v.Battery(t.Context())
			require.NoError(t, err)
		}
		turn()
		turn()
		asked := sim.TokenRequests() + sim.AppTokenRequests()
		looked := len(statusReads(sim))
		calls := db.during(turn)
		require.Greater(t, sim.TokenRequests()+sim.AppTokenRequests(), asked, "the token has expired")
		most := 4
		if client.API() == smartcar.V2 {
			most = 6
			require.Greater(t, len(statusReads(sim)), looked, "the status was read again")
		}
		t.Logf("%d calls: %s", len(calls), strings.Join(calls, ", "))
		require.LessOrEqual(t, len(calls), most)
		require.Empty(t, sim.BrokenWindows(v.ID()))
	})
}

// An event about a car that this process knows is claimed, learned from and marked as done.
func TestCallsOfAWebhook(t *testing.T) {
	eachAPI(t, func(t *testing.T, _ *smartcartest.Server, db *listingStore, client *smartcar.Client, user *smartcar.User) {
		v := user.Vehicle(smartcartest.Model3)
		_, err := v.Battery(t.Context())
		require.NoError(t, err)
		receiver := hookReceiver(t, client, smartcar.WebhookOptions{}, nil)
		for i := range 3 {
			time.Sleep(10 * time.Minute)
			event := pushed(fmt.Sprint("event-", i), user, v.ID(), time.Minute, odometerOf(float64(100+i))).body(t)
			calls := db.during(func() { require.Equal(t, http.StatusOK, send(t, receiver, event)) })
			t.Logf("%d calls: %s", len(calls), strings.Join(calls, ", "))
			noted := func(call string) bool { return strings.Contains(call, "visits/") }
			require.Equal(t, i == 0, slices.ContainsFunc(calls, noted), "for a diagnosis, once an hour")
			if i > 0 {
				require.LessOrEqual(t, len(calls), 3)
			}
			require.Len(t, db.during(func() { require.Equal(t, http.StatusOK, send(t, receiver, event)) }), 1, "it was handled")
		}
	})
}

// A write that another process has come before is made again by what that one has stored:
// whoever was forgotten there is not stored again, and no answer is kept.
func TestForgottenElsewhereWhileTheRecordOfTheCarVouches(t *testing.T) {
	for _, api := range []smartcar.API{smartcar.V2, smartcar.V3} {
		t.Run(string(api), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sim := smartcartest.New()
				db := store.NewMemory()
				shared := &listingStore{Store: db}
				here, there := apiClient(t, sim, api, smartcar.WithStore(shared)), apiClient(t, sim, api, smartcar.WithStore(shared))
				user := here.User(connect(t, sim, here).UserID)
				v := user.Vehicle(smartcartest.Model3)
				receiver := hookReceiver(t, here, smartcar.WebhookOptions{}, nil)
				_, err := v.Battery(t.Context())
				require.NoError(t, err)
				time.Sleep(time.Hour)
				require.Equal(t, http.StatusOK, send(t, receiver, pushed("first", user, v.ID(), time.Minute, odometerOf(100)).body(t)))
				require.NoError(t, there.User(user.ID()).Forget(t.Context()))
				time.Sleep(time.Hour)
				require.Equal(t, http.StatusOK, send(t, receiver, pushed("second", user, v.ID(), time.Minute, odometerOf(101)).body(t)))
				for _, key := range []string{"car/" + v.ID(), "user/" + user.ID(), "usercars/" + user.ID() + "/"} {
					_, err := db.Load(t.Context(), key)
					require.ErrorIs(t, err, store.ErrNotFound, key)
				}
				if r, err := v.With(smartcar.WithoutTurn(), smartcar.AllowStale()).Odometer(t.Context()); err == nil {
					require.InDelta(t, 100, *r.Distance, 1e-9, "what this process kept before; nothing of the second event")
				}
			})
		})
	}
}

// Another process sees that the key is gone. This one reads the car for a minute more, by
// its record, of which nothing is stored: the turn counts from then all the same.
func TestRemovedKeyIsSeenElsewhereWithinAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New(smartcartest.WithKeylessAnswer(smartcartest.StaleData))
		db := &listingStore{Store: store.NewMemory()}
		here, user := connected(t, sim, smartcar.WithStore(db))
		v := here.User(user.ID()).Vehicle(smartcartest.Model3)
		there := newClient(t, sim, smartcar.WithStore(db)).User(user.ID()).Vehicle(v.ID())
		for range 2 {
			_, err := v.Battery(t.Context())
			require.NoError(t, err)
			time.Sleep(2 * time.Minute)
		}
		_, err := v.Battery(t.Context())
		require.NoError(t, err)
		require.NoError(t, sim.Unpair(v.ID()))
		status, err := there.KeyStatus(t.Context())
		require.NoError(t, err)
		require.Equal(t, smartcar.KeyMissing, status.State)
		time.Sleep(50 * time.Second)
		require.Empty(t, db.during(func() { _, err = v.Battery(t.Context()) }))
		require.NoError(t, err)
		last := time.Now()
		time.Sleep(11 * time.Second)
		refusedLocally(t, v)
		for refused := true; refused; time.Sleep(10 * time.Second) {
			_, err = there.Battery(t.Context())
			if refused = err != nil; refused {
				require.ErrorIs(t, err, smartcar.ErrRateLimited)
			}
		}
		require.Empty(t, sim.BrokenWindows(v.ID()))
		require.Less(t, time.Since(last), window+5*time.Minute)
	})
}

// ofOneUser asks in the name of one user, whoever is named.
type ofOneUser struct {
	http.RoundTripper
	id string
}

func (o ofOneUser) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	if r.Header.Get("sc-user-id") != "" {
		r.Header.Set("sc-user-id", o.id)
	}
	return o.RoundTripper.RoundTrip(r)
}

// There is no cliff: with a cache of the size of the fleet, refusals need no store.
func TestRefusalsOfALargeFleet(t *testing.T) {
	cars := 11_000 // package bench has more
	if testing.Short() || raceEnabled {
		cars = 2_000
	}
	sim := smartcartest.New()
	db := &countingStore{Store: store.NewMemory()}
	client := apiClient(t, sim, smartcar.V3, smartcar.WithStore(db), smartcar.WithCacheSize(cars), smartcar.WithHTTPClient(&http.Client{
		Transport: &oneCarForAll{sim: ofOneUser{sim.Transport(), connect(t, sim, newClient(t, sim)).UserID}, known: make(map[string]*http.Response), body: make(map[string][]byte)},
	}))
	car := func(i int) *smartcar.Vehicle { return client.User(fmt.Sprintf("user-%d", i)).Vehicle(fleetID(i)) }
	for i := range cars {
		_, err := car(i).Battery(t.Context())
		require.NoError(t, err)
	}
	require.Zero(t, db.during(func() {
		for i := range cars {
			if i%50 == 0 {
				_, err := car(i).Battery(t.Context())
				require.ErrorIs(t, err, smartcar.ErrRateLimited)
			}
		}
	}))
}
