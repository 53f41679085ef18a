package records

import (
	"context"
	"errors"
	"sync"

	"github.com/seed-498a1bc4/smartcar/internal/contexts"
)

// Flights lets one caller do what several want at the same time. Waiters leave
// on their own context: nothing is held but a channel. The zero value is ready.
type Flights struct {
	mu       sync.Mutex
	underway map[string]*flight
}

type flight struct {
	done chan struct{}
	err  error // what the leader met; read after done is closed
}

// errAbandoned: the leader's goroutine ended in the middle of it.
var errAbandoned = errors.New("the caller that did this for all has died")

// Do runs fn unless it is being run for key already; then it waits for that
// and returns the same error. If the leader dies, a waiter takes over.
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
		if current.err != errAbandoned { //nolint:errorlint // set here, never wrapped
			return current.err
		}
	}
}

func (f *Flights) lead(ctx context.Context, key string, fn func() error) error {
	shared := errAbandoned
	defer func() { f.finish(key, shared) }()
	err := fn()
	if ctx.Err() == nil || !contexts.IsEnd(err) { // else the leader only left early
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
