package smartcar_test

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/smartcartest"
	"github.com/seed-498a1bc4/smartcar/store"
	"github.com/stretchr/testify/require"
)

// exchanging is a client on its way back from Connect, over any transport.
func exchanging(t *testing.T, sim *smartcartest.Server, transport http.RoundTripper) (finishNow func(context.Context) (*smartcar.Grant, error)) {
	t.Helper()
	client := newClientOver(t, sim, transport)
	authorizeURL, err := client.Connect().AuthorizeURL(smartcar.ConnectOptions{}, "a-state")
	require.NoError(t, err)
	raw, err := sim.Grant(authorizeURL)
	require.NoError(t, err)
	callback, err := smartcar.ParseCallback(mustParse(t, raw).Query())
	require.NoError(t, err)
	return func(ctx context.Context) (*smartcar.Grant, error) {
		return client.Connect().Exchange(ctx, callback, smartcar.Expected{State: "a-state"})
	}
}

func TestCodeIsSentOnceWhenItMayHaveArrived(t *testing.T) {
	for name, fault := range map[string]smartcartest.Fault{
		"answer lost":       {DropAfter: true},
		"connection broken": {DropBefore: true},
		"proxy's page":      {Status: 502},
		"proxy's page late": {Status: 502, AfterProcessing: true},
		"server error":      {ErrorType: "server_error"},
		"answer cut":        {Malformed: true},
		"rate limited":      {Status: 429},
		"no answer in time": {LatencyAfter: time.Hour},
		"unknown grant":     {ErrorType: "invalid_grant"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sim := smartcartest.New()
				watch := &tokenWatch{RoundTripper: sim.Transport()}
				exchange := exchanging(t, sim, watch)
				fault.Path = "/oauth/token"
				sim.Inject(fault)
				grant, err := exchange(t.Context())
				require.Nil(t, grant)
				require.Error(t, err)
				require.Len(t, watch.forms, 1)
				require.Zero(t, sim.CodeReuse())
				require.NotContains(t, err.Error(), watch.forms[0].Get("code"))
			})
		})
	}
}

func TestCodeIsSentAgainWhenItCertainlyHasNotLeft(t *testing.T) {
	dial := &net.OpError{Op: "dial", Net: "tcp", Err: errStoreDown}
	for name, tt := range map[string]struct {
		fails int
		err   error
		works bool
		sent  int
	}{
		"refused once":       {1, dial, true, 2},
		"name not found":     {2, &net.DNSError{Err: "no such host", Name: "auth.smartcar.com"}, true, 3},
		"refused for long":   {5, dial, false, 3},
		"broke while in use": {1, &net.OpError{Op: "read", Net: "tcp", Err: errStoreDown}, false, 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sim := smartcartest.New()
				watch := &tokenWatch{RoundTripper: sim.Transport()}
				left := tt.fails
				watch.token = func(r *http.Request) (*http.Response, error) {
					if left--; left >= 0 {
						return nil, tt.err
					}
					return watch.RoundTripper.RoundTrip(r)
				}
				grant, err := exchanging(t, sim, watch)(t.Context())
				if tt.works {
					require.NoError(t, err)
					require.Equal(t, sim.UserID(), grant.UserID)
				} else {
					require.ErrorIs(t, err, tt.err)
					require.ErrorIs(t, err, smartcar.ErrUnavailable)
				}
				require.Len(t, watch.forms, tt.sent)
				require.Zero(t, sim.CodeReuse())
			})
		})
	}
}

// The browser may be gone as soon as the code is spent.
func TestOwnerWhoLeavesAfterTheExchangeStaysConnected(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		exchange := exchanging(t, sim, sim.Transport())
		sim.Inject(smartcartest.Fault{Path: "/v2.0/user", Latency: 5 * time.Second})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		grant, err := exchange(ctx)
		require.NoError(t, err)
		require.Equal(t, sim.UserID(), grant.UserID)
	})
}

// The code is spent while the browser leaves: the tokens must not be lost.
func TestBrowserThatLeavesDuringTheExchange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		client := newClient(t, sim)
		authorizeURL, cookies := begin(t, client, smartcar.ConnectOptions{})
		callback, err := sim.Grant(authorizeURL)
		require.NoError(t, err)
		sim.Inject(smartcartest.Fault{Path: "/oauth/token", LatencyAfter: 3 * time.Second})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		r := httptest.NewRequest(http.MethodGet, callback, nil).WithContext(ctx)
		for _, c := range cookies {
			r.AddCookie(c)
		}
		grant, err := client.Connect().HandleCallback(httptest.NewRecorder(), r)
		require.NoError(t, err)
		_, err = finish(client, callback, cookies)
		require.ErrorIs(t, err, smartcar.ErrStateReplayed, "the page is loaded again")
		require.Zero(t, sim.CodeReuse())
		requireLoggedIn(t, client.User(grant.UserID).Vehicle(smartcartest.MachE))
	})
}

// awayFor makes the writes of grants fail for a while, from the first one on.
func awayFor(db *spoiledStore, d time.Duration) {
	var from time.Time
	db.before = func(key string, _ []byte) error {
		if !strings.HasPrefix(key, "grant/") {
			return nil
		}
		if from.IsZero() {
			from = time.Now()
		}
		if time.Since(from) < d {
			return errStoreDown
		}
		return nil
	}
}

func TestStoreHiccupAfterTheExchange(t *testing.T) {
	for _, away := range []time.Duration{time.Second, 10 * time.Second} {
		t.Run(away.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sim := smartcartest.New()
				db := newSpoiledStore()
				client := newClient(t, sim, smartcar.WithStore(db))
				awayFor(db, away)
				grant := connect(t, sim, client)
				require.Zero(t, sim.CodeReuse())
				requireLoggedIn(t, client.User(grant.UserID).Vehicle(smartcartest.MachE))
			})
		})
	}
}

func TestStoreOutageAfterTheExchange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		db := newSpoiledStore()
		client := newClient(t, sim, smartcar.WithStore(db))
		authorizeURL, cookies := begin(t, client, smartcar.ConnectOptions{ExternalID: "acct-42"})
		callback, err := sim.Grant(authorizeURL)
		require.NoError(t, err)
		awayFor(db, time.Hour)
		grant, err := finish(client, callback, cookies)
		require.Nil(t, grant)
		var pending *smartcar.PendingGrantError
		require.ErrorAs(t, err, &pending)
		require.ErrorIs(t, err, smartcar.ErrStore)
		require.ErrorIs(t, err, errStoreDown)

		_, err = client.Connect().Resume(t.Context(), pending.GrantID)
		require.ErrorIs(t, err, smartcar.ErrStore, "still away")
		require.Empty(t, db.live(t), "it is in memory only")
		time.Sleep(time.Hour)
		grant, err = client.Connect().Resume(t.Context(), pending.GrantID)
		require.NoError(t, err)
		require.Equal(t, sim.UserID(), grant.UserID)
		require.Equal(t, "acct-42", grant.ExternalID)
		require.False(t, grant.VirtualKeyURL.IsZero())
		require.Equal(t, 1, sim.TokenRequests())
		requireLoggedIn(t, client.User(grant.UserID).Vehicle(smartcartest.MachE))
	})
}

// A policy without retries has no pauses: the store that is away must still not
// be asked for ever.
func TestConnectWithoutRetriesWhileTheStoreIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		db := newSpoiledStore()
		client := newClient(t, sim, smartcar.WithStore(db), smartcar.WithRetry(smartcar.RetryPolicy{MaxAttempts: 1}))
		authorizeURL, cookies := begin(t, client, smartcar.ConnectOptions{})
		callbackURL, err := sim.Grant(authorizeURL)
		require.NoError(t, err)
		asked := 0
		db.load = func(key string) error {
			if !strings.HasPrefix(key, "grant/") {
				return nil
			}
			if asked++; asked > 1000 {
				t.Error("the store is asked for ever")
				return nil
			}
			return errStoreDown
		}
		_, err = finish(client, callbackURL, cookies)
		var pending *smartcar.PendingGrantError
		require.ErrorAs(t, err, &pending)
		db.load = nil
		_, err = client.Connect().Resume(t.Context(), pending.GrantID)
		require.NoError(t, err)
	})
}

func TestPendingGrantIsResumed(t *testing.T) {
	for name, wait := range map[string]time.Duration{"at once": 0, "after the access token's end": 3 * time.Hour} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sim := smartcartest.New()
				db := smartcar.WithStore(store.NewMemory())
				client := newClient(t, sim, db)
				authorizeURL, cookies := begin(t, client, smartcar.ConnectOptions{ExternalID: "acct-42"})
				callback, err := sim.Grant(authorizeURL)
				require.NoError(t, err)
				sim.Inject(smartcartest.Fault{Path: "/v2.0/user", Status: 503, Times: -1})
				grant, err := finish(client, callback, cookies)
				require.Nil(t, grant)
				var pending *smartcar.PendingGrantError
				require.ErrorAs(t, err, &pending)
				require.ErrorIs(t, err, smartcar.ErrUnavailable)
				require.NotEmpty(t, pending.GrantID)

				_, err = client.Connect().Resume(t.Context(), pending.GrantID)
				require.ErrorIs(t, err, smartcar.ErrUnavailable, "still down")
				sim.ClearFaults()
				time.Sleep(wait)
				another := newClient(t, sim, db)
				grant, err = another.Connect().Resume(t.Context(), pending.GrantID)
				require.NoError(t, err)
				require.Equal(t, sim.UserID(), grant.UserID)
				require.Equal(t, "acct-42", grant.ExternalID)
				require.Equal(t, "https://www.tesla.com/_ak/smartcar.com", grant.VirtualKeyURL.String())
				again, err := client.Connect().Resume(t.Context(), pending.GrantID)
				require.NoError(t, err)
				require.Equal(t, grant.UserID, again.UserID)
				require.Zero(t, sim.CodeReuse())

				ids, err := listedVehicles(t.Context(), another.User(grant.UserID))
				require.NoError(t, err)
				require.Len(t, ids, 7)
				require.Equal(t, 1, countPath(sim, "/v2.0/vehicles"), "the grant is filed once")
			})
		})
	}
}

func TestResumeOfWhatIsNotThere(t *testing.T) {
	client := newClient(t, smartcartest.New())
	for id, want := range map[string]error{
		"nothing": smartcar.ErrReconnectRequired, "": smartcar.ErrInvalidArgument, "a\nb": smartcar.ErrInvalidArgument,
	} {
		grant, err := client.Connect().Resume(t.Context(), id)
		require.ErrorIs(t, err, want)
		require.Nil(t, grant)
	}
}

func TestPendingGrantThatHasEndedMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		db := newSpoiledStore()
		client := newClient(t, sim, smartcar.WithStore(db))
		sim.Inject(smartcartest.Fault{Path: "/v2.0/user", Status: http.StatusServiceUnavailable, Times: 3})
		authorizeURL, cookies := begin(t, client, smartcar.ConnectOptions{})
		callback, err := sim.Grant(authorizeURL)
		require.NoError(t, err)
		_, err = finish(client, callback, cookies)
		var pending *smartcar.PendingGrantError
		require.ErrorAs(t, err, &pending)
		time.Sleep(3 * time.Hour)
		sim.RevokeGrants()
		_, err = client.Connect().Resume(t.Context(), pending.GrantID)
		require.ErrorIs(t, err, smartcar.ErrReconnectRequired)
		require.Empty(t, db.live(t))
	})
}

// What fails while Smartcar is asked is kept, too, even without a store.
func TestPendingGrantsOfV3SurviveOutages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		db := newSpoiledStore()
		client := apiClient(t, sim, smartcar.V3, smartcar.WithStore(db))
		link, cookies := begin(t, client, smartcar.ConnectOptions{ExternalID: "acct_42"})
		callback, err := sim.Grant(link)
		require.NoError(t, err)
		sim.Inject(smartcartest.Fault{Path: "/v3/connections", ErrorType: "UPSTREAM", ErrorCode: "NO_RESPONSE", Times: 3})
		db.before = func(key string, _ []byte) error {
			if strings.HasPrefix(key, "grant/") {
				return errStoreDown
			}
			return nil
		}
		_, err = finish(client, callback, cookies)
		var pending *smartcar.PendingGrantError
		require.ErrorAs(t, err, &pending)
		require.ErrorIs(t, err, smartcar.ErrUnavailable)
		db.before = nil
		grant, err := client.Connect().Resume(t.Context(), pending.GrantID)
		require.NoError(t, err)
		require.Equal(t, sim.UserID(), grant.UserID)
		for _, id := range []string{pending.GrantID, "never-heard-of"} {
			_, err = client.Connect().Resume(t.Context(), id)
			require.ErrorIs(t, err, smartcar.ErrReconnectRequired)
		}
	})
}
