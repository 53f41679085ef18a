package riverfleet

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"
	"github.com/seed-498a1bc4/smartcar"
)

const (
	// leastSnooze and mostSnooze bound how long a job sleeps: a clock that is off must not
	// make it run all the time, or never again.
	leastSnooze = time.Second
	mostSnooze  = 48 * time.Hour
	// failedSnooze follows a panic, or a visit that has run into its timeout.
	failedSnooze = 5 * time.Minute
	// strangersRate is how many requests a minute the application is believed to have if
	// the client knows no limit: see smartcar.WithBudget.
	strangersRate = 60
)

// visitWorker is the job of one car.
type visitWorker[TTx any] struct {
	river.WorkerDefaults[Args]
	jobs *Jobs[TTx]
}

// Timeout implements [river.Worker].
func (w *visitWorker[TTx]) Timeout(*river.Job[Args]) time.Duration { return w.jobs.config.Timeout }

// NextRetry implements [river.Worker], for the jobs of processes that have died.
func (w *visitWorker[TTx]) NextRetry(*river.Job[Args]) time.Time {
	return time.Now().Add(rand.N(10 * time.Second))
}

// Work implements [river.Worker]. Its error is always a snooze, which costs the job no
// attempt. It returns nil, which ends the job, for a car whose user is not stored.
func (w *visitWorker[TTx]) Work(ctx context.Context, job *river.Job[Args]) (err error) {
	defer func() {
		if recover() != nil {
			err = river.JobSnooze(failedSnooze + rand.N(failedSnooze/4))
		}
	}()
	j := w.jobs
	before, beforeErr := j.woken(ctx, job.Args)
	car := j.fleet.Client().User(job.Args.UserID).Vehicle(job.Args.VehicleID)
	visit, err := j.fleet.Visit(ctx, car)
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return river.JobSnooze(failedSnooze)
	case ctx.Err() != nil: // the process stops
		return river.JobSnooze(0)
	case visit.Next.IsZero() && errors.Is(err, smartcar.ErrInvalidArgument):
		return river.JobCancel(err)
	case visit.Next.IsZero():
		return nil
	}
	if after, afterErr := j.woken(ctx, job.Args); beforeErr == nil && afterErr == nil && after != before {
		return river.JobSnooze(0)
	}
	next := visit.Next
	if !visit.HeldUntil.IsZero() {
		next = j.held.take(visit.HeldUntil, j.perMinute())
	}
	return river.JobSnooze(snoozeUntil(next))
}

// snoozeUntil is how long a job sleeps, whatever the time is that it waits for.
func snoozeUntil(next time.Time) time.Duration {
	return min(max(time.Until(next), leastSnooze), mostSnooze)
}

// perMinute is how many requests the application may send in a minute.
func (j *Jobs[TTx]) perMinute() float64 {
	if limit := j.fleet.Client().Budget().ApplicationLimit; limit.Requests > 0 {
		return limit.PerMinute
	}
	return strangersRate
}

// slots are given to cars that wait for the limit of the application, one after the
// other, so that they do not all come when it ends. They are those of this process.
type slots struct {
	mu   sync.Mutex
	next time.Time
}

// take returns the next slot behind the end of the limit.
func (s *slots) take(held time.Time, perMinute float64) time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.next.Before(held) {
		s.next = held
	}
	gap := time.Duration(float64(time.Minute) / perMinute)
	at := s.next.Add(rand.N(gap))
	if latest := held.Add(longestSlot); s.next.After(latest) { // the days after that begin anew
		s.next = held
	}
	s.next = s.next.Add(gap)
	return at
}

// longestSlot is how far behind the end of a limit a car is put off at most.
const longestSlot = 24 * time.Hour

// reconcileArgs are those of the periodic job.
type reconcileArgs struct{}

// Kind implements [river.JobArgs].
func (reconcileArgs) Kind() string { return "smartcar_reconcile" }

// InsertOpts implements [river.JobArgsWithInsertOpts]: one at a time.
func (reconcileArgs) InsertOpts() river.InsertOpts {
	return river.InsertOpts{
		Queue: Queue, MaxAttempts: 3,
		UniqueOpts: river.UniqueOpts{ByState: []rivertype.JobState{
			rivertype.JobStateAvailable, rivertype.JobStatePending, rivertype.JobStateRetryable,
			rivertype.JobStateRunning, rivertype.JobStateScheduled,
		}},
	}
}

// reconcileWorker gives jobs to cars that have none.
type reconcileWorker[TTx any] struct {
	river.WorkerDefaults[reconcileArgs]
	jobs *Jobs[TTx]
}

// Timeout implements [river.Worker]: a million cars take some minutes.
func (w *reconcileWorker[TTx]) Timeout(*river.Job[reconcileArgs]) time.Duration {
	return w.jobs.config.Timeout
}

// Work implements [river.Worker].
func (w *reconcileWorker[TTx]) Work(ctx context.Context, _ *river.Job[reconcileArgs]) error {
	rc, err := river.ClientFromContextSafely[TTx](ctx)
	if err == nil {
		_, err = w.jobs.Reconcile(ctx, rc)
	}
	return err
}
