package smartcar_test

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/smartcartest"
	"github.com/seed-498a1bc4/smartcar/store"
	"github.com/stretchr/testify/require"
)

func TestOneTokenForAllCallers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		connect(t, sim, apiClient(t, sim, smartcar.V2)) // so that the v3 clients begin without a token
		db := store.NewMemory()
		clients := []*smartcar.Client{
			apiClient(t, sim, smartcar.V3, smartcar.WithStore(db)), apiClient(t, sim, smartcar.V3, smartcar.WithStore(db)),
		}
		sim.Inject(smartcartest.Fault{Path: "/oauth2/token", LatencyAfter: 2 * time.Second})
		for _, err := range allOf(50, func(i int) error { return attributesRead(t.Context(), clients[i%2], sim.UserID()) }) {
			require.NoError(t, err)
		}
		require.Equal(t, 1, sim.AppTokenRequests())
		require.NoError(t, attributesRead(t.Context(), apiClient(t, sim, smartcar.V3, smartcar.WithStore(db)), sim.UserID()))
		require.Equal(t, 1, sim.AppTokenRequests(), "a later process takes the stored one")

		for _, err := range allOf(50, func(i int) error {
			for range 10 { // ten hours
				time.Sleep(time.Hour)
				if err := attributesRead(t.Context(), clients[i%2], sim.UserID()); err != nil {
					return err
				}
			}
			return nil
		}) {
			require.NoError(t, err)
		}
		require.Equal(t, 11, sim.AppTokenRequests())
		requireNoExpiredToken(t, sim)
	})
}

// A minute before its end it is renewed, so that none runs out under way.
func TestTheTokenIsRenewedBeforeItsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		client := apiClient(t, sim, smartcar.V3)
		user := connect(t, sim, client).UserID
		for _, tt := range []struct {
			wait   time.Duration
			minted int
		}{{0, 1}, {58*time.Minute + 50*time.Second, 1}, {15 * time.Second, 2}, {58 * time.Minute, 2}} {
			time.Sleep(tt.wait)
			require.NoError(t, attributesRead(t.Context(), client, user))
			require.Equal(t, tt.minted, sim.AppTokenRequests())
		}
		requireNoExpiredToken(t, sim)
	})
}

func TestARefusedTokenIsReplacedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		client := apiClient(t, sim, smartcar.V3)
		user := connect(t, sim, client).UserID
		for minted := 2; minted < 6; minted++ {
			sim.ExpireAppTokens()
			for _, err := range allOf(50, func(int) error { return attributesRead(t.Context(), client, user) }) {
				require.NoError(t, err)
			}
			require.Equal(t, minted, sim.AppTokenRequests(), "each time it helped, so that the next one is replaced, too")
		}
		_, err := client.User(user).Vehicle(smartcartest.MachE).Lock(t.Context())
		require.NoError(t, err)
		sim.ExpireAppTokens()
		_, err = client.User(user).Vehicle(smartcartest.MachE).Unlock(t.Context())
		require.NoError(t, err, "a 401 was not carried out: a command is sent again")
	})
}

// What another replica stored half an hour ago may be refused as well.
func TestAStoredTokenThatIsRefusedIsNoNewOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		db := store.NewMemory()
		a, b := apiClient(t, sim, smartcar.V3, smartcar.WithStore(db)), apiClient(t, sim, smartcar.V3, smartcar.WithStore(db))
		user := connect(t, sim, a).UserID
		require.NoError(t, attributesRead(t.Context(), b, user))
		sim.ExpireAppTokens()
		require.NoError(t, attributesRead(t.Context(), a, user))
		sim.ExpireAppTokens()
		require.NoError(t, attributesRead(t.Context(), b, user), "the first is refused, and so is the one of the store")
		require.Equal(t, 3, sim.AppTokenRequests())
		require.NoError(t, attributesRead(t.Context(), a, user))
		require.Equal(t, 3, sim.AppTokenRequests())
	})
}

// A new token that is refused, too, means that tokens are not the problem.
func TestNoStormOfTokens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		client := apiClient(t, sim, smartcar.V3)
		user := connect(t, sim, client).UserID
		sim.Inject(smartcartest.Fault{Path: "/v3/", ErrorType: "AUTHENTICATION", ErrorCode: "UNAUTHORIZED", Times: -1, LatencyAfter: time.Second})
		hinted := 0
		for minute := range 5 {
			for range 10 {
				for _, err := range allOf(20, func(int) error { return attributesRead(t.Context(), client, user) }) {
					require.ErrorIs(t, err, smartcar.ErrUnauthorized)
					if strings.Contains(err.Error(), "upgraded to API v3") {
						hinted++
					}
				}
				time.Sleep(5 * time.Second)
			}
			require.LessOrEqual(t, sim.AppTokenRequests(), 2+minute, "one at the beginning, one more each minute")
		}
		require.NotZero(t, hinted)
		sim.ClearFaults()
		require.NoError(t, attributesRead(t.Context(), client, user))
	})
}

// The credentials go in a form body, as documented first.
func TestFormOfTheTokenRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		client, tap := tapped(t, sim)
		connect(t, sim, client)
		requests := tap.to("/oauth2/token")
		require.Len(t, requests, 1)
		r := requests[0]
		require.Equal(t, "POST", r.method)
		require.Empty(t, r.query, "credentials belong into no address")
		require.Equal(t, "application/x-www-form-urlencoded", r.header.Get("Content-Type"))
		form, err := url.ParseQuery(r.body)
		require.NoError(t, err)
		require.Equal(t, url.Values{"grant_type": {"client_credentials"}, "client_id": {sim.APIClientID()}, "client_secret": {sim.APIClientSecret()}}, form)
		require.Empty(t, r.header.Get("Authorization"))
	})
}

// How long a token is used follows from expires_in, whatever form it has.
func TestLifeOfAToken(t *testing.T) {
	for name, tt := range map[string]struct {
		answer string
		reads  []time.Duration // since the first
		minted int
	}{
		"hour":          {`"expires_in":3600`, []time.Duration{58 * time.Minute, 59*time.Minute + time.Second}, 2},
		"text":          {`"expires_in":"1800"`, []time.Duration{28 * time.Minute, 29*time.Minute + time.Second}, 2},
		"missing":       {`"scope":""`, []time.Duration{58 * time.Minute, 59*time.Minute + time.Second}, 2},
		"null":          {`"expires_in":null`, []time.Duration{58 * time.Minute, 59*time.Minute + time.Second}, 2},
		"negative":      {`"expires_in":-5`, []time.Duration{58 * time.Minute, 59*time.Minute + time.Second}, 2},
		"no number":     {`"expires_in":"soon"`, []time.Duration{58 * time.Minute, 59*time.Minute + time.Second}, 2},
		"zero":          {`"expires_in":0`, []time.Duration{58 * time.Minute, 59*time.Minute + time.Second}, 2},
		"ten seconds":   {`"expires_in":10`, []time.Duration{0, time.Second, 4 * time.Second, 6 * time.Second}, 2},
		"a hundred":     {`"expires_in":100`, []time.Duration{0, 39 * time.Second, 51 * time.Second}, 2},
		"for ever":      {`"expires_in":1e300`, []time.Duration{58 * time.Minute}, 1},
		"a year":        {`"expires_in":31536000`, []time.Duration{24 * time.Hour, 300 * 24 * time.Hour}, 1},
		"a tiny moment": {`"expires_in":0.001`, []time.Duration{time.Minute}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tap := &wireTap{instead: func(r sentRequest) *http.Response {
					if strings.HasSuffix(r.path, "/oauth2/token") {
						return respond(200, `{"access_token":"t","token_type":"Bearer",`+tt.answer+`}`)
					}
					return respond(200, `{"data":{"id":"car","attributes":{"make":"FORD"}}}`)
				}}
				client := apiClient(t, smartcartest.New(), smartcar.V3, smartcar.WithHTTPClient(&http.Client{Transport: tap}))
				began := time.Now()
				require.NoError(t, attributesRead(t.Context(), client, "user"))
				for _, at := range tt.reads {
					time.Sleep(time.Until(began.Add(at)))
					require.NoError(t, attributesRead(t.Context(), client, "user"))
				}
				require.Len(t, tap.to("/oauth2/token"), tt.minted)
			})
		})
	}
}

// Without its store a client only cannot share.
func TestTheTokenWithoutAStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		connect(t, sim, apiClient(t, sim, smartcar.V2))
		db := newSpoiledStore()
		back := db.goDown()
		client := apiClient(t, sim, smartcar.V3, smartcar.WithStore(db))
		for range 3 {
			require.NoError(t, attributesRead(t.Context(), client, sim.UserID()))
		}
		require.Equal(t, 1, sim.AppTokenRequests())
		sim.ExpireAppTokens()
		require.NoError(t, attributesRead(t.Context(), client, sim.UserID()))
		require.Equal(t, 2, sim.AppTokenRequests())
		back()

		// The store fails only where the token is to be kept.
		db.before = func(key string, value []byte) error {
			if strings.HasPrefix(key, "application/") && strings.Contains(string(value), `"access_token":"`) && !strings.Contains(string(value), `"access_token":""`) {
				return errStoreDown
			}
			return nil
		}
		sim.ExpireAppTokens()
		require.NoError(t, attributesRead(t.Context(), client, sim.UserID()))
	})
}

// A store that holds what nobody can read is as good as none.
func TestAnUnreadableTokenRecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		connect(t, sim, apiClient(t, sim, smartcar.V2))
		db := newSpoiledStore()
		require.NoError(t, attributesRead(t.Context(), apiClient(t, sim, smartcar.V3, smartcar.WithStore(db)), sim.UserID()))
		for _, key := range db.live(t) {
			if !strings.HasPrefix(key, "application/") {
				continue
			}
			r, err := db.Store.Load(t.Context(), key)
			require.NoError(t, err)
			_, err = db.Store.CompareAndSwap(t.Context(), key, r.Revision, []byte("\x00sealed by another key"), time.Hour)
			require.NoError(t, err)
		}
		require.NoError(t, attributesRead(t.Context(), apiClient(t, sim, smartcar.V3, smartcar.WithStore(db)), sim.UserID()))
		require.Equal(t, 2, sim.AppTokenRequests())
	})
}

// A replica that dies while it asks keeps the others waiting for 15 s at most.
func TestTheLeaseOfADeadReplicaIsTakenOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		connect(t, sim, apiClient(t, sim, smartcar.V2))
		db := newSpoiledStore()
		dead := apiClient(t, sim, smartcar.V3, smartcar.WithStore(db), smartcar.WithRetry(smartcar.RetryPolicy{MaxAttempts: 1}))
		sim.Inject(smartcartest.Fault{Path: "/oauth2/token", DropAfter: true})
		db.before = func(_ string, value []byte) error { // its lease is written, and nothing after it
			if strings.Contains(string(value), `"lease_id":"`) {
				return nil
			}
			return errStoreDown
		}
		require.Error(t, attributesRead(t.Context(), dead, sim.UserID()))
		db.before = nil

		began := time.Now()
		alive := apiClient(t, sim, smartcar.V3, smartcar.WithStore(db))
		short, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		err := attributesRead(short, alive, sim.UserID())
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, 5*time.Second, time.Since(began), "waiting ends with the context")
		require.NoError(t, attributesRead(t.Context(), alive, sim.UserID()))
		require.LessOrEqual(t, time.Since(began), 16*time.Second)
		require.Equal(t, 2, sim.AppTokenRequests())
	})
}

// Whoever asks first and leaves must not take the others along.
func TestTheLeaderLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		connect(t, sim, apiClient(t, sim, smartcar.V2))
		client := apiClient(t, sim, smartcar.V3)
		sim.Inject(smartcartest.Fault{Path: "/oauth2/token", Latency: 5 * time.Second})
		leader, leave := context.WithCancelCause(t.Context())
		gone := make(chan error, 1)
		go func() { gone <- attributesRead(leader, client, sim.UserID()) }()
		synctest.Wait()
		others := make(chan []error, 1)
		go func() {
			others <- allOf(10, func(int) error { return attributesRead(t.Context(), client, sim.UserID()) })
		}()
		synctest.Wait()
		why := errors.New("closed the page")
		leave(why)
		require.ErrorIs(t, <-gone, why)
		for _, err := range <-others {
			require.NoError(t, err)
		}
	})
}
