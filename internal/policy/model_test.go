package policy_test

import (
	"fmt"
	"hash/maphash"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/seed-498a1bc4/smartcar/internal/policy"
	"github.com/stretchr/testify/require"
)

// The exhaustive check walks through every way in which two replicas that share a
// store can ask one keyless car for data, breadth first, within bounds. It drives the
// machine through its exported API only, and does around it what cars.go and gate.go
// do: load, decide, swap, look at the store's clock again, leave, settle.
//
// Between any two steps a request may be processed, answered, lost or refused; a
// process may die, and another one begin; a clock may be stepped; the owner may
// remove or add the key; time may pass, by a lease or by a quarter of the window.
//
// It checks that no two requests are counted inside a window once anything has told
// the client that the key is missing, if the first of the two had ended when the second
// was decided on, or had left after that, too. And that no car is refused for longer than
// the rule, one lease and the steps of the clocks. There is one excuse: a process that is
// younger than the turn, whose machine's clock and whose store's clock were both
// stepped. It has nobody to ask.
//
// Each walk ends after so many states; with EXHAUSTIVE=1 in the environment it goes
// further.

// bounds are those of one walk.
type bounds struct {
	until     int16   // true time
	may       counts  // what may happen how often in a run
	steps     []int16 // by how much a clock may be stepped
	ends      ends    // how a request may end
	unclocked bool    // the store has no clock: both replicas are on one machine, whose clock it is
	installed bool    // the key is there at first, and the client knows it
	signals   bool    // answers tell of the key, as on API v3
	tokens    bool    // a token may be missing or refused
}

// ends are how a request may end, beside being answered.
type ends uint8

const (
	lost    ends = 1 << iota // after it was processed
	unsent                   // for certain
	givenUp                  // and may still be processed
	demands                  // Smartcar asks for the key
	foreign                  // by somebody who is not Smartcar
	answers ends = 0
)

var walks = []struct {
	name string
	bounds
}{
	{"clocks set forward", bounds{until: 2*window + quarter, may: counts{apart: 1, crashes: 1, steps: 2}, steps: []int16{5 * quarter}}},
	{"clocks set back", bounds{until: 2*window + quarter, may: counts{apart: 1, crashes: 1, steps: 2}, steps: []int16{-5 * quarter}}},
	{"clocks set back and forth", bounds{until: window + 2*quarter, may: counts{apart: 1, crashes: 1, steps: 2}, steps: []int16{5 * quarter, -5 * quarter}, ends: lost | foreign}},
	{"no clock of the store", bounds{until: 2*window + quarter, may: counts{apart: 1, crashes: 1, steps: 2}, steps: []int16{5 * quarter, -5 * quarter}, unclocked: true}},
	{"tokens and small steps", bounds{until: window + quarter, may: counts{apart: 1, leases: 1, crashes: 1, steps: 1}, steps: []int16{-quarter, 5}, tokens: true, ends: unsent | givenUp}},
	{"keys", bounds{until: window + quarter, may: counts{apart: 1, crashes: 0, steps: 1, keys: 2, looks: 2}, steps: []int16{5 * quarter, -5 * quarter}, installed: true, ends: demands}},
	{"keys, told by answers", bounds{until: window + quarter, may: counts{apart: 1, leases: 1, steps: 1, keys: 2, looks: 1}, steps: []int16{-quarter, -5}, installed: true, signals: true, ends: givenUp}},
}

func TestEveryOrderOfReads(t *testing.T) {
	limit := 15_000
	if os.Getenv("EXHAUSTIVE") != "" {
		limit = 200_000
	}
	total := 0
	for _, walk := range walks {
		t.Run(walk.name, func(t *testing.T) {
			w := &walker{bounds: walk.bounds, limit: limit}
			states := w.walk()
			total += states
			t.Logf("%s %d states, %d steps deep, to minute %d", w.whole, states, w.depth, w.latest)
			require.Empty(t, w.failed)
		})
	}
	t.Logf("%d states", total)
}

// walker is one walk.
type walker struct {
	bounds
	limit  int // of states; 0 for none
	seed   maphash.Seed
	from   map[uint64]edge // every world that was seen, and how it came about
	next   []world         // those whose successors are not known yet
	parent uint64
	latest int16
	depth  int
	failed string
	whole  string // whether all states were visited
}

type edge struct {
	parent uint64
	action string
}

// walk visits all worlds and returns how many there are.
func (c *walker) walk() int {
	c.seed, c.from, c.whole = maphash.MakeSeed(), make(map[uint64]edge), "all"
	w := world{left: c.may, counted: -1, bound: -1, ended: -1, sent: -1, hasKey: c.installed}
	for i := range w.replicas {
		w.contact(i)
	}
	w.apply(0, undated(policy.LearnClassByVIN(policy.ClassStreaming)), w.evidence(0, w.hasKey, false, 0, knowledge{}))
	w.learned(w.hasKey, 0)
	c.add(w, "")
	for len(c.next) > 0 {
		c.depth++
		level := c.next
		c.next = nil
		for i := range level {
			if c.failed != "" || len(c.from) >= c.limit {
				c.whole = "the nearest"
				return len(c.from)
			}
			c.parent = maphash.Comparable(c.seed, level[i])
			c.successors(&level[i])
		}
	}
	return len(c.from)
}

// add adds a world that came about by an action.
func (c *walker) add(w world, action string) {
	w.tidy()
	h := maphash.Comparable(c.seed, w)
	if _, ok := c.from[h]; ok {
		return
	}
	c.from[h] = edge{c.parent, action}
	c.latest = max(c.latest, w.now)
	if problem := w.broken + w.tooLong; problem != "" && c.failed == "" {
		c.failed = fmt.Sprintf("at minute %d %s:\n%s", w.now, problem, c.trace(h))
	}
	c.next = append(c.next, w)
}

// trace says how a world came about.
func (c *walker) trace(h uint64) string {
	var all []string
	for e := c.from[h]; e.action != ""; e = c.from[e.parent] {
		all = append(all, e.action)
	}
	slices.Reverse(all)
	return strings.Join(all, "\n")
}

// try adds what becomes of a world by an action; nothing if the action cannot be.
func (c *walker) try(w *world, action string, act func(w *world) bool) {
	after := *w
	if act(&after) {
		c.add(after, action)
	}
}

func always(act func(w *world)) func(w *world) bool {
	return func(w *world) bool { act(w); return true }
}

func (c *walker) successors(w *world) {
	for i, name := range []string{"A ", "B "} {
		c.request(w, i, name)
		c.process(w, i, name)
	}
	for k := range w.orphans {
		if w.orphans[k].until > w.now {
			c.try(w, "an abandoned request is processed", always(func(w *world) {
				o := w.orphans[k]
				w.orphans[k] = orphan{}
				w.count(o.told, o.ended)
			}))
		}
	}
	c.owner(w)
	c.time(w)
}

// request is what may become of the data request of a replica.
func (c *walker) request(w *world, i int, name string) {
	released := policy.Result{Outcome: policy.OutcomeReleased}
	switch w.replicas[i].stage {
	case idle:
		c.try(w, name+"asks", always(func(w *world) { w.loadAndSwap(i, true) }))
		c.apart(w, name+"loads", func(w *world) { w.load(i, true) })
		if c.tokens {
			c.try(w, name+"asks without a token", always(func(w *world) { w.loadAndSwap(i, false) }))
			c.apart(w, name+"loads without a token", func(w *world) { w.load(i, false) })
		}
	case loaded:
		c.try(w, name+"swaps", always(func(w *world) { w.swap(i) }))
	case reserved:
		c.try(w, name+"leaves", always(func(w *world) { w.leave(i) }))
		if c.tokens {
			c.try(w, name+"gets no token", always(func(w *world) { w.settle(i, released) }))
		}
	case flying:
		if w.now < w.replicas[i].until {
			after := *w
			after.process(i)
			c.answers(&after, i, name)
			c.apart(w, name+"is processed", func(w *world) { w.process(i) })
		}
		if c.ends&unsent != 0 {
			c.try(w, name+"was not sent", always(func(w *world) { w.settle(i, released) }))
		}
		if c.ends&givenUp != 0 || w.now >= w.replicas[i].until {
			c.try(w, name+"gives up", func(w *world) bool {
				if w.now < w.replicas[i].until && !w.abandon(i) {
					return false
				}
				w.settle(i, policy.Result{Outcome: policy.OutcomeUnclear})
				return true
			})
		}
		if c.tokens && w.replicas[i].turn {
			c.try(w, name+"is refused for its token", always(func(w *world) { w.holdBack(i) }))
		}
	case processed:
		c.answers(w, i, name)
	}
}

// apart adds the first of two steps that otherwise are one.
func (c *walker) apart(w *world, action string, act func(w *world)) {
	if w.left.apart > 0 {
		c.try(w, action, always(func(w *world) { w.left.apart--; act(w) }))
	}
}

func (c *walker) answers(w *world, i int, name string) {
	r := &w.replicas[i]
	if r.wait > 0 { // inside a window, without anybody having told
		c.try(w, name+"is limited", always(func(w *world) { w.answer(i, policy.OutcomeLimited, false) }))
	}
	c.try(w, name+"is answered", always(func(w *world) { w.answer(i, policy.OutcomeOK, c.signals) }))
	if c.ends&lost != 0 {
		c.try(w, name+"loses the answer", always(func(w *world) { w.answer(i, policy.OutcomeUnclear, false) }))
	}
	if c.ends&foreign != 0 {
		c.try(w, name+"gets a foreign answer", always(func(w *world) { w.answer(i, policy.OutcomeAnswered, false) }))
	}
	if c.ends&demands != 0 && !r.keyThen {
		c.try(w, name+"is asked for the key", always(func(w *world) { w.demand(i) }))
	}
}

// process is what may become of a replica itself, and its looks for the key.
func (c *walker) process(w *world, i int, name string) {
	if w.left.crashes > 0 && i == 0 { // the replicas are alike: let it be A who dies
		c.try(w, name+"dies", func(w *world) bool { w.left.crashes--; return w.die(i) })
	}
	if w.replicas[i].looking {
		c.try(w, name+"has looked", always(func(w *world) { w.lookUp(i) }))
	} else if w.left.looks > 0 {
		c.try(w, name+"looks", always(func(w *world) {
			w.left.looks--
			r := &w.replicas[i]
			r.looking, r.lookAt, r.lookKey = true, w.now, w.hasKey
			r.lookKnew = knowledge{w.record.KeyAt(), w.storeBy}
		}))
	}
	if w.left.steps > 0 && w.left.crashes > 0 && i == 0 && !c.unclocked { // only who begins reads the machine's clock
		for _, by := range c.steps {
			c.try(w, fmt.Sprintf("%smachine is set by %d", name, by), always(func(w *world) {
				w.left.steps--
				w.wrongMachine = true
				w.replicas[i].by += by
				w.stepped += max(by, -by)
			}))
		}
	}
}

// owner adds the key, or removes it. It takes a minute, so that no two things were
// so at the same time.
func (c *walker) owner(w *world) {
	if w.left.keys > 0 && w.now < c.until {
		c.try(w, "the owner changes the key", always(func(w *world) {
			w.left.keys--
			w.now++
			w.hasKey, w.changedAt, w.told, w.counted, w.bound, w.ended = !w.hasKey, w.now, false, -1, -1, -1
		}))
	}
}

// time passes, and the store's clock is stepped.
func (c *walker) time(w *world) {
	if w.now+quarter <= c.until {
		c.try(w, "a quarter passes", always(func(w *world) { w.now += quarter }))
	}
	if w.now+3*quarter <= c.until { // two windows are few steps away then
		c.try(w, "three quarters pass", always(func(w *world) { w.now += 3 * quarter }))
	}
	if w.left.leases > 0 && w.now+lease <= c.until {
		c.try(w, "a lease passes", always(func(w *world) { w.now += lease; w.left.leases-- }))
	}
	if w.left.steps > 0 {
		for _, by := range c.steps {
			c.try(w, fmt.Sprintf("the store's clock is set by %d", by), always(func(w *world) {
				w.left.steps--
				w.wrongStore = true
				w.wrongMachine = w.wrongMachine || c.unclocked // it is the same clock
				w.storeBy += by
				w.stepped += max(by, -by)
				for i := range w.replicas {
					if c.unclocked {
						w.replicas[i].by += by
					}
				}
			}))
		}
	}
}
