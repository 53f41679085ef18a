package smartcartest

import (
	"strings"
	"time"
)

// payload is what an event says. Each attempt to deliver the event asks for it
// again, as some fields depend on the attempt. The server's lock may not be
// held then, so nothing in a payload changes after it was queued.
type payload interface {
	payload(d *Delivery, sequence int64) object
}

// envelope is an event of version 4.0: VEHICLE_ERROR when it has a carError,
// VEHICLE_STATE otherwise.
type envelope struct {
	hook     *hook
	test     bool
	vehicle  object
	user     object
	signals  []reading // of VEHICLE_STATE
	triggers []*signal // that have changed; none in a first delivery
	carError *apiError // of VEHICLE_ERROR
	affected []*signal // by carError
	resolved bool      // carError has ended
}

// newEnvelope is an event about a car, to which signals or an error are still
// to be added. test makes it one of the test button.
func (s *Server) newEnvelope(h *hook, v *vehicle, n *connection, test bool) *envelope {
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

// payload is the body of the event.
func (e *envelope) payload(d *Delivery, sequence int64) object {
	h := e.hook
	data := object{"user": e.user, "vehicle": e.vehicle}
	meta := object{
		"version": "4.0", "webhookId": h.ID, "webhookName": h.Name, "deliveryId": d.DeliveryID, "deliveredAt": h.time(d.Time),
		"mode": e.mode(),
	}
	if h.Variants.Early {
		meta = object{"deliveryId": d.DeliveryID, "deliveredAt": h.time(d.Time), "deliveryTime": h.time(d.Time)}
	} else if !h.Variants.Sparse {
		meta["sequence"], meta["applicationId"] = sequence, clientID
	}
	out := object{"eventId": d.EventID, "eventType": d.EventType, "data": data, "meta": meta}
	if e.carError != nil {
		data["errors"] = []object{e.errorBody()}
		return out
	}
	if !h.Variants.Early {
		meta["signalCount"] = len(e.signals)
	}
	list := []object{}
	for _, r := range e.signals {
		list = append(list, e.signalBody(r))
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

// mode is meta.mode.
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

// bareTriggers are the triggers as WebhookVariants.DataTriggers asks.
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

// typedTriggers are the triggers as real deliveries have them.
func (e *envelope) typedTriggers() []object {
	if len(e.triggers) == 0 {
		return []object{{"type": "FIRST_DELIVERY"}}
	}
	list := []object{}
	for _, g := range e.triggers {
		trigger := object{"type": "SIGNAL_UPDATED", "signal": g.named()}
		if e.hook.Variants.Early {
			trigger["signal"] = g.text()
		}
		list = append(list, trigger)
	}
	return list
}

// signalBody is one signal of VEHICLE_STATE.
func (e *envelope) signalBody(r reading) object {
	out := r.named()
	status := object{"value": r.status}
	if r.err != nil {
		status["error"] = object{"type": r.err.typ, "code": nullable(r.err.code)}
	}
	if r.err != nil || !e.hook.Variants.Early {
		out["status"] = status
	}
	if r.body == nil {
		return out
	}
	retrieved := "retrievedAt"
	if e.hook.Variants.FetchedAt {
		retrieved = "fetchedAt"
	}
	fetched := r.fetched
	if r.recorded.IsZero() {
		fetched = time.Time{}
	}
	out["body"], out["meta"] = r.body, object{"oemUpdatedAt": e.hook.time(r.recorded), retrieved: e.hook.time(fetched)}
	return out
}

// stateErrors lists each error of the signals once, with the signals that have
// it.
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

// errorBody is the error of VEHICLE_ERROR. Its fields are named as in v2.0.
func (e *envelope) errorBody() object {
	out := object{
		"type": e.carError.typ, "code": nullable(e.carError.code), "state": "ERROR", "description": e.carError.description,
		"docURL": e.carError.docURL(), "resolution": e.carError.resolutionBody(),
	}
	if e.carError.userMessage != "" {
		out["suggestedUserMessage"] = e.carError.userMessage
	}
	if e.resolved {
		out["state"] = "RESOLVED"
		delete(out, "docURL")
		delete(out, "resolution")
		delete(out, "suggestedUserMessage")
	}
	signals := []any{}
	for i, g := range e.affected {
		switch {
		case !e.hook.Variants.Early:
			signals = append(signals, g.named())
		case i == 0:
			signals = append(signals, object{"name": g.group, "group": g.name})
		default:
			signals = append(signals, g.text())
		}
	}
	out["signals"] = signals
	return out
}
