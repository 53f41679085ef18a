package smartcar

import (
	"context"
	"errors"
	"strings"

	"github.com/seed-498a1bc4/smartcar/internal/policy"
)

// learn finds out what the policy needs to know about a car: its class, once,
// and the status of its key, with a back-off. Both are metadata, which cost a
// keyless car no turn.
//
// It fails only where asking for data would fail alike: the car is not this
// user's, or the connection has ended.
func (g *gate) learn(ctx context.Context, v *Vehicle, c car, fresh bool) (car, bool, error) {
	wants := func() bool { return c.state.WantsClass(c.now()) || c.state.WantsKey(c.now()) && g.keyIsFree() }
	if !wants() {
		return c, fresh, nil
	}
	var err error
	if !fresh { // another replica may know; and what is learned must be stored
		if c, err = g.load(ctx, v); err != nil || !wants() {
			return c, true, err
		}
	}
	err = g.learning.Do(ctx, v.learningKey(), func() error { return g.learnNow(ctx, v, c) })
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
	if c.state.WantsClass(c.now()) {
		if err := g.readClass(ctx, v); err != nil {
			return err
		}
		if fresh, err := g.load(ctx, v); err == nil {
			c = fresh
		}
	}
	if c.state.WantsKey(c.now()) && g.keyIsFree() {
		_ = g.readKey(ctx, v)
	}
	return nil
}

// readClass asks for the attributes, and for the VIN only where they leave it
// open. What it finds is stored by learnFrom, what it does not find here.
func (g *gate) readClass(ctx context.Context, v *Vehicle) error {
	attributes, err := readOne[AttributesReading](ctx, v, Attributes)
	if notReachable(err) {
		return err
	}
	if err == nil && classOf(attributes.identity()) == policy.ClassUnknown && strings.EqualFold(attributes.Make, "tesla") && g.wire.kind(&lookup(VIN)[0]) == KindMetadata {
		_, err = readOne[VINReading](ctx, v, VIN)
	}
	events := evidenceOfClassCheck(err)
	if c, err := g.load(ctx, v); err == nil && c.state.WantsClass(c.now()) {
		_, _ = g.update(ctx, v, c, events...)
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
	_, err := readOne[virtualKeyReading](ctx, v, opKeyStatus)
	if err == nil {
		return nil
	}
	_, _ = g.update(ctx, v, car{}, evidenceOfKeyCheck(err, g.now())...)
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
		_, _ = g.update(ctx, u.vehicle(id, ""), car{}, evidenceOfConnect()...)
	}
}

// learnFrom takes the evidence out of answers that cost no turn, whoever asked
// for them.
func (g *gate) learnFrom(ctx context.Context, call *call, a *answer) {
	for _, p := range a.parts {
		if events := evidenceOfReading(p.value, call.began); len(events) > 0 {
			_, _ = g.update(ctx, call.vehicle, car{}, events...)
		}
	}
}

// keyIsFree reports whether the API tells the status of the key without asking
// the car. On v3 it comes with the car's data.
func (g *gate) keyIsFree() bool { return g.wire.supports(&lookup(opKeyStatus)[0]) }

// virtualKeyReading is the answer of the v2.0 key endpoint.
type virtualKeyReading struct {
	Paired *bool
	Meta
}
