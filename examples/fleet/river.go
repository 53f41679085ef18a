package main

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"
	"github.com/seed-498a1bc4/smartcar/fleet"
	"github.com/seed-498a1bc4/smartcar/fleet/riverfleet"
	"github.com/seed-498a1bc4/smartcar/store"
)

// shareWork is keepFresh for one of several processes: each car is a job of River.
func shareWork(ctx context.Context, url string, f *fleet.Fleet, kept store.Store) error {
	pool, err := openPool(ctx, url)
	if err != nil {
		return err
	}
	defer pool.Close()
	jobs, err := riverfleet.New[pgx.Tx](f, kept, riverfleet.Config{Timeout: 2 * requestTime, Rate: 100})
	if err != nil {
		return err
	}
	config := &river.Config{JobTimeout: 2 * requestTime, Logger: slog.New(slog.DiscardHandler), FetchPollInterval: 100 * time.Millisecond}
	observeJobs(config)
	if err := jobs.Configure(config); err != nil {
		return err
	}
	rc, err := river.NewClient(riverpgxv5.New(pool), config)
	if err != nil {
		return err
	}
	if err := rc.Start(context.WithoutCancel(ctx)); err != nil {
		return err
	}
	_, err = jobs.Reconcile(ctx, rc) // cars that came while no process ran
	if err == nil {
		<-ctx.Done()
	}
	stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), endTime/2)
	defer cancel()
	return errors.Join(err, rc.Stop(stopping), f.Client().Drain(stopping))
}

// migrateRiver makes River's tables, once before the replicas start, and forgets the jobs
// of the cars of an earlier simulation.
func migrateRiver(ctx context.Context, url string) error {
	pool, err := pgxpool.New(ctx, url)
	if err != nil {
		return err
	}
	defer pool.Close()
	migrator, err := rivermigrate.New(riverpgxv5.New(pool), nil)
	if err == nil {
		_, err = migrator.Migrate(ctx, rivermigrate.DirectionUp, nil)
	}
	if err == nil {
		_, err = pool.Exec(ctx, "DELETE FROM river_job WHERE queue = $1", riverfleet.Queue)
	}
	return err
}
