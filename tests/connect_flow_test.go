package smartcar_test

import (
	"errors"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/smartcartest"
	"github.com/seed-498a1bc4/smartcar/store"
	"github.com/stretchr/testify/require"
)

// started is what Start answered.
func started(t *testing.T, client *smartcar.Client, o smartcar.ConnectOptions) *http.Response {
	t.Helper()
	w := httptest.NewRecorder()
	require.NoError(t, client.Connect().Start(w, httptest.NewRequest(http.MethodPost, "/connect", nil), o))
	return w.Result()
}

func TestCookieOfAFlow(t *testing.T) {
	for name, tt := range map[string]struct {
		redirect string
		secure   bool
	}{"https": {secureURL, true}, "http on loopback": {loopbackURL, false}} {
		t.Run(name, func(t *testing.T) {
			sim := smartcartest.New(smartcartest.WithRedirectURLs(secureURL))
			client := newClient(t, sim)
			resp := started(t, client, smartcar.ConnectOptions{RedirectURL: tt.redirect, ExternalID: "acct-42"})
			require.Equal(t, http.StatusSeeOther, resp.StatusCode)
			require.Equal(t, "no-store", resp.Header.Get("Cache-Control"))
			require.Equal(t, "no-referrer", resp.Header.Get("Referrer-Policy"))
			require.Len(t, resp.Cookies(), 1)
			cookie := resp.Cookies()[0]
			require.NoError(t, cookie.Valid())
			require.True(t, cookie.HttpOnly)
			require.Equal(t, http.SameSiteLaxMode, cookie.SameSite)
			require.Equal(t, tt.secure, cookie.Secure)
			require.Equal(t, tt.secure, strings.HasPrefix(cookie.Name, "__Host-"))
			require.Equal(t, "/", cookie.Path)
			require.Empty(t, cookie.Domain)
			require.Equal(t, 3600, cookie.MaxAge)
			state := mustParse(t, resp.Header.Get("Location")).Query().Get("state")
			require.NotContains(t, cookie.Name, state)

			callback, err := sim.Grant(resp.Header.Get("Location"))
			require.NoError(t, err)
			w := httptest.NewRecorder()
			r := httptest.NewRequest(http.MethodGet, callback, nil)
			r.AddCookie(cookie)
			grant, err := client.Connect().HandleCallback(w, r)
			require.NoError(t, err)
			require.Equal(t, &smartcar.Grant{UserID: sim.UserID(), ExternalID: "acct-42", VirtualKeyURL: grant.VirtualKeyURL}, grant)
			require.Equal(t, "https://www.tesla.com/_ak/smartcar.com", grant.VirtualKeyURL.String())

			require.Equal(t, "no-store", w.Header().Get("Cache-Control"))
			require.Equal(t, "no-referrer", w.Header().Get("Referrer-Policy"))
			require.Empty(t, w.Body.String())

			// The page is loaded again: that is no attack.
			again := httptest.NewRequest(http.MethodGet, callback, nil)
			again.AddCookie(cookie)
			for _, c := range w.Result().Cookies() { // what the browser would have done with the cookie
				require.NotEqual(t, cookie.Name, c.Name)
			}
			_, err = client.Connect().HandleCallback(httptest.NewRecorder(), again)
			require.ErrorIs(t, err, smartcar.ErrStateReplayed)
		})
	}
}

func TestTwoTabsAtOnce(t *testing.T) {
	sim := smartcartest.New()
	client := newClient(t, sim)
	var browser []*http.Cookie
	var links []string
	for range 2 {
		link, cookies := begin(t, client, smartcar.ConnectOptions{})
		links, browser = append(links, link), append(browser, cookies...)
	}
	for i := range links { // the second one first
		callback, err := sim.Grant(links[1-i])
		require.NoError(t, err)
		_, err = finish(client, callback, browser)
		require.NoError(t, err)
	}
}

// Two replicas get the same callback at the same time: one of them wins.
func TestCallbackIsHandledOnceByAllReplicas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		db := smartcar.WithStore(slowStore{store.NewMemory()})
		replicas := []*smartcar.Client{newClient(t, sim, db), newClient(t, sim, db)}
		link, cookies := begin(t, replicas[0], smartcar.ConnectOptions{})
		callback, err := sim.Grant(link)
		require.NoError(t, err)
		results := make(chan error)
		for i := range 10 {
			go func() { _, err := finish(replicas[i%2], callback, cookies); results <- err }()
		}
		handled := 0
		for range 10 {
			if err := <-results; err == nil {
				handled++
			} else {
				require.ErrorIs(t, err, smartcar.ErrStateReplayed)
			}
		}
		require.Equal(t, 1, handled)
		require.Equal(t, 1, sim.TokenRequests())
	})
}

func TestFlowLivesForAnHour(t *testing.T) {
	for wait, want := range map[time.Duration]error{
		59*time.Minute + 59*time.Second: nil, time.Hour: smartcar.ErrStateExpired, 25 * time.Hour: smartcar.ErrStateExpired,
	} {
		t.Run(wait.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sim := smartcartest.New()
				client := newClient(t, sim)
				link, cookies := begin(t, client, smartcar.ConnectOptions{})
				time.Sleep(wait)
				callback, err := sim.Grant(link)
				require.NoError(t, err)
				_, err = finish(client, callback, cookies)
				require.ErrorIs(t, err, want)
			})
		})
	}
}

// However long the cookie is kept, a callback is handled once.
func TestReplayIsRecognizedAsLongAsTheCookieIsGood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		client := newClient(t, sim)
		link, cookies := begin(t, client, smartcar.ConnectOptions{})
		callback, err := sim.Grant(link)
		require.NoError(t, err)
		_, err = finish(client, callback, cookies)
		require.NoError(t, err)
		time.Sleep(59 * time.Minute)
		_, err = finish(client, callback, cookies)
		require.ErrorIs(t, err, smartcar.ErrStateReplayed)
		require.Zero(t, sim.CodeReuse())
	})
}

func TestCookiesThatProveNothing(t *testing.T) {
	for name, change := range map[string]func(*http.Cookie){
		"value of another key": func(c *http.Cookie) { c.Value = c.Value[:len(c.Value)-4] + "AAAA" },
		"payload changed":      func(c *http.Cookie) { c.Value = "A" + c.Value[1:] },
		"unsigned":             func(c *http.Cookie) { c.Value, _, _ = strings.Cut(c.Value, ".") },
		"empty":                func(c *http.Cookie) { c.Value = "" },
		"planted by a sibling": func(c *http.Cookie) { c.Name = strings.TrimPrefix(c.Name, "__Host-") },
		"name of another flow": func(c *http.Cookie) { c.Name += "0" },
	} {
		t.Run(name, func(t *testing.T) {
			sim := smartcartest.New(smartcartest.WithRedirectURLs(secureURL))
			client := newClient(t, sim)
			link, cookies := begin(t, client, smartcar.ConnectOptions{RedirectURL: secureURL})
			callback, err := sim.Grant(link)
			require.NoError(t, err)
			good := *cookies[0]
			change(cookies[0])
			_, err = finish(client, callback, cookies)
			require.ErrorIs(t, err, smartcar.ErrStateMismatch)
			require.Zero(t, sim.TokenRequests())

			// It has not used up the owner's own flow.
			_, err = finish(client, callback, []*http.Cookie{&good})
			require.NoError(t, err)
		})
	}
}

func TestCookieOfAnHTTPFlowDoesNotPassForASecureOne(t *testing.T) {
	sim := smartcartest.New()
	client := newClient(t, sim)
	link, cookies := begin(t, client, smartcar.ConnectOptions{RedirectURL: loopbackURL})
	callback, err := sim.Grant(link)
	require.NoError(t, err)
	cookies[0].Name = "__Host-" + cookies[0].Name
	_, err = finish(client, callback, cookies)
	require.ErrorIs(t, err, smartcar.ErrStateMismatch)
}

func TestStateKeyIsNeededForCookies(t *testing.T) {
	sim := smartcartest.New()
	client, err := smartcar.New(smartcar.Config{ClientID: sim.ClientID(), ClientSecret: sim.ClientSecret(), RedirectURL: sim.RedirectURL()},
		smartcar.WithHTTPClient(&http.Client{Transport: sim.Transport()}))
	require.NoError(t, err)
	w := httptest.NewRecorder()
	err = client.Connect().Start(w, httptest.NewRequest(http.MethodGet, "/", nil), smartcar.ConnectOptions{})
	requireArgumentError(t, err, "Config.StateKey")
	require.Empty(t, w.Result().Cookies())
	require.Empty(t, w.Header().Get("Location"))
	_, err = finish(client, sim.RedirectURL()+"?code=1&state=2", nil)
	requireArgumentError(t, err, "Config.StateKey")

	// The plain way needs none.
	link, err := client.Connect().AuthorizeURL(smartcar.ConnectOptions{}, "mine")
	require.NoError(t, err)
	callback, err := sim.Grant(link)
	require.NoError(t, err)
	parsed, err := smartcar.ParseCallback(mustParse(t, callback).Query())
	require.NoError(t, err)
	_, err = client.Connect().Exchange(t.Context(), parsed, smartcar.Expected{State: "mine"})
	require.NoError(t, err)
}

func TestStartThatIsRefusedWritesNothing(t *testing.T) {
	client := newClient(t, smartcartest.New())
	for _, o := range []smartcar.ConnectOptions{
		{Scope: []string{"two words"}}, {Mode: "dream"}, {RedirectURL: "/relative"}, {SingleSelectVIN: "short"}, {ExternalID: "null"},
	} {
		w := httptest.NewRecorder()
		require.ErrorIs(t, client.Connect().Start(w, httptest.NewRequest(http.MethodGet, "/", nil), o), smartcar.ErrInvalidArgument)
		require.Empty(t, w.Result().Header)
		require.Equal(t, http.StatusOK, w.Code, "untouched")
	}
}

func TestErrorsOfConnect(t *testing.T) {
	sentinels := []error{
		smartcar.ErrAccessDenied, smartcar.ErrUserCancelled, smartcar.ErrVehicleIncompatible, smartcar.ErrInvalidSubscription,
		smartcar.ErrNoVehicles, smartcar.ErrConnectConfiguration, smartcar.ErrConnectServer,
	}
	for code, tt := range map[string]struct {
		want    error
		vehicle string
	}{
		"access_denied":                         {want: smartcar.ErrAccessDenied},
		"user_manually_returned_to_application": {want: smartcar.ErrUserCancelled},
		"vehicle_incompatible":                  {want: smartcar.ErrVehicleIncompatible, vehicle: smartcartest.MachE},
		"invalid_subscription":                  {want: smartcar.ErrInvalidSubscription},
		"no_vehicles":                           {want: smartcar.ErrNoVehicles},
		"configuration_error":                   {want: smartcar.ErrConnectConfiguration},
		"server_error":                          {want: smartcar.ErrConnectServer},
		"never_heard_of":                        {},
	} {
		t.Run(code, func(t *testing.T) {
			sim := smartcartest.New()
			client := newClient(t, sim)
			link, cookies := begin(t, client, smartcar.ConnectOptions{})
			callback, err := sim.AnswerConnect(link, url.Values{"error": {code}, "vehicle": {tt.vehicle}})
			require.NoError(t, err)
			grant, err := finish(client, callback, cookies)
			require.Nil(t, grant)
			var reported *smartcar.ConnectError
			require.ErrorAs(t, err, &reported)
			require.Equal(t, code, reported.Code)
			require.NotEmpty(t, reported.Description)
			for _, sentinel := range sentinels {
				require.Equal(t, errors.Is(sentinel, tt.want), errors.Is(err, sentinel), "%v", sentinel)
			}
			if tt.vehicle != "" {
				require.Equal(t, []any{"FORD", "Mustang Mach-E", 2022, "3FMTK3SU0NMA00007"}, []any{reported.Make, reported.Model, reported.Year, reported.VIN})
				require.NotContains(t, err.Error(), reported.VIN)
			}
			if code == "configuration_error" {
				require.Equal(t, 400, reported.StatusCode)
				require.NotEmpty(t, reported.Message)
			}
			require.Zero(t, sim.TokenRequests())
			_, err = finish(client, callback, cookies)
			require.ErrorIs(t, err, smartcar.ErrStateReplayed)
		})
	}
}

func TestOwnKeyDomain(t *testing.T) {
	const own = "https://www.tesla.com/_ak/myapp.app.car"
	for name, tt := range map[string]struct{ came, want string }{
		"came along":   {own, own},
		"nothing came": {"", own},
		"Smartcar's":   {"https://tesla.com/_ak/smartcar.com", "https://tesla.com/_ak/smartcar.com"},
	} {
		t.Run(name, func(t *testing.T) {
			sim := smartcartest.New()
			client := newClient(t, sim, smartcar.WithVirtualKeyDomain("MyApp.app.car"))
			authorizeURL, cookies := begin(t, client, smartcar.ConnectOptions{})
			callback, err := sim.Grant(authorizeURL)
			require.NoError(t, err)
			grant, err := finish(client, withParameter(t, callback, "virtual_key_url", tt.came), cookies)
			require.NoError(t, err)
			require.NoError(t, grant.VirtualKeyErr)
			require.Equal(t, tt.came, grant.VirtualKeyURL.String())
			access, err := client.User(grant.UserID).Vehicle(smartcartest.ModelY).Access(t.Context())
			require.NoError(t, err)
			require.True(t, access.NeedsKey)
			require.Equal(t, tt.want, access.VirtualKeyURL.String())
		})
	}
}

func TestModeOfTheClientAndOfOneRun(t *testing.T) {
	for name, tt := range map[string]struct {
		opts []smartcar.Option
		mode smartcar.ConnectMode
		want string
	}{
		"default":     {nil, "", ""},
		"of client":   {[]smartcar.Option{smartcar.WithMode(smartcar.ModeSimulated)}, "", "simulated"},
		"of one run":  {nil, smartcar.ModeSimulated, "simulated"},
		"run outdoes": {[]smartcar.Option{smartcar.WithMode(smartcar.ModeSimulated)}, smartcar.ModeLive, "live"},
	} {
		t.Run(name, func(t *testing.T) {
			client := newClient(t, smartcartest.New(), tt.opts...)
			link, _ := begin(t, client, smartcar.ConnectOptions{Mode: tt.mode})
			require.Equal(t, tt.want, mustParse(t, link).Query().Get("mode"))
		})
	}
}

func TestCallbackHandlerHandsOverResultAndError(t *testing.T) {
	sim := smartcartest.New()
	client := newClient(t, sim)
	var grants []*smartcar.Grant
	var errs []error
	handler := client.Connect().CallbackHandler(func(w http.ResponseWriter, _ *http.Request, g *smartcar.Grant, err error) {
		grants, errs = append(grants, g), append(errs, err)
		w.WriteHeader(http.StatusTeapot)
	})
	link, cookies := begin(t, client, smartcar.ConnectOptions{})
	callback, err := sim.Grant(link)
	require.NoError(t, err)
	for range 2 {
		r := httptest.NewRequest(http.MethodGet, callback, nil)
		r.AddCookie(cookies[0])
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		require.Equal(t, http.StatusTeapot, w.Code)
		require.Equal(t, "no-store", w.Header().Get("Cache-Control"))
	}
	require.NoError(t, errs[0])
	require.Equal(t, sim.UserID(), grants[0].UserID)
	require.ErrorIs(t, errs[1], smartcar.ErrStateReplayed)
	require.Nil(t, grants[1])
}

func TestCallbackOtherThanGETIsRefused(t *testing.T) {
	sim := smartcartest.New()
	client := newClient(t, sim)
	link, cookies := begin(t, client, smartcar.ConnectOptions{})
	callback, err := sim.Grant(link)
	require.NoError(t, err)
	for _, method := range []string{http.MethodPost, http.MethodHead, http.MethodPut} {
		r := httptest.NewRequest(method, callback, nil)
		r.AddCookie(cookies[0])
		w := httptest.NewRecorder()
		_, err := client.Connect().HandleCallback(w, r)
		require.ErrorIs(t, err, smartcar.ErrMalformedCallback, method)
		require.Equal(t, "no-store", w.Header().Get("Cache-Control"))
	}
	require.Zero(t, sim.TokenRequests())
	_, err = finish(client, callback, cookies)
	require.NoError(t, err, "a HEAD of a link checker has not used the flow up")
}

// A store that is away costs the owner a second try, not the code.
func TestCallbackWhileTheStoreIsAway(t *testing.T) {
	sim := smartcartest.New()
	db := newSpoiledStore()
	client := newClient(t, sim, smartcar.WithStore(db))
	link, cookies := begin(t, client, smartcar.ConnectOptions{})
	callback, err := sim.Grant(link)
	require.NoError(t, err)
	back := db.goDown()
	_, err = finish(client, callback, cookies)
	require.ErrorIs(t, err, smartcar.ErrStore)
	require.Zero(t, sim.TokenRequests())
	back()
	_, err = finish(client, callback, cookies)
	require.NoError(t, err)
}

func TestStatesAreNotKeptForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		db := newSpoiledStore()
		client := newClient(t, sim, smartcar.WithStore(db))
		connect(t, sim, client)
		for key := range db.seenKeys {
			if strings.HasPrefix(key, "state/") {
				_, err := db.Store.Load(t.Context(), key)
				require.NoError(t, err)
				time.Sleep(3 * time.Hour)
				_, err = db.Store.Load(t.Context(), key)
				require.ErrorIs(t, err, store.ErrNotFound)
				return
			}
		}
		t.Fatal("no state was stored")
	})
}

// Schemes have no case.
func TestUpperCaseHTTPSGetsASecureCookie(t *testing.T) {
	client, err := smartcar.New(smartcar.Config{ClientID: "i", ClientSecret: "s", RedirectURL: "HTTPS://x.example/cb", StateKey: stateKey})
	require.NoError(t, err)
	w := httptest.NewRecorder()
	require.NoError(t, client.Connect().Start(w, httptest.NewRequest(http.MethodGet, "/", nil), smartcar.ConnectOptions{}))
	cookies := w.Result().Cookies()
	require.Len(t, cookies, 1)
	require.True(t, strings.HasPrefix(cookies[0].Name, "__Host-"))
	require.True(t, cookies[0].Secure)
}

// However often an owner begins, the cookies stay few: a header of more than
// some kilobytes is refused by proxies, on every page of the site.
func TestFlowsLeaveFewCookies(t *testing.T) {
	for _, api := range []smartcar.API{smartcar.V2, smartcar.V3} {
		sim := smartcartest.New()
		client := apiClient(t, sim, api)
		jar, err := cookiejar.New(nil)
		require.NoError(t, err)
		site := mustParse(t, sim.RedirectURL())
		jar.SetCookies(site, []*http.Cookie{{Name: "smartcar_session", Value: "mine", Path: "/", Secure: true}})
		var links []string
		for range 30 {
			w, r := httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, site.String(), nil)
			for _, c := range jar.Cookies(site) {
				r.AddCookie(c)
			}
			require.NoError(t, client.Connect().Start(w, r, smartcar.ConnectOptions{}))
			jar.SetCookies(site, w.Result().Cookies())
			links = append(links, w.Header().Get("Location"))
		}
		require.Len(t, jar.Cookies(site), 6, "five flows and the cookie of the application")
		for i, link := range links[len(links)-6:] {
			callback, err := sim.Grant(link)
			require.NoError(t, err)
			_, err = finish(client, callback, jar.Cookies(site))
			if i == 0 {
				require.ErrorIs(t, err, smartcar.ErrStateMismatch)
				continue
			}
			require.NoError(t, err)
		}
	}
}

// A flow that no browser would keep is refused before anything is written.
func TestRedirectURLMustFitIntoTheCookie(t *testing.T) {
	client := newClient(t, smartcartest.New())
	w := httptest.NewRecorder()
	err := client.Connect().Start(w, httptest.NewRequest(http.MethodGet, "/connect", nil),
		smartcar.ConnectOptions{RedirectURL: "https://app.example/" + strings.Repeat("x", 3500)})
	requireArgumentError(t, err, "RedirectURL")
	require.Empty(t, w.Header())
}
