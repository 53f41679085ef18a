package smartcartest_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestCodeWorksOnce(t *testing.T) {
	a := newAPI(t, stopped())
	exchange := url.Values{"grant_type": {"authorization_code"}, "redirect_uri": {a.sim.RedirectURL()}}
	code := func() {
		exchange.Set("code", a.answer(a.authorize(url.Values{"redirect_uri": {a.sim.RedirectURL()}}), url.Values{"decision": {"grant"}}).Get("code"))
	}
	code()
	var p pair
	a.grant(exchange).ok(&p)
	require.Equal(t, "Bearer", p.Type)
	require.Equal(t, 7200, p.Expires)
	require.NotEmpty(t, p.Access)
	require.NotEmpty(t, p.Refresh)
	require.Zero(t, a.sim.CodeReuse())
	a.grant(exchange).oauth(400, "invalid_grant")
	require.Equal(t, 1, a.sim.CodeReuse())

	code()
	a.sim.Advance(10*time.Minute + time.Second)
	a.grant(exchange).oauth(400, "invalid_grant")
	code()
	exchange.Set("redirect_uri", "http://localhost:1/other")
	a.grant(exchange).oauth(400, "invalid_grant")
	exchange.Set("code", "bad code here")
	a.grant(exchange).oauth(400, "invalid_request")
	require.Contains(t, string(a.grant(url.Values{"grant_type": {"refresh_token"}, "refresh_token": {"bad token"}}).body), `"error":"invalid_request","error_description":"Invalid refresh_token: bad token."`)
	a.renew("58b128ba-8e44-41ee-b9d1-0242ac120002").oauth(400, "invalid_grant")
	a.grant(url.Values{}).oauth(400, "invalid_request")
	a.grant(url.Values{"grant_type": {"password"}}).oauth(400, "unsupported_grant_type")
	require.Equal(t, 1, a.sim.CodeReuse())
	require.Equal(t, 9, a.sim.TokenRequests())
}

func TestTokenNeedsBasic(t *testing.T) {
	a := newAPI(t)
	form := url.Values{"grant_type": {"refresh_token"}, "client_id": {a.sim.ClientID()}, "client_secret": {a.sim.ClientSecret()}}
	for _, secret := range []string{"", "wrong"} {
		req, err := http.NewRequest(http.MethodPost, "https://auth.smartcar.com/oauth/token", strings.NewReader(form.Encode()))
		require.NoError(t, err)
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		if secret != "" {
			req.SetBasicAuth(a.sim.ClientID(), secret)
		}
		a.do(req).oauth(401, "invalid_client")
	}
}
