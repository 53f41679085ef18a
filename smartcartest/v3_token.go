package smartcartest

import (
	"encoding/json"
	"net/http"
	"net/url"
)

// appToken answers POST /oauth2/token, the token endpoint of v3. It takes
// client credentials in the body, as a form or as JSON. HTTP Basic is not
// documented and needs WithIAMBasicAuth.
func (s *Server) appToken(c *call) *response {
	s.counts.appToken++
	if c.request.Method != http.MethodPost {
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
	if user, password, ok := c.request.BasicAuth(); ok {
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
	case !equalSecrets(form.Get("client_id"), apiClientID) || !equalSecrets(form.Get("client_secret"), apiClientSecret):
		return oauthError(http.StatusUnauthorized, "invalid_client", "Client authentication failed.")
	}
	return jsonResponse(http.StatusOK, map[string]any{
		"access_token": s.tokens.newApp(c.now), "token_type": "Bearer", "expires_in": int(appLife.Seconds()),
	}).header("Cache-Control", "no-store")
}
