package testserver

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// serveTime is what no Redis outlives, whatever becomes of its test.
const serveTime = 5 * time.Minute

// FindRedis returns the path of redis-server or valkey-server. Without it the
// test is skipped; redis-server has to be there in CI.
func FindRedis(t testing.TB, name string) string {
	t.Helper()
	binary, err := exec.LookPath(name)
	if err != nil {
		missing(t, name == "redis-server", err.Error())
	}
	return binary
}

// Redis is a server of one test. Its methods are not for concurrent use.
type Redis struct {
	binary, dir string
	port        int
	args        []string
	cmd         *exec.Cmd
	cancel      context.CancelFunc
}

// StartRedis starts a server that ends with the test. It keeps nothing on the
// disk unless args say otherwise: see Durable.
func StartRedis(t testing.TB, binary string, args ...string) *Redis {
	t.Helper()
	r := &Redis{binary: binary, dir: t.TempDir(), args: args}
	t.Cleanup(r.Kill)
	for range 5 { // somebody else may take the port meanwhile
		r.port = freePort(t)
		if r.launch(t) {
			return r
		}
	}
	t.Fatalf("%s does not start:\n%s", binary, r.log())
	return nil
}

// Durable are the args with which no answered write is lost.
func Durable() []string { return []string{"--appendonly", "yes", "--appendfsync", "always"} }

// Addr is the server's host and port. It stays when the server starts again.
func (r *Redis) Addr() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(r.port)) }

// Start starts a killed server again where it was, and returns when it answers.
func (r *Redis) Start(t testing.TB) {
	t.Helper()
	if !r.launch(t) {
		t.Fatalf("%s does not start again:\n%s", r.binary, r.log())
	}
}

// Kill ends the server without a warning.
func (r *Redis) Kill() {
	if r.cmd != nil {
		_ = r.cmd.Process.Kill()
		_ = r.cmd.Wait()
		r.cancel()
		r.cmd = nil
	}
}

func (r *Redis) launch(t testing.TB) bool {
	t.Helper()
	// Not bound to the test's context: that ends before the cleanups.
	life, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), serveTime)
	r.cancel = cancel
	r.cmd = exec.CommandContext(life, r.binary, append([]string{
		"--port", strconv.Itoa(r.port), "--bind", "127.0.0.1", "--dir", r.dir, "--save", "", "--logfile", "server.log",
	}, r.args...)...)
	if err := r.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(life, startTime)
	defer cancel()
	for pause(ctx) {
		if port, ok := r.probe(ctx); ok {
			return port == r.port
		}
	}
	r.Kill()
	return false
}

// probe asks whoever answers at the address for the port that it was given:
// it may be somebody else's server. While it loads, there is no such answer.
func (r *Redis) probe(ctx context.Context) (port int, ok bool) {
	conn, err := dial(ctx, r.Addr())
	if err != nil {
		return 0, false
	}
	defer conn.Close()
	if _, err := fmt.Fprintf(conn, "PING\r\nINFO server\r\nQUIT\r\n"); err != nil {
		return 0, false
	}
	lines := bufio.NewScanner(conn)
	if !lines.Scan() || lines.Text() != "+PONG" {
		return 0, false
	}
	for lines.Scan() {
		if value, found := strings.CutPrefix(lines.Text(), "tcp_port:"); found {
			port, err = strconv.Atoi(value)
			return port, err == nil
		}
	}
	return 0, false
}

func (r *Redis) log() string {
	text, err := os.ReadFile(filepath.Join(r.dir, "server.log"))
	if err != nil {
		return err.Error()
	}
	return string(text)
}
