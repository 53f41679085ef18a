package smartcar_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/smartcartest"
	"github.com/stretchr/testify/require"
)

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
		"not even a list":           {`{}`, false},
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

func textIf(condition bool, text string) string {
	if condition {
		return text
	}
	return ""
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
