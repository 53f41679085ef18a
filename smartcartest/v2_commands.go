package smartcartest

import (
	"encoding/json"
	"net/http"
	"strings"
)

// effect is a valid command: what has to hold, what it changes, and what is
// answered (nil is the usual success).
type effect struct {
	check  func(condition) *apiError
	apply  func(*condition)
	answer any
}

// commandCall answers one command.
func (s *Server) commandCall(c *call, v *vehicle, op *operation, w *view) *response {
	e, err := op.command(w, c.body)
	if err == nil {
		err = v.execute(c, e)
	}
	if err != nil {
		return c.fail(err)
	}
	if e.answer == nil {
		e.answer = object{"status": "success", "message": "Successfully sent request to vehicle"}
	}
	return c.ok(e.answer)
}

// execute sends a command to the car, if it takes any.
func (v *vehicle) execute(c *call, e effect) *apiError {
	if c.entry != nil {
		c.entry.Keyless = v.keyless()
	}
	switch {
	case v.AsleepError && v.asleep(c.now):
		return newError("VEHICLE_STATE", "ASLEEP")
	case v.keyless():
		return newError("CONNECTED_SERVICES_ACCOUNT", "VIRTUAL_KEY_REQUIRED")
	}
	if e.check != nil {
		if err := e.check(v.at(c.now)); err != nil {
			return err
		}
	}
	apply := e.apply
	if apply == nil {
		apply = func(*condition) {}
	}
	v.apply(c.now, apply)
	if c.entry != nil {
		c.entry.Executed = true
	}
	return nil
}

func coreCommands() []operation {
	post := func(path, permission string, command func(*view, []byte) (effect, *apiError)) operation {
		return operation{method: http.MethodPost, path: path, permission: permission, kind: Command, command: command}
	}
	return []operation{
		post("/security", "control_security", byAction(map[string]effect{"LOCK": locking(true), "UNLOCK": locking(false)})),
		post("/charge", "control_charge", byAction(map[string]effect{"START": charging(true), "STOP": charging(false)})),
		post("/charge/limit", "control_charge", func(_ *view, b []byte) (effect, *apiError) {
			limit, err := within(b, "limit", 0.5, 1)
			return limiting(limit), err
		}),
		post("/navigation/destination", "control_navigation", func(_ *view, b []byte) (effect, *apiError) { return destination(b) }),
	}
}

func locking(lock bool) effect {
	return effect{apply: func(c *condition) { c.locked = lock }}
}

func charging(start bool) effect {
	return effect{
		check: func(c condition) *apiError {
			if start && !c.plugged {
				return newError("VEHICLE_STATE", "CHARGING_PLUG_NOT_CONNECTED")
			}
			return nil
		},
		apply: func(c *condition) { c.charging = start },
	}
}

func limiting(limit float64) effect {
	return effect{apply: func(c *condition) { c.limit = limit }}
}

// byAction picks the effect that the body's action names.
func byAction(effects map[string]effect) func(*view, []byte) (effect, *apiError) {
	return func(_ *view, b []byte) (effect, *apiError) {
		var body struct {
			Action *string `json:"action"`
		}
		if json.Unmarshal(b, &body) != nil || body.Action == nil {
			return effect{}, invalid("action", "is required")
		}
		e, ok := effects[*body.Action]
		if !ok {
			return effect{}, invalid("action", "must be one of the documented actions")
		}
		return e, nil
	}
}

// within reads a required number of a JSON object, strictly: no strings.
func within(body []byte, field string, least, most float64) (float64, *apiError) {
	var fields map[string]json.RawMessage
	if json.Unmarshal(body, &fields) != nil {
		return 0, invalid(field, "is required")
	}
	raw, ok := fields[field]
	if !ok {
		return 0, invalid(field, "is required")
	}
	var n *float64
	if json.Unmarshal(raw, &n) != nil || n == nil {
		return 0, invalid(field, "must be a number")
	}
	if *n < least || *n > most {
		bound := strings.NewReplacer("{", string(mustJSON(least)), "}", string(mustJSON(most)))
		return 0, invalid(field, bound.Replace("must be between { and }"))
	}
	return *n, nil
}
