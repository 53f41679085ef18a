package smartcar

import (
	"encoding/json"
	"net/http"
	"testing"

	"github.com/seed-498a1bc4/smartcar/internal/catalog"
	"github.com/seed-498a1bc4/smartcar/signals"
)

// Whatever an answer holds, nothing panics, a value comes without an error and
// only from a signal that succeeded, and a stale one only where it was asked for.
func FuzzSignals(f *testing.F) {
	addBodies(f, "v3/signals/*.json", "v3/signal*.json")
	f.Fuzz(func(t *testing.T, body []byte) {
		s, err := decodeSignals(&answer{status: http.StatusOK, header: http.Header{}, body: body, at: fuzzTime})
		if err != nil {
			if s != nil {
				t.Fatal("signals beside an error")
			}
			return
		}
		requireHonestSignals(t, s)
	})
}

// The same of the signals of a webhook.
func FuzzEventSignals(f *testing.F) {
	for _, fixture := range fixtureFiles(f, "v3/signals/*.json") {
		var body struct {
			Data struct {
				Attributes json.RawMessage `json:"attributes"`
			} `json:"data"`
		}
		if json.Unmarshal(fixture.Response.Body, &body) == nil && body.Data.Attributes != nil {
			f.Add([]byte("["+string(body.Data.Attributes)+"]"), 1)
		}
	}
	f.Add([]byte(`[{"code":"charge-voltage","status":"ERROR","body":{"value":1},"meta":{"fetchedAt":1}}]`), 7)
	f.Add([]byte(`[{"code":"charge-voltage","status":{"error":"x"},"body":{"value":1}},null,[[]],{"code":""}]`), -1)
	f.Fuzz(func(t *testing.T, list []byte, count int) {
		s := decodeEventSignals(list, count, fuzzTime)
		if s.Len() < count && !s.Incomplete() {
			t.Fatal("signals are missing, unnoticed")
		}
		requireHonestSignals(t, s)
	})
}

func requireHonestSignals(t *testing.T, s *Signals) {
	t.Helper()
	status := map[signals.Code]storedSignal{}
	for _, stored := range s.content().signals {
		status[stored.meta.Code] = stored
	}
	last := signals.Code("")
	for code, raw := range s.All() {
		if code == "" || code <= last && last != "" {
			t.Fatalf("%q after %q", code, last)
		}
		last = code
		requireHonest(t, raw.SignalMeta, raw.Err, status[code], false)
		if raw.Err != nil && raw.Body() != nil {
			t.Fatalf("%s: a body beside an error", code)
		}
	}
	for _, row := range catalog.Signals() {
		if _, ok := status[signals.Code(row.Code())]; !ok {
			continue // asking for all that is not there would only take time
		}
		for _, view := range []*Signals{s, s.LastKnown()} {
			value, err := access(t, view, row)
			if err != nil {
				requireHonest(t, SignalMeta{}, err, status[signals.Code(row.Code())], view.content().lastKnown)
				continue
			}
			requireRealNumbers(t, value)
			requireHonest(t, takeMeta(value), nil, status[signals.Code(row.Code())], view.content().lastKnown)
		}
	}
}

// requireHonest looks at what was handed out of a signal.
func requireHonest(t *testing.T, meta SignalMeta, err error, stored storedSignal, lastKnown bool) {
	t.Helper()
	// A status that is missing altogether, as in old answers, is a success.
	fresh := stored.meta.Status == SignalStatusSuccess || stored.meta.Status == "" && stored.err == nil
	switch {
	case err != nil:
		if meta.Stale {
			t.Fatalf("%s: stale and an error", stored.meta.Code)
		}
	case meta.Stale && !lastKnown:
		t.Fatalf("%s: stale, unasked", stored.meta.Code)
	case meta.Stale == fresh:
		t.Fatalf("%s: status %q, stale %v", stored.meta.Code, stored.meta.Status, meta.Stale)
	}
}
