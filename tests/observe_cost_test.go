package smartcar_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strings"
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

// An observer that takes an hour over each event holds up its own caller alone: the turn
// is settled, the tokens are stored, and those who share the answer have it, before it is
// told.
func TestSlowObserverHoldsUpItsOwnCallerAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		db := store.NewMemory()
		var slow atomic.Bool
		var told atomic.Int64
		client, user := connected(t, sim, smartcar.WithStore(db), smartcar.WithObserver(smartcar.Observer{
			Event: func(context.Context, smartcar.Event) {
				if told.Add(1); slow.Load() {
					time.Sleep(time.Hour)
				}
			},
		}))
		other := newClient(t, sim, smartcar.WithStore(db))
		car := user.Vehicle(smartcartest.ModelY)
		time.Sleep(3 * time.Hour) // the token has run out
		slow.Store(true)
		sim.Inject(smartcartest.Fault{Path: "/odometer", LatencyAfter: time.Minute})
		before := told.Load()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		began := time.Now()
		done := make(chan time.Duration, 2)
		go func() {
			if _, err := car.Odometer(ctx); err == nil {
				done <- time.Since(began)
			}
		}()
		time.Sleep(30 * time.Second) // the request is under way
		synctest.Wait()
		require.Equal(t, before, told.Load(), "nothing is told while the turn is held")
		go func() { // shares the answer, and is told of that
			if _, err := car.Odometer(ctx); err == nil {
				done <- time.Since(began)
			}
		}()
		time.Sleep(time.Minute)
		synctest.Wait()
		require.Greater(t, told.Load(), before, "the answer is there, and the observers are busy")
		require.Empty(t, done)

		// Another process meets a settled turn, and the new tokens.
		requests := sim.TokenRequests()
		_, err := other.User(user.ID()).Vehicle(car.ID()).Odometer(t.Context())
		refusal := requireKeyless(t, err)
		require.False(t, refusal.InFlight)
		require.WithinDuration(t, began.Add(time.Minute+window), refusal.NextAllowed, time.Second)
		_, err = other.User(user.ID()).Vehicle(smartcartest.MachE).Odometer(t.Context())
		require.NoError(t, err)
		require.Equal(t, requests, sim.TokenRequests())

		shared, asked := <-done, <-done
		require.Equal(t, time.Minute+2*time.Hour, shared, "is told of its operation and of a kept answer")
		require.Greater(t, asked, shared, "who asked is told more")
		require.NoError(t, client.Drain(t.Context()))
	})
}

// A panic of an observer is recovered wherever it happens, counted, and logged once
// without what it said.
func TestPanicOfAnObserverIsRecoveredAndCounted(t *testing.T) {
	var logs bytes.Buffer
	sim := smartcartest.New()
	client, user := connected(t, sim, smartcar.WithLogger(slog.New(slog.NewTextHandler(&logs, nil))), smartcar.WithObserver(smartcar.Observer{
		StartOperation: func(context.Context, smartcar.OperationStart) context.Context { panic(secretAccess) },
		StartAttempt:   func(context.Context, smartcar.AttemptStart) context.Context { panic(secretAccess) },
		Event:          func(context.Context, smartcar.Event) { panic(secretAccess) },
	}))
	before := client.ObserverPanics()
	_, err := user.Vehicle(smartcartest.MachE).Odometer(t.Context())
	require.NoError(t, err)
	require.EqualValues(t, 2*4+1, client.ObserverPanics()-before, "of attributes and odometer each two starts and two ends; of the class its change")
	require.Equal(t, 1, strings.Count(logs.String(), "an observer panicked"))
	require.NotContains(t, logs.String(), secretAccess)
	require.Contains(t, logs.String(), "observe_cost_test.go", "where it was is logged")
	require.Zero(t, newClient(t, sim).ObserverPanics())
	require.Zero(t, new(smartcar.Client).ObserverPanics())
}

// An observer that returns no context, or is made of one function alone, does no harm; and
// one without any is an error.
func TestObserverMayLackFunctions(t *testing.T) {
	sim := smartcartest.New()
	_, err := smartcar.New(bothConfig(), smartcar.WithAPI(smartcar.V2), smartcar.WithObserver(smartcar.Observer{}))
	requireArgumentError(t, err, "WithObserver")
	type key struct{}
	var derived atomic.Int64
	_, user := connected(t, sim,
		smartcar.WithObserver(smartcar.Observer{StartOperation: func(context.Context, smartcar.OperationStart) context.Context { return nil }}),
		smartcar.WithObserver(smartcar.Observer{
			StartOperation: func(ctx context.Context, o smartcar.OperationStart) context.Context {
				return context.WithValue(ctx, key{}, o.Operation)
			},
			StartAttempt: func(ctx context.Context, a smartcar.AttemptStart) context.Context {
				if ctx.Value(key{}) == a.Operation && smartcar.OperationFromContext(ctx) == a.Operation {
					derived.Add(1)
				}
				return ctx
			},
			Event: func(ctx context.Context, e smartcar.Event) {
				if _, ok := e.(smartcar.AttemptEnded); ok && ctx.Value(key{}) == e.Subject().Operation {
					derived.Add(1)
				}
			},
		}))
	before := derived.Load()
	_, err = user.Vehicle(smartcartest.MachE).Odometer(t.Context())
	require.NoError(t, err)
	require.EqualValues(t, 4, derived.Load()-before, "attributes and odometer, the start and the end of each attempt")
	require.Empty(t, smartcar.OperationFromContext(t.Context()))
	require.Empty(t, smartcar.OperationFromContext(noContext()))
}

// The transport knows what each request is for, those for tokens included.
func TestTransportKnowsTheOperation(t *testing.T) {
	for api, want := range map[smartcar.API][]smartcar.Operation{
		smartcar.V2: {"code-exchange", "user", "attributes", "odometer", "token-refresh", "odometer"},
		smartcar.V3: {"application-token", "connections", "attributes", "odometer", "application-token", "odometer"},
	} {
		t.Run(string(api), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sim := smartcartest.New()
				names := &namedTransport{RoundTripper: sim.Transport()}
				client := borderClient(t, sim, api, names)
				user := client.User(connect(t, sim, client).UserID)
				for range 2 {
					_, err := user.Vehicle(smartcartest.MachE).Odometer(t.Context())
					require.NoError(t, err)
					time.Sleep(3 * time.Hour)
				}
				require.Equal(t, want, names.names)
			})
		})
	}
}

// A month that is used up is told once, whoever says so, and each visit.
func TestObserverIsToldOfVisitsAndOfASpentMonth(t *testing.T) {
	onEitherAPI(t, func(t *testing.T, sim *smartcartest.Server, api smartcar.API) {
		var w watcher
		client := borderClient(t, sim, api, sim.Transport(), w.option(),
			smartcar.WithStoredAnswers(smartcar.StoredAnswers{}), smartcar.WithBudget(smartcar.Budget{PerVehicle: 4, FreeMetadata: true}))
		user := client.User(connect(t, sim, client).UserID)
		ctx, car := t.Context(), user.Vehicle(smartcartest.MachE)
		for range 2 {
			_, err := car.Visit(ctx, func(context.Context, *smartcar.Snapshot) error { return nil }, smartcar.Battery)
			require.NoError(t, err)
			time.Sleep(24 * time.Hour)
		}
		visits := seen[smartcar.Visited](&w)
		require.Len(t, visits, 2)
		require.True(t, visits[0].Asked)
		require.True(t, visits[0].News)
		require.True(t, visits[0].Counted)
		require.Equal(t, smartcar.ClassOther, visits[0].Class)
		require.Equal(t, 3, visits[0].Left)
		require.False(t, visits[1].Asked, "its month is spread over all of it")
		for i := range 6 {
			_, err := car.Battery(ctx)
			require.Equal(t, i >= 3, errors.Is(err, smartcar.ErrRateLimited), "%d: %v", i, err)
		}
		for range 2 { // a command that is sent all the same does not make it news
			_, err := car.Lock(ctx)
			require.NoError(t, err)
			_, err = car.Battery(ctx)
			require.ErrorIs(t, err, smartcar.ErrRateLimited)
		}
		spent := seen[smartcar.BudgetSpent](&w)
		require.Len(t, spent, 1)
		require.Equal(t, car.ID(), spent[0].VehicleID)
		require.False(t, spent[0].BySmartcar)
		require.NotZero(t, spent[0].Until)

		other := user.Vehicle(smartcartest.ModelS2018)
		w.forget()
		sim.Inject(smartcartest.Fault{Path: dataPath(api), ErrorType: "BILLING", ErrorCode: "VEHICLE_REQUEST_LIMIT", Times: -1})
		for range 3 {
			_, err := other.Battery(ctx)
			require.ErrorIs(t, err, smartcar.ErrRateLimited)
		}
		spent = seen[smartcar.BudgetSpent](&w)
		require.Len(t, spent, 1)
		require.True(t, spent[0].BySmartcar)
		refused := seen[smartcar.Refused](&w)
		require.Len(t, refused, 3)
		require.Equal(t, []bool{false, true, true}, []bool{refused[0].Local, refused[1].Local, refused[2].Local})
	})
}

// An error that stands inside an answer of 200 is told like one of the whole request.
func TestObserverIsToldOfErrorsInsideAnAnswer(t *testing.T) {
	var w watcher
	m := newMadeUp(t, aModelY, w.option())
	m.signals = []string{
		signalEntry(signals.ClosureIsLocked, `{"value":"ERROR","error":{"type":"CONNECTED_SERVICES_ACCOUNT","code":"VIRTUAL_KEY_REQUIRED"}}`, `{"value":null}`, ``),
		signalEntry(signals.OdometerTraveledDistance, success, `{"value":10,"unit":"km"}`, ``),
	}
	_, err := m.LockStatus(t.Context())
	require.ErrorIs(t, err, smartcar.ErrVirtualKeyRequired)
	ended := seen[smartcar.OperationEnded](&w)
	require.NotEmpty(t, ended)
	require.Equal(t, smartcar.OutcomeFailed, ended[len(ended)-1].Outcome)
	require.Equal(t, smartcar.FailureKeyRequired, ended[len(ended)-1].Failure)
	refused := seen[smartcar.Refused](&w)
	require.Len(t, refused, 1)
	require.Equal(t, smartcar.RuleVirtualKey, refused[0].Rule)
}

// A server's sentence in the place of a code says nothing to observers.
func TestObserverGetsNoSentenceForACode(t *testing.T) {
	var w watcher
	m := newMadeUp(t, aFord, w.option())
	inner := m.tap.instead
	m.tap.instead = func(r sentRequest) *http.Response {
		if strings.Contains(r.path, "/signals") {
			return respond(400, `{"error":"no vehicle 5YJ3E1EA7KF000316 near 52.52,13.40"}`)
		}
		return inner(r)
	}
	_, err := m.Odometer(t.Context())
	require.Error(t, err)
	attempts := seen[smartcar.AttemptEnded](&w)
	require.NotEmpty(t, attempts)
	require.Equal(t, "other", attempts[len(attempts)-1].Code)
}

// A delivery whose handler panics is told, and stands in the diagnosis.
func TestObserverIsToldOfAHandlerThatPanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		var w watcher
		client := newClientV3(t, sim, w.option())
		user := client.User(connect(t, sim, client).UserID)
		receiver := hookReceiver(t, client, smartcar.WebhookOptions{}, func(context.Context, *smartcar.WebhookEvent) error { panic("boom") })
		body := keyError(t, "event", user.ID(), smartcartest.ModelY, "ERROR", nil)
		require.Panics(t, func() { _ = send(t, receiver, body) })
		told := seen[smartcar.WebhookReceived](&w)
		require.Len(t, told, 1)
		require.Equal(t, smartcar.VerdictRefused, told[0].Verdict)
		require.Equal(t, smartcar.WebhookHandlerFailed, told[0].Reason)
		diagnosis, err := user.Vehicle(smartcartest.ModelY).Diagnosis(t.Context())
		require.NoError(t, err)
		require.Equal(t, smartcar.WebhookHandlerFailed, diagnosis.Delivery.Reason)
	})
}

// A request that is sent again with another token is one call of the month, as it is for
// the budget.
func TestObserverCountsARequestOnceThatWasRefusedForItsToken(t *testing.T) {
	onEitherAPI(t, func(t *testing.T, sim *smartcartest.Server, api smartcar.API) {
		var w watcher
		client := borderClient(t, sim, api, sim.Transport(), w.option(), smartcar.WithBudget(smartcar.Budget{PerVehicle: 500}))
		car := client.User(connect(t, sim, client).UserID).Vehicle(smartcartest.MachE)
		_, err := car.Odometer(t.Context()) // the class is known from here on
		require.NoError(t, err)
		w.forget()
		sim.Inject(smartcartest.Fault{Path: dataPath(api), Status: 401, Times: 1})
		_, err = car.Battery(t.Context())
		require.NoError(t, err)
		calls := 0
		attempts := seen[smartcar.AttemptEnded](&w)
		for _, a := range attempts {
			calls += a.Calls
		}
		require.Len(t, attempts, 2)
		require.Equal(t, 1, calls)
	})
}
