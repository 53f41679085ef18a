package smartcar_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/smartcartest"
	"github.com/stretchr/testify/require"
)

// stalled is the body of a delivery that stays open: it gives size bytes, then says
// so, and ends when it is told to.
type stalled struct {
	left    int
	given   atomic.Int64
	reached func()
	once    sync.Once
	end     <-chan struct{}
}

func (s *stalled) Read(p []byte) (int, error) {
	if s.left == 0 {
		s.once.Do(s.reached)
		<-s.end
		return 0, io.EOF
	}
	n := min(len(p), s.left)
	for i := range n {
		p[i] = ' '
	}
	s.left -= n
	s.given.Add(int64(n))
	return n, nil
}

func (*stalled) Close() error { return nil }

const wellFormedSignature = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

func borderReceiver(t *testing.T, o smartcar.WebhookOptions) (*smartcar.WebhookReceiver, *smartcartest.Server) {
	t.Helper()
	sim := smartcartest.New()
	receiver, err := borderClient(t, sim, smartcar.V2, sim.Transport()).WebhookReceiver(o, nil)
	require.NoError(t, err)
	return receiver, sim
}

// Case 16: what anybody can send and leave open costs little, signed or not.
func TestOpenWebhooksHoldLittle(t *testing.T) {
	const deliveries, size = 200, 1 << 20
	for name, tt := range map[string]struct {
		signature string
		length    int64
		size      int
		open      int // how many are read to the end
		status    int // of the others
	}{
		"no signature":                       {"", size, size, 0, 401},
		"no signature, no length":            {"", -1, size, 0, 401},
		"no signature, little at a time":     {"", -1, 4000, deliveries, 0},
		"malformed signature":                {"zz", size, size, 0, 401},
		"malformed signature, no length":     {"00ff", -1, size, 0, 401},
		"wrong signature":                    {wellFormedSignature, size, size - 1, 8, 503},
		"wrong signature, no length":         {wellFormedSignature, -1, size - 1, 8, 503},
		"wrong signature, at the edge":       {wellFormedSignature, -1, 64 << 10, 8, 503},
		"wrong signature, as Smartcar sends": {wellFormedSignature, -1, 50_000, deliveries, 0},
		"wrong signature, only announced":    {wellFormedSignature, size, 0, 8, 503},
	} {
		t.Run(name, func(t *testing.T) {
			receiver, _ := borderReceiver(t, smartcar.WebhookOptions{})
			before := heapInUse()
			end, events := make(chan struct{}), make(chan int)
			var open sync.WaitGroup
			bodies := make([]*stalled, deliveries)
			for i := range bodies {
				bodies[i] = &stalled{left: tt.size, end: end, reached: func() { events <- 0 }}
				open.Go(func() {
					w := httptest.NewRecorder()
					r := httptest.NewRequest(http.MethodPost, "/", nil)
					r.Body, r.ContentLength = bodies[i], tt.length
					if tt.signature != "" {
						r.Header.Set("SC-Signature", tt.signature)
					}
					receiver.ServeHTTP(w, r)
					events <- w.Code
				})
			}
			stays := 0
			for range deliveries { // each stays open, or is answered
				if status := <-events; status == 0 {
					stays++
				} else {
					require.Equal(t, tt.status, status)
				}
			}
			require.Equal(t, tt.open, stays)
			require.Less(t, heapInUse()-before, int64(16<<20))
			for _, b := range bodies {
				if tt.status == 401 {
					require.LessOrEqual(t, b.given.Load(), int64(4<<10+1))
				}
			}
			close(end)
			for range stays {
				status := <-events
				require.Contains(t, []int{400, 401}, status)
			}
			open.Wait()
		})
	}
}

func heapInUse() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// What was held is given back, whatever became of it; a signed one that is large
// is taken then.
func TestPlacesOfLargeWebhooksAreGivenBack(t *testing.T) {
	t.Parallel()
	receiver, sim := borderReceiver(t, smartcar.WebhookOptions{})
	body := []byte(`{"eventId":"e","eventType":"VEHICLE_STATE","padding":"` + strings.Repeat("x", 900_000) + `"}`)
	mac := hmac.New(sha256.New, []byte(sim.ManagementToken()))
	mac.Write(body)
	right := hex.EncodeToString(mac.Sum(nil))
	deliver := func(signature string, body io.Reader, length int64) int {
		w := httptest.NewRecorder()
		r := httptest.NewRequest(http.MethodPost, "/", body)
		r.ContentLength = length
		r.Header.Set("SC-Signature", signature)
		receiver.ServeHTTP(w, r)
		return w.Code
	}
	for range 20 {
		require.Equal(t, 401, deliver(wellFormedSignature, bytes.NewReader(body), int64(len(body))))
		require.Equal(t, 401, deliver(wellFormedSignature, bytes.NewReader(body), -1))
		require.Equal(t, 413, deliver(right, io.MultiReader(bytes.NewReader(body), bytes.NewReader(body)), -1))
		require.Equal(t, 400, deliver(right, io.MultiReader(bytes.NewReader(body), brokenReader{}), -1))
		require.Equal(t, 200, deliver(right, bytes.NewReader(body), -1))
		require.Equal(t, 200, deliver(right, bytes.NewReader(body), int64(len(body))))
	}
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

// Limits at their ends do not lead to a panic, and small ones still hold.
func TestLimitOfWebhooksAtItsEnds(t *testing.T) {
	t.Parallel()
	for limit, want := range map[int64]int{1: 413, 100: 413, 4 << 10: 413, 64 << 10: 413, 64<<10 + 1: 413, 100_000: 401, math.MaxInt64: 401} {
		receiver, _ := borderReceiver(t, smartcar.WebhookOptions{MaxBytes: limit})
		for _, length := range []int64{-1, 99_999} {
			w := httptest.NewRecorder()
			r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(strings.Repeat(" ", 99_999)))
			r.ContentLength = length
			r.Header.Set("SC-Signature", wellFormedSignature)
			receiver.ServeHTTP(w, r)
			require.Equal(t, want, w.Code, "%d %d", limit, length)
		}
	}
}
