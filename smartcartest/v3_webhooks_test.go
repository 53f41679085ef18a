package smartcartest_test

import (
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seed-498a1bc4/smartcar/smartcartest"
)

type webhookList struct {
	Data []struct {
		ID, Type   string
		Attributes struct {
			Name, CallbackURI        string
			IsEnabled, AutoSubscribe bool
			ErrorCallbackURI         *string
			Triggers, Data           []struct{ Code, Name, Group string }
		}
	}
	Meta struct{ PageSize, TotalCount int }
}

func TestV3Webhooks(t *testing.T) {
	a := v3(t)
	r := &receiver{key: a.sim.ManagementToken()}
	for _, w := range []smartcartest.Webhook{
		{ID: "a", Name: "Charging", CallbackURL: "https://example.com/charging", AutoSubscribe: true, Handler: r, Triggers: []string{"charge-ischarging"}, Data: []string{"odometer-traveleddistance"}},
		{ID: "b", Name: "Doors", CallbackURL: "https://example.com/Doors", ErrorCallbackURL: "https://example.com/e", Handler: r},
	} {
		_, err := a.sim.AddWebhook(t.Context(), w)
		require.NoError(t, err)
	}
	require.NoError(t, a.sim.EnableWebhook("b", false))
	list := func(q url.Values) (l webhookList) {
		t.Helper()
		a.get("/v3/webhooks?" + q.Encode()).ok(&l)
		return l
	}
	all := list(nil)
	require.Equal(t, 50, all.Meta.PageSize)
	require.Len(t, all.Data, 2)
	require.False(t, all.Data[0].Attributes.IsEnabled)
	require.Equal(t, "https://example.com/e", *all.Data[0].Attributes.ErrorCallbackURI)
	require.Equal(t, "webhook", all.Data[1].Type)
	require.Equal(t, "charge-ischarging", all.Data[1].Attributes.Triggers[0].Code)
	require.Equal(t, "TraveledDistance", all.Data[1].Attributes.Data[0].Name)
	for filter, id := range map[string]string{"filter[name]=chARG": "a", "filter[callbackUri]=doors": "b", "filter[isEnabled]=true": "a", "filter[autoSubscribe]=false": "b"} {
		q, err := url.ParseQuery(filter)
		require.NoError(t, err)
		l := list(q)
		require.Len(t, l.Data, 1, filter)
		require.Equal(t, id, l.Data[0].ID, filter)
	}
	require.Len(t, list(url.Values{"page[size]": {"1"}, "page[number]": {"2"}}).Data, 1)
	a.get("/v3/webhooks?filter[isEnabled]=yes").fails3(400, "VALIDATION", "")
	var one struct{ Data struct{ ID string } }
	a.get("/v3/webhooks/a").ok(&one)
	require.Equal(t, "a", one.Data.ID)
	a.get("/v3/webhooks/c").fails3(404, "RESOURCE_NOT_FOUND", "WEBHOOK_NOT_FOUND")
	a.post("/v3/webhooks", "{}").fails3(404, "RESOURCE_NOT_FOUND", "INVALID_PATH")
	a.token = a.sim.ManagementToken()
	a.get("/v3/webhooks").fails3(401, "AUTHENTICATION", "UNAUTHORIZED")
}

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

func TestV2SubscriptionsAreDelivered(t *testing.T) {
	a, r, id := hooked(t, smartcartest.Webhook{})
	v2 := &api{t: t, sim: a.sim, http: a.http, origin: a.origin}
	v2.login(url.Values{"decision": {"grant"}})
	v2.post(car(smartcartest.MachE, "/webhooks/"+id), "{}").ok(nil)
	require.Len(t, a.deliver(), 1)
	require.Len(t, r.take(t), 1)
	v2.token = a.sim.ManagementToken()
	v2.call(http.MethodDelete, car(smartcartest.MachE, "/webhooks/"+id), "").ok(nil)
	a.sim.Advance(2 * time.Hour)
	require.Empty(t, a.deliver())
}
