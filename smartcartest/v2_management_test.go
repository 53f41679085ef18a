package smartcartest_test

import (
	"net/http"
	"net/url"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/seed-498a1bc4/smartcar/smartcartest"
)

type connections struct {
	Connections []struct{ VehicleID, UserID, ConnectedAt, Mode string }
	Paging      struct {
		Cursor *string
		Count  int
	}
}

// manage is a request with the management token.
func (a *api) manage(method, path, user, password string) answer {
	a.t.Helper()
	req := a.request(method, path, "")
	req.SetBasicAuth(user, password)
	return a.do(req)
}

func TestManagement(t *testing.T) {
	a := connected(t)
	path := "/v2.0/management/connections"
	amt := a.sim.ManagementToken()
	a.manage(http.MethodGet, path, "default", "wrong").fails(401, "AUTHENTICATION", "")
	a.manage(http.MethodGet, path, "other", amt).fails(401, "AUTHENTICATION", "")
	seen := map[string]bool{}
	q := url.Values{"limit": {"3"}, "mode": {"live"}}
	for pages := 1; ; pages++ {
		var c connections
		a.manage(http.MethodGet, path+"?"+q.Encode(), "default", amt).ok(&c)
		require.Len(t, c.Connections, c.Paging.Count)
		for _, n := range c.Connections {
			require.False(t, seen[n.VehicleID])
			seen[n.VehicleID] = true
			require.Equal(t, a.sim.UserID(), n.UserID)
			require.NotEmpty(t, n.ConnectedAt)
		}
		if c.Paging.Cursor == nil {
			require.Equal(t, 3, pages)
			break
		}
		q.Set("cursor", *c.Paging.Cursor)
	}
	require.Len(t, seen, 7)
	a.manage(http.MethodGet, path+"?cursor=broken", "default", amt).fails(400, "VALIDATION", "")
	a.manage(http.MethodGet, path+"?limit=101", "default", amt).fails(400, "VALIDATION", "")
	var none, gone connections
	a.manage(http.MethodGet, path+"?mode=simulated", "default", amt).ok(&none)
	require.Empty(t, none.Connections)

	a.manage(http.MethodDelete, path, "default", amt).fails(400, "VALIDATION", "")
	a.manage(http.MethodDelete, path+"?vehicle_id="+modelY+"&user_id="+a.sim.UserID(), "default", amt).ok(&gone)
	require.Len(t, gone.Connections, 1)
	a.get(car(modelY, "")).fails(401, "AUTHENTICATION", "")
	a.manage(http.MethodDelete, path+"?user_id="+a.sim.UserID(), "default", amt).ok(&gone)
	require.Len(t, gone.Connections, 6)
	a.get(car(smartcartest.Model3, "")).fails(401, "AUTHENTICATION", "")
	a.get("/v2.0/user").ok(nil)
}
