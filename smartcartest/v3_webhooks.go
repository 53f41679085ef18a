package smartcartest

import (
	"slices"
	"strings"
)

// The management API of v3: webhooks can only be read there, subscriptions
// come and go.

// v3Webhooks answers GET /v3/webhooks. The API cannot create a webhook; only
// the dashboard can.
func (s *Server) v3Webhooks(c *call) *response {
	for _, name := range []string{"isEnabled", "autoSubscribe"} {
		if v := c.query.Get("filter[" + name + "]"); v != "" && v != "true" && v != "false" {
			return c.fail(invalidField("filter["+name+"]", "must be true or false"))
		}
	}
	part := func(value, filter string) bool {
		return strings.Contains(strings.ToLower(value), strings.ToLower(c.query.Get("filter["+filter+"]")))
	}
	flag := func(value bool, filter string) bool { return c.passesFilter(string(mustJSON(value)), filter) }
	var found []*hook
	for _, h := range slices.Backward(s.hooks) {
		if part(h.Name, "name") && part(h.CallbackURL, "callbackUri") && flag(!h.disabled, "isEnabled") && flag(h.AutoSubscribe, "autoSubscribe") {
			found = append(found, h)
		}
	}
	return v3Page(c, v3Collection{"management", "/webhooks", 50}, found, func(h *hook) object { return s.v3WebhookResource(c, h) })
}

// v3Webhook answers GET /v3/webhooks/{id}.
func (s *Server) v3Webhook(c *call, id string) *response {
	h := s.hook(id)
	if h == nil {
		return c.fail(newError("RESOURCE_NOT_FOUND", "WEBHOOK_NOT_FOUND"))
	}
	return c.ok(object{"data": s.v3WebhookResource(c, h)})
}

// v3WebhookResource is a webhook as JSON:API.
func (s *Server) v3WebhookResource(c *call, h *hook) object {
	named := func(codes []string) []object {
		list := []object{}
		for _, code := range codes {
			if g := s.signal(code); g != nil {
				list = append(list, g.named())
			} else { // a path of version 2.0
				list = append(list, object{"code": code})
			}
		}
		return list
	}
	return object{
		"id": h.ID, "type": "webhook",
		"attributes": object{
			"name": h.Name, "callbackUri": h.CallbackURL, "isEnabled": !h.disabled, "triggers": named(h.Triggers), "data": named(h.Data),
			"errorCallbackUri": nullable(h.ErrorCallbackURL), "autoSubscribe": h.AutoSubscribe,
		},
		"links": object{"self": c.v3Link("management", "/webhooks/"+h.ID)},
		"meta":  object{"createdAt": c.v3Time(h.createdAt)},
	}
}
