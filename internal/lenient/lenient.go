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
	f.Value = Value(bytes.TrimSpace(b)).Float()
	return nil
}

// Int is a whole number; zero when it cannot be read.
type Int int

// UnmarshalJSON implements [json.Unmarshaler]. It never fails.
func (i *Int) UnmarshalJSON(b []byte) error {
	*i = Int(Value(bytes.TrimSpace(b)).Int())
	return nil
}

// Bool is true, false or nothing.
type Bool struct{ Value *bool }

// UnmarshalJSON implements [json.Unmarshaler]. It never fails.
func (v *Bool) UnmarshalJSON(b []byte) error {
	v.Value = Value(bytes.TrimSpace(b)).Bool()
	return nil
}

// String is a text, or a number or truth value as it was written; empty for null.
type String string

// UnmarshalJSON implements [json.Unmarshaler]. It never fails.
func (s *String) UnmarshalJSON(b []byte) error {
	*s = String(Value(bytes.TrimSpace(b)).Text())
	return nil
}

// Time is a moment; zero when it cannot be read. It takes RFC 3339 texts and
// numbers of seconds or milliseconds since 1970, however they are written; 0 means
// unknown.
type Time struct{ time.Time }

// UnmarshalJSON implements [json.Unmarshaler]. It never fails.
func (t *Time) UnmarshalJSON(b []byte) error {
	t.Time = Value(bytes.TrimSpace(b)).Time()
	return nil
}

// ParseTime reads what [Time] reads, from a plain text such as a header. What
// is outside the years 1 to 9999 is unknown: it could not be written as JSON again.
func ParseTime(s string) time.Time {
	if s = strings.TrimSpace(s); s == "" {
		return time.Time{}
	}
	var at time.Time
	var err error
	if len(s) > 4 && s[4] == '-' { // parsing what is no date would cost an error
		at, err = time.Parse(time.RFC3339Nano, s)
		if err != nil {
			at, err = time.Parse("2006-01-02T15:04:05Z0700", s) // +0000, as ISO 8601 has it, too
		}
	}
	if at.IsZero() || err != nil {
		at = parseNumber(s)
	}
	at = at.UTC()
	if at.Year() < 1 || at.Year() > 9999 {
		return time.Time{}
	}
	return at
}

// parseNumber reads seconds or milliseconds; a number beyond the year 2100 is taken for
// something else.
func parseNumber(s string) time.Time {
	n, err := strconv.ParseInt(s, 10, 64)
	switch {
	case err != nil:
		return parseFraction(s)
	case n <= 0, n >= year2100 && n <= inMilliseconds, n >= year2100*1000:
		return time.Time{}
	case n > inMilliseconds:
		return time.UnixMilli(n)
	default:
		return time.Unix(n, 0)
	}
}

const (
	inMilliseconds = 1e11 // as seconds this would be the year 5138
	year2100       = 4102444800
)

// parseFraction reads a number that is written with a fraction or an exponent, as
// 1782777353743.0 is.
func parseFraction(s string) time.Time {
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
	v := Value(bytes.TrimSpace(b))
	if *l = nil; v.IsList() && json.Unmarshal(v, (*[]T)(l)) == nil && len(*l) > 0 {
		return nil
	}
	*l = nil
	for element := range v.Elements() { // empty, or one of them is of the wrong type
		var v T
		if json.Unmarshal(element, &v) == nil {
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
