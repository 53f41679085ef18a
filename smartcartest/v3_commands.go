package smartcartest

import (
	"math"
	"slices"
	"strings"
)

// v3Effect is one row of the v3 commands.
type v3Effect struct {
	path, permission string
	capable          func(*vehicle) bool // nil is every car
	effect           func(attributes []byte) (effect, *apiError)
}

// v3Command finds a command by its path below the car; nil when there is none.
func v3Command(path string) *v3Effect {
	fixed := func(e effect) func([]byte) (effect, *apiError) {
		return func([]byte) (effect, *apiError) { return e, nil }
	}
	tesla := func(v *vehicle) bool { return v.tesla() }
	for _, e := range []v3Effect{
		{"commands/security/lock", "control_security", nil, fixed(locking(true))},
		{"commands/security/unlock", "control_security", nil, fixed(locking(false))},
		{"commands/charge/start", "control_charge", nil, fixed(charging(true))},
		{"commands/charge/stop", "control_charge", nil, fixed(charging(false))},
		{"commands/charge/set-limit", "control_charge", nil, func(b []byte) (effect, *apiError) {
			percent, err := within(b, "percent", 50, 100)
			if err == nil && percent != math.Trunc(percent) {
				err = invalid("percent", "must be an integer")
			}
			return limiting(percent / 100), err
		}},
		{"commands/charge-port/open", "control_charge", tesla, fixed(flap(true))},
		{"commands/charge-port/close", "control_charge", tesla, fixed(flap(false))},
		{"commands/navigation/set-destination", "control_navigation", nil, destination},
	} {
		if e.path == path {
			return &e
		}
	}
	return nil
}

func (s *Server) v3Command(c *call, v *vehicle, n *connection, command *v3Effect) *response {
	incapable := command.capable != nil && !command.capable(v) || slices.Contains(v.Unsupported, "/"+command.path)
	if err := v3Admit(n, command.permission, incapable); err != nil {
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
		return c.late(v, c.failAs(err, c.lateShape(v)))
	}
	result := object{
		"commandType":   strings.ReplaceAll(strings.TrimPrefix(command.path, "commands/"), "/", "-"),
		"status":        object{"value": "SUCCESS"},
		"executionMode": "sync",
	}
	if attributes != nil {
		result["parameters"] = attributes
	}
	return c.late(v, c.ok(object{"data": object{
		"id": "exec_" + c.id, "type": "command-execution", "attributes": result, "meta": c.executed(v),
	}}))
}

// v3Admit says whether a command may go to the car, as far as is known without
// asking it.
func v3Admit(n *connection, permission string, incapable bool) *apiError {
	switch {
	case !slices.Contains(n.perms, permission):
		return newError("PERMISSION", "")
	case incapable:
		return newError("COMPATIBILITY", "VEHICLE_NOT_CAPABLE")
	default:
		return nil
	}
}
