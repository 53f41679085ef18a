package smartcartest

import (
	"net/http"
	"net/url"
)

// userToken answers POST /oauth/token, the token endpoint of v2.0.
func (s *Server) userToken(c *call) *response {
	s.counts.token++
	if c.request.Method != http.MethodPost {
		return oauthError(http.StatusMethodNotAllowed, "invalid_request", "The token endpoint takes POST only.").header("Allow", http.MethodPost)
	}
	if !c.hasBasicAuth(clientID, clientSecret) {
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
		token := form.Get("refresh_token")
		if !isUUID(token) {
			return oauthError(http.StatusBadRequest, "invalid_request", "Invalid refresh_token: "+token+".")
		}
		pair, ok := s.tokens.renew(token, c.now)
		if !ok {
			return oauthError(http.StatusBadRequest, "invalid_grant", "Invalid or expired refresh token.")
		}
		return answerPair(pair)
	case "":
		return oauthError(http.StatusBadRequest, "invalid_request", "Missing parameter: grant_type.")
	default:
		return oauthError(http.StatusBadRequest, "unsupported_grant_type", "Unsupported grant_type.")
	}
}

// exchange takes an authorization code and answers a pair of tokens. A code
// works once.
func (s *Server) exchange(c *call, form url.Values) *response {
	value := form.Get("code")
	if !isUUID(value) {
		return oauthError(http.StatusBadRequest, "invalid_request", "Invalid code: "+value+".")
	}
	code := s.tokens.codes[value]
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
	return answerPair(s.tokens.issue(code.grant, c.now))
}

// answerPair answers a pair of tokens.
func answerPair(p tokenPair) *response {
	return jsonResponse(http.StatusOK, map[string]any{
		"access_token": p.access, "token_type": "Bearer", "expires_in": int(accessLife.Seconds()), "refresh_token": p.refresh,
	}).header("Cache-Control", "no-store")
}
