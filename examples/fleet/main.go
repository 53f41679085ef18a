// Command fleet keeps many cars fresh, whatever happens to the program.
//
//	cd examples/fleet && go run .
//
// It simulates Smartcar, and Teslas whose owners go through Connect. Then it starts itself
// again as a process that reads all cars, each when it is worth it, kills that now and
// then, and lets tokens end. No car without its virtual key is asked twice within its
// window, no login is lost, and what was read is handed over at least once. A window lasts
// 3 seconds here and not 8 hours; a line a second says how it goes.
//
// The store is a SQLite file, and one process does it all. With -postgres URL, or
// FLEET_POSTGRES in the environment, several processes share the work, as jobs of River on
// PostgreSQL. With -redis ADDRESS or FLEET_REDIS, the store is a Redis or Valkey.
//
// With -metrics 127.0.0.1:9464 each process serves /metrics for Prometheus, and /healthz; see
// docs/grafana-dashboard.json and docs/alerts.md.
//
// Why is a car silent? With the store in a file that stays (-dsn cars.db), or in a server,
// go run . why -dsn cars.db [car] says what is known of one car, or lists them.
//
// What an application needs of this is in core.go, for several processes in river.go, and
// to be observed in observe.go.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/seed-498a1bc4/smartcar"
)

// The environment of a replica, beside that of Smartcar.
const (
	envReplica  = "FLEET_REPLICA"
	envSQLite   = "FLEET_SQLITE"
	envPostgres = "FLEET_POSTGRES"
	envRedis    = "FLEET_REDIS"
	envWindow   = "FLEET_WINDOW"
)

// Hours are seconds here. Nothing but tests and simulations needs that.
const (
	shortWindow   = 3 * time.Second // of a Tesla without its key, unless -window says otherwise
	legacyRefresh = 2 * time.Second
	answerTime    = 30 * time.Millisecond // what the simulated cars take
	requestTime   = 2 * time.Second       // ends a request, and bounds how long a killed replica keeps a turn

	reportEvery = 200 * time.Millisecond
	killEvery   = 2 * time.Second
	expireEvery = 5 * time.Second
	endTime     = 20 * time.Second // a replica that takes longer to end is killed
)

func scaled(window time.Duration) []smartcar.Option {
	return []smartcar.Option{
		smartcar.WithRules(smartcar.Rules{KeylessWindow: window, LegacyRefresh: legacyRefresh}),
		smartcar.WithTimeout(requestTime),
	}
}

// plan is made for hours that are seconds, too: else the month would be over soon.
func plan() smartcar.Budget {
	return smartcar.Budget{PerVehicle: 500_000, Reserve: 50, ApplicationLimit: smartcar.ApplicationLimit{Requests: 10_000, PerMinute: 100_000}}
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdin, os.Stdout); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "fleet:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stdin io.Reader, stdout io.Writer) error {
	if os.Getenv(envReplica) != "" {
		ctx, cancel := context.WithCancel(ctx)
		go func() {
			_, _ = io.Copy(io.Discard, stdin) // ends when the parent closes it, or dies
			cancel()
		}()
		return replica(ctx, stdout)
	}
	if len(args) > 0 && args[0] == "why" {
		return why(ctx, args[1:], stdout)
	}
	flags := flag.NewFlagSet("fleet", flag.ContinueOnError)
	duration := flags.Duration("duration", 15*time.Second, "how long to poll")
	replicas := flags.Int("replicas", 0, "how many processes; 0 is 3 with -postgres, and else 1")
	keyless := flags.Int("keyless", 20, "how many owners of a Tesla without its key")
	legacy := flags.Int("legacy", 5, "how many owners of a Tesla that needs none")
	window := flags.Duration("window", shortWindow, "how long a Tesla without its key is closed after a read")
	kills := flags.Duration("kill", killEvery, "how often a process is killed; 0 is never")
	path := flags.String("dsn", "", "the `file` of SQLite; empty is one that is removed afterwards")
	postgres := flags.String("postgres", os.Getenv(envPostgres), "`URL` of a PostgreSQL to use instead")
	redis := flags.String("redis", os.Getenv(envRedis), "`address` of a Redis or Valkey to use instead")
	metrics := flags.String("metrics", os.Getenv(envMetrics), "`IP:port` where the first process serves /metrics and /healthz, and the others at the ports after it")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if err := os.Setenv(envMetrics, *metrics); err != nil { // which the processes inherit
		return err
	}
	switch {
	case *replicas < 0:
		return errors.New("-replicas must not be negative")
	case *replicas == 0 && *postgres != "":
		*replicas = 3
	case *replicas == 0:
		*replicas = 1
	}
	if *path == "" {
		dir, err := os.MkdirTemp("", "fleet")
		if err != nil {
			return err
		}
		defer func() { _ = os.RemoveAll(dir) }()
		*path = filepath.Join(dir, "cars.db")
	}
	w := newWorld(*keyless, *legacy, *window)
	w.killEvery = *kills
	w.store = stores{sqlite: *path, postgres: *postgres, redis: *redis}
	return w.run(ctx, *replicas, *duration, stdout)
}
