package e2e_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/keypage"
	"github.com/seed-498a1bc4/smartcar/smartcartest"
	"github.com/stretchr/testify/require"
)

// ownerOf is an owner who has connected, in the process of the test.
func ownerOf(t *testing.T, sim *smartcartest.Server, api smartcar.API) *smartcar.User {
	t.Helper()
	client, err := smartcar.New(smartcar.Config{
		ApplicationID: sim.ApplicationID(), ClientSecret: sim.ClientSecret(),
		APIClientID: sim.APIClientID(), APIClientSecret: sim.APIClientSecret(),
		RedirectURL: sim.RedirectURL(), StateKey: []byte("0123456789abcdef0123456789abcdef"),
	}, smartcar.WithAPI(api), smartcar.WithHTTPClient(&http.Client{Transport: sim.Transport()}))
	require.NoError(t, err)
	var user *smartcar.User
	_, err = sim.Walk(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = client.Connect().Start(w, r, smartcar.ConnectOptions{})
	}), client.Connect().CallbackHandler(func(_ http.ResponseWriter, _ *http.Request, g *smartcar.Grant, err error) {
		require.NoError(t, err)
		user = client.User(g.UserID)
	}))
	require.NoError(t, err)
	return user
}

// The page knows nothing of the folder a proxy serves it in, and outlasts that
// the program behind the proxy is replaced.
func TestBehindAProxyThatRefusesTheStream(t *testing.T) {
	for _, api := range []smartcar.API{smartcar.V2, smartcar.V3} {
		t.Run(string(api), func(t *testing.T) {
			sim := smartcartest.New()
			user := ownerOf(t, sim, api)
			var refused atomic.Int32
			done := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				_, _ = w.Write([]byte("<!DOCTYPE html><title>done</title><main>done</main>"))
			})
			key, err := keypage.New(keypage.Config{
				Who:  func(*http.Request) (*smartcar.User, error) { return user, nil },
				Done: "/folder/done",
			})
			require.NoError(t, err)
			inside := http.NewServeMux()
			inside.Handle("/key/", http.StripPrefix("/key", key))
			inside.Handle("/done", done)
			proxy := httptest.NewServer(http.StripPrefix("/folder", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if strings.HasSuffix(r.URL.Path, "/events") && refused.Add(1) == 1 {
					http.Error(w, "bad gateway", http.StatusBadGateway)
					return
				}
				inside.ServeHTTP(w, r)
			})))
			t.Cleanup(proxy.Close)
			t.Cleanup(key.Close)

			b := open(t, phone)
			b.visit(proxy.URL + "/folder/key/?vehicle=" + smartcartest.ModelY)
			b.wait(".ask a.button")
			b.accessible(t, "key-page")
			b.show("1-key-page")
			call(b, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{Width: 320, Height: 700, DeviceScaleFactor: 1, Mobile: true})
			find(b, chromedp.Evaluate[bool](`for (const d of document.querySelectorAll("details")) d.open = true; true`))
			require.LessOrEqual(t, find(b, chromedp.Evaluate[int](`document.documentElement.scrollWidth`)), 320, "nobody has to scroll sideways")
			b.show("2-narrow")
			require.Equal(t, keyLink, scan(b, "svg.qr"))
			b.wait(".waiting:not([hidden])")
			require.NoError(t, sim.Pair(smartcartest.ModelY))
			if api == smartcar.V3 { // which tells it with the car's data
				_, err = user.Vehicle(smartcartest.ModelY).Battery(t.Context())
				require.NoError(t, err)
			}
			b.wait("#page[data-done]")
			require.Equal(t, "Key added", b.text(".badge"))
			b.waitAt(proxy.URL + "/folder/done")
			u, err := url.Parse(proxy.URL)
			require.NoError(t, err)
			b.askedOnly(u.Host)
		})
	}
}
