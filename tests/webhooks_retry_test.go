package smartcar_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/smartcartest"
	"github.com/seed-498a1bc4/smartcar/store"
	"github.com/stretchr/testify/require"
)

// runDeliveries delivers until nothing is left to be tried again.
func runDeliveries(t testing.TB, sim *smartcartest.Server) (all []smartcartest.Delivery) {
	t.Helper()
	for {
		sent, err := sim.Deliver(t.Context())
		require.NoError(t, err)
		all = append(all, sent...)
		var next time.Time
		for _, d := range sent {
			if !d.Retry.IsZero() && (next.IsZero() || d.Retry.Before(next)) {
				next = d.Retry
			}
		}
		if next.IsZero() {
			return all
		}
		time.Sleep(time.Until(next))
	}
}

// A handler that fails, panics or is too slow gets the event again, with the
// same id, until it succeeds; then never again.
func TestWebhookIsHandedOverUntilItIsHandled(t *testing.T) {
	for name, tt := range map[string]struct {
		first  func(ctx context.Context) error
		status int
	}{
		"an error":            {func(context.Context) error { return errOfTheApp }, 500},
		"the end of its time": {func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }, 500},
		"a panic":             {func(context.Context) error { panic("boom") }, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sim := smartcartest.New()
				var log strings.Builder
				client, user := connected(t, sim, smartcar.WithLogger(slog.New(slog.NewTextHandler(&log, nil))))
				var ids []string
				var deadlines []time.Duration
				receiver := receiverOf(t, client, func(ctx context.Context, e *smartcar.WebhookEvent) error {
					ids = append(ids, e.EventID)
					end, ok := ctx.Deadline()
					require.True(t, ok)
					deadlines = append(deadlines, time.Until(end))
					if len(ids) <= 2 {
						return tt.first(ctx)
					}
					return nil
				})
				survivor := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					defer func() {
						if recover() != nil { // as net/http does
							panic(http.ErrAbortHandler)
						}
					}()
					receiver.ServeHTTP(w, r)
				})
				hook := hookUp(t, sim, survivor, smartcartest.Webhook{})
				require.NoError(t, user.Vehicle(smartcartest.MachE).Subscribe(t.Context(), hook))
				sent := runDeliveries(t, sim)
				require.Len(t, sent, 3)
				require.Equal(t, []int{tt.status, tt.status, 200}, []int{sent[0].Status, sent[1].Status, sent[2].Status})
				require.Equal(t, []string{ids[0], ids[0], ids[0]}, ids)
				for _, d := range deadlines {
					require.Equal(t, 12*time.Second, d)
				}
				// Sent once more by somebody who recorded it.
				again := webhookRequest(sent[2].Body, sent[2].Signature)
				w := httptest.NewRecorder()
				receiver.ServeHTTP(w, again)
				require.Equal(t, 200, w.Code)
				require.Len(t, ids, 3)
				require.NotContains(t, log.String(), errOfTheApp.Error())
				require.NotContains(t, w.Body.String(), errOfTheApp.Error())
			})
		})
	}
}

// The handler has done its work, and its process dies before that is stored: the
// event is handed over again, at least once.
func TestWebhookOfAKilledHandler(t *testing.T) {
	bothAPIs(t, func(t *testing.T, sim *smartcartest.Server, _ *smartcar.Client, user *smartcar.User) {
		newReplica := newClient
		if t.Name()[strings.LastIndex(t.Name(), "/"):] == "/v3" {
			newReplica = newClientV3
		}
		shared := store.NewMemory()
		dying := &awayStore{Store: shared}
		handed := 0
		first := receiverOf(t, newReplica(t, sim, smartcar.WithStore(dying)), func(context.Context, *smartcar.WebhookEvent) error {
			handed++
			dying.away.Store(true) // nothing it does reaches anybody from here on
			return nil
		})
		second := receiverOf(t, newReplica(t, sim, smartcar.WithStore(shared)), func(context.Context, *smartcar.WebhookEvent) error {
			handed += 100
			return nil
		})
		attempts := 0
		hook := hookUp(t, sim, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if attempts++; attempts == 2 { // after VERIFY
				first.ServeHTTP(w, r)
				return
			}
			second.ServeHTTP(w, r)
		}), smartcartest.Webhook{})
		require.NoError(t, user.Vehicle(smartcartest.MachE).Subscribe(t.Context(), hook))
		sent := runDeliveries(t, sim)
		require.Len(t, sent, 2)
		require.Equal(t, []int{503, 200}, []int{sent[0].Status, sent[1].Status})
		require.Equal(t, 101, handed)
	})
}

// While one handler has an event, another one waits for the outcome.
func TestWebhookIsHandedToOneAtATime(t *testing.T) {
	for name, tt := range map[string]struct {
		takes  time.Duration
		err    error
		status [2]int
		calls  int
	}{
		"it succeeds": {5 * time.Second, nil, [2]int{200, 200}, 1},
		"it fails":    {5 * time.Second, errOfTheApp, [2]int{500, 200}, 2},
		"it is slow":  {14 * time.Second, nil, [2]int{200, 503}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				db := store.NewMemory()
				sim := smartcartest.New()
				var calls, running atomic.Int32
				handle := func(context.Context, *smartcar.WebhookEvent) error {
					require.EqualValues(t, 1, running.Add(1))
					defer running.Add(-1)
					if calls.Add(1) > 1 {
						return nil
					}
					time.Sleep(tt.takes)
					return tt.err
				}
				body := []byte(readFixture(t, "webhooks/vehicle-state").Request.Body)
				var status [2]int
				for i := range 2 {
					receiver := hookReceiver(t, newClient(t, sim, smartcar.WithStore(db)), smartcar.WebhookOptions{}, handle)
					go func() {
						time.Sleep(time.Duration(i) * time.Second)
						status[i] = send(t, receiver, body)
					}()
				}
				time.Sleep(time.Minute)
				synctest.Wait()
				require.Equal(t, tt.status, status)
				require.EqualValues(t, tt.calls, calls.Load())
			})
		})
	}
}

// Evidence that could not be stored must not get lost: nobody has the event
// until it is.
func TestWebhookWhileTheStoreIsAway(t *testing.T) {
	for _, keys := range []string{"", "webhook/event/", "webhook/key/", "car/", "user/"} {
		t.Run("lost "+keys, func(t *testing.T) { testStoreAway(t, keys) })
	}
}

func testStoreAway(t *testing.T, keys string) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		db := &awayStore{Store: store.NewMemory(), keys: keys}
		client, user := connected(t, sim, smartcar.WithStore(db))
		handed := 0
		receiver := receiverOf(t, client, func(context.Context, *smartcar.WebhookEvent) error { handed++; return nil })
		car := user.Vehicle(smartcartest.ModelY)
		require.NoError(t, car.Subscribe(t.Context(), hookUp(t, sim, receiver, smartcartest.Webhook{})))
		db.away.Store(true)
		sent, err := sim.Deliver(t.Context())
		require.NoError(t, err)
		require.Len(t, sent, 1)
		require.Equal(t, 503, sent[0].Status)
		require.Zero(t, handed)
		db.away.Store(false)
		time.Sleep(25 * time.Second)
		deliver(t, sim)
		require.Equal(t, 1, handed)
		access, err := car.Access(t.Context())
		require.NoError(t, err)
		require.Equal(t, smartcar.KeyMissing, access.Key.State)
	})
}

// Remembered for as long as was asked for, whatever sends it again.
func TestWebhookIsRememberedForAWeek(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		handed := 0
		receiver := hookReceiver(t, newClient(t, smartcartest.New()), smartcar.WebhookOptions{}, func(context.Context, *smartcar.WebhookEvent) error {
			handed++
			return nil
		})
		body := []byte(readFixture(t, "webhooks/v2.scheduled").Request.Body) // which has no id of its own
		for range 7 * 24 {
			require.Equal(t, 200, send(t, receiver, body))
			time.Sleep(time.Hour)
		}
		require.Equal(t, 1, handed)
		require.Equal(t, 200, send(t, receiver, body))
		require.Equal(t, 2, handed)
		other := []byte(readFixture(t, "webhooks/v2.schedule").Request.Body)
		require.Equal(t, 200, send(t, receiver, other))
		require.Equal(t, 3, handed, "another body, another event")
	})
}

// What is logged is the reason; what is printed of a receiver, nothing.
func TestWebhookReceiverSaysNothing(t *testing.T) {
	var log strings.Builder
	client := newClient(t, smartcartest.New(), smartcar.WithLogger(slog.New(slog.NewJSONHandler(&log, nil))))
	receiver := hookReceiver(t, client, smartcar.WebhookOptions{}, nil)
	// The markers have characters that no address has which package fmt may print.
	const value, signature = "411.2718281828", "ABAB"
	body := strings.ReplaceAll(string(readFixture(t, "webhooks/vehicle-state").Request.Body), "411", value)
	require.Contains(t, body, value)
	receiver.ServeHTTP(httptest.NewRecorder(), webhookRequest([]byte(body), strings.Repeat(signature, 16)))
	require.Contains(t, log.String(), `"wrong-signature"`)
	for _, verb := range []string{"%v", "%+v", "%#v"} {
		log.WriteString(fmt.Sprintf(verb, receiver))
	}
	for _, hidden := range []string{
		webhookSecret, signature, strings.ToLower(strings.Repeat(signature, 16)), value, "user-external-id-123", stringsOf([]byte(webhookSecret)),
	} {
		require.NotContains(t, log.String(), hidden)
	}
}

func stringsOf(b []byte) string { return strings.Trim(fmt.Sprint(b), "[]") }

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

// flakyStore fails at one operation, before or after it was carried out.
type flakyStore struct {
	store.Store
	mu    sync.Mutex
	left  int // operations until the one that fails
	after bool
	tries int // how often in a row it fails: more than the client repeats
}

func (s *flakyStore) fails() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.left--
	return s.left < 0 && s.left >= -s.tries
}

func (s *flakyStore) Load(ctx context.Context, key string) (store.Record, error) {
	if s.fails() {
		return store.Record{}, errStoreDown
	}
	return s.Store.Load(ctx, key)
}

func (s *flakyStore) CompareAndSwap(ctx context.Context, key string, old store.Revision, value []byte, ttl time.Duration) (store.Record, error) {
	fails := s.fails()
	if fails && !s.after {
		return store.Record{}, errStoreDown
	}
	r, err := s.Store.CompareAndSwap(ctx, key, old, value, ttl)
	if fails {
		return store.Record{}, errStoreDown
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

// The lease of a handler is dated by a clock that is a little ahead of the store's.
func TestEventHasOneHandlerWhileAClockIsALittleAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		db := store.NewMemory()
		clock := new(steppingClock)
		here, user := connected(t, sim, smartcar.WithStore(db), smartcar.WithClock(clock))
		there := newClient(t, sim, smartcar.WithStore(db))
		var at, most atomic.Int64
		handle := func(context.Context, *smartcar.WebhookEvent) error {
			most.Store(max(most.Load(), at.Add(1)))
			time.Sleep(5 * time.Second)
			at.Add(-1)
			return nil
		}
		o := smartcar.WebhookOptions{Timeout: 14 * time.Second}
		a, b := hookReceiver(t, here, o, handle), hookReceiver(t, there, o, handle)
		event := pushed("event-1", user, smartcartest.Model3, time.Minute, odometerOf(100)).body(t)
		clock.step(900 * time.Millisecond)
		var sent sync.WaitGroup
		sent.Go(func() { require.Equal(t, http.StatusOK, send(t, a, event)) })
		synctest.Wait()
		sent.Go(func() { require.Equal(t, http.StatusOK, send(t, b, event)) })
		sent.Wait()
		require.EqualValues(t, 1, most.Load())
	})
}
