package smartcar_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/smartcartest"
	"github.com/stretchr/testify/require"
)

func TestForgetLeavesNothing(t *testing.T) {
	for name, prepare := range map[string]func(*testing.T, *smartcartest.Server, *smartcar.User){
		"listed": func(t *testing.T, _ *smartcartest.Server, user *smartcar.User) {
			_, err := listedVehicles(t.Context(), user)
			require.NoError(t, err)
		},
		"never listed": func(*testing.T, *smartcartest.Server, *smartcar.User) {},
		"listed in part": func(t *testing.T, _ *smartcartest.Server, user *smartcar.User) {
			for _, err := range user.Vehicles(t.Context()) {
				require.NoError(t, err)
				break
			}
		},
		"disconnected": func(t *testing.T, _ *smartcartest.Server, user *smartcar.User) {
			_, err := listedVehicles(t.Context(), user)
			require.NoError(t, err)
			require.NoError(t, user.Vehicle(smartcartest.MachE).Disconnect(t.Context()))
		},
		"all grants ended": func(t *testing.T, sim *smartcartest.Server, user *smartcar.User) {
			_, err := listedVehicles(t.Context(), user)
			require.NoError(t, err)
			time.Sleep(3 * time.Hour)
			sim.RevokeGrants()
			_, err = listedVehicles(t.Context(), user)
			require.ErrorIs(t, err, smartcar.ErrReconnectRequired)
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sim := smartcartest.New()
				store := newSpoiledStore()
				_, user := connected(t, sim, smartcar.WithStore(store))
				for _, id := range []string{smartcartest.MachE, smartcartest.Model3, smartcartest.ModelS2018} {
					_, err := user.Vehicle(id).Odometer(t.Context())
					require.NoError(t, err)
				}
				prepare(t, sim, user)
				require.NotEmpty(t, store.live(t))
				require.NoError(t, user.Forget(t.Context()))
				require.Empty(t, store.live(t))
				require.NoError(t, user.Forget(t.Context()), "once is enough, twice is no error")
				_, err := user.Vehicle(smartcartest.ModelS2018).Odometer(t.Context())
				require.ErrorIs(t, err, smartcar.ErrNotConnected)
				_, err = user.VirtualKeyURL(t.Context())
				require.ErrorIs(t, err, smartcar.ErrNotConnected)
			})
		})
	}
}

// The window protects the car, not the user: it stays until it closes.
func TestForgetKeepsAnOpenWindowUntilItCloses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		store := newSpoiledStore()
		client, user := connected(t, sim, smartcar.WithStore(store))
		_, err := listedVehicles(t.Context(), user)
		require.NoError(t, err)
		_, err = user.Vehicle(smartcartest.ModelY).Odometer(t.Context())
		require.NoError(t, err)
		answered := time.Now()
		time.Sleep(time.Hour)
		require.NoError(t, user.Forget(t.Context()))
		require.Equal(t, []string{"car/" + smartcartest.ModelY}, store.live(t))

		connect(t, sim, client)
		v := user.Vehicle(smartcartest.ModelY)
		_, err = v.Odometer(t.Context())
		var limited *smartcar.RateLimitError
		require.ErrorAs(t, err, &limited)
		require.Equal(t, smartcar.RuleKeyless, limited.Rule)
		require.WithinDuration(t, answered.Add(window), limited.NextAllowed, time.Second)
		_, err = listedVehicles(t.Context(), user)
		require.NoError(t, err)
		require.NoError(t, user.Forget(t.Context()))
		time.Sleep(time.Until(answered.Add(window)) + time.Second)
		require.Empty(t, store.live(t))
		require.Empty(t, sim.BrokenWindows(smartcartest.ModelY))
	})
}

// Forget comes while a request of the user is at the token endpoint.
func TestRefreshInFlightDoesNotBringAForgottenUserBack(t *testing.T) {
	for name, fault := range map[string]smartcartest.Fault{
		"slow answer":           {LatencyAfter: 5 * time.Second},
		"answer lost, repeated": {LatencyAfter: 5 * time.Second, DropAfter: true},
		"refused":               {LatencyAfter: 5 * time.Second, ErrorType: "invalid_grant", AfterProcessing: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sim := smartcartest.New()
				store := newSpoiledStore()
				client, user := connected(t, sim, smartcar.WithStore(store))
				v := user.Vehicle(smartcartest.MachE)
				_, err := v.Odometer(t.Context())
				require.NoError(t, err)
				_, err = listedVehicles(t.Context(), user)
				require.NoError(t, err)
				time.Sleep(3 * time.Hour)
				fault.Path = "/oauth/token"
				sim.Inject(fault)
				var reader sync.WaitGroup
				reader.Go(func() {
					_, err := v.Odometer(t.Context())
					// Which of the two depends on how far the request had come.
					if !errors.Is(err, smartcar.ErrReconnectRequired) {
						require.ErrorIs(t, err, smartcar.ErrNotConnected)
					}
				})
				synctest.Wait()
				require.NoError(t, user.Forget(t.Context()))
				reader.Wait()
				require.Empty(t, store.live(t))
				_, err = client.User(user.ID()).Vehicle(smartcartest.MachE).Odometer(t.Context())
				require.ErrorIs(t, err, smartcar.ErrNotConnected)
			})
		})
	}
}

func TestForgetOfNobodyIsNoError(t *testing.T) {
	client := newClient(t, smartcartest.New())
	require.NoError(t, client.User("nobody").Forget(t.Context()))
	require.ErrorIs(t, client.User("").Forget(t.Context()), smartcar.ErrInvalidArgument)
}

func TestForgetTakesTheAnswersAlong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		client, user := connected(t, sim)
		v := user.Vehicle(smartcartest.ModelS2018)
		_, err := v.Odometer(t.Context())
		require.NoError(t, err)
		require.NoError(t, user.Forget(t.Context()))
		connect(t, sim, client)
		odometer, err := v.Odometer(t.Context())
		require.NoError(t, err)
		require.Equal(t, smartcar.SourceLive, odometer.Source)
	})
}

// The link can be shown to an owner who has to connect again.
func TestVirtualKeyURLOutlivesTheGrants(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		_, user := connected(t, sim)
		time.Sleep(3 * time.Hour)
		sim.RevokeGrants()
		_, err := user.Vehicle(smartcartest.MachE).Odometer(t.Context())
		require.ErrorIs(t, err, smartcar.ErrReconnectRequired)
		link, err := user.VirtualKeyURL(t.Context())
		require.NoError(t, err)
		require.Equal(t, "https://www.tesla.com/_ak/smartcar.com", link.String())
	})
}

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
