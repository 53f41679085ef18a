// Package lenient decodes JSON the way a client of somebody else's API must:
// null, a number sent as a string, an enum never heard of or a field of the
// wrong type never fails the answer it stands in. What cannot be read is absent.
package lenient

import (
	"bytes"
	"encoding/json"
	"math"
	"strconv"
	"strings"
	"time"
)

// Float is a number or nothing.
type Float struct{ Value *float64 }

// UnmarshalJSON implements [json.Unmarshaler]. It never fails.
func (f *Float) UnmarshalJSON(b []byte) error {
	f.Value = nil
	if n, err := strconv.ParseFloat(text(b), 64); err == nil && !math.IsNaN(n) && !math.IsInf(n, 0) {
		f.Value = &n
	}
	return nil
}

// Int is a whole number; zero when it cannot be read.
type Int int

// UnmarshalJSON implements [json.Unmarshaler]. It never fails.
func (i *Int) UnmarshalJSON(b []byte) error {
	*i = 0
	if n, err := strconv.ParseFloat(text(b), 64); err == nil && math.Abs(n) <= 1<<31 {
		*i = Int(n)
	}
	return nil
}

// Bool is true, false or nothing.
type Bool struct{ Value *bool }

// UnmarshalJSON implements [json.Unmarshaler]. It never fails.
func (v *Bool) UnmarshalJSON(b []byte) error {
	v.Value = nil
	switch strings.ToLower(text(b)) {
	case "true":
		v.Value = new(true)
	case "false":
		v.Value = new(false)
	}
	return nil
}

// String is a text, or a number or truth value as it was written; empty for null.
type String string

// UnmarshalJSON implements [json.Unmarshaler]. It never fails.
func (s *String) UnmarshalJSON(b []byte) error {
	*s = String(text(b))
	return nil
}

// Time is a moment; zero when it cannot be read. It takes RFC 3339 texts and
// numbers of seconds or milliseconds since 1970, however they are written; 0 means
// unknown.
type Time struct{ time.Time }

// UnmarshalJSON implements [json.Unmarshaler]. It never fails.
func (t *Time) UnmarshalJSON(b []byte) error {
	t.Time = ParseTime(text(b))
	return nil
}

// ParseTime reads what [Time] reads, from a plain text such as a header. What
// is outside the years 1 to 9999 is unknown: it could not be written as JSON again.
func ParseTime(s string) time.Time {
	if s = strings.TrimSpace(s); s == "" {
		return time.Time{}
	}
	at := parseTime(s).UTC()
	if at.Year() < 1 || at.Year() > 9999 {
		return time.Time{}
	}
	return at
}

func parseTime(s string) time.Time {
	if at, err := time.Parse(time.RFC3339Nano, s); err == nil {
		return at
	}
	n, err := strconv.ParseInt(s, 10, 64)
	switch {
	case err != nil:
		return parseFraction(s)
	case n <= 0:
		return time.Time{}
	case n > inMilliseconds:
		return time.UnixMilli(n)
	default:
		return time.Unix(n, 0)
	}
}

// inMilliseconds: as seconds this would be the year 5138.
const inMilliseconds = 1e11

// parseFraction reads a number that is written with a fraction or an exponent, as
// 1782777353743.0 is; one beyond the year 2100 is taken for something else.
func parseFraction(s string) time.Time {
	const year2100 = 4102444800
	n, err := strconv.ParseFloat(s, 64)
	if err != nil {
		return time.Time{}
	}
	if n > inMilliseconds {
		n /= 1000
	}
	if !(n >= 1 && n < year2100) { // NaN, too
		return time.Time{}
	}
	seconds, fraction := math.Modf(n)
	return time.Unix(int64(seconds), int64(math.Round(fraction*1e6))*1000)
}

// List is an array; a single object where an array belongs counts as one
// element, and elements of the wrong type are left out.
type List[T any] []T

// UnmarshalJSON implements [json.Unmarshaler]. It never fails.
func (l *List[T]) UnmarshalJSON(b []byte) error {
	*l = nil
	b = bytes.TrimSpace(b)
	if bytes.Equal(b, []byte("null")) {
		return nil
	}
	var raw []json.RawMessage
	if json.Unmarshal(b, &raw) != nil {
		raw = []json.RawMessage{b}
	}
	for _, r := range raw {
		var v T
		if json.Unmarshal(r, &v) == nil {
			*l = append(*l, v)
		}
	}
	return nil
}

// Object is a nested object; anything else leaves Value at its zero.
type Object[T any] struct {
	Value   T
	Present bool
}

// UnmarshalJSON implements [json.Unmarshaler]. It never fails.
func (o *Object[T]) UnmarshalJSON(b []byte) error {
	*o = Object[T]{}
	if b = bytes.TrimSpace(b); len(b) > 0 && b[0] == '{' && json.Unmarshal(b, &o.Value) == nil {
		o.Present = true
	}
	return nil
}

// text returns a JSON scalar without its quotes, and "" for null, objects and arrays.
func text(b []byte) string {
	b = bytes.TrimSpace(b)
	if len(b) == 0 {
		return ""
	}
	switch b[0] {
	case '"':
		var s string
		if json.Unmarshal(b, &s) != nil {
			return ""
		}
		return s
	case '{', '[', 'n':
		return ""
	}
	return string(b)
}
