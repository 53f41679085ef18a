package smartcartest

import (
	"bytes"
	"encoding/json"
)

// mustJSON encodes values that this package built itself, none of which can
// fail. The text is what JSON.stringify of JavaScript prints: the vendor's own
// webhook receivers parse a body, print it again and compare the signature of
// that.
func mustJSON(v any) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil { // only NaN or a channel cannot be encoded, and this package encodes neither
		return []byte(`{}`)
	}
	return unescaped(bytes.TrimSuffix(b.Bytes(), []byte("\n")))
}

// unescaped writes out the three characters that encoding/json escapes and
// JavaScript does not: U+2028, U+2029 and U+FFFD.
func unescaped(text []byte) []byte {
	if !bytes.Contains(text, []byte(`\u2028`)) && !bytes.Contains(text, []byte(`\u2029`)) && !bytes.Contains(text, []byte(`\ufffd`)) {
		return text
	}
	out := make([]byte, 0, len(text))
	for i := 0; i < len(text); i++ {
		if text[i] != '\\' {
			out = append(out, text[i])
			continue
		}
		switch rest := text[i:]; {
		case bytes.HasPrefix(rest, []byte(`\u2028`)):
			out, i = append(out, "\u2028"...), i+5
		case bytes.HasPrefix(rest, []byte(`\u2029`)):
			out, i = append(out, "\u2029"...), i+5
		case bytes.HasPrefix(rest, []byte(`\ufffd`)):
			out, i = append(out, "\ufffd"...), i+5
		default: // another escape, with the character behind the backslash
			out, i = append(out, rest[:2]...), i+1
		}
	}
	return out
}

// nullable is null in JSON for an empty string.
func nullable(s string) any {
	if s == "" {
		return nil
	}
	return s
}

// btoi is 1 for true.
func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}
