package lenient

import (
	"bytes"
	"encoding/json"
	"math"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// documents are valid JSON and not.
var documents = []string{
	``, ` `, `{`, `}`, `[`, `]`, `"`, `null`, `nul`, `true`, `trueish`, `false`, `fals`, ` 1 `, `01`, `-`, `-0`, `-01`, `1.`, `.5`, `1.5e`, `1e+`, `1E-7`, `1e5`, `+1`,
	`"a"`, `"a`, `"\"`, `"\\"`, `"\u00e4"`, `"\u00g4"`, `"\u12"`, `"\x"`, "\"\t\"", "\"\x7f\"", "\"\xff\"", `"ä"`, "\xef\xbb\xbf1",
	`{}`, `{ }`, `{"a":1}`, `{"a":1,}`, `{"a"}`, `{"a":}`, `{,}`, `{a:1}`, `{"a":1 "b":2}`, `{"a":1,"a":[2]}`, `{"A":{"b":"}"}}`, `{"\u0061":1}`, `{"ſ":1}`,
	`[]`, `[ ]`, `[1,]`, `[,1]`, `[1 2]`, `[1,"a",null,{},[]]`, `[[[[]]]]`, `[]]`, `{"a":[{"b":1}]}x`, "\x00", "1\x00", "[1\v]",
	`"2026-11-23T09:15:04Z"`, `"2026-11-23T9:15:04Z"`, `"2026-11-23T09:15:04,5+01:00"`, `1795425304`, `"1795425304500"`, `1782777353743.0`, `"tRuE"`, `"\u0074rue"`, `"0x1p-2"`, `"NaN"`, `"-Inf"`, `" 1"`,
}

// The types of this package read through encoding/json as a whole. What is read of a
// Value is compared with the same done by encoding/json alone.
func asJSON(b []byte) (text string, isScalar bool) {
	if len(b) == 0 || b[0] == '{' || b[0] == '[' || b[0] == 'n' {
		return "", false
	}
	if b[0] == '"' {
		_ = json.Unmarshal(b, &text)
		return text, true
	}
	return string(b), true
}

func requireSameScalar(t *testing.T, v Value) {
	t.Helper()
	text, _ := asJSON(v)
	if v.Text() != text {
		t.Fatalf("%s: text %q, want %q", v, v.Text(), text)
	}
	n, err := strconv.ParseFloat(text, 64)
	isNumber := err == nil && !math.IsNaN(n) && !math.IsInf(n, 0)
	got := v.Float()
	if (got != nil) != isNumber || isNumber && *got != n {
		t.Fatalf("%s: number %v, want %v", v, got, n)
	}
	whole := 0
	if err == nil && math.Abs(n) <= 1<<31 {
		whole = int(n)
	}
	if v.Int() != whole {
		t.Fatalf("%s: int %d, want %d", v, v.Int(), whole)
	}
	word := strings.ToLower(text)
	if flag := v.Bool(); (flag != nil) != (word == "true" || word == "false") || flag != nil && *flag != (word == "true") {
		t.Fatalf("%s: bool %v", v, flag)
	}
	if at := wasParsedAs(text); !at.Equal(v.Time()) {
		t.Fatalf("%s: time %v, want %v", v, v.Time(), at)
	}
}

// wasParsedAs is what ParseTime makes of a text, whatever it looks like.
func wasParsedAs(text string) time.Time {
	text = strings.TrimSpace(text)
	at, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return ParseTime(text)
	}
	if at = at.UTC(); at.Year() < 1 || at.Year() > 9999 {
		return time.Time{}
	}
	return at
}

// requireSame compares a whole document with what encoding/json makes of it.
func requireSame(t *testing.T, document []byte) {
	t.Helper()
	before := bytes.Clone(document)
	v, ok := Parse(document)
	if ok != json.Valid(document) {
		t.Fatalf("%q: valid %v", document, ok)
	}
	requireEnds(document)
	if !ok {
		return
	}
	if !bytes.Equal(v, bytes.Trim(document, " \t\r\n")) {
		t.Fatalf("%q: the value is %q", document, v)
	}
	requireSameScalar(t, v)
	requireSameFields(t, v)
	requireSameElements(t, v)
	if !bytes.Equal(before, document) {
		t.Fatal("the document has changed")
	}
}

// requireEnds: reading what has not been checked gives anything, but ends.
func requireEnds(document []byte) {
	v := Value(document)
	_, _ = v.Get("a"), v.Len()
	_, _, _, _, _ = v.Text(), v.Float(), v.Int(), v.Bool(), v.Time()
}

func requireSameFields(t *testing.T, v Value) {
	t.Helper()
	var want struct {
		A        json.RawMessage `json:"a"`
		Distance json.RawMessage `json:"distance"`
	}
	if !v.IsObject() {
		if v.Get("a") != nil {
			t.Fatalf("%s: a field of no object", v)
		}
		return
	}
	if err := json.Unmarshal(v, &want); err != nil {
		t.Fatal(err)
	}
	var a, distance Value
	v.Read(Field{"a", &a}, Field{"distance", &distance})
	if !bytes.Equal(a, want.A) || !bytes.Equal(distance, want.Distance) {
		t.Fatalf("%s: a %q, want %q; distance %q, want %q", v, a, want.A, distance, want.Distance)
	}
	requireSameScalar(t, a)
	requireSameElements(t, a)
}

func requireSameElements(t *testing.T, v Value) {
	t.Helper()
	var want, got []json.RawMessage
	switch {
	case v.IsList():
		if err := json.Unmarshal(v, &want); err != nil {
			t.Fatal(err)
		}
	case !v.IsNull():
		want = []json.RawMessage{json.RawMessage(v)}
	}
	for e := range v.Elements() {
		got = append(got, json.RawMessage(e))
	}
	if len(got) != len(want) || len(got) != v.Len() || len(got) > 0 && !reflect.DeepEqual(got, want) {
		t.Fatalf("%s: elements %s, want %s", v, got, want)
	}
	for e := range v.Elements() {
		requireSameScalar(t, e)
		return // one is enough: it may be left
	}
}

func TestValueReadsAsEncodingJSONDoes(t *testing.T) {
	for _, document := range documents {
		requireSame(t, []byte(document))
		requireSame(t, []byte(" \n"+document+"\t\r"))
		requireSame(t, []byte(`{"a":`+document+`}`))
		requireSame(t, []byte(`{"x":[`+document+`],"DISTANCE" : `+document+` , "a" : null}`))
		requireSame(t, []byte(`[`+document+`,`+document+`]`))
	}
	for _, depth := range []int{maxDepth, maxDepth + 1} {
		document := []byte(strings.Repeat("[", depth) + strings.Repeat("]", depth))
		_, ok := Parse(document)
		require.Equal(t, json.Valid(document), ok, depth)
	}
}

func TestValueAllocatesOnlyWhatItReturns(t *testing.T) {
	document := []byte(`{"list":[{"n":1.5,"t":"2026-11-23T09:15:04.123Z","ms":1795425304500,"s":"text","other":{"n":2}}],"n":"x"}`)
	require.Zero(t, testing.AllocsPerRun(100, func() {
		v, _ := Parse(document)
		for e := range v.Get("list").Elements() {
			var n, at, ms Value
			e.Read(Field{"n", &n}, Field{"t", &at}, Field{"ms", &ms})
			_ = n.HasText()
			_, _ = at.Time(), ms.Time()
		}
		_ = v.Get("n").Float()
	}))
}

// What is walked over in place is what encoding/json decodes, whatever the document is.
func FuzzValue(f *testing.F) {
	for _, document := range documents {
		f.Add([]byte(document))
		f.Add([]byte(`{"a":` + document + `,"Distance":[` + document + `]}`))
	}
	f.Fuzz(requireSame)
}
