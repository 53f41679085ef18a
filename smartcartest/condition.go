package smartcartest

import (
	"math"
	"time"
)

// condition is what commands change.
type condition struct {
	battery    float64 // at since
	batteryAt  time.Time
	charging   bool
	plugged    bool
	locked     bool
	limit      float64
	amperage   float64
	climateOn  bool
	climateSet float64    // degrees Celsius
	flapOpen   bool       // of the charge port; a plugged one is open anyway
	schedules  []schedule // never written to: a change makes a new one
}

type change struct {
	at time.Time
	condition
}

// percent is the charge at t, 0 to 1.
func (c condition) percent(t time.Time) float64 {
	hours := math.Max(0, t.Sub(c.batteryAt).Hours())
	p := c.battery - 0.01*math.Mod(hours, 24)
	if c.charging {
		p = math.Min(math.Max(c.limit, c.battery), c.battery+0.1*hours)
	}
	return round(math.Max(0, p), 2)
}

// chargeState is CHARGING, FULLY_CHARGED or NOT_CHARGING.
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
