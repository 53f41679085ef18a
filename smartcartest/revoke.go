package smartcartest

import "time"

// ExpireAccessTokens ends all access tokens, v3 application tokens included:
// the next request with one is 401 AUTHENTICATION. Refresh tokens stay good.
func (s *Server) ExpireAccessTokens() {
	s.lock()
	defer s.mu.Unlock()
	clear(s.tokens.access)
	clear(s.tokens.apps)
}

// ExpireAppTokens ends the v3 application tokens: the next request with one is
// 401 AUTHENTICATION:UNAUTHORIZED. The tokens of v2.0 stay good.
func (s *Server) ExpireAppTokens() {
	s.lock()
	defer s.mu.Unlock()
	clear(s.tokens.apps)
}

// RevokeRefreshTokens makes all refresh tokens answer invalid_grant. Access
// tokens live on until they expire.
func (s *Server) RevokeRefreshTokens() {
	s.lock()
	defer s.mu.Unlock()
	clear(s.tokens.refresh)
}

// RevokeGrants ends all tokens and codes and removes all connections, as if
// every owner had withdrawn consent.
func (s *Server) RevokeGrants() {
	s.lock()
	defer s.mu.Unlock()
	clear(s.tokens.access)
	clear(s.tokens.refresh)
	clear(s.tokens.codes)
	s.connections, s.subscriptions, s.events = nil, nil, nil
}

// RequireReauthentication locks the vendor out of a car's account, as when its
// owner has changed the password there: data and commands answer
// CONNECTED_SERVICES_ACCOUNT:AUTHENTICATION_FAILED, whose resolution has the
// URL to re-authenticate at, and webhooks tell. A re-authentication of the car
// or a new Connect ends it, which webhooks tell as RESOLVED.
func (s *Server) RequireReauthentication(vehicleID string) error {
	return s.change(vehicleID, func(v *vehicle, _ time.Time) error {
		v.lostAccess = true
		return nil
	})
}
