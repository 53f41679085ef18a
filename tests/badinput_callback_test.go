package smartcar_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
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
