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

// Records are shared by programs of several versions: these were written by the
// first one, and are read as they were meant.
func TestRecordsOfTheFirstVersionStayReadable(t *testing.T) {
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
				key:   keyKnown{is: KeyMissing, source: FromError, looks: 7, at: at(0), checkAt: at(time.Minute)},
				turn:  turn{phase: phaseSent, nonce: 1, usedAt: up(0), leaseEnd: up(time.Hour)},
				limit: limit{to: up(2 * time.Hour), at: at(0)},
				data:  dataKnown{wake: WakeAsleep, recordedAt: at(0), fetchedAt: at(0)},
			},
		},
		"legacy": {
			"010300000000000d000000000000002a000000000000000000000000000000000000000000000000000000000000000000000000000000000000000001a207af13db01a207affe3b000000000000",
			State{
				class: classKnown{is: ClassLegacy, byVIN: true},
				data:  dataKnown{streaming: streaming{on: true, at: at(0)}, nothing: true, recordedAt: at(-time.Minute), fetchedAt: at(0)},
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
			again, err := Decode(Encode(&s, 42))
			require.NoError(t, err)
			require.Equal(t, s, again)
		})
	}
}

// everything is a state in which no field is zero but the differences of clocks.
func everything() State {
	n := 0
	at := func() time.Time { n++; return fuzzTime.Add(time.Duration(n) * time.Second) }
	s := State{
		class: classKnown{is: ClassUnknown, proven: true, byVIN: true, silent: true, dataSilent: true},
		key:   keyKnown{is: KeyMissing, source: FromError, looks: 5, unreadable: true, doubted: true, had: true},
		turn:  turn{phase: phaseSent, nonce: 7},
		limit: limit{bare: true},
		data: dataKnown{
			wake: WakeAsleep, nothing: true, asleep: 2, quiet: quiet{times: 3}, streaming: streaming{on: true, looks: 1, refreshes: 2},
		},
	}
	for _, t := range s.times() {
		*t = at()
	}
	return s
}

// clocksApart is a state that clocks have written which were wrong.
func clocksApart() State {
	s := everything()
	for i, d := range s.differences() {
		*d = time.Duration(i-1)*time.Hour + 7*time.Millisecond // one of them is negative
	}
	return s
}

// withoutHad is s as a program wrote it that did not tell a key that was removed from
// one that was never there.
func withoutHad(s State) State {
	s.key.had = false
	return s
}

// Their bytes stay as they are, from version 2 on.
func TestRecordsStayReadable(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		record string
		state  State
	}{
		"nothing known":       {"0200000000000000000000000000000000002a000000", State{}},
		"a turn was answered": {"0200000000000000180000000000000000002a000000", State{gave: OutcomeOK}},
		"everything known": {
			"02010203050202ff013221000000000000002a1fffff000000000000000701a207b001a801a207b0059001a207b0097801a207b00d6001a207b0114801a207b0153001a207b0191801a207b01d0001a207b020e801a207b024d001a207b028b801a207b02ca001a207b0308801a207b0347001a207b0385801a207b03c4001a207b0402801a207b0441001a207b047f801a207b04be0",
			withoutHad(everything()),
		},
		"clocks apart": {
			"02010203050202ff013221000000000000002a3fffff000000000000000701a207b001a801a207b0059001a207b0097801a207b00d6001a207b0114801a207b0153001a207b0191801a207b01d0001a207b020e801a207b024d001a207b028b801a207b02ca001a207b0308801a207b0347001a207b0385801a207b03c4001a207b0402801a207b0441001a207b047f801a207b04be0ffffffc9118700000000000700000036ee87",
			withoutHad(clocksApart()),
		},
		"the key was there before": {
			"0200020000000000020000000000000000002a000000", State{key: keyKnown{is: KeyMissing, had: true}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, tt.record, hex.EncodeToString(Encode(&tt.state, 42)))
			s, err := Decode(Encode(&tt.state, 42))
			require.NoError(t, err)
			require.Equal(t, tt.state, s)
		})
	}
}

// A record of a later version is read as far as it is known here, and what is not
// is written back with it.
func TestRecordsOfALaterVersionAreCarriedAlong(t *testing.T) {
	t.Parallel()
	for name, state := range map[string]State{"nothing known": {}, "everything known": everything(), "clocks apart": clocksApart(), "keyless": keylessState(policyNow)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			record := append(Encode(&state, 42), "what a later version knows"...)
			record[0], record[8] = 9, record[8]|1<<6
			s, err := Decode(record)
			require.NoError(t, err)
			require.Equal(t, record, Encode(&s, 42))
			known := s
			known.carried = carried{}
			require.Equal(t, state, known)

			s, _ = Step(&s, LearnKey(KeyInstalled, FromCommand, fuzzTime.Add(time.Hour)), fuzzTime.Add(time.Hour), testRules)
			written := Encode(&s, 43)
			require.Equal(t, uint8(9), written[0])
			require.NotZero(t, written[8]&(1<<6))
			require.True(t, bytes.HasSuffix(written, []byte("what a later version knows")))
			require.Equal(t, KeyInstalled, s.Key())
			require.Zero(t, s.RunningWindow().carried, "nothing is carried of a car that is forgotten")
		})
	}
	keyless := keylessState(policyNow)
	strange := Encode(&keyless, 42)
	strange[0], strange[1], strange[2], strange[6] = 3, 77, 78, 79
	s, err := Decode(strange)
	require.NoError(t, err)
	require.True(t, s.Keyless(), "a class and a key that are not known here keep it closed")
	strange[0] = recordVersion
	_, err = Decode(strange)
	require.Error(t, err)
}

// A record is cut or filled with anything: it is refused, or read within itself.
func TestRecordsThatAreCut(t *testing.T) {
	t.Parallel()
	apart := clocksApart()
	whole := Encode(&apart, 42)
	for n := range len(whole) {
		_, err := Decode(whole[:n])
		require.Error(t, err, "%d bytes", n)
	}
	whole[19] |= 1 << 7
	_, err := Decode(whole)
	require.Error(t, err, "a bit that no version has")
}

// What is stored of a car is read back as it was, to the millisecond, and what
// somebody else wrote is refused or read, without a panic.
func FuzzCarRecord(f *testing.F) {
	states := []State{
		{},
		{
			class: classKnown{is: ClassStreaming}, key: keyKnown{is: KeyMissing, source: FromError, looks: 7},
			turn: turn{phase: phaseSent, nonce: 1, usedAt: fuzzTime, leaseEnd: fuzzTime.Add(time.Hour)}, data: dataKnown{wake: WakeAsleep},
		},
		{
			class: classKnown{is: ClassLegacy, proven: true}, key: keyKnown{at: fuzzTime, checkAt: fuzzTime},
			limit: limit{to: fuzzTime, at: fuzzTime}, data: dataKnown{streaming: streaming{on: true, at: fuzzTime}, recordedAt: fuzzTime, fetchedAt: fuzzTime},
		},
		{
			class: classKnown{is: ClassOther}, key: keyKnown{is: KeyInstalled, source: FromApplication},
			turn: turn{phase: phaseReserved, nonce: math.MaxUint64}, data: dataKnown{wake: WakeAwake},
		},
	}
	for _, s := range states {
		f.Add(Encode(&s, 42))
	}
	f.Add([]byte(nil))
	all := everything()
	f.Add(Encode(&all, 42))
	f.Add(make([]byte, firstSize))
	f.Add(append(make([]byte, 24), bytes.Repeat([]byte{0xff}, firstSize-24)...))
	f.Add(append(Encode(&all, 1)[:recordHead+nonceSize], bytes.Repeat([]byte{0xff}, timesStored*timeSize)...)) // times in the year 10889
	f.Fuzz(func(t *testing.T, raw []byte) {
		s, err := Decode(raw)
		if err != nil {
			return
		}
		encoded := Encode(&s, math.MaxUint64)
		if len(encoded) > max(len(raw), recordHead+nonceSize+(timesStored+differencesStored)*timeSize) {
			t.Fatalf("%d bytes", len(encoded))
		}
		again, err := Decode(encoded)
		require.NoError(t, err)
		require.Equal(t, s, again)
		// Whatever it says, the policy can live with it.
		rules := testRules
		rules.MaxLease = time.Minute
		for _, e := range []Event{
			AskData(1, time.Minute), AskCommand(true), Leave(s.turn.nonce, time.Minute),
			Settle(s.turn.nonce, time.Minute, Result{Outcome: OutcomeOK}), KeyCheckFailed(),
		} {
			Step(&s, e, fuzzTime, rules)
		}
	})
}

// A car whose clock is wrong by thousands of years is stored like any other.
func TestCarRecordKeepsAbsurdTimes(t *testing.T) {
	for _, at := range []time.Time{
		time.Date(1969, 12, 31, 0, 0, 0, 0, time.UTC), time.Date(1, 1, 1, 0, 0, 0, 1, time.UTC), time.UnixMilli(1),
		time.Date(2262, 4, 12, 0, 0, 0, 0, time.UTC), time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC),
	} {
		again, err := Decode(Encode(&State{data: dataKnown{recordedAt: at}, turn: turn{usedAt: fuzzTime}}, 1))
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
		again, err := Decode(Encode(&s, 1))
		require.NoError(t, err)
		require.False(t, again.turn.usedAt.Before(s.turn.usedAt))
		require.Less(t, again.turn.usedAt.Sub(s.turn.usedAt), time.Millisecond)
		require.False(t, again.turn.leaseEnd.Before(s.turn.leaseEnd))
	}
}
