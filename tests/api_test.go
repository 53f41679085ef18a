package smartcar_test

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/signals"
	"github.com/seed-498a1bc4/smartcar/smartcartest"
	"github.com/stretchr/testify/require"
)

// The credentials choose the version of the API; who has both has to say it.
func TestCredentialsChooseTheAPI(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*smartcar.Config)
		want   smartcar.API
	}{
		"of v3":   {func(c *smartcar.Config) { c.ClientSecret = "" }, smartcar.V3},
		"of v2.0": {func(c *smartcar.Config) { c.APIClientID, c.APIClientSecret = "", "" }, smartcar.V2},
	} {
		t.Run(name, func(t *testing.T) {
			var log bytes.Buffer
			config := bothConfig()
			tt.change(&config)
			client, err := smartcar.New(config, smartcar.WithLogger(slog.New(slog.NewTextHandler(&log, nil))))
			require.NoError(t, err)
			require.Equal(t, tt.want, client.API())
			require.Contains(t, log.String(), "api="+string(tt.want))

			_, err = smartcar.New(config, smartcar.WithAPI(map[smartcar.API]smartcar.API{smartcar.V2: smartcar.V3, smartcar.V3: smartcar.V2}[tt.want]))
			require.ErrorIs(t, err, smartcar.ErrInvalidArgument, "asked for the other one, whose credentials are not there")
		})
	}
	_, err := smartcar.New(bothConfig())
	require.ErrorContains(t, err, "WithAPI")
	_, err = smartcar.New(smartcar.Config{})
	requireArgumentError(t, err, "Config.ApplicationID")
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
			"signals": func() error { _, err := v.Signals(t.Context()); return err },
			"signal":  func() error { _, err := v.Signal(t.Context(), signals.ChargeVoltage); return err },
			"plan": func() error {
				_, err := v.SetChargeSchedule(t.Context(), smartcar.ChargeSchedule{Daily: &smartcar.ChargeTimes{Start: "22:00"}})
				return err
			},
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
			_, err = user.Vehicle("x").Signal(t.Context(), signals.Code(id))
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
			_, err = client.User("u").Vehicle("x").Signal(t.Context(), signals.Code(id))
			require.ErrorIs(t, err, smartcar.ErrInvalidArgument)
			require.ErrorIs(t, client.RemoveUser(t.Context(), id), smartcar.ErrInvalidArgument)
			_, err = client.Connection(t.Context(), id)
			require.ErrorIs(t, err, smartcar.ErrInvalidArgument)
		}
		require.Len(t, tap.to(""), before)
	})
}

// splitPath keeps what is escaped within its segment.
func splitPath(path string) []string { return strings.Split(path, "/") }

// moving is a client of each API over one store, with the default owner
// connected on v2.0 and another one who only v3 knows of.
func moving(t *testing.T, sim *smartcartest.Server) (v2, v3 *smartcar.Client, user *smartcar.User, db *spoiledStore) {
	t.Helper()
	db = newSpoiledStore()
	v2 = apiClient(t, sim, smartcar.V2, smartcar.WithStore(db))
	authorizeURL, cookies := begin(t, v2, smartcar.ConnectOptions{ExternalID: "acct_42"})
	callbackURL, err := sim.Grant(authorizeURL)
	require.NoError(t, err)
	grant, err := finish(v2, callbackURL, cookies)
	require.NoError(t, err)
	return v2, apiClient(t, sim, smartcar.V3, smartcar.WithStore(db)), v2.User(grant.UserID), db
}

func TestMoveToV3PairsWhatBothAPIsKnow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		_, v3, user, db := moving(t, sim)
		listed, err := listedVehicles(t.Context(), user)
		require.NoError(t, err)
		before, err := db.Load(t.Context(), "user/"+user.ID())
		require.NoError(t, err)

		report, err := v3.MoveToV3(t.Context(), smartcar.MoveOptions{Users: []string{user.ID(), "somebody-else"}})
		require.NoError(t, err)
		require.True(t, report.Done)
		require.Equal(t, []string{"somebody-else"}, report.MissingUsers)
		require.Equal(t, 7, report.Connections)
		require.Equal(t, 7, report.Matched)
		require.Len(t, report.Users, 1)
		u := report.Users[0]
		require.True(t, u.Known)
		require.False(t, u.Filed)
		require.Equal(t, "acct_42", u.ExternalID)
		require.Empty(t, u.MissingVehicles)
		ids := map[string]bool{}
		for _, v := range u.Vehicles {
			require.True(t, v.Known)
			require.NotEmpty(t, v.ConnectionID)
			ids[v.VehicleID] = true
		}
		for _, id := range listed {
			require.Contains(t, ids, id)
		}
		after, err := db.Load(t.Context(), "user/"+user.ID())
		require.NoError(t, err)
		require.Equal(t, before.Revision, after.Revision, "a dry run writes nothing")

		applied, err := v3.MoveToV3(t.Context(), smartcar.MoveOptions{Apply: true})
		require.NoError(t, err)
		require.True(t, applied.Users[0].Filed)
		filed, err := db.Load(t.Context(), "user/"+user.ID())
		require.NoError(t, err)
		require.NotEqual(t, before.Revision, filed.Revision)
		again, err := v3.MoveToV3(t.Context(), smartcar.MoveOptions{Apply: true})
		require.NoError(t, err)
		require.Equal(t, applied, again)
		unchanged, err := db.Load(t.Context(), "user/"+user.ID())
		require.NoError(t, err)
		require.Equal(t, filed.Revision, unchanged.Revision, "what is filed is not written again")

		// The tokens of v2.0 still work, and v3 needs none of them.
		_, err = user.Vehicle(smartcartest.Model3).Odometer(t.Context())
		require.NoError(t, err)
		_, err = v3.User(user.ID()).Vehicle(smartcartest.Model3).Odometer(t.Context())
		require.NoError(t, err)
	})
}

func TestMoveToV3ReportsWhatOnlyOneAPIKnows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		_, v3, user, _ := moving(t, sim)
		_, err := listedVehicles(t.Context(), user)
		require.NoError(t, err)
		// One car has gone from v3, and a new store knows nobody.
		for connection, err := range v3.Connections(t.Context(), smartcar.ConnectionFilter{VehicleID: smartcartest.MachE}) {
			require.NoError(t, err)
			_, err = v3.DeleteConnections(t.Context(), smartcar.ConnectionFilter{UserID: connection.UserID, VehicleID: connection.VehicleID})
			require.NoError(t, err)
		}
		report, err := v3.MoveToV3(t.Context(), smartcar.MoveOptions{})
		require.NoError(t, err)
		require.Equal(t, []string{smartcartest.MachE}, report.Users[0].MissingVehicles)
		require.Equal(t, 6, report.Matched)

		stranger := apiClient(t, sim, smartcar.V3)
		report, err = stranger.MoveToV3(t.Context(), smartcar.MoveOptions{})
		require.NoError(t, err)
		require.False(t, report.Users[0].Known)
		require.Zero(t, report.Matched)
		require.Equal(t, 6, report.Connections)
	})
}

// A run that is cut off at any page is resumed, also from JSON.
func TestMoveToV3IsResumed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cars := make([]smartcartest.Car, 250)
		for i := range cars {
			cars[i] = smartcartest.Car{Make: "FORD", Model: "Mustang Mach-E", Year: 2022}
		}
		sim := smartcartest.New(smartcartest.WithCars(cars...))
		_, v3, _, _ := moving(t, sim)
		var report *smartcar.MoveReport
		asked := 0
		for range 10 {
			asked++
			pages := 0
			sim.ClearFaults()
			sim.Inject(smartcartest.Fault{ErrorType: "VALIDATION", Times: -1, Match: func(r *http.Request) bool {
				if !strings.HasSuffix(r.URL.Path, "/v3/connections") {
					return false
				}
				pages++
				return pages > 1 // one page a run
			}})
			got, err := v3.MoveToV3(t.Context(), smartcar.MoveOptions{Resume: report})
			require.NotNil(t, got)
			raw, jsonErr := json.Marshal(got)
			require.NoError(t, jsonErr)
			report = new(smartcar.MoveReport)
			require.NoError(t, json.Unmarshal(raw, report))
			if err == nil {
				break
			}
			require.ErrorIs(t, err, smartcar.ErrValidation)
			require.False(t, report.Done)
		}
		require.True(t, report.Done)
		require.Equal(t, 250, report.Connections)
		require.Equal(t, 5, asked, "three pages of live connections, one after them, none of simulated ones")
	})
}

func TestMoveToV3IsForV3(t *testing.T) {
	sim := smartcartest.New()
	_, err := apiClient(t, sim, smartcar.V2).MoveToV3(t.Context(), smartcar.MoveOptions{})
	require.ErrorIs(t, err, smartcar.ErrNotSupported)
	_, err = apiClient(t, sim, smartcar.V3).MoveToV3(t.Context(), smartcar.MoveOptions{Resume: &smartcar.MoveReport{}})
	require.ErrorIs(t, err, smartcar.ErrInvalidArgument)
}

// A page of connections that cannot be used does not end the move.
func TestMoveGoesOnAfterAPageOfNoUse(t *testing.T) {
	client, tap := tapped(t, smartcartest.New())
	tap.instead = onlyTo("/v3/connections", func(r sentRequest) *http.Response {
		if r.query.Get("filter[vehicle.mode]") != "live" {
			return respond(200, `{"data":[]}`)
		}
		switch r.query.Get("page[number]") {
		case "1":
			return respond(200, `{"data":[{"id":"c0"},{"id":"c00","relationships":null}]}`)
		case "2":
			return respond(200, `{"data":[`+connectionOf("c1", "u1", "a", "v1", "live")+`]}`)
		}
		return respond(200, `{"data":[{"id":"c0"}]}`) // for ever
	})
	report, err := client.MoveToV3(t.Context(), smartcar.MoveOptions{})
	require.NoError(t, err)
	require.Len(t, report.Users, 1)
	require.True(t, report.Done)
}

// A request of one's own goes to v3 in the user's name.
func TestRequestOnV3(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMadeUp(t, aFord)
		m.tap.instead = onlyTo("/v3/", func(sentRequest) *http.Response { return respond(200, `{"data":{}}`) })
		_, err := m.Request(t.Context(), smartcar.Request{Path: "commands/climate/start", Method: "POST", Body: map[string]any{"data": nil}})
		require.NoError(t, err)
		sent := m.tap.to("/commands/climate/start")
		require.Len(t, sent, 1)
		require.Equal(t, "u", sent[0].header.Get("Sc-User-Id"))
		require.JSONEq(t, `{"data":null}`, sent[0].body)
		require.Equal(t, "vehicle.api.smartcar.com", sent[0].host)
	})
}
