package smartcar_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/smartcartest"
	"github.com/seed-498a1bc4/smartcar/store"
	"github.com/stretchr/testify/require"
)

// What must never be seen. Each is long enough not to occur by chance.
const (
	secretClient     = "s3cr3t-client-4f1c"
	secretManagement = "s3cr3t-management-77ab"
	secretStateKey   = "s3cr3t-state-key-0123456789abcdef"
	secretCode       = "s3cr3t-code-91d0"
	secretAccess     = "s3cr3t-access-5be2"
	secretRefresh    = "s3cr3t-refresh-c0de"
	secretNewAccess  = "s3cr3t-new-access-11fa"
	secretNewRefresh = "s3cr3t-new-refresh-22fb"
	secretLatitude   = "52.520006599"
	secretLongitude  = "13.404953999"
	secretAnswer     = "s3cr3t-in-an-answer-e1e1"
)

func secrets(state string) []string {
	return []string{
		secretClient, secretManagement, secretStateKey, secretCode, secretAccess, secretRefresh, secretNewAccess, secretNewRefresh,
		secretLatitude, secretLongitude, secretAnswer, state,
	}
}

// secretive is a Smartcar that hands out the secrets above.
func secretive(t *testing.T) *canned {
	tokens := func(access, refresh string) reply {
		return jsonReply(200, `{"access_token":"`+access+`","token_type":"Bearer","expires_in":7200,"refresh_token":"`+refresh+`"}`)
	}
	return newCanned(t).
		on(tokenPath, tokens(secretAccess, secretRefresh), tokens(secretNewAccess, secretNewRefresh)).
		on("GET /v2.0/vehicles/{id}/location", jsonReply(200, `{"latitude":`+secretLatitude+`,"longitude":`+secretLongitude+`,"x":"`+secretAnswer+`"}`)).
		on(batchPath, jsonReply(200, `{"responses":[{"path":"/location","code":200,"body":{"latitude":`+secretLatitude+`,"longitude":`+secretLongitude+`}}]}`))
}

// redacted is everything a whole run of the library hands out.
type redacted struct {
	logs   bytes.Buffer
	told   watcher
	state  string
	values map[string]any
	client *smartcar.Client
	errors map[string]error
}

func runRedacted(t *testing.T) *redacted {
	t.Helper()
	run := &redacted{values: map[string]any{}, errors: map[string]error{}}
	transport := secretive(t)
	config := smartcar.Config{
		ClientID: "the-client-id", ClientSecret: secretClient, RedirectURL: "https://example.com/callback",
		StateKey: []byte(secretStateKey), ManagementToken: secretManagement,
	}
	clock := &standingClock{now: fixtureTime}
	logger := slog.New(slog.NewJSONHandler(&run.logs, &slog.HandlerOptions{Level: slog.LevelDebug}))
	client, err := smartcar.New(config, smartcar.WithHTTPClient(&http.Client{Transport: transport}), smartcar.WithClock(clock),
		smartcar.WithLogger(logger), run.told.option(), smartcar.WithRetry(smartcar.RetryPolicy{MaxAttempts: 1}))
	require.NoError(t, err)
	run.client = client

	w := httptest.NewRecorder()
	require.NoError(t, client.Connect().Start(w, httptest.NewRequest(http.MethodGet, "/", nil), smartcar.ConnectOptions{}))
	run.state = mustParse(t, w.Header().Get("Location")).Query().Get("state")
	query := url.Values{"code": {secretCode}, "state": {run.state}, "user_id": {fixtureUser}}
	callback, err := smartcar.ParseCallback(query)
	require.NoError(t, err)
	r := httptest.NewRequest(http.MethodGet, "/callback?"+query.Encode(), nil)
	for _, c := range w.Result().Cookies() {
		r.AddCookie(c)
	}
	grant, err := client.Connect().HandleCallback(httptest.NewRecorder(), r)
	require.NoError(t, err)
	_, run.errors["replayed"] = client.Connect().HandleCallback(httptest.NewRecorder(), r)
	_, run.errors["foreign"] = client.Connect().HandleCallback(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/callback?"+query.Encode(), nil))

	user := client.User(grant.UserID)
	v := user.Vehicle(fixtureVehicle)
	location, err := v.Location(t.Context())
	require.NoError(t, err)
	snapshot, err := v.Snapshot(t.Context(), smartcar.Location, smartcar.Battery)
	require.NoError(t, err)
	response, err := v.Request(t.Context(), smartcar.Request{Path: "location"})
	require.NoError(t, err)
	clock.now = clock.now.Add(3 * 60 * 60 * 1e9) // the token is renewed
	_, err = v.Location(t.Context())
	require.NoError(t, err)
	require.Equal(t, "Bearer "+secretNewAccess, transport.sent[len(transport.sent)-1].header.Get("Authorization"))

	run.values = map[string]any{
		"Config": config, "*Config": &config, "*Client": client, "Client": *client, "*Connect": client.Connect(), "Connect": *client.Connect(),
		"*User": user, "User": *user, "*Vehicle": v, "Vehicle": *v, "*Grant": grant, "Grant": *grant,
		"*Callback": callback, "Callback": *callback, "*Snapshot": snapshot, "Snapshot": *snapshot,
		"*Response": response, "Response": *response,
		"*LocationReading": location, "LocationReading": *location,
		"Tokens":   smartcar.Tokens{AccessToken: secretAccess, RefreshToken: secretRefresh},
		"*Tokens":  &smartcar.Tokens{AccessToken: secretAccess, RefreshToken: secretRefresh},
		"Expected": smartcar.Expected{State: run.state}, "*Expected": &smartcar.Expected{State: run.state},
	}
	failing(t, run, transport, v)
	return run
}

// failing makes the library fail in ways that have secrets in reach.
func failing(t *testing.T, run *redacted, transport *canned, v *smartcar.Vehicle) {
	t.Helper()
	noise := `{"type":"SERVER","x":"` + secretAnswer + `"}`
	for name, r := range map[string]reply{
		"HTML": {status: 502, body: secretAnswer}, "no JSON": {status: 200, body: secretAnswer}, "cut": {status: 200, body: secretAnswer, length: 500},
		"API": jsonReply(500, noise), "redirect": {status: 302, headers: map[string]string{"Location": "https://evil.example/" + secretAnswer}},
		"unauthorized": readFixture(t, "v2/errors/authentication.null").reply(), "transport": {err: io.ErrUnexpectedEOF},
	} {
		transport.on(odometerPath, r).on(lockPath, r)
		_, run.errors["read: "+name] = v.Odometer(t.Context())
		_, run.errors["command: "+name] = v.Lock(t.Context())
	}
	// The token endpoint quotes what it was sent, as Smartcar's does.
	for name, r := range map[string]reply{
		"quoted":  jsonReply(400, `{"error":"invalid_request","error_description":"Invalid code: `+secretCode+` or token `+secretRefresh+`."}`),
		"no JSON": {status: 200, body: secretRefresh}, "HTML": {status: 500, body: secretCode}, "empty": jsonReply(200, `{"refresh_token":"`+secretRefresh+`"}`),
		"array": jsonReply(200, `["`+secretRefresh+`"]`), "transport": {err: errors.New("broken")},
	} {
		transport.on(tokenPath, r)
		query := url.Values{"code": {secretCode}, "state": {run.state}}
		callback, err := smartcar.ParseCallback(query)
		require.NoError(t, err)
		_, run.errors["exchange: "+name] = run.client.Connect().Exchange(t.Context(), callback, smartcar.Expected{State: run.state})
		_, run.errors["refresh: "+name] = run.client.ImportTokens(t.Context(), smartcar.Tokens{AccessToken: secretAccess, RefreshToken: secretRefresh})
	}
	_, run.errors["state"] = run.client.Connect().Exchange(t.Context(), new(smartcar.Callback), smartcar.Expected{State: run.state})
	_, run.errors["callback"] = smartcar.ParseCallback(url.Values{"code": {secretCode, secretCode}, "state": {run.state}})
	_, run.errors["key"] = smartcar.New(smartcar.Config{ClientID: "i", ClientSecret: secretClient, RedirectURL: "/", ManagementToken: secretManagement})
	for name, err := range run.errors {
		require.Error(t, err, name)
	}
}

func TestNoErrorShowsASecret(t *testing.T) {
	run := runRedacted(t)
	for name, err := range run.errors {
		requireNoSecret(t, name, err.Error(), secrets(run.state))
		requireUnprintableError(t, name, err, secrets(run.state))
	}
}

func TestNoLogLineShowsASecret(t *testing.T) {
	run := runRedacted(t)
	requireNoSecret(t, "the log", run.logs.String(), secrets(run.state))
	require.NotContains(t, run.logs.String(), "://", "no address is logged")
	lines := strings.Split(strings.TrimSpace(run.logs.String()), "\n")
	require.Greater(t, len(lines), 5)
	allowed := map[string]bool{}
	for _, key := range []string{"time", "level", "msg", "operation", "vehicle", "status", "took", "request_id", "rule", "next_allowed", "error", "api", "version",
		"user", "outcome", "failure", "attempts", "attempt", "type", "code", "turn", "local", "in_flight", "repetition", "count", "wait",
		"source", "age", "stale", "from", "to",
	} {
		allowed[key] = true
	}
	for _, line := range lines {
		var entry map[string]any
		require.NoError(t, json.Unmarshal([]byte(line), &entry))
		for key := range entry {
			require.True(t, allowed[key], "%s is not on the list of what may be logged", key)
		}
	}
}

// What observers are told shows no secret, and no id but in the fields for ids.
func TestNoEventShowsASecret(t *testing.T) {
	run := runRedacted(t)
	require.Greater(t, len(run.told.events), 30)
	requireNothingPersonal(t, &run.told, secrets(run.state))
}

// Whatever the simulator knows of a car and its owner, observers and the log are not told.
func TestNoEventShowsACarOrItsPlace(t *testing.T) {
	onEitherAPI(t, func(t *testing.T, sim *smartcartest.Server, api smartcar.API) {
		var book bookkeeper
		client := borderClient(t, sim, api, sim.Transport(), book.options()...)
		user := client.User(connect(t, sim, client).UserID)
		ctx, car := t.Context(), user.Vehicle(smartcartest.MachE)
		require.NoError(t, car.Subscribe(ctx, hookUp(t, sim, receiverOf(t, client, nil), smartcartest.Webhook{})))
		deliver(t, sim)
		place, err := car.Location(ctx)
		require.NoError(t, err)
		number, err := car.VIN(ctx)
		require.NoError(t, err)
		_, err = car.With(smartcar.MaxAge(time.Hour)).Location(ctx)
		require.NoError(t, err)
		_, err = car.Request(ctx, smartcar.Request{Path: "a-private-path/" + number.VIN})
		require.Error(t, err)
		_, err = car.SendDestination(ctx, *place.Latitude, *place.Longitude)
		require.NoError(t, err)
		require.NotEmpty(t, seen[smartcar.CachedAnswer](&book.watcher))
		hidden := []string{
			number.VIN, "a-private-path", strconv.FormatFloat(*place.Latitude, 'f', -1, 64), strconv.FormatFloat(*place.Longitude, 'f', -1, 64),
			sim.ClientSecret(), sim.APIClientSecret(), sim.ManagementToken(),
		}
		requireNothingPersonal(t, &book.watcher, hidden)
		requireNoSecret(t, "the log", book.logs.String(), hidden)
	})
}

// requireNothingPersonal looks at all that an observer was told.
func requireNothingPersonal(t *testing.T, w *watcher, hidden []string) {
	t.Helper()
	told := []any{w.begun, w.attempts}
	for _, e := range w.events {
		told = append(told, e)
	}
	for _, event := range told {
		text, err := json.Marshal(event)
		require.NoError(t, err)
		for _, form := range []string{string(text), fmt.Sprintf("%+v", event), fmt.Sprintf("%#v", event)} {
			requireNoSecret(t, fmt.Sprintf("%T", event), form, hidden)
		}
		if e, ok := event.(smartcar.Event); ok {
			about := e.Subject()
			rest := string(text)
			for _, field := range []string{`"VehicleID":"` + about.VehicleID + `"`, `"UserID":"` + about.UserID + `"`} {
				rest = strings.Replace(rest, field, "", 1)
			}
			for _, id := range []string{about.VehicleID, about.UserID} {
				require.False(t, id != "" && strings.Contains(rest, id), "%T tells an id beside the fields for ids: %s", event, text)
			}
		}
	}
}

func TestNoVerbShowsASecret(t *testing.T) {
	run := runRedacted(t)
	hidden := secrets(run.state)
	for name, value := range run.values {
		t.Run(name, func(t *testing.T) {
			if strings.HasSuffix(name, "LocationReading") {
				// The program's own data: a log in JSON holds what it is given.
				for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%d", "%x"} {
					requireNoSecret(t, name+" by "+verb, fmt.Sprintf(verb, value), hidden)
				}
				return
			}
			requireUnprintable(t, name, value, hidden)
		})
	}
}

// Programs keep the library's types in structs of their own, where package fmt
// cannot call their methods.
func TestNoVerbShowsASecretOfAnEmbeddedValue(t *testing.T) {
	run := runRedacted(t)
	hidden := secrets(run.state)
	value := func(name string) any { return run.values[name] }
	type unexported struct {
		client   *smartcar.Client
		inPlace  smartcar.Client
		connect  *smartcar.Connect
		user     *smartcar.User
		vehicle  *smartcar.Vehicle
		car      smartcar.Vehicle
		grant    *smartcar.Grant
		callback *smartcar.Callback
		copied   smartcar.Callback
		snapshot *smartcar.Snapshot
		response *smartcar.Response
		location *smartcar.LocationReading
		err      error
	}
	mine := unexported{
		client: run.client, inPlace: *run.client, connect: run.client.Connect(), user: value("*User").(*smartcar.User),
		vehicle: value("*Vehicle").(*smartcar.Vehicle), car: *value("*Vehicle").(*smartcar.Vehicle), grant: value("*Grant").(*smartcar.Grant),
		callback: value("*Callback").(*smartcar.Callback), copied: *value("*Callback").(*smartcar.Callback),
		snapshot: value("*Snapshot").(*smartcar.Snapshot), response: value("*Response").(*smartcar.Response),
		location: value("*LocationReading").(*smartcar.LocationReading), err: run.errors["exchange: HTML"],
	}
	type embedded struct {
		*smartcar.Client
		smartcar.Config
	}
	for name, v := range map[string]any{
		"unexported fields": mine, "a pointer to them": &mine, "embedded": embedded{run.client, value("Config").(smartcar.Config)},
	} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%d", "%x"} {
			requireNoSecret(t, name+" by "+verb, fmt.Sprintf(verb, v), hidden)
		}
	}
}

func TestNoJSONShowsASecretOfANestedValue(t *testing.T) {
	config := smartcar.Config{ClientID: "the-client-id", ClientSecret: secretClient, StateKey: []byte(secretStateKey), ManagementToken: secretManagement}
	tokens := smartcar.Tokens{AccessToken: secretAccess, RefreshToken: secretRefresh}
	expected := smartcar.Expected{State: secretAnswer}
	type job struct {
		Config   smartcar.Config
		Tokens   []smartcar.Tokens
		Expected map[string]*smartcar.Expected
		Record   *smartcar.Tokens
	}
	value := job{config, []smartcar.Tokens{tokens}, map[string]*smartcar.Expected{"e": &expected}, &tokens}
	hidden := secrets("")
	for name, v := range map[string]any{"struct": value, "pointer": &value, "list": []any{config, tokens, expected}} {
		raw, err := json.Marshal(v)
		require.NoError(t, err)
		requireNoSecret(t, name+" in JSON", string(raw), hidden)
		var logs bytes.Buffer
		slog.New(slog.NewJSONHandler(&logs, nil)).Info("job", "value", v, slog.Group("g", "value", v))
		require.Contains(t, logs.String(), "job")
		requireNoSecret(t, name+" in a log", logs.String(), hidden)
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%d", "%x", "%X"} {
		record := store.Record{Value: []byte(secretRefresh), Revision: "r"}
		requireNoSecret(t, "Record by "+verb, fmt.Sprintf(verb, record), hidden)
		requireNoSecret(t, "*Record by "+verb, fmt.Sprintf(verb, []*store.Record{&record}), hidden)
		requireNoSecret(t, "a struct with one by "+verb, fmt.Sprintf(verb, struct{ R store.Record }{record}), hidden)
	}
}

// A program may log the error: whose car it is stands in the link alone.
func TestErrorTextShowsNoVINOfALink(t *testing.T) {
	link, err := smartcar.ParseVirtualKeyURL("https://www.tesla.com/_ak/smartcar.com?vin=5YJ3E1EA7KF317000")
	require.NoError(t, err)
	missing := &smartcar.VirtualKeyRequiredError{Operation: smartcar.Lock, URL: link}
	require.NotContains(t, missing.Error(), "5YJ3")
	require.Contains(t, missing.Error(), "https://www.tesla.com/_ak/smartcar.com")
	for _, verb := range []string{"%v", "%+v", "%#v"} {
		require.NotContains(t, fmt.Sprintf(verb, missing), "5YJ3")
	}
	require.Equal(t, "https://www.tesla.com/_ak/smartcar.com?vin=5YJ3E1EA7KF317000", missing.URL.String())
}

// A car's VIN identifies its owner: no verb prints the one in an error.
func TestConnectErrorPrintsNoVIN(t *testing.T) {
	const number = "5YJSA1E26HF000337"
	callback, err := smartcar.ParseCallback(url.Values{"error": {"vehicle_incompatible"}, "vin": {number}, "state": {"s"}})
	require.NoError(t, err)
	require.Equal(t, number, callback.Err.VIN)
	requireUnprintable(t, "ConnectError", callback.Err, []string{number})
	for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
		require.Equal(t, callback.Err.Error(), fmt.Sprintf(verb, callback.Err))
		require.NotContains(t, fmt.Sprintf(verb, *callback.Err), number)
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
