package smartcartest

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
)

// item is one request inside a batch.
type item struct {
	path  string
	op    *operation // never nil
	query url.Values
	err   *apiError // set when the item never reaches the car
}

// v2Batch answers POST /vehicles/{id}/batch. All items together take one turn
// of the car, and each has an answer or an error of its own.
func (s *Server) v2Batch(c *call, v *vehicle, g *grant) *response {
	items, err := s.batchItems(c, v, g.vehicles[v.ID])
	if err != nil {
		return c.fail(err)
	}
	rec, refused := recording{recorded: c.now, fetched: c.now}, (*apiError)(nil)
	kind := Metadata
	for _, it := range items {
		c.entry.Items = append(c.entry.Items, it.path)
		if it.op.kind == Data {
			kind = Data
		}
		if it.err == nil && it.op.kind == Data && !c.entry.AtGate && refused == nil {
			rec, refused = v.gate(c.now, c.entry)
		}
	}
	c.entry.Kind = kind
	if refused != nil && refused.status == http.StatusTooManyRequests {
		return c.fail(refused) // a rate limit fails the whole batch
	}
	responses := make([]object, 0, len(items))
	for _, it := range items {
		if it.err == nil && it.op.kind == Data {
			it.err = refused
		}
		responses = append(responses, s.batchAnswer(c, v, g, it, rec))
	}
	return c.ok(object{"responses": responses})
}

// batchItems reads the items. An item that cannot be answered carries its
// error, all as far as is known without asking the car. A path that does not
// exist fails the whole batch.
func (s *Server) batchItems(c *call, v *vehicle, perms []string) ([]item, *apiError) {
	var body struct {
		Requests []struct {
			Path string `json:"path"`
		} `json:"requests"`
	}
	if json.Unmarshal(c.body, &body) != nil || body.Requests == nil {
		return nil, invalidField("requests", "is required")
	}
	if len(body.Requests) == 0 {
		return nil, invalidField("requests", "must contain at least 1 item")
	}
	items := make([]item, 0, len(body.Requests))
	for _, r := range body.Requests {
		u, err := url.Parse(r.Path)
		if err != nil || !strings.HasPrefix(r.Path, "/") {
			return nil, invalidField("path", "must begin with a slash")
		}
		it := item{path: r.Path, query: u.Query()}
		it.op = s.operation(http.MethodGet, segments(u.Path))
		if it.op == nil {
			return nil, invalidField("path", "must be the path of an endpoint")
		}
		it.err = it.op.admit(v, perms, it.query)
		items = append(items, it)
	}
	return items, nil
}

// batchAnswer is the answer to one item. The names of its headers are in lower
// case.
func (s *Server) batchAnswer(c *call, v *vehicle, g *grant, it item, rec recording) object {
	fail := func(e *apiError) object {
		return object{"path": it.path, "code": e.status, "body": e.v2Body(c.requestID), "headers": object{}}
	}
	if it.err != nil {
		return fail(it.err)
	}
	if it.op.read == nil { // the list of permissions: no other GET is without a read
		res := s.vehicleHandler(it.op)(c, v, g)
		return object{"path": it.path, "code": res.status, "body": json.RawMessage(res.body), "headers": object{}}
	}
	w := c.newView(v, g)
	w.query = it.query
	if it.op.kind == Metadata {
		rec = recording{recorded: c.now, fetched: c.now}
	}
	body, err := it.op.read(w.withRecording(rec))
	if err != nil {
		return fail(err)
	}
	out := object{"path": it.path, "code": http.StatusOK, "body": body, "headers": object{}}
	if it.op.kind == Data {
		out["headers"] = dataHeaders(rec, it.op.unitSystem(w))
	}
	return out
}
