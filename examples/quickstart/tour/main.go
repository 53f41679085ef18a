// Command tour shows what package smartcar does, in one run: it is what quickstart runs.
//
//	go run ./examples/quickstart/tour
//
// Without credentials it needs no account and no network: a simulated Smartcar
// lives in the process, with one car of each kind and a clock that moves only
// when it is told to.
//
// It speaks API v3. With -api v2.0 it does the same through the API that Smartcar
// ends: one option of the client is the difference.
//
// With credentials in the environment it runs the same flow with your browser
// and your cars: see browser.go. Add -lock to lock them, too.
package main

import (
	"context"
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/smartcartest"
)

func main() {
	lock := flag.Bool("lock", false, "with real cars: send each the command to lock")
	mode := flag.String("mode", "live", "with real cars: live or simulated")
	version := flag.String("api", "", "the `version` of Smartcar's API: v3 or v2.0; default v3, unless the credentials are of v2.0 alone")
	flag.Parse()
	api := chooseAPI(*version)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()

	var err error
	if hasCredentials() {
		err = inBrowser(ctx, os.Stdout, api, smartcar.ConnectMode(*mode), *lock)
	} else {
		err = simulated(ctx, os.Stdout, api)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "tour:", err)
		os.Exit(1)
	}
}

// simulated is the whole story, from Connect to the virtual key.
func simulated(ctx context.Context, out io.Writer, api smartcar.API) error {
	nine := time.Date(2026, time.November, 23, 9, 0, 0, 0, time.UTC)
	sim := smartcartest.New(smartcartest.WithClock(func() time.Time { return nine }))

	// The client of a real application has neither of the last two options, and
	// the credentials of one API are enough.
	client, err := smartcar.New(smartcar.Config{
		ApplicationID:   sim.ApplicationID(),
		APIClientID:     sim.APIClientID(), // v3
		APIClientSecret: sim.APIClientSecret(),
		ClientSecret:    sim.ClientSecret(), // v2.0
		RedirectURL:     sim.RedirectURL(),
		StateKey:        newStateKey(),
	}, smartcar.WithAPI(api), smartcar.WithHTTPClient(&http.Client{Transport: sim.Transport()}), smartcar.WithClock(sim.Clock()))
	if err != nil {
		return err
	}

	fmt.Fprintln(out, "1. An owner connects their cars through Smartcar Connect.")
	grant, err := walkConnect(client, sim)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "   The user is %s.\n", grant.UserID)
	fmt.Fprintf(out, "   Some cars need the virtual key. Show the owner this link: %s\n\n", grant.VirtualKeyURL)

	fmt.Fprintln(out, "2. It is 9:00 UTC. Read the battery of each car twice, then lock the car.")
	user := client.User(grant.UserID)
	if err := (table{out, sim.Now, true}).print(ctx, user); err != nil {
		return err
	}

	fmt.Fprintln(out, "\n3. Twenty minutes later the owner opens the link and adds the key to the Model Y.")
	sim.Advance(20 * time.Minute)
	if err := sim.Pair(smartcartest.ModelY); err != nil {
		return err
	}
	modelY := user.Vehicle(smartcartest.ModelY)
	locked := sendLock(ctx, modelY) // the evidence that the key is missing is old: look again
	status, err := modelY.KeyStatus(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "   Lock %s. The key is %s, so the gate is open at once: battery %s.\n", locked, status.State, readBattery(ctx, modelY))

	fmt.Fprintln(out, "\n4. Eight hours later it is the Cybertruck's next turn.")
	sim.Advance(8 * time.Hour) // the access token ends on the way; the client renews it
	truck := user.Vehicle(smartcartest.Cybertruck)
	fmt.Fprintf(out, "   Battery %s, and asked again: %s.\n", readBattery(ctx, truck), readBattery(ctx, truck))

	wasted := len(sim.BrokenWindows(smartcartest.ModelY)) + len(sim.BrokenWindows(smartcartest.Cybertruck))
	fmt.Fprintf(out, "\nRequests that reached Smartcar and were wasted: %d.\n", wasted)
	return nil
}

// A table shows how the policy treats each car of a user.
type table struct {
	out  io.Writer
	now  func() time.Time
	lock bool
}

func (t table) print(ctx context.Context, user *smartcar.User) error {
	w := tabwriter.NewWriter(t.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "   CAR\tCLASS\tKEY\tFIRST READ\tSECOND READ\tLOCK\tNEXT READ (UTC)")
	var cars []*smartcar.Vehicle
	for v, err := range user.Vehicles(ctx) {
		if err != nil {
			return err
		}
		cars = append(cars, v)
	}
	// v3 lists the newest connection first.
	slices.SortFunc(cars, func(a, b *smartcar.Vehicle) int { return strings.Compare(a.ID(), b.ID()) })
	for _, v := range cars {
		car, err := v.Attributes(ctx)
		if err != nil {
			fmt.Fprintf(w, "   %s\t%s\n", v.ID(), explain(err))
			continue
		}
		first, second, locked := readBattery(ctx, v), readBattery(ctx, v), "not tried"
		if t.lock {
			locked = sendLock(ctx, v)
		}
		access, err := v.Access(ctx) // what the policy knows; the car is not asked
		if err != nil {
			return err
		}
		fmt.Fprintf(w, "   %d %s\t%s\t%s\t%s\t%s\t%s\t%s\n",
			car.Year, car.Model, access.Class, key(access), first, second, locked, t.next(access))
	}
	return w.Flush()
}

func key(access *smartcar.Access) string {
	switch access.Class {
	case smartcar.ClassStreaming:
		return access.Key.State.String()
	case smartcar.ClassUnknown:
		return "unknown"
	}
	return "needs none"
}

func (t table) next(access *smartcar.Access) string {
	if !access.NextRead.After(t.now()) {
		return "now"
	}
	return access.NextRead.UTC().Format(time.TimeOnly)
}

func readBattery(ctx context.Context, v *smartcar.Vehicle) string {
	battery, err := v.Battery(ctx)
	switch {
	case err != nil:
		return explain(err)
	case battery.Percent == nil:
		return "not known" // the car did not say: that is not zero
	case battery.Source == smartcar.SourceCache:
		return fmt.Sprintf("%.0f %%, kept", *battery.Percent) // Smartcar would say the same
	}
	return fmt.Sprintf("%.0f %%", *battery.Percent)
}

func sendLock(ctx context.Context, v *smartcar.Vehicle) string {
	if _, err := v.Lock(ctx); err != nil {
		return explain(err)
	}
	return "sent"
}

// explain tells apart what an application should tell apart, too.
func explain(err error) string {
	var limited *smartcar.RateLimitError
	var failed *smartcar.Error
	switch {
	case errors.As(err, &limited):
		return "not before " + limited.NextAllowed.UTC().Format("15:04") // and limited.Rule says why
	case errors.Is(err, smartcar.ErrVirtualKeyRequired):
		return "needs the key"
	case errors.As(err, &failed) && failed.Type != "":
		return strings.TrimSpace(failed.Type + " " + failed.Code)
	}
	return err.Error()
}

// newStateKey is good for one process. Replicas share one from a secret store.
func newStateKey() []byte {
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails; see crypto/rand
	return key
}
