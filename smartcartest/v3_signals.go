package smartcartest

import "slices"

// signal finds a row of the catalog; nil when there is none.
func (s *Server) signal(code string) *signal {
	i := slices.IndexFunc(s.signals, func(g signal) bool { return g.code() == code })
	if i < 0 {
		return nil
	}
	return &s.signals[i]
}

// v3Signals answers all signals of a car, which is one turn. It asks the car
// only if the user may read at least one of them.
func (s *Server) v3Signals(c *call, v *vehicle, n *connection) *response {
	rec, refused := recording{recorded: c.now, fetched: c.now}, (*apiError)(nil)
	known := s.signals
	if !v.hasSignals(c.now) {
		known = nil
	}
	if slices.ContainsFunc(known, func(g signal) bool { return slices.Contains(n.permissions, g.permission) }) {
		if rec, refused = v.gate(c.now, c.entry); refused != nil && !standsInSignals(refused) {
			return c.fail(refused)
		}
	}
	list := []object{}
	for i := range known {
		list = append(list, readSignal(&known[i], v, n, c.now, rec, refused, &s.cfg.variants).resource(c, v.ID))
	}
	meta := object{"pageNumber": 1, "pageSize": len(list), "totalCount": len(list)}
	if c.cfg.variants.PlainPaging {
		meta = object{"page": 1, "pageSize": len(list), "totalCount": len(list)}
	}
	if c.cfg.variants.ShortSignals {
		list = list[:len(list)/2]
		meta["pageSize"] = len(list)
	}
	res := c.ok(object{
		"data": list, "meta": meta,
		"links":    object{"self": c.vehicleLink("/vehicles/" + v.ID + "/signals")},
		"included": object{"vehicle": s.v3Included(v, n)},
	})
	if len(list) == 0 {
		return res
	}
	return res.dated(rec, "")
}

// v3SingleSignal answers one signal of a car.
func (s *Server) v3SingleSignal(c *call, v *vehicle, n *connection, code string) *response {
	g := s.signal(code)
	if g == nil || !v.hasSignals(c.now) {
		e := newError("RESOURCE_NOT_FOUND", "SIGNAL_NOT_FOUND")
		e.description = "Signal with code " + code + " not found for vehicle with ID " + v.ID
		return c.fail(e)
	}
	if !slices.Contains(n.permissions, g.permission) {
		return c.fail(newError("PERMISSION", ""))
	}
	rec, refused := v.gate(c.now, c.entry)
	if refused != nil && !standsInSignals(refused) {
		return c.fail(refused)
	}
	resource := readSignal(g, v, n, c.now, rec, refused, &s.cfg.variants).resource(c, v.ID)
	if c.cfg.variants.BareSignal {
		return c.ok(resource).dated(rec, "")
	}
	return c.ok(object{"data": resource, "included": object{"vehicle": s.v3Included(v, n)}}).dated(rec, "")
}
