package smartcartest

import (
	"slices"
	"time"
)

// connection is one account reaching one car through the application.
type connection struct {
	seq         int // rises with every Connect; a cursor holds it
	id          string
	user        string
	vehicle     string
	account     string
	mode        string
	externalID  string
	permissions []string
	connectedAt time.Time
	updatedAt   time.Time

	visibleFrom time.Time   // v3 shows this state from then on
	shownBefore *connection // v3 shows this state until then; nil shows nothing
}

// shown is what v3 lists for the connection at a time; nil when v3 does not
// list the connection yet. With WithConnectionLag v3 shows the state before
// the newest change.
func (n *connection) shown(now time.Time) *connection {
	if now.Before(n.visibleFrom) {
		return n.shownBefore
	}
	return n
}

// hideChange lets v3 show the connection as it is now until lag has passed.
// Call it before the connection changes.
func (n *connection) hideChange(now time.Time, lag time.Duration) {
	until := now.Add(lag)
	if lag == 0 || n.visibleFrom.Equal(until) {
		return
	}
	if shown := n.shown(now); shown != nil {
		before := *shown
		before.shownBefore = nil
		n.shownBefore = &before
	}
	n.visibleFrom = until
}

// userID is the vendor's id of an account. A new account gets one.
func (s *Server) userID(account string) string {
	id := s.accounts[account]
	if id == "" {
		id = namedUUID("user", account)
		s.accounts[account] = id
	}
	return id
}

// UserIDOf is the vendor's user id of a named account; the empty name is the
// default owner.
func (s *Server) UserIDOf(account string) string {
	s.lock()
	defer s.mu.Unlock()
	return s.userID(account)
}

// connectCar connects a car to an account, or renews the connection. A renewed
// connection counts as the newest.
func (s *Server) connectCar(account, vehicleID, mode string, perms []string, now time.Time) {
	user := s.userID(account)
	s.vehicles[vehicleID].lostAccess = false
	s.connectCount++
	n := &connection{
		seq: s.connectCount, id: namedUUID("connection", user+vehicleID), user: user, vehicle: vehicleID,
		account: account, mode: mode, permissions: perms, connectedAt: now, updatedAt: now,
	}
	if old := s.connection(user, vehicleID); old != nil {
		n.externalID = old.externalID
		old.hideChange(now, s.cfg.connectionLag)
		n.shownBefore, n.visibleFrom = old.shownBefore, old.visibleFrom
	} else if s.cfg.connectionLag > 0 {
		n.visibleFrom = now.Add(s.cfg.connectionLag)
	}
	s.connections = slices.DeleteFunc(s.connections, func(o *connection) bool { return o.id == n.id })
	s.connections = append(s.connections, n)
	s.autoSubscribe(n, now)
	s.mustObserve = true
}

// connection finds the connection of a user to a car; nil when there is none.
func (s *Server) connection(user, vehicleID string) *connection {
	for _, n := range s.connections {
		if n.user == user && n.vehicle == vehicleID {
			return n
		}
	}
	return nil
}

// connectionsNewestFirst lists the connections that match.
func (s *Server) connectionsNewestFirst(match func(*connection) bool) []*connection {
	var out []*connection
	for _, n := range slices.Backward(s.connections) {
		if match(n) {
			out = append(out, n)
		}
	}
	return out
}

// modeOf is the mode of a car's newest connection, "live" when it has none.
func (s *Server) modeOf(vehicleID string) string {
	for _, n := range slices.Backward(s.connections) {
		if n.vehicle == vehicleID {
			return n.mode
		}
	}
	return "live"
}

// disconnect removes connections with their subscriptions, and takes each car
// out of all grants of its user.
func (s *Server) disconnect(gone []*connection) {
	for _, n := range gone {
		s.connections = slices.DeleteFunc(s.connections, func(o *connection) bool { return o == n })
		s.dropSubscriptions(func(b *subscription) bool { return b.user == n.user && b.vehicle == n.vehicle })
		for g := range s.tokens.grants() {
			if g.user == n.user {
				delete(g.vehicles, n.vehicle)
			}
		}
	}
}

// Disconnect removes a car from all tokens and connections, as its owner or
// the application would; an unknown car is no error.
func (s *Server) Disconnect(vehicleID string) {
	s.lock()
	defer s.mu.Unlock()
	s.disconnect(s.connectionsNewestFirst(func(n *connection) bool { return n.vehicle == vehicleID }))
}
