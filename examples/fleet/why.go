package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/smartcartest"
)

var errUnknownCar = errors.New("the store knows no such car: look at the client id, and at the store")

// why tells the person on call why a car is silent, by what the store knows. It asks
// Smartcar for nothing, and changes nothing. Without a car it lists them all.
func why(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("fleet why", flag.ContinueOnError)
	flags.Usage = func() {
		fmt.Fprintf(flags.Output(), "fleet why [-dsn file | -postgres URL | -redis address] [-user id] [vehicle id]\n")
		flags.PrintDefaults()
	}
	where := stores{}
	flags.StringVar(&where.sqlite, "dsn", os.Getenv(envSQLite), "the `file` of SQLite")
	flags.StringVar(&where.postgres, "postgres", os.Getenv(envPostgres), "`URL` of a PostgreSQL")
	flags.StringVar(&where.redis, "redis", os.Getenv(envRedis), "`address` of a Redis or Valkey")
	user := flags.String("user", "", "the `id` of the owner; empty looks through all of them")
	id := flags.String("client-id", cmp.Or(os.Getenv("SMARTCAR_CLIENT_ID"), smartcartest.New().ClientID()), "the `id` of the application, with which its records begin")
	window := flags.Duration("window", shortWindow, "for how long a Tesla without its key is closed after a read, as in the processes that read it")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if where == (stores{}) {
		return errors.New("say which store: -dsn, -postgres or -redis")
	}
	if where.redis == "" && where.postgres == "" {
		if _, err := os.Stat(where.sqlite); err != nil {
			return err // it would be made
		}
	}
	kept, closeStore, err := where.open(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = closeStore() }()
	// The secret is for requests, of which there are none.
	client, err := newClient(smartcar.Config{ClientID: *id, ClientSecret: "not needed", RedirectURL: "https://example.com"}, kept,
		smartcar.WithRules(smartcar.Rules{KeylessWindow: *window, LegacyRefresh: legacyRefresh}))
	if err != nil {
		return err
	}
	switch {
	case flags.NArg() == 0:
		return list(ctx, client, out)
	case *user != "":
		return explain(ctx, client.User(*user).Vehicle(flags.Arg(0)), out)
	}
	found := false
	for v, err := range client.Vehicles(ctx) {
		if err != nil {
			return err
		}
		if v.ID() != flags.Arg(0) {
			continue
		}
		found = true
		if err := explain(ctx, v, out); err != nil {
			return err
		}
	}
	if !found {
		return errUnknownCar
	}
	return nil
}

func explain(ctx context.Context, v *smartcar.Vehicle, out io.Writer) error {
	d, err := v.Diagnosis(ctx)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(out, d)
	return err
}

// list has a line for each car.
func list(ctx context.Context, client *smartcar.Client, out io.Writer) error {
	for v, err := range client.Vehicles(ctx) {
		if err != nil {
			return err
		}
		d, err := v.Diagnosis(ctx)
		if err != nil {
			return err
		}
		next := "now"
		if !d.Access.NextRead.IsZero() {
			next = d.Access.NextRead.UTC().Format(time.RFC3339)
		}
		if _, err := fmt.Fprintf(out, "%s  next read %s  %s\n", v.ID(), next, d.Access.Why); err != nil {
			return err
		}
	}
	return nil
}
