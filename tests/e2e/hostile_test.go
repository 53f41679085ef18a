package e2e_test

import (
	"encoding/json"
	"net/url"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/dom"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
	"github.com/seed-498a1bc4/smartcar/smartcartest"
	"github.com/stretchr/testify/require"
)

// tampered is the way back from Connect with another link in it.
func tampered(t *testing.T, s *site, b *tab, link string) string {
	t.Helper()
	b.click("main form button")
	b.wait("button[value=grant]")
	back, err := s.sim.Grant(b.address())
	require.NoError(t, err)
	u, err := url.Parse(back)
	require.NoError(t, err)
	q := u.Query()
	q.Set("virtual_key_url", link)
	u.RawQuery = q.Encode()
	return u.String()
}

func TestForgedKeyLinksLeadNowhere(t *testing.T) {
	for name, link := range map[string]string{
		"another host":           "https://evil.example/_ak/smartcar.com",
		"another domain's key":   "https://www.tesla.com/_ak/evil.example",
		"script":                 "javascript:document.title='evil.example'",
		"markup":                 `"><script>document.title='evil.example'</script>`,
		"a host that looks like": "https://www.tesla.com.evil.example/_ak/smartcar.com",
	} {
		t.Run(name, func(t *testing.T) {
			s := startSite(t)
			b := open(t, desktop)
			s.signIn(b, "Ann")
			b.visit(tampered(t, s, b, link))
			b.visit(s.home + "key/?vehicle=" + smartcartest.ModelY)
			require.Equal(t, keyLink, scan(b, "svg.qr"), "the owner is asked all the same")
			require.NotContains(t, b.html(), "evil")
			require.NotContains(t, b.visit(s.home).html(), "evil")
			b.askedOnly(s.hosts(t)...)
		})
	}
}

func TestHostileInput(t *testing.T) {
	const markup = `<img src=x onerror="window.evil=1"><script>window.evil=2</script>`
	s := startSite(t,
		smartcartest.Car{ID: "x", Make: "TESLA", Model: "Model Y " + markup, Year: 2023, Integration: smartcartest.Streaming},
		smartcartest.Car{ID: "bobs", Make: "TESLA", Model: "Model 3 of Bob", Year: 2022, Integration: smartcartest.Streaming, Owner: "bob"},
	)
	b := open(t, desktop)
	s.signIn(b, markup)
	b.click("main form button")
	b.wait("button[value=grant]")
	b.notRun("connect")
	b.click("button[value=grant]")
	b.notRun("key page")
	require.Contains(t, b.text("h2"), "Model Y <img", "a name is text")
	b.show("1-key-page")
	b.fits()
	b.visit(s.home)
	b.notRun("dashboard")
	require.Contains(t, b.text("h2"), "Model Y <img")
	b.fits()
	require.Contains(t, b.text("header"), "<script>")
	b.visit(s.maps + "/_ak/smartcar.com")
	b.notRun("simulated Tesla app")

	// Whoever is signed in sees their own cars, and nothing of others'.
	other := open(t, desktop)
	s.signIn(other, "bob")
	other.click("main form button")
	other.wait("button[value=grant]")
	other.visit(other.address() + "&simulated_user=bob")
	other.click("button[value=grant]")
	require.Contains(t, other.html(), "Model 3 of Bob")
	for _, path := range []string{"key/?vehicle=bobs", "key/?vehicle=bobs&user=bob", "cars/bobs/lock", "cars/bobs/location", "key/events?vehicle=bobs"} {
		require.Equal(t, 404, b.status(s.home+path), path)
		require.NotContains(t, b.html(), "of Bob", path)
	}
	b.visit(s.home + "key/?vehicle=bobs")
	b.accessible(t, "not-found")
	b.show("2-not-found")

	for _, back := range []string{"https://evil.example/", "//evil.example/", `/\evil.example`, "javascript:window.evil=3"} {
		require.Equal(t, 400, b.status(s.home+"key/?return="+url.QueryEscape(back)), back)
		require.NotContains(t, b.html(), "evil.example")
	}
	b.visit(s.home + "key/?return=" + url.QueryEscape("/key/?vehicle=x"))
	require.Equal(t, "/key/?vehicle=x", b.attribute("a.quiet[href^='/']", "href"))
	b.askedOnly(s.hosts(t)...)
	other.askedOnly(s.hosts(t)...)
}

// notRun says that no script of a name was run.
func (b *tab) notRun(where string) {
	b.t.Helper()
	require.False(b.t, find(b, chromedp.Evaluate[bool](`"evil" in window || document.querySelector("img") !== null`)), where)
}

func TestOthersCannotFrameThePage(t *testing.T) {
	s := startSite(t)
	b := open(t, desktop)
	s.connect(b, "Ann")
	// Another origin of the same site, so that the browser sends the cookie and
	// lets us look inside.
	b.visit(strings.Replace(s.maps, "127.0.0.1", "localhost", 1) + "/_ak/smartcar.com")
	call(b, page.SetBypassCSP, page.SetBypassCSPParams{Enabled: true}) // of the page around it
	b.do(chromedp.Reload())
	require.Contains(t, b.frameText(), "Simulated Tesla app")
	call(b, page.SetBypassCSP, page.SetBypassCSPParams{})
	find(b, chromedp.Evaluate[bool](`new Promise(done => {
		const frame = document.createElement("iframe");
		frame.onload = () => done(true);
		frame.src = "`+s.home+`key/";
		document.body.replaceChildren(frame);
	})`, chromedp.EvalAwaitPromise))
	b.show("frame")
	frames := find(b, chromedp.Evaluate[int](`window.length`))
	require.Equal(t, 1, frames)
	require.NotContains(t, b.frameText(), "Model Y 2023")
}

// frameText is what the browser shows in the frames of the page.
func (b *tab) frameText() string {
	b.t.Helper()
	tree, err := chromedp.Call(b.ctx, dom.GetDocument, dom.GetDocumentParams{Depth: ptr(int64(-1)), Pierce: ptr(true)})
	require.NoError(b.t, err)
	text, err := json.Marshal(tree.Root)
	require.NoError(b.t, err)
	return string(text)
}

func ptr[T any](v T) *T { return &v }
