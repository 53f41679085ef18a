package smartcartest

import (
	"net/url"
	"slices"
	"strconv"
)

// jsonAPI is one page of a collection, by page[number] and page[size].
type jsonAPI struct {
	host, path string
	size       int // when the request does not say
}

// v3Page answers one page of a collection, newest first.
func v3Page[T any](c *call, of jsonAPI, all []T, each func(T) object) *response {
	number, err := c.number("page[number]", 1, 1, 1<<20)
	if err != nil {
		return c.fail(err)
	}
	size, err := c.number("page[size]", of.size, 1, 100)
	if err != nil {
		return c.fail(err)
	}
	from := min((number-1)*size, len(all))
	list := []object{}
	for _, one := range all[from:min(from+size, len(all))] {
		list = append(list, each(one))
	}
	pages := max(1, (len(all)+size-1)/size)
	link := func(page int) any {
		if page < 1 || page > pages {
			return nil
		}
		q := url.Values{}
		for name, values := range c.query {
			q[name] = values
		}
		q.Set("page[number]", strconv.Itoa(page))
		q.Set("page[size]", strconv.Itoa(size))
		return c.absolute(of.host, of.path+"?"+q.Encode())
	}
	meta := object{"pageNumber": number, "pageSize": size, "totalCount": len(all), "orderBy": "createdAt", "orderDirection": "DESC"}
	links := object{"self": link(number), "first": link(1), "last": link(pages), "next": link(number + 1), "prev": link(number - 1)}
	if c.cfg.variants.PlainPaging {
		meta = object{"page": number, "pageSize": size, "totalCount": len(all)}
		links["previous"] = links["prev"]
		delete(links, "prev")
	}
	return c.ok(object{"data": list, "meta": meta, "links": links})
}

// modeFilter is filter[vehicle.mode], which hides what it does not name.
func (c *call) modeFilter(byDefault string) (mode string, err *apiError) {
	mode = c.query.Get("filter[vehicle.mode]")
	switch mode {
	case "":
		return byDefault, nil
	case "live", "simulated":
		return mode, nil
	default:
		return "", invalid("filter[vehicle.mode]", "must be live or simulated")
	}
}

// wanted says whether a value passes a filter of the query.
func (c *call) wanted(value, filter string) bool {
	f := c.query.Get("filter[" + filter + "]")
	return f == "" || value == f
}

// v3Connections is GET /v3/connections. Simulated cars are hidden unless asked
// for, and so is what lags.
func (s *Server) v3Connections(c *call) *response {
	mode, err := c.modeFilter("live")
	if err != nil {
		return c.fail(err)
	}
	user := c.query.Get("filter[userId]")
	if user == "" {
		user = c.r.Header.Get("sc-user-id")
	}
	var found []*connection
	for _, n := range slices.Backward(s.connections) {
		n = n.shown(c.now)
		if n != nil && n.mode == mode && (user == "" || n.user == user) && c.wanted(n.vehicle, "vehicleId") &&
			c.wanted(n.externalID, "user.externalId") {
			found = append(found, n)
		}
	}
	return v3Page(c, jsonAPI{"vehicle", "/connections", 10}, found, func(n *connection) object { return s.v3Resource(c, n) })
}

// shownConnection finds a connection by its id, as far as it is shown.
func (s *Server) shownConnection(c *call, id string) *connection {
	for _, n := range s.connections {
		if n.id == id {
			return n.shown(c.now)
		}
	}
	return nil
}

// v3Connection is GET /v3/connections/{id}.
func (s *Server) v3Connection(c *call, id string) *response {
	n := s.shownConnection(c, id)
	if n == nil {
		return c.fail(newError("RESOURCE_NOT_FOUND", "CONNECTION_NOT_FOUND"))
	}
	return c.ok(object{"data": s.v3Resource(c, n), "links": object{"self": c.link("/connections/" + n.id)}})
}

// v3Disconnect is DELETE /v3/connections/{id}.
func (s *Server) v3Disconnect(c *call, id string) *response {
	if s.shownConnection(c, id) == nil {
		return c.fail(newError("RESOURCE_NOT_FOUND", "CONNECTION_NOT_FOUND"))
	}
	s.disconnect(s.newest(func(n *connection) bool { return n.id == id }))
	return c.empty()
}

// v3DeleteUser is DELETE /v3/users/{id}: the user's connections and tokens.
func (s *Server) v3DeleteUser(c *call, id string) *response {
	gone := s.newest(func(n *connection) bool { return n.user == id })
	if len(gone) == 0 {
		return c.fail(newError("RESOURCE_NOT_FOUND", "USER_NOT_FOUND"))
	}
	s.disconnect(gone)
	for value, t := range s.access {
		if t.grant.user == id {
			delete(s.access, value)
		}
	}
	for value, t := range s.refresh {
		if t.grant.user == id {
			delete(s.refresh, value)
		}
	}
	for value, t := range s.codes {
		if t.grant.user == id {
			delete(s.codes, value)
		}
	}
	return c.empty()
}

// v3Resource is a connection as JSON:API.
func (s *Server) v3Resource(c *call, n *connection) object {
	v := s.vehicles[n.vehicle]
	user := object{"id": n.user}
	if n.externalID != "" {
		user["externalId"] = n.externalID
	}
	return object{
		"id": n.id, "type": "connection",
		"attributes": object{"permissions": n.perms, "vehicle": s.v3Attributes(v, n.mode), "user": user},
		"relationships": object{
			"vehicle": object{
				"data":  object{"id": n.vehicle, "type": "vehicle"},
				"links": object{"related": c.link("/vehicles/" + n.vehicle)},
			},
			"user": object{"data": object{"id": n.user, "type": "user"}},
		},
		"meta":  object{"createdAt": c.stamp(n.at), "updatedAt": c.stamp(n.updated)},
		"links": object{"self": c.link("/connections/" + n.id)},
	}
}
