package smartcartest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"time"
)

// Delivery is one attempt to deliver a webhook.
type Delivery struct {
	WebhookID string `json:"webhookId"`
	// VehicleID is empty for VERIFY.
	VehicleID string `json:"vehicleId,omitempty"`
	// EventID is the same in all attempts, DeliveryID is not.
	EventID    string `json:"eventId"`
	DeliveryID string `json:"deliveryId"`
	// EventType is VERIFY, VEHICLE_STATE or VEHICLE_ERROR; of version 2.0 the
	// eventName.
	EventType string `json:"eventType"`
	URL       string `json:"url"`
	// Attempt counts from 1.
	Attempt int `json:"attempt"`
	// Time is when it was sent, in simulated time.
	Time time.Time `json:"time"`
	// Body is what was sent, byte by byte, and Signature the header
	// SC-Signature, which VERIFY does not have.
	Body      []byte `json:"-"`
	Signature string `json:"-"`
	// Status is 0 when no answer came, and Err says why.
	Status int   `json:"status"`
	Err    error `json:"-"`
	// Retry is when the event is sent again; zero after a success, and after
	// the last attempt.
	Retry time.Time `json:"retry,omitzero"`
}

// Succeeded says whether the receiver answered 2xx.
func (d Delivery) Succeeded() bool { return d.Err == nil && d.Status >= 200 && d.Status < 300 }

// String says what was sent where and what came back, with the body as text.
func (d Delivery) String() string {
	of, answer := "", fmt.Sprintf("status %d", d.Status)
	if d.VehicleID != "" {
		of = " of " + d.VehicleID
	}
	if d.Err != nil {
		answer = d.Err.Error()
	}
	return fmt.Sprintf("%s%s, attempt %d to %s: %s: %s", d.EventType, of, d.Attempt, d.URL, answer, d.Body)
}

// event is something that a webhook has to tell its receiver. It stays in the
// queue until it is delivered or given up.
type event struct {
	hook         *hook
	subscription *subscription // nil for the test button
	id, kind     string
	url, vehicle string
	build        func(*Delivery) []byte
	attempts     int // that failed
	dueAt        time.Time
	sending      bool // somebody has claimed it
}

// deliveryTimeout is how long a receiver may take, in real time, or in the
// time of a synctest bubble.
const deliveryTimeout = 15 * time.Second

// deliveriesKept is smaller than logKept, because each delivery holds its
// body.
const deliveriesKept = 10_000

// retryPauses are the pauses between the attempts to deliver one event.
func retryPauses() []time.Duration {
	return []time.Duration{25 * time.Second, 50 * time.Second, 100 * time.Second}
}

// Deliver sends what is due now, one after the other: the events of all that
// has changed, and the retries whose time has come (25, 50 and 100 seconds
// after a failure, in simulated time). It returns the attempts. Nothing is
// ever sent but by Deliver, RunWebhooks, VerifyWebhook and TestWebhook. The
// error is ctx's; an attempt that it interrupts is made again.
func (s *Server) Deliver(ctx context.Context) ([]Delivery, error) {
	due := s.claimDue()
	var out []Delivery
	for i, e := range due {
		if err := ctx.Err(); err != nil {
			s.unclaim(due[i:])
			return out, err
		}
		out = append(out, s.attemptDelivery(ctx, e))
	}
	return out, ctx.Err()
}

// RunWebhooks calls Deliver every interval until ctx ends, and returns ctx's
// error. Zero is a second. The interval is real time, or the bubble's.
func (s *Server) RunWebhooks(ctx context.Context, interval time.Duration) error {
	if interval <= 0 {
		interval = time.Second
	}
	for {
		if _, err := s.Deliver(ctx); err != nil {
			return err
		}
		if !sleep(ctx, interval) {
			return ctx.Err()
		}
	}
}

// Deliveries returns a copy of the log of all attempts, oldest first; the
// newest 10,000 are kept.
func (s *Server) Deliveries() []Delivery {
	s.lock()
	defer s.mu.Unlock()
	return slices.Clone(s.deliveries)
}

// enqueue adds an event to the queue, twice if the webhook sends duplicates.
// The caller holds the lock.
func (s *Server) enqueue(h *hook, b *subscription, kind string, v *vehicle, p payload) {
	url := h.CallbackURL
	if kind == "VEHICLE_ERROR" && h.ErrorCallbackURL != "" {
		url = h.ErrorCallbackURL
	}
	s.sequence++
	id, sequence := randomUUID(), s.sequence
	for range 1 + btoi(h.Duplicate) {
		s.events = append(s.events, &event{
			hook: h, subscription: b, id: id, kind: kind, url: url, vehicle: v.ID,
			build: func(d *Delivery) []byte { return mustJSON(p.payload(d, sequence)) },
		})
	}
}

// claimDue looks at what has changed, and claims the events that are due.
// Nobody else sends a claimed event.
func (s *Server) claimDue() []*event {
	s.lock()
	defer s.mu.Unlock()
	now := s.now()
	s.observe(now)
	var due []*event
	for _, e := range s.events {
		if e.sending || now.Before(e.dueAt) {
			continue
		}
		e.sending = true
		if e.hook.Reverse {
			due = slices.Insert(due, 0, e)
		} else {
			due = append(due, e)
		}
	}
	return due
}

// unclaim gives back events that were not sent.
func (s *Server) unclaim(events []*event) {
	s.lock()
	defer s.mu.Unlock()
	for _, e := range events {
		e.sending = false
	}
}

// attemptDelivery sends a claimed event once. Delivered, or failed for the
// last time, the event leaves the queue; failed otherwise, it is due again
// after a pause; interrupted by ctx, it is due at once.
func (s *Server) attemptDelivery(ctx context.Context, e *event) Delivery {
	s.lock()
	now := s.now()
	s.mu.Unlock()
	d, _ := s.send(ctx, e.hook, Delivery{
		WebhookID: e.hook.ID, VehicleID: e.vehicle, EventID: e.id, DeliveryID: randomUUID(), EventType: e.kind,
		URL: e.url, Attempt: e.attempts + 1, Time: now,
	}, e.build)
	s.lock()
	defer s.mu.Unlock()
	e.sending = false
	pauses := s.cfg.retries
	switch {
	case d.Succeeded():
		s.dequeue(e)
	case ctx.Err() != nil: // interrupted: due as before
	case e.attempts >= len(pauses):
		s.dequeue(e) // given up
	default:
		e.dueAt = s.now().Add(pauses[e.attempts])
		d.Retry = e.dueAt
		e.attempts++
	}
	s.deliveries = appendCappedTo(s.deliveries, d, deliveriesKept)
	return d
}

// dequeue removes an event from the queue.
func (s *Server) dequeue(e *event) {
	s.events = slices.DeleteFunc(s.events, func(other *event) bool { return other == e })
}

// send posts one request to the receiver and reads the answer. The caller must
// not hold the lock. A redirect is not followed and counts as a failure.
func (s *Server) send(ctx context.Context, h *hook, d Delivery, build func(*Delivery) []byte) (Delivery, []byte) {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.deliveryTimeout)
	defer cancel()
	d.Body = build(&d)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, d.URL, bytes.NewReader(d.Body))
	if err != nil {
		d.Err = fmt.Errorf("smartcartest: %w", err)
		return d, nil
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "Smartcar/1.0")
	if d.EventType != "VERIFY" {
		d.Signature = h.sign(d.Body)
		req.Header.Set("SC-Signature", d.Signature)
	}
	res, err := h.roundTripper().RoundTrip(req) // a RoundTripper follows no redirect
	if err != nil {
		d.Err = err
		return d, nil
	}
	answer, err := io.ReadAll(io.LimitReader(res.Body, maxBody))
	_ = res.Body.Close() // the answer is read: an error changes nothing
	if err == nil {
		err = ctx.Err() // a handler in memory may have slept through it
	}
	d.Status, d.Err = res.StatusCode, err
	if err != nil {
		d.Status = 0
	}
	return d, answer
}
