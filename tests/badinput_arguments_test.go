package smartcar_test

import (
	"context"
	"math"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/seed-498a1bc4/smartcar"
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
		"Disconnect":  func(ctx context.Context, v *smartcar.Vehicle) error { return v.Disconnect(ctx) },
		"Wait":        func(ctx context.Context, v *smartcar.Vehicle) error { return v.Wait(ctx) },
		"ResetCar":    func(ctx context.Context, v *smartcar.Vehicle) error { return v.ResetCar(ctx) },
		"Pause":       func(ctx context.Context, v *smartcar.Vehicle) error { return v.Pause(ctx, time.Time{}) },
		"SetKeyState": func(ctx context.Context, v *smartcar.Vehicle) error { return v.SetKeyState(ctx, smartcar.KeyMissing) },
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
		"Client.CompatibleModels": func(ctx context.Context) error {
			_, err := client.CompatibleModels(ctx, smartcar.CompatibleFilter{})
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

func TestVehicleIDsStayOneSegment(t *testing.T) {
	for id, segment := range hostileIDs {
		for name, call := range vehicleCalls() {
			switch name {
			case "Watch", "Wait", "SetKeyState", "ResetCar", "Pause", "KeyStatus", "Access": // make requests of the others
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
		require.Error(t, v.SetKeyState(t.Context(), "furlong"))
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
			_, err := v.ServiceHistory(ctx, fixtureTime, fixtureTime.AddDate(0, 0, -1))
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
		"key state that is none": func(ctx context.Context) error { return v.SetKeyState(ctx, "maybe") },
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
		"negative cache":     smartcar.WithCacheSize(-1),
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

// Nobody panics for a handle that is nil or empty.
func TestEmptyHandlesAreArgumentErrors(t *testing.T) {
	ctx := t.Context()
	for name, v := range map[string]*smartcar.Vehicle{"nil": nil, "zero": {}} {
		require.Empty(t, v.ID())
		require.Empty(t, v.UserID())
		for what, call := range map[string]func() error{
			"read":         func() error { _, err := v.Odometer(ctx); return err },
			"command":      func() error { _, err := v.Lock(ctx); return err },
			"history":      func() error { _, err := v.ServiceHistory(ctx, time.Time{}, time.Time{}); return err },
			"disconnect":   func() error { return v.Disconnect(ctx) },
			"request":      func() error { _, err := v.Request(ctx, smartcar.Request{Path: "a"}); return err },
			"access":       func() error { _, err := v.Access(ctx); return err },
			"wait":         func() error { return v.Wait(ctx) },
			"key":          func() error { _, err := v.KeyStatus(ctx); return err },
			"set key":      func() error { return v.SetKeyState(ctx, smartcar.KeyMissing) },
			"wait for key": func() error { _, err := v.WaitForKey(ctx); return err },
			"snapshot":     func() error { _, err := v.Snapshot(ctx, smartcar.Battery); return err },
			"permissions":  func() error { _, err := v.Permissions(ctx); return err },
			"with":         func() error { _, err := v.With(smartcar.AllowStale()).Odometer(ctx); return err },
			"signals":      func() error { _, err := v.Signals(ctx); return err },
			"watch": func() (err error) {
				for _, err = range v.Watch(ctx, smartcar.Battery) {
				}
				return err
			},
		} {
			t.Run(name+" "+what, func(t *testing.T) {
				require.NotPanics(t, func() {
					err := call()
					require.ErrorIs(t, err, smartcar.ErrInvalidArgument)
				})
			})
		}
	}
}

func TestEmptyUsersAreArgumentErrors(t *testing.T) {
	ctx := t.Context()
	for name, u := range map[string]*smartcar.User{"nil": nil, "zero": {}} {
		t.Run(name, func(t *testing.T) {
			require.Empty(t, u.ID())
			for _, err := range u.Vehicles(ctx) {
				require.ErrorIs(t, err, smartcar.ErrInvalidArgument)
			}
			_, err := u.Vehicle("car").Odometer(ctx)
			require.ErrorIs(t, err, smartcar.ErrInvalidArgument)
			_, err = u.VirtualKeyURL(ctx)
			require.ErrorIs(t, err, smartcar.ErrInvalidArgument)
			require.ErrorIs(t, u.Renew(ctx, time.Hour), smartcar.ErrInvalidArgument)
			require.ErrorIs(t, u.Forget(ctx), smartcar.ErrInvalidArgument)
		})
	}
}
