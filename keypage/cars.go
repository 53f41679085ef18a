package keypage

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/seed-498a1bc4/smartcar"
)

const (
	// garageFor is how long a list of cars is used again by a page that reloads by
	// itself. An owner who opens the page gets a new list: another car may have been
	// connected just now.
	garageFor = time.Minute
	nameFor   = 24 * time.Hour
	// namelessFor is how long a car whose name could not be read is not asked again.
	namelessFor = time.Minute
	// freshFor is how old the status of a key may be when an owner opens the page.
	freshFor = 5 * time.Second
	// addedFor is the same of a key that is there: an owner can remove it in the car,
	// and nobody says so.
	addedFor = 5 * time.Minute
	// lookedFor keeps an owner who loads the page again and again from asking as often.
	lookedFor = time.Minute
	// atOnce is how many cars of one page are asked about at the same time.
	atOnce = 4
	// pageTime is how long a page may take. Smartcar allows a car minutes, but nobody
	// looks at a blank page for that long: the page says what is not known by then.
	pageTime = 20 * time.Second
)

// A carState is what the page says about a car; it names a badge's style, too.
type carState string

const (
	needed    carState = "needed"
	removed   carState = "removed" // needed again
	added     carState = "added"
	notNeeded carState = "none"
	notKnown  carState = "unknown"
)

type garage struct {
	ids []string
	at  time.Time
}

type name struct {
	text, vin string
	at        time.Time
	vinLater  bool // the VIN is data of the car, of which nothing is known yet
}

// car is one car as the page shows it.
type car struct {
	vehicle *smartcar.Vehicle
	Name    string
	State   carState
	Reason  string
	Gone    time.Time // when the key was first seen to be removed
	Legacy  bool
	Link    smartcar.VirtualKeyURL // zero: nothing to add
	waiting bool
	failed  bool // asking again may help
}

// open reports whether the owner may still add the key.
func (c car) open() bool { return c.waiting || c.failed }

// cars returns the user's cars, or the one car in only; those that need the key come
// first. Opened says that the owner has opened the page, and not the page itself.
func (h *Handler) cars(ctx context.Context, user *smartcar.User, only string, opened bool) ([]car, error) {
	ctx, cancel := context.WithTimeout(ctx, pageTime)
	defer cancel()
	ids, err := h.garage(ctx, user, opened)
	if err != nil {
		return nil, err
	}
	if only != "" {
		if !opened && !slices.Contains(ids, only) { // the car may be newer than the list of this replica
			if ids, err = h.garage(ctx, user, true); err != nil {
				return nil, err
			}
		}
		if !slices.Contains(ids, only) {
			return nil, errNoCar
		}
		ids = []string{only}
	}
	cars := make([]car, len(ids))
	var asking sync.WaitGroup
	slots := make(chan struct{}, atOnce)
	for i, id := range ids {
		slots <- struct{}{}
		asking.Go(func() {
			defer func() { <-slots }()
			cars[i] = h.describe(ctx, user.Vehicle(id))
		})
	}
	asking.Wait()
	slices.SortFunc(cars, func(a, b car) int { // the API keeps no order
		return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(a.Name, b.Name), cmp.Compare(a.vehicle.ID(), b.vehicle.ID()))
	})
	return cars, nil
}

func rank(c car) int {
	return slices.Index([]carState{removed, needed, notKnown, added, notNeeded}, c.State)
}

// garage lists the ids of the user's cars.
func (h *Handler) garage(ctx context.Context, user *smartcar.User, opened bool) ([]string, error) {
	if g, ok := h.garages.Get(user.ID()); ok && !opened && time.Since(g.at).Abs() < garageFor {
		return g.ids, nil
	}
	var ids []string
	for v, err := range user.Vehicles(ctx) {
		if err != nil {
			return nil, err
		}
		ids = append(ids, v.ID())
	}
	h.garages.Put(user.ID(), garage{ids: ids, at: time.Now()})
	return ids, nil
}

func (h *Handler) describe(ctx context.Context, v *smartcar.Vehicle) car {
	known := h.name(ctx, v)
	c := car{vehicle: v, Name: known.text}
	access, err := v.Access(ctx)
	if err == nil && h.outdated(v, access) {
		// The owner looks at the page now: a status of an hour ago will not do.
		if _, err := v.KeyStatus(ctx); err == nil {
			if fresh, err := v.Access(ctx); err == nil {
				access = fresh
			}
		}
	}
	if err != nil {
		h.log(ctx, "car", err)
		c.State, c.Reason, c.failed = notKnown, h.config.Texts.ReasonFailed, true
		return c
	}
	c.State, c.Reason = h.state(access)
	c.Legacy = access.Class == smartcar.ClassLegacy
	if c.State == removed {
		c.Gone = access.Key.Since
	}
	if !access.VirtualKeyURL.IsZero() {
		c.waiting, c.Link = true, access.VirtualKeyURL
		if withVIN, err := c.Link.WithVIN(known.vin); err == nil && h.config.VINInLink {
			c.Link = withVIN
		}
	}
	return c
}

// outdated reports whether the status of a key is too old for an owner who looks.
func (h *Handler) outdated(v *smartcar.Vehicle, a *smartcar.Access) bool {
	age := time.Since(a.Key.At).Abs()
	if a.Key.State != smartcar.KeyInstalled {
		return a.NeedsKey && age > freshFor
	}
	key := v.UserID() + "\x00" + v.ID()
	if at, ok := h.looked.Get(key); age <= addedFor || ok && time.Since(at).Abs() < lookedFor {
		return false
	}
	h.looked.Put(key, time.Now())
	return true
}

// state turns what the policy knows into the words of the page.
func (h *Handler) state(a *smartcar.Access) (carState, string) {
	t := h.config.Texts
	switch {
	case a.Class == smartcar.ClassLegacy:
		return notNeeded, t.ReasonLegacy
	case a.Class == smartcar.ClassOther:
		return notNeeded, t.ReasonOther
	case a.Class != smartcar.ClassStreaming:
		return notKnown, t.ReasonUnknownCar
	case a.Key.State == smartcar.KeyInstalled:
		return added, t.ReasonAdded
	case a.Key.Removed:
		return removed, t.ReasonRemoved
	case a.Key.State == smartcar.KeyMissing:
		return needed, "" // the badge says it all
	case a.NeedsKey:
		return notKnown, t.ReasonFailed
	case !a.VirtualKeyURL.IsZero():
		return notKnown, t.ReasonNotYet
	}
	return notKnown, t.ReasonNeverKnown
}

// name reads what the car is called, and its VIN if that is wanted. The page can do
// without either, so an error is dropped.
func (h *Handler) name(ctx context.Context, v *smartcar.Vehicle) name {
	key := v.UserID() + "\x00" + v.ID()
	n, ok := h.names.Get(key)
	if ok && time.Since(n.at).Abs() < nameFor {
		if n.vinLater {
			_ = n.addVIN(ctx, v)
			h.names.Put(key, n)
		}
		return n
	}
	n = name{text: h.config.Texts.Car, at: time.Now()}
	attributes, err := v.Attributes(ctx)
	if err == nil {
		if text := CarName(attributes); text != "" {
			n.text = text
		}
		if h.config.VINInLink {
			err = n.addVIN(ctx, v)
		}
	}
	if err != nil {
		n.at = n.at.Add(namelessFor - nameFor)
	}
	h.names.Put(key, n)
	return n
}

// addVIN reads the VIN where that asks no car: an owner who looks at a page must not
// cost the program a turn. On API v3 it is known once the program has read data.
func (n *name) addVIN(ctx context.Context, v *smartcar.Vehicle) error {
	vin, err := v.With(smartcar.WithoutTurn()).VIN(ctx)
	n.vinLater = errors.Is(err, smartcar.ErrTakesTurn)
	switch {
	case n.vinLater:
		return nil
	case err == nil:
		n.vin = vin.VIN
	}
	return err
}
