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

// transmit makes the HTTP request and reads the whole answer. It is the only
// place that touches the network, except for the token endpoint.
func (c *core) transmit(ctx context.Context, call *call) (*answer, error) {
	began := c.now()
	if err := ctx.Err(); err != nil {
		return nil, &Error{Operation: call.op, reach: reachedNever, Err: endOf(ctx)}
	}
	ctx, cancel := context.WithTimeoutCause(ctx, c.opts.attemptTimeout(), errAttemptTime)
	defer cancel()
	var watch *sendWatch
	if call.takes || call.kind == KindCommand {
		watch = new(sendWatch)
		ctx = watch.attach(ctx)
	}
	req, err := c.newRequest(ctx, call)
	if err != nil {
		return nil, &Error{Operation: call.op, reach: reachedNever, Err: err}
	}
	sent := c.sent(call)
	resp, err := c.opts.roundTrip(req) //nolint:bodyclose // readAnswer closes it
	if err != nil {
		e := &Error{Operation: call.op, reach: reachedUnsure, Err: sent.cause(causeOf(ctx, err))}
		if certainlyNotSent(err) || watch.neverConnected() {
			e.reach = reachedNever
		}
		c.logCall(ctx, call, 0, "", began)
		return nil, e
	}
	a, err := c.readAnswer(ctx, resp, &sent)
	c.logCall(ctx, call, resp.StatusCode, resp.Header.Get(headerRequestID), began)
	if err != nil {
		e := &Error{
			Operation: call.op, StatusCode: resp.StatusCode, Err: err,
			RequestID: resp.Header.Get(headerRequestID), reach: reachedUnsure,
		}
		if errors.Is(err, errBodyTooLarge) {
			e.reach = reachedServer // asking again would not make it smaller
		}
		return nil, e
	}
	return a, nil
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

func (c *core) newRequest(ctx context.Context, call *call) (*http.Request, error) {
	target := call.base + call.request.path
	if len(call.query) > 0 {
		target += "?" + call.query.Encode()
	}
	var body io.Reader
	if call.request.body != nil {
		body = bytes.NewReader(call.request.body)
	}
	req, err := http.NewRequestWithContext(ctx, call.request.method, target, body)
	if err != nil {
		return nil, err
	}
	if (call.takes || call.kind == KindCommand) && !c.opts.replayable {
		// net/http repeats a GET by itself when a kept-alive connection breaks;
		// one with a body it cannot rewind is left alone. It reads as empty.
		req.GetBody = nil
		if body == nil && req.Method == http.MethodGet {
			req.Body = io.NopCloser(eofReader{})
		}
	}
	req.Header["Authorization"] = call.bearer
	req.Header["User-Agent"] = c.opts.userAgent
	if call.user != "" {
		req.Header[headerUserID] = []string{call.user}
		return c.dressed(req, body), nil // v3 names the unit of each number
	}
	switch call.units {
	case Metric:
		req.Header[headerUnits] = c.opts.metric
	case Imperial:
		req.Header[headerUnits] = c.opts.imperial
	}
	return c.dressed(req, body), nil
}

func (c *core) dressed(req *http.Request, body io.Reader) *http.Request {
	if body != nil {
		req.Header["Content-Type"] = []string{"application/json"}
	}
	return req
}

type eofReader struct{}

func (eofReader) Read([]byte) (int, error) { return 0, io.EOF }

// readAnswer reads the whole body, so that the connection can be used again. What
// was sent is struck out of the answer, headers included.
func (c *core) readAnswer(ctx context.Context, resp *http.Response, sent *echo) (*answer, error) {
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
	return &answer{status: resp.StatusCode, header: resp.Header, body: sent.json(body), at: c.now()}, nil
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
	return endOf(ctx)
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

func (c *core) logCall(ctx context.Context, call *call, status int, requestID string, began time.Time) {
	if !c.opts.logger.Enabled(ctx, slog.LevelDebug) {
		return
	}
	c.opts.logger.LogAttrs(ctx, slog.LevelDebug, "smartcar request",
		slog.String("operation", string(call.op)),
		slog.String("vehicle", call.vehicleID()),
		slog.Int("status", status),
		slog.Duration("took", c.now().Sub(began)),
		slog.String("request_id", printable(requestID, 64)))
}

func (c *call) vehicleID() string {
	if c.vehicle == nil {
		return ""
	}
	return c.vehicle.id
}
