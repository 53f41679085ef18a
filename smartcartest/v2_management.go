package smartcartest

import (
	"encoding/base64"
	"net/http"
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
