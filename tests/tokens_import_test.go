package smartcar_test

import (
	"context"
	"encoding/json"
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

// foreignPair is what an application has that kept its tokens itself.
func foreignPair(t *testing.T, sim *smartcartest.Server, client *smartcar.Client) smartcar.Tokens {
	t.Helper()
	authorizeURL, err := client.Connect().AuthorizeURL(smartcar.ConnectOptions{}, "a-state")
	require.NoError(t, err)
	callback, err := sim.Grant(authorizeURL)
	require.NoError(t, err)
	form := url.Values{
		"grant_type": {"authorization_code"}, "code": {mustParse(t, callback).Query().Get("code")}, "redirect_uri": {sim.RedirectURL()},
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://auth.smartcar.com/oauth/token", strings.NewReader(form.Encode()))
	require.NoError(t, err)
	r.SetBasicAuth(sim.ClientID(), sim.ClientSecret())
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := sim.Transport().RoundTrip(r)
	require.NoError(t, err)
	defer resp.Body.Close()
	var pair struct {
		AccessToken  string `json:"access_token"`
		RefreshToken string `json:"refresh_token"`
	}
	require.NoError(t, json.NewDecoder(resp.Body).Decode(&pair))
	require.NotEmpty(t, pair.RefreshToken)
	return smartcar.Tokens{AccessToken: pair.AccessToken, RefreshToken: pair.RefreshToken, Expires: time.Now().Add(accessLife)}
}

func TestRenewKeepsIdleGrantsAlive(t *testing.T) {
	for name, renew := range map[string]bool{"renewed daily": true, "left alone": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sim := smartcartest.New()
				client := newClient(t, sim)
				user := client.User(connectAs(t, sim, client, "", smartcartest.MachE).UserID)
				connectAs(t, sim, client, "", smartcartest.Model3)
				for range 130 {
					time.Sleep(day)
					if renew {
						require.NoError(t, user.Renew(t.Context(), 7*day))
					}
				}
				for _, id := range []string{smartcartest.MachE, smartcartest.Model3} {
					_, err := user.Vehicle(id).Odometer(t.Context())
					if renew {
						require.NoError(t, err)
					} else {
						require.ErrorIs(t, err, smartcar.ErrReconnectRequired)
					}
				}
				if renew {
					require.LessOrEqual(t, sim.TokenRequests(), 2+2*2+2, "renewed without need")
				}
			})
		})
	}
}

func TestRenewRefreshesWhatIsDueAndNothingElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		client := newClient(t, sim)
		user := client.User(connectAs(t, sim, client, "", smartcartest.MachE).UserID)
		time.Sleep(30 * day)
		connectAs(t, sim, client, "", smartcartest.Model3)
		time.Sleep(24 * day) // the first grant has 6 days left, the second 36
		exchanges := sim.TokenRequests()

		require.NoError(t, user.Renew(t.Context(), 5*day))
		require.Equal(t, exchanges, sim.TokenRequests())
		require.NoError(t, user.Renew(t.Context(), 7*day))
		require.Equal(t, exchanges+1, sim.TokenRequests())
		require.NoError(t, user.Renew(t.Context(), 7*day))
		require.Equal(t, exchanges+1, sim.TokenRequests())
		require.NoError(t, user.Renew(t.Context(), 37*day))
		require.Equal(t, exchanges+2, sim.TokenRequests())

		for _, within := range []time.Duration{0, -time.Hour} {
			require.ErrorIs(t, user.Renew(t.Context(), within), smartcar.ErrInvalidArgument)
		}
		require.ErrorIs(t, client.User("nobody").Renew(t.Context(), day), smartcar.ErrNotConnected)
	})
}

func TestImportedTokensWork(t *testing.T) {
	for name, tt := range map[string]struct {
		change    func(*smartcar.Tokens)
		refreshes int
	}{
		"fresh":                           {func(*smartcar.Tokens) {}, 0},
		"no access token":                 {func(p *smartcar.Tokens) { p.AccessToken = "" }, 1},
		"no expiry":                       {func(p *smartcar.Tokens) { p.Expires = time.Time{} }, 1},
		"expired access token":            {func(p *smartcar.Tokens) { p.AccessToken, p.Expires = "long-gone", time.Now().Add(-day) }, 1},
		"access token of another refresh": {func(p *smartcar.Tokens) { p.AccessToken = "superseded" }, 1},
		"issued long ago": {func(p *smartcar.Tokens) {
			p.AccessToken, p.IssuedAt = "superseded", time.Now().Add(-50*day)
		}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sim := smartcartest.New()
				client := newClient(t, sim)
				pair := foreignPair(t, sim, client)
				tt.change(&pair)
				grant, err := client.ImportTokens(t.Context(), pair)
				require.NoError(t, err)
				require.Equal(t, sim.UserID(), grant.UserID)
				require.Equal(t, 1+tt.refreshes, sim.TokenRequests())
				requireLoggedIn(t, client.User(grant.UserID).Vehicle(smartcartest.MachE))
			})
		})
	}
}

func TestRenewKnowsHowOldImportedTokensAre(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		client := newClient(t, sim)
		pair := foreignPair(t, sim, client)
		time.Sleep(55 * day)
		pair.IssuedAt = time.Now().Add(-55 * day)
		pair.AccessToken = ""
		grant, err := client.ImportTokens(t.Context(), pair)
		require.NoError(t, err)
		time.Sleep(10 * day)
		requireLoggedIn(t, client.User(grant.UserID).Vehicle(smartcartest.MachE))
	})
}

func TestImportOfTokensThatAreWorthNothing(t *testing.T) {
	const refresh = "5ec4e700-0000-4000-8000-000000000000" // well formed: anything else is refused as malformed
	for name, pair := range map[string]smartcar.Tokens{
		"expired access token":   {AccessToken: "a-secret-access", RefreshToken: refresh, Expires: time.Unix(0, 0)},
		"claimed to be good yet": {AccessToken: "a-secret-access", RefreshToken: refresh, Expires: time.Now().Add(1e6 * time.Hour)},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sim := smartcartest.New()
				db := newSpoiledStore()
				client := newClient(t, sim, smartcar.WithStore(db))
				grant, err := client.ImportTokens(t.Context(), pair)
				require.Nil(t, grant)
				require.ErrorIs(t, err, smartcar.ErrReconnectRequired)
				require.NotContains(t, fmt.Sprintf("%v %+v %#v", err, err, err), "a-secret")
				require.NotContains(t, fmt.Sprintf("%v %+v %#v", err, err, err), refresh)
				require.Empty(t, db.live(t))
			})
		})
	}
	_, err := newClient(t, smartcartest.New()).ImportTokens(t.Context(), smartcar.Tokens{AccessToken: "a-secret-access"})
	var problem *smartcar.ArgumentError
	require.ErrorAs(t, err, &problem)
	require.Equal(t, "Tokens.RefreshToken", problem.Argument)
}

// Whose the tokens are, the API says; what it says goes into keys of the store.
func TestUserIDsThatCannotBeUsedAreRefused(t *testing.T) {
	for name, answer := range map[string]smartcartest.Fault{
		"unknown user":      {ErrorType: "RESOURCE_NOT_FOUND"},
		"no id":             {Status: 200, Body: `{}`},
		"null":              {Status: 200, Body: `{"id":null}`},
		"object":            {Status: 200, Body: `{"id":{"id":"x"}}`},
		"line break":        {Status: 200, Body: `{"id":"user\n1"}`},
		"zero byte":         {Status: 200, Body: `{"id":"user\u0000"}`},
		"dots":              {Status: 200, Body: `{"id":".."}`},
		"endless":           {Status: 200, Body: `{"id":"` + strings.Repeat("x", 1000) + `"}`},
		"not UTF-8":         {Status: 200, Body: "{\"id\":\"\xff\"}"},
		"a page":            {Status: 200, Body: `<html>`},
		"list of two users": {Status: 200, Body: `[{"id":"a"},{"id":"b"}]`},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sim := smartcartest.New()
				db := newSpoiledStore()
				client := newClient(t, sim, smartcar.WithStore(db))
				answer.Path = "/v2.0/user"
				sim.Inject(answer)
				grant, err := client.ImportTokens(t.Context(), foreignPair(t, sim, client))
				require.Nil(t, grant)
				var pending *smartcar.PendingGrantError
				require.ErrorAs(t, err, &pending)
				require.Equal(t, []string{"grant/" + pending.GrantID}, db.live(t))

				grant, err = client.Connect().Resume(t.Context(), pending.GrantID)
				require.NoError(t, err)
				require.Equal(t, sim.UserID(), grant.UserID)
			})
		})
	}
}

// An id with a slash is odd, but nobody else's: it must stay one key.
func TestOddUserIDIsKeptApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		client := newClient(t, sim)
		sim.Inject(smartcartest.Fault{Path: "/v2.0/user", Status: 200, Body: `{"id":"../grant/x y"}`})
		grant := connect(t, sim, client)
		require.Equal(t, "../grant/x y", grant.UserID)
		_, err := client.User(grant.UserID).Vehicle(smartcartest.MachE).Odometer(t.Context())
		require.NoError(t, err)
		_, err = client.User(sim.UserID()).Vehicle(smartcartest.MachE).Odometer(t.Context())
		require.ErrorIs(t, err, smartcar.ErrNotConnected)
	})
}

// A policy without pauses is no reason to ask a store that is away for ever.
func TestStoreThatIsAwayIsNotAskedForEver(t *testing.T) {
	for name, policy := range map[string]smartcar.RetryPolicy{
		"never retried": {MaxAttempts: 1}, "no first pause": {MaxAttempts: 3, MaxDelay: time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sim := smartcartest.New()
				db := newSpoiledStore()
				client := newClient(t, sim, smartcar.WithStore(db), smartcar.WithRetry(policy))
				pair := foreignPair(t, sim, client)
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				asked := 0
				db.load = func(string) error {
					if asked++; asked > 100 {
						cancel()
					}
					return errStoreDown
				}
				_, err := client.ImportTokens(ctx, pair)
				var pending *smartcar.PendingGrantError
				require.ErrorAs(t, err, &pending)
				require.LessOrEqual(t, asked, 20)
				db.load = nil
				grant, err := client.Connect().Resume(t.Context(), pending.GrantID)
				require.NoError(t, err)
				require.Equal(t, sim.UserID(), grant.UserID)
			})
		})
	}
}
