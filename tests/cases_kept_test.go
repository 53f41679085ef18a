package smartcar_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/signals"
	"github.com/seed-498a1bc4/smartcar/smartcartest"
	"github.com/stretchr/testify/require"
)

func TestStaleAnswerWhileTheCarSleeps(t *testing.T) {
	onEitherAPI(t, func(t *testing.T, _ *smartcartest.Server, api smartcar.API) {
		sim := smartcartest.New(garageWith(smartcartest.Model3, func(c *smartcartest.Car) { c.AsleepError = true }))
		client := apiClient(t, sim, api)
		v := client.User(connect(t, sim, client).UserID).Vehicle(smartcartest.Model3)
		require.NoError(t, sim.Wake(v.ID()))
		battery, err := v.Battery(t.Context())
		require.NoError(t, err)
		require.NoError(t, sim.Sleep(v.ID()))
		time.Sleep(time.Minute)
		_, err = v.Battery(t.Context())
		require.ErrorIs(t, err, smartcar.ErrAsleep)
		stale, err := v.With(smartcar.AllowStale()).Battery(t.Context())
		require.NoError(t, err)
		require.True(t, stale.Stale)
		require.InDelta(t, *battery.Percent, *stale.Percent, 0)
		snapshot, err := v.With(smartcar.AllowStale()).Snapshot(t.Context(), smartcar.ServiceHistory, smartcar.Battery)
		require.NoError(t, err)
		stale, err = snapshot.Battery()
		require.NoError(t, err)
		require.True(t, stale.Stale)
	})
}

func TestMaxAgeTakesWhatIsYoungEnough(t *testing.T) {
	bothAPIs(t, func(t *testing.T, sim *smartcartest.Server, _ *smartcar.Client, user *smartcar.User) {
		v := user.Vehicle(smartcartest.Model3)
		live, err := v.Battery(t.Context())
		require.NoError(t, err)
		require.False(t, live.RecordedAt.IsZero())
		for time.Since(live.RecordedAt) < 10*time.Minute {
			kept, err := v.With(smartcar.MaxAge(10 * time.Minute)).Battery(t.Context())
			require.NoError(t, err)
			require.Equal(t, smartcar.SourceCache, kept.Source)
			require.False(t, kept.Stale)
			require.Equal(t, live.RecordedAt, kept.RecordedAt)
			time.Sleep(15 * time.Second)
		}
		require.Equal(t, 1, countedData(sim, smartcartest.Model3))
		again, err := v.With(smartcar.MaxAge(10 * time.Minute)).Battery(t.Context())
		require.NoError(t, err)
		require.Equal(t, smartcar.SourceLive, again.Source, "too old by when it was recorded")
		forced, err := v.With(smartcar.MaxAge(time.Hour), smartcar.IgnorePolicy()).Battery(t.Context())
		require.NoError(t, err)
		require.Equal(t, smartcar.SourceLive, forced.Source)
		_, err = v.With(smartcar.MaxAge(0)).Battery(t.Context())
		requireArgumentError(t, err, "MaxAge")
	})
}

// The age of an answer is that of its data, and never of its arrival.
func TestMaxAgeOfAnAnswerWithoutADate(t *testing.T) {
	for name, tt := range map[string]struct {
		header http.Header
		source smartcar.Source
	}{
		"no date":                {nil, smartcar.SourceLive},
		"fetched":                {http.Header{"Sc-Fetched-At": {"2000-01-01T00:00:00.000Z"}}, smartcar.SourceCache},
		"recorded long before":   {http.Header{"Sc-Data-Age": {"1999-12-31T00:00:00.000Z"}, "Sc-Fetched-At": {"2000-01-01T00:00:00.000Z"}}, smartcar.SourceLive},
		"recorded in the future": {http.Header{"Sc-Data-Age": {"2000-01-02T00:00:00.000Z"}}, smartcar.SourceLive},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sim := smartcartest.New()
				_, user := connected(t, sim)
				v := user.Vehicle(smartcartest.MachE)
				sim.Inject(smartcartest.Fault{Path: "/odometer", Status: 200, Body: `{"distance":1}`, Header: tt.header})
				_, err := v.Odometer(t.Context())
				require.NoError(t, err)
				time.Sleep(time.Second)
				again, err := v.With(smartcar.MaxAge(time.Hour)).Odometer(t.Context())
				require.NoError(t, err)
				require.Equal(t, tt.source, again.Source)
			})
		})
	}
}

// What a webhook has pushed since the last turn is current; what it had pushed
// before is not.
func TestPushedValueIsCurrentInsideTheWindow(t *testing.T) {
	bothAPIs(t, func(t *testing.T, sim *smartcartest.Server, client *smartcar.Client, user *smartcar.User) {
		receiver := hookReceiver(t, client, smartcar.WebhookOptions{}, nil)
		v := user.Vehicle(smartcartest.ModelY)
		time.Sleep(time.Hour)
		require.Equal(t, 200, send(t, receiver, pushed("before", user, v.ID(), time.Minute, odometerOf(1)).body(t)))
		_, err := v.Battery(t.Context())
		require.NoError(t, err)
		for _, km := range []float64{4321, 4322} {
			time.Sleep(time.Hour)
			if client.API() == smartcar.V2 && km == 4321 {
				_, err = v.Odometer(t.Context())
				require.ErrorIs(t, err, smartcar.ErrRateLimited, "what was pushed before the turn")
			}
			at := time.Now()
			require.Equal(t, 200, send(t, receiver, pushed(fmt.Sprint(km), user, v.ID(), 10*time.Second, odometerOf(km)).body(t)))
			time.Sleep(time.Second)
			odometer, err := v.Odometer(t.Context())
			require.NoError(t, err)
			require.Equal(t, smartcar.SourceWebhook, odometer.Source)
			require.False(t, odometer.Stale)
			require.InDelta(t, km, *odometer.Distance, 0)
			require.Equal(t, at.Add(-10*time.Second).UTC(), odometer.RecordedAt)
			miles, err := v.With(smartcar.InUnits(smartcar.Imperial)).Odometer(t.Context())
			require.NoError(t, err)
			require.InDelta(t, km/1.609344, *miles.Distance, 0.01)
			_, err = v.Charge(t.Context())
			require.ErrorIs(t, err, smartcar.ErrRateLimited, "nobody has pushed that")
			snapshot, err := v.Snapshot(t.Context(), smartcar.Odometer, smartcar.Charge)
			require.NoError(t, err)
			_, err = snapshot.Odometer()
			require.NoError(t, err)
			_, err = snapshot.Charge()
			require.ErrorIs(t, err, smartcar.ErrRateLimited)
		}
		aged, err := v.With(smartcar.MaxAge(time.Minute)).Odometer(t.Context())
		require.NoError(t, err)
		require.Equal(t, smartcar.SourceWebhook, aged.Source)
		require.Equal(t, 1, countedData(sim, smartcartest.ModelY))
	})
}

// A read that must not ask the car gets what is kept, or a sentinel.
func TestWithoutTurnAsksNoCar(t *testing.T) {
	bothAPIs(t, func(t *testing.T, sim *smartcartest.Server, client *smartcar.Client, user *smartcar.User) {
		for _, id := range []string{smartcartest.ModelY, smartcartest.Model3, smartcartest.MachE} {
			v := user.Vehicle(id)
			free := v.With(smartcar.WithoutTurn(), smartcar.IgnorePolicy())
			_, err := free.Battery(t.Context())
			require.ErrorIs(t, err, smartcar.ErrTakesTurn)
			_, err = free.Attributes(t.Context())
			require.NoError(t, err)
			_, err = free.VIN(t.Context())
			if client.API() == smartcar.V2 {
				require.NoError(t, err)
			} else {
				require.ErrorIs(t, err, smartcar.ErrTakesTurn)
			}
			_, err = free.Request(t.Context(), smartcar.Request{Path: "battery"})
			require.ErrorIs(t, err, smartcar.ErrTakesTurn)
			require.Zero(t, countedData(sim, id))
			_, err = v.Battery(t.Context())
			require.NoError(t, err)
			battery, err := free.Battery(t.Context())
			require.NoError(t, err)
			require.True(t, battery.Stale)
			_, err = free.VIN(t.Context())
			require.NoError(t, err)
			require.Equal(t, 1, countedData(sim, id))
		}
	})
}

// connectWith walks Connect as the default owner who ticks these permissions.
func connectWith(t *testing.T, sim *smartcartest.Server, client *smartcar.Client, vehicle string, ticked ...string) {
	t.Helper()
	authorizeURL, cookies := begin(t, client, smartcar.ConnectOptions{Scope: []string{
		"read_vehicle_info", "read_vin", "read_battery", "read_odometer", "read_location",
	}})
	callback, err := sim.AnswerConnect(authorizeURL, url.Values{"decision": {"grant"}, "form": {"1"}, "vehicle": {vehicle}, "permission": ticked})
	require.NoError(t, err)
	_, err = finish(client, callback, cookies)
	require.NoError(t, err)
}

// The same owner, the same car: what was read stays theirs.
func TestAnotherConnectLosesNoAnswers(t *testing.T) {
	onEitherAPI(t, func(t *testing.T, sim *smartcartest.Server, api smartcar.API) {
		client := apiClient(t, sim, api)
		user := client.User(connect(t, sim, client).UserID)
		v := user.Vehicle(smartcartest.ModelY)
		live, err := v.Battery(t.Context())
		require.NoError(t, err)
		for range 2 {
			time.Sleep(time.Hour)
			require.Equal(t, user.ID(), connect(t, sim, client).UserID)
			stale, err := v.With(smartcar.AllowStale()).Battery(t.Context())
			require.NoError(t, err)
			require.True(t, stale.Stale)
			require.Equal(t, live.ReceivedAt, stale.ReceivedAt)
		}
		require.Equal(t, 1, countedData(sim, smartcartest.ModelY))
	})
}

// A Connect that grants less takes what it does not cover, wherever it was kept.
func TestConnectThatGrantsLessTakesAnswersAway(t *testing.T) {
	onEitherAPI(t, func(t *testing.T, sim *smartcartest.Server, api smartcar.API) {
		db := newSpoiledStore()
		opts := []smartcar.Option{smartcar.WithStore(db), smartcar.WithStoredAnswers(smartcar.StoredAnswers{Location: true})}
		client, other := apiClient(t, sim, api, opts...), apiClient(t, sim, api, opts...)
		third := apiClient(t, sim, api, smartcar.WithStore(db)) // keeps them in memory alone
		user := client.User(connect(t, sim, client).UserID)
		id := smartcartest.Model3
		for _, c := range []*smartcar.Client{client, other, third} {
			_, err := c.User(user.ID()).Vehicle(id).Snapshot(t.Context(), smartcar.Battery, smartcar.Location)
			require.NoError(t, err)
		}
		require.True(t, db.holds(t, id, "latitude"))
		time.Sleep(2 * time.Minute)
		connectWith(t, sim, client, id, "read_vehicle_info", "read_battery")
		if api == smartcar.V3 {
			require.False(t, db.holds(t, id, "latitude"), "the connection shows what it covers")
		}
		sim.Inject(smartcartest.Fault{Times: -1, Match: func(r *http.Request) bool {
			return strings.HasSuffix(r.URL.Path, "/signals") || strings.HasSuffix(r.URL.Path, "/battery") || strings.HasSuffix(r.URL.Path, "/location") ||
				strings.HasSuffix(r.URL.Path, "/batch")
		}, ErrorType: "RATE_LIMIT", ErrorCode: "VEHICLE"})
		for _, c := range []*smartcar.Client{client, other, third} {
			v := c.User(user.ID()).Vehicle(id).With(smartcar.AllowStale(), smartcar.MaxAge(time.Hour))
			_, err := v.Location(t.Context())
			require.ErrorIs(t, err, smartcar.ErrRateLimited)
			if api == smartcar.V3 {
				_, err = v.Signals(t.Context())
				require.ErrorIs(t, err, smartcar.ErrRateLimited, "the list tells where the car was")
			}
			_, err = v.Battery(t.Context())
			require.NoError(t, err)
			require.False(t, db.holds(t, id, "latitude"))
			require.True(t, db.holds(t, id, "battery"))
		}
	})
}

// Where the permissions cannot be read, nothing of before is handed out.
func TestAnswersOfBeforeNeedToKnowThePermissions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		client, user := connected(t, sim)
		v := user.Vehicle(smartcartest.ModelY).With(smartcar.AllowStale())
		_, err := v.Battery(t.Context())
		require.NoError(t, err)
		connect(t, sim, client)
		sim.Inject(smartcartest.Fault{Path: "/permissions", Status: 503, Times: -1})
		_, err = v.Battery(t.Context())
		require.ErrorIs(t, err, smartcar.ErrRateLimited)
		sim.ClearFaults()
		asked := countPath(sim, "/permissions")
		for range 3 {
			_, err = v.Battery(t.Context())
			require.NoError(t, err)
		}
		require.Equal(t, asked+1, countPath(sim, "/permissions"), "once for each Connect")
	})
}

// One signal is in the list that was paid for: it is handed out as a read of the list
// would be.
func TestOneSignalOfTheKeptList(t *testing.T) {
	const locked = signals.ClosureIsLocked
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		v := onV3(t, sim).Vehicle(smartcartest.ModelY)
		_, err := v.Battery(t.Context())
		require.NoError(t, err)
		time.Sleep(time.Hour)
		for name, tt := range map[string]struct {
			option smartcar.CallOption
			stale  bool
		}{
			"stale": {smartcar.AllowStale(), true}, "without a turn": {smartcar.WithoutTurn(), true}, "young enough": {smartcar.MaxAge(13 * time.Hour), false},
		} {
			set, err := v.With(tt.option).Signal(t.Context(), locked)
			require.NoError(t, err, name)
			require.Equal(t, tt.stale, set.Stale, name)
			require.Equal(t, smartcar.SourceCache, set.Source, name)
			signal, err := set.ClosureIsLocked()
			require.NoError(t, err, name)
			require.Equal(t, signal.OEMUpdatedAt, set.RecordedAt, name)
			_, err = set.OdometerTraveledDistance()
			require.ErrorIs(t, err, smartcar.ErrNotFound, name)
		}
		_, err = v.Signal(t.Context(), locked)
		_ = requireKeyless(t, err)
		_, err = v.With(smartcar.MaxAge(time.Minute)).Signal(t.Context(), locked)
		_ = requireKeyless(t, err)
		_, err = v.With(smartcar.AllowStale()).Signal(t.Context(), "no-such-signal")
		_ = requireKeyless(t, err)
		_, err = v.With(smartcar.WithoutTurn()).Signal(t.Context(), "no-such-signal")
		require.ErrorIs(t, err, smartcar.ErrTakesTurn)
		require.Equal(t, 1, countedData(sim, v.ID()))
	})
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		v := onV3(t, sim).Vehicle(smartcartest.ModelS2018)
		for range 6 * 60 {
			for _, code := range []signals.Code{locked, signals.OdometerTraveledDistance} {
				_, err := v.Signal(t.Context(), code)
				require.NoError(t, err)
			}
			time.Sleep(time.Minute)
		}
		require.LessOrEqual(t, countedData(sim, v.ID()), 75, "each answer has all of it")
	})
}
