package keypage_test

import (
	"bytes"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/keypage"
	"github.com/seed-498a1bc4/smartcar/smartcartest"
	"github.com/stretchr/testify/require"
)

// between is the part of a page from the one text to the other.
func between(t *testing.T, page, from, to string) string {
	t.Helper()
	_, rest, ok := strings.Cut(page, from)
	require.True(t, ok, "%s in %s", from, page)
	part, _, ok := strings.Cut(rest, to)
	require.True(t, ok, "%s in %s", to, page)
	return part
}

// One link adds the key to any car, so one code stands beside all cars that need it.
// What needs nothing is folded into one line.
func TestOneCodeForAllCars(t *testing.T) {
	user := connected(t, smartcartest.New())
	page := get(pageOf(t, user, nil), "/", desktop).Body.String()
	require.Equal(t, 1, strings.Count(page, "<svg"))
	require.Equal(t, 1, strings.Count(page, keyLink))
	ask := between(t, page, `<section class="ask card">`, "</section>")
	require.Equal(t, 2, strings.Count(ask, "Key needed"))
	require.Contains(t, ask, "Tesla Cybertruck 2024")
	require.Contains(t, ask, "Tesla Model Y 2023")
	require.Contains(t, ask, "For each car:", "one after the other")
	require.Regexp(t, `aria-describedby="car-1 car-2"`, ask)

	rest := between(t, page, `<details class="rest card">`, "</details>")
	require.Contains(t, rest, "<summary>5 cars need nothing</summary>")
	require.Equal(t, 5, strings.Count(rest, `class="badge"`))
	require.NotContains(t, page, `<details class="rest card" open`)
	require.Less(t, strings.Index(page, "ask card"), strings.Index(page, "rest card"), "what can be done comes first")

	one := get(pageOf(t, user, nil), "/?vehicle="+smartcartest.ModelY, iPhone).Body.String()
	require.NotContains(t, one, "For each car:")
	alone := get(pageOf(t, user, nil), "/?vehicle="+smartcartest.Model3, desktop).Body.String()
	require.NotContains(t, alone, "<summary>", "where nothing is to do, nothing is folded away for it")
	require.Contains(t, alone, "Key added")
}

// With the VIN in it, each car has a link of its own.
func TestACodeForEachCarWithItsVIN(t *testing.T) {
	page := get(pageOf(t, connected(t, smartcartest.New()), func(c *keypage.Config) { c.VINInLink = true }), "/", desktop).Body.String()
	require.Equal(t, 2, strings.Count(page, `<section class="ask card">`))
	require.Equal(t, 2, strings.Count(page, "<svg"))
	require.Contains(t, between(t, page, "Tesla Model Y 2023", "</section>"), "?vin=7SAYGDEE5PA000002")
}

func TestOneCarThatNeedsNothing(t *testing.T) {
	sim := smartcartest.New(smartcartest.WithCars(smartcartest.DefaultGarage()[:2]...))
	require.Contains(t, get(pageOf(t, connected(t, sim), nil), "/", iPhone).Body.String(), "<summary>1 car needs nothing</summary>")
}

// The owner knows the application, not Smartcar, and is told both names.
func TestNameOfTheApplication(t *testing.T) {
	user := connected(t, smartcartest.New())
	named := pageOf(t, user, func(c *keypage.Config) {
		c.AppName = "Volt & <b>Co</b>"
		c.Texts.Steps = []string{"Ask {app}."}
		c.Texts.Popups = []keypage.Popup{{Says: "{app}?", Means: "{app}!"}}
	})
	page := get(named, "/", iPhone).Body.String()
	const escaped = "Volt &amp; &lt;b&gt;Co&lt;/b&gt;"
	require.Contains(t, page, "<title>Add the virtual key – "+escaped+"</title>")
	require.Contains(t, page, `<p class="app">`+escaped+"</p>")
	require.Contains(t, page, "Tesla lets "+escaped+" send commands")
	require.Contains(t, page, "<li>Ask "+escaped+".</li>")
	require.Contains(t, page, "<dt>"+escaped+"?</dt><dd>"+escaped+"!</dd>")
	require.Contains(t, page, "<strong>smartcar.com</strong>")
	require.NotContains(t, page, "{app}")
	require.NotContains(t, page, "<b>")
	require.Contains(t, get(named, "/nowhere", iPhone).Body.String(), `<p class="app">`+escaped+"</p>")

	require.Contains(t, get(pageOf(t, user, nil), "/", iPhone).Body.String(), "Tesla lets this app send commands")
	for _, text := range []string{keypage.English().IntroNeeded, keypage.English().App} {
		require.NotContains(t, text, "Volt", "texts are not shared")
	}
}

// What leads away and what helps come before the cars, however many there are.
func TestNotNowAndHelpComeFirst(t *testing.T) {
	page := get(pageOf(t, connected(t, smartcartest.New()), nil), "/", iPhone).Body.String()
	head := between(t, page, "<header>", "<h1")
	require.Contains(t, head, `<a class="quiet" href="/dashboard">Not now</a>`)
	require.Contains(t, head, `<a class="to-help" href="#help">Help</a>`)
	require.Contains(t, page, `id="help"`)
}

// A key that was removed is no key that was never added, on both APIs.
func TestPageSaysWhenTheKeyWasRemoved(t *testing.T) {
	for name, connect := range map[string]func(*testing.T, *smartcartest.Server) *smartcar.User{
		"v2.0": func(t *testing.T, sim *smartcartest.Server) *smartcar.User { return connected(t, sim) },
		"v3":   func(t *testing.T, sim *smartcartest.Server) *smartcar.User { return connectedV3(t, sim) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sim := smartcartest.New()
				var logs bytes.Buffer
				user := connect(t, sim)
				page := pageOf(t, user, func(c *keypage.Config) { c.Logger = slog.New(slog.NewTextHandler(&logs, nil)) })
				model3, modelY := user.Vehicle(smartcartest.Model3), user.Vehicle(smartcartest.ModelY)
				for _, v := range []*smartcar.Vehicle{model3, modelY} {
					_, err := v.Battery(t.Context())
					require.NoError(t, err)
				}
				require.NotContains(t, get(page, "/", iPhone).Body.String(), "Key removed")
				time.Sleep(50 * time.Hour)
				require.NoError(t, sim.Unpair(smartcartest.Model3))
				_, err := model3.Lock(t.Context())
				require.ErrorIs(t, err, smartcar.ErrVirtualKeyRequired)

				now := time.Now()
				body := get(page, "/", iPhone).Body.String()
				require.Equal(t, 1, strings.Count(body, "Key removed on"), "the others never had it")
				car := between(t, body, "Tesla Model 3 2022</h2>", "</li>")
				require.Contains(t, car, `<p class="badge">Key removed</p>`)
				dated := regexp.MustCompile(`Key removed on <time datetime="(.+?)">(.+?)</time>, or shortly before\.`).FindStringSubmatch(car)
				require.NotNil(t, dated, car)
				at, err := time.Parse(time.RFC3339, dated[1])
				require.NoError(t, err)
				require.WithinDuration(t, now, at, time.Minute)
				require.Equal(t, at.Local().Format("January 2, 2006"), dated[2])
				require.Contains(t, between(t, body, `<section class="ask card">`, "</section>"), "Tesla Model 3 2022", "it can be added again")
				require.Less(t, strings.Index(body, "Model 3"), strings.Index(body, "Cybertruck"), "before what never had one")

				require.NoError(t, sim.Pair(smartcartest.Model3))
				time.Sleep(20 * time.Minute) // until a command is sent again to see whether the key is there
				_, err = model3.Lock(t.Context())
				require.NoError(t, err)
				require.NotContains(t, get(page, "/", iPhone).Body.String(), "Key removed")
				require.NotContains(t, logs.String(), "vin")
				require.NotContains(t, logs.String(), smartcartest.Model3)
			})
		})
	}
}

// A translation says the date where it likes, or not at all.
func TestDateOfARemovedKeyInYourWords(t *testing.T) {
	for text, want := range map[string]string{
		"Am {date} entfernt.": `<p class="reason">Am <time datetime="[^"]+">\d{4}-\d\d-\d\d</time> entfernt\.</p>`,
		"Entfernt.":           `<p class="reason">Entfernt\.</p>`,
	} {
		sim := smartcartest.New()
		user := connected(t, sim)
		page := pageOf(t, user, func(c *keypage.Config) { c.Texts.ReasonRemoved, c.Texts.DateLayout = text, time.DateOnly })
		get(page, "/", iPhone)
		require.NoError(t, sim.Unpair(smartcartest.Model3))
		_, err := user.Vehicle(smartcartest.Model3).Lock(t.Context())
		require.Error(t, err)
		require.Regexp(t, want, get(page, "/", iPhone).Body.String())
	}
}

// Old cars have a switch of their own; the keys of a car in Guest Mode cannot be changed.
func TestHintsOnTheSettingsOfTheCar(t *testing.T) {
	user := connected(t, smartcartest.New())
	page := pageOf(t, user, nil)
	all := get(page, "/", iPhone).Body.String()
	const streaming = "“Allow Third-Party App Data Streaming”"
	require.Equal(t, 1, strings.Count(all, streaming), "once for three cars")
	require.Contains(t, between(t, all, `<details class="rest card">`, "</details>"), streaming)
	require.Contains(t, get(page, "/?vehicle="+smartcartest.ModelX2020, iPhone).Body.String(), streaming)
	for _, id := range []string{smartcartest.ModelY, smartcartest.Model3, smartcartest.MachE} {
		require.NotContains(t, get(page, "/?vehicle="+id, iPhone).Body.String(), streaming)
	}
	require.Contains(t, between(t, all, `<section class="help"`, "</section>"), "Guest Mode is on")
}

// What is true of several cars is said once.
func TestV3SaysTheSameOnce(t *testing.T) {
	page := get(pageOf(t, connectedV3(t, smartcartest.New()), nil), "/", iPhone).Body.String()
	require.Equal(t, 1, strings.Count(page, "becomes known with the car&#39;s next data"))
	require.Equal(t, 1, strings.Count(page, keyLink))
}

// No page says a time in a zone that the owner does not know.
func TestNoUTC(t *testing.T) {
	page := pageOf(t, connected(t, smartcartest.New()), nil)
	for _, target := range []string{"/", "/nowhere", "/key.js"} {
		require.NotContains(t, get(page, target, iPhone).Body.String(), "UTC")
	}
	w := httptest.NewRecorder()
	page.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/key.js", nil))
	require.Contains(t, w.Body.String(), "toLocaleDateString(document.documentElement.lang")
}

func TestCarName(t *testing.T) {
	for want, car := range map[string]smartcar.AttributesReading{
		"Tesla Model Y 2023":          {Make: "TESLA", Model: "Model Y", Year: 2023},
		"Tesla Model 3":               {Make: "tesla", Model: " Model  3 "},
		"BMW i4 2022":                 {Make: "BMW", Model: "i4", Year: 2022},
		"BMW iX":                      {Make: "bmw", Model: "iX"},
		"Kia EV6":                     {Make: "KIA", Model: "EV6"},
		"Land Rover Defender":         {Make: "LAND ROVER", Model: "Defender"},
		"Mercedes-Benz EQS":           {Make: "MERCEDES-BENZ", Model: "EQS"},
		"MINI Cooper SE":              {Make: "mini", Model: "Cooper SE"},
		"McLaren Artura":              {Make: "McLaren", Model: "Artura"},
		"Škoda Enyaq":                 {Make: "ŠKODA", Model: "Enyaq"},
		"Model X 2020":                {Model: "Model X", Year: 2020},
		"2020":                        {Year: 2020},
		"":                            {},
		strings.Repeat("É", 60) + "…": {Model: strings.Repeat("É", 61)},
	} {
		require.Equal(t, want, keypage.CarName(&car))
	}
	require.Empty(t, keypage.CarName(nil))
	require.Equal(t, "a b", keypage.CarName(&smartcar.AttributesReading{Model: "a\u202e\x00b"}))
}
