// Command app is what a reader makes of the README's sections "A program" and "Keep
// cars fresh": their snippets stand in snippets.go, and Smartcar is simulated.
package main

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"time"

	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/smartcartest"
	"github.com/seed-498a1bc4/smartcar/store"
)

func main() {
	ctx := context.Background()
	sim := smartcartest.New()
	client, err := newClient(smartcar.Config{
		ApplicationID: sim.ApplicationID(), APIClientID: sim.APIClientID(), APIClientSecret: sim.APIClientSecret(),
		RedirectURL: sim.RedirectURL(), StateKey: []byte("at least 32 bytes, random elsewhere"),
	}, store.NewMemory(), smartcar.WithHTTPClient(&http.Client{Transport: sim.Transport()}))
	if err != nil {
		log.Fatal(err)
	}
	grants := make(chan *smartcar.Grant, 1)
	start, callback := connect(client, func(userID string, err error) {
		if err != nil {
			log.Fatal(err)
		}
		grants <- &smartcar.Grant{UserID: userID}
	})
	if _, err := sim.Walk(start, callback); err != nil {
		log.Fatal(err)
	}
	grant := <-grants
	if err := show(ctx, client, grant); err != nil {
		log.Fatal(err)
	}
	ctx, stop := context.WithTimeout(ctx, time.Minute)
	defer stop()
	f, err := newFleet(client, func(context.Context, *smartcar.Vehicle, *smartcar.Snapshot) error {
		fmt.Println("saved")
		stop()
		return nil
	})
	if err != nil {
		log.Fatal(err)
	}
	_ = keepFresh(ctx, client, f)
}

func plan() smartcar.Budget {
	return smartcar.Budget{PerVehicle: 500, Reserve: 50}
}
