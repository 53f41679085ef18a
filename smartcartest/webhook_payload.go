package smartcartest

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// payload is an event that takes its shape anew for each attempt. It must not
// need the lock.
type payload interface {
	payload(d *Delivery, sequence int64) object
}

// when is a time in a webhook.
func (h *hook) when(t time.Time) any {
	switch {
	case h.Variants.ISOTimes && t.IsZero():
		return nil
	case h.Variants.ISOTimes:
		return t.UTC().Format(stamp)
	case t.IsZero():
		return 0 // as seen for the VIN
	default:
		return t.UnixMilli()
	}
}

// verify is the body of VERIFY.
func (h *hook) verify(challenge string, d *Delivery) []byte {
	if h.Version == "2.0" {
		return mustJSON(object{
			"version": "2.0", "webhookId": h.ID, "eventName": "verify", "payload": object{"challenge": challenge},
		})
	}
	at := any(d.Time.UTC().Format(stamp))
	if h.Variants.EpochVerify {
		at = d.Time.UnixMilli()
	}
	return mustJSON(object{
		"eventId": d.EventID, "eventType": "VERIFY", "data": object{"challenge": challenge},
		"meta": object{"version": "4.0", "webhookId": h.ID, "webhookName": h.Name, "deliveryId": d.DeliveryID, "deliveredAt": at},
	})
}

// envelope is an event of version 4.0.
type envelope struct {
	hook     *hook
	test     bool
	vehicle  object
	user     object
	signals  []reading // of VEHICLE_STATE
	triggers []*signal // none is a first delivery
	err      *apiError // of VEHICLE_ERROR
	affected []*signal
	resolved bool
}

func (s *Server) envelope(h *hook, v *vehicle, n *connection, test bool) *envelope {
	e := &envelope{hook: h, test: test, user: object{"id": n.user}, vehicle: s.v3Attributes(v, n.mode)}
	if n.externalID != "" && !h.Variants.Sparse {
		e.user["externalId"] = n.externalID
	}
	e.vehicle["id"] = v.ID
	if test {
		e.vehicle["mode"] = "test"
	}
	if h.Variants.SwappedMode {
		e.vehicle["mode"] = strings.ToUpper(e.vehicle["mode"].(string))
	}
	return e
}

func (e *envelope) payload(d *Delivery, sequence int64) object {
	h := e.hook
	data := object{"user": e.user, "vehicle": e.vehicle}
	meta := object{
		"version": "4.0", "webhookId": h.ID, "webhookName": h.Name, "deliveryId": d.DeliveryID, "deliveredAt": h.when(d.Time),
		"mode": e.mode(),
	}
	if !h.Variants.Sparse {
		meta["sequence"], meta["applicationId"] = sequence, clientID
	}
	out := object{"eventId": d.EventID, "eventType": d.EventType, "data": data, "meta": meta}
	if e.err != nil {
		data["errors"] = []object{e.failure()}
		return out
	}
	meta["signalCount"] = len(e.signals)
	list := []object{}
	for _, r := range e.signals {
		list = append(list, e.signal(r))
	}
	data["signals"] = list
	if h.Variants.StateErrors {
		data["errors"] = e.stateErrors()
	}
	if h.Variants.DataTriggers {
		out["vehicleId"] = e.vehicle["id"]
		data["triggers"] = e.bareTriggers()
	} else {
		out["triggers"] = e.typedTriggers()
	}
	return out
}

func (e *envelope) mode() string {
	mode := "LIVE"
	if e.test {
		mode = "TEST"
	}
	if e.hook.Variants.SwappedMode {
		mode = strings.ToLower(mode)
	}
	return mode
}

func (g *signal) named() object { return object{"code": g.code(), "name": g.name, "group": g.group} }

func (e *envelope) bareTriggers() []object {
	if len(e.triggers) == 0 {
		return []object{{"code": "FIRST_DELIVERY"}}
	}
	list := []object{}
	for _, g := range e.triggers {
		list = append(list, g.named())
	}
	return list
}

func (e *envelope) typedTriggers() []object {
	if len(e.triggers) == 0 {
		return []object{{"type": "FIRST_DELIVERY"}}
	}
	list := []object{}
	for _, g := range e.triggers {
		list = append(list, object{"type": "SIGNAL_UPDATED", "signal": g.named()})
	}
	return list
}

// signal is one signal of VEHICLE_STATE.
func (e *envelope) signal(r reading) object {
	out := r.named()
	status := object{"value": r.status}
	if r.err != nil {
		status["error"] = object{"type": r.err.typ, "code": nullable(r.err.code)}
	}
	out["status"] = status
	if r.body == nil {
		return out
	}
	retrieved := "retrievedAt"
	if e.hook.Variants.FetchedAt {
		retrieved = "fetchedAt"
	}
	fetched := r.fetched
	if r.at.IsZero() {
		fetched = time.Time{}
	}
	out["body"], out["meta"] = r.body, object{"oemUpdatedAt": e.hook.when(r.at), retrieved: e.hook.when(fetched)}
	return out
}

// stateErrors groups the errors of the signals.
func (e *envelope) stateErrors() []object {
	list := []object{}
	at := map[string]int{}
	for _, r := range e.signals {
		if r.err == nil {
			continue
		}
		key := r.err.typ + ":" + r.err.code
		i, ok := at[key]
		if !ok {
			i = len(list)
			at[key] = i
			list = append(list, object{
				"type": r.err.typ, "code": nullable(r.err.code), "resolution": object{"type": nullable(r.err.resolution)}, "signals": []object{},
			})
		}
		list[i]["signals"] = append(list[i]["signals"].([]object), object{"code": r.code()})
	}
	return list
}

// failure is the error of VEHICLE_ERROR, with the field names of v2.0.
func (e *envelope) failure() object {
	out := object{
		"type": e.err.typ, "code": nullable(e.err.code), "state": "ERROR", "description": e.err.description,
		"docURL": e.err.docURL(), "resolution": e.err.resolved(),
	}
	if e.err.user != "" {
		out["suggestedUserMessage"] = e.err.user
	}
	if e.resolved {
		out["state"] = "RESOLVED"
		delete(out, "docURL")
		delete(out, "resolution")
		delete(out, "suggestedUserMessage")
	}
	signals := []object{}
	for _, g := range e.affected {
		signals = append(signals, g.named())
	}
	out["signals"] = signals
	return out
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

func (h *hook) oldMode(mode string) string {
	if h.Variants.SwappedMode {
		return strings.ToUpper(mode)
	}
	return mode
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
	d, _ := s.post(ctx, e.hook, Delivery{
		WebhookID: webhookID, VehicleID: e.vehicle, EventID: e.id, DeliveryID: randomUUID(), EventType: e.kind, URL: e.url,
		Attempt: 1, Time: s.Now(),
	}, e.build)
	s.mu.Lock()
	s.sent = cappedAt(s.sent, d, deliveriesKept)
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
	v := s.carOf(h, vehicleID)
	if v == nil {
		return nil, fmt.Errorf("smartcartest: no vehicle %q", vehicleID)
	}
	now := s.now()
	n := &connection{user: s.userID(v.Owner), vehicle: v.ID, account: v.Owner, mode: "test", perms: v.Permissions}
	if known := s.newest(func(n *connection) bool { return n.vehicle == v.ID }); len(known) > 0 {
		n.user, n.externalID, n.account = known[0].user, known[0].externalID, known[0].account
	}
	s.sequence++
	sequence := s.sequence
	e := &event{hook: h, id: randomUUID(), kind: "VEHICLE_STATE", url: h.CallbackURL, vehicle: v.ID}
	var p payload
	switch {
	case h.Version == "2.0" && h.EventName == "eventBased":
		e.kind = h.EventName
		p = &oldEvent{hook: h, vehicle: v.ID, mode: "test", kind: "CHARGING_STARTED", at: now}
	case h.Version == "2.0":
		e.kind = h.EventName
		old := &oldPayload{hook: h, vehicle: v.ID, mode: "test", requestID: randomUUID(), at: now}
		for _, path := range h.Data {
			old.items = append(old.items, s.oldItem(path, v, n, now, old.requestID))
		}
		p = old
	default:
		p = s.stateEvent(h, v, n, now, v.pushed(now), nil, true)
	}
	e.build = func(d *Delivery) []byte { return mustJSON(p.payload(d, sequence)) }
	return e, nil
}
