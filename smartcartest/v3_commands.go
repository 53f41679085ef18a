package smartcartest

import (
	"math"
	"slices"
	"strings"
)

// v3Command is one row of the v3 commands: a path below a car.
type v3Command struct {
	path, permission string
	capable          func(*vehicle) bool // nil when every car is
	effect           func(attributes []byte) (effect, *apiError)
}

// v3CommandAt finds a command by its path; nil when there is none.
func v3CommandAt(path string) *v3Command {
	fixed := func(e effect) func([]byte) (effect, *apiError) {
		return func([]byte) (effect, *apiError) { return e, nil }
	}
	tesla := func(v *vehicle) bool { return v.tesla() }
	plugsIn := func(v *vehicle) bool { return v.plugsIn() }
	for _, e := range []v3Command{
		{"commands/security/lock", "control_security", nil, fixed(setLocked(true))},
		{"commands/security/unlock", "control_security", nil, fixed(setLocked(false))},
		{"commands/charge/start", "control_charge", plugsIn, fixed(setCharging(true))},
		{"commands/charge/stop", "control_charge", plugsIn, fixed(setCharging(false))},
		{"commands/charge/set-limit", "control_charge", plugsIn, func(b []byte) (effect, *apiError) {
			percent, err := boundedNumber(b, "percent", 50, 100)
			if err == nil && percent != math.Trunc(percent) {
				err = invalidField("percent", "must be an integer")
			}
			return setChargeLimit(percent / 100), err
		}},
		{"commands/charge-port/open", "control_charge", tesla, fixed(setFlapOpen(true))},
		{"commands/charge-port/close", "control_charge", tesla, fixed(setFlapOpen(false))},
		{"commands/navigation/set-destination", "control_navigation", nil, destination},
	} {
		if e.path == path {
			return &e
		}
	}
	return nil
}

// incapable says whether the car can never carry the command out.
func (o *v3Command) incapable(v *vehicle) bool {
	return o.capable != nil && !o.capable(v) || slices.Contains(v.Unsupported, "/"+o.path)
}

// v3Command answers a command. An error of the request itself is answered at
// once; a slow car streams its own answer.
func (s *Server) v3Command(c *call, v *vehicle, n *connection, command *v3Command) *response {
	if err := v3Admit(n, command.permission, command.incapable(v)); err != nil {
		return c.fail(err)
	}
	attributes, err := c.attributes()
	if err != nil {
		return c.fail(err)
	}
	e, err := command.effect(attributes)
	if err != nil {
		return c.fail(err)
	}
	if err = v.execute(c.now, c.entry, e); err != nil {
		return c.streamedIfSlow(v, c.failAs(err, c.carErrorShape(v)))
	}
	result := object{
		"commandType":   strings.ReplaceAll(strings.TrimPrefix(command.path, "commands/"), "/", "-"),
		"status":        object{"value": "SUCCESS"},
		"executionMode": "sync",
	}
	if attributes != nil {
		result["parameters"] = attributes
	}
	return c.streamedIfSlow(v, c.ok(object{"data": object{
		"id": "exec_" + c.requestID, "type": "command-execution", "attributes": result, "meta": c.executionMeta(v),
	}}))
}

// v3Admit refuses what the vendor can refuse without asking the car: a missing
// permission, and a car that is not capable.
func v3Admit(n *connection, permission string, incapable bool) *apiError {
	switch {
	case !slices.Contains(n.permissions, permission):
		return newError("PERMISSION", "")
	case incapable:
		return newError("COMPATIBILITY", "VEHICLE_NOT_CAPABLE")
	default:
		return nil
	}
}
