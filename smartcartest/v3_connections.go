package smartcartest

import "slices"

// v3Connections answers GET /v3/connections. It hides cars in simulated mode
// unless the query asks for them, and changes whose lag has not passed.
func (s *Server) v3Connections(c *call) *response {
	mode, err := c.filteredMode("live")
	if err != nil {
		return c.fail(err)
	}
	user := c.query.Get("filter[userId]")
	if user == "" {
		user = c.request.Header.Get("sc-user-id")
	}
	var found []*connection
	for _, n := range slices.Backward(s.connections) {
		n = n.shown(c.now)
		if n != nil && n.mode == mode && (user == "" || n.user == user) && c.passesFilter(n.vehicle, "vehicleId") &&
			c.passesFilter(n.externalID, "user.externalId") {
			found = append(found, n)
		}
	}
	return v3Page(c, v3Collection{"vehicle", "/connections", 10}, found, func(n *connection) object { return s.v3ConnectionResource(c, n) })
}

// shownConnection finds a connection by id, in the state that v3 shows now;
// nil when v3 does not show it.
func (s *Server) shownConnection(c *call, id string) *connection {
	for _, n := range s.connections {
		if n.id == id {
			return n.shown(c.now)
		}
	}
	return nil
}

// v3Connection answers GET /v3/connections/{id}.
func (s *Server) v3Connection(c *call, id string) *response {
	n := s.shownConnection(c, id)
	if n == nil {
		return c.fail(newError("RESOURCE_NOT_FOUND", "CONNECTION_NOT_FOUND"))
	}
	return c.ok(object{"data": s.v3ConnectionResource(c, n), "links": object{"self": c.vehicleLink("/connections/" + n.id)}})
}

// v3Disconnect answers DELETE /v3/connections/{id}.
func (s *Server) v3Disconnect(c *call, id string) *response {
	if s.shownConnection(c, id) == nil {
		return c.fail(newError("RESOURCE_NOT_FOUND", "CONNECTION_NOT_FOUND"))
	}
	s.disconnect(s.connectionsNewestFirst(func(n *connection) bool { return n.id == id }))
	return c.empty()
}

// v3DeleteUser answers DELETE /v3/users/{id}: the user's connections and
// tokens go.
func (s *Server) v3DeleteUser(c *call, id string) *response {
	gone := s.connectionsNewestFirst(func(n *connection) bool { return n.user == id })
	if len(gone) == 0 {
		return c.fail(newError("RESOURCE_NOT_FOUND", "USER_NOT_FOUND"))
	}
	s.disconnect(gone)
	s.tokens.revokeUser(id)
	return c.empty()
}

// v3ConnectionResource is a connection as JSON:API.
func (s *Server) v3ConnectionResource(c *call, n *connection) object {
	v := s.vehicles[n.vehicle]
	user := object{"id": n.user}
	if n.externalID != "" {
		user["externalId"] = n.externalID
	}
	return object{
		"id": n.id, "type": "connection",
		"attributes": object{"permissions": n.permissions, "vehicle": s.v3Attributes(v, n.mode), "user": user},
		"relationships": object{
			"vehicle": object{
				"data":  object{"id": n.vehicle, "type": "vehicle"},
				"links": object{"related": c.vehicleLink("/vehicles/" + n.vehicle)},
			},
			"user": object{"data": object{"id": n.user, "type": "user"}},
		},
		"meta":  object{"createdAt": c.v3Time(n.connectedAt), "updatedAt": c.v3Time(n.updatedAt)},
		"links": object{"self": c.vehicleLink("/connections/" + n.id)},
	}
}
