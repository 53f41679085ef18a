//go:build unix

package testserver

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Postgres is a server of one test, with a cluster of its own. Its methods are
// not for concurrent use.
type Postgres struct {
	bin, data string
	port      int
	settings  []string
	as        *syscall.SysProcAttr
	process   *exec.Cmd
	log       bytes.Buffer
}

// StartPostgres starts the newest installed server, which ends with the test.
// Commits wait for the disk unless settings, "name=value", say otherwise.
// Without a server the test is skipped; it has to be there in CI.
func StartPostgres(t testing.TB, settings ...string) *Postgres {
	t.Helper()
	dir := t.TempDir()
	p := &Postgres{bin: postgresBinaries(t), data: filepath.Join(dir, "cluster"), as: postgresUser(t)}
	p.settings = append([]string{
		"listen_addresses=127.0.0.1", "unix_socket_directories=", "fsync=on", "synchronous_commit=on",
	}, settings...)
	if err := p.create(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.End(syscall.SIGQUIT) })
	p.Start(t)
	return p
}

func (p *Postgres) create(ctx context.Context, dir string) error {
	if err := os.Mkdir(p.data, 0o700); err != nil {
		return err
	}
	if as := p.as.Credential; as != nil {
		// The parent is the test's own, made for root alone.
		if err := errors.Join(os.Chmod(filepath.Dir(dir), 0o711), os.Chown(p.data, int(as.Uid), int(as.Gid))); err != nil {
			return err
		}
	}
	initdb := exec.CommandContext(ctx, filepath.Join(p.bin, "initdb"),
		"-D", p.data, "-U", "app", "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync")
	initdb.SysProcAttr, initdb.Dir, initdb.Env = p.as, p.data, postgresEnv()
	if out, err := initdb.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w\n%s", err, out)
	}
	return nil
}

func postgresEnv() []string { return []string{"PATH=/usr/bin:/bin", "LC_ALL=C"} }

// postgresBinaries finds the newest server that is installed.
func postgresBinaries(t testing.TB) string {
	t.Helper()
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	if path, err := exec.LookPath("postgres"); err == nil {
		found = append(found, path)
	}
	if len(found) == 0 {
		missing(t, true, "PostgreSQL is not installed: apt-get install postgresql")
	}
	version := func(path string) int {
		n, _ := strconv.Atoi(filepath.Base(filepath.Dir(filepath.Dir(path))))
		return n
	}
	slices.SortFunc(found, func(a, b string) int { return version(b) - version(a) })
	return filepath.Dir(found[0])
}

// postgresUser is not root, which the server refuses to run as.
func postgresUser(t testing.TB) *syscall.SysProcAttr {
	t.Helper()
	if os.Getuid() != 0 {
		return &syscall.SysProcAttr{}
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		u, err = user.Lookup("nobody")
	}
	if err != nil {
		t.Fatal(err)
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	gid, gidErr := strconv.ParseUint(u.Gid, 10, 32)
	if err := errors.Join(err, gidErr); err != nil {
		t.Fatal(err)
	}
	return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
}

// URL is the database's address, which stays when the server starts again, with
// further parameters, "name=value".
func (p *Postgres) URL(params ...string) string {
	return fmt.Sprintf("postgres://app@127.0.0.1:%d/postgres?sslmode=disable&connect_timeout=5&%s", p.port, strings.Join(params, "&"))
}

// Start starts a server that has ended again where it was, and returns when it
// answers. It tries for a while: after a kill -9, the old server's children may
// still be there, and a port may be taken.
func (p *Postgres) Start(t testing.TB) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), startTime)
	defer cancel()
	for ctx.Err() == nil {
		p.launch(t)
		if p.answers(ctx) {
			return
		}
		p.End(syscall.SIGKILL)
	}
	t.Fatalf("PostgreSQL does not start:\n%s", p.log.String())
}

// Signal sends the signal and does not wait.
func (p *Postgres) Signal(signal syscall.Signal) error { return p.process.Process.Signal(signal) }

// End sends the signal and waits. SIGQUIT is an immediate shutdown, after which
// the server recovers from its log as it does after SIGKILL.
func (p *Postgres) End(signal syscall.Signal) {
	if p.process != nil {
		_ = p.Signal(signal)
		_ = p.process.Wait()
	}
}

func (p *Postgres) launch(t testing.TB) {
	t.Helper()
	if p.port == 0 {
		p.port = freePort(t)
	}
	args := []string{"-D", p.data, "-p", strconv.Itoa(p.port)}
	for _, setting := range p.settings {
		args = append(args, "-c", setting)
	}
	// Not bound to the test's context: that ends before the cleanups.
	p.process = exec.CommandContext(context.WithoutCancel(t.Context()), filepath.Join(p.bin, "postgres"), args...)
	p.process.SysProcAttr, p.process.Dir, p.process.Env = p.as, p.data, postgresEnv()
	p.log.Reset()
	p.process.Stdout, p.process.Stderr = &p.log, &p.log
	p.process.WaitDelay = time.Second // the old server's children hold the pipe
	if err := p.process.Start(); err != nil {
		t.Fatal(err)
	}
}

// answers waits a few seconds for the server.
func (p *Postgres) answers(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, startTime/3)
	defer cancel()
	for pause(ctx) && syscall.Kill(p.process.Process.Pid, 0) == nil {
		if p.login(ctx) {
			return true
		}
	}
	return false
}

// login opens a session and reads until the server is ready for a query. While
// it recovers, it answers with an error instead.
func (p *Postgres) login(ctx context.Context) bool {
	conn, err := dial(ctx, net.JoinHostPort("127.0.0.1", strconv.Itoa(p.port)))
	if err != nil {
		return false
	}
	defer conn.Close()
	const protocol = 3 << 16
	parameters := "user\x00app\x00database\x00postgres\x00\x00"
	hello := binary.BigEndian.AppendUint32(nil, uint32(8+len(parameters)))
	hello = append(binary.BigEndian.AppendUint32(hello, protocol), parameters...)
	if _, err := conn.Write(hello); err != nil {
		return false
	}
	for {
		var head [5]byte // the message's type and the length of the rest
		if _, err := io.ReadFull(conn, head[:]); err != nil || head[0] == 'E' {
			return false
		}
		if head[0] == 'Z' {
			_, err := conn.Write([]byte{'X', 0, 0, 0, 4})
			return err == nil
		}
		if _, err := io.CopyN(io.Discard, conn, int64(binary.BigEndian.Uint32(head[1:]))-4); err != nil {
			return false
		}
	}
}
