package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/keypage"
)

// shownCar is a car as the dashboard shows it.
type shownCar struct {
	ID, Name string
	Battery  string
	Range    string
	Charging string
	Doors    string
	Age      string
	Kept     bool // the last answer, because asking is not allowed or brings nothing new
	Next     *moment
	NeedsKey bool
	Removed  *moment // when the key was first seen gone
	Problem  string
	Why      string // the diagnosis
}

// moment is a time, as text without a clock, which the browser completes in the time
// zone of its owner.
type moment struct {
	Machine string
	Text    string
}

func momentOf(t time.Time, text string) *moment {
	return &moment{t.UTC().Format(time.RFC3339), text}
}

func (a *app) home(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), pageTime)
	defer cancel()
	data := map[string]any{"Account": a.sessions.account(r), "Notice": a.sessions.takeNotice(r)}
	if user := a.user(r); user != nil {
		cars, err := a.cars(ctx, user)
		switch {
		case errors.Is(err, smartcar.ErrNotConnected), errors.Is(err, smartcar.ErrReconnectRequired):
			data["Ended"] = true
		case err != nil:
			a.fail(w, r, "Your cars could not be looked up.", err)
			return
		default:
			data["Cars"], data["Connected"] = cars, true
		}
	}
	a.render(w, r, http.StatusOK, "home", data)
}

// cars reads all cars of a user, a few at a time.
func (a *app) cars(ctx context.Context, user *smartcar.User) ([]*shownCar, error) {
	var cars []*shownCar
	var reading sync.WaitGroup
	defer reading.Wait()
	slots := make(chan struct{}, 4)
	for v, err := range user.Vehicles(ctx) {
		if err != nil {
			return nil, err
		}
		c := &shownCar{ID: v.ID()}
		cars = append(cars, c)
		slots <- struct{}{}
		reading.Go(func() {
			defer func() { <-slots }()
			a.read(ctx, v, c)
		})
	}
	reading.Wait()
	// What the owner can do something about comes first. The API keeps no order.
	slices.SortFunc(cars, func(a, b *shownCar) int {
		return cmp.Or(cmp.Compare(a.rank(), b.rank()), cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID))
	})
	return cars, nil
}

func (c *shownCar) rank() int {
	if c.NeedsKey {
		return 0
	}
	return 1
}

// read asks for everything in one request, which is one turn of a car without
// its key. Where the policy refuses even that, the last answer is good enough
// for a dashboard.
func (a *app) read(ctx context.Context, v *smartcar.Vehicle, c *shownCar) {
	c.Name = a.nameOf(ctx, v)
	defer func() {
		if d, err := v.Diagnosis(ctx); err == nil {
			c.Why = d.String()
		}
	}()
	access, err := v.Access(ctx)
	if err != nil {
		c.problem(err)
		return
	}
	want := []smartcar.Operation{smartcar.Battery, smartcar.Charge, smartcar.LockStatus}
	if access.Class == smartcar.ClassStreaming && access.Key.State != smartcar.KeyInstalled {
		// It may have three turns a day. The location comes along, and is shown only
		// when it is asked for.
		want = append(want, smartcar.Location)
	}
	snapshot, err := v.With(smartcar.AllowStale()).Snapshot(ctx, want...)
	if err != nil {
		c.problem(err)
	} else {
		c.show(snapshot)
	}
	// What the request has changed: when the next one is worth it.
	if access, err = v.Access(ctx); err != nil {
		return
	}
	c.NeedsKey = access.NeedsKey
	if access.Key.Removed {
		c.Removed = momentOf(access.Key.Since, access.Key.Since.Local().Format("January 2, 2006"))
	}
	if at := access.NextRead; at.After(time.Now()) {
		c.Next = momentOf(at, "in "+roughly(time.Until(at)))
	}
}

func (c *shownCar) show(s *smartcar.Snapshot) {
	if battery, err := s.Battery(); err == nil {
		c.Age, c.Kept = age(battery.RecordedAt), battery.Source == smartcar.SourceCache
		if battery.Percent != nil { // nil: the car did not say, which is not zero
			c.Battery = fmt.Sprintf("%.0f %%", *battery.Percent)
		}
		if battery.Range != nil {
			c.Range = fmt.Sprintf("%.0f km", *battery.Range)
		}
	} else {
		c.problem(err)
	}
	if charge, err := s.Charge(); err == nil {
		c.Charging = chargingText(charge.State, charge.PluggedIn)
	}
	if locks, err := s.LockStatus(); err == nil && locks.Locked != nil {
		c.Doors = "unlocked"
		if *locks.Locked {
			c.Doors = "locked"
		}
	}
}

func (c *shownCar) problem(err error) {
	said := explain("this car", c.ID, err)
	c.Problem = said.Text
}

// nameOf is make, model and year, as the key page writes them.
func (a *app) nameOf(ctx context.Context, v *smartcar.Vehicle) string {
	if name, ok := a.names.Load(v.ID()); ok {
		return name.(string)
	}
	car, err := v.Attributes(ctx)
	if err != nil {
		return "your car"
	}
	name := keypage.CarName(car)
	if name == "" {
		return "your car"
	}
	a.names.Store(v.ID(), name)
	return name
}
