package sqlite_test

import (
	"bufio"
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed-498a1bc4/smartcar/store"
	"github.com/seed-498a1bc4/smartcar/store/sqlstore/sqlite"
	"github.com/seed-498a1bc4/smartcar/store/storetest"
	"github.com/stretchr/testify/require"
)

func open(t testing.TB, path string, opts ...sqlite.Option) *sqlite.Store {
	t.Helper()
	kept, err := sqlite.Open(t.Context(), path, opts...)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, kept.Close()) })
	return kept
}

func newPath(t testing.TB) string { return filepath.Join(t.TempDir(), "cars.db") }

func TestConformance(t *testing.T) {
	path := newPath(t)
	storetest.Run(t, func(t *testing.T) store.Store { return open(t, path) }, storetest.Shared())
}

func TestConformanceNormalSync(t *testing.T) {
	path := newPath(t)
	storetest.Run(t, func(t *testing.T) store.Store {
		return open(t, path, sqlite.WithNormalSync(), sqlite.WithTable("others"))
	})
}

func TestConcurrentStarters(t *testing.T) {
	for range 5 {
		path := newPath(t)
		var wg sync.WaitGroup
		errs := make(chan error, 12)
		for range 12 {
			wg.Go(func() {
				kept, err := sqlite.Open(t.Context(), path)
				if err == nil {
					err = kept.Close()
				}
				errs <- err
			})
		}
		wg.Wait()
		close(errs)
		for err := range errs {
			require.NoError(t, err)
		}
	}
}

func TestPaths(t *testing.T) {
	for path, want := range map[string]string{
		"":                           "no path",
		":memory:":                   "store.NewMemory",
		"file::memory:?cache=shared": "store.NewMemory",
		"file:cars.db":               "URI",
		"a\x00b":                     "zero byte",
	} {
		_, err := sqlite.Open(t.Context(), path)
		require.ErrorContains(t, err, want, path)
	}
	_, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "no folder", "cars.db"))
	require.Error(t, err)
	_, err = sqlite.Open(t.Context(), t.TempDir())
	require.Error(t, err)
	_, err = sqlite.Open(t.Context(), newPath(t), sqlite.WithTable("a-b"))
	require.ErrorContains(t, err, "table's name")
	notOurs := newPath(t)
	require.NoError(t, os.WriteFile(notOurs, []byte(strings.Repeat("not a database ", 100)), 0o600))
	_, err = sqlite.Open(t.Context(), notOurs)
	require.ErrorContains(t, err, "not a database")

	for _, name := range []string{"a b.db", "a?b#c%25d&e=f;g", "a'b\"c", "汽车", "_pragma=x"} {
		path := filepath.Join(t.TempDir(), name)
		kept := open(t, path)
		_, err := kept.CompareAndSwap(t.Context(), "k", "", []byte("v"), 0)
		require.NoError(t, err)
		require.FileExists(t, path)
	}
	t.Chdir(t.TempDir())
	open(t, "relative.db")
	require.FileExists(t, "relative.db")
}

// Tokens are nobody else's to read, in none of the three files.
func TestMode(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("no modes")
	}
	path := newPath(t)
	kept := open(t, path)
	_, err := kept.CompareAndSwap(t.Context(), "k", "", []byte("v"), 0)
	require.NoError(t, err)
	files, err := os.ReadDir(filepath.Dir(path))
	require.NoError(t, err)
	require.Len(t, files, 3)
	for _, file := range files {
		info, err := file.Info()
		require.NoError(t, err)
		require.Equal(t, os.FileMode(0o600), info.Mode(), file.Name())
	}

	shared := newPath(t)
	require.NoError(t, os.WriteFile(shared, nil, 0o660))
	require.NoError(t, os.Chmod(shared, 0o660))
	open(t, shared)
	info, err := os.Stat(shared)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o660), info.Mode())
}

// What makes a write durable holds on every connection, however many there are.
func TestDurabilitySettings(t *testing.T) {
	for want, opts := range map[int][]sqlite.Option{2: nil, 1: {sqlite.WithNormalSync()}} {
		kept := open(t, newPath(t), opts...)
		for range 8 {
			conn, err := kept.DB().Conn(t.Context())
			require.NoError(t, err)
			defer conn.Close()
			for pragma, want := range map[string]string{
				"journal_mode": "wal", "synchronous": fmt.Sprint(want), "fullfsync": "1", "busy_timeout": "10000", "secure_delete": "1",
			} {
				var got string
				require.NoError(t, conn.QueryRowContext(t.Context(), "PRAGMA "+pragma).Scan(&got))
				require.Equal(t, want, got, pragma)
			}
		}
	}
}

func TestDeletedIsZeroed(t *testing.T) {
	path, secret := newPath(t), rand.Text()
	kept, err := sqlite.Open(t.Context(), path)
	require.NoError(t, err)
	for i, size := range []int{1, 5000} {
		key, value := fmt.Sprint("k", i), strings.Repeat(secret, size)
		r, err := kept.CompareAndSwap(t.Context(), key, "", []byte(value), 0)
		require.NoError(t, err)
		require.NoError(t, kept.Delete(t.Context(), key, r.Revision))
	}
	require.NoError(t, kept.Close()) // the log is written back and removed
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	require.NotContains(t, string(content), secret)
	require.NoFileExists(t, path+"-wal")
}

// While another process holds the lock, a write waits no longer than its
// context, and a read does not wait.
func TestWaitingHonorsContext(t *testing.T) {
	path := newPath(t)
	kept := open(t, path)
	record, err := kept.CompareAndSwap(t.Context(), "k", "", []byte("v"), 0)
	require.NoError(t, err)
	other, err := sql.Open("sqlite", "file:"+path)
	require.NoError(t, err)
	defer other.Close()
	conn, err := other.Conn(t.Context())
	require.NoError(t, err)
	defer conn.Close()
	_, err = conn.ExecContext(t.Context(), "BEGIN IMMEDIATE")
	require.NoError(t, err)

	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	began := time.Now()
	errs := make(chan error)
	for range 2 { // one waits for the lock, one for its turn in this process
		go func() {
			_, err := kept.CompareAndSwap(ctx, "k", record.Revision, []byte("w"), 0)
			errs <- err
		}()
	}
	for range 2 {
		require.ErrorIs(t, <-errs, context.DeadlineExceeded)
	}
	_, err = kept.Load(t.Context(), "k")
	require.NoError(t, err)
	require.Less(t, time.Since(began), 5*time.Second)

	_, err = conn.ExecContext(t.Context(), "ROLLBACK")
	require.NoError(t, err)
	_, err = kept.CompareAndSwap(t.Context(), "k", record.Revision, []byte("w"), 0)
	require.NoError(t, err)
}

// The children of the tests below are this program, started again.
const (
	childPath = "SQLITE_CHILD_PATH"
	childRole = "SQLITE_CHILD_ROLE"
)

func TestMain(m *testing.M) {
	if path := os.Getenv(childPath); path != "" {
		if err := child(path, os.Getenv(childRole)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

func child(path, role string) error {
	ctx := context.Background()
	kept, err := sqlite.Open(ctx, path)
	if err != nil {
		return err
	}
	if role == "counter" {
		if err := count(ctx, kept, 40); err != nil {
			return err
		}
		return kept.Close()
	}
	for i := 1; ; i++ { // until killed
		r, err := kept.Load(ctx, "car")
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
		if r, err = kept.CompareAndSwap(ctx, "car", r.Revision, fmt.Append(nil, i), time.Hour); err != nil {
			return err
		}
		fmt.Printf("%s\n", r.Value)
	}
}

func start(t *testing.T, path, role string) (*exec.Cmd, *bufio.Scanner) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), childPath+"="+path, childRole+"="+role)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	return cmd, bufio.NewScanner(out)
}

// A swap that was answered is there after its process was killed, at whatever
// instant. That says nothing of a power cut, for which TestDurabilitySettings
// stands.
func TestKilled(t *testing.T) {
	path := newPath(t)
	survivor := open(t, path) // a second process, which sees no damage either
	for round := range 10 {
		cmd, lines := start(t, path, "writer")
		for range 2*round + 1 {
			require.True(t, lines.Scan())
		}
		require.NoError(t, cmd.Process.Kill())
		last := lines.Text()
		for lines.Scan() { // what it still said before it died
			last = lines.Text()
		}
		require.Error(t, cmd.Wait())
		answered, err := strconv.Atoi(last)
		require.NoError(t, err)
		found, err := survivor.Load(t.Context(), "car")
		require.NoError(t, err)
		stored, err := strconv.Atoi(string(found.Value))
		require.NoError(t, err)
		// The last one may have been stored without being answered.
		require.Contains(t, []int{answered, answered + 1}, stored)
	}
	require.NoError(t, checkIntegrity(t, survivor))
}

func checkIntegrity(t *testing.T, kept *sqlite.Store) error {
	t.Helper()
	var result string
	err := kept.DB().QueryRowContext(t.Context(), "PRAGMA integrity_check").Scan(&result)
	require.Equal(t, "ok", result)
	return err
}

// Several processes add to one number.
func TestProcesses(t *testing.T) {
	path := newPath(t)
	var children []*exec.Cmd
	for range 4 {
		cmd, _ := start(t, path, "counter")
		children = append(children, cmd)
	}
	for _, cmd := range children {
		require.NoError(t, cmd.Wait())
	}
	record, err := open(t, path).Load(t.Context(), "counter")
	require.NoError(t, err)
	require.Equal(t, "160", string(record.Value))
}

// count adds one n times; it checks that a conflict shows what is newer than
// all seen before.
func count(ctx context.Context, kept store.Store, n int) error {
	var current store.Record
	seen := 0
	for done := 0; done < n; {
		next, err := kept.CompareAndSwap(ctx, "counter", current.Revision, fmt.Append(nil, seen+1), 0)
		if err != nil && !errors.Is(err, store.ErrConflict) {
			return err
		}
		if err == nil {
			done++
		}
		var value int
		if _, scanErr := fmt.Sscan(string(next.Value), &value); scanErr != nil {
			return fmt.Errorf("no current record: %w", scanErr)
		}
		if value <= seen || next.Revision == current.Revision {
			return fmt.Errorf("a record out of date: %d after %d (%w)", value, seen, err)
		}
		current, seen = next, value
	}
	return nil
}
