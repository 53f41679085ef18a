package smartcartest

import "encoding/json"

// mustJSON encodes values that this package built itself, none of which can
// fail.
func mustJSON(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil { // only NaN or a channel cannot be encoded, and this package encodes neither
		return []byte(`{}`)
	}
	return b
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
