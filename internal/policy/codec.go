package policy

import (
	"encoding/binary"
	"errors"
	"time"
)

// A car's record is short, so that a million cars fit in memory. It begins with
// a version. Version 2, which is written, holds small fields, a random number that
// makes each write distinct, and then the numbers and times that are not zero, with
// a bit for each of them in front. Times are milliseconds since 1970, in six bytes.
// Where a clock was wrong, the differences of clocks follow, with one bit for all of
// them: milliseconds in two's complement.
//
// A later version may append to the record, but change nothing in it. This version
// carries along, unread, what a later one has appended, with its version number, so
// that two versions can share a store. Version 1 is still read. It has a fixed size,
// and nine times.
const (
	recordVersion = 2
	recordHead    = 11 + 8 + 3
	firstVersion  = 1
	firstSize     = 8 + 8 + 8 + 9*timeSize
	nonceSize     = 8
	timeSize      = 6
	recordGrain   = time.Millisecond // of the times
	maxApart      = 9e12             // milliseconds between two clocks, 285 years

	flagStreams       = 1 << 0
	flagProven        = 1 << 1
	flagByVIN         = 1 << 2
	flagNothing       = 1 << 3
	flagBareLimit     = 1 << 4
	flagUnreadableKey = 1 << 5
	flagDoubtedKey    = 1 << 6
	flagSilent        = 1 << 7

	moreDataSilent = 1 << 0
	moreHadKey     = 1 << 1
	moreGave       = 7 << moreGaveAt // what the last turn gave
	moreGaveAt     = 2
	moreHeld       = 1 << 5
	moreKnown      = moreDataSilent | moreHadKey | moreGave | moreHeld
)

var errRecord = errors.New("the stored policy record was written by another version")

// carried is what a later version has written into a record and this one does not
// know.
type carried struct {
	version uint8  // 0 for none later than this one
	more    uint8  // its flags
	tail    string // behind what is known here
}

// times are those of a state, in the order of the record. The first of them are
// rounded up, which never opens a window early; the others down, which never makes
// evidence look newer than what comes in the same millisecond.
func (s *State) times() [timesStored]*time.Time {
	return [...]*time.Time{
		&s.turn.leaseEnd, &s.turn.usedAt, &s.limit.to,
		&s.limit.at, &s.key.at, &s.key.checkAt, &s.data.recordedAt, &s.data.fetchedAt, &s.class.checkAt,
		&s.key.since, &s.key.lookedAt, &s.class.failedSince, &s.said.at, &s.said.trialAt, &s.said.bareAt,
		&s.data.movedAt, &s.data.stillAt, &s.data.quiet.to, &s.data.streaming.at,
		&s.pausedTo,
	}
}

// differences are those of clocks, in the order of the record. They are zero as long
// as no clock is wrong.
func (s *State) differences() [differencesStored]*time.Duration {
	return [...]*time.Duration{&s.turn.behind, &s.turn.ahead, &s.limit.behind}
}

const timesStored, timesOfFirst, timesRoundedUp, differencesStored = 20, 9, 3, 3

// Encode writes s as it is stored. WriteID makes two writes of one state
// distinct: whoever got no clear answer from the store reads back whose it holds.
func Encode(s *State, writeID uint64) []byte {
	size := recordHead + len(s.carried.tail)
	var present [4]byte
	bits := uint32(0)
	if s.turn.nonce != 0 {
		bits, size = 1, size+nonceSize
	}
	var stored [timesStored + differencesStored]uint64
	for i, t := range s.times() {
		if stored[i] = milliseconds(*t, i < timesRoundedUp); stored[i] != 0 {
			bits, size = bits|2<<i, size+timeSize
		}
	}
	if s.turn.behind != 0 || s.turn.ahead != 0 || s.limit.behind != 0 {
		for i, d := range s.differences() {
			stored[timesStored+i] = uint64(d.Milliseconds())
		}
		bits, size = bits|2<<timesStored, size+differencesStored*timeSize
	}
	b := append(make([]byte, 0, size),
		max(recordVersion, s.carried.version), byte(s.class.is), byte(s.key.is), byte(s.key.source), s.key.looks,
		byte(s.data.wake), byte(s.turn.phase), s.flags(), s.carried.more|s.moreFlags(),
		s.data.asleep|s.data.quiet.times<<4, s.data.streaming.looks|s.data.streaming.refreshes<<4)
	b = binary.BigEndian.AppendUint64(b, writeID)
	binary.BigEndian.PutUint32(present[:], bits)
	b = append(b, present[1:]...)
	if s.turn.nonce != 0 {
		b = binary.BigEndian.AppendUint64(b, s.turn.nonce)
	}
	for i, ms := range stored {
		if bits&(2<<min(i, timesStored)) != 0 {
			var raw [8]byte
			binary.BigEndian.PutUint64(raw[:], ms)
			b = append(b, raw[8-timeSize:]...)
		}
	}
	return append(b, s.carried.tail...)
}

func flagIf(on bool, bit uint8) uint8 {
	if on {
		return bit
	}
	return 0
}

func (s *State) flags() uint8 {
	return flagIf(s.data.streaming.on, flagStreams) | flagIf(s.class.proven, flagProven) | flagIf(s.class.byVIN, flagByVIN) |
		flagIf(s.data.nothing, flagNothing) | flagIf(s.limit.bare, flagBareLimit) |
		flagIf(s.key.unreadable, flagUnreadableKey) | flagIf(s.key.doubted, flagDoubtedKey) | flagIf(s.class.silent, flagSilent)
}

func (s *State) moreFlags() uint8 {
	return flagIf(s.class.dataSilent, moreDataSilent) | flagIf(s.key.had, moreHadKey) | byte(s.gave)<<moreGaveAt |
		flagIf(s.class.held, moreHeld)
}

// Decode reads what Encode has written, in this version, the one before, or a later
// one as far as it is known here.
func Decode(b []byte) (s State, err error) {
	switch {
	case len(b) == firstSize && b[0] == firstVersion:
		s.readFields(b)
		s.turn.nonce = binary.BigEndian.Uint64(b[16:])
		times := s.times()
		for i, t := range times[:timesOfFirst] {
			*t = readTime(b[24+i*timeSize:])
		}
		if s.data.streaming.on {
			s.data.streaming.at = s.data.fetchedAt
		}
	case len(b) >= recordHead && b[0] >= recordVersion:
		rest, ok := s.read(b)
		if !ok {
			return State{}, errRecord
		}
		s.carried.tail = string(rest)
		s.carried.more = b[8] &^ moreKnown
		if b[0] > recordVersion {
			s.carried.version = b[0]
			s.closeUnknown()
		}
	default:
		return State{}, errRecord
	}
	if s.class.is > ClassOther || s.key.is > KeyInstalled || s.turn.phase > phaseSent {
		return State{}, errRecord
	}
	return s, nil
}

// readFields reads the small fields that both versions have.
func (s *State) readFields(b []byte) {
	s.class = classKnown{is: Class(b[1]), proven: b[7]&flagProven != 0, byVIN: b[7]&flagByVIN != 0}
	s.key = keyKnown{is: Key(b[2]), source: KeySource(b[3]), looks: b[4]}
	s.turn.phase = phase(b[6])
	s.data = dataKnown{wake: Wake(b[5]), nothing: b[7]&flagNothing != 0, streaming: streaming{on: b[7]&flagStreams != 0}}
}

// read reads version 2, and returns what stands behind it.
func (s *State) read(b []byte) (rest []byte, ok bool) {
	s.readFields(b)
	s.class.silent, s.class.dataSilent = b[7]&flagSilent != 0, b[8]&moreDataSilent != 0
	s.class.held = b[8]&moreHeld != 0
	if gave := Outcome(b[8] & moreGave >> moreGaveAt); gave <= OutcomeOK {
		s.gave = gave
	}
	s.key.unreadable, s.key.doubted, s.key.had = b[7]&flagUnreadableKey != 0, b[7]&flagDoubtedKey != 0, b[8]&moreHadKey != 0
	s.limit.bare = b[7]&flagBareLimit != 0
	s.data.asleep, s.data.quiet.times = b[9]&0xf, b[9]>>4
	s.data.streaming.looks, s.data.streaming.refreshes = b[10]&0xf, b[10]>>4
	bits := uint32(b[19])<<16 | uint32(b[20])<<8 | uint32(b[21])
	if bits>>(timesStored+2) != 0 {
		return nil, false
	}
	b = b[recordHead:]
	if bits&1 != 0 {
		if len(b) < nonceSize {
			return nil, false
		}
		s.turn.nonce, b = binary.BigEndian.Uint64(b), b[nonceSize:]
	}
	for i, t := range s.times() {
		if bits&(2<<i) == 0 {
			continue
		}
		if len(b) < timeSize {
			return nil, false
		}
		*t, b = readTime(b), b[timeSize:]
	}
	if bits&(2<<timesStored) == 0 {
		return b, true
	}
	if len(b) < differencesStored*timeSize {
		return nil, false
	}
	for _, d := range s.differences() {
		*d, b = readDifference(b), b[timeSize:]
	}
	return b, true
}

// closeUnknown replaces values of a later version, which this one does not know, by
// those that keep the car closed.
func (s *State) closeUnknown() {
	if s.class.is > ClassOther {
		s.class.is = ClassUnresolved
	}
	if s.key.is > KeyInstalled {
		s.key.is = KeyNotAsked
	}
	if s.turn.phase > phaseSent {
		s.turn.phase = phaseSent
	}
}

// milliseconds since 1970; earlier times count as none.
func milliseconds(t time.Time, up bool) uint64 {
	if t.IsZero() { // as most are
		return 0
	}
	if up {
		t = t.Add(recordGrain - 1)
	}
	return uint64(min(max(t.UnixMilli(), 0), 1<<(8*timeSize)-1))
}

func readDifference(b []byte) time.Duration {
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
