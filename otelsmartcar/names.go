package otelsmartcar

import (
	"net"
	"strconv"

	"github.com/seed-498a1bc4/smartcar"
	"go.opentelemetry.io/otel/attribute"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
)

// The attributes of this package. None is also the beginning of another one, as the
// conventions ask.
const (
	keyAPI          = attribute.Key("smartcar.api.version")
	keyOperation    = attribute.Key("smartcar.operation.name")
	keyKind         = attribute.Key("smartcar.operation.kind")
	keyOutcome      = attribute.Key("smartcar.operation.outcome")
	keyAttempts     = attribute.Key("smartcar.operation.attempts")
	keyTakesTurn    = attribute.Key("smartcar.request.takes_turn")
	keySent         = attribute.Key("smartcar.request.sent")
	keyCalls        = attribute.Key("smartcar.request.calls")
	keyRequestID    = attribute.Key("smartcar.request.id")
	keyErrorType    = attribute.Key("smartcar.error.type")
	keyErrorCode    = attribute.Key("smartcar.error.code")
	keyRule         = attribute.Key("smartcar.rule")
	keyLocal        = attribute.Key("smartcar.refusal.local")
	keyRepetition   = attribute.Key("smartcar.refusal.repetition")
	keyNextAllowed  = attribute.Key("smartcar.refusal.next_allowed")
	keyWait         = attribute.Key("smartcar.retry.wait")
	keySource       = attribute.Key("smartcar.answer.source")
	keyStale        = attribute.Key("smartcar.answer.stale")
	keyAge          = attribute.Key("smartcar.answer.age")
	keyTokenOwner   = attribute.Key("smartcar.token.owner")
	keyTokenOutcome = attribute.Key("smartcar.token.outcome")
	keyKeyFrom      = attribute.Key("smartcar.key.from")
	keyKeyTo        = attribute.Key("smartcar.key.to")
	keyKeySource    = attribute.Key("smartcar.key.source")
	keyClass        = attribute.Key("smartcar.vehicle.class")
	keyClassFrom    = attribute.Key("smartcar.vehicle.class_before")
	keyVehicle      = attribute.Key("smartcar.vehicle.id")
	keyUser         = attribute.Key("smartcar.user.id")
	keyEventType    = attribute.Key("smartcar.webhook.type")
	keyVerdict      = attribute.Key("smartcar.webhook.verdict")
	keyReason       = attribute.Key("smartcar.webhook.reason")
	keyDelay        = attribute.Key("smartcar.webhook.delay")
	keyAsked        = attribute.Key("smartcar.visit.asked")
	keyNews         = attribute.Key("smartcar.visit.news")
	keyNext         = attribute.Key("smartcar.visit.next")
	keyRetired      = attribute.Key("smartcar.visit.retired")
	keyBySmartcar   = attribute.Key("smartcar.budget.said_by_smartcar")
	keyState        = attribute.Key("smartcar.fleet.state")
)

// other is what the conventions say in place of a value that is not on the list.
const other = "_OTHER"

// none stands where a code is empty, which an exporter may drop.
const none = "none"

func code[T ~string](v T) string {
	if v == "" {
		return none
	}
	return string(v)
}

// withFailure adds error.type, which is there for failures only.
func withFailure(to []attribute.KeyValue, f smartcar.Failure) []attribute.KeyValue {
	if f == smartcar.FailureNone {
		return to
	}
	return append(to, semconv.ErrorTypeKey.String(string(f)))
}

// method is that of a request, which Vehicle.Request leaves to the program.
func method(m string) string {
	switch m {
	case "GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "QUERY":
		return m
	}
	return other
}

// eventType bounds what comes with webhooks.
func eventType(t smartcar.EventType) string {
	switch t {
	case smartcar.EventVehicleState, smartcar.EventVehicleError, smartcar.EventVerify, smartcar.EventScheduled, smartcar.EventDynamic,
		smartcar.EventChargingStarted, smartcar.EventChargingStopped, smartcar.EventChargingCompleted, "":
		return code(t)
	}
	return other
}

// address splits the server of an attempt.
func address(scheme, server string) (host string, port int) {
	host, digits, err := net.SplitHostPort(server)
	if err != nil {
		host = server
	}
	if port, err = strconv.Atoi(digits); err == nil {
		return host, port
	}
	if scheme == "http" {
		return host, 80
	}
	return host, 443
}
