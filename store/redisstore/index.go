package redisstore

import (
	"context"
	"strings"
	"sync"

	"github.com/redis/go-redis/v9"
	"github.com/seed-498a1bc4/smartcar/store"
)

// The index is one sorted set of the keys of the records without a ttl, all with the
// score 0, so in the order of the keys. In a Cluster it lives on another node than most
// records, so no script can change both at once. It may hold a key whose record is gone,
// and must not miss one that is there. A creates a record that B has just deleted:
//
//  1. B deletes the old record.
//  2. A adds the key to the index.
//  3. B removes the key from the index, as what follows its deletion.
//  4. A writes the new record. The index has lost it.
//  5. A adds the key once more.
//
// If A dies between 4 and 5, B may have looked for the record before 4: then List misses
// it until its next write. If A writes before step 3, B finds the record after it has
// removed the key, and adds the key again.
const (
	indexSource = `
local now = {0, 0, 1}
if ARGV[2] == 'add' then
	redis.call('ZADD', KEYS[1], 0, ARGV[1])
else
	redis.call('ZREM', KEYS[1], ARGV[1])
end
return now`

	pageSource = `return redis.call('ZRANGE', KEYS[1], ARGV[1], '+', 'BYLEX', 'LIMIT', 0, ARGV[2])`

	// pageKeys is a page of List.
	pageKeys = 1000
)

// indexKey is no key of a record: those are printable.
func (s *Store) indexKey() string { return s.prefix + "\x00index" }

// enlist adds a key to the index.
func (s *Store) enlist(ctx context.Context, key string) error {
	_, err := s.values(ctx, s.index, s.indexKey(), key, "add")
	return err
}

// delist removes the key of a record that was deleted, unless there is another record by
// now.
func (s *Store) delist(ctx context.Context, key string) error {
	_, err := s.values(ctx, s.index, s.indexKey(), key, "remove")
	if err != nil {
		return failed("delete", err)
	}
	r, err := s.run(ctx, s.load, key)
	if err == nil && r.found {
		err = s.enlist(ctx, key)
	}
	if err != nil {
		return failed("delete", err)
	}
	return nil
}

// List implements [store.Lister], in the order of the keys, for records without a ttl.
func (s *Store) List(ctx context.Context, prefix, cursor string) (keys []string, next string, err error) {
	from := "[" + prefix
	if cursor != "" {
		from = "(" + cursor
	}
	values, err := s.values(ctx, s.page, s.indexKey(), from, pageKeys)
	if err != nil {
		return nil, "", failed("list", err)
	}
	for _, value := range values {
		key, ok := value.(string)
		switch {
		case !ok:
			return nil, "", failed("list", errReply)
		case !strings.HasPrefix(key, prefix): // keys with one prefix stand together
			return keys, "", nil
		}
		keys = append(keys, key)
	}
	if len(keys) == pageKeys {
		next = keys[len(keys)-1]
	}
	return keys, next, nil
}

// Reindex makes [Store.List] find the records that were written before this package kept
// an index. It looks at every key of the server, once, and may run while the store is
// used. It can be called again.
func (s *Store) Reindex(ctx context.Context) error {
	if s.client == nil {
		return failed("reindex", errNotMade)
	}
	var err error
	if cluster, ok := s.client.(*redis.ClusterClient); ok {
		var one sync.Mutex // the nodes are asked at the same time
		err = cluster.ForEachMaster(ctx, func(ctx context.Context, node *redis.Client) error {
			one.Lock()
			defer one.Unlock()
			return s.reindexNode(ctx, node)
		})
	} else {
		err = s.reindexNode(ctx, s.client)
	}
	if err != nil {
		return failed("reindex", endOf(ctx, err))
	}
	return nil
}

// glob escapes what a pattern of SCAN would read as more than a letter.
var glob = strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`, `]`, `\]`) //nolint:gochecknoglobals // never written

func (s *Store) reindexNode(ctx context.Context, node redis.Cmdable) error {
	keys := node.ScanType(ctx, 0, glob.Replace(s.prefix)+"*", pageKeys, "string").Iterator()
	for keys.Next(ctx) {
		ttl, err := node.PTTL(ctx, keys.Val()).Result()
		if err != nil {
			return err
		}
		if ttl == -1 { // as go-redis gives it for a key that does not expire
			if err := s.enlist(ctx, strings.TrimPrefix(keys.Val(), s.prefix)); err != nil {
				return err
			}
		}
	}
	return keys.Err()
}

var (
	_ store.Store  = (*Store)(nil)
	_ store.Lister = (*Store)(nil)
)
