package smartcartest

import (
	"net/http"
	"time"
)

// observeV2 queues an event of version 2.0 when an answer to one of the
// webhook's paths has changed.
func (s *Server) observeV2(h *hook, b *subscription, v *vehicle, n *connection, now time.Time) {
	if h.EventName == "eventBased" {
		s.observeChargeV2(h, b, v, n, now)
		return
	}
	p := &scheduledV2{hook: h, vehicle: v.ID, mode: n.mode, requestID: randomUUID(), now: now}
	var seen []any
	for _, path := range h.Data {
		item := s.itemV2(path, v, n, now, p.requestID)
		p.items = append(p.items, item)
		seen = append(seen, item["code"], item["body"])
		if item["code"] != 200 {
			seen[len(seen)-1] = nil // an error body holds the request id, which is always new
		}
	}
	if says := string(mustJSON(seen)); b.lastSaid["all"] != says {
		b.lastSaid["all"] = says
		s.enqueue(h, b, h.EventName, v, p)
	}
}

// itemV2 is one path of a webhook of version 2.0, in the shape of an item of a
// batch.
func (s *Server) itemV2(path string, v *vehicle, n *connection, now time.Time, requestID string) object {
	op := s.operation(http.MethodGet, segments(path))
	var err *apiError
	switch {
	case op == nil || op.read == nil:
		err = newError("RESOURCE_NOT_FOUND", "PATH")
	case v.lostAccess && op.kind == Data:
		err = v.accessError()
	case v.keyless() && op.kind == Data:
		err = newError("CONNECTED_SERVICES_ACCOUNT", "VIRTUAL_KEY_REQUIRED")
	default:
		err = op.admit(v, n.permissions, nil)
	}
	var body any
	rec := v.pushed(now)
	if err == nil {
		_, driver := v.reachedBy(n.account)
		w := &view{vehicle: v, now: now, driver: driver}
		body, err = op.read(w.withRecording(rec))
	}
	if err != nil {
		return object{"path": path, "code": err.status, "body": err.v2Body(requestID), "headers": object{}}
	}
	return object{"path": path, "code": 200, "body": body, "headers": dataHeaders(rec, "metric")}
}

// observeChargeV2 queues an event when charging has begun or ended.
func (s *Server) observeChargeV2(h *hook, b *subscription, v *vehicle, n *connection, now time.Time) {
	if v.keyless() {
		return
	}
	rec := v.pushed(now)
	is := v.conditionAt(rec.recorded).chargeState(rec.recorded)
	was := b.lastSaid["charge"]
	b.lastSaid["charge"] = is
	kind := map[string]string{
		"CHARGING": "CHARGING_STARTED", "FULLY_CHARGED": "CHARGING_COMPLETED", "NOT_CHARGING": "CHARGING_STOPPED",
	}[is]
	if was == "" || was == is || is != "CHARGING" && was != "CHARGING" {
		return
	}
	s.enqueue(h, b, h.EventName, v, &chargeEventV2{hook: h, vehicle: v.ID, mode: n.mode, kind: kind, recorded: rec.recorded})
}

// scheduledV2 is a scheduled or dynamic event of version 2.0.
type scheduledV2 struct {
	hook          *hook
	vehicle, mode string
	requestID     string
	items         []object
	now           time.Time
}

// payload is the body of the event.
func (p *scheduledV2) payload(*Delivery, int64) object {
	return object{
		"version": "2.0", "webhookId": p.hook.ID, "eventName": p.hook.EventName, "mode": p.hook.modeV2(p.mode),
		"payload": object{"vehicles": []object{{
			"vehicleId": p.vehicle, "requestId": p.requestID, "data": p.items,
			"unitSystem": "metric", "timestamp": p.now.UTC().Format(timeLayout),
		}}},
	}
}

// chargeEventV2 is an event of version 2.0 about charging.
type chargeEventV2 struct {
	hook                *hook
	vehicle, mode, kind string
	recorded            time.Time
}

// payload is the body of the event.
func (p *chargeEventV2) payload(d *Delivery, _ int64) object {
	return object{
		"version": "2.0", "webhookId": p.hook.ID, "eventName": p.hook.EventName, "mode": p.hook.modeV2(p.mode),
		"payload": object{"eventId": d.EventID, "vehicleId": p.vehicle, "eventType": p.kind, "eventTime": p.recorded.UTC().Format(timeLayout)},
	}
}
