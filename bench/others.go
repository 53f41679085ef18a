package main

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/go-redis/redis_rate/v10"
	"github.com/redis/go-redis/v9"
	"github.com/sethvargo/go-limiter/memorystore"
	"github.com/stretchr/testify/require"
)

var errRefused = errors.New("the limiter refused")

// redisRate allows more than can be asked for, so that every decision is the
// same: allowed, and written.
func redisRate(rdb *redis.Client) other {
	limiter := redis_rate.NewLimiter(rdb)
	limit := redis_rate.Limit{Rate: 1_000_000, Burst: 1_000_000, Period: time.Second}
	key := eachKey()
	return other{"redis_rate", func(ctx context.Context) error {
		result, err := limiter.Allow(ctx, key(), limit)
		if err == nil && result.Allowed != 1 {
			return errRefused
		}
		return err
	}}
}

func goLimiter(tb testing.TB) other {
	tb.Helper()
	store, err := memorystore.New(&memorystore.Config{Tokens: 1 << 40, Interval: time.Hour})
	require.NoError(tb, err)
	tb.Cleanup(func() { require.NoError(tb, store.Close(context.WithoutCancel(tb.Context()))) })
	key := eachKey()
	return other{"go-limiter", func(ctx context.Context) error {
		_, _, _, ok, err := store.Take(ctx, key())
		if err == nil && !ok {
			return errRefused
		}
		return err
	}}
}
