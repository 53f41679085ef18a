package lenient

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
)

// HasShape reports whether the body of an answer has one of the shapes, which are
// separated by spaces. A body that is not valid JSON has none of them.
//
//	name           an object with that field; null is a value, too
//	name[text]     an object with that field, which is a list, empty or with a text in it
//	name[].inner   an object with that field, which is a list, empty or with an object
//	               in it that has the other field
//	name=word      an object with that field, which is that text, in any case
//	outer.name     an object with that field, which is an object with the other one
//	[]             a list
//	{}             an object without any field
//	-              no body at all
func HasShape(body []byte, shapes string) bool {
	body = bytes.TrimSpace(body)
	if len(body) > 0 && !json.Valid(body) {
		return false
	}
	for shape := range strings.FieldsSeq(shapes) {
		if hasOne(body, shape) {
			return true
		}
	}
	return false
}

func hasOne(body []byte, shape string) bool {
	switch {
	case shape == "-" || len(body) == 0:
		return shape == "-" && len(body) == 0
	case shape == "[]":
		return body[0] == '['
	case body[0] != '{':
		return false
	case shape == "{}":
		return len(bytes.TrimSpace(body[1:len(body)-1])) == 0
	case !strings.ContainsAny(shape, ".=["):
		return HasField(body, shape)
	}
	if name, inner, listed := strings.Cut(shape, "[]."); listed {
		return isListOf(field(body, name), func(entry []byte) bool { return hasOne(entry, inner) })
	}
	if name, listed := strings.CutSuffix(shape, "[text]"); listed {
		return isListOf(field(body, name), func(entry []byte) bool { return text(entry) != "" })
	}
	if outer, inner, nested := strings.Cut(shape, "."); nested {
		return hasOne(field(body, outer), inner)
	}
	name, word, _ := strings.Cut(shape, "=")
	return word != "" && strings.EqualFold(text(field(body, name)), word)
}

// isListOf reports whether a value is a list that is empty or has an entry of its kind.
func isListOf(value []byte, isEntry func([]byte) bool) bool {
	if len(value) == 0 || value[0] != '[' {
		return false
	}
	var entries []json.RawMessage
	_ = json.Unmarshal(value, &entries)
	return len(entries) == 0 || slices.ContainsFunc(entries, func(e json.RawMessage) bool { return isEntry(bytes.TrimSpace(e)) })
}

// field is the value of a field of a JSON object, as [json.Unmarshal] finds it; nil
// if there is none.
func field(object []byte, name string) []byte {
	var fields map[string]json.RawMessage
	_ = json.Unmarshal(object, &fields)
	if value, ok := fields[name]; ok {
		return bytes.TrimSpace(value)
	}
	for other, value := range fields {
		if strings.EqualFold(other, name) {
			return bytes.TrimSpace(value)
		}
	}
	return nil
}
