package smartcartest

import (
	"net/url"
	"strings"
	"time"
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

func (c *call) viewOf(v *vehicle, g *grant) *view {
	_, driver := v.reachedBy(g.account)
	return &view{
		vehicle: v, now: c.now, driver: driver, query: c.query,
		imperial: strings.EqualFold(c.r.Header.Get("SC-Unit-System"), "imperial"),
	}
}

// as is the view with the values of a recording.
func (w *view) as(rec recording) *view {
	w.recording = rec
	w.condition = w.vehicle.at(rec.at)
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

func (w *view) soc() float64 { return w.condition.percent(w.recording.at) }

// remaining is the range left, in km.
func (w *view) remaining() float64 { return round(w.RangeKm*w.soc(), 1) }

func (w *view) charge() string { return w.condition.chargeState(w.recording.at) }

func (w *view) kW() float64 { return round(w.amperage*volts/1000, 2) }

const (
	volts   = 230.0
	kmPerKW = 6.0 // range added in an hour
)
