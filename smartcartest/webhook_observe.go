package smartcartest

import (
	"net/http"
	"slices"
	"strings"
	"time"
)

// observe queues what the webhooks have to say about what has changed since it
// looked last. It needs the lock.
func (s *Server) observe(now time.Time) {
	for _, b := range s.subscriptions {
		h, n := s.hook(b.hook), s.connectionOf(b)
		if h == nil || n == nil || !h.verified || h.disabled || now.Before(b.begins) {
			continue
		}
		v := s.vehicles[b.vehicle]
		if h.Version == "2.0" {
			s.observeOld(h, b, v, n, now)
			continue
		}
		s.observeKey(h, b, v, n)
		if !v.keyless() { // without the key nothing streams
			s.observeState(h, b, v, n, now)
		}
	}
}

func (s *Server) connectionOf(b *subscription) *connection { return s.connection(b.user, b.vehicle) }

// pushed is what the vendor has of a car without asking it.
func (v *vehicle) pushed(now time.Time) recording {
	at := v.recorded(now)
	fetched := at.Add(v.delay())
	if fetched.After(now) {
		fetched = now
	}
	return recording{at: at, fetched: fetched}
}

// observeKey reports the missing key of a car that would stream, once, and
// that it is there.
func (s *Server) observeKey(h *hook, b *subscription, v *vehicle, n *connection) {
	if missing := v.keyless() && v.tesla(); missing != b.keyError {
		b.keyError = missing
		s.queueError(h, b, v, n, newError("CONNECTED_SERVICES_ACCOUNT", "VIRTUAL_KEY_REQUIRED"), !missing)
	}
}

// observeState compares the triggers.
func (s *Server) observeState(h *hook, b *subscription, v *vehicle, n *connection, now time.Time) {
	rec := v.pushed(now)
	var changed []*signal
	for _, code := range h.Triggers {
		g := s.signal(code)
		r := g.read(v, n, now, rec, nil, &s.cfg.variants)
		says := string(mustJSON([]any{r.status, r.body}))
		if b.seen[code] != says {
			b.seen[code] = says
			changed = append(changed, g)
		}
	}
	if b.delivered && len(changed) == 0 {
		return
	}
	if !b.delivered {
		changed = nil // the first delivery has no signal that triggered it
	}
	b.delivered = true
	s.queue(h, b, "VEHICLE_STATE", v, s.stateEvent(h, v, n, now, rec, changed, false))
}

// stateEvent takes a picture of all data signals.
func (s *Server) stateEvent(h *hook, v *vehicle, n *connection, now time.Time, rec recording, triggers []*signal, test bool) *envelope {
	e := s.envelope(h, v, n, test)
	for _, code := range h.Data {
		e.signals = append(e.signals, s.signal(code).read(v, n, now, rec, nil, &s.cfg.variants))
	}
	e.triggers = triggers
	return e
}

// queueError queues a VEHICLE_ERROR.
func (s *Server) queueError(h *hook, b *subscription, v *vehicle, n *connection, err *apiError, resolved bool) {
	e := s.envelope(h, v, n, false)
	e.err, e.resolved = err, resolved
	for _, code := range h.Data {
		e.affected = append(e.affected, s.signal(code))
	}
	s.queue(h, b, "VEHICLE_ERROR", v, e)
}

// VehicleError reports an error of a car, or its end, to the webhooks of
// version 4.0 that the car is subscribed to, e.g. "VEHICLE_STATE" and
// "UNREACHABLE". It is sent by the next Deliver.
func (s *Server) VehicleError(vehicleID, errorType, errorCode string, resolved bool) error {
	return s.change(vehicleID, func(v *vehicle, _ time.Time) error {
		for _, b := range s.subscriptions {
			h, n := s.hook(b.hook), s.connectionOf(b)
			if b.vehicle == vehicleID && n != nil && h.verified && !h.disabled && h.Version != "2.0" {
				s.queueError(h, b, v, n, newError(errorType, errorCode), resolved)
			}
		}
		return nil
	})
}

// queue adds an event; twice, if the webhook is to get duplicates.
func (s *Server) queue(h *hook, b *subscription, kind string, v *vehicle, p payload) {
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

// segments are those of a path such as /charge/limit.
func segments(path string) []string { return strings.Split(strings.Trim(path, "/"), "/") }

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// observeOld is the same for version 2.0.
func (s *Server) observeOld(h *hook, b *subscription, v *vehicle, n *connection, now time.Time) {
	if h.EventName == "eventBased" {
		s.observeCharge(h, b, v, n, now)
		return
	}
	p := &oldPayload{hook: h, vehicle: v.ID, mode: n.mode, requestID: randomUUID(), at: now}
	var seen []any
	for _, path := range h.Data {
		item := s.oldItem(path, v, n, now, p.requestID)
		p.items = append(p.items, item)
		seen = append(seen, item["code"], item["body"])
		if item["code"] != 200 {
			seen[len(seen)-1] = nil // holds the request's id
		}
	}
	if says := string(mustJSON(seen)); b.seen["all"] != says {
		b.seen["all"] = says
		s.queue(h, b, h.EventName, v, p)
	}
}

// observeCharge tells how charging began and ended.
func (s *Server) observeCharge(h *hook, b *subscription, v *vehicle, n *connection, now time.Time) {
	if v.keyless() {
		return
	}
	rec := v.pushed(now)
	is := v.at(rec.at).chargeState(rec.at)
	was := b.seen["charge"]
	b.seen["charge"] = is
	kind := map[string]string{
		"CHARGING": "CHARGING_STARTED", "FULLY_CHARGED": "CHARGING_COMPLETED", "NOT_CHARGING": "CHARGING_STOPPED",
	}[is]
	if was == "" || was == is || is != "CHARGING" && was != "CHARGING" {
		return
	}
	s.queue(h, b, h.EventName, v, &oldEvent{hook: h, vehicle: v.ID, mode: n.mode, kind: kind, at: rec.at})
}

// oldItem is one path of a scheduled webhook, shaped like an item of a batch.
func (s *Server) oldItem(path string, v *vehicle, n *connection, now time.Time, requestID string) object {
	op := s.operation(http.MethodGet, segments(path))
	var err *apiError
	switch {
	case op == nil || op.read == nil:
		err = newError("RESOURCE_NOT_FOUND", "PATH")
	case v.keyless() && op.kind == Data:
		err = newError("CONNECTED_SERVICES_ACCOUNT", "VIRTUAL_KEY_REQUIRED")
	default:
		err = op.admit(v, n.perms, nil)
	}
	var body any
	rec := v.pushed(now)
	if err == nil {
		_, driver := v.reachedBy(n.account)
		w := &view{vehicle: v, now: now, driver: driver}
		body, err = op.read(w.as(rec))
	}
	if err != nil {
		return object{"path": path, "code": err.status, "body": err.v2(requestID), "headers": object{}}
	}
	return object{"path": path, "code": 200, "body": body, "headers": dates(rec, "metric")}
}

// carOf picks the car of a test: the named one, a subscribed one, or any.
func (s *Server) carOf(h *hook, vehicleID string) *vehicle {
	if vehicleID != "" {
		return s.vehicles[vehicleID]
	}
	i := slices.IndexFunc(s.subscriptions, func(b *subscription) bool { return b.hook == h.ID })
	switch {
	case i >= 0:
		return s.vehicles[s.subscriptions[i].vehicle]
	case len(s.order) > 0:
		return s.vehicles[s.order[0]]
	default:
		return nil
	}
}
