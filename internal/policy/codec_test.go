package policy

import (
	"bytes"
	"encoding/hex"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var fuzzTime = time.Date(2026, 11, 23, 9, 15, 4, 0, time.UTC)

// Records are shared by programs of several versions: their bytes stay as they
// are. These were written before this package had its name.
func TestRecordsStayReadable(t *testing.T) {
	t.Parallel()
	at := func(d time.Duration) time.Time { return fuzzTime.Add(123 * time.Millisecond).Add(d) }
	up := func(d time.Duration) time.Time { return at(d + time.Millisecond) } // 123.456 ms rounded up
	for name, tt := range map[string]struct {
		record string
		state  State
	}{
		"nothing known": {
			"0100000000000000000000000000002a0000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000",
			State{},
		},
		"everything known": {
			"0102020307020202000000000000002a000000000000000101a207e6ecbc01a207affe3c01a2081ddb3c01a207affe3b01a207affe3b01a207b0e89b01a207affe3b01a207affe3b01a207affe3b",
			State{
				class: classKnown{is: ClassStreaming, proven: true, checkAt: at(0)},
				key:   keyKnown{is: KeyMissing, source: FromError, checks: 7, at: at(0), checkAt: at(time.Minute)},
				turn:  turn{phase: phaseSent, nonce: 1, usedAt: up(0), leaseEnd: up(time.Hour)},
				limit: limit{to: up(2 * time.Hour), at: at(0)},
				data:  dataKnown{wake: WakeAsleep, recordedAt: at(0), fetchedAt: at(0)},
			},
		},
		"legacy": {
			"010300000000000d000000000000002a000000000000000000000000000000000000000000000000000000000000000000000000000000000000000001a207af13db01a207affe3b000000000000",
			State{
				class: classKnown{is: ClassLegacy, byVIN: true},
				data:  dataKnown{streams: true, nothing: true, recordedAt: at(-time.Minute), fetchedAt: at(0)},
			},
		},
		"another make": {
			"0104030600010100000000000000002affffffffffffffff000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000",
			State{
				class: classKnown{is: ClassOther}, key: keyKnown{is: KeyInstalled, source: FromApplication},
				turn: turn{phase: phaseReserved, nonce: math.MaxUint64}, data: dataKnown{wake: WakeAwake},
			},
		},
		"not to be told": {
			"0101010100000000000000000000002a0000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000",
			State{class: classKnown{is: ClassUnknown}, key: keyKnown{is: KeyUnavailable, source: FromEndpoint}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			raw, err := hex.DecodeString(tt.record)
			require.NoError(t, err)
			s, err := Decode(raw)
			require.NoError(t, err)
			require.Equal(t, tt.state, s)
			require.Equal(t, tt.record, hex.EncodeToString(Encode(s, 42)))
		})
	}
}

// What is stored of a car is read back as it was, to the millisecond, and what
// somebody else wrote is refused or read, without a panic.
func FuzzCarRecord(f *testing.F) {
	states := []State{
		{},
		{
			class: classKnown{is: ClassStreaming}, key: keyKnown{is: KeyMissing, source: FromError, checks: 7},
			turn: turn{phase: phaseSent, nonce: 1, usedAt: fuzzTime, leaseEnd: fuzzTime.Add(time.Hour)}, data: dataKnown{wake: WakeAsleep},
		},
		{
			class: classKnown{is: ClassLegacy, proven: true}, key: keyKnown{at: fuzzTime, checkAt: fuzzTime},
			limit: limit{to: fuzzTime, at: fuzzTime}, data: dataKnown{streams: true, recordedAt: fuzzTime, fetchedAt: fuzzTime},
		},
		{
			class: classKnown{is: ClassOther}, key: keyKnown{is: KeyInstalled, source: FromApplication},
			turn: turn{phase: phaseReserved, nonce: math.MaxUint64}, data: dataKnown{wake: WakeAwake},
		},
	}
	for _, s := range states {
		f.Add(Encode(s, 42))
	}
	f.Add([]byte(nil))
	f.Add(make([]byte, recordSize))
	f.Add(append(Encode(states[0], 1)[:24], bytes.Repeat([]byte{0xff}, recordSize-24)...)) // times in the year 10889
	f.Fuzz(func(t *testing.T, raw []byte) {
		s, err := Decode(raw)
		if err != nil {
			return
		}
		encoded := Encode(s, math.MaxUint64)
		if len(encoded) != recordSize {
			t.Fatalf("%d bytes", len(encoded))
		}
		again, err := Decode(encoded)
		require.NoError(t, err)
		require.Equal(t, s, again)
		// Whatever it says, the policy can live with it.
		rules := testRules
		rules.MaxLease = time.Minute
		for _, e := range []Event{
			AskData(1, time.Minute), AskCommand(), Leave(s.turn.nonce, time.Minute),
			Settle(s.turn.nonce, time.Minute, Result{Outcome: OutcomeOK}), KeyCheckFailed(),
		} {
			Step(s, e, fuzzTime, rules)
		}
	})
}

// A car whose clock is wrong by thousands of years is stored like any other.
func TestCarRecordKeepsAbsurdTimes(t *testing.T) {
	for _, at := range []time.Time{
		time.Date(1969, 12, 31, 0, 0, 0, 0, time.UTC), time.Date(1, 1, 1, 0, 0, 0, 1, time.UTC), time.UnixMilli(1),
		time.Date(2262, 4, 12, 0, 0, 0, 0, time.UTC), time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC),
	} {
		again, err := Decode(Encode(State{data: dataKnown{recordedAt: at}, turn: turn{usedAt: fuzzTime}}, 1))
		require.NoError(t, err)
		require.True(t, again.turn.usedAt.Equal(fuzzTime))
		if at.Unix() <= 0 && !at.Equal(time.UnixMilli(1)) {
			require.Zero(t, again.data.recordedAt, "before 1970 is not known")
			continue
		}
		require.True(t, again.data.recordedAt.Equal(at), "%v became %v", at, again.data.recordedAt)
	}
}

// Times are rounded up, so that no window opens early.
func TestCarRecordNeverOpensAWindowEarly(t *testing.T) {
	for _, d := range []time.Duration{0, 1, time.Microsecond, 999_999, time.Millisecond, time.Second - 1} {
		s := State{
			class: classKnown{is: ClassStreaming}, key: keyKnown{is: KeyMissing},
			turn: turn{usedAt: fuzzTime.Add(d), leaseEnd: fuzzTime.Add(d)},
		}
		again, err := Decode(Encode(s, 1))
		require.NoError(t, err)
		require.False(t, again.turn.usedAt.Before(s.turn.usedAt))
		require.Less(t, again.turn.usedAt.Sub(s.turn.usedAt), time.Millisecond)
		require.False(t, again.turn.leaseEnd.Before(s.turn.leaseEnd))
	}
}
