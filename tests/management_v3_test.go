package smartcar_test

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/smartcartest"
	"github.com/stretchr/testify/require"
)

// fleetOf is a simulator with many cars of one owner.
func fleetOf(n int, opts ...smartcartest.Option) *smartcartest.Server {
	cars, _ := garageOf(n)
	return smartcartest.New(append(opts, smartcartest.WithCars(cars...))...)
}

// More than one page, each connection once, with all that Smartcar tells.
func TestConnectionsOnV3ArePaged(t *testing.T) {
	for name, variants := range map[string]smartcartest.Variants{
		"as seen live": {}, "older paging": {PlainPaging: true}, "times as numbers": {EpochTimes: true}, "relative links": {RelativeLinks: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sim := fleetOf(250, smartcartest.WithVariants(variants))
				client, tap := tapped(t, sim)
				user := connect(t, sim, client).UserID
				before := len(tap.to("/v3/connections"))
				seen := map[string]bool{}
				for _, c := range gather(t, client.Connections(t.Context(), smartcar.ConnectionFilter{})) {
					require.False(t, seen[c.VehicleID])
					seen[c.VehicleID] = true
					require.Equal(t, user, c.UserID)
					require.Equal(t, "live", c.Mode)
					require.Equal(t, "FORD", c.Make)
					require.Equal(t, 2022, c.Year)
					require.Contains(t, c.Permissions, "read_odometer")
					require.NotEmpty(t, c.ExternalID)
					require.False(t, c.ConnectedAt.IsZero() || c.UpdatedAt.IsZero())
				}
				require.Len(t, seen, 250)
				pages := tap.to("/v3/connections")[before:]
				require.Len(t, pages, 3)
				for i, p := range pages {
					require.Equal(t, strconv.Itoa(i+1), p.query.Get("page[number]"))
					require.Equal(t, "100", p.query.Get("page[size]"))
				}
				vehicles := 0
				for _, err := range client.User(user).Vehicles(t.Context()) {
					require.NoError(t, err)
					vehicles++
				}
				require.Equal(t, 250, vehicles)
			})
		})
	}
}

func TestFiltersOfConnectionsOnV3(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cars := smartcartest.DefaultGarage()
		cars[6].Owner = "other"
		sim := smartcartest.New(smartcartest.WithCars(cars...))
		client := apiClient(t, sim, smartcar.V3)
		link, cookies := begin(t, client, smartcar.ConnectOptions{ExternalID: "acct_42"})
		callback, err := sim.Grant(link)
		require.NoError(t, err)
		_, err = finish(client, callback, cookies)
		require.NoError(t, err)
		other := connectAs(t, sim, client, "other", cars[6].ID).UserID
		for name, tt := range map[string]struct {
			filter smartcar.ConnectionFilter
			count  int
		}{
			"all": {smartcar.ConnectionFilter{}, 7}, "user": {smartcar.ConnectionFilter{UserID: other}, 1},
			"vehicle":   {smartcar.ConnectionFilter{VehicleID: smartcartest.Model3}, 1},
			"pair":      {smartcar.ConnectionFilter{VehicleID: smartcartest.Model3, UserID: other}, 0},
			"external":  {smartcar.ConnectionFilter{ExternalID: "acct_42"}, 6},
			"simulated": {smartcar.ConnectionFilter{Mode: smartcar.ModeSimulated}, 0},
			"live":      {smartcar.ConnectionFilter{Mode: smartcar.ModeLive}, 7},
		} {
			require.Len(t, gather(t, client.Connections(t.Context(), tt.filter)), tt.count, name)
		}
		first := gather(t, client.Connections(t.Context(), smartcar.ConnectionFilter{VehicleID: smartcartest.Model3}))[0]
		alone, err := client.Connection(t.Context(), first.ID)
		require.NoError(t, err)
		require.Equal(t, first, *alone)
		_, err = client.Connection(t.Context(), "00000000-0000-4000-8000-000000000000")
		require.ErrorIs(t, err, smartcar.ErrNotFound)
	})
}

// However a list lies about its length, it is read to its end and ends.
func TestListsThatLie(t *testing.T) {
	entries := func(from, to int) string {
		list := make([]string, 0, to-from)
		for i := from; i < to; i++ {
			list = append(list, fmt.Sprintf(`{"id":"c%d","relationships":{"user":{"data":{"id":"u1"}},"vehicle":{"data":{"id":"v%d"}}}}`, i, i))
		}
		return strings.Join(list, ",")
	}
	page := func(data, rest string) string { return `{"data":[` + data + `]` + rest + `}` }
	for name, tt := range map[string]struct {
		page     func(number int) string
		entries  int
		requests int
	}{
		"total too high": {func(n int) string { return page(entries(0, 3), `,"meta":{"totalCount":1000000}`) }, 3, 2},
		"total of the page": {func(n int) string {
			if n == 1 {
				return page(entries(0, 100), `,"meta":{"totalCount":100},"links":{"next":"https://evil.example/2"}`)
			}
			return page(entries(100, 120), `,"meta":{"totalCount":20},"links":{"next":null}`)
		}, 120, 2},
		"total zero":         {func(n int) string { return page(entries(0, 3), `,"meta":{"totalCount":0}`) }, 3, 1},
		"negative total":     {func(n int) string { return page(entries(0, 3), `,"meta":{"totalCount":-1}`) }, 3, 1},
		"total as text":      {func(n int) string { return page(entries(0, 3), `,"meta":{"totalCount":"3"}`) }, 3, 1},
		"the same page":      {func(n int) string { return page(entries(0, 100), `,"links":{"next":"x"}`) }, 100, 2},
		"no meta, no links":  {func(n int) string { return page(entries(0, 3), ``) }, 3, 1},
		"a full page, alone": {func(n int) string { return page(entries(0, 100), ``) }, 100, 2},
		"overlapping pages": {func(n int) string {
			return page(entries((n-1)*50, min(n*50+50, 200)), `,"meta":{"totalCount":200}`)
		}, 200, 3},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client, tap := tapped(t, smartcartest.New())
				tap.instead = onlyTo("/v3/connections", func(r sentRequest) *http.Response {
					n, err := strconv.Atoi(r.query.Get("page[number]"))
					require.NoError(t, err)
					return respond(200, tt.page(n))
				})
				require.Len(t, gather(t, client.Connections(t.Context(), smartcar.ConnectionFilter{})), tt.entries)
				require.Len(t, tap.to("/v3/connections"), tt.requests)
				for _, r := range tap.to("/v3/connections") {
					require.Equal(t, "vehicle.api.smartcar.com", r.host)
				}
			})
		})
	}
}

func TestConnectionWithoutAConnection(t *testing.T) {
	for _, body := range []string{`{}`, `{"data":null}`, `{"data":[]}`, `{"data":{"type":"connection"}}`, `null`, ``} {
		synctest.Test(t, func(t *testing.T) {
			client, tap := tapped(t, smartcartest.New())
			tap.instead = onlyTo("/v3/connections", func(sentRequest) *http.Response { return respond(200, body) })
			connection, err := client.Connection(t.Context(), "c1")
			require.ErrorIs(t, err, smartcar.ErrUnexpectedAnswer, body)
			require.Nil(t, connection)
		})
	}
}

func TestDeleteConnectionsOnV3(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New(garageWith(smartcartest.MachE, func(c *smartcartest.Car) { c.SharedWith = []string{"driver"} }))
		client, tap := tapped(t, sim)
		owner := connect(t, sim, client).UserID
		driver := connectAs(t, sim, client, "driver", smartcartest.MachE).UserID
		_, err := client.DeleteConnections(t.Context(), smartcar.ConnectionFilter{Mode: smartcar.ModeLive})
		requireArgumentError(t, err, "ConnectionFilter")
		require.Len(t, gather(t, client.Connections(t.Context(), smartcar.ConnectionFilter{})), 8)

		removed, err := client.DeleteConnections(t.Context(), smartcar.ConnectionFilter{UserID: owner, VehicleID: smartcartest.MachE})
		require.NoError(t, err)
		require.Len(t, removed, 1)
		require.Equal(t, owner, removed[0].UserID)
		removed, err = client.DeleteConnections(t.Context(), smartcar.ConnectionFilter{UserID: owner})
		require.NoError(t, err)
		require.Len(t, removed, 6)
		left := gather(t, client.Connections(t.Context(), smartcar.ConnectionFilter{}))
		require.Len(t, left, 1)
		require.Equal(t, driver, left[0].UserID)
		removed, err = client.DeleteConnections(t.Context(), smartcar.ConnectionFilter{UserID: owner})
		require.NoError(t, err)
		require.Empty(t, removed)
		require.Len(t, tap.to("/v3/connections/"), 7)
	})
}

// Nobody is disconnected whom the filter does not name, whatever Smartcar
// makes of it; nor does a user live on in another mode.
func TestOnlyWhatWasMeantIsDeleted(t *testing.T) {
	const list = `{"data":[
		{"id":"c1","attributes":{"user":{"id":"u1","externalId":"a"}},"relationships":{"user":{"data":{"id":"u1"}},"vehicle":{"data":{"id":"v1"}}}},
		{"id":"c2","attributes":{"user":{"id":"u2","externalId":"b"}},"relationships":{"user":{"data":{"id":"u2"}},"vehicle":{"data":{"id":"v1"}}}},
		{"id":"c3","relationships":{"user":{"data":{"id":"u3"}},"vehicle":{"data":{"id":"v3"}}}}],"meta":{"totalCount":3}}`
	for name, tt := range map[string]struct {
		filter smartcar.ConnectionFilter
		gone   string
	}{
		"user":      {smartcar.ConnectionFilter{UserID: "u1"}, "c1"},
		"vehicle":   {smartcar.ConnectionFilter{VehicleID: "v1"}, "c1 c2"},
		"pair":      {smartcar.ConnectionFilter{UserID: "u1", VehicleID: "v3"}, ""},
		"external":  {smartcar.ConnectionFilter{ExternalID: "b"}, "c2"},
		"simulated": {smartcar.ConnectionFilter{UserID: "u3", Mode: smartcar.ModeLive}, "c3"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client, tap := tapped(t, smartcartest.New())
				tap.instead = onlyTo("/v3/connections", func(r sentRequest) *http.Response {
					switch {
					case r.method == http.MethodDelete && strings.HasSuffix(r.path, "c1"):
						return respond(404, `{"errors":[{"status":"404","type":"RESOURCE_NOT_FOUND","code":"CONNECTION_NOT_FOUND"}]}`) // gone meanwhile
					case r.method == http.MethodDelete:
						return respond(204, ``)
					case r.query.Get("filter[vehicle.mode]") == "simulated":
						return respond(200, `{"data":[]}`)
					}
					return respond(200, list)
				})
				removed, err := client.DeleteConnections(t.Context(), tt.filter)
				require.NoError(t, err)
				var asked, told []string
				for _, r := range tap.to("/v3/connections/") {
					asked = append(asked, strings.TrimPrefix(r.path, "/v3/connections/"))
				}
				for _, c := range removed {
					told = append(told, c.ID)
				}
				require.Equal(t, tt.gone, strings.Join(asked, " "))
				require.Equal(t, tt.gone, strings.Join(told, " "))
			})
		})
	}
}

func TestDeletedInEveryMode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		client := apiClient(t, sim, smartcar.V3)
		for _, o := range []smartcar.ConnectOptions{{Make: "TESLA"}, {Make: "FORD", Mode: smartcar.ModeSimulated}} {
			link, cookies := begin(t, client, o)
			callback, err := sim.Grant(link)
			require.NoError(t, err)
			_, err = finish(client, callback, cookies)
			require.NoError(t, err)
		}
		removed, err := client.DeleteConnections(t.Context(), smartcar.ConnectionFilter{UserID: sim.UserID()})
		require.NoError(t, err)
		require.Len(t, removed, 7)
	})
}

func TestRemoveUserAndDisconnectOnV3(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		store := newSpoiledStore()
		client := apiClient(t, sim, smartcar.V3, smartcar.WithStore(store))
		user := client.User(connect(t, sim, client).UserID)
		v := user.Vehicle(smartcartest.MachE)
		permissions, err := v.Permissions(t.Context())
		require.NoError(t, err)
		require.Contains(t, permissions, "control_charge")
		_, err = v.Odometer(t.Context())
		require.NoError(t, err)
		require.NoError(t, user.Renew(t.Context(), 7*24*60*60*1e9))

		require.NoError(t, v.Disconnect(t.Context()))
		_, err = v.Odometer(t.Context())
		require.ErrorIs(t, err, smartcar.ErrNotFound)
		_, err = v.Permissions(t.Context())
		require.ErrorIs(t, err, smartcar.ErrNotConnected)
		require.ErrorIs(t, v.Disconnect(t.Context()), smartcar.ErrNotConnected)
		require.Len(t, gather(t, client.Connections(t.Context(), smartcar.ConnectionFilter{})), 6)

		_, err = user.Vehicle(smartcartest.ModelS2018).Odometer(t.Context())
		require.NoError(t, err)
		require.NoError(t, client.RemoveUser(t.Context(), user.ID()))
		require.Empty(t, gather(t, client.Connections(t.Context(), smartcar.ConnectionFilter{})))
		for _, key := range store.live(t) {
			require.True(t, strings.HasPrefix(key, "application/"), "%s is kept", key)
		}
		require.NoError(t, client.RemoveUser(t.Context(), user.ID()), "gone already is no error")
		for _, err := range user.Vehicles(t.Context()) {
			require.ErrorIs(t, err, smartcar.ErrNotConnected)
		}

		require.Equal(t, user.ID(), connect(t, sim, client).UserID, "and may come back")
		sim.Inject(smartcartest.Fault{Path: "/v3/users/", ErrorType: "SERVER", ErrorCode: "INTERNAL"})
		require.ErrorIs(t, client.RemoveUser(t.Context(), user.ID()), smartcar.ErrUnavailable)
		require.NoError(t, user.Forget(t.Context()))
		require.Len(t, gather(t, client.Connections(t.Context(), smartcar.ConnectionFilter{})), 7, "Forget tells Smartcar nothing")
	})
}

// A 404 for the path, and not for the user, removes nothing here.
func TestRemoveUserBelievesNoProxy(t *testing.T) {
	for _, body := range []string{`<html>`, `{"errors":[{"status":"404","type":"RESOURCE_NOT_FOUND","code":"INVALID_PATH"}]}`} {
		synctest.Test(t, func(t *testing.T) {
			sim := smartcartest.New()
			client, tap := tapped(t, sim)
			user := client.User(connect(t, sim, client).UserID)
			tap.instead = onlyTo("/v3/users/", func(sentRequest) *http.Response { return respond(404, body) })
			require.Error(t, client.RemoveUser(t.Context(), user.ID()))
			link, err := user.VirtualKeyURL(t.Context())
			require.NoError(t, err)
			require.False(t, link.IsZero())
		})
	}
}

// heedless answers /connections as a server that ignores every filter.
func heedless(connections ...string) func(sentRequest) *http.Response {
	return onlyTo("/v3/connections", func(r sentRequest) *http.Response {
		if r.method != http.MethodGet {
			return respond(204, "")
		}
		return respond(200, fmt.Sprintf(`{"data":[%s],"meta":{"totalCount":%d}}`, strings.Join(connections, ","), len(connections)))
	})
}

// Who asks for the simulated connections of a user loses no real one.
func TestDeleteConnectionsKeepsOtherModes(t *testing.T) {
	for mode, want := range map[smartcar.ConnectMode][]string{
		smartcar.ModeSimulated: {"c2"}, smartcar.ModeLive: {"c1"}, smartcar.ConnectMode("test"): {"c2"}, "": {"c1", "c2"},
	} {
		t.Run(string(mode), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client, tap := tapped(t, smartcartest.New())
				tap.instead = heedless(connectionOf("c1", "u1", "a", "v1", "live"), connectionOf("c2", "u1", "a", "v2", "simulated"))
				removed, err := client.DeleteConnections(t.Context(), smartcar.ConnectionFilter{UserID: "u1", Mode: mode})
				require.NoError(t, err)
				ids := []string{}
				for _, c := range removed {
					ids = append(ids, c.ID)
				}
				require.ElementsMatch(t, want, ids)
			})
		})
	}
}

// Connections of others among the real ones do not hide a simulated one.
func TestFiltersIgnoredHideNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, tap := tapped(t, smartcartest.New())
		tap.instead = onlyTo("/v3/connections", func(r sentRequest) *http.Response {
			if r.query.Get("filter[vehicle.mode]") == "live" {
				return respond(200, `{"data":[`+connectionOf("c1", "u2", "b", "v1", "live")+`]}`)
			}
			return respond(200, `{"data":[`+connectionOf("c2", "u1", "acct_42", "v2", "simulated")+`]}`)
		})
		ids := []string{}
		for v, err := range client.User("u1").Vehicles(t.Context()) {
			require.NoError(t, err)
			ids = append(ids, v.ID())
		}
		require.Equal(t, []string{"v2"}, ids)
	})
}

// An answer without the resource is none.
func TestNoResourceIsAnError(t *testing.T) {
	for _, body := range []string{`{}`, `{"data":null}`, `{"data":[]}`, `{"errors":[]}`} {
		client, tap := tapped(t, smartcartest.New())
		tap.instead = onlyTo("/v3/", func(sentRequest) *http.Response { return respond(200, body) })
		webhook, err := client.Webhook(t.Context(), "w1")
		require.ErrorIs(t, err, smartcar.ErrUnexpectedAnswer, body)
		require.Nil(t, webhook)
		subscription, err := client.Subscription(t.Context(), "s1")
		require.ErrorIs(t, err, smartcar.ErrUnexpectedAnswer, body)
		require.Nil(t, subscription)
		connection, err := client.Connection(t.Context(), "c1")
		require.ErrorIs(t, err, smartcar.ErrUnexpectedAnswer, body)
		require.Nil(t, connection)
	}
}
