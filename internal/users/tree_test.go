package users

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"
)

// A node is read as encoding/json reads one of a plain type.
func TestNodeIsReadAsEncodingJSONDoes(t *testing.T) {
	type plain node
	for _, text := range []string{
		`{}`, `null`, `[]`, `"x"`, `1`, `{"cars":null,"full":null}`, `{"cars":[],"full":false}`, `{"cars":{}}`, `{"cars":"x"}`, `{"full":1}`, `{"full":"true"}`,
		`{"cars":[{"id":"a"},{"id":"b","grant":"g","other":1},null,{}],"full":true,"later":{}}`,
		`{"cars":[{"id":1}]}`, `{"cars":[{"id":"a","grant":[]}]}`, `{"cars":["a"]}`, `{"CARS":[{"ID":"\u0061"}],"Full":true}`, `{"cars":[{"id":"a"}],"cars":[{"id":"b"}]}`,
	} {
		want, got := plain{}, node{}
		wanted := json.Unmarshal([]byte(text), &want)
		require.Equal(t, wanted == nil, json.Unmarshal([]byte(text), &got) == nil, text)
		if wanted == nil {
			require.Equal(t, want, plain(got), text)
		}
	}
}
