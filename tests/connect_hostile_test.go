package smartcar_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/smartcartest"
	"github.com/stretchr/testify/require"
)

// Callbacks come through a browser: every one of these is somebody's attempt.
func TestHostileCallbacks(t *testing.T) {
	edit := func(change func(url.Values)) func(string) string {
		return func(callback string) string {
			u, _ := url.Parse(callback)
			q := u.Query()
			change(q)
			u.RawQuery = q.Encode()
			return u.String()
		}
	}
	for name, tt := range map[string]struct {
		edit  func(string) string
		wrong error
	}{
		"two codes":           {edit(func(q url.Values) { q.Add("code", "another") }), smartcar.ErrMalformedCallback},
		"two states":          {edit(func(q url.Values) { q.Add("state", "another") }), smartcar.ErrMalformedCallback},
		"two users":           {edit(func(q url.Values) { q.Add("user_id", "another") }), smartcar.ErrMalformedCallback},
		"code and error":      {edit(func(q url.Values) { q.Set("error", "access_denied") }), smartcar.ErrMalformedCallback},
		"newline in the code": {edit(func(q url.Values) { q.Set("code", "a\nb") }), smartcar.ErrMalformedCallback},
		"nothing":             {edit(func(q url.Values) { clear(q) }), smartcar.ErrMalformedCallback},
		"broken escape":       {func(s string) string { return s + "&x=%zz" }, smartcar.ErrMalformedCallback},
		"no state":            {edit(func(q url.Values) { q.Del("state") }), smartcar.ErrStateMismatch},
		"foreign state":       {edit(func(q url.Values) { q.Set("state", "ABCDEFGHIJKLMNOPQRSTUVWXYZ") }), smartcar.ErrStateMismatch},
		"no code":             {edit(func(q url.Values) { q.Del("code") }), smartcar.ErrMalformedCallback},
		"denied":              {edit(func(q url.Values) { q.Del("code"); q.Set("error", "access_denied") }), smartcar.ErrAccessDenied},
		"an unknown error":    {edit(func(q url.Values) { q.Del("code"); q.Set("error", "aliens") }), nil},
	} {
		t.Run(name, func(t *testing.T) {
			sim := smartcartest.New()
			client := newClient(t, sim)
			authorizeURL, cookies := begin(t, client, smartcar.ConnectOptions{})
			callback, err := sim.Grant(authorizeURL)
			require.NoError(t, err)
			code := mustParse(t, callback).Query().Get("code")
			tokens := sim.TokenRequests()
			grant, err := finish(client, tt.edit(callback), cookies)
			require.Nil(t, grant)
			require.Error(t, err)
			if tt.wrong != nil {
				require.ErrorIs(t, err, tt.wrong)
			}
			require.Equal(t, tokens, sim.TokenRequests(), "no token request for a callback that is not trusted")
			require.NotContains(t, err.Error(), code)
		})
	}
}

func TestCallbackInAnotherBrowser(t *testing.T) {
	sim := smartcartest.New()
	client := newClient(t, sim)
	authorizeURL, _ := begin(t, client, smartcar.ConnectOptions{})
	_, hers := begin(t, client, smartcar.ConnectOptions{})
	callback, err := sim.Grant(authorizeURL)
	require.NoError(t, err)
	for _, cookies := range [][]*http.Cookie{nil, hers} {
		grant, err := finish(client, callback, cookies)
		require.ErrorIs(t, err, smartcar.ErrStateMismatch)
		require.Nil(t, grant)
	}
	require.Zero(t, sim.TokenRequests())
}

func TestCallbackAfterItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		client := newClient(t, sim)
		authorizeURL, cookies := begin(t, client, smartcar.ConnectOptions{})
		time.Sleep(61 * time.Minute)
		callback, err := sim.Grant(authorizeURL)
		require.NoError(t, err)
		_, err = finish(client, callback, cookies)
		require.ErrorIs(t, err, smartcar.ErrStateExpired)
		require.Zero(t, sim.TokenRequests())
	})
}

func TestReplays(t *testing.T) {
	sim := smartcartest.New()
	client := newClient(t, sim)
	authorizeURL, cookies := begin(t, client, smartcar.ConnectOptions{})
	callback, err := sim.Grant(authorizeURL)
	require.NoError(t, err)
	_, err = finish(client, callback, cookies)
	require.NoError(t, err)

	// The page is loaded again: the code stays at home.
	_, err = finish(client, callback, cookies)
	require.ErrorIs(t, err, smartcar.ErrStateReplayed)
	require.Zero(t, sim.CodeReuse())

	// A thief with a flow of his own and the victim's used code.
	again, cookies := begin(t, client, smartcar.ConnectOptions{})
	stolen := mustParse(t, callback).Query()
	stolen.Set("state", mustParse(t, again).Query().Get("state"))
	_, err = finish(client, sim.RedirectURL()+"?"+stolen.Encode(), cookies)
	require.ErrorIs(t, err, smartcar.ErrReconnectRequired)
	require.Equal(t, 1, sim.CodeReuse())
	require.NotContains(t, err.Error(), stolen.Get("code"))
}

// Who the owner is, Smartcar says, not the address bar.
func TestUserIDOfSomebodyElse(t *testing.T) {
	sim := smartcartest.New()
	client := newClient(t, sim)
	authorizeURL, cookies := begin(t, client, smartcar.ConnectOptions{ExternalID: "mine"})
	callback, err := sim.Grant(authorizeURL)
	require.NoError(t, err)
	q := mustParse(t, callback).Query()
	q.Set("user_id", sim.UserIDOf("victim"))
	q.Set("external_id", "victim")
	grant, err := finish(client, sim.RedirectURL()+"?"+q.Encode(), cookies)
	require.NoError(t, err)
	require.Equal(t, sim.UserID(), grant.UserID)
	require.Equal(t, "mine", grant.ExternalID)
	_, err = client.User(sim.UserIDOf("victim")).Vehicle(smartcartest.MachE).Battery(t.Context())
	require.ErrorIs(t, err, smartcar.ErrNotConnected)
}

func TestCallbackHandlerBearsNil(t *testing.T) {
	client := newClient(t, smartcartest.New())
	for name, call := range map[string]func() error{
		"no writer": func() error {
			_, err := client.Connect().HandleCallback(nil, httptest.NewRequest("GET", "/", nil))
			return err
		},
		"no request": func() error { _, err := client.Connect().HandleCallback(httptest.NewRecorder(), nil); return err },
		"no URL": func() error {
			_, err := client.Connect().HandleCallback(httptest.NewRecorder(), new(http.Request))
			return err
		},
		"start, writer": func() error {
			return client.Connect().Start(nil, httptest.NewRequest("GET", "/", nil), smartcar.ConnectOptions{})
		},
		"start, request": func() error { return client.Connect().Start(httptest.NewRecorder(), nil, smartcar.ConnectOptions{}) },
		"reauth, vehicle": func() error {
			return client.Connect().StartReauth(httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil), nil, smartcar.ReauthOptions{})
		},
		"exchange": func() error {
			_, err := client.Connect().Exchange(t.Context(), nil, smartcar.Expected{State: "state"})
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			require.NotPanics(t, func() { require.ErrorIs(t, call(), smartcar.ErrInvalidArgument) })
		})
	}
	_, err := client.Connect().Exchange(t.Context(), new(smartcar.Callback), smartcar.Expected{})
	require.ErrorIs(t, err, smartcar.ErrStateMismatch, "an empty state is never the right one")
	r := httptest.NewRequest(http.MethodPost, "/callback?code=1&state=2", nil)
	_, err = client.Connect().HandleCallback(httptest.NewRecorder(), r)
	require.ErrorIs(t, err, smartcar.ErrMalformedCallback)
	require.NotErrorIs(t, err, smartcar.ErrStateMismatch)
}

func TestHostileKeyLinkDoesNotCostTheGrant(t *testing.T) {
	for name, link := range map[string]string{
		"key of somebody else": "https://www.tesla.com/_ak/evil.example",
		"another host":         "https://tesla.com.evil.example/_ak/smartcar.com",
		"script":               "javascript:alert(1)",
	} {
		t.Run(name, func(t *testing.T) {
			sim := smartcartest.New()
			client := newClient(t, sim)
			authorizeURL, cookies := begin(t, client, smartcar.ConnectOptions{})
			callback, err := sim.Grant(authorizeURL)
			require.NoError(t, err)
			grant, err := finish(client, withParameter(t, callback, "virtual_key_url", link), cookies)
			require.NoError(t, err)
			require.Equal(t, sim.UserID(), grant.UserID)
			require.True(t, grant.VirtualKeyURL.IsZero())
			require.ErrorIs(t, grant.VirtualKeyErr, smartcar.ErrUntrustedVirtualKeyURL)
			shown, err := client.User(grant.UserID).VirtualKeyURL(t.Context())
			require.NoError(t, err)
			require.True(t, shown.IsZero())

			// Where a link is needed, it is the configured one.
			_, err = client.User(grant.UserID).Vehicle(smartcartest.ModelY).Lock(t.Context())
			var missing *smartcar.VirtualKeyRequiredError
			require.ErrorAs(t, err, &missing)
			require.Equal(t, "https://www.tesla.com/_ak/smartcar.com", missing.URL.String())
		})
	}
}

// Whatever a browser changes in the address, nobody becomes somebody else.
func TestHostileCallbacksOnV3(t *testing.T) {
	const victim = "victim"
	for name, tt := range map[string]struct {
		change  func(t *testing.T, callback string, sim *smartcartest.Server) string
		err     error
		pending bool
	}{
		"another user's id": {func(t *testing.T, callback string, sim *smartcartest.Server) string {
			return withParameter(t, callback, "user_id", sim.UserIDOf(victim))
		}, smartcar.ErrMalformedCallback, true},
		"nobody's id": {func(t *testing.T, callback string, _ *smartcartest.Server) string {
			return withParameter(t, callback, "user_id", "00000000-0000-4000-8000-000000000000")
		}, smartcar.ErrMalformedCallback, true},
		"an id that is a path": {func(t *testing.T, callback string, _ *smartcartest.Server) string {
			return withParameter(t, callback, "user_id", "../../users/x?filter[userId]=y#z")
		}, smartcar.ErrMalformedCallback, true},
		"two dots": {func(t *testing.T, callback string, _ *smartcartest.Server) string {
			return withParameter(t, callback, "user_id", "..")
		}, smartcar.ErrMalformedCallback, false},
		"a line break": {func(t *testing.T, callback string, _ *smartcartest.Server) string {
			return withParameter(t, callback, "user_id", "a\r\nsc-user-id: b")
		}, smartcar.ErrMalformedCallback, false},
		"a long id": {func(t *testing.T, callback string, _ *smartcartest.Server) string {
			return withParameter(t, callback, "user_id", strings.Repeat("a", 300))
		}, smartcar.ErrMalformedCallback, false},
		"two ids": {func(_ *testing.T, callback string, sim *smartcartest.Server) string {
			return callback + "&user_id=" + sim.UserIDOf(victim)
		}, smartcar.ErrMalformedCallback, false},
		"two spellings": {func(_ *testing.T, callback string, sim *smartcartest.Server) string {
			return callback + "&userId=" + sim.UserIDOf(victim)
		}, smartcar.ErrMalformedCallback, false},
		"no id, but a vehicle": {func(_ *testing.T, callback string, _ *smartcartest.Server) string {
			return strings.Replace(callback, "user_id=", "vehicle_id=", 1)
		}, smartcar.ErrMalformedCallback, false},
		"no id at all": {func(_ *testing.T, callback string, _ *smartcartest.Server) string {
			return strings.Replace(callback, "user_id=", "x=", 1)
		}, smartcar.ErrMalformedCallback, false},
		"no state": {func(_ *testing.T, callback string, _ *smartcartest.Server) string {
			return strings.Replace(callback, "state=", "x=", 1)
		}, smartcar.ErrStateMismatch, false},
		"another state": {func(t *testing.T, callback string, _ *smartcartest.Server) string {
			return withParameter(t, callback, "state", "AAAAAAAAAAAAAAAAAAAAAAAAAA")
		}, smartcar.ErrStateMismatch, false},
		"too late": {func(_ *testing.T, callback string, _ *smartcartest.Server) string {
			time.Sleep(time.Hour + time.Second)
			return callback
		}, smartcar.ErrStateExpired, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cars := smartcartest.DefaultGarage()
				cars[6].Owner = victim
				sim := smartcartest.New(smartcartest.WithCars(cars...))
				client, tap := tapped(t, sim)
				connectAs(t, sim, client, victim, cars[6].ID)

				link, cookies := begin(t, client, smartcar.ConnectOptions{})
				callback, err := sim.Grant(link)
				require.NoError(t, err)
				before := len(tap.to("/v3/"))
				grant, err := finish(client, tt.change(t, callback, sim), cookies)
				require.Nil(t, grant)
				require.ErrorIs(t, err, tt.err)
				var pending *smartcar.PendingGrantError
				require.Equal(t, tt.pending, errors.As(err, &pending))
				if !tt.pending {
					require.Len(t, tap.to("/v3/"), before, "nothing is asked")
					return
				}
				for range 3 { // the user is not the one, now and later
					_, err = client.Connect().Resume(t.Context(), pending.GrantID)
					require.ErrorIs(t, err, smartcar.ErrMalformedCallback)
					time.Sleep(time.Hour)
				}
				for _, r := range tap.to("/v3/") {
					require.True(t, r.path == "/v3/connections" || strings.HasPrefix(r.path, "/v3/vehicles/"), r.path)
				}
			})
		})
	}
}

// Smartcar's answer is looked at, too: a filter that is not heeded, and a
// connection that does not name its user, confirm nobody.
func TestWhatConfirmsAUserOnV3(t *testing.T) {
	one := func(user, external, related string) string {
		return fmt.Sprintf(`{"data":[{"id":"c1","attributes":{%s"vehicle":{"make":"TESLA"}},"relationships":{"vehicle":{"data":{"id":"v1"}}%s}}],"meta":{"totalCount":1}}`,
			textIf(user != "" || external != "", `"user":{"id":"`+user+`","externalId":"`+external+`"},`),
			textIf(related != "", `,"user":{"data":{"id":"`+related+`"}}`))
	}
	for name, tt := range map[string]struct {
		answer string
		ok     bool
	}{
		"both":                      {one("u1", "acct_42", "u1"), true},
		"user in the attributes":    {one("u1", "acct_42", ""), true},
		"another user":              {one("u2", "acct_42", "u2"), false},
		"they do not agree":         {one("u1", "acct_42", "u2"), false},
		"another external id":       {one("u1", "acct_43", "u1"), false},
		"no external id":            {one("u1", "", "u1"), false},
		"an old connection":         {one("", "", "u1"), false},
		"nothing":                   {`{"data":[],"meta":{"totalCount":0}}`, false},
		"upper case is another one": {one("u1", "ACCT_42", "u1"), false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client, tap := tapped(t, smartcartest.New())
				tap.instead = onlyTo("/v3/connections", func(sentRequest) *http.Response { return respond(200, tt.answer) })
				callback, err := smartcar.ParseCallback(url.Values{"user_id": {"u1"}, "state": {"state-1"}, "external_id": {"acct_42"}})
				require.NoError(t, err)
				grant, err := client.Connect().Exchange(t.Context(), callback, smartcar.Expected{State: "state-1", ExternalID: "acct_42"})
				if tt.ok {
					require.NoError(t, err)
					require.Equal(t, "u1", grant.UserID)
					require.Len(t, tap.to("/v3/connections"), 1)
					query := tap.to("/v3/connections")[0].query
					require.Equal(t, "u1", query.Get("filter[userId]"))
					require.Equal(t, "acct_42", query.Get("filter[user.externalId]"))
					return
				}
				require.ErrorIs(t, err, smartcar.ErrMalformedCallback)
				require.Nil(t, grant)
			})
		})
	}
}

// A hostile key link costs the link and not the grant.
func TestHostileKeyLinkOnV3(t *testing.T) {
	for _, link := range []string{
		"https://evil.example/_ak/smartcar.com", "https://www.tesla.com/_ak/evil.example", "http://www.tesla.com/_ak/smartcar.com",
		"javascript:alert(1)", "https://www.tesla.com@evil.example/_ak/smartcar.com",
	} {
		t.Run(link, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sim := smartcartest.New()
				client := apiClient(t, sim, smartcar.V3)
				authorize, cookies := begin(t, client, smartcar.ConnectOptions{})
				callback, err := sim.Grant(authorize)
				require.NoError(t, err)
				grant, err := finish(client, withParameter(t, callback, "virtual_key_url", link), cookies)
				require.NoError(t, err)
				require.True(t, grant.VirtualKeyURL.IsZero())
				require.Error(t, grant.VirtualKeyErr)
				stored, err := client.User(grant.UserID).VirtualKeyURL(t.Context())
				require.NoError(t, err)
				require.True(t, stored.IsZero())
				access, err := client.User(grant.UserID).Vehicle(smartcartest.ModelY).Access(t.Context())
				require.NoError(t, err)
				require.NotContains(t, access.VirtualKeyURL.String(), "evil")
			})
		})
	}
}

// Two tabs: each flow has a proof of its own, and the later one replaces it at
// Smartcar.
func TestTwoFlowsOfOneOwnerOnV3(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		client := apiClient(t, sim, smartcar.V3)
		firstLink, firstCookies := begin(t, client, smartcar.ConnectOptions{})
		secondLink, secondCookies := begin(t, client, smartcar.ConnectOptions{})
		first, err := sim.Grant(firstLink)
		require.NoError(t, err)
		_, err = finish(client, first, firstCookies)
		require.NoError(t, err)
		second, err := sim.Grant(secondLink)
		require.NoError(t, err)
		_, err = finish(client, second, append(firstCookies, secondCookies...))
		require.NoError(t, err)
	})
}
