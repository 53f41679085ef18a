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

// signalV3 is an entry of the signals list; old answers put the fields of
// attributes beside it.
type signalV3 struct {
	ID         lenient.String                     `json:"id"`
	Attributes lenient.Object[signalAttributesV3] `json:"attributes"`
	Meta       lenient.Object[struct {
		RetrievedAt  lenient.Time `json:"retrievedAt"`
		OEMUpdatedAt lenient.Time `json:"oemUpdatedAt"`
	}] `json:"meta"`
	signalAttributesV3
}

type signalAttributesV3 struct {
	Code   lenient.String `json:"code"`
	Status lenient.Object[struct {
		Value lenient.String  `json:"value"`
		Error json.RawMessage `json:"error"`
	}] `json:"status"`
	Body json.RawMessage `json:"body"`
}

func (s signalV3) attributes() signalAttributesV3 {
	a := s.signalAttributesV3
	if s.Attributes.Present {
		a = s.Attributes.Value
	}
	if a.Code == "" {
		a.Code = s.ID
	}
	return a
}

type signalsAnswerV3 struct {
	Data     lenient.List[signalV3] `json:"data"`
	Included lenient.Object[struct {
		Vehicle json.RawMessage `json:"vehicle"`
	}] `json:"included"`
}

// split collects for each operation the signals it is made of. The body of a
// part is a JSON object from signal code to that signal's body.
func (w wireV3) split(ops []operation, a *answer) ([]part, error) {
	if len(ops) == 1 && ops[0].v3 != "" {
		return []part{{op: &ops[0], body: a.body, meta: metaFrom(a.header, a.at)}}, nil
	}
	list, err := decodeObject[signalsAnswerV3](a.body)
	if err != nil {
		return nil, err
	}
	if len(list.Data) == 0 { // a bare single signal, as answered before v3 was released
		if bare, err := decodeObject[signalV3](a.body); err == nil && bare.attributes().Code != "" {
			list.Data = append(list.Data, *bare)
		}
	}
	signals := make(map[string]signalV3, len(list.Data))
	for _, s := range list.Data {
		signals[string(s.attributes().Code)] = s
	}
	parts := make([]part, len(ops))
	for i := range ops {
		if vehicle := list.Included.Value.Vehicle; ops[i].name == Attributes && isObject(vehicle) {
			body := append(append([]byte(`{"data":`), vehicle...), '}')
			parts[i] = part{op: &ops[i], body: body, meta: metaFrom(a.header, a.at)}
			continue
		}
		parts[i] = w.part(&ops[i], signals, a)
	}
	return parts, nil
}

// part joins the signals of one operation. It is as old as its oldest signal;
// it fails only if none of them can be used: a stale body beside an ERROR
// status is not data.
func (wireV3) part(op *operation, signals map[string]signalV3, a *answer) part {
	p := part{op: op, meta: metaFrom(a.header, a.at)}
	bodies := make(map[string]json.RawMessage, len(op.signals))
	for _, code := range op.signals {
		s, ok := signals[code]
		if !ok {
			continue
		}
		attributes := s.attributes()
		if status := attributes.Status.Value; status.Value != "" && status.Value != "SUCCESS" {
			if p.err == nil {
				p.err = statusErrorV3(op, string(status.Value), status.Error, a)
			}
			continue
		}
		bodies[code] = attributes.Body
		p.meta.noteSignalTimes(s)
	}
	switch {
	case len(bodies) > 0:
		p.err = nil
		p.body, _ = json.Marshal(bodies) // valid JSON throughout: cannot fail
	case p.err == nil:
		p.err = &Error{
			Operation: op.name, StatusCode: http.StatusNotFound, Type: "RESOURCE_NOT_FOUND", Code: "SIGNAL_NOT_FOUND",
			RequestID: a.header.Get(headerRequestID), Description: "Smartcar has not stored this signal yet",
		}
	}
	return p
}

func (m *Meta) noteSignalTimes(s signalV3) {
	times := s.Meta.Value
	if at := times.OEMUpdatedAt.Time; !at.IsZero() && (m.RecordedAt.IsZero() || at.Before(m.RecordedAt)) {
		m.RecordedAt = at
	}
	if at := times.RetrievedAt.Time; !at.IsZero() && (m.FetchedAt.IsZero() || at.Before(m.FetchedAt)) {
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

// statusErrorV3 reads the error beside a status that is not SUCCESS.
func statusErrorV3(op *operation, status string, body json.RawMessage, a *answer) *Error {
	if !isObject(body) {
		body = []byte("{}")
	}
	e := decodeError(op.name, a.status, a.header, body, a.at)
	if e.Description == "" {
		e.Description = "the status is " + status
	}
	return e
}

// commandResult reads the body, which decides: a 202 may carry an error, as
// errors[], as error, or as a bare object.
func (wireV3) commandResult(op *operation, a *answer) (*CommandResult, error) {
	body, err := decodeObject[struct {
		Data lenient.Object[struct {
			Attributes lenient.Object[struct {
				Status lenient.Object[struct {
					Value lenient.String  `json:"value"`
					Error json.RawMessage `json:"error"`
				}] `json:"status"`
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
		return nil, statusErrorV3(op, string(status.Value), status.Error, a)
	}
	return nil, decodeError(op.name, a.status, a.header, a.body, a.at)
}
