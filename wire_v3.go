package smartcar

import (
	"encoding/json"
	"net/http"
	"net/url"
	"time"

	"github.com/seed-498a1bc4/smartcar/internal/lenient"
	"github.com/seed-498a1bc4/smartcar/signals"
)

// wireV3 speaks API v3: everything that is read of a car's data are signals of
// one list, which is one request and one turn whatever is wanted of it.
type wireV3 struct{}

var _ wire = wireV3{}

func (wireV3) version() string { return string(V3) }

func (wireV3) base(o Origins) *url.URL { return o.APIv3.JoinPath("v3") }

func (wireV3) supports(op *operation) bool { return op.v3 != "" || len(op.signals) > 0 }

func (wireV3) kind(op *operation) Kind {
	if len(op.signals) > 0 {
		return KindData
	}
	return op.kind
}

const signalsPath = "/signals"

// read asks for the whole list even where one signal would do: it costs the
// same, and shows the state of the key and whether the car sleeps.
func (wireV3) read(ops []operation) wireRequest {
	path := signalsPath
	if len(ops) == 1 && len(ops[0].signals) == 0 {
		path = ops[0].v3
	}
	return wireRequest{method: http.MethodGet, path: belowVehicle(path)}
}

// split collects for each operation the signals it is made of.
func (w wireV3) split(ops []operation, a *answer) ([]part, error) {
	if len(ops) == 1 && ops[0].name == Attributes {
		return []part{{op: &ops[0], body: a.body, meta: metaFrom(a.header, a.at)}}, nil
	}
	read, err := decodeSignals(a)
	if err != nil {
		return nil, err
	}
	set := read.content()
	a.observed = set.observe()
	parts := make([]part, len(ops))
	for i := range ops {
		switch {
		case ops[i].name == AllSignals:
			parts[i] = part{op: &ops[i], body: a.body, meta: read.Meta}
			parts[i].meta.noteNewest(set)
		case ops[i].name == Attributes && set.vehicle != nil:
			body := append(append([]byte(`{"data":`), set.vehicle...), '}')
			parts[i] = part{op: &ops[i], body: body, meta: read.Meta}
		default:
			parts[i] = w.part(&ops[i], set, read.Meta)
		}
	}
	return parts, nil
}

// entryV3 is how the body of a part holds a signal: as signalV3 reads it.
type entryV3 struct {
	Code signals.Code    `json:"code"`
	Body json.RawMessage `json:"body"`
	Meta struct {
		OEMUpdatedAt time.Time `json:"oemUpdatedAt,omitzero"`
		RetrievedAt  time.Time `json:"retrievedAt,omitzero"`
		IngestedAt   time.Time `json:"ingestedAt,omitzero"`
	} `json:"meta"`
}

// part joins the signals of one operation. It is as old as its oldest signal;
// it fails only if none of them can be used: a stale body beside an ERROR
// status is not data.
func (wireV3) part(op *operation, set *signalSet, meta Meta) part {
	p := part{op: op, meta: meta}
	var list struct {
		Data []entryV3 `json:"data"`
	}
	for _, code := range op.signals {
		s, ok := set.find(code)
		switch {
		case !ok:
			continue
		case s.err == nil:
			e := entryV3{Code: code, Body: s.body}
			if !json.Valid(s.body) {
				e.Body = nil
			}
			e.Meta.OEMUpdatedAt, e.Meta.RetrievedAt, e.Meta.IngestedAt = s.meta.OEMUpdatedAt, s.meta.RetrievedAt, s.meta.IngestedAt
			list.Data = append(list.Data, e)
			p.meta.noteSignalTimes(s.meta)
		case p.err == nil:
			p.err = new(*s.err)
			p.err.Operation = op.name
		}
	}
	switch {
	case len(list.Data) > 0:
		p.err = nil
		p.body, _ = json.Marshal(list) // valid JSON throughout: cannot fail
	case p.err == nil:
		p.err = set.notFound("")
		p.err.Operation = op.name
	}
	return p
}

func (m *Meta) noteSignalTimes(s SignalMeta) {
	if at := s.OEMUpdatedAt; !at.IsZero() && (m.RecordedAt.IsZero() || at.Before(m.RecordedAt)) {
		m.RecordedAt = at
	}
	if at := s.RetrievedAt; !at.IsZero() && (m.FetchedAt.IsZero() || at.Before(m.FetchedAt)) {
		m.FetchedAt = at
	}
}

// noteNewest dates a whole list by its newest signal: it holds some that are
// recorded once in a car's life.
func (m *Meta) noteNewest(set *signalSet) {
	for _, s := range set.signals {
		if s.err == nil {
			m.RecordedAt = later(m.RecordedAt, s.meta.OEMUpdatedAt)
			m.FetchedAt = later(m.FetchedAt, s.meta.RetrievedAt)
		}
	}
}

// observe takes out of a list of signals what the policy learns from it.
func (set *signalSet) observe() observation {
	o := observation{wasChecked: true, nothing: len(set.signals) == 0 && !set.incomplete}
	if vin, err := textSignal(set, signals.VehicleIdentificationVIN); err == nil && vin.Value != nil {
		o.vin = *vin.Value
	}
	if asleep, err := boolSignal(set, signals.ConnectivityStatusIsAsleep); err == nil && asleep.Value != nil {
		o.wake = wakeAwake
		if *asleep.Value {
			o.wake = wakeAsleep
		}
	}
	var askedAt time.Time // for the key; the last time, and zero if that is not known
	for _, s := range set.signals {
		switch {
		case s.err == nil:
			o.recordedAt = later(o.recordedAt, s.meta.OEMUpdatedAt)
		case s.err.isKeyRequired():
			at := later(later(s.meta.OEMUpdatedAt, s.meta.RetrievedAt), s.meta.IngestedAt)
			if o.keyRequired == nil || at.IsZero() || !askedAt.IsZero() && at.After(askedAt) {
				o.keyRequired, askedAt = s.err, at
			}
		}
	}
	paired, err := boolSignal(set, signals.ConnectivityStatusIsDigitalKeyPaired)
	switch {
	case err == nil && paired.Value != nil:
		// Not every signal says when the car recorded it; then it was so, as far
		// as Smartcar knew, when it was fetched or stored.
		o.key, o.keyAt = keyMissing, firstTime(paired.OEMUpdatedAt, paired.RetrievedAt, paired.IngestedAt)
		if *paired.Value {
			o.key = keyInstalled
			o.keySince = !askedAt.IsZero() && firstOfAll(paired.OEMUpdatedAt, paired.RetrievedAt, paired.IngestedAt).After(askedAt)
		}
	case err != nil && permanent(err):
		o.key = keyUnavailable
	case err != nil && isGone(err) && !set.incomplete && len(set.signals) > 1:
		o.key = keyUnavailable // a whole list without it: it will not come
	}
	return o
}

// firstOfAll is the earliest of the times that are known.
func firstOfAll(times ...time.Time) (first time.Time) {
	for _, t := range times {
		if first.IsZero() || !t.IsZero() && t.Before(first) {
			first = t
		}
	}
	return first
}

// firstTime is the first that is known, as they are listed.
func firstTime(times ...time.Time) time.Time {
	for _, t := range times {
		if !t.IsZero() {
			return t
		}
	}
	return time.Time{}
}

type vehicleV3 struct {
	Data lenient.Object[struct {
		ID         lenient.String               `json:"id"`
		Attributes lenient.Object[attributesV2] `json:"attributes"`
	}] `json:"data"`
}

func (w vehicleV3) reading() *AttributesReading {
	r := w.Data.Value.Attributes.Value.reading()
	r.ID = string(w.Data.Value.ID)
	return r
}
