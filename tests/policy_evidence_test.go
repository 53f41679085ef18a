package smartcar_test

import (
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/smartcartest"
	"github.com/seed-498a1bc4/smartcar/store"
	"github.com/stretchr/testify/require"
)

func requireNeedsKey(t *testing.T, v *smartcar.Vehicle) {
	t.Helper()
	access, err := v.Access(t.Context())
	require.NoError(t, err)
	require.Equal(t, smartcar.ClassStreaming, access.Class)
	require.Equal(t, smartcar.KeyMissing, access.Key.State)
	require.True(t, access.NeedsKey)
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

// A read that took no turn, and is under way when another replica sees that the key is
// gone, has used the turn when its answer comes: also a few seconds after a read that was
// booked, where it would not be booked otherwise.
func TestKeyThatIsLostWhileAReadIsUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		db := store.NewMemory()
		_, user := connected(t, sim, smartcar.WithStore(db))
		v := user.Vehicle(smartcartest.Model3)
		other := apiClient(t, sim, smartcar.V2, smartcar.WithStore(db)).User(user.ID()).Vehicle(v.ID())
		_, err := v.Battery(t.Context())
		require.NoError(t, err)
		sim.Inject(smartcartest.Fault{Path: "/odometer", Latency: 2 * time.Minute})
		answered := make(chan error, 1)
		go func() { _, err := v.Odometer(t.Context()); answered <- err }()
		time.Sleep(time.Minute)
		require.NoError(t, sim.Unpair(v.ID()))
		status, err := other.KeyStatus(t.Context())
		require.NoError(t, err)
		require.Equal(t, smartcar.KeyMissing, status.State)
		require.NoError(t, <-answered)
		for began := time.Now(); time.Since(began) < window+5*time.Minute; time.Sleep(10 * time.Second) {
			_, _ = other.Battery(t.Context())
		}
		require.Equal(t, 3, countedData(sim, v.ID()))
		require.Empty(t, sim.BrokenWindows(v.ID()))
	})
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
					_ = v.SetKeyState(t.Context(), smartcar.KeyInstalled)
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

// The key comes with the answer on v3: that it was gone already when the answer
// was asked for makes that request the first one of a window.
func TestAnswerThatShowsTheKeyGoneOpensAWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		v := onV3(t, sim).Vehicle(smartcartest.Model3)
		_, err := v.Battery(t.Context())
		require.NoError(t, err)
		time.Sleep(9 * time.Hour)
		require.NoError(t, sim.Unpair(smartcartest.Model3))
		time.Sleep(time.Hour)
		_, err = v.Battery(t.Context())
		require.NoError(t, err)
		time.Sleep(time.Minute)
		refusedLocally(t, v)
		refusedUntil(t, v, time.Now().Add(window-time.Minute))
		require.Empty(t, sim.BrokenWindows(smartcartest.Model3))
	})
}

// A car that was taken for one of before 2021 by what its owner's account says of it, and
// proves to need the key. The answer that shows it has used its turn: what the car is
// counts before the turn is booked.
func TestAnswerThatShowsTheRuleIsATurn(t *testing.T) {
	for _, api := range []smartcar.API{smartcar.V2, smartcar.V3} {
		t.Run(string(api), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				car := smartcartest.Car{ID: "s", Make: "TESLA", Model: "Model S", Year: 2018, Integration: smartcartest.Streaming}
				sim := smartcartest.New(smartcartest.WithCars(car), smartcartest.WithKeylessAnswer(smartcartest.KeyRequired))
				client := apiClient(t, sim, api)
				v := client.User(connect(t, sim, client).UserID).Vehicle(car.ID)
				_, err := v.Battery(t.Context())
				require.NoError(t, err)
				time.Sleep(10 * time.Minute)
				_, err = v.Battery(t.Context())
				require.ErrorIs(t, err, smartcar.ErrVirtualKeyRequired)
				told := len(sim.BrokenWindows(car.ID))
				for began := time.Now(); time.Since(began) < 7*time.Hour; time.Sleep(10 * time.Minute) {
					closed(t, v)
				}
				require.Len(t, sim.BrokenWindows(car.ID), told)
			})
		})
	}
}

// A limit of a car that has its key is looked into once, because the key may
// have gone, and then holds: that the key is still there does not lift it.
func TestLimitOfAPairedCarHolds(t *testing.T) {
	for _, api := range []smartcar.API{smartcar.V2, smartcar.V3} {
		t.Run(string(api), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sim := smartcartest.New()
				client := apiClient(t, sim, api)
				v := client.User(connect(t, sim, client).UserID).Vehicle(smartcartest.Model3)
				_, err := v.Battery(t.Context())
				require.NoError(t, err)
				sim.Inject(smartcartest.Fault{
					ErrorType: "RATE_LIMIT", ErrorCode: "VEHICLE", Header: http.Header{"Retry-After": {"600"}}, Times: -1,
					Match: func(r *http.Request) bool {
						return strings.HasSuffix(r.URL.Path, "/battery") || strings.HasSuffix(r.URL.Path, "/signals")
					},
				})
				until := time.Now().Add(10 * time.Minute)
				for range 60 {
					_, err = v.Battery(t.Context())
					require.ErrorIs(t, err, smartcar.ErrRateLimited)
					next, ok := smartcar.NextAllowed(err)
					require.True(t, ok)
					require.Equal(t, until.UTC(), next)
					time.Sleep(5 * time.Second)
				}
				require.Equal(t, 1, requestsWith(sim, http.StatusTooManyRequests))
			})
		})
	}
}

// A limit from before pairing is worth nothing after it.
func TestLimitFromBeforePairingEndsWithIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		client := apiClient(t, sim, smartcar.V2)
		v := client.User(connect(t, sim, client).UserID).Vehicle(smartcartest.ModelY)
		_, err := v.With(smartcar.IgnorePolicy()).Battery(t.Context())
		require.NoError(t, err)
		_, err = v.With(smartcar.IgnorePolicy()).Battery(t.Context())
		require.ErrorIs(t, err, smartcar.ErrRateLimited)
		require.NoError(t, sim.Pair(smartcartest.ModelY))
		time.Sleep(time.Minute)
		status, err := v.KeyStatus(t.Context())
		require.NoError(t, err)
		require.Equal(t, smartcar.KeyInstalled, status.State)
		_, err = v.Battery(t.Context())
		require.NoError(t, err)
	})
}

func requestsWith(sim *smartcartest.Server, status int) (n int) {
	for _, r := range sim.Requests() {
		if r.Status == status {
			n++
		}
	}
	return n
}
