package storetest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/seed-498a1bc4/smartcar/store"
)

func checkCreate(ctx context.Context, s *suite) {
	key := s.key("new")
	s.wantAbsent(ctx, s.store, key)
	first := s.write(ctx, key, "", "first", 0)
	s.wantStored(ctx, s.store, key, first)
	got, err := s.store.CompareAndSwap(ctx, key, "", []byte("second"), 0)
	s.wantConflict(got, err, first)
	s.wantStored(ctx, s.store, key, first)
}

func checkUpdate(ctx context.Context, s *suite) {
	key, other := s.key("one"), s.key("other")
	bystander := s.write(ctx, other, "", "bystander", 0)
	r := s.write(ctx, key, "", "0", 0)
	for i := range 5 {
		r = s.write(ctx, key, r.Revision, fmt.Sprint(i+1), 0)
		s.wantStored(ctx, s.store, key, r)
	}
	s.wantStored(ctx, s.store, other, bystander)
}

func checkConflict(ctx context.Context, s *suite) {
	key, other := s.key("one"), s.key("other")
	foreign := s.write(ctx, other, "", "foreign", 0)
	old := s.write(ctx, key, "", "old", 0)
	current := s.write(ctx, key, old.Revision, "current", 0)
	for _, wrong := range []store.Revision{"", old.Revision, foreign.Revision, "never-a-revision"} {
		got, err := s.store.CompareAndSwap(ctx, key, wrong, []byte("intruder"), time.Minute)
		s.wantConflict(got, err, current)
		s.wantStored(ctx, s.store, key, current)
	}
	s.wantStored(ctx, s.store, other, foreign)
	s.write(ctx, key, current.Revision, "next", 0)
}

func checkConflictAbsent(ctx context.Context, s *suite) {
	key, other := s.key("absent"), s.key("other")
	foreign := s.write(ctx, other, "", "foreign", 0)
	for _, wrong := range []store.Revision{foreign.Revision, "never-a-revision"} {
		got, err := s.store.CompareAndSwap(ctx, key, wrong, []byte("intruder"), time.Minute)
		s.wantConflict(got, err, store.Record{})
		s.wantAbsent(ctx, s.store, key)
	}
	gone := s.write(ctx, key, "", "short life", 0)
	s.remove(ctx, key, gone.Revision)
	got, err := s.store.CompareAndSwap(ctx, key, gone.Revision, []byte("revived"), 0)
	s.wantConflict(got, err, store.Record{})
	s.wantAbsent(ctx, s.store, key)
}

// remove is a Delete that has to succeed.
func (s *suite) remove(ctx context.Context, key string, revision store.Revision) {
	s.Helper()
	if err := s.store.Delete(ctx, key, revision); err != nil {
		s.fatalf("Delete at the current revision: %v", err)
	}
}

func checkDelete(ctx context.Context, s *suite) {
	key, other := s.key("one"), s.key("other")
	bystander := s.write(ctx, other, "", "bystander", 0)
	for _, revision := range []store.Revision{"", bystander.Revision, "never-a-revision"} {
		if err := s.store.Delete(ctx, key, revision); err != nil {
			s.Errorf("Delete of an absent record: %v, want no error", err)
		}
	}
	old := s.write(ctx, key, "", "old", 0)
	current := s.write(ctx, key, old.Revision, "current", 0)
	for _, wrong := range []store.Revision{"", old.Revision, bystander.Revision, "never-a-revision"} {
		if err := s.store.Delete(ctx, key, wrong); !errors.Is(err, store.ErrConflict) {
			s.Errorf("Delete at a wrong revision: %v, want ErrConflict", err)
		}
		s.wantStored(ctx, s.store, key, current)
	}
	s.remove(ctx, key, current.Revision)
	s.wantAbsent(ctx, s.store, key)
	s.remove(ctx, key, current.Revision) // again: absent is no error
	s.wantStored(ctx, s.store, other, bystander)
}

func checkRevisions(ctx context.Context, s *suite) {
	key := s.key("one")
	seen := make(map[store.Revision]bool)
	var r store.Record
	for i := range 60 {
		r = s.write(ctx, key, r.Revision, "always the same", 0)
		if seen[r.Revision] {
			s.fatalf("revision %q came twice for one key: writes since: %d", r.Revision, len(seen))
		}
		seen[r.Revision] = true
		if i%3 == 2 { // every third write is followed by a new life of the key
			s.remove(ctx, key, r.Revision)
			r = store.Record{}
		}
	}
	current := s.write(ctx, key, "", "always the same", 0)
	for old := range seen {
		got, err := s.store.CompareAndSwap(ctx, key, old, []byte("intruder"), 0)
		s.wantConflict(got, err, current)
	}
}

func checkShared(ctx context.Context, s *suite) {
	key := s.key("one")
	stores := s.handles()
	var r store.Record
	for i := range 5 * len(stores) {
		var err error
		value := fmt.Sprint(i)
		old := r.Revision
		if r, err = stores[i%len(stores)].CompareAndSwap(ctx, key, old, []byte(value), 0); err != nil {
			s.fatalf("CompareAndSwap at the revision that another handle wrote: %v", err)
		}
		s.wantWritten(r, old, value)
		for _, reader := range stores {
			s.wantStored(ctx, reader, key, r)
		}
		got, err := stores[(i+1)%len(stores)].CompareAndSwap(ctx, key, "", []byte("intruder"), 0)
		s.wantConflict(got, err, r)
	}
	if s.shared {
		stores = append(stores, s.open()) // a process that starts later
	}
	s.wantStored(ctx, stores[len(stores)-1], key, r)
	if err := stores[len(stores)-1].Delete(ctx, key, r.Revision); err != nil {
		s.Errorf("Delete of what another handle wrote: %v", err)
	}
	for _, reader := range stores {
		s.wantAbsent(ctx, reader, key)
	}
}
