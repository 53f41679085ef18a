package smartcar_test

import (
	"bytes"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/smartcartest"
	"github.com/stretchr/testify/require"
)

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

// tapped returns a client of API v3 and what it sends.
func tapped(t testing.TB, sim *smartcartest.Server, opts ...smartcar.Option) (*smartcar.Client, *wireTap) {
	t.Helper()
	tap := &wireTap{next: sim.Transport()}
	opts = append([]smartcar.Option{smartcar.WithHTTPClient(&http.Client{Transport: tap})}, opts...)
	return apiClient(t, sim, smartcar.V3, opts...), tap
}

// onV3 is a connected owner of the simulator's garage, on API v3.
func onV3(t testing.TB, sim *smartcartest.Server, opts ...smartcar.Option) *smartcar.User {
	t.Helper()
	client := apiClient(t, sim, smartcar.V3, opts...)
	return client.User(connect(t, sim, client).UserID)
}

// garageWith is the default garage with one car changed.
func garageWith(id string, change func(*smartcartest.Car)) smartcartest.Option {
	cars := smartcartest.DefaultGarage()
	for i := range cars {
		if cars[i].ID == id {
			change(&cars[i])
		}
	}
	return smartcartest.WithCars(cars...)
}

// requireError is errors.As for the one type most tests look at.
func requireError(t testing.TB, err error) *smartcar.Error {
	t.Helper()
	var e *smartcar.Error
	require.ErrorAs(t, err, &e)
	return e
}

// splitPath keeps what is escaped within its segment.
func splitPath(path string) []string { return strings.Split(path, "/") }
