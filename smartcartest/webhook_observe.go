package smartcartest

import "time"

// observe queues an event for each subscription whose car has changed since
// the last call. The caller holds the lock.
func (s *Server) observe(now time.Time) {
	for _, b := range s.subscriptions {
		h, n := s.hook(b.hook), s.connectionOf(b)
		if h == nil || n == nil || !h.verified || h.disabled || now.Before(b.beginsAt) {
			continue
		}
		v := s.vehicles[b.vehicle]
		if h.Version == "2.0" {
			s.observeV2(h, b, v, n, now)
			continue
		}
		s.observeAccess(h, b, v, n)
		s.observeKey(h, b, v, n)
		if !v.keyless() && !v.lostAccess { // without the key, or the account, nothing streams
			s.observeState(h, b, v, n, now)
		}
	}
}

// observeAccess tells once that the owner must re-authenticate, and once that
// this has happened.
func (s *Server) observeAccess(h *hook, b *subscription, v *vehicle, n *connection) {
	err := v.accessError()
	if lost := err != nil; lost != b.accessError {
		b.accessError = lost
		if !lost {
			err = newError("CONNECTED_SERVICES_ACCOUNT", "AUTHENTICATION_FAILED")
		}
		s.enqueueError(h, b, v, n, err, !lost)
	}
}

// observeKey tells once that a streaming Tesla has no key, and once that it
// has got one.
func (s *Server) observeKey(h *hook, b *subscription, v *vehicle, n *connection) {
	if missing := v.keyless() && v.tesla(); missing != b.keyError {
		b.keyError = missing
		s.enqueueError(h, b, v, n, newError("CONNECTED_SERVICES_ACCOUNT", "VIRTUAL_KEY_REQUIRED"), !missing)
	}
}

// observeState tells which of the triggers have changed. The first event of a
// subscription is sent without a change.
func (s *Server) observeState(h *hook, b *subscription, v *vehicle, n *connection, now time.Time) {
	rec := v.pushed(now)
	var changed []*signal
	for _, code := range h.Triggers {
		g := s.signal(code)
		r := readSignal(g, v, n, now, rec, nil, &s.cfg.variants)
		says := string(mustJSON([]any{r.status, r.body}))
		if b.lastSaid[code] != says {
			b.lastSaid[code] = says
			changed = append(changed, g)
		}
	}
	if b.delivered && len(changed) == 0 {
		return
	}
	if !b.delivered {
		changed = nil // a first delivery names no trigger
	}
	b.delivered = true
	s.enqueue(h, b, "VEHICLE_STATE", v, s.stateEvent(h, v, n, now, rec, changed, false))
}

// stateEvent is a VEHICLE_STATE with the values that the signals have now.
func (s *Server) stateEvent(h *hook, v *vehicle, n *connection, now time.Time, rec recording, triggers []*signal, test bool) *envelope {
	e := s.newEnvelope(h, v, n, test)
	for _, code := range h.Data {
		e.signals = append(e.signals, readSignal(s.signal(code), v, n, now, rec, nil, &s.cfg.variants))
	}
	e.triggers = triggers
	return e
}

// VehicleError reports an error of a car, or its end, to the webhooks of
// version 4.0 that the car is subscribed to, e.g. "VEHICLE_STATE" and
// "UNREACHABLE". It is sent by the next Deliver.
func (s *Server) VehicleError(vehicleID, errorType, errorCode string, resolved bool) error {
	return s.change(vehicleID, func(v *vehicle, _ time.Time) error {
		for _, b := range s.subscriptions {
			h, n := s.hook(b.hook), s.connectionOf(b)
			if b.vehicle == vehicleID && n != nil && h.verified && !h.disabled && h.Version != "2.0" {
				s.enqueueError(h, b, v, n, newError(errorType, errorCode), resolved)
			}
		}
		return nil
	})
}

// enqueueError queues a VEHICLE_ERROR.
func (s *Server) enqueueError(h *hook, b *subscription, v *vehicle, n *connection, err *apiError, resolved bool) {
	e := s.newEnvelope(h, v, n, false)
	e.carError, e.resolved = err, resolved
	for _, code := range h.Data {
		e.affected = append(e.affected, s.signal(code))
	}
	s.enqueue(h, b, "VEHICLE_ERROR", v, e)
}
