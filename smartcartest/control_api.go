package smartcartest

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"time"
)

// carState is a car as the control API shows it.
type carState struct {
	ID          string    `json:"id"`
	Make        string    `json:"make"`
	Model       string    `json:"model"`
	Year        int       `json:"year"`
	VIN         string    `json:"vin"`
	Owner       string    `json:"owner"`
	Integration string    `json:"integration"`
	Paired      bool      `json:"paired"`
	Keyless     bool      `json:"keyless"`
	Asleep      bool      `json:"asleep"`
	RecordedAt  time.Time `json:"recordedAt"`
	Requests    int       `json:"requests"`
}

// duration is a JSON string such as "8h" or "-90s".
type duration time.Duration

func (d *duration) UnmarshalText(b []byte) error {
	parsed, err := time.ParseDuration(string(b))
	*d = duration(parsed)
	return err
}

// faultOrder is what of a Fault fits into JSON.
type faultOrder struct {
	Path            string            `json:"path"`
	Method          string            `json:"method"`
	Times           int               `json:"times"`
	Probability     float64           `json:"probability"`
	Latency         duration          `json:"latency"`
	LatencyAfter    duration          `json:"latencyAfter"`
	Status          int               `json:"status"`
	Body            string            `json:"body"`
	Header          map[string]string `json:"header"`
	ErrorType       string            `json:"errorType"`
	ErrorCode       string            `json:"errorCode"`
	AfterProcessing bool              `json:"afterProcessing"`
	Accepted        bool              `json:"accepted"`
	DropBefore      bool              `json:"dropBefore"`
	DropAfter       bool              `json:"dropAfter"`
	Malformed       bool              `json:"malformed"`
}

func (o faultOrder) fault() Fault {
	f := Fault{
		Path: o.Path, Times: o.Times, Probability: o.Probability,
		Latency: time.Duration(o.Latency), LatencyAfter: time.Duration(o.LatencyAfter),
		Status: o.Status, Body: o.Body, Header: http.Header{}, ErrorType: o.ErrorType, ErrorCode: o.ErrorCode,
		AfterProcessing: o.AfterProcessing, Accepted: o.Accepted, DropBefore: o.DropBefore, DropAfter: o.DropAfter, Malformed: o.Malformed,
	}
	for name, value := range o.Header {
		f.Header.Set(name, value)
	}
	if o.Method != "" {
		f.Match = func(r *http.Request) bool { return r.Method == o.Method }
	}
	return f
}

// control is the API below /_sim/. It uses only the exported methods, which
// lock for themselves; the requests are neither logged nor spoiled.
func (s *Server) control(ctx context.Context, c *call) *response {
	rest := c.path[1:]
	method := c.r.Method
	switch {
	case len(rest) == 1 && rest[0] == "cars" && method == http.MethodGet:
		return jsonResponse(http.StatusOK, object{"cars": s.cars()})
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

func (s *Server) controlCar(method, id, what string) *response {
	if s.change(id, func(*vehicle, time.Time) error { return nil }) != nil {
		return controlError(http.StatusNotFound, errors.New("no such car"))
	}
	if what == "ledger" && method == http.MethodGet {
		return jsonResponse(http.StatusOK, object{
			"entries": append([]Entry{}, s.Ledger(id)...),
			"broken":  append([]Broken{}, s.BrokenWindows(id)...),
		})
	}
	actions := map[string]func(string) error{
		"pair": s.Pair, "unpair": s.Unpair, "sleep": s.Sleep, "wake": s.Wake, "schedule": s.FollowSchedule,
	}
	act := actions[what]
	if act == nil || method != http.MethodPost {
		return controlError(http.StatusNotFound, errors.New("no such control"))
	}
	if err := act(id); err != nil {
		return controlError(http.StatusConflict, err)
	}
	for _, car := range s.cars() {
		if car.ID == id {
			return jsonResponse(http.StatusOK, car)
		}
	}
	return controlError(http.StatusNotFound, errors.New("no such car"))
}

func controlError(status int, err error) *response {
	return jsonResponse(status, object{"error": err.Error()})
}

func (s *Server) cars() []carState {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	out := []carState{}
	for _, id := range s.order {
		v := s.vehicles[id]
		out = append(out, carState{
			ID: v.ID, Make: v.Make, Model: v.Model, Year: v.Year, VIN: v.VIN, Owner: v.Owner, Integration: v.Integration.String(),
			Paired: v.Paired, Keyless: v.keyless(), Asleep: v.asleep(now), RecordedAt: v.recorded(now), Requests: len(v.ledger),
		})
	}
	return out
}
