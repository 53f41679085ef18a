//go:build unix

package sqlstore_test

import (
	"database/sql"
	"fmt"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgconn/ctxwatch"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/seed-498a1bc4/smartcar/internal/testserver"
	"github.com/seed-498a1bc4/smartcar/store/sqlstore"
	"github.com/stretchr/testify/require"
)

// server is a PostgreSQL of this test alone.
type server struct {
	*testserver.Postgres
	tables atomic.Int64
}

func startServer(t testing.TB, settings ...string) *server {
	t.Helper()
	return &server{Postgres: testserver.StartPostgres(t, settings...)}
}

// stopWALWriter stops the process that writes what a commit did not wait for,
// and returns its id.
func (s *server) stopWALWriter(t testing.TB) int {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), s.URL())
	require.NoError(t, err)
	defer conn.Close(t.Context())
	var pid int
	require.NoError(t, conn.QueryRow(t.Context(), "SELECT pid FROM pg_stat_activity WHERE backend_type = 'walwriter'").Scan(&pid))
	require.NoError(t, syscall.Kill(pid, syscall.SIGSTOP))
	return pid
}

// open returns a pool that is closed with the test.
func (s *server) open(t testing.TB, params ...string) *sql.DB {
	t.Helper()
	config, err := pgx.ParseConfig(s.URL(params...))
	require.NoError(t, err)
	return pool(t, config)
}

// waiting has statements canceled and waited for when their context ends, so
// that nothing is done after the call.
func (s *server) waiting(t testing.TB) *pgx.ConnConfig {
	t.Helper()
	config, err := pgx.ParseConfig(s.URL())
	require.NoError(t, err)
	config.BuildContextWatcherHandler = func(conn *pgconn.PgConn) ctxwatch.Handler {
		return &pgconn.CancelRequestContextWatcherHandler{Conn: conn, DeadlineDelay: 10 * time.Second}
	}
	return config
}

func pool(t testing.TB, config *pgx.ConnConfig) *sql.DB {
	t.Helper()
	db := stdlib.OpenDB(*config)
	db.SetMaxIdleConns(8)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	return db
}

// table returns the name of a new table.
func (s *server) table() string { return fmt.Sprintf("records_%d", s.tables.Add(1)) }

// store returns a store on a pool of its own.
func (s *server) store(t testing.TB, table string, params ...string) *sqlstore.Store {
	t.Helper()
	store, err := sqlstore.New(t.Context(), s.open(t, params...), sqlstore.Postgres, sqlstore.WithTable(table))
	require.NoError(t, err)
	return store
}
