package smartcartest

import "net/http"

// v2Command answers a command.
func (s *Server) v2Command(c *call, v *vehicle, op *operation, w *view) *response {
	e, err := op.command(w, c.body)
	if err == nil {
		err = v.execute(c.now, c.entry, e)
	}
	if err != nil {
		return c.fail(err)
	}
	if e.answer == nil {
		e.answer = object{"status": "success", "message": "Successfully sent request to vehicle"}
	}
	return c.ok(e.answer)
}

// coreCommands are the v2 commands that every make shares.
func coreCommands() []operation {
	post := func(path, permission string, command func(*view, []byte) (effect, *apiError)) operation {
		return operation{method: http.MethodPost, path: path, permission: permission, kind: Command, command: command}
	}
	return []operation{
		post("/security", "control_security", actionEffect(map[string]effect{"LOCK": setLocked(true), "UNLOCK": setLocked(false)})),
		post("/charge", "control_charge", actionEffect(map[string]effect{"START": setCharging(true), "STOP": setCharging(false)})),
		post("/charge/limit", "control_charge", func(_ *view, b []byte) (effect, *apiError) {
			limit, err := boundedNumeric(b, "limit", 0.5, 1) // the vendor's node SDK sends a string
			return setChargeLimit(limit), err
		}),
		post("/navigation/destination", "control_navigation", func(_ *view, b []byte) (effect, *apiError) { return destination(b) }),
	}
}
