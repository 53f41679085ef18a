package sqlstore_test

import (
	"database/sql"
	"encoding/binary"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/sqlstore/sqlite"
	"github.com/stretchr/testify/require"
)

// A car's record is 72 bytes.
func carValue() []byte { return make([]byte, 72) }

// Bare is what the same database does for the plainest statements.
type bare struct{ upsert, get string }

func BenchmarkSQLite(b *testing.B) {
	for name, opts := range map[string][]sqlite.Option{"full": nil, "normal": {sqlite.WithNormalSync()}} {
		b.Run(name, func(b *testing.B) {
			path := filepath.Join(b.TempDir(), "cars.db")
			store := openFile(b, path, opts...)
			db, err := sql.Open("sqlite", "file:"+path+"?_synchronous="+name+"&_busy_timeout=10000")
			require.NoError(b, err)
			b.Cleanup(func() { require.NoError(b, db.Close()) })
			benchmarks(b, store, db, bare{
				upsert: "INSERT INTO bare VALUES (?1, ?2) ON CONFLICT (k) DO UPDATE SET v = excluded.v",
				get:    "SELECT v FROM bare WHERE k = ?1",
			}, "CREATE TABLE bare (k TEXT PRIMARY KEY, v BLOB NOT NULL)")
		})
	}
}

func benchmarks(b *testing.B, store smartcar.Store, db *sql.DB, plain bare, create string) {
	ctx, value := b.Context(), carValue()
	_, err := db.ExecContext(ctx, create)
	require.NoError(b, err)
	_, err = db.ExecContext(ctx, plain.upsert, "car", value)
	require.NoError(b, err)
	record, err := store.CompareAndSwap(ctx, "car", "", value, time.Hour)
	require.NoError(b, err)
	swap := func() error {
		var err error
		record, err = store.CompareAndSwap(ctx, "car", record.Revision, value, time.Hour)
		return err
	}
	measure := func(name string, call func() error) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := call(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	n := uint64(0)
	measure("bare upsert", func() error {
		n++
		binary.NativeEndian.PutUint64(value, n) // SQLite does not write what is there already
		_, err := db.ExecContext(ctx, plain.upsert, "car", value)
		return err
	})
	measure("swap", swap)
	measure("turn", func() error { // reserve and settle
		if err := swap(); err != nil {
			return err
		}
		return swap()
	})
	made := 0
	measure("create", func() error {
		made++
		_, err := store.CompareAndSwap(ctx, fmt.Sprint(b.Name(), "/", made, "/", time.Now().UnixNano()), "", value, time.Hour)
		return err
	})
	measure("refused swap", func() error {
		if _, err := store.CompareAndSwap(ctx, "car", "other", value, time.Hour); err != smartcar.ErrConflict { //nolint:errorlint // the cost of nothing else
			return fmt.Errorf("not refused: %w", err)
		}
		return nil
	})
	measure("bare select", func() error {
		var v []byte
		return db.QueryRowContext(ctx, plain.get, "car").Scan(&v)
	})
	measure("load", func() error { _, err := store.Load(ctx, "car"); return err })
}
