package redisstore_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/seed-498a1bc4/smartcar/internal/testserver"
	"github.com/seed-498a1bc4/smartcar/store"
	"github.com/seed-498a1bc4/smartcar/store/redisstore"
	"github.com/stretchr/testify/require"
)

func TestNewRefusesWhatLosesRecords(t *testing.T) {
	good := &redis.Options{ContextTimeoutEnabled: true}
	client := redis.NewClient(good)
	defer client.Close()
	_, err := redisstore.New(client)
	require.NoError(t, err)
	for name, c := range map[string]redis.UniversalClient{
		"nil":                        nil,
		"nil client":                 (*redis.Client)(nil),
		"nil cluster client":         (*redis.ClusterClient)(nil),
		"without deadlines":          redis.NewClient(&redis.Options{}),
		"cluster without deadlines":  redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{"127.0.0.1:1"}}),
		"sentinel without deadlines": redis.NewFailoverClient(&redis.FailoverOptions{MasterName: "m", SentinelAddrs: []string{"127.0.0.1:1"}}),
		"ring":                       redis.NewRing(&redis.RingOptions{Addrs: map[string]string{"a": "127.0.0.1:1"}, ContextTimeoutEnabled: true}),
	} {
		t.Run(name, func(t *testing.T) {
			if !strings.HasPrefix(name, "nil") {
				defer c.Close()
			}
			db, err := redisstore.New(c)
			require.ErrorContains(t, err, "redisstore: ")
			require.Nil(t, db)
		})
	}
	_, err = redisstore.New(client, nil)
	require.Error(t, err)
	_, err = redisstore.New(client, redisstore.WithPrefix(""))
	require.Error(t, err)
}

// plain asserts that err claims to know nothing about the record.
func plain(t *testing.T, err error) {
	t.Helper()
	require.Error(t, err)
	require.NotErrorIs(t, err, store.ErrConflict)
	require.NotErrorIs(t, err, store.ErrNotFound)
	require.NotErrorIs(t, err, context.Canceled)
	require.NotErrorIs(t, err, context.DeadlineExceeded)
	require.ErrorContains(t, err, "redisstore: ")
	require.NotContains(t, err.Error(), "secret")
}

func TestServerGoneAndBack(t *testing.T) {
	eachServer(t, func(t *testing.T, binary string) {
		ctx := t.Context()
		s := startServer(t, binary, testserver.Durable()...)
		client := s.client(t)
		db := newStore(t, client)
		kept, err := db.CompareAndSwap(ctx, "kept", "", []byte("secret"), 0)
		require.NoError(t, err)
		mortal, err := db.CompareAndSwap(ctx, "mortal", "", []byte("secret"), time.Hour)
		require.NoError(t, err)

		for i := range 3 {
			s.Kill()
			_, err = db.Load(ctx, "kept")
			plain(t, err)
			_, err = db.CompareAndSwap(ctx, "kept", kept.Revision, []byte("secret, lost"), 0)
			plain(t, err)
			plain(t, db.Delete(ctx, "kept", kept.Revision))

			s.Start(t)
			loaded, err := db.Load(ctx, "kept")
			require.NoError(t, err)
			require.Equal(t, kept.Value, loaded.Value)
			require.Equal(t, kept.Revision, loaded.Revision)
			ttl, err := client.PTTL(ctx, "smartcar:mortal").Result()
			require.NoError(t, err)
			require.Greater(t, ttl, 50*time.Minute)
			require.LessOrEqual(t, ttl, time.Hour)

			// The last answered write of each life is there in the next.
			kept, err = db.CompareAndSwap(ctx, "kept", kept.Revision, fmt.Append(nil, "secret", i), 0)
			require.NoError(t, err)
		}
		require.NoError(t, db.Delete(ctx, "mortal", mortal.Revision))
	})
}

func TestScriptFlush(t *testing.T) {
	eachServer(t, func(t *testing.T, binary string) {
		ctx := t.Context()
		client := startServer(t, binary).client(t)
		db := newStore(t, client)
		flush := func() { require.NoError(t, client.ScriptFlush(ctx).Err()) }
		var r store.Record
		for i := range 3 {
			flush()
			value := fmt.Append(nil, i)
			written, err := db.CompareAndSwap(ctx, "key", r.Revision, value, 0)
			require.NoError(t, err)
			flush()
			r, err = db.Load(ctx, "key")
			require.NoError(t, err)
			require.Equal(t, value, r.Value)
			require.Equal(t, written.Revision, r.Revision)
		}
		flush()
		require.NoError(t, db.Delete(ctx, "key", r.Revision))
		_, err := db.Load(ctx, "key")
		require.ErrorIs(t, err, store.ErrNotFound)
	})
}

// calls is how often the server carried out EVALSHA.
func calls(t *testing.T, client *redis.Client) int {
	t.Helper()
	stats, err := client.Info(t.Context(), "commandstats").Result()
	require.NoError(t, err)
	_, after, _ := strings.Cut(stats, "cmdstat_evalsha:calls=")
	var n int
	_, err = fmt.Sscanf(after, "%d", &n)
	require.NoError(t, err)
	return n
}

// The script ran, and its reply got lost.
func TestLostReplyIsAnErrorAndNoRepetition(t *testing.T) {
	eachServer(t, func(t *testing.T, binary string) {
		ctx := t.Context()
		s := startServer(t, binary)
		network := startProxy(t, s.Addr())
		direct, far := s.client(t), clientOf(t, network.addr)
		near, db := newStore(t, direct), newStore(t, far)

		// What go-redis does by itself, so that the rest proves something.
		require.NoError(t, far.Incr(ctx, "counter").Err())
		network.lose.Store(1)
		counted, err := far.Incr(ctx, "counter").Result()
		require.NoError(t, err)
		require.EqualValues(t, 3, counted, "go-redis repeats a command whose reply got lost")

		_, err = db.Load(ctx, "key")
		require.ErrorIs(t, err, store.ErrNotFound)
		_, err = db.CompareAndSwap(ctx, "warm", "", nil, 0)
		require.NoError(t, err)
		require.NoError(t, db.Delete(ctx, "absent", ""))
		// Records with a ttl are not in the index, so that a swap is one command. lose makes
		// sure of a connection, so that the reply lost is not the one
		// that would have made one.
		lose := func() {
			_, err := db.Load(ctx, "warm")
			require.NoError(t, err)
			network.lose.Store(1)
		}

		lose()
		before := calls(t, direct)
		_, err = db.CompareAndSwap(ctx, "key", "", []byte("secret 1"), time.Hour)
		plain(t, err)
		require.Equal(t, before+1, calls(t, direct), "the swap was repeated")
		landed, err := db.Load(ctx, "key")
		require.NoError(t, err)
		require.Equal(t, "secret 1", string(landed.Value))

		lose()
		_, err = db.CompareAndSwap(ctx, "key", "", []byte("secret 2"), time.Hour)
		plain(t, err)
		lose()
		_, err = db.Load(ctx, "key")
		plain(t, err)

		lose()
		before = calls(t, direct)
		plain(t, db.Delete(ctx, "key", landed.Revision))
		require.Equal(t, before+1, calls(t, direct), "the delete was repeated")
		_, err = near.Load(ctx, "key")
		require.ErrorIs(t, err, store.ErrNotFound)
	})
}

func TestLostReplyOfACluster(t *testing.T) {
	eachServer(t, func(t *testing.T, binary string) {
		ctx := t.Context()
		s := startServer(t, binary)
		network := startProxy(t, s.Addr())
		// A cluster of one shard that is reached through the proxy only.
		cluster := redis.NewClusterClient(&redis.ClusterOptions{
			ContextTimeoutEnabled: true,
			ClusterSlots: func(context.Context) ([]redis.ClusterSlot, error) {
				return []redis.ClusterSlot{{Start: 0, End: 16383, Nodes: []redis.ClusterNode{{Addr: network.addr}}}}, nil
			},
		})
		t.Cleanup(func() { cluster.Close() })
		db, direct := newStore(t, cluster), s.client(t)
		_, err := db.CompareAndSwap(ctx, "warm", "", nil, 0)
		require.NoError(t, err)
		before := calls(t, direct)
		network.lose.Store(1)
		_, err = db.CompareAndSwap(ctx, "key", "", []byte("secret"), time.Hour)
		plain(t, err)
		require.Equal(t, before+1, calls(t, direct), "the swap was repeated")
	})
}

// repeating is a hook that sends every command twice and shows the second
// answer, as a proxy might.
type repeating struct{}

func (repeating) DialHook(next redis.DialHook) redis.DialHook { return next }
func (repeating) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		_ = next(ctx, cmd)
		return next(ctx, cmd)
	}
}
func (repeating) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func TestRepeatedScriptAnswersTheSame(t *testing.T) {
	eachServer(t, func(t *testing.T, binary string) {
		ctx := t.Context()
		client := startServer(t, binary).client(t)
		client.AddHook(repeating{})
		db := newStore(t, client)
		first, err := db.CompareAndSwap(ctx, "key", "", []byte("1"), 0)
		require.NoError(t, err)
		second, err := db.CompareAndSwap(ctx, "key", first.Revision, []byte("2"), time.Hour)
		require.NoError(t, err)
		_, err = db.CompareAndSwap(ctx, "key", first.Revision, []byte("3"), 0)
		require.ErrorIs(t, err, store.ErrConflict)
		require.ErrorIs(t, db.Delete(ctx, "key", first.Revision), store.ErrConflict)
		require.NoError(t, db.Delete(ctx, "key", second.Revision))
	})
}

func TestDeadlineEndsACallThatHangs(t *testing.T) {
	eachServer(t, func(t *testing.T, binary string) {
		s := startServer(t, binary)
		db := newStore(t, s.client(t))
		r, err := db.CompareAndSwap(t.Context(), "key", "", nil, 0)
		require.NoError(t, err)
		require.NoError(t, s.client(t).Do(t.Context(), "client", "pause", 3000, "all").Err())
		began := time.Now()
		for range 3 {
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			_, err = db.Load(ctx, "key")
			require.ErrorIs(t, err, context.DeadlineExceeded)
			_, err = db.CompareAndSwap(ctx, "key", r.Revision, nil, 0)
			require.ErrorIs(t, err, context.DeadlineExceeded)
			require.ErrorIs(t, db.Delete(ctx, "key", r.Revision), context.DeadlineExceeded)
			cancel()
		}
		require.Less(t, time.Since(began), 2*time.Second)
	})
}

func TestForeignValuesAreLeftAlone(t *testing.T) {
	eachServer(t, func(t *testing.T, binary string) {
		ctx := t.Context()
		client := startServer(t, binary).client(t)
		db := newStore(t, client)
		require.NoError(t, client.Set(ctx, "smartcar:short", "secret", 0).Err())
		require.NoError(t, client.Set(ctx, "smartcar:long", strings.Repeat("secret", 10), 0).Err())
		require.NoError(t, client.HSet(ctx, "smartcar:hash", "secret", "secret").Err())
		for _, key := range []string{"short", "long", "hash"} {
			_, err := db.Load(ctx, key)
			plain(t, err)
			_, err = db.CompareAndSwap(ctx, key, "", []byte("mine"), 0)
			plain(t, err)
			require.Error(t, db.Delete(ctx, key, "never-a-revision"))
			exists, err := client.Exists(ctx, "smartcar:"+key).Result()
			require.NoError(t, err)
			require.EqualValues(t, 1, exists)
		}
	})
}

func TestPrefixesKeepApart(t *testing.T) {
	eachServer(t, func(t *testing.T, binary string) {
		ctx := t.Context()
		client := startServer(t, binary).client(t)
		one, two := newStore(t, client, redisstore.WithPrefix("one:")), newStore(t, client, redisstore.WithPrefix("two:"))
		_, err := one.CompareAndSwap(ctx, "key", "", []byte("1"), 0)
		require.NoError(t, err)
		_, err = two.Load(ctx, "key")
		require.ErrorIs(t, err, store.ErrNotFound)
		_, err = newStore(t, client).CompareAndSwap(ctx, "key", "", []byte("2"), 0)
		require.NoError(t, err)
		keys, err := client.Keys(ctx, "*").Result()
		require.NoError(t, err)
		require.ElementsMatch(t, []string{"one:key", "one:\x00index", "smartcar:key", "smartcar:\x00index"}, keys)
	})
}

// With noeviction a full server refuses writes and keeps what it has.
func TestFullServer(t *testing.T) {
	eachServer(t, func(t *testing.T, binary string) {
		ctx := t.Context()
		s := startServer(t, binary, "--maxmemory", "8mb", "--maxmemory-policy", "noeviction")
		db := newStore(t, s.client(t))
		var kept []store.Record
		var err error
		for len(kept) < 100 && err == nil {
			var r store.Record
			if r, err = db.CompareAndSwap(ctx, fmt.Sprint(len(kept)), "", make([]byte, 1<<18), 0); err == nil {
				kept = append(kept, r)
			}
		}
		plain(t, err)
		require.NotEmpty(t, kept)
		for i, want := range kept {
			r, err := db.Load(ctx, fmt.Sprint(i))
			require.NoError(t, err)
			require.Equal(t, want.Revision, r.Revision)
		}
		_, err = db.Load(ctx, fmt.Sprint(len(kept)))
		require.ErrorIs(t, err, store.ErrNotFound)
		require.NoError(t, db.Delete(ctx, "0", kept[0].Revision))
	})
}

// A hook that logs commands must not log tokens.
type commandLog struct {
	repeating
	lines []string
}

func (l *commandLog) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		err := next(ctx, cmd)
		l.lines = append(l.lines, cmd.String(), fmt.Sprint(cmd), fmt.Sprintf("%+v", cmd))
		return err
	}
}

func TestCommandsPrintWithoutValues(t *testing.T) {
	eachServer(t, func(t *testing.T, binary string) {
		client := startServer(t, binary).client(t)
		var log commandLog
		client.AddHook(&log)
		db := newStore(t, client)
		_, err := db.CompareAndSwap(t.Context(), "key", "", []byte("secret"), time.Hour)
		require.NoError(t, err)
		_, err = db.Load(t.Context(), "key")
		require.NoError(t, err)
		require.NotEmpty(t, log.lines)
		require.NotContains(t, strings.Join(log.lines, "\n"), "secret")
	})
}

func TestClosedClient(t *testing.T) {
	client := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1", ContextTimeoutEnabled: true})
	db := newStore(t, client)
	require.NoError(t, client.Close())
	_, err := db.Load(t.Context(), "key")
	plain(t, err)
	require.ErrorIs(t, err, redis.ErrClosed)
}

// Records from before there was an index are listed once it is made, whatever the prefix
// looks like to Redis, and those with a ttl are not.
func TestReindex(t *testing.T) {
	eachServer(t, func(t *testing.T, binary string) {
		ctx := t.Context()
		client := startServer(t, binary).client(t)
		const prefix = `a[b]*?\:`
		db := newStore(t, client, redisstore.WithPrefix(prefix))
		for i := range 30 {
			_, err := db.CompareAndSwap(ctx, fmt.Sprintf("user/%02d", i), "", []byte("x"), 0)
			require.NoError(t, err)
		}
		_, err := db.CompareAndSwap(ctx, "user/passing", "", []byte("x"), time.Hour)
		require.NoError(t, err)
		require.NoError(t, client.Del(ctx, prefix+"\x00index").Err())
		require.NoError(t, client.Set(ctx, "ab:user/foreign", "x", 0).Err())
		keys, next, err := db.List(ctx, "user/", "")
		require.NoError(t, err)
		require.Empty(t, keys)
		require.Empty(t, next)
		for range 2 {
			require.NoError(t, db.Reindex(ctx))
			keys, _, err = db.List(ctx, "user/", "")
			require.NoError(t, err)
			require.Len(t, keys, 30)
			require.Equal(t, "user/00", keys[0])
		}
	})
}
