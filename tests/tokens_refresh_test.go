package smartcar_test

import (
	"context"
	"net/http"
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

func TestAccessTokenIsRenewedAMinuteBeforeItsEnd(t *testing.T) {
	offsets := []time.Duration{-11 * time.Second, -10 * time.Second, -time.Second, -1, 0, 1, time.Second, 10 * time.Second, 11 * time.Second}
	for _, from := range []time.Duration{accessLife - tokenSkew, accessLife} {
		for _, offset := range offsets {
			at := from + offset
			t.Run(at.String(), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					sim := smartcartest.New()
					_, user := connected(t, sim)
					time.Sleep(at)
					_, err := user.Vehicle(smartcartest.MachE).Odometer(t.Context())
					require.NoError(t, err)
					refreshes := 0
					if at >= accessLife-tokenSkew {
						refreshes = 1
					}
					require.Equal(t, 1+refreshes, sim.TokenRequests())
					requireNoExpiredToken(t, sim)
				})
			})
		}
	}
}

// odometerCall reads the odometer, for allOf.
func odometerCall(t *testing.T, v *smartcar.Vehicle) func(int) error {
	return func(int) error { _, err := v.Odometer(t.Context()); return err }
}

func TestManyCallersRefreshOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		_, user := connected(t, sim)
		v := user.Vehicle(smartcartest.MachE)
		_, err := v.Odometer(t.Context())
		require.NoError(t, err)
		time.Sleep(3 * time.Hour)
		sim.Inject(smartcartest.Fault{Path: "/oauth/token", LatencyAfter: time.Second})
		for _, err := range allOf(50, odometerCall(t, v)) {
			require.NoError(t, err)
		}
		require.Equal(t, 2, sim.TokenRequests())
		requireNoExpiredToken(t, sim)
	})
}

// A token endpoint that is down is asked by one caller for all, and nobody
// queues behind the failures of others.
func TestManyCallersFailTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		_, user := connected(t, sim)
		v := user.Vehicle(smartcartest.MachE)
		_, err := v.Odometer(t.Context())
		require.NoError(t, err)
		time.Sleep(3 * time.Hour)
		sim.Inject(smartcartest.Fault{Path: "/oauth/token", Latency: time.Hour, Times: -1})
		began := time.Now()
		for _, err := range allOf(50, odometerCall(t, v)) {
			require.Error(t, err)
			require.NotErrorIs(t, err, smartcar.ErrReconnectRequired)
		}
		require.Less(t, time.Since(began), 5*time.Minute)
		require.LessOrEqual(t, len(statuses(sim, "/oauth/token")), 12)
		sim.ClearFaults()
		requireLoggedIn(t, v)
	})
}

func TestReplicasRefreshOnce(t *testing.T) {
	for name, behind := range map[string]time.Duration{
		"same clock": 0, "clocks a little apart": 50 * time.Millisecond, "clocks apart": 2 * time.Second,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sim := smartcartest.New()
				db := smartcar.WithStore(slowStore{store.NewMemory()})
				late := new(steppingClock)
				late.stepBack(behind)
				first, user := connected(t, sim, db)
				second := newClient(t, sim, db, smartcar.WithClock(late))
				_, err := user.Vehicle(smartcartest.MachE).Odometer(t.Context())
				require.NoError(t, err)
				time.Sleep(3 * time.Hour)
				sim.Inject(smartcartest.Fault{Path: "/oauth/token", LatencyAfter: 5 * time.Second})
				var replicas sync.WaitGroup
				for i, client := range []*smartcar.Client{first, second} {
					replicas.Go(func() {
						time.Sleep(time.Duration(i) * 100 * time.Millisecond)
						for _, err := range allOf(10, odometerCall(t, client.User(user.ID()).Vehicle(smartcartest.MachE))) {
							require.NoError(t, err)
						}
					})
				}
				replicas.Wait()
				require.Equal(t, 2, sim.TokenRequests())
				requireLoggedIn(t, user.Vehicle(smartcartest.MachE))
			})
		})
	}
}

func TestSameRefreshTokenIsTriedAgainWhenTheAnswerIsLost(t *testing.T) {
	for name, lost := range map[string]smartcartest.Fault{
		"connection broken": {DropAfter: true},
		"answer cut":        {Malformed: true},
		"proxy's page":      {Status: 502, AfterProcessing: true},
		"no answer in time": {LatencyAfter: time.Hour},
		"never arrived":     {DropBefore: true},
	} {
		for _, times := range []int{1, 2} {
			t.Run(name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					sim := smartcartest.New()
					watch := &tokenWatch{RoundTripper: sim.Transport()}
					client := newClientOver(t, sim, watch)
					v := client.User(connect(t, sim, client).UserID).Vehicle(smartcartest.MachE)
					time.Sleep(3 * time.Hour)
					lost.Path, lost.Times = "/oauth/token", times
					sim.Inject(lost)
					began := time.Now()
					_, err := v.Odometer(t.Context())
					require.NoError(t, err)
					require.Less(t, time.Since(began), 45*time.Second, "well inside the grace of a minute")
					sent := watch.refreshes()
					require.Len(t, sent, times+1)
					for _, token := range sent {
						require.Equal(t, sent[0], token)
					}
					requireLoggedIn(t, v)
				})
			})
		}
	}
}

func TestLoginSurvivesAProcessKilledBetweenAnswerAndStore(t *testing.T) {
	for _, who := range []string{"another replica", "the same process", "a waiter of the same process"} {
		t.Run(who, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sim := smartcartest.New()
				db := smartcar.WithStore(store.NewMemory())
				healthy, user := connected(t, sim, db)
				dying := newClientOver(t, sim, dyingTransport(sim), db)
				time.Sleep(3 * time.Hour)
				sim.Inject(smartcartest.Fault{Path: "/oauth/token", LatencyAfter: time.Second})

				began := time.Now()
				var died sync.WaitGroup
				died.Go(func() {
					_, _ = dying.User(user.ID()).Vehicle(smartcartest.MachE).Odometer(t.Context())
					t.Error("the process was to die")
				})
				successor := healthy
				switch who {
				case "the same process":
					died.Wait()
					successor = dying
				case "a waiter of the same process":
					synctest.Wait()
					successor = dying
				default:
					died.Wait()
				}
				_, err := successor.User(user.ID()).Vehicle(smartcartest.MachE).Odometer(t.Context())
				require.NoError(t, err)
				died.Wait()
				require.Less(t, time.Since(began), 30*time.Second)
				require.Equal(t, 3, sim.TokenRequests())
				requireLoggedIn(t, user.Vehicle(smartcartest.MachE))
			})
		})
	}
}

// While a pair is not stored it is not used, and the login survives the time
// for which it cannot be.
func TestPairIsStoredBeforeItIsUsed(t *testing.T) {
	for name, outage := range map[string]time.Duration{
		"one write": 0, "half a minute": 30 * time.Second, "longer than the old refresh token is honored": 10 * time.Minute,
		"longer than the new access token lives": 3 * time.Hour,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sim := smartcartest.New()
				db := newSpoiledStore()
				_, user := connected(t, sim, smartcar.WithStore(db))
				v := user.Vehicle(smartcartest.MachE)
				_, err := v.Odometer(t.Context())
				require.NoError(t, err)
				time.Sleep(3 * time.Hour)

				until := time.Now().Add(outage)
				failed := false
				db.before = func(key string, value []byte) error {
					isPair := strings.HasPrefix(key, "grant/") && !strings.Contains(string(value), "lease_id")
					if !isPair || failed && !time.Now().Before(until) {
						return nil
					}
					failed = true
					return errStoreDown
				}
				sent := len(sim.Ledger(smartcartest.MachE))
				_, err = v.Odometer(t.Context())
				if outage > 0 {
					require.ErrorIs(t, err, smartcar.ErrStore)
					require.Len(t, sim.Ledger(smartcartest.MachE), sent, "the pair was used, but is not stored")
				}
				require.True(t, failed)
				time.Sleep(time.Until(until) + time.Second)
				requireLoggedIn(t, v)
				requireNoExpiredToken(t, sim)
			})
		})
	}
}

// stalling suspends the process during its first refresh, beyond every
// deadline: before the request leaves, or when the answer has come.
func stalling(sim *smartcartest.Server, before, after time.Duration) *tokenWatch {
	w := &tokenWatch{RoundTripper: sim.Transport()}
	var stalled atomic.Bool
	w.token = func(r *http.Request) (*http.Response, error) {
		if stalled.Swap(true) {
			return w.RoundTripper.RoundTrip(r)
		}
		time.Sleep(before)
		resp, err := w.RoundTripper.RoundTrip(r.WithContext(context.WithoutCancel(r.Context())))
		time.Sleep(after)
		return resp, err
	}
	return w
}

// Of two pairs that one refresh token was traded for, Smartcar honors the one
// it gave last: whoever comes late must neither end the login nor store a pair
// that is dead, nor drop the one that lives.
func TestRefreshTokenRotatedByAnotherReplicaIsNotTheEnd(t *testing.T) {
	for name, stall := range map[string]struct{ before, after time.Duration }{
		"sent late, the old one is still honored": {before: 20 * time.Second},
		"sent late, the old one is refused":       {before: 90 * time.Second},
		"stored late":                             {after: 20 * time.Second},
		"stored very late":                        {after: 90 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sim := smartcartest.New()
				db := smartcar.WithStore(store.NewMemory())
				healthy, user := connected(t, sim, db)
				suspended := newClientOver(t, sim, stalling(sim, stall.before, stall.after), db)
				time.Sleep(3 * time.Hour)
				var late sync.WaitGroup
				late.Go(func() {
					_, err := suspended.User(user.ID()).Vehicle(smartcartest.MachE).Odometer(t.Context())
					require.NoError(t, err)
				})
				synctest.Wait()
				_, err := healthy.User(user.ID()).Vehicle(smartcartest.MachE).Odometer(t.Context())
				require.NoError(t, err)
				late.Wait()
				requireLoggedIn(t, suspended.User(user.ID()).Vehicle(smartcartest.MachE))
				requireLoggedIn(t, healthy.User(user.ID()).Vehicle(smartcartest.MachE))
			})
		})
	}
}

func TestCallerWhoLeavesDuringTheRefreshCostsNobodyTheTokens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		_, user := connected(t, sim)
		v := user.Vehicle(smartcartest.MachE)
		_, err := v.Odometer(t.Context())
		require.NoError(t, err)
		time.Sleep(3 * time.Hour)
		sim.Inject(smartcartest.Fault{Path: "/oauth/token", LatencyAfter: 5 * time.Second})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		var callers sync.WaitGroup
		callers.Go(func() {
			_, err := v.Odometer(ctx)
			require.ErrorIs(t, err, context.DeadlineExceeded)
			require.NotErrorIs(t, err, smartcar.ErrReconnectRequired)
		})
		synctest.Wait()
		callers.Go(func() {
			_, err := v.Odometer(t.Context())
			require.NoError(t, err)
		})
		callers.Go(func() { // a waiter who leaves is not held back by the refresh
			began := time.Now()
			_, err := v.Odometer(ctx)
			require.ErrorIs(t, err, context.DeadlineExceeded)
			require.LessOrEqual(t, time.Since(began), time.Second)
		})
		callers.Wait()
		require.Equal(t, 2, sim.TokenRequests())
		requireLoggedIn(t, v)
	})
}
