package smartcar_test

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed-498a1bc4/smartcar/store"
	"github.com/stretchr/testify/require"
)

var errStoreDown = errors.New("connection refused")

// spoiledStore fails where its hooks say so; a nil hook never does. Set them
// while nobody uses the store.
type spoiledStore struct {
	store.Store
	load     func(key string) error
	before   func(key string, value []byte) error // the swap does not happen
	after    func(key string, value []byte) error // the swap happens, and nobody hears of it
	deletes  func(key string) error               // the record is not deleted
	deleted  func(key string)
	mu       sync.Mutex
	seenKeys map[string]bool
}

func newSpoiledStore() *spoiledStore {
	return &spoiledStore{Store: store.NewMemory(), seenKeys: make(map[string]bool)}
}

func (s *spoiledStore) Load(ctx context.Context, key string) (store.Record, error) {
	if s.load != nil {
		if err := s.load(key); err != nil {
			return store.Record{}, err
		}
	}
	return s.Store.Load(ctx, key)
}

func (s *spoiledStore) CompareAndSwap(ctx context.Context, key string, old store.Revision, value []byte, ttl time.Duration) (store.Record, error) {
	s.mu.Lock()
	s.seenKeys[key] = true
	s.mu.Unlock()
	if s.before != nil {
		if err := s.before(key, value); err != nil {
			return store.Record{}, err
		}
	}
	record, err := s.Store.CompareAndSwap(ctx, key, old, value, ttl)
	if err == nil && s.after != nil {
		if err := s.after(key, value); err != nil {
			return store.Record{}, err
		}
	}
	return record, err
}

func (s *spoiledStore) Delete(ctx context.Context, key string, old store.Revision) error {
	if s.deletes != nil {
		if err := s.deletes(key); err != nil {
			return err
		}
	}
	err := s.Store.Delete(ctx, key, old)
	if s.deleted != nil {
		s.deleted(key)
	}
	return err
}

// goDown makes every access fail; back undoes it.
func (s *spoiledStore) goDown() (back func()) {
	s.load = func(string) error { return errStoreDown }
	s.before = func(string, []byte) error { return errStoreDown }
	return func() { s.load, s.before = nil, nil }
}

// live lists the keys that can still be loaded, but for used Connect states.
func (s *spoiledStore) live(t *testing.T) []string {
	t.Helper()
	s.mu.Lock()
	keys := slices.Sorted(maps.Keys(s.seenKeys))
	s.mu.Unlock()
	return slices.DeleteFunc(keys, func(key string) bool {
		_, err := s.Store.Load(t.Context(), key)
		return strings.HasPrefix(key, "state/") || errors.Is(err, store.ErrNotFound)
	})
}

// holds tells whether the answers that are kept of a car contain a text.
func (s *spoiledStore) holds(t *testing.T, vehicleID, text string) bool {
	t.Helper()
	r, err := s.Store.Load(t.Context(), "answers/"+vehicleID)
	if errors.Is(err, store.ErrNotFound) {
		return false
	}
	require.NoError(t, err)
	return bytes.Contains(r.Value, []byte(text))
}

// slowStore takes its time, so that replicas interleave between load and swap.
type slowStore struct{ store.Store }

func (s slowStore) Load(ctx context.Context, key string) (store.Record, error) {
	time.Sleep(time.Duration(rand.Int64N(int64(20 * time.Millisecond))))
	return s.Store.Load(ctx, key)
}

func (s slowStore) CompareAndSwap(ctx context.Context, key string, old store.Revision, value []byte, ttl time.Duration) (store.Record, error) {
	time.Sleep(time.Duration(rand.Int64N(int64(20 * time.Millisecond))))
	return s.Store.CompareAndSwap(ctx, key, old, value, ttl)
}

// awayStore does not answer while it is away: it fails at once, or keeps its
// callers waiting until their context ends.
type awayStore struct {
	store.Store
	away  atomic.Bool
	keys  string // what cannot be reached, by how its keys begin; empty is all
	hangs bool
}

func (s *awayStore) gone(ctx context.Context, key string) error {
	if !s.away.Load() || !strings.HasPrefix(key, s.keys) {
		return nil
	}
	if s.hangs {
		<-ctx.Done()
		return ctx.Err()
	}
	return errStoreDown
}

func (s *awayStore) Load(ctx context.Context, key string) (store.Record, error) {
	if err := s.gone(ctx, key); err != nil {
		return store.Record{}, err
	}
	return s.Store.Load(ctx, key)
}

func (s *awayStore) CompareAndSwap(ctx context.Context, key string, old store.Revision, value []byte, ttl time.Duration) (store.Record, error) {
	if err := s.gone(ctx, key); err != nil {
		return store.Record{}, err
	}
	return s.Store.CompareAndSwap(ctx, key, old, value, ttl)
}
