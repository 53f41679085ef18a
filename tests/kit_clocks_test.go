package smartcar_test

import (
	"context"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/seed-498a1bc4/smartcar/store"
)

func (c *steppingClock) step(d time.Duration) {
	c.offset.Add(int64(d))
	c.steppedAt.Store(time.Now().UnixNano())
}

// undatedStore has no clock: SQLite is one.
type undatedStore struct{ store.Store }

func (s undatedStore) Load(ctx context.Context, key string) (store.Record, error) {
	r, err := s.Store.Load(ctx, key)
	r.Now = time.Time{}
	return r, err
}

func (s undatedStore) CompareAndSwap(ctx context.Context, key string, old store.Revision, value []byte, ttl time.Duration) (store.Record, error) {
	r, err := s.Store.CompareAndSwap(ctx, key, old, value, ttl)
	r.Now = time.Time{}
	return r, err
}

// steppingStore is a database on a machine whose clock is stepped.
type steppingStore struct {
	store.Store
	steppingClock
}

func newSteppingStore(db store.Store) *steppingStore { return &steppingStore{Store: db} }

func (s *steppingStore) stamp(r store.Record) store.Record {
	r.Now = s.Now()
	return r
}

func (s *steppingStore) Load(ctx context.Context, key string) (store.Record, error) {
	r, err := s.Store.Load(ctx, key)
	return s.stamp(r), err
}

func (s *steppingStore) CompareAndSwap(ctx context.Context, key string, old store.Revision, value []byte, ttl time.Duration) (store.Record, error) {
	r, err := s.Store.CompareAndSwap(ctx, key, old, value, ttl)
	return s.stamp(r), err
}

// onLoad calls a function once, after the next load of a car's record.
type onLoad struct {
	store.Store
	armed atomic.Pointer[func()]
}

func (s *onLoad) arm(f func()) { s.armed.Store(&f) }

func (s *onLoad) Load(ctx context.Context, key string) (store.Record, error) {
	r, err := s.Store.Load(ctx, key)
	if strings.Contains(key, "car/") && !strings.Contains(key, "usercars/") {
		if f := s.armed.Swap(nil); f != nil {
			(*f)()
		}
	}
	return r, err
}

// storeKinds are stores by the clock that they have, all in memory. Each call
// makes a new one.
func storeKinds(machine *steppingClock) map[string]func() store.Store {
	return map[string]func() store.Store{
		"none given":            func() store.Store { return nil },
		"memory":                func() store.Store { return store.NewMemory() },
		"without a clock":       func() store.Store { return undatedStore{store.NewMemory()} },
		"with a clock":          func() store.Store { return newSteppingStore(store.NewMemory()) },
		"expires by the wrong":  func() store.Store { return undatedStore{store.NewMemoryAt(machine.Now)} },
		"sealed, with a clock":  func() store.Store { return mustSeal(newSteppingStore(store.NewMemory())) },
		"sealed, without clock": func() store.Store { return mustSeal(undatedStore{store.NewMemory()}) },
	}
}

func mustSeal(db store.Store) store.Store {
	s, err := store.NewSealed(db, firstSealKey)
	if err != nil {
		panic(err)
	}
	return s
}

// midway calls a function once, while a request is with the server.
type midway struct {
	http.RoundTripper
	armed atomic.Pointer[func()]
}

func (m *midway) arm(f func()) { m.armed.Store(&f) }

func (m *midway) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := m.RoundTripper.RoundTrip(r)
	if f := m.armed.Swap(nil); f != nil {
		(*f)()
	}
	return resp, err
}
