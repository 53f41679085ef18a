package smartcartest

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"
)

// Webhook is a webhook of the simulated dashboard. New values are added with
// [Server.AddWebhook]; the zero value of every field but CallbackURL works.
type Webhook struct {
	// ID and Name are invented when they are empty.
	ID, Name string
	// CallbackURL receives VERIFY and the events, by POST. Any URL works.
	CallbackURL string
	// ErrorCallbackURL receives VEHICLE_ERROR; empty is CallbackURL.
	ErrorCallbackURL string
	// Version of the payloads: "4.0", which is the default, or "2.0".
	Version string
	// EventName is the kind of a webhook of version 2.0: scheduled, which is
	// the default, schedule, dynamic or eventBased.
	EventName string
	// Triggers are the codes of the signals whose changes send an event, and
	// Data those that every event carries. Empty are some plausible ones. With
	// version 2.0, Data are paths such as /battery, and their changes trigger.
	Triggers, Data []string
	// AutoSubscribe subscribes every car that is connected, before or after.
	AutoSubscribe bool
	// Token is the key of challenge and signature; empty is ManagementToken,
	// as the vendor uses. Another one makes every signature wrong.
	Token string

	// Handler receives the requests in memory, without a socket; it works
	// inside a synctest bubble. Otherwise Transport sends them, and if that is
	// nil too, a transport that keeps no connections.
	Handler   http.Handler
	Transport http.RoundTripper

	// Duplicate sends every event twice, with one eventId. Reverse sends what
	// is due at the same time in the wrong order. Both are allowed to happen.
	Duplicate, Reverse bool
	// Variants choose the shape of the payloads where it is in doubt.
	Variants WebhookVariants
}

// WebhookVariants choose what is sent where the documentation of the webhooks,
// its examples and real deliveries differ. The zero value is what was seen in
// real ones. A receiver has to bear all of them.
type WebhookVariants struct {
	// DataTriggers puts the triggers into data, without a type around them, and
	// the id of the car into vehicleId, as documented.
	DataTriggers bool
	// FetchedAt names a signal's retrievedAt so.
	FetchedAt bool
	// ISOTimes sends all times as RFC 3339 rather than milliseconds since 1970.
	ISOTimes bool
	// EpochVerify sends the time of VERIFY as milliseconds; it is RFC 3339
	// otherwise.
	EpochVerify bool
	// SwappedMode sends meta.mode in lower and the car's mode in upper case;
	// with version 2.0, mode in upper case.
	SwappedMode bool
	// Sparse leaves out what is newer: meta.sequence, meta.applicationId and
	// the user's externalId.
	Sparse bool
	// StateErrors lists the errors of VEHICLE_STATE in data.errors too.
	StateErrors bool
}

// hook is a webhook at run time.
type hook struct {
	Webhook
	created  time.Time
	verified bool
	disabled bool
}

// subscription is one car of one user on a webhook.
type subscription struct {
	id, hook, user, vehicle string
	created, begins         time.Time

	delivered bool              // the first delivery was queued
	keyError  bool              // the missing key was reported
	seen      map[string]string // what each trigger said last
}

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
	if err := s.complete(&w); err != nil {
		return "", err
	}
	s.mu.Lock()
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
	s.hooks = append(s.hooks, &hook{Webhook: w, created: now})
	for _, n := range s.connections {
		s.autoSubscribe(n, now)
	}
	s.mu.Unlock()
	return w.ID, s.VerifyWebhook(ctx, w.ID)
}

// complete fills in the signals and says which are unknown.
func (s *Server) complete(w *Webhook) error {
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

// signal finds a row of the catalog; nil when there is none.
func (s *Server) signal(code string) *signal {
	i := slices.IndexFunc(s.signals, func(g signal) bool { return g.code() == code })
	if i < 0 {
		return nil
	}
	return &s.signals[i]
}

// hook finds a webhook; nil when there is none.
func (s *Server) hook(id string) *hook {
	i := slices.IndexFunc(s.hooks, func(h *hook) bool { return h.ID == id })
	if i < 0 {
		return nil
	}
	return s.hooks[i]
}

// sign is the lower-case hex of the HMAC-SHA256 of a message.
func (h *hook) sign(message []byte) string {
	key := h.Token
	if key == "" {
		key = managementToken
	}
	mac := hmac.New(sha256.New, []byte(key))
	mac.Write(message)
	return hex.EncodeToString(mac.Sum(nil))
}

// VerifyWebhook challenges the receiver, as the dashboard's button does. The
// webhook is verified from then on when it answers 200 with the HMAC of the
// challenge in 15 seconds; otherwise the error says what was wrong and nothing
// has changed. VERIFY is not signed.
func (s *Server) VerifyWebhook(ctx context.Context, id string) error {
	s.mu.Lock()
	h, now := s.hook(id), s.now()
	s.mu.Unlock()
	if h == nil {
		return fmt.Errorf("smartcartest: no webhook %q", id)
	}
	challenge := randomUUID()
	d, answer := s.post(ctx, h, Delivery{
		WebhookID: id, EventID: randomUUID(), DeliveryID: randomUUID(), EventType: "VERIFY", URL: h.CallbackURL, Attempt: 1, Time: now,
	}, func(d *Delivery) []byte { return h.verify(challenge, d) })
	s.mu.Lock()
	s.sent = cappedAt(s.sent, d, deliveriesKept)
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
	s.mu.Lock()
	defer s.mu.Unlock()
	h.verified = true
	s.observe(s.now())
	return nil
}

// EnableWebhook switches a webhook on or off. While it is off nothing is
// queued; on again, each car begins with a first delivery.
func (s *Server) EnableWebhook(id string, on bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.hook(id)
	if h == nil {
		return fmt.Errorf("smartcartest: no webhook %q", id)
	}
	h.disabled = !on
	for _, b := range s.subscriptions {
		if b.hook == id {
			b.delivered, b.seen = false, map[string]string{}
		}
	}
	s.events = slices.DeleteFunc(s.events, func(e *event) bool { return e.hook == h && h.disabled })
	s.observe(s.now())
	return nil
}

// Subscribe subscribes a car to a webhook, for every user who has connected
// it. A car that nobody has connected is an error; a subscribed one is not.
func (s *Server) Subscribe(webhookID, vehicleID string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	found := s.newest(func(n *connection) bool { return n.vehicle == vehicleID })
	if h := s.hook(webhookID); h == nil || len(found) == 0 {
		return fmt.Errorf("smartcartest: no webhook %q or no connection to %q", webhookID, vehicleID)
	}
	now := s.now()
	for _, n := range found {
		s.addSubscription(webhookID, n, now)
	}
	s.observe(now)
	return nil
}

// addSubscription makes one; nil when it exists already.
func (s *Server) addSubscription(webhookID string, n *connection, now time.Time) *subscription {
	if s.subscription(webhookID, n) != nil {
		return nil
	}
	b := &subscription{
		id: randomUUID(), hook: webhookID, user: n.user, vehicle: n.vehicle, created: now, begins: now.Add(s.cfg.subscriptionLag),
		seen: map[string]string{},
	}
	s.subscriptions = append(s.subscriptions, b)
	s.vehicles[n.vehicle].subscribe(b.begins)
	return b
}

func (s *Server) subscription(webhookID string, n *connection) *subscription {
	for _, b := range s.subscriptions {
		if b.hook == webhookID && b.user == n.user && b.vehicle == n.vehicle {
			return b
		}
	}
	return nil
}

// autoSubscribe subscribes a connection to the webhooks that take all.
func (s *Server) autoSubscribe(n *connection, now time.Time) {
	for _, h := range s.hooks {
		if h.AutoSubscribe {
			s.addSubscription(h.ID, n, now)
		}
	}
}

// drop forgets subscriptions and what was still to be sent for them.
func (s *Server) drop(gone func(*subscription) bool) {
	s.subscriptions = slices.DeleteFunc(s.subscriptions, func(b *subscription) bool {
		if !gone(b) {
			return false
		}
		s.events = slices.DeleteFunc(s.events, func(e *event) bool { return e.subscription == b })
		return true
	})
}
