package policy_test

import (
	"fmt"
	"hash/maphash"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/seed-498a1bc4/smartcar/internal/policy"
	"github.com/stretchr/testify/require"
)

// The exhaustive check walks through every way in which two replicas that share a
// store can ask one car for data, breadth first, within bounds. It drives the machine
// through its exported API only, and does around it what cars.go and gate.go do: load,
// decide, swap, look at the store's clock again, leave, settle.
//
// Between any two steps a request may be processed, answered, lost or refused; a
// process may die, and another one begin; a clock may be stepped; the owner may
// remove or add the key; the server may limit the car, or the car may sleep; time may
// pass, by a lease, a quarter of the window or a window, without end. Worlds that go on alike are
// one: see canonical. So a walk that says "all" has seen every order of any length.
//
// It checks that
//
//   - no two requests are counted inside a window once anything has told the client
//     that the key is missing, if the first of the two had ended when the second was
//     decided on, or had left after that, too;
//   - no car is refused for longer than the rule: a window after the answer, and a lease
//     more if the answer was lost or the process died; and, if clocks were stepped, the
//     sum of the steps and a lease more;
//   - nobody loses a turn while its lease lasts;
//   - nobody asks before the time that the server has named;
//   - nobody asks while the car sleeps;
//   - a limit from before the key was there is void.
//
// There is one excuse: a process that has not asked the store while its clock was as it
// was when the turn was booked, and whose machine's clock was stepped, too, or is the
// store's. Nobody is left to ask but its memory of the car (policy.Witness.Seen), which the
// check takes to be lost. Of a limit no machine is a witness, so there it need not have
// been stepped. That nobody loses a turn, that nobody asks while the car sleeps, and that an
// old limit is void, is checked while no clock was stepped.
//
// With EXHAUSTIVE=1 in the environment the walks go further.

// bounds are those of one walk.
type bounds struct {
	may       counts  // what may happen how often in a run
	steps     []int16 // by how much a clock may be stepped
	ends      ends    // how a request may end
	unclocked bool    // the store has no clock: both replicas are on one machine, whose clock it is
	installed bool    // the key is there at first, and the client knows it
	signals   bool    // answers tell of the key, as on API v3
	tokens    bool    // a token may be missing or refused
	looks     bool    // the status of the key is looked at, at any time
}

// ends are how a request may end, beside being answered.
type ends uint8

const (
	lost    ends = 1 << iota // after it was processed
	unsent                   // for certain
	givenUp                  // and may still be processed
	demands                  // Smartcar asks for the key
	foreign                  // by somebody who is not Smartcar
	limits                   // the server limits the car for a lease
	sleeps                   // the car sleeps
)

var walks = []struct {
	name string
	bounds
}{
	{"every end", bounds{may: counts{apart: 2, crashes: 1}, ends: lost | unsent | givenUp | foreign, tokens: true}},
	{"limits", bounds{may: counts{apart: 1, crashes: 1}, ends: limits | lost}},
	{"sleep", bounds{may: counts{crashes: 1}, ends: sleeps}},
	{"limits and clocks", bounds{may: counts{steps: 2, crashes: 1}, steps: []int16{2 * quarter, -2 * quarter}, ends: limits}},
	{"limits and keys", bounds{may: counts{keys: 2}, ends: limits, looks: true, installed: true}},
	{"clocks set forward", bounds{may: counts{crashes: 1, steps: 2}, steps: []int16{5 * quarter}}},
	{"clocks set back", bounds{may: counts{crashes: 1, steps: 2}, steps: []int16{-5 * quarter}}},
	{"clocks set back and forth", bounds{may: counts{steps: 2}, steps: []int16{5 * quarter, -5 * quarter}, ends: lost}},
	{"no clock of the store", bounds{may: counts{crashes: 1, steps: 2}, steps: []int16{5 * quarter, -5 * quarter}, unclocked: true}},
	{"tokens and a small step", bounds{may: counts{apart: 1, crashes: 1, steps: 1}, steps: []int16{-quarter, lease}, tokens: true, ends: unsent | givenUp}},
	{"keys", bounds{may: counts{apart: 1, keys: 2}, installed: true, ends: demands | lost, looks: true}},
	{"keys and clocks", bounds{may: counts{steps: 1, keys: 2}, steps: []int16{5 * quarter, -5 * quarter}, installed: true, looks: true}},
	{"keys, told by answers", bounds{may: counts{apart: 1, keys: 2}, installed: true, signals: true, looks: true, ends: givenUp}},
}

func TestEveryOrderOfReads(t *testing.T) {
	limit := 4_000
	if os.Getenv("EXHAUSTIVE") != "" {
		limit = 600_000
	}
	var total atomic.Int64
	t.Run("walks", func(t *testing.T) {
		for _, walk := range walks {
			t.Run(walk.name, func(t *testing.T) {
				t.Parallel()
				c := &walker{model: newModel(walk.bounds), limit: limit}
				whole := c.walk()
				total.Add(int64(len(c.edges)))
				t.Logf("%s: %s %d states, %d records, %d steps deep, %.1f windows", walk.name, whole, len(c.edges), len(c.states), c.depth, float64(c.latest)/window)
				require.Empty(t, c.failed)
			})
		}
	})
	t.Logf("%d states", total.Load())
}

// walker is one walk.
type walker struct {
	*model
	limit  int              // of states
	seen   map[uint64]int32 // every world that was seen, and its edge
	edges  []edge           // how it came about
	next   []node           // those whose successors are not known yet
	parent node
	latest int32
	depth  int
	failed string
}

type node struct {
	world
	edge    int32
	elapsed int32 // how much time has passed on the way to it
}

type edge struct {
	parent int32 // -1 for the first
	action string
}

// walk visits all worlds, and returns whether it did.
func (c *walker) walk() (whole string) {
	c.seen = map[uint64]int32{}
	w := world{
		m: c.model, left: c.may, hasKey: c.installed, changedAt: never, counted: never, bound: never, ended: never, due: never,
		limitTo: never, limitAt: never, asleepTo: never,
	}
	for i := range w.orphans {
		w.orphans[i] = orphan{until: never, ended: never}
	}
	w.record = c.number(policy.State{})
	for i := range w.replicas {
		w.replicas[i] = replica{due: never}
		w.contact(i)
	}
	w.apply(0, undated(policy.LearnClassByVIN(policy.ClassStreaming)), w.evidence(0, w.hasKey, false, 0, knowledge{never, 0}))
	w.learned(policy.KeyNotAsked, w.hasKey, 0)
	c.parent.edge = -1
	c.add(w, "")
	for len(c.next) > 0 {
		c.depth++
		level := c.next
		c.next = nil
		for i := range level {
			if c.failed != "" || len(c.edges) >= c.limit {
				return "the nearest"
			}
			c.parent = level[i]
			c.successors(&level[i].world)
		}
	}
	return "all"
}

// add adds a world that came about by an action.
func (c *walker) add(w world, action string) {
	passed := int32(w.now)
	w.canonical()
	h := maphash.Comparable(c.seed, w)
	if _, ok := c.seen[h]; ok {
		return
	}
	n := node{w, int32(len(c.edges)), c.parent.elapsed + passed}
	c.seen[h] = n.edge
	c.edges = append(c.edges, edge{c.parent.edge, action})
	c.latest = max(c.latest, n.elapsed)
	if w.wrong != 0 && c.failed == "" {
		c.failed = fmt.Sprintf("at minute %d %s:\n%s", n.elapsed, failures[w.wrong], c.trace(n.edge))
	}
	c.next = append(c.next, n)
}

// trace says how a world came about.
func (c *walker) trace(at int32) string {
	var all []string
	for e := c.edges[at]; e.parent >= 0; e = c.edges[e.parent] {
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

// The replicas change places where that makes worlds equal, so their names in a trace are
// those of the moment.
var names = [...]string{"A ", "B "}

func (c *walker) successors(w *world) {
	for i := range w.replicas {
		if i == 1 && w.replicas[0] == w.replicas[1] {
			break
		}
		c.request(w, i, names[i])
		c.process(w, i, names[i])
	}
	for k := range w.orphans {
		if w.orphans[k].until >= w.now {
			c.try(w, "an abandoned request is processed", always(func(w *world) {
				o := w.orphans[k]
				w.orphans[k] = orphan{until: never, ended: never}
				w.count(o)
			}))
		}
	}
	c.owner(w)
	c.time(w)
}

// request is what may become of the data request of a replica.
func (c *walker) request(w *world, i int, name string) {
	r := &w.replicas[i]
	released := policy.Result{Outcome: policy.OutcomeReleased}
	switch r.stage {
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
		if w.now <= r.until {
			after := *w
			after.process(i)
			c.answers(&after, i, name)
			c.apart(w, name+"is processed", func(w *world) { w.process(i) })
			if c.ends&limits != 0 {
				c.try(w, name+"is limited by the server", always(func(w *world) {
					w.heed(w.replicas[i].heedLimit)
					w.settle(i, policy.Result{Outcome: policy.OutcomeLimited, RetryAfter: minutes[int](lease)})
				}))
			}
			if c.ends&sleeps != 0 {
				c.try(w, name+"hears that the car sleeps", always(func(w *world) { w.settle(i, policy.Result{Outcome: policy.OutcomeAsleep}) }))
			}
		}
		if c.ends&unsent != 0 {
			c.try(w, name+"was not sent", always(func(w *world) { w.settle(i, released) }))
		}
		if c.ends&givenUp != 0 || w.now >= r.until {
			c.try(w, name+"gives up", func(w *world) bool {
				if w.now <= r.until && !w.abandon(i) {
					return false
				}
				w.settle(i, policy.Result{Outcome: policy.OutcomeUnclear})
				return true
			})
		}
		if c.tokens && r.turn {
			c.try(w, name+"is refused for its token", always(func(w *world) { w.holdBack(i) }))
		}
	case processed:
		if w.now <= r.until {
			c.answers(w, i, name)
		} else { // the client waits no longer
			c.try(w, name+"gives up", always(func(w *world) { w.settle(i, policy.Result{Outcome: policy.OutcomeUnclear}) }))
		}
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
	end := func(how string, o policy.Outcome, retryAfter int16, signals bool) {
		c.try(w, name+how, always(func(w *world) { w.answer(i, policy.Result{Outcome: o, RetryAfter: minutes(retryAfter)}, signals) }))
	}
	if r.wait > 0 { // inside a window, without anybody having told
		end("is limited", policy.OutcomeLimited, r.wait, false)
	}
	end("is answered", policy.OutcomeOK, 0, c.signals)
	if c.ends&lost != 0 {
		end("loses the answer", policy.OutcomeUnclear, 0, false)
	}
	if c.ends&foreign != 0 {
		end("gets a foreign answer", policy.OutcomeAnswered, 0, false)
	}
	if c.ends&demands != 0 && !r.keyThen {
		c.try(w, name+"is asked for the key", always(func(w *world) { w.demand(i) }))
	}
}

// process is what may become of a replica itself, and its looks for the key.
func (c *walker) process(w *world, i int, name string) {
	if w.left.crashes > 0 {
		c.try(w, name+"dies", func(w *world) bool { w.left.crashes--; return w.die(i) })
	}
	switch r := &w.replicas[i]; {
	case r.looking && w.now-r.lookAt < lease:
		c.try(w, name+"has looked", always(func(w *world) { w.lookUp(i) }))
	case r.looking: // the client waits no longer
		c.try(w, name+"has looked in vain", always(func(w *world) { w.replicas[i].looking = false }))
	case c.looks:
		c.try(w, name+"looks", always(func(w *world) { w.look(i); w.lookUp(i) }))
		c.apart(w, name+"begins to look", func(w *world) { w.look(i) })
	}
	if w.left.steps > 0 && w.left.crashes > 0 && !c.unclocked { // only who begins reads the machine's clock
		for _, by := range c.steps {
			c.try(w, fmt.Sprintf("%smachine is set by %d", name, by), always(func(w *world) {
				w.left.steps--
				w.machineStepped = true
				w.replicas[i].by += by
				w.stepped += max(by, -by)
			}))
		}
	}
}

// owner adds the key, or removes it. It takes a minute, so that no two things were
// so at the same time.
func (c *walker) owner(w *world) {
	if w.left.keys > 0 {
		c.try(w, "the owner changes the key", always(func(w *world) {
			w.left.keys--
			w.now++
			w.hasKey, w.changedAt, w.told, w.counted, w.bound, w.ended, w.limitTo = !w.hasKey, w.now, false, never, never, never, never
		}))
	}
}

// time passes, and the store's clock is stepped.
func (c *walker) time(w *world) {
	c.try(w, "a lease passes", always(func(w *world) { w.now += lease }))
	c.try(w, "a quarter passes", always(func(w *world) { w.now += quarter }))
	c.try(w, "a window passes", always(func(w *world) { w.now += window })) // two windows are few steps away then
	if w.left.steps == 0 {
		return
	}
	for _, by := range c.steps {
		c.try(w, fmt.Sprintf("the store's clock is set by %d", by), always(func(w *world) {
			w.left.steps--
			w.storeBy += by
			w.stepped += max(by, -by)
			if c.unclocked { // it is the same clock
				w.machineStepped = true
				for i := range w.replicas {
					w.replicas[i].by += by
				}
			}
		}))
	}
}
