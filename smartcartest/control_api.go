package smartcartest

import (
	"context"
	"encoding/json"
	"net/http"
	"time"
)

// serveControl answers the control API below /_sim/. It calls exported methods
// only, and each of them takes the lock itself. Requests to the control API
// are not logged, and faults do not apply to them.
func (s *Server) serveControl(ctx context.Context, c *call) *response {
	rest := c.path[1:]
	method := c.request.Method
	switch {
	case len(rest) == 1 && rest[0] == "cars" && method == http.MethodGet:
		return jsonResponse(http.StatusOK, object{"cars": s.controlCars()})
	case len(rest) == 3 && rest[0] == "cars":
		return s.controlCar(method, rest[1], rest[2])
	case len(rest) == 1 && rest[0] == "clock" && (method == http.MethodGet || method == http.MethodPost):
		if method == http.MethodPost {
			var order struct {
				Advance duration `json:"advance"`
			}
			if err := json.Unmarshal(c.body, &order); err != nil {
				return controlError(http.StatusBadRequest, err)
			}
			s.Advance(time.Duration(order.Advance))
		}
		return jsonResponse(http.StatusOK, object{"now": s.Now()})
	case len(rest) == 1 && rest[0] == "requests" && method == http.MethodGet:
		return jsonResponse(http.StatusOK, object{"requests": append([]Request{}, s.Requests()...), "codeReuse": s.CodeReuse(), "tokenRequests": s.TokenRequests()})
	case len(rest) == 1 && rest[0] == "faults" && method == http.MethodPost:
		var order faultOrder
		if err := json.Unmarshal(c.body, &order); err != nil {
			return controlError(http.StatusBadRequest, err)
		}
		s.Inject(order.fault())
		return jsonResponse(http.StatusOK, object{"status": "injected"})
	case len(rest) == 1 && rest[0] == "faults" && method == http.MethodDelete:
		s.ClearFaults()
		return jsonResponse(http.StatusOK, object{"status": "cleared"})
	case len(rest) == 1 && rest[0] == "tokens" && method == http.MethodDelete:
		s.ExpireAccessTokens()
		return jsonResponse(http.StatusOK, object{"status": "expired"})
	}
	return s.controlHooks(ctx, c, rest)
}

// controlError is an error of the control API.
func controlError(status int, err error) *response {
	return jsonResponse(status, object{"error": err.Error()})
}

// duration is a JSON string such as "8h" or "-90s".
type duration time.Duration

func (d *duration) UnmarshalText(b []byte) error {
	parsed, err := time.ParseDuration(string(b))
	*d = duration(parsed)
	return err
}
