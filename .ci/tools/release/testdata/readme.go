// Command app is what a reader makes of the README's section "A program": its snippets
// stand in snippets.go, and Smartcar is simulated.
package main

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"time"

	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/smartcartest"
)

func main() {
	ctx := context.Background()
	sim := smartcartest.New()
	client, err := smartcar.New(smartcar.Config{
		ApplicationID: sim.ApplicationID(), APIClientID: sim.APIClientID(), APIClientSecret: sim.APIClientSecret(),
		RedirectURL: sim.RedirectURL(), StateKey: []byte("at least 32 bytes, random elsewhere"),
	}, smartcar.WithHTTPClient(&http.Client{Transport: sim.Transport()}), smartcar.WithStoredAnswers(smartcar.StoredAnswers{}))
	if err != nil {
		log.Fatal(err)
	}
	start := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = client.Connect().Start(w, r, smartcar.ConnectOptions{})
	})
	var grant *smartcar.Grant
	callback := client.Connect().CallbackHandler(func(_ http.ResponseWriter, _ *http.Request, g *smartcar.Grant, err error) {
		grant = g
	})
	if _, err := sim.Walk(start, callback); err != nil {
		log.Fatal(err)
	}
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
