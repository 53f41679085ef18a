// Package storetest is the conformance suite of [store.Store]: it runs
// against any implementation and reports where the contract is broken.
//
//	func TestStore(t *testing.T) {
//		backing := startBacking(t)
//		storetest.Run(t, func(t *testing.T) store.Store {
//			return openStore(t, backing)
//		}, storetest.Shared())
//	}
//
// It imports the standard library and package store only. What it cannot
// see is what a store promises to survive: a crash, a restart, a failover.
// Those tests are the store's own.
package storetest

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/seed-498a1bc4/smartcar/store"
)

// An Option changes what [Run] may assume of the store.
type Option func(*options)

type options struct {
	shared bool
}

// Shared says that every call of open gives another handle on the same data,
// as several processes would have. The checks then write through one handle
// and read through another, and contend over several.
func Shared() Option { return func(o *options) { o.shared = true } }

const (
	// checkTime ends a check whose store hangs.
	checkTime = 2 * time.Minute
	// sharedHandles are opened for contention.
	sharedHandles = 4
)

// Run runs the suite, one sub-test for each check.
//
// Open returns a handle ready for use, which the suite uses from several
// goroutines. It is called at least once in each sub-test, with the sub-test's
// t, whose Cleanup is the place to close the handle; what the handles share
// has to live longer, so it belongs to the caller's t. Without [Shared] the
// suite opens one handle in each sub-test and assumes nothing about two.
//
// What a store that can list has to keep, see [store.Lister], is checked of one that is a
// Lister, unless it returns [store.ErrCannotList].
//
// The suite uses keys of its own, new in each run, and removes them, so that it
// can run against a store that holds other records. The checks that wait for
// records to expire come last and all at once, open included: together they
// take about five seconds.
func Run(t *testing.T, open func(t *testing.T) store.Store, opts ...Option) {
	t.Helper()
	var o options
	for _, opt := range opts {
		opt(&o)
	}
	run := func(c check) {
		t.Run(c.name, func(t *testing.T) {
			runCheck(t.Context(), t, c, o, func() store.Store { return open(t) })
		})
	}
	var waiting sync.WaitGroup
	for _, c := range checks() { // the slow ones stand last
		if c.slow {
			waiting.Go(func() { run(c) })
		} else {
			run(c)
		}
	}
	waiting.Wait()
}

// reporter is what the checks need of a [testing.T]. The suite's own tests put
// a recorder in its place, to see that broken stores are reported.
type reporter interface {
	Helper()
	Errorf(format string, args ...any)
	FailNow()
}

// A check looks at one promise of the contract.
type check struct {
	name string
	slow bool // waits for time to pass, beside the others that do
	run  func(ctx context.Context, s *suite)
}

func checks() []check {
	return []check{
		{name: "create", run: checkCreate},
		{name: "update", run: checkUpdate},
		{name: "conflict", run: checkConflict},
		{name: "conflict without a record", run: checkConflictAbsent},
		{name: "delete", run: checkDelete},
		{name: "revisions never repeat", run: checkRevisions},
		{name: "values", run: checkValues},
		{name: "values are copies", run: checkCopies},
		{name: "keys", run: checkKeys},
		{name: "context ended before", run: checkContextEnded},
		{name: "context ended meanwhile", run: checkContextEnds},
		{name: "handles share the data", run: checkShared},
		{name: "one winner", run: checkOneWinner},
		{name: "swap against delete", run: checkSwapAgainstDelete},
		{name: "chain of swaps", run: checkChain},
		{name: "list", run: checkList},
		{name: "list while records come and go", run: checkListMeanwhile},
		{name: "clock", slow: true, run: checkClock},
		{name: "ttl", slow: true, run: checkTTL},
		{name: "ttl of zero", slow: true, run: checkNoTTL},
		{name: "ttl of next to nothing", slow: true, run: checkTinyTTL},
		{name: "swap renews the ttl", slow: true, run: checkRenewedTTL},
		{name: "swap sets and clears the ttl", slow: true, run: checkChangedTTL},
		{name: "conflict keeps the ttl", slow: true, run: checkConflictTTL},
	}
}

// suite is one run of one check.
type suite struct {
	reporter
	shared bool
	open   func() store.Store
	store  store.Store
	run    string   // in every key
	keys   []string // to be removed
}

func runCheck(ctx context.Context, r reporter, c check, o options, open func() store.Store) {
	r.Helper()
	ctx, cancel := context.WithTimeout(ctx, checkTime)
	defer cancel()
	s := &suite{reporter: r, shared: o.shared, open: open, store: open(), run: rand.Text()}
	if s.store == nil {
		s.fatalf("open returned no store")
	}
	defer s.cleanUp(ctx)
	c.run(ctx, s)
}

// handles are several handles on the same data; without Shared the one there is,
// again and again.
func (s *suite) handles() []store.Store {
	stores := []store.Store{s.store}
	for len(stores) < sharedHandles {
		if s.shared {
			stores = append(stores, s.open())
		} else {
			stores = append(stores, s.store)
		}
	}
	return stores
}

// key returns a key that no other check and no other run uses.
func (s *suite) key(name string) string {
	return s.track("storetest/" + s.run + "/" + name)
}

// keep has the key removed in the end.
func (s *suite) track(key string) string {
	s.keys = append(s.keys, key)
	return key
}

func (s *suite) cleanUp(ctx context.Context) {
	for _, key := range s.keys {
		if r, err := s.store.Load(ctx, key); err == nil {
			_ = s.store.Delete(ctx, key, r.Revision) // best effort: the check has reported
		}
	}
}

func (s *suite) fatalf(format string, args ...any) {
	s.Helper()
	s.Errorf(format, args...)
	s.FailNow()
}

// write is a swap that has to succeed.
func (s *suite) write(ctx context.Context, key string, old store.Revision, value string, ttl time.Duration) store.Record {
	s.Helper()
	r, err := s.store.CompareAndSwap(ctx, key, old, []byte(value), ttl)
	if err != nil {
		s.fatalf("CompareAndSwap at revision %q: %v", old, err)
	}
	s.wantWritten(r, old, value)
	return r
}

// wantWritten checks the record that a successful swap returned.
func (s *suite) wantWritten(r store.Record, old store.Revision, value string) {
	s.Helper()
	switch {
	case r.Revision == "":
		s.fatalf("CompareAndSwap returned a record without a revision")
	case r.Revision == old:
		s.fatalf("CompareAndSwap returned the revision it replaced, %q", old)
	case string(r.Value) != value:
		s.Errorf("CompareAndSwap returned the value %s, not the one written, %s", short(r.Value), short([]byte(value)))
	}
}

// wantStored checks that want is what a Load finds.
func (s *suite) wantStored(ctx context.Context, under store.Store, key string, want store.Record) {
	s.Helper()
	r, err := under.Load(ctx, key)
	if err != nil {
		s.Errorf("Load of a stored record: %v", err)
		return
	}
	s.wantSame("Load", r, want)
}

func (s *suite) wantSame(call string, got, want store.Record) {
	s.Helper()
	if got.Revision != want.Revision || !bytes.Equal(got.Value, want.Value) {
		s.Errorf("%s returned %s, want %s", call, describe(got), describe(want))
	}
}

// wantAbsent checks that a Load finds nothing.
func (s *suite) wantAbsent(ctx context.Context, under store.Store, key string) {
	s.Helper()
	r, err := under.Load(ctx, key)
	switch {
	case err == nil:
		s.Errorf("Load found %s, want ErrNotFound", describe(r))
	case !errors.Is(err, store.ErrNotFound):
		s.Errorf("Load of an absent record: %v, want ErrNotFound", err)
	case r.Revision != "" || len(r.Value) > 0:
		s.Errorf("Load returned %s beside ErrNotFound", describe(r))
	}
}

// wantConflict checks what a swap at the wrong revision answered. The zero want
// stands for an absent record.
func (s *suite) wantConflict(got store.Record, err error, want store.Record) {
	s.Helper()
	if !errors.Is(err, store.ErrConflict) {
		s.Errorf("CompareAndSwap at a wrong revision: %v, want ErrConflict", err)
		return
	}
	s.wantSame("CompareAndSwap beside ErrConflict", got, want)
}

func describe(r store.Record) string {
	if r.Revision == "" && len(r.Value) == 0 {
		return "no record"
	}
	return fmt.Sprintf("revision %q with the value %s", r.Revision, short(r.Value))
}

// short quotes the beginning of a value.
func short(value []byte) string {
	if len(value) <= 40 {
		return fmt.Sprintf("%q", value)
	}
	return fmt.Sprintf("%q... (%d bytes)", value[:40], len(value))
}

// pause waits for d, or less if the context ends.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
