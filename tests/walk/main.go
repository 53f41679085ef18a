// Command walk reads the battery of one car twice and writes to a folder which
// functions the second, warm read has covered. A test of package tests builds
// it with coverage and counts them.
package main

import (
	"context"
	"log"
	"net/http"
	"os"
	"runtime/coverage"

	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/smartcartest"
)

func main() {
	if err := run(os.Args[1]); err != nil {
		log.Fatal(err)
	}
}

func run(folder string) error {
	sim := smartcartest.New()
	client, err := smartcar.New(smartcar.Config{
		ClientID: sim.ClientID(), ClientSecret: sim.ClientSecret(), RedirectURL: sim.RedirectURL(),
		StateKey: make([]byte, 32),
	}, smartcar.WithHTTPClient(&http.Client{Transport: sim.Transport()}))
	if err != nil {
		return err
	}
	var grant *smartcar.Grant
	start := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		err = client.Connect().Start(w, r, smartcar.ConnectOptions{})
	})
	callback := client.Connect().CallbackHandler(func(_ http.ResponseWriter, _ *http.Request, g *smartcar.Grant, _ error) { grant = g })
	if _, err := sim.Walk(start, callback); err != nil {
		return err
	}
	ctx := context.Background()
	car := client.User(grant.UserID).Vehicle(smartcartest.Model3)
	if _, err := car.Battery(ctx); err != nil {
		return err
	}
	if err := coverage.ClearCounters(); err != nil {
		return err
	}
	if _, err := car.Battery(ctx); err != nil {
		return err
	}
	if err := coverage.WriteMetaDir(folder); err != nil {
		return err
	}
	return coverage.WriteCountersDir(folder)
}
