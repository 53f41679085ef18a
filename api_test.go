package smartcar_test

import (
	"net/http"
	"testing"
	"testing/synctest"

	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/smartcartest"
	"github.com/stretchr/testify/require"
)

const (
	someUUID       = "8229df9f-91a0-4ff0-a1ae-a1f38ee24d07"
	otherUUID      = "00000000-91a0-4ff0-a1ae-a1f38ee24d07"
	someAPIClient  = "client_01J9ZV3"
	someAPISecret  = "s3cr3t-of-the-api"
	someLegacy     = "s3cr3t-of-legacy"
	someCallback   = "https://example.com/callback"
	someManagement = "s3cr3t-management"
)

// Whoever has the credentials of v3 and forgets the option is told of it.
func TestCredentialsOfV3WithoutTheOption(t *testing.T) {
	config := bothConfig()
	config.ClientSecret = ""
	_, err := smartcar.New(config)
	require.ErrorContains(t, err, "WithAPI(smartcar.V3)")
}

func bothConfig() smartcar.Config {
	return smartcar.Config{
		ClientID: someUUID, ClientSecret: someLegacy, APIClientID: someAPIClient, APIClientSecret: someAPISecret,
		RedirectURL: someCallback, StateKey: stateKey, ManagementToken: someManagement,
	}
}

// Every confusion of the four credentials is found by New, in the field where
// it stands.
func TestCredentialsInTheWrongField(t *testing.T) {
	both, v2, v3 := []smartcar.API{smartcar.V2, smartcar.V3}, []smartcar.API{smartcar.V2}, []smartcar.API{smartcar.V3}
	for name, tt := range map[string]struct {
		apis   []smartcar.API
		change func(*smartcar.Config)
		field  string // empty: it is right
	}{
		"all of it":                       {both, func(*smartcar.Config) {}, ""},
		"application id alone":            {both, func(c *smartcar.Config) { c.ClientID, c.ApplicationID = "", someUUID }, ""},
		"the same id twice":               {both, func(c *smartcar.Config) { c.ApplicationID = someUUID }, ""},
		"two application ids":             {both, func(c *smartcar.Config) { c.ApplicationID = otherUUID }, "Config.ApplicationID"},
		"API client id as ClientID":       {both, func(c *smartcar.Config) { c.ClientID = someAPIClient }, "Config.ClientID"},
		"API client id as ApplicationID":  {both, func(c *smartcar.Config) { c.ClientID, c.ApplicationID = "", someAPIClient }, "Config.ApplicationID"},
		"short state key":                 {both, func(c *smartcar.Config) { c.StateKey = stateKey[:31] }, "Config.StateKey"},
		"relative redirect":               {both, func(c *smartcar.Config) { c.RedirectURL = "/callback" }, "Config.RedirectURL"},
		"redirect with a fragment":        {both, func(c *smartcar.Config) { c.RedirectURL += "#here" }, "Config.RedirectURL"},
		"no id on v2":                     {v2, func(c *smartcar.Config) { c.ClientID = "" }, "Config.ClientID"},
		"no id on v3":                     {v3, func(c *smartcar.Config) { c.ClientID = "" }, "Config.ApplicationID"},
		"no legacy secret":                {v2, func(c *smartcar.Config) { c.ClientSecret = "" }, "Config.ClientSecret"},
		"v3 needs no legacy secret":       {v3, func(c *smartcar.Config) { c.ClientSecret, c.ManagementToken = "", "" }, ""},
		"no redirect on v2":               {v2, func(c *smartcar.Config) { c.RedirectURL = "" }, "Config.RedirectURL"},
		"v3 needs no redirect":            {v3, func(c *smartcar.Config) { c.RedirectURL, c.StateKey = "", nil }, ""},
		"v2 needs nothing of v3":          {v2, func(c *smartcar.Config) { c.APIClientID, c.APIClientSecret = "", "" }, ""},
		"no API client id":                {v3, func(c *smartcar.Config) { c.APIClientID = "" }, "Config.APIClientID"},
		"UUID as APIClientID":             {v3, func(c *smartcar.Config) { c.APIClientID = someUUID }, "Config.APIClientID"},
		"no API secret":                   {v3, func(c *smartcar.Config) { c.APIClientSecret = "" }, "Config.APIClientSecret"},
		"legacy secret as API secret":     {v3, func(c *smartcar.Config) { c.APIClientSecret = someLegacy }, "Config.APIClientSecret"},
		"an API client id without prefix": {v3, func(c *smartcar.Config) { c.APIClientID = "m2m-01J9ZV3" }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			for _, api := range tt.apis {
				config := bothConfig()
				tt.change(&config)
				client, err := smartcar.New(config, smartcar.WithAPI(api))
				if tt.field == "" {
					require.NoError(t, err, string(api))
					continue
				}
				require.Nil(t, client)
				requireArgumentError(t, err, tt.field)
				requireUnprintable(t, name, err, []string{someAPISecret, someLegacy, someManagement, string(stateKey)})
			}
		})
	}
}

func TestOptionsOfAPIv3AreValidated(t *testing.T) {
	for argument, opt := range map[string]smartcar.Option{
		"WithAPI": smartcar.WithAPI("v4"),
	} {
		_, err := smartcar.New(bothConfig(), opt)
		requireArgumentError(t, err, argument)
	}
}

// What is secret of API v3 prints as little as the rest.
func TestNothingOfAPIv3Prints(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		client, tap := tapped(t, sim)
		user := client.User(connect(t, sim, client).UserID)
		_, err := user.Vehicle(smartcartest.Model3).Battery(t.Context())
		require.NoError(t, err)
		token := tap.to("/signals")[0].header.Get("Authorization")[len("Bearer "):]
		hidden := []string{sim.APIClientSecret(), sim.ClientSecret(), sim.ManagementToken(), string(stateKey), token}
		requireUnprintable(t, "config", bothConfig(), []string{someAPISecret, someLegacy, someManagement, string(stateKey)})
		requireUnprintable(t, "client", client, hidden)
		requireUnprintable(t, "user", user, hidden)
		requireUnprintable(t, "vehicle", user.Vehicle(smartcartest.Model3), hidden)
		requireUnprintable(t, "connect", client.Connect(), hidden)
	})
}

// One configuration, one option: the same program on both.
func TestOneConfigurationForBothAPIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		for _, api := range []smartcar.API{smartcar.V2, smartcar.V3} {
			client := apiClient(t, sim, api)
			_, err := client.User(connect(t, sim, client).UserID).Vehicle(smartcartest.MachE).Odometer(t.Context())
			require.NoError(t, err)
		}
		require.Equal(t, 1, sim.AppTokenRequests())
	})
}

// Nothing of one API reaches the hosts of the other.
func TestV3SpeaksToItsOwnHostsOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		client, tap := tapped(t, sim)
		v := client.User(connect(t, sim, client).UserID).Vehicle(smartcartest.Model3)
		_, err := v.Battery(t.Context())
		require.NoError(t, err)
		_, err = v.Lock(t.Context())
		require.NoError(t, err)
		_, err = client.Compatibility(t.Context(), "5YJ3E1EA2NF000001", smartcar.CompatibilityOptions{Scope: []string{"read_vin"}})
		require.ErrorIs(t, err, smartcar.ErrNotSupported, "its v3 endpoint is not documented, and the old one takes other credentials")
		for _, r := range tap.to("") {
			require.Contains(t, []string{"iam.smartcar.com", "vehicle.api.smartcar.com"}, r.host, r.path)
			require.NotContains(t, r.header.Get("Authorization"), "Basic")
			require.NotContains(t, r.body, sim.ClientSecret())
			require.Contains(t, r.header.Get("User-Agent"), "smartcar-go/")
			if r.host != "iam.smartcar.com" {
				require.Empty(t, r.header.Get("Sc-Unit-System"), "v3 names the unit of each number")
			}
		}
	})
}

// What only API v2.0 knows is refused before any request, and the reverse.
func TestWhatOneAPICannotDo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		client, tap := tapped(t, sim)
		_, err := client.ImportTokens(t.Context(), smartcar.Tokens{RefreshToken: "refresh"})
		var not *smartcar.NotSupportedError
		require.ErrorAs(t, err, &not)
		require.Equal(t, "v3", not.API)
		require.Empty(t, tap.to(""))

		old := newClient(t, sim)
		v := old.User(connect(t, sim, old).UserID).Vehicle(smartcartest.Model3)
		before := len(sim.Requests())
		for name, call := range map[string]func() error{
			"signals":    func() error { _, err := v.Signals(t.Context()); return err },
			"signal":     func() error { _, err := v.Signal(t.Context(), smartcar.SignalChargeVoltage); return err },
			"port":       func() error { _, err := v.OpenChargePort(t.Context()); return err },
			"schedule":   func() error { _, err := v.DeleteChargeSchedule(t.Context(), "sched_1"); return err },
			"connection": func() error { _, err := old.Connection(t.Context(), "id"); return err },
			"user":       func() error { return old.RemoveUser(t.Context(), v.UserID()) },
			"hosted": func() error {
				_, err := old.Connect().AuthorizeURL(smartcar.ConnectOptions{Hosted: true}, "state")
				return err
			},
			"code": func() error {
				_, err := old.Connect().AuthorizeURL(smartcar.ConnectOptions{RequestCode: true}, "state")
				return err
			},
		} {
			err := call()
			require.ErrorAs(t, err, &not, name)
			require.Equal(t, "v2.0", not.API, name)
			require.ErrorIs(t, err, smartcar.ErrNotSupported, name)
		}
		require.Len(t, sim.Requests(), before)
	})
}

// Ids go into a path and a header: whatever they hold, they stay there.
func TestOddIDsOnV3(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		client, tap := tapped(t, sim)
		tap.instead = onlyTo("/v3/", func(sentRequest) *http.Response { return respond(404, `{"errors":[]}`) })
		for _, id := range []string{"a/b", "a?b=c", "a#b", "a b", "%2e%2e", "ü", `"`} {
			user := client.User("user " + id)
			_, err := user.Vehicle(id).Odometer(t.Context())
			require.Error(t, err)
			_, err = user.Vehicle("x").Signal(t.Context(), smartcar.SignalCode(id))
			require.Error(t, err)
			_, err = user.Vehicle("x").DeleteChargeSchedule(t.Context(), id)
			require.Error(t, err)
			require.Error(t, client.RemoveUser(t.Context(), id))
			_, err = client.Connection(t.Context(), id)
			require.Error(t, err)
		}
		for _, r := range tap.to("/v3/") {
			require.NotContains(t, r.path, "..", r.path)
			require.LessOrEqual(t, len(splitPath(r.path)), 6, r.path)
			require.Empty(t, r.query.Get("b"))
			if splitPath(r.path)[2] == "vehicles" && len(splitPath(r.path)) > 4 {
				require.Contains(t, r.header.Get("Sc-User-Id"), "user ", "%s %s", r.method, r.path)
			}
		}
		before := len(tap.to(""))
		for _, id := range []string{"", ".", "..", "a\nb", "a\x00b"} {
			_, err := client.User(id).Vehicle("x").Odometer(t.Context())
			require.ErrorIs(t, err, smartcar.ErrInvalidArgument)
			_, err = client.User("u").Vehicle(id).Lock(t.Context())
			require.ErrorIs(t, err, smartcar.ErrInvalidArgument)
			_, err = client.User("u").Vehicle("x").Signal(t.Context(), smartcar.SignalCode(id))
			require.ErrorIs(t, err, smartcar.ErrInvalidArgument)
			require.ErrorIs(t, client.RemoveUser(t.Context(), id), smartcar.ErrInvalidArgument)
			_, err = client.Connection(t.Context(), id)
			require.ErrorIs(t, err, smartcar.ErrInvalidArgument)
		}
		require.Len(t, tap.to(""), before)
	})
}
