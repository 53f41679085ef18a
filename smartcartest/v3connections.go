package smartcartest

import (
	"net/url"
	"strconv"
)

// v3Connections is GET /v3/connections: JSON:API with page[number] and
// page[size], newest first. Simulated cars are hidden unless asked for.
func (s *Server) v3Connections(c *call) *response {
	number, err := c.number("page[number]", 1, 1, 1<<20)
	if err != nil {
		return c.fail(err)
	}
	size, err := c.number("page[size]", 10, 1, 100)
	if err != nil {
		return c.fail(err)
	}
	mode := c.query.Get("filter[vehicle.mode]")
	if mode == "" {
		mode = "live"
	}
	user := c.query.Get("filter[userId]")
	if user == "" {
		user = c.r.Header.Get("sc-user-id")
	}
	wanted := func(value, filter string) bool { return filter == "" || value == filter }
	all := s.newest(func(n *connection) bool {
		return n.mode == mode && wanted(n.user, user) && wanted(n.vehicle, c.query.Get("filter[vehicleId]")) &&
			wanted(n.externalID, c.query.Get("filter[user.externalId]"))
	})
	from := min((number-1)*size, len(all))
	list := []object{}
	for _, n := range all[from:min(from+size, len(all))] {
		list = append(list, s.v3Connection(n))
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
		return "/connections?" + q.Encode()
	}
	return c.ok(object{
		"data":  list,
		"meta":  object{"pageNumber": number, "pageSize": size, "totalCount": len(all), "orderBy": "createdAt", "orderDirection": "DESC"},
		"links": object{"self": link(number), "first": link(1), "last": link(pages), "next": link(number + 1), "prev": link(number - 1)},
	})
}

func (s *Server) v3Connection(n *connection) object {
	v := s.vehicles[n.vehicle]
	user := object{"id": n.user}
	if n.externalID != "" {
		user["externalId"] = n.externalID
	}
	return object{
		"id": n.id, "type": "connection",
		"attributes": object{"permissions": n.perms, "vehicle": v.v3(n.mode), "user": user},
		"relationships": object{
			"vehicle": object{
				"data":  object{"id": n.vehicle, "type": "vehicle"},
				"links": object{"related": "/vehicles/" + n.vehicle},
			},
			"user": object{"data": object{"id": n.user, "type": "user"}},
		},
		"meta":  object{"createdAt": n.at.Format(stamp), "updatedAt": n.updated.Format(stamp)},
		"links": object{"self": "/connections/" + n.id},
	}
}
