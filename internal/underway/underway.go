// Package underway knows which requests of this process hold the turn of a car:
// who may share their answers, and which go on without a caller.
package underway

import (
	"context"
	"runtime"
	"sync"
	"time"

	"github.com/seed-498a1bc4/smartcar/internal/contexts"
)

// A Set has all flights of a process. It is safe for concurrent use.
type Set[T any] struct {
	mu sync.Mutex
	// rooms has an element for each car that somebody wants data of right now.
	rooms map[string]room[T]
	// detached has an element for each flight whose caller has left.
	detached chan struct{}
	left     int           // how many elements detached has
	idle     chan struct{} // closed when left falls to 0; nil if nobody waits for it
}

// A room is where the callers meet who want data of one car at the same time. It
// keeps the last flight until the last of them has gone, so that one who was
// there before the answer came can take it, however quickly it came.
type room[T any] struct {
	callers int
	last    *Flight[T]
}

// A Flight is one request that holds the turn of a car, from before the turn is
// taken until everything that the answer brought is stored.
type Flight[T any] struct {
	// Value is what the caller knows of the flight. What is set later than
	// [Set.Announce] may be read once Done is closed.
	Value T
	Done  chan struct{} // closed at the end

	car string
	// Guarded by Set.mu:
	outdated bool // a command to the car was sent since
	alone    bool // its caller has left
	ended    bool
	before   *Flight[T] // the last one of its car when it was announced
}

// New returns a set that lets go of at most so many callers at once.
func New[T any](mostDetached int) *Set[T] {
	return &Set[T]{rooms: make(map[string]room[T]), detached: make(chan struct{}, mostDetached)}
}

// NewFlight returns a flight that nobody knows of yet.
func NewFlight[T any](car string, value T) *Flight[T] {
	return &Flight[T]{Value: value, Done: make(chan struct{}), car: car}
}

// Enter is called by who is about to ask for a car's data; Exit must follow. The
// flight that it returns, if any, had ended before: its answer is of the past.
func (s *Set[T]) Enter(car string) (past *Flight[T]) {
	s.mu.Lock()
	defer s.mu.Unlock()
	at := s.rooms[car]
	if at.last != nil && at.last.ended {
		past = at.last
	}
	at.callers++
	s.rooms[car] = at
	return past
}

// Exit follows Enter.
func (s *Set[T]) Exit(car string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	at := s.rooms[car]
	at.callers--
	s.rooms[car] = at
	s.tidy(car)
}

// tidy removes a room that nobody is in.
func (s *Set[T]) tidy(car string) {
	if at := s.rooms[car]; at.callers == 0 && (at.last == nil || at.last.ended) {
		delete(s.rooms, car)
	}
}

// Announce tells those in the room of a flight that is about to take the turn,
// unless another one is about to. Then it is announced again when it has the turn.
func (s *Set[T]) Announce(f *Flight[T], hasTurn bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	at := s.rooms[f.car]
	if hasTurn || at.last == nil || at.last.ended {
		if at.last != f {
			f.before = at.last
		}
		at.last = f
		s.rooms[f.car] = at
	}
}

// Withdraw ends a flight that did not get the turn. What was before it counts
// again: others may be about to take that answer.
func (s *Set[T]) Withdraw(f *Flight[T]) {
	s.mu.Lock()
	if at := s.rooms[f.car]; at.last == f {
		at.last = f.before
		s.rooms[f.car] = at
	}
	s.mu.Unlock()
	s.End(f)
}

// Shared returns the flight of a car, if one who came after past had ended can
// share it, and it suits.
func (s *Set[T]) Shared(car string, past *Flight[T], suits func(v *T, ended bool) bool) *Flight[T] {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.rooms[car].last
	if f == nil || f == past || f.outdated || !suits(&f.Value, f.ended) {
		return nil
	}
	return f
}

// Outdate says that a command is being sent to a car: what is under way may show
// the car before it.
func (s *Set[T]) Outdate(car string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f := s.rooms[car].last; f != nil {
		f.outdated = true
	}
}

// Leave lets the caller of a flight go, unless it has ended or too many are
// without a caller already; then it waits for either.
func (s *Set[T]) Leave(f *Flight[T]) (gone bool) {
	select {
	case <-f.Done:
		return false
	case s.detached <- struct{}{}:
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if f.ended {
		<-s.detached
		return false
	}
	f.alone = true
	s.left++
	return true
}

// How long Linger waits once somebody has come: until nobody has for lingerStep, and
// for lingerMost at most.
const (
	lingerStep = 50 * time.Microsecond
	lingerMost = 20 * lingerStep
)

// Linger lets those meet a flight who came at the same time, but whose goroutines
// have not run yet: a mock, or a cache before Smartcar, answers faster than they
// do. Waiting on a timer is what lets the processor fetch them from another one.
func (s *Set[T]) Linger(f *Flight[T]) {
	runtime.Gosched()
	callers := 1 // the flight's own
	for range lingerMost / lingerStep {
		now := s.callersOf(f)
		if now == callers {
			return
		}
		callers = now
		<-time.After(lingerStep)
	}
}

func (s *Set[T]) callersOf(f *Flight[T]) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.rooms[f.car].callers
}

// End gives the outcome of a flight to all who wait for it.
func (s *Set[T]) End(f *Flight[T]) {
	if s.end(f) {
		s.release()
	}
}

// EndThen is End. If the caller of the flight has left, it runs then, for which Drain
// waits and those who share the flight do not.
func (s *Set[T]) EndThen(f *Flight[T], then func()) {
	if s.end(f) {
		defer s.release()
		then()
	}
}

// end reports whether the caller of the flight has left.
func (s *Set[T]) end(f *Flight[T]) (alone bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f.ended = true
	close(f.Done)
	f.before = nil
	s.tidy(f.car)
	return f.alone
}

// release follows the end of a flight whose caller has left.
func (s *Set[T]) release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	<-s.detached
	if s.left--; s.left == 0 && s.idle != nil {
		close(s.idle)
		s.idle = nil
	}
}

// Drain waits until no flight is without its caller.
func (s *Set[T]) Drain(ctx context.Context) error {
	for {
		s.mu.Lock()
		if s.left == 0 {
			s.mu.Unlock()
			return nil
		}
		if s.idle == nil {
			s.idle = make(chan struct{})
		}
		idle := s.idle
		s.mu.Unlock()
		select {
		case <-idle:
		case <-ctx.Done():
			return contexts.EndOf(ctx)
		}
	}
}
