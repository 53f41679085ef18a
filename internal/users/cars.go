package users

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/seed-498a1bc4/smartcar/internal/records"
)

type carKey struct{ user, car string }

// knownCar is a car that this process has seen in the tree of a user, in the
// life that began with that Born.
type knownCar struct {
	born  uint64
	grant string
	at    time.Time // when the grant was seen
}

// Cars returns all cars of a user, those that an earlier version has kept in the
// record included, each once. A nil record is one that is not there or cannot
// be read: the tree does not depend on it.
func (u *Users) Cars(ctx context.Context, id string, r *Record) ([]Car, error) {
	cars, err := u.trees.all(ctx, id, "")
	if err != nil || r == nil {
		return cars, err
	}
	seen := make(map[string]bool, len(cars))
	for _, c := range cars {
		seen[c.ID] = true
	}
	add := func(car Car) {
		if !seen[car.ID] {
			seen[car.ID] = true
			cars = append(cars, car)
		}
	}
	for _, g := range r.NewestFirst() {
		for _, car := range g.Vehicles {
			add(Car{ID: car, Grant: g.ID})
		}
	}
	for _, car := range r.Cars {
		add(Car{ID: car})
	}
	return cars, nil
}

// AddCar files a car before anything is stored of it, so that Forget finds it.
// It returns false if the user is not stored, or is being forgotten: then nothing
// of the car may be stored. With isNew, as on API v3, a user who is not stored is
// stored now. If the store fails, AddCar returns true.
func (u *Users) AddCar(ctx context.Context, id, car string, isNew bool) (known bool) {
	if r, fresh := u.Recent(id); fresh && u.knows(r, id, car) {
		return true
	}
	return u.addCar(ctx, id, car, isNew, u.knows)
}

// knows reports whether this process has seen the car with the user.
func (u *Users) knows(r *Record, id, car string) bool {
	c, ok := u.cars.Get(carKey{id, car})
	return ok && c.born == r.Born || r.hasCar(car)
}

// AddCarNow is AddCar by what the store says now, and not by what this process
// remembers: another process may have forgotten the user, or removed the car.
func (u *Users) AddCarNow(ctx context.Context, id, car string, isNew bool) (known bool) {
	return u.addCar(ctx, id, car, isNew, func(r *Record, _, car string) bool { return r.hasCar(car) })
}

// addCar adds a car to the tree, unless isIn says that it is there. It runs against
// Forget, which uses two other records:
//
//  1. Forget marks the user.
//  2. Forget removes the cars that it finds in the tree.
//  3. Forget removes the user.
//
// A car added after step 2 would never be removed. So addCar adds the car first, and
// then looks at the user. If there is no mark, step 2 is still to come, and will find
// the car. If there is one, or no user, addCar removes the car again.
func (u *Users) addCar(ctx context.Context, id, car string, isNew bool, isIn func(r *Record, id, car string) bool) (known bool) {
	r, fresh := u.Recent(id)
	if !fresh {
		r = nil
	}
	for {
		loaded := r == nil
		if loaded {
			var err error
			r, err = u.loadFor(ctx, id, isNew)
			switch {
			case errors.Is(err, ErrNotConnected):
				return false
			case errors.Is(err, records.ErrUnreadable): // Forget finds the cars without the user's record
				_, _, _ = u.trees.insert(ctx, id, 0, car)
				return true
			case err != nil:
				return true
			}
		}
		path, added, remembered := "", false, isIn(r, id, car)
		if !remembered {
			var err error
			if path, added, err = u.trees.insert(ctx, id, r.Born, car); err != nil {
				return true
			}
		}
		if added || !loaded {
			now, err := u.Connected(ctx, id)
			switch {
			case err != nil && !errors.Is(err, ErrNotConnected):
				return true
			case err != nil && added && u.trees.take(ctx, id, path, car) != nil:
				return false
			case err != nil || now.Born != r.Born:
				r = nil // the user was forgotten, and may have connected again
				continue
			}
		}
		if !u.knows(r, id, car) {
			u.cars.Put(carKey{id, car}, knownCar{born: r.Born})
		}
		return true
	}
}

// loadFor returns the user of a car. With isNew, a user who is not stored is stored.
func (u *Users) loadFor(ctx context.Context, id string, isNew bool) (*Record, error) {
	r, err := u.Connected(ctx, id)
	if !isNew || !errors.Is(err, ErrNotConnected) {
		return r, err
	}
	r, err = u.change(ctx, id, func(_ *Record, found bool) bool { return !found })
	if err == nil && r.Forgotten {
		u.recent.Delete(id)
		return nil, ErrNotConnected
	}
	return r, err
}

// RemoveCar undoes AddCar, for a car nothing is stored of.
func (u *Users) RemoveCar(ctx context.Context, id, car string) error {
	u.cars.Delete(carKey{id, car})
	_, path, found, err := u.trees.find(ctx, id, car)
	if err == nil && found {
		err = u.trees.take(ctx, id, path, car)
	}
	if err != nil {
		return err
	}
	_, err = u.change(ctx, id, func(r *Record, _ bool) bool {
		if r.Forgotten || !r.hasCar(car) {
			return false
		}
		r.Cars = slices.DeleteFunc(r.Cars, func(id string) bool { return id == car })
		return true
	})
	return ignoreAbsent(err)
}

// List files the cars that a grant of the user has listed. Which grant it was is
// stored only where the user has several: then cars that it listed before and
// does not list any more are no longer its own.
func (u *Users) List(ctx context.Context, id, grant string, listed []string) error {
	r, err := u.Connected(ctx, id)
	if err != nil || !r.Has(grant) {
		return err
	}
	several := len(r.Grants) > 1
	cars := make([]Car, 0, len(listed))
	isListed := make(map[string]bool, len(listed))
	for _, car := range listed {
		isListed[car] = true
		entry := Car{ID: car}
		if several {
			entry.Grant = grant
			u.cars.Delete(carKey{id, car})
		}
		cars = append(cars, entry)
	}
	added, err := u.trees.insertAll(ctx, id, "", cars)
	if several && err == nil {
		err = u.trees.edit(ctx, id, "", func(c *Car) bool {
			drop := c.Grant == grant && !isListed[c.ID]
			if drop {
				c.Grant = ""
				u.cars.Delete(carKey{id, c.ID})
			}
			return drop
		})
	}
	return errors.Join(err, u.takeFromForgotten(ctx, id, added))
}

// AddCars files cars, as List does for those of a grant.
func (u *Users) AddCars(ctx context.Context, id string, ids []string) error {
	cars := make([]Car, len(ids))
	for i, car := range ids {
		cars[i].ID = car
	}
	added, err := u.trees.insertAll(ctx, id, "", cars)
	return errors.Join(err, u.takeFromForgotten(ctx, id, added))
}

// takeFromForgotten removes cars that were added while their user was being
// forgotten: see addCar.
func (u *Users) takeFromForgotten(ctx context.Context, id string, added []placed) error {
	if len(added) == 0 {
		return nil
	}
	if _, err := u.Connected(ctx, id); !errors.Is(err, ErrNotConnected) {
		return err
	}
	for _, p := range added {
		if err := u.trees.take(ctx, id, p.path, p.car); err != nil {
			return err
		}
	}
	return ErrNotConnected
}

// Unlist stores that no grant reaches the car any more.
func (u *Users) Unlist(ctx context.Context, id, car string) error {
	u.cars.Delete(carKey{id, car})
	entry, path, found, err := u.trees.find(ctx, id, car)
	if err == nil && found && entry.Grant != "" {
		_, err = u.trees.changeNode(ctx, id, path, func(n *node) bool {
			i := n.index(car)
			if i >= 0 {
				n.Cars[i].Grant = ""
			}
			return i >= 0
		})
	}
	if err != nil {
		return err
	}
	_, err = u.change(ctx, id, func(r *Record, _ bool) (write bool) {
		for i := range r.Grants {
			g := &r.Grants[i]
			if slices.Contains(g.Vehicles, car) {
				g.Vehicles = slices.DeleteFunc(g.Vehicles, func(id string) bool { return id == car })
				write = true
			}
		}
		return write
	})
	return ignoreAbsent(err)
}

// GrantOf returns which of a user's grants has listed the car. It is empty if that is
// not known, or the store is away.
func (u *Users) GrantOf(ctx context.Context, id string, r *Record, car string) string {
	known, ok := u.cars.Get(carKey{id, car})
	ok = ok && known.born == r.Born && r.Has(known.grant)
	if ok && u.steady.Now().Sub(known.at) < recentTime {
		return known.grant
	}
	entry, _, found, err := u.trees.find(ctx, id, car)
	switch {
	case err != nil && ok:
		return known.grant
	case found && r.Has(entry.Grant):
		u.cars.Put(carKey{id, car}, knownCar{born: r.Born, grant: entry.Grant, at: u.steady.Now()})
		return entry.Grant
	}
	for _, g := range r.NewestFirst() {
		if slices.Contains(g.Vehicles, car) {
			return g.ID
		}
	}
	return ""
}
