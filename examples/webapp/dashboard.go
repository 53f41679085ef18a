package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/seed-498a1bc4/smartcar"
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
	Next     string
	NeedsKey bool
	Problem  string
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
	return cars, nil
}

// read asks for everything in one request, which is one turn of a car without
// its key. Where the policy refuses even that, the last answer is good enough
// for a dashboard.
func (a *app) read(ctx context.Context, v *smartcar.Vehicle, c *shownCar) {
	c.Name = a.nameOf(ctx, v)
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
	if at := access.NextRead; at.After(time.Now()) {
		c.Next = fmt.Sprintf("%s UTC, in %s", at.UTC().Format("15:04"), roughly(time.Until(at)))
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

func chargingText(state string, plugged *bool) string {
	text := strings.ToLower(strings.ReplaceAll(state, "_", " "))
	switch {
	case plugged == nil || !*plugged:
		return text
	case text == "":
		return "plugged in"
	}
	return text + ", plugged in"
}

// sentence begins with a capital letter, which a name need not.
func sentence(name, rest string) string {
	first, size := utf8.DecodeRuneInString(name)
	return string(unicode.ToUpper(first)) + name[size:] + rest
}

func (c *shownCar) problem(err error) {
	said := explain("this car", c.ID, err)
	c.Problem = said.Text
}

// explain says to the owner what the program knows about a failure. It never
// shows them the error itself, which is written for developers.
func explain(name, id string, err error) notice {
	var key *smartcar.VirtualKeyRequiredError
	switch at, known := smartcar.NextAllowed(err); {
	case errors.As(err, &key):
		return notice{Text: "Commands to " + name + " need the virtual key.", KeyLink: "/key/?" + url.Values{"vehicle": {id}}.Encode()}
	case errors.Is(err, smartcar.ErrReauthenticate):
		return notice{Text: "Log in to the account of " + name + " again: connect it once more.", Bad: true}
	case errors.Is(err, smartcar.ErrReconnectRequired), errors.Is(err, smartcar.ErrNotConnected):
		return notice{Text: "The connection has ended: connect your cars again.", Bad: true}
	case errors.Is(err, smartcar.ErrPermission):
		return notice{Text: "You have not allowed this for " + name + ". Connect it again and allow it.", Bad: true}
	case errors.Is(err, smartcar.ErrNotSupported):
		return notice{Text: "That cannot be done with " + name + ".", Bad: true}
	case errors.Is(err, smartcar.ErrAsleep):
		return notice{Text: sentence(name, " is asleep. Try again later.")}
	case known:
		return notice{Text: fmt.Sprintf("Nothing new from %s before %s UTC.", name, at.UTC().Format("15:04"))}
	case smartcar.MayHaveSucceeded(err):
		return notice{Text: "It is not certain whether " + name + " has got the command: look before you send it again.", Bad: true}
	}
	return notice{Text: "That did not work with " + name + ". Try again in a minute.", Bad: true}
}

func describeLocation(name string, where *smartcar.LocationReading) string {
	if where.Latitude == nil || where.Longitude == nil {
		return sentence(name, " did not say where it is.")
	}
	return sentence(name, fmt.Sprintf(" was at %.5f, %.5f %s.", *where.Latitude, *where.Longitude, age(where.RecordedAt)))
}

// nameOf is make, model and year, which never change; what Smartcar sends is
// shown as text.
func (a *app) nameOf(ctx context.Context, v *smartcar.Vehicle) string {
	if name, ok := a.names.Load(v.ID()); ok {
		return name.(string)
	}
	car, err := v.Attributes(ctx)
	if err != nil {
		return "your car"
	}
	name := strings.TrimSpace(car.Make + " " + car.Model)
	if car.Year > 0 {
		name = strings.TrimSpace(fmt.Sprintf("%s %d", name, car.Year))
	}
	if name == "" {
		return "your car"
	}
	a.names.Store(v.ID(), name)
	return name
}

func age(recorded time.Time) string {
	if recorded.IsZero() {
		return "at a time that is not known"
	}
	if d := time.Since(recorded); d >= time.Minute {
		return roughly(d) + " ago"
	}
	return "less than a minute ago"
}

func roughly(d time.Duration) string {
	d = d.Round(time.Minute)
	switch hours, minutes := int(d.Hours()), int(d.Minutes())%60; {
	case hours >= 48:
		return fmt.Sprintf("%d days", hours/24)
	case hours > 0:
		return fmt.Sprintf("%d h %d min", hours, minutes)
	case minutes <= 1:
		return "a minute"
	default:
		return fmt.Sprintf("%d minutes", minutes)
	}
}
