package smartcartest

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"time"
)

// hookOrder is a Webhook as JSON, without Token, Handler and Transport.
type hookOrder struct {
	ID               string   `json:"id"`
	Name             string   `json:"name"`
	CallbackURI      string   `json:"callbackUri"`
	ErrorCallbackURI string   `json:"errorCallbackUri"`
	Version          string   `json:"version"`
	EventName        string   `json:"eventName"`
	Triggers         []string `json:"triggers"`
	Data             []string `json:"data"`
	AutoSubscribe    bool     `json:"autoSubscribe"`
	Duplicate        bool     `json:"duplicate"`
	Reverse          bool     `json:"reverse"`
	Variants         struct {
		DataTriggers bool `json:"dataTriggers"`
		FetchedAt    bool `json:"fetchedAt"`
		ISOTimes     bool `json:"isoTimes"`
		EpochVerify  bool `json:"epochVerify"`
		SwappedMode  bool `json:"swappedMode"`
		Sparse       bool `json:"sparse"`
		StateErrors  bool `json:"stateErrors"`
		Early        bool `json:"early"`
	} `json:"variants"`
}

func (o hookOrder) webhook() Webhook {
	return Webhook{
		ID: o.ID, Name: o.Name, CallbackURL: o.CallbackURI, ErrorCallbackURL: o.ErrorCallbackURI, Version: o.Version,
		EventName: o.EventName, Triggers: o.Triggers, Data: o.Data, AutoSubscribe: o.AutoSubscribe, Duplicate: o.Duplicate,
		Reverse: o.Reverse, Variants: WebhookVariants(o.Variants),
	}
}

// hookState is a webhook as the control API shows it.
type hookState struct {
	ID            string    `json:"id"`
	Name          string    `json:"name"`
	CallbackURI   string    `json:"callbackUri"`
	Version       string    `json:"version"`
	Verified      bool      `json:"verified"`
	Enabled       bool      `json:"enabled"`
	Subscriptions []string  `json:"subscriptions"` // ids of the cars
	Waiting       int       `json:"waiting"`       // events to be delivered or tried again
	CreatedAt     time.Time `json:"createdAt"`
}

// hookStates lists all webhooks as the control API shows them.
func (s *Server) hookStates() []hookState {
	s.lock()
	defer s.mu.Unlock()
	out := []hookState{}
	for _, h := range s.hooks {
		st := hookState{
			ID: h.ID, Name: h.Name, CallbackURI: h.CallbackURL, Version: h.Version, Verified: h.verified, Enabled: !h.disabled,
			Subscriptions: []string{}, CreatedAt: h.createdAt,
		}
		for _, b := range s.subscriptions {
			if b.hook == h.ID {
				st.Subscriptions = append(st.Subscriptions, b.vehicle)
			}
		}
		for _, e := range s.events {
			st.Waiting += btoi(e.hook == h)
		}
		out = append(out, st)
	}
	return out
}

// controlHooks answers /_sim/webhooks and /_sim/deliveries.
func (s *Server) controlHooks(ctx context.Context, c *call, rest []string) *response {
	switch method := c.request.Method; {
	case len(rest) == 1 && rest[0] == "webhooks" && method == http.MethodGet:
		return jsonResponse(http.StatusOK, object{"webhooks": s.hookStates()})
	case len(rest) == 1 && rest[0] == "webhooks" && method == http.MethodPost:
		return s.controlAddHook(ctx, c)
	case len(rest) == 3 && rest[0] == "webhooks" && method == http.MethodPost:
		return s.controlHook(ctx, c, rest[1], rest[2])
	case len(rest) == 1 && rest[0] == "deliveries" && method == http.MethodGet:
		return jsonResponse(http.StatusOK, object{"deliveries": append([]Delivery{}, s.Deliveries()...)})
	case len(rest) == 1 && rest[0] == "deliveries" && method == http.MethodPost:
		sent, err := s.Deliver(ctx)
		if err != nil {
			return controlError(http.StatusServiceUnavailable, err)
		}
		return jsonResponse(http.StatusOK, object{"deliveries": append([]Delivery{}, sent...)})
	}
	return controlError(http.StatusNotFound, errors.New("no such control"))
}

// controlAddHook creates a webhook. When the receiver fails the challenge, the
// webhook exists all the same, and the answer holds it beside the error.
func (s *Server) controlAddHook(ctx context.Context, c *call) *response {
	var order hookOrder
	if err := json.Unmarshal(c.body, &order); err != nil {
		return controlError(http.StatusBadRequest, err)
	}
	id, err := s.AddWebhook(ctx, order.webhook())
	if id == "" {
		return controlError(http.StatusBadRequest, err)
	}
	for _, h := range s.hookStates() {
		if h.ID == id {
			answer := object{"webhook": h}
			if err != nil {
				answer["error"] = err.Error()
			}
			return jsonResponse(http.StatusCreated, answer)
		}
	}
	return controlError(http.StatusInternalServerError, err)
}

// controlHook does one thing with a webhook: verify, test, enable, disable or
// subscribe.
func (s *Server) controlHook(ctx context.Context, c *call, id, what string) *response {
	var order struct {
		VehicleID string `json:"vehicleId"`
	}
	if len(c.body) > 0 {
		if err := json.Unmarshal(c.body, &order); err != nil {
			return controlError(http.StatusBadRequest, err)
		}
	}
	var err error
	var sent Delivery
	switch what {
	case "verify":
		err = s.VerifyWebhook(ctx, id)
	case "test":
		sent, err = s.TestWebhook(ctx, id, order.VehicleID)
	case "enable", "disable":
		err = s.EnableWebhook(id, what == "enable")
	case "subscribe":
		err = s.Subscribe(id, order.VehicleID)
	default:
		return controlError(http.StatusNotFound, errors.New("no such control"))
	}
	if err != nil {
		return controlError(http.StatusConflict, err)
	}
	answer := object{"status": "done"}
	if what == "test" {
		answer["delivery"] = sent
	}
	return jsonResponse(http.StatusOK, answer)
}
