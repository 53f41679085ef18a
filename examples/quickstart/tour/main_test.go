package main

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/smartcartest"
	"github.com/stretchr/testify/require"
)

func TestSimulatedIsWhatTheREADMEShows(t *testing.T) {
	var out, v3 bytes.Buffer
	require.NoError(t, simulated(t.Context(), &out, smartcar.V2))
	require.NoError(t, simulated(t.Context(), &v3, smartcar.V3))
	require.Equal(t, out.String(), v3.String(), "the same story on both APIs")
	readme, err := os.ReadFile("../../../README.md")
	require.NoError(t, err)
	require.Contains(t, string(readme), "```text\n"+out.String()+"```\n", "copy the output of go run ./examples/quickstart to the README")
}

// TestInBrowser is a browser with a cookie jar, the real flow, and a simulated
// Smartcar on loopback.
func TestInBrowser(t *testing.T) {
	for _, api := range []smartcar.API{smartcar.V2, smartcar.V3} {
		t.Run(string(api), func(t *testing.T) { browse(t, api) })
	}
}

func browse(t *testing.T, api smartcar.API) {
	sim := smartcartest.New()
	origin, stop, err := sim.Start()
	require.NoError(t, err)
	defer stop()
	for _, line := range sim.Environment(origin) {
		name, value, _ := strings.Cut(line, "=")
		t.Setenv(name, value)
	}
	t.Setenv("SMARTCAR_REDIRECT_URI", "http://"+freeAddress(t)+"/callback")
	require.True(t, hasCredentials())

	jar, err := cookiejar.New(nil)
	require.NoError(t, err)
	browser := &http.Client{Jar: jar, Timeout: 10 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse
	}}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	printed, out := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		ended <- inBrowser(ctx, out, api, smartcar.ModeSimulated, true)
		_ = out.Close()
	}()

	start := regexp.MustCompile(`http://\S+`).FindString(readLine(t, printed))
	require.NotEmpty(t, start)
	var rest bytes.Buffer
	read := make(chan struct{})
	go func() { _, _ = rest.ReadFrom(printed); close(read) }()

	_, status := visit(t, browser, strings.TrimSuffix(start, "/")+"/callback?code=stolen&state=forged")
	require.Equal(t, http.StatusBadRequest, status, "a forged callback gets nowhere, and the program goes on")

	connectURL, status := visit(t, browser, start)
	require.Equal(t, http.StatusSeeOther, status)
	require.Contains(t, connectURL, "mode=simulated")
	callbackURL, err := sim.Grant(connectURL)
	require.NoError(t, err)
	page, status := visit(t, browser, callbackURL)
	require.Equal(t, http.StatusOK, status)
	require.Contains(t, page, `href="https://www.tesla.com/_ak/smartcar.com"`)

	require.NoError(t, <-ended)
	<-read
	require.Contains(t, rest.String(), "open https://www.tesla.com/_ak/smartcar.com")
	require.Regexp(t, `2023 Model Y +streaming Tesla +missing +80 % +not before \d\d:\d\d +needs the key`, rest.String())
	require.Regexp(t, `2022 Model 3 +streaming Tesla +installed +80 % +80 % +sent +now`, rest.String())
	require.Empty(t, sim.BrokenWindows(smartcartest.ModelY))
}

func TestLoopbackURL(t *testing.T) {
	for _, raw := range []string{"http://localhost:8080/callback", "http://127.0.0.1:1/", "http://[::1]:9000"} {
		_, err := loopbackURL(raw)
		require.NoError(t, err, raw)
	}
	for raw, want := range map[string]string{
		"":                             "not set",
		"http://%":                     "not a URL",
		"https://localhost/callback":   "cannot serve",
		"http://example.com/callback":  "cannot serve",
		"http://192.0.2.1:80/callback": "cannot serve",
	} {
		_, err := loopbackURL(raw)
		require.ErrorContains(t, err, want, raw)
	}
}

// visit returns where it is sent to, or else the page.
func visit(t *testing.T, browser *http.Client, address string) (string, int) {
	t.Helper()
	resp, err := browser.Get(address)
	require.NoError(t, err)
	defer func() { _ = resp.Body.Close() }()
	if to := resp.Header.Get("Location"); to != "" {
		return to, resp.StatusCode
	}
	page, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return string(page), resp.StatusCode
}

func readLine(t *testing.T, r io.Reader) string {
	t.Helper()
	var line []byte
	for b := make([]byte, 1); ; line = append(line, b[0]) {
		_, err := r.Read(b)
		require.NoError(t, err)
		if b[0] == '\n' {
			return string(line)
		}
	}
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

func TestCredentialsChooseTheAPI(t *testing.T) {
	for _, tc := range []struct {
		asked, v2, v3 string
		want          smartcar.API
	}{
		{want: smartcar.V3},
		{v2: "secret", want: smartcar.V2},
		{v2: "secret", v3: "secret", want: smartcar.V3},
		{asked: "v2.0", v3: "secret", want: smartcar.V2},
		{asked: "v3", v2: "secret", want: smartcar.V3},
	} {
		t.Setenv("SMARTCAR_CLIENT_SECRET", tc.v2)
		t.Setenv("SMARTCAR_API_CLIENT_SECRET", tc.v3)
		require.Equal(t, tc.want, chooseAPI(tc.asked), tc)
	}
}
