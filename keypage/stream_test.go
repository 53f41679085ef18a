package keypage_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-498a1bc4/smartcar/smartcartest"
	"github.com/stretchr/testify/require"
)

// recorder notes when each event was sent.
type recorder struct {
	*httptest.ResponseRecorder
	mu     sync.Mutex
	events []string
	at     []time.Time
}

func (r *recorder) Write(b []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if event, ok := strings.CutPrefix(string(b), "event: "); ok {
		name, _, _ := strings.Cut(event, "\n")
		r.events, r.at = append(r.events, name), append(r.at, time.Now())
	}
	return r.ResponseRecorder.Write(b)
}

func listen(ctx context.Context, h http.Handler, target string) *recorder {
	w := &recorder{ResponseRecorder: httptest.NewRecorder()}
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, target, nil).WithContext(ctx))
	return w
}

func TestEventsTellOfEachKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		page := pageOf(t, connected(t, sim), nil)
		began := time.Now()
		go func() {
			time.Sleep(2 * time.Minute)
			_ = sim.Pair(smartcartest.ModelY)
			time.Sleep(8 * time.Minute)
			_ = sim.Pair(smartcartest.Cybertruck)
		}()
		w := listen(t.Context(), page, "/events")
		require.Equal(t, []string{"added", "added", "end"}, w.events)
		require.Equal(t, "text/event-stream", w.Header().Get("Content-Type"))
		require.GreaterOrEqual(t, w.at[0].Sub(began), 2*time.Minute)
		require.GreaterOrEqual(t, w.at[1].Sub(began), 10*time.Minute)
		require.Less(t, w.at[2].Sub(began), 17*time.Minute)
		require.NotContains(t, w.Body.String(), smartcartest.ModelY, "events say nothing about the cars")
	})
}

// A key that came between the page and its stream is not missed.
func TestEventsOfWhatIsThereAlready(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		page := pageOf(t, connected(t, smartcartest.New()), nil)
		w := listen(t.Context(), page, "/events?vehicle="+smartcartest.Model3)
		require.Equal(t, []string{"added", "end"}, w.events)
	})
}

func TestStreamsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		page := pageOf(t, connected(t, sim), nil)
		began := time.Now()
		w := listen(t.Context(), page, "/events")
		require.Equal(t, time.Hour, time.Since(began), "by itself")
		require.Equal(t, []string{"end"}, w.events)
		require.Contains(t, w.Body.String(), ": waiting\n\n")

		ctx, cancel := context.WithCancel(t.Context())
		began = time.Now()
		go func() { time.Sleep(time.Minute); cancel() }()
		listen(ctx, page, "/events")
		require.Equal(t, time.Minute, time.Since(began), "when the owner leaves")

		began = time.Now()
		go func() { time.Sleep(time.Minute); page.Close(); page.Close() }()
		w = listen(t.Context(), page, "/events")
		require.Equal(t, time.Minute, time.Since(began), "when the server shuts down")
		require.Empty(t, w.events, "so that the script comes back")
	})
}

func TestStreamsOfOneUserAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		page := pageOf(t, connected(t, sim), nil)
		ctx, cancel := context.WithCancel(t.Context())
		for range 8 {
			go listen(ctx, page, "/events")
		}
		time.Sleep(time.Second)
		require.Equal(t, http.StatusTooManyRequests, listen(t.Context(), page, "/events").Code)
		time.Sleep(30 * time.Minute)
		reads := 0
		for _, r := range sim.Requests() {
			if strings.HasSuffix(r.Path, "/tesla/virtual_key") {
				reads++
			}
		}
		require.Less(t, reads, 2*20, "eight pages ask hardly more often than one")
		cancel()
		synctest.Wait()
		require.Equal(t, http.StatusOK, func() int {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			return listen(ctx, page, "/events").Code
		}())
	})
}

// Each car that is waited for looks into the store: many tabs of an owner of many
// cars must not.
func TestWaitsOfOneUserAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cars := make([]smartcartest.Car, 90)
		for i := range cars {
			cars[i] = smartcartest.Car{ID: "car-" + strconv.Itoa(i), Make: "TESLA", Model: "Model Y", Year: 2023, Integration: smartcartest.Streaming}
		}
		page := pageOf(t, connected(t, smartcartest.New(smartcartest.WithCars(cars...))), nil)
		ctx, cancel := context.WithCancel(t.Context())
		for range 2 {
			go listen(ctx, page, "/events")
			time.Sleep(time.Second)
		}
		require.Equal(t, http.StatusTooManyRequests, listen(t.Context(), page, "/events").Code)
		go listen(ctx, page, "/events?vehicle=car-1")
		time.Sleep(time.Second)
		cancel()
		synctest.Wait()
		ctx, cancel = context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.Equal(t, http.StatusOK, listen(ctx, page, "/events").Code)
	})
}

// deadlines is a connection that notes until when a write may take.
type deadlines struct {
	*recorder
	until []time.Time
}

func (d *deadlines) SetWriteDeadline(t time.Time) error {
	d.until = append(d.until, t)
	return nil
}

// The deadline of the server is for pages; an event has its own, so that one who
// reads nothing is not waited for, and the connection is left without.
func TestEveryEventHasADeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		page := pageOf(t, connected(t, smartcartest.New()), nil)
		began := time.Now()
		w := &deadlines{recorder: &recorder{ResponseRecorder: httptest.NewRecorder()}}
		page.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/events", nil).WithContext(t.Context()))
		require.Greater(t, len(w.until), 200)
		require.True(t, w.until[len(w.until)-1].IsZero())
		for i, until := range w.until[:len(w.until)-1] {
			require.True(t, until.After(began), i)
			require.LessOrEqual(t, until.Sub(began), time.Hour+time.Minute)
		}
	})
}
