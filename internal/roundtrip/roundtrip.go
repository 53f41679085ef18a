// Package roundtrip makes one HTTP request and reads its whole answer. It never
// sends a request twice, and says of one that failed whether the server can have
// acted on it.
package roundtrip

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptrace"
	"slices"
	"sync/atomic"
)

var (
	// ErrTooLarge: there is more of a body than is read.
	ErrTooLarge = errors.New("the body is larger than this client reads")

	errNoAnswer = errors.New("the transport returned neither an answer nor an error")
)

// A Request is one to be sent once.
type Request struct {
	*http.Request
	watch *watch // nil for one that may be repeated
}

// New returns a request. One that must not be repeated is not repeated by
// net/http either, which sends a GET again when a kept-alive connection breaks.
func New(ctx context.Context, method, url string, body []byte, repeatable bool) (Request, error) {
	var w *watch
	if !repeatable {
		w = new(watch)
		ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
			GetConn: func(string) { w.asked.Store(true) },
			GotConn: func(httptrace.GotConnInfo) { w.connected.Store(true) },
		})
	}
	var content io.Reader
	if body != nil {
		content = bytes.NewReader(body)
	}
	req, err := http.NewRequestWithContext(ctx, method, url, content)
	if err != nil {
		return Request{}, err
	}
	if !repeatable {
		// A body that net/http cannot rewind keeps it from repeating the request.
		req.GetBody = nil
		if body == nil && method == http.MethodGet {
			req.Body = io.NopCloser(empty{}) // reads as none
		}
	}
	return Request{req, w}, nil
}

type empty struct{}

func (empty) Read([]byte) (int, error) { return 0, io.EOF }

// watch notes whether a connection was ever handed to a request. It only knows
// with transports that report, such as net/http's own.
type watch struct{ asked, connected atomic.Bool }

// NotSent is the function of that name, and knows of connections that were never
// made.
func (r Request) NotSent(err error) bool {
	return NotSent(err) || r.watch != nil && r.watch.asked.Load() && !r.watch.connected.Load()
}

// Send sends a request through a transport, nil for net/http's own, and fills in
// what simple transports in tests leave out. The body is to be read with [Body].
func Send(t http.RoundTripper, req *http.Request) (*http.Response, error) {
	if t == nil {
		t = http.DefaultTransport
	}
	resp, err := t.RoundTrip(req)
	switch {
	case err != nil:
		return nil, err
	case resp == nil:
		return nil, errNoAnswer
	}
	if resp.Body == nil {
		resp.Body = http.NoBody
	}
	if resp.Header == nil {
		resp.Header = http.Header{}
	}
	return resp, nil
}

// Body reads and closes the body, so that the connection can be used again. It
// returns what it could read, with ErrTooLarge if there is more than limit. Of an
// answer that is no success it reads as much as the other limit allows, and the
// rest does not matter.
func Body(resp *http.Response, limit, limitOfErrors int) ([]byte, error) {
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode < 300 {
		return ReadAtMost(resp.Body, limit, resp.ContentLength)
	}
	body, err := ReadAtMost(resp.Body, limitOfErrors, resp.ContentLength)
	if errors.Is(err, ErrTooLarge) {
		err = nil
	}
	return body, err
}

// ReadAtMost returns what it could read, with ErrTooLarge if there is more than
// limit. Announced is the length the sender promised, below zero if none.
func ReadAtMost(r io.Reader, limit int, announced int64) ([]byte, error) {
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
			return body[:limit], ErrTooLarge
		case len(body) == cap(body):
			body = slices.Grow(body, min(len(body), limit+1-len(body)))
		}
	}
}
