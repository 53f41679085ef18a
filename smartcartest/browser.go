package smartcartest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
)

// ErrHosted is the error of Grant and AnswerConnect when the owner has consented
// but the flow ended on a page of Connect's own, because its URL has no
// redirect_uri: nobody is called back.
var ErrHosted = errors.New("smartcartest: Connect ended on its own page: the URL has no redirect_uri")

// Grant consents on the Connect page as the default owner, and returns the
// full redirect URL with code, state, user_id and the rest. Of authorizeURL
// only the path, base path included, and the query matter. When Connect
// answers an error page, the error holds its text. Injected faults spoil this
// request like any other.
func (s *Server) Grant(authorizeURL string) (callbackURL string, err error) {
	return s.AnswerConnect(authorizeURL, url.Values{"decision": {"grant"}})
}

// Deny is Grant for an owner who refuses.
func (s *Server) Deny(authorizeURL string) (callbackURL string, err error) {
	return s.AnswerConnect(authorizeURL, url.Values{"decision": {"deny"}})
}

// AnswerConnect posts a form to a Connect or re-authentication URL and returns
// where the browser would be sent. The fields are decision (grant or deny),
// user (the owner's account, default the empty name), vehicle (repeated; the
// cars to grant, default all), and error (a Connect error to end with; for
// vehicle_incompatible with vin, make, model and year, or with vehicle).
func (s *Server) AnswerConnect(authorizeURL string, form url.Values) (callbackURL string, err error) {
	req, err := http.NewRequestWithContext(context.Background(), http.MethodPost, authorizeURL, strings.NewReader(form.Encode()))
	if err != nil {
		return "", fmt.Errorf("smartcartest: %w", err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	res, err := s.Transport().RoundTrip(req)
	if err != nil {
		return "", err
	}
	page, err := io.ReadAll(res.Body)
	if err = errors.Join(err, res.Body.Close()); err != nil {
		return "", err
	}
	if location := res.Header.Get("Location"); location != "" {
		return location, nil
	}
	if res.StatusCode == http.StatusOK {
		if _, refused, found := strings.Cut(string(page), notConnected); found {
			name, _, _ := strings.Cut(refused, "<")
			return "", fmt.Errorf("smartcartest: Connect ended on its own page with %s", name)
		}
		return "", ErrHosted
	}
	return "", fmt.Errorf("smartcartest: Connect answered %d: %s", res.StatusCode, strings.TrimSpace(string(page)))
}

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
