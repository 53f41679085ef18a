package tokens

import (
	"context"
	"fmt"
	"hash/maphash"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed-498a1bc4/smartcar/internal/users"
	"github.com/stretchr/testify/require"
)

// walk is one walk through the worlds.
type walk struct {
	name  string
	calls [2]int8 // how often each process is asked
	call  call    // for what
	fresh bool    // the access token is good at first
	may   faults
	steps []int16 // by how much a clock may be stepped

	limit  int // of states
	seed   maphash.Seed
	from   map[uint64]edge // every world that was seen, and how it came about
	next   []world         // those whose successors are not known yet
	parent uint64
	points points
	failed string
	calm   int // worlds that were run to the end
}

type edge struct {
	parent uint64
	action string
}

var walks = []walk{
	{name: "answers are lost, and a process dies", calls: [2]int8{1, 1}, call: authorize, may: faults{leases: 2, crashes: 1, lost: 1}},
	{name: "requests are refused, and a process dies", calls: [2]int8{2, 1}, call: replace, fresh: true, may: faults{leases: 1, crashes: 1, refused: 1}},
	{name: "answers are lost, and the grace passes", calls: [2]int8{2, 1}, call: replace, fresh: true, may: faults{leases: 1, graces: 1, lost: 1}},
	{name: "clocks are stepped", calls: [2]int8{1, 1}, call: authorize, may: faults{leases: 1, steps: 2}, steps: []int16{-6, 6}},
	{name: "clocks are set back, a process dies", calls: [2]int8{1, 1}, call: authorize, may: faults{leases: 1, crashes: 1, steps: 2}, steps: []int16{-6}},
	{name: "clocks are set back, answers are lost", calls: [2]int8{1, 1}, call: authorize, may: faults{leases: 1, lost: 1, steps: 1}, steps: []int16{-6}},
	{name: "the store is cut off", calls: [2]int8{2, 1}, call: authorize, may: faults{leases: 1, graces: 1, cuts: 2}},
}

// TestEveryOrderOfRefreshes walks through every way in which two processes can renew one
// login, breadth first, within bounds. The processes run the code of this package, up
// to the next thing that they ask of the store, of the clock or of Smartcar. Between any
// two of those a process may die, a clock may be stepped, time may pass; a request may
// be processed, its answer lost, or refused.
//
//   - Nothing that a process does loses the best refresh token that the client has, be it
//     in the store or in the memory of a process.
//   - After each thing that goes wrong, the rest goes well: then the login is kept, as
//     long as anybody had its newest pair.
//
// Left out is what nobody can know. A request whose sender has given up may be processed
// after a later one, which makes void what that one has brought. And two processes may
// both renew at the same moment, where the store's clock is set forward by more than a
// lease, of which the later one dies or gets no answer.
//
// With EXHAUSTIVE=1 in the environment it goes further.
func TestEveryOrderOfRefreshes(t *testing.T) {
	limit := 5_000
	if os.Getenv("EXHAUSTIVE") != "" {
		limit = 250_000
	}
	began, total := time.Now(), 0
	for _, m := range walks {
		t.Run(m.name, func(t *testing.T) {
			m.limit = limit
			m.run(t)
			states, whole := len(m.from), "all"
			if len(m.next) > 0 {
				whole = "the nearest"
			}
			total += states
			t.Logf("%s %d states, %d of them run to the end, in %v so far", whole, states, m.calm, time.Since(began).Round(time.Millisecond))
			require.Empty(t, m.failed)
		})
	}
	t.Logf("%d states", total)
}

func (m *walk) first(t *testing.T) world {
	r := newRunner()
	w := world{left: m.may}
	r.start(func(ctx context.Context) {
		life := time.Duration(0)
		if m.fresh {
			life = time.Hour
		}
		record := grantRecord{UserID: modelUser}
		record.setPair(pairNumber(0, r.Now(), life))
		_, _ = r.grants.putGrant(ctx, modelGrant, record)
		_, _ = r.users.Arrive(ctx, modelUser, users.Arrival{Grant: modelGrant})
	})
	for r.op.kind != none {
		r.resume(w.stored(0, r.op))
	}
	for i := range w.procs {
		w.procs[i] = process{callsLeft: m.calls[i]}
	}
	require.Equal(t, 2, w.storedRank())
	return w
}

func (m *walk) run(t *testing.T) {
	m.seed, m.from, m.points = maphash.MakeSeed(), make(map[uint64]edge), make(points)
	m.add(m.first(t), "")
	for len(m.next) > 0 {
		level := m.next
		m.next = nil
		for i := range level {
			if m.failed != "" || len(m.from) >= m.limit {
				m.next = append(m.next, level[i:]...)
				return
			}
			m.parent = maphash.Comparable(m.seed, level[i])
			m.successors(&level[i])
		}
	}
}

func (m *walk) add(w world, action string) bool {
	h := maphash.Comparable(m.seed, w)
	if _, ok := m.from[h]; ok {
		return false
	}
	m.from[h] = edge{m.parent, action}
	m.next = append(m.next, w)
	return true
}

func (m *walk) fail(h uint64, problem string) {
	if m.failed == "" {
		m.failed = problem + ":\n" + m.trace(h)
	}
}

func (m *walk) trace(h uint64) string {
	var all []string
	for e := m.from[h]; e.action != ""; e = m.from[e.parent] {
		all = append(all, e.action)
	}
	slices.Reverse(all)
	return strings.Join(all, "\n")
}

// try adds what becomes of a world by an action of the client, which must not lose a
// pair that is alive.
func (m *walk) try(w *world, action string, act func(w *world)) {
	after := *w
	act(&after)
	if m.add(after, action) && after.reach() < w.reach() {
		m.fail(maphash.Comparable(m.seed, after), "a pair is lost that was alive")
	}
}

// fault adds what becomes of a world by an action of the outside. If all goes well
// from then on, the login has to be kept.
func (m *walk) fault(w *world, action string, act func(w *world) bool) {
	after := *w
	if !act(&after) || !m.add(after, action) || after.reach() < 2 {
		return
	}
	m.calm++
	if story := after.calmDown(m.points); story != "" {
		m.fail(maphash.Comparable(m.seed, after), "a login is lost though nothing else goes wrong: "+story)
	}
}

func (m *walk) successors(w *world) {
	for i, name := range processes {
		m.process(w, i, name)
		m.faultsOf(w, i, name)
	}
	for k := range w.orphans {
		if o := w.orphans[k]; o.token != "" {
			m.fault(w, "an abandoned request is processed", func(w *world) bool {
				w.orphans[k] = orphan{}
				return w.server.rank(o.token, w.now) == 2 && w.server.trade(o.token, w.now) > 0
			})
		}
	}
	if w.left.steps > 0 {
		for _, by := range m.steps {
			m.fault(w, fmt.Sprint("the store's clock is set by ", by), func(w *world) bool {
				w.left.steps--
				w.storeBy += by
				return true
			})
		}
	}
	m.pass(w, "a lease passes", leaseUnits, &w.left.leases)
	m.pass(w, "the grace passes", graceUnits+1, &w.left.graces)
}

// pass lets time go by, while no request takes longer than it may.
func (m *walk) pass(w *world, action string, units int16, left *int8) {
	if *left == 0 {
		return
	}
	*left--
	after := *w
	*left++
	after.now += units
	for i := range after.procs {
		if p := &after.procs[i]; p.op().kind == exchange && after.now-p.since > requestUnits {
			return
		}
	}
	for k := range after.orphans {
		if after.orphans[k].until < after.now {
			after.orphans[k] = orphan{}
		}
	}
	m.add(after, action)
}

var processes = [...]string{"A ", "B "}

// process is what a process does.
func (m *walk) process(w *world, i int, name string) {
	p := &w.procs[i]
	switch p.op().kind {
	case none:
		if p.callsLeft > 0 {
			m.try(w, name+callNames[m.call], func(w *world) { w.begin(m.points, i, m.call) })
		}
	case load, swap, remove:
		m.try(w, fmt.Sprint(name, p.op().kind, " ", p.op().key), func(w *world) { w.access(i) })
	case sleep:
		if p.mayWake(w.now) {
			m.try(w, name+"wakes", func(w *world) { w.give(i, answer{}) })
		}
		if p.op().ends {
			m.try(w, name+"has waited enough", func(w *world) { w.give(i, answer{err: errPatient}) })
		}
	case exchange:
		if p.traded == 0 {
			m.try(w, name+"has its request processed", func(w *world) { w.process(i) })
		} else {
			m.try(w, name+"is answered", func(w *world) { w.give(i, w.answered(i)) })
		}
	}
}

func (p *process) mayWake(now int16) bool {
	return time.Duration(now-p.since)*unit >= p.op().d.Truncate(unit) && !(p.cut && p.op().ends)
}

func (m *walk) faultsOf(w *world, i int, name string) {
	p := &w.procs[i]
	if p.op().kind == exchange && w.left.lost > 0 {
		m.fault(w, name+"gets no answer", func(w *world) bool {
			w.left.lost--
			if !w.abandon(i) {
				return false
			}
			w.give(i, answer{err: errProxy})
			return true
		})
	}
	if p.op().kind == exchange && p.traded == 0 && w.left.refused > 0 {
		m.fault(w, name+"is told to try later", func(w *world) bool {
			w.left.refused--
			w.give(i, answer{err: errRefused})
			return true
		})
	}
	if w.left.crashes > 0 && p.at != nil {
		m.fault(w, name+"dies", func(w *world) bool {
			w.left.crashes--
			if !w.abandon(i) {
				return false
			}
			w.procs[i] = process{callsLeft: p.callsLeft, by: p.by}
			return true
		})
	}
	if w.left.cuts > 0 || p.cut {
		m.fault(w, name+"is cut off from the store, or reaches it again", func(w *world) bool {
			q := &w.procs[i]
			if q.cut = !q.cut; q.cut {
				w.left.cuts--
			}
			return true
		})
	}
	if w.left.steps > 0 {
		for _, by := range m.steps {
			m.fault(w, fmt.Sprint(name, "has its clock set by ", by), func(w *world) bool {
				w.left.steps--
				w.procs[i].by += by
				return true
			})
		}
	}
}

// calmDown lets all go well until the processes are done, and have looked after the
// login a few times more. It returns a story if the login is not kept.
func (w *world) calmDown(all points) string {
	var story []string
	for i := range w.procs {
		w.procs[i].cut = false
	}
	for round := range 4 {
		for i := range w.procs {
			if round > 0 {
				w.begin(all, i, renew)
			}
		}
		for steps := 0; w.procs[0].at != nil || w.procs[1].at != nil; steps++ {
			if steps > 300 {
				return "it does not end\n" + strings.Join(story, "\n")
			}
			a, b := w.goOn(0), w.goOn(1)
			if story = append(story, a+b); a+b == "" {
				w.now++
			}
		}
	}
	if w.storedRank() == 2 {
		return ""
	}
	return strings.Join(story, "\n") + "\n" + w.grant + "\n" + w.user
}

// goOn lets a process do its next step, if it is not asleep, and says which.
func (w *world) goOn(i int) string {
	p := &w.procs[i]
	o := p.op()
	switch o.kind {
	case load, swap, remove:
		w.access(i)
	case exchange:
		w.process(i)
		w.give(i, w.answered(i))
	case sleep:
		if !p.mayWake(w.now) {
			return ""
		}
		w.give(i, answer{})
	default:
		return ""
	}
	return fmt.Sprint("-- ", processes[i], o.kind, " ", o.key, o.value, " ")
}
