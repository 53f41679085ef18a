package keypage_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/keypage"
	"github.com/seed-498a1bc4/smartcar/smartcartest"
	"github.com/seed-498a1bc4/smartcar/store"
	"github.com/stretchr/testify/require"
)

// Another site could hold the streams of an owner who looks at it, and time them.
func TestEventsAreForThePageOnly(t *testing.T) {
	page := pageOf(t, connected(t, smartcartest.New()), nil)
	for _, site := range []string{"cross-site", "same-site"} {
		r := httptest.NewRequest(http.MethodGet, "/events?vehicle="+smartcartest.Model3, nil)
		r.Header.Set("Sec-Fetch-Site", site)
		w := httptest.NewRecorder()
		page.ServeHTTP(w, r)
		require.Equal(t, http.StatusForbidden, w.Code, site)
	}
	for _, target := range []string{"/", "/key.js", "/events?vehicle=" + smartcartest.Model3} {
		require.Equal(t, "same-origin", get(page, target, desktop).Header().Get("Cross-Origin-Resource-Policy"), target)
	}
}

// Without the slash, what stands beside the page would be looked for elsewhere.
func TestMountedWithoutASlash(t *testing.T) {
	page := http.StripPrefix("/app/key", pageOf(t, connected(t, smartcartest.New()), func(c *keypage.Config) { c.AllowReturn = true }))
	for target, want := range map[string]string{
		"/app/key": "./key/", "/app/key?vehicle=x": "./key/?vehicle=x", "/app/key?return=/a%0d%0aX:y&evil=1": "./key/?return=%2Fa%0D%0AX%3Ay",
	} {
		w := get(page, target, desktop)
		require.Equal(t, http.StatusTemporaryRedirect, w.Code, target)
		require.Equal(t, want, w.Header().Get("Location"), target)
	}
	require.Equal(t, http.StatusNotFound, get(page, "/app/keyx", desktop).Code)
	require.Equal(t, http.StatusNotFound, get(page, "/app/key//evil.example/", desktop).Code)
}

// A page with a problem leads on, and only to where the developer said.
func TestProblemsAreNoDeadEnd(t *testing.T) {
	page := pageOf(t, connected(t, smartcartest.New()), func(c *keypage.Config) { c.AllowReturn = true })
	for _, target := range []string{"/?vehicle=nowhere&return=/there", "/?return=//evil.example", "/elsewhere"} {
		require.Contains(t, get(page, target, desktop).Body.String(), `<a class="button" href="/dashboard">`, target)
	}
	nobody := pageOf(t, nil, nil)
	require.Contains(t, get(nobody, "/", desktop).Body.String(), `<a class="button" href="/dashboard">`)
}

// awayStore is a store that is away from a moment on.
type awayStore struct {
	store.Store
	away atomic.Bool
}

func (s *awayStore) Load(ctx context.Context, key string) (store.Record, error) {
	if s.away.Load() {
		return store.Record{}, errors.New("store: no route to 10.0.0.7 for " + key)
	}
	return s.Store.Load(ctx, key)
}

// A store that is away is said to be so in nobody's words, and whoever waits for
// a key goes on waiting: the page that loads itself, and the stream.
func TestStoreThatIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim, db := smartcartest.New(), &awayStore{Store: store.NewMemory()}
		page := pageOf(t, connected(t, sim, smartcar.WithStore(db)), nil)
		require.Equal(t, http.StatusOK, get(page, "/", iPhone).Code)
		db.away.Store(true)
		require.Equal(t, http.StatusBadGateway, get(page, "/", iPhone).Code)
		target := "?vehicle=" + smartcartest.ModelY
		for range 2 {
			body := get(page, "/"+target+"&n=1", iPhone).Body.String()
			require.NotContains(t, body, "10.0.0.7")
			require.NotContains(t, body, "No virtual key is needed")
			require.Contains(t, body, `content="10; url=?n=2&amp;vehicle=`+smartcartest.ModelY)
			require.Contains(t, body, "Check again")
			time.Sleep(time.Minute) // from here the list of cars has to be asked for
		}
		get(page, "/", iPhone)
		db.away.Store(false)
		get(page, "/", iPhone)
		db.away.Store(true)
		began := time.Now()
		go func() {
			time.Sleep(time.Minute)
			db.away.Store(false)
			time.Sleep(time.Minute)
			_ = sim.Pair(smartcartest.ModelY)
		}()
		w := listen(t.Context(), page, "/events"+target)
		require.Equal(t, []string{"added", "end"}, w.events)
		require.GreaterOrEqual(t, w.at[0].Sub(began), 2*time.Minute)
	})
}

// However many cars there are and however slow Smartcar is, a page comes.
func TestManyCarsOfASlowSmartcar(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cars := make([]smartcartest.Car, 60)
		for i := range cars {
			cars[i] = smartcartest.Car{ID: "car-" + strconv.Itoa(i), Make: "TESLA", Model: "Model Y", Year: 2023, Integration: smartcartest.Streaming}
		}
		sim := smartcartest.New(smartcartest.WithCars(cars...))
		page := pageOf(t, connected(t, sim), nil)
		sim.Inject(smartcartest.Fault{Path: "/v2.0/vehicles/", Latency: 20 * time.Second, Times: -1})
		began := time.Now()
		w := get(page, "/", desktop)
		require.Less(t, time.Since(began), time.Minute)
		require.Equal(t, http.StatusOK, w.Code)
		require.Equal(t, len(cars), strings.Count(w.Body.String(), `class="badge"`))
	})
}

// Who does not say what a car is called is not asked at every load, but again soon.
func TestNamesThatCannotBeRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		user := connected(t, sim, smartcar.WithRetry(smartcar.RetryPolicy{MaxAttempts: 1}))
		page := pageOf(t, user, func(c *keypage.Config) { c.VINInLink = true })
		target := "/?n=1&vehicle=" + smartcartest.ModelY
		asked := 0
		sim.Inject(smartcartest.Fault{Status: 502, Times: -1, Match: func(r *http.Request) bool {
			if !strings.HasSuffix(r.URL.Path, "/vin") {
				return false
			}
			asked++
			return true
		}})
		for range 5 {
			require.NotContains(t, get(page, target, iPhone).Body.String(), "vin=")
			time.Sleep(time.Second)
		}
		require.Equal(t, 1, asked)
		sim.ClearFaults()
		time.Sleep(time.Minute)
		require.Contains(t, get(page, target, iPhone).Body.String(), "vin=7SAYGDEE5PA000002")
	})
}

// A server that shuts down does not wait for a stream that Smartcar keeps waiting.
func TestCloseEndsAStreamThatHasNotBegun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		page := pageOf(t, connected(t, sim), nil)
		sim.Inject(smartcartest.Fault{Path: "/v2.0/vehicles", Latency: 15 * time.Second, Times: -1})
		began := time.Now()
		go func() { time.Sleep(time.Second); page.Close() }()
		require.NotEqual(t, http.StatusOK, listen(t.Context(), page, "/events").Code)
		require.Equal(t, time.Second, time.Since(began))
	})
}

// The page of a car that was connected just now may come from another replica
// than its stream.
func TestStreamOfACarThatIsNew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		client := newClient(t, sim)
		user := connect(t, sim, client, url.Values{"decision": {"grant"}, "vehicle": {smartcartest.Model3}})
		page := pageOf(t, user, nil)
		get(page, "/", desktop)
		connect(t, sim, client, url.Values{"decision": {"grant"}, "vehicle": {smartcartest.ModelY}})
		require.NoError(t, sim.Pair(smartcartest.ModelY))
		require.Equal(t, []string{"added", "end"}, listen(t.Context(), page, "/events?vehicle="+smartcartest.ModelY).events)
	})
}

// Whose key was there once may have removed it since: nobody says so.
func TestKeyThatWasRemoved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		user := connected(t, sim)
		page := pageOf(t, user, nil)
		target := "/?vehicle=" + smartcartest.Model3
		_, err := user.Vehicle(smartcartest.Model3).Battery(t.Context())
		require.NoError(t, err)
		require.NotContains(t, get(page, target, iPhone).Body.String(), keyLink)
		require.NoError(t, sim.Unpair(smartcartest.Model3))
		time.Sleep(6 * time.Minute)
		require.Contains(t, get(page, target, iPhone).Body.String(), keyLink)
	})
}
