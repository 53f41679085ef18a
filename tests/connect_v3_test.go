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

func externalIDs(t *testing.T, client *smartcar.Client, user string) map[string]bool {
	t.Helper()
	ids := map[string]bool{}
	for _, connection := range gather(t, client.Connections(t.Context(), smartcar.ConnectionFilter{UserID: user})) {
		ids[connection.ExternalID] = true
	}
	return ids
}

func TestConnectOnV3(t *testing.T) {
	for name, tt := range map[string]struct {
		options      smartcar.ConnectOptions
		opts         []smartcar.Option
		responseType string
		external     string // empty: a random one
		cars         int
	}{
		"plain":            {smartcar.ConnectOptions{}, nil, "none", "", 7},
		"external id":      {smartcar.ConnectOptions{ExternalID: "acct_42"}, nil, "none", "acct_42", 7},
		"odd external id":  {smartcar.ConnectOptions{ExternalID: `a b&c="ü"+%20`}, nil, "none", `a b&c="ü"+%20`, 7},
		"code, too":        {smartcar.ConnectOptions{ExternalID: "acct_42", RequestCode: true}, nil, "code", "acct_42", 7},
		"one make":         {smartcar.ConnectOptions{Make: "FORD"}, nil, "none", "", 1},
		"simulated":        {smartcar.ConnectOptions{Mode: smartcar.ModeSimulated}, nil, "none", "", 7},
		"simulated always": {smartcar.ConnectOptions{}, []smartcar.Option{smartcar.WithMode(smartcar.ModeSimulated)}, "none", "", 7},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sim := smartcartest.New()
				client, tap := tapped(t, sim, tt.opts...)
				link, cookies := begin(t, client, tt.options)
				query := mustParse(t, link).Query()
				require.Equal(t, tt.responseType, query.Get("response_type"))
				require.Equal(t, sim.ApplicationID(), query.Get("application_id"))
				require.Empty(t, query.Get("client_id"))
				callback, err := sim.Grant(link)
				require.NoError(t, err)
				require.Equal(t, tt.options.RequestCode, mustParse(t, callback).Query().Has("code"))
				grant, err := finish(client, callback, cookies)
				require.NoError(t, err)
				require.Equal(t, sim.UserID(), grant.UserID)
				require.Equal(t, tt.options.ExternalID, grant.ExternalID, "a random proof is nobody's id of an owner")
				require.Empty(t, tap.to("/oauth/token"), "a code is not exchanged")

				vehicles := 0
				for v, err := range client.User(grant.UserID).Vehicles(t.Context()) {
					require.NoError(t, err)
					require.Equal(t, grant.UserID, v.UserID())
					vehicles++
				}
				require.Equal(t, tt.cars, vehicles)
				if query.Get("mode") == "" {
					for id := range externalIDs(t, client, grant.UserID) {
						require.NotEmpty(t, id)
						require.True(t, tt.external == "" || id == tt.external)
					}
				}
				_, err = finish(client, callback, cookies)
				require.ErrorIs(t, err, smartcar.ErrStateReplayed)
			})
		})
	}
}

// Each proof is one of its own.
func TestProofsOfV3AreRandom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := apiClient(t, smartcartest.New(), smartcar.V3)
		seen := map[string]bool{}
		for range 20 {
			link, _ := begin(t, client, smartcar.ConnectOptions{})
			id := mustParse(t, link).Query().Get("external_id")
			require.GreaterOrEqual(t, len(id), 26)
			require.False(t, seen[id])
			seen[id] = true
		}
	})
}

func TestStartOnV3RefusesWhatNobodyComesBackFrom(t *testing.T) {
	sim := smartcartest.New()
	start := func(config smartcar.Config, o smartcar.ConnectOptions) (*httptest.ResponseRecorder, error) {
		client, err := smartcar.New(config, smartcar.WithAPI(smartcar.V3), smartcar.WithHTTPClient(&http.Client{Transport: sim.Transport()}))
		require.NoError(t, err)
		w := httptest.NewRecorder()
		return w, client.Connect().Start(w, httptest.NewRequest(http.MethodGet, "/", nil), o)
	}
	hosted := bothConfig()
	hosted.RedirectURL = ""
	for name, tt := range map[string]struct {
		config   smartcar.Config
		options  smartcar.ConnectOptions
		argument string
	}{
		"hosted":            {bothConfig(), smartcar.ConnectOptions{Hosted: true}, "ConnectOptions.RedirectURL"},
		"no redirect":       {hosted, smartcar.ConnectOptions{}, "ConnectOptions.RedirectURL"},
		"clear":             {bothConfig(), smartcar.ConnectOptions{ClearExternalID: true}, "ConnectOptions.ClearExternalID"},
		"the word for none": {bothConfig(), smartcar.ConnectOptions{ExternalID: "null"}, "ConnectOptions.ExternalID"},
	} {
		w, err := start(tt.config, tt.options)
		requireArgumentError(t, err, tt.argument)
		require.Empty(t, w.Header(), name)
	}
	w, err := start(hosted, smartcar.ConnectOptions{RedirectURL: "https://example.com/elsewhere"})
	require.NoError(t, err)
	require.NotEmpty(t, w.Header().Get("Location"))
}

// A run that ends at Smartcar: the user is found by the external id.
func TestHostedConnectOnV3(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		client := apiClient(t, sim, smartcar.V3)
		link, err := client.Connect().AuthorizeURL(smartcar.ConnectOptions{Hosted: true, ExternalID: "acct_42"}, "")
		require.NoError(t, err)
		require.False(t, mustParse(t, link).Query().Has("redirect_uri"))
		_, err = sim.Grant(link)
		require.ErrorContains(t, err, "its own page")
		found := ""
		for connection, err := range client.Connections(t.Context(), smartcar.ConnectionFilter{ExternalID: "acct_42"}) {
			require.NoError(t, err)
			found = connection.UserID
		}
		require.Equal(t, sim.UserID(), found)
		_, err = client.User(found).Vehicle(smartcartest.MachE).Odometer(t.Context())
		require.NoError(t, err)
	})
}

// The id is cleared by a link of one's own; Exchange then has nothing to go by.
func TestClearingTheExternalID(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		client := apiClient(t, sim, smartcar.V3)
		link, cookies := begin(t, client, smartcar.ConnectOptions{ExternalID: "acct_42"})
		callback, err := sim.Grant(link)
		require.NoError(t, err)
		grant, err := finish(client, callback, cookies)
		require.NoError(t, err)
		require.Equal(t, map[string]bool{"acct_42": true}, externalIDs(t, client, grant.UserID))

		link, err = client.Connect().AuthorizeURL(smartcar.ConnectOptions{ClearExternalID: true}, "state-1")
		require.NoError(t, err)
		require.Equal(t, "null", mustParse(t, link).Query().Get("external_id"))
		callback, err = sim.Grant(link)
		require.NoError(t, err)
		require.Equal(t, map[string]bool{"": true}, externalIDs(t, client, grant.UserID))
		parsed, err := smartcar.ParseCallback(mustParse(t, callback).Query())
		require.NoError(t, err)
		_, err = client.Connect().Exchange(t.Context(), parsed, smartcar.Expected{State: "state-1"})
		requireArgumentError(t, err, "Expected.ExternalID")
	})
}

func TestExchangeOnV3(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		client := apiClient(t, sim, smartcar.V3)
		link, err := client.Connect().AuthorizeURL(smartcar.ConnectOptions{ExternalID: "acct_42", Mode: smartcar.ModeSimulated}, "state-1")
		require.NoError(t, err)
		callback, err := sim.Grant(link)
		require.NoError(t, err)
		parsed, err := smartcar.ParseCallback(mustParse(t, callback).Query())
		require.NoError(t, err)
		_, err = client.Connect().Exchange(t.Context(), parsed, smartcar.Expected{State: "state-2", ExternalID: "acct_42"})
		require.ErrorIs(t, err, smartcar.ErrStateMismatch)
		grant, err := client.Connect().Exchange(t.Context(), parsed, smartcar.Expected{State: "state-1", ExternalID: "acct_42", Mode: smartcar.ModeSimulated})
		require.NoError(t, err)
		require.Equal(t, sim.UserID(), grant.UserID)
		require.Equal(t, "acct_42", grant.ExternalID)
	})
}

// Smartcar may show a connection a little late.
func TestConnectionsThatLag(t *testing.T) {
	for name, tt := range map[string]struct {
		lag     time.Duration
		waits   bool
		pending bool
	}{
		"a moment": {900 * time.Millisecond, true, false}, "two pauses": {2900 * time.Millisecond, true, false},
		"minutes": {5 * time.Minute, true, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sim := smartcartest.New(smartcartest.WithConnectionLag(tt.lag))
				db := newSpoiledStore()
				client := apiClient(t, sim, smartcar.V3, smartcar.WithStore(db))
				link, cookies := begin(t, client, smartcar.ConnectOptions{ExternalID: "acct_42"})
				callback, err := sim.Grant(link)
				require.NoError(t, err)
				grant, err := finish(client, callback, cookies)
				if !tt.pending {
					require.NoError(t, err)
					require.Equal(t, sim.UserID(), grant.UserID)
					return
				}
				var pending *smartcar.PendingGrantError
				require.ErrorAs(t, err, &pending)
				require.Nil(t, grant)

				other := apiClient(t, sim, smartcar.V3, smartcar.WithStore(db)) // another process
				_, err = other.Connect().Resume(t.Context(), pending.GrantID)
				require.ErrorIs(t, err, smartcar.ErrMalformedCallback, "not yet")
				time.Sleep(tt.lag)
				db.deletes = func(string) error { return errStoreDown }
				grant, err = other.Connect().Resume(t.Context(), pending.GrantID)
				require.ErrorIs(t, err, errStoreDown)
				require.Nil(t, grant, "a grant or an error")
				db.deletes = nil
				grant, err = other.Connect().Resume(t.Context(), pending.GrantID)
				require.NoError(t, err)
				require.Equal(t, sim.UserID(), grant.UserID)
				require.Equal(t, "acct_42", grant.ExternalID)
				require.Equal(t, "https://www.tesla.com/_ak/smartcar.com", grant.VirtualKeyURL.String())
				key, err := client.User(grant.UserID).VirtualKeyURL(t.Context())
				require.NoError(t, err)
				require.Equal(t, grant.VirtualKeyURL, key)
				_, err = client.Connect().Resume(t.Context(), pending.GrantID)
				require.Error(t, err, "once")
			})
		})
	}
}

// Connect's own errors are the same on v3.
func TestConnectErrorsOnV3(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		client, tap := tapped(t, sim)
		link, cookies := begin(t, client, smartcar.ConnectOptions{})
		callback, err := sim.Deny(link)
		require.NoError(t, err)
		_, err = finish(client, callback, cookies)
		require.ErrorIs(t, err, smartcar.ErrAccessDenied)
		require.Empty(t, tap.to("/v3/"))
		link, cookies = begin(t, client, smartcar.ConnectOptions{})
		callback, err = sim.AnswerConnect(link, url.Values{"error": {"vehicle_incompatible"}, "vehicle": {smartcartest.Model3}})
		require.NoError(t, err)
		_, err = finish(client, callback, cookies)
		var refused *smartcar.ConnectError
		require.ErrorAs(t, err, &refused)
		require.NotEmpty(t, refused.VIN)
	})
}
