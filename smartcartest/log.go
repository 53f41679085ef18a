package smartcartest

import (
	"net/url"
	"slices"
	"strings"
	"time"
)

// logKept is how many entries a ledger and the request log keep; the oldest go
// first, so that a simulator may run for weeks.
const logKept = 100_000

// Request is one request that reached the server, on any path but /_sim/. It
// never holds a secret: the query values of codes and tokens are masked.
type Request struct {
	Time   time.Time `json:"time"`
	Method string    `json:"method"`
	Path   string    `json:"path"`
	Query  string    `json:"query,omitempty"`
	// Status is 0 when the request was dropped before it was processed.
	Status  int  `json:"status"`
	Dropped bool `json:"dropped,omitempty"`
}

// Requests returns a copy of the log of all requests, oldest first. The newest
// 100,000 are kept.
func (s *Server) Requests() []Request {
	s.lock()
	defer s.mu.Unlock()
	return slices.Clone(s.requests)
}

// logRequest writes a request to the log. The caller holds the lock.
func (s *Server) logRequest(c *call, status int, dropped bool) {
	s.requests = appendCapped(s.requests, Request{
		Time: c.now, Method: c.request.Method, Path: c.request.URL.Path, Query: maskedQuery(c.query),
		Status: status, Dropped: dropped,
	})
}

// maskedQuery is a query in which codes, tokens and secrets are masked.
func maskedQuery(q url.Values) string {
	clean := make(url.Values, len(q))
	for name, values := range q {
		switch strings.ToLower(name) {
		case "code", "token", "access_token", "refresh_token", "client_secret":
			values = []string{"***"}
		}
		clean[name] = values
	}
	return clean.Encode()
}

// counts are totals since New. The log cannot give them, as it drops its
// oldest entries.
type counts struct{ token, appToken, codeReuse int }

// TokenRequests counts the requests at the v2 token endpoint that were
// processed, whatever they were answered.
func (s *Server) TokenRequests() int { return s.count(func(c counts) int { return c.token }) }

// AppTokenRequests counts the requests at the v3 token endpoint likewise.
func (s *Server) AppTokenRequests() int { return s.count(func(c counts) int { return c.appToken }) }

// CodeReuse counts the authorization codes that were presented again after
// they had been exchanged.
func (s *Server) CodeReuse() int { return s.count(func(c counts) int { return c.codeReuse }) }

// count reads one total.
func (s *Server) count(pick func(counts) int) int {
	s.lock()
	defer s.mu.Unlock()
	return pick(s.counts)
}

// appendCapped appends to a log that keeps logKept entries.
func appendCapped[T any](list []T, e T) []T { return appendCappedTo(list, e, logKept) }

// appendCappedTo appends to a log. When the log is full, its oldest tenth is
// dropped first, so that it is not copied at every request.
func appendCappedTo[T any](list []T, e T, kept int) []T {
	if len(list) >= kept {
		clear(list[copy(list, list[kept/10:]):]) // lets go of what the dropped entries hold
		list = list[:len(list)-kept/10]
	}
	return append(list, e)
}
