package smartcar

import (
	"encoding/json"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strings"
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
func (w wireV3) read(ops []operation) (wireRequest, Kind, error) {
	kind := w.kind(&ops[0])
	for i := range ops {
		if !w.supports(&ops[i]) {
			return wireRequest{}, kind, &NotSupportedError{Operation: ops[i].name, API: w.version()}
		}
		kind = max(kind, w.kind(&ops[i])) // data, if any of it is
	}
	path := signalsPath
	if len(ops) == 1 && len(ops[0].signals) == 0 {
		path = ops[0].v3
	}
	return wireRequest{method: http.MethodGet, path: strings.TrimSuffix(path, "/")}, kind, nil
}

// split collects for each operation the signals it is made of.
func (w wireV3) split(ops []operation, a *answer) ([]part, error) {
	if len(ops) == 1 && ops[0].name == Attributes {
		return []part{{op: &ops[0], body: a.body, meta: metaFrom(a.header, a.at)}}, nil
	}
	var err error
	if a.list, err = readSignals(a); err != nil {
		return nil, err
	}
	a.observed = observe(a.list)
	parts, _ := w.within(ops, a)
	return parts, nil
}

// within makes whatever is wanted out of the one list.
func (w wireV3) within(ops []operation, a *answer) ([]part, bool) {
	if a.list == nil {
		return nil, false
	}
	meta := metaFrom(a.header, a.at)
	parts := make([]part, len(ops))
	for i := range ops {
		switch {
		case ops[i].name == AllSignals:
			parts[i] = part{op: &ops[i], body: a.body, list: a.list, meta: meta}
			parts[i].meta.dateByNewest(a.list.signals)
		case ops[i].name == Attributes && a.vehicle != nil:
			body := append(append([]byte(`{"data":`), a.vehicle...), '}')
			parts[i] = part{op: &ops[i], body: body, meta: meta}
		default:
			parts[i] = w.part(&ops[i], a.list, meta)
		}
	}
	return parts, true
}

// brought makes all reads out of the one list.
func (w wireV3) brought(a *answer) []part {
	if a.list == nil || len(a.list.signals) == 0 {
		return nil
	}
	const many = 24 // more than there are reads
	meta := metaFrom(a.header, a.at)
	parts := make([]part, 0, many)
	for i := range operations {
		switch op := &operations[i]; {
		case op.name == AllSignals:
			p := part{op: op, body: a.body, list: a.list, meta: meta}
			p.meta.dateByNewest(a.list.signals)
			parts = append(parts, p)
		default:
			if p := (part{op: op, list: a.list, meta: meta}); p.dateBySignals() {
				parts = append(parts, p)
			}
		}
	}
	return parts
}

// holds: of a car's data, the list has all.
func (w wireV3) holds(ops, asked []operation) bool {
	return slices.ContainsFunc(asked, func(op operation) bool { return w.kind(&op) == KindData })
}

// keptIn: each signal names its unit.
func (wireV3) keptIn(UnitSystem) UnitSystem { return "" }

// entryV3 is how the body of a part holds a signal: as readEntry reads it.
type entryV3 struct {
	Code   signals.Code    `json:"code"`
	Name   string          `json:"name,omitempty"`
	Group  string          `json:"group,omitempty"`
	Status json.RawMessage `json:"status,omitempty"`
	Body   json.RawMessage `json:"body"`
	Meta   struct {
		OEMUpdatedAt time.Time `json:"oemUpdatedAt,omitzero"`
		RetrievedAt  time.Time `json:"retrievedAt,omitzero"`
		IngestedAt   time.Time `json:"ingestedAt,omitzero"`
	} `json:"meta"`
}

// part joins the signals of one operation. It is as old as its oldest signal;
// it fails only if none of them can be used: a stale body beside an ERROR
// status is not data.
func (wireV3) part(op *operation, set *signalSet, meta Meta) part {
	p := part{op: op, list: set, meta: meta}
	if p.dateBySignals() {
		return p
	}
	p.list = nil
	for _, code := range op.signals {
		if s, ok := set.find(code); ok {
			p.err = new(*s.err)
			p.err.Operation = op.name
			return p
		}
	}
	p.err = set.notFound("")
	p.err.Operation = op.name
	return p
}

// dateBySignals dates a part by those of its signals that can be used, and reports
// whether there are any.
func (p *part) dateBySignals() (usable bool) {
	for _, code := range p.op.signals {
		if s, ok := p.list.find(code); ok && s.err == nil {
			usable = true
			p.meta.dateBy(s.meta)
		}
	}
	return usable
}

// json is the body of a part, for storing it.
func (p *part) json() json.RawMessage {
	if p.list == nil || p.body != nil {
		return p.body
	}
	var list struct {
		Data []entryV3 `json:"data"`
	}
	for _, s := range p.list.signals {
		if p.op.name == AllSignals || s.err == nil && slices.Contains(p.op.signals, s.meta.Code) {
			list.Data = append(list.Data, s.entry(p.op.name == AllSignals))
		}
	}
	body, _ := json.Marshal(list) // valid JSON throughout: cannot fail
	return body
}

// entry is a signal as readEntry reads it, whole or only what it says.
func (s *storedSignal) entry(whole bool) entryV3 {
	e := entryV3{Code: s.meta.Code, Body: json.RawMessage(s.body)}
	e.Meta.OEMUpdatedAt, e.Meta.RetrievedAt, e.Meta.IngestedAt = s.meta.OEMUpdatedAt, s.meta.RetrievedAt, s.meta.IngestedAt
	if !whole {
		return e
	}
	e.Name, e.Group, e.Status = s.name, s.group, json.RawMessage(s.status)
	if s.err == nil && s.meta.Status != "" {
		e.Status = json.RawMessage(`{"value":"` + SignalStatusSuccess + `"}`)
	}
	return e
}

// dateBy makes the times those of the oldest signal so far.
func (m *Meta) dateBy(s SignalMeta) {
	if at := s.OEMUpdatedAt; !at.IsZero() && (m.RecordedAt.IsZero() || at.Before(m.RecordedAt)) {
		m.RecordedAt = at
	}
	if at := s.RetrievedAt; !at.IsZero() && (m.FetchedAt.IsZero() || at.Before(m.FetchedAt)) {
		m.FetchedAt = at
	}
}

// dateByNewest dates a whole list by its newest signal. The oldest would say
// nothing: some signals, such as the VIN, are recorded once in a car's life.
func (m *Meta) dateByNewest(stored []storedSignal) {
	for _, s := range stored {
		if s.err == nil {
			m.RecordedAt = later(m.RecordedAt, s.meta.OEMUpdatedAt)
			m.FetchedAt = later(m.FetchedAt, s.meta.RetrievedAt)
		}
	}
}

func (wireV3) decode(op *operation, body json.RawMessage, units UnitSystem) (reading, error) {
	if op.decodeV3 == nil {
		return nil, &NotSupportedError{Operation: op.name, API: string(V3)}
	}
	return op.decodeV3(body, nil, units)
}

// command wraps the arguments as API v3 wants them. Most commands have none.
func (wireV3) command(op *operation, args any) (wireRequest, error) {
	request := wireRequest{method: op.method, path: op.v3}
	attributes := args
	switch a := args.(type) {
	case nil:
		return request, nil
	case float64: // SetChargeLimit
		if a != math.Trunc(a) {
			return request, argumentError("SetChargeLimit percent", "must be whole on API v3, such as 80")
		}
		attributes = map[string]int{"percent": int(a)}
	case ChargeSchedule:
		var kind string
		kind, attributes = a.wire()
		request.path += "/" + kind
	case scheduleID:
		request.path += "/" + url.PathEscape(string(a))
		return request, nil
	}
	var err error
	request.body, err = json.Marshal(map[string]any{"data": map[string]any{"attributes": attributes}})
	return request, err
}

// scheduleID is the argument of DeleteChargeSchedule.
type scheduleID string

type spanV3 struct {
	Start string `json:"startTime,omitempty"`
	Stop  string `json:"stopTime,omitempty"`
}

// wire returns the kind of a valid schedule, which is a part of the path, and
// its attributes.
func (s ChargeSchedule) wire() (kind string, attributes map[string]any) {
	span := func(t *ChargeTimes) spanV3 { return spanV3{Start: t.Start, Stop: t.Stop} }
	attributes = map[string]any{"location": destination{Latitude: s.Latitude, Longitude: s.Longitude}}
	switch {
	case s.Daily != nil:
		attributes["startTime"], attributes["stopTime"] = s.Daily.Start, s.Daily.Stop
		for _, name := range []string{"startTime", "stopTime"} {
			if attributes[name] == "" {
				delete(attributes, name)
			}
		}
		return "daily", attributes
	case len(s.Weekly) > 0:
		days := make(map[string]spanV3, len(s.Weekly))
		for day, times := range s.Weekly {
			days[strings.ToLower(day.String())] = span(&times)
		}
		attributes["days"] = days
		return "weekly", attributes
	}
	for name, times := range map[string]*ChargeTimes{"weekdays": s.Weekdays, "weekends": s.Weekends} {
		if times != nil {
			attributes[name] = span(times)
		}
	}
	return "workweek", attributes
}

// validate reports what no car could follow.
func (s ChargeSchedule) validate() error {
	if err := checkPlace("ChargeSchedule", s.Latitude, s.Longitude); err != nil {
		return err
	}
	kinds := 0
	var all []ChargeTimes
	if s.Daily != nil {
		kinds, all = kinds+1, append(all, *s.Daily)
	}
	if len(s.Weekly) > 0 {
		kinds++
		for day, times := range s.Weekly {
			if day < time.Sunday || day > time.Saturday {
				return argumentError("ChargeSchedule.Weekly", "has a day that is none")
			}
			all = append(all, times)
		}
	}
	if s.Weekdays != nil || s.Weekends != nil {
		kinds++
		for _, times := range []*ChargeTimes{s.Weekdays, s.Weekends} {
			if times != nil {
				all = append(all, *times)
			}
		}
	}
	if kinds != 1 {
		return argumentError("ChargeSchedule", "needs exactly one of Daily, Weekly, and Weekdays with Weekends")
	}
	for _, times := range all {
		if times.Start == "" && times.Stop == "" || !isClock(times.Start) || !isClock(times.Stop) {
			return argumentError("ChargeTimes", `needs a Start or a Stop, as "HH:MM"`)
		}
	}
	return nil
}

func isClock(s string) bool {
	_, err := time.Parse("15:04", s)
	return s == "" || err == nil && len(s) == len("15:04")
}

// commandResult reads the body, which decides: a 202 may carry an error, as
// errors[], as error, or as a bare object.
func (wireV3) commandResult(op *operation, a *answer) (*CommandResult, error) {
	body, err := decodeObject[struct {
		Data lenient.Object[struct {
			ID         lenient.String `json:"id"`
			Attributes lenient.Object[struct {
				Status     json.RawMessage `json:"status"`
				ScheduleID lenient.String  `json:"scheduleId"`
			}] `json:"attributes"`
		}] `json:"data"`
	}](a.body)
	if err != nil {
		return nil, err
	}
	attributes := body.Data.Value.Attributes.Value
	switch status, failure := readStatus(lenient.Value(attributes.Status)); {
	case strings.ToUpper(status) == SignalStatusSuccess:
		return &CommandResult{
			Status: status, ExecutionID: string(body.Data.Value.ID), ScheduleID: string(attributes.ScheduleID),
			Meta: metaFrom(a.header, a.at),
		}, nil
	case status != "":
		return nil, statusErrorV3(op.name, status, json.RawMessage(failure), a)
	}
	return nil, errForeign
}
