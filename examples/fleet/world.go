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

// A world is a simulated Smartcar, its cars and owners, and the processes that read them.
type world struct {
	sim      *smartcartest.Server
	accounts []string // whose owners go through Connect
	cars     []string // their ids
	window   time.Duration
	store    stores

	killEvery   time.Duration  // 0 is never
	expireEvery time.Duration  // how often all access tokens end
	calm        time.Duration  // nobody is killed at the end
	trouble     func(*process) // what happens to a process instead of its death

	owners []string    // the users that Connect gave us
	done   tally       // what the replicas reported
	killed []time.Time // when a process died
	began  time.Time   // when the replicas were started
	ended  time.Time   // when they were asked to stop
}

func newWorld(keyless, legacy int, window time.Duration) *world {
	w := &world{window: window, expireEvery: expireEvery}
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
		w.accounts = append(w.accounts, car.Owner)
		w.cars = append(w.cars, car.ID)
	}
	w.sim = smartcartest.New(smartcartest.WithCars(cars...),
		smartcartest.WithKeylessWindow(window), smartcartest.WithLegacyRefresh(legacyRefresh))
	// Answers take their time, so that replicas die with requests under way.
	w.sim.Inject(smartcartest.Fault{Path: "/batch", Times: -1, LatencyAfter: answerTime})
	return w
}

// run connects the owners, lets the replicas poll, and judges.
func (w *world) run(ctx context.Context, replicas int, duration time.Duration, out io.Writer) error {
	origin, stop, err := w.sim.Start()
	if err != nil {
		return err
	}
	defer stop()
	kept, closeStore, err := w.store.open(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = closeStore() }()
	client, err := w.client(kept)
	if err != nil {
		return err
	}
	if err := w.connect(client); err != nil {
		return err
	}
	if w.store.postgres != "" {
		if err := migrateRiver(ctx, w.store.postgres); err != nil {
			return err
		}
	}
	fmt.Fprintf(out, "%d owners have connected. %d processes read their cars for %v.\n", len(w.owners), replicas, duration)

	polling, cancel := context.WithTimeout(ctx, duration)
	defer cancel()
	if err := w.supervise(polling, replicas, w.environment(origin), out); err != nil {
		return err
	}
	return w.judge(context.WithoutCancel(ctx), client, out)
}

// environment is that of a replica.
func (w *world) environment(origin string) []string {
	return append(append(w.sim.Environment(origin), w.store.environment()...), envWindow+"="+w.window.String())
}

// client is the one of this process.
func (w *world) client(kept store.Store) (*smartcar.Client, error) {
	return newClient(smartcar.Config{
		ClientID: w.sim.ClientID(), ClientSecret: w.sim.ClientSecret(), RedirectURL: w.sim.RedirectURL(),
		StateKey: []byte(rand.Text() + rand.Text()), // at least 32 bytes, which all processes share that serve Connect
	}, kept, append(scaled(w.window), smartcar.WithHTTPClient(&http.Client{Transport: w.sim.Transport()}))...)
}

// connect takes each owner through Connect.
func (w *world) connect(client *smartcar.Client) error {
	w.owners = nil
	var failed error
	start, callback := connect(client, func(userID string, err error) {
		if failed = errors.Join(failed, err); err == nil {
			w.owners = append(w.owners, userID)
		}
	})
	for _, account := range w.accounts {
		_, err := w.sim.WalkAs(start, callback, url.Values{"decision": {"grant"}, "user": {account}})
		if err := errors.Join(failed, err); err != nil {
			return err
		}
	}
	return nil
}

// String is what is known so far: the ledger of Smartcar, which misses nothing, and what
// the processes lived to report.
func (w *world) String() string {
	delivered, _, status := w.done.sum()
	return fmt.Sprintf("windows broken %d  reads sent %d  handed over %d  |  %s", w.broken(), w.sent(), delivered, status)
}

func (w *world) sent() (n int) {
	for _, id := range w.cars {
		n += w.sentTo(id)
	}
	return n
}

func (w *world) sentTo(id string) (n int) {
	for _, entry := range w.sim.Ledger(id) {
		if entry.Kind == smartcartest.Data {
			n++
		}
	}
	return n
}

func (w *world) broken() (n int) {
	for _, id := range w.cars {
		n += len(w.sim.BrokenWindows(id))
	}
	return n
}

// judge looks whether every owner is still connected, and says how it went.
func (w *world) judge(ctx context.Context, client *smartcar.Client, out io.Writer) error {
	w.sim.ExpireAccessTokens() // a login that lives can be renewed
	lost := 0
	for i, owner := range w.owners {
		if _, err := client.User(owner).Vehicle(w.cars[i]).Permissions(ctx); err != nil {
			lost++
		}
	}
	delivered, failed, _ := w.done.sum()
	unread := 0
	for _, id := range w.cars {
		if w.sentTo(id) == 0 {
			unread++
		}
	}
	fmt.Fprintf(out, "\nReads sent:        %d\nHanded over:       %d\nCars not read:     %d\nVisits failed:     %d\nProcesses killed:  %d\nLogins lost:       %d\nWindows broken:    %d\n",
		w.sent(), delivered, unread, failed, len(w.killed), lost, w.broken())
	switch {
	case w.broken() > 0:
		return fmt.Errorf("%d windows were broken", w.broken())
	case lost > 0:
		return fmt.Errorf("%d logins were lost", lost)
	case w.sent() == 0:
		return errNothing
	}
	return nil
}
