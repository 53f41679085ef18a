package smartcar_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net/http"

	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/smartcartest"
)

// A program that moves from API v2.0 to v3: one option is the difference, and the
// credentials of both may stand beside each other.
func ExampleWithAPI() {
	client, err := smartcar.New(smartcar.Config{
		ApplicationID: "8229df9f-91a0-4ff0-a1ae-a1f38ee24d07", RedirectURL: "https://example.com/callback",
		ClientSecret: "secret of v2.0",                                // Legacy credentials
		APIClientID:  "client_01ABC", APIClientSecret: "secret of v3", // API credentials
	}, smartcar.WithAPI(smartcar.V3)) // needed because the credentials of both are there
	if err != nil {
		log.Fatal(err)
	}
	link, err := client.Connect().AuthorizeURL(smartcar.ConnectOptions{ExternalID: "acct_42"}, "state-of-this-session")
	fmt.Println(link, err)
	// Output: https://connect.smartcar.com/oauth/authorize?application_id=8229df9f-91a0-4ff0-a1ae-a1f38ee24d07&external_id=acct_42&redirect_uri=https%3A%2F%2Fexample.com%2Fcallback&response_type=none&state=state-of-this-session <nil>
}

// Everything API v3 has stored of a car, in one request: typed accessors, and
// the last known value only where it is asked for.
func ExampleVehicle_Signals() {
	sim := smartcartest.New()
	client, err := smartcar.New(smartcar.Config{
		ApplicationID: sim.ApplicationID(), APIClientID: sim.APIClientID(), APIClientSecret: sim.APIClientSecret(),
		RedirectURL: sim.RedirectURL(), StateKey: []byte("at least 32 bytes, random outside of a test"),
	}, smartcar.WithHTTPClient(&http.Client{Transport: sim.Transport()}))
	if err != nil {
		log.Fatal(err)
	}
	var grant *smartcar.Grant
	start := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = client.Connect().Start(w, r, smartcar.ConnectOptions{})
	})
	callback := client.Connect().CallbackHandler(func(_ http.ResponseWriter, _ *http.Request, g *smartcar.Grant, _ error) { grant = g })
	if _, err := sim.Walk(start, callback); err != nil {
		log.Fatal(err)
	}
	read, err := client.User(grant.UserID).Vehicle(smartcartest.Model3).Signals(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	charge, err := read.TractionBatteryStateOfCharge()
	fmt.Println(*charge.Value, charge.Unit, err)
	_, err = read.ChargeChargeRate()
	fmt.Println(errors.Is(err, smartcar.ErrVehicleState))
	rate, err := read.LastKnown().ChargeChargeRate()
	fmt.Println(*rate.Value, rate.Unit, rate.Stale, err)
	// Output:
	// 80 percent <nil>
	// true
	// 30 km/h true <nil>
}

// A receiver of webhooks: the policy learns from each event, and the
// application gets it typed.
func ExampleClient_WebhookReceiver() {
	ctx, mux := context.Background(), http.NewServeMux()
	sim := smartcartest.New(smartcartest.WithClock(exampleMorning))
	client, err := smartcar.New(smartcar.Config{
		ApplicationID: sim.ApplicationID(), APIClientID: sim.APIClientID(), APIClientSecret: sim.APIClientSecret(),
		RedirectURL: sim.RedirectURL(), ManagementToken: sim.ManagementToken(), // the secret of the webhooks
	}, smartcar.WithHTTPClient(&http.Client{Transport: sim.Transport()}), smartcar.WithClock(sim.Clock()))
	if err != nil {
		log.Fatal(err)
	}
	car := client.User(exampleConnect(client, sim)).Vehicle(smartcartest.ModelY)

	receiver, err := client.WebhookReceiver(smartcar.WebhookOptions{}, func(_ context.Context, e *smartcar.WebhookEvent) error {
		switch e.Type {
		case smartcar.EventVehicleState:
			if charge, err := e.Signals.TractionBatteryStateOfCharge(); err == nil && charge.Value != nil {
				fmt.Println("battery:", *charge.Value, "%")
			}
		case smartcar.EventVehicleError:
			for _, problem := range e.Errors {
				fmt.Println(problem.Err.Code, "resolved:", problem.Resolved())
			}
		}
		return nil // an error makes Smartcar send the event again
	})
	if err != nil {
		log.Fatal(err)
	}
	mux.Handle("POST /webhooks/smartcar", receiver)

	// In Smartcar's dashboard, and in its own time:
	id, err := sim.AddWebhook(ctx, smartcartest.Webhook{CallbackURL: "https://example.com/webhooks/smartcar", Handler: mux})
	if err != nil {
		log.Fatal(err)
	}
	if err := car.Subscribe(ctx, id); err != nil {
		log.Fatal(err)
	}
	for range 2 {
		if _, err := sim.Deliver(ctx); err != nil {
			log.Fatal(err)
		}
		_ = sim.Pair(car.ID()) // the owner adds the key
	}
	access, err := car.Access(ctx)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("key:", access.Key.State, "from a", access.Key.Source)
	// Output:
	// VIRTUAL_KEY_REQUIRED resolved: false
	// VIRTUAL_KEY_REQUIRED resolved: true
	// battery: 80 %
	// key: installed from a webhook event
}
