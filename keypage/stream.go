package keypage

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/seed-498a1bc4/smartcar"
)

const (
	// streamLife is as long as a stream may be open; the script asks the owner
	// then. Browsers and proxies close silent ones after a minute or so.
	streamLife = time.Hour
	streamBeat = 15 * time.Second
	// streamsPerUser and waitsPerUser bound what one account can hold open. Each wait
	// for a car looks into the store every 3 seconds. If an account has one stream only,
	// that may wait for any number of cars.
	streamsPerUser = 8
	waitsPerUser   = 200
)

// held is what one account holds open.
type held struct{ streams, waits int }

// serveEvents tells the script when a key has come: an event "added" for each,
// and "end" when there is nothing more to wait for. It says nothing about the
// cars: the page does.
func (h *Handler) serveEvents(w http.ResponseWriter, r *http.Request) {
	if site := r.Header.Get("Sec-Fetch-Site"); site == "cross-site" || site == "same-site" {
		// Another site could not read the events, but could use up the owner's streams,
		// and notice when they end.
		http.Error(w, "events are for the page only", http.StatusForbidden)
		return
	}
	user := h.who(w, r)
	if user == nil {
		return
	}
	if !h.hold(user.ID(), held{streams: 1}) {
		http.Error(w, tooMany, http.StatusTooManyRequests)
		return
	}
	defer h.release(user.ID(), held{streams: 1})
	asking, stop := h.untilClosed(r.Context())
	cars, err := h.cars(asking, user, r.URL.Query().Get("vehicle"), false)
	stop()
	if err != nil {
		status := h.statusOf(r.Context(), err)
		http.Error(w, http.StatusText(status), status)
		return
	}
	waits := held{waits: len(slices.DeleteFunc(slices.Clone(cars), func(c car) bool { return !c.open() }))}
	if !h.hold(user.ID(), waits) {
		http.Error(w, tooMany, http.StatusTooManyRequests) // the script then reloads the page now and then
		return
	}
	defer h.release(user.ID(), waits)
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no") // nginx would keep the events to itself
	out := http.NewResponseController(w)
	defer func() { _ = out.SetWriteDeadline(time.Time{}) }() // the connection is used again
	if r.Method == http.MethodHead || !send(w, out, "retry: 10000\n\n") {
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), streamLife)
	defer cancel()
	came := h.waitFor(ctx, cars)
	h.stream(ctx, w, out, came)
	cancel()
	for range came { // until the last of them has returned
		continue
	}
}

// untilClosed is ctx, and ends when the server shuts down.
func (h *Handler) untilClosed(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		select {
		case <-h.closing:
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, cancel
}

// waitFor waits for every car in a goroutine that ends with ctx. The channel
// gets an entry for each key, and is closed when all have come or never will.
func (h *Handler) waitFor(ctx context.Context, cars []car) <-chan struct{} {
	came := make(chan struct{}, len(cars)+1)
	var waiting sync.WaitGroup
	if !slices.ContainsFunc(cars, car.open) {
		came <- struct{}{} // the key came since the page was shown: the page has to change
	}
	for _, c := range cars {
		if !c.open() {
			continue
		}
		waiting.Go(func() {
			if _, err := c.vehicle.WaitForKey(ctx); err == nil {
				came <- struct{}{}
			} else if ctx.Err() == nil && !errors.Is(err, smartcar.ErrKeyNotNeeded) {
				h.log(ctx, "waiting", err)
			}
		})
	}
	go func() {
		waiting.Wait()
		close(came)
	}()
	return came
}

func (h *Handler) stream(ctx context.Context, w http.ResponseWriter, out *http.ResponseController, came <-chan struct{}) {
	beat := time.NewTicker(streamBeat)
	defer beat.Stop()
	for {
		text := ": waiting\n\n"
		select {
		case <-beat.C:
		case _, ok := <-came:
			if !ok {
				_ = send(w, out, "event: end\ndata: end\n\n")
				return
			}
			text = "event: added\ndata: added\n\n"
		case <-h.closing:
			return // the script connects again, maybe to another replica
		case <-ctx.Done():
			_ = send(w, out, "event: end\ndata: end\n\n")
			return
		}
		if !send(w, out, text) {
			return
		}
	}
}

// send gives every event a deadline of its own. The server's is meant for pages; without
// any, a browser that reads nothing would block the stream.
func send(w http.ResponseWriter, out *http.ResponseController, text string) bool {
	_ = out.SetWriteDeadline(time.Now().Add(streamBeat))
	if _, err := w.Write([]byte(text)); err != nil {
		return false
	}
	return out.Flush() == nil
}

const tooMany = "too many pages are open"

// hold counts more streams and waits of an account, and reports whether it may have
// them.
func (h *Handler) hold(user string, more held) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	has := h.streams[user]
	if has.streams+more.streams > streamsPerUser || has.waits > 0 && has.waits+more.waits > waitsPerUser {
		return false
	}
	h.streams[user] = held{has.streams + more.streams, has.waits + more.waits}
	return true
}

func (h *Handler) release(user string, less held) {
	h.mu.Lock()
	defer h.mu.Unlock()
	left := held{h.streams[user].streams - less.streams, h.streams[user].waits - less.waits}
	if left == (held{}) {
		delete(h.streams, user)
	} else {
		h.streams[user] = left
	}
}
