package smartcar_test

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"
	"time"

	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/signals"
	"github.com/seed-498a1bc4/smartcar/smartcartest"
	"github.com/stretchr/testify/require"
)

const webhookSecret = "application-management-token"

func webhookSignature(secret string, body []byte) string {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write(body)
	return hex.EncodeToString(mac.Sum(nil))
}

// newReceiver returns a receiver and the list of what it hands over.
func newReceiver(t testing.TB, opts smartcar.WebhookOptions) (*smartcar.WebhookReceiver, *[]*smartcar.WebhookEvent) {
	t.Helper()
	var handed []*smartcar.WebhookEvent
	if opts.Secrets == nil {
		opts.Secrets = []string{webhookSecret}
	}
	r, err := newClient(t, smartcartest.New()).WebhookReceiver(opts, func(_ context.Context, e *smartcar.WebhookEvent) error {
		handed = append(handed, e)
		return nil
	})
	require.NoError(t, err)
	return r, &handed
}

func webhookRequest(body []byte, signature string) *http.Request {
	r := httptest.NewRequest(http.MethodPost, "/hook", bytes.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	if signature != "" {
		r.Header.Set("SC-Signature", signature)
	}
	return r
}

func reasonOf(err error) smartcar.WebhookReason {
	var refused *smartcar.WebhookError
	if errors.As(err, &refused) {
		return refused.Reason
	}
	return ""
}

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

	Delivered time.Time // now if it is zero
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
	if e.Delivered.IsZero() {
		e.Delivered = time.Now()
	}
	meta := map[string]any{"version": "4.0", "webhookId": "hook", "deliveryId": strconv.FormatUint(rand.Uint64(), 36), "deliveredAt": e.Delivered.UnixMilli(), "mode": "LIVE"}
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

// pushed is an event about a car of the default garage, recorded so long ago.
func pushed(id string, user *smartcar.User, vehicle string, age time.Duration, read map[signals.Code]any) stateEvent {
	e := stateEvent{
		ID: id, User: user.ID(), Vehicle: vehicle, Make: "TESLA", Model: "Model Y", Year: 2022,
		Recorded: time.Now().Add(-age), Fetched: time.Now().Add(-age + 5*time.Second), Signals: read,
	}
	if vehicle == smartcartest.ModelS2018 {
		e.Model, e.Year = "Model S", 2018
	}
	return e
}

func value(v any, unit string) map[string]any { return map[string]any{"value": v, "unit": unit} }

func odometerOf(km float64) map[signals.Code]any {
	return map[signals.Code]any{signals.OdometerTraveledDistance: value(km, "km")}
}

var errOfTheApp = errors.New("the application's own secret reason")

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

// keyError is an event about the key of a car.
func keyError(t testing.TB, id, user, vehicle, state string, meta map[string]any) []byte {
	t.Helper()
	all := map[string]any{"version": "4.0", "webhookId": "hook", "mode": "LIVE", "deliveredAt": time.Now().UnixMilli()}
	for k, v := range meta {
		all[k] = v
	}
	body, err := json.Marshal(map[string]any{
		"eventId": id, "eventType": "VEHICLE_ERROR", "meta": all,
		"data": map[string]any{
			"user":    map[string]any{"id": user},
			"vehicle": map[string]any{"id": vehicle, "make": "TESLA", "model": "Model Y", "year": 2022, "mode": "live"},
			"errors":  []any{map[string]any{"type": "CONNECTED_SERVICES_ACCOUNT", "code": "VIRTUAL_KEY_REQUIRED", "state": state}},
		},
	})
	require.NoError(t, err)
	return body
}
