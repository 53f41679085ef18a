package smartcar

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/seed-498a1bc4/smartcar/internal/contexts"
	"github.com/seed-498a1bc4/smartcar/internal/randid"
	"github.com/seed-498a1bc4/smartcar/internal/records"
	"github.com/seed-498a1bc4/smartcar/internal/roundtrip"
)

// WebhookOptions for [Client.WebhookReceiver]. The zero value works where
// [Config.ManagementToken] is set.
type WebhookOptions struct {
	// Secrets are application management tokens; see [NewWebhookVerifier].
	// Default is Config.ManagementToken.
	Secrets []string
	// MaxBytes is the largest body that is read. Default 1 MiB; Smartcar sends
	// up to 50 KB. Of bodies above 64 KiB, 8 are held at a time; others are
	// answered with 503. Without a signature, 4 KiB are read.
	MaxBytes int64
	// Timeout is when the context of the handler ends, counted from when the
	// request has come. Default 12 s, at most 14: after 15 Smartcar counts the
	// delivery as failed.
	Timeout time.Duration
	// Remember is for how long an event that was handled is not handed over
	// again. Default a week; at least an hour, since Smartcar tries for some
	// minutes.
	Remember time.Duration
}

const (
	webhookMaxBytes    = 1 << 20
	webhookLargeBytes  = 64 << 10 // from here on a body is large
	webhookLargeAtOnce = 8
	maxWebhook         = 1 << 30 // whatever MaxBytes says
	webhookTimeout     = 12 * time.Second
	webhookMaxTimeout  = 14 * time.Second
	webhookRemember    = 7 * 24 * time.Hour
	webhookMinRemember = time.Hour
	// webhookLeaseMargin makes a lease outlast its handler, and end before
	// Smartcar's first repetition, 25 s after a failure.
	webhookLeaseMargin = 5 * time.Second
	webhookLook        = 200 * time.Millisecond
)

var errWebhookTime = fmt.Errorf("the time for a webhook is over: %w", context.DeadlineExceeded)

// A WebhookReceiver takes what Smartcar's webhooks send. It is an
// [http.Handler] for the path of a callback URL, behind any router, and safe
// for concurrent use; it starts no goroutine. See [Client.WebhookReceiver].
type WebhookReceiver struct {
	core     *core
	records  records.Records
	verifier *WebhookVerifier
	options  WebhookOptions
	large    chan struct{}       // has an element for each large body that is held
	strike   func([]byte) []byte // takes the secrets of the application out of a body
	handle   func(context.Context, *WebhookEvent) error
}

// WebhookReceiver returns the receiver of the application's webhooks, of
// version 4.0 and 2.0. It answers VERIFY; it checks the signature; and then it
//
//   - passes over an event that was handled already, in whatever process that
//     shares the store;
//   - tells the policy what the event shows: whether the virtual key is on the
//     car, whether the car sleeps, how old its data is. So an owner who adds the
//     key is noticed without asking, and the next read goes through. On API v3,
//     the signals are kept as the answers to the reads they cover;
//   - calls handle, unless that is nil, and answers 200 when it has returned nil.
//
// Each event is handed over at least once. One that handle failed on is sent
// again by Smartcar, up to 3 times: 25, 50 and 100 seconds after the attempt
// before. So it is when a process dies over it, and then handle may have done
// its work: what it does should bear being done twice. Two handlers do not have
// the same event at the same time, unless one of them has not returned 5 seconds
// after the end of its context. Events that are not taken within those three
// minutes are lost: if handling takes long, put [WebhookEvent.Raw] into a queue of
// yours, and read it with [ParseWebhookEvent].
//
// Handle is called concurrently, with events of one car in any order. Its error
// goes to Smartcar as status 500 without its text, and is not logged. While the
// store is away, deliveries are answered with 503.
//
// The policy learns about cars of users who are stored here: they have connected,
// were filed by [Client.MoveToV3], or have been read. So an event that is on its
// way when a user is forgotten leaves nothing. Of payloads of version 2.0, which
// name no user, it learns about cars that it has a record of.
//
// https://smartcar.com/docs/api-reference/webhooks/delivery-behavior
func (c *Client) WebhookReceiver(o WebhookOptions, handle func(context.Context, *WebhookEvent) error) (*WebhookReceiver, error) {
	if err := c.core.made(); err != nil {
		return nil, err
	}
	secrets := o.Secrets
	if len(secrets) == 0 && c.core.secrets().managementToken != "" {
		secrets = []string{c.core.secrets().managementToken}
	}
	verifier, err := NewWebhookVerifier(secrets...)
	if err != nil {
		return nil, err
	}
	hidden := c.core.secrets().toAPI()
	for _, s := range secrets {
		hidden.Add(s)
	}
	o.Secrets = nil
	o.MaxBytes = cmp.Or(o.MaxBytes, webhookMaxBytes)
	o.Timeout = cmp.Or(o.Timeout, webhookTimeout)
	o.Remember = cmp.Or(o.Remember, webhookRemember)
	switch {
	case o.MaxBytes < 0:
		return nil, argumentError("WebhookOptions.MaxBytes", "must not be negative; 0 is 1 MiB")
	case o.Timeout < 0 || o.Timeout > webhookMaxTimeout:
		return nil, argumentError("WebhookOptions.Timeout", "must be at most 14 s, since Smartcar waits for 15; 0 is 12 s")
	case o.Remember < webhookMinRemember:
		return nil, argumentError("WebhookOptions.Remember", "must be at least an hour; 0 is a week")
	}
	return &WebhookReceiver{
		core: c.core, records: c.core.cars.records, verifier: verifier, options: o, handle: handle,
		large: make(chan struct{}, webhookLargeAtOnce), strike: hidden.JSON,
	}, nil
}

// ServeHTTP implements [http.Handler]. It reads the body itself: a middleware
// before it must not. How slowly one may arrive is up to the server's ReadTimeout.
func (r *WebhookReceiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	if err := r.ready(); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	ctx, gathered := r.core.opts.emitter.gather(req.Context(), About{Operation: opWebhookEvent})
	defer gathered.tell()
	ctx, cancel := context.WithTimeoutCause(ctx, r.options.Timeout, errWebhookTime)
	defer cancel()
	d := delivery{began: r.core.opts.clock.Elapsed()}
	body, release, err := r.read(w, req)
	defer release()
	if err == nil {
		err = r.receiveNoting(ctx, req.Header, body, &d)
	}
	status, answer := r.conclude(ctx, &d, err)
	if status == http.StatusMethodNotAllowed {
		w.Header().Set("Allow", http.MethodPost)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = w.Write(answer) // an error means that the other side has gone
}

func (r *WebhookReceiver) ready() error {
	if r == nil || r.core == nil {
		return argumentError("WebhookReceiver", "must come from Client.WebhookReceiver")
	}
	return nil
}

// read returns the body; release is called when the body is no longer needed.
// Anybody can send a body. Without a signature, no more of it is read than a
// challenge takes. A signature may be forged, so only few large bodies are held at a
// time.
func (r *WebhookReceiver) read(w http.ResponseWriter, req *http.Request) (body []byte, release func(), err error) {
	release = func() {}
	switch {
	case req.Method != http.MethodPost:
		return nil, release, refusedWebhook(WebhookNotPost)
	case compressed(req.Header):
		return nil, release, refusedWebhook(WebhookCompressed)
	case req.ContentLength > r.options.MaxBytes:
		return nil, release, refusedWebhook(WebhookTooLarge)
	}
	limit, tooLarge := r.options.MaxBytes, refusedWebhook(WebhookTooLarge)
	if _, err := wellFormed(headerValue(req.Header, headerSignature)); err != nil && limit > verifyBytes {
		limit, tooLarge = verifyBytes, err
		if req.ContentLength > limit {
			return nil, release, err
		}
	}
	source := http.MaxBytesReader(w, req.Body, limit)
	if req.ContentLength < webhookLargeBytes {
		body, err = roundtrip.ReadAtMost(io.LimitReader(source, webhookLargeBytes), webhookLargeBytes, -1)
	}
	if err == nil && (req.ContentLength >= webhookLargeBytes || len(body) == webhookLargeBytes) {
		select {
		case r.large <- struct{}{}:
			release = func() { <-r.large }
		default:
			return nil, release, refusedWebhook(WebhookBusy)
		}
		body, err = roundtrip.ReadAtMost(io.MultiReader(bytes.NewReader(body), source), int(min(limit, maxWebhook)), req.ContentLength)
	}
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok || errors.Is(err, roundtrip.ErrTooLarge) {
		return nil, release, tooLarge
	}
	if err != nil {
		return nil, release, &WebhookError{Reason: WebhookNotRead, Err: err}
	}
	return body, release, nil
}

// Receive is the receiver for frameworks without net/http: it takes the headers
// of a POST, in any case, and its body as it came, and returns the status and
// the body to answer with, which is application/json. The error says why the
// status is not 200, as a [*WebhookError]; it is for logs.
func (r *WebhookReceiver) Receive(ctx context.Context, header http.Header, body []byte) (status int, answer []byte, err error) {
	if err := errors.Join(r.ready(), checkContext(ctx)); err != nil {
		return http.StatusInternalServerError, nil, err
	}
	ctx, gathered := r.core.opts.emitter.gather(ctx, About{Operation: opWebhookEvent})
	defer gathered.tell()
	ctx, cancel := context.WithTimeoutCause(ctx, r.options.Timeout, errWebhookTime)
	defer cancel()
	d := delivery{began: r.core.opts.clock.Elapsed()}
	switch {
	case compressed(header):
		err = refusedWebhook(WebhookCompressed)
	case int64(len(body)) > r.options.MaxBytes:
		err = refusedWebhook(WebhookTooLarge)
	default:
		err = r.receiveNoting(ctx, header, body, &d)
	}
	status, answer = r.conclude(ctx, &d, err)
	return status, answer, err
}

// A delivery is what a receiver finds out about what was sent to it.
type delivery struct {
	began   time.Duration // by the time that has passed
	verdict WebhookVerdict
	answer  []byte
	event   *WebhookEvent // nil unless it was read: it is signed, and no VERIFY
	again   bool          // another delivery of the event failed, maybe in another process
}

// conclude turns the outcome into the answer to Smartcar. It names the reason of a
// refusal, and nothing that the application's handler said.
func (r *WebhookReceiver) conclude(ctx context.Context, d *delivery, err error) (status int, answer []byte) {
	refused, ok := errors.AsType[*WebhookError](err)
	if !ok {
		tellDelivery(ctx, r.core.opts.emitter, d, http.StatusOK, "")
		return http.StatusOK, d.answer
	}
	d.verdict = VerdictRefused
	tellDelivery(ctx, r.core.opts.emitter, d, refused.StatusCode(), refused.Reason)
	answer, _ = json.Marshal(map[string]string{"error": (&WebhookError{Reason: refused.Reason}).Error()}) // a text: cannot fail
	return refused.StatusCode(), answer
}

// verifyBytes is more than any VERIFY takes: a larger body is not read before
// its signature is checked.
const verifyBytes = 4 << 10

// receiveNoting is receive, and notes how a delivery has ended, also if the handler
// panics.
func (r *WebhookReceiver) receiveNoting(ctx context.Context, header http.Header, body []byte, d *delivery) error {
	returned := false
	defer func() {
		if !returned {
			panicked := refusedWebhook(WebhookHandlerFailed)
			r.note(ctx, d, panicked)
			_, _ = r.conclude(ctx, d, panicked)
		}
	}()
	err := r.receive(ctx, header, body, d)
	if d.verdict != VerdictRepeated {
		r.note(ctx, d, err)
	}
	returned = true
	return err
}

// receive answers VERIFY, which is not signed, and takes everything else only if it
// is signed.
func (r *WebhookReceiver) receive(ctx context.Context, header http.Header, body []byte, d *delivery) error {
	now := r.core.opts.now()
	if len(body) <= verifyBytes {
		if w, err := openWebhook(body); err == nil && w.kind() == EventVerify {
			return r.verify(&w, d)
		}
	}
	if err := r.verifier.Verify(body, headerValue(header, headerSignature)); err != nil {
		return err
	}
	w, err := openWebhook(r.strike(body)) // its errors go into logs
	if err != nil {
		return err
	}
	if w.kind() == EventVerify {
		return r.verify(&w, d)
	}
	d.answer, d.verdict = []byte("{}"), VerdictAccepted
	read := func() *WebhookEvent {
		d.event = w.event(body, now)
		return d.event
	}
	claimed := func(c *webhookClaim) *WebhookEvent {
		d.again = c.again
		return read()
	}
	if err = r.once(ctx, w.key(body), claimed); errors.Is(err, errWebhookDone) {
		d.verdict = VerdictRepeated
		if r.core.opts.emitter != nil {
			read()
		}
		return nil
	}
	return err
}

// note keeps of a car when a webhook last told of it, and how that was answered.
func (r *WebhookReceiver) note(ctx context.Context, d *delivery, err error) {
	e := d.event
	if ctx.Err() != nil { // Smartcar waits for the answer
		return
	}
	if e == nil || e.Mode == string(modeTest) || !isID(e.UserID) || !isID(e.VehicleID) {
		return
	}
	heard := heardMark{Type: EventType(printable(string(e.Type), 64)), Verdict: VerdictAccepted}
	if refused, ok := errors.AsType[*WebhookError](err); ok {
		heard.Verdict, heard.Reason = VerdictRefused, refused.Reason
	}
	if heard.Reason == WebhookStoreFailed {
		return
	}
	r.core.visits.hear(ctx, newCarRef(e.UserID, e.VehicleID), heard, d.again)
}

func (r *WebhookReceiver) verify(w *webhookBody, d *delivery) error {
	proof, err := r.verifier.Challenge(w.challenge())
	if err != nil {
		return err
	}
	d.verdict = VerdictVerified
	d.answer, _ = json.Marshal(map[string]string{"challenge": proof}) // a text: cannot fail
	return nil
}

// webhookRecord is what is stored of an event. Its times are the store's.
type webhookRecord struct {
	Done    bool      `json:"done,omitempty"`
	Arrived time.Time `json:"seen"`           // when the event first came
	Lease   time.Time `json:"lease,omitzero"` // until when a handler has it
	Write   uint64    `json:"write"`          // makes every write distinct; names the handler
}

var (
	errWebhookDone = errors.New("the event was handled")
	errWebhookBusy = errors.New("the event is being handled")
)

// key names an event in the store: by its id, or, since version 2.0 sends no
// id, by its bytes, which are the same in each delivery.
func (w *webhookBody) key(body []byte) string {
	h, id := sha256.New(), w.id()
	h.Write([]byte(w.webhook() + "\x00" + id + "\x00"))
	if id == "" {
		h.Write(body)
	}
	return "webhook/event/" + hex.EncodeToString(h.Sum(nil)[:16])
}

// once reads an event and hands it to the handler. If that was done before, it returns
// errWebhookDone. The event is marked as done only afterwards: if the process dies in the
// handler, the event is handed over again.
func (r *WebhookReceiver) once(ctx context.Context, key string, read func(*webhookClaim) *WebhookEvent) error {
	claim, err := r.claim(ctx, key)
	if err != nil {
		return err
	}
	done := false
	defer func() { // also when the handler panics
		if !done {
			r.release(ctx, key, &claim)
		}
	}()
	e := read(&claim)
	if err := r.core.learnEvent(ctx, e, r.core.arrivalOf(claim)); err != nil {
		return &WebhookError{Reason: WebhookStoreFailed, Err: err}
	}
	r.core.wakers.wake(e.VehicleID)
	if r.handle != nil {
		if err := r.handle(withoutReport(ctx), e); err != nil {
			return &WebhookError{Reason: WebhookHandlerFailed, Err: err}
		}
	}
	done = true
	return r.finish(ctx, key, &claim)
}

// webhookClaim is an event that this handler has taken.
type webhookClaim struct {
	arrived time.Time     // when the event first came, by our clock
	store   time.Duration // how far the store's clock is ahead of ours
	write   uint64        // that made the claim
	again   bool          // another handler had it before
	setBack bool          // the store's clock was set back since the event first came: arrived tells nothing
	held    records.Held[webhookRecord]
}

// claim takes the event for this handler. While another handler has it, claim waits. Most
// events come for the first time: nothing is loaded before the claim is written. A and B
// are two replicas:
//
//  1. Smartcar delivers an event to A. A's claim stores a lease that outlasts A's
//     handler by 5 s.
//  2. A is slow. After 15 s Smartcar counts the delivery as failed, and 25 s later
//     delivers the event again, to B.
//  3. If A is done by then, B finds the mark and answers 200 without a handler. If A
//     has failed, it has ended its lease, and B claims the event at once. If A has
//     died, its lease has run out, and B claims the event, too.
//
// So a handler may see an event twice, one after the other: in step 3 after A died
// or failed, when nobody knows how far A's handler came.
func (r *WebhookReceiver) claim(ctx context.Context, key string) (claim webhookClaim, err error) {
	claim.write = randid.New()
	none := new(records.Held[webhookRecord])
	const longest = webhookMaxTimeout + webhookLeaseMargin + records.ClockGrain // of a replica that waits for longer
	lease := r.options.Timeout + webhookLeaseMargin
	for from := none; ; from = nil {
		claim.held, err = records.ChangeHeld(ctx, r.records, key, r.options.Remember, from, func(w *webhookRecord, found bool, now time.Time) error {
			held := w.Lease.Sub(now)
			switch {
			case w.Done:
				return errWebhookDone
			case held > 0 && held <= longest: // more is what a clock that jumped back wrote
				return errWebhookBusy
			case w.Arrived.IsZero():
				w.Arrived = now
			}
			w.Lease, w.Write, claim.again = now.Add(lease), claim.write, found
			here := r.core.opts.now()
			claim.arrived, claim.store, claim.setBack = here.Add(-now.Sub(w.Arrived)), now.Sub(here), w.Arrived.After(now)
			return nil
		})
		switch {
		case err == nil || errors.Is(err, errWebhookDone):
			return claim, err
		case !errors.Is(err, errWebhookBusy):
			return claim, &WebhookError{Reason: WebhookStoreFailed, Err: err}
		}
		if err := r.core.opts.clock.Sleep(ctx, webhookLook); err != nil {
			return claim, refusedWebhook(WebhookInProgress)
		}
	}
}

// release ends the lease, so that the next delivery can claim the event at once. If
// the write fails, the lease runs out before the next delivery comes.
func (r *WebhookReceiver) release(ctx context.Context, key string, claim *webhookClaim) {
	ctx, cancel := contexts.Detached(ctx)
	defer cancel()
	_, _ = records.ChangeHeld(ctx, r.records, key, r.options.Remember, &claim.held, func(w *webhookRecord, _ bool, _ time.Time) error {
		if w.Done || w.Write != claim.write {
			return records.ErrUnchanged
		}
		w.Lease, w.Write = time.Time{}, randid.New()
		return nil
	})
}

// finish marks the event as handled, also if its lease has run out and another
// handler has it by now.
func (r *WebhookReceiver) finish(ctx context.Context, key string, claim *webhookClaim) error {
	ctx, cancel := contexts.Detached(ctx)
	defer cancel()
	_, err := records.ChangeHeld(ctx, r.records, key, r.options.Remember, &claim.held, func(w *webhookRecord, _ bool, now time.Time) error {
		if w.Arrived.IsZero() {
			w.Arrived = now
		}
		w.Done, w.Lease, w.Write = true, time.Time{}, randid.New()
		return nil
	})
	if err != nil {
		return &WebhookError{Reason: WebhookStoreFailed, Err: err}
	}
	return nil
}
