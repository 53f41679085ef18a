package smartcar_test

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
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

// bookkeeper is an observer with a log beside it.
type bookkeeper struct {
	watcher
	logs bytes.Buffer
}

func (b *bookkeeper) options() []smartcar.Option {
	return []smartcar.Option{
		b.option(), smartcar.WithLogger(slog.New(slog.NewJSONHandler(&b.logs, &slog.HandlerOptions{Level: slog.LevelDebug}))),
	}
}

// lines are the lines of the log with a message.
func (b *bookkeeper) lines(t *testing.T, message string) (all []map[string]any) {
	t.Helper()
	for line := range strings.Lines(b.logs.String()) {
		var entry map[string]any
		require.NoError(t, json.Unmarshal([]byte(line), &entry))
		if entry["msg"] == message {
			all = append(all, entry)
		}
	}
	return all
}

// counted is how many events the lines stand for.
func counted(lines []map[string]any) (n int) {
	for _, line := range lines {
		if count, ok := line["count"].(float64); ok {
			n += int(count)
			continue
		}
		n++
	}
	return n
}

// A story on both APIs, of which the observer, the log and the ledger of the simulator
// tell the same.
func TestObserverLogAndLedgerTellTheSameStory(t *testing.T) {
	onEitherAPI(t, func(t *testing.T, sim *smartcartest.Server, api smartcar.API) {
		var book bookkeeper
		begin := connected
		if api == smartcar.V3 {
			begin = connectedV3
		}
		client, user := begin(t, sim, book.options()...)
		ctx := t.Context()
		keyless, other := user.Vehicle(smartcartest.ModelY), user.Vehicle(smartcartest.MachE)
		refusals := map[smartcar.Rule]int{}
		refused := func(err error, rule smartcar.Rule) {
			t.Helper()
			require.Error(t, err)
			refusals[rule]++
		}

		receiver := receiverOf(t, client, nil)
		hook := hookUp(t, sim, receiver, smartcartest.Webhook{Duplicate: true})
		require.NoError(t, keyless.Subscribe(ctx, hook))
		deliver(t, sim)

		_, err := keyless.Odometer(ctx) // takes the turn
		require.NoError(t, err)
		for range 7 {
			time.Sleep(25 * time.Second)
			_, err = keyless.Odometer(ctx)
			refused(err, smartcar.RuleKeyless)
		}
		_, err = keyless.Lock(ctx)
		refused(err, smartcar.RuleVirtualKey)
		_, err = keyless.With(smartcar.AllowStale()).Odometer(ctx)
		require.NoError(t, err)
		refusals[smartcar.RuleKeyless]++

		path := "/" + string(smartcar.Odometer)
		if api == smartcar.V3 {
			path = "/signals"
		}
		_, err = other.Odometer(ctx)
		require.NoError(t, err)
		sim.Inject(smartcartest.Fault{Path: path, ErrorType: "UPSTREAM", ErrorCode: "NO_RESPONSE", Times: 4})
		_, err = other.Odometer(ctx)
		require.ErrorIs(t, err, smartcar.ErrUnavailable) // after three attempts
		_, err = other.Odometer(ctx)
		require.NoError(t, err) // after two

		time.Sleep(3 * time.Hour) // the tokens run out
		_, err = other.Odometer(ctx)
		require.NoError(t, err)
		if api == smartcar.V3 {
			sim.ExpireAppTokens()
		} else {
			sim.ExpireAccessTokens()
		}
		_, err = other.Odometer(ctx) // a 401, another token, and again
		require.NoError(t, err)

		require.NoError(t, sim.Pair(keyless.ID()))
		time.Sleep(time.Second)
		deliver(t, sim)
		_, err = keyless.Lock(ctx)
		require.NoError(t, err)
		_, err = keyless.Odometer(ctx)
		require.NoError(t, err)
		time.Sleep(time.Hour)
		require.NoError(t, sim.Unpair(keyless.ID()))
		deliver(t, sim)
		for range 3 {
			status, _, err := receiver.Receive(ctx, http.Header{"Sc-Signature": {strings.Repeat("0", 64)}}, []byte(`{"eventType":"VEHICLE_STATE"}`))
			require.Equal(t, 401, status)
			require.ErrorIs(t, err, smartcar.ErrWebhookRefused)
		}
		require.NoError(t, client.Drain(ctx))

		// Each request is one attempt, in the order of the ledger.
		attempts := seen[smartcar.AttemptEnded](&book.watcher)
		repeated := 0
		for _, a := range attempts {
			require.True(t, a.Sent)
			require.NotContains(t, a.Template, user.ID())
			if a.Number > 1 {
				repeated++
			}
		}
		for _, car := range []string{keyless.ID(), other.ID()} {
			var statuses []int
			for _, entry := range sim.Ledger(car) {
				statuses = append(statuses, entry.Status)
			}
			require.Equal(t, statuses, statusesOf(attempts, car), car)
		}
		asked := 0
		for _, r := range sim.Requests() {
			if strings.HasPrefix(r.Path, "/v2.0/") || strings.HasPrefix(r.Path, "/v3/") {
				asked++
			}
		}
		require.Len(t, attempts, asked)
		inOperations := 0
		for _, o := range seen[smartcar.OperationEnded](&book.watcher) {
			inOperations += o.Attempts
		}
		require.Equal(t, asked, inOperations)
		require.Len(t, seen[smartcar.Retried](&book.watcher), repeated-1, "but for the one after the 401")
		require.Equal(t, 3, repeated-1)

		// Tokens.
		tokens := sim.TokenRequests() - 1 // the first is for the code
		if api == smartcar.V3 {
			tokens = sim.AppTokenRequests()
		}
		refreshed := seen[smartcar.TokenRefreshed](&book.watcher)
		require.Len(t, refreshed, tokens)
		require.GreaterOrEqual(t, tokens, 2)
		for _, r := range refreshed {
			require.Equal(t, api == smartcar.V3, r.Application)
			require.Equal(t, smartcar.OutcomeOK, r.Outcome)
			if api == smartcar.V2 {
				require.Equal(t, user.ID(), r.UserID)
			}
		}

		// Refusals.
		byRule := map[smartcar.Rule]int{}
		for _, r := range seen[smartcar.Refused](&book.watcher) {
			require.True(t, r.Local)
			byRule[r.Rule]++
		}
		require.Equal(t, refusals, byRule)

		// Keys.
		var keys []string
		for _, k := range seen[smartcar.KeyChanged](&book.watcher) {
			require.Equal(t, keyless.ID(), k.VehicleID)
			keys = append(keys, k.From.String()+">"+k.To.String())
		}
		require.Equal(t, []string{"unknown>missing", "missing>installed", "installed>missing"}, keys)

		// Webhooks.
		verdicts := map[smartcar.WebhookVerdict]int{}
		events := map[string]int{}
		for _, d := range sim.Deliveries() {
			if events[d.EventID]++; d.EventType == "VERIFY" {
				events[d.EventID] = 0
			}
		}
		want := map[smartcar.WebhookVerdict]int{smartcar.VerdictVerified: 1, smartcar.VerdictRefused: 3}
		for _, n := range events {
			if n > 0 {
				want[smartcar.VerdictAccepted]++
				want[smartcar.VerdictRepeated] += n - 1
			}
		}
		for _, w := range seen[smartcar.WebhookReceived](&book.watcher) {
			verdicts[w.Verdict]++
			if w.Verdict == smartcar.VerdictAccepted {
				require.Equal(t, keyless.ID(), w.VehicleID)
				require.Equal(t, 200, w.StatusCode)
			}
		}
		require.Equal(t, want, verdicts)

		// The log has a line for each, and counts repeated refusals.
		for message, n := range map[string]int{
			"smartcar request": len(attempts), "smartcar operation": len(seen[smartcar.OperationEnded](&book.watcher)),
			"smartcar repeats a request": 3, "smartcar token": tokens, "smartcar key": len(keys),
			"smartcar class":             len(seen[smartcar.ClassChanged](&book.watcher)),
			"smartcar kept answer":       len(seen[smartcar.CachedAnswer](&book.watcher)),
			"smartcar refused":           len(seen[smartcar.Refused](&book.watcher)),
			"smartcar refused a webhook": 3,
			"smartcar webhook":           want[smartcar.VerdictAccepted] + want[smartcar.VerdictRepeated] + want[smartcar.VerdictVerified],
		} {
			require.Equal(t, n, counted(book.lines(t, message)), message)
		}
		lines := book.lines(t, "smartcar refused")
		require.Less(t, len(lines), 7, "8 refusals by one rule within 3 minutes, and one by another")
		require.Equal(t, "INFO", lines[0]["level"])
		require.Len(t, book.lines(t, "smartcar refused a webhook"), 2, "the first, and the rest when the client was drained")
	})
}

// statusesOf are the statuses of the attempts at the API of vehicles.
func statusesOf(attempts []smartcar.AttemptEnded, car string) (statuses []int) {
	for _, a := range attempts {
		if a.VehicleID == car && strings.Contains(a.Template, "/vehicles/{vehicle}") {
			statuses = append(statuses, a.StatusCode)
		}
	}
	return statuses
}

// What the functions of an application do under the context that they were given is told,
// also when they keep it; and two clients do not tell each other's events.
func TestEventsUnderAKeptContextAreTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		var w, others watcher
		client, user := connected(t, sim, w.option())
		other := newClient(t, sim, others.option(), smartcar.WithStore(store.NewMemory()))
		otherUser := other.User(connect(t, sim, other).UserID)
		car := user.Vehicle(smartcartest.MachE)
		var keeps context.Context
		receiver := receiverOf(t, client, func(ctx context.Context, _ *smartcar.WebhookEvent) error {
			keeps = context.WithoutCancel(ctx)
			_, err := car.Odometer(ctx)
			require.NoError(t, err)
			_, err = otherUser.Vehicle(smartcartest.MachE).Odometer(ctx)
			return err
		})
		require.NoError(t, car.Subscribe(t.Context(), hookUp(t, sim, receiver, smartcartest.Webhook{})))
		w.forget()
		others.forget()
		deliver(t, sim)
		operations := func(w *watcher) (ops []smartcar.Operation) {
			for _, o := range seen[smartcar.OperationEnded](w) {
				ops = append(ops, o.Operation)
			}
			return ops
		}
		require.Contains(t, operations(&w), smartcar.Odometer)
		require.Contains(t, operations(&others), smartcar.Odometer)
		before := len(operations(&w))
		require.Equal(t, []smartcar.Operation{"attributes", "odometer"}, operations(&others))
		require.Empty(t, seen[smartcar.WebhookReceived](&others))
		_, err := car.Battery(keeps)
		require.NoError(t, err)
		require.Len(t, operations(&w), before+1, "the webhook is over")
	})
}
