package policy

import (
	"encoding/binary"
	"errors"
	"time"
)

// A car's record is 78 bytes, so that a million cars fit in memory: a version,
// seven small fields, two random numbers and nine times of six bytes
// (milliseconds since 1970). Where a clock was wrong, three differences of clocks
// follow, of six bytes each (milliseconds in two's complement).
const (
	recordVersion = 1
	recordSize    = 8 + 8 + 8 + 9*timeSize
	timeSize      = 6
	skewedSize    = recordSize + 3*timeSize
	recordGrain   = time.Millisecond // of the times
	maxApart      = 9e12             // milliseconds between two clocks, 285 years

	flagStreams = 1 << 0
	flagProven  = 1 << 1
	flagByVIN   = 1 << 2
	flagNothing = 1 << 3
)

var errRecord = errors.New("the stored policy record was written by another version")

// Encode writes s as it is stored. WriteID makes two writes of one state
// distinct: whoever got no clear answer from the store reads back whose it holds.
func Encode(s State, writeID uint64) []byte {
	b := make([]byte, 8, recordSize)
	b[0] = recordVersion
	b[1] = byte(s.class.is)
	b[2] = byte(s.key.is)
	b[3] = byte(s.key.source)
	b[4] = s.key.checks
	b[5] = byte(s.data.wake)
	b[6] = byte(s.turn.phase)
	if s.data.streams {
		b[7] |= flagStreams
	}
	if s.class.proven {
		b[7] |= flagProven
	}
	if s.class.byVIN {
		b[7] |= flagByVIN
	}
	if s.data.nothing {
		b[7] |= flagNothing
	}
	b = binary.BigEndian.AppendUint64(b, writeID)
	b = binary.BigEndian.AppendUint64(b, s.turn.nonce)
	// Rounding up never opens a window early; rounding down never makes
	// evidence look newer than what comes in the same millisecond.
	for _, t := range [...]time.Time{s.turn.leaseEnd, s.turn.usedAt, s.limit.to} {
		b = appendTime(b, t.Add(recordGrain-1))
	}
	for _, t := range [...]time.Time{
		s.limit.at, s.key.at, s.key.checkAt, s.data.recordedAt, s.data.fetchedAt, s.class.checkAt,
	} {
		b = appendTime(b, t)
	}
	if s.turn.behind != 0 || s.turn.ahead != 0 || s.limit.behind != 0 {
		for _, d := range [...]time.Duration{s.turn.behind, s.turn.ahead, s.limit.behind} {
			b = appendMillis(b, d.Milliseconds())
		}
	}
	return b
}

// Decode reads what Encode has written.
func Decode(b []byte) (State, error) {
	if len(b) != recordSize && len(b) != skewedSize || b[0] != recordVersion ||
		Class(b[1]) > ClassOther || Key(b[2]) > KeyInstalled || phase(b[6]) > phaseSent {
		return State{}, errRecord
	}
	at := func(i int) time.Time { return readTime(b[24+i*timeSize:]) }
	s := State{
		class: classKnown{is: Class(b[1]), proven: b[7]&flagProven != 0, byVIN: b[7]&flagByVIN != 0, checkAt: at(8)},
		key:   keyKnown{is: Key(b[2]), source: KeySource(b[3]), checks: b[4], at: at(4), checkAt: at(5)},
		turn:  turn{phase: phase(b[6]), nonce: binary.BigEndian.Uint64(b[16:]), leaseEnd: at(0), usedAt: at(1)},
		limit: limit{to: at(2), at: at(3)},
		data: dataKnown{
			wake: Wake(b[5]), streams: b[7]&flagStreams != 0, nothing: b[7]&flagNothing != 0,
			recordedAt: at(6), fetchedAt: at(7),
		},
	}
	if len(b) == skewedSize {
		apart := func(i int) time.Duration { return readMillis(b[recordSize+i*timeSize:]) }
		s.turn.behind, s.turn.ahead, s.limit.behind = apart(0), apart(1), apart(2)
	}
	return s, nil
}

// appendTime rounds down; times before 1970 count as none.
func appendTime(b []byte, t time.Time) []byte {
	return appendMillis(b, min(max(t.UnixMilli(), 0), 1<<(8*timeSize)-1))
}

func appendMillis(b []byte, ms int64) []byte {
	var raw [8]byte
	binary.BigEndian.PutUint64(raw[:], uint64(ms))
	return append(b, raw[8-timeSize:]...)
}

func readMillis(b []byte) time.Duration {
	const unused = 64 - 8*timeSize
	var raw [8]byte
	copy(raw[:], b[:timeSize])
	ms := int64(binary.BigEndian.Uint64(raw[:])) >> unused
	return time.Duration(min(max(ms, -maxApart), maxApart)) * time.Millisecond
}

func readTime(b []byte) time.Time {
	var raw [8]byte
	copy(raw[8-timeSize:], b[:timeSize])
	if ms := binary.BigEndian.Uint64(raw[:]); ms != 0 {
		return time.UnixMilli(int64(ms)).UTC()
	}
	return time.Time{}
}
