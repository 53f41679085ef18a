package main

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"math/rand/v2"
	"sync"
	"time"

	"testing"

	"github.com/sethvargo/go-limiter/memorystore"
	"github.com/stretchr/testify/require"
	"golang.org/x/time/rate"

	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/store"
	"github.com/seed-498a1bc4/smartcar/tests/costs"
)

const (
	manyCars = 1_000_000
	asked    = 100_000 // of them, in no order
)

var errAllowed = errors.New("not refused")

// refusalRows compare a refusal among many cars with what else refuses in a process.
func refusalRows(tb testing.TB) []costs.Row {
	tb.Helper()
	ids := make([]string, manyCars)
	for i := range ids {
		ids[i] = fmt.Sprintf("%08x-0000-4000-8000-000000000000", rand.Uint64())
	}
	refuse := clientOf(tb, ids)
	row := func(is string, bare func(string) bool) costs.Row {
		return costs.Row{
			Name: "refusal known here, 1,000,000 cars", Do: inTurn(refuse), BareIs: is, MostAllocs: 2, MostTime: 3,
			Bare: inTurn(func(_ context.Context, i int) error {
				if bare(ids[i]) {
					return errAllowed
				}
				return nil
			}),
		}
	}
	rows := []costs.Row{row("a sharded map", shardedMap(ids)), row("x/time/rate, one for each car", rateLimiters(ids)), row("go-limiter", goLimiters(tb, ids))}
	rows[1].MostTime, rows[2].MostTime = 0, 0
	return rows
}

// inTurn does something with the next one of those that are asked.
func inTurn(do func(ctx context.Context, i int) error) func(context.Context) error {
	next := 0
	return func(ctx context.Context) error {
		next = (next + 1) % asked
		return do(ctx, next*(manyCars/asked))
	}
}

// clientOf is a client that knows of all cars that they were read a moment ago.
func clientOf(tb testing.TB, ids []string) func(context.Context, int) error {
	tb.Helper()
	kept := store.NewMemory()
	client := newClient(tb, kept, longTime, smartcar.WithCacheSize(manyCars))
	owner := newOwner(tb, client)
	first := owner.Vehicle(ids[0])
	_, err := first.Battery(tb.Context())
	require.NoError(tb, err)
	used, err := kept.Load(tb.Context(), "car/"+ids[0])
	require.NoError(tb, err)
	vehicles := make(map[int]*smartcar.Vehicle, asked)
	for i, id := range ids {
		if i > 0 {
			_, err := kept.CompareAndSwap(tb.Context(), "car/"+id, "", used.Value, 24*time.Hour)
			require.NoError(tb, err)
		}
		if i%(manyCars/asked) == 0 {
			vehicles[i] = owner.Vehicle(id)
		}
	}
	read := func(ctx context.Context, i int) error {
		if _, err := vehicles[i].Battery(ctx); !errors.Is(err, smartcar.ErrRateLimited) {
			return fmt.Errorf("%w: %w", errAllowed, err)
		}
		return nil
	}
	for i := range vehicles {
		require.NoError(tb, read(tb.Context(), i))
	}
	return read
}

// shards are maps with a lock each.
type shards[T any] struct {
	seed maphash.Seed
	all  [256]struct {
		mu   sync.RWMutex
		cars map[string]T
	}
}

func newShards[T any](ids []string, of func() T) *shards[T] {
	s := &shards[T]{seed: maphash.MakeSeed()}
	for i := range s.all {
		s.all[i].cars = make(map[string]T)
	}
	for _, id := range ids {
		s.all[maphash.String(s.seed, id)%256].cars[id] = of()
	}
	return s
}

func (s *shards[T]) get(id string) T {
	shard := &s.all[maphash.String(s.seed, id)%256]
	shard.mu.RLock()
	defer shard.mu.RUnlock()
	return shard.cars[id]
}

// shardedMap is the least: until when a car is not asked.
func shardedMap(ids []string) func(string) bool {
	until := time.Now().Add(longTime)
	s := newShards(ids, func() time.Time { return until })
	return func(id string) bool { return !time.Now().Before(s.get(id)) }
}

func rateLimiters(ids []string) func(string) bool {
	s := newShards(ids, func() *rate.Limiter {
		l := rate.NewLimiter(rate.Every(longTime), 1)
		l.Allow()
		return l
	})
	return func(id string) bool { return s.get(id).Allow() }
}

func goLimiters(tb testing.TB, ids []string) func(string) bool {
	tb.Helper()
	limiter, err := memorystore.New(&memorystore.Config{Tokens: 1, Interval: longTime})
	require.NoError(tb, err)
	tb.Cleanup(func() { require.NoError(tb, limiter.Close(context.WithoutCancel(tb.Context()))) })
	take := func(id string) bool {
		_, _, _, ok, err := limiter.Take(tb.Context(), id)
		return ok || err != nil
	}
	for _, id := range ids {
		take(id)
	}
	return take
}
