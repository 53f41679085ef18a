package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"hash/crc32"
	"math"
	"strings"
	"time"

	"github.com/seed-498a1bc4/smartcar/store"
)

// postgres uses one statement a call. Only an update that is refused takes a second
// one, which reads the current record: that keeps the first statement plain, and makes
// a write that lands, as nearly all do, a third cheaper.
//
// All parts of a statement share a snapshot, but under READ COMMITTED one that
// had to wait for another transaction sees what that one wrote, while the rest
// of the statement does not. What an insert reports as current is then out of date:
// it contradicts the refusal, and the statement is run again, with a new snapshot. So
// each repetition means that a write of another process succeeded.
type postgres struct {
	db    *sql.DB
	table string

	loadSQL, insertSQL, updateSQL, relaxedSQL, deleteSQL, listSQL, purgeSQL string
}

// The time is read once a statement: clock_timestamp() moves while it runs, and
// statement_timestamp() is when it arrived. TABLE is replaced by the quoted name.
const (
	pgLoad = `
SELECT t.now, r.revision, r.value
FROM (SELECT clock_timestamp() AS now) t
LEFT JOIN TABLE r ON r.key = $1 AND (r.expires_at IS NULL OR r.expires_at > t.now)`

	// The WHERE NOT EXISTS keeps ON CONFLICT, which locks the row that is in
	// its way, for races and for expired rows.
	pgInsert = `
WITH t AS (SELECT clock_timestamp() AS now),
live AS (
	SELECT r.revision, r.value FROM TABLE r, t
	WHERE r.key = $1 AND (r.expires_at IS NULL OR r.expires_at > t.now)
), written AS (
	INSERT INTO TABLE AS r (key, value, revision, expires_at)
	SELECT $1, $2, $3, t.now + $4::bigint * interval '1 microsecond'
	FROM t WHERE NOT EXISTS (SELECT FROM live)
	ON CONFLICT (key) DO UPDATE
	SET value = excluded.value, revision = excluded.revision, expires_at = excluded.expires_at
	WHERE r.expires_at <= (SELECT t.now FROM t)
	RETURNING 1
)
SELECT t.now, EXISTS (SELECT FROM written), live.revision, live.value
FROM t LEFT JOIN live ON true`

	// The time of expiry is rounded up to a grid of $6 seconds. Most writes then
	// leave it alone, and with it the index, so that only the row is written.
	pgUpdate = `
UPDATE TABLE SET value = $2, revision = $3, expires_at = to_timestamp(
	ceil(extract(epoch FROM statement_timestamp() + $4::bigint * interval '1 microsecond') / $6::float8) * $6::float8)
WHERE key = $1 AND revision = $5 AND (expires_at IS NULL OR expires_at > statement_timestamp())
RETURNING statement_timestamp()`

	// pgRelaxed makes the one transaction of a statement not wait for the disk.
	// The condition is evaluated once, where a row is found.
	pgRelaxed = `
AND (SELECT set_config('synchronous_commit', 'off', true)) IS NOT NULL
RETURNING`

	pgDelete = `
WITH deleted AS (
	DELETE FROM TABLE r WHERE r.key = $1 AND r.revision = $2 RETURNING 1
)
SELECT EXISTS (SELECT FROM deleted), r.revision
FROM (SELECT clock_timestamp() AS now) t
LEFT JOIN TABLE r ON r.key = $1 AND (r.expires_at IS NULL OR r.expires_at > t.now)`

	pgList = `
SELECT key FROM TABLE
WHERE key >= $1 AND key > $2 AND (expires_at IS NULL OR expires_at > statement_timestamp()) ORDER BY key LIMIT $3`

	// An array and not IN: it is computed once, whatever the plan. Rows that another
	// transaction has locked are left for the next time.
	pgPurge = `
DELETE FROM TABLE WHERE expires_at <= statement_timestamp() AND key = ANY (ARRAY (
	SELECT key FROM TABLE WHERE expires_at <= statement_timestamp()
	ORDER BY expires_at LIMIT $1 FOR UPDATE SKIP LOCKED))`
)

func newPostgres(db *sql.DB, table string) *postgres {
	named := func(text string) string {
		return strings.ReplaceAll(strings.TrimSpace(text), "TABLE", `"`+table+`"`)
	}
	return &postgres{
		db: db, table: table,
		loadSQL: named(pgLoad), insertSQL: named(pgInsert), updateSQL: named(pgUpdate),
		relaxedSQL: named(strings.Replace(pgUpdate, "\nRETURNING", pgRelaxed, 1)),
		deleteSQL:  named(pgDelete), listSQL: named(pgList), purgeSQL: named(pgPurge),
	}
}

func (p *postgres) load(ctx context.Context, key string) (store.Record, error) {
	var now time.Time
	var revision, value []byte
	if err := p.db.QueryRowContext(ctx, p.loadSQL, key).Scan(&now, &revision, &value); err != nil {
		return store.Record{}, ended(ctx, err)
	}
	if revision == nil {
		return store.Record{Now: now}, store.ErrNotFound
	}
	return store.Record{Value: value, Revision: store.Revision(revision), Now: now}, nil
}

func (p *postgres) swap(ctx context.Context, key string, old, fresh, value []byte, ttl time.Duration) (store.Record, error) {
	if len(old) == 0 {
		return p.insert(ctx, key, fresh, value, ttl)
	}
	update := p.updateSQL
	if store.MayBeLost(ctx) {
		update = p.relaxedSQL
	}
	for {
		var now time.Time
		err := p.db.QueryRowContext(ctx, update, key, value, fresh, microseconds(ttl), old, grid(ttl)).Scan(&now)
		switch {
		case err == nil:
			return store.Record{Now: now}, nil
		case serializationFailed(err):
			continue // another write was faster
		case !errors.Is(err, sql.ErrNoRows):
			return store.Record{}, ended(ctx, err)
		}
		current, err := p.load(ctx, key)
		switch {
		case err != nil && !errors.Is(err, store.ErrNotFound):
			return store.Record{}, err
		case string(current.Revision) != string(old):
			return current, store.ErrConflict
		}
	}
}

func (p *postgres) insert(ctx context.Context, key string, fresh, value []byte, ttl time.Duration) (store.Record, error) {
	for {
		var now time.Time
		var written bool
		var revision, current []byte
		err := p.db.QueryRowContext(ctx, p.insertSQL, key, value, fresh, microseconds(ttl)).Scan(&now, &written, &revision, &current)
		switch {
		case err != nil && !serializationFailed(err):
			return store.Record{}, ended(ctx, err)
		case err != nil || !written && revision == nil:
			continue // another write was faster
		case written:
			return store.Record{Now: now}, nil
		}
		return store.Record{Value: current, Revision: store.Revision(revision), Now: now}, store.ErrConflict
	}
}

func (p *postgres) remove(ctx context.Context, key string, old []byte) error {
	for {
		var deleted bool
		var revision []byte
		err := p.db.QueryRowContext(ctx, p.deleteSQL, key, old).Scan(&deleted, &revision)
		switch {
		case err != nil && !serializationFailed(err):
			return ended(ctx, err)
		case err != nil || !deleted && len(old) > 0 && string(revision) == string(old):
			continue // another write was faster
		case deleted || revision == nil:
			return nil
		}
		return store.ErrConflict
	}
}

func (p *postgres) list(ctx context.Context, first, after string, limit int) ([]string, error) {
	return scanKeys(ctx, p.db, p.listSQL, first, after, limit)
}

func (p *postgres) purge(ctx context.Context, limit int) (int64, error) {
	result, err := p.db.ExecContext(ctx, p.purgeSQL, limit)
	if err != nil {
		return 0, ended(ctx, err)
	}
	return result.RowsAffected()
}

// microseconds rounds up, so that the shortest ttl is not none.
func microseconds(ttl time.Duration) any {
	if ttl == 0 {
		return nil
	}
	return int64((ttl-1)/time.Microsecond) + 1
}

// grid is how exactly a record expires, in seconds: to a hundredth of its life,
// if that is long.
func grid(ttl time.Duration) float64 {
	if ttl < time.Hour {
		return 1e-6
	}
	return math.Ceil(ttl.Seconds() / 100)
}

// serializationFailed reports whether a statement failed because another transaction
// was faster, without doing anything. It happens if the user has raised the isolation
// level.
func serializationFailed(err error) bool {
	var state interface{ SQLState() string }
	return errors.As(err, &state) && state.SQLState() == "40001"
}

// ended adds the context's error if that is why a driver gave up: not all of
// them say so.
func ended(ctx context.Context, err error) error {
	if cause := ctx.Err(); cause != nil && !errors.Is(err, cause) {
		return errors.Join(cause, err)
	}
	return err
}

// advisoryClass keeps our advisory locks from those of others.
const advisoryClass = 0x736d6361

func (p *postgres) inTransaction(ctx context.Context, work func(execer) error) error {
	tx, err := p.db.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelReadCommitted})
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	lock := int32(crc32.ChecksumIEEE([]byte(p.table)))
	if _, err := tx.ExecContext(ctx, "SELECT pg_advisory_xact_lock($1::integer, $2::integer)", advisoryClass, lock); err != nil {
		return err
	}
	if err := work(tx); err != nil {
		return err
	}
	return tx.Commit()
}

// hasTable reads the catalog as a table. to_regclass may answer from the
// connection's cache, in which a table that was made by another starter while
// we waited for the lock is not there yet.
func (p *postgres) hasTable(ctx context.Context, e execer, name string) (bool, error) {
	var found bool
	err := e.QueryRowContext(ctx, `
SELECT EXISTS (
	SELECT FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
	WHERE c.relname = $1::text AND c.relkind IN ('r', 'p') AND n.nspname = ANY (current_schemas(false)))`, name).Scan(&found)
	return found, err
}

func (p *postgres) database() execer { return p.db }

// steps: revision is bytea because callers may pass any bytes as one; collation
// "C" compares keys as bytes.
func (p *postgres) steps() []string {
	return []string{`
CREATE TABLE "` + p.table + `" (
	key        text COLLATE "C" NOT NULL PRIMARY KEY,
	value      bytea NOT NULL,
	revision   bytea NOT NULL,
	expires_at timestamptz
);
CREATE INDEX "` + p.table + `_expiry" ON "` + p.table + `" (expires_at) WHERE expires_at IS NOT NULL`,
	}
}
