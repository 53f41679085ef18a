package smartcar

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/seed-498a1bc4/smartcar/internal/lenient"
	"github.com/seed-498a1bc4/smartcar/internal/policy"
	"github.com/seed-498a1bc4/smartcar/signals"
)

// An EventType says what a [WebhookEvent] tells of. It is open: expect others.
type EventType string

// The types of events. The first two come from webhooks of version 4.0, which
// the dashboard makes today; the rest are those of version 2.0.
//
// https://smartcar.com/docs/api-reference/webhooks/event-types
const (
	// EventVehicleState brings signals: see [WebhookEvent.Signals].
	EventVehicleState EventType = "VEHICLE_STATE"
	// EventVehicleError brings errors that began or ended: see [WebhookEvent.Errors].
	EventVehicleError EventType = "VEHICLE_ERROR"
	// EventVerify asks the receiver to prove that it knows the secret. A
	// [WebhookReceiver] answers it and hands it to nobody.
	EventVerify EventType = "VERIFY"

	// EventScheduled and EventDynamic bring readings, which are not decoded: see
	// [WebhookEvent.Vehicles].
	EventScheduled EventType = "SCHEDULED"
	EventDynamic   EventType = "DYNAMIC"
	// The events about charging bring nothing but OccurredAt.
	EventChargingStarted   EventType = "CHARGING_STARTED"
	EventChargingStopped   EventType = "CHARGING_STOPPED"
	EventChargingCompleted EventType = "CHARGING_COMPLETED"
)

// A WebhookEvent is one event. What an event does not tell is the zero value.
// It prints its type and ids, and nothing of what it brings. It is not to be
// changed, and safe for concurrent reading.
//
// Events arrive in any order, some of them more than once: of two events about
// one car the newer one is that with the later RecordedAt, and the higher
// Sequence where that is the same.
type WebhookEvent struct {
	Type    EventType
	Version string // of the payload: "4.0" or "2.0"
	// EventID is the same in each attempt to deliver the event. Webhooks of
	// version 2.0 send none with readings.
	EventID    string
	DeliveryID string // of this attempt

	UserID     string
	ExternalID string // your id of the owner, as given to Connect
	VehicleID  string // empty for readings of version 2.0: see Vehicles

	Make, Model string
	Year        int
	Powertrain  string // BEV, PHEV, HEV, ICE; empty if not known
	// Mode is live, simulated or test, in small letters. Events of the
	// dashboard's test button are test: they tell of no real car, and the
	// policy learns nothing from them.
	Mode string

	// FirstDelivery marks the first event after a car was subscribed, or after
	// the webhook was enabled again; Triggers are the signals whose changes
	// made any other.
	FirstDelivery bool
	Triggers      []signals.Code
	// Signals are all the data signals of the webhook. They are nil unless the
	// event brings some.
	Signals *Signals
	// Errors are those that began or ended, with a [EventVehicleError], or those
	// of the signals, if the event lists them.
	Errors []EventError
	// Vehicles are the cars whose readings an event of version 2.0 brings.
	Vehicles []WebhookVehicle

	// RecordedAt is when the car recorded the newest of what the event brings,
	// OccurredAt when an event of version 2.0 about charging happened.
	RecordedAt, OccurredAt time.Time
	DeliveredAt            time.Time // by Smartcar's clock
	ReceivedAt             time.Time // by the receiver's clock
	Sequence               int64     // 0 where Smartcar sends none

	WebhookID     string
	WebhookName   string
	ApplicationID string

	raw func() []byte // a function, so that no verb of fmt prints it
}

// Raw returns a copy of the body as it came, also of events of types that this
// package does not know.
func (e *WebhookEvent) Raw() []byte {
	if e == nil || e.raw == nil {
		return nil
	}
	return bytes.Clone(e.raw())
}

// Format names the event, and nothing of what it brings.
func (e *WebhookEvent) Format(f fmt.State, _ rune) {
	if e == nil {
		_, _ = io.WriteString(f, "smartcar.WebhookEvent(nil)")
		return
	}
	_, _ = fmt.Fprintf(f, "smartcar.WebhookEvent(%s %s vehicle %s)",
		printable(string(e.Type), 64), printable(e.EventID, 64), printable(e.VehicleID, 64))
}

// An EventError is an error that a car has, or no longer has. That an owner
// should re-authenticate for one signal does not mean that the connection has
// ended: reads say so, if it has. Smartcar may, rarely, report one error in two
// events within some minutes.
//
// https://smartcar.com/docs/api-reference/webhooks/events/vehicle-error
type EventError struct {
	// State is EventErrorBegan, EventErrorResolved, or empty for an error of
	// signals in an event of the type [EventVehicleState]. It is open.
	State string
	// Signals are those that cannot be read while the error lasts.
	Signals []signals.Code
	// Err is the error as a request would have met it. It matches the sentinels
	// of this package, such as [ErrVirtualKeyRequired] and [ErrAsleep].
	Err *Error
}

// The states of an [EventError].
const (
	EventErrorBegan    = "ERROR"
	EventErrorResolved = "RESOLVED"
)

// Resolved reports whether the error has ended.
func (e EventError) Resolved() bool { return strings.EqualFold(e.State, EventErrorResolved) }

// keyError is what the errors of an event say of the key; KeyNotAsked if they say nothing.
// An event may say both, since each signal has errors of its own. Then the key is missing.
func (e *WebhookEvent) keyError() policy.Key {
	said := policy.KeyNotAsked
	for _, p := range e.Errors {
		switch {
		case !p.Err.isKeyRequired():
		case !p.Resolved():
			return policy.KeyMissing
		default:
			said = policy.KeyInstalled
		}
	}
	if e.Signals != nil && slices.ContainsFunc(e.Signals.content().signals, storedSignal.needsKey) {
		return policy.KeyMissing
	}
	return said
}

func (s storedSignal) needsKey() bool { return s.err != nil && s.err.isKeyRequired() }

// asOf is when a list of signals was true: when Smartcar had the newest of them.
func asOf(set *signalSet, arrived time.Time) (at time.Time) {
	for _, s := range set.signals {
		at = later(at, s.meta.RetrievedAt)
	}
	if at.IsZero() {
		return arrived
	}
	return earlier(at, arrived)
}

// WebhookVehicle says of one car in an event of version 2.0 how old its
// readings are and which of them failed. The readings themselves stand in
// [WebhookEvent.Raw]; webhooks of version 4.0 bring them as [Signals].
type WebhookVehicle struct {
	VehicleID string
	RequestID string
	Timestamp time.Time
	// RecordedAt is when the car recorded the newest of its readings.
	RecordedAt time.Time
	// Errors are those of the readings that failed, as a request would have met
	// them. [Error.Operation] says which reading it was.
	Errors []*Error

	hasReadings bool // one that did not fail
}

// Format names the car and nothing of what it said.
func (v WebhookVehicle) Format(f fmt.State, _ rune) {
	_, _ = io.WriteString(f, "smartcar.WebhookVehicle("+printable(v.VehicleID, 64)+")")
}

// ParseWebhookEvent reads an event of any version. It verifies nothing: give it
// only what a [WebhookVerifier] has accepted, or what you have stored
// yourself. ReceivedAt is when it arrived. What is missing or cannot be read is
// the zero value; it fails only for what is no JSON object, with a
// [*WebhookError] of [WebhookUnreadable] that quotes nothing.
func ParseWebhookEvent(body []byte, receivedAt time.Time) (*WebhookEvent, error) {
	w, err := openWebhook(body)
	if err != nil {
		return nil, err
	}
	return w.event(body, receivedAt), nil
}

// webhookBody is an event that is still to be read, of either version.
type webhookBody struct {
	// Of version 4.0.
	eventID, eventType, data, meta lenient.Value
	vehicleID                      lenient.Value // as documented; real deliveries have none
	triggers                       lenient.Value // as seen in real deliveries
	// Of version 2.0.
	version, webhookID, eventName, mode, payload lenient.Value
}

// openWebhook reads of an event what says what it is.
func openWebhook(body []byte) (w webhookBody, err error) {
	object, _ := lenient.Parse(body)
	if !object.IsObject() {
		return w, refusedWebhook(WebhookUnreadable)
	}
	object.Read(
		lenient.Field{Name: "eventId", To: &w.eventID}, lenient.Field{Name: "eventType", To: &w.eventType},
		lenient.Field{Name: "vehicleId", To: &w.vehicleID}, lenient.Field{Name: "triggers", To: &w.triggers},
		lenient.Field{Name: "data", To: &w.data}, lenient.Field{Name: "meta", To: &w.meta},
		lenient.Field{Name: "version", To: &w.version}, lenient.Field{Name: "webhookId", To: &w.webhookID},
		lenient.Field{Name: "eventName", To: &w.eventName}, lenient.Field{Name: "mode", To: &w.mode}, lenient.Field{Name: "payload", To: &w.payload},
	)
	return w, nil
}

func (w *webhookBody) isV2() bool { return w.eventName.HasText() && !w.eventType.HasText() }

// kind is the type of the event.
func (w *webhookBody) kind() EventType {
	switch based := w.payload.Get("eventType"); {
	case !w.isV2():
		return EventType(word(w.eventType))
	case w.isScheduled():
		return EventScheduled
	case based.HasText(): // the type of an eventBased payload
		return EventType(word(based))
	}
	return EventType(word(w.eventName))
}

// isScheduled: webhooks of version 2.0 spell [EventScheduled] otherwise.
func (w *webhookBody) isScheduled() bool { return word(w.eventName) == "SCHEDULE" }

// id is what tells the event from others, and is the same in each delivery. Webhooks
// of version 2.0 send none with readings.
func (w *webhookBody) id() string {
	if w.isV2() {
		return w.payload.Get("eventId").Text()
	}
	return w.eventID.Text()
}

func (w *webhookBody) webhook() string {
	if w.isV2() {
		return w.webhookID.Text()
	}
	return firstOf(w.meta.Get("webhookId"), w.webhookID)
}

func (w *webhookBody) challenge() string {
	if w.isV2() {
		return w.payload.Get("challenge").Text()
	}
	return w.data.Get("challenge").Text()
}

// event reads the whole event.
func (w *webhookBody) event(body []byte, receivedAt time.Time) *WebhookEvent {
	e := &WebhookEvent{
		Type: w.kind(), EventID: w.id(), WebhookID: w.webhook(), ReceivedAt: receivedAt.UTC(),
	}
	if w.isV2() {
		w.readV2(e)
	} else {
		w.readV4(e)
	}
	raw := bytes.Clone(body) // the caller's buffer may be used again
	e.raw = func() []byte { return raw }
	return e
}

type webhookPayload struct {
	VehicleID lenient.String `json:"vehicleId"`
	EventType lenient.String `json:"eventType"`
	EventTime lenient.Time   `json:"eventTime"`
	Vehicles  lenient.List[struct {
		VehicleID lenient.String          `json:"vehicleId"`
		RequestID lenient.String          `json:"requestId"`
		Data      lenient.List[batchItem] `json:"data"`
		Timestamp lenient.Time            `json:"timestamp"`
	}] `json:"vehicles"`
}

func (w *webhookBody) readV4(e *WebhookEvent) {
	var user, car, signals, problems, triggers lenient.Value
	w.data.Read(
		lenient.Field{Name: "user", To: &user}, lenient.Field{Name: "vehicle", To: &car}, lenient.Field{Name: "signals", To: &signals},
		lenient.Field{Name: "errors", To: &problems}, lenient.Field{Name: "triggers", To: &triggers}, // as documented
	)
	var version, webhookName, applicationID, deliveryID, deliveredAt, mode, signalCount, sequence lenient.Value
	w.meta.Read(
		lenient.Field{Name: "version", To: &version}, lenient.Field{Name: "webhookName", To: &webhookName},
		lenient.Field{Name: "applicationId", To: &applicationID}, lenient.Field{Name: "deliveryId", To: &deliveryID},
		lenient.Field{Name: "deliveredAt", To: &deliveredAt}, lenient.Field{Name: "mode", To: &mode},
		lenient.Field{Name: "signalCount", To: &signalCount}, lenient.Field{Name: "sequence", To: &sequence},
	)
	e.Version, e.WebhookName = firstOf(version, w.version), webhookName.Text()
	e.ApplicationID, e.DeliveryID, e.DeliveredAt = applicationID.Text(), deliveryID.Text(), deliveredAt.Time()
	e.Sequence = readSequence(sequence.Text())
	e.UserID, e.ExternalID = user.Get("id").Text(), user.Get("externalId").Text()
	e.readCar(car, strings.ToLower(mode.Text()))
	e.VehicleID = firstOf(car.Get("id"), w.vehicleID)
	e.readTriggers(w.triggers)
	e.readTriggers(triggers)
	if !signals.IsNull() {
		e.Signals = decodeEventSignals(signals, signalCount.Int(), e.ReceivedAt)
		e.Signals.Meta.dateByNewest(e.Signals.content().signals)
		e.RecordedAt = e.Signals.RecordedAt
	}
	for problem := range problems.Elements() {
		if problem.IsObject() {
			e.Errors = append(e.Errors, readEventError(problem, e.ReceivedAt))
		}
	}
}

// readCar takes data.vehicle; mode is that of the delivery.
func (e *WebhookEvent) readCar(car lenient.Value, mode string) {
	var maker, model, year, powertrain, own lenient.Value
	car.Read(
		lenient.Field{Name: "make", To: &maker}, lenient.Field{Name: "model", To: &model}, lenient.Field{Name: "year", To: &year},
		lenient.Field{Name: "powertrainType", To: &powertrain}, lenient.Field{Name: "mode", To: &own},
	)
	e.Make, e.Model, e.Year, e.Powertrain = maker.Text(), model.Text(), year.Int(), powertrain.Text()
	e.Mode = eventMode(strings.ToLower(own.Text()), mode)
}

// eventMode is the mode of the car, unless the delivery is a test: then it is test,
// even if the car is a live one.
func eventMode(car, delivery string) string {
	if car == "" || car == string(ModeLive) && delivery == string(modeTest) {
		return delivery
	}
	return car
}

func firstOf(texts ...lenient.Value) string {
	for _, t := range texts {
		if t.HasText() {
			return t.Text()
		}
	}
	return ""
}

// readSequence takes whole numbers, however they are written.
func readSequence(s string) int64 {
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		return max(n, 0)
	}
	const exact = 1 << 53 // above it, a float is no longer the number that was sent
	if f, err := strconv.ParseFloat(s, 64); err == nil && f > 0 && f <= exact {
		return int64(f)
	}
	return 0
}

const firstDelivery = "FIRST_DELIVERY"

// readTriggers takes {type, signal: {code}} and {code}, or a bare text.
func (e *WebhookEvent) readTriggers(list lenient.Value) {
	for trigger := range list.Elements() {
		var kind, signal lenient.Value
		trigger.Read(lenient.Field{Name: "type", To: &kind}, lenient.Field{Name: "signal", To: &signal})
		code := readSignalRef(signal).signalCode()
		if code == "" {
			code = readSignalRef(trigger).signalCode()
		}
		switch {
		case word(kind) == firstDelivery || strings.EqualFold(string(code), firstDelivery):
			e.FirstDelivery = true
		case code != "" && !slices.Contains(e.Triggers, code):
			e.Triggers = append(e.Triggers, code)
		}
	}
}

// readEventError reads an entry of data.errors, which keeps the names of v2.0.
func readEventError(problem lenient.Value, at time.Time) EventError {
	e := EventError{
		State: word(problem.Get("state")),
		Err:   decodeError(opWebhookEvent, http.StatusOK, http.Header{}, problem, at),
	}
	for signal := range problem.Get("signals").Elements() {
		if code := readSignalRef(signal).signalCode(); code != "" {
			e.Signals = append(e.Signals, code)
		}
	}
	return e
}

func (w *webhookBody) readV2(e *WebhookEvent) {
	var p webhookPayload
	if w.payload.IsObject() {
		_ = json.Unmarshal(w.payload, &p) // lenient: cannot fail
	}
	e.Version, e.Mode, e.VehicleID = cmp.Or(w.version.Text(), "2.0"), strings.ToLower(w.mode.Text()), string(p.VehicleID)
	if p.EventType != "" && !w.isScheduled() {
		e.OccurredAt, e.RecordedAt = p.EventTime.Time, p.EventTime.Time
	}
	for _, v := range p.Vehicles {
		car := WebhookVehicle{VehicleID: string(v.VehicleID), RequestID: string(v.RequestID), Timestamp: v.Timestamp.Time}
		for _, item := range v.Data {
			car.readItem(item, e.ReceivedAt)
		}
		e.RecordedAt = later(e.RecordedAt, car.RecordedAt)
		e.Vehicles = append(e.Vehicles, car)
	}
}

// readItem takes what the policy learns from one reading: its error, or when the car
// recorded it. Paths that are not in the operations table are passed over.
func (v *WebhookVehicle) readItem(item batchItem, at time.Time) {
	i := indexOfPath(operations[:], string(item.Path))
	if i < 0 || !operations[i].isRead() || operations[i].name == opKeyStatus {
		return
	}
	header := item.header(v.RequestID)
	if failed := item.failure(operations[i].name, header, at); failed != nil {
		v.Errors = append(v.Errors, failed)
		return
	}
	v.hasReadings, v.RecordedAt = true, later(v.RecordedAt, metaFrom(header, at).RecordedAt)
}
