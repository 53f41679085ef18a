package smartcartest

import (
	"net/http"
	"slices"
	"strings"
)

// serveV3 answers everything below /v3: the vehicle API and the management
// API, which share no path, and the one path of the compatibility API, which
// needs no token. The token is the application's; the header
// sc-user-id names the user where one is needed. Cars, connections and ledgers
// are those of v2.0.
func (s *Server) serveV3(c *call, rest []string) *response {
	if c.isCompatible() {
		return s.v3Compatible(c)
	}
	v, _ := s.identify(c)
	if !s.tokens.isApp(c.bearer(), c.now) {
		return c.fail(newError("AUTHENTICATION", "UNAUTHORIZED"))
	}
	if !s.withinRateLimit(c) {
		return c.fail(newError("RATE_LIMIT", "SMARTCAR_API"))
	}
	if len(rest) >= 2 && rest[0] == "vehicles" {
		return s.v3Vehicle(c, v, rest[2:])
	}
	id := ""
	if len(rest) == 2 && rest[1] != "" {
		id, rest = rest[1], []string{rest[0], "*"}
	}
	switch c.request.Method + " " + strings.Join(rest, "/") {
	case "GET connections":
		return s.v3Connections(c)
	case "GET connections/*":
		return s.v3Connection(c, id)
	case "DELETE connections/*":
		return s.v3Disconnect(c, id)
	case "DELETE users/*":
		return s.v3DeleteUser(c, id)
	case "GET webhooks":
		return s.v3Webhooks(c)
	case "GET webhooks/*":
		return s.v3Webhook(c, id)
	case "GET subscriptions":
		return s.v3Subscriptions(c)
	case "POST subscriptions":
		return s.v3Subscribe(c)
	case "GET subscriptions/*":
		return s.v3Subscription(c, id)
	case "DELETE subscriptions/*":
		return s.v3Unsubscribe(c, id)
	}
	return c.fail(newError("RESOURCE_NOT_FOUND", "INVALID_PATH"))
}

// v3Handler answers a request for a car in the name of a user.
type v3Handler func(c *call, v *vehicle, n *connection) *response

// v3HandlerFor finds the handler by method and the path below the car; nil
// when there is none. The car itself, GET /v3/vehicles/{id}, needs no user and
// has no handler.
func (s *Server) v3HandlerFor(method string, rest []string) v3Handler {
	path := strings.Join(rest, "/")
	switch {
	case method == http.MethodGet && path == "signals":
		return s.v3Signals
	case method == http.MethodGet && len(rest) == 2 && rest[0] == "signals":
		return func(c *call, v *vehicle, n *connection) *response { return s.v3SingleSignal(c, v, n, rest[1]) }
	case method == http.MethodPost && v3CommandAt(path) != nil:
		command := v3CommandAt(path)
		return func(c *call, v *vehicle, n *connection) *response { return s.v3Command(c, v, n, command) }
	case method == http.MethodPost && len(rest) == 2 && rest[0] == "charge-schedules" && scheduleKinds()[rest[1]] != nil:
		return func(c *call, v *vehicle, n *connection) *response { return s.v3Schedule(c, v, n, rest[1]) }
	case method == http.MethodDelete && len(rest) == 2 && rest[0] == "charge-schedules" && rest[1] != "":
		return func(c *call, v *vehicle, n *connection) *response { return s.v3Unschedule(c, v, n, rest[1]) }
	}
	return nil
}

// v3Vehicle answers below /v3/vehicles/{id}. A car that nobody has connected
// is not found, and neither is one that this user has not connected.
func (s *Server) v3Vehicle(c *call, v *vehicle, rest []string) *response {
	connected := v != nil && slices.ContainsFunc(s.connections, func(n *connection) bool { return n.vehicle == v.ID })
	if len(rest) == 0 && c.request.Method == http.MethodGet {
		if !connected {
			return c.fail(newError("RESOURCE_NOT_FOUND", "VEHICLE_NOT_FOUND"))
		}
		return c.ok(object{"data": object{
			"id": v.ID, "type": "vehicle", "attributes": s.v3Attributes(v, s.modeOf(v.ID)), "links": object{"self": "/vehicles/" + v.ID},
		}})
	}
	handle := s.v3HandlerFor(c.request.Method, rest)
	if handle == nil {
		return c.fail(newError("RESOURCE_NOT_FOUND", "INVALID_PATH"))
	}
	user := c.request.Header.Get("sc-user-id")
	if user == "" {
		e := newError("VALIDATION", "MISSING_PARAMETER")
		e.description = "missing userId"
		return c.fail(e)
	}
	if !connected {
		return c.fail(newError("RESOURCE_NOT_FOUND", "VEHICLE_NOT_FOUND"))
	}
	n := s.connection(user, v.ID)
	if n == nil {
		return c.fail(newError("RESOURCE_NOT_FOUND", "VEHICLE_NOT_FOUND"))
	}
	return handle(c, v, n)
}

// v3Attributes are the attributes of a car in v3 and in webhooks.
func (s *Server) v3Attributes(v *vehicle, mode string) object {
	out := object{"make": v.Make, "model": v.Model, "year": v.Year, "powertrainType": v.powertrainType(), "mode": mode}
	if s.cfg.variants.NullPowertrain {
		out["powertrainType"] = nil
	}
	return out
}

// v3Included is the car that comes along with its signals.
func (s *Server) v3Included(v *vehicle, n *connection) object {
	return object{"id": v.ID, "type": "vehicle", "attributes": s.v3Attributes(v, n.mode)}
}
