package riverfleet_test

import (
	"context"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"
	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/fleet"
	"github.com/seed-498a1bc4/smartcar/fleet/riverfleet"
	"github.com/seed-498a1bc4/smartcar/smartcartest"
	"github.com/seed-498a1bc4/smartcar/store"
	"github.com/stretchr/testify/require"
)

func others(n int) (cars []smartcartest.Car) {
	for i := range n {
		cars = append(cars, other(fmt.Sprintf("car-%d", i)))
	}
	return cars
}

// data counts the requests for data of a car.
func (w *world) data(id string) (n int) {
	for _, e := range w.sim.Ledger(id) {
		if e.Kind == smartcartest.Data {
			n++
		}
	}
	return n
}

// scheduled returns when the jobs are due that sleep.
func (w *world) scheduled(t *testing.T) (at []time.Time) {
	t.Helper()
	for _, rows := range w.jobs(t) {
		for _, row := range rows {
			if row.State == rivertype.JobStateScheduled {
				at = append(at, row.ScheduledAt)
			}
		}
	}
	return at
}

// most returns how many of the times are in one interval, at most.
func most(at []time.Time, interval time.Duration) (n int) {
	each := make(map[time.Time]int)
	for _, t := range at {
		each[t.Truncate(interval)]++
		n = max(n, each[t.Truncate(interval)])
	}
	return n
}

// skewed is the clock of a worker that is off.
type skewed struct{ by time.Duration }

// Now implements [rivertype.TimeGenerator].
func (s skewed) Now() time.Time { return time.Now().Add(s.by) }

// NowOrNil implements [rivertype.TimeGenerator].
func (s skewed) NowOrNil() *time.Time {
	now := s.Now()
	return &now
}

// twice is a store that lists everything twice.
type twice struct{ store.Store }

// List implements [store.Lister].
func (s twice) List(ctx context.Context, prefix, cursor string) ([]string, string, error) {
	keys, next, err := s.Store.(store.Lister).List(ctx, prefix, cursor)
	return append(keys, keys...), next, err
}

func TestPitfalls(t *testing.T) {
	pool := startPostgres(t)
	for name, test := range map[string]func(t *testing.T){
		"a worker's clock is early or late": func(t *testing.T) {
			const cars, turns = 5, 3
			window := smartcar.Rules{KeylessWindow: 3 * time.Second, LegacyRefresh: time.Second}
			for _, by := range []time.Duration{-2 * time.Second, 2 * time.Second} {
				empty(t, pool)
				var garage []smartcartest.Car
				for i := range cars {
					garage = append(garage, smartcartest.Car{
						ID: fmt.Sprintf("car-%d", i), Make: "TESLA", Model: "Model Y", Year: 2023, Integration: smartcartest.Streaming,
					})
				}
				w := newScaledWorld(t, pool, window, garage...)
				r := w.replica(t, new(counter).handle, func(_ *fleet.Config, _ *riverfleet.Config, c *river.Config) {
					c.Test.Time = skewed{by}
				})
				began := time.Now()
				for _, car := range garage {
					eventually(t, func() bool { return w.data(car.ID) >= turns }, car.ID)
				}
				visits, took := r.fleet.Stats().Visits, time.Since(began)
				require.NoError(t, r.stop(t.Context()))
				for _, car := range garage {
					require.Empty(t, w.sim.BrokenWindows(car.ID))
				}
				require.LessOrEqual(t, visits, int64(cars*(took.Seconds()+turns+1)), "a visit a second is the floor of a snooze")
			}
		},
		"a limit of the application is no second wave": func(t *testing.T) {
			const n = 300
			w := newWorld(t, pool, others(n)...)
			w.sim.Inject(smartcartest.Fault{
				Path: "/vehicles/", Times: -1, ErrorType: "RATE_LIMIT", ErrorCode: "SMARTCAR_API", Header: http.Header{"Retry-After": {"600"}},
			})
			asked := len(w.sim.Requests())
			w.replica(t, new(counter).handle, nil)
			eventually(t, func() bool { return len(w.scheduled(t)) == n })
			require.LessOrEqual(t, len(w.sim.Requests())-asked, 64, "those that were on their way")
			at := w.scheduled(t)
			require.LessOrEqual(t, most(at, 10*time.Second), 20, "one a second, and a share of that")
			for _, due := range at {
				require.True(t, due.After(time.Now().Add(9*time.Minute)))
			}
		},
		"cars come back spread after the store was away": func(t *testing.T) {
			const n = 100
			w := newWorld(t, pool, others(n)...)
			db := &broken{Store: w.db}
			w.db = db
			r := w.replica(t, new(counter).handle, func(_ *fleet.Config, c *riverfleet.Config, _ *river.Config) { c.Rate = 1e6 })
			eventually(t, func() bool { return len(w.scheduled(t)) == n })
			db.mode.Store(1)
			for i := range n {
				require.NoError(t, r.Wake(t.Context(), r.river, r.car(fmt.Sprintf("car-%d", i))))
			}
			eventually(t, func() bool { return r.fleet.Stats().Failed == n && len(w.scheduled(t)) == n })
			require.LessOrEqual(t, most(w.scheduled(t), time.Second), n/4)
		},
		"a restart with many cars is bounded": func(t *testing.T) {
			const n, rate = 300, 2
			w := newWorld(t, pool, others(n)...)
			w.replica(t, new(counter).handle, func(_ *fleet.Config, c *riverfleet.Config, _ *river.Config) { c.Rate = rate })
			eventually(t, func() bool {
				all := 0
				for _, rows := range w.jobs(t) {
					all += len(rows)
				}
				return all == n
			})
			minute, first := time.Now().Add(time.Minute), 0
			for _, at := range w.scheduled(t) {
				if at.Before(minute) {
					first++
				}
			}
			require.LessOrEqual(t, first, 60*rate+1)
			require.LessOrEqual(t, most(w.scheduled(t), time.Second), rate+1)
		},
		"a running car is removed and comes back": func(t *testing.T) {
			w := newWorld(t, pool, others(2)...)
			inside := make(chan struct{}, 100)
			r := w.replica(t, func(ctx context.Context, v *smartcar.Vehicle, _ *smartcar.Snapshot) error {
				if v.ID() == "car-0" && len(inside) == 0 {
					inside <- struct{}{}
					<-ctx.Done()
				}
				return ctx.Err()
			}, nil)
			eventually(t, func() bool { return len(inside) == 1 })
			require.NoError(t, r.Remove(t.Context(), r.river, r.car("car-0")))
			eventually(t, func() bool { return w.jobs(t)["car-0"][0].State == rivertype.JobStateCancelled })
			added, err := r.Reconcile(t.Context(), r.river)
			require.NoError(t, err)
			require.Equal(t, 1, added)
			eventually(t, func() bool {
				rows := w.jobs(t)["car-0"]
				return len(rows) == 2 && rows[1].State == rivertype.JobStateScheduled
			})
			require.Equal(t, 1, w.data("car-0"), "what was read before is handed over now")
		},
		"a list with duplicates": func(t *testing.T) {
			w := newWorld(t, pool, others(20)...)
			w.db = twice{w.db}
			r := w.replica(t, new(counter).handle, nil)
			eventually(t, func() bool { return len(w.scheduled(t)) == 20 })
			added, err := r.Reconcile(t.Context(), r.river)
			require.NoError(t, err)
			require.Zero(t, added)
			for _, rows := range w.jobs(t) {
				require.Len(t, rows, 1)
			}
		},
		"a paused car is left alone": func(t *testing.T) {
			w := newWorld(t, pool, others(1)...)
			r := w.replica(t, new(counter).handle, nil)
			eventually(t, func() bool { return w.sleeps(t, "car-0") })
			until := time.Now().Add(10 * time.Hour)
			require.NoError(t, r.car("car-0").Pause(t.Context(), until))
			require.NoError(t, r.Wake(t.Context(), r.river, r.car("car-0")))
			eventually(t, func() bool {
				row := w.jobs(t)["car-0"][0]
				return row.State == rivertype.JobStateScheduled && !row.ScheduledAt.Before(until.Add(-time.Second))
			})
			require.Equal(t, 1, w.data("car-0"))
		},
		"a forgotten user's jobs go at once": func(t *testing.T) {
			w := newWorld(t, pool, others(20)...)
			r := w.replica(t, new(counter).handle, nil)
			eventually(t, func() bool { return len(w.scheduled(t)) == 20 })
			asked := len(w.sim.Requests())
			require.NoError(t, r.Forget(t.Context(), r.river, r.fleet.Client().User(w.user)))
			require.Empty(t, w.jobs(t))
			added, err := r.Reconcile(t.Context(), r.river)
			require.NoError(t, err)
			require.Zero(t, added)
			require.Len(t, w.sim.Requests(), asked)
			require.NoError(t, r.Forget(t.Context(), r.river, r.fleet.Client().User(w.user)), "and again")
			require.ErrorIs(t, r.Forget(t.Context(), r.river, nil), smartcar.ErrInvalidArgument)
		},
	} {
		t.Run(name, func(t *testing.T) {
			empty(t, pool)
			test(t)
		})
	}
}
