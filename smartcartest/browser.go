package smartcartest

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"time"
)

// Walk is an owner's browser going through Connect and consenting: it asks
// start, follows it to Connect, grants there, and comes back to callback with
// the cookies that start has set. It returns callback's answer.
//
// Start is the application's handler that redirects to Connect, callback the
// one behind its redirect URL. Without a network both are called directly.
func (s *Server) Walk(start, callback http.Handler) (*httptest.ResponseRecorder, error) {
	return s.WalkAs(start, callback, url.Values{"decision": {"grant"}})
}

// WalkAs is Walk with the owner's choices, as the fields of Connect's form:
// decision=deny, error=no_vehicles, user=, vehicle=; see [Server.AnswerConnect].
func (s *Server) WalkAs(start, callback http.Handler, form url.Values) (*httptest.ResponseRecorder, error) {
	started := httptest.NewRecorder()
	start.ServeHTTP(started, httptest.NewRequest(http.MethodGet, "/", nil))
	back, err := s.AnswerConnect(started.Header().Get("Location"), form)
	if err != nil {
		return nil, err
	}
	returned := httptest.NewRequest(http.MethodGet, back, nil)
	for _, cookie := range started.Result().Cookies() {
		returned.AddCookie(cookie)
	}
	done := httptest.NewRecorder()
	callback.ServeHTTP(done, returned)
	return done, nil
}

// Clock is the simulated time as a clock for the client under test: what
// [Server.Advance] moves, it sees.
type Clock struct{ server *Server }

// Clock returns the simulated clock. It is safe for concurrent use.
func (s *Server) Clock() Clock { return Clock{s} }

// Now is the simulated time.
func (c Clock) Now() time.Time { return c.server.Now() }

// Sleep moves the simulated clock by d and returns at once, so that waits cost
// no time. It returns ctx's error if that has ended.
func (c Clock) Sleep(ctx context.Context, d time.Duration) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	c.server.Advance(d)
	return nil
}
