package smartcar

import (
	"cmp"
	"encoding/json"
	"errors"
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

func (wireV3) decode(op *operation, body json.RawMessage, units UnitSystem) (reading, error) {
	if op.decodeV3 == nil {
		return nil, &NotSupportedError{Operation: op.name, API: string(V3)}
	}
	return op.decodeV3(body, units)
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
	switch status := readStatusV3(attributes.Status); {
	case enum(status.Value) == SignalStatusSuccess:
		return &CommandResult{
			Status: string(status.Value), ExecutionID: string(body.Data.Value.ID), ScheduleID: string(attributes.ScheduleID),
			Meta: metaFrom(a.header, a.at),
		}, nil
	case status.Value != "":
		return nil, statusErrorV3(op.name, string(status.Value), status.Error, a)
	}
	return nil, decodeError(op.name, a.status, a.header, a.body, a.at)
}

// signalV3 is an entry of a list of signals. In webhooks, and in answers from
// before API v3 was released, the fields of attributes stand beside it.
type signalV3 struct {
	ID         lenient.String                     `json:"id"`
	Attributes lenient.Object[signalAttributesV3] `json:"attributes"`
	Meta       lenient.Object[struct {
		OEMUpdatedAt lenient.Time `json:"oemUpdatedAt"`
		RetrievedAt  lenient.Time `json:"retrievedAt"`
		FetchedAt    lenient.Time `json:"fetchedAt"` // what some pages call retrievedAt
		IngestedAt   lenient.Time `json:"ingestedAt"`
	}] `json:"meta"`
	signalAttributesV3
}

type signalAttributesV3 struct {
	Code   lenient.String  `json:"code"`
	Name   lenient.String  `json:"name"`
	Group  lenient.String  `json:"group"`
	Status json.RawMessage `json:"status"`
	Body   json.RawMessage `json:"body"`
}

// signalStatusV3 is the status of a signal or a command: an object, or a text.
type signalStatusV3 struct {
	Value lenient.String  `json:"value"`
	Error json.RawMessage `json:"error"`
}

func readStatusV3(raw json.RawMessage) (s signalStatusV3) {
	if isObject(raw) {
		_ = json.Unmarshal(raw, &s)
		return s
	}
	_ = s.Value.UnmarshalJSON(raw)
	return s
}

func (w signalV3) attributes() signalAttributesV3 {
	a := w.signalAttributesV3
	if w.Attributes.Present {
		a = w.Attributes.Value
	}
	if a.Code == "" {
		a.Code = w.ID
	}
	return a
}

// isSignal tells a signal without an envelope from an error, which has a code, too.
func (w signalV3) isSignal() bool {
	a := w.attributes()
	return a.Code != "" && (w.Attributes.Present || isObject(a.Body) || isObject(a.Status))
}

// stored reads an entry. The header and the time are those of the answer a.
func (w signalV3) stored(a *answer) storedSignal {
	attributes, times := w.attributes(), w.Meta.Value
	status := readStatusV3(attributes.Status)
	s := storedSignal{
		meta: SignalMeta{
			Code: signals.Code(attributes.Code), Status: enum(status.Value),
			OEMUpdatedAt: times.OEMUpdatedAt.Time, RetrievedAt: times.RetrievedAt.Time, IngestedAt: times.IngestedAt.Time,
		},
		name: string(attributes.Name), group: string(attributes.Group), body: attributes.Body,
	}
	if s.meta.RetrievedAt.IsZero() {
		s.meta.RetrievedAt = times.FetchedAt.Time
	}
	if s.meta.Status == SignalStatusSuccess || s.meta.Status == "" && isNull(status.Error) {
		return s
	}
	s.err = statusErrorV3(signalOperation(s.meta.Code), s.meta.Status, status.Error, a)
	if s.err.Type == "" && s.err.Code == "" {
		s.err.Code = s.meta.Status
	}
	return s
}

type signalsAnswerV3 struct {
	Data   json.RawMessage `json:"data"`
	Errors json.RawMessage `json:"errors"`
	Meta   lenient.Object[struct {
		TotalCount lenient.Int `json:"totalCount"`
	}] `json:"meta"`
	Included lenient.Object[struct {
		Vehicle json.RawMessage `json:"vehicle"`
	}] `json:"included"`
}

var errNoSignals = errors.New("the body holds no signals")

// decodeSignals reads an answer of API v3: a list of signals, a single one, or
// one without an envelope, as answered before v3 was released.
func decodeSignals(a *answer) (*Signals, error) {
	envelope, err := decodeObject[signalsAnswerV3](a.body)
	if err != nil {
		return nil, err
	}
	data := envelope.Data
	if isNull(data) && !isNull(envelope.Errors) {
		return nil, errNoSignals
	}
	if data == nil {
		if bare, err := decodeObject[signalV3](a.body); err != nil || !bare.isSignal() {
			return nil, errNoSignals
		}
		data = a.body
	}
	if !isNull(data) && !isList(data) {
		if one, err := decodeObject[signalV3](data); err != nil || one.attributes().Code == "" {
			return nil, errNoSignals
		}
	}
	set := newSignalSet(data, int(envelope.Meta.Value.TotalCount), a)
	set.absent = "Smartcar has not stored this signal yet"
	if isObject(envelope.Included.Value.Vehicle) {
		set.vehicle = envelope.Included.Value.Vehicle
	}
	return &Signals{Meta: metaFrom(a.header, a.at), set: func() *signalSet { return set }}, nil
}

// decodeEventSignals reads data.signals of a webhook's event, which arrived at
// the given time; count is the event's meta.signalCount, or 0. It never fails:
// what cannot be read is not there, and makes the set incomplete.
func decodeEventSignals(read json.RawMessage, count int, at time.Time) *Signals {
	a := &answer{status: http.StatusOK, header: http.Header{}, at: at}
	set := newSignalSet(read, count, a)
	set.absent = "the event does not carry this signal: add it to the webhook's data in Smartcar's dashboard"
	return &Signals{Meta: Meta{ReceivedAt: at}, set: func() *signalSet { return set }}
}

// newSignalSet reads a list of entries, or one. Of two with the same code the
// last one counts. Total is what was announced, if anything was.
func newSignalSet(list json.RawMessage, total int, a *answer) *signalSet {
	set := &signalSet{requestID: a.header.Get(headerRequestID)}
	var entries lenient.List[json.RawMessage]
	if len(list) > 0 {
		_ = entries.UnmarshalJSON(list)
	}
	readable := 0
	byCode := make(map[signals.Code]storedSignal, len(entries))
	for _, raw := range entries {
		entry, err := decodeObject[signalV3](raw)
		if err != nil || entry.attributes().Code == "" {
			continue
		}
		readable++
		s := entry.stored(a)
		byCode[s.meta.Code] = s
	}
	set.incomplete = max(total, len(entries)) > readable
	for _, s := range byCode {
		set.signals = append(set.signals, s)
	}
	slices.SortFunc(set.signals, func(a, b storedSignal) int {
		return strings.Compare(string(a.meta.Code), string(b.meta.Code))
	})
	return set
}

// statusErrorV3 reads the error beside a status that is not SUCCESS.
func statusErrorV3(op Operation, status string, body json.RawMessage, a *answer) *Error {
	if !isObject(body) {
		body = []byte("{}")
	}
	e := decodeError(op, a.status, a.header, body, a.at)
	if e.Description == "" {
		e.Description = "the status is " + cmp.Or(status, "not given")
	}
	return e
}

func isNull(raw json.RawMessage) bool { return len(raw) == 0 || string(raw) == "null" }

// readSignal reads the body of a signal into a W and makes a T of it.
func readSignal[W, T any](set *signalSet, code signals.Code, build func(*W, SignalMeta) *T) (*T, error) {
	stored, err := set.usable(code)
	if err != nil {
		return nil, err
	}
	body, err := decodeObject[W](stored.body)
	if err != nil {
		return nil, &Error{
			Operation: signalOperation(code), StatusCode: http.StatusOK, RequestID: set.requestID,
			Description: "the body of the signal is not a JSON object",
		}
	}
	return build(body, stored.meta), nil
}
