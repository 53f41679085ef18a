//go:build unix

package sqlstore_test

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgconn/ctxwatch"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/seed-498a1bc4/smartcar/sqlstore"
	"github.com/stretchr/testify/require"
)

// server is a PostgreSQL on loopback, with a cluster of its own.
type server struct {
	bin, data string
	port      int
	settings  []string
	as        *syscall.SysProcAttr
	process   *exec.Cmd
	log       bytes.Buffer
	tables    atomic.Int64
}

// startServer starts a server that ends with the test. Settings are "name=value".
func startServer(t testing.TB, settings ...string) *server {
	t.Helper()
	dir := t.TempDir()
	s := &server{bin: binaries(t), data: filepath.Join(dir, "cluster"), as: serverUser(t)}
	s.settings = append([]string{
		"listen_addresses=127.0.0.1", "unix_socket_directories=", "fsync=on", "synchronous_commit=on",
	}, settings...)
	require.NoError(t, os.Mkdir(s.data, 0o700))
	if s.as.Credential != nil {
		require.NoError(t, os.Chmod(filepath.Dir(dir), 0o711)) // the test's own, made for root alone
		require.NoError(t, os.Chown(s.data, int(s.as.Credential.Uid), int(s.as.Credential.Gid)))
	}
	initdb := exec.CommandContext(t.Context(), filepath.Join(s.bin, "initdb"),
		"-D", s.data, "-U", "app", "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync")
	initdb.SysProcAttr, initdb.Dir, initdb.Env = s.as, s.data, []string{"PATH=/usr/bin:/bin", "LC_ALL=C"}
	out, err := initdb.CombinedOutput()
	require.NoError(t, err, "%s", out)
	s.start(t)
	t.Cleanup(func() { s.end(syscall.SIGQUIT) })
	return s
}

// binaries finds the newest server that is installed.
func binaries(t testing.TB) string {
	t.Helper()
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	if path, err := exec.LookPath("postgres"); err == nil {
		found = append(found, path)
	}
	if len(found) == 0 {
		if os.Getenv("CI") == "true" {
			t.Fatal("PostgreSQL is not installed: apt-get install postgresql")
		}
		t.Skip("PostgreSQL is not installed")
	}
	slices.SortFunc(found, func(a, b string) int { return version(b) - version(a) })
	return filepath.Dir(found[0])
}

func version(path string) int {
	n, _ := strconv.Atoi(filepath.Base(filepath.Dir(filepath.Dir(path))))
	return n
}

// serverUser is not root, which the server refuses to run as.
func serverUser(t testing.TB) *syscall.SysProcAttr {
	t.Helper()
	if os.Getuid() != 0 {
		return &syscall.SysProcAttr{}
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		u, err = user.Lookup("nobody")
	}
	require.NoError(t, err)
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	require.NoError(t, err)
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	require.NoError(t, err)
	return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
}

// start returns when the server answers. It tries again for a while: after a
// kill -9, the old server's children may still be there, and a port may be taken.
func (s *server) start(t testing.TB) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; {
		s.launch(t)
		if s.answers() {
			return
		}
		s.end(syscall.SIGKILL)
		require.True(t, time.Now().Before(deadline), "%s", s.log.String())
	}
}

func (s *server) launch(t testing.TB) {
	t.Helper()
	if s.port == 0 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		s.port = l.Addr().(*net.TCPAddr).Port
		require.NoError(t, l.Close())
	}
	args := []string{"-D", s.data, "-p", strconv.Itoa(s.port)}
	for _, setting := range s.settings {
		args = append(args, "-c", setting)
	}
	// Not bound to the test's context: that ends before the cleanups.
	s.process = exec.CommandContext(context.Background(), filepath.Join(s.bin, "postgres"), args...) //nolint:usetesting // see above
	s.process.SysProcAttr, s.process.Dir = s.as, s.data
	s.process.Env = []string{"PATH=/usr/bin:/bin", "LC_ALL=C"}
	s.log.Reset()
	s.process.Stdout, s.process.Stderr = &s.log, &s.log
	s.process.WaitDelay = time.Second // the old server's children hold the pipe
	require.NoError(t, s.process.Start())
}

// answers waits a few seconds for the server.
func (s *server) answers() bool {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	for ctx.Err() == nil && syscall.Kill(s.process.Process.Pid, 0) == nil {
		conn, err := pgx.Connect(ctx, s.url())
		if err == nil {
			return conn.Close(ctx) == nil
		}
		time.Sleep(20 * time.Millisecond)
	}
	return false
}

// end sends the signal and waits. SIGQUIT is an immediate shutdown, after which
// the server recovers from its log as it does after SIGKILL.
func (s *server) end(signal syscall.Signal) {
	_ = s.process.Process.Signal(signal)
	_ = s.process.Wait()
}

// stopWALWriter stops the process that writes what a commit did not wait for,
// and returns its id.
func (s *server) stopWALWriter(t testing.TB) int {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), s.url())
	require.NoError(t, err)
	defer conn.Close(t.Context())
	var pid int
	require.NoError(t, conn.QueryRow(t.Context(), "SELECT pid FROM pg_stat_activity WHERE backend_type = 'walwriter'").Scan(&pid))
	require.NoError(t, syscall.Kill(pid, syscall.SIGSTOP))
	return pid
}

func (s *server) url(params ...string) string {
	return fmt.Sprintf("postgres://app@127.0.0.1:%d/postgres?sslmode=disable&connect_timeout=5&%s", s.port, strings.Join(params, "&"))
}

// open returns a pool that is closed with the test.
func (s *server) open(t testing.TB, params ...string) *sql.DB {
	t.Helper()
	config, err := pgx.ParseConfig(s.url(params...))
	require.NoError(t, err)
	return pool(t, config)
}

// waiting has statements canceled and waited for when their context ends, so
// that nothing is done after the call.
func (s *server) waiting(t testing.TB) *pgx.ConnConfig {
	t.Helper()
	config, err := pgx.ParseConfig(s.url())
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
