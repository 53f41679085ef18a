package smartcartest

import (
	"net/url"
	"strings"
	"time"
)

const (
	volts   = 230.0
	kmPerKW = 6.0 // range added in an hour
)

// view is a car as one request sees it.
type view struct {
	*vehicle
	condition
	recording
	now      time.Time
	imperial bool
	driver   bool // the token's account is a driver's
	query    url.Values
}

func (c *call) newView(v *vehicle, g *grant) *view {
	_, driver := v.reachedBy(g.account)
	return &view{
		vehicle: v, now: c.now, driver: driver, query: c.query,
		imperial: strings.EqualFold(c.request.Header.Get("SC-Unit-System"), "imperial"),
	}
}

// withRecording is the view with the values of a recording.
func (w *view) withRecording(rec recording) *view {
	w.recording = rec
	w.condition = w.vehicle.conditionAt(rec.recorded)
	return w
}

func (w *view) scaled(v, imperial float64) float64 {
	if w.imperial {
		v *= imperial
	}
	return round(v, 3)
}

func (w *view) km(v float64) float64 { return w.scaled(v, 0.621371192) }

func (w *view) liters(v float64) float64 { return w.scaled(v, 0.264172052) }

func (w *view) kPa(v float64) float64 { return w.scaled(v, 0.145037738) }

func (w *view) celsius(v float64) float64 {
	if w.imperial {
		v = v*9/5 + 32
	}
	return round(v, 2)
}

func (w *view) stateOfCharge() float64 { return w.condition.percent(w.recording.recorded) }

// rangeLeft is the range left, in km.
func (w *view) rangeLeft() float64 { return round(w.RangeKm*w.stateOfCharge(), 1) }

func (w *view) chargeStatus() string { return w.condition.chargeState(w.recording.recorded) }

func (w *view) kW() float64 { return round(w.amperage*volts/1000, 2) }
