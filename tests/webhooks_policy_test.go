package smartcar_test

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/signals"
	"github.com/seed-498a1bc4/smartcar/smartcartest"
	"github.com/seed-498a1bc4/smartcar/store"
	"github.com/stretchr/testify/require"
)

// On API v3 the signals of an event are answers: for a car that is refreshed at
// a fixed pace they spare the request.
func TestWebhookSignalsAreAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		client, user := connectedV3(t, sim)
		receiver := hookReceiver(t, client, smartcar.WebhookOptions{}, nil)
		ctx, legacy := t.Context(), user.Vehicle(smartcartest.ModelS2018)
		time.Sleep(time.Hour)
		sentAt := time.Now()
		read := odometerOf(4321)
		read[signals.TractionBatteryStateOfCharge] = value(44, "percent")
		require.Equal(t, 200, send(t, receiver, pushed("1", user, legacy.ID(), 10*time.Second, read).body(t)))
		odometer, err := legacy.Odometer(ctx)
		require.NoError(t, err)
		require.Equal(t, smartcar.SourceWebhook, odometer.Source)
		require.False(t, odometer.Stale)
		require.InDelta(t, 4321, *odometer.Distance, 0)
		require.Equal(t, sentAt.Add(-10*time.Second).UTC(), odometer.RecordedAt)
		require.Equal(t, sentAt.Add(-5*time.Second).UTC(), odometer.FetchedAt)
		miles, err := legacy.With(smartcar.InUnits(smartcar.Imperial)).Odometer(ctx)
		require.NoError(t, err)
		require.Equal(t, smartcar.SourceWebhook, miles.Source)
		require.InDelta(t, 2684.945, *miles.Distance, 0.001)
		require.Zero(t, countedData(sim, legacy.ID()))
		access, err := legacy.Access(ctx)
		require.NoError(t, err)
		require.Equal(t, smartcar.ClassLegacy, access.Class)
		require.Equal(t, smartcar.Awake, access.Wake)
		require.Equal(t, sentAt.Add(-10*time.Second+5*time.Minute+15*time.Second).UTC(), access.NextRead)

		// Half of a battery is none: the range is not among the signals.
		battery, err := legacy.Battery(ctx)
		require.NoError(t, err)
		require.Equal(t, smartcar.SourceLive, battery.Source)
		require.NotNil(t, battery.Range)
		require.Equal(t, 1, countedData(sim, legacy.ID()))

		// Another user of the same car has been told nothing.
		other := client.User("somebody-else").Vehicle(legacy.ID())
		_, err = other.With(smartcar.AllowStale()).Odometer(ctx)
		require.Error(t, err)

		// When the next beat is due, the car is asked.
		time.Sleep(time.Until(access.NextRead))
		odometer, err = legacy.Odometer(ctx)
		require.NoError(t, err)
		require.Equal(t, smartcar.SourceLive, odometer.Source)
	})
}

// An event that came minutes late, since its first attempts failed, is as old as
// what it says: by now there may be something new.
func TestWebhookThatCameLateSparesNoRequest(t *testing.T) {
	for _, undated := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			sim := smartcartest.New()
			client, user := connectedV3(t, sim)
			fails := true
			receiver := hookReceiver(t, client, smartcar.WebhookOptions{}, func(context.Context, *smartcar.WebhookEvent) error {
				if fails {
					return errOfTheApp
				}
				return nil
			})
			ctx, legacy := t.Context(), user.Vehicle(smartcartest.ModelS2018)
			time.Sleep(time.Hour)
			e := pushed("1", user, legacy.ID(), 3*time.Minute, odometerOf(4321))
			if undated {
				e.Fetched = time.Time{}
				require.Equal(t, 500, send(t, receiver, e.body(t))) // it is known since when it came first
			}
			body := e.body(t)
			time.Sleep(3 * time.Minute)
			fails = false
			require.Equal(t, 200, send(t, receiver, body))
			odometer, err := legacy.Odometer(ctx)
			require.NoError(t, err)
			require.Equal(t, smartcar.SourceLive, odometer.Source)
			require.Greater(t, *odometer.Distance, 4321.0)
		})
	}
}

// What arrives late is not taken for news: neither by the kept answers, nor by
// what is known of the car.
func TestWebhooksNeverGoBackInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		client, user := connectedV3(t, sim)
		receiver := hookReceiver(t, client, smartcar.WebhookOptions{}, nil)
		ctx, car := t.Context(), user.Vehicle(smartcartest.ModelY)
		time.Sleep(time.Hour)
		asleep := func(km float64, is bool) map[signals.Code]any {
			s := odometerOf(km)
			s[signals.ConnectivityStatusIsAsleep] = map[string]any{"value": is}
			s[signals.ConnectivityStatusIsDigitalKeyPaired] = map[string]any{"value": !is}
			return s
		}
		newest := pushed("new", user, car.ID(), time.Minute, asleep(200, true))
		for _, e := range []stateEvent{
			pushed("older", user, car.ID(), 3*time.Minute, asleep(100, false)), newest,
			pushed("late", user, car.ID(), 2*time.Minute, asleep(150, false)),
			pushed("late and alone", user, car.ID(), 2*time.Minute, odometerOf(160)),
		} {
			require.Equal(t, 200, send(t, receiver, e.body(t)))
		}
		access, err := car.Access(ctx)
		require.NoError(t, err)
		require.Equal(t, smartcar.Asleep, access.Wake)
		require.Equal(t, smartcar.KeyMissing, access.Key.State)
		require.Equal(t, newest.Recorded.Truncate(time.Millisecond).UTC(), access.Key.At)
		require.Equal(t, smartcar.KeyFromWebhook, access.Key.Source)

		time.Sleep(2 * time.Minute) // for those who have not heard yet that the key is gone
		_, _ = car.Odometer(ctx)    // takes the turn
		time.Sleep(time.Second)
		sim.Inject(smartcartest.Fault{Times: -1, Status: 500, Match: func(r *http.Request) bool { return r.Method == http.MethodGet }})
		last := pushed("last", user, car.ID(), 0, odometerOf(300))
		last.Fetched = time.Now()
		require.Equal(t, 200, send(t, receiver, last.body(t)))
		odometer, err := car.With(smartcar.AllowStale()).Odometer(ctx)
		require.NoError(t, err)
		require.Equal(t, smartcar.SourceWebhook, odometer.Source)
		require.False(t, odometer.Stale, "pushed after the turn")
		require.InDelta(t, 300, *odometer.Distance, 0, "newer than what was read")
		late := pushed("too late", user, car.ID(), 30*time.Second, odometerOf(250))
		require.Equal(t, 200, send(t, receiver, late.body(t)))
		odometer, err = car.With(smartcar.AllowStale()).Odometer(ctx)
		require.NoError(t, err)
		require.InDelta(t, 300, *odometer.Distance, 0)

		// A command may have changed what was said before it.
		require.NoError(t, sim.Pair(car.ID()))
		sim.ClearFaults()
		time.Sleep(time.Second)
		before := pushed("before the command", user, car.ID(), 0, odometerOf(310))
		before.Fetched = time.Now()
		time.Sleep(time.Second)
		_, err = car.With(smartcar.IgnorePolicy()).Lock(ctx)
		require.NoError(t, err)
		require.Equal(t, 200, send(t, receiver, before.body(t)))
		require.NoError(t, car.SetKeyState(ctx, smartcar.KeyMissing))
		_, err = car.With(smartcar.AllowStale()).Odometer(ctx)
		require.ErrorIs(t, err, smartcar.ErrRateLimited, "nothing is kept from before the command")
	})
}

// That a car sleeps is known from its own signal, from the error, and from how
// old its data is.
func TestWebhooksTellWhetherACarSleeps(t *testing.T) {
	bothAPIs(t, func(t *testing.T, sim *smartcartest.Server, client *smartcar.Client, user *smartcar.User) {
		ctx, car := t.Context(), user.Vehicle(smartcartest.Model3)
		hook := hookUp(t, sim, receiverOf(t, client, nil), smartcartest.Webhook{Triggers: []string{"closure-islocked"}})
		require.NoError(t, sim.Wake(car.ID()))
		require.NoError(t, car.Subscribe(ctx, hook))
		wake := func() smartcar.Wakefulness {
			access, err := car.Access(ctx)
			require.NoError(t, err)
			return access.Wake
		}
		deliver(t, sim)
		require.Equal(t, smartcar.Awake, wake())
		time.Sleep(time.Minute)
		require.NoError(t, sim.VehicleError(car.ID(), "VEHICLE_STATE", "ASLEEP", false))
		deliver(t, sim)
		require.Equal(t, smartcar.Asleep, wake())
		require.NoError(t, sim.VehicleError(car.ID(), "VEHICLE_STATE", "ASLEEP", true))
		deliver(t, sim)
		require.Equal(t, smartcar.Awake, wake())
		for _, other := range []string{"UNREACHABLE", "REMOTE_ACCESS_DISABLED"} {
			require.NoError(t, sim.VehicleError(car.ID(), "VEHICLE_STATE", other, false))
		}
		require.NoError(t, sim.VehicleError(car.ID(), "CONNECTED_SERVICES_ACCOUNT", "AUTHENTICATION_FAILED", false))
		deliver(t, sim)
		require.Equal(t, smartcar.Awake, wake())
		_, err := car.Odometer(ctx)
		require.NoError(t, err, "an error that a webhook tells of is not the end of the connection")
	})
}

// A car that was never subscribed has nothing stored; the first event ends that.
func TestWebhookEndsThatNothingIsStored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New(garageEach(func(c *smartcartest.Car) { c.NeverSubscribed = true }))
		client, user := connectedV3(t, sim)
		ctx, car := t.Context(), user.Vehicle(smartcartest.Model3)
		_, err := car.Odometer(ctx)
		require.ErrorIs(t, err, smartcar.ErrNotFound)
		access, err := car.Access(ctx)
		require.NoError(t, err)
		require.True(t, access.NothingStored)
		require.NoError(t, car.Subscribe(ctx, hookUp(t, sim, receiverOf(t, client, nil), smartcartest.Webhook{})))
		time.Sleep(time.Minute)
		deliver(t, sim)
		access, err = car.Access(ctx)
		require.NoError(t, err)
		require.False(t, access.NothingStored)
		_, err = car.Odometer(ctx)
		require.NoError(t, err)
	})
}

// The test button tells of no real car; nor does the policy learn about people
// nobody knows.
func TestWebhooksThatTeachNothing(t *testing.T) {
	bothAPIs(t, func(t *testing.T, sim *smartcartest.Server, client *smartcar.Client, user *smartcar.User) {
		ctx, car := t.Context(), user.Vehicle(smartcartest.Model3)
		handed := 0
		receiver := receiverOf(t, client, func(context.Context, *smartcar.WebhookEvent) error { handed++; return nil })
		hook := hookUp(t, sim, receiver, smartcartest.Webhook{Triggers: []string{"odometer-traveleddistance"}})
		_, err := sim.TestWebhook(ctx, hook, car.ID())
		require.NoError(t, err)
		require.Equal(t, 1, handed)
		access, err := car.Access(ctx)
		require.NoError(t, err)
		require.Equal(t, smartcar.WakeUnknown, access.Wake)
	})
	t.Run("strangers", func(t *testing.T) {
		for _, api := range []smartcar.API{smartcar.V2, smartcar.V3} {
			synctest.Test(t, func(t *testing.T) {
				db := store.NewMemory()
				sim := smartcartest.New()
				receiver := hookReceiver(t, apiClient(t, sim, api, smartcar.WithStore(db)), smartcar.WebhookOptions{}, nil)
				require.Equal(t, 200, send(t, receiver, []byte(readFixture(t, "webhooks/vehicle-error.virtual-key-required").Request.Body)))
				require.Equal(t, 200, send(t, receiver, []byte(readFixture(t, "webhooks/v2.scheduled.errors").Request.Body)))
				for _, key := range []string{"car/" + fixtureVehicle, "user/" + fixtureUser, "user/", "car/vehicle-2"} {
					_, err := db.Load(t.Context(), key)
					require.ErrorIs(t, err, store.ErrNotFound, key)
				}
			})
		}
	})
	t.Run("who were forgotten", func(t *testing.T) {
		for _, version := range []string{"2.0", "4.0", "4.0 on API v3"} {
			synctest.Test(t, func(t *testing.T) {
				sim, db, api := smartcartest.New(), store.NewMemory(), smartcar.V2
				version, onV3 := strings.CutSuffix(version, " on API v3")
				if onV3 {
					api = smartcar.V3
				}
				client := apiClient(t, sim, api, smartcar.WithStore(db))
				user := client.User(connect(t, sim, client).UserID)
				ctx, open, closed := t.Context(), user.Vehicle(smartcartest.Model3), user.Vehicle(smartcartest.ModelY)
				hook := hookUp(t, sim, receiverOf(t, client, nil), smartcartest.Webhook{Version: version})
				for _, car := range []*smartcar.Vehicle{open, closed} {
					require.NoError(t, car.Subscribe(ctx, hook))
					_, _ = car.Odometer(ctx)
				}
				require.NoError(t, user.Forget(ctx))
				before, err := db.Load(ctx, "car/"+closed.ID())
				require.NoError(t, err, "the window that protects the car")
				require.NotEmpty(t, deliver(t, sim))
				after, err := db.Load(ctx, "car/"+closed.ID())
				require.NoError(t, err)
				if version == "2.0" {
					require.Equal(t, before.Revision, after.Revision)
				}
				for _, key := range []string{"car/" + open.ID(), "user/" + user.ID(), "answers/" + open.ID()} {
					_, err = db.Load(ctx, key)
					require.ErrorIs(t, err, store.ErrNotFound, key)
				}
				time.Sleep(9 * time.Hour)
				_, err = db.Load(ctx, "car/"+closed.ID())
				require.ErrorIs(t, err, store.ErrNotFound, "gone when it is over")
			})
		}
	})
}

// Webhooks of version 2.0 teach the policy, too, about cars that it knows.
func TestWebhookReadingsTeachThePolicy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		client, user := connected(t, sim)
		ctx, car := t.Context(), user.Vehicle(smartcartest.Model3)
		_, err := car.Odometer(ctx)
		require.NoError(t, err)
		require.NoError(t, car.Subscribe(ctx, hookUp(t, sim, receiverOf(t, client, nil), smartcartest.Webhook{Version: "2.0"})))
		require.NoError(t, sim.Unpair(car.ID()))
		time.Sleep(time.Second)
		deliver(t, sim)
		access, err := car.Access(ctx)
		require.NoError(t, err)
		require.Equal(t, smartcar.KeyMissing, access.Key.State)
		require.Equal(t, smartcar.KeyFromWebhook, access.Key.Source)
	})
}

// The signal counts for the key unless the application has said that it must
// not; that it cannot be told over a webhook says nothing where it can be asked.
func TestWebhookKeySignal(t *testing.T) {
	read := odometerOf(1)
	read[signals.ConnectivityStatusIsDigitalKeyPaired] = map[string]any{"value": false}
	for name, tt := range map[string]struct {
		opts []smartcar.Option
		want smartcar.KeyState
	}{
		"counts":  {nil, smartcar.KeyMissing},
		"ignored": {[]smartcar.Option{smartcar.WithoutKeySignal()}, smartcar.KeyUnknown},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client, user := connectedV3(t, smartcartest.New(), tt.opts...)
				receiver := hookReceiver(t, client, smartcar.WebhookOptions{}, nil)
				car := user.Vehicle(smartcartest.ModelY)
				require.Equal(t, 200, send(t, receiver, pushed("1", user, car.ID(), time.Minute, read).body(t)))
				status, err := car.KeyStatus(t.Context())
				require.NoError(t, err)
				require.Equal(t, tt.want, status.State)
			})
		})
	}
	t.Run("not needed on v2.0", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			client, user := connected(t, smartcartest.New(), smartcar.WithoutKeySignal())
			receiver := hookReceiver(t, client, smartcar.WebhookOptions{}, nil)
			car := user.Vehicle(smartcartest.ModelY)
			require.Equal(t, 200, send(t, receiver, pushed("1", user, car.ID(), time.Minute, read).body(t)))
			access, err := car.Access(t.Context())
			require.NoError(t, err)
			require.Equal(t, smartcar.KeyMissing, access.Key.State)
			require.Equal(t, smartcar.KeyFromEndpoint, access.Key.Source)
		})
	})
}

// Each event carries all data signals: one that met the missing key before the
// key's own signal was told is no news.
func TestWebhookOldKeyErrorBesideANewerPairing(t *testing.T) {
	for failedAgo, want := range map[time.Duration]smartcar.KeyState{time.Hour: smartcar.KeyInstalled, time.Minute: smartcar.KeyMissing} {
		synctest.Test(t, func(t *testing.T) {
			sim := smartcartest.New()
			client, user := connectedV3(t, sim)
			receiver := hookReceiver(t, client, smartcar.WebhookOptions{}, nil)
			ago := func(d time.Duration) int64 { return time.Now().Add(-d).UnixMilli() }
			body, err := json.Marshal(map[string]any{
				"eventId": "1", "eventType": "VEHICLE_STATE", "meta": map[string]any{"version": "4.0", "webhookId": "hook", "mode": "LIVE", "sequence": 9},
				"data": map[string]any{
					"user":    map[string]any{"id": user.ID()},
					"vehicle": map[string]any{"id": smartcartest.ModelY, "make": "TESLA", "model": "Model Y", "year": 2022, "mode": "live"},
					"signals": []any{
						map[string]any{
							"code": "closure-islocked", "meta": map[string]any{"retrievedAt": ago(failedAgo)},
							"status": map[string]any{"value": "ERROR", "error": map[string]any{"type": "CONNECTED_SERVICES_ACCOUNT", "code": "VIRTUAL_KEY_REQUIRED"}},
						},
						map[string]any{
							"code": "connectivitystatus-isdigitalkeypaired", "body": map[string]any{"value": true}, "status": map[string]any{"value": "SUCCESS"},
							"meta": map[string]any{"oemUpdatedAt": ago(10 * time.Minute), "retrievedAt": ago(9 * time.Minute)},
						},
					},
				},
			})
			require.NoError(t, err)
			require.Equal(t, 200, send(t, receiver, body))
			access, err := user.Vehicle(smartcartest.ModelY).Access(t.Context())
			require.NoError(t, err)
			require.Equal(t, want, access.Key.State)
		})
	}
}

// A connection that has ended takes its answers along, also those that are on
// their way in an event, to whichever replica.
func TestWebhookAfterDisconnect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		db := store.NewMemory()
		client, user := connectedV3(t, sim, smartcar.WithStore(db), smartcar.WithStoredAnswers(smartcar.StoredAnswers{}))
		other := newClientV3(t, sim, smartcar.WithStore(db), smartcar.WithStoredAnswers(smartcar.StoredAnswers{}))
		car := user.Vehicle(smartcartest.ModelS2018)
		_, err := car.Odometer(t.Context())
		require.NoError(t, err)
		late := pushed("1", user, car.ID(), 10*time.Second, odometerOf(4321)).body(t)
		time.Sleep(time.Second)
		require.NoError(t, car.Disconnect(t.Context()))
		time.Sleep(time.Second)
		require.Equal(t, 200, send(t, hookReceiver(t, other, smartcar.WebhookOptions{}, nil), late))
		for _, c := range []*smartcar.Client{client, other} {
			_, err = c.User(user.ID()).Vehicle(car.ID()).With(smartcar.AllowStale()).Odometer(t.Context())
			require.Error(t, err)
		}
	})
}

// An event has an error for each signal, and may say of one that it has ended and of another
// that it has begun. Then the key is missing, in whatever order they stand, and from when the
// event came: also where the clock of the store is ahead, by which it was signed long ago.
func TestEventWhoseErrorsContradictEachOther(t *testing.T) {
	keyError := func(state string) map[string]any {
		return map[string]any{"type": "CONNECTED_SERVICES_ACCOUNT", "code": "VIRTUAL_KEY_REQUIRED", "state": state}
	}
	began, resolved := keyError(smartcar.EventErrorBegan), keyError(smartcar.EventErrorResolved)
	asks := map[string]any{
		"code": signals.TractionBatteryStateOfCharge, "name": "StateOfCharge", "group": "TractionBattery",
		"status": map[string]any{"value": "ERROR", "error": map[string]any{"type": "CONNECTED_SERVICES_ACCOUNT", "code": "VIRTUAL_KEY_REQUIRED"}},
	}
	for name, data := range map[string]map[string]any{
		"ended, begun": {"errors": []any{resolved, began}}, "begun, ended": {"errors": []any{began, resolved}},
		"ended, and a signal asks for the key": {"errors": []any{resolved}, "signals": []any{asks}},
	} {
		for _, ahead := range []time.Duration{0, time.Hour} {
			t.Run(name+", ahead "+ahead.String(), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					db := newSteppingStore(store.NewMemory())
					db.step(ahead)
					client, user := connectedV3(t, smartcartest.New(), smartcar.WithStore(db))
					car := user.Vehicle(smartcartest.Model3)
					_, err := car.Battery(t.Context())
					require.NoError(t, err)
					time.Sleep(time.Minute)
					data["user"], data["vehicle"] = map[string]any{"id": user.ID()}, map[string]any{"id": car.ID(), "make": "TESLA", "mode": "live"}
					body, err := json.Marshal(map[string]any{
						"eventId": "1", "eventType": "VEHICLE_ERROR", "data": data,
						"meta": map[string]any{"version": "4.0", "webhookId": "hook", "mode": "LIVE", "sequence": 1, "deliveredAt": time.Now().UnixMilli()},
					})
					require.NoError(t, err)
					require.Equal(t, 200, send(t, hookReceiver(t, client, smartcar.WebhookOptions{}, nil), body))
					access, err := car.Access(t.Context())
					require.NoError(t, err)
					require.Equal(t, smartcar.KeyMissing, access.Key.State)
				})
			})
		}
	}
}
