package smartcartest

import (
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
