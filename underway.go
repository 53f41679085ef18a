package smartcar

import (
	"context"
	"log/slog"
	"runtime"
	"runtime/debug"
	"sync"
	"time"

	"github.com/seed-498a1bc4/smartcar/internal/contexts"
)

// maxDetached is how many reads may go on at once whose callers have left.
const maxDetached = 1000

// underway are the requests of this process that hold the turn of a car: who
// shares their answers, and which go on without a caller. It is safe for
// concurrent use.
type underway struct {
	mu sync.Mutex
	// rooms has an element for each car that somebody wants data of right now.
	rooms map[string]room
	// detached has an element for each request whose caller has left.
	detached chan struct{}
	left     int           // how many elements detached has
	idle     chan struct{} // closed when left falls to 0; nil if nobody waits for it
}

// A room is where the callers meet who want data of one car at the same time. It
// keeps the last flight until the last of them has gone, so that one who was
// there before the answer came can take it, however quickly it came.
type room struct {
	callers int
	last    *flight
}

// A flight is one request that holds the turn of a car, from before the turn is
// taken until everything that the answer brought is stored.
type flight struct {
	car  carRef
	done chan struct{} // closed at the end

	scope, grant string // whose answer it will be
	connect      uint64
	units        UnitSystem
	reads        []operation // what it asks for; nil for what nobody can share

	// Guarded by underway.mu:
	outdated bool // a command to the car was sent since
	alone    bool // its caller has left
	ended    bool
	before   *flight // the last one of its car when it was announced

	// Set before done is closed:
	attempt  attempt
	err      error
	panicked any  // what a panic of the transport was called with
	died     bool // the goroutine ended in the middle of it
}

func newUnderway() *underway {
	return &underway{rooms: make(map[string]room), detached: make(chan struct{}, maxDetached)}
}

// enter is called by who is about to ask for a car's data; exit must follow. The
// flight that it returns, if any, had ended before: its answer is of the past.
func (u *underway) enter(car string) (past *flight) {
	u.mu.Lock()
	defer u.mu.Unlock()
	at := u.rooms[car]
	if at.last != nil && at.last.ended {
		past = at.last
	}
	at.callers++
	u.rooms[car] = at
	return past
}

func (u *underway) exit(car string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	at := u.rooms[car]
	at.callers--
	u.rooms[car] = at
	u.tidy(car)
}

// tidy removes a room that nobody is in.
func (u *underway) tidy(car string) {
	if at := u.rooms[car]; at.callers == 0 && (at.last == nil || at.last.ended) {
		delete(u.rooms, car)
	}
}

// announce tells those in the room of a flight that is about to take the turn,
// unless another one is about to. Then it is announced again when it has the turn.
func (u *underway) announce(f *flight, hasTurn bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	at := u.rooms[f.car.key]
	if hasTurn || at.last == nil || at.last.ended {
		if at.last != f {
			f.before = at.last
		}
		at.last = f
		u.rooms[f.car.key] = at
	}
}

// withdraw ends a flight that did not get the turn. What was before it counts
// again: others may be about to take that answer.
func (u *underway) withdraw(f *flight) {
	u.mu.Lock()
	if at := u.rooms[f.car.key]; at.last == f {
		at.last = f.before
		u.rooms[f.car.key] = at
	}
	u.mu.Unlock()
	u.end(f)
}

// of returns the flight of a car, if a caller who came after past had ended can
// share it.
func (u *underway) of(r *request, past *flight, w wire) *flight {
	if !r.shares() {
		return nil
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	f := u.rooms[r.car.key].last
	if f == nil || f == past || f.ended && f.attempt.answer == nil || f.outdated || f.reads == nil || f.scope != r.scope || f.connect != r.connect || f.grant != r.grant.grant ||
		f.units != r.keptIn || !w.holds(r.reads, f.reads) {
		return nil
	}
	return f
}

// commanded says that a command is being sent to a car: what is under way may
// show the car before it.
func (u *underway) commanded(car string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if f := u.rooms[car].last; f != nil {
		f.outdated = true
	}
}

// leave lets the caller of a flight go, unless it has ended or too many are
// without a caller already; then it waits for either.
func (u *underway) leave(f *flight) (gone bool) {
	select {
	case <-f.done:
		return false
	case u.detached <- struct{}{}:
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if f.ended {
		<-u.detached
		return false
	}
	f.alone = true
	u.left++
	return true
}

// A flight whose answer came within lingerBelow waits for others: for lingerYields
// of the processor at first, and if somebody has come, until nobody has for
// lingerStep, and for lingerMost at most.
const (
	lingerBelow  = time.Millisecond
	lingerYields = 128
	lingerStep   = 50 * time.Microsecond
	lingerMost   = 20 * lingerStep
)

// linger lets those meet a flight who came at the same time, but whose goroutines
// have not run yet: a mock, or a cache before Smartcar, answers faster than they
// do. Waiting on a timer is what lets the processor fetch them from another one.
func (u *underway) linger(f *flight) {
	callers := 1 // the flight's own
	for range lingerYields {
		runtime.Gosched()
		if u.callersOf(f) > callers {
			break
		}
	}
	for range lingerMost / lingerStep {
		now := u.callersOf(f)
		if now == callers {
			return
		}
		callers = now
		<-time.After(lingerStep)
	}
}

func (u *underway) callersOf(f *flight) int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.rooms[f.car.key].callers
}

// end gives the outcome of a flight to all who wait for it.
func (u *underway) end(f *flight) {
	u.mu.Lock()
	defer u.mu.Unlock()
	f.ended = true
	close(f.done)
	if f.alone {
		<-u.detached
		if u.left--; u.left == 0 && u.idle != nil {
			close(u.idle)
			u.idle = nil
		}
	}
	f.before = nil
	u.tidy(f.car.key)
}

// drain waits until no flight is without its caller.
func (u *underway) drain(ctx context.Context) error {
	for {
		u.mu.Lock()
		if u.left == 0 {
			u.mu.Unlock()
			return nil
		}
		if u.idle == nil {
			u.idle = make(chan struct{})
		}
		idle := u.idle
		u.mu.Unlock()
		select {
		case <-idle:
		case <-ctx.Done():
			return contexts.EndOf(ctx)
		}
	}
}

// shares reports whether a read may take an answer that somebody else asked for,
// and give others its own.
func (r *request) shares() bool { return r.reads != nil && r.query == nil && !r.alone && !r.override }

// newFlight describes the request to those who may share it.
func newFlight(r *request, ref carRef) *flight {
	f := &flight{car: ref, done: make(chan struct{}), scope: r.scope, grant: r.grant.grant, connect: r.connect, units: r.keptIn}
	if r.shares() {
		f.reads = r.reads
	}
	return f
}

// fly sends a request that has taken its car's turn. The request is sent by a
// goroutine of its own: once it is on the wire it goes on when its caller leaves,
// so that neither the turn nor the answer is lost. A caller who leaves before
// that takes the turn back.
//
//  1. the caller's context ends
//  2. not sent: the goroutine is canceled, the turn is given back, the caller
//     returns when that is stored
//     sent: the caller returns at once; the goroutine waits for the answer, within
//     the time of one attempt, sends nothing more, books the turn and keeps what
//     the answer brought
//
// A panic of the transport is logged with its stack, and raised again in the
// caller. If the caller has left, the process goes on. Nothing is booked, so that
// the turn counts as used when its lease ends.
func (g *gate) fly(ctx context.Context, r *request, f *flight, t *turn, next layer) (attempt, error) {
	if g.opts.neverDetached {
		defer g.underway.end(f)
		f.attempt, f.err = g.carryOut(ctx, r, f.car, t, next)
		return f.attempt, f.err
	}
	flying, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	go func() {
		defer cancel(nil)
		f.died = true
		defer g.land(flying, f)
		f.attempt, f.err = g.carryOut(flying, r, f.car, t, next)
		f.died = false
	}()
	select {
	case <-f.done:
	case <-ctx.Done():
		ended := &Error{Operation: r.op, reach: reachedUnsure, Err: contexts.EndOf(ctx)}
		if !t.abandon() {
			cancel(ended.Err)
			<-f.done
			ended.reach = reachedNever
			return attempt{outcome: f.attempt.outcome}, ended
		}
		if g.underway.leave(f) {
			return attempt{}, ended
		}
	}
	switch {
	case f.panicked != nil:
		panic(f.panicked)
	case f.died:
		runtime.Goexit()
	}
	return f.attempt, f.err
}

// land ends a flight, and catches a panic of the transport.
func (g *gate) land(ctx context.Context, f *flight) {
	if f.died {
		f.panicked = recover() // nil where the transport has ended the goroutine
	}
	if f.panicked != nil {
		g.opts.logger.LogAttrs(ctx, slog.LevelError, "smartcar: the transport has panicked; the vehicle's turn counts as used",
			slog.String("vehicle", f.car.id), slog.String("stack", string(debug.Stack())))
	}
	if a := f.attempt.answer; a != nil && a.at.Sub(f.attempt.began) < lingerBelow {
		g.underway.linger(f)
	}
	g.underway.end(f)
}

// carryOut sends a request that has a turn, books what came back, keeps what it
// brought, and makes of it what the caller gets.
func (g *gate) carryOut(ctx context.Context, r *request, ref carRef, t *turn, next layer) (attempt, error) {
	a, err := next(ctx, r, t)
	g.settle(ctx, r, ref, t.record, t, a)
	return g.conclude(ctx, r, ref, a, err)
}

// share waits for the answer of somebody else's request. It reports false if that
// has brought none, and its turn may have been given back.
func (g *gate) share(ctx context.Context, r *request, ref carRef, f *flight) (attempt, bool, error) {
	select {
	case <-f.done:
	case <-ctx.Done():
		return attempt{}, false, &Error{Operation: r.op, reach: reachedNever, Err: contexts.EndOf(ctx)}
	}
	if f.attempt.answer == nil {
		return attempt{}, false, nil
	}
	theirs := *f.attempt.answer
	parts, ok := g.probe.wire.within(r.reads, &theirs)
	if !ok {
		return attempt{}, false, nil
	}
	for i := range parts {
		parts[i].value = nil // each caller has its own
		parts[i] = parts[i].handedOut(r.units, false)
	}
	theirs.parts = parts
	a, err := g.conclude(ctx, r, ref, attempt{answer: &theirs, outcome: f.attempt.outcome, began: f.attempt.began}, nil)
	return a, true, err
}

// Drain waits for the reads whose callers have left: a read that has taken the
// turn of a car and was sent goes on without its caller, see "When a caller
// leaves" in the package documentation. Call it when a program ends, after its
// last call, and at the end of tests. It returns nil, or the error of ctx when
// that ends first.
func (c *Client) Drain(ctx context.Context) error {
	if c == nil || c.core == nil {
		return argumentError("Client", "must come from New")
	}
	if err := checkContext(ctx); err != nil {
		return err
	}
	return c.core.gate.underway.drain(ctx)
}

// WithoutDetachedReads is for programs that cannot have a goroutine which goes on
// after a call, such as those that are frozen between two requests. A read then
// ends with its caller, and where it had been sent, the turn of the car is spent
// and its answer lost.
func WithoutDetachedReads() Option {
	return func(o *options) error { o.neverDetached = true; return nil }
}
