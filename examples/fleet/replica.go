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
	window, err := time.ParseDuration(os.Getenv(envWindow))
	if err != nil {
		return err
	}
	kept, closeStore, err := where.open(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = closeStore() }()
	client, err := newClient(smartcar.Config{
		ClientID:     os.Getenv("SMARTCAR_CLIENT_ID"),
		ClientSecret: os.Getenv("SMARTCAR_CLIENT_SECRET"),
		RedirectURL:  os.Getenv("SMARTCAR_REDIRECT_URI"),
	}, kept, append(scaled(window), smartcar.WithEnvironment(), observed)...)
	if err != nil {
		return err
	}
	reports := &reporting{out: json.NewEncoder(report)}
	f, err := newFleet(client, reports.save)
	if err != nil {
		return err
	}
	stopServing, err := shown.serve(ctx, f, kept)
	if err != nil {
		return err
	}
	defer stopServing()
	untilEnd, stop := context.WithCancel(context.WithoutCancel(ctx))
	var last sync.WaitGroup
	last.Go(func() { reports.stats(untilEnd, f) })
	if where.postgres != "" {
		err = shareWork(ctx, where.postgres, f, kept)
	} else {
		err = keepFresh(ctx, client, f)
	}
	stop()
	last.Wait()
	return err
}

// A report is what a replica tells its parent: what it has saved, or how it is doing since
// it began.
type report struct {
	Car        string    `json:",omitempty"` // whose value was saved
	RecordedAt time.Time `json:",omitzero"`
	Failed     int64     `json:",omitempty"`
	Status     string    `json:",omitempty"`
}

// reporting writes reports, as JSON.
type reporting struct {
	mu  sync.Mutex
	out *json.Encoder
}

func (r *reporting) write(what report) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.out.Encode(what)
}

// save gets what is new of a car. The parent stands for the database of an application.
func (r *reporting) save(_ context.Context, v *smartcar.Vehicle, s *smartcar.Snapshot) error {
	battery, err := s.Battery()
	if err != nil {
		return err
	}
	return r.write(report{Car: v.ID(), RecordedAt: battery.RecordedAt})
}

// stats writes the status of the fleet until ctx ends, and at the end.
func (r *reporting) stats(ctx context.Context, f *fleet.Fleet) {
	for going := true; going; {
		going = every(ctx, reportEvery)
		stats := f.Stats()
		if r.write(report{Failed: stats.Failed, Status: stats.String()}) != nil {
			return
		}
	}
}

// tally adds up what processes have reported, those that were killed included.
type tally struct {
	mu        sync.Mutex
	delivered int
	saved     map[string]map[time.Time]int // how often a value of a car was handed over
	failed    int64
	status    string // of the last one that has said something
}

// reporter takes the reports of one process.
func (t *tally) reporter() func(report) {
	var failed int64
	return func(r report) {
		t.mu.Lock()
		defer t.mu.Unlock()
		if r.Car == "" {
			t.failed += r.Failed - failed
			t.status, failed = r.Status, r.Failed
			return
		}
		t.delivered++
		if t.saved == nil {
			t.saved = make(map[string]map[time.Time]int)
		}
		if t.saved[r.Car] == nil {
			t.saved[r.Car] = make(map[time.Time]int)
		}
		t.saved[r.Car][r.RecordedAt.UTC()]++
	}
}

func (t *tally) sum() (delivered int, failed int64, status string) {
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
