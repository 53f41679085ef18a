package smartcartest

import (
	"context"
	"fmt"
	"slices"
)

// TestWebhook presses the dashboard's test button: one event with mode TEST is
// sent at once, signed, and not tried again. Its values are those that the
// vendor has of vehicleID or, when that is empty, of any car; no car is asked.
// An unverified or disabled webhook sends it too. The error says that the
// receiver did not answer, or not with 2xx.
func (s *Server) TestWebhook(ctx context.Context, webhookID, vehicleID string) (Delivery, error) {
	e, err := s.testEvent(webhookID, vehicleID)
	if err != nil {
		return Delivery{}, err
	}
	d, _ := s.send(ctx, e.hook, Delivery{
		WebhookID: webhookID, VehicleID: e.vehicle, EventID: e.id, DeliveryID: randomUUID(), EventType: e.kind, URL: e.url,
		Attempt: 1, Time: s.Now(),
	}, e.build)
	s.lock()
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

// testEvent is what the button sends. Nobody needs to be connected to the car:
// its owner stands for the user then.
func (s *Server) testEvent(webhookID, vehicleID string) (*event, error) {
	s.lock()
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

// testedCar is the car that the caller names, else a subscribed one, else the
// first of the garage; nil when there is none.
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
