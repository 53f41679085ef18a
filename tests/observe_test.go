package smartcar_test

import (
	"context"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/smartcartest"
	"github.com/stretchr/testify/require"
)

// watcher is an observer that keeps what it is told.
type watcher struct {
	mu       sync.Mutex
	begun    []smartcar.OperationStart
	attempts []smartcar.AttemptStart
	events   []smartcar.Event
}

func (w *watcher) option() smartcar.Option {
	return smartcar.WithObserver(smartcar.Observer{
		StartOperation: func(ctx context.Context, o smartcar.OperationStart) context.Context {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.begun = append(w.begun, o)
			return ctx
		},
		StartAttempt: func(ctx context.Context, a smartcar.AttemptStart) context.Context {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.attempts = append(w.attempts, a)
			return ctx
		},
		Event: func(_ context.Context, e smartcar.Event) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.events = append(w.events, e)
		},
	})
}

func (w *watcher) forget() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.begun, w.attempts, w.events = nil, nil, nil
}

// seen are the events of one type that a watcher was told.
func seen[E smartcar.Event](w *watcher) (all []E) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, e := range w.events {
		if e, ok := e.(E); ok {
			all = append(all, e)
		}
	}
	return all
}

// namedTransport keeps the operation that each request is sent for.
type namedTransport struct {
	http.RoundTripper
	mu    sync.Mutex
	names []smartcar.Operation
}

func (n *namedTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	n.mu.Lock()
	n.names = append(n.names, smartcar.OperationFromContext(r.Context()))
	n.mu.Unlock()
	return n.RoundTripper.RoundTrip(r)
}

func TestObserverIsToldOfAReadARefusalAndARepetition(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		var w watcher
		names := &namedTransport{RoundTripper: sim.Transport()}
		client := newClientOver(t, sim, names, w.option())
		user := client.User(connect(t, sim, client).UserID)
		w.forget()
		names.names = nil

		car := user.Vehicle(smartcartest.ModelY) // without its key
		_, err := car.Battery(t.Context())
		require.NoError(t, err)
		var ops []smartcar.Operation
		for _, e := range seen[smartcar.OperationEnded](&w) {
			require.Equal(t, smartcar.OutcomeOK, e.Outcome)
			require.Equal(t, 1, e.Attempts)
			require.Equal(t, smartcartest.ModelY, e.VehicleID)
			require.Equal(t, user.ID(), e.UserID)
			require.Equal(t, smartcar.V2, e.API)
			ops = append(ops, e.Operation)
		}
		require.Equal(t, []smartcar.Operation{"attributes", "key-status", "battery"}, ops)
		require.Equal(t, ops, names.names, "the transport knows them, too")
		attempts := seen[smartcar.AttemptEnded](&w)
		require.Len(t, attempts, 3)
		read := attempts[2]
		require.Equal(t, "/v2.0/vehicles/{vehicle}/battery", read.Template)
		require.Equal(t, "api.smartcar.com", read.Server)
		require.Equal(t, "https", read.Scheme)
		require.Equal(t, http.MethodGet, read.Method)
		require.True(t, read.TakesTurn)
		require.True(t, read.Sent)
		require.Equal(t, 1, read.Calls)
		require.Equal(t, 200, read.StatusCode)
		require.NotEmpty(t, read.RequestID)
		require.Equal(t, smartcar.KindData, read.Kind)
		require.Len(t, w.attempts, 3)
		require.Len(t, w.begun, 3)
		require.Equal(t, "battery", string(w.begun[0].Operation), "it begins before what it needs to know")

		w.forget()
		_, err = car.Battery(t.Context())
		require.ErrorIs(t, err, smartcar.ErrRateLimited)
		refused := seen[smartcar.Refused](&w)
		require.Len(t, refused, 1)
		require.Equal(t, smartcar.RuleKeyless, refused[0].Rule)
		require.True(t, refused[0].Local)
		next, _ := smartcar.NextAllowed(err)
		require.Equal(t, next, refused[0].NextAllowed)
		require.Empty(t, w.attempts)
		_, err = car.With(smartcar.AllowStale()).Battery(t.Context())
		require.NoError(t, err)
		cached := seen[smartcar.CachedAnswer](&w)
		require.Len(t, cached, 1)
		require.True(t, cached[0].Stale)

		w.forget()
		sim.Inject(smartcartest.Fault{Path: "/odometer", ErrorType: "UPSTREAM", ErrorCode: "NO_RESPONSE", Times: 1})
		_, err = user.Vehicle(smartcartest.MachE).Odometer(t.Context())
		require.NoError(t, err)
		retried := seen[smartcar.Retried](&w)
		require.Len(t, retried, 1)
		require.Equal(t, 1, retried[0].Attempt)
		require.Equal(t, smartcar.FailureUnavailable, retried[0].Failure)
		attempts = seen[smartcar.AttemptEnded](&w)
		require.Equal(t, []int{1, 2}, []int{attempts[1].Number, attempts[2].Number})
		require.Equal(t, "UPSTREAM", attempts[1].Type)
	})
}

// A caller who leaves is told of what has happened so far; what comes later is told when
// it comes, and Drain waits for it.
func TestObserverIsToldWhatHappensAfterTheCallerHasLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		var w watcher
		client, user := connected(t, sim, w.option())
		sim.Inject(smartcartest.Fault{Path: "/battery", LatencyAfter: time.Minute, Times: 1})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := user.Vehicle(smartcartest.ModelY).Battery(ctx)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		ended := seen[smartcar.OperationEnded](&w)
		last := ended[len(ended)-1]
		require.Equal(t, smartcar.Battery, last.Operation)
		require.Equal(t, smartcar.OutcomeLeft, last.Outcome)
		require.Equal(t, 1, last.Attempts)
		before := len(seen[smartcar.AttemptEnded](&w))
		require.NoError(t, client.Drain(t.Context()))
		attempts := seen[smartcar.AttemptEnded](&w)
		require.Len(t, attempts, before+1)
		require.Equal(t, 200, attempts[before].StatusCode)
		require.Equal(t, time.Minute, attempts[before].Duration)
	})
}
