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

// Nobody has to be stored to be asked about: a user id is enough, as after a
// move to v3 whose users were read from the list of connections.
func TestAUserWhoIsNotStored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		user := connect(t, sim, apiClient(t, sim, smartcar.V2)).UserID
		store := newSpoiledStore()
		client := apiClient(t, sim, smartcar.V3, smartcar.WithStore(store))
		v := client.User(user).Vehicle(smartcartest.ModelY)
		_, err := v.Battery(t.Context())
		require.NoError(t, err)
		_, err = v.Battery(t.Context())
		require.ErrorIs(t, err, smartcar.ErrRateLimited)
		access, err := v.Access(t.Context())
		require.NoError(t, err)
		require.Equal(t, "https://www.tesla.com/_ak/smartcar.com", access.VirtualKeyURL.String())
		_, err = client.User(user).Vehicle(smartcartest.ModelS2018).Odometer(t.Context())
		require.NoError(t, err)

		require.NoError(t, client.User(user).Forget(t.Context()))
		var left []string
		for _, key := range store.live(t) {
			if !strings.HasPrefix(key, "application/") {
				left = append(left, key)
			}
		}
		require.Equal(t, []string{"car/" + smartcartest.ModelY}, left, "the window of a keyless car alone")
		_, err = v.Battery(t.Context())
		require.ErrorIs(t, err, smartcar.ErrRateLimited, "forgetting opens no window")
		require.Empty(t, sim.BrokenWindows(smartcartest.ModelY))
	})
}

// One user's answers are not another's, though one token asks for both.
func TestAnswersOfASharedCarOnV3(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cars := smartcartest.DefaultGarage()
		for i := range cars {
			cars[i].SharedWith = []string{"driver"}
		}
		sim := smartcartest.New(smartcartest.WithCars(cars...))
		client, tap := tapped(t, sim)
		owner := client.User(connect(t, sim, client).UserID)
		driver := client.User(connectAs(t, sim, client, "driver", smartcartest.ModelY, smartcartest.ModelS2018).UserID)
		_, err := owner.Vehicle(smartcartest.ModelY).Location(t.Context())
		require.NoError(t, err)
		_, err = driver.Vehicle(smartcartest.ModelY).With(smartcar.AllowStale()).Location(t.Context())
		require.ErrorIs(t, err, smartcar.ErrRateLimited, "one window for the car, and no answer of the owner's")
		for _, u := range []*smartcar.User{owner, driver} {
			odometer, err := u.Vehicle(smartcartest.ModelS2018).Odometer(t.Context())
			require.NoError(t, err)
			require.Equal(t, smartcar.SourceLive, odometer.Source)
		}
		for _, r := range tap.to(smartcartest.ModelS2018 + "/signals") {
			require.Contains(t, []string{owner.ID(), driver.ID()}, r.header.Get("Sc-User-Id"))
		}
		_, err = driver.Vehicle(smartcartest.Model3).Odometer(t.Context())
		require.ErrorIs(t, err, smartcar.ErrNotFound, "not connected by this user")
		require.NoError(t, driver.Vehicle(smartcartest.ModelS2018).Disconnect(t.Context()))
		_, err = owner.Vehicle(smartcartest.ModelS2018).Odometer(t.Context())
		require.NoError(t, err)
	})
}

// Live cars hide simulated ones, unless the client is for these.
func TestVehiclesByModeOnV3(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		live, simulated := apiClient(t, sim, smartcar.V3), apiClient(t, sim, smartcar.V3, smartcar.WithMode(smartcar.ModeSimulated))
		tests := apiClient(t, sim, smartcar.V3, smartcar.WithMode(smartcar.ModeTest))
		count := func(client *smartcar.Client) (n int) {
			for _, err := range client.User(sim.UserID()).Vehicles(t.Context()) {
				if err != nil {
					require.ErrorIs(t, err, smartcar.ErrNotConnected)
					continue
				}
				n++
			}
			return n
		}
		walkThrough := func(o smartcar.ConnectOptions) {
			link, cookies := begin(t, live, o)
			callback, err := sim.Grant(link)
			require.NoError(t, err)
			_, err = finish(live, callback, cookies)
			require.NoError(t, err)
		}
		walkThrough(smartcar.ConnectOptions{Make: "FORD", Mode: smartcar.ModeSimulated})
		require.Equal(t, [3]int{1, 1, 1}, [3]int{count(live), count(simulated), count(tests)})
		walkThrough(smartcar.ConnectOptions{Make: "TESLA"})
		require.Equal(t, [3]int{6, 1, 1}, [3]int{count(live), count(simulated), count(tests)})
		permissions, err := live.User(sim.UserID()).Vehicle(smartcartest.MachE).Permissions(t.Context())
		require.NoError(t, err)
		require.NotEmpty(t, permissions)
	})
}

// The application's own limit is one for all calls, those without a car, too.
func TestTheApplicationsLimitOnV3(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New(smartcartest.WithAppRateLimit(6, 2))
		client := apiClient(t, sim, smartcar.V3, smartcar.WithRetry(smartcar.RetryPolicy{MaxAttempts: 1}))
		v := client.User(connect(t, sim, client).UserID).Vehicle(smartcartest.MachE)
		var limit *smartcar.RateLimitError
		for range 10 {
			if _, err := v.Odometer(t.Context()); err != nil {
				require.ErrorAs(t, err, &limit)
			}
		}
		require.Equal(t, smartcar.RuleApplication, limit.Rule)
		before := len(sim.Requests())
		for _, err := range client.Connections(t.Context(), smartcar.ConnectionFilter{}) {
			require.ErrorAs(t, err, &limit)
			require.True(t, limit.Local)
		}
		_, err := v.Lock(t.Context())
		require.ErrorAs(t, err, &limit)
		require.False(t, smartcar.MayHaveSucceeded(err))
		require.Len(t, sim.Requests(), before)
		time.Sleep(time.Until(limit.NextAllowed))
		_, err = v.Odometer(t.Context())
		require.NoError(t, err)
	})
}

// An owner who is forgotten while a read is under way leaves nothing behind.
func TestForgetWhileAReadIsUnderWayOnV3(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		store := newSpoiledStore()
		client := apiClient(t, sim, smartcar.V3, smartcar.WithStore(store),
			smartcar.WithStoredAnswers(smartcar.StoredAnswers{MaxAge: time.Hour, MaxBytes: 1 << 20, Location: true}))
		user := client.User(connect(t, sim, client).UserID)
		v := user.Vehicle(smartcartest.MachE)
		sim.Inject(smartcartest.Fault{Path: "/vehicles/", LatencyAfter: time.Minute, Times: -1})
		done := make(chan error, 2)
		go func() { _, err := v.Attributes(t.Context()); done <- err }()
		go func() { _, err := v.Location(t.Context()); done <- err }()
		time.Sleep(time.Minute + time.Second) // one waits for the attributes, one for the signals
		require.NoError(t, user.Forget(t.Context()))
		require.NoError(t, <-done)
		require.NoError(t, <-done)
		sim.ClearFaults()
		sim.Inject(smartcartest.Fault{Path: "/signals", ErrorType: "RATE_LIMIT", ErrorCode: "VEHICLE", Times: -1})
		for _, key := range store.live(t) {
			require.True(t, strings.HasPrefix(key, "application/"), "%s is kept of a forgotten user", key)
		}
		location, err := v.With(smartcar.AllowStale()).Location(t.Context())
		require.ErrorIs(t, err, smartcar.ErrRateLimited, "nor where they were: %v", location)
	})
}

// A watch goes at the car's own pace, on signals too.
func TestWatchOnV3(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		user := onV3(t, sim)
		at, _ := watchFor(t, user.Vehicle(smartcartest.ModelY), 25*time.Hour)
		require.Len(t, at, 4)
		require.Empty(t, sim.BrokenWindows(smartcartest.ModelY))
	})
}

// ServiceHistory takes a period on both, which v3 does not know.
func TestServiceHistoryIsCutOutOnV3(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMadeUp(t, aFord)
		m.signals = []string{signalEntry(signals.ServiceRecords, success,
			`{"values":[{"id":"1","time":"2026-01-01T10:00:00Z"},{"id":"2","time":"2026-02-01T00:00:00Z"},{"id":"3","time":"2026-03-01T23:59:59Z"}]}`, ``)}
		day := func(month time.Month) time.Time { return time.Date(2026, month, 1, 12, 0, 0, 0, time.UTC) }
		east := time.Date(2026, 1, 2, 0, 0, 0, 0, time.FixedZone("east", 9*60*60))
		for name, tt := range map[string]struct {
			from, to time.Time
			count    int
		}{
			"all": {time.Time{}, time.Time{}, 3}, "from": {day(2), time.Time{}, 2}, "to": {time.Time{}, day(2), 2},
			"both": {day(3), day(3), 1}, "none": {day(4), day(5), 0},
			"midnight in the east": {east, time.Time{}, 2}, // in UTC the day before, but v2.0 is sent this date, too
		} {
			history, err := m.ServiceHistory(t.Context(), tt.from, tt.to)
			require.NoError(t, err)
			require.Len(t, history.Records, tt.count, name)
		}
		for _, r := range m.tap.to("/signals") {
			require.Empty(t, r.query)
		}
	})
}

// A request of one's own goes to v3 in the user's name.
func TestRequestOnV3(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMadeUp(t, aFord)
		m.tap.instead = onlyTo("/v3/", func(sentRequest) *http.Response { return respond(200, `{"data":{}}`) })
		_, err := m.Request(t.Context(), smartcar.Request{Path: "commands/climate/start", Method: "POST", Body: map[string]any{"data": nil}})
		require.NoError(t, err)
		sent := m.tap.to("/commands/climate/start")
		require.Len(t, sent, 1)
		require.Equal(t, "u", sent[0].header.Get("Sc-User-Id"))
		require.JSONEq(t, `{"data":null}`, sent[0].body)
		require.Equal(t, "vehicle.api.smartcar.com", sent[0].host)
	})
}
