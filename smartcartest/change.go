package smartcartest

import (
	"fmt"
	"time"
)

// change lets f change a car under the lock. Afterwards the webhooks look at
// what has changed.
func (s *Server) change(vehicleID string, f func(*vehicle, time.Time) error) error {
	s.lock()
	defer s.mu.Unlock()
	v := s.vehicles[vehicleID]
	if v == nil {
		return fmt.Errorf("smartcartest: no vehicle %q", vehicleID)
	}
	err := f(v, s.now())
	s.observe(s.now())
	return err
}

// Pair gives a streaming car the virtual key: its data and commands open at
// once. Any other car is an error, as it has no key.
func (s *Server) Pair(vehicleID string) error { return s.pair(vehicleID, true) }

// Unpair takes the key away; the car's next data request is answered and
// starts a new window.
func (s *Server) Unpair(vehicleID string) error { return s.pair(vehicleID, false) }

// pair adds or removes the virtual key.
func (s *Server) pair(vehicleID string, paired bool) error {
	return s.change(vehicleID, func(v *vehicle, _ time.Time) error {
		if v.Integration != Streaming {
			return fmt.Errorf("smartcartest: vehicle %q is %v and has no virtual key", vehicleID, v.Integration)
		}
		v.setPaired(paired)
		return nil
	})
}

// Sleep puts a car to sleep until Wake or FollowSchedule.
func (s *Server) Sleep(vehicleID string) error { return s.setSleepMode(vehicleID, keptAsleep) }

// Wake keeps a car awake until Sleep or FollowSchedule. When it was asleep,
// its refresh beats start now.
func (s *Server) Wake(vehicleID string) error { return s.setSleepMode(vehicleID, keptAwake) }

// FollowSchedule undoes Sleep, Wake and Car.Asleep.
func (s *Server) FollowSchedule(vehicleID string) error { return s.setSleepMode(vehicleID, bySchedule) }

// setSleepMode decides from now on whether a car sleeps.
func (s *Server) setSleepMode(vehicleID string, mode sleepMode) error {
	return s.change(vehicleID, func(v *vehicle, now time.Time) error {
		v.setSleepMode(mode, now)
		return nil
	})
}
