package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/seed-498a1bc4/smartcar"
	"github.com/stretchr/testify/require"
)

// A name of somebody else's that leads to this computer makes their page one of
// the same origin, and any name signs in here.
func TestOtherHostNamesAreRefused(t *testing.T) {
	home, stop := start(t, io.Discard)
	defer stop()
	u, err := url.Parse(home)
	require.NoError(t, err)
	for _, host := range []string{"evil.example:" + u.Port(), "evil.example", "localhost.evil.example:" + u.Port(), "localhost:1"} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, home+"signin", strings.NewReader("name=ann"))
		require.NoError(t, err)
		r.Host = host
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Sec-Fetch-Site", "same-origin")
		resp, err := http.DefaultClient.Do(r)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		require.Equal(t, http.StatusMisdirectedRequest, resp.StatusCode, host)
		require.Empty(t, resp.Cookies(), host)
	}
}

func TestEveryPageIsProtected(t *testing.T) {
	home, stop := start(t, io.Discard)
	defer stop()
	for path, referrer := range map[string]string{
		"": "same-origin", "app.css": "same-origin", "app.js": "same-origin", "nowhere": "same-origin", "cars/x/lock": "same-origin", "key/": "no-referrer",
	} {
		resp, err := http.Get(home + path)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		require.Equal(t, "DENY", resp.Header.Get("X-Frame-Options"), path)
		require.Equal(t, "no-store", resp.Header.Get("Cache-Control"), path)
		require.Equal(t, referrer, resp.Header.Get("Referrer-Policy"), path)
		require.Contains(t, resp.Header.Get("Content-Security-Policy"), "frame-ancestors 'none'", path)
	}
}

// A planted session is not taken over, and who signs in again leaves nothing behind.
func TestSessionsAreBounded(t *testing.T) {
	s := newSessions()
	cookie := &http.Cookie{Name: sessionCookie, Value: "planted"}
	for range 3 {
		r := httptest.NewRequest(http.MethodPost, "/signin", nil)
		r.AddCookie(cookie)
		w := httptest.NewRecorder()
		s.signIn(w, r, "ann", true)
		fresh := w.Result().Cookies()[0]
		require.NotEqual(t, cookie.Value, fresh.Value)
		require.True(t, fresh.HttpOnly && fresh.Secure)
		require.Empty(t, s.account(r), "what came with the request is over")
		require.Len(t, s.open, 1)
		cookie = fresh
	}
	for range mostSessions + 10 {
		s.signIn(httptest.NewRecorder(), httptest.NewRequest(http.MethodPost, "/signin", nil), "bob", false)
	}
	require.LessOrEqual(t, len(s.open), mostSessions)
}

func TestWordsOfTheDashboard(t *testing.T) {
	require.Equal(t, "plugged in", chargingText("", new(true)))
	require.Equal(t, "not charging, plugged in", chargingText("NOT_CHARGING", new(true)))
	require.Empty(t, chargingText("", nil))
	require.Equal(t, "Öse 1 is asleep.", sentence("öse 1", " is asleep."))
	for d, want := range map[time.Duration]string{
		8*time.Hour - time.Second: "8 h", 7*time.Hour + 20*time.Minute: "7 h 20 min", 4 * time.Minute: "4 minutes", 20 * time.Second: "a minute", 50 * time.Hour: "2 days",
	} {
		require.Equal(t, want, roughly(d))
	}
	later := explain("this car", "x", &smartcar.RateLimitError{NextAllowed: time.Now().Add(8 * time.Hour)})
	require.Equal(t, "Nothing new from this car for 8 h.", later.Text, "no clock, whose time zone nobody knows here")
	said := explain("this car", "a&b=c", &smartcar.VirtualKeyRequiredError{})
	require.Equal(t, "/key/?vehicle=a%26b%3Dc", said.KeyLink)
}

// An owner who waits for a key keeps nobody from ending the program.
func TestShutdownEndsTheEvents(t *testing.T) {
	home, stop := start(t, io.Discard)
	defer stop()
	b := newBrowser(t, home)
	b.post("/signin", url.Values{"name": {"ann"}})
	_, connect := b.post("/connect", nil)
	b.post(connect, url.Values{"decision": {"grant"}})
	resp, err := (&http.Client{Jar: b.http.Jar}).Get(home + "key/events")
	require.NoError(t, err)
	defer func() { _ = resp.Body.Close() }()
	require.Equal(t, "text/event-stream", resp.Header.Get("Content-Type"))
	stop() // which says whether something was still under way after drainTime
	events, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.NotContains(t, string(events), "event: end", "the browser comes back")
}
