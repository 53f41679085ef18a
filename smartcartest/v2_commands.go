package smartcartest

import (
	"net/http"
)

// commandCall answers one command.
func (s *Server) commandCall(c *call, v *vehicle, op *operation, w *view) *response {
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
