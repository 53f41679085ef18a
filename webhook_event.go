package smartcar

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/seed-498a1bc4/smartcar/internal/lenient"
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

	challenge string
	raw       func() []byte // a function, so that no verb of fmt prints it
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
	w, err := decodeObject[webhookBody](body)
	if err != nil {
		return nil, refusedWebhook(WebhookUnreadable)
	}
	e := &WebhookEvent{ReceivedAt: receivedAt.UTC()}
	if w.EventName != "" && w.EventType == "" {
		w.readV2(e)
	} else {
		w.readV4(e)
	}
	raw := append([]byte(nil), body...) // the caller's buffer may be used again
	e.raw = func() []byte { return raw }
	return e, nil
}

// webhookBody is the union of both versions.
type webhookBody struct {
	// Of version 4.0.
	EventID   lenient.String              `json:"eventId"`
	EventType lenient.String              `json:"eventType"`
	VehicleID lenient.String              `json:"vehicleId"` // as documented; real deliveries have none
	Triggers  json.RawMessage             `json:"triggers"`  // as seen in real deliveries
	Data      lenient.Object[webhookData] `json:"data"`
	Meta      lenient.Object[webhookMeta] `json:"meta"`
	// Of version 2.0.
	Version   lenient.String                 `json:"version"`
	WebhookID lenient.String                 `json:"webhookId"`
	EventName lenient.String                 `json:"eventName"`
	Mode      lenient.String                 `json:"mode"`
	Payload   lenient.Object[webhookPayload] `json:"payload"`
}

type webhookData struct {
	Challenge lenient.String `json:"challenge"`
	User      lenient.Object[struct {
		ID         lenient.String `json:"id"`
		ExternalID lenient.String `json:"externalId"`
	}] `json:"user"`
	Vehicle lenient.Object[struct {
		ID lenient.String `json:"id"`
		vehicleAttributesV3
	}] `json:"vehicle"`
	Signals  json.RawMessage               `json:"signals"`
	Errors   lenient.List[json.RawMessage] `json:"errors"`
	Triggers json.RawMessage               `json:"triggers"` // as documented
}

type webhookMeta struct {
	Version       lenient.String `json:"version"`
	WebhookID     lenient.String `json:"webhookId"`
	WebhookName   lenient.String `json:"webhookName"`
	ApplicationID lenient.String `json:"applicationId"`
	DeliveryID    lenient.String `json:"deliveryId"`
	DeliveredAt   lenient.Time   `json:"deliveredAt"`
	Mode          lenient.String `json:"mode"`
	SignalCount   lenient.Int    `json:"signalCount"`
	Sequence      lenient.String `json:"sequence"`
}

type webhookPayload struct {
	Challenge lenient.String `json:"challenge"`
	EventID   lenient.String `json:"eventId"`
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
	data, meta := w.Data.Value, w.Meta.Value
	car := data.Vehicle.Value
	e.Type, e.EventID, e.Version = EventType(enum(w.EventType)), string(w.EventID), firstOf(meta.Version, w.Version)
	e.challenge = string(data.Challenge)
	e.UserID, e.ExternalID = string(data.User.Value.ID), string(data.User.Value.ExternalID)
	e.VehicleID = firstOf(car.ID, w.VehicleID)
	e.Make, e.Model, e.Year, e.Powertrain = string(car.Make), string(car.Model), int(car.Year), string(car.Powertrain)
	e.Mode = eventMode(strings.ToLower(string(car.Mode)), strings.ToLower(string(meta.Mode)))
	e.WebhookID, e.WebhookName = firstOf(meta.WebhookID, w.WebhookID), string(meta.WebhookName)
	e.ApplicationID, e.DeliveryID, e.DeliveredAt = string(meta.ApplicationID), string(meta.DeliveryID), meta.DeliveredAt.Time
	e.Sequence = readSequence(meta.Sequence)
	e.readTriggers(w.Triggers)
	e.readTriggers(data.Triggers)
	if len(data.Signals) > 0 && !isNull(data.Signals) {
		e.Signals = decodeEventSignals(data.Signals, int(meta.SignalCount), e.ReceivedAt)
		e.Signals.Meta.dateByNewest(e.Signals.content())
		e.RecordedAt = e.Signals.RecordedAt
	}
	for _, raw := range data.Errors {
		if isObject(raw) {
			e.Errors = append(e.Errors, readEventError(raw, e.ReceivedAt))
		}
	}
}

// eventMode is the mode of the car, unless the delivery is a test: then it is test,
// even if the car is a live one.
func eventMode(car, delivery string) string {
	if car == "" || car == string(ModeLive) && delivery == string(modeTest) {
		return delivery
	}
	return car
}

func firstOf(texts ...lenient.String) string {
	for _, t := range texts {
		if t != "" {
			return string(t)
		}
	}
	return ""
}

// readSequence takes whole numbers, however they are written.
func readSequence(s lenient.String) int64 {
	if n, err := strconv.ParseInt(string(s), 10, 64); err == nil {
		return max(n, 0)
	}
	const exact = 1 << 53 // above it, a float is no longer the number that was sent
	if f, err := strconv.ParseFloat(string(s), 64); err == nil && f > 0 && f <= exact {
		return int64(f)
	}
	return 0
}

const firstDelivery = "FIRST_DELIVERY"

// readTriggers takes {type, signal: {code}} and {code}, or a bare text.
func (e *WebhookEvent) readTriggers(raw json.RawMessage) {
	var list lenient.List[json.RawMessage]
	if len(raw) == 0 {
		return
	}
	_ = list.UnmarshalJSON(raw)
	for _, raw := range list {
		var typed struct {
			Type   lenient.String `json:"type"`
			Signal signalRefV3    `json:"signal"`
		}
		var bare signalRefV3
		_ = bare.UnmarshalJSON(raw)
		if isObject(raw) {
			_ = json.Unmarshal(raw, &typed)
		}
		code := typed.Signal.signalCode()
		if code == "" {
			code = bare.signalCode()
		}
		switch {
		case enum(typed.Type) == firstDelivery || strings.EqualFold(string(code), firstDelivery):
			e.FirstDelivery = true
		case code != "":
			e.Triggers = append(e.Triggers, code)
		}
	}
}

// readEventError reads an entry of data.errors, which keeps the names of v2.0.
func readEventError(raw json.RawMessage, at time.Time) EventError {
	var w struct {
		State   lenient.String            `json:"state"`
		Signals lenient.List[signalRefV3] `json:"signals"`
	}
	_ = json.Unmarshal(raw, &w)
	e := decodeError(opWebhookEvent, http.StatusOK, http.Header{}, raw, at)
	return EventError{State: enum(w.State), Signals: signalCodes(w.Signals), Err: e}
}

func (w *webhookBody) readV2(e *WebhookEvent) {
	p := w.Payload.Value
	e.Version, e.WebhookID, e.Mode = firstOf(w.Version, "2.0"), string(w.WebhookID), strings.ToLower(string(w.Mode))
	e.Type, e.EventID, e.VehicleID = EventType(enum(w.EventName)), string(p.EventID), string(p.VehicleID)
	e.challenge = string(p.Challenge)
	switch {
	case e.Type == "SCHEDULE":
		e.Type = EventScheduled
	case p.EventType != "": // the type of an eventBased payload
		e.Type, e.OccurredAt, e.RecordedAt = EventType(enum(p.EventType)), p.EventTime.Time, p.EventTime.Time
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
