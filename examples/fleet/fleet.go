package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/smartcartest"
	"github.com/seed-498a1bc4/smartcar/store"
)

// A fleet is the cars, their owners, and the processes that read them.
type fleet struct {
	sim      *smartcartest.Server
	accounts []string // whose owners go through Connect
	cars     []string // their ids
	store    stores

	owners []string // the users that Connect gave us
	done   tally    // what the replicas reported
}

func newFleet(keyless, legacy int) *fleet {
	f := &fleet{}
	cars := make([]smartcartest.Car, 0, keyless+legacy)
	name := rand.Text() // a store that outlives the program must not mix up its runs
	for i := range keyless + legacy {
		car := smartcartest.Car{ID: fmt.Sprintf("%s-%d", name, i), Owner: fmt.Sprintf("%s-%d@example.com", name, i), Make: "TESLA"}
		if i < keyless {
			car.Model, car.Year, car.Integration = "Model Y", 2023, smartcartest.Streaming
		} else {
			car.Model, car.Year, car.Integration = "Model S", 2018, smartcartest.Legacy
		}
		cars = append(cars, car)
		f.accounts = append(f.accounts, car.Owner)
		f.cars = append(f.cars, car.ID)
	}
	f.sim = smartcartest.New(smartcartest.WithCars(cars...),
		smartcartest.WithKeylessWindow(keylessWindow), smartcartest.WithLegacyRefresh(legacyRefresh))
	// Answers take their time, so that replicas die with requests under way.
	f.sim.Inject(smartcartest.Fault{Path: "/battery", Times: -1, LatencyAfter: answerTime})
	return f
}

// run connects the owners, lets the replicas poll, and judges.
func (f *fleet) run(ctx context.Context, replicas int, duration time.Duration, out io.Writer) error {
	origin, stop, err := f.sim.Start()
	if err != nil {
		return err
	}
	defer stop()
	kept, closeStore, err := f.store.open(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = closeStore() }()
	client, err := f.client(kept)
	if err != nil {
		return err
	}
	if err := f.connect(client); err != nil {
		return err
	}
	fmt.Fprintf(out, "%d owners have connected. %d replicas read their cars for %v.\n", len(f.owners), replicas, duration)

	polling, cancel := context.WithTimeout(ctx, duration)
	defer cancel()
	deaths, err := f.supervise(polling, replicas, append(f.sim.Environment(origin), f.store.environment()...), out)
	if err != nil {
		return err
	}
	return f.judge(context.WithoutCancel(ctx), client, deaths, out)
}

// client is the one of this process.
func (f *fleet) client(kept store.Store) (*smartcar.Client, error) {
	return smartcar.New(smartcar.Config{
		ClientID: f.sim.ClientID(), ClientSecret: f.sim.ClientSecret(), RedirectURL: f.sim.RedirectURL(),
		StateKey: []byte(rand.Text() + rand.Text()), // at least 32 bytes, which all processes share that serve Connect
	}, append(scaled(), smartcar.WithHTTPClient(&http.Client{Transport: f.sim.Transport()}), smartcar.WithStore(kept))...)
}

// connect takes each owner through Connect.
func (f *fleet) connect(client *smartcar.Client) error {
	f.owners = nil
	var failed error
	start := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := client.Connect().Start(w, r, smartcar.ConnectOptions{}); err != nil {
			failed = err
		}
	})
	callback := client.Connect().CallbackHandler(func(_ http.ResponseWriter, _ *http.Request, grant *smartcar.Grant, err error) {
		if err != nil {
			failed = err
			return
		}
		f.owners = append(f.owners, grant.UserID)
	})
	for _, account := range f.accounts {
		_, err := f.sim.WalkAs(start, callback, url.Values{"decision": {"grant"}, "user": {account}})
		if err := errors.Join(failed, err); err != nil {
			return err
		}
	}
	return nil
}

// String is what is known so far: the ledger of Smartcar, which misses nothing,
// and what the replicas lived to report.
func (f *fleet) String() string {
	done := f.done.sum()
	return fmt.Sprintf("reads sent %d  refused here %d  kept %d  logins lost %d  failed %d  windows broken %d",
		f.sent(), done.Refused, done.Kept, done.Lost, done.Failed, f.broken())
}

func (f *fleet) sent() (n int) {
	for _, id := range f.cars {
		for _, entry := range f.sim.Ledger(id) {
			if entry.Kind == smartcartest.Data {
				n++
			}
		}
	}
	return n
}

func (f *fleet) broken() (n int) {
	for _, id := range f.cars {
		n += len(f.sim.BrokenWindows(id))
	}
	return n
}

// judge looks whether every owner is still connected, and says how it went.
func (f *fleet) judge(ctx context.Context, client *smartcar.Client, deaths int, out io.Writer) error {
	f.sim.ExpireAccessTokens() // a login that lives can be renewed
	lost := 0
	for i, owner := range f.owners {
		if _, err := client.User(owner).Vehicle(f.cars[i]).Permissions(ctx); err != nil {
			lost++
		}
	}
	fmt.Fprintf(out, "\nReads sent:        %d\nRefused locally:   %d\nReplicas killed:   %d\nLogins lost:       %d\nWindows broken:    %d\n",
		f.sent(), f.done.sum().Refused, deaths, lost, f.broken())
	switch {
	case f.broken() > 0:
		return fmt.Errorf("%d windows were broken", f.broken())
	case lost > 0:
		return fmt.Errorf("%d logins were lost", lost)
	case f.sent() == 0:
		return errors.New("no car was read")
	}
	return nil
}
