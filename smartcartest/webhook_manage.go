package smartcartest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
)

// AddWebhook creates a webhook and verifies it at once, as the dashboard does.
// When the receiver fails the challenge, the webhook stays, unverified and
// silent, and the error says why; VerifyWebhook tries again. The Webhook is
// copied. ID is a conflict when it is taken.
func (s *Server) AddWebhook(ctx context.Context, w Webhook) (id string, err error) {
	if w.Version == "" {
		w.Version = "4.0"
	}
	if w.Version != "4.0" && w.Version != "2.0" {
		return "", fmt.Errorf("smartcartest: webhook version %q: want 4.0 or 2.0", w.Version)
	}
	if u, err := url.Parse(w.CallbackURL); err != nil || u.Host == "" {
		return "", errors.New("smartcartest: a webhook needs an absolute CallbackURL")
	}
	w.Triggers, w.Data = slices.Clone(w.Triggers), slices.Clone(w.Data)
	if err := s.completeWebhook(&w); err != nil {
		return "", err
	}
	s.lock()
	if w.ID == "" {
		w.ID = namedUUID("webhook", len(s.hooks)+1)
	}
	if s.hook(w.ID) != nil {
		s.mu.Unlock()
		return "", fmt.Errorf("smartcartest: webhook %q exists", w.ID)
	}
	if w.Name == "" {
		w.Name = fmt.Sprintf("Webhook %d", len(s.hooks)+1)
	}
	now := s.now()
	s.hooks = append(s.hooks, &hook{Webhook: w, createdAt: now})
	for _, n := range s.connections {
		s.autoSubscribe(n, now)
	}
	s.mu.Unlock()
	return w.ID, s.VerifyWebhook(ctx, w.ID)
}

// completeWebhook fills in the signals that the caller left out. A code that
// the catalog does not have is an error.
func (s *Server) completeWebhook(w *Webhook) error {
	if w.Version == "2.0" {
		if w.EventName == "" {
			w.EventName = "scheduled"
		}
		if len(w.Data) == 0 {
			w.Data = []string{"/battery", "/charge", "/location"}
		}
		return nil
	}
	if len(w.Triggers) == 0 {
		w.Triggers = []string{
			"charge-detailedchargingstatus", "charge-ischarging", "charge-ischargingcableconnected", "closure-islocked",
			"connectivitystatus-isdigitalkeypaired", "tractionbattery-stateofcharge",
		}
	}
	if len(w.Data) == 0 {
		w.Data = append(slices.Clone(w.Triggers), "location-preciselocation", "odometer-traveleddistance", "tractionbattery-range", "vehicleidentification-vin")
	}
	for _, code := range slices.Concat(w.Triggers, w.Data) {
		if s.signal(code) == nil {
			return fmt.Errorf("smartcartest: no signal %q", code)
		}
	}
	return nil
}

// hook finds a webhook; nil when there is none.
func (s *Server) hook(id string) *hook {
	i := slices.IndexFunc(s.hooks, func(h *hook) bool { return h.ID == id })
	if i < 0 {
		return nil
	}
	return s.hooks[i]
}

// VerifyWebhook challenges the receiver, as the dashboard's button does. The
// webhook is verified from then on when it answers 200 with the HMAC of the
// challenge in 15 seconds; otherwise the error says what was wrong and nothing
// has changed. VERIFY is not signed.
func (s *Server) VerifyWebhook(ctx context.Context, id string) error {
	s.lock()
	h, now := s.hook(id), s.now()
	s.mu.Unlock()
	if h == nil {
		return fmt.Errorf("smartcartest: no webhook %q", id)
	}
	challenge := randomUUID()
	d, answer := s.send(ctx, h, Delivery{
		WebhookID: id, EventID: randomUUID(), DeliveryID: randomUUID(), EventType: "VERIFY", URL: h.CallbackURL, Attempt: 1, Time: now,
	}, func(d *Delivery) []byte { return h.verifyBody(challenge, d) })
	s.lock()
	s.deliveries = appendCappedTo(s.deliveries, d, deliveriesKept)
	s.mu.Unlock()
	if d.Err != nil {
		return fmt.Errorf("smartcartest: verify %q: %w", id, d.Err)
	}
	var body struct {
		Challenge string `json:"challenge"`
	}
	switch {
	case d.Status != http.StatusOK:
		return fmt.Errorf("smartcartest: verify %q: status %d, want 200", id, d.Status)
	case json.Unmarshal(answer, &body) != nil:
		return fmt.Errorf("smartcartest: verify %q: the answer is no JSON", id)
	case body.Challenge != h.sign([]byte(challenge)):
		return fmt.Errorf("smartcartest: verify %q: the answer is not the HMAC of the challenge", id)
	}
	s.lock()
	defer s.mu.Unlock()
	h.verified = true
	s.observe(s.now())
	return nil
}

// EnableWebhook switches a webhook on or off. While it is off, no event is
// queued for it. When it is switched on again, each car begins with a first
// delivery.
func (s *Server) EnableWebhook(id string, on bool) error {
	s.lock()
	defer s.mu.Unlock()
	h := s.hook(id)
	if h == nil {
		return fmt.Errorf("smartcartest: no webhook %q", id)
	}
	h.disabled = !on
	for _, b := range s.subscriptions {
		if b.hook == id {
			b.delivered, b.lastSaid = false, map[string]string{}
		}
	}
	s.events = slices.DeleteFunc(s.events, func(e *event) bool { return e.hook == h && h.disabled })
	s.observe(s.now())
	return nil
}
