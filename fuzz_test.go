package smartcar

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"net/http"
	"testing"
	"time"

	"github.com/seed-498a1bc4/smartcar/internal/randid"
	"github.com/stretchr/testify/require"
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
		if value, err := w.decode(p.op, p.body, Imperial); err == nil {
			requireRealNumbers(t, value)
		}
	}
	_, _ = (&core{wire: w}).strongest(KindData, parts)
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

// What is stored of a car is read back as it was, to the millisecond, and what
// somebody else wrote is refused or read, without a panic.
func FuzzCarRecord(f *testing.F) {
	states := []carState{
		{},
		{class: classStreaming, key: keyMissing, keySource: fromError, keyChecks: 7, wake: wakeAsleep, phase: turnSent, nonce: 1, usedAt: fuzzTime, leaseEnd: fuzzTime.Add(time.Hour)},
		{class: classLegacy, streams: true, proven: true, limitedTo: fuzzTime, limitedAt: fuzzTime, keyAt: fuzzTime, keyCheckAt: fuzzTime, recordedAt: fuzzTime, fetchedAt: fuzzTime},
		{class: classOther, key: keyInstalled, keySource: fromApplication, wake: wakeAwake, phase: turnReserved, nonce: math.MaxUint64},
	}
	for _, s := range states {
		f.Add(s.encode(42))
	}
	f.Add([]byte(nil))
	f.Add(make([]byte, carRecordSize))
	f.Add(append(states[0].encode(1)[:24], bytes.Repeat([]byte{0xff}, carRecordSize-24)...)) // times in the year 10889
	f.Fuzz(func(t *testing.T, raw []byte) {
		s, err := decodeCarState(raw)
		if err != nil {
			return
		}
		encoded := s.encode(randid.New())
		if len(encoded) != carRecordSize {
			t.Fatalf("%d bytes", len(encoded))
		}
		again, err := decodeCarState(encoded)
		require.NoError(t, err)
		require.Equal(t, s, again)
		// Whatever it says, the policy can live with it.
		for _, e := range []event{
			{kind: askData, nonce: 1, lease: time.Minute}, {kind: askCommand}, {kind: markSent, nonce: s.nonce, lease: time.Minute},
			{kind: settle, nonce: s.nonce, outcome: outcomeOK, lease: time.Minute}, {kind: keyCheckFailed},
		} {
			step(s, e, fuzzTime, DefaultRules(), time.Minute)
		}
		s.keyStatus()
		_ = s.why()
	})
}

// A car whose clock is wrong by thousands of years is stored like any other.
func TestCarRecordKeepsAbsurdTimes(t *testing.T) {
	for _, at := range []time.Time{
		time.Date(1969, 12, 31, 0, 0, 0, 0, time.UTC), time.Date(1, 1, 1, 0, 0, 0, 1, time.UTC), time.UnixMilli(1),
		time.Date(2262, 4, 12, 0, 0, 0, 0, time.UTC), time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC),
	} {
		again, err := decodeCarState(carState{recordedAt: at, usedAt: fuzzTime}.encode(1))
		require.NoError(t, err)
		require.True(t, again.usedAt.Equal(fuzzTime))
		if at.Unix() <= 0 && !at.Equal(time.UnixMilli(1)) {
			require.Zero(t, again.recordedAt, "before 1970 is not known")
			continue
		}
		require.True(t, again.recordedAt.Equal(at), "%v became %v", at, again.recordedAt)
	}
}

// Times are rounded up, so that no window opens early.
func TestCarRecordNeverOpensAWindowEarly(t *testing.T) {
	for _, d := range []time.Duration{0, 1, time.Microsecond, 999_999, time.Millisecond, time.Second - 1} {
		s := carState{class: classStreaming, key: keyMissing, usedAt: fuzzTime.Add(d), leaseEnd: fuzzTime.Add(d)}
		again, err := decodeCarState(s.encode(1))
		require.NoError(t, err)
		require.False(t, again.usedAt.Before(s.usedAt))
		require.Less(t, again.usedAt.Sub(s.usedAt), time.Millisecond)
		require.False(t, again.leaseEnd.Before(s.leaseEnd))
	}
}
