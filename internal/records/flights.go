package records

import (
	"context"
	"errors"
	"sync"

	"github.com/seed-498a1bc4/smartcar/internal/contexts"
)

// Flights lets one caller, the leader, do what several callers want at the same time.
// The others wait on a channel, and each leaves when its own context ends. The zero
// value is ready.
type Flights struct {
	mu       sync.Mutex
	underway map[string]*flight
}

type flight struct {
	done chan struct{}
	err  error // what the leader met; read after done is closed
}

// errLeaderDied: the leader panicked or exited before it was done.
var errLeaderDied = errors.New("the caller that did this for all has died")

// Do runs fn. If another caller is running it for the same key, Do waits for that
// caller and returns the same error. If that caller dies, or leaves on its own
// context, a waiter takes over.
func (f *Flights) Do(ctx context.Context, key string, fn func() error) error {
	for {
		f.mu.Lock()
		current, ok := f.underway[key]
		if !ok {
			f.start(key)
		}
		f.mu.Unlock()
		if !ok {
			return f.lead(ctx, key, fn)
		}
		if err := wait(ctx, current.done); err != nil {
			return err
		}
		if current.err != errLeaderDied { //nolint:errorlint // set here, never wrapped
			return current.err
		}
	}
}

func (f *Flights) lead(ctx context.Context, key string, fn func() error) error {
	shared := errLeaderDied
	defer func() { f.finish(key, shared) }()
	err := fn()
	if ctx.Err() == nil || !contexts.IsEnd(err) { // if the leader left early, a waiter takes over
		shared = err
	}
	return err
}

func (f *Flights) start(key string) {
	if f.underway == nil {
		f.underway = make(map[string]*flight)
	}
	f.underway[key] = &flight{done: make(chan struct{})}
}

func (f *Flights) finish(key string, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.underway[key].err = err
	close(f.underway[key].done)
	delete(f.underway, key)
}

func wait(ctx context.Context, done <-chan struct{}) error {
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return contexts.EndOf(ctx)
	}
}
