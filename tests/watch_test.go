package smartcar_test

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/smartcartest"
	"github.com/stretchr/testify/require"
)

// watchFor notes when Watch yields for a while, and whether with an error.
func watchFor(t *testing.T, v *smartcar.Vehicle, d time.Duration) (snapshots []time.Time, failed []error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	for s, err := range v.Watch(ctx, smartcar.Battery, smartcar.Odometer) {
		if err != nil {
			require.Nil(t, s)
			failed = append(failed, err)
			continue
		}
		_, err = s.Battery()
		require.NoError(t, err)
		snapshots = append(snapshots, time.Now())
	}
	return snapshots, failed
}

// requireEach takes the jitter of a watch into account: up to a twentieth, never sooner.
func requireEach(t *testing.T, at []time.Time, pace time.Duration) {
	t.Helper()
	for i := 1; i < len(at); i++ {
		require.GreaterOrEqual(t, at[i].Sub(at[i-1]), pace)
		require.LessOrEqual(t, at[i].Sub(at[i-1]), pace+pace/20)
	}
}

func TestPaceOfWatch(t *testing.T) {
	for name, tt := range map[string]struct {
		id   string
		opts []smartcar.CallOption
		pace time.Duration
	}{
		"a paired streaming Tesla":            {smartcartest.Model3, nil, 3 * time.Minute},
		"a paired streaming Tesla, as wanted": {smartcartest.Model3, []smartcar.CallOption{smartcar.Every(10 * time.Minute)}, 10 * time.Minute},
		"another make":                        {smartcartest.MachE, nil, 30 * time.Minute},
		"another make, as wanted":             {smartcartest.MachE, []smartcar.CallOption{smartcar.Every(2 * time.Minute)}, 2 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sim := smartcartest.New()
				_, user := connected(t, sim)
				at, failed := watchFor(t, user.Vehicle(tt.id).With(tt.opts...), 6*time.Hour+time.Second)
				require.LessOrEqual(t, len(at), int(6*time.Hour/tt.pace)+1)
				require.GreaterOrEqual(t, len(at), int(6*time.Hour/(tt.pace+tt.pace/20))+1)
				requireEach(t, at, tt.pace)
				require.Len(t, failed, 1)
				require.ErrorIs(t, failed[0], context.DeadlineExceeded)
				require.Equal(t, len(at), countedData(sim, tt.id), "one request each")
			})
		})
	}
}

func TestWatchOfAKeylessCar(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		_, user := connected(t, sim)
		began := time.Now()
		at, failed := watchFor(t, user.Vehicle(smartcartest.ModelY), 7*day+time.Minute)
		require.Len(t, failed, 1, "waiting is no error")
		require.Len(t, at, 22)
		for i, at := range at {
			require.WithinDuration(t, began.Add(time.Duration(i)*window), at, time.Minute)
		}
		require.Equal(t, len(at), countedData(sim, smartcartest.ModelY))
		require.Empty(t, sim.BrokenWindows(smartcartest.ModelY))
	})
}

// Whenever the owner pairs the car, the next snapshot comes with the next look at
// the key, and the ones after it at the pace of a paired car. The looks come ever
// more rarely.
func TestWatchNoticesPairing(t *testing.T) {
	for after, noticed := range map[time.Duration]time.Duration{
		time.Minute:               5 * time.Minute,
		16 * time.Minute:          20 * time.Minute,
		3*time.Hour + time.Minute: 5*time.Hour + 20*time.Minute,
		7*time.Hour + time.Minute: 29*time.Hour + 20*time.Minute,
		30 * time.Hour:            29*time.Hour + 20*time.Minute + 5*day,
		29*day + 20*time.Minute:   31*day + 5*time.Hour + 20*time.Minute,
	} {
		t.Run(after.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sim := smartcartest.New()
				_, user := connected(t, sim)
				paired := time.Now().Add(after)
				go func() { time.Sleep(after); _ = sim.Pair(smartcartest.ModelY) }()
				at, failed := watchFor(t, user.Vehicle(smartcartest.ModelY), noticed+5*time.Hour)
				require.Len(t, failed, 1)
				var since []time.Time
				began := paired.Add(-after)
				for _, at := range at {
					if at.After(began.Add(noticed - time.Minute)) {
						since = append(since, at)
					}
				}
				require.Greater(t, len(since), 50)
				require.WithinDuration(t, began.Add(noticed), since[0], 10*time.Second)
				requireEach(t, since, 3*time.Minute)
				require.Empty(t, sim.BrokenWindows(smartcartest.ModelY))
			})
		})
	}
}

func TestWatchGoesOnAfterWhatMayPass(t *testing.T) {
	for name, tt := range map[string]struct {
		fault smartcartest.Fault
		want  error
	}{
		"proxy":         {smartcartest.Fault{Status: 502, Times: 3}, smartcar.ErrUnavailable},
		"maker's cloud": {smartcartest.Fault{ErrorType: "UPSTREAM", ErrorCode: "NO_RESPONSE", Times: 3}, smartcar.ErrUnavailable},
		"asleep":        {smartcartest.Fault{ErrorType: "VEHICLE_STATE", ErrorCode: "ASLEEP"}, smartcar.ErrAsleep},
		"vehicle limit": {smartcartest.Fault{ErrorType: "RATE_LIMIT", ErrorCode: "VEHICLE"}, smartcar.ErrRateLimited},
		"account":       {smartcartest.Fault{ErrorType: "CONNECTED_SERVICES_ACCOUNT", ErrorCode: "SUBSCRIPTION"}, smartcar.ErrAccount},
		"no JSON":       {smartcartest.Fault{Status: 200, Body: "<html>"}, smartcar.ErrUnexpectedAnswer},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sim := smartcartest.New()
				_, user := connected(t, sim)
				tt.fault.Path = "/batch"
				sim.Inject(tt.fault)
				at, failed := watchFor(t, user.Vehicle(smartcartest.MachE), 2*time.Hour-time.Minute)
				require.Len(t, failed, 2, "the failure and the end")
				require.ErrorIs(t, failed[0], tt.want)
				require.ErrorIs(t, failed[1], context.DeadlineExceeded)
				require.GreaterOrEqual(t, len(at), 3)
			})
		})
	}
}

func TestWatchEndsWithWhatWillNotPass(t *testing.T) {
	fault := func(f smartcartest.Fault) func(*smartcartest.Server) {
		f.Path, f.Times = "/odometer", -1
		return func(sim *smartcartest.Server) { sim.Inject(f) }
	}
	for name, tt := range map[string]struct {
		spoil func(*smartcartest.Server)
		want  error
	}{
		"billing":         {fault(smartcartest.Fault{ErrorType: "BILLING", ErrorCode: "INVALID_PLAN"}), smartcar.ErrBilling},
		"permission":      {fault(smartcartest.Fault{ErrorType: "PERMISSION"}), smartcar.ErrPermission},
		"not capable":     {fault(smartcartest.Fault{ErrorType: "COMPATIBILITY", ErrorCode: "VEHICLE_NOT_CAPABLE"}), smartcar.ErrNotSupported},
		"re-authenticate": {fault(smartcartest.Fault{ErrorType: "CONNECTED_SERVICES_ACCOUNT", ErrorCode: "AUTHENTICATION_FAILED"}), smartcar.ErrReauthenticate},
		"reconnect":       {(*smartcartest.Server).RevokeGrants, smartcar.ErrReconnectRequired},
		"disconnected":    {func(sim *smartcartest.Server) { sim.Disconnect(smartcartest.MachE) }, smartcar.ErrUnauthorized},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sim := smartcartest.New()
				_, user := connected(t, sim)
				go func() { time.Sleep(45 * time.Minute); tt.spoil(sim) }()
				ctx, cancel := context.WithTimeout(t.Context(), day)
				defer cancel()
				began := time.Now()
				var yielded []error
				for _, err := range user.Vehicle(smartcartest.MachE).Watch(ctx, smartcar.Odometer) {
					yielded = append(yielded, err)
				}
				require.Len(t, yielded, 3)
				require.NoError(t, errors.Join(yielded[:2]...))
				require.ErrorIs(t, yielded[2], tt.want)
				require.GreaterOrEqual(t, time.Since(began), time.Hour)
				require.LessOrEqual(t, time.Since(began), time.Hour+3*time.Minute)
			})
		})
	}
}

// What one operation of several meets is in the snapshot, and no end.
func TestWatchGoesOnBesideARefusedOperation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		_, user := connected(t, sim)
		require.NoError(t, sim.SetPermissions(smartcartest.MachE, "read_vehicle_info", "read_battery"))
		at, failed := watchFor(t, user.Vehicle(smartcartest.MachE), 2*time.Hour-time.Minute)
		require.Len(t, at, 4)
		require.Len(t, failed, 1)
	})
}

func TestWatchEndsWithTheLoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		_, user := connected(t, sim)
		v := user.Vehicle(smartcartest.MachE)
		watch := v.Watch(t.Context(), smartcar.Odometer)
		require.Zero(t, countedData(sim, v.ID()), "nothing is asked before the loop")
		for range 2 { // each loop is a new one
			n := 0
			for _, err := range watch {
				require.NoError(t, err)
				if n++; n == 3 {
					break
				}
			}
		}
		require.Equal(t, 6, countedData(sim, v.ID()))
		requests := len(sim.Requests())
		time.Sleep(day)
		require.Len(t, sim.Requests(), requests)

		sim.Inject(smartcartest.Fault{Path: "/odometer", Status: http.StatusBadGateway, Times: -1})
		for _, err := range watch {
			require.Error(t, err)
			break // from an error, too
		}
	})
}

func TestWatchEndsWithTheContext(t *testing.T) {
	errGone := errors.New("the program ends")
	for name, after := range map[string]time.Duration{"before it begins": 0, "while it reads": time.Second, "while it waits": 20 * time.Minute} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sim := smartcartest.New()
				_, user := connected(t, sim)
				sim.Inject(smartcartest.Fault{Path: "/odometer", Latency: 5 * time.Second})
				ctx, cancel := context.WithCancelCause(t.Context())
				defer cancel(nil)
				if after == 0 {
					cancel(errGone)
				}
				began := time.Now()
				go func() { time.Sleep(after); cancel(errGone) }()
				var last error
				n := 0
				for s, err := range user.Vehicle(smartcartest.MachE).Watch(ctx, smartcar.Odometer) {
					n++
					if last = err; err != nil {
						require.Nil(t, s)
					}
				}
				require.ErrorIs(t, last, errGone)
				require.ErrorIs(t, last, context.Canceled)
				require.Equal(t, after, time.Since(began))
				require.LessOrEqual(t, n, 2)
			})
		})
	}
}

// Wait returns when the car is worth asking, and never asks it.
func TestWaitReturnsAtTheRightTime(t *testing.T) {
	for name, tt := range map[string]struct {
		id       string
		from, to time.Duration
	}{
		"a paired streaming Tesla": {smartcartest.Model3, 0, 0},
		"another make":             {smartcartest.MachE, 0, 0},
		"without the key":          {smartcartest.ModelY, window, window + time.Second},
		"legacy, awake":            {smartcartest.ModelS2018, time.Second, 5*time.Minute + 15*time.Second},
		"legacy, asleep":           {smartcartest.ModelX2020, 5 * time.Minute, 5*time.Minute + 15*time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sim := smartcartest.New()
				_, user := connected(t, sim)
				v := user.Vehicle(tt.id)
				require.NoError(t, v.Wait(t.Context()))
				_, err := v.Odometer(t.Context())
				require.NoError(t, err)
				began := time.Now()
				require.NoError(t, v.Wait(t.Context()))
				require.GreaterOrEqual(t, time.Since(began), tt.from)
				require.LessOrEqual(t, time.Since(began), tt.to)
				require.Equal(t, 1, countedData(sim, tt.id))
				again, err := v.Odometer(t.Context())
				require.NoError(t, err)
				require.Equal(t, smartcar.SourceLive, again.Source)
			})
		})
	}
}

func TestWaitNoticesPairing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		_, user := connected(t, sim)
		v := user.Vehicle(smartcartest.ModelY)
		_, err := v.Odometer(t.Context())
		require.NoError(t, err)
		began := time.Now()
		go func() { time.Sleep(3 * time.Hour); _ = sim.Pair(smartcartest.ModelY) }()
		require.NoError(t, v.Wait(t.Context()))
		require.WithinDuration(t, began.Add(5*time.Hour+20*time.Minute), time.Now(), 10*time.Second)
		_, err = v.Odometer(t.Context())
		require.NoError(t, err)
	})
}

func TestWaitEndsWithTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, user := connected(t, smartcartest.New())
		v := user.Vehicle(smartcartest.ModelY)
		_, err := v.Odometer(t.Context())
		require.NoError(t, err)
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		began := time.Now()
		require.ErrorIs(t, v.Wait(ctx), context.DeadlineExceeded)
		require.Equal(t, time.Hour, time.Since(began))
	})
}

// A watch goes at the car's own pace, on signals too.
func TestWatchOnV3(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		user := onV3(t, sim)
		at, _ := watchFor(t, user.Vehicle(smartcartest.ModelY), 25*time.Hour)
		require.Len(t, at, 4)
		require.Empty(t, sim.BrokenWindows(smartcartest.ModelY))
	})
}

// A webhook event is yielded at once, without a request, and while webhooks bring what is
// wanted, nothing is read.
func TestWatchIsWokenByWebhooks(t *testing.T) {
	for _, api := range []smartcar.API{smartcar.V2, smartcar.V3} {
		t.Run(string(api), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sim := smartcartest.New()
				client := apiClient(t, sim, api)
				user := client.User(connect(t, sim, client).UserID)
				codes := []string{"tractionbattery-stateofcharge", "tractionbattery-range", "odometer-traveleddistance"}
				hook := hookUp(t, sim, receiverOf(t, client, nil), smartcartest.Webhook{Triggers: codes, Data: codes})
				v := user.Vehicle(smartcartest.Model3)
				require.NoError(t, v.Subscribe(t.Context(), hook))
				hooks, stop := context.WithCancel(t.Context())
				defer stop()
				go func() { _ = sim.RunWebhooks(hooks, 10*time.Second) }()
				at, failed := watchFor(t, v, 6*time.Hour)
				require.Len(t, failed, 1)
				require.Greater(t, len(at), 20)
				require.Less(t, countedData(sim, v.ID()), len(at)/4)
			})
		})
	}
}

// A watch keeps within the month.
func TestWatchSpreadsTheMonth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		_, user := connected(t, sim, budgetOf(500, 50))
		at, failed := watchFor(t, user.Vehicle(smartcartest.Model3), 31*day)
		require.Len(t, failed, 1, "%v", failed)
		require.Greater(t, len(at), 200, "two calls each")
		spent := 0
		for _, e := range sim.Ledger(smartcartest.Model3) {
			spent += max(len(e.Items), 1)
		}
		require.LessOrEqual(t, spent, 450)
		require.Greater(t, spent, 430)
		require.InDelta(t, 15.5*24, at[len(at)/2].Sub(at[0]).Hours(), 2*24)
	})
}
