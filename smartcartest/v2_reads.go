package smartcartest

import (
	"net/http"
	"net/url"
	"time"
)

// v2Read answers a GET. Metadata comes from the vendor and never passes the
// car's gate.
func (s *Server) v2Read(c *call, v *vehicle, op *operation, w *view) *response {
	if op.kind == Metadata {
		body, err := op.read(w.withRecording(recording{recorded: c.now, fetched: c.now}))
		if err != nil {
			return c.fail(err)
		}
		return c.ok(body)
	}
	rec, err := v.gate(c.now, c.entry)
	if err != nil {
		return c.fail(err)
	}
	body, err := op.read(w.withRecording(rec))
	if err != nil {
		return c.fail(err)
	}
	return c.ok(body).dated(rec, op.unitSystem(w))
}

// coreReads are the v2 endpoints that every make shares.
func coreReads() []operation {
	get := func(path, permission string, units bool, read func(*view) any) operation {
		return operation{
			method: http.MethodGet, path: path, permission: permission, kind: Data, hasUnits: units,
			read: func(w *view) (any, *apiError) { return read(w), nil },
		}
	}
	attributes := get("/", "read_vehicle_info", false, func(w *view) any {
		return object{"id": w.ID, "make": w.Make, "model": w.Model, "year": w.Year}
	})
	attributes.kind = Metadata
	return []operation{
		attributes,
		{method: http.MethodGet, path: "/vin", permission: "read_vin", kind: Metadata, read: func(w *view) (any, *apiError) {
			if w.VIN == "" {
				return nil, newError("COMPATIBILITY", "VEHICLE_NOT_CAPABLE")
			}
			return object{"vin": w.VIN}, nil
		}},
		{method: http.MethodGet, path: "/service/history", permission: "read_service_history", kind: Data, read: serviceHistory, check: func(q url.Values) *apiError {
			_, _, err := serviceDates(q, time.Time{})
			return err
		}},
		get("/odometer", "read_odometer", true, func(w *view) any {
			return object{"distance": w.km(round(w.odometer(w.recording.recorded), 2))}
		}),
		get("/location", "read_location", false, func(w *view) any {
			return object{"latitude": w.Latitude, "longitude": w.Longitude}
		}),
		get("/fuel", "read_fuel", true, func(w *view) any {
			return object{"amountRemaining": w.liters(53.2), "percentRemaining": 0.3, "range": w.km(40.5)}
		}),
		get("/battery", "read_battery", true, func(w *view) any {
			return object{"percentRemaining": w.stateOfCharge(), "range": w.km(w.rangeLeft())}
		}),
		get("/battery/capacity", "read_battery", false, func(w *view) any {
			return object{"capacity": w.CapacityKWh}
		}),
		get("/battery/nominal_capacity", "read_battery", false, func(w *view) any {
			return object{
				"availableCapacities": []object{
					{"capacity": w.CapacityKWh, "description": nil},
					{"capacity": w.CapacityKWh + 10, "description": "BEV:Extended Range"},
				},
				"capacity": object{"nominal": w.CapacityKWh, "source": "SMARTCAR"},
				"url":      nil,
			}
		}),
		get("/charge", "read_charge", false, func(w *view) any {
			return object{"isPluggedIn": w.plugged, "state": w.chargeStatus()}
		}),
		get("/charge/limit", "read_charge", false, func(w *view) any {
			return object{"limit": w.limit}
		}),
		get("/tires/pressure", "read_tires", true, func(w *view) any {
			return object{"backLeft": w.kPa(219.3), "backRight": w.kPa(219.2), "frontLeft": w.kPa(219.1), "frontRight": w.kPa(219)}
		}),
		get("/engine/oil", "read_engine_oil", false, func(*view) any {
			return object{"lifeRemaining": 0.35}
		}),
		get("/security", "read_security", false, security),
		get("/diagnostics/system_status", "read_diagnostics", false, func(*view) any {
			return object{"systems": []object{
				{"systemId": "SYSTEM_TPMS", "status": "ALERT", "description": "Left rear tire sensor battery low"},
				{"systemId": "SYSTEM_ABS", "status": "OK", "description": nil},
			}}
		}),
		get("/diagnostics/dtcs", "read_diagnostics", false, func(w *view) any {
			return object{"activeCodes": []object{
				{"code": "P302D", "timestamp": w.born.Add(-48 * time.Hour).Format(timeLayout)},
				{"code": "P303D", "timestamp": nil},
			}}
		}),
	}
}

// security answers /security: all doors are locked or none is.
func security(w *view) any {
	closed := "CLOSED"
	if w.locked {
		closed = "LOCKED"
	}
	each := func(status string, types ...string) []object {
		out := []object{}
		for _, t := range types {
			out = append(out, object{"type": t, "status": status})
		}
		return out
	}
	corners := []string{"frontLeft", "frontRight", "backLeft", "backRight"}
	return object{
		"isLocked":     w.locked,
		"doors":        each(closed, corners...),
		"windows":      each("CLOSED", corners...),
		"sunroof":      each("CLOSED"),
		"storage":      each("CLOSED", "front", "rear"),
		"chargingPort": each("CLOSED", "chargingPort"),
	}
}

// serviceDates reads the query of the service history; by default the last
// year until now.
func serviceDates(q url.Values, now time.Time) (from, to time.Time, err *apiError) {
	from, to = now.AddDate(-1, 0, 0), now
	for name, t := range map[string]*time.Time{"start_date": &from, "end_date": &to} {
		if !q.Has(name) {
			continue
		}
		parsed, bad := time.Parse(time.DateOnly, q.Get(name))
		if bad != nil {
			parsed, bad = time.Parse(timeLayout, q.Get(name))
		}
		if bad != nil {
			return from, to, invalidField(name, "must be a date or a time")
		}
		*t = parsed
	}
	return from, to, nil
}

// serviceHistory has a record for every 90 days. Distances are in km in both unit
// systems, as documented.
func serviceHistory(w *view) (any, *apiError) {
	from, to, err := serviceDates(w.query, w.now)
	if err != nil {
		return nil, err
	}
	records := []object{}
	for i := range 3 { // a record every 90 days
		when := w.born.AddDate(0, 0, -90*(i+1))
		if when.Before(from) || when.After(to) {
			continue
		}
		records = append(records, object{
			"serviceId":        nil,
			"odometerDistance": round(w.odometer(when), 2),
			"serviceDate":      when.Format(timeLayout),
			"serviceTasks":     []object{{"taskId": "3262", "taskDescription": "Tires rotated"}},
			"serviceDetails":   []object{{"type": "Provider", "value": nil}},
			"serviceCost":      object{"totalCost": nil, "currency": nil},
		})
	}
	return records, nil
}
