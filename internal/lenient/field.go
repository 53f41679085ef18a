package lenient

import (
	"bytes"
	"encoding/json"
	"strings"
)

// HasField reports whether a JSON object has a field with one of the names,
// which are separated by spaces: null is a value, too. As [json.Unmarshal] does,
// it takes no notice of the case. What is not valid JSON may be anything.
func HasField(object []byte, names string) bool {
	depth, isKey := 0, false
	for i := 0; i < len(object); i++ {
		switch object[i] {
		case '{':
			depth, isKey = depth+1, true
		case '[':
			depth, isKey = depth+1, false
		case '}', ']':
			depth--
		case ',':
			isKey = true
		case ':':
			isKey = false
		case '"':
			text := quoted(object[i:])
			if isKey && depth == 1 && isOneOf(text, names) {
				return true
			}
			i += len(text) - 1
		}
	}
	return false
}

// quoted returns the text that b begins with, in its quotes.
func quoted(b []byte) []byte {
	for i := 1; i < len(b); i++ {
		switch b[i] {
		case '\\':
			i++
		case '"':
			return b[:i+1]
		}
	}
	return b
}

func isOneOf(quoted []byte, names string) bool {
	if bytes.IndexByte(quoted, '\\') >= 0 {
		var text string
		_ = json.Unmarshal(quoted, &text)
		quoted = []byte(`"` + text + `"`)
	}
	for name := range strings.FieldsSeq(names) {
		if len(quoted) >= 2 && strings.EqualFold(name, string(quoted[1:len(quoted)-1])) {
			return true
		}
	}
	return false
}
