// Package redisstore keeps the records of package smartcar in Redis or Valkey,
// shared by every process that uses the same server.
//
//	rdb := redis.NewClient(&redis.Options{Addr: addr, ContextTimeoutEnabled: true})
//	store, err := redisstore.New(rdb)
//	client, err := smartcar.New(config, smartcar.WithStore(store))
//
// A record is one string under one key, so that Redis Cluster needs no hash
// tags. The keys of the records without a ttl, of which there are a few for each user,
// stand in an index besides, one sorted set, so that [Store.List] need not look at every
// key of the server. The server needs the commands EVAL, EVALSHA, TIME, GET, GETRANGE,
// SET, DEL, PTTL, ZADD, ZREM and ZRANGE, as Redis 7, Valkey and later versions of both
// have them, and SCAN for [Store.Reindex].
//
// # What the server must promise
//
// A store that loses a write lets a car be asked twice within its window, or a
// user's login be lost, which only a new Connect brings back. What Redis keeps
// is decided by its configuration:
//
//   - No persistence: every restart forgets all open windows, logins and
//     Connects under way.
//   - Snapshots only (save): a restart forgets what came after the last one,
//     which are minutes.
//   - appendonly yes, appendfsync everysec: the end of the redis-server process
//     loses nothing, a crash of the machine the last second or two.
//   - appendonly yes, appendfsync always: nothing that was answered is lost.
//     A write costs an fsync. Cars are slower than that: use it.
//   - maxmemory-policy: must be noeviction. Any other policy removes records
//     that are needed when memory runs out; noeviction fails writes instead,
//     which the client is told. Give the records a server of their own if
//     another use of it needs eviction.
//   - Replicas are copied to after the answer. A failover, by Sentinel, in a
//     Cluster or in a managed service, loses what had not arrived, whatever
//     appendfsync says; min-replicas-to-write narrows that and does not end
//     it. If a failover must lose nothing, use a store on PostgreSQL.
//
// The values are secrets: tokens. Use TLS and a password, and seal the values
// if others can read the server. Hooks that record whole commands, as tracing
// does when it is told to, see keys and values.
package redisstore

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/seed-498a1bc4/smartcar/store"
)

// Store is a [store.Store]. It is safe for concurrent use, starts no
// goroutine, and has nothing to close: the client is the caller's.
//
// Each method is one script on the node that holds the key, so one round trip
// (two where the node does not know the script yet), and for a record without a ttl
// up to two more to keep the index. [store.Record.Now] is
// the clock of that node, and comes with every answer, also beside
// [store.ErrNotFound] and [store.ErrConflict].
//
// A command is sent once, whatever MaxRetries of the client says: go-redis
// repeats commands whose reply got lost, and the repetition of a swap that had
// landed would be answered as a conflict. What it does repeat is what was not
// carried out: where a Cluster names another node, and the script a node
// does not know. A method that fails may have written; the smartcar client
// finds out by asking again.
//
// A deadline ends a method in time. A cancellation without one is seen before
// the command is sent; after that the method waits for the reply, at most for
// the client's ReadTimeout.
type Store struct {
	client             redis.UniversalClient
	prefix             string
	load, swap, delete script
	page, index        script // of the index
}

// An Option of [New].
type Option func(*Store) error

// WithPrefix sets what every key begins with, instead of "smartcar:".
// Applications with different Smartcar credentials that share a server need
// different prefixes. A hash tag in it would put all records on one node of a
// Cluster.
func WithPrefix(prefix string) Option {
	return func(s *Store) error {
		if prefix == "" {
			return errors.New("redisstore: WithPrefix: the prefix is empty")
		}
		s.prefix = prefix
		return nil
	}
}

// New returns a store on client, which is a [redis.Client], also one made for
// Sentinel, or a [redis.ClusterClient]. It does not contact the server.
//
// New refuses a client without ContextTimeoutEnabled, because its calls outlast
// their context, and a [redis.Ring], because it moves keys to another server
// when one fails, and leaves the records behind. What another implementation
// of [redis.UniversalClient] wraps has to be right for the same reasons.
func New(client redis.UniversalClient, opts ...Option) (*Store, error) {
	if err := usable(client); err != nil {
		return nil, err
	}
	s := &Store{
		client: client,
		prefix: "smartcar:",
		load:   newScript(loadSource),
		swap:   newScript(swapSource),
		delete: newScript(deleteSource),
		page:   newScript(pageSource),
		index:  newScript(indexSource),
	}
	for _, opt := range opts {
		if opt == nil {
			return nil, errors.New("redisstore: an option is nil")
		}
		if err := opt(s); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func usable(client redis.UniversalClient) error {
	honorsDeadlines := true
	isNil := client == nil
	switch c := client.(type) {
	case *redis.Client:
		if isNil = c == nil; !isNil {
			honorsDeadlines = c.Options().ContextTimeoutEnabled
		}
	case *redis.ClusterClient:
		if isNil = c == nil; !isNil {
			honorsDeadlines = c.Options().ContextTimeoutEnabled
		}
	case *redis.Ring:
		return errors.New("redisstore: a Ring loses records when a server fails; use a Client or a ClusterClient")
	}
	switch {
	case isNil:
		return errors.New("redisstore: the client is nil")
	case !honorsDeadlines:
		return errors.New("redisstore: set ContextTimeoutEnabled in the options of the client, or its calls outlast their context")
	}
	return nil
}

// headSize is the size of a revision, which each stored string begins with: a
// byte for the format and 128 random bits.
const (
	headSize = 1 + 16
	format   = 1
)

func newHead() [headSize]byte {
	var head [headSize]byte
	head[0] = format
	_, _ = rand.Read(head[1:]) // never fails; see crypto/rand
	return head
}

// errForeign never repeats what it found, which may be anybody's.
var errForeign = errors.New("the key holds something that this package did not write")

func decode(data string) (store.Record, error) {
	if len(data) < headSize || data[0] != format {
		return store.Record{}, errForeign
	}
	return store.Record{Value: []byte(data[headSize:]), Revision: store.Revision(data[:headSize])}, nil
}

// Load implements [store.Store].
func (s *Store) Load(ctx context.Context, key string) (store.Record, error) {
	r, err := s.run(ctx, s.load, key)
	if err != nil {
		return store.Record{}, failed("load", err)
	}
	if !r.found {
		return store.Record{Now: r.now}, store.ErrNotFound
	}
	return r.record("load")
}

// CompareAndSwap implements [store.Store]. A ttl counts in milliseconds,
// rounded up; one below zero is as zero.
func (s *Store) CompareAndSwap(ctx context.Context, key string, old store.Revision, value []byte, ttl time.Duration) (store.Record, error) {
	head := newHead()
	data := append(head[:], value...)
	if ttl <= 0 && old == "" {
		if err := s.enlist(ctx, key); err != nil {
			return store.Record{}, failed("compare and swap", err)
		}
	}
	r, err := s.run(ctx, s.swap, key, string(old), data, milliseconds(ttl))
	switch {
	case err != nil:
		return store.Record{}, failed("compare and swap", err)
	case r.done:
		if ttl <= 0 {
			_ = s.enlist(ctx, key) // one that fails is made up for by the next write, or Reindex
		}
		return store.Record{
			Value:    data[headSize:],
			Revision: store.Revision(data[:headSize]),
			Now:      r.now,
		}, nil
	case !r.found:
		return store.Record{Now: r.now}, store.ErrConflict
	}
	record, err := r.record("compare and swap")
	if err != nil {
		return store.Record{}, err
	}
	return record, store.ErrConflict
}

// Delete implements [store.Store].
func (s *Store) Delete(ctx context.Context, key string, old store.Revision) error {
	r, err := s.run(ctx, s.delete, key, string(old))
	switch {
	case err != nil:
		return failed("delete", err)
	case !r.done:
		return store.ErrConflict
	case r.found:
		return s.delist(ctx, key)
	}
	return nil
}

// milliseconds rounds up: a ttl that is too short to count must not become
// zero, which means for ever.
func milliseconds(ttl time.Duration) int64 {
	if ttl <= 0 {
		return 0
	}
	return int64((ttl-1)/time.Millisecond) + 1
}

func failed(operation string, err error) error {
	return fmt.Errorf("redisstore: %s: %w", operation, err)
}

// endOf adds the end of the context to err if that is why the call failed: the
// connection takes a deadline for a timeout of its own, and a little earlier.
func endOf(ctx context.Context, err error) error {
	ended := ctx.Err()
	if deadline, ok := ctx.Deadline(); ok && ended == nil && !time.Now().Before(deadline) {
		if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() {
			ended = context.DeadlineExceeded
		}
	}
	if ended == nil || errors.Is(err, ended) {
		return err
	}
	return fmt.Errorf("%w: %w", ended, err)
}
