package policy

import "time"

// The rules of a pace, beside those of rules.go.
const (
	RulePace   Rule = RulePaused + 1 + iota // as often as the program asked for
	RuleBudget                              // as often as the month's calls allow
	RulePushed                              // a webhook carries the data
)

// The pace of cars that have no rule of their own, where the program names none: for a
// streaming Tesla the average that Smartcar names, for all others what it advises.
const (
	streamingPace = 3 * time.Minute
	otherPace     = 30 * time.Minute
)

const (
	// pushedFor is how long after its last event a webhook counts as one that carries
	// the data. A car that is parked for longer is read at its usual pace.
	pushedFor = 24 * time.Hour
	// monthSpread is over how much of a new month reads begin that have waited for it.
	monthSpread = 24 * time.Hour
)

// A Pace is what a program that reads a car again and again wants of it, and what it
// knows beside the car's State. Its times are of the same clock as those of the State.
type Pace struct {
	Every     time.Duration // at least so long between two reads; zero is the pace of the car's class
	Cost      int           // calls that a read costs; zero if there is no budget
	Left      int           // calls that are left for reads in this month
	ReadAt    time.Time     // when the car was read last, with a result or without one; zero is never
	PushedAt  time.Time     // when a webhook brought data of it last; zero is never
	Car       uint64        // a number of the car: cars of one minute spread by it
	KeyIsFree bool          // the status of the key can be looked at without a turn
}

// NextVisit derives when a program has to come back to a car, and why: when a request is
// allowed, brings something new, and keeps the pace. No Next means now.
//
// The times are spread, always to later ones. The same car gets the same time again
// until something happens to it, so a program that comes early or twice changes nothing.
func (s *State) NextVisit(p Pace, now time.Time, rules Rules) Decision {
	d := s.NextUseful(now, rules)
	if !d.Next.IsZero() {
		d.Next = d.Next.Add(p.jitter(d.Next, rules.spread(d.Rule)))
	}
	for _, wait := range [...]Decision{s.nextByPace(p, now), p.nextByBudget(now), p.nextByPush(now, rules)} {
		if wait.Next.After(d.Next) && wait.Next.After(now) {
			d.Next, d.Rule = wait.Next, wait.Rule
		}
	}
	if look, ok := s.nextLook(p.KeyIsFree); ok && d.Rule == RuleKeyless && look.Before(d.Next) {
		d.Next = later(look, now.Add(leastLook))
	}
	return d
}

// nextLook is when a look that takes no turn may open the window: at the class that could
// not be read, or at the key.
func (s *State) nextLook(keyIsFree bool) (at time.Time, ok bool) {
	if s.class.is == ClassUnresolved {
		return s.class.checkAt, !s.class.checkAt.IsZero()
	}
	return s.NextKeyLook(), keyIsFree && s.MayNeedKey()
}

// KeyLookEvery is how often the status of the key is looked at, as far as is known now;
// zero if it is not. A look is a request of its own. When it is due it comes before the
// next read, and for a car without its key at a time of its own: see NextVisit.
func (s *State) KeyLookEvery(keyIsFree bool) time.Duration {
	if !keyIsFree || s.class.is != ClassStreaming {
		return 0
	}
	return s.key.pause()
}

// KeyLookedAtSince reports whether the status of the key was looked at since then, with or
// without a result that counts.
func (s *State) KeyLookedAtSince(at time.Time) bool {
	look := s.key.lookedAt
	if s.key.source == FromEndpoint {
		look = later(look, s.key.at)
	}
	return !look.Before(at.Truncate(recordGrain)) // as it is after it was stored
}

// spread is over how long visits are spread that the same rule keeps waiting: so little
// of the pause that it costs a keyless car no turn in a month, and a legacy car no
// refresh.
func (r Rules) spread(by Rule) time.Duration {
	switch by {
	case RuleKeyless:
		return r.KeylessWindow / 480
	case RulePaused:
		return r.LegacyRefresh
	}
	return r.LegacyRefresh / 20
}

// nextByPace is when the program wants to read the car again.
func (s *State) nextByPace(p Pace, now time.Time) Decision {
	every := p.Every
	if every <= 0 {
		switch {
		case s.Keyless() || s.Repeats(): // its rule is its pace
			return Decision{}
		case s.Class() == ClassStreaming || s.Class() == ClassLegacy:
			every = streamingPace
		default:
			every = otherPace
		}
	}
	if p.ReadAt.IsZero() {
		return Decision{}
	}
	read := earlier(p.ReadAt, now)
	return Decision{Next: read.Add(every + p.jitter(read, every/20)), Rule: RulePace}
}

// nextByBudget is when the next read is within the car's share of the month: the reads
// that were left at the last one are spread evenly over what was left of the month. So
// a car that was read seldom catches up.
func (p Pace) nextByBudget(now time.Time) Decision {
	if p.Cost <= 0 {
		return Decision{}
	}
	month := MonthAfter(now)
	if p.Left < p.Cost {
		return Decision{Next: month.Add(p.jitter(month, monthSpread)), Rule: RuleBudget}
	}
	if p.ReadAt.IsZero() {
		return Decision{}
	}
	read := earlier(p.ReadAt, now)
	share := month.Sub(read) / time.Duration(p.Left/p.Cost+1)
	return Decision{Next: read.Add(share - p.jitter(read, share/20)), Rule: RuleBudget}
}

// nextByPush is when a webhook has been silent for so long that reading is worth a
// call: after an hour or twice the pace that was asked for, and then each time that the
// silence has doubled. A car that is parked has nothing to say.
func (p Pace) nextByPush(now time.Time, rules Rules) Decision {
	pushed, read := earlier(p.PushedAt, now), earlier(p.ReadAt, now)
	if p.PushedAt.IsZero() || now.Sub(pushed) >= pushedFor {
		return Decision{}
	}
	silent := max(12*rules.LegacyRefresh, 2*p.Every, read.Sub(pushed))
	last := later(pushed, read)
	return Decision{Next: last.Add(silent + p.jitter(last, silent/20)), Rule: RulePushed}
}

// jitter is from zero to width, and the same for the same car and time.
func (p Pace) jitter(at time.Time, width time.Duration) time.Duration {
	x := p.Car + uint64(at.UnixMilli())*0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	x ^= x >> 31
	return time.Duration(float64(x>>11) / (1 << 53) * float64(width))
}

// MonthAfter is when the calendar month of that time ends, in UTC.
func MonthAfter(at time.Time) time.Time {
	y, m, _ := at.UTC().Date()
	return time.Date(y, m+1, 1, 0, 0, 0, 0, time.UTC)
}
