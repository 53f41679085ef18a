package otelsmartcar_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/otelsmartcar"
	"github.com/seed-498a1bc4/smartcar/smartcartest"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
)

// The package's documentation names every metric, attribute and event of spans, and no
// attribute is the beginning of another one, as the conventions ask.
func TestDocumentationNamesEverything(t *testing.T) {
	doc, err := os.ReadFile("doc.go")
	require.NoError(t, err)
	l := newLab(t)
	for _, api := range apis {
		tell(t, l, api, func(*testing.T, *story) {})
	}
	names := map[string]bool{}
	note := func(attributes []attribute.KeyValue) {
		for _, a := range attributes {
			names[string(a.Key)] = true
		}
	}
	for _, p := range l.read(t) {
		names[p.name] = true
		note(p.attributes.ToSlice())
	}
	for _, span := range l.spans.Started() {
		note(span.Attributes())
		for _, e := range span.Events() {
			names[e.Name] = true
			note(e.Attributes)
		}
	}
	require.Greater(t, len(names), 40)
	for name := range names {
		if ours := strings.HasPrefix(name, "smartcar."); ours {
			require.Contains(t, string(doc), name)
		}
		for longer := range names {
			require.False(t, strings.HasPrefix(longer, name+"."), "%s is a name and the beginning of %s", name, longer)
		}
	}
}

// A thousand cars, and errors with made-up words, make no more series than one.
func TestSeriesAreBounded(t *testing.T) {
	few, many := seriesOf(t, 1), seriesOf(t, 1000)
	require.Equal(t, few, many)
	require.Less(t, many, 100)
}

// seriesOf is how many series there are after so many cars were read, asked for what does
// not exist, and named in webhooks with types of their own.
func seriesOf(t *testing.T, cars int) (series int) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t)
		garage := make([]smartcartest.Car, cars)
		for i := range garage {
			garage[i] = smartcartest.Car{ID: fmt.Sprintf("bounded-%d", i), Make: "FORD", Model: "Mustang Mach-E", Year: 2022}
		}
		sim := smartcartest.New(smartcartest.WithCars(garage...))
		client := newClient(t, sim, smartcar.V2, smartcar.WithObserver(l.observer(t, otelsmartcar.WithoutSpans())))
		user := connect(t, sim, client)
		receiver, err := client.WebhookReceiver(smartcar.WebhookOptions{}, nil)
		require.NoError(t, err)
		for i, car := range garage {
			v := user.Vehicle(car.ID)
			_, err := v.Odometer(t.Context())
			require.NoError(t, err)
			_, err = v.Request(t.Context(), smartcar.Request{Method: fmt.Sprintf("BREW%d", i), Path: fmt.Sprintf("coffee-%d", i)})
			require.Error(t, err)
			body := fmt.Appendf(nil, `{"eventId":"e%d","eventType":"BREWED_%d","meta":{"version":"4.0"},"data":{"vehicle":{"id":%q}}}`, i, i, car.ID)
			mac := hmac.New(sha256.New, []byte(sim.ManagementToken()))
			mac.Write(body)
			_, _, err = receiver.Receive(t.Context(), http.Header{"Sc-Signature": {hex.EncodeToString(mac.Sum(nil))}}, body)
			require.NoError(t, err)
		}
		all := l.read(t)
		require.InDelta(t, cars, total(all, "smartcar.webhook.deliveries", "smartcar.webhook.type=_OTHER"), 0)
		series = len(all)
	})
	return series
}
