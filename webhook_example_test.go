package smartcar_test

import (
	"context"
	"fmt"
	"log"
	"net/http"

	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/smartcartest"
)

// A receiver of webhooks: the policy learns from each event, and the
// application gets it typed.
func ExampleClient_WebhookReceiver() {
	ctx, mux := context.Background(), http.NewServeMux()
	sim := smartcartest.New(smartcartest.WithClock(exampleMorning))
	client, err := smartcar.New(smartcar.Config{
		ClientID: sim.ClientID(), ClientSecret: sim.ClientSecret(), RedirectURL: sim.RedirectURL(),
		ManagementToken: sim.ManagementToken(), // the secret of the webhooks
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
