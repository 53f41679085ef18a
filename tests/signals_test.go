package smartcar_test

import (
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

func TestSignalsOfAVehicle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		client, tap := tapped(t, sim)
		v := client.User(connect(t, sim, client).UserID).Vehicle(smartcartest.MachE)
		read, err := v.Signals(t.Context())
		require.NoError(t, err)
		require.Equal(t, 93, read.Len())
		require.False(t, read.Incomplete())
		require.Equal(t, smartcar.SourceLive, read.Source)
		require.NotEmpty(t, read.RequestID)
		require.False(t, read.RecordedAt.IsZero() || read.FetchedAt.IsZero() || read.ReceivedAt.IsZero())
		charge, err := read.TractionBatteryStateOfCharge()
		require.NoError(t, err)
		require.Equal(t, smartcar.UnitPercent, charge.Unit)
		battery, err := v.Battery(t.Context())
		require.NoError(t, err)
		require.InDelta(t, *battery.Percent, *charge.Value, 0.01)

		_, err = read.ConnectivityStatusIsDigitalKeyPaired()
		require.ErrorIs(t, err, smartcar.ErrNotSupported)
		require.Equal(t, read.RequestID, requireError(t, err).RequestID, "an error inside an answer names its request")
		_, err = read.Raw("no-such")
		require.ErrorIs(t, err, smartcar.ErrNotFound)
		require.Equal(t, read.RequestID, requireError(t, err).RequestID)

		snapshot, err := v.Snapshot(t.Context(), smartcar.AllSignals, smartcar.Odometer, smartcar.Attributes)
		require.NoError(t, err)
		again, err := snapshot.Signals()
		require.NoError(t, err)
		require.Equal(t, 93, again.Len())
		odometer, err := snapshot.Odometer()
		require.NoError(t, err)
		distance, err := again.OdometerTraveledDistance()
		require.NoError(t, err)
		require.InDelta(t, *distance.Value, *odometer.Distance, 0)
		attributes, err := snapshot.Attributes()
		require.NoError(t, err)
		require.Equal(t, "FORD", attributes.Make)
		require.Len(t, tap.to("/signals"), 3)
		for _, r := range tap.to("/signals") {
			require.Equal(t, v.UserID(), r.header.Get("Sc-User-Id"))
			require.Empty(t, r.body)
		}
		_, err = (&smartcar.Snapshot{}).Signals()
		require.ErrorIs(t, err, smartcar.ErrNotRequested)
	})
}

func TestOneSignal(t *testing.T) {
	for name, variants := range map[string]smartcartest.Variants{"as seen live": {}, "bare": {BareSignal: true}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sim := smartcartest.New(smartcartest.WithVariants(variants))
				client, tap := tapped(t, sim)
				v := client.User(connect(t, sim, client).UserID).Vehicle(smartcartest.MachE)
				read, err := v.Signal(t.Context(), signals.TractionBatteryStateOfCharge)
				require.NoError(t, err)
				require.Equal(t, 1, read.Len())
				charge, err := read.TractionBatteryStateOfCharge()
				require.NoError(t, err)
				require.NotNil(t, charge.Value)
				_, err = read.OdometerTraveledDistance()
				require.ErrorIs(t, err, smartcar.ErrNotFound)
				require.True(t, strings.HasSuffix(tap.to("/signals/")[0].path, "/signals/tractionbattery-stateofcharge"))

				_, err = v.Signal(t.Context(), "no-such")
				require.ErrorIs(t, err, smartcar.ErrNotFound)
				require.Equal(t, "SIGNAL_NOT_FOUND", requireError(t, err).Code)
				require.NoError(t, sim.SetPermissions(smartcartest.MachE, "read_vehicle_info"))
				_, err = v.Signal(t.Context(), signals.TractionBatteryStateOfCharge)
				require.ErrorIs(t, err, smartcar.ErrPermission)
				all, err := v.Signals(t.Context())
				require.NoError(t, err)
				_, err = all.TractionBatteryStateOfCharge()
				require.ErrorIs(t, err, smartcar.ErrPermission)
			})
		})
	}
}

// A single signal takes the turn of a keyless car, and is not kept.
func TestOneSignalTakesATurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		v := onV3(t, sim).Vehicle(smartcartest.ModelY)
		for range 3 { // what is not there costs nothing
			_, err := v.Signal(t.Context(), "no-such")
			require.ErrorIs(t, err, smartcar.ErrNotFound)
		}
		read, err := v.Signal(t.Context(), signals.ConnectivityStatusIsDigitalKeyPaired)
		require.NoError(t, err)
		paired, err := read.ConnectivityStatusIsDigitalKeyPaired()
		require.NoError(t, err)
		require.False(t, *paired.Value)
		_, err = v.Signals(t.Context())
		require.ErrorIs(t, err, smartcar.ErrRateLimited)
		_, err = v.With(smartcar.AllowStale()).Signals(t.Context())
		require.ErrorIs(t, err, smartcar.ErrRateLimited, "one is not all")
		access, err := v.Access(t.Context())
		require.NoError(t, err)
		require.Equal(t, smartcar.KeyMissing, access.Key.State)
		require.Equal(t, smartcar.KeyFromSignal, access.Key.Source)

		time.Sleep(8 * time.Hour)
		first, err := v.Signals(t.Context())
		require.NoError(t, err)
		stale, err := v.With(smartcar.AllowStale()).Signals(t.Context())
		require.NoError(t, err)
		require.True(t, stale.Stale)
		require.Equal(t, first.Len(), stale.Len())
		require.Empty(t, sim.BrokenWindows(smartcartest.ModelY))
	})
}

// Nothing is stored of a car that no webhook was ever subscribed to.
func TestACarThatWasNeverSubscribed(t *testing.T) {
	for _, id := range []string{smartcartest.ModelY, smartcartest.MachE, smartcartest.ModelS2018} {
		t.Run(id, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sim := smartcartest.New(garageWith(id, func(c *smartcartest.Car) { c.NeverSubscribed = true }))
				client := apiClient(t, sim, smartcar.V3)
				v := client.User(connect(t, sim, client).UserID).Vehicle(id)
				access, err := v.Access(t.Context())
				require.NoError(t, err)
				require.False(t, access.NothingStored, "nobody has looked yet")

				_, err = v.Battery(t.Context())
				require.ErrorIs(t, err, smartcar.ErrNotFound)
				require.ErrorContains(t, err, "not stored")
				requireNothingStored(t, v)
				if id != smartcartest.MachE { // it was no turn, and it is not asked again at once
					_, err = v.Battery(t.Context())
					require.ErrorIs(t, err, smartcar.ErrRateLimited)
					next, _ := smartcar.NextAllowed(err)
					require.Equal(t, 5*time.Minute, time.Until(next))
					requireNothingStored(t, v)
					v = v.With(smartcar.IgnorePolicy())
				}
				snapshot, err := v.Snapshot(t.Context(), smartcar.Battery, smartcar.VIN, smartcar.Attributes)
				require.NoError(t, err)
				_, err = snapshot.VIN()
				require.ErrorIs(t, err, smartcar.ErrNotFound)
				attributes, err := snapshot.Attributes()
				require.NoError(t, err)
				require.NotEmpty(t, attributes.Make)
				read, err := v.Signals(t.Context())
				require.NoError(t, err)
				require.Zero(t, read.Len())
				_, err = v.Signal(t.Context(), signals.ChargeVoltage)
				require.ErrorIs(t, err, smartcar.ErrNotFound)
				requireNothingStored(t, v)
				subscribe(t, sim, id)
				_, err = v.Battery(t.Context())
				require.NoError(t, err)
				access, err = v.Access(t.Context())
				require.NoError(t, err)
				require.False(t, access.NothingStored)
				require.NotContains(t, access.Why, "webhook")
				require.Empty(t, sim.BrokenWindows(id))
			})
		})
	}
}

func requireNothingStored(t *testing.T, v *smartcar.Vehicle) {
	t.Helper()
	access, err := v.Access(t.Context())
	require.NoError(t, err)
	require.True(t, access.NothingStored)
	require.Contains(t, access.Why, "subscribe it to a webhook")
}

// subscribe makes Smartcar store the car's data.
func subscribe(t *testing.T, sim *smartcartest.Server, id string) {
	t.Helper()
	hook, err := sim.AddWebhook(t.Context(), smartcartest.Webhook{
		CallbackURL: "https://example.com/hook", Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}),
	})
	require.NotEmpty(t, hook, "%v", err)
	require.NoError(t, sim.Subscribe(hook, id))
}

// The list may be cut: what is missing then may be stored all the same.
func TestAShortListOfSignals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New(smartcartest.WithVariants(smartcartest.Variants{ShortSignals: true}))
		v := onV3(t, sim).Vehicle(smartcartest.ModelY)
		read, err := v.Signals(t.Context())
		require.NoError(t, err)
		require.True(t, read.Incomplete())
		_, err = read.WheelStyle()
		require.ErrorIs(t, err, smartcar.ErrNotFound)
		require.ErrorContains(t, err, "ask for this one alone")
		access, err := v.Access(t.Context())
		require.NoError(t, err)
		require.False(t, access.NothingStored)
		_, err = v.TirePressure(t.Context())
		require.ErrorIs(t, err, smartcar.ErrRateLimited)
		require.Empty(t, sim.BrokenWindows(smartcartest.ModelY))
	})
}

// A car's turn is used when its list was read, whatever was wanted of it.
func TestAListWithoutWhatWasWantedCostsTheTurn(t *testing.T) {
	entry := func(code, status string) string {
		return `{"id":"` + code + `","attributes":{"status":` + status + `}}`
	}
	for name, list := range map[string]string{
		"it is missing": entry("connectivitystatus-isdigitalkeypaired", `{"value":"SUCCESS"},"body":{"value":false}`),
		"it failed with a status": entry("connectivitystatus-isdigitalkeypaired", `{"value":"SUCCESS"},"body":{"value":false}`) + "," +
			entry("odometer-traveleddistance", `{"value":"ERROR","error":{"status":"501","type":"COMPATIBILITY","code":"VEHICLE_NOT_CAPABLE"}}`),
		"it is not permitted": entry("connectivitystatus-isdigitalkeypaired", `{"value":"SUCCESS"},"body":{"value":false}`) + "," +
			entry("odometer-traveleddistance", `{"value":"ERROR","error":{"status":"403","type":"PERMISSION","code":null}}`),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sim := smartcartest.New()
				client, tap := tapped(t, sim)
				v := client.User(connect(t, sim, client).UserID).Vehicle(smartcartest.ModelY)
				tap.instead = onlyTo("/signals", func(sentRequest) *http.Response { return respond(200, `{"data":[`+list+`]}`) })
				began := time.Now()
				_, err := v.Odometer(t.Context())
				require.Error(t, err)
				require.NotErrorIs(t, err, smartcar.ErrRateLimited)
				_, err = v.Odometer(t.Context())
				require.ErrorIs(t, err, smartcar.ErrRateLimited)
				at, ok := smartcar.NextAllowed(err)
				require.True(t, ok)
				require.True(t, at.Equal(began.Add(8*time.Hour)))
				require.Len(t, tap.to("/signals"), 1)
			})
		})
	}
}

// A number without a unit is metric, in whatever units it is asked for.
func TestNumbersWithoutAUnitAreMetric(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		client, tap := tapped(t, sim)
		user := client.User(connect(t, sim, client).UserID)
		signal := func(code signals.Code, body string) string { return signalEntry(code, success, body, "") }
		tap.instead = onlyTo("/signals", func(sentRequest) *http.Response {
			return respond(200, `{"data":[`+strings.Join([]string{
				signal("odometer-traveleddistance", `{"value":1609.344}`), signal("internalcombustionengine-amountremaining", `{"value":3.785411784}`),
				signal("internalcombustionengine-range", `{"value":1609.344,"unit":null}`), signal("tractionbattery-range", `{"value":1609.344}`),
				signal("wheel-tires", `{"values":[{"row":0,"column":0,"tirePressure":275.79029172673444}]}`),
			}, ",")+`]}`)
		})
		car := user.Vehicle(smartcartest.MachE).With(smartcar.InUnits(smartcar.Imperial))
		snapshot, err := car.Snapshot(t.Context(), smartcar.Odometer, smartcar.Fuel, smartcar.Battery, smartcar.TirePressure)
		require.NoError(t, err)
		odometer, err := snapshot.Odometer()
		require.NoError(t, err)
		fuel, err := snapshot.Fuel()
		require.NoError(t, err)
		battery, err := snapshot.Battery()
		require.NoError(t, err)
		tires, err := snapshot.TirePressure()
		require.NoError(t, err)
		require.InDelta(t, 1000, *battery.Range, 1e-9)
		require.InDelta(t, 40, *tires.FrontLeft, 1e-9)
		require.InDelta(t, 1000, *odometer.Distance, 1e-9)
		require.InDelta(t, 1, *fuel.Amount, 1e-9)
		require.InDelta(t, 1000, *fuel.Range, 1e-9)
	})
}

// A signal whose time no calendar has costs its operation nothing.
func TestSignalWithATimeOutOfTheCalendar(t *testing.T) {
	for _, at := range []string{`999999999999999`, `"9999-12-31T23:59:59-12:00"`, `"0000-01-01T00:00:00+12:00"`, `9223372036854775807`} {
		synctest.Test(t, func(t *testing.T) {
			sim := smartcartest.New()
			client, tap := tapped(t, sim)
			user := client.User(connect(t, sim, client).UserID)
			tap.instead = onlyTo("/signals", func(sentRequest) *http.Response {
				return respond(200, `{"data":[{"attributes":{"code":"odometer-traveleddistance","status":{"value":"SUCCESS"},"body":{"value":5,"unit":"km"}},"meta":{"oemUpdatedAt":`+at+`}}]}`)
			})
			odometer, err := user.Vehicle(smartcartest.MachE).Odometer(t.Context())
			require.NoError(t, err)
			require.InDelta(t, 5, *odometer.Distance, 0)
			require.True(t, odometer.RecordedAt.IsZero(), odometer.RecordedAt)
		})
	}
}

// An error inside a success keeps its type and code, in every envelope.
func TestErrorsInsideASuccessfulRead(t *testing.T) {
	inner := `{"type":"VEHICLE_STATE","code":"ASLEEP","status":"409","title":"Conflict"}`
	for _, body := range []string{`{"errors":[` + inner + `]}`, `{"error":` + inner + `}`, inner, `{"data":null,"errors":[` + inner + `]}`} {
		synctest.Test(t, func(t *testing.T) {
			sim := smartcartest.New()
			client, tap := tapped(t, sim)
			user := client.User(connect(t, sim, client).UserID)
			tap.instead = onlyTo("/signals", func(sentRequest) *http.Response { return respond(200, body) })
			_, err := user.Vehicle(smartcartest.MachE).Odometer(t.Context())
			require.ErrorIs(t, err, smartcar.ErrAsleep, body)
		})
	}
}

// What the two signals of charging say of different times: the newer one counts.
func TestChargeStateOfDifferentTimes(t *testing.T) {
	for name, tt := range map[string]struct{ detailed, is, want string }{
		"the detail is old": {`"oemUpdatedAt":"2026-11-23T07:00:00Z"`, `"oemUpdatedAt":"2026-11-24T07:00:00Z"`, "NOT_CHARGING"},
		"the detail is new": {`"oemUpdatedAt":"2026-11-24T07:00:00Z"`, `"oemUpdatedAt":"2026-11-23T07:00:00Z"`, "CHARGING"},
		"nobody knows":      {``, ``, "CHARGING"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sim := smartcartest.New()
				client, tap := tapped(t, sim)
				car := client.User(connect(t, sim, client).UserID).Vehicle(smartcartest.MachE)
				tap.instead = onlyTo("/signals", func(sentRequest) *http.Response {
					return respond(200, `{"data":[
						{"attributes":{"code":"charge-detailedchargingstatus","status":{"value":"SUCCESS"},"body":{"value":"CHARGING"}},"meta":{`+tt.detailed+`}},
						{"attributes":{"code":"charge-ischarging","status":{"value":"SUCCESS"},"body":{"value":false}},"meta":{`+tt.is+`}}]}`)
				})
				charge, err := car.Charge(t.Context())
				require.NoError(t, err)
				require.Equal(t, tt.want, charge.State)
			})
		})
	}
}
