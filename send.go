package smartcar

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptrace"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/seed-498a1bc4/smartcar/internal/clocks"
	"github.com/seed-498a1bc4/smartcar/internal/contexts"
	"github.com/seed-498a1bc4/smartcar/internal/echo"
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
		began := o.clock.Moment()
		sent := attempt{outcome: policy.OutcomeReleased, began: began.Wall, left: began.Elapsed}
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
		req, err := newHTTPRequest(ctx, o, r, header, unrepeatable)
		if err != nil {
			return sent, &Error{Operation: r.op, reach: reachedNever, Err: err}
		}
		hidden := own().sentWith(header, r.auth)
		resp, err := o.roundTrip(req) //nolint:bodyclose // readAnswer closes it
		if err != nil {
			e := &Error{Operation: r.op, reach: reachedUnsure, Err: hidden.Cause(causeOf(ctx, err))}
			if certainlyNotSent(err) || watch.neverConnected() {
				e.reach = reachedNever
			}
			logRequest(ctx, o, r, 0, "", began)
			return sent, e
		}
		sent.answer, err = readAnswer(ctx, o, resp, &hidden)
		logRequest(ctx, o, r, resp.StatusCode, resp.Header.Get(headerRequestID), began)
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
		// A clock that is stepped meanwhile must not date the answer before the request.
		sent.answer.at = began.After(o.clock.Elapsed())
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

func newHTTPRequest(ctx context.Context, o *options, r *request, header []string, unrepeatable bool) (*http.Request, error) {
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
func readAnswer(ctx context.Context, o *options, resp *http.Response, sent *echo.Echo) (*answer, error) {
	defer func() { _ = resp.Body.Close() }()
	resp.Header = sent.Header(resp.Header)
	limit := maxBody
	if resp.StatusCode >= 300 {
		limit = maxErrorBody
	}
	body, err := readAtMost(resp.Body, limit, resp.ContentLength)
	if err != nil && (resp.StatusCode < 300 || !errors.Is(err, errBodyTooLarge)) {
		return nil, sent.Cause(causeOf(ctx, err))
	}
	return &answer{status: resp.StatusCode, header: resp.Header, body: sent.JSON(body), at: o.now()}, nil
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

func logRequest(ctx context.Context, o *options, r *request, status int, requestID string, began clocks.Moment) {
	if !o.logger.Enabled(ctx, slog.LevelDebug) {
		return
	}
	o.logger.LogAttrs(ctx, slog.LevelDebug, "smartcar request",
		slog.String("operation", string(r.op)),
		slog.String("vehicle", r.car.id),
		slog.Int("status", status),
		slog.Duration("took", o.clock.Elapsed()-began.Elapsed),
		slog.String("request_id", printable(requestID, 64)))
}

// certainlyNotSent knows the errors after which the server has done nothing of a
// request: no byte of it left, or the HTTP/2 peer says that it did not process it.
// After any other error the request may have been carried out.
func certainlyNotSent(err error) bool {
	var dns *net.DNSError
	var op *net.OpError
	return errors.As(err, &dns) || errors.As(err, &op) && op.Op == "dial" || anyOf(err, isUnprocessed)
}

// The texts of net/http for a stream that the peer has not processed, by RFC 9113,
// 8.7. Their types are not exported, and a request whose body cannot be sent again,
// as are all that take a turn, gets the text alone, inside another one. The test
// that meets a real HTTP/2 peer fails when a version of Go words them otherwise.
const (
	http2GoAway       = "http2: Transport received Server's graceful shutdown GOAWAY"
	http2GoAwayFirst  = "http2: Transport received GOAWAY from server ErrCode:" // the first stream of a connection, with an error
	http2StreamPrefix = "stream error: stream ID "
	http2Refused      = "; REFUSED_STREAM"
	http2FromPeer     = "; received from peer"
	http2NoRetry      = "http2: Transport: cannot retry err ["
	http2NoRetryEnd   = "] after Request.Body was written; "
)

// isUnprocessed compares the whole text: what a server can have quoted in an error
// is never all of it. A GOAWAY ends with these errors only the streams beyond the
// last one that the peer names.
func isUnprocessed(err error) bool {
	text := err.Error()
	if wrapped, ok := strings.CutPrefix(text, http2NoRetry); ok {
		if text, _, ok = strings.Cut(wrapped, http2NoRetryEnd); !ok {
			return false
		}
	}
	if stream, ok := strings.CutPrefix(text, http2StreamPrefix); ok {
		id, refused := strings.CutSuffix(strings.TrimSuffix(stream, http2FromPeer), http2Refused)
		return refused && strings.Trim(id, "0123456789") == ""
	}
	return text == http2GoAway || strings.HasPrefix(text, http2GoAwayFirst)
}

// classifying turns what came back into results or typed errors, and says what
// it means for the vehicle's turn.
func classifying(o *options, w wire, next exchange) exchange {
	return func(ctx context.Context, r *request, header []string, takes bool) (attempt, error) {
		a, err := next(ctx, r, header, takes)
		if err == nil {
			err = interpret(a.answer, r, w)
		}
		if err == nil {
			a.outcome, a.failure = bookedAs(a.answer, r.kind, w, o.ignoreKeySignal)
			return a, nil
		}
		a.answer = nil
		if e, ok := errors.AsType[*Error](err); ok {
			e.command = r.kind == KindCommand
			e.read = r.reads != nil || r.wire.method == http.MethodGet && !e.command
			a.outcome, a.failure = outcomeOf(e), e
			return a, e
		}
		return a, err
	}
}

// interpret fills in what the answer holds for the request: the parts of a read, the
// result of a command.
func interpret(a *answer, r *request, w wire) error {
	if a.status < 200 || a.status > 299 {
		e := decodeError(r.op, a.status, a.header, a.body, a.at)
		if a.status >= 300 && a.status < 400 {
			e.Description = "Smartcar answered with a redirect, which is never followed"
		}
		return e
	}
	if r.reads != nil || r.command != nil {
		if e := errorInside(r.op, a.status, a.header, a.body, a.at); e != nil {
			return e
		}
	}
	var err error
	switch {
	case r.command != nil:
		a.result, err = w.commandResult(r.command, a)
	case r.reads != nil:
		if a.parts, err = w.split(r.reads, a); err != nil {
			// The body of a success may be an error, as those of commands are.
			if e := decodeError(r.op, a.status, a.header, a.body, a.at); e.Type != "" {
				err = e
			}
		}
	}
	if err != nil {
		e, ok := errors.AsType[*Error](err)
		if !ok {
			return unreadable(r.op, a, err)
		}
		e.inside = true
		return e
	}
	for i := range a.parts {
		decodePart(&a.parts[i], r, w, a)
	}
	return nil
}

// decodePart turns the body of a part into its typed result, or into an error of
// that part: what cannot be read must not be kept as what the car said.
func decodePart(p *part, r *request, w wire, a *answer) {
	if p.err != nil {
		p.err.read = true
		return
	}
	if p.meta.UnitSystem == "" {
		p.meta.UnitSystem = r.units
	}
	p.meta.PolicyOverridden = r.override && r.kind == KindData
	value, err := w.decode(p.op, p.body, p.meta.UnitSystem)
	if err != nil {
		p.err = unreadable(p.op.name, a, err)
		return
	}
	value.setMeta(p.meta)
	p.value = value
}

// unreadable is a success that cannot be understood.
func unreadable(op Operation, a *answer, cause error) *Error {
	return &Error{Operation: op, StatusCode: a.status, RequestID: a.header.Get(headerRequestID), Err: cause}
}

// bookedAs says what an answer that is no error means for the vehicle's turn. The
// failure is that of a part which carries evidence, if any does.
func bookedAs(a *answer, kind Kind, w wire, ignoreKeySignal bool) (policy.Outcome, *Error) {
	outcome, failure := strongest(kind, w, a.parts)
	if !a.observed.wasChecked {
		return outcome, failure
	}
	if failure != nil && failure.isKeyRequired() {
		failure = nil // one of those observed
	}
	return a.observed.turn(outcome), cmp.Or(failure, a.observed.needsKey(ignoreKeySignal))
}

// strongest is the outcome of an answer with parts: of a batch the strongest
// item counts, where it concerns the car.
func strongest(kind Kind, w wire, parts []part) (policy.Outcome, *Error) {
	if len(parts) == 0 {
		return policy.OutcomeOK, nil
	}
	best, failure := policy.OutcomeNone, (*Error)(nil)
	for i := range parts {
		if kind == KindData && w.kind(parts[i].op) != KindData {
			continue
		}
		outcome := policy.OutcomeOK
		if e := parts[i].err; e != nil {
			outcome = outcomeOf(e)
			if failure == nil || e.isKeyRequired() || e.isVehicleLimit() && !failure.isKeyRequired() {
				failure = e
			}
		}
		if outcome.Stronger(best) {
			best = outcome
		}
	}
	return best, failure
}

// outcomeOf says what a failed request means for the vehicle's turn.
func outcomeOf(e *Error) policy.Outcome {
	switch {
	case e.reach == reachedNever:
		return policy.OutcomeReleased
	case e.StatusCode == 0:
		return policy.OutcomeUnclear
	case errors.Is(e, ErrAsleep):
		return policy.OutcomeAsleep
	case e.isVehicleLimit():
		return policy.OutcomeLimited
	case e.isApplicationLimit():
		return policy.OutcomeReleased
	case e.StatusCode == 400 && e.Type != typeAccount,
		e.StatusCode == 401, e.StatusCode == 403, e.StatusCode == 404, e.StatusCode == 430, e.StatusCode == 501:
		return policy.OutcomeReleased
	default:
		return policy.OutcomeAnswered
	}
}
