package keypage_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/keypage"
	"github.com/seed-498a1bc4/smartcar/smartcartest"
	"github.com/stretchr/testify/require"
)

func TestEachCarSaysWhetherItNeedsTheKey(t *testing.T) {
	sim := smartcartest.New()
	page := pageOf(t, connected(t, sim), nil)
	for _, tt := range []struct{ id, name, badge string }{
		{smartcartest.Model3, "Tesla Model 3 2022", "Key added"},
		{smartcartest.ModelY, "Tesla Model Y 2023", "Key needed"},
		{smartcartest.Cybertruck, "Tesla Cybertruck 2024", "Key needed"},
		{smartcartest.ModelS2018, "Tesla Model S 2018", "Not needed"},
		{smartcartest.ModelS2021, "Tesla Model S 2021", "Not needed"},
		{smartcartest.MachE, "Ford Mustang Mach-E 2022", "Not needed"},
	} {
		w := get(page, "/?vehicle="+tt.id, desktop)
		require.Equal(t, http.StatusOK, w.Code)
		body := w.Body.String()
		require.Contains(t, body, ">"+tt.name+"</h2>")
		require.Equal(t, 1, strings.Count(body, `class="badge"`), "one car")
		require.Contains(t, body, `<p class="badge">`+tt.badge+"</p>")
		require.Equal(t, tt.badge == "Key needed", strings.Contains(body, keyLink), tt.name)
		require.Equal(t, tt.badge == "Key needed", strings.Contains(body, "<svg"), tt.name)
	}
	all := get(page, "/", desktop).Body.String()
	require.Equal(t, 7, strings.Count(all, `class="badge"`))
	require.Less(t, strings.Index(all, "Cybertruck"), strings.Index(all, "Model 3"), "those that need it come first")
	require.Contains(t, all, "<title>Add the virtual key</title>")
	for _, id := range []string{smartcartest.ModelY, smartcartest.Cybertruck} {
		require.NoError(t, sim.Pair(id))
	}
	for _, e := range sim.Ledger(smartcartest.ModelY) {
		require.NotEqual(t, smartcartest.Data, e.Kind, "no turn is taken")
	}
}

func TestPhonesGetTheLinkAndDesktopsTheCode(t *testing.T) {
	page := pageOf(t, connected(t, smartcartest.New()), nil)
	target := "/?vehicle=" + smartcartest.ModelY
	phone, desk := get(page, target, iPhone).Body.String(), get(page, target, desktop).Body.String()
	link := `href="` + keyLink + `" target="_blank" rel="noopener noreferrer"`
	for _, body := range []string{phone, desk} { // both ways on both
		require.Contains(t, body, link)
		require.Contains(t, body, "<svg")
	}
	require.Less(t, strings.Index(phone, link), strings.Index(phone, "<details"))
	require.Less(t, strings.Index(phone, "<details"), strings.Index(phone, "<svg"))
	require.Less(t, strings.Index(desk, "<svg"), strings.Index(desk, "<details"))
	require.Less(t, strings.Index(desk, "<details"), strings.Index(desk, link))

	r := httptest.NewRequest(http.MethodGet, target, nil)
	r.Header.Set("Sec-CH-UA-Mobile", "?1")
	w := httptest.NewRecorder()
	page.ServeHTTP(w, r)
	require.Less(t, strings.Index(w.Body.String(), link), strings.Index(w.Body.String(), "<svg"))
}

// Without JavaScript: the page loads itself again, ever more rarely, shows the
// key when it is there, and goes on.
func TestStoryByReloading(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		page := pageOf(t, connected(t, sim), nil)
		next := "/?vehicle=" + smartcartest.ModelY
		began := time.Now()
		paired := false
		for {
			body := get(page, next, iPhone).Body.String()
			_, rest, ok := strings.Cut(body, `<noscript><meta http-equiv="refresh" content="`)
			require.True(t, ok)
			content, _, _ := strings.Cut(rest, `"`)
			after, to, _ := strings.Cut(strings.ReplaceAll(content, "&amp;", "&"), "; url=")
			if paired {
				require.Equal(t, "/dashboard", to)
				require.Contains(t, body, `<p class="badge">Key added</p>`)
				require.NotContains(t, body, keyLink)
				return
			}
			pause, err := time.ParseDuration(after + "s")
			require.NoError(t, err)
			time.Sleep(pause)
			next = "/" + to
			if time.Since(began) > 10*time.Minute {
				require.NoError(t, sim.Pair(smartcartest.ModelY))
				paired = true
			}
		}
	})
}

func TestReloadingEnds(t *testing.T) {
	page := pageOf(t, connected(t, smartcartest.New()), nil)
	require.Contains(t, get(page, "/?n=29", iPhone).Body.String(), `content="300; url=?n=30"`)
	require.NotContains(t, get(page, "/?n=30", iPhone).Body.String(), "http-equiv")
	require.Contains(t, get(page, "/?n=-9999999999", iPhone).Body.String(), `content="5; url=?n=1"`)
}

func TestProtectedFromOthers(t *testing.T) {
	page := pageOf(t, connected(t, smartcartest.New()), nil)
	for target, contentType := range map[string]string{
		"/": "text/html; charset=utf-8", "/key.css": "text/css; charset=utf-8", "/key.js": "text/javascript; charset=utf-8",
		"/elsewhere": "text/html; charset=utf-8",
	} {
		header := get(page, target, desktop).Header()
		policy := header.Get("Content-Security-Policy")
		require.Contains(t, policy, "default-src 'none'")
		require.NotContains(t, policy, "unsafe")
		require.NotContains(t, policy, "http")
		require.Equal(t, "DENY", header.Get("X-Frame-Options"))
		require.Equal(t, "no-referrer", header.Get("Referrer-Policy"))
		require.Equal(t, "no-store", header.Get("Cache-Control"))
		require.Equal(t, "nosniff", header.Get("X-Content-Type-Options"))
		require.Equal(t, contentType, header.Get("Content-Type"))
	}
	body := get(page, "/", desktop).Body.String()
	require.NotRegexp(t, `(?i)\son\w+=|<script>|style=|javascript:`, body, "nothing inline")
	require.NotRegexp(t, `(?i)(src|href)="?//`, body)
	require.NotContains(t, body, "7SAYGDEE5PA000002")

	w := httptest.NewRecorder()
	page.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/", nil))
	require.Equal(t, http.StatusMethodNotAllowed, w.Code)
	w = httptest.NewRecorder()
	page.ServeHTTP(w, httptest.NewRequest(http.MethodHead, "/", nil))
	require.Equal(t, http.StatusOK, w.Code)
	require.Empty(t, w.Body.String())
}

func TestAnothersCarIsNotFound(t *testing.T) {
	sim := smartcartest.New(smartcartest.WithCars(append(smartcartest.DefaultGarage(),
		smartcartest.Car{ID: "theirs", Make: "TESLA", Model: "Secret Model Y", Year: 2023, Integration: smartcartest.Streaming, Owner: "bob"})...))
	page := pageOf(t, connected(t, sim), nil)
	nowhere := get(page, "/?vehicle=nowhere", desktop)
	require.Equal(t, http.StatusNotFound, nowhere.Code)
	theirs := get(page, "/?vehicle=theirs", desktop)
	require.Equal(t, http.StatusNotFound, theirs.Code)
	require.Equal(t, nowhere.Body.String(), theirs.Body.String(), "nothing tells the two apart")
	require.NotContains(t, theirs.Body.String(), "Secret")
	require.Equal(t, http.StatusNotFound, get(page, "/events?vehicle=theirs", desktop).Code)
}

func TestWhoDecides(t *testing.T) {
	sim := smartcartest.New()
	client := newClient(t, sim)
	user := connect(t, sim, client, url.Values{"decision": {"grant"}})
	for name, who := range map[string]func(*http.Request) (*smartcar.User, error){
		"nobody": func(*http.Request) (*smartcar.User, error) { return nil, nil },
		"no id":  func(*http.Request) (*smartcar.User, error) { return client.User(""), nil },
		"error":  func(*http.Request) (*smartcar.User, error) { return user, errors.New("signed out meanwhile") },
	} {
		page := pageOf(t, user, func(c *keypage.Config) { c.Who = who })
		for _, target := range []string{"/", "/events", "/?user=" + user.ID()} {
			w := get(page, target, desktop)
			require.Equal(t, http.StatusUnauthorized, w.Code, name+target)
			require.NotContains(t, w.Body.String(), "Model")
			require.NotContains(t, w.Body.String(), "session is over")
		}
	}
	require.NoError(t, user.Forget(t.Context()))
	w := get(pageOf(t, user, nil), "/", desktop)
	require.Equal(t, http.StatusConflict, w.Code)
	require.Contains(t, w.Body.String(), "connect them again")
}

func TestReturnAddresses(t *testing.T) {
	user := connected(t, smartcartest.New(smartcartest.WithCars(smartcartest.DefaultGarage()[0])))
	open := pageOf(t, user, func(c *keypage.Config) { c.AllowReturn = true })
	shut := pageOf(t, user, nil)
	for _, good := range []string{"/", "/cars/1?tab=2#x", "/a//b", "/%C3%A4"} {
		w := get(open, "/?return="+url.QueryEscape(good), desktop)
		require.Equal(t, http.StatusOK, w.Code, good)
		require.Contains(t, w.Body.String(), `<a class="button" href="`+good+`">`)
	}
	for _, bad := range []string{
		"https://evil.example", "//evil.example", "/\\evil.example", "\\\\evil.example", "/%5Cevil.example", "/%2F/evil.example",
		"javascript:alert(1)", "evil", "", " /x", "/\tx", "/\n/evil.example", "/%0d%0aSet-Cookie:x", "/x\x00", "http:/x", "/ä",
		"/" + strings.Repeat("a", 3000),
	} {
		w := get(open, "/?return="+url.QueryEscape(bad), desktop)
		require.Equal(t, http.StatusBadRequest, w.Code, bad)
		require.NotContains(t, w.Body.String(), "evil")
		require.NotContains(t, w.Body.String(), "alert")
		w = get(shut, "/?return="+url.QueryEscape(bad), desktop)
		require.Contains(t, w.Body.String(), `href="/dashboard"`)
		require.NotContains(t, w.Body.String(), "evil")
	}
	require.Equal(t, http.StatusBadRequest, get(open, "/?return=/a&return=//evil.example", desktop).Code)
}

func TestHostileNamesAreText(t *testing.T) {
	sim := smartcartest.New(smartcartest.WithCars(smartcartest.Car{
		ID: "x", Make: `<img src=x onerror=alert(1)>`, Model: "</title><script>alert(2)</script>\u202e" + strings.Repeat("long ", 50),
		Integration: smartcartest.Other,
	}))
	body := get(pageOf(t, connected(t, sim), nil), "/", desktop).Body.String()
	require.NotContains(t, body, "<script>")
	require.NotContains(t, body, "<img")
	require.NotContains(t, body, "\u202e")
	require.Contains(t, body, "&lt;img src=x onerror=alert(1)&gt;")
	require.NotContains(t, body, strings.Repeat("long ", 20))
}

func TestVINOnlyWhereWanted(t *testing.T) {
	user := connected(t, smartcartest.New())
	target := "/?vehicle=" + smartcartest.ModelY
	require.NotContains(t, get(pageOf(t, user, nil), target, iPhone).Body.String(), "vin=")
	with := pageOf(t, user, func(c *keypage.Config) { c.VINInLink = true })
	require.Contains(t, get(with, target, iPhone).Body.String(), keyLink+"?vin=7SAYGDEE5PA000002")
}

func TestWordsAndStyleOfYourOwn(t *testing.T) {
	user := connected(t, smartcartest.New())
	page := pageOf(t, user, func(c *keypage.Config) {
		c.Texts = keypage.Texts{Lang: "de", Open: "Tesla-App <öffnen>", Steps: []string{"Eins"}}
		c.CSS = ":root{--key-accent:#0f766e}"
		c.Extra = `<a href="/demo">demo</a>`
	})
	body := get(page, "/", iPhone).Body.String()
	require.Contains(t, body, `<html lang="de" dir="ltr">`)
	require.Contains(t, body, "Tesla-App &lt;öffnen&gt;")
	require.Contains(t, body, "<ol><li>Eins</li></ol>")
	require.Contains(t, body, "Add the virtual key", "what is not replaced stays")
	require.Contains(t, body, `<a href="/demo">demo</a>`)
	require.Contains(t, get(page, "/key.css", iPhone).Body.String(), "--key-accent:#0f766e")
}

// What cannot be known is said, and the owner is not nagged.
func TestDriversAndFailures(t *testing.T) {
	sim := smartcartest.New(smartcartest.WithCars(
		smartcartest.Car{ID: "driver", Make: "TESLA", Model: "Model Y", Year: 2023, Integration: smartcartest.Streaming, Driver: true},
		smartcartest.Car{ID: "roadster", Make: "TESLA", Model: "Roadster", Year: 2027},
	))
	page := pageOf(t, connected(t, sim), nil)
	driver := get(page, "/?vehicle=driver", desktop).Body.String()
	require.Contains(t, driver, "Not known")
	require.Contains(t, driver, "a driver&#39;s account")
	require.NotContains(t, driver, keyLink)
	require.NotContains(t, driver, "No virtual key is needed", "nobody knows that")
	require.Contains(t, get(page, "/?vehicle=roadster", desktop).Body.String(), "It cannot be told whether")

	sim = smartcartest.New()
	page = pageOf(t, connected(t, sim, smartcar.WithRetry(smartcar.RetryPolicy{MaxAttempts: 1})), nil)
	sim.Inject(smartcartest.Fault{Path: "/v2.0/vehicles", Status: 502, Times: -1})
	w := get(page, "/", desktop)
	require.Equal(t, http.StatusBadGateway, w.Code)
	require.Contains(t, w.Body.String(), "could not be looked up just now")
	sim.ClearFaults()
	sim.Inject(smartcartest.Fault{Path: "/tesla/virtual_key", Status: 502, Times: -1})
	body := get(page, "/?vehicle="+smartcartest.ModelY, desktop).Body.String()
	require.Contains(t, body, "could not be read just now")
	require.Contains(t, body, keyLink, "it needs one, and may have it")
}

func TestConfigIsChecked(t *testing.T) {
	who := func(*http.Request) (*smartcar.User, error) { return nil, nil }
	for _, config := range []keypage.Config{
		{Done: "/"}, {Who: who}, {Who: who, Done: "dashboard"}, {Who: who, Done: "//x"}, {Who: who, Done: "http://example.com"},
		{Who: who, Done: "https://u@example.com"}, {Who: who, Done: "javascript:x"},
	} {
		_, err := keypage.New(config)
		require.ErrorIs(t, err, smartcar.ErrInvalidArgument)
	}
	_, err := keypage.New(keypage.Config{Who: who, Done: "https://example.com/app"})
	require.NoError(t, err)
}

func TestACarThatWasConnectedJustNow(t *testing.T) {
	sim := smartcartest.New()
	client := newClient(t, sim)
	user := connect(t, sim, client, url.Values{"decision": {"grant"}, "vehicle": {smartcartest.Model3}})
	page := pageOf(t, user, nil)
	require.Equal(t, 1, strings.Count(get(page, "/", desktop).Body.String(), `class="badge"`))
	connect(t, sim, client, url.Values{"decision": {"grant"}, "vehicle": {smartcartest.ModelY}})
	require.Equal(t, 2, strings.Count(get(page, "/", desktop).Body.String(), `class="badge"`))

	lists := func() (n int) {
		for _, r := range sim.Requests() {
			if r.Path == "/v2.0/vehicles" {
				n++
			}
		}
		return n
	}
	before := lists()
	for range 10 {
		get(page, "/?n=3", desktop)
	}
	require.Equal(t, before, lists(), "what the page does by itself asks for no list")
}
