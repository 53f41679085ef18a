package smartcartest

import (
	"encoding/json"
	"math"
	"net/http"
	"slices"
	"strings"
	"time"
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
	if err = v.execute(c, e); err != nil {
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

// attributes are data.attributes of the body; nil without a body.
func (c *call) attributes() (json.RawMessage, *apiError) {
	var body struct {
		Data struct {
			Attributes json.RawMessage `json:"attributes"`
		} `json:"data"`
	}
	if len(c.body) > 0 && json.Unmarshal(c.body, &body) != nil {
		return nil, newError("VALIDATION", "INVALID_INPUT_FORMAT")
	}
	return body.Data.Attributes, nil
}

// executed is the meta of an execution.
func (c *call) executed(v *vehicle) object {
	return object{
		"executedAt": c.stamp(c.now), "completedAt": c.stamp(c.now.Add(v.SlowCommands)),
		"durationInSeconds": int(v.SlowCommands.Round(time.Second) / time.Second),
	}
}

// late streams what a slow car answers to a command, success or error alike.
func (c *call) late(v *vehicle, r *response) *response {
	if v.SlowCommands > 0 {
		r.streamed, r.after, r.status = true, v.SlowCommands, http.StatusAccepted
	}
	return r
}

// lateShape is the shape of an error that the car itself answers.
func (c *call) lateShape(v *vehicle) ErrorShape {
	if v.SlowCommands > 0 {
		return c.cfg.variants.StreamedError
	}
	return ErrorList
}

// flap opens or closes the charge port, which a cable keeps open.
func flap(open bool) effect {
	return effect{
		check: func(c condition) *apiError {
			if !open && c.plugged {
				return newError("VEHICLE_STATE", "CHARGING_PLUG_CONNECTED")
			}
			return nil
		},
		apply: func(c *condition) { c.flapOpen = open },
	}
}

func destination(b []byte) (effect, *apiError) {
	if _, err := within(b, "latitude", -90, 90); err != nil {
		return effect{}, err
	}
	_, err := within(b, "longitude", -180, 180)
	return effect{}, err
}
