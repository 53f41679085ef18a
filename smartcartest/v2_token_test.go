package smartcartest_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seed-498a1bc4/smartcar/smartcartest"
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
	a.grant(url.Values{}).oauth(400, "invalid_request")
	a.grant(url.Values{"grant_type": {"password"}}).oauth(400, "unsupported_grant_type")
	require.Equal(t, 1, a.sim.CodeReuse())
	require.Equal(t, 7, a.sim.TokenRequests())
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

func TestRefreshRotatesWithGrace(t *testing.T) {
	a := newAPI(t, stopped())
	first := a.login(url.Values{"decision": {"grant"}})
	old := a.token
	var second, third pair
	a.renew(first).ok(&second)
	require.NotEqual(t, first, second.Refresh)
	a.sim.Advance(59 * time.Second)
	a.renew(first).ok(&third) // a lost answer: the same token again
	a.renew(second.Refresh).oauth(400, "invalid_grant")
	for _, token := range []string{old, second.Access, third.Access} {
		a.token = token
		a.get("/v2.0/user").ok(nil)
	}
	a.sim.Advance(2 * time.Second)
	a.renew(first).oauth(400, "invalid_grant") // the grace counts from the first use
	a.renew(third.Refresh).ok(nil)
}

func TestTokenLifetimes(t *testing.T) {
	a := newAPI(t, stopped(), smartcartest.WithRefreshGrace(0))
	refresh := a.login(url.Values{"decision": {"grant"}})
	a.sim.Advance(2 * time.Hour)
	a.get("/v2.0/user").ok(nil)
	a.sim.Advance(time.Second)
	f := a.get("/v2.0/user").fails(401, "AUTHENTICATION", "")
	require.Nil(t, f.Resolution.Type)
	a.sim.Advance(59 * 24 * time.Hour)
	var p pair
	a.renew(refresh).ok(&p)
	a.sim.Advance(time.Millisecond)
	a.renew(refresh).oauth(400, "invalid_grant")
	a.sim.Advance(60*24*time.Hour + time.Second)
	a.renew(p.Refresh).oauth(400, "invalid_grant")
}

func TestRevoking(t *testing.T) {
	a := newAPI(t)
	refresh := a.login(url.Values{"decision": {"grant"}})
	a.sim.ExpireAccessTokens()
	a.get("/v2.0/user").fails(401, "AUTHENTICATION", "")
	var p pair
	a.renew(refresh).ok(&p)
	a.token = p.Access
	a.sim.RevokeRefreshTokens()
	a.renew(p.Refresh).oauth(400, "invalid_grant")
	a.get("/v2.0/user").ok(nil)
	a.sim.Disconnect(smartcartest.Model3)
	a.get(car(smartcartest.Model3, "")).fails(401, "AUTHENTICATION", "")
	a.get(car(smartcartest.ModelY, "")).ok(nil)
	a.sim.RevokeGrants()
	a.get("/v2.0/user").fails(401, "AUTHENTICATION", "")
}

func TestNoSecretInTheLog(t *testing.T) {
	a := connected(t)
	a.get("/v2.0/user?access_token=hidden&flags=country:DE").ok(nil)
	for _, r := range a.sim.Requests() {
		require.NotContains(t, r.Query, "hidden")
	}
	last := a.sim.Requests()[len(a.sim.Requests())-1]
	require.Equal(t, "/v2.0/user", last.Path)
	require.Equal(t, 200, last.Status)
	require.Contains(t, last.Query, "country")
}
