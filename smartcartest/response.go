package smartcartest

import (
	"context"
	"net/http"
	"strconv"
	"time"
)

// timeLayout is how the vendor writes times.
const timeLayout = "2006-01-02T15:04:05.000Z"

type object = map[string]any

// response is an answer before it is sent, so that a fault can still spoil it.
type response struct {
	status      int
	headers     http.Header
	contentType string
	body        []byte

	streamed    bool          // status now, body later, no length
	streamAfter time.Duration // how much later
}

func jsonResponse(status int, v any) *response {
	return &response{status: status, contentType: "application/json; charset=utf-8", body: mustJSON(v)}
}

func textResponse(status int, message string) *response {
	return &response{status: status, contentType: "text/plain; charset=utf-8", body: []byte(message + "\n")}
}

func (r *response) header(name, value string) *response {
	if r.headers == nil {
		r.headers = http.Header{}
	}
	r.headers.Set(name, value)
	return r
}

// writeHeaders writes all headers but the length.
func (r *response) writeHeaders(w http.ResponseWriter) {
	h := w.Header()
	for name, values := range r.headers {
		h[name] = values
	}
	if r.contentType != "" {
		h.Set("Content-Type", r.contentType)
	}
}

func (r *response) write(w http.ResponseWriter) {
	r.writeHeaders(w)
	if r.status == http.StatusNoContent {
		w.WriteHeader(r.status)
		return
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(r.body)))
	w.WriteHeader(r.status)
	_, _ = w.Write(r.body) // the client may be gone: nobody is left to tell
}

// stream sends the status at once, without a length, and the body when the
// command is done. drop closes the connection instead of the body.
func (r *response) stream(ctx context.Context, w http.ResponseWriter, wait time.Duration, drop bool) {
	r.writeHeaders(w)
	w.WriteHeader(r.status)
	if own, ok := w.(*recorder); ok { // in memory: the reader waits, as nobody else could
		own.lateBody = newLateBody(ctx, time.Now().Add(wait), r.body, drop)
		return
	}
	_ = http.NewResponseController(w).Flush() // a writer that cannot flush sends all at the end
	if !sleep(ctx, wait) || drop {
		panic(http.ErrAbortHandler)
	}
	_, _ = w.Write(r.body) // the client may be gone: nobody is left to tell
}

// dated adds when the data was recorded and fetched.
func (r *response) dated(rec recording, units string) *response {
	for name, value := range dataHeaders(rec, units) {
		r.header(name, value)
	}
	return r
}

// dataHeaders are the data headers, in lower case as batch items carry them.
func dataHeaders(rec recording, units string) map[string]string {
	h := map[string]string{
		"sc-data-age":   rec.recorded.UTC().Format(timeLayout),
		"sc-fetched-at": rec.fetched.UTC().Format(timeLayout),
	}
	if units != "" {
		h["sc-unit-system"] = units
	}
	return h
}
