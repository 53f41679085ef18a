package riverfleet_test

import (
	"context"
	"encoding/json"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"
	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/fleet"
	"github.com/seed-498a1bc4/smartcar/fleet/riverfleet"
	"github.com/seed-498a1bc4/smartcar/smartcartest"
	"github.com/seed-498a1bc4/smartcar/store"
	"github.com/stretchr/testify/require"
)

func vehicleOf(t testing.TB, row *rivertype.JobRow) string {
	t.Helper()
	var args riverfleet.Args
	require.NoError(t, json.Unmarshal(row.EncodedArgs, &args))
	return args.VehicleID
}

func eventually(t *testing.T, condition func() bool, what ...any) {
	t.Helper()
	require.Eventually(t, condition, patience, 5*time.Millisecond, what...)
}

// sleeps reports whether a car has one job, and it sleeps.
func (w *world) sleeps(t *testing.T, id string) bool {
	t.Helper()
	rows := w.jobs(t)[id]
	return len(rows) == 1 && rows[0].State == rivertype.JobStateScheduled && rows[0].ScheduledAt.After(time.Now().Add(time.Minute))
}

func TestJobsOfAFleet(t *testing.T) {
	pool := startPostgres(t)
	for name, test := range map[string]func(*testing.T, *world){
		"replicas share the cars": func(t *testing.T, w *world) {
			var got counter
			replicas := []*replica{w.replica(t, got.handle, nil), w.replica(t, got.handle, nil), w.replica(t, got.handle, nil)}
			for i := range 20 {
				id := fmt.Sprintf("car-%d", i)
				eventually(t, func() bool { return w.sleeps(t, id) }, id)
				require.Equal(t, 1, got.of(id))
			}
			for _, r := range replicas {
				added, err := r.Reconcile(t.Context(), r.river)
				require.NoError(t, err)
				require.Zero(t, added, "each has its job")
			}
			for i := range 20 {
				require.Len(t, w.sim.Ledger(fmt.Sprintf("car-%d", i)), 2, "its class and its data, once")
			}
		},
		"a wake is seen at once": func(t *testing.T, w *world) {
			var got counter
			r := w.replica(t, got.handle, nil)
			eventually(t, func() bool { return w.sleeps(t, "car-0") })
			visits := r.fleet.Stats().Visits
			require.NoError(t, r.Wake(t.Context(), r.river, r.car("car-0")))
			eventually(t, func() bool { return r.fleet.Stats().Visits > visits })
			eventually(t, func() bool { return w.sleeps(t, "car-0") })
			require.Equal(t, 1, got.of("car-0"), "and finds nothing new")

			tx, err := w.pool.Begin(t.Context())
			require.NoError(t, err)
			visits = r.fleet.Stats().Visits
			require.NoError(t, r.WakeTx(t.Context(), r.river, tx, r.car("car-1")))
			require.NoError(t, tx.Commit(t.Context()))
			eventually(t, func() bool { return r.fleet.Stats().Visits > visits })
		},
		"a wake during a visit is not lost": func(t *testing.T, w *world) {
			release, inside := make(chan struct{}), make(chan struct{}, 100)
			r := w.replica(t, func(_ context.Context, v *smartcar.Vehicle, _ *smartcar.Snapshot) error {
				if v.ID() == "car-0" {
					inside <- struct{}{}
					<-release
				}
				return nil
			}, nil)
			<-inside
			for i := 1; i < 20; i++ {
				eventually(t, func() bool { return w.sleeps(t, fmt.Sprintf("car-%d", i)) })
			}
			visits := r.fleet.Stats().Visits
			for range 100 {
				require.NoError(t, r.Wake(t.Context(), r.river, r.car("car-0")))
			}
			close(release)
			eventually(t, func() bool { return w.sleeps(t, "car-0") })
			require.EqualValues(t, 2, r.fleet.Stats().Visits-visits, "the one under way, and one more")
		},
		"failures and panics do not add up": func(t *testing.T, w *world) {
			db := &broken{Store: w.db}
			w.db = db
			r := w.replica(t, new(counter).handle, nil)
			eventually(t, func() bool { return w.sleeps(t, "car-0") })
			for i := range 60 {
				db.mode.Store(int32(i % 3))
				before := w.jobs(t)["car-0"][0].ScheduledAt
				require.NoError(t, r.Wake(t.Context(), r.river, r.car("car-0")))
				eventually(t, func() bool {
					rows := w.jobs(t)["car-0"]
					return rows[0].State == rivertype.JobStateScheduled && !rows[0].ScheduledAt.Equal(before)
				}, i)
			}
			db.mode.Store(0)
			row := w.jobs(t)["car-0"][0]
			require.Empty(t, row.Errors)
			require.Zero(t, row.Attempt)
		},
		"removed and added again, discarded and healed": func(t *testing.T, w *world) {
			r := w.replica(t, new(counter).handle, nil)
			eventually(t, func() bool { return w.sleeps(t, "car-0") })
			require.NoError(t, r.Remove(t.Context(), r.river, r.car("car-0")))
			require.Equal(t, rivertype.JobStateCancelled, w.jobs(t)["car-0"][0].State)
			require.NoError(t, r.Remove(t.Context(), r.river, r.car("car-0")))
			_, err := w.pool.Exec(t.Context(), "UPDATE river_job SET state = 'discarded', finalized_at = now() WHERE args->>'vehicle_id' = 'car-1'")
			require.NoError(t, err)
			added, err := r.Reconcile(t.Context(), r.river)
			require.NoError(t, err)
			require.Equal(t, 2, added)
			added, err = r.Reconcile(t.Context(), r.river)
			require.NoError(t, err)
			require.Zero(t, added)
			for _, id := range []string{"car-0", "car-1"} {
				eventually(t, func() bool {
					rows := w.jobs(t)[id]
					return rows[len(rows)-1].State == rivertype.JobStateScheduled
				})
			}
		},
		"a stop loses no attempt": func(t *testing.T, w *world) {
			inside := make(chan struct{}, 100)
			var begun counter
			r := w.replica(t, func(ctx context.Context, v *smartcar.Vehicle, news *smartcar.Snapshot) error {
				_ = begun.handle(ctx, v, news)
				inside <- struct{}{}
				<-ctx.Done()
				return ctx.Err()
			}, nil)
			for range 5 {
				<-inside
			}
			require.NoError(t, r.stop(t.Context()))
			for id, rows := range w.jobs(t) {
				require.Len(t, rows, 1)
				require.Empty(t, rows[0].Errors, id)
				require.Zero(t, rows[0].Attempt, id)
				require.Contains(t, []rivertype.JobState{rivertype.JobStateAvailable, rivertype.JobStateScheduled}, rows[0].State, id)
			}
			var got counter // the next process hands over what was read, and asks nobody
			w.replica(t, got.handle, nil)
			for i := range 20 {
				id := fmt.Sprintf("car-%d", i)
				eventually(t, func() bool { return got.of(id) == 1 }, id)
				if begun.of(id) == 0 {
					continue // the stop may have met its requests
				}
				read := 0
				for _, e := range w.sim.Ledger(id) {
					if e.Kind == smartcartest.Data {
						read++
					}
				}
				require.Equal(t, 1, read, id)
			}
		},
		"a forgotten user's jobs end": func(t *testing.T, w *world) {
			r := w.replica(t, new(counter).handle, nil)
			eventually(t, func() bool { return w.sleeps(t, "car-0") })
			require.NoError(t, r.fleet.Client().User(w.user).Forget(t.Context()))
			asked := len(w.sim.Requests())
			require.NoError(t, r.Wake(t.Context(), r.river, r.car("car-0")))
			eventually(t, func() bool { return w.jobs(t)["car-0"][0].State == rivertype.JobStateCompleted })
			require.Len(t, w.sim.Requests(), asked)
		},
		"a panic of the handler is a back-off": func(t *testing.T, w *world) {
			var calls atomic.Int32
			r := w.replica(t, func(context.Context, *smartcar.Vehicle, *smartcar.Snapshot) error {
				calls.Add(1)
				panic("secret")
			}, nil)
			eventually(t, func() bool { return calls.Load() == 20 && r.fleet.Stats().Failed == 20 })
			for i := range 20 {
				eventually(t, func() bool { return w.jobs(t)[fmt.Sprintf("car-%d", i)][0].State == rivertype.JobStateScheduled })
			}
			for _, rows := range w.jobs(t) {
				require.Empty(t, rows[0].Errors)
				require.WithinDuration(t, time.Now().Add(time.Minute), rows[0].ScheduledAt, 50*time.Second)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			empty(t, pool)
			var cars []smartcartest.Car
			for i := range 20 {
				cars = append(cars, other(fmt.Sprintf("car-%d", i)))
			}
			test(t, newWorld(t, pool, cars...))
		})
	}
}

func TestIndex(t *testing.T) {
	pool := startPostgres(t)
	for range 2 {
		_, err := pool.Exec(t.Context(), riverfleet.IndexSQL)
		require.NoError(t, err)
	}
}

func TestNewAndConfigureRefuse(t *testing.T) {
	w := newWorld(t, nil, other("car"))
	f, err := fleet.New(w.client(t), fleet.Config{Reads: []smartcar.Operation{smartcar.Battery}, Handle: new(counter).handle})
	require.NoError(t, err)
	for _, bad := range []riverfleet.Config{{Workers: -1}, {Timeout: 1}, {Rate: -1}, {Reconcile: time.Second}} {
		_, err := riverfleet.New[pgx.Tx](f, w.db, bad)
		require.ErrorIs(t, err, smartcar.ErrInvalidArgument)
	}
	_, err = riverfleet.New[pgx.Tx](nil, w.db, riverfleet.Config{})
	require.ErrorIs(t, err, smartcar.ErrInvalidArgument)
	_, err = riverfleet.New[pgx.Tx](f, nil, riverfleet.Config{})
	require.ErrorIs(t, err, smartcar.ErrInvalidArgument)
	jobs, err := riverfleet.New[pgx.Tx](f, store.NewMemory(), riverfleet.Config{})
	require.NoError(t, err)
	require.ErrorIs(t, jobs.Configure(nil), smartcar.ErrInvalidArgument)
	require.ErrorIs(t, jobs.Configure(&river.Config{RescueStuckJobsAfter: time.Second}), smartcar.ErrInvalidArgument)
	config := &river.Config{}
	require.NoError(t, jobs.Configure(config))
	require.Greater(t, config.RescueStuckJobsAfter, 6*time.Minute)
	require.Error(t, jobs.Configure(config), "twice")

	short, err := riverfleet.New[pgx.Tx](f, w.db, riverfleet.Config{Timeout: time.Second})
	require.NoError(t, err)
	config = &river.Config{}
	require.NoError(t, short.Configure(config))
	require.Greater(t, config.RescueStuckJobsAfter, river.JobTimeoutDefault, "River refuses less")

	var zero riverfleet.Jobs[pgx.Tx]
	require.ErrorIs(t, zero.Configure(&river.Config{}), smartcar.ErrInvalidArgument)
	require.ErrorIs(t, zero.Wake(t.Context(), nil, nil), smartcar.ErrInvalidArgument)
	require.ErrorIs(t, jobs.Wake(t.Context(), nil, nil), smartcar.ErrInvalidArgument)
	require.ErrorIs(t, zero.Remove(t.Context(), nil, nil), smartcar.ErrInvalidArgument)
	_, err = zero.Reconcile(t.Context(), nil)
	require.ErrorIs(t, err, smartcar.ErrInvalidArgument)
}
