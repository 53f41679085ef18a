package smartcartest

import (
	"net/http"
	"time"
)

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

// oldPayload is a scheduled or dynamic event of version 2.0.
type oldPayload struct {
	hook          *hook
	vehicle, mode string
	requestID     string
	items         []object
	at            time.Time
}

func (p *oldPayload) payload(*Delivery, int64) object {
	return object{
		"version": "2.0", "webhookId": p.hook.ID, "eventName": p.hook.EventName, "mode": p.hook.oldMode(p.mode),
		"payload": object{"vehicles": []object{{
			"vehicleId": p.vehicle, "requestId": p.requestID, "data": p.items,
			"unitSystem": "metric", "timestamp": p.at.UTC().Format(stamp),
		}}},
	}
}

// oldEvent is an event of version 2.0 about charging.
type oldEvent struct {
	hook                *hook
	vehicle, mode, kind string
	at                  time.Time
}

func (p *oldEvent) payload(d *Delivery, _ int64) object {
	return object{
		"version": "2.0", "webhookId": p.hook.ID, "eventName": p.hook.EventName, "mode": p.hook.oldMode(p.mode),
		"payload": object{"eventId": d.EventID, "vehicleId": p.vehicle, "eventType": p.kind, "eventTime": p.at.UTC().Format(stamp)},
	}
}
