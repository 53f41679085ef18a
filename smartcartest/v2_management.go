package smartcartest

import (
	"encoding/base64"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// serveConnections answers GET and DELETE /v2.0/management/connections.
func (s *Server) serveConnections(c *call) *response {
	if !c.hasBasicAuth("default", managementToken) {
		return c.fail(newError("AUTHENTICATION", ""))
	}
	if !s.withinRateLimit(c) {
		return c.fail(newError("RATE_LIMIT", "SMARTCAR_API"))
	}
	switch c.request.Method {
	case http.MethodGet:
		return s.listConnections(c)
	case http.MethodDelete:
		return s.deleteConnections(c)
	default:
		return c.fail(newError("RESOURCE_NOT_FOUND", "PATH"))
	}
}

// listConnections lists the connections that the query asks for, newest first.
func (s *Server) listConnections(c *call) *response {
	limit, err := c.queryNumber("limit", 10, 1, 100)
	if err != nil {
		return c.fail(err)
	}
	before := s.connectCount + 1
	if c.query.Get("cursor") != "" {
		var ok bool
		if before, ok = decodeCursor(c.query.Get("cursor")); !ok {
			return c.fail(invalidField("cursor", "is invalid"))
		}
	}
	found := s.connectionsNewestFirst(func(n *connection) bool { return n.seq < before && c.matches(n) })
	var next any // null on the last page
	if len(found) > limit {
		found = found[:limit]
		next = encodeCursor(found[limit-1].seq)
	}
	list := []object{}
	for _, n := range found {
		list = append(list, object{"vehicleId": n.vehicle, "userId": n.user, "connectedAt": n.connectedAt.Format(timeLayout), "mode": n.mode})
	}
	return c.ok(object{"connections": list, "paging": object{"cursor": next, "count": len(list)}})
}

// A cursor looks like the vendor's: opaque, with characters that must be
// escaped in a URL.
const cursorPrefix, cursorSuffix = "AES-256-CBC::", "+/=::utf8"

// encodeCursor points behind a connection, by its seq.
func encodeCursor(seq int) string {
	return cursorPrefix + base64.StdEncoding.EncodeToString([]byte(strconv.Itoa(seq))) + cursorSuffix
}

// decodeCursor is the reverse of encodeCursor; false for a cursor that it did
// not make.
func decodeCursor(cursor string) (seq int, ok bool) {
	inner, prefix := strings.CutPrefix(cursor, cursorPrefix)
	inner, suffix := strings.CutSuffix(inner, cursorSuffix)
	plain, err := base64.StdEncoding.DecodeString(inner)
	if err != nil || !prefix || !suffix {
		return 0, false
	}
	seq, err = strconv.Atoi(string(plain))
	return seq, err == nil
}

// deleteConnections removes the connections that the query asks for. Without a
// car and a user it is refused, as it would remove all.
func (s *Server) deleteConnections(c *call) *response {
	if !c.query.Has("vehicle_id") && !c.query.Has("user_id") {
		return c.fail(invalidField("vehicle_id", "or \"user_id\" is required"))
	}
	gone := s.connectionsNewestFirst(c.matches)
	s.disconnect(gone)
	list := []object{}
	for _, n := range gone {
		list = append(list, object{"vehicleId": n.vehicle, "userId": n.user})
	}
	return c.ok(object{"connections": list})
}

// v2Compatibility answers GET /v2.0/compatibility: what the car with a VIN can
// do.
func (s *Server) v2Compatibility(c *call) *response {
	if !c.hasBasicAuth(clientID, clientSecret) {
		return c.fail(newError("AUTHENTICATION", ""))
	}
	if !s.withinRateLimit(c) {
		return c.fail(newError("RATE_LIMIT", "SMARTCAR_API"))
	}
	vin, scope := c.query.Get("vin"), strings.Fields(c.query.Get("scope"))
	if len(vin) != 17 {
		return c.fail(invalidField("vin", "must be 17 characters"))
	}
	if len(scope) == 0 {
		return c.fail(invalidField("scope", "is required"))
	}
	i := slices.IndexFunc(s.garage, func(id string) bool { return s.vehicles[id].VIN == vin })
	if i < 0 {
		return c.ok(object{"compatible": false, "reason": "VEHICLE_NOT_COMPATIBLE", "capabilities": []object{}})
	}
	capabilities := []object{}
	if country := c.query.Get("country"); country == "" || country == "US" { // for any other country, capabilities is empty
		for _, op := range s.operations {
			if slices.Contains(scope, op.permission) && !strings.HasPrefix(op.path, "/tesla/") {
				reason := any(nil)
				if op.capable(s.vehicles[s.garage[i]]) != nil {
					reason = "VEHICLE_NOT_CAPABLE"
				}
				capabilities = append(capabilities, object{"permission": op.permission, "endpoint": op.path, "capable": reason == nil, "reason": reason})
			}
		}
	}
	return c.ok(object{"compatible": true, "reason": nil, "capabilities": capabilities})
}
