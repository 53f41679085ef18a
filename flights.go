package smartcar

import (
	"context"
	"sync"
)

// flights lets one caller do what several want at the same time. Waiters leave
// on their own context: nothing is held but a channel. The zero value is ready.
type flights struct {
	mu       sync.Mutex
	underway map[string]chan struct{}
}

// do runs fn unless it is being run for key already; then it waits for that.
func (f *flights) do(ctx context.Context, key string, fn func()) error {
	f.mu.Lock()
	if done, ok := f.underway[key]; ok {
		f.mu.Unlock()
		return wait(ctx, done)
	}
	f.start(key)
	f.mu.Unlock()
	defer f.finish(key)
	fn()
	return nil
}

// hold marks key as under way until the returned function is called. If it is
// already, that function does nothing.
func (f *flights) hold(key string) (release func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, ok := f.underway[key]; ok {
		return func() {}
	}
	f.start(key)
	return func() { f.finish(key) }
}

// wait returns once nothing is under way for key.
func (f *flights) wait(ctx context.Context, key string) error {
	f.mu.Lock()
	done, ok := f.underway[key]
	f.mu.Unlock()
	if !ok {
		return nil
	}
	return wait(ctx, done)
}

func (f *flights) start(key string) {
	if f.underway == nil {
		f.underway = make(map[string]chan struct{})
	}
	f.underway[key] = make(chan struct{})
}

func (f *flights) finish(key string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	close(f.underway[key])
	delete(f.underway, key)
}

func wait(ctx context.Context, done <-chan struct{}) error {
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return endOf(ctx)
	}
}
