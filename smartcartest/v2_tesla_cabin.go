package smartcartest

import (
	"encoding/json"
	"strings"
)

// onOff is how the climate endpoints say whether something runs.
func onOff(on bool) string {
	if on {
		return "ON"
	}
	return "OFF"
}

// startStop reads the action START or STOP, and answers it as the status.
func startStop(set func(c *condition, on bool)) func(*view, []byte) (effect, *apiError) {
	return actionEffect(map[string]effect{
		"START": {apply: func(c *condition) { set(c, true) }, answer: object{"status": "START"}},
		"STOP":  {apply: func(c *condition) { set(c, false) }, answer: object{"status": "STOP"}},
	})
}

// setPIN sets the PIN to Drive, or overrides it.
func setPIN(_ *view, b []byte) (effect, *apiError) {
	var body struct {
		PIN string `json:"pin"`
	}
	if json.Unmarshal(b, &body) != nil || len(body.PIN) != 4 || strings.Trim(body.PIN, "0123456789") != "" {
		return effect{}, invalidField("pin", "must be 4 digits")
	}
	return effect{apply: func(c *condition) { c.pin = body.PIN }}, nil
}

// cabin is the climate in a condition, as the read and the command answer it.
func cabin(w *view, c condition) any {
	return object{"status": onOff(c.climateOn), "temperature": w.celsius(c.climateSet)}
}

// climate takes SET, START or STOP. The temperature is in the units of the
// request, and must be 15 to 28 degrees Celsius.
func climate(w *view, b []byte) (effect, *apiError) {
	pick, err := actionEffect(map[string]effect{
		"SET":   {apply: func(*condition) {}},
		"START": {apply: func(c *condition) { c.climateOn = true }},
		"STOP":  {apply: func(c *condition) { c.climateOn = false }},
	})(w, b)
	if err != nil {
		return effect{}, err
	}
	after := w.vehicle.conditionAt(w.now)
	var body struct {
		Action      string   `json:"action"`
		Temperature *float64 `json:"temperature"`
	}
	if json.Unmarshal(b, &body) != nil {
		return effect{}, invalidField("temperature", "must be a number")
	}
	if body.Temperature == nil && body.Action == "SET" {
		return effect{}, invalidField("temperature", "is required")
	}
	if body.Temperature != nil {
		if _, err := boundedNumber(b, "temperature", w.celsius(15), w.celsius(28)); err != nil {
			return effect{}, err
		}
		set := *body.Temperature
		if w.imperial {
			set = (set - 32) * 5 / 9
		}
		change := pick.apply
		pick.apply = func(c *condition) { change(c); c.climateSet = set }
	}
	pick.apply(&after)
	pick.answer = cabin(w, after)
	return pick, nil
}
