package smartcar

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/seed-498a1bc4/smartcar/internal/contexts"
	"github.com/seed-498a1bc4/smartcar/internal/policy"
	"github.com/seed-498a1bc4/smartcar/internal/randid"
	"github.com/seed-498a1bc4/smartcar/internal/records"
)

// ErrWebhookRefused matches every [*WebhookError].
var ErrWebhookRefused = errors.New("smartcar: webhook refused")

// A WebhookReason says which check a delivery did not pass. It is a short code
// that does not change; String says for people what is wrong and what to do.
type WebhookReason string

// The reasons of a [*WebhookError], in the order in which they are looked for.
const (
	WebhookNotPost            WebhookReason = "not-post"
	WebhookCompressed         WebhookReason = "compressed"
	WebhookTooLarge           WebhookReason = "too-large"
	WebhookBusy               WebhookReason = "busy"
	WebhookNotRead            WebhookReason = "not-read"
	WebhookBadChallenge       WebhookReason = "bad-challenge"
	WebhookUnsigned           WebhookReason = "unsigned"
	WebhookMalformedSignature WebhookReason = "malformed-signature"
	WebhookWrongSignature     WebhookReason = "wrong-signature"
	WebhookUnreadable         WebhookReason = "unreadable"
	WebhookStoreFailed        WebhookReason = "store-failed"
	WebhookInProgress         WebhookReason = "in-progress"
	WebhookHandlerFailed      WebhookReason = "handler-failed"
)

// A WebhookError is why a delivery was not taken. It holds nothing of what
// came: no signature, no secret, no body.
type WebhookError struct {
	Reason WebhookReason
	// Err is the cause: of the connection, the store or your handler.
	Err error
}

func (e *WebhookError) Error() string {
	text := "smartcar: webhook refused: " + e.Reason.String()
	if e.Err != nil {
		text += ": " + strings.TrimPrefix(e.Err.Error(), "smartcar: ")
	}
	return text
}

// Unwrap returns the cause, if any.
func (e *WebhookError) Unwrap() error { return e.Err }

// Is reports whether target is [ErrWebhookRefused].
func (e *WebhookError) Is(target error) bool { return target == ErrWebhookRefused }

// webhookReasons is the status that answers each reason, and what to do about it.
// It is never written to.
var webhookReasons = [...]struct {
	reason WebhookReason
	status int
	text   string
}{
	{"not-post", http.StatusMethodNotAllowed, "webhooks are sent with POST"},
	{"compressed", http.StatusUnsupportedMediaType, "the body has a Content-Encoding, which Smartcar does not document: the signature is over the bytes as they are sent"},
	{"too-large", http.StatusRequestEntityTooLarge, "the body is larger than WebhookOptions.MaxBytes; Smartcar sends up to 50 KB"},
	{"busy", http.StatusServiceUnavailable, "as many large bodies as are held at a time are being read: it may be an attack, since Smartcar sends up to 50 KB; it sends again"},
	{"not-read", http.StatusBadRequest, "the body did not arrive whole"},
	{"bad-challenge", http.StatusBadRequest, "the challenge is not up to 256 letters, digits and ._~+/=-: answering it could sign a forged event"},
	{"unsigned", http.StatusUnauthorized, "the header SC-Signature is missing: it does not come from Smartcar, or a proxy dropped the header"},
	{"malformed-signature", http.StatusUnauthorized, "the header SC-Signature is not 64 hexadecimal digits"},
	{"wrong-signature", http.StatusUnauthorized, "no secret matches the signature: the secret has to be the application management token, of this very application, and the body the bytes that were sent, which a middleware may have changed; that VERIFY passed proves neither"},
	{"unreadable", http.StatusBadRequest, "the body is signed, but is no JSON object"},
	{"store-failed", http.StatusServiceUnavailable, "the store could not be asked whether the event was handled already; Smartcar sends it again"},
	{"in-progress", http.StatusServiceUnavailable, "another handler has the event at this moment; Smartcar sends it again"},
	{"handler-failed", http.StatusInternalServerError, "the application did not handle the event; Smartcar sends it again"},
}

// String says for people what is wrong and what to do. The text may change.
func (r WebhookReason) String() string {
	for _, row := range webhookReasons {
		if row.reason == r {
			return row.text
		}
	}
	return string(r)
}

// StatusCode is the HTTP status that answers the delivery: 400, 401, 405, 413,
// 415, 500 or 503. To Smartcar all of them mean that it has to send again.
func (e *WebhookError) StatusCode() int {
	for _, r := range webhookReasons {
		if r.reason == e.Reason {
			return r.status
		}
	}
	return http.StatusInternalServerError
}

func refusedWebhook(reason WebhookReason) error { return &WebhookError{Reason: reason} }

// A WebhookVerifier checks who sent a webhook. [Client.WebhookReceiver] has one
// inside; use it alone where events are verified apart from where they are
// handled. It is safe for concurrent use and prints no secret.
//
// https://smartcar.com/docs/integrations/webhooks/payload-verification
type WebhookVerifier struct {
	secrets func() [][]byte // a function, so that no verb of fmt prints them
}

// NewWebhookVerifier returns a verifier. The secret is the application
// management token. Several are accepted at once, so that it can be changed
// without losing events: put the new one first, which also answers challenges,
// and drop the old one when the dashboard has the new. None, an empty one or
// one with spaces around it is an [*ArgumentError]: it would verify nothing.
func NewWebhookVerifier(secrets ...string) (*WebhookVerifier, error) {
	if len(secrets) == 0 {
		return nil, argumentError("webhook secrets", "are missing: give the application management token from the Smartcar dashboard, Configuration, API credentials")
	}
	keys := make([][]byte, 0, len(secrets))
	for _, s := range secrets {
		switch {
		case s == "":
			return nil, argumentError("webhook secrets", "have an empty one among them: anybody could sign with it")
		case strings.TrimSpace(s) != s:
			return nil, argumentError("webhook secrets", "have one among them with spaces or a line break around it, as happens when it is copied")
		}
		keys = append(keys, []byte(s))
	}
	return &WebhookVerifier{secrets: func() [][]byte { return keys }}, nil
}

// Format keeps the secrets out of every verb of package fmt.
func (v *WebhookVerifier) Format(f fmt.State, _ rune) {
	_, _ = io.WriteString(f, "smartcar.WebhookVerifier")
}

// Verify returns nil if signature, the header SC-Signature, is that of body
// with one of the secrets. Body must be the bytes that arrived, not JSON that
// was read and written again. The case of the digits does not matter: Smartcar
// sends small ones, and either names the same bytes. Otherwise it returns a
// [*WebhookError] with [WebhookUnsigned], [WebhookMalformedSignature] or
// [WebhookWrongSignature].
//
// The signature covers no time: whoever recorded a delivery can send it again.
// Tell events apart by their id, as [Client.WebhookReceiver] does.
func (v *WebhookVerifier) Verify(body []byte, signature string) error {
	given, err := wellFormed(signature)
	if err != nil {
		return err
	}
	matched := false
	for _, key := range v.keys() { // all of them, so that the time tells nothing
		matched = hmac.Equal(given, sign(key, body)) || matched
	}
	if !matched {
		return refusedWebhook(WebhookWrongSignature)
	}
	return nil
}

const headerSignature = "SC-Signature"

// wellFormed reads a signature that may be right.
func wellFormed(signature string) ([]byte, error) {
	if signature == "" {
		return nil, refusedWebhook(WebhookUnsigned)
	}
	given, err := hex.DecodeString(signature)
	if err != nil || len(given) != sha256.Size {
		return nil, refusedWebhook(WebhookMalformedSignature)
	}
	return given, nil
}

// Challenge returns what proves to Smartcar that the receiver knows the secret:
// the answer to VERIFY is {"challenge": <this>}, as JSON, with status 200.
//
// VERIFY is not signed, and its answer is made as signatures are: who could have
// any text answered could sign events. So only texts of up to 256 letters,
// digits and ._~+/=- are answered, which no event can be; others are a
// [*WebhookError] with [WebhookBadChallenge].
//
// https://smartcar.com/docs/integrations/webhooks/callback-verification
func (v *WebhookVerifier) Challenge(challenge string) (string, error) {
	keys := v.keys()
	if len(keys) == 0 || !answerable(challenge) {
		return "", refusedWebhook(WebhookBadChallenge)
	}
	return hex.EncodeToString(sign(keys[0], []byte(challenge))), nil
}

// keys of the zero value are none: it verifies nothing and answers nothing.
func (v *WebhookVerifier) keys() [][]byte {
	if v == nil || v.secrets == nil {
		return nil
	}
	return v.secrets()
}

func sign(key, message []byte) []byte {
	mac := hmac.New(sha256.New, key)
	mac.Write(message)
	return mac.Sum(nil)
}

func answerable(challenge string) bool {
	const longest = 256
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._~+/=-"
	return challenge != "" && len(challenge) <= longest && strings.Trim(challenge, alphabet) == ""
}

// headerValue finds a header in whatever case a framework keeps it.
func headerValue(h http.Header, name string) string {
	if v := h.Get(name); v != "" {
		return v
	}
	for key, values := range h {
		if strings.EqualFold(key, name) && len(values) > 0 {
			return values[0]
		}
	}
	return ""
}

// compressed reports whether a Content-Encoding other than none is set, in whatever line
// of the headers.
func compressed(h http.Header) bool {
	for name, lines := range h {
		if !strings.EqualFold(name, "Content-Encoding") {
			continue
		}
		encodings := strings.FieldsFunc(strings.Join(lines, ","), func(r rune) bool { return r == ',' || r == ' ' })
		if slices.ContainsFunc(encodings, func(e string) bool { return !strings.EqualFold(e, "identity") }) {
			return true
		}
	}
	return false
}

// learnEvent tells the policy what an event shows, and keeps its signals as
// answers. It returns an error only if another delivery would help.
func (c *core) learnEvent(ctx context.Context, e *WebhookEvent, came arrival) error {
	if e.Mode == string(modeTest) {
		return nil
	}
	for _, car := range e.Vehicles { // of version 2.0
		if err := c.learnReadings(ctx, car, came); err != nil {
			return err
		}
	}
	if !isID(e.UserID) || !isID(e.VehicleID) {
		return nil
	}
	ref := newCarRef(e.UserID, e.VehicleID)
	ref.registered = true // if the user is forgotten from here on, nothing stores them again
	// Nothing is kept of a user who is not stored: Forget may have removed the user.
	known, _ := c.cars.cached.Get(ref.key)
	said := e.keyError()
	vouched := c.cars.vouched(ref, &known) && said == policy.KeyNotAsked
	if !vouched {
		if _, err := c.accounts.stored(ctx, e.UserID); err != nil {
			return worthRepeating(err)
		}
	}
	came.delivered = e.DeliveredAt
	keyAt := came.closes()
	if said == policy.KeyInstalled {
		keyAt = came.opens()
	}
	if said != policy.KeyNotAsked {
		var err error
		if keyAt, err = c.orderKeyEvent(ctx, e, keyAt); err != nil {
			return worthRepeating(err)
		}
	}
	events := came.redated(c.opts, evidenceOfEvent(e, came, keyAt, c.gate.probe.tellers))
	if len(events) == 0 {
		return nil
	}
	changed, err := c.cars.apply(ctx, ref, nil, events...)
	if err != nil {
		return worthRepeating(err)
	}
	if vouched && !c.cars.vouched(ref, &changed) { // somebody else has written the record of the car
		if _, err := c.accounts.stored(ctx, e.UserID); err != nil {
			return worthRepeating(err)
		}
	}
	c.answers.of(ref.id).setClass(&changed.state)
	if e.Signals != nil {
		c.keepSignals(ctx, ref, e, asOf(e.Signals.content(), came.closes()))
	}
	return nil
}

// An arrival is when an event came, and how the dates in it are to be judged. They are of
// Smartcar's clock, or of the car's, and are compared with this machine's, which may have
// been set. So they are judged by all clocks that are known: the wall clock of this
// machine, the same as it has gone on since the process began, and the store's. What
// opens the car counts from the earliest time by any of them, what closes it from the
// latest:
//
//  1. 10:00  The key is missing, and Smartcar says so. The car is closed.
//  2. 10:05  The clock of this machine is set back to 2:05.
//  3. 10:06  An event comes that was signed at 8:00: the key is there. By the clock of
//     this machine, 8:00 is yet to come, and the event is as new as can be.
type arrival struct {
	attempt             // began is when the event came, by the wall clock
	first     time.Time // when it came first, by the wall clock
	setBack   bool      // first tells nothing: see webhookClaim
	delivered time.Time // when Smartcar signed it; zero if that is not known
	// ahead is how far the other clocks are ahead of the wall clock.
	ahead [2]time.Duration
}

func (c *core) arrivalOf(claim webhookClaim) arrival {
	now := c.opts.now()
	return arrival{
		attempt: attempt{began: now, left: c.opts.clock.Elapsed()},
		first:   earlier(claim.arrived, now), setBack: claim.setBack, ahead: [2]time.Duration{c.opts.steady.Now().Sub(now), claim.store},
	}
}

// latest is a time in the event by the clock that makes it the latest, as the wall clock
// would show it. It is not in the future.
func (a arrival) latest(t time.Time) time.Time {
	return earlier(t.Add(-min(0, a.ahead[0], a.ahead[1])), a.began)
}

// earliest is latest by the clock that makes it the earliest.
func (a arrival) earliest(t time.Time) time.Time {
	return earlier(t.Add(-max(0, a.ahead[0], a.ahead[1])), a.began)
}

// closes is the time from which the event counts: when it arrived first, or, if Smartcar
// signed it long before, when Smartcar delivered it. Such an event is a recording that
// somebody sends again after our record of it has expired. A shorter difference is only
// that of the clocks.
func (a arrival) closes() time.Time {
	signed := a.latest(a.delivered)
	switch {
	case !a.delivered.IsZero() && a.began.Sub(signed) >= webhookMinRemember:
		return signed
	case a.began.Sub(a.first) >= webhookMinRemember:
		return a.began // no delivery is repeated for so long: the store's clock was set
	}
	return a.first
}

// opens is the time from which the event's word counts that the key is there; zero if it
// counts for nothing. If the store's clock was set back, nobody knows when the event came
// first, and what has come since then may be newer:
//
//  1. 10:00  An event comes: the key is there. Its handler fails.
//  2. 10:00  The store's clock is set back to 9:00.
//  3. 9:01   Smartcar says that the key is missing. The car is closed.
//  4. 9:02   The event comes again. It came first at 10:00, as the store says.
func (a arrival) opens() time.Time {
	if a.setBack {
		return time.Time{}
	}
	if signed := a.earliest(a.delivered); !a.delivered.IsZero() && a.began.Sub(signed) >= webhookMinRemember {
		return signed
	}
	return a.first
}

func isID(id string) bool { return validateID("id", id) == nil }

// worthRepeating drops the errors that another delivery would meet again: the user
// is not stored here.
func worthRepeating(err error) error {
	if errors.Is(err, ErrStore) || contexts.IsEnd(err) {
		return err
	}
	return nil
}

// keyEventRecord is what the newest webhook event about the key of a car said when.
type keyEventRecord struct {
	Sequence int64     `json:"sequence"`
	At       time.Time `json:"at"` // the store's clock
	Write    uint64    `json:"write"`
}

// keyEventTTL is more than an event can be late.
const keyEventTTL = time.Hour

// orderKeyEvent returns the time that a webhook event's word about the key counts
// from, if it counts from at by itself. "The key is missing" and "the key is there" may
// arrive in the wrong order: the event with the higher sequence gets the later time, and
// one that it has overtaken, for which the time is zero, tells nothing.
func (c *core) orderKeyEvent(ctx context.Context, e *WebhookEvent, at time.Time) (time.Time, error) {
	if e.Sequence == 0 || at.IsZero() {
		return at, nil
	}
	counts := at
	_, err := records.Change(ctx, c.cars.records, "webhook/key/"+e.VehicleID, keyEventTTL, func(r *keyEventRecord, _ bool, now time.Time) error {
		offset := now.Sub(c.opts.now())
		switch {
		case e.Sequence < r.Sequence:
			counts = time.Time{}
			return records.ErrUnchanged
		case e.Sequence == r.Sequence && r.At.After(now): // the store's clock was set back since
			counts = at
			return records.ErrUnchanged
		case e.Sequence == r.Sequence:
			counts = r.At.Add(-offset)
			return records.ErrUnchanged
		}
		counts = later(at, r.At.Add(time.Millisecond-offset))
		*r = keyEventRecord{Sequence: e.Sequence, At: counts.Add(offset), Write: randid.New()}
		return nil
	})
	return counts, err
}

// learnReadings takes what readings of version 2.0 show. They name no user, so
// nothing is stored of a car that has no record yet.
func (c *core) learnReadings(ctx context.Context, w WebhookVehicle, came arrival) error {
	if !isID(w.VehicleID) {
		return nil
	}
	ref := newCarRef("", w.VehicleID)
	stored, err := c.cars.load(ctx, ref)
	if err != nil || stored.state.Blank() {
		return worthRepeating(err) // nothing, or what Forget leaves of a car
	}
	came.delivered = w.Timestamp
	_, err = c.cars.apply(ctx, ref, &stored, came.redated(c.opts, evidenceOfReadings(w, came.closes()))...)
	return worthRepeating(err)
}

// keepSignals keeps the signals of an event as the answers to those reads whose
// signals are all in the event. The answers count as received when Smartcar sent the
// event, so a late event does not replace newer answers.
func (c *core) keepSignals(ctx context.Context, ref carRef, e *WebhookEvent, at time.Time) {
	kept, set := c.answers.of(ref.id), e.Signals.content()
	if kept == nil {
		return
	}
	connect := uint64(0)
	if user := c.users.Known(ref.user); user != nil {
		connect = user.Connect
	}
	meta := Meta{ReceivedAt: at, Source: SourceLive}
	came := c.opts.clock.Elapsed() - max(0, c.opts.now().Sub(at))
	var parts []part
	for i := range operations {
		if op := &operations[i]; op.kind == KindData && set.covers(op.signals) {
			if p := (wireV3{}).part(op, set, meta); p.err == nil {
				p.pushed, p.sequence, p.connect, p.came = true, e.Sequence, connect, came
				parts = append(parts, p)
			}
		}
	}
	// The body names its units, and is read in any: once for each that answers of
	// this API are kept apart by.
	for _, units := range slices.Compact([]UnitSystem{c.wire.keptIn(Metric), c.wire.keptIn(Imperial)}) {
		to := answerRef{kept: kept, car: ref, scope: ref.user, units: units, connect: connect}
		for i := range parts {
			parts[i].meta.UnitSystem = units
			kept.putNewer(to.key(parts[i].op.name), parts[i])
		}
		if c.answers.stored != nil {
			c.answers.stored.keep(ctx, to, came, parts)
		}
	}
}
