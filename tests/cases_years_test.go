package smartcar_test

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/smartcartest"
	"github.com/seed-498a1bc4/smartcar/store"
	"github.com/stretchr/testify/require"
)

// What stands between a refused token and another one is what the caller has to
// know: an outage passes, a secret that was changed does not.
func TestCaseRenewalThatFailsAfterA401(t *testing.T) {
	refused := smartcartest.Fault{Path: "/" + smartcartest.MachE, Status: 401, Body: `{"type":"AUTHENTICATION","code":null}`, Times: -1}
	for name, tt := range map[string]struct {
		api       smartcar.API
		path      string
		fault     smartcartest.Fault
		is        error
		not       error
		text      string
		retryable bool
	}{
		"v2, the endpoint is down":  {smartcar.V2, "/oauth/token", smartcartest.Fault{Status: 503}, smartcar.ErrUnavailable, smartcar.ErrUnauthorized, "503", true},
		"v2, the secret is changed": {smartcar.V2, "/oauth/token", smartcartest.Fault{Status: 401, ErrorType: "invalid_client"}, smartcar.ErrUnauthorized, smartcar.ErrReconnectRequired, "invalid_client", false},
		"v2, the grant has ended":   {smartcar.V2, "/oauth/token", smartcartest.Fault{Status: 400, ErrorType: "invalid_grant"}, smartcar.ErrReconnectRequired, smartcar.ErrUnavailable, "invalid_grant", false},
		"v3, the endpoint is down":  {smartcar.V3, "/oauth2/token", smartcartest.Fault{Status: 503}, smartcar.ErrUnavailable, smartcar.ErrUnauthorized, "503", true},
		"v3, the secret is changed": {smartcar.V3, "/oauth2/token", smartcartest.Fault{Status: 401, ErrorType: "invalid_client"}, smartcar.ErrUnauthorized, smartcar.ErrUnavailable, "invalid_client", false},
		"v3, the network is away":   {smartcar.V3, "/oauth2/token", smartcartest.Fault{DropBefore: true}, smartcar.ErrUnavailable, smartcar.ErrUnauthorized, "no answer", true},
	} {
		for _, kind := range []string{"read", "command"} {
			t.Run(name+", "+kind, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					sim := smartcartest.New()
					client := apiClient(t, sim, tt.api)
					v := client.User(connect(t, sim, client).UserID).Vehicle(smartcartest.MachE)
					_, err := v.Odometer(t.Context())
					require.NoError(t, err)
					sim.Inject(refused)
					tt.fault.Path, tt.fault.Times = tt.path, -1
					sim.Inject(tt.fault)
					if kind == "read" {
						_, err = v.Odometer(t.Context())
					} else {
						_, err = v.Lock(t.Context())
					}
					require.ErrorIs(t, err, tt.is)
					require.NotErrorIs(t, err, tt.not)
					require.NotErrorIs(t, err, smartcar.ErrVehicleGone)
					require.ErrorContains(t, err, tt.text)
					require.Equal(t, tt.retryable, smartcar.Retryable(err))
					require.False(t, smartcar.MayHaveSucceeded(err), "it was refused for its token")
				})
			})
		}
	}
}

// The turn of a keyless car is not gone with a token that could not be renewed.
func TestRenewalThatFailsGivesTheTurnBack(t *testing.T) {
	for name, fault := range map[string]smartcartest.Fault{
		"the secret is changed": {Status: 401, ErrorType: "invalid_client"}, "the endpoint is down": {Status: 503},
	} {
		t.Run(name, func(t *testing.T) {
			bothAPIs(t, func(t *testing.T, sim *smartcartest.Server, _ *smartcar.Client, user *smartcar.User) {
				v := user.Vehicle(smartcartest.ModelY)
				_, err := v.Access(t.Context())
				require.NoError(t, err)
				sim.Inject(refusesTheToken)
				fault.Path, fault.Times = "/token", -1
				sim.Inject(fault)
				_, err = v.Battery(t.Context())
				require.Error(t, err)
				require.NotErrorIs(t, err, smartcar.ErrRateLimited)
				sim.ClearFaults()
				d, err := v.Diagnosis(t.Context())
				require.NoError(t, err)
				require.Equal(t, smartcar.TurnGivenBack, d.Gave)
				_, err = v.Battery(t.Context())
				require.NoError(t, err)
				require.Empty(t, sim.BrokenWindows(v.ID()))
			}, smartcar.WithRetry(smartcar.RetryPolicy{MaxAttempts: 1}))
		})
	}
}

// rewriteGrants edits what is stored of the tokens.
func rewriteGrants(t *testing.T, db *spoiledStore, edit func(grant map[string]any)) {
	t.Helper()
	for key := range db.seenKeys {
		if !strings.HasPrefix(key, "grant/") {
			continue
		}
		record, err := db.Load(t.Context(), key)
		require.NoError(t, err)
		var grant map[string]any
		require.NoError(t, json.Unmarshal(record.Value, &grant))
		edit(grant)
		value, err := json.Marshal(grant)
		require.NoError(t, err)
		_, err = db.CompareAndSwap(t.Context(), key, record.Revision, value, 0)
		require.NoError(t, err)
	}
}

// A refresh token that is damaged will never be taken: the owner has to connect
// again, unless the one that it replaced is still alive.
func TestRefreshTokenWithoutTheFormOfOne(t *testing.T) {
	for _, spare := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			sim := smartcartest.New()
			db := newSpoiledStore()
			_, user := connected(t, sim, smartcar.WithStore(db))
			rewriteGrants(t, db, func(grant map[string]any) {
				if spare {
					grant["spare"] = grant["refresh_token"]
				}
				grant["refresh_token"] = "damaged"
			})
			time.Sleep(3 * time.Hour)
			v := newClient(t, sim, smartcar.WithStore(db)).User(user.ID()).Vehicle(smartcartest.MachE)
			_, err := v.Odometer(t.Context())
			if spare {
				require.NoError(t, err)
				return
			}
			require.ErrorIs(t, err, smartcar.ErrReconnectRequired)
			require.NotContains(t, err.Error(), "damaged")
		})
	}
}

// The two sentinels mean the same on both APIs.
func TestCaseCarThatIsGone(t *testing.T) {
	bothAPIs(t, func(t *testing.T, sim *smartcartest.Server, _ *smartcar.Client, user *smartcar.User) {
		v := user.Vehicle(smartcartest.MachE)
		_, err := v.Battery(t.Context())
		require.NoError(t, err)
		sim.Disconnect(v.ID())
		for range 3 {
			_, err = v.Battery(t.Context())
			require.ErrorIs(t, err, smartcar.ErrVehicleGone)
			require.NotErrorIs(t, err, smartcar.ErrNothingStored)
			require.False(t, smartcar.Retryable(err))
		}
		_, err = v.Lock(t.Context())
		require.ErrorIs(t, err, smartcar.ErrVehicleGone)
		_, err = user.Vehicle(smartcartest.Model3).Battery(t.Context())
		require.NoError(t, err, "the others are still there")
	})
}

func TestNothingStoredYet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, tap := tapped(t, smartcartest.New())
		v := client.User("u1").Vehicle("v1")
		body := `{"data":[],"meta":{"totalCount":0}}`
		tap.instead = onlyTo("/signals", func(sentRequest) *http.Response { return respond(200, body) })
		_, err := v.With(smartcar.IgnorePolicy()).Battery(t.Context())
		require.ErrorIs(t, err, smartcar.ErrNothingStored)
		require.ErrorIs(t, err, smartcar.ErrNotFound)
		require.NotErrorIs(t, err, smartcar.ErrVehicleGone)

		body = `{"data":[{"id":"odometer-traveleddistance","attributes":{"code":"odometer-traveleddistance","body":{"value":1}}}],"meta":{"totalCount":9}}`
		_, err = v.With(smartcar.IgnorePolicy()).Battery(t.Context())
		require.ErrorIs(t, err, smartcar.ErrNotFound)
		require.NotErrorIs(t, err, smartcar.ErrNothingStored, "not all that is stored was sent")
	})
}

// requestLimit is what Smartcar answers once the calls of a car's month are used up.
func requestLimit(path string) smartcartest.Fault {
	return smartcartest.Fault{Path: path, ErrorType: "BILLING", ErrorCode: "VEHICLE_REQUEST_LIMIT", Times: -1}
}

// sentTo counts the requests for a car, of whatever kind.
func sentTo(sim *smartcartest.Server, vehicleID string) (n int) {
	for _, r := range sim.Requests() {
		if strings.Contains(r.Path, "/vehicles/"+vehicleID) {
			n++
		}
	}
	return n
}

// A month's allowance does not come back by asking: one request, and then one a
// day to see whether it has. Commands are sent all the same.
func TestCaseMonthThatIsUsedUp(t *testing.T) {
	for _, id := range []string{smartcartest.MachE, smartcartest.ModelY} {
		bothAPIs(t, func(t *testing.T, sim *smartcartest.Server, _ *smartcar.Client, user *smartcar.User) {
			v := user.Vehicle(id)
			sim.Inject(requestLimit(id))
			before := sentTo(sim, id)
			for range 3 {
				_, err := v.Battery(t.Context())
				require.ErrorIs(t, err, smartcar.ErrBilling)
				require.ErrorIs(t, err, smartcar.ErrRateLimited)
				require.False(t, smartcar.Retryable(err))
				var limit *smartcar.RateLimitError
				require.ErrorAs(t, err, &limit)
				require.Equal(t, smartcar.RuleBudget, limit.Rule)
				at, ok := smartcar.NextAllowed(err)
				require.True(t, ok)
				require.WithinRange(t, at, time.Now().Add(time.Minute), time.Now().Add(24*time.Hour))
			}
			require.Equal(t, before+1, sentTo(sim, id))
			_, _ = v.Lock(t.Context())
			require.Equal(t, before+2, sentTo(sim, id), "a command is never refused for money")
			_, _ = v.With(smartcar.IgnorePolicy()).Battery(t.Context())
			require.Equal(t, before+3, sentTo(sim, id))

			before = sentTo(sim, id)
			for range 10 * 24 * 6 {
				time.Sleep(10 * time.Minute)
				_, err := v.Battery(t.Context())
				require.ErrorIs(t, err, smartcar.ErrBilling)
			}
			require.InDelta(t, 10, sentTo(sim, id)-before, 2, "one a day")

			sim.ClearFaults()
			time.Sleep(24 * time.Hour)
			_, err := v.Battery(t.Context())
			require.NoError(t, err, "the month has begun, or the plan is another one")
			require.Empty(t, sim.BrokenWindows(id))
		})
	}
}

// Many callers at the moment when it may be tried again are one request.
func TestMonthThatIsUsedUpHasOneProbe(t *testing.T) {
	bothAPIs(t, func(t *testing.T, sim *smartcartest.Server, _ *smartcar.Client, user *smartcar.User) {
		v := user.Vehicle(smartcartest.MachE)
		_, err := v.Battery(t.Context())
		require.NoError(t, err)
		limit := requestLimit(v.ID())
		limit.Latency = time.Second
		sim.Inject(limit)
		_, err = v.Battery(t.Context())
		require.ErrorIs(t, err, smartcar.ErrBilling)
		access, err := v.Access(t.Context())
		require.NoError(t, err)
		require.Equal(t, smartcar.RuleBudget, access.Rule)
		time.Sleep(time.Until(access.NextRead) + time.Second)
		before := sentTo(sim, v.ID())
		for _, err := range allOf(100, func(int) error { _, err := v.Battery(t.Context()); return err }) {
			require.ErrorIs(t, err, smartcar.ErrBilling)
		}
		require.Equal(t, before+1, sentTo(sim, v.ID()))
	})
}

// A watch outlasts the month, and says once that it is used up.
func TestWatchOutlastsTheMonth(t *testing.T) {
	bothAPIs(t, func(t *testing.T, sim *smartcartest.Server, _ *smartcar.Client, user *smartcar.User) {
		v := user.Vehicle(smartcartest.MachE)
		limit := requestLimit(v.ID())
		limit.Times = 6
		sim.Inject(limit)
		began, failed := time.Now(), 0
		for snapshot, err := range v.Watch(t.Context(), smartcar.Battery) {
			if err == nil {
				require.NotNil(t, snapshot)
				break
			}
			require.ErrorIs(t, err, smartcar.ErrBilling)
			failed++
		}
		require.Equal(t, 1, failed)
		require.Less(t, time.Since(began), 8*24*time.Hour)
	})
}

// What is refused here leaves a line, a command as well as a read.
func TestCaseRefusedCommandIsLogged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		sim := smartcartest.New()
		_, user := connected(t, sim, smartcar.WithLogger(slog.New(slog.NewTextHandler(&log, nil))))
		v := user.Vehicle(smartcartest.ModelY)
		_, err := v.Battery(t.Context())
		require.NoError(t, err)
		_, err = v.Battery(t.Context())
		require.ErrorIs(t, err, smartcar.ErrRateLimited)
		_, err = v.Lock(t.Context())
		var missing *smartcar.VirtualKeyRequiredError
		require.ErrorAs(t, err, &missing)
		require.True(t, missing.Local)
		lines := strings.Split(strings.TrimSpace(log.String()), "\n")
		refused := lines[len(lines)-2:]
		require.Contains(t, refused[0], "level=INFO")
		require.Contains(t, refused[0], "operation=battery")
		require.Contains(t, refused[1], "level=INFO")
		require.Contains(t, refused[1], "operation=lock")
		require.Contains(t, refused[1], "vehicle="+v.ID())
		require.NotContains(t, log.String(), "tesla.com")
	})
}

// Two applications, and two modes of one, share a store and do not meet; what the
// first one had stored before it shared is still found.
func TestApplicationsThatShareAStore(t *testing.T) {
	onEitherAPI(t, func(t *testing.T, sim *smartcartest.Server, api smartcar.API) {
		db := newSpoiledStore()
		alone := apiClient(t, sim, api, smartcar.WithStore(db))
		user := alone.User(connect(t, sim, alone).UserID)
		_, err := user.Vehicle(smartcartest.ModelY).Battery(t.Context())
		require.NoError(t, err)

		shared := apiClient(t, sim, api, smartcar.WithStore(db), smartcar.WithSharedStore())
		v := shared.User(user.ID()).Vehicle(smartcartest.ModelY)
		_, err = v.Battery(t.Context())
		require.ErrorIs(t, err, smartcar.ErrRateLimited, "the window is still known, and the login with it")
		before := len(db.live(t))
		_, err = shared.User(user.ID()).Vehicle(smartcartest.Model3).Battery(t.Context())
		require.NoError(t, err)
		after := db.live(t)
		require.Greater(t, len(after), before)
		require.True(t, slices.ContainsFunc(after, func(key string) bool {
			return strings.HasPrefix(key, "app/"+sim.ClientID()+"/live/car/")
		}), after)
		_, err = alone.User(user.ID()).Vehicle(smartcartest.ModelY).Battery(t.Context())
		require.ErrorIs(t, err, smartcar.ErrRateLimited, "both work with the one record")
		require.Empty(t, sim.BrokenWindows(smartcartest.ModelY))

		simulated := apiClient(t, sim, api, smartcar.WithStore(db), smartcar.WithSharedStore(), smartcar.WithMode(smartcar.ModeSimulated))
		connect(t, sim, simulated)
		require.True(t, slices.ContainsFunc(db.live(t), func(key string) bool {
			return strings.HasPrefix(key, "app/"+sim.ClientID()+"/simulated/")
		}) || api == smartcar.V3, db.live(t))
	})
}

// The operator's way out: what was learned wrong is learned again, and the window that
// is open stays shut.
func TestResetCar(t *testing.T) {
	bothAPIs(t, func(t *testing.T, sim *smartcartest.Server, _ *smartcar.Client, user *smartcar.User) {
		v := user.Vehicle(smartcartest.ModelY)
		_, err := v.Battery(t.Context())
		require.NoError(t, err)
		require.NoError(t, v.ResetCar(t.Context()))
		_, err = v.Battery(t.Context())
		require.ErrorIs(t, err, smartcar.ErrRateLimited)
		require.Empty(t, sim.BrokenWindows(v.ID()))
		access, err := v.Access(t.Context())
		require.NoError(t, err)
		require.Equal(t, smartcar.ClassStreaming, access.Class)

		// A car of which the application had said that the key is missing.
		paired := user.Vehicle(smartcartest.Model3)
		_, err = paired.Battery(t.Context())
		require.NoError(t, err)
		require.NoError(t, paired.SetKeyState(t.Context(), smartcar.KeyMissing))
		_, _ = paired.Battery(t.Context()) // may take its turn
		require.NoError(t, paired.ResetCar(t.Context()))
		status, err := paired.KeyStatus(t.Context())
		require.NoError(t, err)
		require.NotEqual(t, smartcar.KeyMissing, status.State)
	})
}

// A pause holds in every process, for reads; commands are sent.
func TestPause(t *testing.T) {
	onEitherAPI(t, func(t *testing.T, sim *smartcartest.Server, api smartcar.API) {
		db := smartcar.WithStore(store.NewMemory())
		client := apiClient(t, sim, api, db)
		user := client.User(connect(t, sim, client).UserID)
		until := time.Now().Add(10 * 24 * time.Hour)
		for _, id := range []string{smartcartest.MachE, smartcartest.Model3, smartcartest.ModelS2018} {
			v, elsewhere := user.Vehicle(id), apiClient(t, sim, api, db).User(user.ID()).Vehicle(id)
			_, err := v.Battery(t.Context())
			require.NoError(t, err)
			require.NoError(t, v.Pause(t.Context(), until))
			time.Sleep(2 * time.Hour) // a legacy car's answer of before is no longer current
			for _, paused := range []*smartcar.Vehicle{v, elsewhere} {
				_, err = paused.Odometer(t.Context())
				var limit *smartcar.RateLimitError
				require.ErrorAs(t, err, &limit)
				require.Equal(t, smartcar.RulePaused, limit.Rule)
				require.True(t, limit.Local)
				require.WithinDuration(t, until, limit.NextAllowed, time.Second)
				access, err := paused.Access(t.Context())
				require.NoError(t, err)
				require.Equal(t, smartcar.RulePaused, access.Rule)
			}
			_, err = v.Lock(t.Context())
			require.NoError(t, err)
			require.NoError(t, v.ResetCar(t.Context()))
			_, err = v.Odometer(t.Context())
			require.ErrorIs(t, err, smartcar.ErrRateLimited, "a reset does not end it")
			require.NoError(t, elsewhere.Pause(t.Context(), time.Time{}))
			_, err = v.With(smartcar.IgnorePolicy()).Odometer(t.Context())
			require.NoError(t, err)
		}
		v := user.Vehicle(smartcartest.MachE)
		require.NoError(t, v.Pause(t.Context(), until))
		require.NoError(t, v.Wait(t.Context()))
		require.WithinDuration(t, until, time.Now(), time.Second)
		_, err := v.Odometer(t.Context())
		require.NoError(t, err)
	})
}

// A snapshot as JSON is what was read, and where the car is only if that was read.
func TestCaseSnapshotAsJSON(t *testing.T) {
	bothAPIs(t, func(t *testing.T, sim *smartcartest.Server, client *smartcar.Client, user *smartcar.User) {
		v := user.Vehicle(smartcartest.MachE)
		s, err := v.Snapshot(t.Context(), smartcar.Battery, smartcar.Odometer, smartcar.EngineOil)
		require.NoError(t, err)
		battery, err := s.Battery()
		require.NoError(t, err)
		_, oilErr := s.EngineOil()
		require.Error(t, oilErr)
		text, err := json.Marshal(s)
		require.NoError(t, err)
		var read struct {
			Results struct {
				Battery  smartcar.BatteryReading  `json:"battery"`
				Odometer smartcar.OdometerReading `json:"odometer"`
			} `json:"results"`
			Errors map[smartcar.Operation]string `json:"errors"`
		}
		require.NoError(t, json.Unmarshal(text, &read))
		require.Equal(t, *battery, read.Results.Battery)
		require.NotNil(t, read.Results.Odometer.Distance)
		require.Equal(t, map[smartcar.Operation]string{smartcar.EngineOil: oilErr.Error()}, read.Errors)
		require.NotContains(t, string(text), "atitude")

		s, err = v.Snapshot(t.Context(), smartcar.Location)
		require.NoError(t, err)
		text, err = json.Marshal(s)
		require.NoError(t, err)
		require.Contains(t, string(text), "Latitude")
		var log strings.Builder
		slog.New(slog.NewJSONHandler(&log, nil)).Info("read", "snapshot", s)
		require.NotContains(t, log.String(), "atitude")
		text, err = json.Marshal(new(smartcar.Snapshot))
		require.NoError(t, err)
		require.JSONEq(t, `{"results":{}}`, string(text))
		if client.API() == smartcar.V3 {
			s, err = v.Snapshot(t.Context(), smartcar.AllSignals)
			require.NoError(t, err)
			text, err = json.Marshal(s)
			require.NoError(t, err)
			require.Contains(t, string(text), "odometer-traveleddistance")
		}
	})
}

// The answer to a raw request, too.
func TestResponseAsJSON(t *testing.T) {
	for body, want := range map[string]string{
		`{"latitude":52.5}`: `{"latitude":52.5}`, ` [1] `: `[1]`, `null`: `null`, ``: ``,
	} {
		response, err := cannedVehicle(t, newCanned(t).on("GET /v2.0/vehicles/{id}/x", jsonReply(200, body))).
			Request(t.Context(), smartcar.Request{Path: "x"})
		require.NoError(t, err)
		text, err := json.Marshal(map[string]any{"answer": response})
		require.NoError(t, err)
		var read struct {
			Answer struct {
				smartcar.Meta
				StatusCode int
				Body       json.RawMessage
			} `json:"answer"`
		}
		require.NoError(t, json.Unmarshal(text, &read))
		require.Equal(t, want, string(read.Answer.Body))
		require.Equal(t, 200, read.Answer.StatusCode)
		require.Equal(t, response.Meta, read.Answer.Meta)
		var log strings.Builder
		slog.New(slog.NewJSONHandler(&log, nil)).Info("read", "response", response)
		require.NotContains(t, log.String(), "atitude")
	}
}
