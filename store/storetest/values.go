package storetest

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/seed-498a1bc4/smartcar/store"
)

func checkValues(ctx context.Context, s *suite) {
	every := make([]byte, 256)
	for i := range every {
		every[i] = byte(i)
	}
	large := make([]byte, 256<<10)
	_, _ = rand.Read(large) // never fails; see crypto/rand
	for name, value := range map[string][]byte{
		"nil":               nil,
		"empty":             {},
		"zero byte":         {0},
		"zero bytes around": {0, 'a', 0, 0, 'b', 0},
		"every byte":        every,
		"not UTF-8":         {0xff, 0xfe, 0xc0, 0x80},
		"line ends":         []byte("\r\n\n\r"),
		"JSON":              []byte(`{"a":"\u0000 ' \" %s $1 ?"}`),
		"256 KiB of zeros":  make([]byte, 256<<10),
		"256 KiB":           large,
	} {
		key := s.key(name)
		for _, before := range []string{"", "another value"} {
			var old store.Revision
			if before != "" {
				r, err := s.store.Load(ctx, key)
				if err != nil {
					s.fatalf("Load of the value %q: %v", name, err)
				}
				old = s.write(ctx, key, r.Revision, before, 0).Revision
			}
			r, err := s.store.CompareAndSwap(ctx, key, old, value, 0)
			if err != nil {
				s.fatalf("CompareAndSwap with the value %q: %v", name, err)
			}
			s.wantWritten(r, old, string(value))
			s.wantStored(ctx, s.store, key, r)
			got, err := s.store.CompareAndSwap(ctx, key, "", []byte("intruder"), 0)
			s.wantConflict(got, err, r)
		}
	}
}

// checkCopies writes over every slice it gave or got: none may be the store's.
func checkCopies(ctx context.Context, s *suite) {
	key := s.key("one")
	want := []byte("the value as it was written")
	given := bytes.Clone(want)
	written, err := s.store.CompareAndSwap(ctx, key, "", given, 0)
	if err != nil {
		s.fatalf("CompareAndSwap: %v", err)
	}
	stored := store.Record{Value: want, Revision: written.Revision}
	scratch := func(value []byte) {
		for i := range value {
			value[i] = 'x'
		}
	}
	scratch(given)
	s.wantSame("CompareAndSwap, whose argument was changed later,", written, stored)
	s.wantStored(ctx, s.store, key, stored)
	scratch(written.Value)
	s.wantStored(ctx, s.store, key, stored)
	loaded, err := s.store.Load(ctx, key)
	if err != nil {
		s.fatalf("Load: %v", err)
	}
	scratch(loaded.Value)
	_ = append(loaded.Value, 'x')
	s.wantStored(ctx, s.store, key, stored)
	current, err := s.store.CompareAndSwap(ctx, key, "", given, 0)
	s.wantConflict(current, err, stored)
	scratch(current.Value)
	s.wantStored(ctx, s.store, key, stored)
}

func oddNames() []string {
	return []string{
		"a", "A", "aa", "a/b", "a//b", "a/../b", "../a", "a.b", "a:b", "a::b",
		" a", "a ", "a b", "a  b", "a'b", `a"b`, "a`b", `a\b`, `a\\b`, "a;b--", "a,b",
		"a%b", "a_b", "a%25b", "a+b", "a?b", "a*b", "*", "a[b]", "a^b", "{a}b", "a{b}", "{}", "{", "}", "a#b", "a&b", "a=b",
		"$1", "%s", "a|b", "a<b>", "~a", "-a", "@a", "!a", "0", "00", "null", "NULL",
		"\u00e9", "e\u0301", "ß", "ss", "ı", "i", "ſ", "s", "汽车", "машина", "🚗", "🚗🔑", "\u200d🚗",
	}
}

func checkKeys(ctx context.Context, s *suite) {
	var keys []string
	for _, odd := range oddNames() {
		// Odd at both ends, and between two names that many share.
		keys = append(keys, s.track(odd+s.run+odd), s.key(odd))
	}
	long := s.key("")
	long += strings.Repeat("l", 511-len(long))
	keys = append(keys, s.track(long+"1"), s.track(long+"2"), s.track(long))
	wide := s.key("wide/")
	keys = append(keys, s.track(wide+strings.Repeat("車", (512-len(wide))/len("車"))))

	records := make(map[string]store.Record, len(keys))
	for i, key := range keys {
		if _, twice := records[key]; twice {
			continue
		}
		s.wantAbsent(ctx, s.store, key)
		r, err := s.store.CompareAndSwap(ctx, key, "", fmt.Append(nil, i), 0)
		if err != nil {
			s.fatalf("creating the key %q: %v with %s", key, err, describe(r))
		}
		records[key] = r
	}
	for key, want := range records {
		s.wantStored(ctx, s.store, key, want)
	}
	for key, r := range records {
		s.remove(ctx, key, r.Revision)
		s.wantAbsent(ctx, s.store, key)
		delete(records, key)
		if len(records)%10 == 0 {
			for other, want := range records {
				s.wantStored(ctx, s.store, other, want)
			}
		}
	}
}

func checkContextEnded(ctx context.Context, s *suite) {
	key, absent := s.key("one"), s.key("absent")
	r := s.write(ctx, key, "", "before", 0)
	unchanged := func() {
		s.wantStored(ctx, s.store, key, r)
		s.wantAbsent(ctx, s.store, absent)
	}
	canceled, cancel := context.WithCancel(ctx)
	cancel()
	s.wantRefused(canceled, key, absent, r.Revision)
	unchanged()
	expired, cancel := context.WithDeadline(ctx, time.Now().Add(-time.Hour))
	defer cancel()
	s.wantRefused(expired, key, absent, r.Revision)
	unchanged()
	s.write(ctx, key, r.Revision, "after", 0) // the store has not been broken by it
}

// wantRefused calls everything with a context that has ended.
func (s *suite) wantRefused(ended context.Context, key, absent string, revision store.Revision) {
	s.Helper()
	_, err := s.store.Load(ended, key)
	s.wantEnded("Load", ended, err)
	_, err = s.store.Load(ended, absent)
	s.wantEnded("Load of an absent record", ended, err)
	_, err = s.store.CompareAndSwap(ended, key, revision, []byte("after"), 0)
	s.wantEnded("CompareAndSwap", ended, err)
	_, err = s.store.CompareAndSwap(ended, key, "", []byte("after"), 0)
	s.wantEnded("CompareAndSwap at a wrong revision", ended, err)
	_, err = s.store.CompareAndSwap(ended, absent, "", []byte("after"), 0)
	s.wantEnded("CompareAndSwap that creates", ended, err)
	s.wantEnded("Delete", ended, s.store.Delete(ended, key, revision))
}

func (s *suite) wantEnded(call string, ended context.Context, err error) {
	s.Helper()
	if !errors.Is(err, ended.Err()) {
		s.Errorf("%s with an ended context: %v, want %v", call, err, ended.Err())
	}
	if errors.Is(err, store.ErrConflict) || errors.Is(err, store.ErrNotFound) {
		s.Errorf("%s with an ended context claims to know the record: %v", call, err)
	}
}

// checkContextEnds cancels swaps under way. What was answered without error is
// stored; what failed is stored or not, and nothing else is.
func checkContextEnds(ctx context.Context, s *suite) {
	key := s.key("one")
	current := s.write(ctx, key, "", "0", 0)
	for i := range 100 {
		value := fmt.Sprint(i + 1)
		brief, cancel := context.WithTimeout(ctx, time.Duration(i)*10*time.Microsecond)
		written, err := s.store.CompareAndSwap(brief, key, current.Revision, []byte(value), 0)
		ended := brief.Err()
		cancel()
		stored, loadErr := s.store.Load(ctx, key)
		switch {
		case loadErr != nil:
			s.fatalf("Load after a swap that was cut off: %v", loadErr)
		case err == nil:
			s.wantWritten(written, current.Revision, value)
			s.wantSame("Load", stored, written)
		case ended == nil && !errors.Is(err, context.DeadlineExceeded):
			s.fatalf("CompareAndSwap: %v", err)
		case errors.Is(err, store.ErrConflict):
			s.fatalf("CompareAndSwap that was cut off returned ErrConflict, but nobody else writes")
		case stored.Revision != current.Revision && string(stored.Value) != value:
			s.fatalf("Load found %s after a swap from %s to %q that was cut off", describe(stored), describe(current), value)
		}
		current = stored
	}
}
