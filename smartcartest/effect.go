package smartcartest

import (
	"encoding/json"
	"strings"
)

// effect is a valid command: what has to hold, what it changes, and what is
// answered (nil is the usual success).
type effect struct {
	check  func(condition) *apiError
	apply  func(*condition)
	answer any
}

func setLocked(lock bool) effect {
	return effect{apply: func(c *condition) { c.locked = lock }}
}

func setCharging(start bool) effect {
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

func setChargeLimit(limit float64) effect {
	return effect{apply: func(c *condition) { c.limit = limit }}
}

// setFlapOpen opens or closes the charge port, which a cable keeps open.
func setFlapOpen(open bool) effect {
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
	if _, err := boundedNumber(b, "latitude", -90, 90); err != nil {
		return effect{}, err
	}
	_, err := boundedNumber(b, "longitude", -180, 180)
	return effect{}, err
}

// actionEffect picks the effect that the body's action names.
func actionEffect(effects map[string]effect) func(*view, []byte) (effect, *apiError) {
	return func(_ *view, b []byte) (effect, *apiError) {
		var body struct {
			Action *string `json:"action"`
		}
		if json.Unmarshal(b, &body) != nil || body.Action == nil {
			return effect{}, invalidField("action", "is required")
		}
		e, ok := effects[*body.Action]
		if !ok {
			return effect{}, invalidField("action", "must be one of the documented actions")
		}
		return e, nil
	}
}

// boundedNumber reads a required number of a JSON object, strictly: no strings.
func boundedNumber(body []byte, field string, least, most float64) (float64, *apiError) {
	var fields map[string]json.RawMessage
	if json.Unmarshal(body, &fields) != nil {
		return 0, invalidField(field, "is required")
	}
	raw, ok := fields[field]
	if !ok {
		return 0, invalidField(field, "is required")
	}
	var n *float64
	if json.Unmarshal(raw, &n) != nil || n == nil {
		return 0, invalidField(field, "must be a number")
	}
	if *n < least || *n > most {
		bound := strings.NewReplacer("{", string(mustJSON(least)), "}", string(mustJSON(most)))
		return 0, invalidField(field, bound.Replace("must be between { and }"))
	}
	return *n, nil
}
