package smartcar

import (
	"bytes"
	"fmt"
	"github.com/seed-498a1bc4/smartcar/signals"
	"io"
	"strings"
	"time"
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

	// EventScheduled and EventDynamic bring readings: see [WebhookEvent.Vehicles].
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
	// Vehicles are the readings of webhooks of version 2.0.
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
	// Signals are those that the error keeps from being told.
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

// WebhookVehicle are the readings of one car in an event of version 2.0.
type WebhookVehicle struct {
	VehicleID string
	RequestID string
	Timestamp time.Time
	// Readings are what the webhook is set to read, each with a result or an
	// error of its own, in the webhook's units.
	Readings *Snapshot
}

// Format names the car and nothing of what it said.
func (v WebhookVehicle) Format(f fmt.State, _ rune) {
	_, _ = io.WriteString(f, "smartcar.WebhookVehicle("+printable(v.VehicleID, 64)+")")
}
