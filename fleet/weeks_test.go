package fleet_test

import (
	"cmp"
	"context"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
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
	got map[string]map[time.Time]bool
}

func newValues() *values { return &values{got: make(map[string]map[time.Time]bool)} }

func (v *values) handle(_ context.Context, car *smartcar.Vehicle, s *smartcar.Snapshot) error {
	battery, err := s.Battery()
	if err != nil {
		return err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.got[car.ID()] == nil {
		v.got[car.ID()] = make(map[time.Time]bool)
	}
	v.got[car.ID()][battery.RecordedAt] = true
	return nil
}

// since counts the values of a car that were recorded after some time.
func (v *values) since(id string, from time.Time) (n int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for at := range v.got[id] {
		if at.After(from) {
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

// A week without a budget: no window is broken, nearly all that the rules permit is
// read, and hardly a call brings nothing. The week begins when the cars are known.
func TestAWeekOfManyCars(t *testing.T) {
	if testing.Short() {
		t.Skip("follows 28 cars for twelve days")
	}
	synctest.Test(t, func(t *testing.T) {
		cars := slices.Concat(garage(4, "paired", paired()), garage(20, "keyless", keyless()), garage(4, "legacy", legacy()))
		sim := smartcartest.New(smartcartest.WithCars(cars...))
		client := newClient(t, sim, smartcar.V2)
		connect(t, sim, client, "")
		v := newValues()
		f := run(t, client, newInbox(), func(c *fleet.Config) { c.Handle = v.handle })
		time.Sleep(5 * day)
		began := time.Now()
		time.Sleep(7 * day)
		require.NoError(t, f.stop())
		var permitted, got, asked, met int
		for _, car := range cars {
			require.Empty(t, sim.BrokenWindows(car.ID), car.ID)
			data, all := calls(sim, car.ID, began)
			switch {
			case car.Integration == smartcartest.Legacy:
				n := v.since(car.ID, began)
				require.GreaterOrEqual(t, n, 7*72*9/10, car.ID)
				require.LessOrEqual(t, float64(data), 1.6*float64(n), car.ID)
			case !car.Paired:
				permitted, got, asked, met = permitted+21, got+v.since(car.ID, began), asked+data, met+all
			default:
				require.GreaterOrEqual(t, data, 7*450, car.ID)
				require.LessOrEqual(t, data, 7*480, car.ID)
			}
		}
		t.Logf("keyless: %d permitted, %d values, %d data calls, %d calls", permitted, got, asked, met)
		require.GreaterOrEqual(t, float64(got), 0.99*float64(permitted))
		require.LessOrEqual(t, float64(asked), 1.05*float64(got))
		require.LessOrEqual(t, float64(met), 1.15*float64(got))
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

// A month in which cars fall asleep, get the key and lose it, owners leave and come
// back, the store and Smartcar fail, and the fleet is restarted: no window is broken, no
// car is stuck and nothing is missed for longer than a pace and the back-off in force.
// FLEET_SEEDS is how many months there are on either API: one on v3 takes ten seconds.
func TestAMonthOfChanges(t *testing.T) {
	if testing.Short() {
		t.Skip("follows seven cars for a month, on both APIs")
	}
	seeds, err := strconv.ParseUint(cmp.Or(os.Getenv("FLEET_SEEDS"), "1"), 10, 32)
	require.NoError(t, err)
	for seed := range seeds {
		for _, api := range []smartcar.API{smartcar.V2, smartcar.V3} {
			synctest.Test(t, func(t *testing.T) { month(t, api, seed) })
		}
	}
}

func month(t *testing.T, api smartcar.API, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 13))
	cars := slices.Concat(garage(2, "paired", paired()), garage(3, "keyless", keyless()), garage(1, "legacy", legacy()), garage(1, "other", other()))
	sim := smartcartest.New(smartcartest.WithCars(cars...), smartcartest.WithSeed(seed))
	db := newFlaky(seed)
	options := func() *smartcar.Client { return newClient(t, sim, api, smartcar.WithStore(db)) }
	client := options()
	user := connect(t, sim, client, "")
	b := newInbox()
	every := func(c *fleet.Config) { c.Every = 2 * time.Hour }
	f := run(t, client, b, every)
	car := func() string { return cars[r.IntN(len(cars))].ID }
	for end := time.Now().Add(30 * day); time.Now().Before(end); {
		time.Sleep(time.Duration(r.Int64N(int64(12 * time.Hour))))
		id := car()
		switch r.IntN(12) {
		case 0:
			_ = sim.Sleep(id)
		case 1:
			_ = sim.Wake(id)
		case 2:
			_ = sim.Pair(id)
			f.Wake(user.Vehicle(id))
		case 3:
			if sim.Unpair(id) == nil { // and an event of a webhook says so
				_ = user.Vehicle(id).SetKeyState(t.Context(), smartcar.KeyMissing)
			}
		case 4:
			sim.Disconnect(id)
		case 5, 6:
			connect(t, sim, client, "")
		case 7:
			sim.Inject(smartcartest.Fault{Path: "/vehicles/", Status: 503, Probability: 0.5, Times: 20})
		case 8:
			db.fail(0.2)
			time.Sleep(time.Hour)
			db.fail(0)
		case 9:
			require.NoError(t, user.Vehicle(id).Pause(t.Context(), time.Now().Add(6*time.Hour)))
		case 10:
			_ = f.stop()
			client = options()
			user = client.User(user.ID())
			f = run(t, client, b, every)
		case 11:
			_, _ = user.Vehicle(id).Battery(t.Context()) // somebody else is faster
		}
	}
	// What has failed is over, and all are back.
	sim.ClearFaults()
	for _, c := range cars {
		_ = sim.Wake(c.ID)
	}
	connect(t, sim, client, "")
	before := time.Now()
	time.Sleep(32 * time.Hour) // a window after a day of RetiredUntil or a pause
	for _, c := range cars {
		require.Empty(t, sim.BrokenWindows(c.ID), "seed %d %s: %s", seed, api, c.ID)
		at := b.of(c.ID)
		require.NotEmpty(t, at, "seed %d %s: %s", seed, api, c.ID)
		require.True(t, at[len(at)-1].After(before), "seed %d %s: %s is stuck: %s", seed, api, c.ID, f.Stats())
	}
	require.NoError(t, f.stop())
}
