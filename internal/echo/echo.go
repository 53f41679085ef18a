// Package echo removes from an answer the secrets that the request has sent.
package echo

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
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

// escapes are the characters that begin an escape of JSON, of a URL and of HTML.
const escapes = `\%&`

// layers is how often a text is read without its escapes: a link in a link in a link.
const layers = 3

// Text returns s without the secrets, however they are escaped as in a URL, in JSON or
// in HTML. A text that holds an escaped one is returned without its escapes.
func (e *Echo) Text(s string) string { return e.text(s, layers) }

// unescape returns s with the escapes of a URL and of JSON replaced: %2f, \u002f and
// \/. What is no escape stays as it is.
func unescape(s string) string {
	plain := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		switch rest := s[i:]; {
		case len(rest) > 2 && rest[0] == '%' && isHex(rest[1:3]):
			b, _ := strconv.ParseUint(rest[1:3], 16, 8) // isHex has looked
			plain = append(plain, byte(b))
			i += 2
		case len(rest) > 5 && rest[:2] == `\u` && isHex(rest[2:6]):
			r, _ := strconv.ParseUint(rest[2:6], 16, 16)
			plain = utf8.AppendRune(plain, rune(r))
			i += 5
		case len(rest) > 1 && rest[:2] == `\/`:
		default:
			plain = append(plain, s[i])
		}
	}
	return string(plain)
}

func isHex(s string) bool { return strings.Trim(s, "0123456789abcdefABCDEF") == "" }

// text is s without the secrets as they were added, and without those that show when
// the escapes are replaced, so many times.
func (e *Echo) text(s string, times int) string {
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
	if times == 0 || !strings.ContainsAny(s, escapes) {
		return s
	}
	plain := html.UnescapeString(unescape(s))
	if safe := e.text(plain, times-1); safe != plain {
		return safe
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
				if safe := e.text(text, layers); safe != text {
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
	if bytes.ContainsAny(body, escapes) {
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
			if safe := e.text(v, layers); safe != v {
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
// what it cannot read, and the error of somebody's own transport may hold the request.
func (e *Echo) Cause(err error) error {
	if err == nil || !e.isShownBy(err) {
		return err
	}
	return errors.New(e.Text(err.Error()))
}

// isShownBy reports whether an error, or one that it wraps, shows a secret in whatever
// way a log writes it: as text, with its fields, or as JSON.
func (e *Echo) isShownBy(err error) bool {
	if err == nil {
		return false
	}
	for _, s := range [...]string{err.Error(), fmt.Sprintf("%+v", err), fmt.Sprintf("%#v", err)} {
		if e.Text(s) != s {
			return true
		}
	}
	if text, failed := json.Marshal(err); failed == nil && !bytes.Equal(e.JSON(text), text) {
		return true
	}
	switch wrapped := err.(type) { //nolint:errorlint // this is the walk that errors.Is makes
	case interface{ Unwrap() error }:
		return e.isShownBy(wrapped.Unwrap())
	case interface{ Unwrap() []error }:
		return slices.ContainsFunc(wrapped.Unwrap(), e.isShownBy)
	}
	return false
}
