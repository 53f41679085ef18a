package smartcar_test

import (
	"context"
	"fmt"
	"iter"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/signals"
	"github.com/seed-498a1bc4/smartcar/smartcartest"
	"github.com/stretchr/testify/require"
)

// addWebhooks makes webhooks whose receiver answers as told, and nothing else.
func addWebhooks(t testing.TB, sim *smartcartest.Server, ids ...string) {
	t.Helper()
	for _, id := range ids {
		_, err := sim.AddWebhook(t.Context(), smartcartest.Webhook{
			ID: id, Name: "Webhook " + id, CallbackURL: "https://example.com/" + id + "?secret=hunter2",
			Triggers: []string{"charge-ischarging"}, Data: []string{"tractionbattery-stateofcharge"},
			Handler: http.NotFoundHandler(),
		})
		require.ErrorContains(t, err, "404") // not verified: it can be subscribed to all the same
	}
}

func TestSubscribeAndUnsubscribe(t *testing.T) {
	for _, api := range []string{"v2", "v3"} {
		t.Run(api, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sim := smartcartest.New()
				addWebhooks(t, sim, "hook-1", "hook-2")
				connect := connected
				if api == "v3" {
					connect = connectedV3
				}
				_, user := connect(t, sim)
				v3 := newClientV3(t, sim)
				ctx, car := t.Context(), user.Vehicle(smartcartest.ModelY)
				for range 2 { // what is there already is no error
					require.NoError(t, car.Subscribe(ctx, "hook-1"))
				}
				require.NoError(t, car.Subscribe(ctx, "hook-2"))
				require.NoError(t, user.Vehicle(smartcartest.MachE).Subscribe(ctx, "hook-1"))

				got := gather(t, v3.Subscriptions(ctx, smartcar.SubscriptionFilter{VehicleID: car.ID(), WebhookID: "hook-1"}))
				require.Len(t, got, 1)
				require.Equal(t, smartcar.Subscription{
					ID: got[0].ID, WebhookID: "hook-1", UserID: user.ID(), VehicleID: car.ID(), Mode: "live",
					Make: "TESLA", Model: "Model Y", Year: got[0].Year, Powertrain: "BEV",
					CreatedAt: got[0].CreatedAt, UpdatedAt: got[0].UpdatedAt,
				}, got[0])
				require.NotEmpty(t, got[0].ID)
				require.NotZero(t, got[0].Year)
				require.Equal(t, time.Now().UTC(), got[0].CreatedAt)
				one, err := v3.Subscription(ctx, got[0].ID)
				require.NoError(t, err)
				require.Equal(t, &got[0], one)

				for range 2 { // what is gone already is no error
					require.NoError(t, car.Unsubscribe(ctx, "hook-1"))
				}
				require.Empty(t, gather(t, v3.Subscriptions(ctx, smartcar.SubscriptionFilter{VehicleID: car.ID(), WebhookID: "hook-1"})))
				require.Len(t, gather(t, v3.Subscriptions(ctx, smartcar.SubscriptionFilter{})), 2, "nothing else ended")
				require.Zero(t, countedData(sim, car.ID()), "it takes no turn")
			})
		})
	}
}

func TestDeleteSubscription(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		addWebhooks(t, sim, "hook-1")
		client, user := connectedV3(t, sim)
		ctx := t.Context()
		require.NoError(t, user.Vehicle(smartcartest.ModelY).Subscribe(ctx, "hook-1"))
		all := gather(t, client.Subscriptions(ctx, smartcar.SubscriptionFilter{UserID: user.ID()}))
		require.Len(t, all, 1)
		for range 2 {
			require.NoError(t, client.DeleteSubscription(ctx, all[0].ID))
		}
		_, err := client.Subscription(ctx, all[0].ID)
		require.ErrorIs(t, err, smartcar.ErrNotFound)
	})
}

func TestSubscribeToWhatIsNotThere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		_, user := connectedV3(t, sim)
		require.ErrorIs(t, user.Vehicle(smartcartest.ModelY).Subscribe(t.Context(), "nobody's"), smartcar.ErrNotFound)
		require.NoError(t, user.Vehicle(smartcartest.ModelY).Unsubscribe(t.Context(), "nobody's"))
	})
}

func TestWebhooksOfTheApplication(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		client := newClientV3(t, sim)
		var ids []string
		for i := range 123 { // more than a page
			ids = append(ids, fmt.Sprintf("hook-%03d", i))
		}
		addWebhooks(t, sim, ids...)
		ctx := t.Context()
		require.Len(t, gather(t, client.Webhooks(ctx, smartcar.WebhookFilter{})), 123)
		got := gather(t, client.Webhooks(ctx, smartcar.WebhookFilter{Name: "HOOK-007", Enabled: new(true), AutoSubscribe: new(false)}))
		require.Len(t, got, 1)
		require.Equal(t, smartcar.Webhook{
			ID: "hook-007", Name: "Webhook hook-007", CallbackURL: "https://example.com/hook-007?secret=hunter2", Enabled: true,
			Triggers: []signals.Code{signals.ChargeIsCharging}, Data: []signals.Code{signals.TractionBatteryStateOfCharge},
			CreatedAt: time.Now().UTC(),
		}, got[0])
		one, err := client.Webhook(ctx, "hook-007")
		require.NoError(t, err)
		require.Equal(t, &got[0], one)
		for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
			require.NotContains(t, fmt.Sprintf(verb, got[0]), "hunter2")
			require.NotContains(t, fmt.Sprintf(verb, got), "hunter2")
			require.Contains(t, fmt.Sprintf(verb, one), "hook-007")
		}
		require.Empty(t, gather(t, client.Webhooks(ctx, smartcar.WebhookFilter{Enabled: new(false)})))
		require.Empty(t, gather(t, client.Webhooks(ctx, smartcar.WebhookFilter{AutoSubscribe: new(true)})))
		require.Len(t, gather(t, client.Webhooks(ctx, smartcar.WebhookFilter{CallbackURL: "EXAMPLE.com/hook-12"})), 3)
		_, err = client.Webhook(ctx, "nobody's")
		require.ErrorIs(t, err, smartcar.ErrNotFound)
	})
}

// The list of webhooks is there on API v3 only; so is each subscription.
func TestWebhooksNeedV3(t *testing.T) {
	client := newClient(t, smartcartest.New())
	ctx := t.Context()
	for name, call := range map[string]func(context.Context) error{
		"Webhook":            func(ctx context.Context) error { _, err := client.Webhook(ctx, "x"); return err },
		"Subscription":       func(ctx context.Context) error { _, err := client.Subscription(ctx, "x"); return err },
		"DeleteSubscription": func(ctx context.Context) error { return client.DeleteSubscription(ctx, "x") },
		"Webhooks":           func(ctx context.Context) error { return firstError(client.Webhooks(ctx, smartcar.WebhookFilter{})) },
		"Subscriptions": func(ctx context.Context) error {
			return firstError(client.Subscriptions(ctx, smartcar.SubscriptionFilter{}))
		},
	} {
		t.Run(name, func(t *testing.T) { require.ErrorIs(t, call(ctx), smartcar.ErrNotSupported) })
	}
}

// firstError is the error that a list begins with, nil if it begins with a value.
func firstError[T any](list iter.Seq2[T, error]) error {
	for _, err := range list {
		return err
	}
	return nil
}

func TestSubscribeRefusesBadArguments(t *testing.T) {
	sim := smartcartest.New()
	clients := map[string]*smartcar.Client{"v2": newClient(t, sim), "v3": newClientV3(t, sim)}
	for api, client := range clients {
		before := len(sim.Requests())
		car := client.User("user").Vehicle("car")
		for _, id := range []string{"", "..", "a\nb"} {
			require.ErrorIs(t, car.Subscribe(t.Context(), id), smartcar.ErrInvalidArgument, api)
			require.ErrorIs(t, car.Unsubscribe(t.Context(), id), smartcar.ErrInvalidArgument, api)
		}
		require.ErrorIs(t, client.User("user").Vehicle("").Subscribe(t.Context(), "x"), smartcar.ErrInvalidArgument)
		require.ErrorIs(t, car.Subscribe(noContext(), "x"), smartcar.ErrInvalidArgument)
		require.Len(t, sim.Requests(), before)
	}
	require.ErrorIs(t, clients["v3"].User("").Vehicle("car").Subscribe(t.Context(), "x"), smartcar.ErrInvalidArgument)
	require.ErrorIs(t, clients["v3"].User("").Vehicle("car").Unsubscribe(t.Context(), "x"), smartcar.ErrInvalidArgument)

	noToken, err := smartcar.New(smartcar.Config{ClientID: "id", ClientSecret: "secret", RedirectURL: "https://example.com/callback"})
	require.NoError(t, err)
	require.ErrorContains(t, noToken.User("user").Vehicle("car").Unsubscribe(t.Context(), "x"), "Config.ManagementToken")
}

// An id stays one segment, and what is sent is what the reference says.
func TestSubscribeRequests(t *testing.T) {
	const path = "/v2.0/vehicles/{id}/webhooks/a%2Fb"
	transport := newCanned(t).on("POST "+path, jsonReply(200, `{"webhookId":"a/b","vehicleId":"v"}`)).
		on("DELETE "+path, jsonReply(200, `{}`))
	car := cannedUser(t, transport).Vehicle(fixtureVehicle)
	require.NoError(t, car.Subscribe(t.Context(), "a/b"))
	require.NoError(t, car.Unsubscribe(t.Context(), "a/b"))
	sent := transport.requests("DELETE " + path)
	require.Len(t, sent, 1)
	require.Equal(t, "{}", transport.requests("POST " + path)[0].body)
	require.Equal(t, "Bearer management-token", sent[0].header.Get("Authorization"))
	require.Empty(t, sent[0].body)
}

// A failure ends each of them, and is the caller's to see.
func TestSubscriptionsFail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		addWebhooks(t, sim, "hook-1")
		client, user := connectedV3(t, sim, smartcar.WithRetry(smartcar.RetryPolicy{MaxAttempts: 1}))
		ctx, car := t.Context(), user.Vehicle(smartcartest.ModelY)
		require.NoError(t, car.Subscribe(ctx, "hook-1"))
		fail := func(method string) {
			sim.ClearFaults()
			sim.Inject(smartcartest.Fault{Times: -1, Status: 500, Match: func(r *http.Request) bool {
				return r.URL.Host == "management.api.smartcar.com" && r.Method == method
			}})
		}
		fail(http.MethodGet)
		_, oneErr := client.Webhook(ctx, "hook-1")
		_, otherErr := client.Subscription(ctx, "x")
		for _, err := range []error{
			oneErr, otherErr, car.Unsubscribe(ctx, "hook-1"),
			firstError(client.Webhooks(ctx, smartcar.WebhookFilter{})), firstError(client.Subscriptions(ctx, smartcar.SubscriptionFilter{})),
		} {
			require.ErrorIs(t, err, smartcar.ErrUnavailable)
		}
		fail(http.MethodDelete)
		require.ErrorIs(t, car.Unsubscribe(ctx, "hook-1"), smartcar.ErrUnavailable)
		fail(http.MethodPost)
		require.ErrorIs(t, car.Subscribe(ctx, "hook-1"), smartcar.ErrUnavailable)
		sim.ClearFaults()
		require.NoError(t, car.Unsubscribe(ctx, "hook-1"))
		require.ErrorIs(t, firstError(client.Webhooks(noContext(), smartcar.WebhookFilter{})), smartcar.ErrInvalidArgument)
		require.ErrorIs(t, firstError(client.Subscriptions(noContext(), smartcar.SubscriptionFilter{})), smartcar.ErrInvalidArgument)
		for _, call := range []func() error{
			func() error { _, err := client.Webhook(ctx, ""); return err },
			func() error { _, err := client.Subscription(ctx, ".."); return err },
			func() error { return client.DeleteSubscription(ctx, "") },
		} {
			require.ErrorIs(t, call(), smartcar.ErrInvalidArgument)
		}
	})
}

// A loop that has seen enough asks for no further page.
func TestListsOfWebhooksStopWithTheLoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		addWebhooks(t, sim, "hook-1", "hook-2")
		client, user := connectedV3(t, sim)
		for _, id := range []string{"hook-1", "hook-2"} {
			require.NoError(t, user.Vehicle(smartcartest.ModelY).Subscribe(t.Context(), id))
		}
		before, seen := len(sim.Requests()), 0
		for _, err := range client.Webhooks(t.Context(), smartcar.WebhookFilter{}) {
			require.NoError(t, err)
			seen++
			break
		}
		for _, err := range client.Subscriptions(t.Context(), smartcar.SubscriptionFilter{}) {
			require.NoError(t, err)
			seen++
			break
		}
		require.Equal(t, []int{2, 2}, []int{seen, len(sim.Requests()) - before})
	})
}
