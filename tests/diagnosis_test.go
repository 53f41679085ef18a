package smartcar_test

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/smartcartest"
	"github.com/seed-498a1bc4/smartcar/store"
	"github.com/stretchr/testify/require"
)

// Whoever has the store can tell why a car is silent, without a request.
func TestDiagnosisIsMadeOfWhatIsStored(t *testing.T) {
	onEitherAPI(t, func(t *testing.T, sim *smartcartest.Server, api smartcar.API) {
		db := store.NewMemory()
		opts := []smartcar.Option{
			smartcar.WithStore(db), smartcar.WithStoredAnswers(smartcar.StoredAnswers{}), smartcar.WithBudget(smartcar.Budget{PerVehicle: 500}),
		}
		client := borderClient(t, sim, api, sim.Transport(), opts...)
		user := client.User(connect(t, sim, client).UserID)
		ctx, car := t.Context(), user.Vehicle(smartcartest.ModelY)

		// The other process has nothing but the store.
		diagnose := func() *smartcar.Diagnosis {
			t.Helper()
			other := borderClient(t, sim, api, failingTransport{}, opts...)
			d, err := other.User(user.ID()).Vehicle(car.ID()).Diagnosis(ctx)
			require.NoError(t, err)
			require.Equal(t, car.ID(), d.VehicleID)
			require.Equal(t, user.ID(), d.UserID)
			require.True(t, d.Connected)
			require.Equal(t, time.Now().UTC(), d.At)
			return d
		}
		d := diagnose()
		require.Equal(t, smartcar.ClassUnknown, d.Access.Class)
		require.Equal(t, smartcar.ClassSourceNone, d.ClassSource)
		require.Zero(t, d.LastTurn)
		require.Empty(t, d.Gave)
		require.Zero(t, d.Delivery)

		hook := hookUp(t, sim, receiverOf(t, client, nil), smartcartest.Webhook{})
		require.NoError(t, car.Subscribe(ctx, hook))
		deliver(t, sim)
		heard := time.Now()
		time.Sleep(time.Minute)
		_, err := car.Battery(ctx)
		require.NoError(t, err)
		read := time.Now()
		time.Sleep(time.Hour)
		require.NoError(t, client.Drain(ctx)) // gives back the calls that were taken and not used

		d = diagnose()
		require.Equal(t, smartcar.ClassStreaming, d.Access.Class)
		require.Equal(t, smartcar.ClassFromAnswers, d.ClassSource, "the event says that it needs the key")
		require.Equal(t, smartcar.KeyMissing, d.Access.Key.State)
		require.NotZero(t, d.Access.Key.Since)
		require.WithinDuration(t, read, d.LastTurn, 10*time.Millisecond)
		require.Equal(t, smartcar.TurnData, d.Gave)
		require.WithinDuration(t, read.Add(window), d.Access.NextRead, 10*time.Millisecond)
		require.Equal(t, smartcar.RuleKeyless, d.Access.Rule)
		require.WithinDuration(t, read, d.ReceivedAt, 10*time.Millisecond)
		require.NotZero(t, d.RecordedAt)
		require.Positive(t, d.Access.Spent)
		require.Positive(t, d.Access.Left)
		require.Equal(t, hook, d.Webhook)
		require.WithinDuration(t, heard, d.Delivery.At, 10*time.Millisecond)
		require.Equal(t, smartcar.EventVehicleError, d.Delivery.Type)
		require.Equal(t, smartcar.VerdictAccepted, d.Delivery.Verdict)
		require.Empty(t, d.Failure)
		text := d.String()
		for _, part := range []string{"keyless-window", "missing", "last turn", "data", hook, "calls spent", "VEHICLE_ERROR, accepted"} {
			require.Contains(t, text, part)
		}

		// The next turn brings an error; a visit fails, and an event is refused.
		time.Sleep(window)
		sim.Inject(smartcartest.Fault{Match: func(r *http.Request) bool { return r.Method == http.MethodGet || r.Method == http.MethodPost }, Path: dataPath(api), Status: 500, Times: -1})
		_, err = car.Visit(ctx, func(context.Context, *smartcar.Snapshot) error { return nil }, smartcar.Battery)
		require.Error(t, err)
		failed := time.Now()
		sim.ClearFaults()
		d = diagnose()
		require.Equal(t, smartcar.TurnError, d.Gave)
		require.Equal(t, smartcar.FailureUnavailable, d.Failure)
		require.WithinDuration(t, failed, d.FailedAt, 10*time.Millisecond)
		require.Contains(t, d.String(), "last failure")
		require.True(t, d.BackOff.After(failed), "whatever the rule permits")
		require.Contains(t, d.String(), "visits wait")

		refusing := hookReceiver(t, client, smartcar.WebhookOptions{}, func(context.Context, *smartcar.WebhookEvent) error { return errOfTheApp })
		require.Equal(t, 500, send(t, refusing, pushed("e1", user, car.ID(), time.Minute, odometerOf(7)).body(t)))
		d = diagnose()
		require.Equal(t, smartcar.VerdictRefused, d.Delivery.Verdict)
		require.Equal(t, smartcar.WebhookHandlerFailed, d.Delivery.Reason)
		require.Equal(t, smartcar.FailureUnavailable, d.Failure, "the visit's mark and the webhook's do not overwrite each other")
		_, err = car.Visit(ctx, func(context.Context, *smartcar.Snapshot) error { return nil }, smartcar.Battery)
		require.NoError(t, err)
		require.Equal(t, smartcar.WebhookHandlerFailed, diagnose().Delivery.Reason)

		// A user who was forgotten leaves nothing but the open window.
		require.NoError(t, user.Forget(ctx))
		other := borderClient(t, sim, api, failingTransport{}, opts...)
		d, err = other.User(user.ID()).Vehicle(car.ID()).Diagnosis(ctx)
		require.NoError(t, err)
		require.False(t, d.Connected)
		require.Empty(t, d.Webhook)
		require.Zero(t, d.Delivery)
		require.Empty(t, d.Failure)
		require.Contains(t, d.String(), "not connected")
	})
}

// dataPath is in the path of a request for the battery.
func dataPath(api smartcar.API) string {
	if api == smartcar.V3 {
		return "/signals"
	}
	return "/battery"
}

// failingTransport is for a client that must not send anything.
type failingTransport struct{}

func (failingTransport) RoundTrip(*http.Request) (*http.Response, error) {
	panic("a request was sent")
}

// Deliveries that are answered alike are stored once an hour. The process that gets them
// knows the last one all the same.
func TestDiagnosisKnowsTheLastDeliveryToThisProcess(t *testing.T) {
	onEitherAPI(t, func(t *testing.T, sim *smartcartest.Server, api smartcar.API) {
		db := store.NewMemory()
		here, there := borderClient(t, sim, api, sim.Transport(), smartcar.WithStore(db)), borderClient(t, sim, api, sim.Transport(), smartcar.WithStore(db))
		user := here.User(connect(t, sim, here).UserID)
		receiver := hookReceiver(t, here, smartcar.WebhookOptions{}, nil)
		at := func(client *smartcar.Client) time.Time {
			d, err := client.User(user.ID()).Vehicle(smartcartest.ModelY).Diagnosis(t.Context())
			require.NoError(t, err)
			return d.Delivery.At
		}
		event := func(id string) {
			require.Equal(t, http.StatusOK, send(t, receiver, pushed(id, user, smartcartest.ModelY, time.Minute, odometerOf(7)).body(t)))
		}
		event("first")
		first := time.Now()
		require.WithinDuration(t, first, at(here), time.Second)
		time.Sleep(50 * time.Minute)
		event("second")
		require.WithinDuration(t, time.Now(), at(here), time.Second)
		require.WithinDuration(t, first, at(there), time.Second)
		time.Sleep(11 * time.Minute)
		event("third")
		require.WithinDuration(t, time.Now(), at(there), time.Second, "stored again after an hour")
		require.NoError(t, user.Forget(t.Context()))
		require.Zero(t, at(here))
	})
}

// What one process has stored of its deliveries is not the last word for an hour: another
// one has taken the event that came again, and got those of a user who was forgotten.
func TestDiagnosisTellsOfTheLastDeliveryToAnyProcess(t *testing.T) {
	onEitherAPI(t, func(t *testing.T, sim *smartcartest.Server, api smartcar.API) {
		db := store.NewMemory()
		here, there := borderClient(t, sim, api, sim.Transport(), smartcar.WithStore(db)), borderClient(t, sim, api, sim.Transport(), smartcar.WithStore(db))
		user := here.User(connect(t, sim, here).UserID)
		works := hookReceiver(t, here, smartcar.WebhookOptions{}, nil)
		fails := hookReceiver(t, there, smartcar.WebhookOptions{}, func(context.Context, *smartcar.WebhookEvent) error { return http.ErrAbortHandler })
		event := func(id string) []byte {
			return pushed(id, user, smartcartest.ModelY, time.Minute, odometerOf(7)).body(t)
		}
		delivery := func(client *smartcar.Client) smartcar.WebhookDelivery {
			d, err := client.User(user.ID()).Vehicle(smartcartest.ModelY).Diagnosis(t.Context())
			require.NoError(t, err)
			return d.Delivery
		}
		require.Equal(t, http.StatusOK, send(t, works, event("first")))
		time.Sleep(time.Minute)
		require.Equal(t, http.StatusInternalServerError, send(t, fails, event("second")))
		require.Equal(t, smartcar.VerdictRefused, delivery(there).Verdict)
		time.Sleep(25 * time.Second)
		require.Equal(t, http.StatusOK, send(t, works, event("second")))
		require.Equal(t, smartcar.VerdictAccepted, delivery(there).Verdict)

		require.NoError(t, there.User(user.ID()).Forget(t.Context()))
		require.Equal(t, user.ID(), connect(t, sim, there).UserID)
		time.Sleep(time.Minute)
		require.Zero(t, delivery(here))
		require.Equal(t, http.StatusOK, send(t, works, event("third")))
		require.WithinDuration(t, time.Now(), delivery(there).At, time.Second)
	})
}
