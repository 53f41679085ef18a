package smartcar_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jarcoal/httpmock"
	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/smartcartest"
	"github.com/stretchr/testify/require"
)

var plainConfig = smartcar.Config{ClientID: "id", ClientSecret: "a-secret", RedirectURL: "https://example.com/callback"}

func TestWrongValuesNameTheArgument(t *testing.T) {
	origin := func(raw string) smartcar.Option {
		return smartcar.WithOrigins(smartcar.Origins{API: mustParse(t, raw)})
	}
	for argument, options := range map[string][]smartcar.Option{
		"Option":               {nil},
		"WithHTTPClient":       {smartcar.WithHTTPClient(nil), smartcar.WithHTTPClient(&http.Client{Timeout: -1})},
		"WithTimeout":          {smartcar.WithTimeout(0), smartcar.WithTimeout(-time.Second), smartcar.WithTimeout(time.Hour + 1)},
		"WithRefreshGrace":     {smartcar.WithRefreshGrace(0), smartcar.WithRefreshGrace(-time.Second), smartcar.WithRefreshGrace(time.Hour + 1)},
		"Origins.API":          {origin("ftp://host"), origin("https:///path"), origin("https://h?x=1"), origin("https://h#x"), origin("https://me:pw@h"), origin("host")},
		"Origins.Connect":      {smartcar.WithOrigins(smartcar.Origins{Connect: &url.URL{}})},
		"Origins.Auth":         {smartcar.WithOrigins(smartcar.Origins{Auth: &url.URL{}})},
		"Origins.APIv3":        {smartcar.WithOrigins(smartcar.Origins{APIv3: &url.URL{}})},
		"Origins.Management":   {smartcar.WithOrigins(smartcar.Origins{Management: &url.URL{}})},
		"WithUnitSystem":       {smartcar.WithUnitSystem(""), smartcar.WithUnitSystem("furlong")},
		"WithLogger":           {smartcar.WithLogger(nil)},
		"WithStore":            {smartcar.WithStore(nil)},
		"WithClock":            {smartcar.WithClock(nil)},
		"WithCacheSize":        {smartcar.WithCacheSize(-1)},
		"WithMode":             {smartcar.WithMode("dream")},
		"WithVirtualKeyDomain": {smartcar.WithVirtualKeyDomain(""), smartcar.WithVirtualKeyDomain("https://x.app.car"), smartcar.WithVirtualKeyDomain("x.app.car/y")},
		"WithUserAgent":        {smartcar.WithUserAgent(""), smartcar.WithUserAgent("a\r\nb"), smartcar.WithUserAgent("ä")},
		"WithRules":            {smartcar.WithRules(smartcar.Rules{KeylessWindow: 1}), smartcar.WithRules(smartcar.Rules{KeylessWindow: 1, LegacyRefresh: -1})},
		"RetryPolicy.MaxAttempts": {
			smartcar.WithRetry(smartcar.RetryPolicy{}), smartcar.WithRetry(smartcar.RetryPolicy{MaxAttempts: 11}), smartcar.WithRetry(smartcar.RetryPolicy{MaxAttempts: -1}),
		},
		"RetryPolicy.MaxDelay": {smartcar.WithRetry(smartcar.RetryPolicy{MaxAttempts: 2, MaxDelay: time.Hour + 1})},
		"RetryPolicy.BaseDelay": {
			smartcar.WithRetry(smartcar.RetryPolicy{MaxAttempts: 2, BaseDelay: -1}),
			smartcar.WithRetry(smartcar.RetryPolicy{MaxAttempts: 2, BaseDelay: 2, MaxDelay: 1}),
		},
	} {
		t.Run(argument, func(t *testing.T) {
			for _, option := range options {
				client, err := smartcar.New(plainConfig, option)
				require.Nil(t, client)
				requireArgumentError(t, err, argument)
				require.True(t, strings.HasPrefix(err.Error(), "smartcar: "+argument+": "))
			}
		})
	}
}

func TestWrongConfigNamesTheField(t *testing.T) {
	for field, change := range map[string]func(*smartcar.Config){
		"Config.ClientID":     func(c *smartcar.Config) { c.ClientID = "" },
		"Config.ClientSecret": func(c *smartcar.Config) { c.ClientSecret = "" },
		"Config.RedirectURL":  func(c *smartcar.Config) { c.RedirectURL = "/relative" },
		"Config.StateKey":     func(c *smartcar.Config) { c.StateKey = make([]byte, 31) },
	} {
		c := plainConfig
		change(&c)
		_, err := smartcar.New(c)
		requireArgumentError(t, err, field)
	}
	for _, redirect := range []string{"https://example.com/cb?tab=1", "http://localhost:8000/cb", "sc123://exchange", "https://example.com"} {
		c := plainConfig
		c.RedirectURL, c.StateKey = redirect, make([]byte, 32)
		_, err := smartcar.New(c)
		require.NoError(t, err, redirect)
	}
}

func TestClientOfTheCallerIsNotChanged(t *testing.T) {
	jar, err := cookiejar.New(nil)
	require.NoError(t, err)
	sim := smartcartest.New()
	mine := &http.Client{Transport: sim.Transport(), Jar: jar, Timeout: time.Minute}
	before := *mine
	client, err := smartcar.New(smartcar.Config{
		ClientID: sim.ClientID(), ClientSecret: sim.ClientSecret(), RedirectURL: sim.RedirectURL(), StateKey: stateKey,
	}, smartcar.WithHTTPClient(mine))
	require.NoError(t, err)
	user := client.User(connect(t, sim, client).UserID)
	_, err = user.Vehicle(smartcartest.MachE).Odometer(t.Context())
	require.NoError(t, err)
	require.True(t, reflect.DeepEqual(before, *mine))
	require.Nil(t, mine.CheckRedirect)

	// Nor does it matter any more what the caller does to it.
	mine.Transport, mine.Timeout = nil, 1
	_, err = user.Vehicle(smartcartest.MachE).Odometer(t.Context())
	require.NoError(t, err)
}

func TestTransportOfTheCallerIsNotChanged(t *testing.T) {
	mine := &http.Transport{TLSClientConfig: &tls.Config{ServerName: "mine", MinVersion: tls.VersionTLS12}, MaxIdleConnsPerHost: 7}
	before := mine.Clone()
	_, err := smartcar.New(plainConfig, smartcar.WithHTTPClient(&http.Client{Transport: mine}))
	require.NoError(t, err)
	require.Equal(t, before.TLSClientConfig.ServerName, mine.TLSClientConfig.ServerName)
	require.Equal(t, before.MaxIdleConnsPerHost, mine.MaxIdleConnsPerHost)
	require.Nil(t, mine.Proxy)
}

func TestStateKeyIsCopied(t *testing.T) {
	sim := smartcartest.New()
	key := bytes.Clone(stateKey)
	config := smartcar.Config{ClientID: sim.ClientID(), ClientSecret: sim.ClientSecret(), RedirectURL: sim.RedirectURL(), StateKey: key}
	client, err := smartcar.New(config, smartcar.WithHTTPClient(&http.Client{Transport: sim.Transport()}))
	require.NoError(t, err)
	clear(key)
	link, cookies := begin(t, client, smartcar.ConnectOptions{})
	callback, err := sim.Grant(link)
	require.NoError(t, err)
	_, err = finish(newClient(t, sim), callback, cookies) // whose key was not cleared
	require.NoError(t, err)
}

func TestOriginsAreCopied(t *testing.T) {
	sim := smartcartest.New(smartcartest.WithBasePath("/base"))
	api := mustParse(t, "https://sim.example/base")
	defaults := smartcar.DefaultOrigins()
	client := newClient(t, sim, smartcar.WithOrigins(smartcar.Origins{Connect: api, Auth: api, API: api, Management: api}))
	api.Host, api.Path = "evil.example", "/elsewhere"
	link, _ := begin(t, client, smartcar.ConnectOptions{})
	require.Equal(t, "sim.example", mustParse(t, link).Host)
	connect(t, sim, client)
	require.Equal(t, defaults, smartcar.DefaultOrigins())
}

// everyEndpoint uses all origins of a client of API v2.0.
func everyEndpoint(t *testing.T, sim *smartcartest.Server, client *smartcar.Client) {
	t.Helper()
	user := client.User(connect(t, sim, client).UserID)
	ids, err := listedVehicles(t.Context(), user)
	require.NoError(t, err)
	require.Len(t, ids, 7)
	v := user.Vehicle(smartcartest.Model3)
	_, err = v.Odometer(t.Context())
	require.NoError(t, err)
	_, err = v.Snapshot(t.Context(), smartcar.Battery, smartcar.Odometer)
	require.NoError(t, err)
	_, err = v.Lock(t.Context())
	require.NoError(t, err)
	_, err = v.KeyStatus(t.Context())
	require.NoError(t, err)
	_, err = v.Request(t.Context(), smartcar.Request{Path: "tesla/status"})
	require.NoError(t, err)
	_, err = client.Compatibility(t.Context(), "5YJ3E1EA2NF000001", smartcar.CompatibilityOptions{Scope: []string{"read_odometer"}})
	require.NoError(t, err)
	_, err = client.CompatibleModels(t.Context(), smartcar.CompatibleFilter{})
	require.NoError(t, err)
	n := 0
	for _, err := range client.Connections(t.Context(), smartcar.ConnectionFilter{}) {
		require.NoError(t, err)
		n++
	}
	require.NotZero(t, n)
	time.Sleep(3 * time.Hour)
	_, err = v.Odometer(t.Context()) // with new tokens
	require.NoError(t, err)
	w, cookies := beginReauth(t, client, v, smartcar.ReauthOptions{})
	callback, err := sim.Grant(w)
	require.NoError(t, err)
	_, err = finish(client, callback, cookies)
	require.NoError(t, err)
	require.NoError(t, v.Disconnect(t.Context()))
	for _, r := range sim.Requests() {
		require.Less(t, r.Status, 400, r.Path)
	}
}

func TestOriginsWithABasePathWorkForEveryEndpoint(t *testing.T) {
	for name, raw := range map[string]string{"plain": "http://127.0.0.1:1/a/b", "trailing slash": "http://127.0.0.1:1/a/b/"} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sim := smartcartest.New(smartcartest.WithBasePath("/a/b"))
				u := mustParse(t, raw)
				everyEndpoint(t, sim, newClient(t, sim, smartcar.WithOrigins(smartcar.Origins{Connect: u, Auth: u, API: u, APIv3: u, Management: u, Compatibility: u})))
			})
		})
	}
}

func TestOriginsFromTheEnvironment(t *testing.T) {
	sim := smartcartest.New(smartcartest.WithBasePath("/base"))
	for name, environment := range map[string][]string{
		"most SDKs": sim.Environment("http://127.0.0.1:1/base"), "the SDK for Python": sim.PythonEnvironment("http://127.0.0.1:1/base"),
	} {
		t.Run(name, func(t *testing.T) {
			for _, line := range environment {
				name, value, _ := strings.Cut(line, "=")
				t.Setenv(name, value)
			}
			synctest.Test(t, func(t *testing.T) {
				sim := smartcartest.New(smartcartest.WithBasePath("/base"))
				everyEndpoint(t, sim, newClient(t, sim, smartcar.WithEnvironment()))
			})
		})
	}
}

func TestEnvironmentKeepsWhatIsNotSet(t *testing.T) {
	names := []string{
		"SMARTCAR_CONNECT_ORIGIN", "SMARTCAR_AUTH_ORIGIN", "SMARTCAR_API_ORIGIN", "SMARTCAR_API_V3_ORIGIN", "SMARTCAR_MANAGEMENT_API_ORIGIN",
	}
	for _, name := range names {
		t.Setenv(name, "")
	}
	custom := smartcar.WithOrigins(smartcar.Origins{Connect: mustParse(t, "https://mine.example")})
	link, _ := begin(t, newClient(t, smartcartest.New(), custom, smartcar.WithEnvironment()), smartcar.ConnectOptions{})
	require.Equal(t, "mine.example", mustParse(t, link).Host)
	link, _ = begin(t, newClient(t, smartcartest.New(), smartcar.WithEnvironment()), smartcar.ConnectOptions{})
	require.Equal(t, "connect.smartcar.com", mustParse(t, link).Host)

	for _, name := range names {
		for _, bad := range []string{"connect.example", "https://%zz", "ftp://h", "https://me:a-secret@h"} {
			t.Setenv(name, bad)
			_, err := smartcar.New(plainConfig, smartcar.WithEnvironment())
			requireArgumentError(t, err, name)
			require.NotContains(t, err.Error(), "a-secret")
		}
		t.Setenv(name, "")
	}
}

func TestUserAgentOfEveryRequest(t *testing.T) {
	for _, suffix := range []string{"", "myapp/1.2"} {
		sim := smartcartest.New()
		watch := &wireTap{next: sim.Transport()}
		var opts []smartcar.Option
		if suffix != "" {
			opts = append(opts, smartcar.WithUserAgent(suffix))
		}
		client := newClientOver(t, sim, watch, opts...)
		_, err := listedVehicles(t.Context(), client.User(connect(t, sim, client).UserID))
		require.NoError(t, err)
		paths := make(map[string]bool)
		for _, r := range watch.sent {
			paths[r.path] = true
			ua := r.header.Get("User-Agent")
			require.True(t, strings.HasPrefix(ua, "smartcar-go/"+smartcar.Version+" "), r.path)
			require.True(t, strings.HasSuffix(ua, suffix), r.path)
		}
		require.Len(t, paths, 3)
	}
}

func TestUnitSystemOfClientAndCall(t *testing.T) {
	sim := smartcartest.New()
	_, user := connected(t, sim, smartcar.WithUnitSystem(smartcar.Imperial))
	v := user.Vehicle(smartcartest.MachE)
	miles, err := v.Odometer(t.Context())
	require.NoError(t, err)
	require.Equal(t, smartcar.Imperial, miles.UnitSystem)
	km, err := v.With(smartcar.InUnits(smartcar.Metric)).Odometer(t.Context())
	require.NoError(t, err)
	require.Equal(t, smartcar.Metric, km.UnitSystem)
	require.InDelta(t, *km.Distance, *miles.Distance*1.609344, 0.1)
	_, err = v.With(smartcar.InUnits("furlong")).Odometer(t.Context())
	requireArgumentError(t, err, "InUnits")
}

func TestLoggerHearsOfRequestsAndRefusals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		logger := slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
		_, user := connected(t, smartcartest.New(), smartcar.WithLogger(logger))
		v := user.Vehicle(smartcartest.ModelY)
		_, err := v.Odometer(t.Context())
		require.NoError(t, err)
		require.Contains(t, log.String(), "operation=odometer")
		log.Reset()
		_, err = v.Odometer(t.Context())
		require.ErrorIs(t, err, smartcar.ErrRateLimited)
		require.Contains(t, log.String(), "level=INFO")
		require.Contains(t, log.String(), "next_allowed=")
	})
}

func TestStoreThatIsGivenIsUsed(t *testing.T) {
	store := newSpoiledStore()
	_, user := connected(t, smartcartest.New(), smartcar.WithStore(store))
	require.Contains(t, store.live(t), "user/"+user.ID())
}

// The window is scaled on both sides, and so is everything that follows from it.
func TestRulesScaleTheWindows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New(smartcartest.WithKeylessWindow(8*time.Second), smartcartest.WithLegacyRefresh(5*time.Second))
		_, user := connected(t, sim, smartcar.WithRules(smartcar.Rules{KeylessWindow: 8 * time.Second, LegacyRefresh: 5 * time.Second}))
		v := user.Vehicle(smartcartest.ModelY)
		for range 3 {
			_, err := v.Odometer(t.Context())
			require.NoError(t, err)
			_, err = v.Odometer(t.Context())
			at, ok := smartcar.NextAllowed(err)
			require.True(t, ok)
			require.WithinDuration(t, time.Now().Add(8*time.Second), at, 10*time.Millisecond)
			time.Sleep(8*time.Second + 10*time.Millisecond)
		}
		require.Empty(t, sim.BrokenWindows(smartcartest.ModelY))
	})
}

func TestClockThatIsGivenIsTheOnlyOne(t *testing.T) {
	clock := &simClock{}
	sim := smartcartest.New(smartcartest.WithClock(clock.Now))
	_, user := connected(t, sim, smartcar.WithClock(clock))
	v := user.Vehicle(smartcartest.ModelY)
	reading, err := v.Odometer(t.Context())
	require.NoError(t, err)
	require.Equal(t, clock.Now(), reading.ReceivedAt)
	clock.advance(window + time.Second)
	_, err = v.Odometer(t.Context())
	require.NoError(t, err, "the tokens, the window and the store live by it")
	require.Empty(t, sim.BrokenWindows(smartcartest.ModelY))
}

func TestOptionsAreAppliedInOrder(t *testing.T) {
	client, err := smartcar.New(plainConfig, smartcar.WithMode(smartcar.ConnectMode("test")), smartcar.WithMode(smartcar.ModeSimulated))
	require.NoError(t, err)
	link, err := client.Connect().AuthorizeURL(smartcar.ConnectOptions{}, "s")
	require.NoError(t, err)
	require.Contains(t, link, "mode=simulated")
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		_, user := connected(t, sim, smartcar.WithHTTPClient(&http.Client{
			Transport:     sim.Transport(),
			CheckRedirect: func(*http.Request, []*http.Request) error { return nil },
		}))
		before := len(sim.Requests())
		sim.Inject(smartcartest.Fault{Path: "/odometer", Status: 302, Header: http.Header{"Location": {"https://evil.example/"}}, Times: -1})
		_, err := user.Vehicle(smartcartest.MachE).Odometer(t.Context())
		require.ErrorIs(t, err, smartcar.ErrUnexpectedAnswer)
		for _, r := range sim.Requests()[before:] {
			require.NotEqual(t, "/", r.Path)
		}
		time.Sleep(3 * time.Hour)
		before = sim.TokenRequests()
		sim.Inject(smartcartest.Fault{Path: "/oauth/token", Status: 307, Header: http.Header{"Location": {"https://evil.example/oauth/token"}}, Times: -1})
		_, err = user.Vehicle(smartcartest.MachE).Odometer(context.WithoutCancel(t.Context()))
		require.Error(t, err)
		require.NotErrorIs(t, err, smartcar.ErrReconnectRequired)
		require.Equal(t, before, sim.TokenRequests())
	})
}

// The README's way to test a program with httpmock, word for word.
func TestBatteryIsLow(t *testing.T) {
	const api = "https://api.smartcar.com/v2.0"
	mock := httpmock.NewMockTransport()
	mock.RegisterResponder("GET", api+"/user", httpmock.NewStringResponder(200, `{"id":"user-1"}`))
	mock.RegisterResponder("GET", api+"/vehicles/car-1", httpmock.NewStringResponder(200, `{"id":"car-1","make":"FORD"}`))
	mock.RegisterResponder("GET", api+"/vehicles/car-1/battery", httpmock.NewStringResponder(200, `{"percentRemaining":0.12}`))

	client, err := smartcar.New(smartcar.Config{
		ClientID: "id", ClientSecret: "secret", RedirectURL: "https://example.com/callback",
	}, smartcar.WithHTTPClient(&http.Client{Transport: mock}))
	if err != nil {
		t.Fatal(err)
	}
	grant, err := client.ImportTokens(t.Context(), smartcar.Tokens{
		AccessToken: "access", RefreshToken: "refresh", Expires: time.Now().Add(time.Hour),
	})
	if err != nil {
		t.Fatal(err)
	}
	battery, err := client.User(grant.UserID).Vehicle("car-1").Battery(t.Context())
	if err != nil || *battery.Percent != 12 {
		t.Fatal(battery, err)
	}
}
