package otelsmartcar_test

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/otelsmartcar"
	"github.com/seed-498a1bc4/smartcar/smartcartest"
	"github.com/stretchr/testify/require"
)

// What no exporter may get. Each is long enough not to occur by chance.
const (
	canaryCar       = "canary-car-81d2"
	canaryVIN       = "5YJYGDEE0MF0CANRY"
	canaryLatitude  = "52.520006599"
	canaryLongitude = "13.404953999"
	canaryPath      = "canary-path-90fe"
	canaryText      = "canary-text-7c31" // in an answer
)

// listening keeps the tokens, codes and passwords that go over the wire, and has answers
// to one path quote them.
type listening struct {
	http.RoundTripper
	mu      sync.Mutex
	secrets map[string]bool
	quoting bool
}

func (l *listening) RoundTrip(r *http.Request) (*http.Response, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	l.add(token)
	if user, password, ok := r.BasicAuth(); ok && user != "" {
		l.add(password)
	}
	if r.Body != nil {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, err
		}
		r.Body = io.NopCloser(strings.NewReader(string(body)))
		if form, err := url.ParseQuery(string(body)); err == nil {
			for _, name := range []string{"code", "refresh_token", "client_secret"} {
				l.add(form.Get(name))
			}
		}
	}
	if l.quoting {
		text := fmt.Sprintf(`{"type":%q,"code":%q,"description":%q,"x":"%s %s"}`, token, token, "Bearer "+token, canaryText, canaryLatitude)
		return &http.Response{
			StatusCode: http.StatusInternalServerError, Body: io.NopCloser(strings.NewReader(text)), ContentLength: int64(len(text)), Request: r,
			Header: http.Header{"Content-Type": {"application/json"}, "Sc-Request-Id": {token}},
		}, nil
	}
	return l.RoundTripper.RoundTrip(r)
}

func (l *listening) add(secret string) {
	if len(secret) > 8 {
		l.secrets[secret] = true
	}
}

// dump is all that an exporter of spans gets.
func (l *lab) dump() string {
	var b strings.Builder
	for _, span := range l.spans.Started() {
		fmt.Fprintln(&b, span.Name(), span.Attributes(), span.Status(), span.Events(), span.Links(), span.Resource(), span.InstrumentationScope())
	}
	return b.String()
}

func TestNothingSecretLeaves(t *testing.T) {
	for _, api := range apis {
		for name, opts := range map[string][]otelsmartcar.Option{"by default": nil, "with ids": {otelsmartcar.WithIDs()}} {
			t.Run(string(api)+" "+name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					l := newLab(t)
					user, wire := letSlip(t, l, api, opts...)
					text, _ := l.scrape(t)
					spans := l.dump()
					hidden := []string{canaryVIN, canaryLatitude, canaryLongitude, canaryPath, canaryText, "52.52", "13.40"}
					for secret := range wire.secrets {
						hidden = append(hidden, secret)
					}
					require.Greater(t, len(hidden), 9, "tokens and passwords were seen")
					require.Contains(t, spans, "smartcar.error.type", "an answer that quotes them, too")
					for _, secret := range hidden {
						require.NotContains(t, text, secret)
						require.NotContains(t, spans, secret)
					}
					for _, id := range []string{canaryCar, user.ID()} {
						require.NotContains(t, text, id, "metrics never have ids")
						require.Equal(t, name == "with ids", strings.Contains(spans, id), "spans have ids when they are asked for")
					}
				})
			})
		}
	}
}

// letSlip does what has secrets in reach: it connects, reads a location and a VIN, is
// answered with what was sent, and is sent a webhook.
func letSlip(t *testing.T, l *lab, api smartcar.API, opts ...otelsmartcar.Option) (*smartcar.User, *listening) {
	t.Helper()
	sim := smartcartest.New(smartcartest.WithCars(smartcartest.Car{
		ID: canaryCar, Make: "TESLA", Model: "Model Y", Year: 2021, VIN: canaryVIN, Integration: smartcartest.Streaming, Paired: true,
		Latitude: 52.520006599, Longitude: 13.404953999,
	}))
	wire := &listening{RoundTripper: sim.Transport(), secrets: map[string]bool{sim.ClientSecret(): true, sim.APIClientSecret(): true, sim.ManagementToken(): true}}
	client := newClient(t, sim, api, smartcar.WithObserver(l.observer(t, opts...)), smartcar.WithHTTPClient(&http.Client{Transport: wire}))
	user := connect(t, sim, client)
	ctx, car := t.Context(), user.Vehicle(canaryCar)
	_, err := car.Location(ctx)
	require.NoError(t, err)
	_, err = car.VIN(ctx)
	require.NoError(t, err)
	_, _ = car.Request(ctx, smartcar.Request{Path: canaryPath})
	_, _ = client.Subscription(ctx, canaryPath)

	receiver, err := client.WebhookReceiver(smartcar.WebhookOptions{}, nil)
	require.NoError(t, err)
	hook, err := sim.AddWebhook(ctx, smartcartest.Webhook{CallbackURL: "https://example.com/hook", Handler: receiver, Data: []string{"location-preciselocation"}})
	require.NoError(t, err)
	require.NoError(t, car.Subscribe(ctx, hook))
	_, err = sim.Deliver(ctx)
	require.NoError(t, err)

	sim.ExpireAccessTokens()
	sim.ExpireAppTokens()
	_, err = car.Battery(ctx)
	require.NoError(t, err)
	wire.quoting = true
	_, err = car.Odometer(ctx)
	require.Error(t, err)
	_, err = car.Lock(ctx)
	require.Error(t, err)
	time.Sleep(4 * time.Hour)
	_, err = car.Odometer(ctx)
	require.Error(t, err)
	return user, wire
}
