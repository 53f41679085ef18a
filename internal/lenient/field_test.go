package lenient

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestHasField(t *testing.T) {
	for object, want := range map[string]bool{
		`{"range":1}`:                           true,
		`{"range":null}`:                        true,
		` { "other" : "x" , "range" : {} } `:    true,
		`{"other":{"a":[1,{}]},"percent":0}`:    true,
		`{"other":"a\"b\\","RANGE":1}`:          true,
		`{"r\u0061nge":1}`:                      true,
		`{}`:                                    false,
		`{"other":"range"}`:                     false,
		`{"other":["range","percent"]}`:         false,
		`{"other":{"range":1}}`:                 false,
		`{"other":"\",\"range\":1"}`:            false,
		`{"ranges":1,"":2,"rang":3,"\u0000":4}`: false,
	} {
		require.True(t, json.Valid([]byte(object)), object)
		require.Equal(t, want, HasField([]byte(object), "percent range"), object)
		require.False(t, HasField([]byte(object), ""), object)
	}
}

func FuzzHasField(f *testing.F) {
	for _, object := range []string{`{"range":1}`, `{"other":{"range":1}}`, `{"r\u0061nge":"\\"}`, `{"`, `"`, `{"\`, `[{"range":1}]`} {
		f.Add([]byte(object))
	}
	f.Fuzz(func(t *testing.T, object []byte) {
		got := HasField(object, "percent range") // what it says of no object does not matter, but it must end
		var fields map[string]json.RawMessage
		if json.Unmarshal(object, &fields) != nil || fields == nil {
			return
		}
		want := false
		for name := range fields {
			want = want || strings.EqualFold(name, "percent") || strings.EqualFold(name, "range")
		}
		if got != want {
			t.Fatalf("%s: %v, want %v", object, got, want)
		}
	})
}
