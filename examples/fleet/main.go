// Command fleet shows several replicas of one program over one store.
//
//	cd examples/fleet && go run .
//
// It simulates Smartcar, and a fleet of Teslas whose owners go through Connect.
// Then it starts itself again as replicas, which read all cars all the time,
// kills one now and then, and lets tokens end. Whatever happens, no car without
// its virtual key is asked twice within its window, and no login is lost: the
// replicas agree through the store. A window lasts 3 seconds here and not 8
// hours; a line a second says how it goes.
//
// The store is a SQLite file. With -postgres URL or -redis ADDRESS, or
// FLEET_POSTGRES or FLEET_REDIS in the environment, it is a server.
//
// What an application needs of this is in store.go and replica.go.
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
)

// Hours are seconds here. Nothing but tests and simulations needs that.
const (
	keylessWindow = 3 * time.Second
	legacyRefresh = 2 * time.Second
	answerTime    = 30 * time.Millisecond // what the simulated cars take
	requestTime   = 2 * time.Second       // ends a request, and bounds how long a killed replica keeps a turn

	pollEvery   = 100 * time.Millisecond
	reportEvery = 200 * time.Millisecond
	killEvery   = 2 * time.Second
	expireEvery = 5 * time.Second
	endTime     = 20 * time.Second // a replica that takes longer to end is killed
)

func scaled() []smartcar.Option {
	return []smartcar.Option{
		smartcar.WithRules(smartcar.Rules{KeylessWindow: keylessWindow, LegacyRefresh: legacyRefresh}),
		smartcar.WithTimeout(requestTime),
	}
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
		return replica(ctx, args, stdout)
	}
	flags := flag.NewFlagSet("fleet", flag.ContinueOnError)
	duration := flags.Duration("duration", 15*time.Second, "how long to poll")
	replicas := flags.Int("replicas", 3, "how many processes")
	keyless := flags.Int("keyless", 20, "how many owners of a Tesla without its key")
	legacy := flags.Int("legacy", 5, "how many owners of a Tesla that needs none")
	path := flags.String("dsn", "", "the `file` of SQLite; empty is one that is removed afterwards")
	postgres := flags.String("postgres", os.Getenv(envPostgres), "`URL` of a PostgreSQL to use instead")
	redis := flags.String("redis", os.Getenv(envRedis), "`address` of a Redis or Valkey to use instead")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *replicas < 1 {
		return errors.New("-replicas must be at least 1")
	}
	if *path == "" {
		dir, err := os.MkdirTemp("", "fleet")
		if err != nil {
			return err
		}
		defer func() { _ = os.RemoveAll(dir) }()
		*path = filepath.Join(dir, "cars.db")
	}
	f := newFleet(*keyless, *legacy)
	f.store = stores{sqlite: *path, postgres: *postgres, redis: *redis}
	return f.run(ctx, *replicas, *duration, stdout)
}
