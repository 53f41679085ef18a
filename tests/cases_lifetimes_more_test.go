package smartcar_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/signals"
	"github.com/seed-498a1bc4/smartcar/smartcartest"
	"github.com/stretchr/testify/require"
)

// Case group 8: a legacy car that streams is noticed in normal use, and so is that
// it does no longer.
func TestCases8StreamingIsNoticed(t *testing.T) {
	if testing.Short() {
		t.Skip("asks once a minute for hours, many times")
	}
	streams := garageWith(smartcartest.ModelS2018, func(c *smartcartest.Car) { c.DataSharing = true })
	live := func(t *testing.T, v *smartcar.Vehicle, for_ time.Duration) (n int) {
		for began := time.Now(); time.Since(began) < for_; time.Sleep(time.Minute) {
			battery, err := v.Battery(t.Context())
			require.NoError(t, err)
			n += btoi(battery.Source == smartcar.SourceLive)
		}
		return n
	}
	t.Run("polled", func(t *testing.T) {
		onEitherAPIWith(t, streams, func(t *testing.T, sim *smartcartest.Server, user *smartcar.User) {
			v := user.Vehicle(smartcartest.ModelS2018)
			require.Less(t, live(t, v, time.Hour), 20, "nobody knows it yet")
			live(t, v, time.Hour)
			require.Equal(t, 60, live(t, v, time.Hour))
			access, err := v.Access(t.Context())
			require.NoError(t, err)
			require.Contains(t, access.Why, "streams")
		})
	})
	t.Run("watched", func(t *testing.T) {
		onEitherAPIWith(t, streams, func(t *testing.T, sim *smartcartest.Server, user *smartcar.User) {
			at, _ := watchFor(t, user.Vehicle(smartcartest.ModelS2018), 6*time.Hour)
			late := 0
			for _, at := range at[len(at)-20:] {
				late += btoi(time.Until(at) > -time.Hour-3*time.Minute)
			}
			require.Equal(t, 20, late, "every three minutes in the last hour, and the jitter of a watch")
		})
	})
	t.Run("it ends", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var every time.Duration
			sim := smartcartest.New()
			client := newClientOver(t, sim, roundTripper(func(r *http.Request) (*http.Response, error) {
				resp, err := sim.Transport().RoundTrip(r)
				if err == nil && every > 0 && strings.HasSuffix(r.URL.Path, "/battery") {
					resp.Header.Set("Sc-Data-Age", time.Now().Truncate(every).UTC().Format(time.RFC3339))
				}
				return resp, err
			}))
			v := client.User(connect(t, sim, client).UserID).Vehicle(smartcartest.ModelS2018)
			every = time.Minute
			live(t, v, 3*time.Hour)
			require.Equal(t, 60, live(t, v, time.Hour))
			every = 5 * time.Minute
			live(t, v, time.Hour)
			require.Less(t, live(t, v, time.Hour), 20)
		})
	})
	t.Run("one that does not is asked hardly more", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			sim := smartcartest.New()
			_, user := connected(t, sim)
			v := user.Vehicle(smartcartest.ModelS2018)
			require.LessOrEqual(t, live(t, v, 7*day), 7*288+7)
		})
	})
}

// A BYD answers that no digital key is paired: that is some other key, also while
// nobody knows what make it is.
func TestKeySignalOfAnotherMake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMadeUp(t, `"make":null`)
		m.signals = []string{
			odometerEntry(time.Now()),
			signalEntry(signals.ConnectivityStatusIsDigitalKeyPaired, success, `{"value":false}`, oemTime(time.Now())),
			signalEntry(signals.VehicleIdentificationVIN, success, `{"value":"LC0CE4CB0P0000001"}`, ``),
		}
		for range 5 {
			_, err := m.Odometer(t.Context())
			require.NoError(t, err)
			time.Sleep(time.Minute)
		}
		access, err := m.Access(t.Context())
		require.NoError(t, err)
		require.False(t, access.NeedsKey)
		require.Equal(t, smartcar.KeyUnknown, access.Key.State)
	})
}

// The option for the day on which the endpoint turns out to be wrong.
func TestWithoutKeyEndpoint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		_, user := connected(t, sim, smartcar.WithoutKeyEndpoint())
		v := user.Vehicle(smartcartest.ModelY)
		for range 3 {
			status, err := v.KeyStatus(t.Context())
			require.NoError(t, err)
			require.Equal(t, smartcar.KeyUnknown, status.State)
			_, err = v.Snapshot(t.Context(), smartcar.Operation("key-status"))
			require.NoError(t, err)
			access, err := v.Access(t.Context())
			require.NoError(t, err)
			require.False(t, access.NeedsKey)
		}
		require.Len(t, statusReads(sim), 3, "the snapshots'")
		_, err := v.Battery(t.Context())
		require.NoError(t, err)
		_, err = v.Battery(t.Context())
		require.ErrorIs(t, err, smartcar.ErrRateLimited, "Smartcar says so")
		poll(t, v, time.Minute, 3*day)
		require.Len(t, sim.BrokenWindows(v.ID()), 1)
		_, err = v.Lock(t.Context())
		require.ErrorIs(t, err, smartcar.ErrVirtualKeyRequired)
		requireNeedsKey(t, v)
		require.NoError(t, sim.Pair(v.ID()))
		time.Sleep(20 * time.Minute)
		_, err = v.Lock(t.Context())
		require.NoError(t, err)
		require.Equal(t, 60, poll(t, v, time.Minute, time.Hour))
	})
}

// driversModelY is a car whose key status can never be read, of which the server has
// said that it counts as keyless, and whose owner has added the key since.
func driversModelY(t *testing.T, answer smartcartest.KeylessAnswer) (*smartcartest.Server, *smartcar.Client, *smartcar.Vehicle) {
	car := sharedModelY()
	car.Driver = true
	sim := smartcartest.New(smartcartest.WithCars(car), smartcartest.WithKeylessAnswer(answer))
	client, user := connected(t, sim)
	v := user.Vehicle(car.ID)
	for range 2 {
		_, _ = v.Battery(t.Context())
		time.Sleep(time.Minute)
	}
	require.Len(t, sim.BrokenWindows(v.ID()), 1, "nobody could know it")
	poll(t, v, time.Minute, 2*day)
	require.Len(t, sim.BrokenWindows(v.ID()), 1)
	require.NoError(t, sim.Pair(v.ID()))
	time.Sleep(10 * time.Minute)
	_, err := v.Battery(t.Context())
	require.ErrorIs(t, err, smartcar.ErrRateLimited)
	return sim, client, v
}

// What the server has said ends in four ways.
func TestWhatTheServerHasSaidEnds(t *testing.T) {
	for name, answer := range map[string]smartcartest.KeylessAnswer{"limited": smartcartest.RateLimited, "key required": smartcartest.KeyRequired} {
		for way, end := range map[string]func(*testing.T, *smartcartest.Server, *smartcar.Client, *smartcar.Vehicle){
			"a command": func(t *testing.T, _ *smartcartest.Server, _ *smartcar.Client, v *smartcar.Vehicle) {
				time.Sleep(10 * time.Minute)
				_, err := v.Lock(t.Context())
				require.NoError(t, err)
			},
			"a key event": func(t *testing.T, _ *smartcartest.Server, client *smartcar.Client, v *smartcar.Vehicle) {
				require.NoError(t, v.SetKeyState(t.Context(), smartcar.KeyInstalled))
			},
			"a new Connect": func(t *testing.T, sim *smartcartest.Server, client *smartcar.Client, v *smartcar.Vehicle) {
				connect(t, sim, client)
				_, err := v.Battery(t.Context())
				require.ErrorIs(t, err, smartcar.ErrRateLimited, "the window that is open stays so")
				time.Sleep(window)
			},
			"a trial": func(t *testing.T, sim *smartcartest.Server, _ *smartcar.Client, v *smartcar.Vehicle) {
				poll(t, v, time.Minute, 6*day)
			},
		} {
			t.Run(name+", "+way, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					sim, client, v := driversModelY(t, answer)
					end(t, sim, client, v)
					require.Equal(t, 60, poll(t, v, time.Minute, time.Hour))
				})
			})
		}
	}
}

// A car that stays keyless costs one wasted trial a week, and no more.
func TestTrialsOfACarThatStaysKeyless(t *testing.T) {
	for name, answer := range keylessAnswers() {
		if answer == smartcartest.StaleData {
			continue // nothing says anything
		}
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				car := sharedModelY()
				car.Driver = true
				sim := smartcartest.New(smartcartest.WithCars(car), smartcartest.WithKeylessAnswer(answer))
				_, user := connected(t, sim)
				v := user.Vehicle(car.ID)
				require.GreaterOrEqual(t, poll(t, v, time.Minute, 30*day), 85)
				require.LessOrEqual(t, len(sim.BrokenWindows(car.ID)), 2+30/7)
			})
		})
	}
}

// A status that Smartcar has not caught up with does not undo what a command has
// shown, for a day.
func TestCommandOutranksAStatus(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		_, user := connected(t, sim)
		v := user.Vehicle(smartcartest.Model3)
		sim.Inject(smartcartest.Fault{Path: "/tesla/virtual_key", Status: 200, Body: `{"isPaired":false}`, Times: -1})
		_, err := v.Lock(t.Context())
		require.NoError(t, err)
		for range 22 {
			status, err := v.KeyStatus(t.Context())
			require.NoError(t, err)
			require.Equal(t, smartcar.KeyInstalled, status.State)
			require.Equal(t, smartcar.KeyFromCommand, status.Source)
			_, err = v.Battery(t.Context())
			require.NoError(t, err)
			time.Sleep(time.Hour)
		}
		time.Sleep(3 * time.Hour)
		_, err = v.Battery(t.Context())
		limit := requireKeyless(t, err) // the last read may have been one that counts
		require.WithinDuration(t, time.Now().Add(4*time.Hour), limit.NextAllowed, 6*time.Minute)
		requireNeedsKey(t, v)
	})
	t.Run("an 8-hour limit outranks the command", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			sim := smartcartest.New()
			_, user := connected(t, sim)
			v := user.Vehicle(smartcartest.Model3)
			_, err := v.Lock(t.Context())
			require.NoError(t, err)
			require.NoError(t, sim.Unpair(v.ID()))
			for range 2 {
				_, _ = v.Battery(t.Context())
				time.Sleep(time.Minute)
			}
			require.Len(t, sim.BrokenWindows(v.ID()), 1)
			requireNeedsKey(t, v)
			poll(t, v, time.Minute, 2*day)
			require.Len(t, sim.BrokenWindows(v.ID()), 1)
		})
	})
}

// A read that was made while the key was believed to be there counts once the key turns
// out to be gone, also one of which nothing was stored, as another had just been. On API
// v3 each answer tells by itself.
func TestReadsBeforeARemovedKeyIsNoticedCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		_, user := connected(t, sim)
		v := user.Vehicle(smartcartest.Model3)
		_, err := v.Battery(t.Context())
		require.NoError(t, err)
		first := time.Now()
		time.Sleep(time.Minute)
		require.NoError(t, sim.Unpair(v.ID()))
		time.Sleep(2 * time.Minute)
		_, err = v.Battery(t.Context())
		require.NoError(t, err, "the first one that counts")
		_, err = v.KeyStatus(t.Context())
		require.NoError(t, err)
		refusedLocally(t, v)
		time.Sleep(time.Until(first.Add(window + time.Minute)))
		refusedLocally(t, v)
		time.Sleep(5 * time.Minute)
		_, err = v.Battery(t.Context())
		require.NoError(t, err, "at most 5 minutes later than the rule")
		require.Empty(t, sim.BrokenWindows(v.ID()))
	})
}

// The page of a proxy says nothing of the car, whatever its status: a visit does not
// retire it, and a watch goes on.
func TestPageOfAProxyEndsNothing(t *testing.T) {
	for _, status := range []int{401, 403, 404} {
		onEitherAPI(t, func(t *testing.T, sim *smartcartest.Server, api smartcar.API) {
			client := apiClient(t, sim, api, smartcar.WithStoredAnswers(smartcar.StoredAnswers{}))
			v := client.User(connect(t, sim, client).UserID).Vehicle(smartcartest.MachE)
			_, err := v.Access(t.Context())
			require.NoError(t, err)
			page := smartcartest.Fault{
				Status: status, Body: "<html>", Times: 3, // for what a 401 is repeated with, too
				Match: func(r *http.Request) bool {
					return strings.HasSuffix(r.URL.Path, "/battery") || strings.HasSuffix(r.URL.Path, "/batch") || strings.HasSuffix(r.URL.Path, "/signals")
				},
			}
			sim.Inject(page)
			visit, err := v.Visit(t.Context(), func(context.Context, *smartcar.Snapshot) error { return nil }, smartcar.Battery)
			require.ErrorIs(t, err, smartcar.ErrUnexpectedAnswer)
			require.NotErrorIs(t, err, smartcar.ErrVehicleGone)
			require.False(t, visit.Retired)
			sim.ClearFaults()
			sim.Inject(page)
			read, failed := watchFor(t, v, 3*time.Hour)
			require.NotEmpty(t, failed)
			require.ErrorIs(t, failed[0], smartcar.ErrUnexpectedAnswer)
			require.NotEmpty(t, read)
			require.NoError(t, client.Drain(t.Context()))
		})
	}
}

// Every is honored for a car without its key, too: 8 hours are how often it can be asked,
// not how often it must. Its key is looked for all the same.
func TestEveryOfAKeylessCar(t *testing.T) {
	for every, want := range map[time.Duration]int{9 * time.Hour: 8, 24 * time.Hour: 3, 2 * time.Hour: 9} {
		bothAPIs(t, func(t *testing.T, sim *smartcartest.Server, client *smartcar.Client, user *smartcar.User) {
			v := user.Vehicle(smartcartest.ModelY).With(smartcar.Every(every))
			at, failed := watchFor(t, v, 3*day-time.Second)
			require.Len(t, failed, 1)
			require.Len(t, at, want, every)
			require.Equal(t, len(at), countedData(sim, v.ID()))
			require.Empty(t, sim.BrokenWindows(v.ID()))
			if client.API() == smartcar.V2 {
				require.GreaterOrEqual(t, len(statusReads(sim)), 5, "5, 15, 60 min, 4 h, 24 h")
			}
		})
	}
}

// A read that has failed is repeated soon, however rarely the car is to be read.
func TestEveryDoesNotDelayWhatHasFailed(t *testing.T) {
	bothAPIs(t, func(t *testing.T, sim *smartcartest.Server, _ *smartcar.Client, user *smartcar.User) {
		sim.Inject(smartcartest.Fault{Path: "/" + smartcartest.MachE, Status: 503, Times: 8}) // more than one call repeats by itself
		at, _ := watchFor(t, user.Vehicle(smartcartest.MachE).With(smartcar.Every(12*time.Hour)), day-time.Second)
		require.Len(t, at, 2)
	})
}
