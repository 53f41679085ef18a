package smartcar_test

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/smartcartest"
	"github.com/stretchr/testify/require"
)

func TestConnectionsGoFromPageToPage(t *testing.T) {
	for last, mode := range map[string]string{"connections.last-page-null-cursor": "simulated", "connections.last-page-absent-cursor": "test"} {
		t.Run(last, func(t *testing.T) {
			transport := newCanned(t).on(connectionsPath,
				readFixture(t, "v2/management/connections.page-1").reply(), readFixture(t, "v2/management/"+last).reply())
			got, err := collectConnections(t.Context(), cannedClient(t, transport), smartcar.ConnectionFilter{})
			require.NoError(t, err)
			require.Equal(t, []smartcar.Connection{
				{UserID: fixtureUser, VehicleID: fixtureVehicle, ConnectedAt: time.Date(2023, 8, 10, 15, 0, 0, 0, time.UTC), Mode: "live"},
				{UserID: fixtureUser, VehicleID: "01692a3d-5386-4781-a2d6-21f8f578c8cb", ConnectedAt: time.Date(2023, 8, 9, 11, 30, 0, 0, time.UTC), Mode: "live"},
				{UserID: "d92b69cf-b82c-4cab-85c7-53f56002b2c0", VehicleID: "8b983eac-5d99-4025-a7e2-8f346346d893", ConnectedAt: time.Date(2023, 8, 1, 9, 0, 0, 0, time.UTC), Mode: mode},
			}, got)
			sent := transport.requests(connectionsPath)
			require.Len(t, sent, 2)
			require.Equal(t, "management.smartcar.com", sent[0].host)
			require.Empty(t, sent[0].query.Get("cursor"))
			require.Equal(t, readFixture(t, "v2/management/"+last).Request.Query["cursor"], sent[1].query.Get("cursor"), "escaped and back")
			require.Equal(t, "Basic "+base64.StdEncoding.EncodeToString([]byte("default:management-token")), sent[1].header.Get("Authorization"))
		})
	}
}

func TestConnectionsOfOddAnswers(t *testing.T) {
	page := readFixture(t, "v2/management/connections.page-1").reply()
	for name, tt := range map[string]struct {
		replies         []reply
		count, requests int
	}{
		"none":                      {[]reply{readFixture(t, "v2/management/connections.empty").reply()}, 0, 1},
		"the older name of a date":  {[]reply{readFixture(t, "v2/management/connections.created-at").reply()}, 1, 1},
		"one cursor for ever":       {[]reply{page}, 2, 2},
		"a cursor and nothing else": {[]reply{jsonReply(200, `{"connections":[],"paging":{"cursor":"more"}}`)}, 0, 1},
		"no paging at all":          {[]reply{jsonReply(200, `{"connections":[{"userId":"u","vehicleId":"v"}]}`)}, 1, 1},
	} {
		t.Run(name, func(t *testing.T) {
			transport := newCanned(t).on(connectionsPath, tt.replies...)
			got, err := collectConnections(t.Context(), cannedClient(t, transport), smartcar.ConnectionFilter{})
			require.NoError(t, err)
			require.Len(t, got, tt.count)
			require.Len(t, transport.requests(connectionsPath), tt.requests)
			for _, c := range got {
				if name == "the older name of a date" {
					require.Equal(t, time.Date(2023, 8, 10, 15, 0, 0, 0, time.UTC), c.ConnectedAt)
				}
			}
		})
	}
}

// Cursors that lead in a circle end, sooner or later.
func TestConnectionsThatGoInACircleEnd(t *testing.T) {
	page := func(cursor string) reply {
		return jsonReply(200, `{"connections":[{"userId":"u","vehicleId":"v"}],"paging":{"cursor":"`+cursor+`"}}`)
	}
	transport := newCanned(t).on(connectionsPath, page("a"), page("b"), page("a"), page("b"), page("a"), page("b"), jsonReply(500, `{}`))
	got, err := collectConnections(t.Context(), cannedClient(t, transport), smartcar.ConnectionFilter{})
	require.NoError(t, err)
	require.LessOrEqual(t, len(got), 3)
}

func TestConnectionsStopWithTheLoop(t *testing.T) {
	transport := newCanned(t).on(connectionsPath, readFixture(t, "v2/management/connections.page-1").reply())
	client := cannedClient(t, transport)
	for _, err := range client.Connections(t.Context(), smartcar.ConnectionFilter{}) {
		require.NoError(t, err)
		break
	}
	require.Len(t, transport.requests(connectionsPath), 1, "the next page was not asked for")

	transport.on(connectionsPath, readFixture(t, "v2/management/connections.page-1").reply(), readFixture(t, "v2/errors/server.record-not-found").reply())
	var got, failed int
	for c, err := range client.Connections(t.Context(), smartcar.ConnectionFilter{}) {
		if err != nil {
			failed++
			require.Zero(t, c)
			var e *smartcar.Error
			require.ErrorAs(t, err, &e)
			require.Equal(t, "RECORD_NOT_FOUND", e.Code)
			continue
		}
		got++
	}
	require.Equal(t, []int{2, 1}, []int{got, failed}, "one error, then the end")
}

func TestConnectionsFilter(t *testing.T) {
	transport := newCanned(t).on(connectionsPath, readFixture(t, "v2/management/connections.empty").reply())
	filter := smartcar.ConnectionFilter{UserID: "a&b=c", VehicleID: "x y", Mode: smartcar.ModeSimulated}
	_, err := collectConnections(t.Context(), cannedClient(t, transport), filter)
	require.NoError(t, err)
	require.Equal(t, url.Values{"user_id": {"a&b=c"}, "vehicle_id": {"x y"}, "mode": {"simulated"}, "limit": {"100"}},
		transport.requests(connectionsPath)[0].query)
	require.Equal(t, smartcar.ConnectionFilter{UserID: "a&b=c", VehicleID: "x y", Mode: smartcar.ModeSimulated}, filter)
}

func TestDeleteConnectionsFixtures(t *testing.T) {
	for name, filter := range map[string]smartcar.ConnectionFilter{
		"delete-connections":      {UserID: fixtureUser},
		"delete-connections.pair": {UserID: fixtureUser, VehicleID: fixtureVehicle},
	} {
		t.Run(name, func(t *testing.T) {
			f := readFixture(t, "v2/management/"+name)
			transport := newCanned(t).on(deleteConnsPath, f.reply())
			gone, err := cannedClient(t, transport).DeleteConnections(t.Context(), filter)
			require.NoError(t, err)
			require.Equal(t, smartcar.Connection{UserID: fixtureUser, VehicleID: fixtureVehicle}, gone[0])
			sent := transport.requests(deleteConnsPath)
			require.Len(t, sent, 1)
			require.Empty(t, sent[0].body, "a DELETE has no body")
			want := url.Values{}
			for k, v := range f.Request.Query {
				want.Set(k, v)
			}
			require.Equal(t, want, sent[0].query)
		})
	}
}

func TestDeleteConnectionsNeverDeletesAll(t *testing.T) {
	client := cannedClient(t, newCanned(t))
	for _, filter := range []smartcar.ConnectionFilter{{}, {Mode: smartcar.ModeLive}, {UserID: "u", Mode: smartcar.ModeLive}} {
		gone, err := client.DeleteConnections(t.Context(), filter)
		require.ErrorIs(t, err, smartcar.ErrInvalidArgument)
		require.Nil(t, gone)
	}
}

func TestManagementNeedsItsToken(t *testing.T) {
	client, err := smartcar.New(smartcar.Config{ClientID: "id", ClientSecret: "secret", RedirectURL: "https://example.com/callback"})
	require.NoError(t, err)
	_, err = collectConnections(t.Context(), client, smartcar.ConnectionFilter{})
	var argument *smartcar.ArgumentError
	require.ErrorAs(t, err, &argument)
	require.Equal(t, "Config.ManagementToken", argument.Argument)
	_, err = client.DeleteConnections(t.Context(), smartcar.ConnectionFilter{UserID: "u"})
	require.ErrorIs(t, err, smartcar.ErrInvalidArgument)
}

func TestCompatibilityFixtures(t *testing.T) {
	capable := []smartcar.Capability{
		{Permission: "read_engine_oil", Endpoint: "/engine/oil", Capable: new(false), Reason: "SMARTCAR_NOT_CAPABLE"},
		{Permission: "read_battery", Endpoint: "/battery", Capable: new(true)},
	}
	want := map[string]smartcar.Compatibility{
		"by-vin.compatible":          {Compatible: new(true), Capabilities: capable},
		"by-vin.europe":              {Compatible: new(true)},
		"by-vin.make-not-compatible": {Compatible: new(false), Reason: "MAKE_NOT_COMPATIBLE"},
		"by-vin.not-compatible":      {Compatible: new(false), Reason: "VEHICLE_NOT_COMPATIBLE"},
	}
	for _, name := range fixtureNames(t, "v2/compatibility") {
		t.Run(name, func(t *testing.T) {
			f := readFixture(t, "v2/compatibility/"+name)
			transport := newCanned(t).on(compatibilityPath, f.reply())
			got, err := cannedClient(t, transport).Compatibility(t.Context(), f.Request.Query["vin"], smartcar.CompatibilityOptions{
				Scope: []string{"read_engine_oil", "read_battery"}, Country: f.Request.Query["country"],
			})
			require.NoError(t, err)
			require.Contains(t, want, name)
			expected := want[name]
			require.Equal(t, expected.Compatible, got.Compatible)
			require.Equal(t, expected.Reason, got.Reason)
			require.Equal(t, expected.Capabilities, got.Capabilities)
			sent := transport.requests(compatibilityPath)
			require.Len(t, sent, 1)
			for k, v := range f.Request.Query {
				require.Equal(t, v, sent[0].query.Get(k))
			}
			require.Len(t, sent[0].query, len(f.Request.Query))
			require.Equal(t, "Basic "+base64.StdEncoding.EncodeToString([]byte("8229df9f-91a0-4ff0-a1ae-a1f38ee24d07:client-secret")),
				sent[0].header.Get("Authorization"))
		})
	}
}

func TestCompatibilityRefusesWhatCannotBeAsked(t *testing.T) {
	client := cannedClient(t, newCanned(t))
	good := smartcar.CompatibilityOptions{Scope: []string{"read_battery"}}
	for name, call := range map[string]struct {
		vin     string
		options smartcar.CompatibilityOptions
	}{
		"no VIN":           {"", good},
		"short VIN":        {"5YJSA1CN5DFP0010", good},
		"VIN with I":       {"5YJSA1CN5DFP0010I", good},
		"no scope":         {"5YJSA1CN5DFP00101", smartcar.CompatibilityOptions{}},
		"two in one entry": {"5YJSA1CN5DFP00101", smartcar.CompatibilityOptions{Scope: []string{"read_battery read_vin"}}},
		"country":          {"5YJSA1CN5DFP00101", smartcar.CompatibilityOptions{Scope: []string{"read_vin"}, Country: "Germany"}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := client.Compatibility(t.Context(), call.vin, call.options)
			require.ErrorIs(t, err, smartcar.ErrInvalidArgument)
			require.Nil(t, got)
			require.NotContains(t, err.Error(), "5YJSA", "a VIN is personal data")
		})
	}
}

// The same calls against the simulator, over several of its pages.
func TestManagementAgainstTheSimulator(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const cars = 230
		garage := make([]smartcartest.Car, cars)
		for i := range garage {
			garage[i] = smartcartest.Car{ID: "car-" + strconv.Itoa(i), Make: "FORD", Model: "Focus", Year: 2020}
		}
		garage[0].VIN = "5YJSA1CN5DFP00101"
		sim := smartcartest.New(smartcartest.WithCars(garage...))
		client, user := connected(t, sim)
		ctx := t.Context()

		all, err := collectConnections(ctx, client, smartcar.ConnectionFilter{})
		require.NoError(t, err)
		require.Len(t, all, cars)
		ids := map[string]bool{}
		for _, c := range all {
			require.Equal(t, user.ID(), c.UserID)
			require.Equal(t, "live", c.Mode)
			require.True(t, time.Now().Equal(c.ConnectedAt))
			ids[c.VehicleID] = true
		}
		require.Len(t, ids, cars, "each once")

		one, err := collectConnections(ctx, client, smartcar.ConnectionFilter{VehicleID: "car-7"})
		require.NoError(t, err)
		require.Len(t, one, 1)
		gone, err := client.DeleteConnections(ctx, smartcar.ConnectionFilter{UserID: user.ID(), VehicleID: "car-7"})
		require.NoError(t, err)
		require.Equal(t, []smartcar.Connection{{UserID: user.ID(), VehicleID: "car-7"}}, gone)
		_, err = user.Vehicle("car-7").Odometer(ctx)
		require.ErrorIs(t, err, smartcar.ErrUnauthorized, "the connection has ended")
		_, err = user.Vehicle("car-8").Odometer(ctx)
		require.NoError(t, err, "the others have not")

		compatibility, err := client.Compatibility(ctx, "5yjsa1cn5dfp00101", smartcar.CompatibilityOptions{Scope: []string{"read_battery"}})
		require.NoError(t, err)
		require.Equal(t, new(true), compatibility.Compatible)
		require.NotEmpty(t, compatibility.Capabilities)

		gone, err = client.DeleteConnections(ctx, smartcar.ConnectionFilter{UserID: user.ID()})
		require.NoError(t, err)
		require.Len(t, gone, cars-1)
		left, err := collectConnections(ctx, client, smartcar.ConnectionFilter{})
		require.NoError(t, err)
		require.Empty(t, left)
	})
}

// A wrong management token fails the call it is for, and no other.
func TestWrongManagementToken(t *testing.T) {
	sim := smartcartest.New()
	client, err := smartcar.New(smartcar.Config{
		ClientID: sim.ClientID(), ClientSecret: sim.ClientSecret(), RedirectURL: sim.RedirectURL(),
		StateKey: stateKey, ManagementToken: "wrong",
	}, smartcar.WithHTTPClient(&http.Client{Transport: sim.Transport()}))
	require.NoError(t, err)
	grant := connect(t, sim, client)
	_, err = collectConnections(t.Context(), client, smartcar.ConnectionFilter{})
	require.ErrorIs(t, err, smartcar.ErrUnauthorized)
	_, err = client.DeleteConnections(t.Context(), smartcar.ConnectionFilter{UserID: grant.UserID})
	require.ErrorIs(t, err, smartcar.ErrUnauthorized)
	require.NotErrorIs(t, err, smartcar.ErrReconnectRequired)
	_, err = client.User(grant.UserID).Vehicle(smartcartest.MachE).Odometer(t.Context())
	require.NoError(t, err)
}

func TestNoManagementFixtureIsForgotten(t *testing.T) {
	require.ElementsMatch(t, []string{
		"connections.created-at", "connections.empty", "connections.last-page-absent-cursor", "connections.last-page-null-cursor",
		"connections.page-1", "delete-connections", "delete-connections.pair",
	}, fixtureNames(t, "v2/management"))
}

// Who has no connection is told nothing more, not even what was told before.
func TestDeleteConnectionsDropsKeptAnswers(t *testing.T) {
	for name, filter := range map[string]func(*smartcar.User) smartcar.ConnectionFilter{
		"of the user": func(u *smartcar.User) smartcar.ConnectionFilter {
			return smartcar.ConnectionFilter{UserID: u.ID()}
		},
		"of each car": nil,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sim := smartcartest.New()
				client, user := connected(t, sim)
				legacy := user.Vehicle(smartcartest.ModelX2020)
				keyless := user.Vehicle(smartcartest.ModelY).With(smartcar.AllowStale())
				for _, v := range []*smartcar.Vehicle{legacy, keyless} {
					_, err := v.Location(t.Context())
					require.NoError(t, err)
				}
				filters := []smartcar.ConnectionFilter{{VehicleID: legacy.ID()}, {VehicleID: keyless.ID()}}
				if filter != nil {
					filters = []smartcar.ConnectionFilter{filter(user)}
				}
				for _, f := range filters {
					_, err := client.DeleteConnections(t.Context(), f)
					require.NoError(t, err)
				}
				for _, v := range []*smartcar.Vehicle{legacy, keyless} {
					location, err := v.Location(t.Context())
					require.Error(t, err)
					require.Nil(t, location)
				}
			})
		})
	}
}
