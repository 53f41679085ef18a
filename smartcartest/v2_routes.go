package smartcartest

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// operation is one row of the v2 table: a method and path below a vehicle.
// Exactly one of read, command and handle is set.
type operation struct {
	method     string
	path       string // "*" stands for one segment
	permission string // "" needs a token only
	kind       Kind
	units      bool // the answer bears units, so SC-Unit-System is sent

	read    func(*view) (any, *apiError)
	check   func(url.Values) *apiError // of a read's query; may be nil
	command func(*view, []byte) (effect, *apiError)
	handle  func(*Server, *call, *vehicle, *grant) *response
}

func (o *operation) matches(rest []string) bool {
	want := strings.Split(strings.Trim(o.path, "/"), "/")
	if o.path == "/" {
		return len(rest) == 0 || len(rest) == 1 && rest[0] == ""
	}
	return slices.EqualFunc(want, rest, func(w, r string) bool { return w == r || w == "*" && r != "" })
}

// admit says whether a request may go to the car, as far as the vendor knows
// without asking it.
func (o *operation) admit(v *vehicle, perms []string, query url.Values) *apiError {
	if o.permission != "" && !slices.Contains(perms, o.permission) {
		return newError("PERMISSION", "")
	}
	if err := o.capable(v); err != nil {
		return err
	}
	if o.check != nil {
		return o.check(query)
	}
	return nil
}

// capable says whether the car can answer at all.
func (o *operation) capable(v *vehicle) *apiError {
	if strings.HasPrefix(o.path, "/tesla/") && !v.tesla() || slices.Contains(v.Unsupported, o.path) {
		return newError("COMPATIBILITY", "VEHICLE_NOT_CAPABLE")
	}
	return nil
}

// operations is the v2 table of everything below a vehicle.
func operations() []operation {
	return slices.Concat(coreReads(), coreCommands(), teslaReads(), teslaCommands(), []operation{
		{method: http.MethodGet, path: "/permissions", kind: Metadata, handle: (*Server).permissions},
		{method: http.MethodPost, path: "/batch", kind: Data, handle: (*Server).batch},
		{method: http.MethodDelete, path: "/application", kind: Metadata, handle: (*Server).application},
		{method: http.MethodPost, path: "/webhooks/*", kind: Metadata, handle: (*Server).subscribe},
		{method: http.MethodDelete, path: "/webhooks/*", kind: Metadata, handle: (*Server).unsubscribe},
	})
}

// operation finds an entry of the v2 table by method and the segments below
// the vehicle.
func (s *Server) operation(method string, rest []string) *operation {
	i := slices.IndexFunc(s.operations, func(o operation) bool { return o.method == method && o.matches(rest) })
	if i < 0 {
		return nil
	}
	return &s.operations[i]
}

// v2 routes below /v2.0.
func (s *Server) v2(c *call, rest []string) *response {
	method := c.r.Method
	switch {
	case len(rest) == 1 && rest[0] == "user" && method == http.MethodGet:
		return s.withGrant(c, func(g *grant) *response { return c.ok(map[string]string{"id": g.user}) })
	case len(rest) == 1 && rest[0] == "vehicles" && method == http.MethodGet:
		return s.withGrant(c, func(g *grant) *response { return c.page("vehicles", s.vehiclesOf(g), 10, 50) })
	case len(rest) >= 2 && rest[0] == "vehicles":
		return s.vehicleCall(c)
	case len(rest) == 1 && rest[0] == "compatibility" && method == http.MethodGet:
		return s.compatibility(c)
	case len(rest) == 2 && rest[0] == "management" && rest[1] == "connections":
		return s.management(c)
	}
	return c.fail(newError("RESOURCE_NOT_FOUND", "PATH"))
}

// withGrant authenticates by user token and takes one from the application's
// rate limit.
func (s *Server) withGrant(c *call, next func(*grant) *response) *response {
	a := s.access[c.bearer()]
	if a == nil || c.now.After(a.expires) {
		return c.fail(newError("AUTHENTICATION", ""))
	}
	if !s.allowed(c) {
		return c.fail(newError("RATE_LIMIT", "SMARTCAR_API"))
	}
	return next(a.grant)
}

func (s *Server) allowed(c *call) bool {
	return s.cfg.burst <= 0 || s.bucket.take(c.now, s.cfg.burst, s.cfg.refill)
}

func (c *call) bearer() string {
	scheme, token, _ := strings.Cut(c.r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return strings.TrimSpace(token)
}

// vehicleCall answers below /v2.0/vehicles/{id}: path, token, vehicle,
// permission, capability, and then the operation itself.
func (s *Server) vehicleCall(c *call) *response {
	v, op := s.name(c)
	if op == nil {
		if s.misspelled(c) {
			return s.withGrant(c, func(*grant) *response { return c.fail(newError("PERMISSION", "")) })
		}
		return c.fail(newError("RESOURCE_NOT_FOUND", "PATH"))
	}
	if op.method == http.MethodDelete && c.managed() { // documented for the management token too
		if v == nil {
			return c.fail(newError("AUTHENTICATION", ""))
		}
		return op.handle(s, c, v, nil)
	}
	return s.withGrant(c, func(g *grant) *response {
		perms, ok := g.vehicles[c.path[2]]
		if !ok || v == nil {
			return c.fail(newError("AUTHENTICATION", "")) // the token does not cover this vehicle
		}
		if err := op.admit(v, perms, c.query); err != nil {
			return c.fail(err)
		}
		switch {
		case op.handle != nil:
			return op.handle(s, c, v, g)
		case op.command != nil:
			return s.commandCall(c, v, op, c.viewOf(v, g))
		default:
			return s.readCall(c, v, op, c.viewOf(v, g))
		}
	})
}

// misspelled is the documented trap of make-specific paths: the make must be in
// lower case.
func (s *Server) misspelled(c *call) bool {
	rest := slices.Clone(c.path[3:])
	if len(rest) < 2 || rest[0] == "tesla" {
		return false
	}
	rest[0] = strings.ToLower(rest[0])
	return rest[0] == "tesla" && s.operation(c.r.Method, rest) != nil
}

// readCall answers one GET.
func (s *Server) readCall(c *call, v *vehicle, op *operation, w *view) *response {
	if op.kind == Metadata {
		body, err := op.read(w.as(recording{at: c.now, fetched: c.now}))
		if err != nil {
			return c.fail(err)
		}
		return c.ok(body)
	}
	rec, err := v.gate(c.now, c.entry)
	if err != nil {
		return c.fail(err)
	}
	body, err := op.read(w.as(rec))
	if err != nil {
		return c.fail(err)
	}
	return c.ok(body).dated(rec, w.unitSystem(op))
}

// permissions is GET /vehicles/{id}/permissions.
func (s *Server) permissions(c *call, v *vehicle, g *grant) *response {
	return c.page("permissions", g.vehicles[v.ID], 25, 1000)
}

// application is DELETE /vehicles/{id}/application: for this user, or for all
// users with the management token.
func (s *Server) application(c *call, v *vehicle, g *grant) *response {
	s.disconnect(s.newest(func(n *connection) bool {
		return n.vehicle == v.ID && (g == nil || n.user == g.user)
	}))
	if g != nil {
		delete(g.vehicles, v.ID)
	}
	return c.ok(map[string]string{"status": "success"})
}

// subscribe is POST /vehicles/{id}/webhooks/{webhookId}.
func (s *Server) subscribe(c *call, v *vehicle, g *grant) *response {
	v.subscribe(c.now)
	if n := s.connection(g.user, v.ID); n != nil && s.hook(c.path[4]) != nil {
		s.addSubscription(c.path[4], n, c.now)
		s.unseen = true
	}
	return c.ok(map[string]string{"webhookId": c.path[4], "vehicleId": v.ID})
}

// unsubscribe is documented for the management token only.
func (s *Server) unsubscribe(c *call, v *vehicle, g *grant) *response {
	if g != nil {
		return c.fail(newError("AUTHENTICATION", ""))
	}
	s.drop(func(b *subscription) bool { return b.hook == c.path[4] && b.vehicle == v.ID })
	return c.ok(map[string]string{"status": "success"})
}

// page answers a part of a list by limit and offset.
func (c *call) page(name string, all []string, byDefault, most int) *response {
	limit, err := c.number("limit", byDefault, 1, most)
	if err != nil {
		return c.fail(err)
	}
	offset, err := c.number("offset", 0, 0, 1<<31-1)
	if err != nil {
		return c.fail(err)
	}
	from := min(offset, len(all))
	part := append([]string{}, all[from:min(from+limit, len(all))]...) // never null
	return c.ok(map[string]any{"paging": map[string]int{"count": len(all), "offset": offset}, name: part})
}

// number reads a query parameter.
func (c *call) number(name string, byDefault, least, most int) (int, *apiError) {
	if !c.query.Has(name) {
		return byDefault, nil
	}
	n, err := strconv.Atoi(c.query.Get(name))
	if err != nil || n < least || n > most {
		return 0, invalid(name, "must be a number between "+strconv.Itoa(least)+" and "+strconv.Itoa(most))
	}
	return n, nil
}
