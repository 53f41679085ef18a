package smartcar

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"time"

	"github.com/seed-498a1bc4/smartcar/internal/contexts"
	"github.com/seed-498a1bc4/smartcar/internal/lenient"
	"github.com/seed-498a1bc4/smartcar/internal/policy"
)

// CommandResult says that a command was sent to the vehicle, not that it has
// been carried out: read the state to be sure.
type CommandResult struct {
	Status      string // "success" on v2.0, "SUCCESS" on v3; of the climate "ON" or "OFF"
	Message     string
	ExecutionID string // names this command at Smartcar; API v3 only
	ScheduleID  string // of a charge schedule that was made; API v3 only
	Meta
}

// Lock locks the doors. Permission control_security.
//
// Commands to a streaming-capable Tesla need the virtual key: without it they
// return a [*VirtualKeyRequiredError] with the link that adds it. A command
// that failed may have been carried out all the same: ask [MayHaveSucceeded].
// Commands are never repeated unless they were certainly not sent.
//
// https://smartcar.com/docs/api-reference/control-lock-unlock
func (v *Vehicle) Lock(ctx context.Context) (*CommandResult, error) {
	return v.calls().command(ctx, Lock, nil)
}

// Unlock unlocks the doors; see [Vehicle.Lock]. Permission control_security.
func (v *Vehicle) Unlock(ctx context.Context) (*CommandResult, error) {
	return v.calls().command(ctx, Unlock, nil)
}

// StartCharge starts charging; see [Vehicle.Lock]. Permission control_charge.
//
// https://smartcar.com/docs/api-reference/evs/control-charge
func (v *Vehicle) StartCharge(ctx context.Context) (*CommandResult, error) {
	return v.calls().command(ctx, StartCharge, nil)
}

// StopCharge stops charging; see [Vehicle.Lock]. Permission control_charge.
func (v *Vehicle) StopCharge(ctx context.Context) (*CommandResult, error) {
	return v.calls().command(ctx, StopCharge, nil)
}

// SetChargeLimit sets how far the car charges, in percent: 50 to 100. See
// [Vehicle.Lock]. Permission control_charge.
//
// https://smartcar.com/docs/api-reference/evs/set-charge-limit
func (v *Vehicle) SetChargeLimit(ctx context.Context, percent float64) (*CommandResult, error) {
	if math.IsNaN(percent) || percent < 50 || percent > 100 {
		return nil, argumentError("SetChargeLimit percent", "must be 50 to 100 percent, such as 80, not a fraction such as 0.8")
	}
	return v.calls().command(ctx, SetChargeLimit, percent)
}

// SendDestination sends a place to the car's navigation, in degrees: latitude
// -90 to 90, longitude -180 to 180. See [Vehicle.Lock]. Permission control_navigation.
//
// https://smartcar.com/docs/api-reference/send-destination-to-vehicle
func (v *Vehicle) SendDestination(ctx context.Context, latitude, longitude float64) (*CommandResult, error) {
	if err := checkPlace("SendDestination", latitude, longitude); err != nil {
		return nil, err
	}
	return v.calls().command(ctx, SendDestination, destination{Latitude: latitude, Longitude: longitude})
}

func checkPlace(what string, latitude, longitude float64) error {
	if math.IsNaN(latitude) || math.Abs(latitude) > 90 {
		return argumentError(what+" latitude", "must be -90 to 90 degrees")
	}
	if math.IsNaN(longitude) || math.Abs(longitude) > 180 {
		return argumentError(what+" longitude", "must be -180 to 180 degrees")
	}
	return nil
}

// OpenChargePort opens the flap of the charge port; see [Vehicle.Lock]. On API
// v2.0 of Teslas only. Permission control_charge.
//
// https://smartcar.com/docs/api-reference/commands/overview
func (v *Vehicle) OpenChargePort(ctx context.Context) (*CommandResult, error) {
	return v.calls().command(ctx, OpenChargePort, nil)
}

// CloseChargePort closes it; see [Vehicle.OpenChargePort].
func (v *Vehicle) CloseChargePort(ctx context.Context) (*CommandResult, error) {
	return v.calls().command(ctx, CloseChargePort, nil)
}

// SetChargeCurrent sets the current that a Tesla charges with, in amperes: 1 to 80,
// of which the car takes as much as it and the charger can. It has to be plugged in.
// See [Vehicle.Lock]. API v2.0 only. Permission control_charge.
//
// https://smartcar.com/docs/api-reference/tesla/set-charge-ammeter
func (v *Vehicle) SetChargeCurrent(ctx context.Context, amperes int) (*CommandResult, error) {
	if amperes < 1 || amperes > 80 {
		return nil, argumentError("SetChargeCurrent amperes", "must be 1 to 80")
	}
	return v.calls().command(ctx, SetChargeCurrent, amperes)
}

// StartClimate heats or cools the cabin of a Tesla to the temperature that is set.
// [CommandResult.Status] is then ON. See [Vehicle.Lock]. API v2.0 only. Permission
// control_climate.
func (v *Vehicle) StartClimate(ctx context.Context) (*CommandResult, error) {
	return v.calls().command(ctx, StartClimate, nil)
}

// StopClimate ends it; see [Vehicle.StartClimate].
func (v *Vehicle) StopClimate(ctx context.Context) (*CommandResult, error) {
	return v.calls().command(ctx, StopClimate, nil)
}

// SetClimate sets the temperature of the cabin, in degrees Celsius whatever the
// client's unit system. The car has bounds of its own, such as 15 to 28, and its
// refusal names them. [CommandResult.Status] is ON or OFF, as it was. See
// [Vehicle.StartClimate].
func (v *Vehicle) SetClimate(ctx context.Context, celsius float64) (*CommandResult, error) {
	if !(celsius > 0 && celsius < 50) { // also true for NaN
		return nil, argumentError("SetClimate celsius", "must be degrees Celsius, such as 20.5, not Fahrenheit")
	}
	return v.calls().command(ctx, SetClimate, celsius)
}

// A ChargeSchedule says when a car charges at a place. Exactly one plan is set:
// Daily, Weekly, or Weekdays and Weekends, of which one may be nil. Teslas know
// all three, Volvos Daily, other makes none.
type ChargeSchedule struct {
	Latitude, Longitude float64 // degrees, -90 to 90 and -180 to 180

	Daily              *ChargeTimes
	Weekly             map[time.Weekday]ChargeTimes
	Weekdays, Weekends *ChargeTimes
}

// ChargeTimes are when charging starts and stops, as "HH:MM" in the car's own
// time. One of the two may be empty.
type ChargeTimes struct{ Start, Stop string }

// Format keeps where the car charges out of every verb of package fmt.
func (s ChargeSchedule) Format(f fmt.State, _ rune) {
	_, _ = io.WriteString(f, "smartcar.ChargeSchedule")
}

// SetChargeSchedule makes a schedule; [CommandResult.ScheduleID] names it. What
// is set shows in [Signals.ChargeChargeTimers]. See [Vehicle.Lock]. API v3 only.
// Permission control_charge.
//
// https://smartcar.com/docs/api-reference/commands/overview
func (v *Vehicle) SetChargeSchedule(ctx context.Context, s ChargeSchedule) (*CommandResult, error) {
	if err := s.validate(); err != nil {
		return nil, err
	}
	return v.calls().command(ctx, SetChargeSchedule, s)
}

// DeleteChargeSchedule removes a schedule by its id. See
// [Vehicle.SetChargeSchedule].
func (v *Vehicle) DeleteChargeSchedule(ctx context.Context, id string) (*CommandResult, error) {
	if err := validateID("schedule id", id); err != nil {
		return nil, err
	}
	return v.calls().command(ctx, DeleteChargeSchedule, scheduleID(id))
}

// Disconnect revokes the application's access to this vehicle for this user
// and forgets its answers. Other vehicles of the same grant stay connected.
//
// https://smartcar.com/docs/api-reference/delete-disconnect
func (v *Vehicle) Disconnect(ctx context.Context) error {
	r, err := v.calls().newRequest(ctx, opDisconnect)
	if err != nil {
		return err
	}
	return v.handle.core.reach.disconnect(ctx, r)
}

func (h *handle) command(ctx context.Context, name Operation, args any) (*CommandResult, error) {
	r, err := h.unauthorized(ctx, name)
	if err != nil {
		return nil, err
	}
	op := &lookup(name)[0]
	if !h.core.wire.supports(op) {
		return nil, &NotSupportedError{Operation: op.name, API: h.core.wire.version()}
	}
	if err := h.core.reach.authorize(ctx, r, h.grantID); err != nil {
		return nil, err
	}
	r.kind, r.command, r.units = op.kind, op, ""
	if r.wire, err = h.core.wire.command(op, args); err != nil {
		return nil, err
	}
	a, err := h.core.send(ctx, r, nil)
	if err != nil {
		return nil, err
	}
	result := a.answer.result
	result.PolicyOverridden = r.override
	return result, nil
}

// command sends a command, unless fresh evidence says that the key is missing.
func (g *gate) command(ctx context.Context, r *request, ref carRef, next layer) (attempt, error) {
	if !r.override {
		if err := g.allowCommand(ctx, r, ref); err != nil {
			return attempt{}, err
		}
	}
	g.underway.Outdate(ref.key)
	a, err := next(ctx, r, nil)
	if err == nil || MayHaveSucceeded(err) {
		g.answers.discard(ctx, ref.id, g.opts.now())
	}
	events := a.redated(g.opts, evidenceOfCommand(r.command, a, err))
	detached, cancel := contexts.Detached(ctx)
	defer cancel()
	c, _, lookErr := g.cars.lookUp(detached, ref)
	if lookErr != nil || err == nil && !c.state.NeedsProof(c.now()) {
		events = nil
	}
	if lookErr == nil && c.state.Quiet() && (err == nil || MayHaveSucceeded(err)) {
		events = append(events, evidenceOfWaking(g.opts.now())...)
	}
	if len(events) > 0 {
		_, _ = g.cars.apply(detached, ref, &c, events...)
	}
	return a, err
}

// allowCommand returns the error for a command that may not go. Without a store, and
// without fresh evidence, the command goes: the server decides.
func (g *gate) allowCommand(ctx context.Context, r *request, ref carRef) error {
	c, fresh, err := g.cars.lookUp(ctx, ref)
	verdict := func() policy.Verdict {
		_, d := g.cars.step(&c, policy.AskCommand(g.probe.keyIsFree))
		return d.Verdict
	}
	if strict := g.opts.storePolicy.RefuseOthers; err == nil && !fresh && (strict || verdict() != policy.VerdictSend) {
		var latest car
		if latest, err = g.cars.load(ctx, ref); err == nil {
			c = latest // another replica may have seen that the key was added
		} else if !strict {
			err = nil // the store is away: decide by the cached record
		}
	}
	if err == nil && verdict() == policy.VerdictRecheck {
		_ = g.learnKey(ctx, r, ref, nil)
		c, err = g.cars.load(ctx, ref)
	}
	switch {
	case errors.Is(err, ErrStore) && g.opts.storePolicy.RefuseOthers:
		return storeAway(r, err)
	case errors.Is(err, ErrStore):
		return nil
	case err != nil:
		return err
	case verdict() != policy.VerdictKey:
		return nil
	}
	return &VirtualKeyRequiredError{
		Operation: r.op, VehicleID: ref.id, Local: true, URL: g.links.forCar(ctx, ref.user, ""),
	}
}

func (wireV2) command(op *operation, args any) (wireRequest, error) {
	body := args
	switch op.name {
	case Lock, Unlock:
		body = actionBody{strings.ToUpper(string(op.name))}
	case StartCharge:
		body = actionBody{"START"}
	case StopCharge:
		body = actionBody{"STOP"}
	case OpenChargePort:
		body = actionBody{"OPEN"}
	case CloseChargePort:
		body = actionBody{"CLOSE"}
	case StartClimate:
		body = actionBody{"START"}
	case StopClimate:
		body = actionBody{"STOP"}
	case SetClimate:
		body = struct {
			actionBody
			Temperature float64 `json:"temperature"`
		}{actionBody{"SET"}, args.(float64)}
	case SetChargeCurrent:
		body = struct {
			Amperage int `json:"amperage"`
		}{args.(int)}
	case SetChargeLimit:
		body = struct {
			Limit float64 `json:"limit"`
		}{percentToFraction(args.(float64))}
	}
	request := wireRequest{method: op.method, path: strings.TrimSuffix(op.v2, "/")}
	if body == nil {
		return request, nil
	}
	var err error
	request.body, err = json.Marshal(body)
	return request, err
}

type actionBody struct {
	Action string `json:"action"`
}

// destination is the argument of SendDestination, and its v2.0 body.
type destination struct {
	Latitude  float64 `json:"latitude"`
	Longitude float64 `json:"longitude"`
}

// commandResult: only the word success is one, and a 204 that says nothing. A body
// that says anything else is of Smartcar's error or of somebody else; the command
// may have been carried out either way.
func (wireV2) commandResult(op *operation, a *answer) (*CommandResult, error) {
	result := &CommandResult{Meta: metaFrom(a.header, a.at)}
	if a.isNoContent() {
		return result, nil
	}
	body, err := decodeObject[struct {
		Status  lenient.String `json:"status"`
		Message lenient.String `json:"message"`
	}](a.body)
	switch {
	case err != nil:
		return nil, err
	case !op.isAnswer(a.body):
		return nil, errForeign
	}
	result.Status, result.Message = string(body.Status), string(body.Message)
	return result, nil
}

// percent turns v2.0's fraction into 0-100 without leaving 28.999999999999996.
func percent(fraction *float64) *float64 {
	if fraction != nil {
		*fraction = math.Round(*fraction*1e8) / 1e6
	}
	return fraction
}

func percentToFraction(p float64) float64 { return math.Round(p*1e6) / 1e8 }
