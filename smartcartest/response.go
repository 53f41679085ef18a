package smartcartest

import (
	"context"
	"net/http"
	"strconv"
	"time"
)

// timeLayout is how the vendor writes times.
const timeLayout = "2006-01-02T15:04:05.000Z"

// object is a JSON object.
type object = map[string]any

// response is an answer that has not been sent yet. A fault may still change
// it.
type response struct {
	status      int
	headers     http.Header
	contentType string
	body        []byte

	streamed    bool          // sent by stream, not by write
	streamAfter time.Duration // how long the body of a streamed answer takes
}

// jsonResponse answers with v as JSON.
func jsonResponse(status int, v any) *response {
	return &response{status: status, contentType: "application/json; charset=utf-8", body: mustJSON(v)}
}

// textResponse answers with one line of plain text.
func textResponse(status int, message string) *response {
	return &response{status: status, contentType: "text/plain; charset=utf-8", body: []byte(message + "\n")}
}

// header sets a header and returns r.
func (r *response) header(name, value string) *response {
	if r.headers == nil {
		r.headers = http.Header{}
	}
	r.headers.Set(name, value)
	return r
}

// writeHeaders writes all headers but Content-Length.
func (r *response) writeHeaders(w http.ResponseWriter) {
	h := w.Header()
	for name, values := range r.headers {
		h[name] = values
	}
	if r.contentType != "" {
		h.Set("Content-Type", r.contentType)
	}
}

// write sends the whole answer at once.
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

// stream sends status and headers at once, without Content-Length, and the
// body after wait. With drop the connection closes instead of the body.
func (r *response) stream(ctx context.Context, w http.ResponseWriter, wait time.Duration, drop bool) {
	r.writeHeaders(w)
	w.WriteHeader(r.status)
	if own, ok := w.(*recorder); ok { // in memory, Read waits: RoundTrip has to return first
		own.lateBody = newLateBody(ctx, time.Now().Add(wait), r.body, drop)
		return
	}
	_ = http.NewResponseController(w).Flush() // a writer that cannot flush sends everything at the end
	if !sleep(ctx, wait) || drop {
		panic(http.ErrAbortHandler)
	}
	_, _ = w.Write(r.body) // the client may be gone: nobody is left to tell
}

// dated adds the headers that say when the data was recorded and fetched.
func (r *response) dated(rec recording, units string) *response {
	for name, value := range dataHeaders(rec, units) {
		r.header(name, value)
	}
	return r
}

// dataHeaders are the headers of an answer with data. The names are in lower
// case, as the items of a batch have them.
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
