package smartcartest

import (
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

// controlCars lists all cars as the control API shows them.
func (s *Server) controlCars() []carState {
	s.lock()
	defer s.mu.Unlock()
	now := s.now()
	out := []carState{}
	for _, id := range s.garage {
		v := s.vehicles[id]
		out = append(out, carState{
			ID: v.ID, Make: v.Make, Model: v.Model, Year: v.Year, VIN: v.VIN, Owner: v.Owner, Integration: v.Integration.String(),
			Paired: v.Paired, Keyless: v.keyless(), Asleep: v.asleep(now), RecordedAt: v.recorded(now), Requests: len(v.ledger),
		})
	}
	return out
}

// controlCar answers /_sim/cars/{id}/{what}: the ledger, or a change of the
// car.
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
		"reauthenticate": s.RequireReauthentication,
	}
	act := actions[what]
	if act == nil || method != http.MethodPost {
		return controlError(http.StatusNotFound, errors.New("no such control"))
	}
	if err := act(id); err != nil {
		return controlError(http.StatusConflict, err)
	}
	for _, car := range s.controlCars() {
		if car.ID == id {
			return jsonResponse(http.StatusOK, car)
		}
	}
	return controlError(http.StatusNotFound, errors.New("no such car"))
}
