package main

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed-498a1bc4/smartcar/smartcartest"
	"github.com/stretchr/testify/require"
)

// browser is an owner's: it keeps cookies and follows redirects.
type browser struct {
	t    *testing.T
	http *http.Client
	home string
}

func newBrowser(t *testing.T, home string) *browser {
	jar, err := cookiejar.New(nil)
	require.NoError(t, err)
	return &browser{t, &http.Client{Jar: jar, Timeout: 10 * time.Second}, home}
}

func (b *browser) do(method, address string, form url.Values) (page, at string, status int) {
	b.t.Helper()
	if strings.HasPrefix(address, "/") {
		address = strings.TrimSuffix(b.home, "/") + address
	}
	r, err := http.NewRequestWithContext(b.t.Context(), method, address, strings.NewReader(form.Encode()))
	require.NoError(b.t, err)
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	resp, err := b.http.Do(r)
	require.NoError(b.t, err)
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	require.NoError(b.t, err)
	return string(body), resp.Request.URL.String(), resp.StatusCode
}

func (b *browser) get(address string) string {
	b.t.Helper()
	page, _, _ := b.do(http.MethodGet, address, nil)
	return page
}

func (b *browser) post(address string, form url.Values) (page, at string) {
	b.t.Helper()
	if form == nil {
		form = url.Values{}
	}
	page, at, status := b.do(http.MethodPost, address, form)
	require.Equal(b.t, http.StatusOK, status, page)
	return page, at
}

// section is the part of the dashboard that shows one car.
func section(t *testing.T, page, id string) string {
	t.Helper()
	_, rest, ok := strings.Cut(page, `data-car="`+id+`"`)
	require.True(t, ok, page)
	part, _, _ := strings.Cut(rest, "</section>")
	return part
}

// safeBuffer takes logs from many goroutines.
type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// start runs the program with a simulated Smartcar, whatever the environment has,
// until the test ends, and returns its address.
func start(t *testing.T, logs io.Writer, args ...string) (home string, stop func()) {
	t.Helper()
	for _, variable := range os.Environ() {
		if name, _, _ := strings.Cut(variable, "="); strings.HasPrefix(name, "SMARTCAR_") {
			t.Setenv(name, "")
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	printed, out := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		ended <- run(ctx, append([]string{"-listen", "localhost:0", "-v"}, args...), out, logs)
		_ = out.Close()
	}()
	line := make([]byte, 200)
	n, err := printed.Read(line)
	require.NoError(t, err)
	home = regexp.MustCompile(`http://\S+`).FindString(string(line[:n]))
	require.NotEmpty(t, home)
	return home, sync.OnceFunc(func() {
		cancel()
		require.NoError(t, <-ended)
	})
}

func TestTheWholeStory(t *testing.T) {
	for _, api := range []string{"v2.0", "v3"} {
		t.Run(api, func(t *testing.T) { wholeStory(t, api) })
	}
}

func wholeStory(t *testing.T, api string) {
	var logs safeBuffer
	home, stop := start(t, &logs, "-api", api)
	defer stop()
	b := newBrowser(t, home)

	require.Contains(t, b.get("/"), "any name will do")
	page, _ := b.post("/signin", url.Values{"name": {"<b>Ann</b>"}})
	require.Contains(t, page, "Connect your car</button>")
	require.Contains(t, page, "&lt;b&gt;Ann&lt;/b&gt;")

	page, connect := b.post("/connect", nil)
	require.Contains(t, page, "Simulated Connect")
	page, at := b.post(connect, url.Values{"decision": {"deny"}})
	require.Equal(t, home, at)
	require.Contains(t, page, "You did not allow access")

	_, connect = b.post("/connect", nil)
	page, at = b.post(connect, url.Values{"decision": {"grant"}})
	require.Equal(t, home+"key/", at)
	require.Contains(t, page, "https://www.tesla.com/_ak/smartcar.com")
	app := regexp.MustCompile(`http://127\.0\.0\.1:\d+/_ak/smartcar\.com`).FindString(page)
	require.NotEmpty(t, app, "the clickable way")

	page = b.get("/")
	keyless := section(t, page, smartcartest.ModelY)
	require.Contains(t, keyless, "80 %")
	require.Regexp(t, `Next data</dt><dd class="next"><time datetime="[-0-9]+T[:0-9]+Z">in 8 h</time>`, keyless)
	require.NotContains(t, page, "UTC", "an owner's clock shows another time")
	require.Contains(t, keyless, "Add the key</a>")
	require.NotContains(t, keyless, "/lock", "which would be refused")
	require.Less(t, strings.Index(page, "Model Y"), strings.Index(page, "Model 3"), "what can be acted on comes first")
	require.NotContains(t, page, "TESLA", "one spelling, here and on the key page")
	require.NotContains(t, page, "FORD")
	require.NotContains(t, keyless, "last values")
	page = b.get("/")
	require.Contains(t, section(t, page, smartcartest.ModelY), "80 %", "the last answer")
	require.Contains(t, section(t, page, smartcartest.ModelY), "last values")
	require.NotContains(t, section(t, page, smartcartest.Model3), "last values")
	require.NotContains(t, page, "52.5", "nobody has asked where the car is")

	page, _ = b.post("/cars/"+smartcartest.ModelY+"/location", nil)
	require.Contains(t, page, "Tesla Model Y 2023 was at 52.51630, 13.37770")
	require.Contains(t, page, `href="https://www.openstreetmap.org/?mlat=52.51630&amp;mlon=13.37770#map=17/52.51630/13.37770" target="_blank" rel="noopener noreferrer"`)
	require.Contains(t, b.get("/cars/"+smartcartest.ModelY+"/lock"), "Lock the doors?")
	page, _ = b.post("/cars/"+smartcartest.ModelY+"/lock", nil)
	require.Contains(t, page, `<p class="notice refused" role="status">Not sent: commands to Tesla Model Y 2023 need the virtual key.`)
	require.Contains(t, page, `href="/key/?vehicle=`+smartcartest.ModelY+`"`)

	b.post(app, url.Values{"vehicle": {smartcartest.ModelY}, "key": {"add"}})
	page, _ = b.post("/cars/"+smartcartest.Model3+"/unlock", nil)
	require.Contains(t, page, "The command to unlock was sent")
	require.Contains(t, section(t, page, smartcartest.Model3), "unlocked")

	_, _, status := b.do(http.MethodGet, "/cars/nobodys/lock", nil)
	require.Equal(t, http.StatusNotFound, status)
	_, _, status = b.do(http.MethodPost, "/cars/"+smartcartest.ModelY+"/explode", url.Values{})
	require.Equal(t, http.StatusNotFound, status)
	b.post("/signout", nil)
	_, _, status = b.do(http.MethodPost, "/cars/"+smartcartest.ModelY+"/lock", url.Values{})
	require.Equal(t, http.StatusNotFound, status)

	stop()
	for _, secret := range []string{"code=", "state=", "simulated-client-secret", "52.5163", "openstreetmap", "7SAYGDEE5PA000002", "Bearer", "Ann"} {
		require.NotContains(t, logs.String(), secret)
	}
	require.Contains(t, logs.String(), `pattern="POST /cars/{id}/{action}"`)
}

func TestFormsOfOtherSitesAreRefused(t *testing.T) {
	home, stop := start(t, io.Discard)
	defer stop()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, home+"signout", nil)
	require.NoError(t, err)
	r.Header.Set("Sec-Fetch-Site", "cross-site")
	resp, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	defer func() { _ = resp.Body.Close() }()
	require.Equal(t, http.StatusForbidden, resp.StatusCode)
}

// Somebody who signs in meanwhile does not get the cars of who began.
func TestConnectBelongsToWhoBeganIt(t *testing.T) {
	home, stop := start(t, io.Discard)
	defer stop()
	b := newBrowser(t, home)
	b.post("/signin", url.Values{"name": {"ann"}})
	_, connect := b.post("/connect", nil)
	b.post("/signin", url.Values{"name": {"bob"}})
	page, _ := b.post(connect, url.Values{"decision": {"grant"}})
	require.Contains(t, page, "begun under another account")
	require.NotContains(t, page, "Model Y")
}
