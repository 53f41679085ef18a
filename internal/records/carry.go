package records

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
)

// Two versions of this module share a store while one replaces the other. What a later
// version has added to a record, this one does not know; when it changes the record, it
// carries that along, so that nothing is lost for the later one. It stands in objects
// as fields without a counterpart in the Go type. An entry of a list is found again by
// its RecordID; one of a type without that method only while nothing in it has changed.

// isOurs reports whether a value is what this version writes for what it reads of it:
// then there is nothing in it to be carried along.
func isOurs[T any](value []byte) bool {
	v, err := Decode[T](value)
	if err != nil {
		return false
	}
	again, err := json.Marshal(v)
	return err == nil && bytes.Equal(again, value)
}

// carry adds to a new value of a T what T does not know of the old one.
func carry(old, fresh json.RawMessage, t reflect.Type) json.RawMessage {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch {
	case t.Kind() == reflect.Struct:
		return carryObject(old, fresh, t)
	case t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Struct:
		return carryList(old, fresh, t.Elem())
	}
	return fresh
}

func carryObject(old, fresh json.RawMessage, t reflect.Type) json.RawMessage {
	var was, is map[string]json.RawMessage
	if json.Unmarshal(old, &was) != nil || json.Unmarshal(fresh, &is) != nil || was == nil || is == nil {
		return fresh // no objects, as times are
	}
	for name, value := range was {
		field, known := jsonField(t, name)
		now, there := is[field.name]
		switch {
		case !known:
			is[name] = value
		case there:
			is[field.name] = carry(value, now, field.of)
		}
	}
	return marshaled(is, fresh)
}

func carryList(old, fresh json.RawMessage, entry reflect.Type) json.RawMessage {
	var was, is []json.RawMessage
	if json.Unmarshal(old, &was) != nil || json.Unmarshal(fresh, &is) != nil {
		return fresh
	}
	byID := make(map[string]json.RawMessage, len(was))
	for _, e := range was {
		byID[recordID(e, entry)] = e
	}
	for i, e := range is {
		if before, ok := byID[recordID(e, entry)]; ok {
			is[i] = carry(before, e, entry)
		}
	}
	return marshaled(is, fresh)
}

// recordID is by what an entry of a list is found again.
func recordID(raw json.RawMessage, t reflect.Type) string {
	v := reflect.New(t)
	if json.Unmarshal(raw, v.Interface()) != nil {
		return string(raw)
	}
	if named, ok := v.Interface().(interface{ RecordID() string }); ok {
		return named.RecordID()
	}
	known, _ := json.Marshal(v.Interface())
	return string(known)
}

type field struct {
	name string
	of   reflect.Type
}

// jsonField finds the field of a struct that encoding/json reads a name into.
func jsonField(t reflect.Type, name string) (field, bool) {
	for _, f := range reflect.VisibleFields(t) {
		tag, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if f.IsExported() && tag != "-" && tag != "" && strings.EqualFold(tag, name) {
			return field{tag, f.Type}, true
		}
	}
	return field{}, false
}

func marshaled(v any, otherwise json.RawMessage) json.RawMessage {
	if b, err := json.Marshal(v); err == nil {
		return b
	}
	return otherwise
}
