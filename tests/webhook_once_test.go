package smartcar_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/signals"
	"github.com/seed-498a1bc4/smartcar/smartcartest"
	"github.com/seed-498a1bc4/smartcar/store"
	"github.com/stretchr/testify/require"
)

// stateEvent is an event of one signal or several, as signed bytes.
type stateEvent struct {
	ID       string
	User     string
	Vehicle  string
	Make     string
	Model    string
	Year     int
	Recorded time.Time
	Fetched  time.Time
	Sequence int64
	Signals  map[signals.Code]any // bodies
}

func (e stateEvent) body(t testing.TB) []byte {
	t.Helper()
	read := []any{}
	for code, body := range e.Signals {
		read = append(read, map[string]any{
			"code": code, "body": body, "status": map[string]any{"value": "SUCCESS"},
			"meta": map[string]any{"oemUpdatedAt": e.Recorded.UnixMilli(), "retrievedAt": max(e.Fetched.UnixMilli(), 0)},
		})
	}
	meta := map[string]any{"version": "4.0", "webhookId": "hook", "deliveryId": strconv.FormatUint(rand.Uint64(), 36), "deliveredAt": time.Now().UnixMilli(), "mode": "LIVE"}
	if e.Sequence != 0 {
		meta["sequence"] = e.Sequence
	}
	body, err := json.Marshal(map[string]any{
		"eventId": e.ID, "eventType": "VEHICLE_STATE", "meta": meta,
		"data": map[string]any{
			"user":    map[string]any{"id": e.User},
			"vehicle": map[string]any{"id": e.Vehicle, "make": e.Make, "model": e.Model, "year": e.Year, "mode": "live"},
			"signals": read,
		},
	})
	require.NoError(t, err)
	return body
}

// send signs an event as Smartcar does and returns the status.
func send(t testing.TB, receiver *smartcar.WebhookReceiver, body []byte) int {
	t.Helper()
	status, _, _ := receiver.Receive(t.Context(), http.Header{"Sc-Signature": {webhookSignature(webhookSecret, body)}}, body)
	return status
}

func hookReceiver(t testing.TB, client *smartcar.Client, o smartcar.WebhookOptions, handle func(context.Context, *smartcar.WebhookEvent) error) *smartcar.WebhookReceiver {
	t.Helper()
	o.Secrets = []string{webhookSecret}
	receiver, err := client.WebhookReceiver(o, handle)
	require.NoError(t, err)
	return receiver
}

// Ten thousand deliveries, a fifth of them duplicates, in no order, from eight
// at once to two handlers over one store: each event is handed over once, and
// what is known in the end is what the car said last.
func TestWebhookDeliveriesInAnyOrder(t *testing.T) {
	const deliveries, cars = 10_000, 20
	sim := smartcartest.New()
	db := store.NewMemory()
	var clients []*smartcar.Client
	var receivers []*smartcar.WebhookReceiver
	var mu sync.Mutex
	handed := make(map[string]int)
	for range 2 {
		client := newClientV3(t, sim, smartcar.WithStore(db), smartcar.WithStoredAnswers(smartcar.StoredAnswers{}),
			smartcar.WithHTTPClient(&http.Client{Transport: limitedTransport{sim.Transport()}}))
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
			require.Equal(t, smartcar.SourceCache, odometer.Source)
			require.InDelta(t, want, *odometer.Distance, 0)
		}
	}
}

// limitedTransport answers every read of a car with Smartcar's own limit, so
// that a client has nothing but what it keeps.
type limitedTransport struct{ http.RoundTripper }

func (l limitedTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Host != "vehicle.api.smartcar.com" || !strings.HasSuffix(r.URL.Path, "/signals") {
		return l.RoundTripper.RoundTrip(r)
	}
	return &http.Response{
		StatusCode: 429, Header: http.Header{"Content-Type": {"application/json"}, "Retry-After": {"3600"}},
		Body: io.NopCloser(strings.NewReader(`{"errors":[{"type":"RATE_LIMIT","code":"SMARTCAR_API","status":"429"}]}`)),
	}, nil
}
