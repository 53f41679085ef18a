package smartcartest

import (
	"slices"
	"time"
)

// reading is the value or the error of one signal of a car at one time. An
// answer of API v3 and a webhook each give it their own shape.
type reading struct {
	signal
	shownAs  string // instead of the name; usually empty
	status   string // SUCCESS, ERROR or UNAVAILABLE
	err      *apiError
	body     object    // nil when the signal has no value
	recorded time.Time // zero when no time is sent
	fetched  time.Time
	stored   time.Time // by the vendor: an error keeps the date at which it arose
}

// staleBy is how much older a value is when it stands beside an error.
const staleBy = 26 * time.Hour

// readSignal reads one signal of a car. refused is why the car itself was not
// read, or nil: the signal then has an error beside its old body, and a client
// must look at the status first.
func readSignal(g *signal, v *vehicle, n *connection, now time.Time, rec recording, refused *apiError, variants *Variants) reading {
	_, driver := v.reachedBy(n.account)
	r := reading{signal: *g, status: "ERROR", fetched: rec.fetched, stored: rec.fetched}
	switch {
	case !slices.Contains(n.permissions, g.permission):
		r.err, r.stored = newError("PERMISSION", ""), n.updatedAt
		return r
	case !g.capable(v):
		r.err, r.stored = newError("COMPATIBILITY", "VEHICLE_NOT_CAPABLE"), n.connectedAt
		if g.name == "Sunroof" { // seen live, of this signal: a body and dates beside the error
			r.body, r.recorded = object{"isOpen": nil}, rec.recorded
		}
		return r
	case slices.Contains(v.Unavailable, g.code()):
		r.status = "UNAVAILABLE"
		return r
	}
	w := &view{vehicle: v, now: now, driver: driver}
	r.recorded = rec.recorded
	r.body, r.err = g.value(w.withRecording(rec))
	switch {
	case r.err == nil:
		r.status = "SUCCESS"
	case r.body != nil:
		r.recorded = rec.recorded.Add(-staleBy)
	default:
		r.recorded = time.Time{}
	}
	if g.code() == "vehicleidentification-vin" { // Smartcar knows the VIN and does not ask the car
		r.recorded = time.Time{}
	} else if refused != nil {
		r.status, r.err = "ERROR", refused
	}
	variants.apply(&r)
	return r
}

// named is the signal without its value, under the name that is shown.
func (r *reading) named() object {
	out := r.signal.named()
	if r.shownAs != "" {
		out["name"] = r.shownAs
	}
	return out
}

// resource is the reading as JSON:API.
func (r reading) resource(c *call, vehicleID string) object {
	status := object{"value": r.status}
	if r.err != nil {
		status["error"] = r.err.signalBody(c.cfg.variants.DescribedErrors)
	}
	attributes := r.named()
	attributes["status"] = status
	meta := object{"ingestedAt": c.v3Time(r.stored)}
	if r.body != nil {
		attributes["body"] = r.body
	}
	if !r.recorded.IsZero() {
		meta["retrievedAt"], meta["oemUpdatedAt"] = c.v3Time(r.fetched), c.v3Time(r.recorded)
		switch c.cfg.variants.UnknownTimes {
		case ZeroTime:
			meta["oemUpdatedAt"] = 0
		case NullTime:
			meta["oemUpdatedAt"] = nil
		}
	}
	return object{
		"id": r.code(), "type": "signal", "attributes": attributes, "meta": meta,
		"links": object{"self": c.vehicleLink("/vehicles/" + vehicleID + "/signals/" + r.code())},
	}
}

// standsInSignals says whether an error of the car is reported inside each
// signal, beside its old value. Any other error fails the request.
func standsInSignals(e *apiError) bool { return e.code == "VIRTUAL_KEY_REQUIRED" }
