package store

import (
	"context"
	"encoding/binary"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed-498a1bc4/smartcar/internal/argument"
	"github.com/seed-498a1bc4/smartcar/internal/randid"
)

// Memory keeps records in this process: nothing survives a restart and
// nothing is shared with other replicas. It is safe for concurrent use, starts
// no goroutine, and removes expired records as it is written to. The zero
// Memory is empty and ready.
//
// It has a clock of its own, which begins with that of the machine when the
// Memory is used first and is never stepped after that: what the machine's clock
// does opens no window and expires no record.
type Memory struct {
	clock  func() time.Time          // its own if nil
	began  atomic.Pointer[time.Time] // when its own clock began; nil before
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

// NewMemory returns an empty store.
func NewMemory() *Memory { return new(Memory) }

// NewMemoryAt returns an empty store whose clock is the given one, for tests that
// simulate time: [Record.Now] is what it says, and records expire by it. Nil is
// the Memory's own.
func NewMemoryAt(now func() time.Time) *Memory {
	return &Memory{clock: now}
}

func (m *Memory) now() time.Time {
	if m.clock != nil {
		return m.clock()
	}
	began := m.began.Load()
	if began == nil {
		now := time.Now()
		m.began.CompareAndSwap(nil, &now)
		began = m.began.Load()
	}
	return began.Round(0).UTC().Add(time.Since(*began))
}

// shard spreads the keys by their FNV-1a hash.
func (m *Memory) shard(key string) *memoryShard {
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

func (r memoryRecord) record(now time.Time) Record {
	if r.data == "" {
		return Record{Now: now}
	}
	return Record{Value: []byte(r.data[revisionSize:]), Revision: Revision(r.data[:revisionSize]), Now: now}
}

// Load implements [Store].
func (m *Memory) Load(ctx context.Context, key string) (Record, error) {
	if err := ctx.Err(); err != nil {
		return Record{}, err
	}
	now := m.now()
	s := m.shard(key)
	s.mu.Lock()
	r, ok := s.live(key, now)
	s.mu.Unlock()
	if !ok {
		return Record{Now: now}, ErrNotFound
	}
	return r.record(now), nil
}

// CompareAndSwap implements [Store].
func (m *Memory) CompareAndSwap(ctx context.Context, key string, old Revision, value []byte, ttl time.Duration) (Record, error) {
	if err := ctx.Err(); err != nil {
		return Record{}, err
	}
	now := m.now()
	var revision [revisionSize]byte
	binary.BigEndian.PutUint64(revision[:], randid.New())
	var data strings.Builder
	data.Grow(revisionSize + len(value))
	data.Write(revision[:])
	data.Write(value)
	written := memoryRecord{data: data.String()}
	if ttl > 0 && ttl < maxMemoryTTL {
		written.expires = now.Add(ttl).UnixNano()
	}
	s := m.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	current, _ := s.live(key, now)
	if !current.at(old) {
		return current.record(now), ErrConflict
	}
	if s.records == nil {
		s.records = make(map[string]memoryRecord)
	}
	s.records[key] = written
	s.removeExpired(now)
	return written.record(now), nil
}

// Delete implements [Store].
func (m *Memory) Delete(ctx context.Context, key string, old Revision) error {
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

// List implements [Lister]: a page is one of the shards that the keys are spread over.
func (m *Memory) List(ctx context.Context, prefix, cursor string) (keys []string, next string, err error) {
	if err := ctx.Err(); err != nil {
		return nil, "", err
	}
	shard := 0
	if cursor != "" {
		if shard, err = strconv.Atoi(cursor); err != nil || shard < 0 || shard >= len(m.shards) {
			return nil, "", argument.Error("store.Memory.List cursor", "is not one that List has returned")
		}
	}
	s, now := &m.shards[shard], m.now().UnixNano()
	s.mu.Lock()
	for key, r := range s.records {
		if strings.HasPrefix(key, prefix) && (r.expires == 0 || now < r.expires) {
			keys = append(keys, key)
		}
	}
	s.mu.Unlock()
	if shard++; shard < len(m.shards) {
		next = strconv.Itoa(shard)
	}
	return keys, next, nil
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

var (
	_ Store  = (*Memory)(nil)
	_ Lister = (*Memory)(nil)
)
