package smartcartest

import (
	"time"
)

// grant is one Connect by one account. Its refresh tokens are one family.
type grant struct {
	account  string
	user     string
	vehicles map[string][]string // permissions by vehicle id
	issued   int
	refresh  []*refreshToken // those that may still be honored, oldest first
	access   []string
}

type authCode struct {
	grant       *grant
	redirectURI string // "" when Connect was called without one
	expires     time.Time
	used        bool
}

type accessToken struct {
	grant   *grant
	expires time.Time
}

type refreshToken struct {
	value   string
	grant   *grant
	seq     int
	expires time.Time
	used    bool
	usedAt  time.Time
}

// grants are all that a token or a code still leads to.
func (s *Server) grants() map[*grant]bool {
	all := map[*grant]bool{}
	for _, t := range s.access {
		all[t.grant] = true
	}
	for _, t := range s.refresh {
		all[t.grant] = true
	}
	for _, t := range s.codes {
		all[t.grant] = true
	}
	return all
}

// vehiclesOf lists a grant's cars in the order of the garage.
func (s *Server) vehiclesOf(g *grant) []string {
	ids := make([]string, 0, len(g.vehicles))
	for _, id := range s.order {
		if _, ok := g.vehicles[id]; ok {
			ids = append(ids, id)
		}
	}
	return ids
}

// ExpireAccessTokens ends all access tokens, v3 application tokens included:
// the next request with one is 401 AUTHENTICATION. Refresh tokens stay good.
func (s *Server) ExpireAccessTokens() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.access)
	clear(s.apps)
}

// RevokeRefreshTokens makes all refresh tokens answer invalid_grant. Access
// tokens live on until they expire.
func (s *Server) RevokeRefreshTokens() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.refresh)
}

// RevokeGrants ends all tokens and codes and removes all connections, as if
// every owner had withdrawn consent.
func (s *Server) RevokeGrants() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.access)
	clear(s.refresh)
	clear(s.codes)
	s.connections, s.subscriptions, s.events = nil, nil, nil
}
