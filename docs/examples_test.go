// Package docs_test compiles and runs what the README and the pages of this folder show in
// parts.
package docs_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net/http"
	"time"

	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/smartcartest"
)

// A read, a command, and what the policy knows of each car.
func Example_cars() {
	client, grant := exampleModelY()
	if err := exampleShow(context.Background(), client, grant); err != nil {
		log.Fatal(err)
	}
	// Output:
	// 80 %
	// on the phone with the Tesla app, open https://www.tesla.com/_ak/smartcar.com
	// a streaming-capable Tesla without the virtual key: one data request per window, which does not wake it; commands need the key
}

func exampleShow(ctx context.Context, client *smartcar.Client, grant *smartcar.Grant) error {
	for v, err := range client.User(grant.UserID).Vehicles(ctx) {
		if err != nil {
			return err
		}
		battery, err := v.Battery(ctx)
		if limited := new(smartcar.RateLimitError); errors.As(err, &limited) {
			fmt.Println("nothing new before", limited.NextAllowed, "because of", limited.Rule)
		} else if err == nil && battery.Percent != nil { // nil: the car did not say
			fmt.Println(*battery.Percent, "%")
		}
		_, err = v.Lock(ctx)
		if missing := new(smartcar.VirtualKeyRequiredError); errors.As(err, &missing) {
			fmt.Println("on the phone with the Tesla app, open", missing.URL)
		}
		access, err := v.Access(ctx) // what the policy knows: the car is not asked
		if err != nil {
			return err
		}
		fmt.Println(access.Why) // access.NextRead says until when
	}
	return nil
}

// A loop for one car, at the pace that brings something new.
func Example_fresh() {
	client, grant := exampleModelY()
	v := client.User(grant.UserID).Vehicle(smartcartest.ModelY)
	ctx, cancel := context.WithCancel(context.Background())
	save := func(*smartcar.Snapshot) {
		fmt.Println("saved")
		cancel()
	}
	for snapshot, err := range v.Watch(ctx, smartcar.Battery, smartcar.Odometer) {
		if err != nil {
			log.Print(err) // after an error that may pass, the loop goes on
			continue
		}
		save(snapshot) // there is something that was recorded since the last one
	}
	// Output: saved
}

// Which link a page shows, and whether it insists.
func Example_keyLink() {
	ctx := context.Background()
	client, grant := exampleModelY()
	v := client.User(grant.UserID).Vehicle(smartcartest.ModelY)
	for range 2 {
		access, err := v.Access(ctx)
		switch {
		case err != nil:
			log.Fatal(err)
		case access.NeedsKey: // it is known to be missing
			fmt.Println("add the key:", access.VirtualKeyURL)
		case !access.VirtualKeyURL.IsZero(): // nobody has said yet
			fmt.Println("if you have not yet, add the key:", access.VirtualKeyURL)
		}
		if _, err := v.Battery(ctx); err != nil {
			return
		}
	}
	// Output:
	// if you have not yet, add the key: https://www.tesla.com/_ak/smartcar.com
	// add the key: https://www.tesla.com/_ak/smartcar.com
}

// exampleModelY is an owner of one car, a Tesla without its key, at nine o'clock.
func exampleModelY() (*smartcar.Client, *smartcar.Grant) {
	sim, client := exampleClient(smartcartest.WithCars(smartcartest.DefaultGarage()[1]))
	return client, exampleConnect(client, sim)
}

// The last example of docs/production.md: how a server ends.
func Example_shutdown() {
	_, client := exampleClient()
	server := &http.Server{Addr: "localhost:8080"}
	ctx, stop := context.WithCancel(context.Background())
	stop()

	<-ctx.Done() // the context of signal.NotifyContext
	ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), 15*time.Second)
	defer cancel()
	err := errors.Join(server.Shutdown(ending), client.Drain(ending))

	fmt.Println(err)
	// Output: <nil>
}

// The calls that docs/official-sdks.md puts beside those of other libraries.
func Example_officialSDKs() {
	ctx := context.Background()
	sim, client := exampleClient()
	check := func(_ any, err error) {
		if err != nil {
			log.Fatal(err)
		}
	}
	var grant *smartcar.Grant
	start := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		check(nil, client.Connect().Start(w, r, smartcar.ConnectOptions{}))
	})
	callback := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		g, err := client.Connect().HandleCallback(w, r)
		check(g, err)
		grant = g
	})
	check(sim.Walk(start, callback))
	for _, err := range client.User(grant.UserID).Vehicles(ctx) {
		check(nil, err)
	}
	id := smartcartest.Model3
	v := client.User(grant.UserID).Vehicle(id)
	check(v.Attributes(ctx))
	check(v.Battery(ctx))
	check(v.Odometer(ctx))
	check(v.Snapshot(ctx, smartcar.Battery, smartcar.Odometer))
	check(v.With(smartcar.InUnits(smartcar.Imperial)).Odometer(ctx))
	check(v.Lock(ctx))
	check(v.SetChargeLimit(ctx, 80))
	check(v.Permissions(ctx))
	for _, err := range client.Connections(ctx, smartcar.ConnectionFilter{}) {
		check(nil, err)
	}
	check(client.WebhookReceiver(smartcar.WebhookOptions{}, func(context.Context, *smartcar.WebhookEvent) error { return nil }))
	check(nil, v.Disconnect(ctx))
	// Output:
}

// An endpoint that has no method of its own, as docs/tesla.md shows it.
func Example_requestOfTheirOwn() {
	ctx := context.Background()
	sim, client := exampleClientOnV2()
	v := client.User(exampleConnect(client, sim).UserID).Vehicle(smartcartest.Model3)
	exterior := func() error {
		response, err := v.Request(ctx, smartcar.Request{Path: "tesla/thermometer/exterior"})
		if err != nil {
			return err
		}
		var outside struct{ Temperature *float64 }
		err = response.Decode(&outside)
		if err == nil && outside.Temperature != nil {
			fmt.Println(*outside.Temperature, "degrees Celsius")
		}
		return err
	}
	if err := exterior(); err != nil {
		log.Fatal(err)
	}
	// Output: 12.5 degrees Celsius
}

// exampleClient is a client of API v3 for a Smartcar of its own, at nine o'clock.
func exampleClient(options ...smartcartest.Option) (*smartcartest.Server, *smartcar.Client) {
	morning := func() time.Time { return time.Date(2026, time.November, 23, 9, 0, 0, 0, time.UTC) }
	sim := smartcartest.New(append(options, smartcartest.WithClock(morning))...)
	client, err := smartcar.New(smartcar.Config{
		ApplicationID: sim.ApplicationID(), APIClientID: sim.APIClientID(), APIClientSecret: sim.APIClientSecret(),
		RedirectURL: sim.RedirectURL(), StateKey: []byte("32 random bytes or more, kept secret"),
		ManagementToken: sim.ManagementToken(),
	}, smartcar.WithHTTPClient(&http.Client{Transport: sim.Transport()}), smartcar.WithClock(sim.Clock()))
	if err != nil {
		log.Fatal(err)
	}
	return sim, client
}

// exampleConnect walks the owner through Connect.
func exampleConnect(client *smartcar.Client, sim *smartcartest.Server) (grant *smartcar.Grant) {
	start := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = client.Connect().Start(w, r, smartcar.ConnectOptions{})
	})
	callback := client.Connect().CallbackHandler(func(_ http.ResponseWriter, _ *http.Request, g *smartcar.Grant, _ error) { grant = g })
	if _, err := sim.Walk(start, callback); err != nil {
		log.Fatal(err)
	}
	return grant
}

func exampleClientOnV2() (*smartcartest.Server, *smartcar.Client) {
	sim := smartcartest.New()
	client, err := smartcar.New(smartcar.Config{
		ClientID: sim.ClientID(), ClientSecret: sim.ClientSecret(), RedirectURL: sim.RedirectURL(),
		StateKey: []byte("32 random bytes or more, kept secret"),
	}, smartcar.WithHTTPClient(&http.Client{Transport: sim.Transport()}))
	if err != nil {
		log.Fatal(err)
	}
	return sim, client
}
