package smartcar

import (
	"context"
	"errors"

	"github.com/seed-498a1bc4/smartcar/internal/policy"
)

// A probe asks Smartcar what a car is and whether its key is there, where that
// takes no turn, and returns what it was told as evidence. It stores nothing.
type probe struct {
	opts *options
	wire wire
	send layer
}

// keyIsFree reports whether the API tells the status of the key without asking
// the car. On v3 the status comes with the car's data.
func (p *probe) keyIsFree() bool { return p.wire.supports(&lookup(opKeyStatus)[0]) }

// tellers are the ways in which this client learns of a car's key.
func (p *probe) tellers() keyTellers {
	return keyTellers{endpoint: p.keyIsFree(), signal: !p.opts.ignoreKeySignal}
}

// class asks for the attributes, and for the VIN where they leave the class open
// or are not granted, and the VIN takes no turn. Told is false if neither told
// it: then the events say that it was asked for. An error says that this user
// cannot reach the car at all.
func (p *probe) class(ctx context.Context, r *request) (events []policy.Event, told bool, err error) {
	var identity VehicleIdentity
	answered, _, err := p.read(ctx, r, Attributes)
	if notReachable(err) {
		return nil, false, err
	}
	if attributes, ok := answered.value.(*AttributesReading); ok {
		identity = attributes.identity()
	}
	open := classOf(identity) == policy.ClassUnknown && (err == nil || permanent(err))
	if open && p.wire.kind(&lookup(VIN)[0]) == KindMetadata {
		answered, _, err = p.read(ctx, r, VIN)
		if number, ok := answered.value.(*VINReading); ok {
			identity.VIN = number.VIN
		}
	}
	events, told = evidenceOfIdentity(identity)
	if !told {
		events = evidenceOfClassCheck(err)
	}
	return events, told, nil
}

// key asks for the status of the key. The error says why it could not be read;
// the events say so, too.
func (p *probe) key(ctx context.Context, r *request) ([]policy.Event, error) {
	answered, a, err := p.read(ctx, r, opKeyStatus)
	if err != nil {
		return evidenceOfKeyCheck(err, p.opts.now()), err
	}
	return a.onClock(p.opts, evidenceOfReading(answered.value, a.began)), nil
}

// read asks for one operation about the car of r, with the same credentials.
func (p *probe) read(ctx context.Context, r *request, name Operation) (part, attempt, error) {
	asked := request{
		op: name, kind: KindMetadata, car: r.car, reads: lookup(name),
		base: r.base, auth: r.auth, user: r.user, units: r.units,
	}
	asked.wire = p.wire.read(asked.reads)
	a, err := p.send(ctx, &asked, nil)
	if err != nil {
		return part{}, a, err
	}
	answered := a.answer.parts[0]
	if answered.err != nil {
		return part{}, a, answered.err
	}
	return answered, a, nil
}

// notReachable: this user cannot reach the car at all, whatever is asked.
func notReachable(err error) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && e.Type != "" && (errors.Is(e, ErrUnauthorized) || errors.Is(e, ErrNotFound)) ||
		errors.Is(err, ErrReconnectRequired) || errors.Is(err, ErrNotConnected)
}

// virtualKeyReading is the answer of the v2.0 key endpoint.
type virtualKeyReading struct {
	Paired *bool
	Meta
}
