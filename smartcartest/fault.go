package smartcartest

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Fault spoils requests: it delays, fails, drops or garbles them.
// [Server.Inject] adds one. A request is spoiled by at most one fault: the
// oldest that matches it and is not used up (see Times).
type Fault struct {
	// Match picks the requests; nil is all. It is called without any lock,
	// possibly by several requests at once, and may read the body.
	Match func(r *http.Request) bool
	// Path picks the requests whose path contains it; empty is all.
	Path string
	// Times is how many matching requests are spoiled; 0 is one, below zero
	// is all from now on.
	Times int
	// Probability, above 0 and below 1, spoils a matching request only by
	// chance, drawn from the server's seeded source. 0 is always.
	Probability float64

	// Latency passes before the request is processed. When the client leaves
	// meanwhile, the request is not processed.
	Latency time.Duration
	// LatencyAfter passes between processing and answer. When the client leaves
	// meanwhile, the request has been processed: it may have taken a turn.
	LatencyAfter time.Duration

	// Status answers with this status, Body and Header. A Body that begins
	// with { or [ is sent as JSON, any other as HTML; empty with a status is
	// a short HTML page, as proxies write them.
	Status int
	Body   string
	Header http.Header
	// ErrorType and ErrorCode answer a documented error in the shape of the
	// called API version, e.g. "UPSTREAM" and "NO_RESPONSE" ("" is code null),
	// with its documented status unless Status says otherwise. At a token
	// endpoint ErrorType is the OAuth error, e.g. "invalid_grant" or
	// "server_error".
	ErrorType, ErrorCode string
	// AfterProcessing processes the request before Status or ErrorType
	// replaces its answer: the car was read, the command ran, the code is
	// used. Without AfterProcessing, none of it happens.
	AfterProcessing bool

	// Accepted answers a request of API v3 with 202 at once, without a length,
	// and streams what would have been the answer on the same connection after
	// LatencyAfter: the way of long commands. With DropAfter the connection
	// closes between the two.
	Accepted bool
	// ErrorShape is how ErrorType is wrapped in API v3.
	ErrorShape ErrorShape

	// DropBefore closes the connection without processing, DropAfter after
	// processing and before the answer. Both are an error of the transport.
	DropBefore, DropAfter bool
	// Malformed cuts the answer's body in half. Content-Length is that of the
	// half, so HTTP itself is right.
	Malformed bool
}

// activeFault is an injected fault and how often it still applies.
type activeFault struct {
	Fault
	timesLeft int // below zero: without end
}

// Inject adds a fault behind those already injected. f.Header is copied.
func (s *Server) Inject(f Fault) {
	f.Header = f.Header.Clone()
	a := &activeFault{Fault: f, timesLeft: f.Times}
	if f.Times == 0 {
		a.timesLeft = 1
	}
	s.lock()
	defer s.mu.Unlock()
	s.faults = append(s.faults, a)
}

// ClearFaults removes all faults, used or not.
func (s *Server) ClearFaults() {
	s.lock()
	defer s.mu.Unlock()
	s.faults = nil
}

// pickFault finds the fault that spoils a request, and uses it up by one. The
// zero Fault spoils nothing.
func (s *Server) pickFault(c *call) Fault {
	s.lock()
	candidates := slices.Clone(s.faults)
	s.mu.Unlock()
	for _, a := range candidates {
		if !strings.Contains(c.request.URL.Path, a.Path) {
			continue
		}
		if a.Match != nil { // the caller's code, which may call the server: not under the lock
			c.request.Body = bodyOf(c.body)
			if !a.Match(c.request) {
				continue
			}
		}
		if s.spendFault(a) {
			return a.Fault
		}
	}
	return Fault{}
}

// spendFault uses a fault up by one; false when nothing is left of it, or when
// chance spares the request. Another request may have used up the fault since
// pickFault saw it.
func (s *Server) spendFault(a *activeFault) bool {
	s.lock()
	defer s.mu.Unlock()
	if a.timesLeft == 0 || a.Probability > 0 && s.random.Float64() >= a.Probability {
		return false
	}
	if a.timesLeft > 0 {
		a.timesLeft--
		if a.timesLeft == 0 {
			s.faults = slices.DeleteFunc(s.faults, func(b *activeFault) bool { return b == a })
		}
	}
	return true
}

// replacesAnswer says whether the client gets the fault's answer instead of
// the server's.
func (f *Fault) replacesAnswer() bool { return f.Status != 0 || f.ErrorType != "" }

// answer is the fault's answer to a request.
func (f *Fault) answer(c *call) *response {
	var r *response
	switch {
	case f.ErrorType == "":
		r = f.proxyAnswer(c)
	case c.path[0] == "oauth" || c.path[0] == "oauth2":
		r = oauthError(http.StatusBadRequest, f.ErrorType, "Injected by a test.")
		if f.ErrorType == "server_error" {
			r.status = http.StatusInternalServerError
		}
		if f.Status != 0 {
			r.status = f.Status
		}
	default:
		e := newError(f.ErrorType, f.ErrorCode)
		if f.Status != 0 {
			e.status = f.Status
		}
		r = c.failAs(e, f.ErrorShape)
	}
	for name, values := range f.Header {
		if r.headers == nil {
			r.headers = http.Header{}
		}
		r.headers[http.CanonicalHeaderKey(name)] = slices.Clone(values)
	}
	return r
}

// proxyAnswer is the answer of something in front of the API: Status with
// Body.
func (f *Fault) proxyAnswer(c *call) *response {
	r := &response{status: f.Status, contentType: "text/html; charset=utf-8", body: []byte(f.Body)}
	switch {
	case f.Body == "":
		r.body = fmt.Appendf(nil, "<html><head><title>%d %s</title></head></html>\n", f.Status, statusText(f.Status))
	case strings.ContainsAny(f.Body[:1], "{["):
		r.contentType = "application/json; charset=utf-8"
	}
	return r.header("SC-Request-Id", c.requestID)
}
