package smartcar

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"time"

	"github.com/seed-498a1bc4/smartcar/internal/contexts"
	"github.com/seed-498a1bc4/smartcar/internal/randid"
	"github.com/seed-498a1bc4/smartcar/internal/records"
)

// webhookRecord is what is stored of an event. Its times are the store's.
type webhookRecord struct {
	Done  bool      `json:"done,omitempty"`
	Seen  time.Time `json:"seen"`           // when it came first
	Lease time.Time `json:"lease,omitzero"` // until when a handler has it
	Write uint64    `json:"write"`          // makes every write distinct; names the handler
}

var (
	errWebhookDone = errors.New("the event was handled")
	errWebhookBusy = errors.New("the event is being handled")
)

// webhookKey names an event: by its id, or, where version 2.0 sends none, by
// its bytes, which are the same in each attempt there.
func (e *WebhookEvent) webhookKey() string {
	h := sha256.New()
	h.Write([]byte(e.WebhookID + "\x00" + e.EventID + "\x00"))
	if e.EventID == "" {
		h.Write(e.raw())
	}
	return "webhook/event/" + hex.EncodeToString(h.Sum(nil)[:16])
}

// once hands an event over unless that was done. It is marked as done only
// afterwards, so that one whose handler died is handed over again.
func (r *WebhookReceiver) once(ctx context.Context, e *WebhookEvent) error {
	key := e.webhookKey()
	claim, seen, err := r.claim(ctx, key)
	switch {
	case errors.Is(err, errWebhookDone):
		return nil
	case err != nil:
		return err
	}
	done := false
	defer func() { // also when the handler panics
		if !done {
			r.release(ctx, key, claim)
		}
	}()
	if err := r.core.learnEvent(ctx, e, seen); err != nil {
		return &WebhookError{Reason: WebhookStoreFailed, Err: err}
	}
	if r.handle != nil {
		if err := r.handle(ctx, e); err != nil {
			return &WebhookError{Reason: WebhookHandlerFailed, Err: err}
		}
	}
	done = true
	return r.finish(ctx, key)
}

// claim takes the event for this handler, waiting for another that has it. Seen
// is when it first came, by our clock.
func (r *WebhookReceiver) claim(ctx context.Context, key string) (claim uint64, seen time.Time, err error) {
	claim = randid.New()
	const longest = webhookMaxTimeout + webhookLeaseMargin // of a replica that waits for longer
	lease := r.options.Timeout + webhookLeaseMargin
	for {
		_, err = records.Change(ctx, r.records, key, r.options.Remember, func(w *webhookRecord, _ bool, now time.Time) error {
			held := w.Lease.Sub(now)
			switch {
			case w.Done:
				return errWebhookDone
			case held > 0 && held <= longest: // more is what a clock that jumped back wrote
				return errWebhookBusy
			case w.Seen.IsZero() || w.Seen.After(now):
				w.Seen = now
			}
			w.Lease, w.Write = now.Add(lease), claim
			seen = r.core.opts.now().Add(-now.Sub(w.Seen))
			return nil
		})
		switch {
		case err == nil || errors.Is(err, errWebhookDone):
			return claim, seen, err
		case !errors.Is(err, errWebhookBusy):
			return 0, seen, &WebhookError{Reason: WebhookStoreFailed, Err: err}
		}
		if err := r.core.opts.clock.Sleep(ctx, webhookLook); err != nil {
			return 0, seen, refusedWebhook(WebhookInProgress)
		}
	}
}

// release lets the next attempt have the event at once. If that cannot be
// stored, the lease ends before it comes.
func (r *WebhookReceiver) release(ctx context.Context, key string, claim uint64) {
	ctx, cancel := contexts.Detached(ctx)
	defer cancel()
	_, _ = records.Change(ctx, r.records, key, r.options.Remember, func(w *webhookRecord, _ bool, _ time.Time) error {
		if w.Done || w.Write != claim {
			return records.ErrUnchanged
		}
		w.Lease, w.Write = time.Time{}, randid.New()
		return nil
	})
}

// finish marks the event as handled, whoever else may have it by now.
func (r *WebhookReceiver) finish(ctx context.Context, key string) error {
	ctx, cancel := contexts.Detached(ctx)
	defer cancel()
	_, err := records.Change(ctx, r.records, key, r.options.Remember, func(w *webhookRecord, _ bool, now time.Time) error {
		if w.Seen.IsZero() {
			w.Seen = now
		}
		w.Done, w.Lease, w.Write = true, time.Time{}, randid.New()
		return nil
	})
	if err != nil {
		return &WebhookError{Reason: WebhookStoreFailed, Err: err}
	}
	return nil
}
