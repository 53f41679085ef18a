package policy

import "time"

// Clocks can be wrong, and are set right again. Two things follow for the times of
// a turn and of a limit, which are of the clock that wrote them (the store's if it
// has one).
//
// A time from the future is bridged. Either the clock that wrote it was ahead, or
// the present one is behind: nobody can tell which. So the time stays as it is,
// and beside it stands how far the present clock is behind it. Time goes on from
// there, and what is written meanwhile is written ahead by as much:
//
//  1. Tuesday 10:00  a turn is used.
//  2. Monday 10:00   the clock was set back by a day. The turn was used in the
//     future: the clock is behind by a day. The window ends on Monday at 18:00.
//  3. Monday 18:00   the next turn is used, on Tuesday at 18:00 as it is written.
//  4. Tuesday 18:01  the clock is set right. Nothing is in the future any more, and
//     the window ends on Wednesday at 2:00, as it has to.
//
// A clock that jumped forward is doubted by whoever knows better: by a process that
// has seen the jump, as its monotonic clock shows less time; by a machine whose
// clock shows less time since that of the machine that used the turn; and by a process
// that has seen the car later than the turn was used, as the clock says, and without it.
// How much less time has passed is added to the window.

// bridged is how far the clock that shows now is behind a record whose newest time is
// newest: 0 if that is not more than slack ahead of now, the old value behind as long as it
// is at most behind and slack ahead, else the difference.
func bridged(behind time.Duration, newest, now time.Time, slack time.Duration) time.Duration {
	switch {
	case !newest.After(now.Add(slack)):
		return 0 // the clock has caught up
	case newest.After(now.Add(behind + slack)):
		return newest.Sub(now)
	}
	return behind
}

// bridge notes how far the present clock is behind the turn's times. A time of a turn may
// lie up to Rules.ahead after the moment at which it was written, such as a lease's end: so
// much is taken off first.
func (t turn) bridge(now time.Time, rules Rules) turn {
	newest := t.usedAt
	if t.phase != phaseIdle {
		newest = later(newest, t.leaseEnd)
	}
	t.behind = bridged(t.behind, newest.Add(-rules.ahead()), now, recordGrain)
	return t
}

// written is the present as it is written beside the turn's times.
func (t turn) written(now time.Time) time.Time { return now.Add(t.behind) }

// written is the present as it is written beside the limit's times.
func (l limit) written(now time.Time) time.Time { return now.Add(l.behind) }

// due reports whether it is time for a check that is made after longest at most. One
// that lies farther ahead was set by a clock that was wrong.
func due(checkAt, now time.Time, longest time.Duration) bool {
	return !now.Before(checkAt) || checkAt.Sub(now) > longest+time.Hour
}

// shifted is a time by another clock; zero stays zero.
func shifted(t time.Time, by time.Duration) time.Time {
	if by == 0 || t.IsZero() {
		return t
	}
	return t.Add(by)
}

// bridge notes how far the present clock is behind the limit's times.
func (l limit) bridge(now time.Time, rules Rules) limit {
	l.behind = bridged(l.behind, l.at, now, rules.MaxLease+recordGrain)
	return l
}

// witnessGrain is how close two clocks count as the same.
const witnessGrain = time.Minute

// witnessed notes what the machine of the attempt showed beside the turn's times.
func (t turn) witnessed(a attempt) turn {
	t.ahead = (a.ahead - t.behind).Round(witnessGrain)
	return t
}

// doubt is how much less time has passed than the clock says that State is judged
// by, as other clocks have it.
type doubt struct {
	turn, limit time.Duration
	key, said   time.Duration // since what is known of the key was true, and since a limit has shown the rule: see byWebhook

	// How much of that follows from how the car was seen before. It stays for as long as
	// the turn or the limit does.
	unseenTurn, unseenLimit time.Duration
}

// A Witness is what a process knows of the clock of the records beside what that
// clock itself says.
type Witness struct {
	// Machine is what the clock of its machine shows at present, if it was not set
	// since the process began.
	Machine time.Time
	// Jumped tells by how much that clock has jumped forward since it showed a time,
	// as far as the process has seen it.
	Jumped func(since time.Time) time.Duration
	// Seen is what the process saw of the car last; the zero Sight if it has not seen it.
	Seen Sight
}

// A Sight is what a process has seen of a car.
type Sight struct {
	known                   bool
	ago                     time.Duration
	turnAt, limitAt         time.Time
	unseenTurn, unseenLimit time.Duration // of the doubt of then
}

// SeenAgo is the state as a process saw it so long ago.
func (s *State) SeenAgo(ago time.Duration) Sight {
	return Sight{true, ago, s.turn.countedAt(), s.limit.at, s.doubt.unseenTurn, s.doubt.unseenLimit}
}

// unseen is by how much less time has passed since at than the clock says, if at was not
// known when the car was seen last: then it is not longer ago. Before is what was known
// in its place, and doubted by then.
//
//  1. Monday 10:00   this process sees a car that was never read.
//  2. The clock is set back by 9 hours. Another process begins, and reads the car: on
//     Monday at 1:00, as it is written.
//  3. The clock is set right. On Monday at 10:01 this process finds a turn that was used
//     9 hours ago. But 1 minute ago it was not there.
func (s Sight) unseen(passed time.Duration, at, before time.Time, then time.Duration) time.Duration {
	if at.After(before.Add(readGrain)) { // what was read with the key there is rounded up when the key is gone
		return max(0, passed-s.ago)
	}
	return then
}

// Doubted returns s as a process judges it while the clock of the records shows now.
func (s *State) Doubted(now time.Time, w Witness, rules Rules) State {
	judged := *s
	judged.doubt = doubt{}
	d := &judged.doubt
	t := s.turn.bridge(now, rules)
	less := t.ahead - (w.Machine.Sub(now) - t.behind).Round(witnessGrain) // time since the last attempt
	if counted := s.turn.countedAt(); !counted.IsZero() {
		left := counted.Add(-rules.ahead()) // the request left no earlier, if counted is its lease's end
		since := left.Add(-s.turn.behind)
		// What the clock has jumped to where it was behind before is no jump.
		d.turn = max(0, w.Jumped(since)-max(0, s.turn.behind-t.behind))
		comes := t.written(now).Add(-less).Before(left) // a machine that has not come to the turn yet is wrong
		if less > witnessGrain && !comes {
			d.turn = max(d.turn, less)
		}
		if w.Seen.known {
			d.unseenTurn = w.Seen.unseen(t.written(now).Sub(counted), counted, w.Seen.turnAt, w.Seen.unseenTurn)
			d.turn = max(d.turn, d.unseenTurn)
		}
	}
	if !s.limit.at.IsZero() {
		l := s.limit.bridge(now, rules)
		d.limit = max(0, w.Jumped(s.limit.at.Add(-s.limit.behind))-max(0, s.limit.behind-l.behind))
		// The attempt before the limit has noted what its machine showed, if there was one.
		comes := l.written(now).Add(-less).Before(s.limit.at)
		if less > witnessGrain && !comes && (s.gave != OutcomeNone || !s.turn.usedAt.IsZero()) {
			d.limit = max(d.limit, less)
		}
		if w.Seen.known {
			d.unseenLimit = w.Seen.unseen(l.written(now).Sub(s.limit.at), s.limit.at, w.Seen.limitAt, w.Seen.unseenLimit)
			d.limit = max(d.limit, d.unseenLimit)
		}
	}
	for _, c := range [...]struct {
		at   time.Time
		less *time.Duration
	}{{s.key.at, &d.key}, {s.said.at, &d.said}} {
		if c.at.IsZero() {
			continue
		}
		for _, less := range [...]time.Duration{d.turn, d.limit, w.Jumped(c.at)} {
			*c.less = max(*c.less, possible(less, c.at, now))
		}
	}
	return judged
}

// possible returns less if so much less time than the clock says can have passed since the
// clock showed at. Otherwise the clock went forward before it showed at, and it returns 0.
func possible(less time.Duration, at, now time.Time) time.Duration {
	if less > now.Sub(at)+witnessGrain {
		return 0
	}
	return less
}

// opensByWebhook reports evidence of a webhook that the key is there.
func (e *Event) opensByWebhook() bool { return e.key == KeyInstalled && e.source == FromWebhook }

// byWebhook returns less for evidence of a webhook that the key is there, which has to be
// newer by so much than what closes the car, and 0 for all other evidence. The webhook's
// date is of a clock that is right, and what closes the car may be dated by one that was
// behind:
//
//  1. 10:00  The store's clock is 5 hours behind. The key is missing, as of 5:00.
//  2. 10:01  The clock is set right.
//  3. 10:02  An event comes late: at 9:00 the key was there. That is older than step 1.
func (e *Event) byWebhook(less time.Duration) time.Duration {
	if e.opensByWebhook() {
		return less
	}
	return 0
}
