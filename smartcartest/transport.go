package smartcartest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

// Transport returns the server as an in-memory transport for every host. It
// needs no socket and starts no goroutine, so it works inside a synctest
// bubble. It honors the request's context during injected latency, and
// consumes and closes the request's body. A dropped connection is an error
// that wraps io.ErrUnexpectedEOF; unlike net/http's own transport, this one
// never sends a request again by itself.
func (s *Server) Transport() http.RoundTripper { return transport{s} }

// transport runs a handler in memory.
type transport struct{ h http.Handler }

func (t transport) RoundTrip(req *http.Request) (*http.Response, error) {
	body := req.Body
	if body == nil {
		body = http.NoBody
	}
	defer func() { _ = body.Close() }() // an error changes nothing
	if err := req.Context().Err(); err != nil {
		return nil, err
	}
	sent, err := io.ReadAll(body)
	if err != nil {
		return nil, err
	}
	// A round tripper must not change the caller's request: the handler gets
	// a copy.
	r := req.Clone(req.Context())
	r.Body = bodyOf(sent)
	r.ContentLength = int64(len(sent))
	r.RequestURI = req.URL.RequestURI()
	r.RemoteAddr = "192.0.2.1:1234"
	r.Proto, r.ProtoMajor, r.ProtoMinor = "HTTP/1.1", 1, 1
	if r.Host == "" {
		r.Host = req.URL.Host
	}
	w := &recorder{header: http.Header{}}
	if !runHandler(t.h, w, r) {
		if err := req.Context().Err(); err != nil {
			return nil, err
		}
		return nil, fmt.Errorf("smartcartest: connection dropped: %w", io.ErrUnexpectedEOF)
	}
	res := &http.Response{
		Status: fmt.Sprintf("%d %s", w.status, http.StatusText(w.status)), StatusCode: w.status,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: w.header, Body: io.NopCloser(bytes.NewReader(w.body.Bytes())),
		ContentLength: int64(w.body.Len()), Request: req,
	}
	if w.lateBody != nil {
		res.Body, res.ContentLength = w.lateBody, -1
	}
	return res, nil
}

// runHandler calls a handler; false when the handler dropped the connection.
func runHandler(h http.Handler, w http.ResponseWriter, r *http.Request) (answered bool) {
	defer func() {
		if p := recover(); p != nil {
			if err, ok := p.(error); !ok || !errors.Is(err, http.ErrAbortHandler) {
				panic(p) // a mistake of the simulator, not an injected fault
			}
			answered = false
		}
	}()
	h.ServeHTTP(w, r)
	return true
}

// recorder is an http.ResponseWriter that keeps the answer in memory.
type recorder struct {
	header   http.Header
	status   int
	body     bytes.Buffer
	lateBody *lateBody // set: the client reads this instead of body
}

func (w *recorder) Header() http.Header { return w.header }

func (w *recorder) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
}

func (w *recorder) Write(b []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	return w.body.Write(b)
}

// Start serves on a free loopback port and returns the origin for all of the
// vendor's hosts, base path included, e.g. "http://127.0.0.1:40001". Dropped
// connections are real there: net/http's transport may repeat a GET by itself.
// stop closes all connections and waits until serving has ended; it may be
// called more than once. A Server can be started several times.
func (s *Server) Start() (origin string, stop func(), err error) {
	s.ready()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, fmt.Errorf("smartcartest: %w", err)
	}
	srv := &http.Server{Handler: s, ReadHeaderTimeout: time.Minute}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = srv.Serve(l) // ErrServerClosed, after stop
	}()
	stop = func() {
		_ = srv.Close()
		<-done
	}
	return "http://" + l.Addr().String() + s.cfg.basePath, stop, nil
}
