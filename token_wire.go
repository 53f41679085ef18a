package smartcar

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"math"
	"net/http"
	"strconv"

	"github.com/seed-498a1bc4/smartcar/internal/lenient"
)

// tokenTransport is what x/oauth2 sends through.
type tokenTransport struct{ o *options }

var _ http.RoundTripper = tokenTransport{}

func (t tokenTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	req = req.Clone(req.Context())
	req.Header["User-Agent"] = t.o.userAgent
	sent := t.o.sentForToken(req)
	resp, err := t.o.roundTrip(req)
	if err != nil {
		return nil, sent.cause(err)
	}
	resp.Header = resp.Header.Clone()
	if resp.Header.Get("Content-Type") == "" {
		resp.Header.Set("Content-Type", "application/json") // x/oauth2 would guess a form
	}
	body, err := readAtMost(resp.Body, maxErrorBody, resp.ContentLength)
	_ = resp.Body.Close()
	switch {
	case err != nil && !errors.Is(err, errBodyTooLarge): // of which what is read is no JSON
		err = sent.cause(err)
	case resp.StatusCode >= 300:
		resp.Header, body, err = sent.header(resp.Header), sent.json(body), nil
	default:
		body, err = wholeSeconds(body), nil
	}
	resp.Body, resp.ContentLength = io.NopCloser(io.MultiReader(bytes.NewReader(body), brokenOff{err})), -1
	return resp, nil
}

// wholeSeconds writes a lifetime as x/oauth2 can read it: 7200.0 and 7.2e3 are the
// same number in JSON, and fail there. One that is none is left out.
func wholeSeconds(body []byte) []byte {
	fields, err := decodeObject[map[string]json.RawMessage](body)
	if err != nil {
		return body
	}
	life, ok := (*fields)["expires_in"]
	if !ok {
		return body
	}
	var seconds lenient.Float
	_ = seconds.UnmarshalJSON(life)
	if s := seconds.Value; s != nil && *s >= 1 && *s < math.MaxInt32 {
		(*fields)["expires_in"] = strconv.AppendInt(nil, int64(*s), 10)
	} else {
		delete(*fields, "expires_in")
	}
	whole, err := json.Marshal(*fields)
	if err != nil {
		return body
	}
	return whole
}

// brokenOff ends a body as it had ended.
type brokenOff struct{ err error }

func (b brokenOff) Read([]byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	return 0, io.EOF
}
