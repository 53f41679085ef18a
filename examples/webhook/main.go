// Command webhook receives what Smartcar sends, and shows what that is good
// for: an owner adds the virtual key, and the very next read goes through.
//
//	go run ./examples/webhook
//
// It needs no account: a simulated Smartcar lives in the process, with a clock
// that moves only when it is told to. Its webhooks arrive over HTTP, as real
// ones do.
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"time"

	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/smartcartest"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "webhook:", err)
		os.Exit(1)
	}
}

// story is the program as it goes on.
type story struct {
	out io.Writer
	sim *smartcartest.Server
	car *smartcar.Vehicle
	url string // of the receiver
}

func run(ctx context.Context, out io.Writer) error {
	nine := time.Date(2026, time.November, 23, 9, 0, 0, 0, time.UTC)
	sim := smartcartest.New(smartcartest.WithClock(func() time.Time { return nine }))
	// The client of a real application has neither of the last two options.
	client, err := smartcar.New(smartcar.Config{
		ApplicationID:   sim.ApplicationID(),
		APIClientID:     sim.APIClientID(),
		APIClientSecret: sim.APIClientSecret(),
		RedirectURL:     sim.RedirectURL(),
		StateKey:        []byte("32 random bytes or more, kept secret"),
		ManagementToken: sim.ManagementToken(), // the secret of the webhooks
	}, smartcar.WithHTTPClient(&http.Client{Transport: sim.Transport()}), smartcar.WithClock(sim.Clock()))
	if err != nil {
		return err
	}
	s := &story{out: out, sim: sim}
	receiver, err := client.WebhookReceiver(smartcar.WebhookOptions{}, s.handle)
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.Handle("/webhooks/smartcar", receiver)
	server := &http.Server{Handler: mux, ReadTimeout: 10 * time.Second}
	go func() { _ = server.Serve(listener) }() // until Close
	defer func() { _ = server.Close() }()
	s.url = "http://" + listener.Addr().String() + "/webhooks/smartcar"

	userID, err := connect(client, sim)
	if err != nil {
		return err
	}
	s.car = client.User(userID).Vehicle(smartcartest.ModelY)
	for _, chapter := range []func(context.Context) error{s.subscribe, s.read, s.pair, s.forge, s.unpair} {
		if err := chapter(ctx); err != nil {
			return err
		}
	}
	fmt.Fprintf(out, "\nRequests that reached Smartcar and were wasted: %d.\n", len(sim.BrokenWindows(s.car.ID())))
	return nil
}

// handle is what a real application has, too. The policy knows already what the
// event shows.
func (s *story) handle(_ context.Context, e *smartcar.WebhookEvent) error {
	switch e.Type {
	case smartcar.EventVehicleState:
		text := "the battery is not among the signals"
		if charge, err := e.Signals.TractionBatteryStateOfCharge(); err == nil && charge.Value != nil {
			text = fmt.Sprintf("the battery is at %.0f %%", *charge.Value)
		}
		fmt.Fprintf(s.out, "   -> %s: %d signals; %s\n", e.Type, e.Signals.Len(), text)
	case smartcar.EventVehicleError:
		for _, problem := range e.Errors {
			fmt.Fprintf(s.out, "   -> %s: %s is %s\n", e.Type, problem.Err.Code, problem.State)
		}
	}
	return nil // an error would make Smartcar send it again
}

// subscribe makes the webhook, which in reality is done in the dashboard, and
// has it tell of the car.
func (s *story) subscribe(ctx context.Context) error {
	fmt.Fprintln(s.out, "1. Smartcar verifies the webhook, and the Model Y is subscribed to it. Each event is sent twice.")
	id, err := s.sim.AddWebhook(ctx, smartcartest.Webhook{CallbackURL: s.url, Duplicate: true})
	if err != nil {
		return err
	}
	if err := s.car.Subscribe(ctx, id); err != nil {
		return err
	}
	return s.deliver(ctx)
}

func (s *story) read(ctx context.Context) error {
	fmt.Fprintln(s.out, "\n2. It is 9:00 UTC. The key is missing: the car may be read once in 8 hours, and takes no command.")
	fmt.Fprintf(s.out, "   Battery: %s. Asked again: %s.\n", s.battery(ctx), s.battery(ctx))
	fmt.Fprintf(s.out, "   Lock: %s.\n", explain(s.lock(ctx)))
	return nil
}

func (s *story) pair(ctx context.Context) error {
	fmt.Fprintln(s.out, "\n3. At 9:10 the owner adds the key, somewhere in the Tesla app. Nobody calls back, but the webhook does.")
	s.sim.Advance(10 * time.Minute)
	if err := s.sim.Pair(s.car.ID()); err != nil {
		return err
	}
	if err := s.deliver(ctx); err != nil {
		return err
	}
	status, err := s.car.WaitForKey(ctx) // returns at once
	if err != nil {
		return err
	}
	fmt.Fprintf(s.out, "   The key is %s, known from a %s. Battery: %s. Lock: %s.\n",
		status.State, status.Source, s.battery(ctx), explain(s.lock(ctx)))
	return nil
}

func (s *story) forge(ctx context.Context) error {
	fmt.Fprintln(s.out, "\n4. Somebody else posts to the same URL.")
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url, bytes.NewReader([]byte(`{"eventType":"VEHICLE_STATE"}`)))
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	fmt.Fprintf(s.out, "   The answer is %s, and nobody is handed the event.\n", resp.Status)
	return nil
}

func (s *story) unpair(ctx context.Context) error {
	fmt.Fprintln(s.out, "\n5. At 10:00 the owner removes the key.")
	s.sim.Advance(50 * time.Minute)
	if err := s.sim.Unpair(s.car.ID()); err != nil {
		return err
	}
	if err := s.deliver(ctx); err != nil {
		return err
	}
	access, err := s.car.Access(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintf(s.out, "   The key is %s, known from a %s. Lock: %s.\n", access.Key.State, access.Key.Source, explain(s.lock(ctx)))
	return nil
}

// deliver sends what is due. Smartcar does so by itself.
func (s *story) deliver(ctx context.Context) error {
	sent, err := s.sim.Deliver(ctx)
	if err != nil {
		return err
	}
	for _, d := range sent {
		if !d.Succeeded() {
			return errors.Join(fmt.Errorf("%s was answered with %d", d.EventType, d.Status), d.Err)
		}
	}
	fmt.Fprintf(s.out, "   %d deliveries, all answered with 200.\n", len(sent))
	return nil
}

func (s *story) battery(ctx context.Context) string {
	battery, err := s.car.Battery(ctx)
	switch {
	case err != nil:
		return explain(err)
	case battery.Percent == nil:
		return "not known"
	}
	return fmt.Sprintf("%.0f %%, %s", *battery.Percent, battery.Source)
}

func (s *story) lock(ctx context.Context) error {
	_, err := s.car.Lock(ctx)
	return err
}

func explain(err error) string {
	var limited *smartcar.RateLimitError
	var key *smartcar.VirtualKeyRequiredError
	switch {
	case err == nil:
		return "sent"
	case errors.As(err, &limited):
		return "not before " + limited.NextAllowed.UTC().Format("15:04")
	case errors.As(err, &key):
		return "needs the key: " + strings.TrimPrefix(key.URL.String(), "https://")
	}
	return err.Error()
}

// connect walks an owner through Connect.
func connect(client *smartcar.Client, sim *smartcartest.Server) (userID string, err error) {
	start := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := client.Connect().Start(w, r, smartcar.ConnectOptions{}); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
		}
	})
	var failed error
	callback := client.Connect().CallbackHandler(func(_ http.ResponseWriter, _ *http.Request, g *smartcar.Grant, err error) {
		if failed = err; err == nil {
			userID = g.UserID
		}
	})
	if _, err := sim.Walk(start, callback); err != nil {
		return "", err
	}
	return userID, failed
}
