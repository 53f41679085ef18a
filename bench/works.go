package main

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/internal/testserver"
	"github.com/seed-498a1bc4/smartcar/store"
	"github.com/seed-498a1bc4/smartcar/store/sqlstore/sqlite"
	"github.com/stretchr/testify/require"
)

// A plan makes a bench, on a server of its own.
type plan struct {
	name string
	open func(testing.TB) *bench
}

func plans() []plan {
	return []plan{
		{"Memory", memoryBench},
		{"Memory, sealed", sealedBench},
		{"SQLite, synchronous FULL", sqliteBench()},
		{"SQLite, synchronous NORMAL", sqliteBench(sqlite.WithNormalSync())},
		{"PostgreSQL, synchronous_commit on", postgresBench("on")},
		{"PostgreSQL, synchronous_commit off", postgresBench("off")},
		{"Redis, no persistence", redisBench()},
		{"Redis, appendfsync everysec", redisBench("--appendonly", "yes", "--appendfsync", "everysec")},
		{"Redis, appendfsync always", redisBench(testserver.Durable()...)},
	}
}

// work is one thing that is measured on a bench.
type work struct {
	name string
	do   func(ctx context.Context) error
	// trips counts the round trips to the store, nil if there is no store to
	// count them for.
	trips func() int64
}

const (
	turn     = "turn"
	safeTurn = "turn, nothing may be lost"
	openRead = "read without a turn"
	refusal  = "refusal"
	oneSwap  = "one swap"
	oneLoad  = "one load"
	longTime = 8 * time.Hour
)

// works returns what is measured on b: the baselines first, then a load and a
// swap of the store, a whole turn through the public client, and a refusal.
func (b *bench) works(tb testing.TB) []work {
	tb.Helper()
	var list []work
	for _, o := range append([]other{b.bare}, b.others...) {
		if o.do != nil {
			list = append(list, work{name: o.name, do: o.do})
		}
	}
	list = append(list, b.load(tb), b.swap(tb), b.openRead(tb), b.turn(tb), b.refusal(tb))
	if b.relaxes {
		w := (&bench{store: strict{b.store}}).turn(tb)
		w.name = safeTurn
		list = append(list, w)
	}
	return list
}

// strict is a store whose every write has to survive, whatever store.MayBeLost says.
type strict struct{ store.Store }

func (s strict) CompareAndSwap(ctx context.Context, key string, old store.Revision, value []byte, ttl time.Duration) (store.Record, error) {
	return s.Store.CompareAndSwap(hidden{ctx}, key, old, value, ttl)
}

// hidden is a context without its values.
type hidden struct{ context.Context } //nolint:containedctx // it is a context

func (hidden) Value(any) any { return nil }

func (b *bench) load(tb testing.TB) work {
	tb.Helper()
	key := eachKey()
	for range cars {
		_, err := b.store.CompareAndSwap(tb.Context(), key(), "", carRecord(), longTime)
		require.NoError(tb, err)
	}
	return work{name: oneLoad, do: func(ctx context.Context) error {
		_, err := b.store.Load(ctx, key())
		return err
	}}
}

func (b *bench) swap(tb testing.TB) work {
	tb.Helper()
	key, value := eachKey(), carRecord()
	revisions := make(map[string]store.Revision, cars)
	w := work{name: oneSwap, do: func(ctx context.Context) error {
		value[0]++
		key := key()
		record, err := b.store.CompareAndSwap(ctx, key, revisions[key], value, longTime)
		revisions[key] = record.Revision
		return err
	}}
	for range cars {
		require.NoError(tb, w.do(tb.Context()))
	}
	return w
}

// cars is how many cars are read in turn: by the time a car is read again, a
// millisecond has passed, which is what the times in records are rounded to.
const cars = 200

func (b *bench) turn(tb testing.TB) work {
	tb.Helper()
	w, read := b.reading(tb, "", 5*cars, time.Nanosecond) // a process that was stopped in between sees later times
	w.name = turn
	w.do = read
	return w
}

// openRead is the same call to a car that is under no rule, with a store in
// memory: what of a turn is the client's own work, and not the policy's.
func (b *bench) openRead(tb testing.TB) work {
	tb.Helper()
	w, read := (&bench{store: store.NewMemory()}).reading(tb, free, cars, longTime)
	w.name = openRead
	w.do = read
	return w
}

func (b *bench) refusal(tb testing.TB) work {
	tb.Helper()
	w, read := b.reading(tb, "", 1, longTime)
	w.name = refusal
	w.do = func(ctx context.Context) error {
		if err := read(ctx); !errors.Is(err, smartcar.ErrRateLimited) {
			return fmt.Errorf("not refused: %w", err)
		}
		return nil
	}
	require.NoError(tb, w.do(tb.Context()))
	return w
}

// reading reads n cars of a kind, one after the other.
func (b *bench) reading(tb testing.TB, kind string, n int, window time.Duration) (work, func(context.Context) error) {
	tb.Helper()
	var w work
	kept := b.store
	if _, inProcess := kept.(*store.Memory); !inProcess {
		c := &counted{Store: kept}
		w.trips, kept = c.trips.Load, c
	}
	read := newCars(tb, kept, kind, n, window)
	next := 0
	return w, func(ctx context.Context) error {
		car := read[next]
		next = (next + 1) % len(read)
		_, err := car.Battery(ctx)
		return err
	}
}

func (w work) run(b *testing.B) {
	ctx := context.WithoutCancel(b.Context()) // a caller who cannot leave
	before := w.count()
	b.ReportAllocs()
	for b.Loop() {
		if err := w.do(ctx); err != nil {
			b.Fatal(err)
		}
	}
	if w.trips != nil {
		b.ReportMetric(float64(w.count()-before)/float64(b.N), "roundtrips/op")
	}
}

func (w work) count() int64 {
	if w.trips == nil {
		return 0
	}
	return w.trips()
}
