package smartcar_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime/pprof"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/smartcartest"
	"github.com/stretchr/testify/require"
)

// batteryOf is where Battery is read.
func batteryOf(api smartcar.API) string {
	if api == smartcar.V3 {
		return smartcartest.ModelY + "/signals"
	}
	return smartcartest.ModelY + "/battery"
}

// leaving reads the Model Y's battery with a caller who leaves after 10 of the 20
// seconds that the answer takes.
func leaving(t *testing.T, sim *smartcartest.Server, api smartcar.API, v *smartcar.Vehicle, fault smartcartest.Fault) {
	t.Helper()
	_, err := v.Access(t.Context())
	require.NoError(t, err)
	fault.Path, fault.LatencyAfter = batteryOf(api), 20*time.Second
	sim.Inject(fault)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	began := time.Now()
	_, err = v.Battery(ctx)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.Equal(t, 10*time.Second, time.Since(began))
}

// flying are the goroutines that send a request which holds a turn.
func flying() int {
	var all strings.Builder
	_ = pprof.Lookup("goroutine").WriteTo(&all, 2)
	return strings.Count(all.String(), "smartcar.(*gate).fly.func")
}

func TestOneTurnBringsTheWholeList(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		v := onV3(t, sim).Vehicle(smartcartest.ModelY)
		battery, err := v.Battery(t.Context())
		require.NoError(t, err)
		time.Sleep(time.Hour)
		stale := v.With(smartcar.AllowStale())
		odometer, err := stale.Odometer(t.Context())
		require.NoError(t, err)
		require.True(t, odometer.Stale)
		require.Equal(t, smartcar.SourceCache, odometer.Source)
		require.Equal(t, battery.ReceivedAt, odometer.ReceivedAt)
		miles, err := stale.With(smartcar.InUnits(smartcar.Imperial)).Odometer(t.Context())
		require.NoError(t, err)
		require.Equal(t, smartcar.Imperial, miles.UnitSystem)
		require.InDelta(t, *odometer.Distance, *miles.Distance*1.609344, 0.01)
		all, err := stale.Signals(t.Context())
		require.NoError(t, err)
		_, err = all.OdometerTraveledDistance()
		require.NoError(t, err)
		number, err := stale.VIN(t.Context())
		require.NoError(t, err)
		require.Len(t, number.VIN, 17)
		for _, op := range []smartcar.Operation{smartcar.Location, smartcar.TirePressure, smartcar.LockStatus, smartcar.TeslaStatus} {
			_, err := typedRead(t.Context(), stale, op)
			require.NoError(t, err, op)
		}
		_, err = stale.Fuel(t.Context())
		require.ErrorIs(t, err, smartcar.ErrRateLimited, "the list did not have it")
		require.Equal(t, 1, countedData(sim, smartcartest.ModelY))
	})
}

// What the list did not hold would not be in the next one either.
func TestLegacyCarIsAskedOnceForEverything(t *testing.T) {
	if testing.Short() {
		t.Skip("asks for all reads once a minute for a day")
	}
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New(garageWith(smartcartest.ModelS2018, func(*smartcartest.Car) {}))
		v := onV3(t, sim).Vehicle(smartcartest.ModelS2018)
		for range 24 * 60 {
			_, err := v.Battery(t.Context())
			require.NoError(t, err)
			_, err = v.Odometer(t.Context())
			require.NoError(t, err)
			_, err = v.LockStatus(t.Context())
			require.NoError(t, err)
			_, err = v.Signals(t.Context())
			require.NoError(t, err)
			_, err = v.Fuel(t.Context())
			require.ErrorIs(t, err, smartcar.ErrNotSupported)
			time.Sleep(time.Minute)
		}
		require.LessOrEqual(t, countedData(sim, smartcartest.ModelS2018), 290)
	})
}

func TestAnswerComesAfterItsCallerHasLeft(t *testing.T) {
	bothAPIs(t, func(t *testing.T, sim *smartcartest.Server, client *smartcar.Client, user *smartcar.User) {
		v := user.Vehicle(smartcartest.ModelY)
		leaving(t, sim, client.API(), v, smartcartest.Fault{})
		require.Equal(t, 1, flying())
		time.Sleep(time.Minute)
		stale, err := v.With(smartcar.AllowStale()).Battery(t.Context())
		require.NoError(t, err)
		require.True(t, stale.Stale)
		require.NotNil(t, stale.Percent)
		require.NoError(t, client.Drain(t.Context()))
		synctest.Wait()
		require.Zero(t, flying())
		require.Equal(t, 1, countedData(sim, smartcartest.ModelY))
		time.Sleep(window)
		_, err = v.Battery(t.Context())
		require.NoError(t, err)
		require.Empty(t, sim.BrokenWindows(smartcartest.ModelY))
	})
}

func TestDrainWaitsForWhatGoesOn(t *testing.T) {
	bothAPIs(t, func(t *testing.T, sim *smartcartest.Server, client *smartcar.Client, user *smartcar.User) {
		require.NoError(t, client.Drain(t.Context()), "there is nothing to wait for")
		leaving(t, sim, client.API(), user.Vehicle(smartcartest.ModelY), smartcartest.Fault{})
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		require.ErrorIs(t, client.Drain(ctx), context.DeadlineExceeded)
		began := time.Now()
		require.NoError(t, client.Drain(t.Context()))
		require.Equal(t, 5*time.Second, time.Since(began))
		synctest.Wait()
		require.Zero(t, flying())
		requireArgumentError(t, client.Drain(noContext()), "ctx")
		requireArgumentError(t, new(smartcar.Client).Drain(t.Context()), "Client")
	})
}

// Without its caller a read sends nothing more, whatever comes back.
func TestNothingMoreIsSentWithoutACaller(t *testing.T) {
	for name, fault := range map[string]smartcartest.Fault{
		"server error": {Status: 500}, "maker's error": {ErrorType: "UPSTREAM", ErrorCode: "NO_RESPONSE"}, "token refused": {Status: 401},
		"dropped": {DropAfter: true}, "application limit": {ErrorType: "RATE_LIMIT", ErrorCode: "SMARTCAR_API"},
	} {
		t.Run(name, func(t *testing.T) {
			bothAPIs(t, func(t *testing.T, sim *smartcartest.Server, client *smartcar.Client, user *smartcar.User) {
				v := user.Vehicle(smartcartest.ModelY)
				tokens := sim.TokenRequests() + sim.AppTokenRequests()
				leaving(t, sim, client.API(), v, fault)
				require.NoError(t, client.Drain(t.Context()))
				time.Sleep(time.Hour)
				require.Equal(t, 1, countPath(sim, batteryOf(client.API())))
				if client.API() == smartcar.V3 {
					tokens++ // the first one
				}
				require.LessOrEqual(t, sim.TokenRequests()+sim.AppTokenRequests(), tokens, "no token is renewed for nobody")
				_, err := v.Battery(t.Context())
				if name == "token refused" || name == "application limit" {
					require.NoError(t, err, "the turn was given back")
				} else {
					require.ErrorIs(t, err, smartcar.ErrRateLimited, "the turn counts as used")
				}
				require.Empty(t, sim.BrokenWindows(smartcartest.ModelY))
			})
		})
	}
}

// A caller who leaves while the token is renewed takes the turn back.
func TestTurnOfARequestThatNeverLeftIsGivenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		client, user := connected(t, sim)
		v := user.Vehicle(smartcartest.ModelY)
		_, err := v.Access(t.Context())
		require.NoError(t, err)
		time.Sleep(accessLife)
		sim.Inject(smartcartest.Fault{Path: "/oauth/token", LatencyAfter: 8 * time.Second})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err = v.Battery(ctx)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.NoError(t, client.Drain(t.Context()))
		require.Zero(t, countedData(sim, smartcartest.ModelY))
		_, err = v.Battery(t.Context())
		require.NoError(t, err)
		require.Empty(t, sim.BrokenWindows(smartcartest.ModelY))
	})
}

func TestWithoutDetachedReadsAReadEndsWithItsCaller(t *testing.T) {
	bothAPIs(t, func(t *testing.T, sim *smartcartest.Server, client *smartcar.Client, user *smartcar.User) {
		v := user.Vehicle(smartcartest.ModelY)
		leaving(t, sim, client.API(), v, smartcartest.Fault{})
		synctest.Wait()
		require.Zero(t, flying())
		time.Sleep(time.Minute)
		_, err := v.With(smartcar.AllowStale()).Battery(t.Context())
		require.ErrorIs(t, err, smartcar.ErrRateLimited)
	}, smartcar.WithoutDetachedReads())
}

// The thousand and first caller waits for its answer.
func TestDetachedReadsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const most = 1000
		cars, ids := garageOf(most + 2)
		for i := range cars {
			cars[i].Make, cars[i].Model = "TESLA", "Model Y"
		}
		sim := smartcartest.New(smartcartest.WithCars(cars...), smartcartest.WithAppRateLimit(1e6, 1e6))
		client, user := connected(t, sim)
		for _, id := range ids {
			_, err := user.Vehicle(id).Access(t.Context())
			require.NoError(t, err)
		}
		sim.Inject(smartcartest.Fault{Path: "/battery", LatencyAfter: 20 * time.Second, Times: -1})
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		var left, answered atomic.Int64
		errs := allOf(len(ids), func(i int) error {
			began := time.Now()
			_, err := user.Vehicle(ids[i]).Battery(ctx)
			switch took := time.Since(began); {
			case errors.Is(err, context.DeadlineExceeded) && took == 10*time.Second:
				left.Add(1)
			case (err == nil || errors.Is(err, context.DeadlineExceeded)) && took == 20*time.Second:
				answered.Add(1)
			default:
				return fmt.Errorf("%w after %v", err, took)
			}
			return nil
		})
		require.NoError(t, errors.Join(errs...))
		require.Equal(t, int64(most), left.Load())
		require.Equal(t, int64(2), answered.Load())
		require.NoError(t, client.Drain(t.Context()))
	})
}

// panicking is a transport that panics where it is told to.
type panicking struct {
	next  http.RoundTripper
	after time.Duration
	armed atomic.Bool
}

func (p *panicking) RoundTrip(r *http.Request) (*http.Response, error) {
	if p.armed.Load() {
		time.Sleep(p.after)
		panic("the transport is broken")
	}
	return p.next.RoundTrip(r)
}

func TestPanicOfATransport(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		transport := &panicking{next: sim.Transport(), after: 20 * time.Second}
		client := newClientOver(t, sim, transport)
		user := client.User(connect(t, sim, client).UserID)
		for id, wait := range map[string]time.Duration{smartcartest.ModelY: time.Minute, smartcartest.Cybertruck: time.Second} {
			v := user.Vehicle(id)
			_, err := v.Access(t.Context())
			require.NoError(t, err)
			transport.armed.Store(true)
			ctx, cancel := context.WithTimeout(t.Context(), wait)
			if wait > transport.after {
				require.PanicsWithValue(t, "the transport is broken", func() { _, _ = v.Battery(ctx) })
			} else {
				_, err = v.Battery(ctx)
				require.ErrorIs(t, err, context.DeadlineExceeded)
				require.NoError(t, client.Drain(t.Context()))
			}
			cancel()
			transport.armed.Store(false)
			_, err = v.Battery(t.Context())
			require.ErrorIs(t, err, smartcar.ErrRateLimited, "it may have been sent")
		}
	})
}

// waited is a transport that answers a read as soon as everybody else waits.
type waited struct{ next http.RoundTripper }

func (w waited) RoundTrip(r *http.Request) (*http.Response, error) {
	if strings.HasSuffix(r.URL.Path, "/battery") || strings.HasSuffix(r.URL.Path, "/signals") {
		synctest.Wait()
	}
	return w.next.RoundTrip(r)
}

// A hundred callers at once, and an answer that takes no time.
func TestManyCallersShareAnImmediateAnswer(t *testing.T) {
	onEitherAPI(t, func(t *testing.T, sim *smartcartest.Server, api smartcar.API) {
		client := apiClient(t, sim, api, smartcar.WithHTTPClient(&http.Client{Transport: waited{sim.Transport()}}))
		v := client.User(connect(t, sim, client).UserID).Vehicle(smartcartest.ModelY)
		_, err := v.Access(t.Context())
		require.NoError(t, err)
		var shared atomic.Int64
		errs := allOf(100, func(int) error {
			r, err := v.Battery(t.Context())
			if err == nil && r.Source == smartcar.SourceCache && !r.Stale {
				shared.Add(1)
			}
			return err
		})
		require.NoError(t, errors.Join(errs...))
		require.Equal(t, int64(99), shared.Load())
		require.Equal(t, 1, countedData(sim, smartcartest.ModelY))
		_, err = v.Battery(t.Context())
		require.ErrorIs(t, err, smartcar.ErrRateLimited, "that one came later")
	})
}

// The same outside of a bubble: however the scheduler lets them go, there is one
// request, and hardly anybody is refused.
func TestManyCallersOfAMock(t *testing.T) {
	for _, api := range []smartcar.API{smartcar.V2, smartcar.V3} {
		sim := smartcartest.New()
		client := apiClient(t, sim, api)
		v := client.User(connect(t, sim, client).UserID).Vehicle(smartcartest.ModelY)
		_, err := v.Access(t.Context())
		require.NoError(t, err)
		start := make(chan struct{})
		time.AfterFunc(0, func() { close(start) })
		refused := 0
		for _, err := range allOf(100, func(int) error {
			<-start
			_, err := v.Battery(t.Context())
			return err
		}) {
			if err != nil {
				require.ErrorIs(t, err, smartcar.ErrRateLimited)
				refused++
			}
		}
		t.Logf("%s: %d of 100 came too late", api, refused)
		require.Equal(t, 1, countedData(sim, smartcartest.ModelY))
	}
}

// On API v3 callers share whatever they want of the car.
func TestCallersOfOtherThingsShareTheList(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		v := onV3(t, sim).Vehicle(smartcartest.ModelY)
		_, err := v.Access(t.Context())
		require.NoError(t, err)
		sim.Inject(smartcartest.Fault{Path: "/signals", Latency: 20 * time.Second})
		first := make(chan error, 1)
		go func() { _, err := v.Battery(t.Context()); first <- err }()
		synctest.Wait()
		errs := make(chan error, 4)
		go func() { _, err := v.Odometer(t.Context()); errs <- err }()
		go func() { _, err := v.With(smartcar.InUnits(smartcar.Imperial)).Location(t.Context()); errs <- err }()
		go func() { _, err := v.Signals(t.Context()); errs <- err }()
		go func() {
			s, err := v.Snapshot(t.Context(), smartcar.TirePressure, smartcar.VIN, smartcar.Fuel)
			if err == nil {
				_, err = s.TirePressure()
			}
			errs <- err
		}()
		for range 4 {
			require.NoError(t, <-errs)
		}
		require.NoError(t, <-first)
		require.Equal(t, 1, countedData(sim, smartcartest.ModelY))
	})
}

// What is on its way may show the car as it was before the command.
func TestNobodySharesWhatWasAskedForBeforeACommand(t *testing.T) {
	bothAPIs(t, func(t *testing.T, sim *smartcartest.Server, client *smartcar.Client, user *smartcar.User) {
		v := user.Vehicle(smartcartest.ModelY)
		_, err := v.Access(t.Context())
		require.NoError(t, err)
		sim.Inject(smartcartest.Fault{Path: batteryOf(client.API()), LatencyAfter: 20 * time.Second})
		first := make(chan error, 1)
		go func() { _, err := v.Battery(t.Context()); first <- err }()
		synctest.Wait()
		early := make(chan error, 1)
		go func() { _, err := v.Battery(t.Context()); early <- err }()
		synctest.Wait()
		sim.Inject(smartcartest.Fault{Match: func(r *http.Request) bool { return r.Method == http.MethodPost }, LatencyAfter: time.Minute})
		command := make(chan error, 1)
		go func() { _, err := v.With(smartcar.IgnorePolicy()).Lock(t.Context()); command <- err }()
		synctest.Wait()
		_, err = v.Battery(t.Context())
		require.ErrorIs(t, err, smartcar.ErrRateLimited, "the command is under way")
		require.NoError(t, <-first)
		require.NoError(t, <-early, "it came before the command")
		require.ErrorIs(t, <-command, smartcar.ErrVirtualKeyRequired)
	})
}

// Whoever wants more than the request under way will bring is refused, and each
// part is shared with the error that it met.
func TestPartsOfABatchAreShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		_, user := connected(t, sim)
		v := user.Vehicle(smartcartest.ModelY)
		_, err := v.Access(t.Context())
		require.NoError(t, err)
		sim.Inject(smartcartest.Fault{Path: "/batch", LatencyAfter: 20 * time.Second})
		first := make(chan error, 1)
		go func() {
			_, err := v.Snapshot(t.Context(), smartcar.Battery, smartcar.Fuel, smartcar.VIN)
			first <- err
		}()
		synctest.Wait()
		_, err = v.Snapshot(t.Context(), smartcar.Battery, smartcar.Odometer)
		require.ErrorIs(t, err, smartcar.ErrRateLimited)
		_, err = v.Fuel(t.Context())
		require.ErrorIs(t, err, smartcar.ErrNotSupported)
		battery, err := v.Battery(t.Context())
		require.ErrorIs(t, err, smartcar.ErrRateLimited, "the answer is there by now")
		require.Nil(t, battery)
		require.NoError(t, <-first)
	})
}

// A caller who shares and meets a failure takes the turn that was given back.
func TestSharedTurnThatIsGivenBack(t *testing.T) {
	bothAPIs(t, func(t *testing.T, sim *smartcartest.Server, client *smartcar.Client, user *smartcar.User) {
		v := user.Vehicle(smartcartest.ModelY)
		_, err := v.Access(t.Context())
		require.NoError(t, err)
		sim.Inject(smartcartest.Fault{Path: batteryOf(client.API()), Latency: 20 * time.Second, Status: 400, Body: `{"type":"VALIDATION","code":"PARAMETER"}`})
		first := make(chan error, 1)
		go func() { _, err := v.Battery(t.Context()); first <- err }()
		synctest.Wait()
		_, err = v.Battery(t.Context())
		require.NoError(t, err)
		require.ErrorIs(t, <-first, smartcar.ErrValidation)
		require.Equal(t, 2, countPath(sim, batteryOf(client.API())))
		require.Empty(t, sim.BrokenWindows(smartcartest.ModelY))
	})
}

// A list of signals that was asked for by its path tells the same as a read: whether
// anything is stored, what the car is, and whether its key is there.
func TestListAskedForByItsPath(t *testing.T) {
	list := func(t *testing.T, v *smartcar.Vehicle) error {
		_, err := v.Request(t.Context(), smartcar.Request{Path: "signals"})
		return err
	}
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New(garageWith(smartcartest.Model3, func(c *smartcartest.Car) { c.NeverSubscribed = true }))
		v := onV3(t, sim).Vehicle(smartcartest.Model3)
		require.NoError(t, list(t, v))
		_, err := v.Battery(t.Context())
		var limited *smartcar.RateLimitError
		require.ErrorAs(t, err, &limited)
		require.Equal(t, smartcar.RuleNothingStored, limited.Rule)
	})
	for name, paired := range map[string]bool{"installed": true, "missing": false} {
		synctest.Test(t, func(t *testing.T) {
			car := refreshedS()
			car.Paired = paired
			sim := smartcartest.New(smartcartest.WithCars(car))
			v := onV3(t, sim).Vehicle("s")
			require.NoError(t, list(t, v))
			access, err := v.Access(t.Context())
			require.NoError(t, err)
			require.Equal(t, smartcar.ClassStreaming, access.Class)
			require.Equal(t, name, access.Key.State.String())
			_, err = v.Battery(t.Context())
			require.Equal(t, paired, err == nil)
			require.Empty(t, sim.BrokenWindows("s"))
			sim.Inject(smartcartest.Fault{Path: "/signals", Status: 200, Body: `{"data":null}`})
			require.ErrorIs(t, list(t, v.With(smartcar.IgnorePolicy())), smartcar.ErrUnexpectedAnswer)
		})
	}
}
