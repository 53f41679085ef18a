package smartcar_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed-498a1bc4/smartcar"
	"github.com/stretchr/testify/require"
)

// A fixture is one file of testdata; testdata/README.md explains the format.
type fixture struct {
	Request struct {
		Method, Path   string
		Query, Headers map[string]string
		Body           json.RawMessage
	}
	Response struct {
		Status   int
		Headers  map[string]string
		Body     json.RawMessage
		BodyText *string
	}
	Want *struct {
		Type, Code, RequestID string
		StatusCode            int
		Retryable             bool
		ResolutionType        string
		ResolutionURL         string
		RetryAfterSeconds     *float64
	}
	Reading json.RawMessage // of the plain fixture of a read: what it is decoded to
}

func (f fixture) reply() reply {
	r := reply{status: f.Response.Status, headers: f.Response.Headers, body: string(f.Response.Body)}
	if f.Response.BodyText != nil {
		r.body = *f.Response.BodyText
	}
	return r
}

func readFixture(t testing.TB, path string) fixture {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("..", "testdata", path+".json"))
	require.NoError(t, err)
	var f fixture
	require.NoError(t, json.Unmarshal(raw, &f), path)
	return f
}

// fixtureNames lists a folder of testdata, without ".json".
func fixtureNames(t testing.TB, folder string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("..", "testdata", folder, "*.json"))
	require.NoError(t, err)
	require.NotEmpty(t, files)
	names := make([]string, len(files))
	for i, f := range files {
		names[i] = strings.TrimSuffix(filepath.Base(f), ".json")
	}
	return names
}

// reply is the answer to one request: an HTTP answer or an error of the transport.
type reply struct {
	status  int
	headers map[string]string
	body    string
	length  int64 // of the body as announced; 0 means its own
	err     error
}

func (r reply) response(req *http.Request) (*http.Response, error) {
	if r.err != nil {
		return nil, r.err
	}
	resp := &http.Response{
		StatusCode: r.status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: http.Header{},
		Body: io.NopCloser(strings.NewReader(r.body)), ContentLength: int64(len(r.body)), Request: req,
	}
	for name, value := range r.headers {
		resp.Header.Set(name, value)
	}
	if r.length > 0 { // as net/http does when the connection ends early
		resp.ContentLength = r.length
		resp.Body = io.NopCloser(io.MultiReader(strings.NewReader(r.body), failingReader{io.ErrUnexpectedEOF}))
	}
	return resp, nil
}

func jsonReply(status int, body string) reply {
	return reply{status: status, body: body, headers: map[string]string{"Content-Type": "application/json"}}
}

type failingReader struct{ err error }

func (f failingReader) Read([]byte) (int, error) { return 0, f.err }

const (
	fixtureVehicle = "36ab27d0-fd9d-4455-823a-ce30af709ffc"
	fixtureUser    = "e0514ef4-5226-11e8-8c13-8f6e8f02e27e"

	attributesPath = "GET /v2.0/vehicles/{id}"
	odometerPath   = "GET /v2.0/vehicles/{id}/odometer"
	batteryPath    = "GET /v2.0/vehicles/{id}/battery"
	lockPath       = "POST /v2.0/vehicles/{id}/security"
	tokenPath      = "POST /oauth/token"
)

// fixtureTime is just after the fixtures were fetched.
var fixtureTime = time.Date(2026, 11, 23, 9, 15, 4, 0, time.UTC)

// newCanned knows the user and a car without rules of its own.
func newCanned(t testing.TB) *canned {
	return &canned{t: t, replies: map[string][]reply{
		"GET /v2.0/user": {readFixture(t, "v2/reads/user").reply()},
		attributesPath:   {jsonReply(200, `{"id":"`+fixtureVehicle+`","make":"FORD","model":"Mustang Mach-E","year":2022}`)},
	}}
}

// canned is a transport that answers from a list: by "METHOD path", with {id}
// for the vehicle. The last answer of a list is repeated. A request without an
// answer fails the test.
type canned struct {
	t       testing.TB
	mu      sync.Mutex
	replies map[string][]reply
	sent    []sentRequest
}

func (c *canned) on(key string, replies ...reply) *canned {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.replies[key] = replies
	return c
}

func (c *canned) RoundTrip(req *http.Request) (*http.Response, error) {
	var body []byte
	if req.Body != nil {
		body, _ = io.ReadAll(req.Body)
		_ = req.Body.Close()
	}
	if err := req.Context().Err(); err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sent = append(c.sent, sentRequest{
		method: req.Method, host: req.URL.Host, path: req.URL.EscapedPath(), query: req.URL.Query(),
		header: req.Header.Clone(), body: string(body),
	})
	key := req.Method + " " + strings.ReplaceAll(req.URL.EscapedPath(), fixtureVehicle, "{id}")
	list := c.replies[key]
	if len(list) == 0 && key == "POST /oauth/token" { // after a 401: an imported token is renewed at once
		list = []reply{jsonReply(200, `{"access_token":"renewed","token_type":"Bearer","expires_in":7200,"refresh_token":"next"}`)}
	}
	if len(list) == 0 {
		c.t.Errorf("unexpected request: %s", key)
		return nil, errors.New("unexpected request")
	}
	if len(list) > 1 {
		c.replies[key] = list[1:]
	}
	return list[0].response(req)
}

// requests returns what was sent to one path.
func (c *canned) requests(key string) []sentRequest {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []sentRequest
	for _, s := range c.sent {
		if s.method+" "+strings.ReplaceAll(s.path, fixtureVehicle, "{id}") == key {
			out = append(out, s)
		}
	}
	return out
}

func cannedClient(t testing.TB, transport http.RoundTripper, opts ...smartcar.Option) *smartcar.Client {
	t.Helper()
	opts = append([]smartcar.Option{
		smartcar.WithHTTPClient(&http.Client{Transport: transport}),
		smartcar.WithClock(&standingClock{now: fixtureTime}),
		smartcar.WithRetry(smartcar.RetryPolicy{MaxAttempts: 1}),
	}, opts...)
	client, err := smartcar.New(smartcar.Config{
		ClientID: "8229df9f-91a0-4ff0-a1ae-a1f38ee24d07", ClientSecret: "client-secret",
		RedirectURL: "https://example.com/callback", StateKey: stateKey, ManagementToken: "management-token",
	}, opts...)
	require.NoError(t, err)
	return client
}

// cannedUser is an owner who has connected.
func cannedUser(t testing.TB, transport http.RoundTripper, opts ...smartcar.Option) *smartcar.User {
	t.Helper()
	client := cannedClient(t, transport, opts...)
	grant, err := client.ImportTokens(t.Context(), smartcar.Tokens{
		AccessToken: "access-token", RefreshToken: "refresh-token", Expires: fixtureTime.Add(2 * time.Hour),
	})
	require.NoError(t, err)
	require.Equal(t, fixtureUser, grant.UserID)
	return client.User(grant.UserID)
}

func cannedVehicle(t testing.TB, transport http.RoundTripper, opts ...smartcar.Option) *smartcar.Vehicle {
	t.Helper()
	return cannedUser(t, transport, opts...).Vehicle(fixtureVehicle)
}

const batchPath = "POST /v2.0/vehicles/{id}/batch"

// batchSnapshot serves a batch fixture and checks the one request it takes.
func batchSnapshot(t *testing.T, name string, opts ...smartcar.Option) *smartcar.Snapshot {
	t.Helper()
	f := readFixture(t, "v2/batch/"+name)
	transport := newCanned(t).on(batchPath, f.reply())
	want := batchOperations(t, f)
	snapshot, err := cannedVehicle(t, transport, opts...).Snapshot(t.Context(), want...)
	require.NoError(t, err)
	sent := transport.requests(batchPath)
	require.Len(t, sent, 1)
	require.JSONEq(t, string(f.Request.Body), sent[0].body)
	require.Equal(t, "application/json", sent[0].header.Get("Content-Type"))
	var got []smartcar.Operation
	for op, err := range snapshot.Operations() {
		if err != nil {
			require.Contains(t, err.Error(), string(op), "an item's error names its operation")
		}
		got = append(got, op)
	}
	require.Equal(t, want, got, "one result for each operation, in the order asked")
	return snapshot
}

func requireBattery(t *testing.T, s *smartcar.Snapshot, percent, distance float64) {
	t.Helper()
	battery, err := s.Battery()
	require.NoError(t, err)
	require.Equal(t, &percent, battery.Percent)
	require.Equal(t, &distance, battery.Range)
}

func requireOdometer(t *testing.T, s *smartcar.Snapshot, distance float64) {
	t.Helper()
	odometer, err := s.Odometer()
	require.NoError(t, err)
	require.Equal(t, &distance, odometer.Distance)
}

// failedRead serves an error fixture to the read, or to the token endpoint,
// that it belongs to.
func failedRead(t *testing.T, f fixture) error {
	t.Helper()
	clock := &standingClock{now: fixtureTime}
	if date, err := http.ParseTime(f.Response.Headers["Date"]); err == nil {
		clock.now = date
	}
	transport := newCanned(t).on(odometerPath, f.reply()).on(tokenPath, f.reply())
	if strings.HasSuffix(f.Request.Path, "/oauth/token") {
		_, err := cannedClient(t, transport, smartcar.WithClock(clock)).
			ImportTokens(t.Context(), smartcar.Tokens{RefreshToken: "refresh-token"})
		return err
	}
	odometer, err := cannedVehicle(t, transport, smartcar.WithClock(clock)).Odometer(t.Context())
	require.Nil(t, odometer)
	return err
}

const (
	connectionsPath   = "GET /v2.0/management/connections"
	deleteConnsPath   = "DELETE /v2.0/management/connections"
	compatibilityPath = "GET /v2.0/compatibility"
)

const (
	vehiclesPath    = "GET /v2.0/vehicles"
	permissionsPath = "GET /v2.0/vehicles/{id}/permissions"
)

func connectionOf(id, user, external, vehicle, mode string) string {
	return fmt.Sprintf(`{"id":%q,"attributes":{"user":{"id":%q,"externalId":%q},"vehicle":{"mode":%q}},"relationships":{"vehicle":{"data":{"id":%q}},"user":{"data":{"id":%q}}}}`,
		id, user, external, mode, vehicle, user)
}

func batchOperations(t *testing.T, f fixture) []smartcar.Operation {
	t.Helper()
	operations := map[string]smartcar.Operation{
		"/": smartcar.Attributes, "/battery": smartcar.Battery, "/battery/nominal_capacity": smartcar.NominalCapacity,
		"/charge": smartcar.Charge, "/charge/limit": smartcar.ChargeLimit, "/engine/oil": smartcar.EngineOil, "/fuel": smartcar.Fuel,
		"/location": smartcar.Location, "/odometer": smartcar.Odometer, "/security": smartcar.LockStatus,
		"/tires/pressure": smartcar.TirePressure, "/tesla/virtual_key": smartcar.Operation("key-status"), "/tesla/status": smartcar.TeslaStatus,
	}
	var body struct{ Requests []struct{ Path string } }
	require.NoError(t, json.Unmarshal(f.Request.Body, &body))
	var list []smartcar.Operation
	for _, r := range body.Requests {
		op, ok := operations[r.Path]
		require.True(t, ok, r.Path)
		list = append(list, op)
	}
	return list
}
