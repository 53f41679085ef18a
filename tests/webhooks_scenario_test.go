package smartcar_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/signals"
	"github.com/seed-498a1bc4/smartcar/smartcartest"
	"github.com/seed-498a1bc4/smartcar/store"
	"github.com/stretchr/testify/require"
)

// An owner adds the key while the car's window is closed: the webhook opens it
// at once. And the reverse: once the key is gone, commands are refused with the
// link, and data is rationed again.
func TestWebhookOpensAndClosesTheGate(t *testing.T) {
	bothAPIs(t, func(t *testing.T, sim *smartcartest.Server, client *smartcar.Client, user *smartcar.User) {
		ctx, car := t.Context(), user.Vehicle(smartcartest.ModelY)
		var types []smartcar.EventType
		hook := hookUp(t, sim, receiverOf(t, client, func(_ context.Context, e *smartcar.WebhookEvent) error {
			types = append(types, e.Type)
			return nil
		}), smartcartest.Webhook{})
		require.NoError(t, car.Subscribe(ctx, hook))
		deliver(t, sim)
		require.Equal(t, []smartcar.EventType{smartcar.EventVehicleError}, types)
		status, err := car.KeyStatus(ctx)
		require.NoError(t, err)
		require.Equal(t, smartcar.KeyMissing, status.State)

		_, _ = car.Odometer(ctx) // the one read of the window
		for range 3 {
			time.Sleep(5 * time.Minute)
			_, err = car.Odometer(ctx)
			require.ErrorIs(t, err, smartcar.ErrRateLimited)
		}
		asked := countedData(sim, car.ID())
		require.Equal(t, 1, asked)

		require.NoError(t, sim.Pair(car.ID()))
		time.Sleep(time.Second)
		deliver(t, sim)
		require.Equal(t, []smartcar.EventType{smartcar.EventVehicleError, smartcar.EventVehicleError, smartcar.EventVehicleState}, types)
		odometer, err := car.Odometer(ctx)
		require.NoError(t, err)
		require.Equal(t, smartcar.SourceLive, odometer.Source)
		require.Equal(t, asked+1, countedData(sim, car.ID()))
		access, err := car.Access(ctx)
		require.NoError(t, err)
		require.Equal(t, smartcar.KeyInstalled, access.Key.State)
		require.Equal(t, smartcar.ClassStreaming, access.Class)
		require.False(t, access.NeedsKey)
		require.False(t, access.NothingStored)
		require.Equal(t, smartcar.Awake, access.Wake)

		time.Sleep(time.Hour)
		require.NoError(t, sim.Unpair(car.ID()))
		deliver(t, sim)
		access, err = car.Access(ctx)
		require.NoError(t, err)
		require.Equal(t, smartcar.KeyMissing, access.Key.State)
		require.Equal(t, smartcar.KeyFromWebhook, access.Key.Source)
		require.True(t, access.NeedsKey)
		_, err = car.Lock(ctx)
		var required *smartcar.VirtualKeyRequiredError
		require.ErrorAs(t, err, &required)
		require.True(t, required.Local)
		_, _ = car.Odometer(ctx)
		time.Sleep(5 * time.Minute)
		_, err = car.Odometer(ctx)
		require.ErrorIs(t, err, smartcar.ErrRateLimited)
		require.Empty(t, sim.BrokenWindows(car.ID()))
	})
}

// WaitForKey ends by a webhook that another replica got, without a status read.
func TestWaitForKeyEndsByAWebhookElsewhere(t *testing.T) {
	for name, begin := range map[string]func(testing.TB, *smartcartest.Server, ...smartcar.Option) *smartcar.Client{"v2.0": newClient, "v3": newClientV3} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sim, db := smartcartest.New(), store.NewMemory()
				first, replica := begin(t, sim, smartcar.WithStore(db)), begin(t, sim, smartcar.WithStore(db))
				user := first.User(connect(t, sim, first).UserID)
				car := user.Vehicle(smartcartest.ModelY)
				hook := hookUp(t, sim, receiverOf(t, replica, nil), smartcartest.Webhook{Triggers: []string{"charge-ischarging"}, Data: []string{"odometer-traveleddistance"}})
				require.NoError(t, car.Subscribe(t.Context(), hook))
				deliver(t, sim)
				var reads int
				var paired time.Time
				go func() {
					time.Sleep(50*time.Minute + time.Second)
					reads = len(statusReads(sim))
					_ = sim.Pair(car.ID())
					paired = time.Now()
					_, _ = sim.Deliver(t.Context())
				}()
				status, err := car.WaitForKey(t.Context())
				require.NoError(t, err)
				require.Equal(t, smartcar.KeyInstalled, status.State)
				require.Equal(t, smartcar.KeyFromWebhook, status.Source)
				require.LessOrEqual(t, time.Since(paired), 3*time.Second)
				require.Len(t, statusReads(sim), reads)
			})
		})
	}
}

// The key is gone and back, but the words arrive the other way round, late and
// twice: the last word counts.
func TestWebhooksInTheWrongOrder(t *testing.T) {
	bothAPIs(t, func(t *testing.T, sim *smartcartest.Server, client *smartcar.Client, user *smartcar.User) {
		ctx, car := t.Context(), user.Vehicle(smartcartest.ModelY)
		hook := hookUp(t, sim, receiverOf(t, client, nil), smartcartest.Webhook{Reverse: true, Duplicate: true, Data: []string{"odometer-traveleddistance"}})
		require.NoError(t, car.Subscribe(ctx, hook))
		for range 3 {
			deliver(t, sim)
			require.NoError(t, sim.VehicleError(car.ID(), "CONNECTED_SERVICES_ACCOUNT", "VIRTUAL_KEY_REQUIRED", false))
			require.NoError(t, sim.VehicleError(car.ID(), "CONNECTED_SERVICES_ACCOUNT", "VIRTUAL_KEY_REQUIRED", true))
			require.Len(t, deliver(t, sim), 4)
			access, err := car.Access(ctx)
			require.NoError(t, err)
			require.Equal(t, smartcar.KeyInstalled, access.Key.State)
			time.Sleep(time.Minute)
			require.NoError(t, sim.VehicleError(car.ID(), "CONNECTED_SERVICES_ACCOUNT", "VIRTUAL_KEY_REQUIRED", true))
			require.NoError(t, sim.VehicleError(car.ID(), "CONNECTED_SERVICES_ACCOUNT", "VIRTUAL_KEY_REQUIRED", false))
			deliver(t, sim)
			access, err = car.Access(ctx)
			require.NoError(t, err)
			require.Equal(t, smartcar.KeyMissing, access.Key.State)
			time.Sleep(time.Minute)
		}
	})
}

// Every shape that the simulator can send does the same.
func TestWebhookVariantsTeachTheSame(t *testing.T) {
	for name, variants := range map[string]smartcartest.WebhookVariants{
		"none":          {},
		"data triggers": {DataTriggers: true},
		"fetched at":    {FetchedAt: true},
		"iso times":     {ISOTimes: true},
		"epoch verify":  {EpochVerify: true},
		"swapped mode":  {SwappedMode: true},
		"sparse":        {Sparse: true},
		"state errors":  {StateErrors: true},
		"all":           {DataTriggers: true, FetchedAt: true, ISOTimes: true, EpochVerify: true, SwappedMode: true, Sparse: true, StateErrors: true},
	} {
		t.Run(name, func(t *testing.T) {
			bothAPIs(t, func(t *testing.T, sim *smartcartest.Server, client *smartcar.Client, user *smartcar.User) {
				ctx, car := t.Context(), user.Vehicle(smartcartest.ModelY)
				var last *smartcar.WebhookEvent
				hook := hookUp(t, sim, receiverOf(t, client, func(_ context.Context, e *smartcar.WebhookEvent) error {
					last = e
					return nil
				}), smartcartest.Webhook{Variants: variants})
				require.NoError(t, car.Subscribe(ctx, hook))
				deliver(t, sim)
				access, err := car.Access(ctx)
				require.NoError(t, err)
				require.Equal(t, smartcar.KeyMissing, access.Key.State)
				time.Sleep(time.Second)
				require.NoError(t, sim.Pair(car.ID()))
				deliver(t, sim)
				access, err = car.Access(ctx)
				require.NoError(t, err)
				require.Equal(t, smartcar.KeyInstalled, access.Key.State)
				require.Equal(t, smartcar.KeyFromWebhook, access.Key.Source)
				require.Equal(t, smartcar.Awake, access.Wake)
				require.True(t, last.FirstDelivery)
				require.Equal(t, car.ID(), last.VehicleID)
				require.Equal(t, user.ID(), last.UserID)
				require.Equal(t, "live", last.Mode)
				require.Zero(t, countedData(sim, car.ID()), "nobody asked the car")
			})
		})
	}
}

// Ten thousand deliveries, a fifth of them duplicates, in no order, from eight
// at once to two handlers over one store: each event is handed over once, and
// what is known in the end is what the car said last.
func TestWebhookDeliveriesInAnyOrder(t *testing.T) {
	const deliveries, cars = 10_000, 20
	sim := smartcartest.New()
	db := store.NewMemory()
	// Every read meets Smartcar's own limit: a client has nothing but what it keeps.
	limited := &wireTap{next: sim.Transport(), instead: onlyTo("/signals", func(sentRequest) *http.Response {
		answer := respond(429, `{"errors":[{"type":"RATE_LIMIT","code":"SMARTCAR_API","status":"429"}]}`)
		answer.Header.Set("Retry-After", "3600")
		return answer
	})}
	var clients []*smartcar.Client
	var receivers []*smartcar.WebhookReceiver
	var mu sync.Mutex
	handed := make(map[string]int)
	for range 2 {
		client := newClientV3(t, sim, smartcar.WithStore(db), smartcar.WithStoredAnswers(smartcar.StoredAnswers{}),
			smartcar.WithHTTPClient(&http.Client{Transport: limited}))
		clients = append(clients, client)
		receivers = append(receivers, hookReceiver(t, client, smartcar.WebhookOptions{}, func(_ context.Context, e *smartcar.WebhookEvent) error {
			mu.Lock()
			defer mu.Unlock()
			handed[e.EventID]++
			return nil
		}))
	}
	user := connect(t, sim, clients[0]).UserID
	// Events of a car come in pairs that were recorded at the same time: the
	// sequence tells which of the two is newer.
	began := time.Now().Add(-24 * time.Hour).Truncate(time.Second)
	events := make([][]byte, 0, deliveries)
	last := make([]float64, cars)
	for i := range deliveries * 4 / 5 {
		car, n := i%cars, i/cars
		last[car] = float64(n) / 10
		at := began.Add(time.Duration(n/2) * time.Minute)
		events = append(events, stateEvent{
			ID: fmt.Sprintf("event-%d", i), User: user, Vehicle: fmt.Sprintf("car-%d", car), Make: "TESLA", Model: "Model S", Year: 2018,
			Recorded: at, Fetched: at.Add(time.Second), Sequence: int64(n + 1),
			Signals: map[signals.Code]any{signals.OdometerTraveledDistance: map[string]any{"value": last[car], "unit": "km"}},
		}.body(t))
	}
	distinct := len(events)
	for len(events) < deliveries {
		events = append(events, events[rand.N(distinct)])
	}
	rand.Shuffle(len(events), func(i, j int) { events[i], events[j] = events[j], events[i] })

	var next atomic.Int64
	var work sync.WaitGroup
	var failed atomic.Int64
	for range 8 {
		work.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= len(events) {
					return
				}
				if send(t, receivers[rand.N(2)], events[i]) != 200 {
					failed.Add(1)
				}
			}
		})
	}
	work.Wait()
	require.Zero(t, failed.Load())
	require.Len(t, handed, distinct)
	for id, times := range handed {
		require.Equal(t, 1, times, id)
	}
	for car, want := range last {
		for _, client := range clients {
			odometer, err := client.User(user).Vehicle(fmt.Sprintf("car-%d", car)).With(smartcar.AllowStale()).Odometer(t.Context())
			require.NoError(t, err)
			require.Equal(t, smartcar.SourceWebhook, odometer.Source)
			require.InDelta(t, want, *odometer.Distance, 0)
		}
	}
}

// The signature covers no time: a delivery that is sent again when it is no
// longer remembered tells of the past.
func TestWebhookReplayAfterItWasForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		client, user := connectedV3(t, sim)
		receiver := hookReceiver(t, client, smartcar.WebhookOptions{Remember: time.Hour}, nil)
		car := user.Vehicle(smartcartest.ModelY)
		key := func() smartcar.KeyStatus {
			access, err := car.Access(t.Context())
			require.NoError(t, err)
			return access.Key
		}
		resolved := keyError(t, "1", user.ID(), car.ID(), "RESOLVED", nil)
		require.Equal(t, 200, send(t, receiver, resolved))
		require.Equal(t, smartcar.KeyInstalled, key().State)
		time.Sleep(time.Minute)
		require.Equal(t, 200, send(t, receiver, keyError(t, "2", user.ID(), car.ID(), "ERROR", nil)))
		missing := key()
		require.Equal(t, smartcar.KeyMissing, missing.State)
		time.Sleep(2 * time.Hour)
		require.Equal(t, 200, send(t, receiver, resolved))
		require.Equal(t, missing, key())
	})
}
