package main

import (
	"context"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"
	"github.com/redis/go-redis/v9"
	"github.com/seed-498a1bc4/smartcar/store"
	"github.com/seed-498a1bc4/smartcar/store/redisstore"
	"github.com/seed-498a1bc4/smartcar/store/sqlstore"
	"github.com/seed-498a1bc4/smartcar/store/sqlstore/sqlite"
)

// stores says where the store is that all processes share: the address of a
// server, or else a file.
type stores struct{ redis, postgres, sqlite string }

// environment is for another process. Addresses hold passwords, which do not
// belong into its arguments.
func (s stores) environment() []string {
	return []string{envRedis + "=" + s.redis, envPostgres + "=" + s.postgres, envSQLite + "=" + s.sqlite}
}

// open opens the store. Call the function it returns after the last use.
func (s stores) open(ctx context.Context) (store.Store, func() error, error) {
	switch {
	case s.redis != "":
		rdb := redis.NewClient(&redis.Options{Addr: s.redis, ContextTimeoutEnabled: true})
		if err := observeRedis(rdb); err != nil {
			return nil, nil, err
		}
		kept, err := redisstore.New(rdb)
		return kept, rdb.Close, err
	case s.postgres != "":
		db, err := openPostgres(s.postgres)
		if err != nil {
			return nil, nil, err
		}
		db.SetMaxOpenConns(10) // for each process; the server allows 100 unless told otherwise
		db.SetMaxIdleConns(10)
		kept, err := sqlstore.New(ctx, db, sqlstore.Postgres)
		return kept, db.Close, err
	}
	kept, err := sqlite.Open(ctx, s.sqlite)
	if err != nil {
		return nil, nil, err
	}
	return kept, kept.Close, nil
}
