// Package riverfleet lets several machines share the cars of a fleet, as jobs of River on
// PostgreSQL: one job for each car, which sleeps until its car is worth a look.
//
//	f, err := fleet.New(client, fleet.Config{...})
//	jobs, err := riverfleet.New[pgx.Tx](f, store, riverfleet.Config{})
//	config := &river.Config{}
//	err = jobs.Configure(config)
//	rc, err := river.NewClient(riverpgxv5.New(pool), config)
//	err = rc.Start(ctx)
//	_, err = jobs.Reconcile(ctx, rc) // the cars that the store knows get their jobs
//	...
//	err = jobs.Wake(ctx, rc, car) // a webhook event has come
//
// All replicas have to share the store of the client, which keeps the windows: River only
// wakes, and may do so late, early or twice. The tables are River's own; see its package
// rivermigrate. With a million cars, add the index of [IndexSQL]. Rows are written often,
// so let autovacuum see to them: ALTER TABLE river_job SET
// (autovacuum_vacuum_scale_factor = 0.01).
//
// A job never fails, since River would give it up after some failures in its life: errors
// and panics become a pause. River's user interface shows the jobs as scheduled, with the
// number of their snoozes, and its plugin for OpenTelemetry sees each visit. The package is
// generic over River's transactions, so that the same program runs on its driver for
// SQLite, too, with sql.Tx in the place of pgx.Tx. A car that was paused sleeps until its
// pause ends, and [Jobs.Forget] deletes the jobs of a user. A River client that does not know the jobs of this package must have
// LeaderElectionDisabled: as the leader it would discard them.
package riverfleet

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"
	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/fleet"
	"github.com/seed-498a1bc4/smartcar/store"
)

// Queue is the queue of the jobs.
const Queue = "smartcar_fleet"

// IndexSQL makes an index that keeps River's scheduler from reading all sleeping jobs each
// 5 seconds: with a million of them 0.1 ms instead of 120. It is optional, and runs outside
// a transaction.
const IndexSQL = `CREATE INDEX CONCURRENTLY IF NOT EXISTS river_job_smartcar_sleeping
ON river_job (state, scheduled_at) WHERE state IN ('retryable', 'scheduled')`

// Args are those of the job of one car.
type Args struct {
	UserID    string `json:"user_id" river:"unique"`
	VehicleID string `json:"vehicle_id" river:"unique"`
}

// Kind implements [river.JobArgs].
func (Args) Kind() string { return "smartcar_visit" }

// maxAttempts is the most that River allows. Only those count that a killed process has
// not ended.
const maxAttempts = 32767

// InsertOpts implements [river.JobArgsWithInsertOpts]. Of those that have ended, a car may
// have any number of jobs: so one that was discarded comes back.
func (Args) InsertOpts() river.InsertOpts {
	return river.InsertOpts{
		Queue: Queue, MaxAttempts: maxAttempts,
		UniqueOpts: river.UniqueOpts{ByArgs: true, ByState: []rivertype.JobState{
			rivertype.JobStateAvailable, rivertype.JobStatePending, rivertype.JobStateRetryable,
			rivertype.JobStateRunning, rivertype.JobStateScheduled,
		}},
	}
}

// Config says how the jobs run. The zero value will do.
type Config struct {
	// Workers is how many cars this process visits at the same time; above 0. Default 32.
	// Short visits begin at Workers in 100 ms at most.
	Workers int
	// Timeout ends a visit, at least a second. Default 6 minutes, since Smartcar may take
	// 5 to reach a car. When a process dies, its jobs go on elsewhere after Timeout, or the
	// JobTimeout of River's client if that is longer, and up to a minute.
	Timeout time.Duration
	// Rate is how many cars a second get their first visit when many are new, above 0.
	// Default 20.
	Rate float64
	// Reconcile is how often the cars that the store knows are compared with the jobs, at
	// least a minute. Default an hour.
	Reconcile time.Duration
}

func (c Config) complete() (Config, error) {
	setDefault(&c.Workers, 32)
	setDefault(&c.Timeout, 6*time.Minute)
	setDefault(&c.Rate, 20)
	setDefault(&c.Reconcile, time.Hour)
	switch {
	case c.Workers < 0:
		return c, argumentError("Config.Workers", "must be above zero; 0 is 32")
	case c.Timeout < time.Second:
		return c, argumentError("Config.Timeout", "must be at least a second; 0 is 6 minutes")
	case !(c.Rate > 0):
		return c, argumentError("Config.Rate", "must be above zero; 0 is 20 a second")
	case c.Reconcile < time.Minute:
		return c, argumentError("Config.Reconcile", "must be at least a minute; 0 is an hour")
	}
	return c, nil
}

func setDefault[T comparable](v *T, to T) {
	var zero T
	if *v == zero {
		*v = to
	}
}

func argumentError(argument, problem string) error {
	return &smartcar.ArgumentError{Argument: "riverfleet." + argument, Problem: problem}
}

// Jobs are those of a fleet. TTx is the transaction of River's driver, such as pgx.Tx.
// They are safe for concurrent use.
type Jobs[TTx any] struct {
	fleet  *fleet.Fleet
	wakes  store.Store
	config Config
	held   slots
}

// New returns the jobs of a fleet. Wakes keeps what wakes a car while it is visited: give
// it the store of the client. Errors are a [*smartcar.ArgumentError].
func New[TTx any](f *fleet.Fleet, wakes store.Store, config Config) (*Jobs[TTx], error) {
	switch {
	case f.Client() == nil:
		return nil, argumentError("New fleet", "must come from fleet.New")
	case wakes == nil:
		return nil, argumentError("New wakes", "is nil; give it the store of the client")
	}
	config, err := config.complete()
	if err != nil {
		return nil, err
	}
	return &Jobs[TTx]{fleet: f, wakes: wakes, config: config}, nil
}

func (j *Jobs[TTx]) ready() error {
	if j == nil || j.fleet == nil {
		return argumentError("Jobs", "must come from riverfleet.New")
	}
	return nil
}

// rescueMargin is how long after its timeout a job counts as one whose process has died.
const rescueMargin = 30 * time.Second

// Configure adds to the configuration of a River client the workers, the queue and the
// periodic job of a fleet, and sets RescueStuckJobsAfter if it is not set. It changes the
// Workers that config has, or makes some.
func (j *Jobs[TTx]) Configure(config *river.Config) error {
	switch err := j.ready(); {
	case err != nil:
		return err
	case config == nil:
		return argumentError("Configure config", "is nil")
	case config.RescueStuckJobsAfter > 0 && config.RescueStuckJobsAfter < j.config.Timeout:
		return argumentError("Configure config", "has a RescueStuckJobsAfter that is shorter than Config.Timeout")
	}
	if config.Workers == nil {
		config.Workers = river.NewWorkers()
	}
	if config.Queues == nil {
		config.Queues = make(map[string]river.QueueConfig)
	}
	err := errors.Join(
		river.AddWorkerSafely(config.Workers, &visitWorker[TTx]{jobs: j}),
		river.AddWorkerSafely(config.Workers, &reconcileWorker[TTx]{jobs: j}),
	)
	if err != nil {
		return fmt.Errorf("riverfleet: %w", err)
	}
	config.Queues[Queue] = river.QueueConfig{MaxWorkers: j.config.Workers}
	config.PeriodicJobs = append(config.PeriodicJobs, river.NewPeriodicJob(
		river.PeriodicInterval(j.config.Reconcile),
		func() (river.JobArgs, *river.InsertOpts) { return reconcileArgs{}, nil },
		&river.PeriodicJobOpts{RunOnStart: true},
	))
	longest := config.JobTimeout
	setDefault(&longest, river.JobTimeoutDefault)
	setDefault(&config.RescueStuckJobsAfter, max(j.config.Timeout, longest)+rescueMargin)
	return nil
}

func argsOf(car *smartcar.Vehicle) (Args, error) {
	if car == nil || car.UserID() == "" || car.ID() == "" {
		return Args{}, argumentError("car", "is nil, or has no id")
	}
	return Args{UserID: car.UserID(), VehicleID: car.ID()}, nil
}

// Wake has a car visited now, by whichever process; a car without a job gets one. It
// costs nothing if nothing can be learned yet. A car that is visited just now is visited
// once more. Errors are those of River and of the store; then wake it again.
func (j *Jobs[TTx]) Wake(ctx context.Context, rc *river.Client[TTx], car *smartcar.Vehicle) error {
	return j.wake(ctx, car,
		func(args Args) (*rivertype.JobInsertResult, error) { return rc.Insert(ctx, args, nil) },
		func(id int64) (*rivertype.JobRow, error) { return rc.JobRetry(ctx, id) })
}

// WakeTx is Wake as part of a transaction, such as the one that notes a webhook event.
func (j *Jobs[TTx]) WakeTx(ctx context.Context, rc *river.Client[TTx], tx TTx, car *smartcar.Vehicle) error {
	return j.wake(ctx, car,
		func(args Args) (*rivertype.JobInsertResult, error) { return rc.InsertTx(ctx, tx, args, nil) },
		func(id int64) (*rivertype.JobRow, error) { return rc.JobRetryTx(ctx, tx, id) })
}

// wake makes a job due and has it fetched. JobRetry makes a sleeping job due, and leaves
// it to the next poll, in up to a second; inserting a duplicate tells the workers at once.
// Neither does anything for a job that runs: its worker sees the counter.
func (j *Jobs[TTx]) wake(ctx context.Context, car *smartcar.Vehicle, insert func(Args) (*rivertype.JobInsertResult, error), retry func(int64) (*rivertype.JobRow, error)) error {
	if err := j.ready(); err != nil {
		return err
	}
	args, err := argsOf(car)
	if err != nil {
		return err
	}
	if err := j.count(ctx, args); err != nil {
		return err
	}
	result, err := insert(args)
	if err != nil {
		return fmt.Errorf("riverfleet: %w", err)
	}
	if !result.UniqueSkippedAsDuplicate {
		return nil
	}
	switch _, err = retry(result.Job.ID); {
	case errors.Is(err, rivertype.ErrNotFound): // it has ended meanwhile
	case err != nil:
		return fmt.Errorf("riverfleet: %w", err)
	}
	if _, err = insert(args); err != nil {
		return fmt.Errorf("riverfleet: %w", err)
	}
	return nil
}

// wakeTTL is longer than any visit takes.
const wakeTTL = 2 * time.Hour

// wakeKey does not name the car, so that nothing is left of one that is forgotten.
func wakeKey(args Args) string {
	sum := sha256.Sum256([]byte(args.UserID + "\x00" + args.VehicleID))
	return "riverfleet/wake/" + hex.EncodeToString(sum[:16])
}

// count changes the record of a car's wakes. What it holds does not matter: each write has
// another revision.
func (j *Jobs[TTx]) count(ctx context.Context, args Args) error {
	r, err := j.wakes.Load(ctx, wakeKey(args))
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return fmt.Errorf("riverfleet: %w", err)
	}
	_, err = j.wakes.CompareAndSwap(ctx, wakeKey(args), r.Revision, []byte("woken"), wakeTTL)
	if err != nil && !errors.Is(err, store.ErrConflict) { // else another wake came first, which does as well
		return fmt.Errorf("riverfleet: %w", err)
	}
	return nil
}

// woken names the last wake of a car. An error counts as a wake.
func (j *Jobs[TTx]) woken(ctx context.Context, args Args) (store.Revision, error) {
	r, err := j.wakes.Load(ctx, wakeKey(args))
	if errors.Is(err, store.ErrNotFound) {
		return "", nil
	}
	return r.Revision, err
}

// Remove ends the job of a car. A visit under way is cut off. If the store still knows the
// car, the next reconciliation brings it back: [Jobs.Forget] ends that.
func (j *Jobs[TTx]) Remove(ctx context.Context, rc *river.Client[TTx], car *smartcar.Vehicle) error {
	if err := j.ready(); err != nil {
		return err
	}
	args, err := argsOf(car)
	if err != nil {
		return err
	}
	result, err := rc.Insert(ctx, args, &river.InsertOpts{ScheduledAt: time.Now().Add(time.Hour)}) // finds the one there is
	if err == nil {
		_, err = rc.JobCancel(ctx, result.Job.ID)
	}
	if err != nil && !errors.Is(err, rivertype.ErrNotFound) {
		return fmt.Errorf("riverfleet: %w", err)
	}
	return nil
}

// reconcileBatch is how many cars are looked at in one statement.
const reconcileBatch = 1000

// Reconcile gives each car that the store knows a job, unless it has one, and returns how
// many were new. The first visits of new ones are spread. It runs by itself when a
// process starts, and each [Config.Reconcile]; store.ErrCannotList needs cars to be woken
// one by one instead.
func (j *Jobs[TTx]) Reconcile(ctx context.Context, rc *river.Client[TTx]) (added int, err error) {
	if err := j.ready(); err != nil {
		return 0, err
	}
	batch, seen := make([]river.InsertManyParams, 0, reconcileBatch), make(map[Args]bool, reconcileBatch)
	flush := func() error {
		if len(batch) == 0 {
			return nil
		}
		now := time.Now()
		for i := range batch {
			wait := time.Duration(float64(added+i) / j.config.Rate * float64(time.Second))
			if wait > time.Second { // less would only be slowed down by River's scheduler
				batch[i].InsertOpts = &river.InsertOpts{ScheduledAt: now.Add(wait)}
			}
		}
		results, err := rc.InsertMany(ctx, batch)
		if err != nil {
			return fmt.Errorf("riverfleet: %w", err)
		}
		for _, r := range results {
			if !r.UniqueSkippedAsDuplicate {
				added++
			}
		}
		batch = batch[:0]
		clear(seen)
		return nil
	}
	for car, err := range j.fleet.Client().Vehicles(ctx) {
		if err != nil {
			return added, err
		}
		args := Args{UserID: car.UserID(), VehicleID: car.ID()}
		if seen[args] { // one statement must not insert the same twice
			continue
		}
		seen[args] = true
		if batch = append(batch, river.InsertManyParams{Args: args}); len(batch) == reconcileBatch {
			if err := flush(); err != nil {
				return added, err
			}
		}
	}
	return added, flush()
}
