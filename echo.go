package smartcar

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// An echo is what one request has sent that must not be seen: a server may send
// it back in any text, and errors end in logs. What comes back is read without it.
//
// It has a fixed size, so that it costs a request no allocation.
type echo struct {
	secrets [maxEcho]string
	n       int
}

// maxEcho is more than any request has: each credential counts twice, as it is
// and as it looks in a form.
const maxEcho = 18

// struckOut stands where a secret was.
const struckOut = "[secret]"

// sentWith are the secrets of a request to the API: the application's, the token
// in its header, and those that belong to that token.
func (own secrets) sentWith(header []string, auth credential) (e echo) {
	e.add(own.clientSecret)
	e.add(own.apiClientSecret)
	e.add(own.managementToken)
	for _, value := range header {
		_, token, _ := strings.Cut(value, " ")
		e.add(token)
	}
	current, spare := auth.refreshTokens()
	e.add(current)
	e.add(spare)
	return e
}

// sentForToken are the secrets of a request to a token endpoint.
func (o *options) sentForToken(req *http.Request) (e echo) {
	if kind, sent, _ := strings.Cut(req.Header.Get("Authorization"), " "); kind == "Basic" {
		pair, _ := base64.StdEncoding.DecodeString(sent)
		_, secret, _ := strings.Cut(string(pair), ":")
		plain, _ := url.QueryUnescape(secret)
		for _, form := range []string{sent, secret, plain} {
			e.add(form)
		}
	}
	if req.GetBody == nil {
		return e
	}
	body, err := req.GetBody()
	if err != nil {
		return e
	}
	text, _ := io.ReadAll(body)
	form, _ := url.ParseQuery(string(text))
	var asJSON map[string]string
	_ = json.Unmarshal(text, &asJSON)
	for _, name := range []string{"code", "refresh_token", "client_secret"} {
		e.add(form.Get(name))
		e.add(asJSON[name])
	}
	return e
}

// shortestSecret: less could not be told from ordinary text.
const shortestSecret = 4

// add adds a secret, and how it looks in a form.
func (e *echo) add(secret string) {
	for _, form := range [...]string{secret, url.QueryEscape(secret)} {
		if len(form) >= shortestSecret && e.n < maxEcho && !slices.Contains(e.secrets[:e.n], form) {
			e.secrets[e.n] = form
			e.n++
		}
	}
}

// text is s without the secrets.
func (e *echo) text(s string) string {
	for _, secret := range e.secrets[:e.n] {
		for from := 0; ; {
			i := strings.Index(s[from:], secret)
			if i < 0 {
				break
			}
			i += from
			end := i + len(secret)
			if !standsAlone(s, i, end) {
				from = i + 1
				continue
			}
			s, from = s[:i]+struckOut+s[end:], i+len(struckOut)
		}
	}
	return s
}

// standsAlone keeps a short secret, such as those of tests, from being found
// inside other words. One of a real length is found wherever it stands.
func standsAlone(s string, from, to int) bool {
	const certain = 16
	return to-from >= certain || (from == 0 || !isWord(s[from-1])) && (to == len(s) || !isWord(s[to]))
}

func isWord(c byte) bool {
	return c == '_' || '0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'z'
}

// json strikes the secrets out of the texts of a JSON document, however they are
// escaped. Names of fields stay: they are never shown. Of what is no JSON nothing
// is shown at all.
func (e *echo) json(body []byte) []byte {
	if !e.mayBeIn(body) {
		return body
	}
	var clean []byte // nil while nothing was found
	kept := 0        // body up to here is in clean
	for i := 0; i < len(body); i++ {
		if body[i] != '"' {
			continue
		}
		end := endOfText(body, i)
		if rest := bytes.TrimLeft(body[end:], " \t\r\n"); len(rest) == 0 || rest[0] != ':' {
			var text string
			if json.Unmarshal(body[i:end], &text) == nil {
				if safe := e.text(text); safe != text {
					quoted, _ := json.Marshal(safe) // a text: cannot fail
					clean = append(append(clean, body[kept:i]...), quoted...)
					kept = end
				}
			}
		}
		i = end - 1
	}
	if clean == nil {
		return body
	}
	return append(clean, body[kept:]...)
}

// endOfText returns where the text that begins at body[from] ends.
func endOfText(body []byte, from int) int {
	for i := from + 1; i < len(body); i++ {
		switch body[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return len(body)
}

// mayBeIn is quick, as most answers hold neither a secret nor an escape, which
// could hide one.
func (e *echo) mayBeIn(body []byte) bool {
	if e.n == 0 {
		return false
	}
	if bytes.IndexByte(body, '\\') >= 0 {
		return true
	}
	for _, secret := range e.secrets[:e.n] {
		for rest := body; len(rest) >= len(secret); rest = rest[1:] {
			i := bytes.IndexByte(rest, secret[0])
			if i < 0 || len(rest)-i < len(secret) {
				break
			}
			if rest = rest[i:]; string(rest[:len(secret)]) == secret {
				return true
			}
		}
	}
	return false
}

// header returns h without the secrets. H itself, which may be the transport's,
// is not changed.
func (e *echo) header(h http.Header) http.Header {
	clean, copied := h, false
	for name, values := range h {
		for i, v := range values {
			if safe := e.text(v); safe != v {
				if !copied {
					clean, copied = h.Clone(), true
				}
				clean[name][i] = safe
			}
		}
	}
	return clean
}

// cause returns an error that says the same without the secrets: net/http quotes
// what it cannot read.
func (e *echo) cause(err error) error {
	if err == nil {
		return nil
	}
	text := err.Error()
	if safe := e.text(text); safe != text {
		return errors.New(safe)
	}
	return err
}
