package tokens

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/seed-498a1bc4/smartcar/internal/records"
	"github.com/seed-498a1bc4/smartcar/store"
)

// Time is counted in units of 5 s. The proportions are those of the client's options:
// a lease is a quarter of the grace, a request takes a sixth of it at most.
const (
	unit         = 5 * time.Second
	leaseUnits   = 3
	graceUnits   = 12
	requestUnits = 2

	modelGrant = "g"
	modelUser  = "alice"
)

var modelStart = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func instant(units int16) time.Time { return modelStart.Add(time.Duration(units) * unit) }

// A world is everything at one moment. It is compared and hashed as a value.
type world struct {
	now     int16 // true time
	storeBy int16 // how far the store's clock is off
	left    faults
	grant   string // the record in the store; empty for none
	user    string
	server  server
	procs   [2]process
	orphans [2]orphan
}

// faults are how often things may still happen.
type faults struct{ leases, graces, crashes, lost, refused, steps, cuts int8 }

// orphan is a request whose sender has given up or died. It may be processed all the
// same, while until is not over.
type orphan struct {
	token string
	until int16
}

// server is Smartcar: it honors a refresh token once, and again for the grace after
// that. Then every pair that it has given for it, or later, is void.
type server struct {
	issued int8
	tokens [10]struct {
		void, used bool
		usedAt     int16
	}
}

// rank says what a refresh token is worth: 2 if it is the newest, 1 within its grace,
// 0 if it is void.
func (s *server) rank(token string, now int16) int {
	if token == "" {
		return 0
	}
	t := s.tokens[number(token)]
	switch {
	case t.void || t.used && now-t.usedAt > graceUnits:
		return 0
	case t.used:
		return 1
	}
	return 2
}

var tokenNames = [...]string{"refresh-0", "refresh-1", "refresh-2", "refresh-3", "refresh-4", "refresh-5", "refresh-6", "refresh-7", "refresh-8", "refresh-9"}

func number(token string) int8 { return int8(token[len(token)-1] - '0') }

// trade gives the number of a new pair; 0 if the token is void.
func (s *server) trade(token string, now int16) int8 {
	if s.rank(token, now) == 0 {
		return 0
	}
	n := number(token)
	if t := &s.tokens[n]; t.used {
		for later := n + 1; later <= s.issued; later++ {
			s.tokens[later].void = true
		}
	} else {
		t.used, t.usedAt = true, now
	}
	s.issued++
	return s.issued
}

// call is what a process is asked for.
type call uint8

const (
	idle      call = iota
	authorize      // a request needs the access token
	replace        // Smartcar has refused the access token
	renew          // the application looks after its logins
)

var callNames = [...]string{"", "is asked for the token", "is told that the token was refused", "is asked to renew"}

// process is one replica.
type process struct {
	by        int16 // how far its clock is off
	cut       bool  // it does not reach the store
	callsLeft int8
	memory    memory  // before the call
	at        *point  // of the call that it serves; nil between calls
	since     int16   // it is there
	traded    int8    // its request was processed: the pair; -1 if it was refused
	inHand    uint16  // pairs that have come during this call, as bits
	newest    [2]bool // it has seen the newest record of the grant, of the user
}

// memory is what a process knows between two calls.
type memory struct {
	cached   string // the record of the grant, as JSON
	unstored newPair
}

// point is where a process stands within a call. What it does next follows from its
// memory and the answers that it has got since: so all worlds share the points, and
// the code of this package runs once for each.
type point struct {
	origin origin
	before *point
	answer answer // that led here
	op     op     // what the process asks for next; none at the end
	end    memory
	after  map[answer]*point
}

// origin is how a call begins.
type origin struct {
	name   string // of its lease
	call   call
	memory memory
	clock  int16
}

// points are those of all calls, by their origin.
type points map[origin]*point

// start is where a call begins.
func (all points) start(o origin) *point {
	p, ok := all[o]
	if !ok {
		p = &point{origin: o, after: make(map[answer]*point)}
		p.stop(p.run())
		all[o] = p
	}
	return p
}

// then is where a process gets with an answer.
func (p *point) then(a answer) *point {
	next, ok := p.after[a]
	if !ok {
		next = &point{origin: p.origin, before: p, answer: a, after: make(map[answer]*point)}
		next.stop(next.run())
		p.after[a] = next
	}
	return next
}

// run makes a process, and lets it serve the call up to this point.
func (p *point) run() *runner {
	if p.before != nil {
		r := p.before.run()
		r.resume(p.answer)
		return r
	}
	r := newRunner()
	r.named, r.clock = p.origin.name, p.origin.clock
	if cached := p.origin.memory.cached; cached != "" {
		held, err := records.Hold[grantRecord](context.Background(), records.New(seen(cached), r), "")
		must(err)
		r.grants.cache(modelGrant, held)
	}
	if pair := p.origin.memory.unstored; pair.used != "" {
		r.grants.unstored.putPair(modelGrant, pair)
	}
	r.start(func(ctx context.Context) { r.serve(ctx, p.origin.call) })
	return r
}

// seen is a record that a process has seen in the store.
type seen string

func (s seen) Load(context.Context, string) (store.Record, error) {
	return store.Record{Value: []byte(s), Revision: newestSeen}, nil
}

func (s seen) CompareAndSwap(context.Context, string, store.Revision, []byte, time.Duration) (store.Record, error) {
	return store.Record{}, store.ErrConflict
}

func (s seen) Delete(context.Context, string, store.Revision) error { return store.ErrConflict }

// stop notes where a process has got.
func (p *point) stop(r *runner) {
	p.op = r.op
	if c, ok := r.grants.cached.Get(modelGrant); ok {
		b, err := json.Marshal(c.grantRecord)
		must(err)
		p.end.cached = string(b)
	}
	p.end.unstored, _ = r.grants.unstored.pair(modelGrant)
	r.stop()
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

// begin lets a process serve a call.
func (w *world) begin(all points, i int, c call) {
	p := &w.procs[i]
	p.callsLeft--
	p.goTo(all.start(origin{fmt.Sprintf("%c%d", 'A'+i, p.callsLeft), c, p.memory, w.now + p.by}), w.now)
}

// give lets a process go on with an answer, up to its next op.
func (w *world) give(i int, a answer) {
	p := &w.procs[i]
	a.process = w.now + p.by
	newest := p.newest[0]
	p.goTo(p.at.then(a), w.now)
	if p.at == nil { // it remembers the record that it has seen last, or an older one
		p.newest[0] = newest && p.memory.cached != "" && p.memory.cached == w.grant
	}
}

func (p *process) goTo(at *point, now int16) {
	p.at, p.since, p.traded = at, now, 0
	if at.op.kind == exchange {
		p.inHand |= 1 << number(at.op.value) // it may be sent again
	}
	if at.op.kind == none {
		*p = process{by: p.by, cut: p.cut, callsLeft: p.callsLeft, memory: at.end}
	}
}

// op is what a process waits for; none between calls.
func (p *process) op() op {
	if p.at == nil {
		return op{}
	}
	return p.at.op
}

// stored is the store's answer to the op of a process.
func (w *world) stored(i int, o op) answer {
	if w.procs[i].cut {
		return answer{err: errCut}
	}
	record, which := &w.grant, 0
	if strings.HasPrefix(o.key, "user/") {
		record, which = &w.user, 1
	}
	newest := &w.procs[i].newest[which]
	a := answer{store: w.now + w.storeBy}
	switch {
	case o.kind == load && *record == "":
		a.err = store.ErrNotFound
	case o.kind == load, o.kind == remove && *record == "":
	case o.none != (*record == "") || !o.none && !*newest:
		a.err = store.ErrConflict
	default:
		*record = o.value
		w.procs[0].newest[which], w.procs[1].newest[which] = false, false
	}
	a.value, *newest = *record, true
	return a
}

// access gives a process the store's answer. What it has loaded, it writes at once:
// whoever comes between makes it load again.
func (w *world) access(i int) {
	o := w.procs[i].op()
	w.give(i, w.stored(i, o))
	if next := w.procs[i].op(); o.kind == load && next.kind == swap && next.key == o.key {
		w.give(i, w.stored(i, next))
	}
}

// process lets Smartcar process the request of a process.
func (w *world) process(i int) {
	p := &w.procs[i]
	if p.traded = w.server.trade(p.op().value, w.now); p.traded == 0 {
		p.traded = -1
	}
}

// answered is Smartcar's answer to a request that was processed.
func (w *world) answered(i int) answer {
	p := &w.procs[i]
	if p.traded < 0 {
		return answer{err: errVoid}
	}
	p.inHand |= 1 << p.traded
	return answer{pair: p.traded}
}

// abandon leaves the request of a process on its way; false if there are too many.
func (w *world) abandon(i int) bool {
	p := &w.procs[i]
	if p.op().kind != exchange || p.traded != 0 || w.now-p.since >= requestUnits {
		return true
	}
	for k := range w.orphans {
		if w.orphans[k].token == "" {
			w.orphans[k] = orphan{p.op().value, p.since + requestUnits}
			return true
		}
	}
	return false
}

// storedRank is what the best refresh token is worth that the client finds in the
// store.
func (w *world) storedRank() int {
	var g grantRecord
	if w.grant == "" || !strings.Contains(w.user, `"id":"g"`) || json.Unmarshal([]byte(w.grant), &g) != nil {
		return 0
	}
	return max(w.server.rank(g.RefreshToken, w.now), w.server.rank(g.Spare, w.now))
}

// reach is what the best refresh token is worth that the client has, in the store or
// in a process.
func (w *world) reach() int {
	best := w.storedRank()
	for i := range w.procs {
		p := &w.procs[i]
		for n := range w.server.issued + 1 {
			if n == p.traded && n > 0 || p.inHand>>n&1 == 1 {
				best = max(best, w.server.rank(tokenNames[n], w.now))
			}
		}
		best = max(best, w.server.rank(p.memory.unstored.RefreshToken, w.now))
	}
	return best
}
