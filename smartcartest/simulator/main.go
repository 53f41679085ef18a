// Command simulator serves a simulated Smartcar for any program that takes its
// origins from the environment. It prints the environment as NAME=value lines,
// then serves until it is interrupted:
//
//	go run ./smartcartest/simulator -listen 127.0.0.1:8787
//
// It can be driven at /_sim/, which has no authentication:
//
//	GET    /_sim/cars                       all cars and their state
//	POST   /_sim/cars/{id}/pair             also unpair, sleep, wake, schedule
//	GET    /_sim/cars/{id}/ledger           what reached the car, and broken windows
//	GET    /_sim/clock                      the simulated time
//	POST   /_sim/clock {"advance":"8h"}     moves it, also back
//	POST   /_sim/faults {"path":"/battery","status":502}   see smartcartest.Fault
//	DELETE /_sim/faults                     forgets them
//	GET    /_sim/requests                   the log
//	DELETE /_sim/tokens                     expires all access tokens
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/seed-498a1bc4/smartcar/smartcartest"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "simulator:", err)
		os.Exit(1)
	}
}

// run serves until ctx ends.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("simulator", flag.ContinueOnError)
	flags.SetOutput(stderr)
	listen := flags.String("listen", "127.0.0.1:8787", "`address` to listen on; port 0 picks a free one")
	public := flags.Bool("public", false, "allow an address that is not loopback, although nothing is protected")
	basePath := flags.String("base", "", "`path` to serve below, e.g. /base")
	keyless := flags.String("keyless", "limited", "what a keyless car's second request gets: limited, stale or key")
	redirect := flags.String("redirect", "", "one more redirect `URI` to register")
	if err := flags.Parse(args); err != nil {
		return err
	}
	answers := map[string]smartcartest.KeylessAnswer{
		"limited": smartcartest.RateLimited, "stale": smartcartest.StaleData, "key": smartcartest.KeyRequired,
	}
	answer, ok := answers[*keyless]
	if !ok {
		return fmt.Errorf("-keyless %q: want limited, stale or key", *keyless)
	}
	if !*public {
		if err := loopback(*listen); err != nil {
			return err
		}
	}
	options := []smartcartest.Option{
		smartcartest.WithControl(), smartcartest.WithBasePath(*basePath), smartcartest.WithKeylessAnswer(answer),
	}
	if *redirect != "" {
		options = append(options, smartcartest.WithRedirectURLs(*redirect))
	}
	sim := smartcartest.New(options...)
	l, err := net.Listen("tcp", *listen)
	if err != nil {
		return err
	}
	for _, line := range sim.Environment("http://" + l.Addr().String()) {
		if _, err := fmt.Fprintln(stdout, line); err != nil {
			return errors.Join(err, l.Close())
		}
	}
	return serve(ctx, l, sim)
}

// loopback refuses addresses that others could reach.
func loopback(address string) error {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return err
	}
	if ip := net.ParseIP(host); host == "localhost" || ip != nil && ip.IsLoopback() {
		return nil
	}
	return fmt.Errorf("-listen %q is not a loopback address; add -public if that is meant", address)
}

// serve ends gracefully when ctx does: open requests get a moment.
func serve(ctx context.Context, l net.Listener, h http.Handler) error {
	srv := &http.Server{Handler: h, ReadHeaderTimeout: time.Minute}
	failed := make(chan error, 1)
	go func() { failed <- srv.Serve(l) }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if err := srv.Shutdown(grace); err != nil {
		return errors.Join(err, srv.Close())
	}
	return nil
}
