package smartcartest

import (
	"encoding/json"
	"strings"
)

// effect is what a valid command does to a car. check refuses the command in
// the wrong condition, apply changes the condition, and answer replaces the
// usual success. Each may be nil.
type effect struct {
	check  func(condition) *apiError
	apply  func(*condition)
	answer any
}

// setLocked locks or unlocks the doors.
func setLocked(lock bool) effect {
	return effect{apply: func(c *condition) { c.locked = lock }}
}

// setCharging starts or stops charging. Only a plugged car can start.
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

// setChargeLimit sets where charging ends, 0.5 to 1.
func setChargeLimit(limit float64) effect {
	return effect{apply: func(c *condition) { c.limit = limit }}
}

// setFlapOpen opens or closes the flap of the charge port. A plugged cable
// keeps it open.
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

// destination takes a place and does nothing with it.
func destination(b []byte) (effect, *apiError) {
	if _, err := boundedNumber(b, "latitude", -90, 90); err != nil {
		return effect{}, err
	}
	_, err := boundedNumber(b, "longitude", -180, 180)
	return effect{}, err
}

// actionEffect reads the field action of the body, and picks the effect of
// that name.
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

// boundedNumber reads a required number of a JSON object. A number in a string
// is refused.
func boundedNumber(body []byte, field string, least, most float64) (float64, *apiError) {
	return numberField(body, field, least, most, false)
}

// boundedNumeric is boundedNumber where the vendor takes a number in a string,
// too.
func boundedNumeric(body []byte, field string, least, most float64) (float64, *apiError) {
	return numberField(body, field, least, most, true)
}

// numberField reads a required number of a JSON object; quoted allows it in a
// string.
func numberField(body []byte, field string, least, most float64, quoted bool) (float64, *apiError) {
	var fields map[string]json.RawMessage
	if json.Unmarshal(body, &fields) != nil {
		return 0, invalidField(field, "is required")
	}
	raw, ok := fields[field]
	if !ok {
		return 0, invalidField(field, "is required")
	}
	var text json.Number // takes strings as well
	err := json.Unmarshal(raw, &text)
	n, bad := text.Float64()
	if err != nil || bad != nil || raw[0] == '"' && !quoted {
		return 0, invalidField(field, "must be a number")
	}
	if n < least || n > most {
		bound := strings.NewReplacer("{", string(mustJSON(least)), "}", string(mustJSON(most)))
		return 0, invalidField(field, bound.Replace("must be between { and }"))
	}
	return n, nil
}
