// Package fleet keeps the data of many cars fresh, each at its own pace.
//
//	f, err := fleet.New(client, fleet.Config{
//		Reads:  []smartcar.Operation{smartcar.Battery, smartcar.Odometer},
//		Handle: save, // is given what is new, at least once
//	})
//	err = f.Run(ctx, client.Vehicles(ctx)) // until ctx ends, and what is under way is done
//
// When a car is worth a look is decided by package smartcar, from what is known of the
// car: see smartcar.Vehicle.Visit. This package decides which of the cars that are due
// comes first, and how many at a time.
//
// [Fleet.Run] is for one process. On several machines the same [Fleet.Visit] is the job of
// a queue: module riverfleet has it for River on PostgreSQL. Another engine has to call
// Visit for each car, once at a time as a rule, and again at the Next that it returned.
// The engine is no guard: it may be late, early, or run a car twice, and no window is
// broken. It must not forget a car, give one up after a number of failures, or wake all
// cars at one instant; and it should be able to wake one early. Task queues that retry
// failures a few times and archive the rest do not fit (asynq), nor do schedulers that
// keep their jobs in memory (gocron).
package fleet

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/seed-498a1bc4/smartcar"
)

// Config says what a fleet reads, and what becomes of it.
type Config struct {
	// Reads are what is wanted of each car, in one request. Required. Of what Smartcar
	// answers by itself, such as smartcar.Attributes, nothing is stored: it is handed over
	// with the rest, or not.
	Reads []smartcar.Operation
	// Handle gets what is new of a car, at least once: see smartcar.Vehicle.Visit.
	// Required. It is called concurrently for different cars. Its context ends when the
	// fleet stops and the time to drain is over.
	Handle func(ctx context.Context, v *smartcar.Vehicle, s *smartcar.Snapshot) error
	// Retired, unless nil, is called once for a car that cannot be reached any more, with
	// the reason: the car is gone, the owner has to connect again, or was forgotten. The
	// car is back after a Connect.
	Retired func(ctx context.Context, v *smartcar.Vehicle, why error)

	// Every is the least time between two reads of a car, at least a second; see
	// smartcar.Every. Zero is the pace of the car's rule and, for cars without one, 3 minutes
	// for a paired Tesla and 30 for other makes.
	Every time.Duration
	// Concurrency is how many cars Run visits at the same time, 1 to 10,000. Default 16.
	Concurrency int
	// Rate is how many visits Run begins in a second, at most: above 0, up to 10,000. One
	// that has looked at the car's key and read its data counts twice.
	// Default 100. Run stays far below it as long as the cars' pace lets it.
	Rate float64
	// Relist is how often Run lists the cars again, to find new ones: at least a minute.
	// Default an hour.
	Relist time.Duration
	// Drain is how long Run waits for visits under way when its context ends; above 0.
	// Default 30 s.
	Drain time.Duration
	// Logger gets a line for each error of a visit and each car that is retired, and the
	// statistics once an hour. Default none.
	Logger *slog.Logger
}

const (
	defaultConcurrency = 16
	defaultRate        = 100
	defaultRelist      = time.Hour
	defaultDrain       = 30 * time.Second
	most               = 10_000
)

// complete fills in the defaults.
func (c Config) complete() (Config, error) {
	c.Reads = slices.Clone(c.Reads)
	c.Concurrency = cmp.Or(c.Concurrency, defaultConcurrency)
	c.Rate = cmp.Or(c.Rate, defaultRate)
	c.Relist = cmp.Or(c.Relist, defaultRelist)
	c.Drain = cmp.Or(c.Drain, defaultDrain)
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	switch {
	case c.Handle == nil:
		return c, argumentError("Config.Handle", "is nil")
	case c.Every < 0 || c.Every > 0 && c.Every < time.Second:
		return c, argumentError("Config.Every", "must be at least a second; 0 is the pace of the car's class")
	case c.Concurrency < 1 || c.Concurrency > most:
		return c, argumentError("Config.Concurrency", "must be 1 to 10,000; 0 is 16")
	case !(c.Rate > 0 && c.Rate <= most):
		return c, argumentError("Config.Rate", "must be above 0 and at most 10,000 a second; 0 is 100")
	case c.Relist < time.Minute:
		return c, argumentError("Config.Relist", "must be at least a minute; 0 is an hour")
	case c.Drain < 0:
		return c, argumentError("Config.Drain", "must be above zero; 0 is 30 s")
	}
	return c, nil
}

func argumentError(argument, problem string) error {
	return &smartcar.ArgumentError{Argument: "fleet." + argument, Problem: problem}
}

// A Fleet visits cars. It is safe for concurrent use.
type Fleet struct {
	client *smartcar.Client
	config Config
	counts counts
	engine engine
}

// New returns a fleet of the client's cars. It makes no request. Errors are a
// [*smartcar.ArgumentError]: among them that the client stores no answers, without which
// nothing could be handed over at least once; see smartcar.Client.CanVisit.
func New(client *smartcar.Client, config Config) (*Fleet, error) {
	if client == nil {
		return nil, argumentError("New client", "is nil")
	}
	config, err := config.complete()
	if err == nil {
		err = client.CanVisit(config.Reads...)
	}
	if err != nil {
		return nil, err
	}
	f := &Fleet{client: client, config: config}
	f.engine.init(f)
	return f, nil
}

// Client is the client whose cars the fleet visits.
func (f *Fleet) Client() *smartcar.Client {
	if f == nil {
		return nil
	}
	return f.client
}

// ready returns the error of a Fleet that New has not made.
func (f *Fleet) ready() error {
	if f == nil || f.client == nil {
		return argumentError("Fleet", "must come from fleet.New")
	}
	return nil
}

// Visit makes one step for one car and returns when to come back: see
// smartcar.Vehicle.Visit, whose errors it has. It is for an engine other than [Fleet.Run].
func (f *Fleet) Visit(ctx context.Context, car *smartcar.Vehicle) (smartcar.Visit, error) {
	if err := f.ready(); err != nil {
		return smartcar.Visit{}, err
	}
	if car == nil {
		return smartcar.Visit{}, argumentError("Visit car", "is nil")
	}
	v := f.client.User(car.UserID()).Vehicle(car.ID())
	if f.config.Every > 0 {
		v = v.With(smartcar.Every(f.config.Every))
	}
	visit, err := v.Visit(ctx, func(ctx context.Context, s *smartcar.Snapshot) error {
		return f.config.Handle(ctx, v, s)
	}, f.config.Reads...)
	f.counts.add(visit, err)
	switch {
	case err == nil || ctx.Err() != nil:
	case visit.Retired:
		f.log(ctx, slog.LevelWarn, "smartcar fleet: a car is out", v, err)
		if f.config.Retired != nil {
			f.config.Retired(ctx, v, err)
		}
	default:
		f.log(ctx, slog.LevelInfo, "smartcar fleet: a visit failed", v, err)
	}
	return visit, err
}

// log notes an error of a visit. Errors of package smartcar hold no secret; what the
// application's own handler said is not for us to write down.
func (f *Fleet) log(ctx context.Context, level slog.Level, message string, v *smartcar.Vehicle, err error) {
	if !f.config.Logger.Enabled(ctx, level) {
		return
	}
	attrs := []slog.Attr{slog.String("vehicle", v.ID()), slog.String("kind", fmt.Sprintf("%T", err))}
	if e, ok := errors.AsType[*smartcar.Error](err); ok {
		attrs = append(attrs, slog.String("operation", string(e.Operation)), slog.Int("status", e.StatusCode), slog.String("request_id", e.RequestID))
	}
	f.config.Logger.LogAttrs(ctx, level, message, attrs...)
}
