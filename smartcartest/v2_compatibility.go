package smartcartest

import (
	"slices"
	"strings"
)

// v2Compatibility answers GET /v2.0/compatibility: what the car with a VIN can
// do.
func (s *Server) v2Compatibility(c *call) *response {
	if err := s.admitApplication(c); err != nil {
		return c.fail(err)
	}
	vin, scope := c.query.Get("vin"), strings.Fields(c.query.Get("scope"))
	if len(vin) != 17 {
		return c.fail(invalidField("vin", "must be 17 characters"))
	}
	if len(scope) == 0 {
		return c.fail(invalidField("scope", "is required"))
	}
	if !isSubset(scope, allPermissions()) {
		return c.fail(invalidField("scope", "must name permissions"))
	}
	i := slices.IndexFunc(s.garage, func(id string) bool { return s.vehicles[id].VIN == vin })
	if i < 0 {
		return c.ok(object{"compatible": false, "reason": "VEHICLE_NOT_COMPATIBLE", "capabilities": []object{}})
	}
	capabilities := []object{}
	if country := c.query.Get("country"); country == "" || country == "US" { // for any other country, capabilities is empty
		for _, permission := range scope {
			capabilities = append(capabilities, s.capability(s.vehicles[s.garage[i]], permission))
		}
	}
	return c.ok(object{"compatible": true, "reason": nil, "capabilities": capabilities})
}

// admitApplication checks the client credentials as HTTP Basic, and takes one
// from the application's rate limit.
func (s *Server) admitApplication(c *call) *apiError {
	if !c.hasBasicAuth(clientID, clientSecret) {
		return newError("AUTHENTICATION", "")
	}
	if !s.withinRateLimit(c) {
		return newError("RATE_LIMIT", "SMARTCAR_API")
	}
	return nil
}

// capability says whether a car has what a permission is for. Of the endpoints
// of the permission, the first that the car answers stands for all; if it
// answers none, the first.
func (s *Server) capability(v *vehicle, permission string) object {
	out := object{"permission": permission, "endpoint": nil, "capable": false, "reason": "SMARTCAR_NOT_CAPABLE"}
	for i := range s.operations {
		op := &s.operations[i]
		if op.permission != permission {
			continue
		}
		if op.capable(v) == nil {
			return object{"permission": permission, "endpoint": op.path, "capable": true, "reason": nil}
		}
		if out["endpoint"] != nil {
			continue
		}
		out["endpoint"] = op.path
		if !v.tesla() { // what a Tesla lacks, the vendor takes upon itself
			out["reason"] = "VEHICLE_NOT_CAPABLE"
		}
	}
	return out
}

// isSubset says whether all of a is in b.
func isSubset(a, b []string) bool { return len(intersect(a, b)) == len(a) }

// v2Matrix answers GET /v2.0/compatibility/matrix: what the models of a region
// can do, by make. The garage stands for the world: each of its models is
// compatible in every region.
func (s *Server) v2Matrix(c *call) *response {
	if err := s.admitApplication(c); err != nil {
		return c.fail(err)
	}
	q := c.query
	makes, scope := strings.Fields(strings.ToUpper(q.Get("make"))), strings.Fields(q.Get("scope"))
	switch {
	case !slices.Contains(regions(), q.Get("region")):
		return c.fail(invalidField("region", "must be US, CA or EUROPE"))
	case q.Has("type") && !slices.Contains([]string{"ICE", "HEV", "PHEV", "BEV"}, q.Get("type")):
		return c.fail(invalidField("type", "must be ICE, HEV, PHEV or BEV"))
	case !isSubset(scope, allPermissions()):
		return c.fail(invalidField("scope", "must name permissions"))
	}
	out := map[string][]object{}
	for _, m := range s.models(func(v *vehicle) string { return v.Powertrain }) {
		if q.Has("type") && m.powertrain != q.Get("type") || len(makes) > 0 && !slices.Contains(makes, m.example.Make) {
			continue
		}
		endpoints, permissions := []string{}, []string{}
		for _, of := range matrixEndpoints() {
			if s.capability(m.example, of.permission)["capable"] == true {
				endpoints, permissions = append(endpoints, of.name), append(permissions, of.permission)
			}
		}
		if isSubset(scope, permissions) {
			out[m.example.Make] = append(out[m.example.Make], object{
				"model": strings.TrimPrefix(m.example.Model, "Model "), "startYear": m.from, "endYear": m.to, "type": m.powertrain,
				"endpoints": endpoints, "permissions": permissions,
			})
		}
	}
	return c.ok(out)
}

// regions are the regions of the vendor.
func regions() []string { return []string{"US", "CA", "EUROPE"} }

// model is all cars of the garage of one make, model and powertrain.
type model struct {
	powertrain string
	from, to   int // years, both included
	example    *vehicle
}

// models lists the models of the garage in its order. powertrain names that of
// a car.
func (s *Server) models(powertrain func(*vehicle) string) []*model {
	var out []*model
	for _, id := range s.garage {
		v := s.vehicles[id]
		i := slices.IndexFunc(out, func(m *model) bool {
			return m.example.Make == v.Make && m.example.Model == v.Model && m.powertrain == powertrain(v)
		})
		if i < 0 {
			out = append(out, &model{powertrain: powertrain(v), from: v.Year, to: v.Year, example: v})
			continue
		}
		out[i].from, out[i].to = min(out[i].from, v.Year), max(out[i].to, v.Year)
	}
	return out
}

// matrixEndpoint is a permission and how the matrix calls what it is for.
type matrixEndpoint struct{ permission, name string }

// matrixEndpoints are the permissions that the matrix knows.
func matrixEndpoints() []matrixEndpoint {
	return []matrixEndpoint{
		{"read_battery", "EV battery"}, {"read_charge", "EV charging status"}, {"control_charge", "EV start & stop charge"},
		{"read_engine_oil", "Engine oil life"}, {"read_fuel", "Fuel tank"}, {"read_location", "Location"},
		{"control_security", "Lock & unlock"}, {"read_odometer", "Odometer"}, {"read_tires", "Tire pressure"},
		{"read_vehicle_info", "Vehicle attributes"}, {"read_vin", "VIN"},
	}
}
