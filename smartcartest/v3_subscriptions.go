package smartcartest

import (
	"encoding/json"
	"net/http"
	"slices"
)

// v3Subscriptions answers GET /v3/subscriptions. It hides those that have not
// begun.
func (s *Server) v3Subscriptions(c *call) *response {
	mode, err := c.filteredMode("live")
	if err != nil {
		return c.fail(err)
	}
	var found []*subscription
	for _, b := range slices.Backward(s.subscriptions) {
		n := s.connectionOf(b)
		if n != nil && !c.now.Before(b.beginsAt) && n.mode == mode && c.passesFilter(b.user, "userId") && c.passesFilter(b.hook, "webhookId") && c.passesFilter(b.vehicle, "vehicleId") {
			found = append(found, b)
		}
	}
	return v3Page(c, v3Collection{"management", "/subscriptions", 25}, found, func(b *subscription) object { return s.v3SubscriptionResource(c, b) })
}

// v3Subscription answers GET /v3/subscriptions/{id}.
func (s *Server) v3Subscription(c *call, id string) *response {
	b := s.begunSubscription(c, id)
	if b == nil {
		return c.fail(newError("RESOURCE_NOT_FOUND", "SUBSCRIPTION_NOT_FOUND"))
	}
	return c.ok(object{"data": s.v3SubscriptionResource(c, b)})
}

// v3Subscribe answers POST /v3/subscriptions with 202. The subscription begins
// after WithSubscriptionLag.
func (s *Server) v3Subscribe(c *call) *response {
	attributes, err := c.attributes()
	if err != nil {
		return c.fail(err)
	}
	var want struct {
		WebhookID string `json:"webhookId"`
		UserID    string `json:"userId"`
		VehicleID string `json:"vehicleId"`
	}
	if attributes != nil && json.Unmarshal(attributes, &want) != nil {
		return c.fail(newError("VALIDATION", "INVALID_INPUT_FORMAT"))
	}
	if want.WebhookID == "" || want.UserID == "" || want.VehicleID == "" {
		e := newError("VALIDATION", "MISSING_PARAMETER")
		e.description = "webhookId, userId and vehicleId are required"
		return c.fail(e)
	}
	n := s.connection(want.UserID, want.VehicleID)
	switch {
	case s.hook(want.WebhookID) == nil:
		return c.fail(newError("RESOURCE_NOT_FOUND", "WEBHOOK_NOT_FOUND"))
	case n == nil:
		return c.fail(newError("RESOURCE_NOT_FOUND", "VEHICLE_NOT_FOUND"))
	case s.addSubscription(want.WebhookID, n, c.now) == nil:
		return c.fail(newError("CONFLICT", "SUBSCRIPTION_EXISTS"))
	}
	s.mustObserve = true
	r := c.ok(object{"meta": object{"message": "subscription creation in progress"}})
	r.status = http.StatusAccepted
	return r
}

// v3Unsubscribe answers DELETE /v3/subscriptions/{id}.
func (s *Server) v3Unsubscribe(c *call, id string) *response {
	if s.begunSubscription(c, id) == nil {
		return c.fail(newError("RESOURCE_NOT_FOUND", "SUBSCRIPTION_NOT_FOUND"))
	}
	s.dropSubscriptions(func(b *subscription) bool { return b.id == id })
	return c.empty()
}

// begunSubscription finds a subscription by id; nil when it does not exist or
// has not begun.
func (s *Server) begunSubscription(c *call, id string) *subscription {
	for _, b := range s.subscriptions {
		if b.id == id && !c.now.Before(b.beginsAt) {
			return b
		}
	}
	return nil
}

// v3SubscriptionResource is a subscription as JSON:API.
func (s *Server) v3SubscriptionResource(c *call, b *subscription) object {
	to := func(typ, host, path, id string) object {
		return object{"data": object{"type": typ, "id": id}, "links": object{"related": c.v3Link(host, path+id)}}
	}
	return object{
		"type": "subscription", "id": b.id,
		"attributes": object{"vehicle": s.v3Attributes(s.vehicles[b.vehicle], s.modeOf(b.vehicle))},
		"meta":       object{"createdAt": c.v3Time(b.createdAt), "updatedAt": c.v3Time(b.createdAt)},
		"relationships": object{
			"webhook": to("webhook", "management", "/webhooks/", b.hook),
			"user":    to("user", "vehicle", "/users/", b.user),
			"vehicle": to("vehicle", "vehicle", "/vehicles/", b.vehicle),
		},
		"links": object{"self": c.v3Link("management", "/subscriptions/"+b.id)},
	}
}
