package policy_test

import (
	"hash/maphash"
	"time"

	"github.com/seed-498a1bc4/smartcar/internal/clocks"
	"github.com/seed-498a1bc4/smartcar/internal/policy"
)

// model is what all worlds of a walk have in common. Of the stored states, each is there
// once, and has a number.
type model struct {
	bounds
	seed    maphash.Seed
	floor   int16 // what is older decides nothing, whatever happens to clocks
	states  []policy.State
	numbers map[policy.State]int32
}

func newModel(b bounds) *model {
	m := &model{bounds: b, seed: maphash.MakeSeed(), floor: window + 3*lease, numbers: map[policy.State]int32{}}
	longest := int16(0)
	for _, by := range b.steps {
		longest = max(longest, by, -by)
	}
	m.floor += int16(b.may.steps) * longest
	return m
}

// number is that of a state.
func (m *model) number(s policy.State) int32 {
	return m.shaped(s, 0, func(n uint64) uint64 { return n })
}

func (m *model) shaped(s policy.State, by int16, rename func(uint64) uint64) int32 {
	s = policy.Canonical(s, checkStart.Add(0), minutes(by), minutes(m.floor), rename)
	n, ok := m.numbers[s]
	if !ok {
		n = int32(len(m.states))
		m.numbers[s] = n
		m.states = append(m.states, s)
	}
	return n
}

func (w *world) rename(rename func(uint64) uint64) { w.record = w.m.shaped(*w.state(), 0, rename) }

// canonical is the same world for all that go on alike: the present and the store's clock
// are zero, the replicas have an order, and what cannot matter any more is left out.
func (w *world) canonical() {
	w.forget()
	now, off := w.now, w.storeBy
	past := func(oldest int16, all ...*int16) {
		for _, t := range all {
			if *t == never {
				continue
			}
			if *t -= now; *t <= oldest {
				*t = never
			}
		}
	}
	past(-window, &w.counted, &w.bound, &w.ended)
	past(-2*lease, &w.changedAt)
	past(-window-lease, &w.limitAt)
	past(-1, &w.due)
	past(0, &w.limitTo, &w.asleepTo)
	for i := range w.orphans {
		o := &w.orphans[i]
		past(-1, &o.until)
		past(-window, &o.ended)
		if o.until == never {
			*o = orphan{until: never, ended: never}
		}
	}
	if w.orphans[0].less(w.orphans[1]) {
		w.orphans[0], w.orphans[1] = w.orphans[1], w.orphans[0]
	}
	for i := range w.replicas {
		r := &w.replicas[i]
		past(-window, &r.ended)
		past(-lease-1, &r.until, &r.at, &r.lookAt)
		past(-1, &r.due)
		r.bootBy, r.by = r.bootBy-off, r.by-off
		if r.known != 0 || r.wasBy != 0 {
			r.wasBy -= off
		}
		r.segments(now, off)
		for _, k := range [...]*knowledge{&r.knew, &r.lookKnew} {
			if k.keyAt != never {
				k.keyAt = max(k.keyAt-now-off, -w.m.floor)
				k.by -= off
			}
		}
	}
	if now != 0 || off != 0 {
		w.record = w.m.shaped(*w.state(), -now-off, func(n uint64) uint64 { return n })
	}
	w.now, w.storeBy, w.bookedBy, w.limitBy = 0, 0, w.bookedBy-off, w.limitBy-off
	if w.limitTo == never {
		w.limitBy = 0
	}
	if maphash.Comparable(w.m.seed, w.replicas[0]) > maphash.Comparable(w.m.seed, w.replicas[1]) {
		w.replicas[0], w.replicas[1] = w.replicas[1], w.replicas[0]
		w.rename(func(n uint64) uint64 {
			switch n {
			case nonce(0):
				return nonce(1)
			case nonce(1):
				return nonce(0)
			}
			return n
		})
	}
}

func (o orphan) less(other orphan) bool {
	switch {
	case o.until != other.until:
		return o.until < other.until
	case o.ended != other.ended:
		return o.ended < other.ended
	case o.told != other.told:
		return other.told
	}
	return !o.heedLimit && other.heedLimit
}

// forget drops what the replicas need no more.
func (w *world) forget() {
	for i := range w.replicas {
		r := &w.replicas[i]
		if r.stage == idle {
			r.turn, r.told, r.heedLimit, r.ended, r.until, r.due, r.knew = false, false, false, never, never, never, knowledge{keyAt: never}
		}
		if r.stage != processed {
			r.keyThen, r.counted, r.wait = false, false, 0
		}
		if r.stage != loaded {
			r.direct, r.outrun = false, false
			if r.stage != processed {
				r.at = never
			}
		}
		if !r.looking {
			r.lookAt, r.lookKey, r.lookKnew = never, false, knowledge{keyAt: never}
		}
		// A replica that does nothing begins with a contact. Of the versions it counts
		// only whether the record is still the one that was seen.
		switch {
		case r.stage == idle && !r.looking:
			r.known, r.wasBy = 0, w.storeBy
		case r.known == w.version:
			r.known = 0
		default:
			r.known = -1
		}
	}
	w.version = 0
}

// segments makes what a replica has seen of the store's clock as short as it can be.
func (r *replica) segments(now, off int16) {
	for r.seen[1].used && now-r.seen[1].first > window+2*lease { // see newCars
		r.seen[0], r.seen[1], r.seen[2] = r.seen[1], r.seen[2], segment{}
	}
	for k := range r.seen {
		if r.seen[k].used {
			r.seen[k].first -= now
			r.seen[k].by -= off
		}
	}
	if r.seen[1].used { // when the first began makes no difference
		r.seen[0].first = r.seen[1].first
	} else {
		r.seen[0].first = 0
	}
}

// judged is cars.judged.
func (w *world) judged(i int, state policy.State) policy.State {
	r := &w.replicas[i]
	witness := policy.Witness{Machine: w.machineTime(i), Jumped: func(time.Time) time.Duration { return 0 }}
	if r.seen[1].used {
		jumps := clocks.NewJumps(minutes(window + 2*lease))
		for _, s := range r.seen {
			if s.used {
				jumps.Observe(instant(s.first+s.by), minutes(s.first), minutes(s.first))
			}
		}
		witness.Jumped = func(since time.Time) time.Duration { return jumps.Since(since, minutes(w.now)) }
	}
	return state.Doubted(w.storeTime(i), witness, checkRules)
}

// witnessed is cars.witnessed.
func (w *world) witnessed(i int, e policy.Event) policy.Event {
	return e.Witnessed(w.machineTime(i), w.storeTime(i))
}
