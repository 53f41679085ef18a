package smartcartest

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
)

// v3 routes below /v3: one application token, and sc-user-id where a user is
// meant. Cars, connections and ledgers are those of v2.0.
func (s *Server) v3(c *call, rest []string) *response {
	v, _ := s.name(c)
	end, ok := s.apps[c.bearer()]
	if !ok || c.now.After(end) {
		return c.fail(newError("AUTHENTICATION", "UNAUTHORIZED"))
	}
	if !s.allowed(c) {
		return c.fail(newError("RATE_LIMIT", "SMARTCAR_API"))
	}
	switch {
	case len(rest) >= 2 && rest[0] == "vehicles":
		return s.v3Vehicle(c, v, rest[2:])
	case len(rest) == 1 && rest[0] == "connections" && c.r.Method == http.MethodGet:
		return s.v3Connections(c)
	}
	return c.fail(newError("RESOURCE_NOT_FOUND", "INVALID_PATH"))
}

func (s *Server) v3Vehicle(c *call, v *vehicle, rest []string) *response {
	connected := v != nil && slices.ContainsFunc(s.connections, func(n *connection) bool { return n.vehicle == v.ID })
	get := c.r.Method == http.MethodGet
	command := v3Command(rest)
	switch {
	case len(rest) == 0 && get:
		if !connected {
			return c.fail(newError("RESOURCE_NOT_FOUND", "VEHICLE_NOT_FOUND"))
		}
		return c.ok(object{"data": object{
			"id": v.ID, "type": "vehicle", "attributes": v.v3(s.modeOf(v.ID)), "links": object{"self": "/vehicles/" + v.ID},
		}})
	case len(rest) >= 1 && len(rest) <= 2 && rest[0] == "signals" && get:
	case len(rest) == 3 && rest[0] == "commands" && c.r.Method == http.MethodPost && command != nil:
	default:
		return c.fail(newError("RESOURCE_NOT_FOUND", "INVALID_PATH"))
	}
	user := c.r.Header.Get("sc-user-id")
	if user == "" {
		e := newError("VALIDATION", "MISSING_PARAMETER")
		e.description = "missing userId"
		return c.fail(e)
	}
	if !connected {
		return c.fail(newError("RESOURCE_NOT_FOUND", "VEHICLE_NOT_FOUND"))
	}
	n := s.connection(user, v.ID)
	switch {
	case n == nil:
		return c.fail(newError("RESOURCE_NOT_FOUND", "VEHICLE_NOT_FOUND"))
	case command != nil:
		return s.v3Command(c, v, n, rest, command)
	case len(rest) == 1:
		return s.v3Signals(c, v, n)
	default:
		return s.v3Signal(c, v, n, rest[1])
	}
}

// v3 are the attributes of the vehicle resource.
func (v *vehicle) v3(mode string) object {
	return object{"make": v.Make, "model": v.Model, "year": v.Year, "powertrainType": "BEV", "mode": mode}
}

func (s *Server) modeOf(vehicleID string) string {
	for _, n := range slices.Backward(s.connections) {
		if n.vehicle == vehicleID {
			return n.mode
		}
	}
	return "live"
}

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
		"links": object{"self": "/vehicles/" + v.ID + "/signals/" + g.code},
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

// v3Effect is one row of the v3 commands.
type v3Effect struct {
	path, permission string
	effect           func(attributes []byte) (effect, *apiError)
}

func v3Command(rest []string) *v3Effect {
	fixed := func(e effect) func([]byte) (effect, *apiError) {
		return func([]byte) (effect, *apiError) { return e, nil }
	}
	for _, e := range []v3Effect{
		{"commands/security/lock", "control_security", fixed(locking(true))},
		{"commands/security/unlock", "control_security", fixed(locking(false))},
		{"commands/charge/start", "control_charge", fixed(charging(true))},
		{"commands/charge/stop", "control_charge", fixed(charging(false))},
		{"commands/charge/set-limit", "control_charge", func(b []byte) (effect, *apiError) {
			percent, err := within(b, "percent", 50, 100)
			return limiting(percent / 100), err
		}},
	} {
		if e.path == strings.Join(rest, "/") {
			return &e
		}
	}
	return nil
}

func (s *Server) v3Command(c *call, v *vehicle, n *connection, rest []string, command *v3Effect) *response {
	if !slices.Contains(n.perms, command.permission) {
		return c.fail(newError("PERMISSION", ""))
	}
	var body struct {
		Data struct {
			Attributes json.RawMessage `json:"attributes"`
		} `json:"data"`
	}
	if len(c.body) > 0 && json.Unmarshal(c.body, &body) != nil {
		return c.fail(newError("VALIDATION", "INVALID_INPUT_FORMAT"))
	}
	e, err := command.effect(body.Data.Attributes)
	if err == nil {
		err = v.execute(c, e)
	}
	if err != nil {
		return c.fail(err)
	}
	attributes := object{
		"commandType": strings.Join(rest[1:], "-"), "status": object{"value": "SUCCESS"}, "executionMode": "sync",
	}
	if body.Data.Attributes != nil {
		attributes["parameters"] = body.Data.Attributes
	}
	at := c.now.Format(stamp)
	return c.ok(object{"data": object{
		"id": "exec_" + c.id, "type": "command-execution", "attributes": attributes,
		"meta": object{"executedAt": at, "completedAt": at, "durationInSeconds": 0},
	}})
}
