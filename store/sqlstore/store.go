package sqlstore

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/seed-498a1bc4/smartcar/store"
)

// A Dialect is the kind of database.
type Dialect int

const (
	// SQLite 3.35 or newer, as a file. Package sqlite opens one rightly; of a
	// database opened elsewhere, the durability is what its pragmas give it.
	SQLite Dialect = iota + 1
	// Postgres is PostgreSQL 12 or newer. Any isolation level will do.
	Postgres
)

const (
	defaultTable = "smartcar_records"
	// Each purgeEvery-th write removes up to purgeRows expired rows. That is more rows
	// than so many writes can make, so expired rows do not pile up.
	purgeEvery = 64
	purgeRows  = 100
	// purgeTime bounds how long the write waits for that.
	purgeTime = time.Second
	// deleteRows is how many rows DeleteExpired removes in one transaction, so
	// that it holds nobody up.
	deleteRows = 1000
	// listRows is a page of List.
	listRows = 1000

	revisionSize = 16
)

// Store is a [store.Store] on a SQL database. It is safe for concurrent use,
// by any number of Stores in any number of processes on the same table. It
// starts no goroutine and holds no state of its own, so there is nothing to
// close but the database.
type Store struct {
	backend backend
	writes  atomic.Uint64
}

// backend is what differs between databases. Its methods may return the two
// errors of a store.Store or any other.
type backend interface {
	// load returns a Record with the store's time even without a record.
	load(ctx context.Context, key string) (store.Record, error)
	// swap writes under the given fresh revision, and returns the current
	// record with ErrConflict. ttl is zero or positive.
	swap(ctx context.Context, key string, old, fresh []byte, value []byte, ttl time.Duration) (store.Record, error)
	remove(ctx context.Context, key string, old []byte) error
	// list returns up to limit keys from first on and behind after, in order.
	list(ctx context.Context, first, after string, limit int) ([]string, error)
	// purge removes at most limit expired rows.
	purge(ctx context.Context, limit int) (int64, error)
	schema
}

// An Option changes how a [Store] is made.
type Option func(*options) error

type options struct{ table string }

// WithTable names the table, so that several clients can share a database: a
// lower-case letter, then up to 47 lower-case letters, digits and underscores.
func WithTable(name string) Option {
	return func(o *options) error {
		if !regexp.MustCompile(`^[a-z][a-z0-9_]{0,47}$`).MatchString(name) {
			return fmt.Errorf("sqlstore: the table's name %q is not a lower-case letter and up to 47 of a-z, 0-9 and _", name)
		}
		o.table = name
		return nil
	}
}

// New returns a store on db, after creating or updating its schema. The
// database stays the caller's: New changes none of its settings, and the caller
// closes it after the last use of the store. The context bounds New alone.
func New(ctx context.Context, db *sql.DB, dialect Dialect, opts ...Option) (*Store, error) {
	if db == nil {
		return nil, errors.New("sqlstore: no database")
	}
	o := options{table: defaultTable}
	for _, opt := range opts {
		if err := opt(&o); err != nil {
			return nil, err
		}
	}
	var b backend
	switch dialect {
	case SQLite:
		b = newSQLite(db, o.table)
	case Postgres:
		b = newPostgres(db, o.table)
	default:
		return nil, fmt.Errorf("sqlstore: unknown dialect %d", dialect)
	}
	if err := migrate(ctx, b, o.table, b.steps()); err != nil {
		return nil, failed("schema", err)
	}
	s := &Store{backend: b}
	// Programs that are restarted before their 64th write remove rows, too.
	s.writes.Store(mathrand.Uint64N(purgeEvery))
	return s, nil
}

// ready returns the error of a Store that New has not made.
func (s *Store) ready() error {
	if s == nil || s.backend == nil {
		return errors.New("sqlstore: the Store must come from sqlstore.New")
	}
	return nil
}

// Load implements [store.Store]. Where the database has a clock, Now is set
// even if there is no record.
func (s *Store) Load(ctx context.Context, key string) (store.Record, error) {
	if err := s.ready(); err != nil {
		return store.Record{}, err
	}
	record, err := s.backend.load(ctx, key)
	return record, failed("load", err)
}

// CompareAndSwap implements [store.Store]. Where the database has a clock,
// Now is set even if there is no current record. A negative ttl is no ttl.
func (s *Store) CompareAndSwap(ctx context.Context, key string, old store.Revision, value []byte, ttl time.Duration) (store.Record, error) {
	if err := s.ready(); err != nil {
		return store.Record{}, err
	}
	fresh := make([]byte, revisionSize)
	_, _ = rand.Read(fresh) // never fails; see crypto/rand
	written := append([]byte{}, value...)
	record, err := s.backend.swap(ctx, key, []byte(old), fresh, written, max(ttl, 0))
	if err != nil {
		return record, failed("swap", err)
	}
	record.Value, record.Revision = written, store.Revision(fresh)
	s.wrote(ctx)
	return record, nil
}

// Delete implements [store.Store].
func (s *Store) Delete(ctx context.Context, key string, old store.Revision) error {
	if err := s.ready(); err != nil {
		return err
	}
	return failed("delete", s.backend.remove(ctx, key, []byte(old)))
}

// List implements [store.Lister], in the order of the keys.
func (s *Store) List(ctx context.Context, prefix, cursor string) (keys []string, next string, err error) {
	if err := s.ready(); err != nil {
		return nil, "", err
	}
	keys, err = s.backend.list(ctx, prefix, cursor, listRows)
	if err != nil {
		return nil, "", failed("list", err)
	}
	// Keys with one prefix stand together: the first without it ends the list.
	if end := slices.IndexFunc(keys, func(key string) bool { return !strings.HasPrefix(key, prefix) }); end >= 0 {
		return keys[:end], "", nil
	}
	if len(keys) == listRows {
		next = keys[len(keys)-1]
	}
	return keys, next, nil
}

// scanKeys reads a result of one column.
func scanKeys(ctx context.Context, db *sql.DB, query string, args ...any) (keys []string, err error) {
	rows, err := db.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, ended(ctx, err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var key string
		if err := rows.Scan(&key); err != nil {
			return nil, ended(ctx, err)
		}
		keys = append(keys, key)
	}
	if err := rows.Err(); err != nil {
		return nil, ended(ctx, err)
	}
	return keys, nil
}

// DeleteExpired removes the rows of all records that have expired, a thousand
// in a transaction, and returns how many there were. Several processes may call
// it at once. Nothing but disk space depends on it.
func (s *Store) DeleteExpired(ctx context.Context) (int64, error) {
	if err := s.ready(); err != nil {
		return 0, err
	}
	var total int64
	for {
		n, err := s.backend.purge(ctx, deleteRows)
		total += n
		if err != nil || n < deleteRows {
			return total, failed("delete expired", err)
		}
	}
}

// wrote follows each write that landed, and now and then takes the time to
// remove expired rows. Whether that works has nothing to do with the write.
func (s *Store) wrote(ctx context.Context) {
	if s.writes.Add(1)%purgeEvery != 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, purgeTime)
	defer cancel()
	_, _ = s.backend.purge(ctx, purgeRows)
}

// failed names this package in an error that is not one of the two answers of a store.
func failed(what string, err error) error {
	if err == nil || errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrConflict) {
		return err
	}
	return fmt.Errorf("sqlstore: %s: %w", what, err)
}

var (
	_ store.Store  = (*Store)(nil)
	_ store.Lister = (*Store)(nil)
)
