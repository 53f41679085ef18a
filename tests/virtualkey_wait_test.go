package smartcar_test

import (
	"context"
	"encoding/json"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/smartcartest"
	"github.com/seed-498a1bc4/smartcar/store"
	"github.com/stretchr/testify/require"
)

func TestWaitForKeyReturnsWhenTheOwnerAddsIt(t *testing.T) {
	for _, after := range []time.Duration{0, time.Second, time.Minute, 20 * time.Minute, 100 * time.Minute} {
		t.Run(after.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sim := smartcartest.New()
				_, user := connected(t, sim)
				v := user.Vehicle(smartcartest.ModelY)
				began := time.Now()
				go func() { time.Sleep(after); _ = sim.Pair(v.ID()) }()
				synctest.Wait()
				status, err := v.WaitForKey(t.Context())
				require.NoError(t, err)
				require.Equal(t, smartcar.KeyInstalled, status.State)
				require.Equal(t, smartcar.KeyFromEndpoint, status.Source)
				require.False(t, status.At.Before(began.Add(after).Truncate(time.Millisecond)))
				late := time.Since(began) - after
				require.LessOrEqual(t, late, max(after+after/2, 10*time.Second))
				require.LessOrEqual(t, late, 5*time.Minute+75*time.Second+3*time.Second)
				require.Zero(t, countedData(sim, v.ID()), "it takes no turn")
				access, err := v.Access(t.Context())
				require.NoError(t, err)
				require.Equal(t, smartcar.KeyInstalled, access.Key.State)
			})
		})
	}
}

// Evidence of any kind ends it within one look, and not by a status read.
func TestWaitForKeyTakesWhateverComesFirst(t *testing.T) {
	for name, tt := range map[string]struct {
		learn  func(ctx context.Context, v *smartcar.Vehicle) error
		source smartcar.KeySource
	}{
		"the application's word": {func(ctx context.Context, v *smartcar.Vehicle) error {
			return v.SetKeyState(ctx, smartcar.KeyInstalled)
		}, smartcar.KeyFromApplication},
		"a command that worked": {func(ctx context.Context, v *smartcar.Vehicle) error {
			_, err := v.With(smartcar.IgnorePolicy()).Lock(ctx)
			return err
		}, smartcar.KeyFromCommand},
		"another status read": {func(ctx context.Context, v *smartcar.Vehicle) error {
			_, err := v.KeyStatus(ctx)
			return err
		}, smartcar.KeyFromEndpoint},
	} {
		for _, where := range []string{"here", "in another replica"} {
			t.Run(name+" "+where, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					sim := smartcartest.New()
					db := store.NewMemory()
					client, user := connected(t, sim, smartcar.WithStore(db))
					if where != "here" {
						client = newClient(t, sim, smartcar.WithStore(db))
					}
					other := client.User(user.ID()).Vehicle(smartcartest.ModelY)
					var learned time.Time
					var reads int
					go func() {
						time.Sleep(40*time.Minute + time.Second)
						reads = len(statusReads(sim))
						_ = sim.Pair(other.ID())
						learned = time.Now() // before it is: the store's lock orders the two
						_ = tt.learn(t.Context(), other)
					}()
					status, err := user.Vehicle(smartcartest.ModelY).WaitForKey(t.Context())
					require.NoError(t, err)
					require.Equal(t, tt.source, status.Source)
					require.LessOrEqual(t, time.Since(learned), 3*time.Second)
					if tt.source != smartcar.KeyFromEndpoint {
						require.Len(t, statusReads(sim), reads)
					}
				})
			})
		}
	}
}

func TestWaitForKeyIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		_, user := connected(t, sim)
		v := user.Vehicle(smartcartest.ModelY)
		ctx, cancel := context.WithTimeout(t.Context(), 2*day)
		defer cancel()
		began := time.Now()
		_, err := v.WaitForKey(ctx)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		reads := statusReads(sim)
		require.Len(t, reads, 30)
		require.WithinDuration(t, began.Add(5*time.Second), reads[1], 4*time.Second)
		for i := 2; i < len(reads); i++ {
			require.LessOrEqual(t, reads[i].Sub(reads[i-1]), 5*time.Minute+75*time.Second+3*time.Second)
			require.GreaterOrEqual(t, reads[i].Sub(reads[i-1]), min(5*time.Second<<(i-1), 5*time.Minute))
		}
		require.Less(t, reads[29].Sub(began), 155*time.Minute)

		// What it no longer asks for, it still takes.
		go func() { time.Sleep(3 * day); _ = v.SetKeyState(t.Context(), smartcar.KeyInstalled) }()
		status, err := v.WaitForKey(t.Context())
		require.NoError(t, err)
		require.Equal(t, smartcar.KeyFromApplication, status.Source)
		require.Len(t, statusReads(sim), 60)
	})
}

// Ten who wait in two processes ask hardly more often than one.
func TestManyWaitForOneKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		db := store.NewMemory()
		_, user := connected(t, sim, smartcar.WithStore(db))
		replica := newClient(t, sim, smartcar.WithStore(db))
		var returned atomic.Int32
		for i := range 10 {
			u := user
			if i%2 == 1 {
				u = replica.User(user.ID())
			}
			go func() {
				if _, err := u.Vehicle(smartcartest.ModelY).WaitForKey(t.Context()); err == nil {
					returned.Add(1)
				}
			}()
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		require.LessOrEqual(t, len(statusReads(sim)), 40) // ten on their own would ask 180 times
		require.NoError(t, sim.Pair(smartcartest.ModelY))
		time.Sleep(7 * time.Minute)
		synctest.Wait()
		require.EqualValues(t, 10, returned.Load())
	})
}

func TestWaitForKeyOfACarThatNeedsNone(t *testing.T) {
	for id, class := range map[string]smartcar.VehicleClass{
		smartcartest.ModelS2018: smartcar.ClassLegacy,
		smartcartest.ModelS2021: smartcar.ClassLegacy,
		smartcartest.MachE:      smartcar.ClassOther,
	} {
		synctest.Test(t, func(t *testing.T) {
			sim := smartcartest.New()
			_, user := connected(t, sim)
			began := time.Now()
			status, err := user.Vehicle(id).WaitForKey(t.Context())
			var none *smartcar.KeyNotNeededError
			require.ErrorAs(t, err, &none)
			require.ErrorIs(t, err, smartcar.ErrKeyNotNeeded)
			require.Equal(t, class, none.Class)
			require.Equal(t, id, none.VehicleID)
			require.ErrorContains(t, err, "needs no virtual key")
			require.Zero(t, status)
			require.Equal(t, began, time.Now())
			require.Empty(t, statusReads(sim))
		})
	}
}

func TestWaitForKeyThatIsThere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, user := connected(t, smartcartest.New())
		began := time.Now()
		for range 2 {
			status, err := user.Vehicle(smartcartest.Model3).WaitForKey(t.Context())
			require.NoError(t, err)
			require.Equal(t, smartcar.KeyInstalled, status.State)
		}
		require.Equal(t, began, time.Now())
	})
}

// A status that can never be read is not asked for again, and evidence from
// elsewhere still counts.
func TestWaitForKeyOfADriver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		car := smartcartest.Car{ID: "y", Make: "TESLA", Model: "Model Y", Year: 2023, Integration: smartcartest.Streaming, Driver: true}
		sim := smartcartest.New(smartcartest.WithCars(car))
		_, user := connected(t, sim)
		go func() {
			time.Sleep(20 * time.Hour)
			_ = sim.Pair("y")
			_, _ = user.Vehicle("y").Lock(t.Context())
		}()
		status, err := user.Vehicle("y").WaitForKey(t.Context())
		require.NoError(t, err)
		require.Equal(t, smartcar.KeyFromCommand, status.Source)
		require.Len(t, statusReads(sim), 1)
	})
}

func TestWaitForKeyOfACarNobodyKnows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		car := smartcartest.Car{ID: "c", Make: "TESLA", Model: "Roadster", Year: 2027, Integration: smartcartest.Streaming}
		sim := smartcartest.New(smartcartest.WithCars(car))
		_, user := connected(t, sim)
		go func() { time.Sleep(time.Minute); _ = sim.Pair("c") }()
		status, err := user.Vehicle("c").WaitForKey(t.Context())
		require.NoError(t, err)
		require.Equal(t, smartcar.KeyInstalled, status.State)
	})
}

func TestWaitForKeyEndsWithWhatWillNotPass(t *testing.T) {
	for name, tt := range map[string]struct {
		spoil func(*testing.T, *smartcartest.Server, *smartcar.User)
		want  error
	}{
		"forgotten": {func(t *testing.T, _ *smartcartest.Server, u *smartcar.User) {
			require.NoError(t, u.Forget(t.Context()))
		}, smartcar.ErrNotConnected},
		"disconnected": {func(_ *testing.T, sim *smartcartest.Server, _ *smartcar.User) { sim.Disconnect(smartcartest.ModelY) }, smartcar.ErrUnauthorized},
		"re-authenticate": {func(_ *testing.T, sim *smartcartest.Server, _ *smartcar.User) {
			sim.Inject(smartcartest.Fault{Path: "/tesla/virtual_key", ErrorType: "CONNECTED_SERVICES_ACCOUNT", ErrorCode: "AUTHENTICATION_FAILED", Times: -1})
		}, smartcar.ErrReauthenticate},
		"reconnect": {func(_ *testing.T, sim *smartcartest.Server, _ *smartcar.User) { sim.RevokeGrants() }, smartcar.ErrReconnectRequired},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sim := smartcartest.New()
				_, user := connected(t, sim)
				go func() { time.Sleep(10*time.Minute + time.Second); tt.spoil(t, sim, user) }()
				ctx, cancel := context.WithTimeout(t.Context(), day)
				defer cancel()
				_, err := user.Vehicle(smartcartest.ModelY).WaitForKey(ctx)
				require.ErrorIs(t, err, tt.want)
				require.NotErrorIs(t, err, context.DeadlineExceeded)
			})
		})
	}
}

func TestWaitForKeyOutlastsWhatMayPass(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		db := newSpoiledStore()
		_, user := connected(t, sim, smartcar.WithStore(db))
		var up atomic.Bool
		db.load = func(string) error {
			if up.Load() {
				return nil
			}
			return errStoreDown
		}
		began := time.Now()
		go func() {
			time.Sleep(time.Minute)
			up.Store(true)
			sim.Inject(smartcartest.Fault{Path: "/vehicles/", Status: 502, Times: 3})
			sim.Inject(smartcartest.Fault{Path: "/tesla/virtual_key", Status: 502, Times: 9})
			_ = sim.Pair(smartcartest.ModelY)
		}()
		status, err := user.Vehicle(smartcartest.ModelY).WaitForKey(t.Context())
		require.NoError(t, err)
		require.Equal(t, smartcar.KeyInstalled, status.State)
		require.Greater(t, time.Since(began), time.Minute)
		require.Less(t, time.Since(began), 20*time.Minute)
	})
}

func TestWaitForKeyEndsWithTheContext(t *testing.T) {
	errLeft := errors.New("the owner left the page")
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		_, user := connected(t, sim)
		ctx, cancel := context.WithCancelCause(t.Context())
		began := time.Now()
		go func() { time.Sleep(90 * time.Second); cancel(errLeft) }()
		status, err := user.Vehicle(smartcartest.ModelY).WaitForKey(ctx)
		require.ErrorIs(t, err, errLeft)
		require.ErrorIs(t, err, context.Canceled)
		require.Zero(t, status)
		require.Equal(t, 90*time.Second, time.Since(began))

		requests := len(sim.Requests())
		_, err = user.Vehicle(smartcartest.Cybertruck).WaitForKey(ctx)
		require.ErrorIs(t, err, errLeft)
		require.Len(t, sim.Requests(), requests)
		_, err = user.Vehicle("").WaitForKey(t.Context())
		require.ErrorIs(t, err, smartcar.ErrInvalidArgument)
	})
}

func TestKeyFixtures(t *testing.T) {
	for name, want := range map[string]smartcar.KeyState{
		"key-status":            smartcar.KeyInstalled,
		"key-status.not-paired": smartcar.KeyMissing,
		"key-status.null":       smartcar.KeyUnknown,
	} {
		t.Run(name, func(t *testing.T) {
			f := readFixture(t, "v2/reads/"+name)
			transport := newCanned(t).on("GET "+f.Request.Path, f.reply()).
				on(attributesPath, jsonReply(200, `{"make":"TESLA","model":"Model 3","year":2022}`))
			status, err := cannedVehicle(t, transport).KeyStatus(t.Context())
			require.NoError(t, err)
			require.Equal(t, want, status.State)
			if want != smartcar.KeyUnknown {
				require.Equal(t, smartcar.KeyFromEndpoint, status.Source)
				require.Equal(t, fixtureTime, status.At.UTC())
			}
		})
	}
}

// A link in an error is as little believed as one in a callback.
func TestVirtualKeyErrorNeverCarriesAForeignLink(t *testing.T) {
	for _, link := range []string{"https://www.tesla.com/_ak/evil.example", "https://evil.example/_ak/smartcar.com", "javascript:alert(1)"} {
		body, err := json.Marshal(map[string]any{
			"type": "CONNECTED_SERVICES_ACCOUNT", "code": "VIRTUAL_KEY_REQUIRED", "statusCode": 400,
			"resolution": map[string]string{"type": "ACTION_REQUIRED", "url": link},
		})
		require.NoError(t, err)
		_, err = cannedVehicle(t, newCanned(t).on(odometerPath, jsonReply(400, string(body)))).Odometer(t.Context())
		var key *smartcar.VirtualKeyRequiredError
		require.ErrorAs(t, err, &key)
		require.Equal(t, "https://www.tesla.com/_ak/smartcar.com", key.URL.String())
		require.NotContains(t, err.Error(), "evil")
	}
}

// The link came with the VIN of one car: another one's owner must not see it.
func TestKeyLinkOfAnotherCarCarriesNoVIN(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		client := newClient(t, sim)
		authorizeURL, cookies := begin(t, client, smartcar.ConnectOptions{})
		callback, err := sim.Grant(authorizeURL)
		require.NoError(t, err)
		const number = "7SAYGDEF0PF000001"
		callback = withParameter(t, callback, "virtual_key_url", "https://www.tesla.com/_ak/smartcar.com?vin="+number)
		grant, err := finish(client, callback, cookies)
		require.NoError(t, err)
		require.Contains(t, grant.VirtualKeyURL.String(), number)
		v := client.User(grant.UserID).Vehicle(smartcartest.Cybertruck)
		access, err := v.Access(t.Context())
		require.NoError(t, err)
		require.Equal(t, "https://www.tesla.com/_ak/smartcar.com", access.VirtualKeyURL.String())
		_, err = v.Lock(t.Context())
		var missing *smartcar.VirtualKeyRequiredError
		require.ErrorAs(t, err, &missing)
		require.Equal(t, access.VirtualKeyURL, missing.URL)
	})
}

// The owner connects again while somebody waits for the key, and the first grant
// ends: the wait goes on with the second one.
func TestWaitForKeyOutlivesTheGrantItBeganWith(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		client, user := connected(t, sim)
		v := user.Vehicle(smartcartest.ModelY)
		waited := make(chan error, 1)
		go func() { _, err := v.WaitForKey(t.Context()); waited <- err }()
		time.Sleep(10 * time.Minute)
		sim.RevokeGrants()
		connect(t, sim, client)
		time.Sleep(10 * time.Minute)
		require.NoError(t, sim.Pair(v.ID()))
		require.NoError(t, <-waited)
	})
}
