package smartcartest_test

import (
	"context"
	"fmt"
	"net/http/httptest"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seed-498a1bc4/smartcar/smartcartest"
)

func TestWebhookRetries(t *testing.T) {
	a, r, id := hooked(t, smartcartest.Webhook{})
	require.NoError(t, a.sim.Subscribe(id, smartcartest.MachE))
	r.statuses = []int{500, 302, 404, 503}
	ids := map[string]bool{}
	var first smartcartest.Delivery
	for attempt, pause := range []time.Duration{25 * time.Second, 50 * time.Second, 100 * time.Second, 0} {
		sent := a.deliver()
		require.Len(t, sent, 1)
		require.Equal(t, attempt+1, sent[0].Attempt)
		require.False(t, sent[0].Succeeded())
		ids[sent[0].DeliveryID] = true
		if attempt == 0 {
			first = sent[0]
		}
		require.Equal(t, first.EventID, sent[0].EventID)
		require.Empty(t, a.deliver())
		if pause == 0 {
			require.True(t, sent[0].Retry.IsZero())
			break
		}
		require.Equal(t, a.sim.Now().Add(pause), sent[0].Retry)
		a.sim.Advance(pause - time.Millisecond)
		require.Empty(t, a.deliver())
		a.sim.Advance(time.Millisecond)
	}
	require.Len(t, ids, 4)
	a.sim.Advance(2 * time.Hour)
	r.take(t)
	for _, d := range a.deliver() { // the battery has gone down meanwhile
		require.NotEqual(t, first.EventID, d.EventID, "dropped after the fourth attempt")
	}
	require.Len(t, a.sim.Deliveries(), 1+4+1, "with VERIFY")
}

func TestWebhookDeliveryPrintsItsBodyAsText(t *testing.T) {
	d := smartcartest.Delivery{EventType: "VEHICLE_STATE", VehicleID: "car-1", Attempt: 2, URL: "https://example.com/hook", Status: 503, Body: []byte(`{"a":1}`)}
	require.Equal(t, `VEHICLE_STATE of car-1, attempt 2 to https://example.com/hook: status 503: {"a":1}`, d.String())
	require.Equal(t, "["+d.String()+"]", fmt.Sprintf("%+v", []smartcartest.Delivery{d}))
	d = smartcartest.Delivery{EventType: "VERIFY", Attempt: 1, URL: "https://example.com/hook", Err: context.DeadlineExceeded}
	require.Contains(t, d.String(), "VERIFY, attempt 1 to https://example.com/hook: context deadline exceeded")
}

func TestWebhookTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		r := &receiver{key: sim.ManagementToken()}
		_, err := sim.Grant("https://connect.smartcar.com/oauth/authorize?response_type=none&redirect_uri=http://localhost/&application_id=" + sim.ApplicationID())
		require.NoError(t, err)
		id, err := sim.AddWebhook(t.Context(), smartcartest.Webhook{CallbackURL: "https://example.com/", Handler: r})
		require.NoError(t, err)
		require.NoError(t, sim.Subscribe(id, smartcartest.MachE))
		r.wait = 16 * time.Second
		sent, err := sim.Deliver(t.Context())
		require.NoError(t, err)
		require.ErrorContains(t, sent[0].Err, "deadline")
		require.Zero(t, sent[0].Status)

		// The loop tries again when it is time, and ends with its context.
		r.mu.Lock()
		r.wait, r.got = 0, nil
		r.mu.Unlock()
		begun := time.Now()
		var wait sync.WaitGroup
		stopped := make(chan struct{})
		wait.Go(func() {
			require.ErrorIs(t, sim.RunWebhooks(t.Context(), 0), t.Context().Err())
			close(stopped)
		})
		for {
			time.Sleep(time.Second)
			r.mu.Lock()
			done := len(r.got) > 0
			r.mu.Unlock()
			if done {
				break
			}
		}
		require.InDelta(t, 25, time.Since(begun).Seconds(), 1.5)
		t.Cleanup(wait.Wait)
	})
}

func TestWebhookDuplicatesAndReordering(t *testing.T) {
	a, r, id := hooked(t, smartcartest.Webhook{Duplicate: true, Reverse: true})
	require.NoError(t, a.sim.Subscribe(id, modelY))
	require.NoError(t, a.sim.Pair(modelY))
	require.Len(t, a.deliver(), 6)
	events := r.take(t)
	require.Equal(t, "VEHICLE_STATE", events[0]["eventType"])
	require.Equal(t, "RESOLVED", at(events[2], "data", "errors", 0, "state"))
	require.Equal(t, "ERROR", at(events[4], "data", "errors", 0, "state"))
	require.Equal(t, events[0]["eventId"], events[1]["eventId"])
	require.NotEqual(t, at(events[0], "meta", "deliveryId"), at(events[1], "meta", "deliveryId"))
}

func TestWebhookOverASocket(t *testing.T) {
	a := v3(t)
	r := &receiver{key: a.sim.ManagementToken()}
	srv := httptest.NewServer(r)
	defer srv.Close()
	id, err := a.sim.AddWebhook(t.Context(), smartcartest.Webhook{CallbackURL: srv.URL + "/hook"})
	require.NoError(t, err)
	require.NoError(t, a.sim.Subscribe(id, smartcartest.MachE))
	require.Len(t, a.deliver(), 1)
	srv.Close()
	a.sim.Advance(2 * time.Hour)
	sent := a.deliver()
	require.Len(t, sent, 1)
	require.Error(t, sent[0].Err)
	require.False(t, sent[0].Retry.IsZero())
}

func TestWebhookTiming(t *testing.T) {
	a, r, id := hooked(t, smartcartest.Webhook{}, smartcartest.WithWebhookTiming(time.Minute, time.Second))
	require.NoError(t, a.sim.Subscribe(id, smartcartest.MachE))
	r.statuses = []int{500, 500}
	require.Len(t, a.deliver(), 1)
	a.sim.Advance(time.Second)
	sent := a.deliver()
	require.Len(t, sent, 1)
	require.Equal(t, 2, sent[0].Attempt)
	require.True(t, sent[0].Retry.IsZero(), "one retry, no more")
}

func TestWebhookDeliverEndsWithItsContext(t *testing.T) {
	a, r, id := hooked(t, smartcartest.Webhook{})
	require.NoError(t, a.sim.Subscribe(id, modelY))
	require.NoError(t, a.sim.Pair(modelY))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	sent, err := a.sim.Deliver(ctx)
	require.ErrorIs(t, err, context.Canceled)
	require.Empty(t, sent)
	require.ErrorIs(t, a.sim.RunWebhooks(ctx, 0), context.Canceled)
	require.Empty(t, r.take(t))
	require.Len(t, a.deliver(), 3, "nothing was lost")

	// What waits for its retry goes with the subscription.
	r.statuses = []int{500}
	require.NoError(t, a.sim.Unpair(modelY))
	require.Len(t, a.deliver(), 1)
	a.sim.Disconnect(modelY)
	a.sim.Advance(time.Hour)
	require.Empty(t, a.deliver())
}

func TestWebhookConcurrentDeliveries(t *testing.T) {
	a, r, _ := hooked(t, smartcartest.Webhook{AutoSubscribe: true})
	var wait sync.WaitGroup
	for range 8 {
		wait.Go(func() {
			if _, err := a.sim.Deliver(t.Context()); err != nil {
				t.Error(err)
			}
			_ = a.sim.Pair(smartcartest.Cybertruck)
			_ = a.sim.Deliveries()
		})
	}
	wait.Wait()
	a.deliver()
	seen := map[any]bool{}
	for _, e := range r.take(t) {
		require.False(t, seen[e["eventId"]], "each once")
		seen[e["eventId"]] = true
	}
	require.GreaterOrEqual(t, len(seen), 7)
}
