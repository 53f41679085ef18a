package smartcartest

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestJSONIsWhatJavaScriptPrints(t *testing.T) {
	for want, v := range map[string]any{
		`{"a":"<b> & 'c' é"}`:          object{"a": "<b> & 'c' é"},
		"\"\u2028\u2029\ufffd\"":       "\u2028\u2029\xff",
		`"\\u2028 \\\\ufffd \" \n"`:    `\u2028 \\ufffd "` + " \n",
		"\"\\\\\u2028\"":               "\\\u2028",
		`[1,0.1,1e-7,1e+21,100000,0]`:  []float64{1, 0.1, 1e-7, 1e21, 1e5, 0},
		`{"error":{"text":"x","z":1}}`: object{"error": object{"z": 1, "text": "x"}},
	} {
		require.Equal(t, want, string(mustJSON(v)))
	}
	require.False(t, math.Signbit(round(-0.001, 2)))
}
