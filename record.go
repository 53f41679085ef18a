package smartcar

import (
	"encoding/binary"
	"errors"
	"time"
)

// A car's record is 78 bytes, so that a million cars fit in memory: a version,
// seven small fields, two random numbers and nine times of six bytes
// (milliseconds since 1970).
const (
	carRecordVersion = 1
	carRecordSize    = 8 + 8 + 8 + 9*timeSize
	timeSize         = 6
	recordGrain      = time.Millisecond // of the times

	flagStreams = 1 << 0
	flagProven  = 1 << 1
	flagByVIN   = 1 << 2
	flagNothing = 1 << 3
)

var errCarRecord = errors.New("the stored policy record was written by another version")

// keySourceCode is KeySource as stored.
type keySourceCode uint8

const (
	fromNowhere keySourceCode = iota
	fromEndpoint
	fromSignal
	fromError
	fromCommand
	fromWebhook
	fromApplication
)

// encode writes s; writeID makes two writes of one state distinct, so that an
// unclear answer of a store can be resolved by reading back.
func (s carState) encode(writeID uint64) []byte {
	b := make([]byte, 8, carRecordSize)
	b[0] = carRecordVersion
	b[1] = byte(s.class)
	b[2] = byte(s.key)
	b[3] = byte(s.keySource)
	b[4] = s.keyChecks
	b[5] = byte(s.wake)
	b[6] = byte(s.phase)
	if s.streams {
		b[7] |= flagStreams
	}
	if s.proven {
		b[7] |= flagProven
	}
	if s.byVIN {
		b[7] |= flagByVIN
	}
	if s.nothing {
		b[7] |= flagNothing
	}
	b = binary.BigEndian.AppendUint64(b, writeID)
	b = binary.BigEndian.AppendUint64(b, s.nonce)
	// Rounding up never opens a window early; rounding down never makes
	// evidence look newer than what comes in the same millisecond.
	for _, t := range [...]time.Time{s.leaseEnd, s.usedAt, s.limitedTo} {
		b = appendTime(b, t.Add(recordGrain-1))
	}
	for _, t := range [...]time.Time{s.limitedAt, s.keyAt, s.keyCheckAt, s.recordedAt, s.fetchedAt, s.classAt} {
		b = appendTime(b, t)
	}
	return b
}

func decodeCarState(b []byte) (carState, error) {
	if len(b) != carRecordSize || b[0] != carRecordVersion ||
		carClass(b[1]) > classOther || keyKnowledge(b[2]) > keyInstalled || turnPhase(b[6]) > turnSent {
		return carState{}, errCarRecord
	}
	s := carState{
		class: carClass(b[1]), key: keyKnowledge(b[2]), keySource: keySourceCode(b[3]), keyChecks: b[4],
		wake: wakefulness(b[5]), phase: turnPhase(b[6]),
		streams: b[7]&flagStreams != 0, proven: b[7]&flagProven != 0, byVIN: b[7]&flagByVIN != 0,
		nothing: b[7]&flagNothing != 0,
		nonce:   binary.BigEndian.Uint64(b[16:]),
	}
	at := func(i int) time.Time { return readTime(b[24+i*timeSize:]) }
	s.leaseEnd, s.usedAt, s.limitedTo, s.limitedAt = at(0), at(1), at(2), at(3)
	s.keyAt, s.keyCheckAt, s.recordedAt, s.fetchedAt, s.classAt = at(4), at(5), at(6), at(7), at(8)
	return s, nil
}

// appendTime rounds down; times before 1970 count as none.
func appendTime(b []byte, t time.Time) []byte {
	ms := min(max(t.UnixMilli(), 0), 1<<(8*timeSize)-1)
	var raw [8]byte
	binary.BigEndian.PutUint64(raw[:], uint64(ms))
	return append(b, raw[8-timeSize:]...)
}

func readTime(b []byte) time.Time {
	var raw [8]byte
	copy(raw[8-timeSize:], b[:timeSize])
	if ms := binary.BigEndian.Uint64(raw[:]); ms != 0 {
		return time.UnixMilli(int64(ms)).UTC()
	}
	return time.Time{}
}
