package sqlstore_test

import (
	"database/sql"
	"fmt"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed-498a1bc4/smartcar/store"
	"github.com/seed-498a1bc4/smartcar/store/sqlstore"
	"github.com/seed-498a1bc4/smartcar/store/sqlstore/sqlite"
	"github.com/stretchr/testify/require"
)

func openFile(t testing.TB, path string, opts ...sqlite.Option) *sqlite.Store {
	t.Helper()
	kept, err := sqlite.Open(t.Context(), path, opts...)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, kept.Close()) })
	return kept
}

// raw opens the file beside the store.
func raw(t testing.TB, path string) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+path+"?_pragma=busy_timeout(10000)")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	return db
}

func TestSQLiteExpiredRows(t *testing.T) {
	path := filepath.Join(t.TempDir(), "cars.db")
	kept := openFile(t, path)
	expiredRows(t, kept.Store, raw(t, path), "smartcar_records", "1")
}

func TestSQLiteSchema(t *testing.T) {
	db := raw(t, filepath.Join(t.TempDir(), "cars.db"))
	var n atomic.Int64
	schemas(t, db, func() string { return fmt.Sprintf("records_%d", n.Add(1)) }, func(table string) (*sqlstore.Store, error) {
		return sqlstore.New(t.Context(), db, sqlstore.SQLite, sqlstore.WithTable(table))
	})
}

func TestSQLitePurgeUsesIndex(t *testing.T) {
	path := filepath.Join(t.TempDir(), "cars.db")
	openFile(t, path)
	rows, err := raw(t, path).QueryContext(t.Context(), "EXPLAIN QUERY PLAN "+sqlstore.SQLitePurgeSQL("smartcar_records"), 0, 1)
	require.NoError(t, err)
	defer rows.Close()
	plan := ""
	for rows.Next() {
		var a, b, c int
		var detail string
		require.NoError(t, rows.Scan(&a, &b, &c, &detail))
		plan += detail + "\n"
	}
	require.NoError(t, rows.Err())
	require.Contains(t, plan, "smartcar_records_expiry")
	require.NotContains(t, plan, "SCAN")
}

// A database that the user opened, with a driver's defaults.
func TestSQLiteOfTheUser(t *testing.T) {
	kept, err := sqlstore.New(t.Context(), raw(t, filepath.Join(t.TempDir(), "cars.db")), sqlstore.SQLite)
	require.NoError(t, err)
	oneLife(t, kept)
}

func TestSQLiteInMemoryIsRefused(t *testing.T) {
	db, err := sql.Open("sqlite", ":memory:")
	require.NoError(t, err)
	defer db.Close()
	_, err = sqlstore.New(t.Context(), db, sqlstore.SQLite)
	require.ErrorContains(t, err, "store.NewMemory")
}

func TestSQLiteStory(t *testing.T) {
	path := filepath.Join(t.TempDir(), "cars.db")
	var last *sqlite.Store
	story(t, func() store.Store {
		if last != nil {
			require.NoError(t, last.Close()) // the first program has ended
		}
		last = openFile(t, path)
		return last
	})
}

func TestArguments(t *testing.T) {
	_, err := sqlstore.New(t.Context(), nil, sqlstore.SQLite)
	require.ErrorContains(t, err, "no database")
	_, err = sqlstore.New(t.Context(), raw(t, filepath.Join(t.TempDir(), "cars.db")), 0)
	require.ErrorContains(t, err, "unknown dialect")
}

// A later version adds a column; the records stay, an interrupted migration
// leaves nothing behind, and the version before refuses what it does not know.
func TestMigration(t *testing.T) {
	path := filepath.Join(t.TempDir(), "cars.db")
	migration(t, raw(t, path), sqlstore.SQLite, "records")
}

func migration(t *testing.T, db *sql.DB, dialect sqlstore.Dialect, table string) {
	ctx := t.Context()
	kept, err := sqlstore.New(ctx, db, dialect, sqlstore.WithTable(table))
	require.NoError(t, err)
	record, err := kept.CompareAndSwap(ctx, "k", "", []byte("kept"), time.Hour)
	require.NoError(t, err)

	added := "ALTER TABLE " + table + " ADD COLUMN more integer"
	require.Error(t, sqlstore.MigrateWith(ctx, db, dialect, table, added, "no SQL"))
	_, err = sqlstore.New(ctx, db, dialect, sqlstore.WithTable(table))
	require.NoError(t, err, "half a migration was kept")

	errs := make(chan error)
	for range 4 {
		go func() { errs <- sqlstore.MigrateWith(ctx, db, dialect, table, added) }()
	}
	for range 4 {
		require.NoError(t, <-errs)
	}
	loaded, err := kept.Load(ctx, "k") // a replica of the version before goes on
	require.NoError(t, err)
	require.Equal(t, record.Revision, loaded.Revision)
	_, err = kept.CompareAndSwap(ctx, "k", record.Revision, nil, 0)
	require.NoError(t, err)
	_, err = sqlstore.New(ctx, db, dialect, sqlstore.WithTable(table))
	require.ErrorContains(t, err, "schema version 2")
}
