package main

import (
	"net/http"

	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/smartcartest"
)

// walkConnect sends an owner with a browser through Connect: from the
// application's page to Smartcar, where they say yes, and back to the callback.
func walkConnect(client *smartcar.Client, sim *smartcartest.Server) (grant *smartcar.Grant, err error) {
	start := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := client.Connect().Start(w, r, smartcar.ConnectOptions{}); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
		}
	})
	callback := client.Connect().CallbackHandler(func(_ http.ResponseWriter, _ *http.Request, g *smartcar.Grant, failed error) {
		grant, err = g, failed
	})
	if _, walked := sim.Walk(start, callback); walked != nil {
		return nil, walked
	}
	return grant, err
}
