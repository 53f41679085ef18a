package main

import (
	"context"
	"errors"
	"net/http"

	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/fleet"
	"github.com/seed-498a1bc4/smartcar/store"
)

// newClient knows the plan, and stores what was read, so that a crash loses nothing.
func newClient(config smartcar.Config, kept store.Store, opts ...smartcar.Option) (*smartcar.Client, error) {
	return smartcar.New(config, append(opts,
		smartcar.WithStore(kept),
		smartcar.WithStoredAnswers(smartcar.StoredAnswers{}),
		smartcar.WithBudget(plan()),
	)...)
}

// connect has the two handlers that an owner passes; then the store knows the owner's cars.
func connect(client *smartcar.Client, connected func(userID string, err error)) (start, callback http.Handler) {
	start = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := client.Connect().Start(w, r, smartcar.ConnectOptions{}); err != nil {
			connected("", err)
		}
	})
	return start, client.Connect().CallbackHandler(func(_ http.ResponseWriter, r *http.Request, grant *smartcar.Grant, err error) {
		if err != nil {
			connected("", err)
			return
		}
		for _, listErr := range client.User(grant.UserID).Vehicles(r.Context()) {
			err = errors.Join(err, listErr)
		}
		connected(grant.UserID, err)
	})
}

// newFleet says what is wanted. Save gets what is new of a car, at least once.
func newFleet(client *smartcar.Client, save saveFunc) (*fleet.Fleet, error) {
	return fleet.New(client, fleet.Config{
		Reads:  []smartcar.Operation{smartcar.Battery, smartcar.Odometer},
		Handle: save,
	})
}

// keepFresh reads all cars of all users, each when it is worth a call, until ctx ends.
func keepFresh(ctx context.Context, client *smartcar.Client, f *fleet.Fleet) error {
	err := f.Run(ctx, client.Vehicles(ctx))
	return errors.Join(err, client.Drain(context.WithoutCancel(ctx)))
}

type saveFunc = func(context.Context, *smartcar.Vehicle, *smartcar.Snapshot) error
