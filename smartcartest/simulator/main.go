// Command simulator serves a simulated Smartcar for any program that takes its
// origins from the environment. With a command behind its flags it runs that with
// the environment, and ends with it:
//
//	go run ./smartcartest/simulator go run ./examples/quickstart
//
// Without one it prints the environment as NAME=value lines, and then serves until
// it is interrupted:
//
//	go run ./smartcartest/simulator -listen 127.0.0.1:8787
//
// It can be driven at /_sim/, which has no authentication:
//
//	GET    /_sim/cars                       all cars and their state
//	POST   /_sim/cars/{id}/pair             also unpair, sleep, wake, schedule, reauthenticate
//	GET    /_sim/cars/{id}/ledger           what reached the car, and broken windows
//	GET    /_sim/clock                      the simulated time
//	POST   /_sim/clock {"advance":"8h"}     moves it, also back
//	POST   /_sim/faults {"path":"/battery","status":502}   see smartcartest.Fault
//	DELETE /_sim/faults                     forgets them
//	GET    /_sim/requests                   the log
//	DELETE /_sim/tokens                     expires all access tokens
//	GET    /_sim/webhooks                   all webhooks and their state
//	POST   /_sim/webhooks {"callbackUri":"http://localhost:8080/webhook","autoSubscribe":true}
//	                                        creates one; also errorCallbackUri, version, eventName, triggers, data, variants
//	POST   /_sim/webhooks/{id}/test         presses the test button; also verify, enable, disable, subscribe {"vehicleId":"..."}
//	GET    /_sim/deliveries                 the log of deliveries
//	POST   /_sim/deliveries                 delivers what is due, without waiting for the loop
//
// With -sdk python, SMARTCAR_AUTH_ORIGIN is the URL of the token endpoint: the
// vendor's SDK for Python takes it so, those for Node.js, Ruby and Java take an
// origin like the others.
//
// With -webhook, a webhook for all cars is there from the start; it is verified
// as soon as something answers there. What changes is delivered every second.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"syscall"
	"time"

	"github.com/seed-498a1bc4/smartcar/smartcartest"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	var ended *exec.ExitError
	switch {
	case errors.As(err, &ended) && ended.ExitCode() > 0:
		os.Exit(ended.ExitCode()) // the command has said why
	case err != nil && !errors.Is(err, flag.ErrHelp):
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
	webhook := flags.String("webhook", "", "`URL` of a webhook that every car is subscribed to")
	sdk := flags.String("sdk", "node", "whose `environment` to print: node, ruby, java or python")
	version := flags.String("webhook-version", "4.0", "its payload version: 4.0 or 2.0")
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
	if *version != "4.0" && *version != "2.0" {
		return fmt.Errorf("-webhook-version %q: want 4.0 or 2.0", *version)
	}
	if u, err := url.Parse(*webhook); err != nil || *webhook != "" && u.Host == "" {
		return fmt.Errorf("-webhook %q is no absolute URL", *webhook)
	}
	if !slices.Contains([]string{"node", "ruby", "java", "python"}, *sdk) {
		return fmt.Errorf("-sdk %q: want node, ruby, java or python", *sdk)
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
	environment := sim.Environment
	if *sdk == "python" {
		environment = sim.PythonEnvironment
	}
	variables := environment("http://" + l.Addr().String())
	hook := smartcartest.Webhook{Name: "Simulator", CallbackURL: *webhook, Version: *version, AutoSubscribe: true}
	if flags.NArg() > 0 {
		ending, end := context.WithCancel(ctx)
		defer end()
		stop := deliver(ending, sim, hook, stderr)
		served := make(chan error, 1)
		go func() { served <- serve(ending, l, sim) }()
		err := runCommand(ctx, flags.Args(), variables, stdout, stderr)
		end()
		return errors.Join(err, <-served, stop())
	}
	for _, line := range variables {
		if _, err := fmt.Fprintln(stdout, line); err != nil {
			return errors.Join(err, l.Close())
		}
	}
	stop := deliver(ctx, sim, hook, stderr)
	return errors.Join(serve(ctx, l, sim), stop())
}

// runCommand runs a program that takes its origins from the environment until it
// ends, or interrupts it when ctx ends, which is no error.
func runCommand(ctx context.Context, args, variables []string, stdout, stderr io.Writer) error {
	command := exec.CommandContext(ctx, args[0], args[1:]...)
	command.Env = append(os.Environ(), variables...)
	command.Stdin, command.Stdout, command.Stderr = os.Stdin, stdout, stderr
	command.Cancel = func() error { return command.Process.Signal(os.Interrupt) }
	command.WaitDelay = 5 * time.Second
	if err := command.Run(); err != nil && ctx.Err() == nil {
		return err
	}
	return nil
}

// deliver runs the webhooks until stop is called, which waits for the end and
// returns what was wrong with w. Without a callback w is not added.
func deliver(ctx context.Context, sim *smartcartest.Server, w smartcartest.Webhook, stderr io.Writer) (stop func() error) {
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- runWebhooks(ctx, sim, w, stderr) }()
	return func() error {
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			return err
		}
		return nil
	}
}

func runWebhooks(ctx context.Context, sim *smartcartest.Server, w smartcartest.Webhook, stderr io.Writer) error {
	if w.CallbackURL == "" {
		return sim.RunWebhooks(ctx, time.Second)
	}
	id, err := sim.AddWebhook(ctx, w)
	if id == "" {
		return err
	}
	for reported := false; err != nil && ctx.Err() == nil; err = sim.VerifyWebhook(ctx, id) {
		if !reported {
			reported = true
			if _, err := fmt.Fprintln(stderr, "simulator: the webhook waits until its receiver answers:", err); err != nil {
				return err
			}
		}
		if err := pause(ctx, 2*time.Second); err != nil {
			return err
		}
	}
	return sim.RunWebhooks(ctx, time.Second)
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
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
