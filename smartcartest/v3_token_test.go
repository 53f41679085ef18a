package smartcartest_test

import (
	"net/http"
	"net/url"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/seed-498a1bc4/smartcar/smartcartest"
)

func TestAppToken(t *testing.T) {
	a := newAPI(t)
	creds := `"client_id":"` + a.sim.APIClientID() + `","client_secret":"` + a.sim.APIClientSecret() + `"`
	var p pair
	a.appToken("application/json", `{"grant_type":"client_credentials",`+creds+`}`).ok(&p)
	require.Equal(t, 3600, p.Expires)
	require.Equal(t, "Bearer", p.Type)
	require.Empty(t, p.Refresh)
	a.appToken("application/json", `{`+creds+`}`).oauth(400, "invalid_request")
	a.appToken(formType, "grant_type=client_credentials&client_id=x&client_secret=y").oauth(401, "invalid_client")
	a.appToken(formType, "grant_type=password").oauth(400, "unsupported_grant_type")
	a.appToken("application/json", "[").oauth(400, "invalid_request")
	require.Equal(t, 5, a.sim.AppTokenRequests())
	require.Zero(t, a.sim.TokenRequests())
}

func TestAppTokenBasicAuth(t *testing.T) {
	for accepted, opts := range map[bool][]smartcartest.Option{false: nil, true: {smartcartest.WithIAMBasicAuth()}} {
		a := newAPI(t, opts...)
		req := a.request(http.MethodPost, "/oauth2/token", "grant_type=client_credentials")
		req.Header.Set("Content-Type", formType)
		req.SetBasicAuth(a.sim.APIClientID(), a.sim.APIClientSecret())
		res := a.do(req)
		if accepted {
			res.ok(nil)
		} else {
			res.oauth(401, "invalid_client")
		}
	}
}

func TestExpireAppTokens(t *testing.T) {
	a := v3(t)
	v2 := &api{t: t, sim: a.sim, http: a.http, origin: a.origin}
	v2.login(url.Values{"decision": {"grant"}})
	a.get("/v3/connections").ok(nil)
	a.sim.ExpireAppTokens()
	a.get("/v3/connections").fails3(401, "AUTHENTICATION", "UNAUTHORIZED")
	v2.get("/v2.0/user").ok(nil)
	a.token = v2.token
	a.get("/v3/connections").fails3(401, "AUTHENTICATION", "UNAUTHORIZED")
}
