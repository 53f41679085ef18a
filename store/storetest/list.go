package storetest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/seed-498a1bc4/smartcar/store"
)

// maxPages ends a list that has no end.
const maxPages = 100_000

// lister returns the store as one that can list; false if it cannot, which is no fault.
func (s *suite) lister(ctx context.Context, db store.Store) (store.Lister, bool) {
	s.Helper()
	l, ok := db.(store.Lister)
	if !ok {
		return nil, false
	}
	_, _, err := l.List(ctx, s.prefix(), "")
	switch {
	case errors.Is(err, store.ErrCannotList):
		return nil, false
	case err != nil:
		s.fatalf("List: %v", err)
	}
	return l, true
}

func (s *suite) prefix() string { return "storetest/" + s.run + "/" }

// list returns how often each key came.
func (s *suite) list(ctx context.Context, l store.Lister, prefix string, between func()) map[string]int {
	s.Helper()
	found := make(map[string]int)
	cursor := ""
	for range maxPages {
		keys, next, err := l.List(ctx, prefix, cursor)
		if err != nil {
			s.fatalf("List of a page: %v", err)
		}
		for _, key := range keys {
			if !strings.HasPrefix(key, prefix) {
				s.Errorf("List of %q returned %q", prefix, key)
			}
			found[key]++
		}
		if next == "" {
			return found
		}
		cursor = next
		between()
	}
	s.fatalf("List did not end after %d pages", maxPages)
	return nil
}

func (s *suite) wantListed(found map[string]int, keys ...string) {
	s.Helper()
	for _, key := range keys {
		if found[key] == 0 {
			s.Errorf("List did not return %q, which was there all the time", key)
		}
	}
}

func checkList(ctx context.Context, s *suite) {
	l, ok := s.lister(ctx, s.store)
	if !ok {
		return
	}
	nothing := func() {}
	if found := s.list(ctx, l, s.prefix(), nothing); len(found) > 0 {
		s.Errorf("List of a prefix that nobody has used returned %d keys", len(found))
	}
	const many = 1100 // more than a page of most stores
	keys := make([]string, 0, many)
	for i := range many {
		key := s.key(fmt.Sprintf("many/%04d", i))
		s.write(ctx, key, "", "x", 0)
		keys = append(keys, key)
	}
	before, after, twin := s.key("man"), s.key("many0"), s.key("many")
	for _, key := range []string{before, after, twin} {
		s.write(ctx, key, "", "x", 0)
	}
	for _, db := range s.handles() {
		reader, ok := db.(store.Lister)
		if !ok {
			s.fatalf("another handle cannot list")
		}
		found := s.list(ctx, reader, s.prefix()+"many/", nothing)
		s.wantListed(found, keys...)
		if len(found) != many {
			s.Errorf("List returned %d keys, want %d", len(found), many)
		}
	}
	s.wantListed(s.list(ctx, l, s.prefix(), nothing), before, after, twin, keys[0], keys[many-1])

	// A new value is no new record, and a deleted record is not listed for good.
	changed, err := s.store.Load(ctx, keys[0])
	if err != nil {
		s.fatalf("Load: %v", err)
	}
	s.write(ctx, keys[0], changed.Revision, "y", 0)
	for _, key := range keys[1:] {
		r, err := s.store.Load(ctx, key)
		if err != nil {
			s.fatalf("Load: %v", err)
		}
		s.remove(ctx, key, r.Revision)
	}
	if found := s.list(ctx, l, s.prefix()+"many/", nothing); len(found) != 1 || found[keys[0]] == 0 {
		s.Errorf("List returned %d keys after all records but one were deleted", len(found))
	}
	ended, cancel := context.WithCancel(ctx)
	cancel()
	if _, _, err := l.List(ended, s.prefix(), ""); !errors.Is(err, context.Canceled) {
		s.Errorf("List with a canceled context: %v, want context.Canceled", err)
	}
}

// checkListMeanwhile makes and deletes records while others are listed, and makes one
// again that was just deleted: none that is there is missed.
func checkListMeanwhile(ctx context.Context, s *suite) {
	l, ok := s.lister(ctx, s.store)
	if !ok {
		return
	}
	const kept, rounds = 1050, 50
	keys := make([]string, 0, kept)
	for i := range kept {
		key := s.key(fmt.Sprintf("kept/%d", i))
		s.write(ctx, key, "", "x", 0)
		keys = append(keys, key)
	}
	again := s.key("again")
	var workers sync.WaitGroup
	for _, db := range s.handles() {
		workers.Go(func() {
			for range rounds { // whoever loses a race does the next step
				r, err := db.Load(ctx, again)
				if err == nil {
					_ = db.Delete(ctx, again, r.Revision)
				} else {
					_, _ = db.CompareAndSwap(ctx, again, "", []byte("x"), 0)
				}
			}
		})
	}
	for range 3 {
		passing := s.key("a key that comes first") // it is gone from the second page on
		r := s.write(ctx, passing, "", "x", 0)
		between := func() { _ = s.store.Delete(ctx, passing, r.Revision) }
		s.wantListed(s.list(ctx, l, s.prefix(), between), keys...)
	}
	workers.Wait()
	switch _, err := s.store.Load(ctx, again); {
	case errors.Is(err, store.ErrNotFound):
		s.write(ctx, again, "", "x", 0)
	case err != nil:
		s.fatalf("Load: %v", err)
	}
	s.wantListed(s.list(ctx, l, again, func() {}), again)
}
