package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"sync"
	"time"

	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/fleet"
)

// replica is one process of an application, alone or one of several. It ends with ctx.
func replica(ctx context.Context, report io.Writer) error {
	shown, err := newTelemetry()
	if err != nil {
		return err
	}
	observed, err := watch()
	if err != nil {
		return err
	}
	where := stores{redis: os.Getenv(envRedis), postgres: os.Getenv(envPostgres), sqlite: os.Getenv(envSQLite)}
	kept, closeStore, err := where.open(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = closeStore() }()
	client, err := newClient(smartcar.Config{
		ClientID:     os.Getenv("SMARTCAR_CLIENT_ID"),
		ClientSecret: os.Getenv("SMARTCAR_CLIENT_SECRET"),
		RedirectURL:  os.Getenv("SMARTCAR_REDIRECT_URI"),
	}, kept, append(scaled(), smartcar.WithEnvironment(), observed)...)
	if err != nil {
		return err
	}
	f, err := newFleet(client, func(context.Context, *smartcar.Vehicle, *smartcar.Snapshot) error { return nil })
	if err != nil {
		return err
	}
	stopServing, err := shown.serve(ctx, f, kept)
	if err != nil {
		return err
	}
	defer stopServing()
	reporting, stop := context.WithCancel(context.WithoutCancel(ctx))
	var reports sync.WaitGroup
	reports.Go(func() { reportStats(reporting, f, report) })
	if where.postgres != "" {
		err = shareWork(ctx, where.postgres, f, kept)
	} else {
		err = keepFresh(ctx, client, f)
	}
	stop()
	reports.Wait()
	return err
}

// A report is what a replica says of itself, since it began.
type report struct {
	Delivered, Failed int64
	Status            string
}

// reportStats writes the status of the fleet, as JSON, until ctx ends, and at the end.
func reportStats(ctx context.Context, f *fleet.Fleet, to io.Writer) {
	out := json.NewEncoder(to)
	for going := true; going; {
		going = every(ctx, reportEvery)
		stats := f.Stats()
		if out.Encode(report{stats.Delivered, stats.Failed, stats.String()}) != nil {
			return
		}
	}
}

// tally adds up what processes have reported, those that were killed included.
type tally struct {
	mu                sync.Mutex
	delivered, failed int64
	status            string // of the last one that has said something
}

// reporter takes the reports of one process.
func (t *tally) reporter() func(report) {
	var before report
	return func(r report) {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.delivered += r.Delivered - before.Delivered
		t.failed += r.Failed - before.Failed
		t.status, before = r.Status, r
	}
}

func (t *tally) sum() (delivered, failed int64, status string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.delivered, t.failed, t.status
}

// every waits, and returns false when ctx has ended.
func every(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

var errNothing = errors.New("no car was read")
