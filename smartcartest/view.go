package smartcartest

import (
	"net/url"
	"strings"
	"time"
)

const (
	volts   = 230.0
	kmPerKW = 6.0 // range that 1 kW adds in an hour
)

// view is a car as one request sees it: the condition at the time of a
// recording, in the units of the request.
type view struct {
	*vehicle
	condition
	recording
	now      time.Time
	imperial bool
	driver   bool // the account is only a driver of the car
	query    url.Values
}

// newView is the car for the owner or driver that the grant belongs to. It has
// no values until withRecording.
func (c *call) newView(v *vehicle, g *grant) *view {
	_, driver := v.reachedBy(g.account)
	return &view{
		vehicle: v, now: c.now, driver: driver, query: c.query,
		imperial: strings.EqualFold(c.request.Header.Get("SC-Unit-System"), "imperial"),
	}
}

// withRecording gives the view the values of a recording, and returns it.
func (w *view) withRecording(rec recording) *view {
	w.recording = rec
	w.condition = w.vehicle.conditionAt(rec.recorded)
	return w
}

// scaled multiplies by the factor of the imperial unit if the request asks for
// imperial units.
func (w *view) scaled(v, imperial float64) float64 {
	if w.imperial {
		v *= imperial
	}
	return round(v, 3)
}

// km is a distance, in km or miles.
func (w *view) km(v float64) float64 { return w.scaled(v, 0.621371192) }

// liters is a volume, in liters or gallons.
func (w *view) liters(v float64) float64 { return w.scaled(v, 0.264172052) }

// kPa is a pressure, in kPa or psi.
func (w *view) kPa(v float64) float64 { return w.scaled(v, 0.145037738) }

// celsius is a temperature, in degrees Celsius or Fahrenheit.
func (w *view) celsius(v float64) float64 {
	if w.imperial {
		v = v*9/5 + 32
	}
	return round(v, 2)
}

// stateOfCharge is the charge of the battery when the values were recorded, 0
// to 1.
func (w *view) stateOfCharge() float64 { return w.condition.percent(w.recording.recorded) }

// rangeLeft is what the battery is still good for, in km.
func (w *view) rangeLeft() float64 { return round(w.RangeKm*w.stateOfCharge(), 1) }

// chargeStatus is CHARGING, FULLY_CHARGED or NOT_CHARGING when the values were
// recorded.
func (w *view) chargeStatus() string { return w.condition.chargeState(w.recording.recorded) }

// minutesToLimit is how long a charging car takes until its limit: it gains a
// tenth of the battery in an hour.
func (w *view) minutesToLimit() float64 {
	return round(60*max(0, w.limit-w.stateOfCharge())/0.1, 0)
}

// kW is the power of a charging car.
func (w *view) kW() float64 { return round(w.amperage*volts/1000, 2) }
