package smartcartest

import (
	"encoding/json"
)

// mustJSON encodes what this package built itself.
func mustJSON(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil { // only NaN or a channel could do that; neither is ever put in
		return []byte(`{}`)
	}
	return b
}

func nullable(s string) any {
	if s == "" {
		return nil
	}
	return s
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}
