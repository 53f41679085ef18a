package smartcar

import (
	"bytes"
	"cmp"
	"encoding/json"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed-498a1bc4/smartcar/internal/lenient"
	"github.com/seed-498a1bc4/smartcar/signals"
)

// Signals and events are read in place, in one pass. This file reads the same with
// encoding/json and the types of package lenient, step by step, for comparison.

type referenceSignal struct {
	ID         lenient.String                          `json:"id"`
	Attributes lenient.Object[referenceSignalContents] `json:"attributes"`
	Meta       lenient.Object[struct {
		OEMUpdatedAt lenient.Time `json:"oemUpdatedAt"`
		RetrievedAt  lenient.Time `json:"retrievedAt"`
		FetchedAt    lenient.Time `json:"fetchedAt"`
		IngestedAt   lenient.Time `json:"ingestedAt"`
	}] `json:"meta"`
	referenceSignalContents
}

type referenceSignalContents struct {
	Code   lenient.String  `json:"code"`
	Name   lenient.String  `json:"name"`
	Group  lenient.String  `json:"group"`
	Status json.RawMessage `json:"status"`
	Body   json.RawMessage `json:"body"`
}

func (w referenceSignal) contents() referenceSignalContents {
	a := w.referenceSignalContents
	if w.Attributes.Present {
		a = w.Attributes.Value
	}
	if a.Code == "" {
		a.Code = w.ID
	}
	a.Code = lenient.String(signalRefV3{string(a.Code), string(a.Name), string(a.Group)}.signalCode())
	return a
}

func (w referenceSignal) isSignal() bool {
	a := w.contents()
	return a.Code != "" && (w.Attributes.Present || isObject(a.Body) || isObject(a.Status))
}

func (w referenceSignal) isEntry() bool {
	a := w.contents()
	return w.Code != "" || w.Attributes.Value.Code != "" || a.Code != "" && len(a.Body)+len(a.Status) > 0
}

func (w referenceSignal) stored() storedSignal {
	contents, times := w.contents(), w.Meta.Value
	var status struct {
		Value lenient.String  `json:"value"`
		Error json.RawMessage `json:"error"`
	}
	if isObject(contents.Status) {
		_ = json.Unmarshal(contents.Status, &status)
	} else {
		_ = status.Value.UnmarshalJSON(contents.Status)
	}
	s := storedSignal{
		meta: SignalMeta{
			Code: signals.Code(contents.Code), Status: enum(status.Value),
			OEMUpdatedAt: times.OEMUpdatedAt.Time, RetrievedAt: times.RetrievedAt.Time, IngestedAt: times.IngestedAt.Time,
		},
		name: string(contents.Name), group: string(contents.Group), body: lenient.Value(contents.Body),
	}
	if s.meta.RetrievedAt.IsZero() {
		s.meta.RetrievedAt = times.FetchedAt.Time
	}
	if s.meta.Status == SignalStatusSuccess || s.meta.Status == "" && isNull(status.Error) {
		return s
	}
	s.status = lenient.Value(contents.Status)
	s.err = statusErrorV3(signalOperation(s.meta.Code), s.meta.Status, status.Error, &answer{status: http.StatusOK, header: http.Header{}, at: fuzzTime})
	if s.err.Type == "" && s.err.Code == "" {
		s.err.Code = s.meta.Status
	}
	return s
}

// referenceSet is what newSignalSet reads.
func referenceSet(list json.RawMessage, total int) *signalSet {
	var entries []json.RawMessage
	switch {
	case len(list) == 0 || string(list) == "null":
	case list[0] != '[':
		entries = []json.RawMessage{list}
	default:
		_ = json.Unmarshal(list, &entries)
	}
	set := new(signalSet)
	readable := 0
	byCode := make(map[signals.Code]storedSignal, len(entries))
	for _, raw := range entries {
		var entry referenceSignal
		if !isObject(raw) || json.Unmarshal(raw, &entry) != nil || !entry.isEntry() {
			continue
		}
		readable++
		s := entry.stored()
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

// referenceSignals is what readSignals reads; nil for an error.
func referenceSignals(body []byte) *signalSet {
	var envelope struct {
		Data   json.RawMessage `json:"data"`
		Errors json.RawMessage `json:"errors"`
		Meta   lenient.Object[struct {
			TotalCount lenient.Int `json:"totalCount"`
		}] `json:"meta"`
	}
	if body = bytes.TrimSpace(body); !isObject(body) || json.Unmarshal(body, &envelope) != nil {
		return nil
	}
	data := envelope.Data
	switch {
	case data == nil && !isNull(envelope.Errors), string(data) == "null":
		return nil
	case data == nil:
		var bare referenceSignal
		if json.Unmarshal(body, &bare) != nil || !bare.isSignal() {
			return nil
		}
		data = body
	}
	set := referenceSet(data, int(envelope.Meta.Value.TotalCount))
	var entries []json.RawMessage
	if len(set.signals) == 0 && (json.Unmarshal(data, &entries) != nil || len(entries) > 0) {
		return nil
	}
	return set
}

func requireSameSet(t *testing.T, want, got *signalSet) {
	t.Helper()
	if got.incomplete != want.incomplete || len(got.signals) != len(want.signals) {
		t.Fatalf("%d signals, incomplete %v; want %d, %v", len(got.signals), got.incomplete, len(want.signals), want.incomplete)
	}
	for i, s := range got.signals {
		if !reflect.DeepEqual(s, want.signals[i]) {
			t.Fatalf("%+v\nwant\n%+v", s, want.signals[i])
		}
		requireSameBody(t, s)
	}
}

// referenceBody is the union of the plain shapes of signals.
type referenceBody struct {
	Value       json.RawMessage              `json:"value"`
	Unit        lenient.String               `json:"unit"`
	IsOpen      lenient.Bool                 `json:"isOpen"`
	IsLocked    lenient.Bool                 `json:"isLocked"`
	Values      lenient.List[lenient.String] `json:"values"`
	Status      lenient.String               `json:"status"`
	Description lenient.String               `json:"description"`
	Latitude    lenient.Float                `json:"latitude"`
	Longitude   lenient.Float                `json:"longitude"`
	Heading     lenient.Float                `json:"heading"`
	Direction   lenient.String               `json:"direction"`
	Type        lenient.String               `json:"locationType"`
	Canonical   lenient.String               `json:"canonical"`
	OEMName     lenient.String               `json:"oemDisplayName"`
}

// requireSameBody reads one body as every plain shape there is.
func requireSameBody(t *testing.T, s storedSignal) {
	t.Helper()
	s.err = nil
	set := &signalSet{signals: []storedSignal{s}}
	var w referenceBody
	readable := s.body.IsObject() && json.Unmarshal(s.body, &w) == nil
	var number lenient.Float
	var flag lenient.Bool
	var text *string
	if len(w.Value) > 0 {
		_ = number.UnmarshalJSON(w.Value)
		_ = flag.UnmarshalJSON(w.Value)
	}
	if len(w.Value) > 0 && !bytes.ContainsAny(w.Value[:1], "{[n") {
		var written lenient.String
		_ = written.UnmarshalJSON(w.Value)
		if s.meta.Code == signals.VehicleIdentificationNickname || !isNoWord(string(written)) {
			text = new(string(written))
		}
	}
	list := []string{}
	for _, v := range w.Values {
		if v != "" {
			list = append(list, string(v))
		}
	}
	code, m := s.meta.Code, s.meta
	requireSameSignal(t, readable, &NumberSignal{m, number.Value, unit(w.Unit, documentedUnit(code))}, numberSignal, set, code)
	requireSameSignal(t, readable, &BoolSignal{m, cmp.Or(flag.Value, w.IsOpen.Value)}, boolSignal, set, code)
	requireSameSignal(t, readable, &TextSignal{m, text}, textSignal, set, code)
	requireSameSignal(t, readable, &ListSignal{m, list}, listSignal, set, code)
	requireSameSignal(t, readable, &DiagnosticSignal{m, enum(w.Status), string(w.Description)}, diagnosticSignal, set, code)
	requireSameSignal(t, readable, &ClosureSignal{m, cmp.Or(w.IsOpen.Value, flag.Value), w.IsLocked.Value}, closureSignal, set, code)
	requireSameSignal(t, readable, &LocationSignal{m, w.Latitude.Value, w.Longitude.Value, w.Heading.Value, enum(w.Direction), enum(w.Type)}, locationSignal, set, code)
	requireSameSignal(t, readable, &DriveModeSignal{m, enum(w.Canonical), string(w.OEMName)}, driveModeSignal, set, code)
}

func requireSameSignal[T any](t *testing.T, readable bool, want *T, read func(*signalSet, signals.Code) (*T, error), set *signalSet, code signals.Code) {
	t.Helper()
	switch got, err := read(set, code); {
	case (err == nil) != readable:
		t.Fatalf("%s: %T: %v", set.signals[0].body, want, err)
	case readable && !reflect.DeepEqual(want, got):
		t.Fatalf("%s: %+v, want %+v", set.signals[0].body, got, want)
	}
}

// What is read in place is what encoding/json decodes, whatever the answer is: a list of
// signals, and the signals of an event.
func FuzzSignalsAsEncodingJSON(f *testing.F) {
	addBodies(f, "v3/signals/*.json", "v3/signal*.json")
	for _, body := range []string{
		`{"data":[{"id":"a","Code":"b","attributes":{"code":null,"STATUS":"error","body":{"value":"1"}}},{"code":"a.b","body":null}]}`,
		`{"data":[{"code":"x","status":{"value":"SUCCESS","value":2}},{"code":"x","status":{"error":{}}}],"meta":{"totalCount":"9"}}`,
		`{"id":"x","attributes":[],"status":{},"meta":{"fetchedAt":1,"oemUpdatedAt":"2026-11-23T09:15:04+01:00"}}`,
		`{"data":[{"code":"Odometer_TraveledDistance","body":{"value":1}},{"code":"charge-Voltage","body":{}}]}`,
		`{"data":{"name":"Charge","group":"Voltage","body":{"unit":"kph","VALUE":"\u0031","value\u0000":2}}}`,
	} {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		want := referenceSignals(body)
		got, err := readSignals(&answer{status: http.StatusOK, header: http.Header{}, body: body, at: fuzzTime})
		if (err == nil) != (want != nil) {
			t.Fatalf("error %v, want signals %v", err, want != nil)
		}
		if err == nil {
			requireSameSet(t, want, got)
		}
		if list, ok := lenient.Parse(body); ok {
			requireSameSet(t, referenceSet(json.RawMessage(list), 1), decodeEventSignals(list, 1, fuzzTime).content())
		}
	})
}

// referenceEvent is what an event of version 4.0 says beside its signals.
func referenceEvent(body []byte) (*WebhookEvent, bool) {
	var w struct {
		EventID   lenient.String `json:"eventId"`
		EventType lenient.String `json:"eventType"`
		EventName lenient.String `json:"eventName"`
		VehicleID lenient.String `json:"vehicleId"`
		Version   lenient.String `json:"version"`
		WebhookID lenient.String `json:"webhookId"`
		Data      lenient.Object[struct {
			User lenient.Object[struct {
				ID         lenient.String `json:"id"`
				ExternalID lenient.String `json:"externalId"`
			}] `json:"user"`
			Vehicle lenient.Object[struct {
				ID lenient.String `json:"id"`
				vehicleAttributesV3
			}] `json:"vehicle"`
		}] `json:"data"`
		Meta lenient.Object[struct {
			Version       lenient.String `json:"version"`
			WebhookID     lenient.String `json:"webhookId"`
			WebhookName   lenient.String `json:"webhookName"`
			ApplicationID lenient.String `json:"applicationId"`
			DeliveryID    lenient.String `json:"deliveryId"`
			DeliveredAt   lenient.Time   `json:"deliveredAt"`
			Mode          lenient.String `json:"mode"`
			Sequence      lenient.String `json:"sequence"`
		}] `json:"meta"`
	}
	if json.Unmarshal(body, &w) != nil || w.EventName != "" && w.EventType == "" {
		return nil, false
	}
	data, meta := w.Data.Value, w.Meta.Value
	car := data.Vehicle.Value
	return &WebhookEvent{
		Type: EventType(enum(w.EventType)), EventID: string(w.EventID), Version: string(cmp.Or(meta.Version, w.Version)),
		UserID: string(data.User.Value.ID), ExternalID: string(data.User.Value.ExternalID), VehicleID: string(cmp.Or(car.ID, w.VehicleID)),
		Make: string(car.Make), Model: string(car.Model), Year: int(car.Year), Powertrain: string(car.Powertrain),
		Mode:      eventMode(strings.ToLower(string(car.Mode)), strings.ToLower(string(meta.Mode))),
		WebhookID: string(cmp.Or(meta.WebhookID, w.WebhookID)), WebhookName: string(meta.WebhookName),
		ApplicationID: string(meta.ApplicationID), DeliveryID: string(meta.DeliveryID), DeliveredAt: meta.DeliveredAt.Time,
		Sequence: readSequence(string(meta.Sequence)), ReceivedAt: fuzzTime,
	}, true
}

// The same of what an event says.
func FuzzEventAsEncodingJSON(f *testing.F) {
	for _, fixture := range fixtureFiles(f, "webhooks/*.json") {
		f.Add([]byte(fixture.Request.Body))
	}
	f.Add([]byte(`{"EventType":1,"data":{"user":[],"vehicle":{"year":"2022","Mode":"TEST"}},"meta":{"mode":"live","sequence":1e3,"deliveredAt":"1795425304"},"version":4}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		e, err := ParseWebhookEvent(body, fuzzTime)
		if err != nil {
			return
		}
		want, ok := referenceEvent(body)
		if !ok {
			return
		}
		got := *e
		got.raw, got.Signals, got.Errors, got.Triggers, got.FirstDelivery, got.RecordedAt = nil, nil, nil, nil, false, time.Time{}
		if !reflect.DeepEqual(&got, want) {
			t.Fatalf("%s\nis\n%#v\nwant\n%#v", body, got.Type, want.Type)
		}
	})
}

type referenceError struct {
	Type        lenient.String  `json:"type"`
	Code        lenient.String  `json:"code"`
	Description lenient.String  `json:"description"`
	Title       lenient.String  `json:"title"`
	Message     lenient.String  `json:"message"`
	DocURL      lenient.String  `json:"docURL"`
	StatusCode  lenient.Int     `json:"statusCode"`
	Status      lenient.Int     `json:"status"`
	RequestID   lenient.String  `json:"requestId"`
	Resolution  json.RawMessage `json:"resolution"`
	UserMessage lenient.String  `json:"suggestedUserMessage"`
	Detail      json.RawMessage `json:"detail"` // v2.0: a list of fields; v3: a text
	Links       lenient.Object[struct {
		About lenient.String `json:"about"`
	}] `json:"links"`

	Error            json.RawMessage               `json:"error"` // OAuth and v1: a text; v3: an object
	ErrorDescription lenient.String                `json:"error_description"`
	Errors           lenient.List[json.RawMessage] `json:"errors"`
}

func (b referenceError) innermost() referenceError {
	inner := b.Error
	if i := slices.IndexFunc(b.Errors, isObject); i >= 0 {
		inner = b.Errors[i]
	}
	var nested referenceError
	if isObject(inner) && json.Unmarshal(inner, &nested) == nil {
		return nested
	}
	return b
}

func (b referenceError) toError() *Error {
	e := &Error{
		StatusCode:           int(b.StatusCode),
		Type:                 string(b.Type),
		Code:                 string(b.Code),
		DocURL:               string(b.DocURL),
		RequestID:            string(b.RequestID),
		SuggestedUserMessage: string(b.UserMessage),
	}
	if e.StatusCode == 0 {
		e.StatusCode = int(b.Status)
	}
	if e.DocURL == "" {
		e.DocURL = string(b.Links.Value.About)
	}
	e.Resolution = referenceResolution(b.Resolution)
	e.Detail = referenceDetail(b.Detail)

	var text lenient.String
	_ = text.UnmarshalJSON(b.Detail)
	said, late := b.Description, lenient.String("")
	if strings.Contains(strings.ToLower(string(said)), "deprecated") { // most likely itself
		said, late = "", said
	}
	for _, alternative := range []lenient.String{text, said, b.ErrorDescription, b.Message, b.Title, late} {
		if e.Description == "" {
			e.Description = string(alternative)
		}
	}
	_ = text.UnmarshalJSON(b.Error)
	if e.Type == "" && text != "" {
		e.Code = string(text) // OAuth and v1 name the problem here
	}
	return e
}

func referenceResolution(raw json.RawMessage) Resolution {
	var o struct {
		Type lenient.String `json:"type"`
		URL  lenient.String `json:"url"`
	}
	if isObject(raw) {
		_ = json.Unmarshal(raw, &o)
		return Resolution{Type: string(o.Type), URL: string(o.URL)}
	}
	_ = o.Type.UnmarshalJSON(raw)
	return Resolution{Type: string(o.Type)}
}

func referenceDetail(raw json.RawMessage) []FieldProblem {
	var list lenient.List[struct {
		Field   lenient.List[lenient.String] `json:"field"`
		Message lenient.String               `json:"message"`
	}]
	if len(raw) == 0 || raw[0] != '[' || json.Unmarshal(raw, &list) != nil {
		return nil
	}
	problems := make([]FieldProblem, 0, len(list))
	for _, d := range list {
		p := FieldProblem{Message: string(d.Message)}
		for _, f := range d.Field {
			p.Field = append(p.Field, string(f))
		}
		problems = append(problems, p)
	}
	return problems
}

// The same of errors, of every shape.
func FuzzErrorAsEncodingJSON(f *testing.F) {
	addBodies(f, "v2/errors/*.json", "v3/error.*.json")
	for _, body := range []string{
		`{"errors":{"code":1,"detail":"x","links":{"ABOUT":"u"}},"error":{"type":"t"}}`, `{"error":"x","error_description":"y","type":null,"status":"404"}`,
		`{"description":"It is deprecated.","title":"t","detail":[{"field":"a","message":1},null,1,{"field":["b",null]}],"resolution":"R"}`,
		`{"description":"DEPRECATED","detail":"d","errors":[1,[],{"statusCode":"x","resolution":{"type":1,"URL":"u"}}]}`,
	} {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		got := decodeError(Battery, 404, http.Header{}, body, fuzzTime)
		var w referenceError
		if json.Unmarshal(body, &w) != nil {
			if got.Type != "" || !strings.HasPrefix(got.Description, "the body is not JSON") {
				t.Fatalf("%+v of what is none", got)
			}
			return
		}
		want := w.innermost().toError()
		want.Operation, want.StatusCode = Battery, 404
		if !reflect.DeepEqual(want, got) {
			t.Fatalf("%+v\nwant\n%+v", got, want)
		}
	})
}
