// Package echo removes from an answer the secrets that the request has sent.
package echo

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// An Echo holds the secrets that one request sends. A server may send them back in
// any text, and errors end in logs, so they are struck out of the answer before
// anybody reads it.
//
// It has a fixed size, so that it costs a request no allocation.
type Echo struct {
	secrets [maxEcho]string
	n       int
}

// maxEcho is more than any request has: each credential counts twice, as it is
// and as it looks in a form.
const maxEcho = 18

// struckOut stands where a secret was.
const struckOut = "[secret]"

// shortestSecret: a shorter one could not be told from ordinary text.
const shortestSecret = 4

// Add adds a secret, and how it looks in a form.
func (e *Echo) Add(secret string) {
	for _, form := range [...]string{secret, url.QueryEscape(secret)} {
		if len(form) >= shortestSecret && e.n < maxEcho && !slices.Contains(e.secrets[:e.n], form) {
			e.secrets[e.n] = form
			e.n++
		}
	}
}

// text is s without the secrets.
func (e *Echo) text(s string) string {
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

// standsAlone reports whether a short secret, such as those of tests, is a word of its
// own. A secret of 16 bytes or more is found inside other words, too.
func standsAlone(s string, from, to int) bool {
	const certain = 16
	return to-from >= certain || (from == 0 || !isWord(s[from-1])) && (to == len(s) || !isWord(s[to]))
}

func isWord(c byte) bool {
	return c == '_' || '0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'z'
}

// JSON strikes the secrets out of the strings of a JSON document, however they are
// escaped. The names of fields are not changed: errors never show them. Nor do errors
// show anything of a body that is not JSON.
func (e *Echo) JSON(body []byte) []byte {
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

// mayBeIn is a quick check: most answers hold neither a secret nor an escape that
// could hide one.
func (e *Echo) mayBeIn(body []byte) bool {
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

// Header returns h without the secrets. H itself, which may be the transport's,
// is not changed.
func (e *Echo) Header(h http.Header) http.Header {
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

// Cause returns an error that says the same without the secrets: net/http quotes
// what it cannot read.
func (e *Echo) Cause(err error) error {
	if err == nil {
		return nil
	}
	text := err.Error()
	if safe := e.text(text); safe != text {
		return errors.New(safe)
	}
	return err
}
