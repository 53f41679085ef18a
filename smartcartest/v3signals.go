package smartcartest

import (
	"slices"
)

// v3Signals answers all signals the car has: one turn.
func (s *Server) v3Signals(c *call, v *vehicle, n *connection) *response {
	rec, refused := recording{at: c.now, fetched: c.now}, (*apiError)(nil)
	if slices.ContainsFunc(s.signals, func(g signal) bool { return slices.Contains(n.perms, g.permission) }) {
		if rec, refused = v.gate(c.now, c.entry); refused != nil && !inSignal(refused) {
			return c.fail(refused)
		}
	}
	list := []object{}
	for _, g := range s.signals {
		list = append(list, g.resource(c, v, n, rec, refused))
	}
	return c.ok(object{
		"data":     list,
		"meta":     object{"pageNumber": 1, "pageSize": len(list), "totalCount": len(list)},
		"links":    object{"self": "/vehicles/" + v.ID + "/signals"},
		"included": object{"vehicle": v.included(n)},
	}).dated(rec, "")
}

func (s *Server) v3Signal(c *call, v *vehicle, n *connection, code string) *response {
	i := slices.IndexFunc(s.signals, func(g signal) bool { return g.code == code })
	if i < 0 {
		e := newError("RESOURCE_NOT_FOUND", "SIGNAL_NOT_FOUND")
		e.description = "Signal with code " + code + " not found for vehicle with ID " + v.ID
		return c.fail(e)
	}
	g := s.signals[i]
	if !slices.Contains(n.perms, g.permission) {
		return c.fail(newError("PERMISSION", ""))
	}
	rec, refused := v.gate(c.now, c.entry)
	if refused != nil && !inSignal(refused) {
		return c.fail(refused)
	}
	return c.ok(object{
		"data": g.resource(c, v, n, rec, refused), "included": object{"vehicle": v.included(n)},
	}).dated(rec, "")
}

// inSignal says whether an error is reported inside the signals, with their
// old values, rather than for the request.
func inSignal(e *apiError) bool { return e.code == "VIRTUAL_KEY_REQUIRED" }

func (v *vehicle) included(n *connection) object {
	return object{"id": v.ID, "type": "vehicle", "attributes": v.v3(n.mode)}
}

// signal is one row of the v3 table. More are added by adding rows.
type signal struct {
	code, group, name, permission string
	body                          func(*view) (object, *apiError)
}

func signals() []signal {
	with := func(body func(*view) object) func(*view) (object, *apiError) {
		return func(w *view) (object, *apiError) { return body(w), nil }
	}
	tesla := func(body func(*view) object) func(*view) (object, *apiError) {
		return func(w *view) (object, *apiError) {
			if !w.tesla() {
				return nil, newError("COMPATIBILITY", "VEHICLE_NOT_CAPABLE")
			}
			return body(w), nil
		}
	}
	return []signal{
		{"charge-detailedchargingstatus", "Charge", "DetailedChargingStatus", "read_charge", with(func(w *view) object {
			return object{"value": w.charge()}
		})},
		{"charge-ischargingcableconnected", "Charge", "IsChargingCableConnected", "read_charge", with(func(w *view) object {
			return object{"value": w.plugged}
		})},
		{"closure-islocked", "Closure", "IsLocked", "read_security", with(func(w *view) object {
			return object{"value": w.locked}
		})},
		{"connectivitystatus-isasleep", "ConnectivityStatus", "IsAsleep", "read_vehicle_info", tesla(func(w *view) object {
			return object{"value": w.asleep(w.now)}
		})},
		{"connectivitystatus-isdigitalkeypaired", "ConnectivityStatus", "IsDigitalKeyPaired", "read_vehicle_info", tesla(func(w *view) object {
			return object{"value": w.Integration == Streaming && w.Paired}
		})},
		{"location-preciselocation", "Location", "PreciseLocation", "read_location", with(func(w *view) object {
			return object{"latitude": w.Latitude, "longitude": w.Longitude, "locationType": "CURRENT"}
		})},
		{"odometer-traveleddistance", "Odometer", "TraveledDistance", "read_odometer", with(func(w *view) object {
			return object{"value": round(w.odometer(w.recording.at), 2), "unit": "km"}
		})},
		{"tractionbattery-range", "TractionBattery", "Range", "read_battery", with(func(w *view) object {
			return object{"value": w.remaining(), "type": "DEFAULT", "additionalValues": []object{}, "unit": "km"}
		})},
		{"tractionbattery-stateofcharge", "TractionBattery", "StateOfCharge", "read_battery", with(func(w *view) object {
			return object{"value": round(100*w.soc(), 2), "unit": "percent"}
		})},
	}
}

// resource is the signal as JSON:API. A refusal keeps the old body: a client
// must look at the status first.
func (g signal) resource(c *call, v *vehicle, n *connection, rec recording, refused *apiError) object {
	out := object{
		"id": g.code, "type": "signal",
		"links": object{"self": c.link("/vehicles/" + v.ID + "/signals/" + g.code)},
		"meta":  object{"ingestedAt": rec.fetched.UTC().Format(stamp)},
	}
	attributes := object{"code": g.code, "name": g.name, "group": g.group, "status": object{"value": "SUCCESS"}}
	out["attributes"] = attributes
	fail := func(e *apiError) object {
		attributes["status"] = object{"value": "ERROR", "error": e.signal()}
		return out
	}
	if !slices.Contains(n.perms, g.permission) {
		return fail(newError("PERMISSION", ""))
	}
	w := &view{vehicle: v, now: c.now}
	body, err := g.body(w.as(rec))
	if err != nil {
		return fail(err)
	}
	attributes["body"] = body
	out["meta"] = object{
		"ingestedAt":   rec.fetched.UTC().Format(stamp),
		"retrievedAt":  rec.fetched.UTC().Format(stamp),
		"oemUpdatedAt": rec.at.UTC().Format(stamp),
	}
	if refused != nil {
		return fail(refused)
	}
	return out
}
