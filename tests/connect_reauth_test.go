package smartcar_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
	"testing/synctest"

	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/smartcartest"
	"github.com/stretchr/testify/require"
)

func TestReauthentication(t *testing.T) {
	sim := smartcartest.New()
	client, user := connected(t, sim)
	v := user.Vehicle(smartcartest.ModelY)
	link, cookies := beginReauth(t, client, v, smartcar.ReauthOptions{ExternalID: "acct-42", VehicleID: "ignored"})
	require.Equal(t, smartcartest.ModelY, mustParse(t, link).Query().Get("vehicle_id"))
	callback, err := sim.Grant(link)
	require.NoError(t, err)
	tokens := sim.TokenRequests()
	grant, err := finish(client, callback, cookies)
	require.NoError(t, err)
	require.Equal(t, &smartcar.Grant{UserID: user.ID(), ExternalID: "acct-42", VehicleID: smartcartest.ModelY}, grant)
	require.Equal(t, tokens, sim.TokenRequests(), "the tokens stay as they are")
	_, err = finish(client, callback, cookies)
	require.ErrorIs(t, err, smartcar.ErrStateReplayed)
	_, err = v.Odometer(t.Context())
	require.NoError(t, err)
}

func TestReauthenticationThatDidNotHappen(t *testing.T) {
	for name, tt := range map[string]struct {
		answer url.Values
		change func(url.Values)
		want   error
	}{
		"refused":          {url.Values{"decision": {"deny"}}, nil, smartcar.ErrAccessDenied},
		"another vehicle":  {nil, func(q url.Values) { q.Set("vehicle_id", smartcartest.MachE) }, smartcar.ErrMalformedCallback},
		"no vehicle":       {nil, func(q url.Values) { q.Del("vehicle_id"); q.Set("user_id", "u") }, smartcar.ErrMalformedCallback},
		"a code instead":   {nil, func(q url.Values) { q.Del("vehicle_id"); q.Set("code", "c") }, smartcar.ErrMalformedCallback},
		"of another flow":  {nil, func(q url.Values) { q.Set("state", "another") }, smartcar.ErrStateMismatch},
		"two vehicles":     {nil, func(q url.Values) { q.Add("vehicle_id", smartcartest.MachE) }, smartcar.ErrMalformedCallback},
		"failed by itself": {url.Values{"error": {"server_error"}}, nil, smartcar.ErrConnectServer},
	} {
		t.Run(name, func(t *testing.T) {
			sim := smartcartest.New()
			client, user := connected(t, sim)
			link, cookies := beginReauth(t, client, user.Vehicle(smartcartest.ModelY), smartcar.ReauthOptions{})
			if tt.answer == nil {
				tt.answer = url.Values{"decision": {"grant"}}
			}
			raw, err := sim.AnswerConnect(link, tt.answer)
			require.NoError(t, err)
			callback := mustParse(t, raw)
			if tt.change != nil {
				q := callback.Query()
				tt.change(q)
				callback.RawQuery = q.Encode()
			}
			tokens := sim.TokenRequests()
			grant, err := finish(client, callback.String(), cookies)
			require.Nil(t, grant)
			require.ErrorIs(t, err, tt.want)
			require.Equal(t, tokens, sim.TokenRequests())
		})
	}
}

// The callback of one kind of flow cannot end the other kind.
func TestFlowsOfDifferentKindsAreKeptApart(t *testing.T) {
	sim := smartcartest.New()
	client, user := connected(t, sim)
	link, cookies := begin(t, client, smartcar.ConnectOptions{})
	state := mustParse(t, link).Query().Get("state")
	grant, err := finish(client, sim.RedirectURL()+"?vehicle_id="+smartcartest.ModelY+"&state="+state, cookies)
	require.ErrorIs(t, err, smartcar.ErrMalformedCallback)
	require.Nil(t, grant)

	link, cookies = beginReauth(t, client, user.Vehicle(smartcartest.ModelY), smartcar.ReauthOptions{})
	connectLink, _ := begin(t, client, smartcar.ConnectOptions{})
	callback, err := sim.Grant(connectLink)
	require.NoError(t, err)
	callback = withParameter(t, callback, "state", mustParse(t, link).Query().Get("state"))
	tokens := sim.TokenRequests()
	_, err = finish(client, callback, cookies)
	require.ErrorIs(t, err, smartcar.ErrMalformedCallback)
	require.Equal(t, tokens, sim.TokenRequests())
}

// A re-authentication may end on Smartcar's page: then nobody comes back, and the
// next read shows that it has worked.
func TestReauthenticationWithoutARedirect(t *testing.T) {
	onEitherAPI(t, func(t *testing.T, sim *smartcartest.Server, api smartcar.API) {
		client := apiClient(t, sim, api)
		v := client.User(connect(t, sim, client).UserID).Vehicle(smartcartest.MachE)
		require.NoError(t, sim.RequireReauthentication(smartcartest.MachE))
		_, err := v.Odometer(t.Context())
		require.ErrorIs(t, err, smartcar.ErrReauthenticate)

		link, err := client.Connect().ReauthURL(smartcar.ReauthOptions{VehicleID: smartcartest.MachE, Hosted: true}, "")
		require.NoError(t, err)
		query := mustParse(t, link).Query()
		require.Equal(t, "none", query.Get("response_type"))
		require.NotContains(t, query, "redirect_uri")
		require.NotContains(t, query, "state")
		_, err = sim.Grant(link)
		require.ErrorIs(t, err, smartcartest.ErrHosted)
		_, err = v.Odometer(t.Context())
		require.NoError(t, err)

		_, err = client.Connect().ReauthURL(smartcar.ReauthOptions{VehicleID: "v", Hosted: true, RedirectURL: secureURL}, "s")
		requireArgumentError(t, err, "ReauthOptions.Hosted")
		w := httptest.NewRecorder()
		err = client.Connect().StartReauth(w, httptest.NewRequest(http.MethodGet, "/", nil), v, smartcar.ReauthOptions{Hosted: true})
		requireArgumentError(t, err, "ReauthOptions.Hosted")
		require.Empty(t, w.Result().Header)
	})
}

func TestReauthThatIsRefusedWritesNothing(t *testing.T) {
	client, user := connected(t, smartcartest.New())
	for _, tt := range []struct {
		id string
		o  smartcar.ReauthOptions
	}{
		{smartcartest.ModelY, smartcar.ReauthOptions{RedirectURL: "/relative"}},
		{smartcartest.ModelY, smartcar.ReauthOptions{Scope: []string{"two words"}}},
		{"", smartcar.ReauthOptions{}},
	} {
		w := httptest.NewRecorder()
		err := client.Connect().StartReauth(w, httptest.NewRequest(http.MethodGet, "/", nil), user.Vehicle(tt.id), tt.o)
		require.ErrorIs(t, err, smartcar.ErrInvalidArgument)
		require.Empty(t, w.Result().Header)
	}
}

func TestPlainMode(t *testing.T) {
	sim := smartcartest.New()
	client := newClient(t, sim)
	link, err := client.Connect().AuthorizeURL(smartcar.ConnectOptions{ExternalID: "acct-42", RedirectURL: loopbackURL}, "a-state")
	require.NoError(t, err)
	raw, err := sim.Grant(link)
	require.NoError(t, err)
	callback, err := smartcar.ParseCallback(mustParse(t, raw).Query())
	require.NoError(t, err)

	_, err = client.Connect().Exchange(t.Context(), callback, smartcar.Expected{State: "another", RedirectURL: loopbackURL})
	require.ErrorIs(t, err, smartcar.ErrStateMismatch)
	require.Zero(t, sim.TokenRequests())
	grant, err := client.Connect().Exchange(t.Context(), callback, smartcar.Expected{State: "a-state", RedirectURL: loopbackURL, ExternalID: "acct-42"})
	require.NoError(t, err)
	require.Equal(t, sim.UserID(), grant.UserID)
	require.Equal(t, "acct-42", grant.ExternalID)

	_, err = client.Connect().AuthorizeURL(smartcar.ConnectOptions{}, "")
	require.ErrorIs(t, err, smartcar.ErrInvalidArgument)
}

func TestPlainModeReportsConnectErrors(t *testing.T) {
	client := newClient(t, smartcartest.New())
	for query, want := range map[string]error{
		"error=access_denied&state=s": smartcar.ErrAccessDenied,
		"user_id=u&state=s":           smartcar.ErrMalformedCallback,
		"vehicle_id=v&state=s":        smartcar.ErrMalformedCallback,
	} {
		values, err := url.ParseQuery(query)
		require.NoError(t, err)
		callback, err := smartcar.ParseCallback(values)
		require.NoError(t, err)
		_, err = client.Connect().Exchange(t.Context(), callback, smartcar.Expected{State: "s"})
		require.ErrorIs(t, err, want, query)
	}
}

// The redirect URL of a run is the one its code is exchanged with.
func TestRedirectURLOfOneRun(t *testing.T) {
	sim := smartcartest.New(smartcartest.WithRedirectURLs("https://eu.example.com/back"))
	client := newClient(t, sim)
	link, cookies := begin(t, client, smartcar.ConnectOptions{RedirectURL: "https://eu.example.com/back"})
	callback, err := sim.Grant(link)
	require.NoError(t, err)
	require.Equal(t, "eu.example.com", mustParse(t, callback).Host)
	_, err = finish(client, callback, cookies)
	require.NoError(t, err)
}

func TestLinksOfTheAPIAreCompleted(t *testing.T) {
	sim := smartcartest.New()
	client := newClient(t, sim)
	partial := "https://connect.smartcar.com/oauth/reauthenticate?response_type=vehicle_id&client_id=" + sim.ClientID() + "&vehicle_id=" + smartcartest.ModelY
	link, err := client.Connect().CompleteURL(partial, "a-state")
	require.NoError(t, err)
	callback, err := sim.Grant(link)
	require.NoError(t, err)
	parsed, err := smartcar.ParseCallback(mustParse(t, callback).Query())
	require.NoError(t, err)
	require.NoError(t, parsed.VerifyState("a-state"))
	require.Equal(t, smartcartest.ModelY, parsed.VehicleID)

	for _, hostile := range []string{"", "https://evil.example/oauth/reauthenticate?vehicle_id=1", "https://connect.smartcar.com/oauth/authorize?x=1"} {
		_, err := client.Connect().CompleteURL(hostile, "a-state")
		require.ErrorIs(t, err, smartcar.ErrInvalidArgument)
	}
	_, err = client.Connect().CompleteURL(partial, "")
	require.ErrorIs(t, err, smartcar.ErrInvalidArgument)
}

// What needs the owner's login to be renewed says so, and leads there.
func TestReauthenticationIsAskedForByTheAPI(t *testing.T) {
	sim := smartcartest.New()
	client, user := connected(t, sim)
	v := user.Vehicle(smartcartest.MachE)
	sim.Inject(smartcartest.Fault{Path: "/odometer", ErrorType: "CONNECTED_SERVICES_ACCOUNT", ErrorCode: "AUTHENTICATION_FAILED"})
	_, err := v.Odometer(t.Context())
	require.ErrorIs(t, err, smartcar.ErrReauthenticate)
	var answer *smartcar.Error
	require.ErrorAs(t, err, &answer)
	if answer.Resolution.URL != "" {
		_, err = client.Connect().CompleteURL(answer.Resolution.URL, "a-state")
		require.NoError(t, err)
	}
	link, cookies := beginReauth(t, client, v, smartcar.ReauthOptions{})
	callback, err := sim.Grant(link)
	require.NoError(t, err)
	_, err = finish(client, callback, cookies)
	require.NoError(t, err)
}

func TestReauthOnV3(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		client := apiClient(t, sim, smartcar.V3)
		v := client.User(connect(t, sim, client).UserID).Vehicle(smartcartest.Model3)
		link, cookies := beginReauth(t, client, v, smartcar.ReauthOptions{})
		query := mustParse(t, link).Query()
		require.Equal(t, sim.ApplicationID(), query.Get("application_id"))
		require.Equal(t, "vehicle_id", query.Get("response_type"))
		require.Equal(t, v.ID(), query.Get("vehicle_id"))
		callback, err := sim.Grant(link)
		require.NoError(t, err)
		_, err = finish(client, withParameter(t, callback, "vehicle_id", smartcartest.MachE), cookies)
		require.ErrorIs(t, err, smartcar.ErrMalformedCallback)

		link, cookies = beginReauth(t, client, v, smartcar.ReauthOptions{})
		callback, err = sim.Grant(link)
		require.NoError(t, err)
		grant, err := finish(client, callback, cookies)
		require.NoError(t, err)
		require.Equal(t, v.ID(), grant.VehicleID)
		require.Equal(t, v.UserID(), grant.UserID)

		partial := "https://connect.smartcar.com/oauth/reauthenticate?response_type=vehicle_id&client_id=" + sim.ApplicationID() + "&vehicle_id=" + v.ID()
		link, err = client.Connect().CompleteURL(partial, "state-1")
		require.NoError(t, err)
		require.Equal(t, sim.RedirectURL(), mustParse(t, link).Query().Get("redirect_uri"))
		_, err = client.Connect().CompleteURL("https://evil.example/oauth/reauthenticate?response_type=vehicle_id", "state-1")
		require.ErrorIs(t, err, smartcar.ErrInvalidArgument)
	})
}
