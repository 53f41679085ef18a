// Package sqlite opens a SQLite file as a store.Store: durable without a
// server, for the processes of one machine. It links a SQLite without cgo.
//
//	store, err := sqlite.Open(ctx, "/var/lib/app/cars.db")
//	defer store.Close()
//	client, err := smartcar.New(config, smartcar.WithStore(store))
//
// # What survives
//
// A write that was answered without error survives a crash of the program and
// of the machine, as far as the disk keeps its word: the file has a write-ahead
// log (WAL), and each write waits until the log is on the disk (synchronous =
// FULL, and F_FULLFSYNC on macOS). [WithNormalSync] trades that for speed.
//
// # Several processes
//
// They may use one file at the same time if they run on one machine, whose
// clock decides when records expire. Do not put the file on a network file
// system: WAL needs shared memory. Beside the file stand two more, with the
// suffixes -wal and -shm; they belong to it, in a backup as well.
//
// # Secrets
//
// A new file can be read by its owner only; the mode of an existing one is left
// alone. What is deleted or written over is zeroed in the file, but stays in the
// log until that is used again: seal the store if others can read the disk.
package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/seed-498a1bc4/smartcar/store/sqlstore"
	"modernc.org/sqlite"
)

const (
	// busyTime is how long a write waits for other processes when its context
	// has no earlier end.
	busyTime = 10 * time.Second
	// connections bounds how many readers there are at once. Writers take turns.
	connections = 8

	sqliteBusy = 5 // SQLITE_BUSY
)

// Store is a [sqlstore.Store] that has its file open.
type Store struct {
	*sqlstore.Store
	db *sql.DB
}

// An Option changes how a file is opened.
type Option func(*options) error

type options struct {
	synchronous string
	store       []sqlstore.Option
}

// WithTable is [sqlstore.WithTable].
func WithTable(name string) Option {
	return func(o *options) error {
		o.store = append(o.store, sqlstore.WithTable(name))
		return nil
	}
}

// WithNormalSync lets writes return before they are on the disk (synchronous =
// NORMAL), which makes them several times faster. The price: they still survive
// a crash of the program, but after a crash of the machine or a power cut the
// last ones may be gone, though the file is intact. For a car without its key
// that is a second request within its eight hours, and for a user it can be a
// refresh token that was just replaced: the login is lost.
func WithNormalSync() Option {
	return func(o *options) error {
		o.synchronous = "NORMAL"
		return nil
	}
}

// Open opens the file at path, or creates it with its schema; the folder must
// exist. Any number of processes may do so at the same time. The path is a plain
// one, no URI, and no database in memory: use store.NewMemory for
// that. The context bounds Open alone. Close the store after its last use.
func Open(ctx context.Context, path string, opts ...Option) (*Store, error) {
	o := options{synchronous: "FULL"}
	for _, opt := range opts {
		if err := opt(&o); err != nil {
			return nil, err
		}
	}
	path, err := checkPath(path)
	if err != nil {
		return nil, err
	}
	if err := create(path); err != nil {
		return nil, fmt.Errorf("sqlstore: create: %w", err)
	}
	db, err := sql.Open("sqlite", dsn(path, o))
	if err != nil {
		return nil, fmt.Errorf("sqlstore: open: %w", err)
	}
	db.SetMaxOpenConns(connections)
	db.SetMaxIdleConns(connections) // opening one costs more than keeping it
	store, err := open(ctx, db, o)
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return &Store{Store: store, db: db}, nil
}

// Close closes the file. Calls under way may fail, calls afterwards do.
func (s *Store) Close() error {
	if err := s.db.Close(); err != nil {
		return fmt.Errorf("sqlstore: close: %w", err)
	}
	return nil
}

func checkPath(path string) (string, error) {
	switch {
	case path == "":
		return "", errors.New("sqlstore: no path")
	case strings.Contains(path, ":memory:"):
		return "", errors.New("sqlstore: a database in memory would survive nothing: use store.NewMemory")
	case strings.HasPrefix(path, "file:"):
		return "", errors.New("sqlstore: the path must be a plain one, not a URI")
	case strings.ContainsRune(path, 0):
		return "", errors.New("sqlstore: the path holds a zero byte")
	}
	// Absolute, so that all connections open the same file wherever the program
	// changes to.
	path, err := filepath.Abs(path)
	if err != nil {
		return "", fmt.Errorf("sqlstore: %w", err)
	}
	return path, nil
}

// create makes an empty file that only its owner can read, unless there is one.
// The file is made elsewhere and linked: closing a file that SQLite has open in
// this process would drop SQLite's locks on it.
func create(path string) error {
	if _, err := os.Stat(path); err == nil || !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	made, err := os.CreateTemp(filepath.Dir(path), ".new-*") // mode 0600
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(made.Name()) }()
	if err := made.Close(); err != nil {
		return err
	}
	if os.Link(made.Name(), path) == nil {
		return nil
	}
	// Somebody was faster, or the file system has no links.
	file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return file.Close()
}

func dsn(path string, o options) string {
	slashed := filepath.ToSlash(path)
	if !strings.HasPrefix(slashed, "/") {
		slashed = "/" + slashed // a Windows drive
	}
	pragmas := url.Values{"_pragma": {
		fmt.Sprintf("busy_timeout(%d)", busyTime.Milliseconds()),
		"synchronous(" + o.synchronous + ")",
		"fullfsync(1)",
		"secure_delete(1)",
	}}
	return (&url.URL{Scheme: "file", Path: slashed, RawQuery: pragmas.Encode()}).String()
}

func open(ctx context.Context, db *sql.DB, o options) (*sqlstore.Store, error) {
	if err := useWAL(ctx, db); err != nil {
		return nil, fmt.Errorf("sqlstore: open: %w", err)
	}
	return sqlstore.New(ctx, db, sqlstore.SQLite, o.store...)
}

// useWAL switches the file to WAL, which it then stays in. While others do the
// same, SQLite does not wait but says that it is busy.
func useWAL(ctx context.Context, db *sql.DB) error {
	ctx, cancel := context.WithTimeout(ctx, busyTime)
	defer cancel()
	for {
		var mode string
		err := db.QueryRowContext(ctx, "PRAGMA journal_mode = WAL").Scan(&mode)
		if err == nil && mode != "wal" {
			return fmt.Errorf("no write-ahead log on this file system, only journal_mode %s", mode)
		}
		var e *sqlite.Error
		if !errors.As(err, &e) || e.Code()&0xff != sqliteBusy {
			return err
		}
		select {
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		case <-time.After(5 * time.Millisecond):
		}
	}
}
