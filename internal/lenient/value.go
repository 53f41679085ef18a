package lenient

import (
	"encoding/json"
	"iter"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// A Value is one JSON value in a document that [Parse] has checked. Its methods walk
// over the document in place: nothing is copied or allocated but what they return. They
// read what the types of this package read, and what cannot be read is absent.
//
// A Value shares its bytes with the document.
type Value []byte

// Parse checks a document as [json.Valid] does and returns its value. Ok is false, and
// the value is absent, for what is not valid JSON.
func Parse(document []byte) (v Value, ok bool) {
	from := skipSpace(document, 0)
	end := scanValue(document, from, 0)
	if end < 0 || skipSpace(document, end) != len(document) {
		return nil, false
	}
	return document[from:end], true
}

// IsObject reports whether the value is an object.
func (v Value) IsObject() bool { return len(v) > 0 && v[0] == '{' }

// IsList reports whether the value is a list.
func (v Value) IsList() bool { return len(v) > 0 && v[0] == '[' }

// IsNull reports whether the value is null or absent.
func (v Value) IsNull() bool { return len(v) == 0 || v[0] == 'n' }

// A Field says where [Value.Read] puts the value of a field.
type Field struct {
	Name string
	To   *Value
}

// Read finds fields of an object, as [json.Unmarshal] finds them: the case of a name
// does not matter, and of two with one name the last one counts. It leaves absent
// what the object does not have; a value that is no object has no fields.
func (v Value) Read(fields ...Field) {
	if len(v) == 0 || v[0] != '{' {
		return
	}
	for i := nextToken(v, 1); i < len(v) && v[i] == '"'; {
		end := textEnd(v, i)
		name := v[i+1 : max(i+1, end-1)]
		from := nextToken(v, end)
		end = valueEnd(v, from)
		for at := range fields {
			want := fields[at].Name // in another spelling it is never shorter
			if string(name) == want || len(name) >= len(want) && isFolded(name, want) {
				*fields[at].To = v[from:end]
				break
			}
		}
		i = nextToken(v, end)
	}
}

// Get returns the value of one field of an object: see [Value.Read].
func (v Value) Get(name string) (field Value) {
	v.Read(Field{name, &field})
	return field
}

// isFolded reports whether a name is one of ASCII in another case, or with escapes.
func isFolded(name []byte, want string) bool {
	if len(name) == len(want) {
		return strings.EqualFold(string(name), want)
	}
	return !isPlain(name) && strings.EqualFold(unquoted(name), want)
}

// isPlain reports whether the inside of a text is ASCII without escapes.
func isPlain(inside []byte) bool {
	for _, c := range inside {
		if c == '\\' || c >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// unquoted is the inside of a text that may have escapes.
func unquoted(inside []byte) string {
	var s string
	_ = json.Unmarshal(append(append([]byte{'"'}, inside...), '"'), &s)
	return s
}

// Elements are those of a list. Another value where a list belongs counts as one
// element; null has none.
func (v Value) Elements() iter.Seq[Value] {
	return func(yield func(Value) bool) {
		if !v.IsList() {
			if !v.IsNull() {
				yield(v)
			}
			return
		}
		for i := nextToken(v, 1); i < len(v) && v[i] != ']'; {
			end := valueEnd(v, i)
			if !yield(v[i:end]) {
				return
			}
			i = nextToken(v, end)
		}
	}
}

// Len is the number of [Value.Elements].
func (v Value) Len() (n int) {
	for range v.Elements() {
		n++
	}
	return n
}

// Text is what [String] reads.
func (v Value) Text() string {
	if inside, ok := v.Plain(); ok {
		return string(inside)
	}
	return v.quotedText()
}

// quotedText is the text that the value is, in quotes; "" if it is none.
func (v Value) quotedText() string {
	if len(v) == 0 || v[0] != '"' {
		return ""
	}
	if n := len(v) - 1; n > 0 && utf8.Valid(v) && !hasEscape(v[1:n]) {
		return string(v[1:n])
	}
	var s string
	if json.Unmarshal(v, &s) != nil {
		return ""
	}
	return s
}

func hasEscape(inside []byte) bool {
	for _, c := range inside {
		if c == '\\' {
			return true
		}
	}
	return false
}

// Plain returns a scalar without its quotes, if that takes no decoding. It is empty for
// null, objects and lists.
func (v Value) Plain() (inside []byte, ok bool) {
	if len(v) == 0 {
		return nil, true
	}
	switch v[0] {
	case '{', '[', 'n':
		return nil, true
	case '"':
		n := max(1, len(v)-1)
		return v[1:n], isPlain(v[1:n])
	}
	return v, true
}

// HasText reports whether [Value.Text] is not empty.
func (v Value) HasText() bool {
	inside, ok := v.Plain()
	return len(inside) > 0 || !ok && v.quotedText() != ""
}

// Float is what [Float] reads; nil for nothing.
func (v Value) Float() *float64 {
	inside, plain := v.Plain()
	if !plain {
		inside = []byte(v.quotedText())
	}
	if len(inside) == 0 || inside[0] > '9' { // parsing a word would cost an error
		return nil
	}
	n, err := strconv.ParseFloat(string(inside), 64)
	if err != nil || math.IsNaN(n) || math.IsInf(n, 0) {
		return nil
	}
	return &n
}

// Int is what [Int] reads.
func (v Value) Int() int {
	if n := v.Float(); n != nil && math.Abs(*n) <= 1<<31 {
		return int(*n)
	}
	return 0
}

// Bool is what [Bool] reads; nil for nothing.
func (v Value) Bool() *bool {
	inside, plain := v.Plain()
	if !plain {
		inside = []byte(strings.ToLower(v.quotedText()))
	}
	switch {
	case isASCIIWord(inside, "true"):
		return new(true)
	case isASCIIWord(inside, "false"):
		return new(false)
	}
	return nil
}

// isASCIIWord reports whether b is a word of small letters, in any case.
func isASCIIWord(b []byte, word string) bool {
	if len(b) != len(word) {
		return false
	}
	for i, c := range b {
		if c|0x20 != word[i] {
			return false
		}
	}
	return true
}

// Time is what [Time] reads.
func (v Value) Time() time.Time {
	if inside, ok := v.Plain(); ok {
		return ParseTime(string(inside))
	}
	return ParseTime(v.quotedText())
}
