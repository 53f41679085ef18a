package smartcartest

import (
	"fmt"
	"slices"
	"time"
)

// subscription is one car of one user on a webhook.
type subscription struct {
	id, hook, user, vehicle string
	createdAt, beginsAt     time.Time

	delivered   bool              // the first delivery was queued
	accessError bool              // the receiver was told last that the owner must re-authenticate
	keyError    bool              // the receiver was told last that the key is missing
	lastSaid    map[string]string // by trigger, the value that was sent last
}

// Subscribe subscribes a car to a webhook, for every user who has connected
// it. A car that nobody has connected is an error; a subscribed one is not.
func (s *Server) Subscribe(webhookID, vehicleID string) error {
	s.lock()
	defer s.mu.Unlock()
	found := s.connectionsNewestFirst(func(n *connection) bool { return n.vehicle == vehicleID })
	if h := s.hook(webhookID); h == nil || len(found) == 0 {
		return fmt.Errorf("smartcartest: no webhook %q or no connection to %q", webhookID, vehicleID)
	}
	now := s.now()
	for _, n := range found {
		s.addSubscription(webhookID, n, now)
	}
	s.observe(now)
	return nil
}

// addSubscription subscribes a connection to a webhook; nil when it is
// subscribed already.
func (s *Server) addSubscription(webhookID string, n *connection, now time.Time) *subscription {
	if s.subscription(webhookID, n) != nil {
		return nil
	}
	b := &subscription{
		id: randomUUID(), hook: webhookID, user: n.user, vehicle: n.vehicle, createdAt: now, beginsAt: now.Add(s.cfg.subscriptionLag),
		lastSaid: map[string]string{},
	}
	s.subscriptions = append(s.subscriptions, b)
	s.vehicles[n.vehicle].storeSignalsFrom(b.beginsAt)
	return b
}

// subscription finds the subscription of a connection to a webhook; nil when
// there is none.
func (s *Server) subscription(webhookID string, n *connection) *subscription {
	for _, b := range s.subscriptions {
		if b.hook == webhookID && b.user == n.user && b.vehicle == n.vehicle {
			return b
		}
	}
	return nil
}

// autoSubscribe subscribes a connection to all webhooks with AutoSubscribe.
func (s *Server) autoSubscribe(n *connection, now time.Time) {
	for _, h := range s.hooks {
		if h.AutoSubscribe {
			s.addSubscription(h.ID, n, now)
		}
	}
}

// connectionOf is the connection that a subscription belongs to; nil when it
// was removed.
func (s *Server) connectionOf(b *subscription) *connection { return s.connection(b.user, b.vehicle) }

// dropSubscriptions removes the subscriptions that gone picks, with their
// events in the queue.
func (s *Server) dropSubscriptions(gone func(*subscription) bool) {
	s.subscriptions = slices.DeleteFunc(s.subscriptions, func(b *subscription) bool {
		if !gone(b) {
			return false
		}
		s.events = slices.DeleteFunc(s.events, func(e *event) bool { return e.subscription == b })
		return true
	})
}
