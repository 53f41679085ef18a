package smartcar

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"math"
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/stretchr/testify/require"

	"github.com/seed-498a1bc4/smartcar/internal/catalog"
	"github.com/seed-498a1bc4/smartcar/internal/lenient"
	"github.com/seed-498a1bc4/smartcar/internal/policy"
	"github.com/seed-498a1bc4/smartcar/internal/randid"
	"github.com/seed-498a1bc4/smartcar/signals"
)

var fuzzTime = time.Date(2026, 11, 23, 9, 15, 4, 0, time.UTC)

// addBodies seeds a fuzz test with the bodies of fixtures.
func addBodies(f *testing.F, patterns ...string) {
	f.Helper()
	for _, pattern := range patterns {
		for _, fixture := range fixtureFiles(f, pattern) {
			f.Add(fixture.answer().body)
		}
	}
	for _, body := range []string{
		"", "null", "{}", "[]", "[{}]", "{", `"`, "0", "-0", "1e999", "true", "\xff\xfe", "{\"a\":{}}", `[[[[]]]]`,
		`{"percentRemaining":NaN}`, `{"percentRemaining":1e400}`, `{"year":1e300}`, `{"doors":[null,1,"x",{}]}`,
	} {
		f.Add([]byte(body))
	}
}

// No body, whatever it is, makes the decoding of any read panic, and what is
// decoded has numbers that are numbers.
func FuzzDecodeV2(f *testing.F) {
	addBodies(f, "v2/reads/*.json", "v2/errors/*.json")
	f.Fuzz(func(t *testing.T, body []byte) {
		for i := range operations {
			if !operations[i].isRead() {
				continue
			}
			value, err := wireV2{}.decode(&operations[i], body, Metric)
			if err != nil {
				if value != nil {
					t.Fatalf("%s: a value beside an error", operations[i].name)
				}
				if err != errNotObject && err != errForeign && !errors.Is(err, ErrNotSupported) { //nolint:errorlint // exactly these texts, which quote nothing
					t.Fatalf("%s: %v could quote the body", operations[i].name, err)
				}
				continue
			}
			requireRealNumbers(t, value)
		}
		_, _ = wireV2{}.commandResult(row(Lock), &answer{status: 200, header: http.Header{}, body: body, at: fuzzTime})
	})
}

// requireRealNumbers finds every number that the caller would get.
func requireRealNumbers(t *testing.T, value any) {
	t.Helper()
	if _, err := json.Marshal(value); err != nil { // refuses NaN and infinity
		t.Fatalf("%T: %v", value, err)
	}
}

func FuzzDecodeError(f *testing.F) {
	for _, pattern := range []string{"v2/errors/*.json", "v3/error.*.json"} {
		for _, fixture := range fixtureFiles(f, pattern) {
			a := fixture.answer()
			f.Add(a.status, a.body, a.header.Get("Retry-After"), a.header.Get("SC-Request-Id"))
		}
	}
	f.Add(0, []byte(`{"errors":[{"errors":[{}]}]}`), "", "")
	f.Add(418, []byte(`{"error":{"error":{"error":{}}}}`), "1e18", "\x00")
	f.Fuzz(func(t *testing.T, status int, body []byte, retryAfter, requestID string) {
		header := http.Header{"Retry-After": {retryAfter}, "Sc-Request-Id": {requestID}}
		e := decodeError(Battery, status, header, body, fuzzTime)
		if e == nil {
			t.Fatal("no error")
		}
		if e.StatusCode == 0 && status != 0 {
			t.Fatal("the status got lost")
		}
		if e.RetryAfter < 0 || e.RetryAfter > maxRetryAfter {
			t.Fatalf("RetryAfter %v", e.RetryAfter)
		}
		if text := e.Error(); len(text) > 4000 {
			t.Fatalf("a text of %d bytes", len(text))
		}
		for _, command := range []bool{false, true} {
			e.command = command
			if MayHaveSucceeded(e) && Retryable(e) {
				t.Fatal("a command that may have run would be sent again")
			}
			outcomeOf(e)
		}
		e.LogValue()
	})
}

func FuzzRetryAfter(f *testing.F) {
	for _, s := range []string{
		"", "0", "1", "120", "-1", "NaN", "Inf", "-Inf", "+Inf", "1e400", "0x1p-2", "1_000", "31536000", "1795425904", "1795425904000",
		"Mon, 23 Nov 2026 09:25:04 GMT", "Monday, 23-Nov-26 09:25:04 GMT", "Mon Nov 23 09:25:04 2026", "  7 ", "1e11", "99999999999999999999",
	} {
		f.Add(s, fuzzTime.Unix())
	}
	f.Fuzz(func(t *testing.T, s string, now int64) {
		if now < math.MinInt32 || now > math.MaxUint32 {
			return
		}
		d := parseRetryAfter(s, time.Unix(now, 0))
		if d < 0 || d > maxRetryAfter {
			t.Fatalf("%q gives %v", s, d)
		}
	})
}

// A batch gives one part for each operation, in order, whatever is answered.
func FuzzSplitBatch(f *testing.F) {
	addBodies(f, "v2/batch/*.json", "v2/reads/*.json")
	ops := rows(Battery, Odometer, Location, Attributes)
	f.Fuzz(func(t *testing.T, body []byte) {
		parts, err := wireV2{}.split(ops, &answer{status: 200, header: http.Header{}, body: body, at: fuzzTime})
		if err != nil {
			return
		}
		requireParts(t, ops, parts, wireV2{})
	})
}

func requireParts(t *testing.T, ops []operation, parts []part, w wire) {
	t.Helper()
	if len(parts) != len(ops) {
		t.Fatalf("%d parts for %d operations", len(parts), len(ops))
	}
	for i, p := range parts {
		if p.op == nil || p.op.name != ops[i].name {
			t.Fatalf("part %d is not of %s", i, ops[i].name)
		}
		if p.err != nil {
			outcomeOf(p.err)
			continue
		}
		p.meta.UnitSystem = Imperial
		value, err := p.decode(w)
		if err == nil {
			requireRealNumbers(t, value)
		}
		stored, storedErr := w.decode(p.op, p.json(), Imperial)
		if (err == nil) != (storedErr == nil) || !reflect.DeepEqual(value, stored) {
			t.Fatalf("%s: %v, and as it is stored %v", p.op.name, value, stored)
		}
	}
	_, _ = strongest(KindData, w, parts)
}

func FuzzDecodeV3(f *testing.F) {
	addBodies(f, "v3/*.json")
	f.Fuzz(func(t *testing.T, body []byte) {
		a := &answer{status: 200, header: http.Header{}, body: body, at: fuzzTime}
		for _, ops := range [][]operation{rows(Battery, Odometer), rows(Odometer), rows(Attributes), rows(Attributes, Battery)} {
			if parts, err := (wireV3{}).split(ops, a); err == nil {
				requireParts(t, ops, parts, wireV3{})
			}
		}
		result, err := wireV3{}.commandResult(row(Lock), a)
		if (result == nil) == (err == nil) {
			t.Fatal("neither a result nor an error, or both")
		}
	})
}

// usedCarRecord is what the policy stores of a keyless car whose turn was used.
func usedCarRecord(usedAt time.Time) []byte {
	s := policy.Closed(usedAt)
	for _, e := range []policy.Event{
		policy.LearnClass(policy.ClassStreaming), policy.LearnKey(policy.KeyMissing, policy.FromEndpoint, usedAt),
	} {
		s, _ = policy.Step(&s, e, usedAt, policy.Rules{})
	}
	return policy.Encode(&s, randid.New())
}

// Whatever is stored of a car can be explained.
func FuzzCarRecordIsExplained(f *testing.F) {
	for _, record := range [][]byte{
		usedCarRecord(fuzzTime), policy.Encode(&policy.State{}, 42), nil, make([]byte, len(usedCarRecord(fuzzTime))),
		append(usedCarRecord(fuzzTime)[:24], bytes.Repeat([]byte{0xff}, len(usedCarRecord(fuzzTime))-24)...), // times in the year 10889
	} {
		f.Add(record)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		s, err := policy.Decode(raw)
		if err != nil {
			return
		}
		if status := keyStatus(&s); status.Reason == "" {
			t.Fatal("no reason")
		}
		if why(&s) == "" {
			t.Fatal("nothing explained")
		}
	})
}

// Whatever an answer holds, nothing panics, a value comes without an error and
// only from a signal that succeeded, and a stale one only where it was asked for.
func FuzzSignals(f *testing.F) {
	addBodies(f, "v3/signals/*.json", "v3/signal*.json")
	f.Fuzz(func(t *testing.T, body []byte) {
		s, err := decodeSignals(&answer{status: http.StatusOK, header: http.Header{}, body: body, at: fuzzTime})
		if err != nil {
			if s != nil {
				t.Fatal("signals beside an error")
			}
			return
		}
		requireHonestSignals(t, s)
	})
}

// The same of the signals of a webhook.
func FuzzEventSignals(f *testing.F) {
	for _, fixture := range fixtureFiles(f, "v3/signals/*.json") {
		var body struct {
			Data struct {
				Attributes json.RawMessage `json:"attributes"`
			} `json:"data"`
		}
		if json.Unmarshal(fixture.Response.Body, &body) == nil && body.Data.Attributes != nil {
			f.Add([]byte("["+string(body.Data.Attributes)+"]"), 1)
		}
	}
	f.Add([]byte(`[{"code":"charge-voltage","status":"ERROR","body":{"value":1},"meta":{"fetchedAt":1}}]`), 7)
	f.Add([]byte(`[{"code":"charge-voltage","status":{"error":"x"},"body":{"value":1}},null,[[]],{"code":""}]`), -1)
	f.Fuzz(func(t *testing.T, list []byte, count int) {
		value, _ := lenient.Parse(list)
		s := decodeEventSignals(value, count, fuzzTime)
		if s.Len() < count && !s.Incomplete() {
			t.Fatal("signals are missing, unnoticed")
		}
		requireHonestSignals(t, s)
	})
}

// access calls the accessor of a signal.
func access(t testing.TB, s *Signals, row catalog.Signal) (any, error) {
	t.Helper()
	method := reflect.ValueOf(s).MethodByName(row.Accessor())
	require.True(t, method.IsValid(), "no accessor %s", row.Accessor())
	out := method.Call(nil)
	err, _ := out[1].Interface().(error)
	require.Equal(t, err != nil, out[0].IsNil(), "a value beside an error, or neither")
	if err != nil {
		return nil, err
	}
	return out[0].Interface(), nil
}

// takeMeta removes what every signal has from a value.
func takeMeta(value any) SignalMeta {
	field := reflect.ValueOf(value).Elem().FieldByName("SignalMeta")
	meta, _ := field.Interface().(SignalMeta)
	field.SetZero()
	return meta
}

func requireHonestSignals(t *testing.T, s *Signals) {
	t.Helper()
	status := map[signals.Code]storedSignal{}
	for _, stored := range s.content().signals {
		status[stored.meta.Code] = stored
	}
	last := signals.Code("")
	for code, raw := range s.All() {
		if code == "" || code <= last && last != "" {
			t.Fatalf("%q after %q", code, last)
		}
		last = code
		requireHonest(t, raw.SignalMeta, raw.Err, status[code], false)
		if raw.Err != nil && raw.Body() != nil {
			t.Fatalf("%s: a body beside an error", code)
		}
	}
	for _, row := range catalog.Signals() {
		if _, ok := status[signals.Code(row.Code())]; !ok {
			continue // asking for all that is not there would only take time
		}
		for _, view := range []*Signals{s, s.LastKnown()} {
			value, err := access(t, view, row)
			if err != nil {
				requireHonest(t, SignalMeta{}, err, status[signals.Code(row.Code())], view.content().lastKnown)
				continue
			}
			requireRealNumbers(t, value)
			requireHonest(t, takeMeta(value), nil, status[signals.Code(row.Code())], view.content().lastKnown)
		}
	}
}

// requireHonest looks at what was handed out of a signal.
func requireHonest(t *testing.T, meta SignalMeta, err error, stored storedSignal, lastKnown bool) {
	t.Helper()
	// A status that is missing altogether, as in old answers, is a success.
	fresh := stored.meta.Status == SignalStatusSuccess || stored.meta.Status == "" && stored.err == nil
	switch {
	case err != nil:
		if meta.Stale {
			t.Fatalf("%s: stale and an error", stored.meta.Code)
		}
	case meta.Stale && !lastKnown:
		t.Fatalf("%s: stale, unasked", stored.meta.Code)
	case meta.Stale == fresh:
		t.Fatalf("%s: status %q, stale %v", stored.meta.Code, stored.meta.Status, meta.Stale)
	}
}

// FuzzWebhook: no body makes the receiver's parsing panic, what is refused says
// nothing of it, and no challenge that is answered is an event.
func FuzzWebhook(f *testing.F) {
	for _, fixture := range fixtureFiles(f, "webhooks/*.json") {
		f.Add([]byte(fixture.Request.Body), "4c05a8da471f05156ad717baa4017acd13a3a809850b9ca7d3301dcaaa854f70")
	}
	for _, body := range []string{"", "{}", "null", `{"eventType":"VERIFY"}`, `{"eventName":"verify","payload":null}`, `{"data":{"signals":{}}}`, "\xff"} {
		f.Add([]byte(body), "")
	}
	verifier, err := NewWebhookVerifier("amt")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, body []byte, signature string) {
		if err := verifier.Verify(body, signature); err == nil {
			t.Skip("the official vector")
		}
		proof := sign([]byte("amt"), body)
		if verifier.Verify(body, hex.EncodeToString(proof)) != nil {
			t.Fatal("the right signature was refused")
		}
		e, err := ParseWebhookEvent(body, fuzzTime)
		if err != nil {
			if e != nil || err.Error() != refusedWebhook(WebhookUnreadable).Error() {
				t.Fatalf("%v beside %v", err, e)
			}
			return
		}
		if string(e.Raw()) != string(body) {
			t.Fatal("the raw bytes are others")
		}
		for _, signal := range e.Signals.All() {
			_ = signal.Body()
		}
		for _, v := range e.Vehicles {
			if !v.RecordedAt.IsZero() && !v.hasReadings {
				t.Fatal("a time of readings that all failed")
			}
		}
		opened, err := openWebhook(body)
		if err != nil || opened.kind() != e.Type {
			t.Fatal("what is read before the event is another")
		}
		challenge := opened.challenge()
		answered, err := verifier.Challenge(challenge)
		if err == nil && isObject([]byte(challenge)) || (err == nil) != (answered != "") {
			t.Fatal("a challenge that could be an event was answered")
		}
		_ = opened.key(body)
	})
}

func FuzzParseCallback(f *testing.F) {
	for _, seed := range []string{
		"", "code=c&state=s&user_id=u", "code=c&code=d", "userId=u&virtual_key_url=https%3A%2F%2Fwww.tesla.com%2F_ak%2Fsmartcar.com",
		"error=access_denied&error_description=%1b%5b31m&state=s", "error=vehicle_incompatible&vin=" + "5YJXCCE23MF000001" + "&year=2021",
		"vehicle_id=v&virtual_key_url=https%3A%2F%2Ftesla.com%2F_ak%2Fevil.example", "user_id=a&userId=b",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, query string) {
		values, err := url.ParseQuery(query)
		if err != nil {
			return
		}
		got, err := ParseCallback(values)
		if err != nil {
			require.ErrorIs(t, err, ErrMalformedCallback)
			require.Nil(t, got)
			return
		}
		require.True(t, got.HasCode() || got.Err != nil || got.UserID != "" || got.VehicleID != "")
		require.False(t, got.HasCode() && got.Err != nil)
		require.Equal(t, values.Get("code"), got.secrets().code)
		require.Equal(t, values.Get("state") != "", got.VerifyState(values.Get("state")) == nil)
		require.True(t, got.VirtualKeyErr == nil || got.VirtualKeyURL.IsZero())
		if got.Err != nil {
			require.Equal(t, -1, strings.IndexFunc(got.Err.Error(), func(r rune) bool { return !unicode.IsPrint(r) }))
		}
	})
}
