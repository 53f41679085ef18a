package lenient

import (
	"bytes"
	"encoding/json"
	"strings"
)

// HasShape reports whether the body of an answer has one of the shapes, which are
// separated by spaces. A body that is not valid JSON has none of them.
//
//	name           an object with that field; null is a value, too
//	name:kind      the same, and the value is null or can be read as what it has to be:
//	               a number, truth, text, object, or list, empty or with an object in it
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

func hasOne(body Value, shape string) bool {
	switch {
	case shape == "-" || len(body) == 0:
		return shape == "-" && len(body) == 0
	case shape == "[]":
		return body.IsList()
	case body[0] != '{':
		return false
	case shape == "{}":
		return body[nextToken(body, 1)] == '}'
	case strings.ContainsAny(shape, ".=["):
		return hasCompound(body, shape)
	}
	name, kind, _ := strings.Cut(shape, ":")
	var field Value
	body.Read(Field{name, &field})
	switch {
	case field == nil:
		return false
	case kind == "" || field[0] == 'n':
		return true
	case kind == "number":
		return field.Float() != nil
	case kind == "truth":
		return field.Bool() != nil
	case kind == "text":
		return field[0] != '{' && field[0] != '['
	case kind == "object":
		return field[0] == '{'
	}
	return kind == "list" && isListOf(field, Value.IsObject)
}

func hasCompound(body Value, shape string) bool {
	if name, inner, listed := strings.Cut(shape, "[]."); listed {
		return isListOf(body.Get(name), func(entry Value) bool { return hasOne(entry, inner) })
	}
	if name, listed := strings.CutSuffix(shape, "[text]"); listed {
		return isListOf(body.Get(name), Value.HasText)
	}
	if outer, inner, nested := strings.Cut(shape, "."); nested {
		return hasOne(body.Get(outer), inner)
	}
	name, word, _ := strings.Cut(shape, "=")
	return word != "" && strings.EqualFold(body.Get(name).Text(), word)
}

// isListOf reports whether a value is a list that is empty or has an entry of its kind.
func isListOf(value Value, isEntry func(Value) bool) bool {
	if !value.IsList() {
		return false
	}
	for entry := range value.Elements() {
		if isEntry(entry) {
			return true
		}
	}
	return value.Len() == 0
}
