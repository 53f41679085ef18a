package smartcar_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/smartcartest"
	"github.com/stretchr/testify/require"
)

func TestCaseForeignListOfCars(t *testing.T) {
	bothAPIs(t, func(t *testing.T, sim *smartcartest.Server, _ *smartcar.Client, user *smartcar.User) {
		for _, path := range []string{"/vehicles", "/connections"} {
			sim.Inject(smartcartest.Fault{Path: path, Status: 200, Body: `{}`})
		}
		ids, err := listedVehicles(t.Context(), user)
		require.ErrorIs(t, err, smartcar.ErrUnexpectedAnswer)
		require.Empty(t, ids)
	})
}

func TestCaseForeignConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		user := onV3(t, sim)
		for _, body := range []string{
			`{"status":"welcome"}`,
			`{"data":[{"id":"room-101"}]}`, // a list of something else
			`{"data":[{"id":"w1","type":"webhook","attributes":{"name":"x"}}],"meta":{"totalCount":1}}`,
		} {
			sim.ClearFaults()
			sim.Inject(smartcartest.Fault{Path: "/connections", Status: 200, Body: body, Times: -1})
			_, err := listedVehicles(t.Context(), user)
			require.ErrorIs(t, err, smartcar.ErrUnexpectedAnswer, body)
			require.NotErrorIs(t, err, smartcar.ErrNotConnected, body)
			_, err = user.Vehicle(smartcartest.MachE).Permissions(t.Context())
			require.ErrorIs(t, err, smartcar.ErrUnexpectedAnswer, body)
		}
	})
}

func TestCaseListsThatDoNotGoOn(t *testing.T) {
	const vehicles, permissions = "GET /v2.0/vehicles", "GET /v2.0/vehicles/{id}/permissions"
	transport := newCanned(t).
		on(vehicles, jsonReply(200, `{"vehicles":["a"],"paging":{"count":1000000000,"offset":0}}`)).
		on(permissions, jsonReply(200, `{"permissions":["read_vin","read_vin"],"paging":{"count":1000000000,"offset":0}}`))
	user := cannedUser(t, transport)
	ids, err := listedVehicles(t.Context(), user)
	require.NoError(t, err)
	require.Equal(t, []string{"a"}, ids)
	require.LessOrEqual(t, len(transport.requests(vehicles)), 3)
	granted, err := user.Vehicle(fixtureVehicle).Permissions(t.Context())
	require.NoError(t, err)
	require.Equal(t, []string{"read_vin"}, granted)
	require.LessOrEqual(t, len(transport.requests(permissions)), 3)

	// Connections whose cursor is another one each time.
	cursor := 0
	pages := roundTripper(func(r *http.Request) (*http.Response, error) {
		cursor++
		answer := respond(200, fmt.Sprintf(`{"connections":[{"userId":"u","vehicleId":"v","mode":"live"}],"paging":{"cursor":"c%d"}}`, cursor))
		answer.Request = r
		return answer, nil
	})
	connections, err := collectConnections(t.Context(), cannedClient(t, pages), smartcar.ConnectionFilter{})
	require.NoError(t, err)
	require.Len(t, connections, 1)
	require.LessOrEqual(t, cursor, 3)
}

func TestListsThatDoNotSayHowLongTheyAre(t *testing.T) {
	names := func(from, n int) string {
		var list []string
		for i := range n {
			list = append(list, fmt.Sprintf(`"entry-%d"`, from+i))
		}
		return "[" + strings.Join(list, ",") + "]"
	}
	for _, paging := range []string{``, `,"paging":null`, `,"paging":{"count":null}`, `,"paging":{"count":1e300}`, `,"paging":{"count":-1}`} {
		transport := newCanned(t)
		for key, field := range map[string]string{vehiclesPath: "vehicles", permissionsPath: "permissions"} {
			transport.on(key, jsonReply(200, `{"`+field+`":`+names(0, 50)+paging+`}`), jsonReply(200, `{"`+field+`":`+names(50, 3)+paging+`}`))
		}
		user := cannedUser(t, transport)
		ids, err := listedVehicles(t.Context(), user)
		require.NoError(t, err)
		require.Len(t, ids, 53, paging)
		granted, err := user.Vehicle(fixtureVehicle).Permissions(t.Context())
		require.NoError(t, err)
		require.Len(t, granted, 53, paging)
		require.Len(t, transport.requests(vehiclesPath), 2)
		require.Len(t, transport.requests(permissionsPath), 2)
	}

	client, tap := tapped(t, smartcartest.New(), smartcar.WithMode(smartcar.ModeLive))
	tap.instead = onlyTo("/connections", func(sentRequest) *http.Response {
		one, two := connectionOf("", "u", "", "v1", "live"), connectionOf("", "u", "", "v2", "live")
		return respond(200, `{"data":[`+one+`,`+two+`],"meta":{"totalCount":2}}`)
	})
	ids, err := listedVehicles(t.Context(), client.User("u"))
	require.NoError(t, err)
	require.Equal(t, []string{"v1", "v2"}, ids)
}
