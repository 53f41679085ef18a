package smartcar_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/smartcartest"
	"github.com/stretchr/testify/require"
)

// keylessAnswers are what Smartcar may answer to a second read inside a window. How
// it does is not documented.
func keylessAnswers() map[string]smartcartest.KeylessAnswer {
	return map[string]smartcartest.KeylessAnswer{
		"limited": smartcartest.RateLimited, "stale": smartcartest.StaleData, "key required": smartcartest.KeyRequired,
	}
}

// refreshedS is a Model S of 2021, of which only the VIN tells that it needs the key.
func refreshedS() smartcartest.Car {
	return smartcartest.Car{
		ID: "s", Make: "TESLA", Model: "Model S", Year: 2021, VIN: "5YJSA1E65MF000001", Integration: smartcartest.Streaming,
	}
}

// poll reads the battery for a while and returns how many values came.
func poll(t *testing.T, v *smartcar.Vehicle, every, for_ time.Duration) (read int) {
	t.Helper()
	for began := time.Now(); time.Since(began) < for_; time.Sleep(every) {
		if _, err := v.Battery(t.Context()); err == nil {
			read++
		}
	}
	return read
}

// Case group 2: the class of a car comes with its first data.
func TestCases2ClassComesWithTheData(t *testing.T) {
	connectedS := func(t *testing.T, fault smartcartest.Fault, car smartcartest.Car) (*smartcartest.Server, *smartcar.Vehicle) {
		sim := smartcartest.New(smartcartest.WithCars(car))
		v := onV3(t, sim).Vehicle(car.ID)
		sim.Inject(fault)
		return sim, v
	}
	t.Run("twice within a minute", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			sim, v := connectedS(t, smartcartest.Fault{Path: "/nothing"}, refreshedS())
			for range 2 {
				_, _ = v.Battery(t.Context())
				time.Sleep(30 * time.Second)
			}
			require.Equal(t, 1, countedData(sim, "s"))
			requireNeedsKey(t, v)
			refusedUntil(t, v, time.Now().Add(window-time.Minute))
		})
	})
	t.Run("a hundred callers", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			sim, v := connectedS(t, smartcartest.Fault{Path: "/signals", Latency: time.Second, Times: -1}, refreshedS())
			allOf(100, func(int) error { _, err := v.Battery(t.Context()); return err })
			require.Equal(t, 1, countedData(sim, "s"))
		})
	})
	t.Run("the first answer is lost", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			sim, v := connectedS(t, smartcartest.Fault{Path: "/signals", DropAfter: true}, refreshedS())
			_, err := v.Battery(t.Context())
			require.Error(t, err)
			require.Equal(t, 1, countedData(sim, "s"))
			require.Equal(t, 20, poll(t, v, time.Minute, 7*day))
			require.Empty(t, sim.BrokenWindows("s"))
		})
	})
	t.Run("its key is there", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			car := refreshedS()
			car.Paired = true
			sim, v := connectedS(t, smartcartest.Fault{Path: "/signals", Latency: time.Second}, car)
			require.Equal(t, 60, poll(t, v, time.Minute, time.Hour))
			require.Equal(t, 60, countedData(sim, "s"))
		})
	})
}

// Neighbors of group 2: whatever the make is called, the data tells. Until then it
// is one request at a time, and what was booked for that is void afterwards.
func TestCases2MakesThatSayNothing(t *testing.T) {
	for name, tt := range map[string]struct {
		maker, vin string
		requests   int
		class      smartcar.VehicleClass
	}{
		"unknown, refreshed":   {`"UNKNOWN"`, "5YJSA1E65MF000001", 1, smartcar.ClassStreaming},
		"null, refreshed":      {`null`, "5YJSA1E65MF000001", 1, smartcar.ClassStreaming},
		"empty, refreshed":     {`""`, "5YJSA1E65MF000001", 1, smartcar.ClassStreaming},
		"a company, refreshed": {`"Tesla, Inc."`, "5YJSA1E65MF000001", 1, smartcar.ClassStreaming},
		"unknown, old":         {`"UNKNOWN"`, "5YJSA1E20HF000001", 3, smartcar.ClassLegacy},
		"unknown, not told":    {`"UNKNOWN"`, "", 10, smartcar.ClassUnknown},
		"a VIN of nobody":      {`"n/a"`, "12345678901234567", 10, smartcar.ClassUnknown},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				car := refreshedS()
				car.VIN = tt.vin
				switch tt.class {
				case smartcar.ClassLegacy:
					car.Integration = smartcartest.Legacy
				case smartcar.ClassUnknown:
					car.Make, car.Integration = "OTHER", smartcartest.Other
				}
				sim := smartcartest.New(smartcartest.WithCars(car))
				v := onV3(t, sim).Vehicle("s")
				sim.Inject(smartcartest.Fault{Path: "/signals", Latency: time.Second, Times: 1})
				sim.Inject(smartcartest.Fault{
					Match: attributesOf("s"), Status: 200, Times: -1,
					Body: `{"data":{"id":"s","type":"vehicle","attributes":{"make":` + tt.maker + `,"model":"Model S","year":2021}}}`,
				})
				allOf(100, func(int) error { _, err := v.Battery(t.Context()); return err })
				require.Equal(t, 1, countedData(sim, "s"), "one at a time until the class is known")
				for range 9 {
					time.Sleep(time.Minute)
					_, _ = v.Battery(t.Context())
				}
				access, err := v.Access(t.Context())
				require.NoError(t, err)
				require.Equal(t, tt.class, access.Class)
				require.Equal(t, tt.requests, countedData(sim, "s"))
				require.Empty(t, sim.BrokenWindows("s"))
			})
		})
	}
}

// A car of another make is not shut by an outage of what tells its class: not for
// longer than a turn, nor by a limit that was booked for a window.
func TestCases2OutageShutsNoOtherMake(t *testing.T) {
	onEitherAPI(t, func(t *testing.T, sim *smartcartest.Server, api smartcar.API) {
		client := apiClient(t, sim, api)
		v := client.User(connect(t, sim, client).UserID).Vehicle(smartcartest.MachE)
		sim.Inject(smartcartest.Fault{Match: attributesOf(v.ID()), ErrorType: "SERVER", ErrorCode: "INTERNAL", Times: -1})
		sim.Inject(smartcartest.Fault{
			ErrorType: "RATE_LIMIT", ErrorCode: "VEHICLE", Times: 1,
			Match: func(r *http.Request) bool {
				return strings.HasSuffix(r.URL.Path, "/battery") || strings.HasSuffix(r.URL.Path, "/signals")
			},
		})
		_, err := v.Battery(t.Context())
		require.ErrorIs(t, err, smartcar.ErrRateLimited)
		_, err = v.Battery(t.Context())
		require.ErrorIs(t, err, smartcar.ErrRateLimited, "as long as nobody knows what it is")
		sim.ClearFaults()
		time.Sleep(6 * time.Minute)
		require.Equal(t, 60, poll(t, v, time.Minute, time.Hour))
	})
}

// What tells the class fails for good: after a day the car is left to the server.
func TestCases2OutageOfADayGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		_, user := connected(t, sim)
		v := user.Vehicle(smartcartest.MachE)
		sim.Inject(smartcartest.Fault{Match: attributesOf(v.ID()), ErrorType: "SERVER", ErrorCode: "INTERNAL", Times: -1})
		require.Equal(t, 3, poll(t, v, time.Minute, day-time.Minute))
		time.Sleep(10 * time.Minute)
		require.Equal(t, 60, poll(t, v, time.Minute, time.Hour))
		sim.ClearFaults()
		time.Sleep(time.Hour)
		access, err := v.Access(t.Context())
		require.NoError(t, err)
		require.Equal(t, smartcar.ClassOther, access.Class)
	})
}

// Case group 3: the owner removes the key in the car, and nobody says so.
func TestCases3OldEvidenceIsNone(t *testing.T) {
	removed := func(t *testing.T) *smartcar.Vehicle {
		sim := smartcartest.New()
		_, user := connected(t, sim)
		v := user.Vehicle(smartcartest.Model3)
		_, err := v.Battery(t.Context())
		require.NoError(t, err)
		require.NoError(t, sim.Unpair(v.ID()))
		return v
	}
	t.Run("Access", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			v := removed(t)
			time.Sleep(21 * day)
			requireNeedsKey(t, v)
		})
	})
	t.Run("WaitForKey", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			v := removed(t)
			time.Sleep(6 * time.Minute)
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			_, err := v.WaitForKey(ctx)
			require.ErrorIs(t, err, context.DeadlineExceeded)
		})
	})
	t.Run("since", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			began := time.Now()
			v := removed(t)
			access, err := v.Access(t.Context())
			require.NoError(t, err)
			require.WithinDuration(t, began, access.Key.Since, time.Second)
			time.Sleep(25 * time.Hour)
			for range 3 {
				requireNeedsKey(t, v)
				time.Sleep(2 * time.Hour)
			}
			access, err = v.Access(t.Context())
			require.NoError(t, err)
			require.WithinDuration(t, began.Add(25*time.Hour), access.Key.Since, time.Second)
			require.True(t, access.Key.At.After(access.Key.Since))
			require.True(t, access.Key.Removed)
		})
	})
}

// A week of a Watch after the key was removed, and of one whose owner removes the
// key and adds it again each second day. What nobody could know is what Smartcar
// repeats until the next look.
func TestCases3WatchOfAWeekAfterRemoval(t *testing.T) {
	if testing.Short() {
		t.Skip("watches twelve cars for a week")
	}
	for name, answer := range keylessAnswers() {
		for _, api := range []smartcar.API{smartcar.V2, smartcar.V3} {
			for _, again := range []bool{false, true} {
				t.Run(fmt.Sprint(name, " ", api, textIf(again, " again and again")), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						sim := smartcartest.New(smartcartest.WithKeylessAnswer(answer))
						client := apiClient(t, sim, api)
						v := client.User(connect(t, sim, client).UserID).Vehicle(smartcartest.Model3)
						if api == smartcar.V3 {
							v = v.With(smartcar.Every(time.Hour)) // each answer has 93 signals
						}
						go func() {
							time.Sleep(time.Hour + time.Second)
							for range 3 {
								_ = sim.Unpair(v.ID())
								time.Sleep(day)
								if !again {
									return
								}
								_ = sim.Pair(v.ID())
								time.Sleep(day)
							}
						}()
						ctx, cancel := context.WithTimeout(t.Context(), 7*day)
						defer cancel()
						for _, err := range v.Watch(ctx, smartcar.Battery, smartcar.Odometer) {
							_ = err // what was wasted counts
						}
						wasted := len(sim.BrokenWindows(v.ID()))
						removals := 1 + 2*btoi(again)
						if answer == smartcartest.StaleData && api == smartcar.V2 {
							require.Less(t, wasted, 30*removals)
						} else {
							require.LessOrEqual(t, wasted, removals)
						}
					})
				})
			}
		}
	}
}

// A keyless car that is polled for a month of 31 days.
func TestCases3MonthOfAKeylessCar(t *testing.T) {
	for _, every := range []time.Duration{time.Minute, 15 * time.Minute, time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			sim := smartcartest.New()
			_, user := connected(t, sim)
			v := user.Vehicle(smartcartest.ModelY)
			require.Equal(t, 93, poll(t, v, every, 31*day))
			require.LessOrEqual(t, len(sim.Ledger(v.ID())), 105)
			require.Len(t, statusReads(sim), 11)
			require.Empty(t, sim.BrokenWindows(v.ID()))
		})
	}
}

// A command that worked proves the key of a car of which nothing else is known, if
// its row says so, and counts for more than a status for a day.
func TestCases3CommandsThatProveTheKey(t *testing.T) {
	for name, proves := range map[string]bool{"lock": true, "unlock": true, "start-charge": true, "set-charge-limit": true, "send-destination": false} {
		t.Run(name, func(t *testing.T) {
			onEitherAPI(t, func(t *testing.T, sim *smartcartest.Server, api smartcar.API) {
				client := apiClient(t, sim, api)
				v := client.User(connect(t, sim, client).UserID).Vehicle(smartcartest.Model3)
				sim.Inject(smartcartest.Fault{Match: attributesOf(v.ID()), ErrorType: "SERVER", ErrorCode: "INTERNAL", Times: -1})
				sim.Inject(smartcartest.Fault{Path: "/tesla/virtual_key", Status: 200, Body: `{"isPaired":false}`, Times: -1})
				_, err := commandCalls()[name](t.Context(), v)
				require.NoError(t, err)
				if !proves && api == smartcar.V3 {
					return // its first data will show the key
				}
				for range 3 {
					_, err = v.Battery(t.Context())
					if !proves && err != nil {
						require.ErrorIs(t, err, smartcar.ErrRateLimited)
						return
					}
					require.NoError(t, err)
				}
				require.True(t, proves)
			})
		})
	}
}

// Case group 6: cars that answer ASLEEP.
func TestCases6CarsThatSleep(t *testing.T) {
	asleep := func(id string, answersError bool) smartcartest.Option {
		return garageWith(id, func(c *smartcartest.Car) { c.Asleep, c.AsleepError = true, answersError })
	}
	for name, id := range map[string]string{"legacy": smartcartest.ModelX2020, "keyless": smartcartest.ModelY} {
		t.Run(name+", polled", func(t *testing.T) {
			onEitherAPIWith(t, asleep(id, true), func(t *testing.T, sim *smartcartest.Server, user *smartcar.User) {
				v := user.Vehicle(id)
				poll(t, v, time.Minute, day)
				require.LessOrEqual(t, countedData(sim, id), 30)
				require.Greater(t, countedData(sim, id), 20, "and it is asked again")
				_, err := v.Battery(t.Context())
				var limited *smartcar.RateLimitError
				require.ErrorAs(t, err, &limited)
				require.Equal(t, smartcar.RuleAsleep, limited.Rule)
				require.NoError(t, sim.Wake(id))
				time.Sleep(time.Hour)
				_, err = v.Battery(t.Context())
				require.NoError(t, err)
				require.Empty(t, sim.BrokenWindows(id))
			})
		})
		t.Run(name+", watched", func(t *testing.T) {
			onEitherAPIWith(t, asleep(id, true), func(t *testing.T, sim *smartcartest.Server, user *smartcar.User) {
				ctx, cancel := context.WithTimeout(t.Context(), day)
				defer cancel()
				var yielded []error
				for s, err := range user.Vehicle(id).Watch(ctx, smartcar.Battery, smartcar.Odometer) {
					if err == nil { // of a batch, each item says it
						_, err = s.Battery()
					}
					yielded = append(yielded, err)
				}
				require.Len(t, yielded, 2, "that it sleeps, once, and the end")
				require.ErrorIs(t, yielded[0], smartcar.ErrAsleep)
				require.ErrorIs(t, yielded[1], context.DeadlineExceeded)
				require.LessOrEqual(t, countedData(sim, id), 30)
			})
		})
	}
	t.Run("legacy, with its last values", func(t *testing.T) {
		onEitherAPIWith(t, asleep(smartcartest.ModelX2020, false), func(t *testing.T, sim *smartcartest.Server, user *smartcar.User) {
			v := user.Vehicle(smartcartest.ModelX2020)
			require.Equal(t, 24*60, poll(t, v, time.Minute, day), "each read has an answer")
			require.LessOrEqual(t, countedData(sim, v.ID()), 30)
		})
	})
	t.Run("a command wakes it", func(t *testing.T) {
		onEitherAPIWith(t, asleep(smartcartest.ModelX2020, true), func(t *testing.T, sim *smartcartest.Server, user *smartcar.User) {
			v := user.Vehicle(smartcartest.ModelX2020)
			poll(t, v, time.Minute, 2*time.Hour)
			_, err := v.Battery(t.Context())
			require.ErrorIs(t, err, smartcar.ErrRateLimited)
			require.NoError(t, sim.Wake(v.ID()))
			_, err = v.Lock(t.Context())
			require.NoError(t, err)
			_, err = v.Battery(t.Context())
			require.NoError(t, err)
		})
	})
}

// onEitherAPIWith runs a story on both versions, with an owner of such a garage.
func onEitherAPIWith(t *testing.T, garage smartcartest.Option, story func(t *testing.T, sim *smartcartest.Server, user *smartcar.User)) {
	t.Helper()
	for _, api := range []smartcar.API{smartcar.V2, smartcar.V3} {
		t.Run(string(api), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sim := smartcartest.New(garage)
				client := apiClient(t, sim, api)
				story(t, sim, client.User(connect(t, sim, client).UserID))
			})
		})
	}
}

// Case 9.2: an owner who grants the battery alone. Whatever Smartcar answers to the
// second read, it says how often the car answers. Where it repeats old data, nothing
// says so, and the car is asked at the pace of one that sleeps.
func TestCases9OwnersWhoGrantTheBatteryAlone(t *testing.T) {
	for name, tt := range map[string]struct {
		answer smartcartest.KeylessAnswer
		bare   bool
		most   int
	}{
		"limited":                {smartcartest.RateLimited, false, 2},
		"limited without a time": {smartcartest.RateLimited, true, 2},
		"key required":           {smartcartest.KeyRequired, false, 2},
		"old data":               {smartcartest.StaleData, false, 250},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sim := smartcartest.New(smartcartest.WithKeylessAnswer(tt.answer))
				client := newClientOver(t, sim, roundTripper(func(r *http.Request) (*http.Response, error) {
					resp, err := sim.Transport().RoundTrip(r)
					if err == nil && tt.bare {
						resp.Header.Del("Retry-After")
					}
					return resp, err
				}))
				v := client.User(connect(t, sim, client).UserID).Vehicle(smartcartest.ModelY)
				require.NoError(t, sim.SetPermissions(v.ID(), "read_battery"))
				read := poll(t, v, time.Minute, 3*day)
				require.GreaterOrEqual(t, read, 8, "and each turn is used")
				require.LessOrEqual(t, len(sim.BrokenWindows(v.ID())), tt.most)
			})
		})
	}
}

// Case group 11: v3, read before anything was stored.
func TestCases11NothingStoredIsNoTurn(t *testing.T) {
	for _, id := range []string{smartcartest.ModelY, smartcartest.Model3, smartcartest.ModelS2018} {
		unsubscribed := garageWith(id, func(c *smartcartest.Car) { c.NeverSubscribed = true })
		start := func(t *testing.T) (*smartcartest.Server, *smartcar.Vehicle) {
			sim := smartcartest.New(unsubscribed)
			v := onV3(t, sim).Vehicle(id)
			_, err := v.Battery(t.Context())
			require.Error(t, err)
			_, err = v.Battery(t.Context())
			var limited *smartcar.RateLimitError
			require.ErrorAs(t, err, &limited)
			require.Equal(t, smartcar.RuleNothingStored, limited.Rule)
			return sim, v
		}
		t.Run("subscribed, "+id, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sim, v := start(t)
				hook, err := sim.AddWebhook(t.Context(), smartcartest.Webhook{
					CallbackURL: "https://example.com/hook", Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) }),
				})
				_ = err
				require.NoError(t, v.Subscribe(t.Context(), hook))
				time.Sleep(time.Minute)
				_, err = v.Battery(t.Context())
				require.NoError(t, err)
				require.Empty(t, sim.BrokenWindows(id))
			})
		})
		t.Run("by the pause, "+id, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sim, v := start(t)
				poll(t, v, time.Minute, day)
				require.LessOrEqual(t, countedData(sim, id), 30)
			})
		})
	}
}

// Case 21.1: Every is honored for a legacy car.
func TestCases21EveryOfALegacyCar(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		_, user := connected(t, sim)
		v := user.Vehicle(smartcartest.ModelS2018).With(smartcar.Every(2 * time.Hour))
		at, failed := watchFor(t, v, day-time.Second)
		require.Len(t, at, 12)
		require.Len(t, failed, 1)
		require.ErrorIs(t, failed[0], context.DeadlineExceeded)
		require.Equal(t, 12, countedData(sim, v.ID()))
	})
}
