package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"

	"github.com/seed-498a1bc4/smartcar/store"
)

const (
	contenders    = 8
	swapsOfEach   = 25
	contestRounds = 15
)

// contend calls f in n goroutines at once, and waits for them.
func contend(n int, f func(i int)) {
	var wg sync.WaitGroup
	start := make(chan struct{})
	for i := range n {
		wg.Go(func() {
			<-start
			f(i)
		})
	}
	close(start)
	wg.Wait()
}

// checkOneWinner lets goroutines create one record, and then swap it at one
// revision, all at once.
func checkOneWinner(ctx context.Context, s *suite) {
	stores := s.handles()
	for round := range contestRounds {
		key := s.key(fmt.Sprint(round))
		created := contest(ctx, s, stores, key, "")
		contest(ctx, s, stores, key, created.Revision)
	}
}

// contest returns the record of the one swap that succeeded.
func contest(ctx context.Context, s *suite, stores []store.Store, key string, old store.Revision) store.Record {
	s.Helper()
	var records [contenders]store.Record
	var errs [contenders]error
	contend(contenders, func(i int) {
		records[i], errs[i] = stores[i%len(stores)].CompareAndSwap(ctx, key, old, fmt.Append(nil, i), 0)
	})
	winner := -1
	for i, err := range errs {
		switch {
		case err == nil && winner >= 0:
			s.fatalf("two concurrent swaps of the revision %q succeeded: a write is lost", old)
		case err == nil:
			winner = i
		}
	}
	if winner < 0 {
		s.fatalf("of %d concurrent swaps of the revision %q none succeeded: %v", contenders, old, errs[0])
	}
	s.wantWritten(records[winner], old, fmt.Sprint(winner))
	for i, err := range errs {
		if i != winner {
			s.wantConflict(records[i], err, records[winner])
		}
	}
	s.wantStored(ctx, s.store, key, records[winner])
	return records[winner]
}

func checkSwapAgainstDelete(ctx context.Context, s *suite) {
	stores := s.handles()
	for round := range contestRounds {
		key := s.key(fmt.Sprint(round))
		r := s.write(ctx, key, "", "contested", 0)
		var swapped store.Record
		var swapErr, deleteErr error
		contend(2, func(i int) {
			under := stores[(round+i)%len(stores)]
			if i == round%2 { // schedulers prefer one of two: let each come first
				swapped, swapErr = under.CompareAndSwap(ctx, key, r.Revision, []byte("swapped"), 0)
			} else {
				deleteErr = under.Delete(ctx, key, r.Revision)
			}
		})
		switch {
		case swapErr == nil && errors.Is(deleteErr, store.ErrConflict):
			s.wantStored(ctx, s.store, key, swapped)
		case deleteErr == nil && errors.Is(swapErr, store.ErrConflict):
			s.wantSame("CompareAndSwap of a deleted record", swapped, store.Record{})
			s.wantAbsent(ctx, s.store, key)
		default:
			s.fatalf("a swap and a delete of one revision: %v and %v, want exactly one to succeed", swapErr, deleteErr)
		}
	}
}

// link is one successful swap.
type link struct {
	old, written store.Revision
	entry        string
}

// checkChain lets goroutines append to one value. Every revision must be the
// old one of one successful swap at most, and the value must hold every entry,
// in the order of the chain.
func checkChain(ctx context.Context, s *suite) {
	key := s.key("chain")
	stores := s.handles()
	var links [contenders][]link
	var errs [contenders]error
	contend(contenders, func(i int) {
		links[i], errs[i] = appendEntries(ctx, stores[i%len(stores)], key, i)
	})
	if err := errors.Join(errs[:]...); err != nil {
		s.fatalf("%v", err)
	}
	successors := make(map[store.Revision]link)
	for _, l := range links {
		for _, l := range l {
			if _, twice := successors[l.old]; twice {
				s.fatalf("two swaps of the revision %q succeeded: a write is lost", l.old)
			}
			successors[l.old] = l
		}
	}
	var revision store.Revision
	var value []byte
	for range contenders * swapsOfEach {
		next, ok := successors[revision]
		if !ok {
			s.fatalf("nobody wrote over the revision %q, and yet it is not the last", revision)
		}
		revision, value = next.written, append(value, next.entry...)
	}
	s.wantStored(ctx, s.store, key, store.Record{Value: value, Revision: revision})
}

// appendEntries appends to the value until all entries are in.
func appendEntries(ctx context.Context, under store.Store, key string, worker int) ([]link, error) {
	var links []link
	current, err := under.Load(ctx, key)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return nil, fmt.Errorf("a load: %w", err)
	}
	for len(links) < swapsOfEach {
		entry := fmt.Sprintf("%d.%d;", worker, len(links))
		value := append(bytes.Clone(current.Value), entry...)
		runtime.Gosched() // so that others come between, however fast the store is
		written, err := under.CompareAndSwap(ctx, key, current.Revision, value, 0)
		switch {
		case err == nil && !bytes.Equal(written.Value, value):
			return nil, fmt.Errorf("CompareAndSwap returned %s for a write of %s", describe(written), short(value))
		case err == nil:
			links = append(links, link{current.Revision, written.Revision, entry})
		case !errors.Is(err, store.ErrConflict):
			return nil, fmt.Errorf("CompareAndSwap: %w", err)
		case written.Revision == current.Revision:
			return nil, fmt.Errorf("CompareAndSwap refused revision %q and named it as the current one", current.Revision)
		case len(written.Value) <= len(current.Value):
			return nil, fmt.Errorf("the value went from %d bytes to %d: a write is lost", len(current.Value), len(written.Value))
		}
		current = written
		if err == nil && len(links)%2 == 0 { // by turns from an answer and from a Load
			if current, err = under.Load(ctx, key); err != nil {
				return nil, fmt.Errorf("a load: %w", err)
			}
		}
	}
	return links, nil
}
