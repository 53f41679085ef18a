package smartcar_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/smartcartest"
	"github.com/seed-498a1bc4/smartcar/store"
	"github.com/stretchr/testify/require"
)

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

// Replicas need not agree on the timeout: while one has the event, no other takes it.
func TestWebhookLeaseOfALongerTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		db := store.NewMemory()
		var mu sync.Mutex
		running, most := 0, 0
		handle := func(context.Context, *smartcar.WebhookEvent) error {
			mu.Lock()
			running++
			most = max(most, running)
			mu.Unlock()
			time.Sleep(5 * time.Second)
			mu.Lock()
			running--
			mu.Unlock()
			return nil
		}
		patient := hookReceiver(t, newClientV3(t, sim, smartcar.WithStore(db)), smartcar.WebhookOptions{Timeout: 14 * time.Second}, handle)
		hasty := hookReceiver(t, newClientV3(t, sim, smartcar.WithStore(db)), smartcar.WebhookOptions{Timeout: 2 * time.Second}, handle)
		body := keyError(t, "1", "user", "car", "ERROR", nil)
		var wg sync.WaitGroup
		wg.Go(func() { send(t, patient, body) })
		synctest.Wait()
		wg.Go(func() { send(t, hasty, body) })
		wg.Wait()
		require.Equal(t, 1, most)
	})
}

// The test button's events are test, also where they name a real car.
func TestWebhookTestDeliveryOfALiveCar(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		client, user := connectedV3(t, sim)
		receiver := hookReceiver(t, client, smartcar.WebhookOptions{}, nil)
		body := keyError(t, "1", user.ID(), smartcartest.ModelY, "RESOLVED", map[string]any{"mode": "TEST"})
		event, err := smartcar.ParseWebhookEvent(body, time.Now())
		require.NoError(t, err)
		require.Equal(t, "test", event.Mode)
		require.Equal(t, 200, send(t, receiver, body))
		access, err := user.Vehicle(smartcartest.ModelY).Access(t.Context())
		require.NoError(t, err)
		require.NotEqual(t, smartcar.KeyInstalled, access.Key.State)
	})
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

// A time that no calendar has costs the time, and neither the event nor the data.
func TestWebhookWithATimeOutOfTheCalendar(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		client, user := connectedV3(t, sim, smartcar.WithStoredAnswers(smartcar.StoredAnswers{}))
		receiver := hookReceiver(t, client, smartcar.WebhookOptions{}, nil)
		car := user.Vehicle(smartcartest.ModelS2018)
		e := pushed("1", user, car.ID(), time.Second, odometerOf(4321))
		e.Recorded = time.UnixMilli(999_999_999_999_999)
		require.Equal(t, 200, send(t, receiver, e.body(t)))
		odometer, err := car.Odometer(t.Context())
		require.NoError(t, err)
		require.Equal(t, smartcar.SourceCache, odometer.Source)
		require.InDelta(t, 4321, *odometer.Distance, 0)
	})
}

// Odd JSON at every level is an event of which little is known, never a panic
// and never evidence.
func TestWebhookOddJSON(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		client, user := connectedV3(t, sim)
		receiver := hookReceiver(t, client, smartcar.WebhookOptions{}, nil)
		deep := strings.Repeat(`[`, 9000) + strings.Repeat(`]`, 9000)
		for _, odd := range []string{`null`, `1e999`, `"\ud800"`, `true`, `[]`, `{}`, `[null]`, `{"id":{"id":1}}`, deep, `99999999999999999999999`, "\"\xff\xfe\""} {
			for _, body := range []string{
				`{"eventType":` + odd + `}`,
				`{"eventType":"VEHICLE_STATE","data":` + odd + `,"meta":` + odd + `,"triggers":` + odd + `,"eventId":` + odd + `}`,
				`{"eventType":"VEHICLE_STATE","data":{"user":` + odd + `,"vehicle":` + odd + `,"signals":` + odd + `,"errors":` + odd + `,"triggers":` + odd + `},"meta":{"mode":` + odd + `,"sequence":` + odd + `,"deliveredAt":` + odd + `,"signalCount":` + odd + `}}`,
				`{"eventType":"VEHICLE_STATE","data":{"user":{"id":"` + user.ID() + `"},"vehicle":{"id":"` + smartcartest.ModelY + `","make":` + odd + `,"model":` + odd + `,"year":` + odd + `},"signals":[{"code":"connectivitystatus-isdigitalkeypaired","body":` + odd + `,"meta":` + odd + `,"status":` + odd + `},{"code":"odometer-traveleddistance","body":{"value":` + odd + `,"unit":` + odd + `},"meta":{"oemUpdatedAt":` + odd + `}}]}}`,
				`{"eventName":"scheduled","payload":{"vehicles":[{"vehicleId":` + odd + `,"data":` + odd + `,"timestamp":` + odd + `},` + odd + `,{"vehicleId":"x","data":[{"path":"/odometer","code":` + odd + `,"body":` + odd + `,"headers":` + odd + `}]}]}}`,
			} {
				require.Contains(t, []int{200, 400}, send(t, receiver, []byte(body)), body)
			}
		}
		access, err := user.Vehicle(smartcartest.ModelY).Access(t.Context())
		require.NoError(t, err)
		require.Equal(t, smartcar.KeyUnknown, access.Key.State)
	})
}

// flakyStore fails at one operation, before or after it was carried out.
type flakyStore struct {
	store.Store
	mu    sync.Mutex
	left  int // operations until the one that fails
	after bool
	tries int // how often in a row it fails: more than the client repeats
}

var errFlaky = errors.New("the store is away")

func (s *flakyStore) fails() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.left--
	return s.left < 0 && s.left >= -s.tries
}

func (s *flakyStore) Load(ctx context.Context, key string) (store.Record, error) {
	if s.fails() {
		return store.Record{}, errFlaky
	}
	return s.Store.Load(ctx, key)
}

func (s *flakyStore) CompareAndSwap(ctx context.Context, key string, old store.Revision, value []byte, ttl time.Duration) (store.Record, error) {
	fails := s.fails()
	if fails && !s.after {
		return store.Record{}, errFlaky
	}
	r, err := s.Store.CompareAndSwap(ctx, key, old, value, ttl)
	if fails {
		return store.Record{}, errFlaky
	}
	return r, err
}

// At whichever step the store fails, the next attempt of Smartcar's takes the
// event: a 200 means that it was handled, and what it shows is known.
func TestWebhookStoreFailsAtEachStep(t *testing.T) {
	for step := range 14 {
		for _, after := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				sim := smartcartest.New()
				db := &flakyStore{Store: store.NewMemory(), left: 1 << 30, after: after, tries: 3}
				client, user := connectedV3(t, sim, smartcar.WithStore(db), smartcar.WithStoredAnswers(smartcar.StoredAnswers{}))
				handled := 0
				receiver := hookReceiver(t, client, smartcar.WebhookOptions{}, func(context.Context, *smartcar.WebhookEvent) error {
					handled++
					return nil
				})
				body := keyError(t, "1", user.ID(), smartcartest.ModelY, "RESOLVED", map[string]any{"sequence": 7})
				db.left = step
				taken := false
				for _, pause := range []time.Duration{25 * time.Second, 50 * time.Second, 100 * time.Second, 0} {
					if status := send(t, receiver, body); status == 200 {
						taken = true
						break
					}
					time.Sleep(pause)
				}
				db.left = 1 << 30
				require.True(t, taken, "%d %v", step, after)
				require.Positive(t, handled)
				before := handled
				require.Equal(t, 200, send(t, receiver, body))
				require.Equal(t, before, handled)
				access, err := user.Vehicle(smartcartest.ModelY).Access(t.Context())
				require.NoError(t, err)
				require.Equal(t, smartcar.KeyInstalled, access.Key.State, "%d %v", step, after)
			})
		}
	}
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
