package main

import (
	"context"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/smartcartest"
)

// walkConnect is an owner with a browser: it opens the application's page, says
// yes at Smartcar, and comes back with the cookie it was given.
func walkConnect(client *smartcar.Client, sim *smartcartest.Server) (*smartcar.Grant, error) {
	there := httptest.NewRecorder()
	visit := httptest.NewRequest(http.MethodGet, "/", nil)
	if err := client.Connect().Start(there, visit, smartcar.ConnectOptions{}); err != nil {
		return nil, err
	}
	callbackURL, err := sim.Grant(there.Header().Get("Location"))
	if err != nil {
		return nil, err
	}
	back := httptest.NewRequest(http.MethodGet, callbackURL, nil)
	for _, cookie := range there.Result().Cookies() {
		back.AddCookie(cookie)
	}
	return client.Connect().HandleCallback(httptest.NewRecorder(), back)
}

// clock makes the client live in the simulator's time. Sleeping moves it.
type clock struct{ sim *smartcartest.Server }

func (c clock) Now() time.Time { return c.sim.Now() }

func (c clock) Sleep(ctx context.Context, d time.Duration) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	c.sim.Advance(d)
	return nil
}
