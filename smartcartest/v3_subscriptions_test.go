package smartcartest_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seed-498a1bc4/smartcar/smartcartest"
)

func TestV3Subscriptions(t *testing.T) {
	a, r, id := hooked(t, smartcartest.Webhook{}, smartcartest.WithSubscriptionLag(2*time.Second))
	body := func(hook, user, car string) string {
		return `{"data":{"attributes":{"webhookId":"` + hook + `","userId":"` + user + `","vehicleId":"` + car + `"}}}`
	}
	good := body(id, a.sim.UserID(), smartcartest.MachE)
	res := a.post("/v3/subscriptions", good)
	require.Equal(t, http.StatusAccepted, res.status)
	require.JSONEq(t, `{"meta":{"message":"subscription creation in progress"}}`, string(res.body))
	require.Equal(t, http.StatusConflict, a.post("/v3/subscriptions", good).status)
	a.post("/v3/subscriptions", body("unknown", a.sim.UserID(), modelY)).fails3(404, "RESOURCE_NOT_FOUND", "WEBHOOK_NOT_FOUND")
	a.post("/v3/subscriptions", body(id, "unknown", modelY)).fails3(404, "RESOURCE_NOT_FOUND", "VEHICLE_NOT_FOUND")
	a.post("/v3/subscriptions", body(id, "", modelY)).fails3(400, "VALIDATION", "MISSING_PARAMETER")
	a.post("/v3/subscriptions", "").fails3(400, "VALIDATION", "MISSING_PARAMETER")
	a.post("/v3/subscriptions", "[").fails3(400, "VALIDATION", "INVALID_INPUT_FORMAT")

	type list struct {
		Data []struct {
			ID, Type      string
			Attributes    struct{ Vehicle struct{ Make string } }
			Relationships struct {
				Webhook, User, Vehicle struct{ Data struct{ ID string } }
			}
		}
		Meta struct{ PageSize, TotalCount int }
	}
	var l list
	a.get("/v3/subscriptions").ok(&l)
	require.Empty(t, l.Data, "it is made in the background")
	require.Empty(t, a.deliver())
	a.sim.Advance(2 * time.Second)
	require.Len(t, a.deliver(), 1)
	r.take(t)
	a.get("/v3/subscriptions").ok(&l)
	require.Len(t, l.Data, 1)
	require.Equal(t, 25, l.Meta.PageSize)
	require.Equal(t, "FORD", l.Data[0].Attributes.Vehicle.Make)
	require.Equal(t, smartcartest.MachE, l.Data[0].Relationships.Vehicle.Data.ID)
	require.Equal(t, a.sim.UserID(), l.Data[0].Relationships.User.Data.ID)
	require.Equal(t, id, l.Data[0].Relationships.Webhook.Data.ID)
	for _, filter := range []string{"userId", "webhookId", "vehicleId"} {
		var none list
		a.get("/v3/subscriptions?filter[" + filter + "]=other").ok(&none)
		require.Empty(t, none.Data)
	}
	var none list
	a.get("/v3/subscriptions?filter[vehicle.mode]=simulated").ok(&none)
	require.Empty(t, none.Data)
	one := "/v3/subscriptions/" + l.Data[0].ID
	a.get(one).ok(nil)
	require.Equal(t, http.StatusNoContent, a.call(http.MethodDelete, one, "").status)
	a.get(one).fails3(404, "RESOURCE_NOT_FOUND", "SUBSCRIPTION_NOT_FOUND")
	a.call(http.MethodDelete, one, "").fails3(404, "RESOURCE_NOT_FOUND", "SUBSCRIPTION_NOT_FOUND")
	a.sim.Advance(2 * time.Hour)
	require.Empty(t, a.deliver())
}
