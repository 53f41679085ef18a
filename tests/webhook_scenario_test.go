package smartcar_test

import (
	"context"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/smartcartest"
	"github.com/seed-498a1bc4/smartcar/store"
	"github.com/stretchr/testify/require"
)

// bothAPIs runs a test in a bubble on either version of the API, with a
// connected owner.
func bothAPIs(t *testing.T, test func(t *testing.T, sim *smartcartest.Server, client *smartcar.Client, user *smartcar.User), opts ...smartcar.Option) {
	t.Helper()
	for name, begin := range map[string]func(testing.TB, *smartcartest.Server, ...smartcar.Option) (*smartcar.Client, *smartcar.User){
		"v2.0": connected, "v3": connectedV3,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sim := smartcartest.New()
				client, user := begin(t, sim, opts...)
				test(t, sim, client, user)
			})
		})
	}
}

// hookUp makes a webhook that a client receives.
func hookUp(t testing.TB, sim *smartcartest.Server, receiver http.Handler, w smartcartest.Webhook) (id string) {
	t.Helper()
	w.CallbackURL, w.Handler = "https://example.com/hook", receiver
	id, err := sim.AddWebhook(t.Context(), w)
	require.NoError(t, err)
	return id
}

func receiverOf(t testing.TB, client *smartcar.Client, handle func(context.Context, *smartcar.WebhookEvent) error) *smartcar.WebhookReceiver {
	t.Helper()
	receiver, err := client.WebhookReceiver(smartcar.WebhookOptions{}, handle)
	require.NoError(t, err)
	return receiver
}

// deliver sends what is due, all of which has to be taken.
func deliver(t testing.TB, sim *smartcartest.Server) (sent []smartcartest.Delivery) {
	t.Helper()
	sent, err := sim.Deliver(t.Context())
	require.NoError(t, err)
	for _, d := range sent {
		require.True(t, d.Succeeded(), "%s: %d %v", d.EventType, d.Status, d.Err)
	}
	return sent
}

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
