package records

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/seed-498a1bc4/smartcar/store"
)

// space is a part of a store: the keys of its records begin with a name. A record that
// was stored before the store had parts is found under its old key, and stays there: so
// a process that knows of no parts works with the same one.
type space struct {
	store store.Store
	name  string
}

// NewSpace returns the part of a store with that name.
func NewSpace(s store.Store, name string) store.Store { return space{s, name} }

// oldKey marks the revisions of records that are found under their old key.
const oldKey = "old "

// marked is a record as it was found under its old key.
func marked(r store.Record) store.Record {
	if r.Revision != "" {
		r.Revision = oldKey + r.Revision
	}
	return r
}

// place is where the record with that revision is.
func (s space) place(key string, at store.Revision) (where string, revision store.Revision, old bool) {
	if revision, old := strings.CutPrefix(string(at), oldKey); old {
		return key, store.Revision(revision), true
	}
	return s.name + key, at, false
}

func (s space) Load(ctx context.Context, key string) (store.Record, error) {
	r, err := s.store.Load(ctx, s.name+key)
	if !errors.Is(err, store.ErrNotFound) {
		return r, err
	}
	old, oldErr := s.store.Load(ctx, key)
	if errors.Is(oldErr, store.ErrNotFound) {
		return r, err
	}
	return marked(old), oldErr
}

func (s space) CompareAndSwap(ctx context.Context, key string, at store.Revision, value []byte, ttl time.Duration) (store.Record, error) {
	where, revision, old := s.place(key, at)
	r, err := s.store.CompareAndSwap(ctx, where, revision, value, ttl)
	if old {
		r = marked(r)
	}
	return r, err
}

func (s space) Delete(ctx context.Context, key string, at store.Revision) error {
	where, revision, _ := s.place(key, at)
	return s.store.Delete(ctx, where, revision)
}

// List implements [store.Lister]. Records under their old keys are not listed: in a
// store with several applications nobody knows whose they are.
func (s space) List(ctx context.Context, prefix, cursor string) (keys []string, next string, err error) {
	lister, ok := s.store.(store.Lister)
	if !ok {
		return nil, "", store.ErrCannotList
	}
	keys, next, err = lister.List(ctx, s.name+prefix, cursor)
	for i := range keys {
		keys[i] = strings.TrimPrefix(keys[i], s.name)
	}
	return keys, next, err
}
