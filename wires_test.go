package smartcar

import (
	"encoding/json"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/seed-498a1bc4/smartcar/internal/lenient"
)

// row is the row of an operation in the table, rows are those of several.
func row(op Operation) *operation { return &rows(op)[0] }

func rows(ops ...Operation) []operation {
	var list []operation
	for _, op := range ops {
		list = append(list, lookup(op)...)
	}
	return list
}

// fixtureFile is a file of testdata as the tests inside the package need it.
type fixtureFile struct {
	Request struct {
		Method, Path string
		Body         json.RawMessage
	}
	Response struct {
		Status   int
		Headers  map[string]string
		Body     json.RawMessage
		BodyText *string
	}
	Want *struct {
		Type, Code, RequestID         string
		StatusCode                    int
		Retryable                     bool
		ResolutionType, ResolutionURL string
		RetryAfterSeconds             *float64
	}
	// Of the plain fixture of a read: what it is decoded to, and what the
	// fixtures of its signals are on API v3.
	Reading, ReadingV3 json.RawMessage
}

// fixtureFiles returns the fixtures that match a pattern below testdata, by
// their name without ".json".
func fixtureFiles(t testing.TB, pattern string) map[string]fixtureFile {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join("testdata", pattern))
	require.NoError(t, err)
	require.NotEmpty(t, paths)
	files := make(map[string]fixtureFile, len(paths))
	for _, path := range paths {
		raw, err := os.ReadFile(path)
		require.NoError(t, err)
		var f fixtureFile
		require.NoError(t, json.Unmarshal(raw, &f), path)
		files[strings.TrimSuffix(filepath.Base(path), ".json")] = f
	}
	return files
}

func (f fixtureFile) answer() *answer {
	a := &answer{status: f.Response.Status, header: http.Header{}, body: f.Response.Body, at: time.Date(2026, 9, 22, 12, 45, 0, 0, time.UTC)}
	if f.Response.BodyText != nil {
		a.body = []byte(*f.Response.BodyText)
	}
	for name, value := range f.Response.Headers {
		a.header.Set(name, value)
	}
	return a
}

func TestV3ErrorFixtures(t *testing.T) {
	for name, f := range fixtureFiles(t, "v3/error.*.json") {
		t.Run(name, func(t *testing.T) {
			a := f.answer()
			requireWanted(t, f, decodeError(Battery, a.status, a.header, a.body, a.at))
		})
	}
}

func requireWanted(t *testing.T, f fixtureFile, e *Error) {
	t.Helper()
	require.NotNil(t, f.Want)
	require.Equal(t, f.Want.Type, e.Type)
	require.Equal(t, f.Want.Code, e.Code)
	require.Equal(t, f.Want.StatusCode, e.StatusCode)
	require.Equal(t, f.Want.RequestID, e.RequestID)
	require.Equal(t, f.Want.ResolutionType, e.Resolution.Type)
	require.Equal(t, f.Want.ResolutionURL, e.Resolution.URL)
	e.read = true
	require.Equal(t, f.Want.Retryable, Retryable(e))
	if e.Type != "" {
		require.NotEmpty(t, e.Description)
	}
}

// A command's body decides: a 202 may carry the failure.
func TestV3CommandFixtures(t *testing.T) {
	for name, f := range fixtureFiles(t, "v3/command.lock*.json") {
		t.Run(name, func(t *testing.T) {
			a := f.answer()
			err := interpret(a, &request{op: Lock, command: row(Lock)}, wireV3{})
			if f.Want == nil {
				require.NoError(t, err)
				require.Equal(t, "SUCCESS", a.result.Status)
				require.Equal(t, f.Response.Headers["SC-Request-Id"], a.result.RequestID)
				return
			}
			require.Nil(t, a.result)
			var e *Error
			require.ErrorAs(t, err, &e)
			requireWanted(t, f, e)
		})
	}
	request, err := wireV3{}.command(row(Lock), nil)
	require.NoError(t, err)
	require.Equal(t, wireRequest{method: "POST", path: "/commands/security/lock"}, request)

	for _, empty := range []string{`"errors":null`, `"errors":[]`, `"error":null`} {
		body := `{"data":{"attributes":{"status":{"value":"SUCCESS"}}},` + empty + `}`
		result, err := wireV3{}.commandResult(row(Lock), &answer{status: 200, header: http.Header{}, body: []byte(body)})
		require.NoError(t, err, "no error is no error, however it is written: %s", body)
		require.Equal(t, "SUCCESS", result.Status)
	}
}

func TestV3VehicleFixtures(t *testing.T) {
	for name, want := range map[string]*AttributesReading{
		"vehicle":               {ID: "36ab27d0-fd9d-4455-823a-ce30af709ffc", Make: "TESLA", Model: "Model S", Year: 2014},
		"vehicle.relative-link": {ID: "vehicle123", Make: "Toyota", Model: "Camry", Year: 2020},
	} {
		f := fixtureFiles(t, "v3/"+name+".json")[name]
		got, err := wireV3{}.decode(row(Attributes), f.answer().body, Metric)
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
}

// signalsWant is what battery and odometer are made of a list of signals.
type signalsWant struct {
	percent, rangeLeft, distance *float64
	battery, odometer            string // type and code of the error, if there is one
	undated                      bool
}

func TestV3SignalFixtures(t *testing.T) {
	const missing = "RESOURCE_NOT_FOUND:SIGNAL_NOT_FOUND"
	whole := signalsWant{percent: new(45.0), rangeLeft: new(280.0), distance: new(32208.0)}
	onlyPercent := signalsWant{percent: new(45.0), odometer: missing}
	undated := onlyPercent
	undated.undated = true
	nothing := signalsWant{battery: missing, odometer: missing}
	for name, want := range map[string]signalsWant{
		"signals": whole, "signals.epoch-times": whole, "signals.minimal-envelope": whole, "signals.unit-alias": whole,
		"signals.empty": nothing, "signal.vin": nothing, "signal.digital-key-paired": nothing, "signal.digital-key-not-paired": nothing,
		"signals.error-stale-body": {rangeLeft: new(280.0), distance: new(32208.0)},
		"signals.error-null-body":  onlyPercent, "signals.more-than-sent": onlyPercent, "signals.not-capable": onlyPercent,
		"signal": onlyPercent, "signal.bare": onlyPercent, "signals.zero-times": undated,
		"signals.unavailable": {battery: "UNAVAILABLE", odometer: "DEFERRED"},
	} {
		t.Run(name, func(t *testing.T) {
			f, ok := fixtureFiles(t, "v3/signal*.json")[name]
			require.True(t, ok)
			a := f.answer()
			parts, err := wireV3{}.split(rows(Battery, Odometer), a)
			require.NoError(t, err)
			require.Len(t, parts, 2)
			if want.battery != "" {
				requirePartError(t, want.battery, parts[0])
			} else {
				require.Equal(t, &BatteryReading{Percent: want.percent, Range: want.rangeLeft}, decodedPart(t, parts[0]))
				recorded, fetched := time.Date(2026, 9, 22, 12, 34, 51, 0, time.UTC), time.Date(2026, 9, 22, 12, 41, 16, 476e6, time.UTC)
				if want.undated {
					recorded, fetched = time.Time{}, time.Time{}
				}
				require.Equal(t, recorded, parts[0].meta.RecordedAt)
				require.Equal(t, fetched, parts[0].meta.FetchedAt)
			}
			if want.odometer != "" {
				requirePartError(t, want.odometer, parts[1])
			} else {
				require.Equal(t, &OdometerReading{Distance: want.distance}, decodedPart(t, parts[1]))
			}
		})
	}
}

func decodedPart(t *testing.T, p part) any {
	t.Helper()
	require.Nil(t, p.err)
	p.meta.UnitSystem = Metric
	v, err := p.decode(wireV3{})
	require.NoError(t, err)
	stored, err := wireV3{}.decode(p.op, p.json(), Metric)
	require.NoError(t, err)
	require.Equal(t, v, stored, "what is stored of it is read alike")
	return v
}

// A reading is made of the signals of its row and of no other: what is stored of it
// has no more than those.
func TestV3ReadingsAreMadeOfTheirOwnSignals(t *testing.T) {
	var list struct {
		Data []json.RawMessage `json:"data"`
	}
	for name, f := range fixtureFiles(t, "v3/signals/*.json") {
		var body struct{ Data json.RawMessage }
		if !strings.Contains(name, ".") && json.Unmarshal(f.Response.Body, &body) == nil {
			list.Data = append(list.Data, body.Data)
		}
	}
	body, err := json.Marshal(list)
	require.NoError(t, err)
	a := &answer{status: http.StatusOK, header: http.Header{}, body: body}
	a.list, err = readSignals(a)
	require.NoError(t, err)
	made := 0
	for _, p := range (wireV3{}).brought(a) {
		if p.op.name != AllSignals {
			decodedPart(t, p)
			made++
		}
	}
	require.Greater(t, made, 15)
}

// The copy of a result that a caller gets is whole, and shares nothing with the
// original. A result without a copy is decoded anew.
func TestOwnReadings(t *testing.T) {
	copied := 0
	for i := range operations {
		op := &operations[i]
		if !op.isRead() || op.decodeV2 == nil {
			continue
		}
		for name, f := range fixtureFiles(t, "v2/reads/"+string(op.name)+"*.json") {
			original, err := wireV2{}.decode(op, f.answer().body, Metric)
			if err != nil {
				continue
			}
			original.setMeta(Meta{RequestID: "r", ReceivedAt: fuzzTime})
			own := ownReading(original)
			if own == nil {
				continue
			}
			copied++
			require.Equal(t, original, own, name)
			is, was := reflect.ValueOf(own).Elem(), reflect.ValueOf(original).Elem()
			require.NotSame(t, own, original)
			for field := range is.NumField() {
				switch is.Field(field).Kind() {
				case reflect.Pointer:
					require.True(t, is.Field(field).IsNil() || is.Field(field).Pointer() != was.Field(field).Pointer(), name)
				case reflect.Slice, reflect.Map:
					t.Fatalf("%s: %s may be shared", name, is.Type().Field(field).Name)
				default: // copied with the struct
				}
			}
		}
	}
	require.Greater(t, copied, 20)
}

// A reading that is made of several signals fails if not one of them can be
// read: it would say that the car said nothing.
func TestV3ReadingOfWhatCannotBeRead(t *testing.T) {
	const scalar, rangeLeft = `{"code":"tractionbattery-stateofcharge","body":45}`, `{"code":"tractionbattery-range","body":{"value":280,"unit":"km"}}`
	_, err := wireV3{}.decode(row(Battery), []byte(`{"data":[`+scalar+`]}`), Metric)
	require.ErrorIs(t, err, ErrUnexpectedAnswer)
	got, err := wireV3{}.decode(row(Battery), []byte(`{"data":[`+scalar+`,`+rangeLeft+`]}`), Metric)
	require.NoError(t, err)
	require.Equal(t, &BatteryReading{Range: new(280.0)}, got)
}

// requirePartError looks for the reason in the text, which is for people, and
// never takes the value beside an error for data.
func requirePartError(t *testing.T, want string, p part) {
	t.Helper()
	require.NotNil(t, p.err)
	require.Empty(t, p.body)
	require.Contains(t, p.err.Error(), want)
}

func TestNoV3SignalFixtureIsForgotten(t *testing.T) {
	for name := range fixtureFiles(t, "v3/signal*.json") {
		raw, err := os.ReadFile("wires_test.go")
		require.NoError(t, err)
		require.Contains(t, string(raw), `"`+name+`"`)
	}
}

// An answer has at least one field of its own, and null is a value: the car did
// not say. What has none is somebody else's.
func TestWireV2KnowsItsAnswers(t *testing.T) {
	for i := range operations {
		op := &operations[i]
		if op.decodeV2 == nil {
			continue
		}
		t.Run(string(op.name), func(t *testing.T) {
			for _, foreign := range []string{`{"welcome":true}`, `{}`, `{"welcome":{"` + strings.ReplaceAll(strings.Join(ownFields(op), " "), " ", `":1,"`) + `":1}}`} {
				got, err := wireV2{}.decode(op, []byte(foreign), Metric)
				require.ErrorIs(t, err, errForeign, foreign)
				require.Nil(t, got)
			}
			for name := range strings.FieldsSeq(op.own) {
				field, _, _ := strings.Cut(name, ":")
				body := `{"welcome":true,"` + field + `":null}`
				switch list, isList := strings.CutSuffix(name, "[text]"); {
				case name == aList:
					body = ` []`
				case isList:
					body = `{"welcome":true,"` + list + `":[]}`
				case strings.Contains(field, "."):
					outer, inner, _ := strings.Cut(field, ".")
					body = `{"welcome":true,"` + outer + `":{"` + inner + `":null}}`
				}
				got, err := wireV2{}.decode(op, []byte(body), Metric)
				require.NoError(t, err, body)
				require.NotNil(t, got)
			}
			if !strings.Contains(op.own, aList) {
				_, err := wireV2{}.decode(op, []byte(`[]`), Metric)
				require.ErrorIs(t, err, errNotObject)
			}
		})
	}
}

// ownFields are the names of the fields of an answer.
func ownFields(op *operation) (names []string) {
	for shape := range strings.FieldsSeq(op.own) {
		name, _, _ := strings.Cut(shape, ":")
		names = append(names, name)
	}
	return names
}

func TestUnitSpellings(t *testing.T) {
	seen := map[string]Unit{}
	for _, u := range unitSpellings {
		require.Equal(t, u.unit, unit(lenient.String(" "+strings.ToUpper(string(u.unit))), ""), "a unit spells itself")
		for s := range strings.FieldsSeq(u.spellings) {
			require.Empty(t, seen[s], "%s is spelled like %s", u.unit, seen[s])
			require.Equal(t, strings.ToLower(s), s)
			seen[s] = u.unit
		}
	}
	require.Equal(t, Unit("Parsecs"), unit(" Parsecs ", UnitMiles))
	require.Equal(t, UnitMiles, unit("", UnitMiles))
}

func TestWhichAnswerIsNewer(t *testing.T) {
	at := func(recorded, received int, pushed bool, sequence int64) part {
		p := part{pushed: pushed, sequence: sequence}
		if recorded != 0 {
			p.meta.RecordedAt = fuzzTime.Add(time.Duration(recorded) * time.Second)
		}
		p.meta.ReceivedAt = fuzzTime.Add(time.Duration(received) * time.Second)
		return p
	}
	for name, tt := range map[string]struct {
		old, new part
		newer    bool
	}{
		"recorded later, said earlier": {at(1, 9, true, 0), at(2, 8, true, 0), true},
		"recorded earlier, said later": {at(2, 8, true, 0), at(1, 9, true, 0), false},
		"the same, a higher sequence":  {at(1, 9, true, 1), at(1, 8, true, 2), true},
		"the same, a lower sequence":   {at(1, 8, true, 2), at(1, 9, true, 1), false},
		"the same, no sequence, later": {at(1, 8, true, 0), at(1, 9, true, 0), true},
		"the same event":               {at(1, 8, true, 1), at(1, 8, true, 1), false},
		"than a read":                  {at(1, 8, false, 0), at(2, 8, true, 1), true},
		"not than a later read":        {at(3, 9, false, 0), at(2, 8, true, 1), false},
		"undated":                      {at(0, 8, true, 0), at(2, 9, true, 0), true},
		"than one with a clock ahead":  {at(99999, 8, false, 0), at(9, 10, true, 0), true},
		"a read goes by when it came":  {at(2, 8, true, 5), at(1, 9, false, 0), true},
		"a read does not by its clock": {at(1, 9, false, 0), at(2, 8, false, 0), false},
	} {
		require.Equal(t, tt.newer, tt.new.outdates(tt.old), name)
	}
}

// The way back from Connect is checked even where it cannot be wrong: the one of
// the client was, when that was made.
func TestCompleteURLNeedsAnAbsoluteWayBack(t *testing.T) {
	const partial = "https://connect.smartcar.com/battery-capacity?response_type=vehicle_id&token=secret&redirect_uri="
	_, err := completeURL(&url.URL{Scheme: "https", Host: "connect.smartcar.com"}, partial, "/relative", "STATE234567")
	var problem *ArgumentError
	require.ErrorAs(t, err, &problem)
	require.Equal(t, "redirectURL", problem.Argument)
	require.NotContains(t, err.Error(), "secret")
}
