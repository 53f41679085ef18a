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

func TestV3Connections(t *testing.T) {
	a := v3(t)
	a.user = ""
	a.answer(a.authorize(url.Values{"external_id": {"acct_42"}}), url.Values{"decision": {"grant"}, "vehicle": {smartcartest.MachE}})
	type list struct {
		Data []struct {
			Type       string
			Attributes struct {
				Permissions []string
				User        struct{ ID, ExternalID string }
				Vehicle     struct{ Make string }
			}
			Relationships struct {
				Vehicle struct{ Data struct{ ID string } }
			}
		}
		Meta  struct{ PageNumber, PageSize, TotalCount int }
		Links struct{ Next, Prev *string }
	}
	next := "/connections?page[size]=3&filter[userId]=" + a.sim.UserID()
	seen := []string{}
	for range 3 {
		var l list
		a.get("/v3" + next).ok(&l)
		require.Equal(t, 7, l.Meta.TotalCount)
		for _, d := range l.Data {
			seen = append(seen, d.Relationships.Vehicle.Data.ID)
			require.Equal(t, "acct_42", d.Attributes.User.ExternalID)
		}
		if l.Links.Next != nil {
			next = strings.TrimPrefix(*l.Links.Next, "https://vehicle.api.smartcar.com/v3")
		}
	}
	require.Len(t, seen, 7)
	require.Equal(t, smartcartest.MachE, seen[0], "the newest first")
	var none list
	a.get("/v3/connections?filter[user.externalId]=other").ok(&none)
	require.Empty(t, none.Data)
	a.get("/v3/connections?filter[vehicle.mode]=simulated").ok(&none)
	require.Empty(t, none.Data)
	a.answer(a.authorize(url.Values{"external_id": {"null"}}), url.Values{"decision": {"grant"}})
	a.get("/v3/connections?filter[user.externalId]=acct_42").ok(&none)
	require.Empty(t, none.Data)
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
