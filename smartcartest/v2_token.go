package smartcartest

import (
	"crypto/subtle"
	"encoding/json"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"time"
)

const (
	codeLife    = 10 * time.Minute
	accessLife  = 2 * time.Hour
	refreshLife = 60 * 24 * time.Hour
	appLife     = time.Hour
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

func oauthError(status int, code, description string) *response {
	return jsonResponse(status, map[string]string{"error": code, "error_description": description})
}

// token is POST /oauth/token.
func (s *Server) token(c *call) *response {
	s.counts.token++
	if c.r.Method != http.MethodPost {
		return oauthError(http.StatusMethodNotAllowed, "invalid_request", "The token endpoint takes POST only.").header("Allow", http.MethodPost)
	}
	if !c.basic(clientID, clientSecret) {
		return oauthError(http.StatusUnauthorized, "invalid_client", "Client authentication failed.").header("WWW-Authenticate", `Basic realm="smartcar"`)
	}
	form, ok := c.form()
	if !ok {
		return oauthError(http.StatusBadRequest, "invalid_request", "The body must be application/x-www-form-urlencoded.")
	}
	switch form.Get("grant_type") {
	case "authorization_code":
		return s.exchange(c, form)
	case "refresh_token":
		return s.renew(c, form.Get("refresh_token"))
	case "":
		return oauthError(http.StatusBadRequest, "invalid_request", "Missing parameter: grant_type.")
	default:
		return oauthError(http.StatusBadRequest, "unsupported_grant_type", "Unsupported grant_type.")
	}
}

func (s *Server) exchange(c *call, form url.Values) *response {
	value := form.Get("code")
	if !isUUID(value) {
		return oauthError(http.StatusBadRequest, "invalid_request", "Invalid code: "+value+".")
	}
	code := s.codes[value]
	switch {
	case code == nil:
		return oauthError(http.StatusBadRequest, "invalid_grant", "Invalid or expired authorization code.")
	case code.used:
		s.counts.codeReuse++
		return oauthError(http.StatusBadRequest, "invalid_grant", "The authorization code has been used already.")
	case c.now.After(code.expires):
		return oauthError(http.StatusBadRequest, "invalid_grant", "Invalid or expired authorization code.")
	case code.redirectURI != form.Get("redirect_uri") && (code.redirectURI != "" || form.Get("redirect_uri") != redirectURL):
		return oauthError(http.StatusBadRequest, "invalid_grant", "The redirect_uri does not match the one of the authorization request.")
	}
	code.used = true
	return s.issue(code.grant, c.now)
}

// renew rotates a refresh token. A used one is honored for the grace time
// after its first use; then only the newest token lives on: whatever had been
// issued after the used one is gone.
func (s *Server) renew(c *call, value string) *response {
	t := s.refresh[value]
	if t == nil || c.now.After(t.expires) || t.used && c.now.Sub(t.usedAt) > s.cfg.grace {
		return oauthError(http.StatusBadRequest, "invalid_grant", "Invalid or expired refresh token.")
	}
	if t.used {
		s.forget(t.grant, func(other *refreshToken) bool { return other.seq > t.seq })
	} else {
		t.used, t.usedAt = true, c.now
	}
	return s.issue(t.grant, c.now)
}

// issue makes a new pair. Access tokens issued before live on until they
// expire; what no request could use any more is dropped.
func (s *Server) issue(g *grant, now time.Time) *response {
	s.forget(g, func(t *refreshToken) bool {
		return now.After(t.expires) || t.used && now.Sub(t.usedAt) > s.cfg.grace
	})
	g.access = slices.DeleteFunc(g.access, func(value string) bool {
		a := s.access[value]
		if a != nil && now.After(a.expires) {
			delete(s.access, value)
			a = nil
		}
		return a == nil
	})
	g.issued++
	t := &refreshToken{value: randomUUID(), grant: g, seq: g.issued, expires: now.Add(refreshLife)}
	s.refresh[t.value] = t
	g.refresh = append(g.refresh, t)
	access := randomUUID()
	s.access[access] = &accessToken{grant: g, expires: now.Add(accessLife)}
	g.access = append(g.access, access)
	return jsonResponse(http.StatusOK, map[string]any{
		"access_token": access, "token_type": "Bearer", "expires_in": int(accessLife.Seconds()), "refresh_token": t.value,
	}).header("Cache-Control", "no-store")
}

func (s *Server) forget(g *grant, gone func(*refreshToken) bool) {
	g.refresh = slices.DeleteFunc(g.refresh, func(t *refreshToken) bool {
		if !gone(t) {
			return false
		}
		delete(s.refresh, t.value)
		return true
	})
}

// appToken is POST /oauth2/token: client credentials in the body, as a form or
// as JSON. HTTP Basic is not documented there and only accepted by option.
func (s *Server) appToken(c *call) *response {
	s.counts.appToken++
	if c.r.Method != http.MethodPost {
		return oauthError(http.StatusMethodNotAllowed, "invalid_request", "The token endpoint takes POST only.").header("Allow", http.MethodPost)
	}
	form, ok := c.form()
	if !ok {
		var body map[string]string
		if json.Unmarshal(c.body, &body) != nil {
			return oauthError(http.StatusBadRequest, "invalid_request", "The body must be a form or JSON.")
		}
		form = url.Values{}
		for name, value := range body {
			form.Set(name, value)
		}
	}
	if user, password, ok := c.r.BasicAuth(); ok {
		if !s.cfg.iamBasic {
			return oauthError(http.StatusUnauthorized, "invalid_client", "Client authentication failed: the credentials belong in the body.")
		}
		form.Set("client_id", user)
		form.Set("client_secret", password)
	}
	switch {
	case form.Get("grant_type") == "":
		return oauthError(http.StatusBadRequest, "invalid_request", "Missing parameter: grant_type.")
	case form.Get("grant_type") != "client_credentials":
		return oauthError(http.StatusBadRequest, "unsupported_grant_type", "Unsupported grant_type.")
	case !same(form.Get("client_id"), apiClientID) || !same(form.Get("client_secret"), apiClientSecret):
		return oauthError(http.StatusUnauthorized, "invalid_client", "Client authentication failed.")
	}
	for value, end := range s.apps {
		if c.now.After(end) {
			delete(s.apps, value)
		}
	}
	value := randomUUID()
	s.apps[value] = c.now.Add(appLife)
	return jsonResponse(http.StatusOK, map[string]any{
		"access_token": value, "token_type": "Bearer", "expires_in": int(appLife.Seconds()),
	}).header("Cache-Control", "no-store")
}

// form is the body as a form; false when its type says otherwise.
func (c *call) form() (url.Values, bool) {
	kind, _, err := mime.ParseMediaType(c.r.Header.Get("Content-Type"))
	if err != nil || kind != "application/x-www-form-urlencoded" {
		return nil, false
	}
	form, err := url.ParseQuery(string(c.body))
	return form, err == nil
}

func (c *call) basic(user, password string) bool {
	u, p, ok := c.r.BasicAuth()
	return ok && same(u, user) && same(p, password)
}

func same(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }

// ExpireAccessTokens ends all access tokens, v3 application tokens included:
// the next request with one is 401 AUTHENTICATION. Refresh tokens stay good.
func (s *Server) ExpireAccessTokens() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.access)
	clear(s.apps)
}

// ExpireAppTokens ends the v3 application tokens: the next request with one is
// 401 AUTHENTICATION:UNAUTHORIZED. The tokens of v2.0 stay good.
func (s *Server) ExpireAppTokens() {
	s.mu.Lock()
	defer s.mu.Unlock()
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
