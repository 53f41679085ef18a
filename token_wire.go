package smartcar

import (
	"bytes"
	"errors"
	"io"
	"net/http"
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
	if resp.StatusCode >= 300 {
		t.strike(resp, &sent)
	}
	return resp, nil
}

// strike removes from an error what was sent.
func (t tokenTransport) strike(resp *http.Response, sent *echo) {
	body, err := readAtMost(resp.Body, maxErrorBody, resp.ContentLength)
	_ = resp.Body.Close()
	if errors.Is(err, errBodyTooLarge) {
		err = nil // what is read of it is no JSON
	}
	resp.Header = sent.header(resp.Header)
	resp.Body = io.NopCloser(io.MultiReader(bytes.NewReader(sent.json(body)), brokenOff{err}))
}

// brokenOff ends a body as it had ended.
type brokenOff struct{ err error }

func (b brokenOff) Read([]byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	return 0, io.EOF
}
