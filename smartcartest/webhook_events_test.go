package smartcartest_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seed-498a1bc4/smartcar/smartcartest"
)

// receiver is a webhook's receiver as the documentation wants it.
type receiver struct {
	key string

	mu       sync.Mutex
	got      []received
	statuses []int         // of the next answers; then 200
	wait     time.Duration // before answering
	silent   bool          // answers VERIFY with nothing
}

type received struct {
	header http.Header
	path   string
	body   []byte
}

func mac(key string, message []byte) string {
	h := hmac.New(sha256.New, []byte(key))
	h.Write(message)
	return hex.EncodeToString(h.Sum(nil))
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, _ := io.ReadAll(req.Body)
	r.mu.Lock()
	r.got = append(r.got, received{req.Header, req.URL.Path, body})
	wait, status := r.wait, http.StatusOK
	if len(r.statuses) > 0 {
		status, r.statuses = r.statuses[0], r.statuses[1:]
	}
	r.mu.Unlock()
	if wait > 0 {
		time.Sleep(wait)
	}
	var verify struct {
		EventType string
		EventName string
		Data      struct{ Challenge string }
		Payload   struct{ Challenge string }
	}
	_ = json.Unmarshal(body, &verify)
	challenge := verify.Data.Challenge + verify.Payload.Challenge
	if challenge == "" || r.silent {
		w.WriteHeader(status)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, `{"challenge":"`+mac(r.key, []byte(challenge))+`"}`)
}

// take empties the log, each entry decoded.
func (r *receiver) take(t *testing.T) (events []map[string]any) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, g := range r.got {
		var e map[string]any
		require.NoError(t, json.Unmarshal(g.body, &e))
		events = append(events, e)
	}
	r.got = nil
	return events
}

// hooked has a webhook with a receiver of its own, all verified and taken.
func hooked(t *testing.T, w smartcartest.Webhook, opts ...smartcartest.Option) (*api, *receiver, string) {
	t.Helper()
	a := v3(t, opts...)
	r := &receiver{key: a.sim.ManagementToken()}
	w.CallbackURL, w.Handler = "https://example.com/hook", r
	id, err := a.sim.AddWebhook(t.Context(), w)
	require.NoError(t, err)
	require.Len(t, r.take(t), 1)
	return a, r, id
}

func (a *api) deliver() []smartcartest.Delivery {
	a.t.Helper()
	sent, err := a.sim.Deliver(a.t.Context())
	require.NoError(a.t, err)
	return sent
}

// at follows keys and indexes.
func at(v any, path ...any) any {
	for _, p := range path {
		switch p := p.(type) {
		case string:
			m, _ := v.(map[string]any)
			v = m[p]
		case int:
			l, _ := v.([]any)
			if p >= len(l) {
				return nil
			}
			v = l[p]
		}
	}
	return v
}

func TestWebhookVectors(t *testing.T) {
	require.Equal(t, "9baf5a7464bd86740ad5a06e439dcf535a075022ed2c92d74efacf646d79328e", mac("amt", []byte("challenge")))
	a := newAPI(t)
	r := &receiver{key: "amt"}
	_, err := a.sim.AddWebhook(t.Context(), smartcartest.Webhook{CallbackURL: "https://example.com/h", Token: "amt", Handler: r})
	require.NoError(t, err)
}

func TestWebhookVerify(t *testing.T) {
	a := v3(t)
	r := &receiver{key: "wrong"}
	w := smartcartest.Webhook{ID: "wh_1", Name: "Mine", CallbackURL: "https://example.com/hook?x=1", Handler: r, AutoSubscribe: true}
	_, err := a.sim.AddWebhook(t.Context(), w)
	require.ErrorContains(t, err, "not the HMAC")
	require.Empty(t, a.deliver(), "not verified, so nothing flows")
	r.key = a.sim.ManagementToken()
	for status, want := range map[int]string{201: "want 200", 302: "want 200", 500: "want 200"} {
		r.statuses = []int{status}
		require.ErrorContains(t, a.sim.VerifyWebhook(t.Context(), "wh_1"), want)
	}
	r.silent = true
	require.ErrorContains(t, a.sim.VerifyWebhook(t.Context(), "wh_1"), "no JSON")
	r.silent = false
	r.take(t)
	require.NoError(t, a.sim.VerifyWebhook(t.Context(), "wh_1"))
	require.Empty(t, r.got[0].header.Get("SC-Signature"), "VERIFY is not signed")
	require.Equal(t, "application/json", r.got[0].header.Get("Content-Type"))
	require.Contains(t, r.got[0].header.Get("User-Agent"), "Smartcar/")
	e := r.take(t)[0]
	require.Equal(t, "VERIFY", e["eventType"])
	require.Equal(t, "4.0", at(e, "meta", "version"))
	require.Equal(t, "wh_1", at(e, "meta", "webhookId"))
	require.Equal(t, "Mine", at(e, "meta", "webhookName"))
	require.IsType(t, "", at(e, "meta", "deliveredAt"))
	require.NotEmpty(t, a.deliver())

	_, err = a.sim.AddWebhook(t.Context(), w)
	require.ErrorContains(t, err, "exists")
	for _, bad := range []smartcartest.Webhook{
		{}, {CallbackURL: "https://h/", Version: "3.0"}, {CallbackURL: "https://h/", Data: []string{"unknown"}},
	} {
		_, err = a.sim.AddWebhook(t.Context(), bad)
		require.ErrorContains(t, err, "smartcartest: ")
	}
	require.Error(t, a.sim.VerifyWebhook(t.Context(), "unknown"))
}

func TestWebhookOldVerify(t *testing.T) {
	a := v3(t)
	r := &receiver{key: a.sim.ManagementToken()}
	_, err := a.sim.AddWebhook(t.Context(), smartcartest.Webhook{CallbackURL: "https://h/", Version: "2.0", Handler: r})
	require.NoError(t, err)
	e := r.take(t)[0]
	require.Equal(t, "2.0", e["version"])
	require.Equal(t, "verify", e["eventName"])
	require.NotEmpty(t, at(e, "payload", "challenge"))
}

func TestWebhookState(t *testing.T) {
	a, r, id := hooked(t, smartcartest.Webhook{Triggers: []string{"charge-ischarging", "closure-islocked"}, Data: []string{
		"tractionbattery-stateofcharge", "vehicleidentification-vin", "charge-chargerate", "internalcombustionengine-range",
	}})
	a.answer(a.authorize(url.Values{"external_id": {"acct_42"}}), url.Values{"decision": {"grant"}})
	require.Empty(t, a.deliver(), "nobody is subscribed")
	require.NoError(t, a.sim.Subscribe(id, smartcartest.Model3))
	require.NoError(t, a.sim.Subscribe(id, smartcartest.Model3))
	sent := a.deliver()
	require.Len(t, sent, 1)
	require.True(t, sent[0].Succeeded())
	require.Equal(t, r.got[0].body, sent[0].Body)
	require.Equal(t, mac(a.sim.ManagementToken(), r.got[0].body), r.got[0].header.Get("SC-Signature"))
	e := r.take(t)[0]
	require.Equal(t, "VEHICLE_STATE", e["eventType"])
	require.Equal(t, []any{map[string]any{"type": "FIRST_DELIVERY"}}, e["triggers"])
	require.Equal(t, map[string]any{"id": a.sim.UserID(), "externalId": "acct_42"}, at(e, "data", "user"))
	require.Equal(t, smartcartest.Model3, at(e, "data", "vehicle", "id"))
	require.Equal(t, "live", at(e, "data", "vehicle", "mode"))
	require.Equal(t, "LIVE", at(e, "meta", "mode"))
	require.InDelta(t, 4, at(e, "meta", "signalCount"), 0)
	require.InDelta(t, float64(a.sim.Now().UnixMilli()), at(e, "meta", "deliveredAt"), 0)
	require.Equal(t, map[string]any{
		"code": "tractionbattery-stateofcharge", "name": "StateOfCharge", "group": "TractionBattery", "status": map[string]any{"value": "SUCCESS"},
		"body": map[string]any{"value": 80.0, "unit": "percent"},
		"meta": map[string]any{
			"oemUpdatedAt": float64(a.sim.Now().Truncate(time.Minute).UnixMilli()), "retrievedAt": float64(a.sim.Now().Truncate(time.Minute).UnixMilli()),
		},
	}, at(e, "data", "signals", 0))
	require.InDelta(t, 0, at(e, "data", "signals", 1, "meta", "oemUpdatedAt"), 0, "as seen for the VIN")
	require.Equal(t, map[string]any{"type": "VEHICLE_STATE", "code": "NOT_CHARGING"}, at(e, "data", "signals", 2, "status", "error"))
	require.InDelta(t, 30, at(e, "data", "signals", 2, "body", "value"), 0, "an old value beside the error")
	require.Equal(t, "VEHICLE_NOT_CAPABLE", at(e, "data", "signals", 3, "status", "error", "code"))
	require.Nil(t, at(e, "data", "signals", 3, "body"))

	require.Empty(t, a.deliver(), "nothing has changed")
	a.sim.Advance(time.Hour)
	require.Empty(t, a.deliver(), "the battery is no trigger")
	a.post(v3car(smartcartest.Model3, "/commands/security/unlock"), "").ok(nil)
	a.post(v3car(smartcartest.Model3, "/commands/charge/set-limit"), `{"data":{"attributes":{"percent":90}}}`).ok(nil)
	a.post(v3car(smartcartest.Model3, "/commands/charge/start"), "").ok(nil)
	require.Len(t, a.deliver(), 2)
	events := r.take(t)
	require.Equal(t, []any{map[string]any{"type": "SIGNAL_UPDATED", "signal": map[string]any{"code": "closure-islocked", "name": "IsLocked", "group": "Closure"}}}, events[0]["triggers"])
	require.Equal(t, "charge-ischarging", at(events[1], "triggers", 0, "signal", "code"))
	require.Greater(t, at(events[1], "meta", "sequence"), at(events[0], "meta", "sequence"))
	require.NotEqual(t, events[0]["eventId"], events[1]["eventId"])
}

func TestWebhookVirtualKey(t *testing.T) {
	a, r, id := hooked(t, smartcartest.Webhook{ErrorCallbackURL: "https://example.com/errors", Data: []string{"odometer-traveleddistance"}})
	require.NoError(t, a.sim.Subscribe(id, modelY))
	require.Len(t, a.deliver(), 1)
	require.Equal(t, "/errors", r.got[0].path)
	require.Equal(t, mac(a.sim.ManagementToken(), r.got[0].body), r.got[0].header.Get("SC-Signature"))
	e := r.take(t)[0]
	require.Equal(t, "VEHICLE_ERROR", e["eventType"])
	one := at(e, "data", "errors", 0)
	require.Equal(t, "CONNECTED_SERVICES_ACCOUNT", at(one, "type"))
	require.Equal(t, "VIRTUAL_KEY_REQUIRED", at(one, "code"))
	require.Equal(t, "ERROR", at(one, "state"))
	require.Equal(t, "https://www.tesla.com/_ak/smartcar.com", at(one, "resolution", "url"))
	require.NotEmpty(t, at(one, "docURL"))
	require.Equal(t, "odometer-traveleddistance", at(one, "signals", 0, "code"))
	require.Nil(t, at(e, "data", "signals"))
	require.Empty(t, a.deliver())
	require.Empty(t, a.sim.Ledger(modelY), "no webhook reads the car")

	require.NoError(t, a.sim.Pair(modelY))
	require.Len(t, a.deliver(), 2)
	require.Equal(t, "/hook", r.got[1].path)
	events := r.take(t)
	require.Equal(t, "RESOLVED", at(events[0], "data", "errors", 0, "state"))
	require.Nil(t, at(events[0], "data", "errors", 0, "resolution"))
	require.Equal(t, "FIRST_DELIVERY", at(events[1], "triggers", 0, "type"))
	require.NoError(t, a.sim.Unpair(modelY))
	require.NoError(t, a.sim.Pair(modelY))
	require.Len(t, a.deliver(), 2, "what changed and changed back is told too")

	require.NoError(t, a.sim.VehicleError(modelY, "VEHICLE_STATE", "UNREACHABLE", false))
	require.NoError(t, a.sim.VehicleError(modelY, "PERMISSION", "", true))
	require.Error(t, a.sim.VehicleError("unknown", "PERMISSION", "", true))
	r.take(t)
	require.Len(t, a.deliver(), 2)
	events = r.take(t)
	require.Equal(t, "UNREACHABLE", at(events[0], "data", "errors", 0, "code"))
	require.Nil(t, at(events[1], "data", "errors", 0, "code"))
}

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

func TestWebhookVariants(t *testing.T) {
	a, r, id := hooked(t, smartcartest.Webhook{Variants: smartcartest.WebhookVariants{
		DataTriggers: true, FetchedAt: true, ISOTimes: true, EpochVerify: true, SwappedMode: true, Sparse: true, StateErrors: true,
	}, Data: []string{"odometer-traveleddistance", "internalcombustionengine-range"}})
	a.answer(a.authorize(url.Values{"external_id": {"acct_42"}}), url.Values{"decision": {"grant"}})
	require.NoError(t, a.sim.Subscribe(id, smartcartest.Model3))
	a.deliver()
	e := r.take(t)[0]
	require.Nil(t, e["triggers"])
	require.Equal(t, []any{map[string]any{"code": "FIRST_DELIVERY"}}, at(e, "data", "triggers"))
	require.Equal(t, smartcartest.Model3, e["vehicleId"])
	require.IsType(t, "", at(e, "data", "signals", 0, "meta", "fetchedAt"))
	require.IsType(t, "", at(e, "meta", "deliveredAt"))
	require.Equal(t, "live", at(e, "meta", "mode"))
	require.Equal(t, "LIVE", at(e, "data", "vehicle", "mode"))
	require.Nil(t, at(e, "meta", "sequence"))
	require.Nil(t, at(e, "data", "user", "externalId"))
	require.Equal(t, []any{map[string]any{
		"type": "COMPATIBILITY", "code": "VEHICLE_NOT_CAPABLE", "resolution": map[string]any{"type": nil},
		"signals": []any{map[string]any{"code": "internalcombustionengine-range"}},
	}}, at(e, "data", "errors"))
	a.post(v3car(smartcartest.Model3, "/commands/security/unlock"), "").ok(nil)
	a.deliver()
	require.Equal(t, []any{map[string]any{"code": "closure-islocked", "name": "IsLocked", "group": "Closure"}}, at(r.take(t)[0], "data", "triggers"))
	require.NoError(t, a.sim.VerifyWebhook(t.Context(), id))
	require.IsType(t, 0.0, at(r.take(t)[0], "meta", "deliveredAt"))
}

func TestWebhookTestButton(t *testing.T) {
	a, r, id := hooked(t, smartcartest.Webhook{})
	d, err := a.sim.TestWebhook(t.Context(), id, modelY)
	require.NoError(t, err)
	require.Equal(t, "VEHICLE_STATE", d.EventType)
	require.Equal(t, mac(a.sim.ManagementToken(), r.got[0].body), r.got[0].header.Get("SC-Signature"))
	e := r.take(t)[0]
	require.Equal(t, "TEST", at(e, "meta", "mode"))
	require.Equal(t, "test", at(e, "data", "vehicle", "mode"))
	require.Equal(t, a.sim.UserID(), at(e, "data", "user", "id"))
	require.Empty(t, a.sim.Ledger(modelY))
	r.statuses = []int{500}
	_, err = a.sim.TestWebhook(t.Context(), id, "")
	require.ErrorContains(t, err, "500")
	require.Empty(t, a.deliver(), "it is not tried again")
	_, err = a.sim.TestWebhook(t.Context(), "unknown", "")
	require.Error(t, err)
	_, err = a.sim.TestWebhook(t.Context(), id, "unknown")
	require.Error(t, err)
}

func TestWebhookDisabled(t *testing.T) {
	a, r, id := hooked(t, smartcartest.Webhook{AutoSubscribe: true}, smartcartest.WithCars(smartcartest.Car{ID: "x", Make: "FORD"}))
	require.Len(t, a.deliver(), 1, "subscribed by itself")
	require.NoError(t, a.sim.EnableWebhook(id, false))
	a.post(v3car("x", "/commands/security/unlock"), "").ok(nil)
	require.Empty(t, a.deliver())
	r.take(t)
	require.NoError(t, a.sim.EnableWebhook(id, true))
	require.Len(t, a.deliver(), 1)
	require.Equal(t, "FIRST_DELIVERY", at(r.take(t)[0], "triggers", 0, "type"))
	a.sim.Disconnect("x")
	a.sim.Advance(2 * time.Hour)
	require.Empty(t, a.deliver(), "the subscription went with the connection")
	a.answer(a.authorize(nil), url.Values{"decision": {"grant"}})
	require.Len(t, a.deliver(), 1)
	require.Error(t, a.sim.EnableWebhook("unknown", true))
	require.Error(t, a.sim.Subscribe(id, "unknown"))
}
