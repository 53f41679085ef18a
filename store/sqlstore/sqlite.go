package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"strings"
	"time"

	"github.com/seed-498a1bc4/smartcar/store"
)

// sqlite uses a single statement for each write, which is a transaction of its
// own. The write lock is held from its start, so it is never overtaken.
type sqlite struct {
	db    *sql.DB
	table string
	// writing is held by the one goroutine of this process that writes: waiting
	// here is fair and ends at once, while SQLite polls for its lock.
	writing chan struct{}

	loadSQL, insertSQL, updateSQL, deleteSQL, listSQL, purgeSQL string
}

// Times are microseconds since 1970. TABLE is replaced by the quoted name.
const (
	liteLoad = `SELECT revision, value FROM TABLE
WHERE key = ?1 AND (expires_at IS NULL OR expires_at > ?2)`

	liteInsert = `INSERT INTO TABLE AS r (key, value, revision, expires_at) VALUES (?1, ?2, ?3, ?4)
ON CONFLICT (key) DO UPDATE
SET value = excluded.value, revision = excluded.revision, expires_at = excluded.expires_at
WHERE r.expires_at <= ?5`

	liteUpdate = `UPDATE TABLE SET value = ?2, revision = ?3, expires_at = ?4
WHERE key = ?1 AND (expires_at IS NULL OR expires_at > ?5) AND revision = ?6`

	liteDelete = `DELETE FROM TABLE WHERE key = ?1 AND revision = ?2`

	liteList = `SELECT key FROM TABLE
WHERE key >= ?1 AND key > ?2 AND (expires_at IS NULL OR expires_at > ?3) ORDER BY key LIMIT ?4`

	litePurge = `DELETE FROM TABLE WHERE rowid IN (
SELECT rowid FROM TABLE WHERE expires_at <= ?1 ORDER BY expires_at LIMIT ?2)`
)

func newSQLite(db *sql.DB, table string) *sqlite {
	named := func(text string) string { return strings.ReplaceAll(text, "TABLE", `"`+table+`"`) }
	return &sqlite{
		db: db, table: table, writing: make(chan struct{}, 1),
		loadSQL: named(liteLoad), insertSQL: named(liteInsert), updateSQL: named(liteUpdate),
		deleteSQL: named(liteDelete), listSQL: named(liteList), purgeSQL: named(litePurge),
	}
}

func (l *sqlite) load(ctx context.Context, key string) (store.Record, error) {
	return l.loadAt(ctx, key, time.Now())
}

func (l *sqlite) loadAt(ctx context.Context, key string, now time.Time) (store.Record, error) {
	var revision, value []byte
	err := l.db.QueryRowContext(ctx, l.loadSQL, key, now.UnixMicro()).Scan(&revision, &value)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return store.Record{}, store.ErrNotFound
	case err != nil:
		return store.Record{}, ended(ctx, err)
	case value == nil: // some drivers read an empty blob so
		value = []byte{}
	}
	return store.Record{Value: value, Revision: store.Revision(revision)}, nil
}

func (l *sqlite) swap(ctx context.Context, key string, old, fresh, value []byte, ttl time.Duration) (store.Record, error) {
	for {
		now := time.Now()
		query, args := l.insertSQL, []any{key, value, fresh, expiry(now, ttl), now.UnixMicro()}
		if len(old) > 0 {
			query, args = l.updateSQL, append(args, old)
		}
		n, err := l.write(ctx, query, args...)
		if err != nil || n > 0 {
			return store.Record{}, err
		}
		// By the time of the refusal: a clock that jumps back must not make
		// the record that was refused for its age the current one.
		current, err := l.loadAt(ctx, key, now)
		switch {
		case err == nil:
			return current, store.ErrConflict
		case !errors.Is(err, store.ErrNotFound):
			return store.Record{}, err
		case len(old) > 0:
			return store.Record{}, store.ErrConflict
		}
		// What was in the way of a new record has gone meanwhile.
	}
}

func (l *sqlite) remove(ctx context.Context, key string, old []byte) error {
	if len(old) > 0 {
		n, err := l.write(ctx, l.deleteSQL, key, old)
		if err != nil || n > 0 {
			return err
		}
	}
	_, err := l.load(ctx, key)
	switch {
	case err == nil:
		return store.ErrConflict
	case errors.Is(err, store.ErrNotFound):
		return nil
	}
	return err
}

func (l *sqlite) list(ctx context.Context, first, after string, limit int) ([]string, error) {
	return scanKeys(ctx, l.db, l.listSQL, first, after, time.Now().UnixMicro(), limit)
}

func (l *sqlite) purge(ctx context.Context, limit int) (int64, error) {
	return l.write(ctx, l.purgeSQL, time.Now().UnixMicro(), limit)
}

// write returns how many rows were changed.
func (l *sqlite) write(ctx context.Context, query string, args ...any) (int64, error) {
	select {
	case l.writing <- struct{}{}:
		defer func() { <-l.writing }()
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	result, err := l.db.ExecContext(ctx, query, args...)
	if err != nil {
		return 0, ended(ctx, err)
	}
	return result.RowsAffected()
}

// expiry rounds up, as the comparison rounds the present down.
func expiry(now time.Time, ttl time.Duration) any {
	if ttl == 0 {
		return nil
	}
	return now.Add(ttl + time.Microsecond - 1).UnixMicro()
}

var errInMemory = errors.New("this SQLite database is not a file, so nothing in it would survive: use store.NewMemory")

// inTransaction takes the write lock at once. BeginTx would leave that to the
// settings of the driver.
func (l *sqlite) inTransaction(ctx context.Context, work func(execer) error) error {
	conn, err := l.db.Conn(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	var file string
	if err := conn.QueryRowContext(ctx, "SELECT file FROM pragma_database_list WHERE name = 'main'").Scan(&file); err != nil {
		return err
	}
	if file == "" {
		return errInMemory
	}
	if _, err := conn.ExecContext(ctx, "BEGIN IMMEDIATE"); err != nil {
		return err
	}
	err = work(conn)
	if err == nil {
		_, err = conn.ExecContext(ctx, "COMMIT")
	}
	if err != nil {
		_, _ = conn.ExecContext(context.WithoutCancel(ctx), "ROLLBACK")
	}
	return err
}

func (l *sqlite) hasTable(ctx context.Context, e execer, name string) (bool, error) {
	var n int
	err := e.QueryRowContext(ctx, "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = ?1", name).Scan(&n)
	return n > 0, err
}

func (l *sqlite) database() execer { return l.db }

func (l *sqlite) steps() []string {
	return []string{`
CREATE TABLE "` + l.table + `" (
	key        TEXT NOT NULL PRIMARY KEY,
	value      BLOB NOT NULL,
	revision   BLOB NOT NULL,
	expires_at INTEGER
);
CREATE INDEX "` + l.table + `_expiry" ON "` + l.table + `" (expires_at) WHERE expires_at IS NOT NULL`,
	}
}
