// Package store is the contract between package smartcar and the database that
// keeps its tokens and what it knows of cars, with two implementations:
// [Memory], which nothing survives, and [Sealed], which encrypts what another
// store keeps. The packages sqlstore and redisstore implement it for databases;
// storetest checks an implementation of your own.
package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/seed-498a1bc4/smartcar/internal/losable"
)

// What a [Store] answers beside a record.
var (
	// ErrNotFound: nothing is stored under the key, or it has expired.
	ErrNotFound = errors.New("smartcar: no such record")
	// ErrConflict: the record is not at the revision the caller named.
	ErrConflict = errors.New("smartcar: record was changed by somebody else")
	// ErrCannotList: the store is no [Lister].
	ErrCannotList = errors.New("smartcar: this store cannot list what it holds")
)

// A Revision names one write of one record. Revisions are opaque, and never
// come again: a record that expired and was made anew has a revision never
// seen before, so counters that start at one will not do. The zero Revision
// means "no record".
type Revision string

// A Record is what a [Store] holds under a key.
type Record struct {
	Value    []byte   // the caller's to keep and change
	Revision Revision // never empty for a stored record
	// Now is the store's own clock, read while it answered. A store that
	// several machines share must give it: windows and leases are judged by
	// it. It stands in every Record that is returned, also beside
	// ErrNotFound and ErrConflict. Zero makes the client use its own clock.
	Now time.Time
	// Outdated asks for the record to be written anew when there is an occasion:
	// [Sealed] says so of what an older key has sealed.
	Outdated bool
}

// Format prints the size and not the value, which may hold tokens.
func (r Record) Format(f fmt.State, _ rune) {
	_, _ = fmt.Fprintf(f, "store.Record(%d bytes)", len(r.Value))
}

// A Store keeps tokens, Connect states and the state of the policy. It only
// compares and swaps: what the bytes mean is decided by package smartcar.
//
// All methods are called concurrently, from every process that shares the
// store, and must honor ctx. A write that was answered without error must
// be seen by every later Load, in every process, and must survive whatever the
// store promises to survive: a lost write can cost a car its window or a user
// its login. Any other failure than the two named errors is passed on, wrapped
// in smartcar.ErrStore; after it the write may have happened, or may still land, and
// the client finds out by swapping again.
//
// Keys are up to 512 bytes of printable UTF-8. Values hold secrets
// (tokens): wrap a store that others can read.
type Store interface {
	// Load returns the record under key, or [ErrNotFound].
	Load(ctx context.Context, key string) (Record, error)
	// CompareAndSwap writes value under key if the record is at revision old,
	// where the zero Revision means that there must be none, and returns the
	// record as written. Otherwise it changes nothing and returns
	// [ErrConflict] with the current record, without value and revision if
	// there is none; so it does for a revision that this store never gave.
	// After ttl, rounded up to what the store can count, the record is gone; a
	// ttl of zero keeps it.
	CompareAndSwap(ctx context.Context, key string, old Revision, value []byte, ttl time.Duration) (Record, error)
	// Delete removes the record if it is at revision old, else it returns
	// [ErrConflict]. A record that is absent is no error.
	Delete(ctx context.Context, key string, old Revision) error
}

// A Lister is a [Store] that can also say what it holds. It is optional: nothing but
// smartcar.Client.Vehicles needs it, and no promise of the policy depends on it.
type Lister interface {
	// List returns a page of the keys that begin with prefix, and the cursor of the
	// next page, which is empty after the last one. The first page has the empty cursor;
	// another cursor belongs to the prefix it was returned for. How many keys a page
	// has, which may be none, is up to the store.
	//
	// A record without a ttl that exists from the first page to the last is listed at
	// least once. A key may come twice, in any order, and after its record is gone.
	// Records with a ttl, and those that come or go meanwhile, may be listed or not.
	// List is called concurrently, and must honor ctx. A store that wraps others returns
	// [ErrCannotList] if those cannot list.
	List(ctx context.Context, prefix, cursor string) (keys []string, next string, err error)
}

// MayBeLost is for a [Store] that can answer sooner when a write need not
// survive a crash of its own: it reports whether the write that ctx was given to
// is one of those. Such is the end of a turn: without it the turn counts as used
// until its lease is over, which costs a little time and breaks no window. Every
// later Load has to see the write all the same.
func MayBeLost(ctx context.Context) bool {
	return losable.Is(ctx)
}
