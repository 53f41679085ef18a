package smartcartest

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"strings"
	"time"
)

// Webhook is a webhook of the simulated dashboard. New values are added with
// [Server.AddWebhook]; the zero value of every field but CallbackURL works.
type Webhook struct {
	// ID and Name are invented when they are empty.
	ID, Name string
	// CallbackURL receives VERIFY and the events, by POST. Any URL works.
	CallbackURL string
	// ErrorCallbackURL receives VEHICLE_ERROR; empty is CallbackURL.
	ErrorCallbackURL string
	// Version of the payloads: "4.0", which is the default, or "2.0".
	Version string
	// EventName is the kind of a webhook of version 2.0: scheduled, which is
	// the default, schedule, dynamic or eventBased.
	EventName string
	// Triggers are the codes of the signals whose changes send an event, and
	// Data those that every event carries. An empty list stands for some
	// plausible ones. With version 2.0, Data are paths such as /battery, and
	// their changes trigger.
	Triggers, Data []string
	// AutoSubscribe subscribes every car that is connected, also those that
	// were connected before the webhook was added.
	AutoSubscribe bool
	// Token is the key of challenge and signature; empty is ManagementToken,
	// which is the vendor's way. With any other, a receiver that knows
	// ManagementToken finds every signature wrong.
	Token string

	// Handler receives the requests in memory, without a socket; it works
	// inside a synctest bubble. Otherwise Transport sends them, and if that is
	// nil too, a transport that keeps no connections.
	Handler   http.Handler
	Transport http.RoundTripper

	// Duplicate sends every event twice, with one eventId. Reverse sends what
	// is due at the same time in the wrong order. The vendor may do both.
	Duplicate, Reverse bool
	// Variants choose the shape of the payloads where it is in doubt.
	Variants WebhookVariants
}

// WebhookVariants choose what is sent where the documentation of the webhooks,
// its examples and real deliveries differ. The zero value is what was seen in
// real ones. A receiver has to bear all of them.
type WebhookVariants struct {
	// DataTriggers puts the triggers into data, without a type around them, and
	// the id of the car into vehicleId, as documented.
	DataTriggers bool
	// FetchedAt sends the time retrievedAt of a signal under the name fetchedAt.
	FetchedAt bool
	// ISOTimes sends all times as RFC 3339 rather than milliseconds since 1970.
	ISOTimes bool
	// EpochVerify sends the time of VERIFY as milliseconds; it is RFC 3339
	// otherwise.
	EpochVerify bool
	// SwappedMode sends meta.mode in lower and the car's mode in upper case;
	// with version 2.0, mode in upper case.
	SwappedMode bool
	// Sparse leaves out what is newer: meta.sequence, meta.applicationId and
	// the user's externalId.
	Sparse bool
	// StateErrors lists the errors of VEHICLE_STATE in data.errors too.
	StateErrors bool
	// Early sends the form of September 2025: signals are named by texts such
	// as "Odometer.TraveledDistance", one of the errors' by an object whose name
	// and group are swapped; a good signal has no status, and meta only
	// deliveryId, deliveredAt and deliveryTime.
	Early bool
}

// hook is a webhook at run time.
type hook struct {
	Webhook
	createdAt time.Time
	verified  bool
	disabled  bool
}

// sign is the HMAC-SHA256 of a message, in lower-case hex.
func (h *hook) sign(message []byte) string {
	key := h.Token
	if key == "" {
		key = managementToken
	}
	mac := hmac.New(sha256.New, []byte(key))
	mac.Write(message)
	return hex.EncodeToString(mac.Sum(nil))
}

// roundTripper is how requests reach the receiver.
func (h *hook) roundTripper() http.RoundTripper {
	switch {
	case h.Handler != nil:
		return transport{h.Handler}
	case h.Transport != nil:
		return h.Transport
	default:
		return &http.Transport{DisableKeepAlives: true, Proxy: http.ProxyFromEnvironment}
	}
}

// time is a time in an event of version 4.0.
func (h *hook) time(t time.Time) any {
	switch {
	case h.Variants.ISOTimes && t.IsZero():
		return nil
	case h.Variants.ISOTimes:
		return t.UTC().Format(timeLayout)
	case t.IsZero():
		return 0 // as seen for the VIN
	default:
		return t.UnixMilli()
	}
}

// verifyBody is the body of VERIFY.
func (h *hook) verifyBody(challenge string, d *Delivery) []byte {
	if h.Version == "2.0" {
		return mustJSON(object{
			"version": "2.0", "webhookId": h.ID, "eventName": "verify", "payload": object{"challenge": challenge},
		})
	}
	at := any(d.Time.UTC().Format(timeLayout))
	if h.Variants.EpochVerify {
		at = d.Time.UnixMilli()
	}
	return mustJSON(object{
		"eventId": d.EventID, "eventType": "VERIFY", "data": object{"challenge": challenge},
		"meta": object{"version": "4.0", "webhookId": h.ID, "webhookName": h.Name, "deliveryId": d.DeliveryID, "deliveredAt": at},
	})
}

// modeV2 is the mode in an event of version 2.0.
func (h *hook) modeV2(mode string) string {
	if h.Variants.SwappedMode {
		return strings.ToUpper(mode)
	}
	return mode
}
