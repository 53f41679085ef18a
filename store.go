package smartcar

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"time"
)

// ErrRecordNotFound and ErrConflict are what a [Store] answers.
var (
	// ErrRecordNotFound: nothing is stored under the key, or it has expired.
	ErrRecordNotFound = errors.New("smartcar: no such record")
	// ErrConflict: the record is not at the revision the caller named.
	ErrConflict = errors.New("smartcar: record was changed by somebody else")
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
	// ErrRecordNotFound and ErrConflict. Zero makes the client use its own clock.
	Now time.Time
	// Outdated asks for the record to be written anew when there is an occasion:
	// a [SealedStore] says so of what an older key has sealed.
	Outdated bool
}

// Format prints the size and not the value, which may hold tokens.
func (r Record) Format(f fmt.State, _ rune) {
	_, _ = fmt.Fprintf(f, "smartcar.Record(%d bytes)", len(r.Value))
}

// A Store keeps tokens, Connect states and the state of the policy. It only
// compares and swaps: what the bytes mean is decided once, in this package.
//
// All methods are called concurrently, from every process that shares the
// store, and must honor ctx. A write that was answered without error must
// be seen by every later Load, in every process, and must survive whatever the
// store promises to survive: a lost write can cost a car its window or a user
// its login. Any other failure than the two named errors is passed on, wrapped
// in [ErrStore]; after it the write may have happened, or may still land, and
// the client finds out by swapping again.
//
// Keys are up to 512 bytes of printable UTF-8. Values hold secrets
// (tokens): wrap a store that others can read.
type Store interface {
	// Load returns the record under key, or [ErrRecordNotFound].
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

type losableKey struct{}

// losable marks a write as one that a crash of the store may take back.
func losable(ctx context.Context) context.Context {
	return context.WithValue(ctx, losableKey{}, true)
}

// MayBeLost is for a [Store] that can answer sooner when a write need not
// survive a crash of its own: it reports whether the write that ctx was given to
// is one of those. Such is the end of a turn: without it the turn counts as used
// until its lease is over, which costs a little time and breaks no window. Every
// later Load has to see the write all the same.
func MayBeLost(ctx context.Context) bool {
	_, ok := ctx.Value(losableKey{}).(bool)
	return ok
}

// MemoryStore keeps records in this process: nothing survives a restart and
// nothing is shared with other replicas. It is safe for concurrent use, starts
// no goroutine, and removes expired records as it is written to. The zero
// MemoryStore is empty and ready.
type MemoryStore struct {
	clock  func() time.Time // time.Now if nil
	shards [64]memoryShard
}

type memoryShard struct {
	mu      sync.Mutex
	records map[string]memoryRecord
	sweep   int // writes until expired records are looked for
}

// memoryRecord holds revision and value in one string: an allocation less for
// each of a million cars.
type memoryRecord struct {
	data    string
	expires int64 // nanoseconds since 1970; 0 = never
}

const (
	revisionSize = 8
	// maxMemoryTTL and more is for ever: nanoseconds since 1970 end in 2262.
	maxMemoryTTL = 100 * 365 * 24 * time.Hour
)

// NewMemoryStore returns an empty store.
func NewMemoryStore() *MemoryStore { return newMemoryStore(time.Now) }

func newMemoryStore(now func() time.Time) *MemoryStore {
	return &MemoryStore{clock: now}
}

func (m *MemoryStore) now() time.Time {
	if m.clock == nil {
		return time.Now()
	}
	return m.clock()
}

// shard spreads the keys by their FNV-1a hash.
func (m *MemoryStore) shard(key string) *memoryShard {
	hash := uint32(2166136261)
	for i := range len(key) {
		hash = (hash ^ uint32(key[i])) * 16777619
	}
	return &m.shards[hash%uint32(len(m.shards))]
}

// live returns the record under key unless it has expired. Call with s.mu held.
func (s *memoryShard) live(key string, now time.Time) (memoryRecord, bool) {
	r, ok := s.records[key]
	if ok && r.expires != 0 && now.UnixNano() >= r.expires {
		delete(s.records, key)
		return memoryRecord{}, false
	}
	return r, ok
}

func (r memoryRecord) record() Record {
	if r.data == "" {
		return Record{}
	}
	return Record{Value: []byte(r.data[revisionSize:]), Revision: Revision(r.data[:revisionSize])}
}

// Load implements [Store].
func (m *MemoryStore) Load(ctx context.Context, key string) (Record, error) {
	if err := ctx.Err(); err != nil {
		return Record{}, err
	}
	s := m.shard(key)
	s.mu.Lock()
	r, ok := s.live(key, m.now())
	s.mu.Unlock()
	if !ok {
		return Record{}, ErrRecordNotFound
	}
	return r.record(), nil
}

// CompareAndSwap implements [Store].
func (m *MemoryStore) CompareAndSwap(ctx context.Context, key string, old Revision, value []byte, ttl time.Duration) (Record, error) {
	if err := ctx.Err(); err != nil {
		return Record{}, err
	}
	now := m.now()
	data := make([]byte, revisionSize, revisionSize+len(value))
	binary.BigEndian.PutUint64(data, randomUint64())
	written := memoryRecord{data: string(append(data, value...))}
	if ttl > 0 && ttl < maxMemoryTTL {
		written.expires = now.Add(ttl).UnixNano()
	}
	s := m.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	current, _ := s.live(key, now)
	if !current.at(old) {
		return current.record(), ErrConflict
	}
	if s.records == nil {
		s.records = make(map[string]memoryRecord)
	}
	s.records[key] = written
	s.removeExpired(now)
	return written.record(), nil
}

// Delete implements [Store].
func (m *MemoryStore) Delete(ctx context.Context, key string, old Revision) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s := m.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	current, ok := s.live(key, m.now())
	if !ok {
		return nil
	}
	if !current.at(old) {
		return ErrConflict
	}
	delete(s.records, key)
	return nil
}

func (r memoryRecord) at(old Revision) bool {
	if r.data == "" {
		return old == ""
	}
	return r.data[:revisionSize] == string(old)
}

// removeExpired walks the shard each time as many writes came as it has
// records: constant cost a write, and memory at most twice what is alive.
func (s *memoryShard) removeExpired(now time.Time) {
	if s.sweep--; s.sweep > 0 {
		return
	}
	for key, r := range s.records {
		if r.expires != 0 && now.UnixNano() >= r.expires {
			delete(s.records, key)
		}
	}
	s.sweep = len(s.records) + 64
}

// randomUint64 never returns zero, which stands for "none".
func randomUint64() uint64 {
	var b [8]byte
	for {
		_, _ = rand.Read(b[:]) // never fails; see crypto/rand
		if n := binary.BigEndian.Uint64(b[:]); n != 0 {
			return n
		}
	}
}

var _ Store = (*MemoryStore)(nil)
