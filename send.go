package smartcar

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptrace"
	"slices"
	"sync/atomic"
	"time"

	"github.com/seed-498a1bc4/smartcar/internal/contexts"
	"github.com/seed-498a1bc4/smartcar/internal/policy"
)

// Bodies are bounded: the largest documented answer is a batch of some 30 kB.
const (
	maxBody      = 8 << 20
	maxErrorBody = 1 << 20
)

var (
	errBodyTooLarge = errors.New("the body is larger than this client reads")
	errNoResponse   = errors.New("the transport returned neither an answer nor an error")
	errAttemptTime  = fmt.Errorf("no complete answer in time: %w", context.DeadlineExceeded)
)

// transmitting makes the HTTP request and reads the whole answer. It is the only
// place that touches the network, except for the token endpoints.
func transmitting(o *options, own func() secrets) exchange {
	return func(ctx context.Context, r *request, header []string, takes bool) (attempt, error) {
		sent := attempt{outcome: policy.OutcomeReleased, began: o.now()}
		if err := ctx.Err(); err != nil {
			return sent, &Error{Operation: r.op, reach: reachedNever, Err: contexts.EndOf(ctx)}
		}
		ctx, cancel := context.WithTimeoutCause(ctx, o.attemptTimeout(), errAttemptTime)
		defer cancel()
		unrepeatable := takes || r.kind == KindCommand
		var watch *sendWatch
		if unrepeatable {
			watch = new(sendWatch)
			ctx = watch.attach(ctx)
		}
		req, err := o.newRequest(ctx, r, header, unrepeatable)
		if err != nil {
			return sent, &Error{Operation: r.op, reach: reachedNever, Err: err}
		}
		hidden := own().sentWith(header, r.auth)
		resp, err := o.roundTrip(req) //nolint:bodyclose // readAnswer closes it
		if err != nil {
			e := &Error{Operation: r.op, reach: reachedUnsure, Err: hidden.cause(causeOf(ctx, err))}
			if certainlyNotSent(err) || watch.neverConnected() {
				e.reach = reachedNever
			}
			o.logRequest(ctx, r, 0, "", sent.began)
			return sent, e
		}
		sent.answer, err = o.readAnswer(ctx, resp, &hidden)
		o.logRequest(ctx, r, resp.StatusCode, resp.Header.Get(headerRequestID), sent.began)
		if err != nil {
			e := &Error{
				Operation: r.op, StatusCode: resp.StatusCode, Err: err,
				RequestID: resp.Header.Get(headerRequestID), reach: reachedUnsure,
			}
			if errors.Is(err, errBodyTooLarge) {
				e.reach = reachedServer // asking again would not make it smaller
			}
			return sent, e
		}
		return sent, nil
	}
}

func (o *options) transport() http.RoundTripper {
	if o.client.Transport != nil {
		return o.client.Transport
	}
	return http.DefaultTransport
}

// roundTrip sends through the caller's transport, and fills in what simple
// transports in tests leave out.
func (o *options) roundTrip(req *http.Request) (*http.Response, error) {
	resp, err := o.transport().RoundTrip(req)
	switch {
	case err != nil:
		return nil, err
	case resp == nil:
		return nil, errNoResponse
	}
	if resp.Body == nil {
		resp.Body = http.NoBody
	}
	if resp.Header == nil {
		resp.Header = http.Header{}
	}
	return resp, nil
}

func (o *options) newRequest(ctx context.Context, r *request, header []string, unrepeatable bool) (*http.Request, error) {
	target := r.base + r.wire.path
	if len(r.query) > 0 {
		target += "?" + r.query.Encode()
	}
	var body io.Reader
	if r.wire.body != nil {
		body = bytes.NewReader(r.wire.body)
	}
	req, err := http.NewRequestWithContext(ctx, r.wire.method, target, body)
	if err != nil {
		return nil, err
	}
	if unrepeatable {
		// net/http repeats a GET by itself when a kept-alive connection breaks;
		// one with a body it cannot rewind is left alone. It reads as empty.
		req.GetBody = nil
		if body == nil && req.Method == http.MethodGet {
			req.Body = io.NopCloser(eofReader{})
		}
	}
	req.Header["Authorization"] = header
	req.Header["User-Agent"] = o.userAgent
	if r.user != "" {
		req.Header[headerUserID] = []string{r.user}
		return dressed(req, body), nil // v3 names the unit of each number
	}
	switch r.units {
	case Metric:
		req.Header[headerUnits] = o.metric
	case Imperial:
		req.Header[headerUnits] = o.imperial
	}
	return dressed(req, body), nil
}

func dressed(req *http.Request, body io.Reader) *http.Request {
	if body != nil {
		req.Header["Content-Type"] = []string{"application/json"}
	}
	return req
}

type eofReader struct{}

func (eofReader) Read([]byte) (int, error) { return 0, io.EOF }

// readAnswer reads the whole body, so that the connection can be used again. What
// was sent is struck out of the answer, headers included.
func (o *options) readAnswer(ctx context.Context, resp *http.Response, sent *echo) (*answer, error) {
	defer func() { _ = resp.Body.Close() }()
	resp.Header = sent.header(resp.Header)
	limit := maxBody
	if resp.StatusCode >= 300 {
		limit = maxErrorBody
	}
	body, err := readAtMost(resp.Body, limit, resp.ContentLength)
	if err != nil && (resp.StatusCode < 300 || !errors.Is(err, errBodyTooLarge)) {
		return nil, sent.cause(causeOf(ctx, err))
	}
	return &answer{status: resp.StatusCode, header: resp.Header, body: sent.json(body), at: o.now()}, nil
}

// readAtMost returns what it could read, with errBodyTooLarge if there is more
// than limit. Announced is the length the sender promised, below zero if none.
func readAtMost(r io.Reader, limit int, announced int64) ([]byte, error) {
	size := 4 << 10
	if announced >= 0 && announced < int64(limit) {
		size = int(announced) + 1 // room to see the end
	}
	body := make([]byte, 0, size)
	for {
		n, err := r.Read(body[len(body):cap(body)])
		body = body[:len(body)+n]
		switch {
		case err == io.EOF:
			return body, nil
		case err != nil:
			return body, err
		case len(body) > limit:
			return body[:limit], errBodyTooLarge
		case len(body) == cap(body):
			body = slices.Grow(body, min(len(body), limit+1-len(body)))
		}
	}
}

// causeOf says why ctx ended, if that is why err happened.
func causeOf(ctx context.Context, err error) error {
	if ctx.Err() == nil {
		return err
	}
	return contexts.EndOf(ctx)
}

// sendWatch notes whether a connection was ever handed to the request. It only
// knows with transports that report, such as net/http's own.
type sendWatch struct{ asked, connected atomic.Bool }

func (w *sendWatch) attach(ctx context.Context) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GetConn: func(string) { w.asked.Store(true) },
		GotConn: func(httptrace.GotConnInfo) { w.connected.Store(true) },
	})
}

func (w *sendWatch) neverConnected() bool { return w != nil && w.asked.Load() && !w.connected.Load() }

func (o *options) logRequest(ctx context.Context, r *request, status int, requestID string, began time.Time) {
	if !o.logger.Enabled(ctx, slog.LevelDebug) {
		return
	}
	o.logger.LogAttrs(ctx, slog.LevelDebug, "smartcar request",
		slog.String("operation", string(r.op)),
		slog.String("vehicle", r.car.id),
		slog.Int("status", status),
		slog.Duration("took", o.now().Sub(began)),
		slog.String("request_id", printable(requestID, 64)))
}
