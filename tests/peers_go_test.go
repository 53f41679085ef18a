package smartcar_test

import (
	"context"
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/smartcartest"
	"github.com/stretchr/testify/require"
)

// These tests are named after defects of Smartcar's own SDK for Go; those of
// its other SDKs stand in peers_others_test.go. CONTRIBUTING.md lists them.

// Every API error was thrown away.
func TestPeersGo01_ErrorsKeepWhatTheServerSaid(t *testing.T) {
	var e *smartcar.Error
	require.ErrorAs(t, failedRead(t, readFixture(t, "v2/errors/connected-services-account.virtual-key-required")), &e)
	require.Equal(t, "VIRTUAL_KEY_REQUIRED", e.Code)
	require.Equal(t, "https://www.tesla.com/_ak/smartcar.com", e.Resolution.URL)
	require.Equal(t, "41b295a2-896e-495d-9529-0fda8ece8213", e.RequestID)
	require.ErrorAs(t, failedRead(t, readFixture(t, "v2/errors/rate-limit.vehicle")), &e)
	require.Equal(t, 10*time.Minute, e.RetryAfter)
}

// HTTP 430 gave an error with an empty message.
func TestPeersGo02_Status430HasAMessage(t *testing.T) {
	for _, name := range []string{"status-430-empty", "billing.vehicle-request-limit"} {
		err := failedRead(t, readFixture(t, "v2/errors/"+name))
		require.ErrorIs(t, err, smartcar.ErrBilling)
		require.Contains(t, err.Error(), "430")
	}
}

// Failed batch items became zero readings.
func TestPeersGo03_FailedBatchItemIsNoZeroReading(t *testing.T) {
	odometer, err := batchSnapshot(t, "asleep-item").Odometer()
	require.ErrorIs(t, err, smartcar.ErrAsleep)
	require.Nil(t, odometer)
}

// A batch panicked when an item's body was null.
func TestPeersGo04_NullBodyOfABatchItem(t *testing.T) {
	s := batchSnapshot(t, "null-body")
	require.NotPanics(t, func() {
		_, err := s.Location()
		require.Error(t, err)
		requireOdometer(t, s, 104.32)
	})
}

// A batch lost the request id.
func TestPeersGo05_BatchKeepsTheRequestID(t *testing.T) {
	battery, err := batchSnapshot(t, "all-ok").Battery()
	require.NoError(t, err)
	require.Equal(t, "fec9647c-1c19-4610-b283-6e174a8ff67a", battery.RequestID)
	for _, err := range batchSnapshot(t, "all-forbidden").Operations() {
		var e *smartcar.Error
		require.ErrorAs(t, err, &e)
		require.Equal(t, "b25b5a5b-0e60-4140-b8d3-8216375194c5", e.RequestID)
	}
}

// A bad URL was a nil pointer panic.
func TestPeersGo06_VehicleIDWithANewline(t *testing.T) {
	v := cannedUser(t, newCanned(t)).Vehicle("36ab27d0\n")
	require.NotPanics(t, func() {
		_, err := v.Odometer(t.Context())
		require.ErrorIs(t, err, smartcar.ErrInvalidArgument)
	})
}

// The vehicle id was not escaped.
func TestPeersGo07_VehicleIDIsEscaped(t *testing.T) {
	transport := &anyPath{canned: newCanned(t)}
	_, err := cannedUser(t, transport).Vehicle("../user?x=").Odometer(t.Context())
	require.NoError(t, err)
	require.Contains(t, transport.paths, "/v2.0/vehicles/..%2Fuser%3Fx=/odometer")
}

// A setter on one client changed all of them.
func TestPeersGo08_ClientsShareNothing(t *testing.T) {
	var group sync.WaitGroup
	for _, host := range []string{"one.example", "two.example"} {
		for _, units := range []smartcar.UnitSystem{smartcar.Metric, smartcar.Imperial} {
			group.Go(func() {
				transport := newCanned(t).on(odometerPath, readFixture(t, "v2/reads/odometer").reply())
				v := cannedVehicle(t, transport, smartcar.WithUnitSystem(units),
					smartcar.WithOrigins(smartcar.Origins{API: &url.URL{Scheme: "https", Host: host}}))
				for range 20 {
					_, err := v.Odometer(t.Context())
					require.NoError(t, err)
				}
				for _, s := range transport.requests(odometerPath) {
					require.Equal(t, host, s.host)
					require.Equal(t, string(units), s.header.Get("SC-Unit-System"))
				}
			})
		}
	}
	group.Wait()
}

// SetUnitSystem raced with requests.
func TestPeersGo09_UnitsOfOneCall(t *testing.T) {
	transport := newCanned(t).on(odometerPath, readFixture(t, "v2/reads/odometer.no-headers").reply())
	v := cannedVehicle(t, transport)
	var group sync.WaitGroup
	for _, units := range []smartcar.UnitSystem{smartcar.Metric, smartcar.Imperial} {
		group.Go(func() {
			for range 20 {
				odometer, err := v.With(smartcar.InUnits(units)).Odometer(t.Context())
				require.NoError(t, err)
				require.Equal(t, units, odometer.UnitSystem)
			}
		})
	}
	group.Wait()
	sent := map[string]int{}
	for _, s := range transport.requests(odometerPath) {
		sent[s.header.Get("SC-Unit-System")]++
	}
	require.Equal(t, map[string]int{"metric": 20, "imperial": 20}, sent)
}

// A token was taken for valid until 10 s after its end.
func TestPeersGo10_NoExpiredTokenIsUsed(t *testing.T) {
	requireFreshTokens(t, []time.Duration{-time.Hour, -11 * time.Second, -time.Second, 0, time.Second, 11 * time.Second}, true)
	requireFreshTokens(t, []time.Duration{2 * time.Minute, time.Hour}, false)
}

// Only the first page was read.
func TestPeersGo11_AllPagesAreRead(t *testing.T) {
	garage := make([]smartcartest.Car, 120)
	for i := range garage {
		garage[i] = smartcartest.Car{Make: "FORD", Model: "Focus", Year: 2020}
	}
	sim := smartcartest.New(smartcartest.WithCars(garage...))
	_, user := connected(t, sim)
	ids, err := listedVehicles(t.Context(), user)
	require.NoError(t, err)
	require.Len(t, ids, 120)

	transport := newCanned(t).on(permissionsPath,
		readFixture(t, "v2/reads/permissions.page-1").reply(), readFixture(t, "v2/reads/permissions.last-page").reply())
	granted, err := cannedVehicle(t, transport).Permissions(t.Context())
	require.NoError(t, err)
	require.Contains(t, granted, "control_trunk", "granted, on page two")
}

// JSON null became 0.
func TestPeersGo12_NullIsNotZero(t *testing.T) {
	v := cannedVehicle(t, newCanned(t).on("GET /v2.0/vehicles/{id}/fuel", readFixture(t, "v2/reads/fuel.all-null").reply()))
	fuel, err := v.Fuel(t.Context())
	require.NoError(t, err)
	require.Nil(t, fuel.Amount)
	require.Nil(t, fuel.Percent)
	require.Nil(t, fuel.Range)
}

// Every success but 200 was an error.
func TestPeersGo13_EverySuccessIsASuccess(t *testing.T) {
	for status, body := range map[int]string{200: `{"status":"success"}`, 201: `{"status":"success"}`, 202: `{"status":"success"}`, 204: ``} {
		_, err := cannedVehicle(t, newCanned(t).on(lockPath, jsonReply(status, body))).Lock(t.Context())
		require.NoError(t, err, status)
	}
}

// One TCP connection was opened for each error.
func TestPeersGo14_ErrorsKeepTheConnection(t *testing.T) {
	sim := smartcartest.New()
	origin, httpClient, connections := countingServer(t, sim)
	_, user := connected(t, sim, smartcar.WithHTTPClient(httpClient), smartcar.WithOrigins(smartcar.Origins{Auth: origin, API: origin}))
	v := user.Vehicle(smartcartest.MachE)
	for i := range 20 {
		sim.Inject(smartcartest.Fault{Path: "/odometer", Status: []int{400, 403, 404, 409, 430}[i%5], Body: strings.Repeat("x", 100_000)})
		_, err := v.Odometer(t.Context())
		require.Error(t, err, i)
	}
	require.LessOrEqual(t, connections.Load(), int64(2))
}

// A zero result came with an error.
func TestPeersGo15_NoResultBesideAnError(t *testing.T) {
	denied := readFixture(t, "v2/errors/permission.null").reply()
	transport := roundTripper(func(req *http.Request) (*http.Response, error) {
		if strings.Count(req.URL.Path, "/") > 3 || req.Method != http.MethodGet {
			return denied.response(req)
		}
		return newCanned(t).RoundTrip(req)
	})
	v := cannedVehicle(t, transport)
	for _, op := range typedReads() {
		if op == smartcar.Attributes {
			continue // answered above
		}
		got, err := typedRead(t.Context(), v, op)
		require.ErrorIs(t, err, smartcar.ErrPermission, op)
		require.True(t, reflect.ValueOf(got).IsNil(), op)
	}
	for name, command := range commandCalls() {
		got, err := command(t.Context(), v)
		require.ErrorIs(t, err, smartcar.ErrPermission, name)
		require.Nil(t, got, name)
	}
}

// Compatibility was a bool; its reason and the capabilities were dropped.
func TestPeersGo16_CompatibilityKeepsReasonAndCapabilities(t *testing.T) {
	transport := newCanned(t).on(compatibilityPath, readFixture(t, "v2/compatibility/by-vin.compatible").reply())
	c, err := cannedClient(t, transport).Compatibility(t.Context(), "5YJSA1CN5DFP00101", smartcar.CompatibilityOptions{Scope: []string{"read_engine_oil"}})
	require.NoError(t, err)
	require.Equal(t, new(true), c.Compatible)
	require.Equal(t, new(false), c.Capabilities[0].Capable)
	require.Equal(t, "SMARTCAR_NOT_CAPABLE", c.Capabilities[0].Reason)
}

// A nil context and nil parameters panicked: all of them are tried by
// TestNilContextIsAnArgumentError and TestCallbackHandlerBearsNil.
func TestPeersGo17_NilIsAnError(t *testing.T) {
	require.NotPanics(t, func() {
		var none context.Context
		_, err := cannedVehicle(t, newCanned(t)).Odometer(none)
		require.ErrorIs(t, err, smartcar.ErrInvalidArgument)
		_, err = smartcar.New(smartcar.Config{}, nil)
		require.ErrorIs(t, err, smartcar.ErrInvalidArgument)
	})
}

// Nothing could be replaced but http.DefaultTransport.
func TestPeersGo18_EverythingCanBeReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New(smartcartest.WithBasePath("/proxy/smartcar"))
		at := func(host string) *url.URL { return mustParse(t, "https://"+host+"/proxy/smartcar") }
		_, user := connected(t, sim, smartcar.WithOrigins(smartcar.Origins{
			Connect: at("connect.example"), Auth: at("auth.example"), API: at("api.example"), Management: at("management.example"),
		}))
		_, err := user.Vehicle(smartcartest.MachE).Odometer(t.Context())
		require.NoError(t, err)
		for _, r := range sim.Requests() {
			require.True(t, strings.HasPrefix(r.Path, "/proxy/smartcar/"), r.Path)
		}
	})
}

// A third of the endpoints was missing.
func TestPeersGo20_WhatWasMissing(t *testing.T) {
	vehicle := reflect.TypeFor[*smartcar.Vehicle]()
	for _, name := range []string{
		"SetChargeLimit", "ChargeLimit", "LockStatus", "NominalCapacity", "SendDestination", "ServiceHistory",
		"SystemStatus", "TroubleCodes", "Request", "Permissions", "Snapshot",
	} {
		_, ok := vehicle.MethodByName(name)
		require.True(t, ok, name)
	}
	v := cannedVehicle(t, newCanned(t).on(odometerPath, readFixture(t, "v2/reads/odometer").reply()))
	odometer, err := v.Odometer(t.Context())
	require.NoError(t, err)
	require.False(t, odometer.FetchedAt.IsZero())
}

// It called itself Smartcar/unknown.
func TestPeersGo21_UserAgentNamesTheVersion(t *testing.T) {
	transport := newCanned(t).on(odometerPath, readFixture(t, "v2/reads/odometer").reply()).
		on(tokenPath, jsonReply(200, `{"access_token":"renewed","token_type":"Bearer","expires_in":7200,"refresh_token":"next"}`))
	client := cannedClient(t, transport, smartcar.WithUserAgent("myapp/1.2"))
	_, err := client.ImportTokens(t.Context(), smartcar.Tokens{RefreshToken: "refresh-token"})
	require.NoError(t, err)
	_, err = client.User(fixtureUser).Vehicle(fixtureVehicle).Odometer(t.Context())
	require.NoError(t, err)
	require.NotEmpty(t, transport.requests(tokenPath))
	for _, s := range transport.sent {
		require.Contains(t, s.header.Get("User-Agent"), "smartcar-go/"+smartcar.Version+" ", s.path)
		require.True(t, strings.HasSuffix(s.header.Get("User-Agent"), " myapp/1.2"), s.path)
	}
}

// Generated Go: the batch had another body than the API takes, and a numeric
// code failed all of it.
func TestPeersGoV201_BatchBodyAndNumericCode(t *testing.T) {
	requireBattery(t, batchSnapshot(t, "all-ok"), 30, 40.5) // checks the body that was sent
}

// Generated Go: no way to send the unit system; it rounded to 32 bits.
func TestPeersGoV203_ReadingsKeepTheirPrecision(t *testing.T) {
	transport := newCanned(t).on(odometerPath, jsonReply(200, `{"distance":104321.987}`)).
		on("GET /v2.0/vehicles/{id}/location", jsonReply(200, `{"latitude":52.520006599,"longitude":13.404953999}`))
	v := cannedVehicle(t, transport)
	odometer, err := v.Odometer(t.Context())
	require.NoError(t, err)
	require.Equal(t, new(104321.987), odometer.Distance)
	location, err := v.Location(t.Context())
	require.NoError(t, err)
	require.Equal(t, []*float64{new(52.520006599), new(13.404953999)}, []*float64{location.Latitude, location.Longitude})
}

// Generated Go: a word it did not know failed the whole answer.
func TestPeersGoV204_UnknownWords(t *testing.T) {
	v := cannedVehicle(t, newCanned(t).on(lockStatusPath, readFixture(t, "v2/reads/lock-status.unknown-enum").reply()))
	status, err := v.LockStatus(t.Context())
	require.NoError(t, err)
	require.Equal(t, new(false), status.Locked)
	require.Equal(t, "AJAR", status.Doors[0].Status)
}

const lockStatusPath = "GET /v2.0/vehicles/{id}/security"

// Generated Go: a redirect, or a status it did not know, was neither a result
// nor an error.
func TestPeersGoV205_EveryStatusIsAResultOrAnError(t *testing.T) {
	for _, status := range []int{300, 301, 302, 304, 307, 308, 399, 402, 418, 451, 460, 499, 520, 599, 999} {
		v := cannedVehicle(t, newCanned(t).on(odometerPath, reply{status: status}))
		odometer, err := v.Odometer(t.Context())
		require.Nil(t, odometer)
		var e *smartcar.Error
		require.ErrorAs(t, err, &e)
		require.Equal(t, status, e.StatusCode)
		require.ErrorIs(t, err, smartcar.ErrUnexpectedAnswer)
	}
}

// Generated Go: the retry policy could be set and was never used.
func TestPeersGoV206_RetriesHappen(t *testing.T) {
	transport := newCanned(t).on(odometerPath,
		readFixture(t, "v2/errors/upstream.no-response").reply(), reply{err: http.ErrHandlerTimeout}, readFixture(t, "v2/reads/odometer").reply())
	v := cannedVehicle(t, transport, smartcar.WithRetry(smartcar.RetryPolicy{MaxAttempts: 3, BaseDelay: time.Second, MaxDelay: time.Minute}))
	odometer, err := v.Odometer(t.Context())
	require.NoError(t, err)
	require.Equal(t, new(104.32), odometer.Distance)
	require.Len(t, transport.requests(odometerPath), 3)
}
