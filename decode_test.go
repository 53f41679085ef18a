package smartcar_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
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
}

func readFixture(t testing.TB, path string) fixture {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("testdata", path+".json"))
	require.NoError(t, err)
	var f fixture
	require.NoError(t, json.Unmarshal(raw, &f), path)
	return f
}

// fixtureNames lists a folder of testdata, without ".json".
func fixtureNames(t testing.TB, folder string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("testdata", folder, "*.json"))
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

func (f fixture) reply() reply {
	r := reply{status: f.Response.Status, headers: f.Response.Headers, body: string(f.Response.Body)}
	if f.Response.BodyText != nil {
		r.body = *f.Response.BodyText
	}
	return r
}

func jsonReply(status int, body string) reply {
	return reply{status: status, body: body, headers: map[string]string{"Content-Type": "application/json"}}
}

// sentRequest is a request as it left the client.
type sentRequest struct {
	method, host, path string
	query              url.Values
	header             http.Header
	body               string
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

const (
	fixtureVehicle = "36ab27d0-fd9d-4455-823a-ce30af709ffc"
	fixtureUser    = "e0514ef4-5226-11e8-8c13-8f6e8f02e27e"

	attributesPath = "GET /v2.0/vehicles/{id}"
	odometerPath   = "GET /v2.0/vehicles/{id}/odometer"
	batteryPath    = "GET /v2.0/vehicles/{id}/battery"
	lockPath       = "POST /v2.0/vehicles/{id}/security"
	tokenPath      = "POST /oauth/token"
)

// newCanned knows the user and a car without rules of its own.
func newCanned(t testing.TB) *canned {
	return &canned{t: t, replies: map[string][]reply{
		"GET /v2.0/user": {readFixture(t, "v2/reads/user").reply()},
		attributesPath:   {jsonReply(200, `{"id":"`+fixtureVehicle+`","make":"FORD","model":"Mustang Mach-E","year":2022}`)},
	}}
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

type failingReader struct{ err error }

func (f failingReader) Read([]byte) (int, error) { return 0, f.err }

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

// fixtureTime is just after the fixtures were fetched.
var fixtureTime = time.Date(2026, 11, 23, 9, 15, 4, 0, time.UTC)

// standingClock stands still, except that sleeping moves it.
type standingClock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *standingClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *standingClock) Sleep(ctx context.Context, d time.Duration) error {
	c.mu.Lock()
	c.now = c.now.Add(d)
	c.mu.Unlock()
	return context.Cause(ctx)
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

// metaOf is what a client must make of the headers of a fixture.
func metaOf(f fixture) smartcar.Meta {
	at := func(name string) time.Time {
		t, err := time.Parse(time.RFC3339Nano, f.Response.Headers[name])
		if err != nil {
			return time.Time{}
		}
		return t
	}
	units := smartcar.UnitSystem(f.Response.Headers["SC-Unit-System"])
	if units == "" {
		units = smartcar.Metric // what was asked for
	}
	return smartcar.Meta{
		RequestID: f.Response.Headers["SC-Request-Id"], RecordedAt: at("SC-Data-Age"), FetchedAt: at("SC-Fetched-At"),
		ReceivedAt: fixtureTime, UnitSystem: units, Source: smartcar.SourceLive,
	}
}

// TestReadFixtures serves every fixture of a typed read, odd variants too, and
// compares the whole result.
func TestReadFixtures(t *testing.T) {
	for name, want := range wantReads() {
		t.Run(name, func(t *testing.T) {
			f := readFixture(t, "v2/reads/"+name)
			transport := newCanned(t)
			v := cannedVehicle(t, transport)
			key := f.Request.Method + " " + f.Request.Path
			transport.on(key, f.reply())
			if units := f.Request.Headers["SC-Unit-System"]; units != "" {
				v = v.With(smartcar.InUnits(smartcar.UnitSystem(units)))
			}

			operation, _, _ := strings.Cut(name, ".")
			got, err := typedRead(t.Context(), v, smartcar.Operation(operation))
			require.NoError(t, err)
			reflect.ValueOf(want).Elem().FieldByName("Meta").Set(reflect.ValueOf(metaOf(f)))
			require.Equal(t, want, got)

			sent := transport.requests(key)
			require.Len(t, sent, 1)
			require.Empty(t, sent[0].body)
			require.Equal(t, "Bearer access-token", sent[0].header.Get("Authorization"))
			require.Equal(t, string(metaOf(f).UnitSystem), sent[0].header.Get("SC-Unit-System"))
			query := url.Values{}
			for k, v := range f.Request.Query {
				query.Set(k, v)
			}
			require.Equal(t, query, sent[0].query)
		})
	}
}

// typedRead calls the method of Vehicle that stands for an operation.
func typedRead(ctx context.Context, v *smartcar.Vehicle, op smartcar.Operation) (any, error) {
	switch op {
	case smartcar.Attributes:
		return v.Attributes(ctx)
	case smartcar.VIN:
		return v.VIN(ctx)
	case smartcar.Odometer:
		return v.Odometer(ctx)
	case smartcar.Location:
		return v.Location(ctx)
	case smartcar.Fuel:
		return v.Fuel(ctx)
	case smartcar.Battery:
		return v.Battery(ctx)
	case smartcar.BatteryCapacity:
		return v.BatteryCapacity(ctx)
	case smartcar.NominalCapacity:
		return v.NominalCapacity(ctx)
	case smartcar.Charge:
		return v.Charge(ctx)
	case smartcar.ChargeLimit:
		return v.ChargeLimit(ctx)
	case smartcar.TirePressure:
		return v.TirePressure(ctx)
	case smartcar.EngineOil:
		return v.EngineOil(ctx)
	case smartcar.LockStatus:
		return v.LockStatus(ctx)
	case smartcar.ServiceHistory:
		return v.ServiceHistory(ctx, time.Date(2023, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2023, 12, 31, 0, 0, 0, 0, time.UTC))
	case smartcar.SystemStatus:
		return v.SystemStatus(ctx)
	case smartcar.TroubleCodes:
		return v.TroubleCodes(ctx)
	case smartcar.TeslaStatus:
		return v.TeslaStatus(ctx)
	case smartcar.TeslaAttributes:
		return v.TeslaAttributes(ctx)
	case smartcar.TeslaUserAccess:
		return v.TeslaUserAccess(ctx)
	}
	return nil, errors.New("no method for " + string(op))
}

// TestReadsWithoutTheirOwnResult covers what is not handed out as it came:
// lists that are put together from pages, and the user.
func TestReadsWithoutTheirOwnResult(t *testing.T) {
	for name, tt := range wantLists() {
		t.Run(name, func(t *testing.T) {
			transport := newCanned(t)
			var replies []reply
			var counts []int
			for _, page := range tt.pages {
				f := readFixture(t, "v2/reads/"+page)
				replies = append(replies, f.reply())
				var body struct{ Vehicles, Permissions []string }
				require.NoError(t, json.Unmarshal(f.Response.Body, &body))
				counts = append(counts, len(body.Vehicles)+len(body.Permissions))
			}
			user := cannedUser(t, transport)
			transport.on(tt.path, replies...)
			got, err := tt.read(t.Context(), user)
			require.NoError(t, err)
			require.Len(t, got, tt.count)
			for _, want := range tt.contains {
				require.Contains(t, got, want)
			}

			sent := transport.requests(tt.path)
			require.Len(t, sent, len(tt.pages), "a page was asked for twice, or not at all")
			offset := 0
			for i, s := range sent {
				require.Equal(t, strconv.Itoa(offset), s.query.Get("offset"), "page %d", i)
				offset += counts[i]
			}
		})
	}
}

func TestKeyFixtures(t *testing.T) {
	for name, want := range map[string]smartcar.KeyState{
		"key-status":            smartcar.KeyInstalled,
		"key-status.not-paired": smartcar.KeyMissing,
		"key-status.null":       smartcar.KeyUnknown,
	} {
		t.Run(name, func(t *testing.T) {
			f := readFixture(t, "v2/reads/"+name)
			transport := newCanned(t).on("GET "+f.Request.Path, f.reply()).
				on(attributesPath, jsonReply(200, `{"make":"TESLA","model":"Model 3","year":2022}`))
			status, err := cannedVehicle(t, transport).KeyStatus(t.Context())
			require.NoError(t, err)
			require.Equal(t, want, status.State)
			if want != smartcar.KeyUnknown {
				require.Equal(t, smartcar.KeyFromEndpoint, status.Source)
				require.Equal(t, fixtureTime, status.At.UTC())
			}
		})
	}
}

// Every fixture of a read is decoded by one of the tests above.
func TestNoReadFixtureIsForgotten(t *testing.T) {
	used := map[string]bool{"user": true, "key-status": true, "key-status.not-paired": true, "key-status.null": true}
	for name := range wantReads() {
		used[name] = true
	}
	for _, l := range wantLists() {
		for _, page := range l.pages {
			used[page] = true
		}
	}
	for _, name := range fixtureNames(t, "v2/reads") {
		require.True(t, used[name], name)
		delete(used, name)
	}
	require.Empty(t, used, "no such fixture")
}
