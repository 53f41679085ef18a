package smartcar_test

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/seed-498a1bc4/smartcar/smartcartest"
)

// sentRequest is a request as it left the client.
type sentRequest struct {
	method, host, path string
	query              url.Values
	header             http.Header
	body               string
}

// wireTap notes every request, and answers in the simulator's place where
// instead says so.
type wireTap struct {
	next    http.RoundTripper
	instead func(r sentRequest) *http.Response // nil, or nil returned: the simulator answers
	mu      sync.Mutex
	sent    []sentRequest
}

func (w *wireTap) RoundTrip(r *http.Request) (*http.Response, error) {
	var body []byte
	if r.Body != nil {
		body, _ = io.ReadAll(r.Body)
		_ = r.Body.Close()
		r = r.Clone(r.Context())
		r.Body = io.NopCloser(bytes.NewReader(body))
	}
	sent := sentRequest{
		method: r.Method, host: r.URL.Host, path: r.URL.EscapedPath(), query: r.URL.Query(), header: r.Header.Clone(), body: string(body),
	}
	w.mu.Lock()
	w.sent = append(w.sent, sent)
	w.mu.Unlock()
	if w.instead != nil {
		if answer := w.instead(sent); answer != nil {
			return answer, nil
		}
	}
	return w.next.RoundTrip(r)
}

// to are the requests whose path contains part.
func (w *wireTap) to(part string) (list []sentRequest) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, r := range w.sent {
		if strings.Contains(r.path, part) {
			list = append(list, r)
		}
	}
	return list
}

// respond is an answer of Smartcar's own making.
func respond(status int, body string) *http.Response {
	return &http.Response{
		StatusCode: status, Body: io.NopCloser(strings.NewReader(body)), ContentLength: -1,
		Header: http.Header{"Content-Type": {"application/json"}, "Sc-Request-Id": {"request-1"}},
	}
}

// onlyTo answers the requests whose path contains part.
func onlyTo(part string, answer func(r sentRequest) *http.Response) func(sentRequest) *http.Response {
	return func(r sentRequest) *http.Response {
		if strings.Contains(r.path, part) {
			return answer(r)
		}
		return nil
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

// anyPath answers everything below /vehicles and notes the path.
type anyPath struct {
	*canned
	mu    sync.Mutex
	paths []string
	hosts []string
}

func (a *anyPath) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL.Path == "/v2.0/user" {
		return a.canned.RoundTrip(req)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.paths = append(a.paths, req.URL.EscapedPath())
	a.hosts = append(a.hosts, req.URL.Host)
	return jsonReply(200, `{"id":"1","make":"FORD","model":"Focus","year":2020,"distance":null,"status":"success","responses":[],"permissions":[]}`).response(req)
}

// tokenWatch notes what is sent to the token endpoint and with which access
// tokens the API is called. Its hook, if any, makes the request instead.
type tokenWatch struct {
	http.RoundTripper
	token func(r *http.Request) (*http.Response, error)
	mu    sync.Mutex
	forms []url.Values
	used  []string
}

func (w *tokenWatch) RoundTrip(r *http.Request) (*http.Response, error) {
	if !strings.HasSuffix(r.URL.Path, "/oauth/token") {
		w.mu.Lock()
		w.used = append(w.used, strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "))
		w.mu.Unlock()
		return w.RoundTripper.RoundTrip(r)
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, err
	}
	w.mu.Lock()
	w.forms = append(w.forms, form)
	hook := w.token
	w.mu.Unlock()
	r.Body = io.NopCloser(bytes.NewReader(body))
	if hook != nil {
		return hook(r)
	}
	return w.RoundTripper.RoundTrip(r)
}

// refreshes are the refresh tokens that were sent, in order.
func (w *tokenWatch) refreshes() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var sent []string
	for _, f := range w.forms {
		if f.Get("grant_type") == "refresh_token" {
			sent = append(sent, f.Get("refresh_token"))
		}
	}
	return sent
}

// dyingTransport ends the goroutine between the token endpoint's answer and
// whatever would have been done with it, once.
func dyingTransport(sim *smartcartest.Server) *tokenWatch {
	w := &tokenWatch{RoundTripper: sim.Transport()}
	var armed atomic.Bool
	armed.Store(true)
	w.token = func(r *http.Request) (*http.Response, error) {
		resp, err := w.RoundTripper.RoundTrip(r)
		if armed.CompareAndSwap(true, false) {
			runtime.Goexit()
		}
		return resp, err
	}
	return w
}

// countingServer serves the simulator on loopback and counts connections.
func countingServer(t *testing.T, sim http.Handler) (origin *url.URL, client *http.Client, connections *atomic.Int64) {
	t.Helper()
	connections = new(atomic.Int64)
	server := httptest.NewUnstartedServer(sim)
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			connections.Add(1)
		}
	}
	server.Start()
	t.Cleanup(server.Close)
	return mustParse(t, server.URL), server.Client(), connections
}

func countedData(sim *smartcartest.Server, vehicleID string) int {
	n := 0
	for _, e := range sim.Ledger(vehicleID) {
		if e.Kind == smartcartest.Data {
			n++
		}
	}
	return n
}

func statuses(sim *smartcartest.Server, path string) []int {
	var all []int
	for _, r := range sim.Requests() {
		if strings.HasSuffix(r.Path, path) {
			all = append(all, r.Status)
		}
	}
	return all
}

func countPath(sim *smartcartest.Server, path string) int { return len(statuses(sim, path)) }
