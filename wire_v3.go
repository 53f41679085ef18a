package smartcar

import (
	"encoding/json"
	"net/http"
	"net/url"

	"github.com/seed-498a1bc4/smartcar/internal/lenient"
)

// wireV3 speaks API v3: all reads are signals of one list. It covers the
// attributes, battery, odometer and lock so far; what it has no row for in the
// operations table is answered with a NotSupportedError before any request.
type wireV3 struct{}

var _ wire = wireV3{}

func (wireV3) version() string { return "v3" }

func (wireV3) base(o Origins) *url.URL { return o.APIv3.JoinPath("v3") }

func (wireV3) supports(op *operation) bool { return op.v3 != "" || len(op.signals) > 0 }

func (wireV3) read(ops []operation) wireRequest {
	path := "/signals"
	if len(ops) == 1 {
		switch {
		case ops[0].v3 != "":
			path = ops[0].v3
		case len(ops[0].signals) == 1:
			path += "/" + ops[0].signals[0]
		}
	}
	return wireRequest{method: http.MethodGet, path: belowVehicle(path)}
}

// split collects for each operation the signals it is made of. The body of a
// part is a JSON object from signal code to that signal's body.
func (w wireV3) split(ops []operation, a *answer) ([]part, error) {
	if len(ops) == 1 && ops[0].v3 != "" {
		return []part{{op: &ops[0], body: a.body, meta: metaFrom(a.header, a.at)}}, nil
	}
	signals, err := decodeSignals(a)
	if err != nil {
		return nil, err
	}
	set := signals.content()
	parts := make([]part, len(ops))
	for i := range ops {
		if ops[i].name == Attributes && set.vehicle != nil {
			body := append(append([]byte(`{"data":`), set.vehicle...), '}')
			parts[i] = part{op: &ops[i], body: body, meta: metaFrom(a.header, a.at)}
			continue
		}
		parts[i] = w.part(&ops[i], set, a)
	}
	return parts, nil
}

// part joins the signals of one operation. It is as old as its oldest signal;
// it fails only if none of them can be used: a stale body beside an ERROR
// status is not data.
func (wireV3) part(op *operation, set *signalSet, a *answer) part {
	p := part{op: op, meta: metaFrom(a.header, a.at)}
	bodies := make(map[string]json.RawMessage, len(op.signals))
	for _, code := range op.signals {
		s, ok := set.find(SignalCode(code))
		switch {
		case !ok:
			continue
		case s.err == nil:
			bodies[code] = s.body
			p.meta.noteSignalTimes(s.meta)
		case p.err == nil:
			p.err = new(*s.err)
			p.err.Operation = op.name
		}
	}
	switch {
	case len(bodies) > 0:
		p.err = nil
		p.body, _ = json.Marshal(bodies) // valid JSON throughout: cannot fail
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

// signalValueV3 is the body of a plain signal.
type signalValueV3 struct {
	Value lenient.Float `json:"value"`
}

func (wireV3) decode(op *operation, body json.RawMessage) (any, error) {
	if op.name == Attributes {
		return decodeAs(body, vehicleV3.reading)
	}
	signals, err := decodeObject[map[string]lenient.Object[signalValueV3]](body)
	if err != nil {
		return nil, err
	}
	value := func(code string) *float64 { return (*signals)[code].Value.Value.Value }
	switch op.name {
	case Odometer:
		return &OdometerReading{Distance: value("odometer-traveleddistance")}, nil
	case Battery:
		return &BatteryReading{Percent: value("tractionbattery-stateofcharge"), Range: value("tractionbattery-range")}, nil
	}
	return nil, &NotSupportedError{Operation: op.name, API: "v3"}
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

func (wireV3) command(op *operation, _ any) (wireRequest, error) {
	return wireRequest{method: http.MethodPost, path: op.v3}, nil
}

// commandResult reads the body, which decides: a 202 may carry an error, as
// errors[], as error, or as a bare object.
func (wireV3) commandResult(op *operation, a *answer) (*CommandResult, error) {
	body, err := decodeObject[struct {
		Data lenient.Object[struct {
			Attributes lenient.Object[struct {
				Status lenient.Object[signalStatusV3] `json:"status"`
			}] `json:"attributes"`
		}] `json:"data"`
	}](a.body)
	if err != nil {
		return nil, err
	}
	status := body.Data.Value.Attributes.Value.Status.Value
	if status.Value == "SUCCESS" {
		return &CommandResult{Status: string(status.Value), Meta: metaFrom(a.header, a.at)}, nil
	}
	if status.Value != "" {
		return nil, statusErrorV3(op.name, string(status.Value), status.Error, a)
	}
	return nil, decodeError(op.name, a.status, a.header, a.body, a.at)
}
