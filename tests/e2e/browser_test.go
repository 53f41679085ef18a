package e2e_test

import (
	"context"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"
)

// A device is what an owner holds in their hands.
type device struct {
	name          string
	width, height int64
	mobile        bool
	agent         string
}

var (
	desktop = device{name: "desktop", width: 1280, height: 900}
	phone   = device{
		name: "phone", width: 390, height: 844, mobile: true,
		agent: "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 Mobile/15E148 Safari/604.1",
	}
)

// patience bounds one step in the browser; the machine may be busy.
const patience = 45 * time.Second

// missing skips, or fails where everything has to be there.
func missing(t *testing.T, what string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf("%s is missing", what)
	}
	t.Skipf("%s is missing", what)
}

// chrome is the one browser that all tests share, each with cookies of its own.
var chrome = sync.OnceValues(func() (context.Context, func()) {
	dir, err := os.MkdirTemp("", "smartcar-e2e-")
	if err != nil {
		return nil, func() {}
	}
	allocator, stop := chromedp.NewExecAllocator(context.Background(),
		chromedp.ExecPath("chromium"), chromedp.UserDataDir(dir),
		chromedp.NoFirstRun, chromedp.NoDefaultBrowserCheck, chromedp.NoSandbox, chromedp.DisableGPU, chromedp.Headless,
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-background-networking", true),
		chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-sync", true),
		chromedp.Flag("disable-dev-shm-usage", true), chromedp.Flag("hide-scrollbars", true),
		// Nothing but this computer is reachable, whatever a page asks for.
		chromedp.Flag("host-resolver-rules", "MAP * ~NOTFOUND , EXCLUDE localhost , EXCLUDE 127.0.0.1"),
	)
	browser, cancel := chromedp.NewContext(allocator, chromedp.WithErrorf(func(string, ...any) {}))
	if err := chromedp.Do(browser); err != nil {
		cancel()
		stop()
		return nil, func() { _ = os.RemoveAll(dir) }
	}
	return browser, func() {
		cancel()
		stop()
		_ = os.RemoveAll(dir)
	}
})

func TestMain(m *testing.M) {
	code := m.Run()
	if _, err := exec.LookPath("chromium"); err == nil {
		_, stop := chrome()
		stop()
		if path, err := program(); err == nil {
			_ = os.RemoveAll(filepath.Dir(path))
		}
	}
	os.Exit(code)
}

// tab is one page of one owner's browser.
type tab struct {
	t      *testing.T
	ctx    context.Context //nolint:containedctx // chromedp keeps the tab in it
	device device
	story  string

	mu    sync.Mutex
	hosts map[string]bool // that the page has asked for something
}

// open starts a browser without cookies.
func open(t *testing.T, d device) *tab {
	t.Helper()
	if _, err := exec.LookPath("chromium"); err != nil {
		missing(t, "chromium")
	}
	browser, _ := chrome()
	require.NotNil(t, browser, "chromium does not start")
	ctx, cancel := chromedp.NewContext(browser, chromedp.WithNewBrowserContext())
	t.Cleanup(cancel)
	b := &tab{t: t, ctx: ctx, device: d, story: strings.ReplaceAll(t.Name(), "/", "-"), hosts: make(map[string]bool)}
	b.prepare()
	return b
}

// another opens one more tab beside b, with the same cookies.
func (b *tab) another() *tab {
	b.t.Helper()
	ctx, cancel := chromedp.NewContext(b.ctx)
	b.t.Cleanup(cancel)
	other := &tab{t: b.t, ctx: ctx, device: b.device, story: b.story + "-other", hosts: make(map[string]bool)}
	other.prepare()
	return other
}

func (b *tab) prepare() {
	b.t.Helper()
	require.NoError(b.t, chromedp.Listen(b.ctx, func(event any) {
		if sent, ok := event.(*network.EventRequestWillBeSent); ok {
			if u, err := url.Parse(sent.Request.URL); err == nil {
				b.mu.Lock()
				b.hosts[u.Host] = true
				b.mu.Unlock()
			}
		}
	}))
	call(b, network.Enable, network.EnableParams{})
	call(b, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{
		Width: b.device.width, Height: b.device.height, DeviceScaleFactor: 1, Mobile: b.device.mobile,
	})
	if b.device.agent != "" {
		call(b, emulation.SetUserAgentOverride, emulation.SetUserAgentOverrideParams{UserAgent: b.device.agent})
	}
}

// call sends a command of the browser's protocol.
func call[P, R any](b *tab, command cdp.Command[P, R], params P) {
	b.t.Helper()
	_, err := chromedp.Call(b.ctx, command, params)
	require.NoError(b.t, err)
}

// find runs an action that has a result.
func find[T any](b *tab, action chromedp.Action[T]) T {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	result, err := chromedp.Run(ctx, action)
	if err != nil {
		b.show("failed")
		require.NoError(b.t, err, "at %s", b.address())
	}
	return result
}

func (b *tab) do(steps ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	find(b, chromedp.Steps(steps...))
}

func (b *tab) address() string {
	at, _ := chromedp.Run(b.ctx, chromedp.Location())
	return at
}

func (b *tab) visit(address string) *tab {
	b.t.Helper()
	b.do(chromedp.Navigate(address))
	return b
}

// status visits an address and returns what the server said.
func (b *tab) status(address string) int {
	b.t.Helper()
	response := find(b, chromedp.NavigateResponse(address))
	require.NotNil(b.t, response)
	return int(response.Status)
}

// click presses what the selector finds first and waits for the page it leads to.
func (b *tab) click(selector string) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	if _, err := chromedp.RunResponse(ctx, chromedp.Click(chromedp.CSS(selector))); err != nil {
		b.show("failed")
		require.NoError(b.t, err, "%s at %s", selector, b.address())
	}
}

func (b *tab) fill(selector, text string) {
	b.t.Helper()
	b.do(chromedp.SendKeys(chromedp.CSS(selector), text))
}

// wait returns when the selector finds something that can be seen.
func (b *tab) wait(selector string) {
	b.t.Helper()
	b.do(chromedp.WaitVisible(chromedp.CSS(selector)))
}

// waitAt returns when the page is at the address.
func (b *tab) waitAt(address string) {
	b.t.Helper()
	require.Eventually(b.t, func() bool { return b.address() == address }, patience, patience/200)
	b.wait("main")
}

func (b *tab) text(selector string) string {
	b.t.Helper()
	return find(b, chromedp.Text(chromedp.CSS(selector)))
}

func (b *tab) html() string {
	b.t.Helper()
	return find(b, chromedp.OuterHTML(chromedp.CSS("html")))
}

func (b *tab) attribute(selector, name string) string {
	b.t.Helper()
	return find(b, chromedp.AttributeValue(chromedp.CSS(selector), name)).Value
}

// show keeps what the browser shows, for people.
func (b *tab) show(step string) {
	b.t.Helper()
	picture, err := chromedp.Run(b.ctx, chromedp.FullScreenshot(100))
	if err != nil {
		return
	}
	_ = os.MkdirAll("screenshots", 0o750)
	_ = os.WriteFile(filepath.Join("screenshots", b.story+"-"+step+".png"), picture, 0o600)
}

// askedOnly says that no page has asked another host for anything.
func (b *tab) askedOnly(hosts ...string) {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	for host := range b.hosts {
		if host != "" { // about:blank
			require.Contains(b.t, hosts, host)
		}
	}
}
