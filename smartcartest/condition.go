package smartcartest

import (
	"math"
	"time"
)

// condition is the part of a car that commands change.
type condition struct {
	battery    float64 // 0 to 1, at batteryAt
	batteryAt  time.Time
	charging   bool
	plugged    bool
	locked     bool
	limit      float64 // where charging ends, 0 to 1
	amperage   float64
	climateOn  bool
	climateSet float64    // degrees Celsius
	defrost    bool       // of the windows, front and rear
	wheelHeat  bool       // of the steering wheel
	pin        string     // PIN to Drive; empty when there is none
	plan       chargePlan // of v2.0
	flapOpen   bool       // the flap of the charge port; a cable keeps it open anyway
	schedules  []schedule // shared with earlier conditions: a change makes a new slice
}

// change is the condition of a car from a time on.
type change struct {
	at time.Time
	condition
}

// percent is the charge of the battery at t, 0 to 1.
func (c condition) percent(t time.Time) float64 {
	hours := math.Max(0, t.Sub(c.batteryAt).Hours())
	p := c.battery - 0.01*math.Mod(hours, 24)
	if c.charging {
		p = math.Min(math.Max(c.limit, c.battery), c.battery+0.1*hours)
	}
	return round(math.Max(0, p), 2)
}

// chargeState is CHARGING, FULLY_CHARGED or NOT_CHARGING at t.
func (c condition) chargeState(t time.Time) string {
	switch {
	case !c.plugged:
		return "NOT_CHARGING"
	case c.percent(t) >= c.limit:
		return "FULLY_CHARGED"
	case c.charging:
		return "CHARGING"
	default:
		return "NOT_CHARGING"
	}
}
