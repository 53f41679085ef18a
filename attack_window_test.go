package smartcar_test

import (
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/smartcartest"
	"github.com/stretchr/testify/require"
)

// refusedLocally: the window of a car without its key is closed.
func refusedLocally(t *testing.T, v *smartcar.Vehicle) {
	t.Helper()
	_, err := v.Odometer(t.Context())
	var limited *smartcar.RateLimitError
	require.ErrorAs(t, err, &limited)
	require.True(t, limited.Local)
	require.Equal(t, smartcar.RuleKeyless, limited.Rule)
}

func requireNeedsKey(t *testing.T, v *smartcar.Vehicle) {
	t.Helper()
	access, err := v.Access(t.Context())
	require.NoError(t, err)
	require.Equal(t, smartcar.ClassStreaming, access.Class)
	require.Equal(t, smartcar.KeyMissing, access.Key.State)
	require.True(t, access.NeedsKey)
}

// sharedModelY is the garage's Model Y without a key, reached by a driver, too.
func sharedModelY() smartcartest.Car {
	for _, c := range smartcartest.DefaultGarage() {
		if c.ID == smartcartest.ModelY {
			c.SharedWith = []string{"driver"}
			return c
		}
	}
	panic("no Model Y in the garage")
}

// The driver's account cannot read the key's status: that says nothing of the key.
func TestDriverDoesNotReopenTheOwnersWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New(smartcartest.WithCars(sharedModelY()))
		client := newClient(t, sim)
		owner := client.User(connectAs(t, sim, client, "").UserID).Vehicle(smartcartest.ModelY)
		driver := client.User(connectAs(t, sim, client, "driver").UserID).Vehicle(smartcartest.ModelY)
		_, err := owner.Battery(t.Context())
		require.NoError(t, err)
		for range 20 {
			time.Sleep(20 * time.Minute)
			refusedLocally(t, driver)
			status, err := driver.KeyStatus(t.Context())
			require.NoError(t, err)
			require.Equal(t, smartcar.KeyMissing, status.State, "what the owner's account said")
			refusedLocally(t, owner)
			requireNeedsKey(t, owner)
		}
		_, err = owner.Lock(t.Context())
		var missing *smartcar.VirtualKeyRequiredError
		require.ErrorAs(t, err, &missing)
		require.True(t, missing.Local)
		require.Empty(t, sim.BrokenWindows(smartcartest.ModelY))
	})
}

// Smartcar said that the key is missing; a status that is not permitted says nothing.
func TestForbiddenStatusDoesNotReopenAWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New(smartcartest.WithKeylessAnswer(smartcartest.KeyRequired))
		_, user := connected(t, sim)
		require.NoError(t, sim.SetPermissions(smartcartest.ModelY, "read_battery", "read_odometer"))
		v := user.Vehicle(smartcartest.ModelY)
		_, err := v.Battery(t.Context())
		require.NoError(t, err, "what cannot be told is left to Smartcar")
		_, err = v.Battery(t.Context())
		var missing *smartcar.VirtualKeyRequiredError
		require.ErrorAs(t, err, &missing)
		require.False(t, missing.Local)
		told := time.Now()
		for time.Since(told) < window-20*time.Minute {
			time.Sleep(20 * time.Minute)
			refusedLocally(t, v)
		}
		status, err := v.KeyStatus(t.Context())
		require.NoError(t, err)
		require.Equal(t, smartcar.KeyMissing, status.State)
		require.Equal(t, 2, countedData(sim, smartcartest.ModelY))
		requireNeedsKey(t, v)
	})
}

// A proxy's page is not Smartcar's word, whatever its status.
func TestProxysPageAboutTheKeyIsNotBelieved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		_, user := connected(t, sim)
		v := user.Vehicle(smartcartest.ModelY)
		_, err := v.Battery(t.Context())
		require.NoError(t, err)
		sim.Inject(smartcartest.Fault{Path: "virtual_key", Status: http.StatusNotFound, Times: 3})
		for range 20 {
			time.Sleep(20 * time.Minute)
			refusedLocally(t, v)
			requireNeedsKey(t, v)
		}
		require.Equal(t, []int{200, 404, 404, 404}, statuses(sim, "virtual_key")[:4])
		require.Empty(t, sim.BrokenWindows(smartcartest.ModelY))
	})
}

func TestProxysPageAboutTheCarIsNotBelieved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		_, user := connected(t, sim)
		v := user.Vehicle(smartcartest.ModelY)
		sim.Inject(smartcartest.Fault{Match: attributesOf(smartcartest.ModelY), Status: http.StatusNotFound})
		_, err := v.Odometer(t.Context())
		require.NoError(t, err, "not known for the moment: one turn")
		for range 10 {
			time.Sleep(10 * time.Minute)
			refusedLocally(t, v)
		}
		requireNeedsKey(t, v)
		require.Empty(t, sim.BrokenWindows(smartcartest.ModelY))
	})
}

func attributesOf(vehicleID string) func(*http.Request) bool {
	return func(r *http.Request) bool { return strings.HasSuffix(r.URL.Path, "/vehicles/"+vehicleID) }
}

// The new grant may have the permission that the old one lacked.
func TestNewConnectAsksAgainWhatCouldNotBeKnown(t *testing.T) {
	for name, match := range map[string]func(*http.Request) bool{
		"the class": func(r *http.Request) bool {
			return attributesOf(smartcartest.ModelY)(r) || strings.HasSuffix(r.URL.Path, "/vin")
		},
		"the key": func(r *http.Request) bool { return strings.HasSuffix(r.URL.Path, "virtual_key") },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sim := smartcartest.New()
				client, user := connected(t, sim)
				sim.Inject(smartcartest.Fault{Match: match, ErrorType: "PERMISSION", Times: -1})
				v := user.Vehicle(smartcartest.ModelY)
				access, err := v.Access(t.Context())
				require.NoError(t, err)
				require.False(t, access.NeedsKey)
				sim.ClearFaults()
				time.Sleep(time.Hour)
				access, err = v.Access(t.Context())
				require.NoError(t, err)
				require.False(t, access.NeedsKey, "asked once a day")
				connect(t, sim, client)
				requireNeedsKey(t, v)
			})
		})
	}
}

// A POST that worked may have been a read: only a typed command proves the key.
func TestGenericPOSTIsNoEvidenceOfAKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		_, user := connected(t, sim)
		v := user.Vehicle(smartcartest.ModelY)
		_, err := v.Odometer(t.Context())
		require.NoError(t, err)
		_, err = v.With(smartcar.IgnorePolicy()).Request(t.Context(), smartcar.Request{
			Method: http.MethodPost, Path: "batch", Body: json.RawMessage(`{"requests":[{"path":"/"}]}`),
		})
		require.NoError(t, err)
		requireNeedsKey(t, v)
		refusedLocally(t, v)
		require.Empty(t, sim.BrokenWindows(smartcartest.ModelY))
	})
}

// The car answered without its key: that was a turn.
func TestKeyLostDuringAReadClosesTheWindowWithIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		_, user := connected(t, sim)
		v := user.Vehicle(smartcartest.Model3)
		_, err := v.Battery(t.Context())
		require.NoError(t, err)
		sim.Inject(smartcartest.Fault{Path: "/odometer", Latency: time.Minute, LatencyAfter: 4 * time.Minute})
		first := make(chan error, 1)
		go func() { _, err := v.Odometer(t.Context()); first <- err }()
		time.Sleep(30 * time.Second)
		require.NoError(t, sim.Unpair(smartcartest.Model3))
		status, err := v.KeyStatus(t.Context())
		require.NoError(t, err)
		require.Equal(t, smartcar.KeyMissing, status.State)
		require.NoError(t, <-first)
		time.Sleep(time.Minute)
		refusedLocally(t, v)
		require.Empty(t, sim.BrokenWindows(smartcartest.Model3))
	})
}

// Replica A's store answers late that the turn is taken; A dies with its
// request on the wire. Replica B must not come before the window has passed.
func TestSlowStoreLetsNoRequestOutliveItsLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		db := newSpoiledStore()
		a, user := connected(t, sim, smartcar.WithStore(db), smartcar.WithRetry(smartcar.RetryPolicy{MaxAttempts: 1}))
		b := newClient(t, sim, smartcar.WithStore(db.Store)).User(user.ID()).Vehicle(smartcartest.ModelY)
		v := a.User(user.ID()).Vehicle(smartcartest.ModelY)
		_, err := v.Access(t.Context())
		require.NoError(t, err)

		var once sync.Once
		var dead atomic.Bool
		db.after = func(string, []byte) error { once.Do(func() { time.Sleep(400 * time.Second) }); return nil }
		db.before = func(string, []byte) error {
			if dead.Load() {
				return errStoreDown
			}
			return nil
		}
		sim.Inject(smartcartest.Fault{DropAfter: true, Match: func(r *http.Request) bool {
			hit := strings.HasSuffix(r.URL.Path, "/battery")
			if hit {
				dead.Store(true)
			}
			return hit
		}})
		_, err = v.Battery(t.Context())
		require.Error(t, err)
		require.True(t, dead.Load(), "the request did not leave: the test proves nothing")
		for {
			if _, err = b.Odometer(t.Context()); err == nil {
				break
			}
			at, ok := smartcar.NextAllowed(err)
			require.True(t, ok)
			time.Sleep(max(time.Until(at), time.Second))
		}
		require.Equal(t, 2, countedData(sim, smartcartest.ModelY))
		require.Empty(t, sim.BrokenWindows(smartcartest.ModelY))
	})
}

// A store that is always that slow can guard nothing: nothing is sent.
func TestStoreThatIsTooSlowForATurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		db := newSpoiledStore()
		_, user := connected(t, sim, smartcar.WithStore(db))
		v := user.Vehicle(smartcartest.ModelY)
		_, err := v.Access(t.Context())
		require.NoError(t, err)
		db.after = func(string, []byte) error { time.Sleep(400 * time.Second); return nil }
		_, err = v.Battery(t.Context())
		require.ErrorIs(t, err, smartcar.ErrStore)
		require.Zero(t, countedData(sim, smartcartest.ModelY))
	})
}

// Where net/http would send a GET again by itself, on a real socket.
func TestGETWithABodyIsNotReplayedBelowTheClient(t *testing.T) {
	require.Equal(t, 1, sendsOfACutGET(t))
	require.Equal(t, 2, sendsOfACutGET(t, smartcar.Replayable()), "the test can fail")
}

func sendsOfACutGET(t *testing.T, opts ...smartcar.Option) int {
	t.Helper()
	clock := &simClock{}
	sim := smartcartest.New(smartcartest.WithClock(clock.Now))
	origin, stop, err := sim.Start()
	require.NoError(t, err)
	defer stop()
	base := mustParse(t, origin)
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	opts = append(opts, smartcar.WithClock(clock), smartcar.WithOrigins(smartcar.Origins{Connect: base, Auth: base, API: base}))
	client := newClientOver(t, sim, transport, opts...)
	v := client.User(connect(t, sim, client).UserID).Vehicle(smartcartest.Cybertruck)
	_, err = v.Attributes(t.Context()) // leaves a kept-alive connection
	require.NoError(t, err)
	sim.Inject(smartcartest.Fault{DropAfter: true, Path: "/battery"})
	// Whether it fails depends on who sends it again.
	_, _ = v.Request(t.Context(), smartcar.Request{Path: "battery", Body: map[string]int{"a": 1}})
	return countedData(sim, smartcartest.Cybertruck)
}

// A Model S of "2020" whose VIN says 2021: the VIN knows, and stays right.
func TestVINOutweighsAttributes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		car := smartcartest.Car{
			ID: "s", Make: "TESLA", Model: "Model S", Year: 2020, VIN: "5YJSA1E51MF000001", Integration: smartcartest.Streaming,
		}
		sim := smartcartest.New(smartcartest.WithCars(car))
		_, user := connected(t, sim)
		v := user.Vehicle(car.ID)
		_, err := v.VIN(t.Context())
		require.NoError(t, err)
		access, err := v.Access(t.Context())
		require.NoError(t, err)
		byVIN := access.Class
		require.Equal(t, smartcar.VehicleIdentity{VIN: car.VIN}.KeyRequirement().Class, byVIN)
		for range 2 {
			attributes, err := v.Attributes(t.Context())
			require.NoError(t, err)
			byYear := smartcar.VehicleIdentity{Make: attributes.Make, Model: attributes.Model, Year: attributes.Year}
			require.NotEqual(t, byVIN, byYear.KeyRequirement().Class, "they agree: the test proves nothing")
			access, err = v.Access(t.Context())
			require.NoError(t, err)
			require.Equal(t, byVIN, access.Class)
			_, err = v.VIN(t.Context())
			require.NoError(t, err)
		}
	})
}

// A car polled each minute must not cost four requests for each refusal.
func TestReadsOfTheClassBackOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		_, user := connected(t, sim)
		v := user.Vehicle(smartcartest.ModelY)
		sim.Inject(smartcartest.Fault{Match: attributesOf(smartcartest.ModelY), ErrorType: "SERVER", ErrorCode: "INTERNAL", Times: -1})
		_, err := v.Odometer(t.Context())
		require.NoError(t, err, "one turn")
		began := time.Now()
		for time.Since(began) < time.Hour {
			refusedLocally(t, v)
			time.Sleep(time.Minute)
		}
		asked := countPath(sim, "/vehicles/"+smartcartest.ModelY)
		require.LessOrEqual(t, asked, 3*13, "three attempts each five minutes")
		require.Greater(t, asked, 20, "and it is asked again")
		require.Empty(t, sim.BrokenWindows(smartcartest.ModelY))
	})
}

// The car was not asked, whatever Smartcar itself answered beside.
func TestBatchWhoseDataIsRefusedGivesTheTurnBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		_, user := connected(t, sim)
		require.NoError(t, sim.SetPermissions(smartcartest.ModelY, "read_vehicle_info", "read_odometer"))
		v := user.Vehicle(smartcartest.ModelY)
		s, err := v.Snapshot(t.Context(), smartcar.Attributes, smartcar.Battery)
		require.NoError(t, err)
		_, err = s.Attributes()
		require.NoError(t, err)
		_, err = s.Battery()
		require.ErrorIs(t, err, smartcar.ErrPermission)
		_, err = v.Odometer(t.Context())
		require.NoError(t, err)
		refusedLocally(t, v)
		require.Empty(t, sim.BrokenWindows(smartcartest.ModelY))
	})
}

// Between a try that was not sent and its repetition, the owner pairs the car.
func TestPairingBetweenTwoTries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		var v *smartcar.Vehicle
		var tries atomic.Int32
		client := newClientOver(t, sim, roundTripper(func(r *http.Request) (*http.Response, error) {
			if strings.HasSuffix(r.URL.Path, "/battery") && tries.Add(1) == 1 {
				go func() {
					time.Sleep(100 * time.Millisecond)
					_ = sim.Pair(smartcartest.ModelY)
					_ = v.SetKeyStatus(t.Context(), smartcar.KeyInstalled)
				}()
				return nil, &net.OpError{Op: "dial", Err: errors.New("refused")}
			}
			return sim.Transport().RoundTrip(r)
		}))
		v = client.User(connect(t, sim, client).UserID).Vehicle(smartcartest.ModelY)
		for range 2 {
			_, err := v.Battery(t.Context())
			require.NoError(t, err)
		}
		require.EqualValues(t, 3, tries.Load())
	})
}
