package redisstore_test

import (
	"context"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"
	"github.com/seed-498a1bc4/smartcar/redisstore"
	"github.com/stretchr/testify/require"
)

func TestMain(m *testing.M) {
	logging.Disable() // servers that are gone are what these tests are about
	m.Run()
}

// eachServer runs test with every server there is. Redis has to be there in CI.
func eachServer(t *testing.T, test func(t *testing.T, binary string)) {
	t.Helper()
	for _, name := range []string{"redis-server", "valkey-server"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, find(t, name))
		})
	}
}

func find(t testing.TB, name string) string {
	t.Helper()
	binary, err := exec.LookPath(name)
	if err != nil && name == "redis-server" && os.Getenv("CI") == "true" {
		t.Fatalf("%v: CI has to run these tests", err)
	}
	if err != nil {
		t.Skip(err)
	}
	return binary
}

// server is a Redis of this test alone, on loopback.
type server struct {
	binary, dir, addr string
	args              []string
	cmd               *exec.Cmd
}

const (
	startTime = 20 * time.Second
	serveTime = 5 * time.Minute // no server outlives this, whatever the test does
)

// startServer starts a server without persistence, unless args say otherwise.
func startServer(t testing.TB, binary string, args ...string) *server {
	t.Helper()
	s := &server{binary: binary, dir: t.TempDir(), args: args}
	t.Cleanup(s.kill)
	for range 5 { // somebody else may take the port meanwhile
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		s.addr = listener.Addr().String()
		require.NoError(t, listener.Close())
		if s.start(t) {
			return s
		}
	}
	t.Fatalf("%s does not start", binary)
	return nil
}

// start starts the server again where it was, and waits until it answers.
func (s *server) start(t testing.TB) bool {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), serveTime)
	t.Cleanup(cancel)
	_, port, err := net.SplitHostPort(s.addr)
	require.NoError(t, err)
	args := append([]string{
		"--port", port, "--bind", "127.0.0.1", "--dir", s.dir, "--save", "", "--logfile", "server.log",
	}, s.args...)
	s.cmd = exec.CommandContext(ctx, s.binary, args...)
	require.NoError(t, s.cmd.Start())
	probe := redis.NewClient(&redis.Options{Addr: s.addr, MaxRetries: -1, ContextTimeoutEnabled: true})
	defer probe.Close()
	for began := time.Now(); time.Since(began) < startTime; time.Sleep(10 * time.Millisecond) {
		if info, err := probe.Info(t.Context(), "server").Result(); err == nil {
			return strings.Contains(info, "tcp_port:"+port)
		}
	}
	s.kill()
	return false
}

// kill ends the server without a warning.
func (s *server) kill() {
	if s.cmd != nil {
		_ = s.cmd.Process.Kill()
		_ = s.cmd.Wait()
		s.cmd = nil
	}
}

// client is a new client of the server, with go-redis's own retries.
func (s *server) client(t testing.TB) *redis.Client {
	t.Helper()
	return clientOf(t, s.addr)
}

func clientOf(t testing.TB, addr string) *redis.Client {
	t.Helper()
	client := redis.NewClient(&redis.Options{Addr: addr, ContextTimeoutEnabled: true})
	t.Cleanup(func() { client.Close() })
	return client
}

func newStore(t testing.TB, client redis.UniversalClient, opts ...redisstore.Option) *redisstore.Store {
	t.Helper()
	store, err := redisstore.New(client, opts...)
	require.NoError(t, err)
	return store
}
