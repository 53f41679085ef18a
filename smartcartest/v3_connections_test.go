package smartcartest_test

import (
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seed-498a1bc4/smartcar/smartcartest"
)

type connectionList struct {
	Data []struct {
		ID         string
		Attributes struct {
			User    struct{ ID, ExternalID string }
			Vehicle struct{ Mode string }
		}
		Relationships struct {
			Vehicle struct{ Data struct{ ID string } }
		}
		Links struct{ Self string }
	}
	Meta struct{ TotalCount int }
}

func (a *api) connections(q url.Values) connectionList {
	a.t.Helper()
	var l connectionList
	a.get("/v3/connections?" + q.Encode()).ok(&l)
	return l
}

func TestV3Connection(t *testing.T) {
	a := v3(t)
	a.user = ""
	l := a.connections(url.Values{"filter[vehicleId]": {smartcartest.MachE}})
	require.Len(t, l.Data, 1)
	id := l.Data[0].ID
	require.NotEqual(t, smartcartest.MachE, id)
	require.Equal(t, "https://vehicle.api.smartcar.com/v3/connections/"+id, l.Data[0].Links.Self)
	var one struct {
		Data struct{ ID, Type string }
	}
	a.get("/v3/connections/" + id).ok(&one)
	require.Equal(t, id, one.Data.ID)
	require.Equal(t, "connection", one.Data.Type)
	a.get("/v3/connections/unknown").fails3(404, "RESOURCE_NOT_FOUND", "CONNECTION_NOT_FOUND")
	a.get("/v3/connections?page[size]=101").fails3(400, "VALIDATION", "")
	a.get("/v3/connections?filter[vehicle.mode]=dead").fails3(400, "VALIDATION", "")

	gone := a.call(http.MethodDelete, "/v3/connections/"+id, "")
	require.Equal(t, http.StatusNoContent, gone.status)
	require.Empty(t, gone.body)
	a.call(http.MethodDelete, "/v3/connections/"+id, "").fails3(404, "RESOURCE_NOT_FOUND", "CONNECTION_NOT_FOUND")
	a.get(v3car(smartcartest.MachE, "")).fails3(404, "RESOURCE_NOT_FOUND", "VEHICLE_NOT_FOUND")
	require.Equal(t, 6, a.connections(nil).Meta.TotalCount)
}

func TestV3DeleteUser(t *testing.T) {
	a := v3(t)
	v2 := &api{t: t, sim: a.sim, http: a.http, origin: a.origin}
	refresh := v2.login(url.Values{"decision": {"grant"}})
	require.Equal(t, http.StatusNoContent, a.call(http.MethodDelete, "/v3/users/"+a.sim.UserID(), "").status)
	require.Zero(t, a.connections(nil).Meta.TotalCount)
	a.call(http.MethodDelete, "/v3/users/"+a.sim.UserID(), "").fails3(404, "RESOURCE_NOT_FOUND", "USER_NOT_FOUND")
	v2.get("/v2.0/user").fails(401, "AUTHENTICATION", "")
	v2.renew(refresh).oauth(400, "invalid_grant")
}

func TestV3SimulatedConnections(t *testing.T) {
	a := v3(t)
	a.answer(a.authorize(url.Values{"mode": {"simulated"}}), url.Values{"decision": {"grant"}, "vehicle": {smartcartest.MachE}})
	require.Equal(t, 6, a.connections(nil).Meta.TotalCount)
	l := a.connections(url.Values{"filter[vehicle.mode]": {"simulated"}})
	require.Len(t, l.Data, 1)
	require.Equal(t, "simulated", l.Data[0].Attributes.Vehicle.Mode)
}

func TestV3ConnectionLag(t *testing.T) {
	a := v3(t, smartcartest.WithConnectionLag(5*time.Second))
	byUser := url.Values{"filter[userId]": {a.sim.UserID()}}
	require.Zero(t, a.connections(byUser).Meta.TotalCount, "new ones are not there yet")
	a.get(v3car(smartcartest.MachE, "")).ok(nil)
	a.sim.Advance(5 * time.Second)
	l := a.connections(byUser)
	require.Equal(t, 7, l.Meta.TotalCount)

	external := func() (seen []string) {
		for _, d := range a.connections(byUser).Data {
			seen = append(seen, d.Attributes.User.ExternalID)
		}
		return seen
	}
	a.answer(a.authorize(url.Values{"external_id": {"acct_42"}}), url.Values{"decision": {"grant"}, "vehicle": {smartcartest.MachE}})
	require.NotContains(t, external(), "acct_42", "changes lag too")
	a.sim.Advance(5 * time.Second)
	require.Equal(t, []string{"acct_42", "acct_42", "acct_42", "acct_42", "acct_42", "acct_42", "acct_42"}, external())
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
