package main

import (
	"context"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/internal/testserver"
	"github.com/seed-498a1bc4/smartcar/store"
	"github.com/seed-498a1bc4/smartcar/store/redisstore"
	"github.com/seed-498a1bc4/smartcar/store/sqlstore"
	"github.com/seed-498a1bc4/smartcar/store/sqlstore/sqlite"
	"github.com/stretchr/testify/require"
)

// What docs/stores.md and docs/production.md show of the stores that are modules of their own. A test of
// the root looks for the lines of its snippets here.

func docsMemory(_ context.Context, config smartcar.Config) error {
	client, err := smartcar.New(config, smartcar.WithStore(store.NewMemory())) // as without the option
	return serve(client, err)
}

func docsSQLite(ctx context.Context, config smartcar.Config) error {
	kept, err := sqlite.Open(ctx, "cars.db")
	if err != nil {
		return err
	}
	defer kept.Close() // when the program ends
	client, err := smartcar.New(config, smartcar.WithStore(kept))
	return serve(client, err)
}

func docsPostgres(ctx context.Context, config smartcar.Config) error {
	db, err := sql.Open("pgx", os.Getenv("DATABASE_URL")) // import _ "github.com/jackc/pgx/v5/stdlib"
	if err != nil {
		return err
	}
	defer db.Close()
	kept, err := sqlstore.New(ctx, db, sqlstore.Postgres) // creates its table
	if err != nil {
		return err
	}
	client, err := smartcar.New(config, smartcar.WithStore(kept))
	return serve(client, err)
}

func docsRedis(_ context.Context, config smartcar.Config) error {
	rdb := redis.NewClient(&redis.Options{Addr: os.Getenv("REDIS_ADDR"), ContextTimeoutEnabled: true})
	defer rdb.Close()
	kept, err := redisstore.New(rdb)
	if err != nil {
		return err
	}
	client, err := smartcar.New(config, smartcar.WithStore(kept))
	return serve(client, err)
}

func docsSealed(ctx context.Context, config smartcar.Config) error {
	kept, err := sqlite.Open(ctx, "cars.db")
	if err != nil {
		return err
	}
	defer kept.Close()
	key, err := hex.DecodeString(os.Getenv("STORE_KEY")) // openssl rand -hex 32
	if err != nil {
		return err
	}
	sealed, err := store.NewSealed(kept, key) // older keys behind it still open
	if err != nil {
		return err
	}
	client, err := smartcar.New(config, smartcar.WithStore(sealed))
	return serve(client, err)
}

func docsProduction(ctx context.Context, db *sql.DB, key []byte, config smartcar.Config, logger *slog.Logger) (*smartcar.Client, error) {
	kept, err := sqlstore.New(ctx, db, sqlstore.Postgres)
	if err != nil {
		return nil, err
	}
	sealed, err := store.NewSealed(kept, key) // to rotate: the new key, then the old one
	if err != nil {
		return nil, err
	}
	return smartcar.New(config, smartcar.WithStore(sealed), smartcar.WithLogger(logger))
}

// serve asks for somebody whom the store does not know, and it has to say so.
func serve(client *smartcar.Client, err error) error {
	if err != nil {
		return err
	}
	for _, err := range client.User("nobody").Vehicles(context.Background()) {
		if !errors.Is(err, smartcar.ErrNotConnected) {
			return fmt.Errorf("the store does not answer: %w", err)
		}
	}
	return nil
}

func TestStoresOfTheManual(t *testing.T) {
	t.Chdir(t.TempDir())
	t.Setenv("STORE_KEY", strings.Repeat("ab", 32))
	config := smartcar.Config{ClientID: "id", ClientSecret: "secret", RedirectURL: "https://example.com/callback"}
	require.NoError(t, docsMemory(t.Context(), config))
	require.NoError(t, docsSQLite(t.Context(), config))
	require.NoError(t, docsSealed(t.Context(), config))
	t.Run("PostgreSQL", func(t *testing.T) {
		t.Setenv("DATABASE_URL", testserver.StartPostgres(t).URL())
		require.NoError(t, docsPostgres(t.Context(), config))
		db, err := sql.Open("pgx", os.Getenv("DATABASE_URL"))
		require.NoError(t, err)
		defer db.Close()
		require.NoError(t, serve(docsProduction(t.Context(), db, make([]byte, 32), config, slog.New(slog.DiscardHandler))))
	})
	t.Run("Redis", func(t *testing.T) {
		t.Setenv("REDIS_ADDR", testserver.StartRedis(t, testserver.FindRedis(t, "redis-server")).Addr())
		require.NoError(t, docsRedis(t.Context(), config))
	})
}
