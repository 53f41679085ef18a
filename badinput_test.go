package smartcar_test

import (
	"context"
	"io"
	"math"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/smartcartest"
	"github.com/stretchr/testify/require"
)

// vehicleCalls are all calls of a Vehicle that take a context.
func vehicleCalls() map[string]func(context.Context, *smartcar.Vehicle) error {
	calls := map[string]func(context.Context, *smartcar.Vehicle) error{
		"Snapshot": func(ctx context.Context, v *smartcar.Vehicle) error {
			_, err := v.Snapshot(ctx, smartcar.Battery, smartcar.Odometer)
			return err
		},
		"Permissions": func(ctx context.Context, v *smartcar.Vehicle) error {
			_, err := v.Permissions(ctx)
			return err
		},
		"Request": func(ctx context.Context, v *smartcar.Vehicle) error {
			_, err := v.Request(ctx, smartcar.Request{Path: "tesla/compass"})
			return err
		},
		"KeyStatus": func(ctx context.Context, v *smartcar.Vehicle) error {
			_, err := v.KeyStatus(ctx)
			return err
		},
		"Access": func(ctx context.Context, v *smartcar.Vehicle) error {
			_, err := v.Access(ctx)
			return err
		},
		"Disconnect":   func(ctx context.Context, v *smartcar.Vehicle) error { return v.Disconnect(ctx) },
		"Wait":         func(ctx context.Context, v *smartcar.Vehicle) error { return v.Wait(ctx) },
		"SetKeyStatus": func(ctx context.Context, v *smartcar.Vehicle) error { return v.SetKeyStatus(ctx, smartcar.KeyMissing) },
		"Watch": func(ctx context.Context, v *smartcar.Vehicle) error {
			for _, err := range v.Watch(ctx, smartcar.Battery) {
				return err
			}
			return nil
		},
	}
	for _, op := range typedReads() {
		calls[string(op)] = func(ctx context.Context, v *smartcar.Vehicle) error {
			_, err := typedRead(ctx, v, op)
			return err
		}
	}
	for name, command := range commandCalls() {
		calls[name] = func(ctx context.Context, v *smartcar.Vehicle) error {
			_, err := command(ctx, v)
			return err
		}
	}
	return calls
}

func typedReads() []smartcar.Operation {
	return []smartcar.Operation{
		smartcar.Attributes, smartcar.VIN, smartcar.Odometer, smartcar.Location, smartcar.Fuel, smartcar.Battery,
		smartcar.BatteryCapacity, smartcar.NominalCapacity, smartcar.Charge, smartcar.ChargeLimit, smartcar.TirePressure,
		smartcar.EngineOil, smartcar.LockStatus, smartcar.ServiceHistory, smartcar.SystemStatus, smartcar.TroubleCodes,
		smartcar.TeslaStatus, smartcar.TeslaAttributes, smartcar.TeslaUserAccess,
	}
}

// accountCalls are all other calls that take a context.
func accountCalls(client *smartcar.Client) map[string]func(context.Context) error {
	user := client.User(fixtureUser)
	first := func(err error) error { return err }
	return map[string]func(context.Context) error{
		"User.Vehicles": func(ctx context.Context) error {
			for _, err := range user.Vehicles(ctx) {
				return first(err)
			}
			return nil
		},
		"User.VirtualKeyURL": func(ctx context.Context) error { _, err := user.VirtualKeyURL(ctx); return err },
		"User.Renew":         func(ctx context.Context) error { return user.Renew(ctx, time.Hour) },
		"User.Forget":        func(ctx context.Context) error { return user.Forget(ctx) },
		"Connect.Resume":     func(ctx context.Context) error { _, err := client.Connect().Resume(ctx, "grant"); return err },
		"Connect.Exchange": func(ctx context.Context) error {
			_, err := client.Connect().Exchange(ctx, new(smartcar.Callback), smartcar.Expected{State: "state"})
			return err
		},
		"Client.ImportTokens": func(ctx context.Context) error {
			_, err := client.ImportTokens(ctx, smartcar.Tokens{RefreshToken: "refresh-token"})
			return err
		},
		"Client.Compatibility": func(ctx context.Context) error {
			_, err := client.Compatibility(ctx, "5YJSA1CN5DFP00101", smartcar.CompatibilityOptions{Scope: []string{"read_battery"}})
			return err
		},
		"Client.Connections": func(ctx context.Context) error {
			for _, err := range client.Connections(ctx, smartcar.ConnectionFilter{}) {
				return first(err)
			}
			return nil
		},
		"Client.DeleteConnections": func(ctx context.Context) error {
			_, err := client.DeleteConnections(ctx, smartcar.ConnectionFilter{UserID: "user"})
			return err
		},
	}
}

func TestNilContextIsAnArgumentError(t *testing.T) {
	transport := newCanned(t)
	v := cannedVehicle(t, transport)
	before := len(transport.sent)
	for name, call := range vehicleCalls() {
		t.Run(name, func(t *testing.T) {
			require.NotPanics(t, func() {
				require.ErrorIs(t, call(nil, v), smartcar.ErrInvalidArgument)
			})
		})
	}
	for name, call := range accountCalls(cannedClient(t, transport)) {
		t.Run(name, func(t *testing.T) {
			require.NotPanics(t, func() {
				require.ErrorIs(t, call(nil), smartcar.ErrInvalidArgument)
			})
		})
	}
	require.Len(t, transport.sent, before, "nothing was sent")
}

// hostileIDs and the one path segment they make; empty if they are refused.
var hostileIDs = map[string]string{
	"":                              "",
	".":                             "",
	"..":                            "",
	"line\nbreak":                   "",
	"tab\tbed":                      "",
	"nul\x00":                       "",
	"not UTF-8 \xff":                "",
	strings.Repeat("x", 4096):       "",
	"../user":                       "..%2Fuser",
	"a/../b?x":                      "a%2F..%2Fb%3Fx",
	"a?x=1#y":                       "a%3Fx=1%23y",
	"a%2f..":                        "a%252f..",
	"..;/":                          "..%3B%2F",
	`a\..\b`:                        "a%5C..%5Cb",
	"36ab27d0 or 1=1":               "36ab27d0%20or%201=1",
	"sc4a1b01e5-0497-417c-a30e":     "sc4a1b01e5-0497-417c-a30e",
	"https://evil.example/vehicles": "https:%2F%2Fevil.example%2Fvehicles",
}

// anyPath answers everything below /vehicles and notes the path.
type anyPath struct {
	*canned
	mu    sync.Mutex
	paths []string
	hosts []string
}

func (a *anyPath) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL.Path == "/v2.0/user" {
		return a.canned.RoundTrip(req)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.paths = append(a.paths, req.URL.EscapedPath())
	a.hosts = append(a.hosts, req.URL.Host)
	return jsonReply(200, `{"id":"1","make":"FORD","model":"Focus","year":2020,"distance":null,"status":"success","responses":[],"permissions":[]}`).response(req)
}

func TestVehicleIDsStayOneSegment(t *testing.T) {
	for id, segment := range hostileIDs {
		for name, call := range vehicleCalls() {
			switch name {
			case "Watch", "Wait", "SetKeyStatus", "KeyStatus", "Access": // make requests of the others
				continue
			}
			transport := &anyPath{canned: newCanned(t)}
			user := cannedUser(t, transport)
			err := call(t.Context(), user.Vehicle(id))
			if segment == "" {
				require.ErrorIs(t, err, smartcar.ErrInvalidArgument, "%s %q", name, id)
				require.Empty(t, transport.paths, "%s %q", name, id)
				continue
			}
			require.NotEmpty(t, transport.paths, "%s %q", name, id)
			for i, path := range transport.paths {
				require.Equal(t, "api.smartcar.com", transport.hosts[i])
				rest, ok := strings.CutPrefix(path, "/v2.0/vehicles/"+segment)
				require.True(t, ok, path)
				require.True(t, rest == "" || rest[0] == '/', path)
				require.NotContains(t, rest, "..")
			}
		}
	}
}

func TestHostileIDsAreRefusedEverywhereElse(t *testing.T) {
	for _, id := range []string{"", ".", "..", "line\nbreak", "\xff", strings.Repeat("x", 4096)} {
		v := cannedVehicle(t, newCanned(t))
		require.Error(t, v.SetKeyStatus(t.Context(), "furlong"))
		user := cannedClient(t, newCanned(t)).User(id)
		for _, err := range user.Vehicles(t.Context()) {
			require.ErrorIs(t, err, smartcar.ErrInvalidArgument, "%q", id)
		}
		require.ErrorIs(t, user.Forget(t.Context()), smartcar.ErrInvalidArgument, "%q", id)
		_, err := user.Vehicle(fixtureVehicle).Battery(t.Context())
		require.ErrorIs(t, err, smartcar.ErrInvalidArgument, "%q", id)
		require.NotContains(t, err.Error(), "xxxx", "the value is not repeated")
	}
}

func TestRequestPathsStayBelowTheVehicle(t *testing.T) {
	for path, want := range map[string]string{
		"tesla/climate/cabin":  "/tesla/climate/cabin",
		"/tesla/compass/":      "/tesla/compass",
		"tesla/a b":            "/tesla/a%20b",
		"tesla/pin?action=x#y": "/tesla/pin%3Faction=x%23y",
		"tesla/%2e%2e":         "/tesla/%252e%252e",
		"":                     "",
		"/":                    "",
		"..":                   "",
		"tesla/../../user":     "",
		"tesla//compass":       "",
		"./tesla":              "",
	} {
		transport := &anyPath{canned: newCanned(t)}
		response, err := cannedVehicle(t, transport).Request(t.Context(), smartcar.Request{Path: path, Kind: smartcar.KindMetadata})
		if want == "" {
			require.ErrorIs(t, err, smartcar.ErrInvalidArgument, path)
			require.Nil(t, response)
			require.Empty(t, transport.paths)
			continue
		}
		require.NoError(t, err, path)
		require.Equal(t, []string{"/v2.0/vehicles/" + fixtureVehicle + want}, transport.paths)
	}
}

func TestArgumentsThatMakeNoSenseAreNeverSent(t *testing.T) {
	transport := newCanned(t)
	v := cannedVehicle(t, transport)
	before := len(transport.sent)
	for name, call := range map[string]func(ctx context.Context) error{
		"charge limit 0.3":      func(ctx context.Context) error { _, err := v.SetChargeLimit(ctx, 0.3); return err },
		"charge limit 0.8":      func(ctx context.Context) error { _, err := v.SetChargeLimit(ctx, 0.8); return err },
		"charge limit 49.9":     func(ctx context.Context) error { _, err := v.SetChargeLimit(ctx, 49.9); return err },
		"charge limit 101":      func(ctx context.Context) error { _, err := v.SetChargeLimit(ctx, 101); return err },
		"charge limit NaN":      func(ctx context.Context) error { _, err := v.SetChargeLimit(ctx, math.NaN()); return err },
		"charge limit Inf":      func(ctx context.Context) error { _, err := v.SetChargeLimit(ctx, math.Inf(1)); return err },
		"latitude 91":           func(ctx context.Context) error { _, err := v.SendDestination(ctx, 91, 0); return err },
		"latitude NaN":          func(ctx context.Context) error { _, err := v.SendDestination(ctx, math.NaN(), 0); return err },
		"longitude -180.1":      func(ctx context.Context) error { _, err := v.SendDestination(ctx, 0, -180.1); return err },
		"longitude Inf":         func(ctx context.Context) error { _, err := v.SendDestination(ctx, 0, math.Inf(-1)); return err },
		"empty snapshot":        func(ctx context.Context) error { _, err := v.Snapshot(ctx); return err },
		"snapshot of a command": func(ctx context.Context) error { _, err := v.Snapshot(ctx, smartcar.Lock); return err },
		"snapshot of nothing":   func(ctx context.Context) error { _, err := v.Snapshot(ctx, ""); return err },
		"unknown units": func(ctx context.Context) error {
			_, err := v.With(smartcar.InUnits("furlong")).Odometer(ctx)
			return err
		},
		"no units":   func(ctx context.Context) error { _, err := v.With(smartcar.InUnits("")).Odometer(ctx); return err },
		"nil option": func(ctx context.Context) error { _, err := v.With(nil).Odometer(ctx); return err },
		"history backwards": func(ctx context.Context) error {
			_, err := v.ServiceHistory(ctx, fixtureTime, fixtureTime.Add(-time.Hour))
			return err
		},
		"unknown kind": func(ctx context.Context) error {
			_, err := v.Request(ctx, smartcar.Request{Path: "x", Kind: 99})
			return err
		},
		"body that is no JSON": func(ctx context.Context) error {
			_, err := v.Request(ctx, smartcar.Request{Method: "POST", Path: "x", Body: func() {}})
			return err
		},
		"method that is none": func(ctx context.Context) error {
			_, err := v.Request(ctx, smartcar.Request{Method: "GET /user HTTP/1.1\r\n", Path: "x"})
			return err
		},
		"key state that is none": func(ctx context.Context) error { return v.SetKeyStatus(ctx, "maybe") },
	} {
		t.Run(name, func(t *testing.T) {
			require.ErrorIs(t, call(t.Context()), smartcar.ErrInvalidArgument)
		})
	}
	require.Len(t, transport.sent, before, "nothing was sent")
}

func TestEveryWrongConfigIsRefused(t *testing.T) {
	good := smartcar.Config{ClientID: "id", ClientSecret: "very-secret", RedirectURL: "https://example.com/callback"}
	_, err := smartcar.New(good)
	require.NoError(t, err)
	for name, change := range map[string]func(*smartcar.Config){
		"zero":                  func(c *smartcar.Config) { *c = smartcar.Config{} },
		"no client id":          func(c *smartcar.Config) { c.ClientID = "" },
		"no secret":             func(c *smartcar.Config) { c.ClientSecret = "" },
		"no redirect":           func(c *smartcar.Config) { c.RedirectURL = "" },
		"relative redirect":     func(c *smartcar.Config) { c.RedirectURL = "/callback" },
		"redirect that is none": func(c *smartcar.Config) { c.RedirectURL = "https://exa mple.com/%zz" },
		"script redirect":       func(c *smartcar.Config) { c.RedirectURL = "javascript://host/%0aalert(1)" },
		"redirect with user":    func(c *smartcar.Config) { c.RedirectURL = "https://me:hunter2@example.com/callback" },
		"fragment":              func(c *smartcar.Config) { c.RedirectURL = "https://example.com/callback#x" },
		"short state key":       func(c *smartcar.Config) { c.StateKey = []byte("short") },
	} {
		t.Run(name, func(t *testing.T) {
			c := good
			change(&c)
			client, err := smartcar.New(c)
			require.ErrorIs(t, err, smartcar.ErrInvalidArgument)
			require.Nil(t, client)
			require.NotContains(t, err.Error(), "very-secret")
			require.NotContains(t, err.Error(), "hunter2")
		})
	}
}

func TestEveryWrongClientOptionIsRefused(t *testing.T) {
	config := smartcar.Config{ClientID: "id", ClientSecret: "secret", RedirectURL: "https://example.com/callback"}
	for name, option := range map[string]smartcar.Option{
		"nil":                nil,
		"nil client":         smartcar.WithHTTPClient(nil),
		"negative timeout":   smartcar.WithHTTPClient(&http.Client{Timeout: -1}),
		"no timeout":         smartcar.WithTimeout(0),
		"unknown units":      smartcar.WithUnitSystem("furlong"),
		"nil logger":         smartcar.WithLogger(nil),
		"nil store":          smartcar.WithStore(nil),
		"nil clock":          smartcar.WithClock(nil),
		"no attempts":        smartcar.WithRetry(smartcar.RetryPolicy{}),
		"negative delay":     smartcar.WithRetry(smartcar.RetryPolicy{MaxAttempts: 2, BaseDelay: -1}),
		"key domain":         smartcar.WithVirtualKeyDomain("https://example.com/"),
		"negative cache":     smartcar.WithAnswerCache(-1),
		"zero rules":         smartcar.WithRules(smartcar.Rules{}),
		"unknown mode":       smartcar.WithMode("dream"),
		"user agent":         smartcar.WithUserAgent("me\r\nX-Evil: 1"),
		"origin with a path": smartcar.WithOrigins(smartcar.Origins{API: &url.URL{Path: "/only"}}),
		"origin with a ?":    smartcar.WithOrigins(smartcar.Origins{API: &url.URL{Scheme: "https", Host: "h", ForceQuery: true}}),
		"origin with a user": smartcar.WithOrigins(smartcar.Origins{API: &url.URL{Scheme: "https", Host: "h", User: url.UserPassword("me", "hunter2")}}),
	} {
		t.Run(name, func(t *testing.T) {
			client, err := smartcar.New(config, option)
			require.ErrorIs(t, err, smartcar.ErrInvalidArgument)
			require.Nil(t, client)
			require.NotContains(t, err.Error(), "hunter2")
		})
	}
}

// endless is a body of 1 GB, made as it is read.
type endless struct{ read, left int }

func (e *endless) Read(b []byte) (int, error) {
	if e.left <= 0 {
		return 0, io.EOF
	}
	n := min(len(b), e.left)
	for i := range n {
		b[i] = ' '
	}
	e.left -= n
	e.read += n
	return n, nil
}

func (*endless) Close() error { return nil }

func TestHugeBodiesAreNotRead(t *testing.T) {
	const gigabyte, most = 1 << 30, 16 << 20
	for _, path := range []string{"/odometer", "/oauth/token", "/user", "/security"} {
		for _, status := range []int{200, 302, 500} {
			var body *endless
			transport := roundTripper(func(req *http.Request) (*http.Response, error) {
				if !strings.HasSuffix(req.URL.Path, path) {
					return newCanned(t).RoundTrip(req)
				}
				body = &endless{left: gigabyte}
				return &http.Response{StatusCode: status, Header: http.Header{"Content-Type": {"application/json"}}, Body: body, ContentLength: -1, Request: req}, nil
			})
			client := cannedClient(t, transport)
			tokens := smartcar.Tokens{AccessToken: "access-token", RefreshToken: "refresh-token", Expires: fixtureTime.Add(time.Hour)}
			if path == "/oauth/token" {
				tokens.Expires = time.Time{}
			}
			_, err := client.ImportTokens(t.Context(), tokens)
			switch path {
			case "/odometer":
				_, err = client.User(fixtureUser).Vehicle(fixtureVehicle).Odometer(t.Context())
				if status == 200 {
					require.ErrorIs(t, err, smartcar.ErrUnexpectedAnswer)
				}
			case "/security":
				_, err = client.User(fixtureUser).Vehicle(fixtureVehicle).Lock(t.Context())
				require.True(t, smartcar.MayHaveSucceeded(err))
			}
			var e *smartcar.Error
			require.ErrorAs(t, err, &e, "%s %d", path, status)
			require.NotNil(t, body)
			require.LessOrEqual(t, body.read, most, "%s %d", path, status)
		}
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

// Half a body is no answer: an error that says so, and the reading is nil.
func TestBodiesCutInHalf(t *testing.T) {
	whole := readFixture(t, "v2/reads/battery").reply()
	half := whole
	half.body, half.length = whole.body[:len(whole.body)/2], int64(len(whole.body))
	silent := whole // the length was not announced
	silent.body = half.body
	for name, r := range map[string]reply{"announced": half, "not announced": silent} {
		t.Run(name, func(t *testing.T) {
			battery, err := cannedVehicle(t, newCanned(t).on(batteryPath, r)).Battery(t.Context())
			require.Nil(t, battery)
			require.ErrorIs(t, err, smartcar.ErrUnexpectedAnswer)
			var e *smartcar.Error
			require.ErrorAs(t, err, &e)
			require.Equal(t, whole.headers["SC-Request-Id"], e.RequestID)
			require.NotContains(t, err.Error(), "percentRemaining", "the body is not repeated")
		})
	}
	require.True(t, smartcar.Retryable(func() error {
		_, err := cannedVehicle(t, newCanned(t).on(batteryPath, half)).Battery(t.Context())
		return err
	}()), "a read that broke off may be repeated")

	sim := smartcartest.New()
	_, user := connected(t, sim)
	sim.Inject(smartcartest.Fault{Path: "/security", Malformed: true})
	_, err := user.Vehicle(smartcartest.MachE).Lock(t.Context())
	require.ErrorIs(t, err, smartcar.ErrUnexpectedAnswer)
	require.True(t, smartcar.MayHaveSucceeded(err))
}

// A page of a hotel's network is no answer either, and it is not kept as one.
func TestSuccessThatIsNoJSON(t *testing.T) {
	portal := reply{status: 200, body: "<html>Welcome, room 101</html>", headers: map[string]string{"Content-Type": "text/html"}}
	transport := newCanned(t).on(odometerPath, portal, readFixture(t, "v2/reads/odometer").reply()).
		on(attributesPath, jsonReply(200, `{"make":"TESLA","model":"Model S","year":2015}`))
	v := cannedVehicle(t, transport)
	odometer, err := v.Odometer(t.Context())
	require.ErrorIs(t, err, smartcar.ErrUnexpectedAnswer)
	require.Nil(t, odometer)
	require.NotContains(t, err.Error(), "room 101")
	odometer, err = v.Odometer(t.Context())
	require.NoError(t, err, "the page must not be kept as what the car said")
	require.Equal(t, new(104.32), odometer.Distance)

	for _, body := range []string{"null", "[]", "42", `"text"`, "true"} {
		battery, err := cannedVehicle(t, newCanned(t).on(batteryPath, jsonReply(200, body))).Battery(t.Context())
		require.ErrorIs(t, err, smartcar.ErrUnexpectedAnswer, body)
		require.Nil(t, battery, body)
	}
}

// A car whose clock is wrong is not believed to be current until then.
func TestDataFromTheFuture(t *testing.T) {
	for _, age := range []string{"2026-11-24T09:15:04Z", "2036-11-23T09:15:04Z", "9999-12-31T23:59:59Z"} {
		r := readFixture(t, "v2/reads/odometer").reply()
		r.headers = map[string]string{"SC-Data-Age": age}
		transport := newCanned(t).on(odometerPath, r).on(attributesPath, jsonReply(200, `{"make":"TESLA","model":"Model S","year":2015}`))
		clock := &standingClock{now: fixtureTime}
		v := cannedVehicle(t, transport, smartcar.WithClock(clock))
		_, err := v.Odometer(t.Context())
		require.NoError(t, err)
		access, err := v.Access(t.Context())
		require.NoError(t, err)
		require.False(t, access.NextRead.After(fixtureTime.Add(11*time.Minute)), "%s: next read at %v", age, access.NextRead)
		clock.now = fixtureTime.Add(11 * time.Minute)
		odometer, err := v.Odometer(t.Context())
		require.NoError(t, err)
		require.Equal(t, smartcar.SourceLive, odometer.Source, age)
		require.Len(t, transport.requests(odometerPath), 2, age)
	}
}
