package otelsmartcar_test

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/fleet"
	"github.com/seed-498a1bc4/smartcar/otelsmartcar"
	"github.com/seed-498a1bc4/smartcar/smartcartest"
	"github.com/stretchr/testify/require"
)

var apis = []smartcar.API{smartcar.V2, smartcar.V3}

// A story is what happens to one owner's cars on one API, and what their program has
// seen of it itself.
type story struct {
	t      *testing.T
	sim    *smartcartest.Server
	client *smartcar.Client
	user   *smartcar.User
	told   told

	refused map[smartcar.Rule]int
	retries int
	forged  int // deliveries of webhooks that the simulator did not send
}

// tell lets the story happen, with the observers of a lab, and calls look at its end.
func tell(t *testing.T, l *lab, api smartcar.API, look func(*testing.T, *story), opts ...otelsmartcar.Option) {
	t.Helper()
	t.Run(string(api), func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := &story{t: t, sim: smartcartest.New(), refused: make(map[smartcar.Rule]int)}
			s.client = newClient(t, s.sim, api, smartcar.WithObserver(s.told.observer()), smartcar.WithObserver(l.observer(t, opts...)),
				smartcar.WithStoredAnswers(smartcar.StoredAnswers{}), smartcar.WithBudget(smartcar.Budget{PerVehicle: 60, Reserve: 20}))
			s.user = connect(t, s.sim, s.client)
			registration := s.happen(l)
			require.NoError(t, s.client.Drain(t.Context()))
			look(t, s)
			require.NoError(t, registration.Unregister())
		})
	})
}

func (s *story) happen(l *lab) interface{ Unregister() error } {
	s.keyless()
	s.webhooks()
	s.tokens()
	registration := s.visits(l)
	s.budget()
	return registration
}

// note counts what the program was refused.
func (s *story) note(err error) {
	s.t.Helper()
	if limit, ok := errors.AsType[*smartcar.RateLimitError](err); ok {
		s.refused[limit.Rule]++
		return
	}
	if _, ok := errors.AsType[*smartcar.VirtualKeyRequiredError](err); ok {
		s.refused[smartcar.RuleVirtualKey]++
		return
	}
	require.NoError(s.t, err)
}

// keyless: a car without its key is read once and refused, another one is asked twice
// because Smartcar fails.
func (s *story) keyless() {
	ctx, car := s.t.Context(), s.user.Vehicle(smartcartest.ModelY)
	_, err := car.Battery(ctx)
	require.NoError(s.t, err)
	for range 3 {
		_, err = car.Odometer(ctx)
		s.note(err)
	}
	require.Equal(s.t, 3, s.refused[smartcar.RuleKeyless])
	_, err = car.Lock(ctx)
	s.note(err)
	require.Equal(s.t, 1, s.refused[smartcar.RuleVirtualKey])
	time.Sleep(time.Minute)
	stale, err := car.With(smartcar.AllowStale()).Battery(ctx)
	require.NoError(s.t, err)
	require.True(s.t, stale.Stale)
	s.refused[smartcar.RuleKeyless]++ // the read was, and this is why there is an old answer

	s.sim.Inject(smartcartest.Fault{Path: smartcartest.MachE, ErrorType: "UPSTREAM", ErrorCode: "NO_RESPONSE", Times: 1, Match: isData})
	s.retries++
	_, err = s.user.Vehicle(smartcartest.MachE).Odometer(ctx)
	require.NoError(s.t, err)
	s.sim.Inject(smartcartest.Fault{Path: smartcartest.MachE, ErrorType: "RATE_LIMIT", ErrorCode: "SMARTCAR_API", Times: 1, Match: isData})
	_, err = s.user.Vehicle(smartcartest.MachE).Odometer(ctx)
	s.note(err)
	time.Sleep(time.Hour)
}

func isData(r *http.Request) bool {
	return strings.HasSuffix(r.URL.Path, "/odometer") || strings.HasSuffix(r.URL.Path, "/signals")
}

func isToken(r *http.Request) bool {
	return r.URL.Path == "/oauth/token" || r.URL.Path == "/oauth2/token"
}

// webhooks: an owner adds the key and removes it; each event comes twice, and one is
// forged.
func (s *story) webhooks() {
	ctx := s.t.Context()
	receiver, err := s.client.WebhookReceiver(smartcar.WebhookOptions{}, nil)
	require.NoError(s.t, err)
	hook, err := s.sim.AddWebhook(ctx, smartcartest.Webhook{CallbackURL: "https://example.com/hook", Handler: receiver, Duplicate: true})
	require.NoError(s.t, err)
	require.NoError(s.t, s.user.Vehicle(smartcartest.ModelY).Subscribe(ctx, hook))
	deliver := func() {
		_, err := s.sim.Deliver(ctx)
		require.NoError(s.t, err)
	}
	deliver()
	require.NoError(s.t, s.sim.Pair(smartcartest.ModelY))
	deliver()
	time.Sleep(time.Hour)
	require.NoError(s.t, s.sim.Unpair(smartcartest.ModelY))
	deliver()
	time.Sleep(time.Hour)
	forged := httptest.NewRequest(http.MethodPost, "/hook", bytes.NewReader([]byte(`{"eventType":"VEHICLE_STATE"}`)))
	forged.Header.Set("SC-Signature", strings.Repeat("00", 32))
	receiver.ServeHTTP(httptest.NewRecorder(), forged)
	s.forged++
}

// tokens: those at hand end, a renewal fails, the next one does not.
func (s *story) tokens() {
	ctx, car := s.t.Context(), s.user.Vehicle(smartcartest.MachE)
	s.sim.ExpireAccessTokens()
	s.sim.ExpireAppTokens()
	s.sim.Inject(smartcartest.Fault{Match: isToken, ErrorType: "server_error", Times: 1})
	_, err := car.Odometer(ctx)
	require.NoError(s.t, err, "it was asked for again")
	if s.client.API() == smartcar.V3 {
		s.retries++ // of the read; on API v2.0 the renewal itself is repeated
	}
	time.Sleep(2 * time.Minute)
	_, err = car.Odometer(ctx)
	require.NoError(s.t, err)
}

// visits: a fleet runs for an hour.
func (s *story) visits(l *lab) interface{ Unregister() error } {
	f, err := fleet.New(s.client, fleet.Config{
		Reads:  []smartcar.Operation{smartcar.Battery, smartcar.Odometer},
		Handle: func(context.Context, *smartcar.Vehicle, *smartcar.Snapshot) error { return nil },
	})
	require.NoError(s.t, err)
	registration, err := otelsmartcar.ObserveFleet(f, otelsmartcar.WithMeterProvider(l.meters))
	require.NoError(s.t, err)
	ctx, stop := context.WithTimeout(s.t.Context(), time.Hour)
	defer stop()
	require.NoError(s.t, f.Run(ctx, s.user.Vehicles(ctx)))
	return registration
}

// budget: a car's calls of the month are used up.
func (s *story) budget() {
	car := s.user.Vehicle(smartcartest.MachE)
	for s.refused[smartcar.RuleBudget] == 0 {
		_, err := car.Odometer(s.t.Context())
		s.note(err)
	}
}

// What the metrics count is what the program has seen, what the simulator's ledger says,
// and what another observer was told: everything once.
func TestMetricsAgreeWithTheLedger(t *testing.T) {
	for _, api := range apis {
		l := newLab(t)
		tell(t, l, api, func(t *testing.T, s *story) {
			all := l.read(t)
			requireRefusals(t, s, all)
			requireLedger(t, s, all)
			requireEvents(t, s, all)
		})
	}
}

func requireRefusals(t *testing.T, s *story, all []point) {
	t.Helper()
	for _, rule := range []smartcar.Rule{smartcar.RuleKeyless, smartcar.RuleVirtualKey, smartcar.RuleBudget, smartcar.RuleApplication} {
		require.InDelta(t, s.refused[rule], total(all, "smartcar.client.refusals", "smartcar.rule="+string(rule)), 0, rule)
	}
	require.InDelta(t, s.retries, total(all, "smartcar.client.retries"), 0)
}

func requireLedger(t *testing.T, s *story, all []point) {
	t.Helper()
	var requests, data int
	refreshes := map[string]int{}
	for _, r := range s.sim.Requests() {
		switch r.Path {
		case "/oauth/token":
			refreshes["user"]++
		case "/oauth2/token":
			refreshes["application"]++
		}
		if strings.HasPrefix(r.Path, "/v") {
			requests++
		}
	}
	if s.client.API() == smartcar.V2 {
		refreshes["user"]-- // Connect has exchanged a code
	}
	for _, car := range smartcartest.DefaultGarage() {
		for _, entry := range s.sim.Ledger(car.ID) {
			data += max(len(entry.Items), 1)
		}
	}
	require.InDelta(t, requests, total(all, "http.client.request.duration"), 0)
	require.InDelta(t, data, total(all, "smartcar.client.calls"), 0)

	for _, owner := range []string{"user", "application"} {
		require.InDelta(t, refreshes[owner], total(all, "smartcar.token.refreshes", "smartcar.token.owner="+owner), 0, owner)
	}
	require.InDelta(t, 1, total(all, "smartcar.token.refreshes", "smartcar.token.outcome=failed"), 0)

	deliveries := s.sim.Deliveries()
	require.InDelta(t, len(deliveries)+s.forged, total(all, "smartcar.webhook.deliveries"), 0)
	verify, events := 0, map[string]bool{}
	for _, d := range deliveries {
		if d.EventType == "VERIFY" {
			verify++
		} else {
			events[d.EventID] = true
		}
	}
	require.InDelta(t, verify, total(all, "smartcar.webhook.deliveries", "smartcar.webhook.verdict=verified"), 0)
	require.InDelta(t, len(events), total(all, "smartcar.webhook.deliveries", "smartcar.webhook.verdict=accepted"), 0)
	require.InDelta(t, len(deliveries)-verify-len(events), total(all, "smartcar.webhook.deliveries", "smartcar.webhook.verdict=repeated"), 0)
	require.InDelta(t, s.forged, total(all, "smartcar.webhook.deliveries", "smartcar.webhook.reason=wrong-signature"), 0)

	change := func(from, to, source string) float64 {
		return total(all, "smartcar.key.changes", "smartcar.key.from="+from, "smartcar.key.to="+to, "smartcar.key.source="+source)
	}
	require.InDelta(t, 1, change("missing", "installed", "webhook"), 0, "the owner has added it")
	require.InDelta(t, 1, change("installed", "missing", "webhook"), 0, "and removed it")
	first := map[smartcar.API]string{smartcar.V2: "endpoint", smartcar.V3: "signal"}[s.client.API()]
	require.InDelta(t, 2, change("unknown", "missing", first), 0, "two cars are without")
	require.InDelta(t, 1, change("unknown", "installed", first), 0, "one has it")
	require.InDelta(t, 5, total(all, "smartcar.key.changes"), 0)
}

func requireEvents(t *testing.T, s *story, all []point) {
	t.Helper()
	for name, n := range map[string]int{
		"smartcar.client.operation.duration": len(of[smartcar.OperationEnded](&s.told)),
		"http.client.request.duration":       len(of[smartcar.AttemptEnded](&s.told)),
		"smartcar.client.refusals":           len(of[smartcar.Refused](&s.told)),
		"smartcar.client.retries":            len(of[smartcar.Retried](&s.told)),
		"smartcar.client.cached_answers":     len(of[smartcar.CachedAnswer](&s.told)),
		"smartcar.token.refreshes":           len(of[smartcar.TokenRefreshed](&s.told)),
		"smartcar.key.changes":               len(of[smartcar.KeyChanged](&s.told)),
		"smartcar.vehicle.class_changes":     len(of[smartcar.ClassChanged](&s.told)),
		"smartcar.webhook.deliveries":        len(of[smartcar.WebhookReceived](&s.told)),
		"smartcar.fleet.visit.duration":      len(of[smartcar.Visited](&s.told)),
		"smartcar.budget.exhaustions":        len(of[smartcar.BudgetSpent](&s.told)),
	} {
		require.Positive(t, n, "%s: the story has none", name)
		require.InDelta(t, n, total(all, name), 0, name)
	}
	require.Positive(t, total(all, "smartcar.client.answer.age", "smartcar.answer.source=live"))
	require.Positive(t, total(all, "smartcar.client.answer.age", "smartcar.answer.source=cache"))
	require.Positive(t, total(all, "smartcar.webhook.delivery.delay"))
	require.Positive(t, total(all, "smartcar.budget.left"))
	require.Positive(t, total(all, "smartcar.fleet.vehicle.count", "smartcar.rule=keyless-window"))
}
