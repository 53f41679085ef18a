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
		`{"` + secret + `":1}`, `{"a":"x\\"}`, `{"a" : "b" , "c":["\"` + secret + `"]}`, `{"a":"` + secret, `\`, `"`, `"\`, ``, `{"a":"0c1e8f44-secret%2F%2Btoken%3D%3D"}`, `{"a":"0c1e8f44-secret%2f+token%3d="}`,
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
		if !held && !strings.ContainsAny(string(body), `\%&`) {
			require.Equal(t, was, is)
		}
	})
}

// However a URL, JSON or HTML escapes a secret, and in whatever link of a link.
func TestEscapedSecrets(t *testing.T) {
	var sent Echo
	sent.Add("0c1e8f44-secret/+token==")
	for text, want := range map[string]string{
		"x=0c1e8f44-secret%2F%2Btoken%3D%3D&y":                          "x=[secret]&y",
		"x=0c1e8f44-secret%2f%2btoken%3d%3d&y":                          "x=[secret]&y",
		"x=0c1e8f44-secret%2F+token==&y=%20":                            "x=[secret]&y= ",
		"x=%30c1e8f44%2dsecret%2f%2Btoken%3d%3D&y":                      "x=[secret]&y",
		"x=0c1e8f44-secret%252f%252btoken%253d%253d":                    "x=[secret]",
		"0c1e8f44-secret/+token== %2e 0c1e8f44-secret%2f%2btoken%3d%3d": "[secret] . [secret]",
		"80 % of%2": "80 % of%2",
		`{"x":"0c1e8f44\u002dsecret\/\u002Btoken=="}`:     `{"x":"[secret]"}`,
		`0c1e8f44\\u002dsecret/+token==`:                  `0c1e8f44\\u002dsecret/+token==`,
		"<0c1e8f44&#45;secret&#x2F;&plus;token&equals;=>": "<[secret]>",
		"AT&T &amp; \\u00 \\uzzzz &":                      "AT&T &amp; \\u00 \\uzzzz &",
		"%zz%C3%A4%":                                      "%zz%C3%A4%",
	} {
		require.Equal(t, want, sent.Text(text))
		body, err := json.Marshal(map[string]string{"a": text})
		require.NoError(t, err)
		require.Equal(t, []string{want}, textsOf(t, sent.JSON(body)))
	}
}

func textsOf(t *testing.T, body []byte) []string {
	t.Helper()
	var v any
	require.NoError(t, json.Unmarshal(body, &v))
	return textsIn(v)
}
