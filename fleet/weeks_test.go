package fleet_test

import (
	"context"
	"slices"
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
