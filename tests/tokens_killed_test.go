package smartcar_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/smartcartest"
	"github.com/seed-498a1bc4/smartcar/store"
	"github.com/stretchr/testify/require"
)

// mortal is what a process reaches the world through. It ends the goroutine at
// its n-th step, as a kill would: before the step, or before anybody hears of
// its result. A step is a call of the store or a request for tokens.
type mortal struct {
	store.Store
	transport http.RoundTripper
	armed     bool
	left      int
	after     bool
	died      atomic.Bool
}

func (m *mortal) step(do func()) {
	if m.armed {
		m.left--
	}
	dies := m.armed && m.left == 0
	if dies && !m.after {
		m.died.Store(true)
		runtime.Goexit()
	}
	do()
	if dies {
		m.died.Store(true)
		runtime.Goexit()
	}
}

func (m *mortal) Load(ctx context.Context, key string) (r store.Record, err error) {
	m.step(func() { r, err = m.Store.Load(ctx, key) })
	return r, err
}

func (m *mortal) CompareAndSwap(ctx context.Context, key string, old store.Revision, value []byte, ttl time.Duration) (r store.Record, err error) {
	m.step(func() { r, err = m.Store.CompareAndSwap(ctx, key, old, value, ttl) })
	return r, err
}

func (m *mortal) Delete(ctx context.Context, key string, old store.Revision) (err error) {
	m.step(func() { err = m.Store.Delete(ctx, key, old) })
	return err
}

func (m *mortal) RoundTrip(r *http.Request) (resp *http.Response, err error) {
	if r.URL.Path != "/oauth/token" {
		return m.transport.RoundTrip(r)
	}
	m.step(func() { resp, err = m.transport.RoundTrip(r) })
	return resp, err
}

// A process may be killed at any step of a refresh: the next one
// that goes on asking for anything of that user saves the login.
func TestLoginSurvivesAKillAtEveryStep(t *testing.T) {
	read := func(car string) func(*testing.T, *smartcar.User) error {
		return func(t *testing.T, user *smartcar.User) error {
			_, err := user.Vehicle(car).Odometer(t.Context())
			return err
		}
	}
	renew := func(t *testing.T, user *smartcar.User) error { return user.Renew(t.Context(), 60*24*time.Hour) }
	for name, refresh := range map[string]struct {
		after       time.Duration                          // since Connect
		refuse      bool                                   // Smartcar refuses the access token of the next data request
		wants, next func(*testing.T, *smartcar.User) error // of the process that dies, and of the next one
	}{
		"token ran out":                     {after: 3 * time.Hour, wants: read(smartcartest.MachE), next: read(smartcartest.MachE)},
		"token ran out, keyless car":        {after: 9 * time.Hour, wants: read(smartcartest.ModelY), next: read(smartcartest.ModelY)},
		"token refused early":               {after: time.Hour, refuse: true, wants: read(smartcartest.MachE), next: read(smartcartest.MachE)},
		"token refused early, keyless car":  {after: time.Hour, refuse: true, wants: read(smartcartest.ModelY), next: read(smartcartest.ModelY)},
		"renewed before its end":            {after: time.Hour, wants: renew, next: renew},
		"renewed before its end, then read": {after: time.Hour, wants: renew, next: read(smartcartest.MachE)},
	} {
		for _, after := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, result lost %v", name, after), func(t *testing.T) {
				steps, refreshed := 0, false
				for died := true; died; steps++ {
					synctest.Test(t, func(t *testing.T) {
						sim := smartcartest.New()
						m := &mortal{Store: store.NewMemory(), transport: sim.Transport(), left: steps + 1, after: after}
						dying := newClientOver(t, sim, m, smartcar.WithStore(m))
						user := connect(t, sim, dying).UserID
						time.Sleep(refresh.after)
						if refresh.refuse {
							var once sync.Once
							sim.Inject(smartcartest.Fault{Path: "/odometer", Times: -1, Match: func(*http.Request) bool {
								once.Do(sim.ExpireAccessTokens)
								return false
							}})
						}
						m.armed = true
						var process sync.WaitGroup
						process.Go(func() { _ = refresh.wants(t, dying.User(user)) })
						process.Wait()
						died = m.died.Load()
						refreshed = refreshed || died && sim.TokenRequests() > 1

						restarted := newClient(t, sim, smartcar.WithStore(m.Store))
						for range 55 {
							err := refresh.next(t, restarted.User(user))
							if limited := new(smartcar.RateLimitError); !errors.As(err, &limited) {
								require.NoError(t, err)
							}
							time.Sleep(time.Second)
						}
						require.Empty(t, sim.BrokenWindows(smartcartest.ModelY))
						time.Sleep(2 * time.Minute) // the grace is over
						requireLoggedIn(t, newClient(t, sim, smartcar.WithStore(m.Store)).User(user).Vehicle(smartcartest.MachE))
					})
				}
				require.True(t, refreshed, "no kill came after the refresh token was used")
				t.Log(steps-1, "steps")
			})
		}
	}
}

// The answer to a refresh is lost, and then the store is away: whoever sent
// the request goes on with the same refresh token and keeps the new pair.
func TestLostAnswerWhileTheStoreIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		db := newSpoiledStore()
		_, user := connected(t, sim, smartcar.WithStore(db))
		v := user.Vehicle(smartcartest.MachE)
		_, err := v.Odometer(t.Context())
		require.NoError(t, err)
		time.Sleep(3 * time.Hour)
		sim.Inject(smartcartest.Fault{Path: "/oauth/token", DropAfter: true, Match: func(*http.Request) bool {
			db.goDown()
			return true
		}})
		_, err = v.Odometer(t.Context())
		require.ErrorIs(t, err, smartcar.ErrStore)
		time.Sleep(10 * time.Minute)
		db.load, db.before = nil, nil
		requireLoggedIn(t, v)
	})
}

// A store that fails while it is in question which refresh token is alive is no
// reason to say that the login has ended.
func TestStoreFailureIsNotTheEndOfALogin(t *testing.T) {
	for answered := range int32(2) {
		synctest.Test(t, func(t *testing.T) {
			sim := smartcartest.New()
			db := newSpoiledStore()
			_, user := connected(t, sim, smartcar.WithStore(db))
			v := user.Vehicle(smartcartest.MachE)
			_, err := v.Odometer(t.Context())
			require.NoError(t, err)
			time.Sleep(3 * time.Hour)
			var left atomic.Int32
			sim.Inject(smartcartest.Fault{Path: "/oauth/token", ErrorType: "invalid_grant", Match: func(*http.Request) bool {
				left.Store(answered)
				db.load = func(string) error {
					if left.Add(-1) >= 0 {
						return nil
					}
					return errStoreDown
				}
				return true
			}})
			_, err = v.Odometer(t.Context())
			require.ErrorIs(t, err, smartcar.ErrStore)
			require.NotErrorIs(t, err, smartcar.ErrReconnectRequired)
			db.load = nil
			requireLoggedIn(t, v)
		})
	}
}

// Which of two refresh tokens is alive is not known, and the store fails just
// when the first one was refused: the second one is tried later.
func TestStoreFailureBetweenTwoRefreshTokens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		db := newSpoiledStore()
		_, user := connected(t, sim, smartcar.WithStore(db))
		v := user.Vehicle(smartcartest.MachE)
		_, err := v.Odometer(t.Context())
		require.NoError(t, err)
		for key := range db.seenKeys {
			if !strings.HasPrefix(key, "grant/") {
				continue
			}
			record, err := db.Load(t.Context(), key)
			require.NoError(t, err)
			var grant map[string]any
			require.NoError(t, json.Unmarshal(record.Value, &grant))
			grant["spare"], grant["refresh_token"] = grant["refresh_token"], "00000000-0000-4000-8000-000000000000"
			record.Value, err = json.Marshal(grant)
			require.NoError(t, err)
			_, err = db.CompareAndSwap(t.Context(), key, record.Revision, record.Value, 0)
			require.NoError(t, err)
		}
		time.Sleep(3 * time.Hour)
		var failed atomic.Bool
		sim.Inject(smartcartest.Fault{Path: "/oauth/token", Times: -1, Match: func(*http.Request) bool {
			db.load = func(string) error {
				if failed.Swap(true) {
					return nil
				}
				return errStoreDown
			}
			return false
		}})
		_, err = v.Odometer(t.Context())
		require.ErrorIs(t, err, smartcar.ErrStore)
		require.NotErrorIs(t, err, smartcar.ErrReconnectRequired)
		requireLoggedIn(t, v)
	})
}

// The lease, and with it how long a login hangs on a process that is gone,
// follows the grace.
func TestRefreshGraceScalesTheLease(t *testing.T) {
	for _, grace := range []time.Duration{4 * time.Second, time.Minute, 8 * time.Minute} {
		t.Run(grace.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sim := smartcartest.New(smartcartest.WithRefreshGrace(grace))
				db := smartcar.WithStore(store.NewMemory())
				healthy, user := connected(t, sim, db, smartcar.WithRefreshGrace(grace))
				dying := newClientOver(t, sim, dyingTransport(sim), db, smartcar.WithRefreshGrace(grace))
				time.Sleep(3 * time.Hour)
				var died sync.WaitGroup
				died.Go(func() { _, _ = dying.User(user.ID()).Vehicle(smartcartest.MachE).Odometer(t.Context()) })
				died.Wait()
				began := time.Now()
				v := healthy.User(user.ID()).Vehicle(smartcartest.MachE)
				_, err := v.Odometer(t.Context())
				require.NoError(t, err)
				require.WithinDuration(t, began.Add(grace/4), time.Now(), grace/100)
				requireLoggedIn(t, v)

				began = time.Now()
				sim.Inject(smartcartest.Fault{Path: "/oauth/token", Latency: time.Hour, Times: -1})
				_, err = v.Odometer(t.Context())
				require.Error(t, err)
				require.WithinDuration(t, began.Add(grace/2), time.Now(), grace/20, "three requests of a sixth of the grace")
			})
		})
	}
}

// One process after the other dies of the same refresh: the third is in time.
func TestLoginSurvivesTwoKillsInARow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		db := smartcar.WithStore(store.NewMemory())
		healthy, user := connected(t, sim, db)
		time.Sleep(time.Hour)
		var once sync.Once
		sim.Inject(smartcartest.Fault{Path: "/odometer", Times: -1, Match: func(*http.Request) bool {
			once.Do(sim.ExpireAccessTokens)
			return false
		}})
		poll := func(client *smartcar.Client) {
			time.Sleep(300 * time.Millisecond) // to start again takes a moment
			for range 55 {
				_, _ = client.User(user.ID()).Vehicle(smartcartest.ModelY).Odometer(t.Context())
				time.Sleep(time.Second)
			}
		}
		for range 2 {
			client := newClientOver(t, sim, dyingTransport(sim), db)
			var died sync.WaitGroup
			died.Go(func() { poll(client) })
			died.Wait()
		}
		require.Equal(t, 3, sim.TokenRequests())
		poll(healthy)
		require.Empty(t, sim.BrokenWindows(smartcartest.ModelY))
		requireLoggedIn(t, user.Vehicle(smartcartest.MachE))
	})
}

// A program that starts while the lease of a dead one lasts, and only renews
// what is due, saves the login all the same.
func TestRenewFinishesWhatAKilledProcessBegan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		db := smartcar.WithStore(store.NewMemory())
		healthy, user := connected(t, sim, db)
		dying := newClientOver(t, sim, dyingTransport(sim), db)
		time.Sleep(time.Hour)
		var died sync.WaitGroup
		died.Go(func() { _ = dying.User(user.ID()).Renew(t.Context(), 60*24*time.Hour) })
		died.Wait()
		require.NoError(t, healthy.User(user.ID()).Renew(t.Context(), 7*24*time.Hour))
		require.Equal(t, 3, sim.TokenRequests())
		time.Sleep(2 * time.Minute)
		require.NoError(t, healthy.User(user.ID()).Renew(t.Context(), 7*24*time.Hour))
		require.Equal(t, 3, sim.TokenRequests(), "nothing was due")
		requireLoggedIn(t, user.Vehicle(smartcartest.MachE))
	})
}

// All answers to a renewal are lost: the next call tries again, though the access
// token is good for another hour.
func TestRenewalThatGotNoAnswerIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		client, user := connected(t, sim)
		v := user.Vehicle(smartcartest.MachE)
		time.Sleep(time.Hour)
		sim.Inject(smartcartest.Fault{Path: "/oauth/token", DropAfter: true, Times: 3})
		require.ErrorIs(t, user.Renew(t.Context(), 60*24*time.Hour), smartcar.ErrUnavailable)
		_, err := v.Odometer(t.Context())
		require.NoError(t, err)
		require.Equal(t, 5, sim.TokenRequests())
		time.Sleep(10 * time.Minute)
		requireLoggedIn(t, client.User(user.ID()).Vehicle(smartcartest.MachE))
	})
}

// When it is too late to try again, a good access token is used as ever.
func TestUnfinishedRefreshIsForgottenAfterTheGrace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		db := newSpoiledStore()
		_, user := connected(t, sim, smartcar.WithStore(db))
		time.Sleep(time.Hour)
		sim.Inject(smartcartest.Fault{Path: "/oauth/token", DropBefore: true, Times: 3})
		require.ErrorIs(t, user.Renew(t.Context(), 60*24*time.Hour), smartcar.ErrUnavailable)
		time.Sleep(2 * time.Minute)
		v := user.Vehicle(smartcartest.MachE)
		_, err := v.Odometer(t.Context())
		require.NoError(t, err)
		require.Equal(t, 1, sim.TokenRequests())
		db.load = func(key string) error {
			if strings.HasPrefix(key, "grant/") {
				return errStoreDown
			}
			return nil
		}
		_, err = v.Odometer(t.Context())
		require.NoError(t, err, "the token is in memory again")
	})
}

// A store that is away for a moment is waited for: the new pair exists nowhere
// else, and the process may be killed next.
func TestNewPairWaitsForTheStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		db := newSpoiledStore()
		client, user := connected(t, sim, smartcar.WithStore(db))
		v := user.Vehicle(smartcartest.MachE)
		_, err := v.Odometer(t.Context())
		require.NoError(t, err)
		time.Sleep(3 * time.Hour)
		sim.Inject(smartcartest.Fault{Path: "/oauth/token", Match: func(*http.Request) bool {
			back := time.Now().Add(4 * time.Second)
			db.load = func(string) error {
				if time.Now().Before(back) {
					return errStoreDown
				}
				return nil
			}
			return true
		}})
		_, err = v.Odometer(t.Context())
		require.NoError(t, err)
		require.Equal(t, 2, sim.TokenRequests())
		time.Sleep(2 * time.Minute)
		requireLoggedIn(t, client.User(user.ID()).Vehicle(smartcartest.MachE))
	})
}

// Two answers get lost, the third says that the refresh token is void: the
// spare that stands in the store is still to be tried.
func TestSpareRefreshTokenIsTriedAfterTheLastTry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		db := newSpoiledStore()
		_, user := connected(t, sim, smartcar.WithStore(db))
		var key string
		for _, k := range db.live(t) {
			if strings.HasPrefix(k, "grant/") {
				key = k
			}
		}
		r, err := db.Load(t.Context(), key)
		require.NoError(t, err)
		var grant map[string]any
		require.NoError(t, json.Unmarshal(r.Value, &grant))
		grant["spare"], grant["refresh_token"] = grant["refresh_token"], "00000000-0000-4000-8000-000000000000"
		value, err := json.Marshal(grant)
		require.NoError(t, err)
		_, err = db.CompareAndSwap(t.Context(), key, r.Revision, value, 0)
		require.NoError(t, err)

		time.Sleep(3 * time.Hour)
		sim.Inject(smartcartest.Fault{Path: "/oauth/token", DropBefore: true, Times: 2})
		_, err = user.Vehicle(smartcartest.MachE).Odometer(t.Context())
		if err != nil {
			require.NotErrorIs(t, err, smartcar.ErrReconnectRequired)
		}
		requireLoggedIn(t, user.Vehicle(smartcartest.MachE))
	})
}
