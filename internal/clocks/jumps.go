package clocks

import (
	"sync"
	"time"
)

// Jumps watches a clock that is not this process's, such as a store's, and notes
// by how much it went forward while less time passed here. It is safe for
// concurrent use.
//
// A time that was read from that clock before a jump looks older by the jump than
// it is. One that was read after it is as old as it looks:
//
//  1. 10:00  a car is asked for data; the store notes 10:00
//  2. 10:01  the store's clock is set to 19:01
//  3. 19:02  a process that has seen 10:01 and 19:01 a moment apart knows that the
//     turn of step 1 is 2 minutes old and not 9 hours
type Jumps struct {
	keep time.Duration // how long a jump matters; set by NewJumps

	mu   sync.Mutex
	seen bool
	last reading // the newest
	all  []jump  // oldest first, merged where they follow closely
}

// reading is what the clock showed at some instant between asked and replied.
type reading struct {
	at             time.Time
	asked, replied time.Duration
}

type jump struct {
	to   time.Time // what the clock showed after it
	by   time.Duration
	when time.Duration
}

// NewJumps returns a watcher for whom a jump matters for that long.
func NewJumps(keep time.Duration) *Jumps { return &Jumps{keep: keep} }

// Observe notes what the clock showed at some instant between asked and replied.
func (j *Jumps) Observe(at time.Time, asked, replied time.Duration) {
	j.mu.Lock()
	defer j.mu.Unlock()
	now := reading{at, asked, replied}
	before := j.last
	switch {
	case !j.seen:
		j.seen, j.last = true, now
		return
	case replied < before.replied: // answers came in another order
		return
	}
	j.last = now
	went := at.Sub(before.at)
	least, most := asked-before.replied, replied-before.asked // what has passed between the two readings
	switch {
	case went > most:
		j.forward(jump{to: at, by: went - max(0, least), when: replied})
	case went < least:
		j.back(at, least-went)
	}
}

// forward notes a jump. Those that follow closely are one, so that a clock which
// runs too fast takes no memory.
func (j *Jumps) forward(next jump) {
	for len(j.all) > 0 && next.when-j.all[0].when > j.keep {
		j.all = j.all[1:]
	}
	if n := len(j.all); n > 0 && next.when-j.all[n-1].when < j.keep/64 {
		j.all[n-1].by += next.by
		j.all[n-1].to = next.to
		return
	}
	j.all = append(j.all, next)
}

// back takes out of the jumps by how much the clock was set back: who was set
// forward and back again shows the right age of what was before both.
func (j *Jumps) back(at time.Time, by time.Duration) {
	for n := len(j.all); n > 0 && by > 0; n = len(j.all) {
		last := &j.all[n-1]
		if last.by > by {
			last.by -= by
			last.to = at
			return
		}
		by -= last.by
		j.all = j.all[:n-1]
	}
}

// Since is by how much the clock has jumped forward since it showed at.
func (j *Jumps) Since(at time.Time, now time.Duration) (by time.Duration) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, jump := range j.all {
		if at.Before(jump.to) && now-jump.when <= j.keep {
			by += jump.by
		}
	}
	return by
}
