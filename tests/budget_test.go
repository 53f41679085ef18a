package smartcar_test

import (
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/smartcartest"
	"github.com/seed-498a1bc4/smartcar/store"
	"github.com/stretchr/testify/require"
)

// unlimited leaves the application's requests to Smartcar.
var unlimited = smartcar.ApplicationLimit{Requests: -1}

func budgetOf(perVehicle, reserve int) smartcar.Option {
	return smartcar.WithBudget(smartcar.Budget{PerVehicle: perVehicle, Reserve: reserve, ApplicationLimit: unlimited})
}

func requireRule(t *testing.T, err error, rule smartcar.Rule) *smartcar.RateLimitError {
	t.Helper()
	var limit *smartcar.RateLimitError
	require.ErrorAs(t, err, &limit)
	require.Equal(t, rule, limit.Rule, "%v", err)
	return limit
}

// Reads end at the reserve, commands never do, and the next month begins anew.
func TestBudgetOfAVehicle(t *testing.T) {
	for _, api := range []smartcar.API{smartcar.V2, smartcar.V3} {
		t.Run(string(api), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sim := smartcartest.New()
				client := apiClient(t, sim, api, budgetOf(60, 5))
				v := client.User(connect(t, sim, client).UserID).Vehicle(smartcartest.MachE)
				var err error
				reads := 0
				for ; err == nil && reads < 100; reads++ {
					_, err = v.Battery(t.Context())
				}
				limit := requireRule(t, err, smartcar.RuleBudget)
				require.True(t, limit.Local)
				require.Len(t, sim.Ledger(smartcartest.MachE), 55, "metadata included")
				require.False(t, limit.NextAllowed.Before(time.Date(2000, 2, 1, 0, 0, 0, 0, time.UTC)))
				require.True(t, limit.NextAllowed.Before(time.Date(2000, 2, 2, 0, 0, 0, 0, time.UTC)))
				access, err := v.Access(t.Context())
				require.NoError(t, err)
				require.Equal(t, 55, access.Spent)
				require.Equal(t, 5, access.Left)
				require.Equal(t, smartcar.RuleBudget, access.Rule)
				require.Equal(t, limit.NextAllowed, access.NextRead)
				require.Contains(t, access.Why, "used up")
				for range 10 {
					_, err = v.Lock(t.Context())
					require.NoError(t, err)
				}
				access, err = v.Access(t.Context())
				require.NoError(t, err)
				require.Equal(t, 65, access.Spent)
				require.Zero(t, access.Left)
				_, err = v.With(smartcar.IgnorePolicy()).Battery(t.Context())
				require.NoError(t, err)

				time.Sleep(time.Until(limit.NextAllowed))
				_, err = v.Battery(t.Context())
				require.NoError(t, err)
				access, err = v.Access(t.Context())
				require.NoError(t, err)
				require.Less(t, access.Spent, 5)
			})
		})
	}
}

// On v2.0 each read of a batch counts, and one that is too large is refused whole, without
// the turn of the car. On v3 the list counts once.
func TestBudgetOfABatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		want := []smartcar.Operation{smartcar.Battery, smartcar.Odometer, smartcar.Charge, smartcar.LockStatus}
		spent := func(api smartcar.API, b smartcar.Budget) int {
			b.ApplicationLimit = unlimited
			client := apiClient(t, sim, api, smartcar.WithBudget(b))
			v := client.User(connect(t, sim, client).UserID).Vehicle(smartcartest.MachE)
			_, err := v.Snapshot(t.Context(), want...)
			require.NoError(t, err)
			access, err := v.Access(t.Context())
			require.NoError(t, err)
			require.Equal(t, b.PerVehicle, access.Spent+access.Left)
			return access.Spent
		}
		require.Equal(t, 5, spent(smartcar.V2, smartcar.Budget{PerVehicle: 500}))
		require.Equal(t, 4, spent(smartcar.V2, smartcar.Budget{PerVehicle: 500, FreeMetadata: true}))
		require.Equal(t, 2, spent(smartcar.V2, smartcar.Budget{PerVehicle: 500, BatchOnce: true}))
		require.Equal(t, 2, spent(smartcar.V3, smartcar.Budget{PerVehicle: 500}))

		client := newClient(t, sim, budgetOf(5, 0))
		v := client.User(connect(t, sim, client).UserID).Vehicle(smartcartest.ModelY)
		_, err := v.Snapshot(t.Context(), want...) // attributes and the status of the key were counted
		_ = requireRule(t, err, smartcar.RuleBudget)
		_, err = v.Battery(t.Context())
		require.NoError(t, err, "the turn was not taken")
	})
}

// Several processes share the month, and a process that ends gives back what it has not
// used. One that dies does not.
func TestReplicasShareTheBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const replicas, month = 4, 200
		sim := smartcartest.New()
		db := store.NewMemory()
		var clients []*smartcar.Client
		for range replicas {
			clients = append(clients, newClient(t, sim, smartcar.WithStore(db), budgetOf(month, 20)))
		}
		user := connect(t, sim, clients[0]).UserID
		var all sync.WaitGroup
		for _, client := range clients {
			for range 3 {
				all.Go(func() {
					for range 100 {
						_, err := client.User(user).Vehicle(smartcartest.MachE).Battery(t.Context())
						if err != nil {
							_ = requireRule(t, err, smartcar.RuleBudget)
						}
						time.Sleep(time.Minute)
					}
				})
			}
		}
		all.Wait()
		sent := len(sim.Ledger(smartcartest.MachE))
		require.LessOrEqual(t, sent, month-20)
		require.Greater(t, sent, (month-20)*9/10, "little is stranded")

		time.Sleep(40 * day)
		sent = len(sim.Ledger(smartcartest.MachE))
		for range 25 { // restarts
			client := newClient(t, sim, smartcar.WithStore(db), budgetOf(month, 20))
			_, err := client.User(user).Vehicle(smartcartest.MachE).Battery(t.Context())
			require.NoError(t, err)
			require.NoError(t, client.Drain(t.Context()))
		}
		access, err := newClient(t, sim, smartcar.WithStore(db), budgetOf(month, 20)).User(user).Vehicle(smartcartest.MachE).Access(t.Context())
		require.NoError(t, err)
		require.Equal(t, len(sim.Ledger(smartcartest.MachE))-sent, access.Spent)
		for range 3 { // deaths
			_, err := newClient(t, sim, smartcar.WithStore(db), budgetOf(month, 20)).User(user).Vehicle(smartcartest.MachE).Battery(t.Context())
			require.NoError(t, err)
		}
		after, err := newClient(t, sim, smartcar.WithStore(db), budgetOf(month, 20)).User(user).Vehicle(smartcartest.MachE).Access(t.Context())
		require.NoError(t, err)
		require.Greater(t, after.Spent, access.Spent+3)
	})
}

// The requests of the application last, and reads wait while they are used up; a command
// goes.
func TestLimitOfTheApplicationHere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cars, ids := garageOf(30)
		sim := smartcartest.New(smartcartest.WithCars(cars...), smartcartest.WithAppRateLimit(120, 2))
		db := store.NewMemory()
		option := smartcar.WithBudget(smartcar.Budget{})
		clients := []*smartcar.Client{newClient(t, sim, smartcar.WithStore(db), option), newClient(t, sim, smartcar.WithStore(db), option)}
		user := connect(t, sim, clients[0]).UserID
		refused := 0
		began := time.Now()
		for i := 0; time.Since(began) < 6*time.Hour; i++ {
			_, err := clients[i%2].User(user).Vehicle(ids[i%len(ids)]).Battery(t.Context())
			if err != nil {
				limit := requireRule(t, err, smartcar.RuleApplication)
				require.True(t, limit.Local, "%v", err)
				require.True(t, limit.NextAllowed.After(time.Now()))
				require.LessOrEqual(t, time.Until(limit.NextAllowed), 31*time.Second)
				refused++
			}
			time.Sleep(7 * time.Second)
		}
		require.Positive(t, refused)
		sent := len(sim.Requests())
		require.Greater(t, sent, 120+6*60*2*9/10, "hardly any is lost")
		for _, r := range sim.Requests() {
			require.NotEqual(t, 429, r.Status)
		}
		for range 5 {
			_, err := clients[0].User(user).Vehicle(ids[0]).Lock(t.Context())
			require.False(t, errors.Is(err, smartcar.ErrRateLimited) && errors.As(err, new(*smartcar.RateLimitError)) && sim.Requests()[len(sim.Requests())-1].Status != 429)
		}
	})
}

// While a limit of the application lets nobody ask what a car is, the car does not become
// one of which it cannot be told, and its window stays closed.
func TestALimitTeachesNothingOfACar(t *testing.T) {
	for _, api := range []smartcar.API{smartcar.V2, smartcar.V3} {
		t.Run(string(api), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sim := smartcartest.New()
				client := apiClient(t, sim, api)
				v := client.User(connect(t, sim, client).UserID).Vehicle(smartcartest.ModelY)
				sim.Inject(smartcartest.Fault{
					Match: func(r *http.Request) bool { return strings.HasSuffix(r.URL.Path, "/vehicles/"+smartcartest.ModelY) },
					Times: -1, ErrorType: "RATE_LIMIT", ErrorCode: "SMARTCAR_API", Header: http.Header{"Retry-After": {"1"}},
				})
				for range 6 * 30 {
					_, err := v.Battery(t.Context())
					_ = requireRule(t, err, smartcar.RuleApplication)
					access, err := v.Access(t.Context())
					require.NoError(t, err)
					require.Equal(t, smartcar.ClassUnknown, access.Class)
					time.Sleep(10 * time.Minute)
				}
				sim.ClearFaults()
				_, err := v.Battery(t.Context())
				require.NoError(t, err)
				_, err = v.Battery(t.Context())
				_ = requireRule(t, err, smartcar.RuleKeyless)
				require.Empty(t, sim.BrokenWindows(smartcartest.ModelY))
			})
		})
	}
}

// Counting costs a call of the store in ten reads.
func TestBudgetIsCheap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		swaps := func(opts ...smartcar.Option) int {
			db := &countingStore{Store: store.NewMemory()}
			_, user := connected(t, smartcartest.New(), append(opts, smartcar.WithStore(db))...)
			v := user.Vehicle(smartcartest.MachE)
			_, err := v.Battery(t.Context())
			require.NoError(t, err)
			before := db.trips.Load()
			for range 200 {
				_, err := v.Battery(t.Context())
				require.NoError(t, err)
				time.Sleep(time.Second)
			}
			return int(db.trips.Load() - before)
		}
		without := swaps()
		require.LessOrEqual(t, swaps(budgetOf(10_000, 0))-without, 200/10+5)
	})
}

// The operator's word: all begin anew, in other processes within a minute.
func TestResetBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		db := store.NewMemory()
		client := newClient(t, sim, smartcar.WithStore(db), budgetOf(10, 0))
		other := newClient(t, sim, smartcar.WithStore(db), budgetOf(10, 0))
		user := connect(t, sim, client).UserID
		read := func(c *smartcar.Client) error {
			_, err := c.User(user).Vehicle(smartcartest.MachE).Battery(t.Context())
			return err
		}
		for range 12 {
			_ = read(client)
		}
		_ = requireRule(t, read(client), smartcar.RuleBudget)
		_ = requireRule(t, read(other), smartcar.RuleBudget)
		require.NoError(t, client.ResetBudget(t.Context()))
		require.NoError(t, read(client))
		time.Sleep(time.Minute + time.Second)
		require.NoError(t, read(other))
		require.ErrorIs(t, new(smartcar.Client).ResetBudget(t.Context()), smartcar.ErrInvalidArgument)

		// Smartcar's own word is forgotten as well.
		sim.Inject(smartcartest.Fault{Path: "/battery", ErrorType: "BILLING", ErrorCode: "VEHICLE_REQUEST_LIMIT"})
		_ = requireRule(t, read(client), smartcar.RuleBudget)
		_ = requireRule(t, read(client), smartcar.RuleBudget)
		require.NoError(t, client.ResetBudget(t.Context()))
		require.NoError(t, read(client))
	})
}

// While the store is away, nothing is counted and nothing refused; a record that cannot be
// read begins anew.
func TestBudgetWithoutAStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		db := newSpoiledStore()
		client := newClient(t, sim, smartcar.WithStore(db), smartcar.WithBudget(smartcar.Budget{PerVehicle: 20}))
		v := client.User(connect(t, sim, client).UserID).Vehicle(smartcartest.MachE)
		_, err := v.Battery(t.Context())
		require.NoError(t, err)
		back := db.goDown()
		for range 30 {
			_, err = v.Battery(t.Context())
			require.NoError(t, err)
		}
		back()
		r, err := db.Load(t.Context(), "budget/car/"+smartcartest.MachE)
		require.NoError(t, err)
		_, err = db.Store.CompareAndSwap(t.Context(), "budget/car/"+smartcartest.MachE, r.Revision, []byte("garbage"), 0)
		require.NoError(t, err)
		client = newClient(t, sim, smartcar.WithStore(db), smartcar.WithBudget(smartcar.Budget{PerVehicle: 20}))
		_, err = client.User(v.UserID()).Vehicle(v.ID()).Battery(t.Context())
		require.NoError(t, err)
	})
}

func TestBudgetIsChecked(t *testing.T) {
	for _, b := range []smartcar.Budget{
		{PerVehicle: -1}, {PerVehicle: 10, Reserve: 10}, {Reserve: 1}, {PerVehicle: 10, Reserve: -1},
		{ApplicationLimit: smartcar.ApplicationLimit{PerMinute: -1}},
	} {
		_, err := smartcar.New(smartcar.Config{ClientID: "a", ClientSecret: "b", RedirectURL: "https://example.com/"}, smartcar.WithBudget(b))
		require.ErrorIs(t, err, smartcar.ErrInvalidArgument)
	}
}

// Visits spread the month's calls over it.
func TestVisitsSpreadTheMonth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		_, user := connected(t, sim, allPlaces, budgetOf(500, 50))
		v := user.Vehicle(smartcartest.Model3)
		var k taken
		days := make(map[int]int)
		for time.Now().Month() == time.January {
			visit, err := v.Visit(t.Context(), k.handle, smartcar.Battery)
			require.NoError(t, err)
			if visit.Asked {
				days[time.Now().Day()]++
			}
			time.Sleep(time.Until(visit.Next))
		}
		require.LessOrEqual(t, len(sim.Ledger(v.ID())), 450)
		require.Greater(t, len(sim.Ledger(v.ID())), 430)
		for day, n := range days {
			require.InDelta(t, 14, n, 6, "day %d", day)
		}
	})
}
