package storetest

import (
	"context"
	"errors"
	"time"

	"github.com/seed-498a1bc4/smartcar/store"
)

const (
	// shortTTL leaves room for stores that count in seconds.
	shortTTL = 2 * time.Second
	// expiryGrace is how late a record may go.
	expiryGrace = 3 * time.Second
	// longTTL must not be cut off by a counter of milliseconds in 32 bits.
	longTTL = 90 * 24 * time.Hour
	// saneClock bounds the difference between the store's clock and ours.
	saneClock = 10 * time.Minute
)

// wantGone waits until the record written before with ttl has expired.
func (s *suite) wantGone(ctx context.Context, key string, written time.Time, ttl time.Duration) {
	s.Helper()
	for {
		_, err := s.store.Load(ctx, key)
		switch {
		case errors.Is(err, store.ErrNotFound):
			s.wantAbsent(ctx, s.store, key)
			return
		case err != nil:
			s.fatalf("Load of an expiring record: %v", err)
		case time.Since(written) > ttl+expiryGrace:
			s.fatalf("a record with a ttl of %v is still there %v after it was written", ttl, time.Since(written).Round(time.Millisecond))
		}
		pause(ctx, 20*time.Millisecond)
	}
}

// wantAlive checks that the record is there well before its end. On a machine
// too busy to ask in time it proves nothing, and says nothing.
func (s *suite) wantAlive(ctx context.Context, key string, asked time.Time, ttl time.Duration, want store.Record) {
	s.Helper()
	r, err := s.store.Load(ctx, key)
	if time.Since(asked) > ttl/2 {
		return
	}
	if err != nil {
		s.fatalf("Load %v after a write with a ttl of %v: %v", time.Since(asked).Round(time.Millisecond), ttl, err)
	}
	s.wantSame("Load", r, want)
}

func checkTTL(ctx context.Context, s *suite) {
	key, idle := s.key("one"), s.key("never read")
	asked := time.Now()
	s.write(ctx, idle, "", "never read", shortTTL)
	old := s.write(ctx, key, "", "short life", shortTTL)
	written := time.Now()
	s.wantAlive(ctx, key, asked, shortTTL, old)
	pause(ctx, shortTTL/4)
	s.wantAlive(ctx, key, asked, shortTTL, old)
	s.wantGone(ctx, key, written, shortTTL)

	got, err := s.store.CompareAndSwap(ctx, key, old.Revision, []byte("revived"), 0)
	s.wantConflict(got, err, store.Record{})
	if err := s.store.Delete(ctx, key, old.Revision); err != nil {
		s.Errorf("Delete of an expired record: %v, want no error", err)
	}
	again := s.write(ctx, key, "", "short life", 0)
	if again.Revision == old.Revision {
		s.Errorf("revision %q came again after the record had expired", old.Revision)
	}
	got, err = s.store.CompareAndSwap(ctx, key, old.Revision, []byte("intruder"), 0)
	s.wantConflict(got, err, again)
	s.write(ctx, idle, "", "created where an expired record was", 0)
}

func checkNoTTL(ctx context.Context, s *suite) {
	forever, long := s.key("forever"), s.key("long")
	kept := s.write(ctx, forever, "", "kept", 0)
	lasting := s.write(ctx, long, "", "lasting", longTTL)
	pause(ctx, shortTTL+time.Second/2)
	s.wantStored(ctx, s.store, forever, kept)
	s.wantStored(ctx, s.store, long, lasting)
}

// checkTinyTTL: less than the store can count is not "for ever".
func checkTinyTTL(ctx context.Context, s *suite) {
	key := s.key("one")
	s.write(ctx, key, "", "gone at once", time.Nanosecond)
	s.wantGone(ctx, key, time.Now(), time.Nanosecond)
	s.write(ctx, key, "", "back", 0)
}

func checkRenewedTTL(ctx context.Context, s *suite) {
	key := s.key("one")
	r := s.write(ctx, key, "", "0", shortTTL)
	asked := time.Now()
	for range 2 {
		pause(ctx, shortTTL*7/10)
		began := time.Now()
		next, err := s.store.CompareAndSwap(ctx, key, r.Revision, []byte("renewed"), shortTTL)
		if errors.Is(err, store.ErrConflict) && time.Since(asked) > shortTTL {
			return // too busy a machine
		}
		if err != nil {
			s.fatalf("CompareAndSwap %v after a write with a ttl of %v: %v", time.Since(asked).Round(time.Millisecond), shortTTL, err)
		}
		r, asked = next, began
	}
	s.wantAlive(ctx, key, asked, shortTTL, r)
	s.wantGone(ctx, key, time.Now(), shortTTL)
}

func checkChangedTTL(ctx context.Context, s *suite) {
	cleared, set := s.key("cleared"), s.key("set")
	r := s.write(ctx, cleared, "", "mortal", longTTL)
	r = s.write(ctx, cleared, r.Revision, "mortal", shortTTL)
	r = s.write(ctx, cleared, r.Revision, "immortal", 0)
	mortal := s.write(ctx, set, "", "immortal", 0)
	s.write(ctx, set, mortal.Revision, "mortal", shortTTL)
	s.wantGone(ctx, set, time.Now(), shortTTL)
	pause(ctx, time.Second/2)
	s.wantStored(ctx, s.store, cleared, r)
}

// checkConflictTTL: a swap that is refused changes nothing, not even the ttl.
func checkConflictTTL(ctx context.Context, s *suite) {
	mortal, immortal := s.key("mortal"), s.key("immortal")
	kept := s.write(ctx, immortal, "", "kept", 0)
	s.write(ctx, mortal, "", "mortal", shortTTL)
	written := time.Now()
	for _, refused := range []struct {
		key string
		ttl time.Duration
	}{{mortal, 0}, {mortal, longTTL}, {immortal, time.Millisecond}} {
		_, err := s.store.CompareAndSwap(ctx, refused.key, "never-a-revision", []byte("intruder"), refused.ttl)
		if !errors.Is(err, store.ErrConflict) {
			s.Errorf("CompareAndSwap at a wrong revision: %v, want ErrConflict", err)
		}
	}
	s.wantGone(ctx, mortal, written, shortTTL)
	s.wantStored(ctx, s.store, immortal, kept)
}

// checkClock looks at Record.Now of a store that has a clock. A store that
// gives it with some answers only would have the client compare its own clock
// with the store's.
func checkClock(ctx context.Context, s *suite) {
	key, absent := s.key("one"), s.key("absent")
	stores := s.handles()
	r := s.write(ctx, key, "", "0", 0)
	has, last := !r.Now.IsZero(), r.Now
	see := func(call string, now time.Time) {
		s.Helper()
		switch {
		case now.IsZero() == has:
			s.Errorf("%s: Now is %v, and was %v with the answer before: every answer has it, or none", call, now, last)
		case !has:
		case now.Before(last):
			s.Errorf("%s: the store's clock went back from %v to %v", call, last, now)
		case time.Since(now).Abs() > saneClock:
			s.Errorf("%s: the store's clock says %v, ours %v", call, now, time.Now())
		}
		last = now
	}
	round := func(db store.Store) {
		loaded, err := db.Load(ctx, key)
		if err != nil {
			s.fatalf("Load: %v", err)
		}
		see("Load", loaded.Now)
		missing, _ := db.Load(ctx, absent)
		see("Load of an absent record", missing.Now)
		conflict, _ := db.CompareAndSwap(ctx, key, "", nil, 0)
		see("CompareAndSwap beside ErrConflict", conflict.Now)
		conflict, _ = db.CompareAndSwap(ctx, absent, loaded.Revision, nil, 0)
		see("CompareAndSwap of an absent record", conflict.Now)
		written, err := db.CompareAndSwap(ctx, key, loaded.Revision, []byte("1"), 0)
		if err != nil {
			s.fatalf("CompareAndSwap: %v", err)
		}
		see("CompareAndSwap", written.Now)
	}
	for i := range 10 * len(stores) {
		round(stores[i%len(stores)])
	}
	before := last
	pause(ctx, 3*time.Second/2)
	round(s.store)
	if has && !last.After(before) {
		s.Errorf("the store's clock stands still at %v", last)
	}
}
