package smartcartest_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/seed-498a1bc4/smartcar/smartcartest"
)

func (a *api) key(query string, form url.Values) answer {
	a.t.Helper()
	method := http.MethodGet
	if form != nil {
		method = http.MethodPost
	}
	req := a.request(method, "/_ak/smartcar.com"+query, form.Encode())
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return a.do(req)
}

func TestKeyPage(t *testing.T) {
	a := newAPI(t)
	require.Equal(t, 6, strings.Count(string(a.key("", nil).body), "<li>"), "every Tesla, and nothing else")
	require.Contains(t, string(a.key("?vin=7SAYGDEE5PA000002", nil).body), "was not granted access")
	a.login(url.Values{"decision": {"grant"}})

	one := a.key("?vin=7SAYGDEE5PA000002", nil)
	require.Equal(t, http.StatusOK, one.status)
	require.Equal(t, 1, strings.Count(string(one.body), "<li>"))
	require.Contains(t, string(one.body), "Add the key")

	back := a.key("?vin=7SAYGDEE5PA000002", url.Values{"vehicle": {smartcartest.ModelY}, "key": {"add"}})
	require.Equal(t, http.StatusSeeOther, back.status)
	require.Equal(t, "/_ak/smartcar.com?vin=7SAYGDEE5PA000002", back.header.Get("Location"))
	require.JSONEq(t, `{"isPaired":true}`, string(a.get("/v2.0/vehicles/"+smartcartest.ModelY+"/tesla/virtual_key").body))
	require.Contains(t, string(a.key("?vin=7SAYGDEE5PA000002", nil).body), "Remove the key")

	a.key("", url.Values{"vehicle": {smartcartest.ModelY}, "key": {"remove"}})
	require.JSONEq(t, `{"isPaired":false}`, string(a.get("/v2.0/vehicles/"+smartcartest.ModelY+"/tesla/virtual_key").body))
}

func TestKeyPageSaysWhatTheAppSays(t *testing.T) {
	a := newAPI(t, smartcartest.WithCars(
		smartcartest.Car{ID: "old", Make: "TESLA", Model: "Model S", Integration: smartcartest.Legacy},
		smartcartest.Car{ID: "driven", Make: "TESLA", Model: "Model Y", Integration: smartcartest.Streaming, Driver: true},
		smartcartest.Car{ID: "x", Make: "TESLA", Model: "<script>", Integration: smartcartest.Streaming},
		smartcartest.Car{ID: "bobs", Make: "TESLA", Model: "Roadster of Bob", Integration: smartcartest.Streaming, Owner: "bob"},
	))
	page := string(a.key("", nil).body)
	require.Contains(t, page, "You don&#39;t need to set up a virtual key for this vehicle")
	require.Contains(t, page, "You are not authorized to share this vehicle. Contact the owner")
	require.NotContains(t, page, "<script>")
	require.NotContains(t, page, "of Bob")
	for id, status := range map[string]int{"old": 403, "driven": 403, "x": 403, "bobs": 404, "none": 404} {
		require.Equal(t, status, a.key("", url.Values{"vehicle": {id}, "key": {"add"}}).status, id)
	}
	a.login(url.Values{"decision": {"grant"}})
	require.Equal(t, http.StatusBadRequest, a.key("", url.Values{"vehicle": {"x"}, "key": {"turn"}}).status)
	require.Equal(t, http.StatusNotFound, a.do(a.request(http.MethodGet, "/_ak/evil.example", "")).status)
	require.Equal(t, http.StatusNotFound, a.do(a.request(http.MethodGet, "/_ak/a.b.app.car", "")).status)
	require.Equal(t, http.StatusOK, a.do(a.request(http.MethodGet, "/_ak/a.app.car", "")).status)
	require.Equal(t, http.StatusNotFound, a.do(a.request(http.MethodGet, "/_ak", "")).status)
	require.Equal(t, http.StatusMethodNotAllowed, a.do(a.request(http.MethodDelete, "/_ak/smartcar.com", "")).status)
}
