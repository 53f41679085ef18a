package smartcartest

import (
	"net/http"
	"slices"
	"strings"
)

// serveV2 answers everything below /v2.0.
func (s *Server) serveV2(c *call, rest []string) *response {
	method := c.request.Method
	switch {
	case len(rest) == 1 && rest[0] == "user" && method == http.MethodGet:
		return s.withGrant(c, func(g *grant) *response { return c.ok(map[string]string{"id": g.user}) })
	case len(rest) == 1 && rest[0] == "vehicles" && method == http.MethodGet:
		return s.withGrant(c, func(g *grant) *response { return c.list("vehicles", g.vehicleIDs(s.garage), 10, 50) })
	case len(rest) >= 2 && rest[0] == "vehicles":
		return s.v2Vehicle(c)
	case len(rest) == 1 && rest[0] == "compatibility" && method == http.MethodGet:
		return s.v2Compatibility(c)
	case len(rest) == 2 && rest[0] == "compatibility" && rest[1] == "matrix" && method == http.MethodGet:
		return s.v2Matrix(c)
	case len(rest) == 2 && rest[0] == "management" && rest[1] == "connections":
		return s.serveConnections(c)
	}
	return c.fail(newError("RESOURCE_NOT_FOUND", "PATH"))
}

// withGrant authenticates the request by its user token, takes one from the
// application's rate limit, and goes on to next.
func (s *Server) withGrant(c *call, next func(*grant) *response) *response {
	g := s.tokens.grantOf(c.bearer(), c.now)
	if g == nil {
		return c.fail(newError("AUTHENTICATION", ""))
	}
	if !s.withinRateLimit(c) {
		return c.fail(newError("RATE_LIMIT", "SMARTCAR_API"))
	}
	return next(g)
}

// v2Vehicle answers below /v2.0/vehicles/{id}. It checks the path, the token,
// the car, the permission and the capability, in this order, before it comes
// to the operation itself.
func (s *Server) v2Vehicle(c *call) *response {
	v, op := s.identify(c)
	if op == nil {
		if s.misspelled(c) {
			return s.withGrant(c, func(*grant) *response { return c.fail(newError("PERMISSION", "")) })
		}
		return c.fail(newError("RESOURCE_NOT_FOUND", "PATH"))
	}
	if op.method == http.MethodDelete && op.command == nil && c.hasManagementToken() { // documented for the management token too
		if v == nil {
			return c.fail(noVehicle(c.path[2]))
		}
		return s.vehicleHandler(op)(c, v, nil)
	}
	return s.withGrant(c, func(g *grant) *response {
		if v == nil {
			return c.fail(noVehicle(c.path[2]))
		}
		perms, ok := g.vehicles[v.ID]
		if !ok {
			return c.fail(newError("AUTHENTICATION", "")) // the token does not cover this vehicle
		}
		if err := op.admit(v, perms, c.query); err != nil {
			return c.fail(err)
		}
		switch {
		case op.command != nil:
			return s.v2Command(c, v, op, c.newView(v, g))
		case op.read != nil:
			return s.v2Read(c, v, op, c.newView(v, g))
		default:
			return s.vehicleHandler(op)(c, v, g)
		}
	})
}

// noVehicle is the error for an id that no car has: no token covers it, or it
// is not an id at all.
func noVehicle(id string) *apiError {
	if isID(id) {
		return newError("AUTHENTICATION", "")
	}
	return newError("VALIDATION", "")
}

// vehicleHandler answers the operations that neither read nor command the car.
// The handler gets no grant when the request carries the management token.
func (s *Server) vehicleHandler(op *operation) func(*call, *vehicle, *grant) *response {
	switch op.method + " " + op.path {
	case "GET /permissions":
		return s.v2Permissions
	case "POST /batch":
		return s.v2Batch
	case "DELETE /application":
		return s.v2DeleteApplication
	case "POST /webhooks/*":
		return s.v2Subscribe
	case "DELETE /webhooks/*":
		return s.v2Unsubscribe
	default:
		panic("smartcartest: the table of operations has a row that nobody answers: " + op.path)
	}
}

// misspelled says whether the make in the path has a capital letter, as in
// /Tesla/status. The vendor answers such a path with PERMISSION, not with 404.
func (s *Server) misspelled(c *call) bool {
	rest := slices.Clone(c.path[3:])
	if len(rest) < 2 || rest[0] == "tesla" {
		return false
	}
	rest[0] = strings.ToLower(rest[0])
	return rest[0] == "tesla" && s.operation(c.request.Method, rest) != nil
}

// v2Permissions answers GET /vehicles/{id}/permissions.
func (s *Server) v2Permissions(c *call, v *vehicle, g *grant) *response {
	return c.list("permissions", g.vehicles[v.ID], 25, 1000)
}

// v2DeleteApplication answers DELETE /vehicles/{id}/application. It
// disconnects the token's user from the car, or all users when the request
// carries the management token.
func (s *Server) v2DeleteApplication(c *call, v *vehicle, g *grant) *response {
	s.disconnect(s.connectionsNewestFirst(func(n *connection) bool {
		return n.vehicle == v.ID && (g == nil || n.user == g.user)
	}))
	if g != nil {
		delete(g.vehicles, v.ID)
	}
	return c.ok(map[string]string{"status": "success"})
}

// v2Subscribe answers POST /vehicles/{id}/webhooks/{webhookId}. When the
// webhook does not exist, the answer is the same and the vendor begins to
// store the car's signals, but no event is ever sent. What is not an id at all
// is refused.
func (s *Server) v2Subscribe(c *call, v *vehicle, g *grant) *response {
	if s.hook(c.path[4]) == nil && !isID(c.path[4]) {
		return c.fail(newError("VALIDATION", ""))
	}
	v.storeSignalsFrom(c.now)
	if n := s.connection(g.user, v.ID); n != nil && s.hook(c.path[4]) != nil {
		s.addSubscription(c.path[4], n, c.now)
		s.mustObserve = true
	}
	return c.ok(map[string]string{"webhookId": c.path[4], "vehicleId": v.ID})
}

// v2Unsubscribe answers DELETE /vehicles/{id}/webhooks/{webhookId}, which
// takes the management token only.
func (s *Server) v2Unsubscribe(c *call, v *vehicle, g *grant) *response {
	if g != nil {
		return c.fail(newError("AUTHENTICATION", ""))
	}
	s.dropSubscriptions(func(b *subscription) bool { return b.hook == c.path[4] && b.vehicle == v.ID })
	return c.ok(map[string]string{"status": "success"})
}
