package sqlstore_test

import (
	"database/sql"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/seed-498a1bc4/smartcar/store"
	"github.com/seed-498a1bc4/smartcar/store/sqlstore"
	"github.com/stretchr/testify/require"
)

// What follows is run on both databases.

// oneLife is a record's life, for what storetest need not be run for again.
func oneLife(t *testing.T, kept store.Store) {
	t.Helper()
	ctx := t.Context()
	_, err := kept.Load(ctx, "k")
	require.ErrorIs(t, err, store.ErrNotFound)
	a, err := kept.CompareAndSwap(ctx, "k", "", []byte{0, 0xff}, time.Hour)
	require.NoError(t, err)
	current, err := kept.CompareAndSwap(ctx, "k", "", nil, 0)
	require.ErrorIs(t, err, store.ErrConflict)
	require.Equal(t, a.Revision, current.Revision)
	require.Equal(t, []byte{0, 0xff}, current.Value)
	b, err := kept.CompareAndSwap(ctx, "k", a.Revision, nil, 0)
	require.NoError(t, err)
	require.ErrorIs(t, kept.Delete(ctx, "k", a.Revision), store.ErrConflict)
	loaded, err := kept.Load(ctx, "k")
	require.NoError(t, err)
	require.Equal(t, b.Revision, loaded.Revision)
	require.Equal(t, []byte{}, loaded.Value)
	require.NoError(t, kept.Delete(ctx, "k", b.Revision))
	require.NoError(t, kept.Delete(ctx, "k", b.Revision))
}

// schemas are the starts that find something else than an empty database.
func schemas(t *testing.T, db *sql.DB, table func() string, open func(table string) (*sqlstore.Store, error)) {
	exec := func(t *testing.T, query string) {
		t.Helper()
		_, err := db.ExecContext(t.Context(), query)
		require.NoError(t, err)
	}
	t.Run("from the future", func(t *testing.T) {
		name := table()
		_, err := open(name)
		require.NoError(t, err)
		exec(t, "UPDATE "+name+"_schema SET version = 999")
		_, err = open(name)
		require.ErrorContains(t, err, "schema version 999")
		require.ErrorContains(t, err, "update the program")
	})
	t.Run("from version 0", func(t *testing.T) {
		name := table()
		exec(t, "CREATE TABLE "+name+"_schema (version integer NOT NULL)")
		exec(t, "INSERT INTO "+name+"_schema VALUES (0)")
		kept, err := open(name)
		require.NoError(t, err)
		oneLife(t, kept)
	})
	t.Run("of somebody else", func(t *testing.T) {
		name := table()
		exec(t, "CREATE TABLE "+name+" (theirs integer)")
		_, err := open(name)
		require.ErrorContains(t, err, "already exists")
		exec(t, "SELECT theirs FROM "+name)
		_, err = open(name) // and nothing was half done
		require.ErrorContains(t, err, "already exists")
	})
	t.Run("bad names", func(t *testing.T) {
		for _, name := range []string{"", "A", "1a", "a-b", `a"b`, "a.b", "a b", "ä", strings.Repeat("a", 49)} {
			_, err := open(name)
			require.ErrorContains(t, err, "table's name", name)
		}
		for _, name := range []string{"select", "user", strings.Repeat("a", 48)} {
			kept, err := open(name)
			require.NoError(t, err, name)
			oneLife(t, kept)
		}
	})
}

// expiredRows: they are gone for all, and then they are gone. Past is an instant
// in the database's own terms.
func expiredRows(t *testing.T, kept *sqlstore.Store, db *sql.DB, table, past string) {
	ctx := t.Context()
	rows := func() (n int) {
		require.NoError(t, db.QueryRowContext(ctx, "SELECT count(*) FROM "+table).Scan(&n))
		return n
	}
	add := func(n int, prefix string, ttl time.Duration) {
		for i := range n {
			_, err := kept.CompareAndSwap(ctx, fmt.Sprint(prefix, i), "", []byte("x"), ttl)
			require.NoError(t, err)
		}
	}
	expire := func() {
		_, err := db.ExecContext(ctx, "UPDATE "+table+" SET expires_at = "+past+" WHERE key LIKE 'brief/%'")
		require.NoError(t, err)
	}
	add(5, "kept/", 0)
	add(5, "long/", time.Hour)
	add(230, "brief/", time.Hour)
	expire()
	_, err := kept.Load(ctx, "brief/229")
	require.ErrorIs(t, err, store.ErrNotFound)
	require.Equal(t, 240, rows())
	written := 0
	for rows() > 10+written { // some writes remove the rest
		add(1, fmt.Sprint("more/", written, "/"), time.Hour)
		written++
		require.LessOrEqual(t, written, 64*3+1)
	}
	require.Greater(t, written, 64*2, "the rows were not removed in small batches")

	add(60, "brief/", time.Hour)
	expire()
	n, err := kept.DeleteExpired(ctx)
	require.NoError(t, err)
	require.EqualValues(t, 60, n)
	require.Equal(t, 10+written, rows())
	n, err = kept.DeleteExpired(ctx)
	require.NoError(t, err)
	require.Zero(t, n)
}
