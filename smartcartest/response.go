package smartcartest

import (
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// stamp is how the vendor writes times.
const stamp = "2006-01-02T15:04:05.000Z"

// response is an answer before it is sent, so that a fault can still spoil it.
type response struct {
	status      int
	headers     http.Header
	contentType string
	body        []byte

	streamed bool          // status now, body later, no length
	after    time.Duration // how much later
}

func (r *response) header(name, value string) *response {
	if r.headers == nil {
		r.headers = http.Header{}
	}
	r.headers.Set(name, value)
	return r
}

// head writes all headers but the length.
func (r *response) head(w http.ResponseWriter) {
	h := w.Header()
	for name, values := range r.headers {
		h[name] = values
	}
	if r.contentType != "" {
		h.Set("Content-Type", r.contentType)
	}
}

func (r *response) write(w http.ResponseWriter) {
	r.head(w)
	if r.status == http.StatusNoContent {
		w.WriteHeader(r.status)
		return
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(r.body)))
	w.WriteHeader(r.status)
	_, _ = w.Write(r.body) // the client may be gone: nobody is left to tell
}

func jsonResponse(status int, v any) *response {
	return &response{status: status, contentType: "application/json; charset=utf-8", body: mustJSON(v)}
}

func text(status int, message string) *response {
	return &response{status: status, contentType: "text/plain; charset=utf-8", body: []byte(message + "\n")}
}

// ok is a 200 of the API.
func (c *call) ok(v any) *response {
	return jsonResponse(http.StatusOK, v).header("SC-Request-Id", c.id)
}

// empty is a 204 of the API.
func (c *call) empty() *response {
	return (&response{status: http.StatusNoContent}).header("SC-Request-Id", c.id)
}

// fail is an error in the shape of the called API version.
func (c *call) fail(e *apiError) *response { return c.failAs(e, ErrorList) }

// failAs is fail with a choice of the shape in v3.
func (c *call) failAs(e *apiError, shape ErrorShape) *response {
	var body any = e.v2(c.id)
	if c.v3 {
		body = e.v3(shape, c.cfg.variants.NumericStatus)
	}
	r := jsonResponse(e.status, body)
	r.headers = e.header()
	return r.header("SC-Request-Id", c.id)
}

// dated adds when the data was recorded and fetched.
func (r *response) dated(rec recording, units string) *response {
	for name, value := range dates(rec, units) {
		r.header(name, value)
	}
	return r
}

// dates are the data headers, in lower case as batch items carry them.
func dates(rec recording, units string) map[string]string {
	h := map[string]string{
		"sc-data-age":   rec.at.UTC().Format(stamp),
		"sc-fetched-at": rec.fetched.UTC().Format(stamp),
	}
	if units != "" {
		h["sc-unit-system"] = units
	}
	return h
}

// randomUUID is a fresh id, code or token.
func randomUUID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	return uuid(b)
}

// namedUUID is the same for the same words, always.
func namedUUID(kind string, name any) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "smartcartest/%s/%v", kind, name))
	return uuid([16]byte(sum[:16]))
}

func uuid(b [16]byte) string {
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// isUUID tells a plausible code from garbage.
func isUUID(s string) bool {
	if len(s) != 36 {
		return false
	}
	for i, r := range s {
		if i == 8 || i == 13 || i == 18 || i == 23 {
			if r != '-' {
				return false
			}
		} else if (r < '0' || r > '9') && (r < 'a' || r > 'f') && (r < 'A' || r > 'F') {
			return false
		}
	}
	return true
}

// bucket is the application's rate limit.
type bucket struct {
	tokens float64
	filled time.Time
}

// take draws one request; the clock may have been put back.
func (b *bucket) take(now time.Time, burst int, perMinute float64) bool {
	if gone := now.Sub(b.filled); gone > 0 {
		b.tokens = min(float64(burst), b.tokens+gone.Minutes()*perMinute)
	}
	b.filled = now
	if b.tokens < 1 {
		return false
	}
	b.tokens--
	return true
}
