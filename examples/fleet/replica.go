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
)

// replica is one of several processes of an application. It reads the cars of
// the owners, all of them and far too often, and leaves to the policy what is
// sent. It ends with ctx.
func replica(ctx context.Context, owners []string, report io.Writer) error {
	where := stores{redis: os.Getenv(envRedis), postgres: os.Getenv(envPostgres), sqlite: os.Getenv(envSQLite)}
	kept, closeStore, err := where.open(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = closeStore() }()
	client, err := smartcar.New(smartcar.Config{
		ClientID:     os.Getenv("SMARTCAR_CLIENT_ID"),
		ClientSecret: os.Getenv("SMARTCAR_CLIENT_SECRET"),
		RedirectURL:  os.Getenv("SMARTCAR_REDIRECT_URI"),
	}, append(scaled(), smartcar.WithEnvironment(), smartcar.WithStore(kept))...)
	if err != nil {
		return err
	}

	var done tally
	var wg sync.WaitGroup
	for _, owner := range owners {
		wg.Go(func() { poll(ctx, client.User(owner), &done) })
	}
	out := json.NewEncoder(report)
	for every(ctx, reportEvery) {
		if err := out.Encode(done.take()); err != nil {
			return err
		}
	}
	wg.Wait()
	return out.Encode(done.take())
}

// poll reads the cars of an owner. A real application would wait until there is
// something to read: see Vehicle.Watch, Vehicle.Wait and NextAllowed.
func poll(ctx context.Context, owner *smartcar.User, done *tally) {
	var cars []*smartcar.Vehicle
	for every(ctx, pollEvery) {
		if len(cars) == 0 {
			var err error
			if cars, err = list(ctx, owner); err != nil && ctx.Err() == nil {
				done.add(failure(err))
			}
		}
		for _, car := range cars {
			battery, err := car.Battery(ctx)
			switch {
			case err == nil:
				done.add(success(battery))
			case ctx.Err() == nil:
				done.add(failure(err))
			}
		}
	}
}

func list(ctx context.Context, owner *smartcar.User) ([]*smartcar.Vehicle, error) {
	var cars []*smartcar.Vehicle
	for v, err := range owner.Vehicles(ctx) {
		if err != nil {
			return nil, err
		}
		cars = append(cars, v)
	}
	return cars, nil
}

func success(battery *smartcar.BatteryReading) counts {
	if battery.Source == smartcar.SourceCache {
		return counts{Kept: 1} // Smartcar would have said the same
	}
	return counts{Read: 1}
}

func failure(err error) counts {
	var limited *smartcar.RateLimitError
	switch {
	case errors.As(err, &limited) && limited.Local:
		return counts{Refused: 1} // cost nothing; limited.NextAllowed says when to come back
	case errors.Is(err, smartcar.ErrReconnectRequired), errors.Is(err, smartcar.ErrNotConnected):
		return counts{Lost: 1} // only the owner can mend that, by going through Connect again
	}
	return counts{Failed: 1}
}

// counts is what replicas report: how often each came out.
type counts struct {
	Read    int // the car was asked and has answered
	Kept    int // the last answer was still the newest there is
	Refused int // by the policy, here
	Lost    int // the login of the owner is gone
	Failed  int // anything else
}

// tally adds counts up, for several goroutines.
type tally struct {
	mu    sync.Mutex
	total counts
}

func (t *tally) add(c counts) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.total.Read += c.Read
	t.total.Kept += c.Kept
	t.total.Refused += c.Refused
	t.total.Lost += c.Lost
	t.total.Failed += c.Failed
}

// take returns what was added since it was last called.
func (t *tally) take() counts {
	t.mu.Lock()
	defer t.mu.Unlock()
	taken := t.total
	t.total = counts{}
	return taken
}

func (t *tally) sum() counts {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.total
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
