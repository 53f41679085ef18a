package smartcartest_test

import (
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seed-498a1bc4/smartcar/smartcartest"
)

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
