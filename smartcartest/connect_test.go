package smartcartest_test

import (
	"net/http"
	"net/url"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/seed-498a1bc4/smartcar/smartcartest"
)

func TestConnectPage(t *testing.T) {
	a := newAPI(t, smartcartest.WithCars(smartcartest.Car{ID: "x", Make: "TESLA", Model: `<script>alert("x")</script>`, Year: 2022}))
	page := a.do(a.request(http.MethodGet, "/oauth/authorize?response_type=code&client_id="+a.sim.ClientID()+"&scope=required:read_vin+read_battery", ""))
	require.Equal(t, http.StatusOK, page.status)
	require.Contains(t, page.header.Get("Content-Type"), "text/html")
	require.Contains(t, string(page.body), `<form method="post">`)
	require.Contains(t, string(page.body), "read_battery")
	require.Contains(t, string(page.body), "read_vin (required)")
	require.NotContains(t, string(page.body), "<script>")
}

func TestConnectGrant(t *testing.T) {
	a := newAPI(t)
	location, err := a.sim.Grant(a.authorize(url.Values{"state": {"s t"}, "external_id": {"acct_42"}, "redirect_uri": {"http://127.0.0.1:9/cb?keep=1"}}))
	require.NoError(t, err)
	u, err := url.Parse(location)
	require.NoError(t, err)
	require.Equal(t, "127.0.0.1:9", u.Host)
	q := u.Query()
	require.Len(t, q["code"], 1)
	q.Del("code")
	require.Equal(t, url.Values{
		"keep": {"1"}, "state": {"s t"}, "external_id": {"acct_42"}, "user_id": {a.sim.UserID()},
		"virtual_key_url": {"https://www.tesla.com/_ak/smartcar.com"},
	}, q)
}

func TestConnectVirtualKeyURLOnlyWhenNeeded(t *testing.T) {
	a := newAPI(t)
	for id, needs := range map[string]bool{
		smartcartest.Model3: false, smartcartest.ModelY: true, smartcartest.Cybertruck: true,
		smartcartest.ModelS2018: false, smartcartest.ModelX2020: false, smartcartest.ModelS2021: false, smartcartest.MachE: false,
	} {
		back := a.answer(a.authorize(nil), url.Values{"decision": {"grant"}, "vehicle": {id}})
		require.Equal(t, needs, back.Has("virtual_key_url"), id)
	}
	require.NoError(t, a.sim.Pair(smartcartest.ModelY))
	require.False(t, a.answer(a.authorize(nil), url.Values{"decision": {"grant"}, "vehicle": {smartcartest.ModelY}}).Has("virtual_key_url"))
}

func TestConnectErrors(t *testing.T) {
	a := newAPI(t)
	location, err := a.sim.Deny(a.authorize(url.Values{"state": {"s"}}))
	require.NoError(t, err)
	u, err := url.Parse(location)
	require.NoError(t, err)
	back := u.Query()
	require.Equal(t, url.Values{"state": {"s"}, "error": {"access_denied"}, "error_description": {"User denied access to application."}}, back)
	for _, name := range []string{"no_vehicles", "invalid_subscription", "server_error", "user_manually_returned_to_application", "anything_new"} {
		back = a.answer(a.authorize(nil), url.Values{"error": {name}})
		require.Equal(t, name, back.Get("error"))
		require.NotEmpty(t, back.Get("error_description"))
		require.False(t, back.Has("state"))
	}
	back = a.answer(a.authorize(nil), url.Values{"error": {"vehicle_incompatible"}, "vehicle": {smartcartest.MachE}})
	require.Equal(t, "3FMTK3SU0NMA00007", back.Get("vin"))
	require.Equal(t, "2022", back.Get("year"))
	require.Equal(t, "400", a.answer(a.authorize(nil), url.Values{"error": {"configuration_error"}}).Get("status_code"))
	back = a.answer(a.authorize(nil), url.Values{"decision": {"grant"}, "user": {"nobody"}})
	require.Equal(t, "no_vehicles", back.Get("error"))
}

func TestConnectNeverRedirectsToStrangers(t *testing.T) {
	a := newAPI(t, smartcartest.WithRedirectURLs("https://example.com/cb", "scapp://host"))
	for name, q := range map[string]url.Values{
		"client":   {"client_id": {"other"}},
		"redirect": {"redirect_uri": {"https://evil.example/cb"}},
		"prefix":   {"redirect_uri": {"https://example.com/cb/more"}},
		"https":    {"redirect_uri": {"http://localhost.evil.example/"}},
		"type":     {"response_type": {"token"}},
		"scope":    {"scope": {"read_everything"}},
		"mode":     {"mode": {"dead"}},
		"vin":      {"single_select_vin": {"5YJ3E1EA2NF000001"}},
	} {
		_, err := a.sim.Grant(a.authorize(q))
		require.ErrorContains(t, err, "Connect answered 400: Invalid parameter", name)
	}
	for _, uri := range []string{"https://example.com/cb", "scapp://host", "http://[::1]:1/x", "http://localhost/"} {
		require.True(t, a.answer(a.authorize(url.Values{"redirect_uri": {uri}}), url.Values{"decision": {"grant"}}).Has("code"), uri)
	}
	_, err := a.sim.AnswerConnect(a.authorize(nil), url.Values{})
	require.ErrorContains(t, err, "decision")
}

func TestConnectChoosesCars(t *testing.T) {
	a := newAPI(t)
	count := func(add, form url.Values) int {
		t.Helper()
		var pair pair
		back := a.answer(a.authorize(add), form)
		a.grant(url.Values{"grant_type": {"authorization_code"}, "code": {back.Get("code")}}).ok(&pair)
		a.token = pair.Access
		var list struct{ Paging struct{ Count int } }
		a.get("/v2.0/vehicles").ok(&list)
		return list.Paging.Count
	}
	grant := url.Values{"decision": {"grant"}}
	require.Equal(t, 7, count(nil, grant))
	require.Equal(t, 6, count(url.Values{"make": {"TESLA"}}, grant))
	require.Equal(t, 1, count(url.Values{"single_select": {"true"}}, grant))
	require.Equal(t, 1, count(url.Values{"single_select": {"true"}, "single_select_vin": {"3FMTK3SU0NMA00007"}}, grant))
	require.NoError(t, a.sim.SetPermissions(smartcartest.MachE, "read_vin"))
	require.Equal(t, 7, count(url.Values{"scope": {"required:read_odometer read_vin"}}, grant), "a required permission keeps no car out")
	var perms struct{ Permissions []string }
	a.get(car(smartcartest.MachE, "/permissions")).ok(&perms)
	require.Equal(t, []string{"read_vin"}, perms.Permissions)
	a.get(car(smartcartest.Model3, "/permissions")).ok(&perms)
	require.ElementsMatch(t, []string{"read_vin", "read_odometer"}, perms.Permissions)
	require.Equal(t, 1, count(url.Values{"scope": {"required:read_odometer"}, "make": {"FORD"}}, grant))
	a.get(car(smartcartest.MachE, "/permissions")).ok(&perms)
	require.Empty(t, perms.Permissions)
	permission := url.Values{"decision": {"grant"}, "form": {"1"}, "permission": {"read_vin"}}
	require.Equal(t, "access_denied", a.answer(a.authorize(nil), permission).Get("error"), "no car is ticked")
}

func TestConnectOwnersTickPermissions(t *testing.T) {
	a := newAPI(t)
	page := a.authorize(url.Values{"scope": {"required:read_odometer read_vin read_battery"}})
	granted := func(ticked ...string) (list []string) {
		t.Helper()
		a.login(url.Values{"decision": {"grant"}})
		back := a.answer(page, url.Values{"decision": {"grant"}, "form": {"1"}, "vehicle": {smartcartest.MachE}, "permission": ticked})
		var pair pair
		a.grant(url.Values{"grant_type": {"authorization_code"}, "code": {back.Get("code")}}).ok(&pair)
		a.token = pair.Access
		var perms struct{ Permissions []string }
		a.get(car(smartcartest.MachE, "/permissions")).ok(&perms)
		return perms.Permissions
	}
	require.Equal(t, []string{"read_odometer"}, granted(), "required: it cannot be unticked")
	require.Equal(t, []string{"read_odometer", "read_battery"}, granted("read_battery", "read_location"))
	page = a.authorize(url.Values{"scope": {"read_vin read_battery"}})
	_, err := a.sim.AnswerConnect(page, url.Values{"decision": {"grant"}, "form": {"1"}, "vehicle": {smartcartest.MachE}})
	require.ErrorContains(t, err, "At least one permission must stay selected")
}

func TestConnectWithoutCode(t *testing.T) {
	a := newAPI(t)
	q := url.Values{"response_type": {"none"}, "application_id": {a.sim.ClientID()}, "client_id": nil}
	_, err := a.sim.Grant(a.authorize(q))
	require.ErrorContains(t, err, "own page")
	page := a.request(http.MethodPost, "/oauth/authorize?"+q.Encode(), "decision=grant")
	page.Header.Set("Content-Type", formType)
	hosted := a.do(page)
	require.Equal(t, http.StatusOK, hosted.status)
	require.Contains(t, hosted.header.Get("Content-Type"), "text/html")
	require.Contains(t, string(hosted.body), "close this window")
	require.Contains(t, string(hosted.body), "https://www.tesla.com/_ak/smartcar.com")
	q.Set("redirect_uri", a.sim.RedirectURL())
	back := a.answer(a.authorize(q), url.Values{"decision": {"grant"}})
	require.False(t, back.Has("code"))
	require.Equal(t, a.sim.UserID(), back.Get("user_id"))
	require.Equal(t, "https://www.tesla.com/_ak/smartcar.com", back.Get("virtual_key_url"))
	paired := a.answer(a.authorize(q), url.Values{"decision": {"grant"}, "vehicle": {smartcartest.Model3}})
	require.False(t, paired.Has("virtual_key_url"))
	q.Set("application_id", a.sim.APIClientID()) // the mix-up the vendor's users run into
	_, err = a.sim.Grant(a.authorize(q))
	require.ErrorContains(t, err, "client_id")
}

func TestReauthenticate(t *testing.T) {
	a := connected(t)
	q := url.Values{"response_type": {"vehicle_id"}, "client_id": {a.sim.ClientID()}, "vehicle_id": {smartcartest.Model3}, "redirect_uri": {a.sim.RedirectURL()}, "state": {"s"}}
	page := "https://connect.smartcar.com/oauth/reauthenticate?"
	back := a.answer(page+q.Encode(), url.Values{"decision": {"grant"}})
	require.Equal(t, url.Values{"vehicle_id": {smartcartest.Model3}, "state": {"s"}}, back)
	require.Equal(t, "access_denied", a.answer(page+q.Encode(), url.Values{"decision": {"deny"}}).Get("error"))
	require.Equal(t, http.StatusOK, a.do(a.request(http.MethodGet, "/oauth/reauthenticate?"+q.Encode(), "")).status)
	a.get("/v2.0/user").ok(nil) // the token still works
	q.Del("client_id")
	q.Set("application_id", a.sim.ApplicationID())
	q.Set("external_id", "acct_7")
	require.Equal(t, "acct_7", a.answer(page+q.Encode(), url.Values{"decision": {"grant"}}).Get("external_id"))
	_, err := a.sim.Grant(page + "response_type=vehicle_id&make=TESLA&scope=control_charge&client_id=" + a.sim.ClientID())
	require.ErrorContains(t, err, "own page", "asking for Tesla's permissions never comes back")
	q.Set("vehicle_id", "unknown")
	_, err = a.sim.Grant(page + q.Encode())
	require.Error(t, err)
}

func TestReauthenticationThatEndsHosted(t *testing.T) {
	a, r, id := hooked(t, smartcartest.Webhook{Data: []string{"odometer-traveleddistance"}})
	require.NoError(t, a.sim.Subscribe(id, smartcartest.Model3))
	a.deliver()
	r.take(t)
	v2 := &api{t: t, sim: a.sim, http: a.http, origin: a.origin}
	v2.login(url.Values{"decision": {"grant"}})

	require.NoError(t, a.sim.RequireReauthentication(smartcartest.Model3))
	f := v2.get(car(smartcartest.Model3, "/odometer")).fails(400, "CONNECTED_SERVICES_ACCOUNT", "AUTHENTICATION_FAILED")
	v2.post(car(smartcartest.Model3, "/security"), `{"action":"LOCK"}`).fails(400, "CONNECTED_SERVICES_ACCOUNT", "AUTHENTICATION_FAILED")
	v2.get(car(smartcartest.Model3, "")).ok(nil) // the vendor itself knows the make
	a.get(v3car(smartcartest.Model3, "/signals")).fails3(400, "CONNECTED_SERVICES_ACCOUNT", "AUTHENTICATION_FAILED")
	require.False(t, a.sim.Ledger(smartcartest.Model3)[0].AtGate)
	a.deliver()
	events := r.take(t)
	require.Len(t, events, 1)
	require.Equal(t, "ERROR", at(events[0], "data", "errors", 0, "state"))
	require.Equal(t, f.Resolution.URL, at(events[0], "data", "errors", 0, "resolution", "url"))

	// The error's URL is only a part of one: it lacks the redirect_uri.
	_, err := a.sim.Grant(f.Resolution.URL)
	require.ErrorContains(t, err, "redirect_uri")
	require.NotErrorIs(t, err, smartcartest.ErrHosted)
	hosted := "https://connect.smartcar.com/oauth/reauthenticate?response_type=none&application_id=" + a.sim.ApplicationID() + "&vehicle_id=" + smartcartest.Model3
	_, err = a.sim.Deny(hosted)
	require.ErrorContains(t, err, "own page with access_denied")
	v2.get(car(smartcartest.Model3, "/odometer")).fails(400, "CONNECTED_SERVICES_ACCOUNT", "AUTHENTICATION_FAILED")
	require.Empty(t, a.deliver())
	_, err = a.sim.Grant(hosted)
	require.ErrorIs(t, err, smartcartest.ErrHosted)
	v2.get(car(smartcartest.Model3, "/odometer")).ok(nil)
	a.deliver()
	events = r.take(t)
	require.Equal(t, "RESOLVED", at(events[0], "data", "errors", 0, "state"))
	require.Equal(t, "AUTHENTICATION_FAILED", at(events[0], "data", "errors", 0, "code"))

	back := a.answer(hosted+"&redirect_uri="+url.QueryEscape(a.sim.RedirectURL()), url.Values{"decision": {"grant"}})
	require.Equal(t, url.Values{"vehicle_id": {smartcartest.Model3}}, back, "with a redirect_uri both kinds come back")
	require.NoError(t, a.sim.RequireReauthentication(smartcartest.Model3))
	v2.login(url.Values{"decision": {"grant"}})
	v2.get(car(smartcartest.Model3, "/odometer")).ok(nil) // a new Connect ends it, too
	require.Error(t, a.sim.RequireReauthentication("unknown"))
}

func TestSeveralOwners(t *testing.T) {
	shared := smartcartest.Car{ID: "shared", Make: "TESLA", Model: "Model 3", Integration: smartcartest.Streaming, Paired: true, Owner: "ann", SharedWith: []string{"bob"}}
	a := newAPI(t, smartcartest.WithCars(shared, smartcartest.Car{ID: "bobs", Make: "FORD", Owner: "bob"}))
	list := func(user string) (ids []string, id string) {
		t.Helper()
		a.login(url.Values{"decision": {"grant"}, "user": {user}})
		var v struct{ Vehicles []string }
		var u struct{ ID string }
		a.get("/v2.0/vehicles").ok(&v)
		a.get("/v2.0/user").ok(&u)
		return v.Vehicles, u.ID
	}
	anns, ann := list("ann")
	require.Equal(t, []string{"shared"}, anns)
	require.Equal(t, a.sim.UserIDOf("ann"), ann)
	a.get(car("shared", "/tesla/virtual_key")).ok(nil)
	bobs, bob := list("bob")
	require.Equal(t, []string{"shared", "bobs"}, bobs)
	require.NotEqual(t, ann, bob)
	a.get(car("shared", "/tesla/virtual_key")).fails(400, "CONNECTED_SERVICES_ACCOUNT", "VEHICLE_MISSING")
	var access struct{ AccessType string }
	a.get(car("shared", "/tesla/user/access")).ok(&access)
	require.Equal(t, "DRIVER", access.AccessType)
}
