package lenient

import (
	"encoding/json"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// oddities are JSON values that are neither a number, a text nor a truth value.
var oddities = []string{`null`, `{}`, `{"value":1}`, `[]`, `[1]`, `[null]`}

func decode[T any](t *testing.T, text string) T {
	t.Helper()
	var v struct {
		Field T `json:"field"`
	}
	require.NoError(t, json.Unmarshal([]byte(`{"field":`+text+`,"next":1}`), &v), text)
	return v.Field
}

func TestFloat(t *testing.T) {
	for text, want := range map[string]float64{
		`1.5`: 1.5, `-0`: 0, `0`: 0, `"2.25"`: 2.25, `1e3`: 1000, `"1e-3"`: 0.001, `-7`: -7, `12345678901234567890`: 12345678901234567890, ` 3 `: 3,
	} {
		f := decode[Float](t, text)
		require.NotNil(t, f.Value, text)
		require.InDelta(t, want, *f.Value, 0, text)
	}
	for _, text := range append(oddities, `""`, `"n/a"`, `"NaN"`, `"Inf"`, `"-Infinity"`, `1e999`, `true`, `"1,5"`, `" 1"`, `"1 km"`) {
		require.Nil(t, decode[Float](t, text).Value, text)
	}
}

func TestInt(t *testing.T) {
	for text, want := range map[string]Int{
		`1`: 1, `"2022"`: 2022, `2022.0`: 2022, `3.9`: 3, `-4`: -4, `1e3`: 1000, `2147483648`: math.MaxInt32 + 1,
	} {
		require.Equal(t, want, decode[Int](t, text), text)
	}
	for _, text := range append(oddities, `""`, `"x"`, `1e10`, `-1e300`, `"NaN"`, `false`, `9999999999`) {
		require.Zero(t, decode[Int](t, text), text)
	}
}

func TestBool(t *testing.T) {
	for text, want := range map[string]bool{`true`: true, `false`: false, `"true"`: true, `"False"`: false, `"TRUE"`: true} {
		b := decode[Bool](t, text)
		require.NotNil(t, b.Value, text)
		require.Equal(t, want, *b.Value, text)
	}
	for _, text := range append(oddities, `""`, `"yes"`, `1`, `0`, `"1"`) {
		require.Nil(t, decode[Bool](t, text).Value, text)
	}
}

func TestString(t *testing.T) {
	for text, want := range map[string]String{
		`"a"`: "a", `""`: "", `42`: "42", `1.50`: "1.50", `true`: "true", `"null"`: "null", `"\u00e4\n"`: "ä\n", `"{}"`: "{}",
	} {
		require.Equal(t, want, decode[String](t, text), text)
	}
	for _, text := range oddities {
		require.Empty(t, decode[String](t, text), text)
	}
}

func TestTime(t *testing.T) {
	at := time.Date(2026, 11, 23, 9, 15, 4, 0, time.UTC)
	for text, want := range map[string]time.Time{
		`"2026-11-23T09:15:04Z"`:           at,
		`"2026-11-23T10:15:04+01:00"`:      at,
		`"2026-11-23T09:15:04.123456789Z"`: at.Add(123456789),
		`"2026-11-23T09:15:04.5Z"`:         at.Add(500 * time.Millisecond),
		`1795425304`:                       at,
		`"1795425304"`:                     at,
		`1795425304000`:                    at,
		`"1795425304500"`:                  at.Add(500 * time.Millisecond),
		`" 2026-11-23T09:15:04Z "`:         at,
		`"2026-11-23T10:15:04.5+0100"`:     at.Add(500 * time.Millisecond),
		`1.795425304e9`:                    at,
		`1`:                                time.Unix(1, 0).UTC(),
	} {
		got := decode[Time](t, text)
		require.True(t, want.Equal(got.Time), "%s: %v", text, got)
		require.Equal(t, time.UTC, got.Location(), text)
	}
	for _, text := range append(oddities, `""`, `0`, `"0"`, `-1`, `"yesterday"`, `"2026-11-23"`, `"2026-13-01T00:00:00Z"`, `true`, `1e10`, `10000000000`, `1e13`, `10000000000000`, `"10000000000000"`, `99999999999999999999`) {
		require.True(t, decode[Time](t, text).IsZero(), text)
	}
}

func TestParseTimeOfHeaders(t *testing.T) {
	require.True(t, ParseTime("").IsZero())
	require.True(t, ParseTime("   ").IsZero())
	require.False(t, ParseTime(" 1795425304 ").IsZero())
	require.True(t, ParseTime("9223372036854775808").IsZero())
	for _, s := range []string{"999999999999999", "9999-12-31T23:59:59-12:00", "0000-01-01T00:00:00Z", "0001-01-01T00:00:00+12:00"} {
		require.True(t, ParseTime(s).IsZero(), s)
	}
	require.NotPanics(t, func() { _ = ParseTime("9223372036854775807").Format(time.RFC3339) })
}

func TestList(t *testing.T) {
	for text, want := range map[string]List[String]{
		`["a","b"]`: {"a", "b"}, `[]`: nil, `"a"`: {"a"}, `[1,null,"b"]`: {"1", "", "b"}, `null`: nil,
	} {
		require.Equal(t, want, decode[List[String]](t, text), text)
	}
	type car struct {
		ID String `json:"id"`
	}
	for text, want := range map[string]List[car]{
		`[{"id":"1"},{"id":2}]`: {{"1"}, {"2"}}, `{"id":"1"}`: {{"1"}}, `[{"id":"1"},"x",7,[]]`: {{"1"}}, `"x"`: nil, `7`: nil, `[{"id":{}}]`: {{""}},
	} {
		require.Equal(t, want, decode[List[car]](t, text), text)
	}
}

func TestObject(t *testing.T) {
	type point struct {
		X Float `json:"x"`
		N int   `json:"n"` // strict: a wrong type spoils the object
	}
	o := decode[Object[point]](t, `{"x":"1.5","more":[]}`)
	require.True(t, o.Present)
	require.InDelta(t, 1.5, *o.Value.X.Value, 0)
	require.True(t, decode[Object[point]](t, `{}`).Present)
	for _, text := range []string{`null`, `[]`, `"x"`, `7`, `true`, `[{"x":1}]`, `{"n":"x"}`} {
		require.False(t, decode[Object[point]](t, text).Present, text)
	}
}

// A value that is decoded twice keeps nothing of the first time.
func TestNothingIsLeftOfTheFirstTime(t *testing.T) {
	var v struct {
		F Float
		I Int
		B Bool
		S String
		T Time
		L List[String]
		O Object[struct{ X Float }]
	}
	full := `{"F":1,"I":1,"B":true,"S":"s","T":1,"L":["a"],"O":{"X":1}}`
	for _, odd := range []string{`{"F":{},"I":{},"B":{},"S":{},"T":{},"L":null,"O":[]}`, `{"F":"x","I":"x","B":"x","S":"","T":"x","L":[],"O":"x"}`} {
		require.NoError(t, json.Unmarshal([]byte(full), &v))
		require.True(t, v.O.Present)
		require.NoError(t, json.Unmarshal([]byte(odd), &v))
		require.Nil(t, v.F.Value)
		require.Zero(t, v.I)
		require.Nil(t, v.B.Value)
		require.Empty(t, v.S)
		require.True(t, v.T.IsZero())
		require.Empty(t, v.L)
		require.False(t, v.O.Present)
		require.Nil(t, v.O.Value.X.Value)
	}
}

func FuzzNothingEverFails(f *testing.F) {
	for _, seed := range append(oddities, `1`, `"x"`, `true`, `"2026-11-23T09:15:04Z"`, `1e999`, `"\ud800"`, `[{"a":[]}]`) {
		f.Add([]byte(seed))
	}
	type everything struct {
		F Float              `json:"f"`
		I Int                `json:"i"`
		B Bool               `json:"b"`
		S String             `json:"s"`
		T Time               `json:"t"`
		L List[List[String]] `json:"l"`
		O Object[struct {
			X List[Float] `json:"x"`
		}] `json:"o"`
	}
	f.Fuzz(func(t *testing.T, value []byte) {
		if !json.Valid(value) {
			return
		}
		for _, name := range []string{"f", "i", "b", "s", "t", "l", "o"} {
			var v everything
			if err := json.Unmarshal([]byte(`{"`+name+`":`+string(value)+`}`), &v); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if v.F.Value != nil && (math.IsNaN(*v.F.Value) || math.IsInf(*v.F.Value, 0)) {
				t.Fatalf("%v", *v.F.Value)
			}
		}
	})
}
