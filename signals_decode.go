package smartcar

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/seed-498a1bc4/smartcar/internal/lenient"
	"github.com/seed-498a1bc4/smartcar/signals"
)

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
	a.Code = lenient.String(signalRefV3{string(a.Code), string(a.Name), string(a.Group)}.signalCode())
	return a
}

// isSignal reports whether an entry without an envelope is a signal and not an error:
// both have a code.
func (w signalV3) isSignal() bool {
	a := w.attributes()
	return a.Code != "" && (w.Attributes.Present || isObject(a.Body) || isObject(a.Status))
}

// isEntry reports whether an entry is a signal and not that of another list of API v3:
// all have an id.
func (w signalV3) isEntry() bool {
	a := w.attributes()
	return w.Code != "" || w.Attributes.Value.Code != "" || a.Code != "" && len(a.Body)+len(a.Status) > 0
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

// absentFromList describes a signal that a whole list lacks.
const absentFromList = "Smartcar has not stored this signal yet"

var errNoSignals = errors.New("the body holds no signals")

// decodeSignals reads an answer of API v3: a list of signals, a single one, or
// one without an envelope, as answered before v3 was released.
func decodeSignals(a *answer) (*Signals, error) {
	envelope, err := decodeObject[signalsAnswerV3](a.body)
	if err != nil {
		return nil, err
	}
	data := envelope.Data
	switch {
	case data == nil && !isNull(envelope.Errors), string(data) == "null":
		return nil, errNoSignals
	case data == nil:
		if bare, err := decodeObject[signalV3](a.body); err != nil || !bare.isSignal() {
			return nil, errNoSignals
		}
		data = a.body
	}
	set := newSignalSet(data, int(envelope.Meta.Value.TotalCount), a)
	if len(set.signals) == 0 && !isEmptyList(data) {
		return nil, errNoSignals // a list of something else, or nothing at all
	}
	set.absent = absentFromList
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
		if err != nil || !entry.isEntry() {
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

func isEmptyList(raw json.RawMessage) bool {
	return isList(raw) && len(bytes.TrimSpace(raw)) >= 2 && len(bytes.Trim(raw, "[] \t\r\n")) == 0
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

// What a tire can hold, in kPa: 10 kPa is flat, and no truck's has 20 bar.
const (
	leastPressure = 10
	mostPressure  = 2000
	// noPressure is what some cars send in place of a pressure that is not known.
	noPressure = 699.9
)

// notSentinel is nil for noPressure, and otherwise the pressure.
func notSentinel(pressure *float64) *float64 {
	if pressure == nil || *pressure == noPressure || *pressure < 0 {
		return nil
	}
	return pressure
}

// inKilopascals is a pressure in kPa; u is kPa where none is named.
func inKilopascals(pressure float64, u Unit) float64 {
	return *inUnits(Metric, &pressure, u)
}

// canBe reports whether a tire can have the pressure. Zero, which is the same in
// every unit, it can.
func canBe(pressure float64, u Unit) bool {
	kPa := inKilopascals(pressure, u)
	return pressure == 0 || leastPressure <= kPa && kPa <= mostPressure
}

// believe corrects the unit of pressures that a tire cannot have. Some makes label kPa
// as bar, and the reverse; a tire's pressure is below 20 in bar and above 10 in kPa.
// So a number up to 10 is bar, and one from 20 on is kPa; from 10 to 20 the label
// counts. A pressure that a tire cannot have in either unit is dropped.
func (s *TiresSignal) believe() {
	other, known := map[Unit]Unit{UnitBars: UnitKilopascals, UnitKilopascals: UnitBars, "": UnitBars}[s.Unit]
	as, unlike := 0, 0
	for i := range s.Tires {
		p := notSentinel(s.Tires[i].Pressure)
		s.Tires[i].Pressure = p
		switch {
		case p == nil || *p == 0:
		case canBe(*p, s.Unit):
			as++
		case known && canBe(*p, other):
			unlike++
		}
	}
	if unlike > as {
		s.Unit, other = other, cmp.Or(s.Unit, UnitKilopascals)
	}
	for i := range s.Tires {
		p := s.Tires[i].Pressure
		switch {
		case p == nil || canBe(*p, s.Unit):
		case known && canBe(*p, other): // one tire's label alone is wrong
			s.Tires[i].Pressure = new(fromKilopascals(inKilopascals(*p, other), s.Unit))
		case known || s.Unit == UnitPSI:
			s.Tires[i].Pressure = nil
		}
	}
}

// fromKilopascals is a pressure in u, which is kPa or bar.
func fromKilopascals(kPa float64, u Unit) float64 {
	if u == UnitBars {
		return kPa / 100
	}
	return kPa
}
