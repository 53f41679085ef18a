package e2e_test

import (
	"bytes"
	"image/png"
	"regexp"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/makiuchi-d/gozxing"
	"github.com/makiuchi-d/gozxing/qrcode"
	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/smartcartest"
	"github.com/stretchr/testify/require"
)

const keyLink = "https://www.tesla.com/_ak/smartcar.com"

// scan reads the QR code off the screen, as a phone's camera would.
func scan(b *tab, selector string) string {
	b.t.Helper()
	picture := find(b, chromedp.Screenshot(chromedp.CSS(selector)))
	image, err := png.Decode(bytes.NewReader(picture))
	require.NoError(b.t, err)
	bitmap, err := gozxing.NewBinaryBitmapFromImage(image)
	require.NoError(b.t, err)
	result, err := qrcode.NewQRCodeReader().Decode(bitmap, nil)
	require.NoError(b.t, err)
	return result.GetText()
}

func carSection(id string) string { return `[data-car="` + id + `"]` }

func TestFromConnectToTheLock(t *testing.T) {
	for _, d := range []device{desktop, phone} {
		for _, api := range []smartcar.API{smartcar.V2, smartcar.V3} {
			t.Run(d.name+" "+string(api), func(t *testing.T) { fromConnectToTheLock(t, d, api) })
		}
	}
}

func fromConnectToTheLock(t *testing.T, d device, api smartcar.API) {
	s := startSiteOn(t, api)
	b := open(t, d)
	b.visit(s.home).show("01-sign-in")
	b.accessible(t, "sign-in")
	s.signIn(b, "Ann")
	b.show("02-connect-your-car")
	b.accessible(t, "connect-your-car")

	b.click("main form button")
	b.wait("button[value=deny]")
	b.show("03-connect")
	b.accessible(t, "connect")
	b.click("button[value=deny]")
	require.Equal(t, s.home, b.address())
	require.Contains(t, b.text(".notice"), "You did not allow access")
	b.show("04-denied")
	b.accessible(t, "denied")

	b.click("main form button")
	b.wait("button[value=grant]")
	b.click("button[value=grant]")
	require.Equal(t, s.home+"key/", b.address())
	b.show("05-key-page")
	b.accessible(t, "key-page")

	keylessDashboard(t, s, b)
	addTheKey(t, s, b)

	b.click(carSection(smartcartest.ModelY) + ` a[href$="/lock"]`)
	b.show("12-confirm")
	b.accessible(t, "confirm")
	b.click("main form button")
	require.Contains(t, b.text(".notice"), "The command to lock was sent")
	b.show("13-locked")
	b.accessible(t, "locked")
	for id, badge := range map[string]string{smartcartest.ModelY: "Key added", smartcartest.ModelS2018: "Not needed"} {
		b.visit(s.home + "key/?vehicle=" + id)
		require.Equal(t, badge, b.text(".badge"))
		b.accessible(t, badge)
	}
	require.Empty(t, s.sim.BrokenWindows(smartcartest.ModelY))
	require.Empty(t, s.sim.BrokenWindows(smartcartest.Cybertruck))
	b.askedOnly(s.hosts(t)...)
}

// keylessDashboard reads twice and tries to lock a car without the key.
func keylessDashboard(t *testing.T, s *site, b *tab) {
	t.Helper()
	b.visit(s.home)
	b.show("06-dashboard")
	b.accessible(t, "dashboard")
	next := regexp.MustCompile(`(\d{1,2}:\d\d [AP]M), in 8 h$`)
	first := next.FindStringSubmatch(b.text(carSection(smartcartest.ModelY) + " .next"))
	require.NotNil(t, first)
	require.Contains(t, b.text(carSection(smartcartest.ModelY)), "80 %")
	require.NotContains(t, b.text(carSection(smartcartest.ModelY)), "last values")

	b.visit(s.home)
	again := b.text(carSection(smartcartest.ModelY))
	require.Contains(t, again, first[1]+", in ", "the second read does not move the next one")
	require.Contains(t, again, "80 %")
	require.Contains(t, again, "last values")
	require.NotContains(t, b.text(carSection(smartcartest.Model3)), "last values")

	b.visit(s.home + "cars/" + smartcartest.ModelY + "/lock") // as from a page that was opened before the key was removed
	b.click("main form button")
	require.Contains(t, b.text(".notice"), "need the virtual key")
	b.show("07-lock-without-key")
	b.accessible(t, "lock-without-key")
	b.click(".notice a")
	require.Equal(t, s.home+"key/?vehicle="+smartcartest.ModelY, b.address())
}

// addTheKey follows the link that the page shows, as far as a simulation can.
func addTheKey(t *testing.T, s *site, b *tab) {
	t.Helper()
	b.show("08-key-page-of-one-car")
	b.accessible(t, "key-page-of-one-car")
	require.Equal(t, "Key needed", b.text(".badge"))
	if b.device.mobile {
		require.Equal(t, keyLink, b.attribute(".ask .how > p > a.button", "href"))
		find(b, chromedp.Evaluate[bool](`document.querySelector(".ask details").open = true`))
	} else {
		require.Contains(t, b.text(".ask"), "Scan this code")
		require.Equal(t, keyLink, b.attribute(".ask details a.button", "href"))
	}
	require.Equal(t, keyLink, scan(b, "svg.qr"))

	app := b.another()
	app.visit(b.attribute(".extra a", "href"))
	app.show("09-tesla-app")
	app.accessible(t, "tesla-app")
	app.click(`button[aria-label="Add the key to Tesla Model Y 2023"]`)
	app.wait(`button[aria-label="Remove the key of Tesla Model Y 2023"]`)

	b.wait("#page[data-done]")
	b.show("10-key-added")
	require.Equal(t, "Key added", b.text(".badge"))
	require.Contains(t, b.text("#news"), "You will be taken on")
	require.NotContains(t, b.html(), keyLink)
	require.Zero(t, b.count(".quiet"), "there is nothing to put off any more")
	b.waitAt(s.home)
	b.show("11-dashboard-with-key")
	require.NotContains(t, b.text(carSection(smartcartest.ModelY)), "virtual key")
	require.NotContains(t, b.text(carSection(smartcartest.ModelY)), "last values", "it is read at once")
	app.askedOnly(s.hosts(t)...)
}

// Without JavaScript the pages load themselves again.
func TestWithoutJavaScript(t *testing.T) {
	s := startSite(t, smartcartest.DefaultGarage()[:2]...)
	b := open(t, phone)
	call(b, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true})
	s.connect(b, "Ann")
	require.Equal(t, s.home+"key/", b.address())
	require.Equal(t, "in 8 h", b.visit(s.home).text(carSection(smartcartest.ModelY)+" .next"), "the server knows no time zone, and says no clock")
	b.visit(s.home + "key/")
	require.NotContains(t, b.text("#page"), "changes by itself")
	require.Contains(t, b.text("#page"), "loads itself again")
	b.show("1-key-page")
	b.do(chromedp.Click(chromedp.CSS("summary")))
	require.Equal(t, keyLink, scan(b, "svg.qr"))
	require.NoError(t, s.sim.Pair(smartcartest.ModelY))
	b.wait("#page:not([data-events])")
	b.show("2-key-added")
	require.Equal(t, 2, strings.Count(b.html(), ">Key added<"))
	b.waitAt(s.home)
	require.Contains(t, b.text(carSection(smartcartest.ModelY)), "80 %")
	b.click(carSection(smartcartest.ModelY) + ` a[href$="/lock"]`)
	b.click("main form button")
	require.Contains(t, b.text(".notice"), "The command to lock was sent")
	b.askedOnly(s.hosts(t)...)
}
