package policy

import "time"

// A phase of the one data request that a keyless car may have under way. The
// numbers are stored.
type phase uint8

const (
	phaseIdle     phase = iota
	phaseReserved       // one replica owns the next turn; its request is not on the wire
	phaseSent           // stored before the first byte may leave
)

// turn is the one data request that a keyless car may have under way, and when
// the server may have counted the last one. Its times are of the clock that wrote
// them, and the present clock may be behind it: see clock.go.
type turn struct {
	phase    phase
	nonce    uint64        // of the attempt that owns the turn
	leaseEnd time.Time     // from then on that attempt counts as dead
	usedAt   time.Time     // latest instant at which the server may have counted a data request
	behind   time.Duration // how far the present clock is behind these times
	ahead    time.Duration // how far the clock of the attempt's machine was ahead of them, in whole minutes
}

// heldBy reports whether the attempt with that nonce owns the turn.
func (t turn) heldBy(nonce uint64) bool { return t.phase != phaseIdle && t.nonce == nonce }

// assign gives the turn to an attempt, or renews its lease.
func (t turn) assign(a attempt, now time.Time) turn {
	t.phase, t.nonce, t.leaseEnd = a.phase, a.nonce, t.written(now).Add(a.lease)
	return t.witnessed(a)
}

// idle is the turn after its request: nobody owns it.
func (t turn) idle() turn { return turn{usedAt: t.usedAt, behind: t.behind, ahead: t.ahead} }

// use notes that the server may have counted a data request until then.
func (t turn) use(a attempt, until time.Time) turn {
	t.usedAt = later(t.usedAt, until)
	return t.witnessed(a)
}

// countedAt is the latest instant at which the server may have counted a data
// request. A request that was sent and never settled counts at its lease's end.
func (t turn) countedAt() time.Time {
	if t.phase == phaseSent {
		return later(t.usedAt, t.leaseEnd)
	}
	return t.usedAt
}

// counted is the turn of a car that turns out to be keyless. Of its reads until now only
// one in readGrain was booked. Those of an open car may go on for a while, in a process
// that has not heard of it yet; see Rules.Unseen:
//
//  1. 10:00  A reads the car, and books it.
//  2. 10:02  A loads the record: the key is there.
//  3. 10:02  B learns that the key is gone. The turn counts as used at 10:04.
//  4. 10:03  A reads the car by the record of step 2. If the answer comes by 10:04,
//     nothing is booked. If it comes later, A loads the record first, and books it.
//  5. 10:04  A has loaded the record, and reads no more.
//
// If the car was not read in the window before step 3, the turn is free. It is kept for A
// until step 5: what A reads is booked, since it is the first read for long.
func (t turn) counted(now time.Time, unseen time.Duration, rules Rules) turn {
	if !t.usedAt.IsZero() {
		t.usedAt = later(t.usedAt, earlier(t.written(now).Add(unseen), t.usedAt.Add(readGrain)))
	}
	if heard := t.written(now).Add(unseen); unseen > 0 && !t.next(rules.KeylessWindow).After(now) {
		t.phase, t.nonce, t.leaseEnd = phaseReserved, nobody, heard
	}
	return t
}

// nobody is the nonce of a turn that no attempt owns, and that is not free yet.
const nobody = 1

// next is when the next turn may be taken, by the present clock; zero for a car
// that was never asked.
func (t turn) next(window time.Duration) (next time.Time) {
	if counted := t.countedAt(); !counted.IsZero() {
		next = counted.Add(window)
	}
	return shifted(later(next, t.leaseEnd), -t.behind)
}

func (t turn) inFlight(now time.Time) bool {
	return t.leaseEnd.After(t.written(now))
}

// limit is the server's own word about this vehicle: 429 with Retry-After. Its
// times are of the clock that wrote them, and the present clock may be behind it:
// see clock.go.
type limit struct {
	to     time.Time     // no data request before
	at     time.Time     // when the server said so
	bare   bool          // it named no time
	behind time.Duration // how far the present clock is behind these times
}

// next is when the limit ends by the present clock; zero for none.
func (l limit) next() time.Time { return shifted(l.to, -l.behind) }

// shortened is a limit that was believed for a window because the car might have
// been keyless, and proves not to be.
func (l limit) shortened() limit {
	if l.bare {
		l.to = earlier(l.to, l.at.Add(BareLimitPause))
	}
	return l
}
