package smartcar

import (
	"context"
	"errors"
	"time"
)

// learn finds out what the policy needs to know about a car: its class, once,
// and the status of its key, with a back-off. Both are metadata, which cost a
// keyless car no turn.
//
// It fails only where asking for data would fail alike: the car is not this
// user's, or the connection has ended.
func (g *gate) learn(ctx context.Context, v *Vehicle, c car, fresh bool) (car, bool, error) {
	wants := func() bool { return c.state.wantsClass(c.now()) || c.state.wantsKey(c.now()) && g.keyIsFree() }
	if !wants() {
		return c, fresh, nil
	}
	var err error
	if !fresh { // another replica may know; and what is learned must be stored
		if c, err = g.load(ctx, v); err != nil || !wants() {
			return c, true, err
		}
	}
	err = g.learning.do(ctx, v.learningKey(), func() error { return g.learnNow(ctx, v, c) })
	if err != nil {
		return c, fresh, err
	}
	c, err = g.load(ctx, v)
	return c, true, err
}

// learningKey is of one user: what another one is refused is not their failure.
func (v *Vehicle) learningKey() string { return v.userID + "\x00" + v.policyKey }

func (g *gate) learnNow(ctx context.Context, v *Vehicle, c car) error {
	// Another caller may have learned it while we waited to ask.
	if fresh, err := g.load(ctx, v); err == nil {
		c = fresh
	}
	if c.state.wantsClass(c.now()) {
		if err := g.readClass(ctx, v); err != nil {
			return err
		}
		if fresh, err := g.load(ctx, v); err == nil {
			c = fresh
		}
	}
	if c.state.wantsKey(c.now()) && g.keyIsFree() {
		_ = g.readKey(ctx, v)
	}
	return nil
}

// readClass asks for the attributes, and for the VIN where they leave it open or
// are not granted, and it costs no turn. What it finds is stored by learnFrom,
// what it does not find here.
func (g *gate) readClass(ctx context.Context, v *Vehicle) error {
	attributes, err := readOne[AttributesReading](ctx, v, Attributes)
	if notReachable(err) {
		return err
	}
	var identity VehicleIdentity
	if err == nil {
		identity = attributes.identity()
	}
	open := classOf(identity) == classUnknown && (err == nil || permanent(err))
	if open && g.wire.kind(&lookup(VIN)[0]) == KindMetadata {
		var number *VINReading
		if number, err = readOne[VINReading](ctx, v, VIN); err == nil {
			identity.VIN = number.VIN
		}
	}
	e := event{kind: learnClass, class: classOf(identity), byVIN: identity.VIN != ""} // each alone may not tell
	if err != nil && !permanent(err) {
		e = event{kind: classCheckFailed}
	}
	if c, err := g.load(ctx, v); err == nil && c.state.wantsClass(c.now()) {
		_, _ = g.update(ctx, v, c, e)
	}
	return nil
}

// notReachable: this user cannot reach the car at all, whatever is asked.
func notReachable(err error) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && e.Type != "" && (errors.Is(e, ErrUnauthorized) || errors.Is(e, ErrNotFound)) ||
		errors.Is(err, ErrReconnectRequired) || errors.Is(err, ErrNotConnected)
}

// readKey asks for the status of the key; learnFrom stores what comes back.
// The error is stored, too, and not needed by those who only want to know.
func (g *gate) readKey(ctx context.Context, v *Vehicle) error {
	_, err := readOne[virtualKeyReading](ctx, v, TeslaVirtualKey)
	if err == nil {
		return nil
	}
	e := event{kind: keyCheckFailed}
	if keyStatusNeverHad(err) {
		e = event{kind: learnKey, key: keyUnavailable, keySource: fromEndpoint, at: g.now()}
	}
	_, _ = g.update(ctx, v, car{}, e)
	return err
}

// accessChanged makes what could not be known about a user's cars be asked for
// again: the new grant may have the permission. It only saves time, so that a
// failure is none.
func (g *gate) accessChanged(ctx context.Context, u *User) {
	record, err := g.tokens.storedUser(ctx, u.id)
	if err != nil {
		return
	}
	for _, id := range record.Cars {
		_, _ = g.update(ctx, u.vehicle(id, ""), car{}, event{kind: accessChanged})
	}
}

// learnFrom takes the evidence out of answers that cost no turn, whoever asked
// for them.
func (g *gate) learnFrom(ctx context.Context, call *call, a *answer) {
	for _, p := range a.parts {
		if e, ok := evidenceOf(p.value, call.began); ok {
			_, _ = g.update(ctx, call.vehicle, car{}, e)
		}
	}
}

// keyIsFree reports whether the API tells the status of the key without asking
// the car. On v3 it comes with the car's data.
func (g *gate) keyIsFree() bool { return g.wire.supports(&lookup(TeslaVirtualKey)[0]) }

// evidenceIn is what an answer of that time shows beside what was asked for.
func (g *gate) evidenceIn(o observation, at time.Time) (events []event) {
	if class := classOf(VehicleIdentity{VIN: o.vin}); o.vin != "" && class != classUnknown {
		events = append(events, event{kind: learnClass, class: class, byVIN: true})
	}
	if o.keyAt.After(at) {
		o.keyAt = at // a clock that is ahead must not outlive what is learned next
	}
	switch {
	case g.opts.ignoreKeySignal && o.wasChecked && !o.nothing:
		o.key, o.keyAt = keyUnavailable, time.Time{}
		fallthrough
	case o.key != keyNotAsked:
		events = append(events, event{kind: learnKey, key: o.key, keySource: fromSignal, at: o.keyAt})
	}
	return events
}

// outdatedBy reports whether an answer shows the car otherwise than it is known.
func (s carState) outdatedBy(e event, seen []event) bool {
	if e.seen && (e.nothing != s.nothing || e.wake != wakeUnknown && e.wake != s.wake) {
		return true
	}
	for _, e := range seen {
		if e.kind == learnKey && e.key != s.key && !e.at.Before(s.keyAt) || e.kind == learnClass && e.class != s.class && !s.proven {
			return true
		}
	}
	return false
}

func evidenceOf(value any, began time.Time) (event, bool) {
	switch r := value.(type) {
	case *AttributesReading:
		class := classOf(r.identity())
		return event{kind: learnClass, class: class}, class != classUnknown
	case *VINReading:
		class := classOf(VehicleIdentity{VIN: r.VIN})
		return event{kind: learnClass, class: class, byVIN: true}, class != classUnknown
	case *virtualKeyReading:
		e := event{kind: learnKey, keySource: fromEndpoint, key: keyMissing, at: began}
		if r.Paired == nil {
			return event{kind: keyCheckFailed}, true
		}
		if *r.Paired {
			e.key = keyInstalled
		}
		return e, true
	}
	return event{}, false
}

// virtualKeyReading is the answer of the v2.0 key endpoint.
type virtualKeyReading struct {
	Paired *bool
	Meta
}

func (r *AttributesReading) identity() VehicleIdentity {
	return VehicleIdentity{Make: r.Make, Model: r.Model, Year: r.Year}
}

func classOf(identity VehicleIdentity) carClass {
	switch identity.KeyRequirement().Class {
	case ClassStreaming:
		return classStreaming
	case ClassLegacy:
		return classLegacy
	case ClassOther:
		return classOther
	}
	return classUnknown
}

// permanent: asking again soon will not change the answer. A page of a proxy,
// whatever its status, is not Smartcar's answer.
func permanent(err error) bool {
	return errors.Is(err, ErrPermission) || errors.Is(err, ErrNotSupported)
}

// keyStatusNeverHad knows the endpoint's two traps: VEHICLE_MISSING there means
// that the connected account is not the owner's, PLATFORM_NOT_CAPABLE that the
// car is connected through Tesla's retired integration.
func keyStatusNeverHad(err error) bool {
	e, ok := errors.AsType[*Error](err)
	return permanent(err) || ok && e.Type == typeAccount && e.Code == "VEHICLE_MISSING"
}
