package fleet_test

import (
	"cmp"
	"context"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/fleet"
	"github.com/seed-498a1bc4/smartcar/smartcartest"
	"github.com/stretchr/testify/require"
)

// values counts the recordings of each car that a fleet has handed over.
type values struct {
	mu  sync.Mutex
	got map[string]map[int64]bool // by the nanosecond
}

func newValues() *values { return &values{got: make(map[string]map[int64]bool)} }

func (v *values) handle(_ context.Context, car *smartcar.Vehicle, s *smartcar.Snapshot) error {
	battery, err := s.Battery()
	if err != nil {
		return err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.got[car.ID()] == nil {
		v.got[car.ID()] = make(map[int64]bool)
	}
	v.got[car.ID()][battery.RecordedAt.UnixNano()] = true
	return nil
}

// since counts the values of a car that were recorded after some time.
func (v *values) since(id string, from time.Time) (n int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for at := range v.got[id] {
		if at > from.UnixNano() {
			n++
		}
	}
	return n
}

// calls counts the requests for a car since some time: those for data, and all.
func calls(sim *smartcartest.Server, id string, from time.Time) (data, all int) {
	for _, e := range sim.Ledger(id) {
		if !e.Time.Before(from) {
			all++
			if e.Kind == smartcartest.Data {
				data++
			}
		}
	}
	return data, all
}

// fleetOf is how many cars a test has: FLEET_CARS, or fewer.
func fleetOf(t *testing.T, fewer int) int {
	t.Helper()
	n, err := strconv.Atoi(cmp.Or(os.Getenv("FLEET_CARS"), strconv.Itoa(fewer)))
	require.NoError(t, err)
	return n
}

// mixed are n cars: of ten, seven have the key, two have none, and one is a legacy car that
// is awake for six hours a day.
func mixed(n int) []smartcartest.Car {
	return slices.Concat(garage(n*7/10, "paired", paired()), garage(n*2/10, "keyless", keyless()), garage(n/10, "legacy", legacy()))
}

// untilTheLastDays sleeps until a week ends in the next month.
func untilTheLastDays() {
	time.Sleep(time.Until(time.Date(2000, 1, 26, 12, 0, 0, 0, time.UTC)))
}

// A rush counts the requests of each second.
type rush struct {
	http.RoundTripper
	mu    sync.Mutex
	began time.Time
	each  map[int64]int
}

// RoundTrip implements [http.RoundTripper].
func (r *rush) RoundTrip(req *http.Request) (*http.Response, error) {
	r.mu.Lock()
	r.each[time.Now().Unix()]++
	r.mu.Unlock()
	return r.RoundTripper.RoundTrip(req)
}

// begin counts anew.
func (r *rush) begin() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.began, r.each = time.Now(), make(map[int64]int)
}

func (r *rush) count() (mean float64, most int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	sum := 0
	for _, n := range r.each {
		sum, most = sum+n, max(most, n)
	}
	return float64(sum) / time.Since(r.began).Seconds(), most
}

// A week without a budget: no window is broken, nearly all that the rules permit is
// read, and hardly a call brings nothing. Of many cars, no second has more than twice the
// requests of the mean, though a month begins. The week begins when the cars are known.
// With FLEET_CARS=2000 it takes 18 minutes of a core, and 7 GB with GOGC=300.
func TestAWeekOfManyCars(t *testing.T) {
	if testing.Short() {
		t.Skip("follows ten cars for twelve days")
	}
	synctest.Test(t, func(t *testing.T) {
		untilTheLastDays()
		cars := mixed(fleetOf(t, 10))
		sim := smartcartest.New(smartcartest.WithCars(cars...))
		requests := &rush{RoundTripper: sim.Transport(), each: make(map[int64]int)}
		client := newClient(t, sim, smartcar.V2, smartcar.WithHTTPClient(&http.Client{Transport: requests}))
		connect(t, sim, client, "")
		v := newValues()
		f := run(t, client, newInbox(), func(c *fleet.Config) { c.Handle = v.handle })
		time.Sleep(2 * day)
		began := time.Now()
		requests.begin()
		time.Sleep(7 * day)
		mean, most := requests.count()
		require.NoError(t, f.stop())
		kinds := map[string]*struct{ cars, data, all, values int }{}
		for _, car := range cars {
			require.Empty(t, sim.BrokenWindows(car.ID), car.ID)
			kind, _, _ := strings.Cut(car.ID, "-")
			if kinds[kind] == nil {
				kinds[kind] = new(struct{ cars, data, all, values int })
			}
			k, n := kinds[kind], v.since(car.ID, began)
			data, all := calls(sim, car.ID, began)
			k.cars, k.data, k.all, k.values = k.cars+1, k.data+data, k.all+all, k.values+n
			switch kind {
			case "legacy":
				require.GreaterOrEqual(t, n, 7*72*9/10, car.ID)
				require.LessOrEqual(t, float64(data), 1.6*float64(n), car.ID)
			case "paired":
				require.GreaterOrEqual(t, data, 7*450, car.ID)
				require.LessOrEqual(t, data, 7*480, car.ID)
			}
		}
		for kind, k := range kinds {
			t.Logf("%s: %d cars, %d values, %d data calls, %d calls", kind, k.cars, k.values, k.data, k.all)
		}
		t.Logf("%.2f requests a second, %d at most", mean, most)
		k := kinds["keyless"]
		require.GreaterOrEqual(t, float64(k.values), 0.99*float64(21*k.cars))
		require.LessOrEqual(t, float64(k.data), 1.05*float64(k.values))
		require.LessOrEqual(t, float64(k.all), 1.15*float64(k.values))
		if mean > 4 { // of fewer, a second has none or several
			require.LessOrEqual(t, float64(most), 2*mean)
		}
	})
}

// What a ticker does that reads each car every 15 minutes, for comparison.
func TestAWeekOfATicker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cars := slices.Concat(garage(1, "paired", paired()), garage(1, "keyless", keyless()), garage(1, "legacy", legacy()))
		sim := smartcartest.New(smartcartest.WithCars(cars...))
		client := newClient(t, sim, smartcar.V2)
		user := connect(t, sim, client, "")
		v, began := newValues(), time.Now()
		for range 7 * 24 * 4 {
			for _, car := range cars {
				if s, err := user.Vehicle(car.ID).With(smartcar.IgnorePolicy()).Snapshot(t.Context(), reads...); err == nil {
					_ = v.handle(t.Context(), user.Vehicle(car.ID), s) // or it was refused
				}
			}
			time.Sleep(15 * minute)
		}
		for _, car := range cars {
			data, _ := calls(sim, car.ID, began)
			t.Logf("%s: %d calls, %d values, %d windows broken", car.ID, data, v.since(car.ID, began), len(sim.BrokenWindows(car.ID)))
		}
		require.NotEmpty(t, sim.BrokenWindows("keyless-0"))
	})
}

// A week within a plan: neither the calls of a car nor those of the application are
// exceeded, each car has its turn, and the statistics say what pace is left.
func TestAWeekWithinABudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cars := slices.Concat(garage(140, "paired", paired()), garage(40, "keyless", keyless()), garage(20, "legacy", legacy()))
		sim := smartcartest.New(smartcartest.WithCars(cars...), smartcartest.WithAppRateLimit(120, 2))
		client := newClient(t, sim, smartcar.V2, smartcar.WithBudget(smartcar.Budget{PerVehicle: 120, Reserve: 20, BatchOnce: true}))
		connect(t, sim, client, "")
		v := newValues()
		f := run(t, client, newInbox(), func(c *fleet.Config) { c.Handle = v.handle })
		time.Sleep(2 * time.Hour)
		require.Positive(t, f.Stats().Pace, "%s", f.Stats())
		time.Sleep(7*day - 2*time.Hour)
		stats := f.Stats()
		require.NoError(t, f.stop())
		refused := 0
		for _, r := range sim.Requests() {
			if r.Status == 429 {
				refused++
			}
		}
		require.LessOrEqual(t, refused, 5, "the bucket is kept")
		kinds := map[string]int{}
		for _, car := range cars {
			require.Empty(t, sim.BrokenWindows(car.ID), car.ID)
			_, all := calls(sim, car.ID, time.Time{})
			require.LessOrEqual(t, all, 100)
			require.NotEmpty(t, v.got[car.ID], car.ID)
			kinds[car.ID[:4]] += all
		}
		t.Logf("%v: %s", kinds, stats)
		require.GreaterOrEqual(t, kinds["keyl"], 40*10)
		require.GreaterOrEqual(t, kinds["lega"], 20*10)
		require.GreaterOrEqual(t, kinds["pair"], 140*10)
	})
}

// A week of a fleet that is larger than the limit of the application, with 500 calls a
// car: neither is exceeded, no window is broken, and each car is read as often as the
// statistics say. On v2.0 the key of a paired car is looked at before a read that comes
// after more than a day, and that of a car without one at first, too: so nine of ten reads
// take two requests. On v3 none does. With FLEET_CARS=2000 it takes two minutes of a core.
func TestAWeekOfALargeFleet(t *testing.T) {
	if testing.Short() {
		t.Skip("follows fifty cars for a week, on both APIs")
	}
	const once = 1000 * time.Minute // a request for each car, at the limit below
	for api, pace := range map[smartcar.API]time.Duration{smartcar.V2: 19 * once / 10, smartcar.V3: once} {
		t.Run(string(api), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				untilTheLastDays()
				cars := mixed(fleetOf(t, 50))
				limit := smartcar.ApplicationLimit{Requests: 6 * len(cars) / 100, PerMinute: float64(len(cars)) / 1000} // 120 and 2 for 2,000 cars
				sim := smartcartest.New(smartcartest.WithCars(cars...), smartcartest.WithAppRateLimit(limit.Requests, limit.PerMinute))
				client := newClient(t, sim, api, smartcar.WithBudget(smartcar.Budget{PerVehicle: 500, Reserve: 50, ApplicationLimit: limit}))
				connect(t, sim, client, "")
				v := newValues()
				f := run(t, client, newInbox(), func(c *fleet.Config) { c.Handle = v.handle })
				time.Sleep(3 * day)
				require.Equal(t, pace, f.Stats().Pace)
				began := time.Now()
				time.Sleep(7 * day)
				atEnd := f.Stats().Pace
				require.GreaterOrEqual(t, atEnd, once)
				require.LessOrEqual(t, atEnd, pace)
				require.NoError(t, f.stop())
				for _, r := range sim.Requests() {
					require.NotEqual(t, http.StatusTooManyRequests, r.Status, "%s %s", r.Time, r.Path)
				}
				longest, reads := map[string]time.Duration{}, map[string]int{}
				for _, car := range cars {
					require.Empty(t, sim.BrokenWindows(car.ID), car.ID)
					kind, _, _ := strings.Cut(car.ID, "-")
					last, spent := began, 0
					for _, e := range sim.Ledger(car.ID) {
						spent += callsOf(&e)
						if e.Kind == smartcartest.Data && e.Time.After(began) {
							longest[kind] = max(longest[kind], e.Time.Sub(last))
							last = e.Time
							reads[kind]++
						}
					}
					longest[kind] = max(longest[kind], time.Since(last))
					require.LessOrEqual(t, spent, 450, "of two months, in ten days")
				}
				t.Logf("pace: %v, and %v at the end, longest: %v, reads: %v", pace, atEnd, longest, reads)
				for kind, gap := range longest {
					require.LessOrEqual(t, gap, pace+pace/20, kind)
				}
			})
		})
	}
}

// Webhooks carry the data of legacy cars: hardly anything is read, and nothing missed.
// When they fall silent, the cars are read.
func TestAWeekWithWebhooks(t *testing.T) {
	if testing.Short() {
		t.Skip("follows three cars through thirteen days of events")
	}
	synctest.Test(t, func(t *testing.T) {
		cars := garage(3, "legacy", legacy())
		sim := smartcartest.New(smartcartest.WithCars(cars...))
		client := newClient(t, sim, smartcar.V3)
		connect(t, sim, client, "")
		v := newValues()
		f := run(t, client, newInbox(), func(c *fleet.Config) { c.Handle = v.handle })
		receiver, err := client.WebhookReceiver(smartcar.WebhookOptions{}, func(_ context.Context, e *smartcar.WebhookEvent) error {
			f.Wake(client.User(e.UserID).Vehicle(e.VehicleID))
			return nil
		})
		require.NoError(t, err)
		hook, err := sim.AddWebhook(t.Context(), smartcartest.Webhook{CallbackURL: "https://example.com/hook", Handler: receiver, AutoSubscribe: true})
		require.NoError(t, err)
		hooks, stop := context.WithCancel(t.Context())
		defer stop()
		go func() { _ = sim.RunWebhooks(hooks, time.Minute) }()
		time.Sleep(2 * day)
		began := time.Now()
		time.Sleep(7 * day)
		for _, car := range cars {
			data, _ := calls(sim, car.ID, began)
			n, pushed := v.since(car.ID, began), 0
			for _, d := range sim.Deliveries() {
				if d.EventType == "VEHICLE_STATE" && d.VehicleID == car.ID && d.Time.After(began) {
					pushed++
				}
			}
			t.Logf("%d values, %d events, %d calls", n, pushed, data)
			require.GreaterOrEqual(t, float64(n), 0.99*float64(pushed), car.ID)
			require.LessOrEqual(t, float64(data), 1.2*float64(n), car.ID)
		}
		require.NoError(t, sim.EnableWebhook(hook, false))
		time.Sleep(2 * day)
		silent := time.Now()
		time.Sleep(2 * day)
		for _, car := range cars {
			require.GreaterOrEqual(t, v.since(car.ID, silent), 2*72*9/10, car.ID)
		}
	})
}
