package echo

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// textsIn are the texts of a JSON document but the names of its fields.
func textsIn(v any) (list []string) {
	switch v := v.(type) {
	case string:
		return []string{v}
	case []any:
		for _, e := range v {
			list = append(list, textsIn(e)...)
		}
	case map[string]any:
		for _, e := range v {
			list = append(list, textsIn(e)...)
		}
	}
	return list
}

// Whatever a server sends, no text of it holds the secret afterwards, and the rest
// is as it was.
func FuzzEcho(f *testing.F) {
	const secret = "0c1e8f44-secret/+token=="
	for _, seed := range []string{
		`{"description":"` + secret + `"}`, `{"a":"\u0030c1e8f44-secret\/+token=="}`, `["` + secret + secret + `"]`, `"` + secret + `"`,
		`{"` + secret + `":1}`, `{"a":"x\\"}`, `{"a" : "b" , "c":["\"` + secret + `"]}`, `{"a":"` + secret, `\`, `"`, `"\`, ``, `{"a":"0c1e8f44-secret%2F%2Btoken%3D%3D"}`,
	} {
		f.Add([]byte(seed))
	}
	var sent Echo
	sent.Add(secret)
	f.Fuzz(func(t *testing.T, body []byte) {
		before := slices.Clone(body)
		clean := sent.JSON(body)
		require.Equal(t, before, body, "what came is not changed")
		var was, is any
		if json.Unmarshal(body, &was) != nil {
			return
		}
		require.NoError(t, json.Unmarshal(clean, &is))
		held := false
		for _, text := range textsIn(was) {
			held = held || strings.Contains(text, secret)
		}
		for _, text := range textsIn(is) {
			require.NotContains(t, text, secret)
		}
		if !held && !strings.Contains(string(body), "%2F%2Btoken") {
			require.Equal(t, was, is)
		}
	})
}
