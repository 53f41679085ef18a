package keypage_test

import (
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/keypage"
	"github.com/seed-498a1bc4/smartcar/smartcartest"
	"github.com/stretchr/testify/require"
)

// connectedV3 is a connected owner on API v3, which tells of the key with the
// car's data only.
func connectedV3(t testing.TB, sim *smartcartest.Server) *smartcar.User {
	t.Helper()
	client, err := smartcar.New(smartcar.Config{
		ApplicationID: sim.ApplicationID(), APIClientID: sim.APIClientID(), APIClientSecret: sim.APIClientSecret(),
		RedirectURL: sim.RedirectURL(), StateKey: []byte("0123456789abcdef0123456789abcdef"),
	}, smartcar.WithAPI(smartcar.V3), smartcar.WithHTTPClient(&http.Client{Transport: sim.Transport()}))
	require.NoError(t, err)
	return connect(t, sim, client, url.Values{"decision": {"grant"}})
}

// Nobody has said anything about the key yet: the owner may add it all the
// same, and the page turns when the car's data shows it.
func TestV3ShowsTheLinkBeforeTheKeyIsKnown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		user := connectedV3(t, sim)
		page := pageOf(t, user, nil)
		body := get(page, "/?vehicle="+smartcartest.ModelY, iPhone).Body.String()
		require.Contains(t, body, `<p class="badge">Not known</p>`)
		require.Contains(t, body, `href="`+keyLink+`"`)
		require.NotContains(t, body, "No virtual key is needed")
		require.NotContains(t, body, "driver&#39;s account instead")
		require.Contains(t, body, `data-events="events?vehicle=`+smartcartest.ModelY+`"`)
		require.NotContains(t, get(page, "/?vehicle="+smartcartest.MachE, iPhone).Body.String(), keyLink)

		began := time.Now()
		var reading sync.WaitGroup
		defer reading.Wait()
		reading.Go(func() {
			time.Sleep(10 * time.Minute)
			_ = sim.Pair(smartcartest.ModelY)
			_, _ = user.Vehicle(smartcartest.ModelY).Battery(t.Context())
		})
		w := listen(t.Context(), page, "/events?vehicle="+smartcartest.ModelY)
		require.Equal(t, []string{"added", "end"}, w.events)
		require.Less(t, time.Since(began), 11*time.Minute)
		body = get(page, "/?vehicle="+smartcartest.ModelY, iPhone).Body.String()
		require.Contains(t, body, `<p class="badge">Key added</p>`)
		for _, e := range sim.Ledger(smartcartest.Cybertruck) {
			require.NotEqual(t, smartcartest.Data, e.Kind, "no turn is taken")
		}
	})
}

// The data says that the key is missing.
func TestV3KeyThatIsKnownToBeMissing(t *testing.T) {
	sim := smartcartest.New()
	user := connectedV3(t, sim)
	_, _ = user.Vehicle(smartcartest.ModelY).Battery(t.Context())
	_, _ = user.Vehicle(smartcartest.ModelY).Lock(t.Context())
	body := get(pageOf(t, user, nil), "/?vehicle="+smartcartest.ModelY, desktop).Body.String()
	require.Contains(t, body, `<p class="badge">Key needed</p>`)
	require.Equal(t, 1, strings.Count(body, "<svg"))
}

// A page takes no turn: the VIN is in the link once a read of the program's has
// brought it.
func TestV3LinkWithVINTakesNoTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		user := connectedV3(t, sim)
		page := pageOf(t, user, func(c *keypage.Config) { c.VINInLink = true })
		for range 3 {
			body := get(page, "/?vehicle="+smartcartest.ModelY, iPhone).Body.String()
			require.Contains(t, body, `href="`+keyLink+`"`)
			time.Sleep(2 * time.Minute)
		}
		get(page, "/", iPhone)
		for _, c := range smartcartest.DefaultGarage() {
			for _, e := range sim.Ledger(c.ID) {
				require.NotEqual(t, smartcartest.Data, e.Kind, c.ID)
			}
		}
		_, err := user.Vehicle(smartcartest.ModelY).Battery(t.Context())
		require.NoError(t, err, "the turn is the program's")
		body := get(page, "/?vehicle="+smartcartest.ModelY, iPhone).Body.String()
		require.Contains(t, body, keyLink+"?vin=")
		require.Empty(t, sim.BrokenWindows(smartcartest.ModelY))
	})
}
