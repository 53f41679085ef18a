package smartcar_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/smartcartest"
	"github.com/stretchr/testify/require"
)

// Two answers get lost, the third says that the refresh token is void: the
// spare that stands in the store is still to be tried.
func TestSpareRefreshTokenIsTriedAfterTheLastTry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		db := newSpoiledStore()
		_, user := connected(t, sim, smartcar.WithStore(db))
		var key string
		for _, k := range db.live(t) {
			if strings.HasPrefix(k, "grant/") {
				key = k
			}
		}
		r, err := db.Load(t.Context(), key)
		require.NoError(t, err)
		var grant map[string]any
		require.NoError(t, json.Unmarshal(r.Value, &grant))
		grant["spare"], grant["refresh_token"] = grant["refresh_token"], "00000000-0000-4000-8000-000000000000"
		value, err := json.Marshal(grant)
		require.NoError(t, err)
		_, err = db.CompareAndSwap(t.Context(), key, r.Revision, value, 0)
		require.NoError(t, err)

		time.Sleep(3 * time.Hour)
		sim.Inject(smartcartest.Fault{Path: "/oauth/token", DropBefore: true, Times: 2})
		_, err = user.Vehicle(smartcartest.MachE).Odometer(t.Context())
		if err != nil {
			require.NotErrorIs(t, err, smartcar.ErrReconnectRequired)
		}
		requireLoggedIn(t, user.Vehicle(smartcartest.MachE))
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

// One owner of a shared car has lost the connection: the other one, who asks at
// the same time, must not be sent through Connect for it.
func TestOwnersOfACarShareNoFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New(smartcartest.WithCars(sharedModelY()))
		client := newClient(t, sim)
		owner := client.User(connectAs(t, sim, client, "").UserID).Vehicle(smartcartest.ModelY)
		driver := client.User(connectAs(t, sim, client, "driver").UserID).Vehicle(smartcartest.ModelY)
		first := true
		sim.Inject(smartcartest.Fault{
			Match: func(r *http.Request) bool {
				hit := first && attributesOf(smartcartest.ModelY)(r)
				first = first && !hit
				return hit
			},
			Latency: time.Second, ErrorType: "RESOURCE_NOT_FOUND", ErrorCode: "VEHICLE",
		})
		driven := make(chan error, 1)
		go func() { _, err := driver.Odometer(t.Context()); driven <- err }()
		time.Sleep(500 * time.Millisecond)
		_, err := owner.Odometer(t.Context())
		require.NoError(t, err)
		require.ErrorIs(t, <-driven, smartcar.ErrNotFound)
	})
}

// Nobody panics for a handle that is nil or empty.
func TestEmptyHandlesAreArgumentErrors(t *testing.T) {
	ctx := t.Context()
	for name, v := range map[string]*smartcar.Vehicle{"nil": nil, "zero": {}} {
		for what, call := range map[string]func() error{
			"read":         func() error { _, err := v.Odometer(ctx); return err },
			"command":      func() error { _, err := v.Lock(ctx); return err },
			"history":      func() error { _, err := v.ServiceHistory(ctx, time.Time{}, time.Time{}); return err },
			"disconnect":   func() error { return v.Disconnect(ctx) },
			"request":      func() error { _, err := v.Request(ctx, smartcar.Request{Path: "a"}); return err },
			"access":       func() error { _, err := v.Access(ctx); return err },
			"wait":         func() error { return v.Wait(ctx) },
			"key":          func() error { _, err := v.KeyStatus(ctx); return err },
			"set key":      func() error { return v.SetKeyStatus(ctx, smartcar.KeyMissing) },
			"wait for key": func() error { _, err := v.WaitForKey(ctx); return err },
			"snapshot":     func() error { _, err := v.Snapshot(ctx, smartcar.Battery); return err },
			"permissions":  func() error { _, err := v.Permissions(ctx); return err },
			"with":         func() error { _, err := v.With(smartcar.AllowStale()).Odometer(ctx); return err },
			"signals":      func() error { _, err := v.Signals(ctx); return err },
			"watch": func() (err error) {
				for _, err = range v.Watch(ctx, smartcar.Battery) {
				}
				return err
			},
		} {
			t.Run(name+" "+what, func(t *testing.T) {
				require.NotPanics(t, func() {
					err := call()
					require.ErrorIs(t, err, smartcar.ErrInvalidArgument)
				})
			})
		}
	}
}

func TestEmptyUsersAreArgumentErrors(t *testing.T) {
	ctx := t.Context()
	for name, u := range map[string]*smartcar.User{"nil": nil, "zero": {}} {
		t.Run(name, func(t *testing.T) {
			require.Empty(t, u.ID())
			for _, err := range u.Vehicles(ctx) {
				require.ErrorIs(t, err, smartcar.ErrInvalidArgument)
			}
			_, err := u.Vehicle("car").Odometer(ctx)
			require.ErrorIs(t, err, smartcar.ErrInvalidArgument)
			_, err = u.VirtualKeyURL(ctx)
			require.ErrorIs(t, err, smartcar.ErrInvalidArgument)
			require.ErrorIs(t, u.Renew(ctx, time.Hour), smartcar.ErrInvalidArgument)
			require.ErrorIs(t, u.Forget(ctx), smartcar.ErrInvalidArgument)
		})
	}
}
