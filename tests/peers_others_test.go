package smartcar_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/smartcartest"
	"github.com/stretchr/testify/require"
)

// Python: a default argument that was changed sent Alice's token for Bob's car.
func TestPeersPython01_NoUserGetsAnothersToken(t *testing.T) {
	sim := smartcartest.New(smartcartest.WithCars(
		smartcartest.Car{ID: "car-of-alice", Make: "FORD", Owner: "alice"}, smartcartest.Car{ID: "car-of-bob", Make: "FORD", Owner: "bob"},
	))
	tokens := map[string]map[string]bool{"car-of-alice": {}, "car-of-bob": {}}
	transport := roundTripper(func(req *http.Request) (*http.Response, error) {
		for id := range tokens {
			if req.URL.Path == "/v2.0/vehicles/"+id+"/odometer" {
				tokens[id][req.Header.Get("Authorization")] = true
			}
		}
		return sim.Transport().RoundTrip(req)
	})
	client := newClientOver(t, sim, transport)
	users := map[string]*smartcar.User{}
	for _, name := range []string{"alice", "bob"} {
		authorizeURL, cookies := begin(t, client, smartcar.ConnectOptions{})
		callback, err := sim.AnswerConnect(authorizeURL, url.Values{"decision": {"grant"}, "user": {name}})
		require.NoError(t, err)
		grant, err := finish(client, callback, cookies)
		require.NoError(t, err)
		users["car-of-"+name] = client.User(grant.UserID)
	}
	for range 3 {
		for id, user := range users {
			_, err := user.Vehicle(id).Odometer(t.Context())
			require.NoError(t, err)
			_, err = user.Vehicle(id).Request(t.Context(), smartcar.Request{Path: "odometer"})
			require.NoError(t, err)
		}
	}
	require.Len(t, tokens["car-of-alice"], 1)
	require.Len(t, tokens["car-of-bob"], 1)
	require.NotEqual(t, tokens["car-of-alice"], tokens["car-of-bob"])
	_, err := users["car-of-alice"].Vehicle("car-of-bob").Odometer(t.Context())
	require.ErrorIs(t, err, smartcar.ErrUnauthorized)
}

// Python: setting the unit system always failed.
func TestPeersPython02_UnitSystemCanBeSet(t *testing.T) {
	for _, units := range []smartcar.UnitSystem{smartcar.Metric, smartcar.Imperial} {
		transport := newCanned(t).on(odometerPath, readFixture(t, "v2/reads/odometer").reply())
		_, err := cannedVehicle(t, transport, smartcar.WithUnitSystem(units)).Odometer(t.Context())
		require.NoError(t, err)
		require.Equal(t, string(units), transport.requests(odometerPath)[0].header.Get("SC-Unit-System"))
	}
}

// Python: {"error": ...} without a message, or no Content-Type, hid the error.
func TestPeersPython03_ErrorsWithoutMessageOrContentType(t *testing.T) {
	var e *smartcar.Error
	require.ErrorAs(t, failedRead(t, readFixture(t, "v2/errors/oauth-no-description")), &e)
	require.Equal(t, "invalid_grant", e.Code)
	require.ErrorAs(t, failedRead(t, readFixture(t, "v2/errors/no-content-type")), &e)
	require.Equal(t, "ASLEEP", e.Code)
	_, err := cannedVehicle(t, newCanned(t).on(odometerPath, jsonReply(500, `{"error":"boom"}`))).Odometer(t.Context())
	require.ErrorAs(t, err, &e)
	require.Equal(t, "boom", e.Code)
	require.NotEmpty(t, err.Error())
}

// Python: a resolution that is a text was overwritten by an empty one.
func TestPeersPython04_ResolutionAsText(t *testing.T) {
	for name, want := range map[string]string{
		"resolution-string": "REAUTHENTICATE", "resolution-null": "", "resolution-missing": "", "permission.null": "REAUTHENTICATE",
	} {
		var e *smartcar.Error
		require.ErrorAs(t, failedRead(t, readFixture(t, "v2/errors/"+name)), &e)
		require.Equal(t, want, e.Resolution.Type, name)
	}
}

// Python: each call opened a connection.
func TestPeersPython05_ConnectionsAreKept(t *testing.T) {
	sim := smartcartest.New()
	origin, httpClient, connections := countingServer(t, sim)
	_, user := connected(t, sim, smartcar.WithHTTPClient(httpClient), smartcar.WithOrigins(smartcar.Origins{Auth: origin, API: origin}))
	for range 20 {
		_, err := user.Vehicle(smartcartest.MachE).Odometer(t.Context())
		require.NoError(t, err)
	}
	require.LessOrEqual(t, connections.Load(), int64(2))
}

// Node: a period that was not given was sent as "undefined".
func TestPeersNode01_ServiceHistoryWithoutDates(t *testing.T) {
	const path = "GET /v2.0/vehicles/{id}/service/history"
	day := time.Date(2024, 2, 1, 0, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		from, to time.Time
		want     url.Values
	}{
		{time.Time{}, time.Time{}, url.Values{}},
		{day, time.Time{}, url.Values{"start_date": {"2024-02-01"}}},
		{time.Time{}, day, url.Values{"end_date": {"2024-02-01"}}},
	} {
		transport := newCanned(t).on(path, readFixture(t, "v2/reads/service-history").reply())
		_, err := cannedVehicle(t, transport).ServiceHistory(t.Context(), tt.from, tt.to)
		require.NoError(t, err)
		require.Equal(t, tt.want, transport.requests(path)[0].query)
	}
}

// Node: an item's error carried the status of the batch, 200.
func TestPeersNode02_BatchItemHasItsOwnStatus(t *testing.T) {
	_, err := batchSnapshot(t, "asleep-item").Odometer()
	var e *smartcar.Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, 409, e.StatusCode)
}

// Node: the limit was sent as a text, DELETE with a body, and a redirect URI
// that was not set as "undefined".
func TestPeersNode04_NothingIsSentThatWasNotMeant(t *testing.T) {
	transport := newCanned(t).on("POST /v2.0/vehicles/{id}/charge/limit", jsonReply(200, `{"status":"success"}`)).
		on("DELETE /v2.0/vehicles/{id}/application", jsonReply(200, `{"status":"success"}`))
	v := cannedVehicle(t, transport)
	_, err := v.SetChargeLimit(t.Context(), 80)
	require.NoError(t, err)
	require.Equal(t, `{"limit":0.8}`, transport.requests("POST /v2.0/vehicles/{id}/charge/limit")[0].body)
	require.NoError(t, v.Disconnect(t.Context()))
	require.Empty(t, transport.requests("DELETE /v2.0/vehicles/{id}/application")[0].body)

	transport = newCanned(t).on(tokenPath, jsonReply(200, `{"access_token":"a","token_type":"Bearer","expires_in":7200,"refresh_token":"r"}`))
	client := cannedClient(t, transport)
	callback, err := smartcar.ParseCallback(url.Values{"code": {"the-code"}, "state": {"the-state"}})
	require.NoError(t, err)
	_, err = client.Connect().Exchange(t.Context(), callback, smartcar.Expected{State: "the-state"})
	require.NoError(t, err)
	form, err := url.ParseQuery(transport.requests(tokenPath)[0].body)
	require.NoError(t, err)
	require.Equal(t, url.Values{
		"grant_type": {"authorization_code"}, "code": {"the-code"}, "redirect_uri": {"https://example.com/callback"},
	}, form)
}

// Java: the body of every error was printed to the standard output.
func TestPeersJava01_NothingIsPrinted(t *testing.T) {
	const child, secret = "SMARTCAR_TEST_PRINTS_NOTHING", "printed-error-body"
	if os.Getenv(child) != "" {
		for _, r := range []reply{jsonReply(500, `{"type":"SERVER","description":"`+secret+`"}`), {status: 502, body: secret}} {
			_, err := cannedVehicle(t, newCanned(t).on(odometerPath, r)).Odometer(t.Context())
			require.Error(t, err)
		}
		return
	}
	program, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.CommandContext(t.Context(), program, "-test.run=^TestPeersJava01_NothingIsPrinted$")
	cmd.Env = append(os.Environ(), child+"=1")
	output, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", output)
	require.False(t, bytes.Contains(output, []byte(secret)), "%s", output)
}

// Java: the dates of the service history became part of the path, and its
// items, in camel case, were not read.
func TestPeersJava02_ServiceHistoryQueryAndItems(t *testing.T) {
	const path = "GET /v2.0/vehicles/{id}/service/history"
	transport := newCanned(t).on(path, readFixture(t, "v2/reads/service-history").reply())
	history, err := cannedVehicle(t, transport).ServiceHistory(t.Context(), fixtureTime.AddDate(-1, 0, 0), fixtureTime)
	require.NoError(t, err)
	require.Equal(t, "/v2.0/vehicles/"+fixtureVehicle+"/service/history", transport.requests(path)[0].path)
	require.Equal(t, new(46047.22), history.Records[0].Odometer)
	require.Equal(t, "3262", history.Records[0].Tasks[0].ID)
}

// Java: headers were looked up by exact case.
func TestPeersJava03_HeadersOfAnyCase(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		header := w.Header()
		switch {
		case r.URL.Path == "/v2.0/user":
			header["content-type"] = []string{"application/json"}
			_, _ = w.Write([]byte(`{"id":"` + fixtureUser + `"}`))
		case r.URL.Path == "/v2.0/vehicles/"+fixtureVehicle:
			_, _ = w.Write([]byte(`{"make":"FORD"}`))
		default:
			header["RETRY-AFTER"], header["sc-request-id"] = []string{"600"}, []string{"the-request"}
			w.WriteHeader(429)
			_, _ = w.Write([]byte(`{"type":"RATE_LIMIT","code":"VEHICLE"}`))
		}
	}))
	t.Cleanup(server.Close)
	origin := mustParse(t, server.URL)
	_, err := cannedVehicle(t, server.Client().Transport, smartcar.WithOrigins(smartcar.Origins{API: origin, Auth: origin})).Odometer(t.Context())
	var e *smartcar.Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, 10*time.Minute, e.RetryAfter)
	require.Equal(t, "the-request", e.RequestID)
}

// Java: an error without a description was another kind of error.
func TestPeersJava04_NullDescription(t *testing.T) {
	err := failedRead(t, readFixture(t, "v2/errors/description-null"))
	require.ErrorIs(t, err, smartcar.ErrAsleep)
	var e *smartcar.Error
	require.ErrorAs(t, err, &e)
	require.Empty(t, e.Description)
	require.Empty(t, e.DocURL)
}

// Ruby: after a failed call with the management token the user's calls went
// out with it.
func TestPeersRuby01_FailedManagementCallChangesNoToken(t *testing.T) {
	transport := newCanned(t).on(deleteConnsPath, readFixture(t, "v2/errors/authentication.null").reply()).
		on(odometerPath, readFixture(t, "v2/reads/odometer").reply())
	client := cannedClient(t, transport)
	_, err := client.ImportTokens(t.Context(), smartcar.Tokens{AccessToken: "access-token", RefreshToken: "r", Expires: fixtureTime.Add(time.Hour)})
	require.NoError(t, err)
	_, err = client.DeleteConnections(t.Context(), smartcar.ConnectionFilter{UserID: fixtureUser})
	require.ErrorIs(t, err, smartcar.ErrUnauthorized)
	_, err = client.User(fixtureUser).Vehicle(fixtureVehicle).Odometer(t.Context())
	require.NoError(t, err)
	require.Equal(t, "Bearer access-token", transport.requests(odometerPath)[0].header.Get("Authorization"))
}

// Ruby: the service history's address got a second question mark.
func TestPeersRuby02_OneQuestionMark(t *testing.T) {
	var raw []string
	transport := newCanned(t).on("GET /v2.0/vehicles/{id}/service/history", readFixture(t, "v2/reads/service-history").reply())
	v := cannedVehicle(t, roundTripper(func(req *http.Request) (*http.Response, error) {
		raw = append(raw, req.URL.RequestURI())
		return transport.RoundTrip(req)
	}))
	_, err := v.ServiceHistory(t.Context(), time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2024, 2, 1, 0, 0, 0, 0, time.UTC))
	require.NoError(t, err)
	require.Equal(t, "/v2.0/vehicles/"+fixtureVehicle+"/service/history?end_date=2024-02-01&start_date=2024-01-01", raw[len(raw)-1])
}

// Ruby: what the caller passed in was changed; see also TestModels16.
func TestPeersRuby03_ArgumentsAreNotChanged(t *testing.T) {
	transport := newCanned(t).on(connectionsPath, readFixture(t, "v2/management/connections.page-1").reply())
	filter := smartcar.ConnectionFilter{UserID: fixtureUser}
	_, err := collectConnections(t.Context(), cannedClient(t, transport), filter)
	require.NoError(t, err)
	require.Equal(t, smartcar.ConnectionFilter{UserID: fixtureUser}, filter)
	options := smartcar.ConnectOptions{Scope: []string{"read_vin", "read_battery"}}
	_, err = cannedClient(t, transport).Connect().AuthorizeURL(options, "state-of-the-test")
	require.NoError(t, err)
	require.Equal(t, smartcar.ConnectOptions{Scope: []string{"read_vin", "read_battery"}}, options)
}

// These tests are named after what others' webhooks got wrong. CONTRIBUTING.md
// lists them.

// A payload was serialized again before its signature was checked.
func TestPeersNode03_TheBytesThatCameAreVerified(t *testing.T) {
	v, err := smartcar.NewWebhookVerifier("amt")
	require.NoError(t, err)
	// Spaces, the order of the keys, escapes and digits: another program would
	// write all of it differently.
	for _, body := range []string{`{ "b" : 1.0,  "a":"\u00e4\/" }`, "{\"a\":1e2}\n", `{"a":1,"a":2}`, `{"a":12345678901234567890}`} {
		signature := webhookSignature("amt", []byte(body))
		require.NoError(t, v.Verify([]byte(body), signature))
		var read any
		require.NoError(t, json.Unmarshal([]byte(body), &read))
		written, err := json.Marshal(read)
		require.NoError(t, err)
		require.Equal(t, smartcar.WebhookWrongSignature, reasonOf(v.Verify(written, signature)))
	}
}
