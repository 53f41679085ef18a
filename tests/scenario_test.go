package smartcar_test

import (
	"errors"
	"net/http"
	"net/url"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/smartcartest"
	"github.com/stretchr/testify/require"
)

// seenCar is what a program sees of a car, in neutral terms.
type seenCar struct {
	make, model string
	year        int
	class       smartcar.VehicleClass
	key         smartcar.KeyState
	first       [2]float64 // percent, range
	secondFrom  smartcar.Source
	secondRule  smartcar.Rule
	secondNext  time.Time
	lock        string
	next        time.Time
	rule        smartcar.Rule
	needsKey    bool
	link        string
}

// The story of the quick start: connect, key link, first and second read, a
// refused command, the legacy cadence.
func TestEveryCarOfTheGarageOnBothAPIs(t *testing.T) {
	onBothAPIs(t, func(t *testing.T, api smartcar.API) map[string]seenCar {
		story := map[string]seenCar{} // the order of a list is no part of it
		sim := smartcartest.New()
		client := apiClient(t, sim, api)
		grant := connect(t, sim, client)
		require.Equal(t, sim.UserID(), grant.UserID)
		require.NoError(t, grant.VirtualKeyErr)
		require.Equal(t, "https://www.tesla.com/_ak/smartcar.com", grant.VirtualKeyURL.String())
		for v, err := range client.User(grant.UserID).Vehicles(t.Context()) {
			require.NoError(t, err)
			story[v.ID()] = seeCar(t, v)
			require.Empty(t, sim.BrokenWindows(v.ID()))
		}
		require.Len(t, story, 7)
		return story
	})
}

func seeCar(t *testing.T, v *smartcar.Vehicle) (c seenCar) {
	t.Helper()
	attributes, err := v.Attributes(t.Context())
	require.NoError(t, err)
	require.Equal(t, v.ID(), attributes.ID)
	c.make, c.model, c.year = attributes.Make, attributes.Model, attributes.Year

	battery, err := v.Battery(t.Context())
	require.NoError(t, err)
	require.Equal(t, smartcar.SourceLive, battery.Source)
	require.Equal(t, smartcar.Metric, battery.UnitSystem)
	c.first = [2]float64{*battery.Percent, *battery.Range}

	again, err := v.Battery(t.Context())
	var limited *smartcar.RateLimitError
	if errors.As(err, &limited) {
		require.True(t, limited.Local)
		c.secondRule, c.secondNext = limited.Rule, limited.NextAllowed
	} else {
		require.NoError(t, err)
		c.secondFrom = again.Source
		require.InDelta(t, *battery.Percent, *again.Percent, 0)
	}

	switch _, err := v.Lock(t.Context()); {
	case err == nil:
		c.lock = "sent"
	case errors.Is(err, smartcar.ErrVirtualKeyRequired):
		c.lock = "needs the key"
	default:
		require.NoError(t, err)
	}
	access, err := v.Access(t.Context())
	require.NoError(t, err)
	c.class, c.next, c.rule = access.Class, access.NextRead, access.Rule
	c.key, c.needsKey, c.link = access.Key.State, access.NeedsKey, access.VirtualKeyURL.String()
	return c
}

// pairing is the second half of the story.
type pairing struct {
	refusedUntil time.Time
	lock         string
	key          smartcar.KeyState
	percent      float64
	source       smartcar.Source
	again        smartcar.Source
	requests     int
	gone         time.Time // when the next read is allowed after the key was removed
}

func TestPairingOpensTheGateOnBothAPIs(t *testing.T) {
	onBothAPIs(t, func(t *testing.T, api smartcar.API) (p pairing) {
		sim := smartcartest.New()
		client := apiClient(t, sim, api)
		v := client.User(connect(t, sim, client).UserID).Vehicle(smartcartest.ModelY)
		_, err := v.Battery(t.Context())
		require.NoError(t, err)
		_, err = v.Battery(t.Context())
		p.refusedUntil, _ = smartcar.NextAllowed(err)
		require.ErrorIs(t, err, smartcar.ErrRateLimited)

		require.NoError(t, sim.Pair(smartcartest.ModelY))
		time.Sleep(16 * time.Minute) // the evidence of the missing key is old: a command looks again, or is sent
		result, err := v.Lock(t.Context())
		require.NoError(t, err)
		require.NotEmpty(t, result.Status)
		p.lock = "sent"
		status, err := v.KeyStatus(t.Context())
		require.NoError(t, err)
		p.key = status.State
		battery, err := v.Battery(t.Context())
		require.NoError(t, err)
		p.percent, p.source = *battery.Percent, battery.Source
		battery, err = v.Battery(t.Context())
		require.NoError(t, err)
		p.again = battery.Source
		p.requests = countedData(sim, smartcartest.ModelY)

		require.NoError(t, sim.Unpair(smartcartest.ModelY))
		time.Sleep(time.Minute)
		_, err = v.Lock(t.Context())
		require.ErrorIs(t, err, smartcar.ErrVirtualKeyRequired)
		access, err := v.Access(t.Context())
		require.NoError(t, err)
		require.True(t, access.NeedsKey)
		p.gone = access.NextRead
		require.Empty(t, sim.BrokenWindows(smartcartest.ModelY))
		return p
	})
}

// A day of a legacy car, polled each minute: the same reads at the same times.
func TestLegacyCadenceOnBothAPIs(t *testing.T) {
	if testing.Short() {
		t.Skip("asks once a minute for a day, on both APIs")
	}
	onBothAPIs(t, func(t *testing.T, api smartcar.API) (live []time.Time) {
		sim := smartcartest.New()
		client := apiClient(t, sim, api)
		v := client.User(connect(t, sim, client).UserID).Vehicle(smartcartest.ModelS2018)
		for range 24 * 60 {
			odometer, err := v.Odometer(t.Context())
			require.NoError(t, err)
			require.False(t, odometer.Stale)
			if odometer.Source == smartcar.SourceLive {
				live = append(live, odometer.RecordedAt)
			}
			time.Sleep(time.Minute)
		}
		require.InDelta(t, 288, len(live), 3)
		return live
	})
}

// neutralReads are the typed reads of one car, without what only one API knows
// of an answer.
func TestTypedReadsAreTheSameOnBothAPIs(t *testing.T) {
	for _, id := range []string{smartcartest.Model3, smartcartest.MachE} {
		for _, units := range []smartcar.UnitSystem{smartcar.Metric, smartcar.Imperial} {
			t.Run(id+" "+string(units), func(t *testing.T) {
				onBothAPIs(t, func(t *testing.T, api smartcar.API) map[smartcar.Operation]any {
					sim := smartcartest.New()
					client := apiClient(t, sim, api, smartcar.WithUnitSystem(units))
					v := client.User(connect(t, sim, client).UserID).Vehicle(id)
					snapshot, err := v.Snapshot(t.Context(), smartcar.Odometer, smartcar.Location, smartcar.Fuel, smartcar.Battery,
						smartcar.BatteryCapacity, smartcar.NominalCapacity, smartcar.Charge, smartcar.ChargeLimit,
						smartcar.TirePressure, smartcar.EngineOil, smartcar.LockStatus, smartcar.VIN, smartcar.TroubleCodes)
					require.NoError(t, err)
					return neutralReads(t, snapshot)
				})
			})
		}
	}
}

// The quickstart's story: connect, key link, first and second read, refused
// command, pairing, open gate.
func TestKeylessTeslaFromConnectToPairing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		sim := smartcartest.New()
		client := newClient(t, sim)
		grant := connect(t, sim, client)
		require.Equal(t, sim.UserID(), grant.UserID)
		require.Equal(t, "https://www.tesla.com/_ak/smartcar.com", grant.VirtualKeyURL.String())

		v := client.User(grant.UserID).Vehicle(smartcartest.ModelY)
		battery, err := v.Battery(ctx)
		require.NoError(t, err)
		require.NotNil(t, battery.Percent)
		require.Equal(t, smartcar.SourceLive, battery.Source)
		answered := time.Now()

		_, err = v.Odometer(ctx)
		var limited *smartcar.RateLimitError
		require.ErrorAs(t, err, &limited)
		require.True(t, limited.Local)
		require.Equal(t, smartcar.RuleKeyless, limited.Rule)
		require.WithinDuration(t, answered.Add(8*time.Hour), limited.NextAllowed, time.Second)

		_, err = v.Lock(ctx)
		var key *smartcar.VirtualKeyRequiredError
		require.ErrorAs(t, err, &key)
		require.True(t, key.Local)
		require.Equal(t, grant.VirtualKeyURL, key.URL)

		require.NoError(t, sim.Pair(smartcartest.ModelY))
		status, err := v.KeyStatus(ctx)
		require.NoError(t, err)
		require.Equal(t, smartcar.KeyInstalled, status.State)
		_, err = v.Odometer(ctx)
		require.NoError(t, err)
		_, err = v.Lock(ctx)
		require.NoError(t, err)
		require.Empty(t, sim.BrokenWindows(smartcartest.ModelY))
	})
}

// Pairing is seen within the same millisecond as the refusal before it, by a
// clock that counts nanoseconds.
func TestPairingIsSeenAtOnceByAnyClock(t *testing.T) {
	for _, offset := range []time.Duration{0, 1, 300, 999_999, time.Millisecond + 1} {
		t.Run(offset.String(), func(t *testing.T) {
			clock := new(simClock)
			clock.advance(offset)
			sim := smartcartest.New(smartcartest.WithClock(clock.Now))
			_, user := connected(t, sim, smartcar.WithClock(clock))
			v := user.Vehicle(smartcartest.ModelY)
			_, err := v.Lock(t.Context())
			require.ErrorIs(t, err, smartcar.ErrVirtualKeyRequired)
			_, err = v.Battery(t.Context())
			require.NoError(t, err)

			require.NoError(t, sim.Pair(smartcartest.ModelY))
			status, err := v.KeyStatus(t.Context())
			require.NoError(t, err)
			require.Equal(t, smartcar.KeyInstalled, status.State)
			_, err = v.Lock(t.Context())
			require.NoError(t, err)
		})
	}
}

func TestWalkThroughConnectWithTheSimulatedClock(t *testing.T) {
	sim := smartcartest.New()
	client := newClient(t, sim, smartcar.WithClock(sim.Clock()))
	start := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = client.Connect().Start(w, r, smartcar.ConnectOptions{})
	})
	var grant *smartcar.Grant
	var failed error
	callback := client.Connect().CallbackHandler(func(_ http.ResponseWriter, _ *http.Request, g *smartcar.Grant, err error) {
		grant, failed = g, err
	})
	_, err := sim.Walk(start, callback)
	require.NoError(t, err)
	require.NoError(t, failed)

	v := client.User(grant.UserID).Vehicle(smartcartest.ModelY)
	_, err = v.Battery(t.Context())
	require.NoError(t, err)
	began := sim.Now()
	require.NoError(t, v.Wait(t.Context()))
	require.WithinDuration(t, began.Add(8*time.Hour), sim.Now(), time.Second)
	_, err = v.Battery(t.Context())
	require.NoError(t, err)
	require.Empty(t, sim.BrokenWindows(smartcartest.ModelY))

	_, err = sim.WalkAs(start, callback, url.Values{"decision": {"deny"}})
	require.NoError(t, err)
	require.ErrorIs(t, failed, smartcar.ErrAccessDenied)
}
