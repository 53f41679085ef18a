package smartcartest_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seed-498a1bc4/smartcar/smartcartest"
)

// receiver is a webhook's receiver that does what the documentation asks.
type receiver struct {
	key string

	mu       sync.Mutex
	got      []received
	statuses []int         // of the next answers; then 200
	wait     time.Duration // before answering
	silent   bool          // answers VERIFY with nothing
}

// received is one request to a receiver.
type received struct {
	header http.Header
	path   string
	body   []byte
}

// mac is the signature of a message.
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

// take decodes what was received, and forgets it.
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

// hooked is a v3 client with a verified webhook, whose receiver has forgotten
// VERIFY.
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

// deliver sends what is due.
func (a *api) deliver() []smartcartest.Delivery {
	a.t.Helper()
	sent, err := a.sim.Deliver(a.t.Context())
	require.NoError(a.t, err)
	return sent
}

// at follows keys and indexes into decoded JSON; nil where the path ends
// early.
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
