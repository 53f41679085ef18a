package smartcartest

import (
	"slices"
	"time"
)

// allPermissions are the documented permissions. Connect asks for all of them
// when its URL names none.
func allPermissions() []string {
	return []string{
		"control_charge", "control_climate", "control_navigation", "control_pin", "control_security", "control_trunk",
		"read_alerts", "read_battery", "read_charge", "read_charge_events", "read_charge_locations", "read_charge_records",
		"read_climate", "read_compass", "read_diagnostics", "read_engine_oil", "read_extended_vehicle_info", "read_fuel",
		"read_location", "read_odometer", "read_security", "read_service_history", "read_speedometer", "read_thermometer",
		"read_tires", "read_user_profile", "read_vehicle_info", "read_vin",
	}
}

// intersect lists what is in both, in the order of a.
func intersect(a, b []string) []string {
	return slices.DeleteFunc(slices.Clone(a), func(s string) bool { return !slices.Contains(b, s) })
}

// SetPermissions sets what is granted for a car: exactly these, for every
// token and connection that reaches it, and as the most that a later Connect
// can grant. Permissions are the vendor's scopes, e.g. "read_battery"; none
// takes all away.
func (s *Server) SetPermissions(vehicleID string, perms ...string) error {
	sorted := slices.Sorted(slices.Values(perms))
	return s.change(vehicleID, func(v *vehicle, now time.Time) error {
		v.Permissions = sorted
		for g := range s.tokens.grants() {
			if _, ok := g.vehicles[vehicleID]; ok {
				g.vehicles[vehicleID] = sorted
			}
		}
		for _, n := range s.connections {
			if n.vehicle == vehicleID {
				n.permissions, n.updatedAt = sorted, now
			}
		}
		return nil
	})
}
