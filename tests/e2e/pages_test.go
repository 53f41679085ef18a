package e2e_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/smartcartest"
	"github.com/stretchr/testify/require"
)

// What an owner of seven cars sees, on both devices and both APIs: what can be done
// first, all of it on the first screen, and the time of their own clock.
func TestPagesOfSevenCars(t *testing.T) {
	for _, d := range []device{desktop, phone} {
		for _, api := range []smartcar.API{smartcar.V2, smartcar.V3} {
			t.Run(d.name+" "+string(api), func(t *testing.T) {
				s := startSiteOn(t, api)
				b := open(t, d)
				far := "Pacific/Kiritimati" // 14 hours before UTC, without summer time
				call(b, emulation.SetTimezoneOverride, emulation.SetTimezoneOverrideParams{TimezoneID: far})
				s.connect(b, "Ann")
				b.show("1-key-page")
				require.Equal(t, 1, b.count("svg.qr"), "one code for all")
				dashboardOfSevenCars(t, s, b)
				keyPageOfSevenCars(t, s, b)
				removedKey(t, s, b)
				b.askedOnly(s.hosts(t)...)
			})
		}
	}
}

func dashboardOfSevenCars(t *testing.T, s *site, b *tab) {
	t.Helper()
	b.visit(s.home)
	b.both("2-dashboard")
	b.fits()
	require.Equal(t, []string{smartcartest.Cybertruck, smartcartest.ModelY}, b.attributes("[data-car]", "data-car")[:2], "what can be done comes first")
	for _, id := range []string{smartcartest.ModelY, smartcartest.Cybertruck} {
		require.Contains(t, b.text(carSection(id)+" .actions"), "Add the key")
		require.Zero(t, b.count(carSection(id)+` a[href$="lock"]`), "which would be refused")
	}
	require.Equal(t, 2, b.count(carSection(smartcartest.Model3)+` a[href$="lock"]`))
	page := b.text("main")
	require.NotContains(t, page, "UTC")
	require.NotContains(t, page, "TESLA", "one spelling")
	at, err := time.Parse(time.RFC3339, b.attribute(carSection(smartcartest.ModelY)+" .next time", "datetime"))
	require.NoError(t, err)
	require.Equal(t, at.In(time.FixedZone("", 14*60*60)).Format("3:04 PM")+", in 8 h", b.text(carSection(smartcartest.ModelY)+" .next"), "the owner's clock")

	first, second := b.box(".cars > :nth-child(1)"), b.box(".cars > :nth-child(2)")
	if b.device.mobile {
		require.Greater(t, second.Top, first.Bottom)
	} else {
		require.InDelta(t, first.Top, second.Top, 1, "two columns")
		require.Greater(t, second.Left, first.Right)
	}

	b.click(carSection(smartcartest.ModelY) + ` a[href$="/location"]`)
	b.click("main form button")
	require.Contains(t, b.text(".notice"), "Tesla Model Y 2023 was at 52.51630, 13.37770")
	require.Equal(t, "https://www.openstreetmap.org/?mlat=52.51630&mlon=13.37770#map=17/52.51630/13.37770", b.attribute(".notice a", "href"))
	b.both("3-location")
	b.accessible(t, "location")
}

func keyPageOfSevenCars(t *testing.T, s *site, b *tab) {
	t.Helper()
	b.visit(s.home + "key/")
	b.both("4-key-page")
	b.accessible(t, "key-page-of-seven")
	require.Contains(t, b.text("header"), "Carport", "whom the key is for")
	require.Contains(t, b.text(".lead"), "Carport")
	asked := b.text(".ask .which")
	require.Contains(t, asked, "Tesla Model Y 2023")
	require.Contains(t, asked, "Tesla Cybertruck 2024")
	require.Equal(t, 2, b.count(".ask .car"))
	require.Equal(t, "5 cars need nothing", b.text(".rest summary"))
	require.Equal(t, "5 cars need nothing", b.text(".rest"), "folded into that line")
	if !b.device.mobile {
		require.Equal(t, keyLink, scan(b, "svg.qr"))
		require.Greater(t, b.box("svg.qr").Left, b.box(".which").Right, "beside its cars")
		require.Greater(t, b.box(".help").Left, b.box("main").Right, "two columns")
	} else {
		for _, small := range [][2]int64{{390, 844}, {360, 640}} {
			b.resize(small[0], small[1])
			for _, part := range []string{"header .app", ".quiet", `a[href="#help"]`, ".ask a.button"} {
				require.LessOrEqual(t, b.box(part).Bottom, float64(small[1]), "%s is on the first screen of %v", part, small)
			}
		}
		b.resize(b.device.width, b.device.height)
	}
	find(b, chromedp.Evaluate[bool](`document.querySelector(".rest").open = true`))
	require.Contains(t, b.text(".rest"), "Allow Third-Party App Data Streaming")
	require.Contains(t, b.text(".rest"), "Ford Mustang Mach-E 2022")
	b.both("5-unfolded")
	b.fits()
	b.click(".quiet")
	require.Equal(t, s.home, b.address())
}

// removedKey removes a key that was there. The owner's next command is refused.
func removedKey(t *testing.T, s *site, b *tab) {
	t.Helper()
	require.NoError(t, s.sim.Unpair(smartcartest.Model3))
	b.visit(s.home + "cars/" + smartcartest.Model3 + "/lock")
	b.click("main form button")
	require.Contains(t, b.text(".notice.refused"), "Not sent: commands to Tesla Model 3 2022 need the virtual key.")
	for scheme, amber := range map[string]string{"light": "rgb(254, 243, 199)", "dark": "rgb(92, 61, 10)"} {
		b.colors(scheme)
		require.Equal(t, amber, find(b, chromedp.Evaluate[string](`getComputedStyle(document.querySelector(".notice")).backgroundColor`)), scheme)
	}
	require.Zero(t, b.count(carSection(smartcartest.Model3)+` a[href$="lock"]`))
	day := time.Now().In(time.FixedZone("", 14*60*60)).Format("January 2, 2006")
	require.Contains(t, b.text(carSection(smartcartest.Model3)+" .key"), "Key removed on "+day)
	b.both("6-refused")
	b.accessible(t, "refused")
	b.fits()

	b.click(".notice a")
	require.Equal(t, "Key removed", b.text(".badge"))
	require.Equal(t, "Key removed on "+day+", or shortly before.", b.text(".reason"))
	require.Equal(t, 1, b.count("svg.qr"))
	b.both("7-key-removed")
	b.accessible(t, "key-removed")
	b.fits()
}

// both shows a step in light and in dark.
func (b *tab) both(step string) {
	b.t.Helper()
	b.colors("dark")
	b.show(step + "-dark")
	b.colors("light")
	b.show(step)
}

func (b *tab) count(selector string) int {
	b.t.Helper()
	return find(b, chromedp.Evaluate[int](fmt.Sprintf(`document.querySelectorAll(%q).length`, selector)))
}

func (b *tab) attributes(selector, name string) []string {
	b.t.Helper()
	return find(b, chromedp.Evaluate[[]string](fmt.Sprintf(`Array.from(document.querySelectorAll(%q), e => e.getAttribute(%q))`, selector, name)))
}

// A box is where something is on the screen.
type box struct{ Left, Top, Right, Bottom float64 }

func (b *tab) box(selector string) box {
	b.t.Helper()
	return find(b, chromedp.Evaluate[box](fmt.Sprintf(`(r => ({Left: r.left, Top: r.top, Right: r.right, Bottom: r.bottom}))(document.querySelector(%q).getBoundingClientRect())`, selector)))
}

func (b *tab) resize(width, height int64) {
	b.t.Helper()
	call(b, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{
		Width: width, Height: height, DeviceScaleFactor: 1, Mobile: b.device.mobile,
	})
}

// fits says that nobody has to scroll sideways on a narrow phone, or in such a window.
func (b *tab) fits() {
	b.t.Helper()
	b.resize(360, 640)
	require.LessOrEqual(b.t, find(b, chromedp.Evaluate[int](`document.documentElement.scrollWidth`)), 360, b.address())
	b.resize(b.device.width, b.device.height)
}
