package redisstore_test

import (
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/seed-498a1bc4/smartcar/internal/testserver"
	"github.com/stretchr/testify/require"
)

// The record of a car.
var carRecord = []byte(strings.Repeat("r", 80))

func BenchmarkSwap(b *testing.B) {
	client := startServer(b, testserver.FindRedis(b, "redis-server")).client(b)
	b.Run("store", func(b *testing.B) {
		store := newStore(b, client)
		require.NoError(b, client.FlushAll(b.Context()).Err())
		r, err := store.CompareAndSwap(b.Context(), "key", "", carRecord, 0)
		require.NoError(b, err)
		b.ReportAllocs()
		for b.Loop() {
			if r, err = store.CompareAndSwap(b.Context(), "key", r.Revision, carRecord, 0); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("bare EVALSHA", func(b *testing.B) {
		sha, err := client.ScriptLoad(b.Context(), "return redis.call('SET', KEYS[1], ARGV[1])").Result()
		require.NoError(b, err)
		keys := []string{"key"}
		b.ReportAllocs()
		for b.Loop() {
			if err := client.EvalSha(b.Context(), sha, keys, carRecord).Err(); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("bare SET", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if err := client.Set(b.Context(), "key", carRecord, redis.KeepTTL).Err(); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkLoad(b *testing.B) {
	client := startServer(b, testserver.FindRedis(b, "redis-server")).client(b)
	store := newStore(b, client)
	_, err := store.CompareAndSwap(b.Context(), "key", "", carRecord, 0)
	require.NoError(b, err)
	b.Run("store", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := store.Load(b.Context(), "key"); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("bare GET", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if err := client.Get(b.Context(), "smartcar:key").Err(); err != nil {
				b.Fatal(err)
			}
		}
	})
}
