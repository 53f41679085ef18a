package smartcartest_test

import (
	"net/url"
	"testing"

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
