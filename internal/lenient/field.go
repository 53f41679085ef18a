package lenient

import (
	"bytes"
	"strings"
)

// HasField reports whether a JSON object has a field with one of the names,
// which are separated by spaces: null is a value, too. As [json.Unmarshal] does,
// it takes no notice of the case. What is not valid JSON may be anything.
func HasField(object []byte, names string) bool {
	v := Value(bytes.TrimSpace(object))
	for name := range strings.FieldsSeq(names) {
		if v.Get(name) != nil {
			return true
		}
	}
	return false
}
