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
	s.hooks = append(s.hooks, &hook{Webhook: w, createdAt: now})
	for _, n := range s.connections {
		s.autoSubscribe(n, now)
	}
	s.mu.Unlock()
	return w.ID, s.VerifyWebhook(ctx, w.ID)
}

// completeWebhook fills in the signals and says which are unknown.
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
	s.mu.Lock()
	h, now := s.hook(id), s.now()
	s.mu.Unlock()
	if h == nil {
		return fmt.Errorf("smartcartest: no webhook %q", id)
	}
	challenge := randomUUID()
	d, answer := s.send(ctx, h, Delivery{
		WebhookID: id, EventID: randomUUID(), DeliveryID: randomUUID(), EventType: "VERIFY", URL: h.CallbackURL, Attempt: 1, Time: now,
	}, func(d *Delivery) []byte { return h.verifyBody(challenge, d) })
	s.mu.Lock()
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
			b.delivered, b.lastSaid = false, map[string]string{}
		}
	}
	s.events = slices.DeleteFunc(s.events, func(e *event) bool { return e.hook == h && h.disabled })
	s.observe(s.now())
	return nil
}

// TestWebhook presses the dashboard's test button: one event with mode TEST is
// sent at once, signed, and not tried again. Its values are a car's, of
// vehicleID or, when that is empty, of any; the car is not asked. An unverified
// or disabled webhook sends it too. The error is of the receiver or its status.
func (s *Server) TestWebhook(ctx context.Context, webhookID, vehicleID string) (Delivery, error) {
	e, err := s.testEvent(webhookID, vehicleID)
	if err != nil {
		return Delivery{}, err
	}
	d, _ := s.send(ctx, e.hook, Delivery{
		WebhookID: webhookID, VehicleID: e.vehicle, EventID: e.id, DeliveryID: randomUUID(), EventType: e.kind, URL: e.url,
		Attempt: 1, Time: s.Now(),
	}, e.build)
	s.mu.Lock()
	s.deliveries = appendCappedTo(s.deliveries, d, deliveriesKept)
	s.mu.Unlock()
	switch {
	case d.Err != nil:
		return d, fmt.Errorf("smartcartest: test of %q: %w", webhookID, d.Err)
	case !d.Succeeded():
		return d, fmt.Errorf("smartcartest: test of %q: status %d", webhookID, d.Status)
	default:
		return d, nil
	}
}

func (s *Server) testEvent(webhookID, vehicleID string) (*event, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.hook(webhookID)
	if h == nil {
		return nil, fmt.Errorf("smartcartest: no webhook %q", webhookID)
	}
	v := s.testedCar(h, vehicleID)
	if v == nil {
		return nil, fmt.Errorf("smartcartest: no vehicle %q", vehicleID)
	}
	now := s.now()
	n := &connection{user: s.userID(v.Owner), vehicle: v.ID, account: v.Owner, mode: "test", permissions: v.Permissions}
	if known := s.connectionsNewestFirst(func(n *connection) bool { return n.vehicle == v.ID }); len(known) > 0 {
		n.user, n.externalID, n.account = known[0].user, known[0].externalID, known[0].account
	}
	s.sequence++
	sequence := s.sequence
	e := &event{hook: h, id: randomUUID(), kind: "VEHICLE_STATE", url: h.CallbackURL, vehicle: v.ID}
	var p payload
	switch {
	case h.Version == "2.0" && h.EventName == "eventBased":
		e.kind = h.EventName
		p = &chargeEventV2{hook: h, vehicle: v.ID, mode: "test", kind: "CHARGING_STARTED", recorded: now}
	case h.Version == "2.0":
		e.kind = h.EventName
		old := &scheduledV2{hook: h, vehicle: v.ID, mode: "test", requestID: randomUUID(), now: now}
		for _, path := range h.Data {
			old.items = append(old.items, s.itemV2(path, v, n, now, old.requestID))
		}
		p = old
	default:
		p = s.stateEvent(h, v, n, now, v.pushed(now), nil, true)
	}
	e.build = func(d *Delivery) []byte { return mustJSON(p.payload(d, sequence)) }
	return e, nil
}

// testedCar picks the car of a test: the named one, a subscribed one, or any.
func (s *Server) testedCar(h *hook, vehicleID string) *vehicle {
	if vehicleID != "" {
		return s.vehicles[vehicleID]
	}
	i := slices.IndexFunc(s.subscriptions, func(b *subscription) bool { return b.hook == h.ID })
	switch {
	case i >= 0:
		return s.vehicles[s.subscriptions[i].vehicle]
	case len(s.garage) > 0:
		return s.vehicles[s.garage[0]]
	default:
		return nil
	}
}
