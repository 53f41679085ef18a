// Package testserver runs real database servers for tests: each on loopback, in
// a folder of its own, gone with the test. A server that is not installed skips
// the test, and fails it where CI=true: there all tests have to run.
package testserver

import (
	"context"
	"net"
	"os"
	"testing"
	"time"
)

// startTime is how long a server may take until it answers.
const startTime = 30 * time.Second

// missing ends a test whose server is not installed.
func missing(t testing.TB, required bool, what string) {
	t.Helper()
	if required && os.Getenv("CI") == "true" {
		t.Fatalf("%s: CI has to run these tests", what)
	}
	t.Skip(what)
}

// freePort returns a port that is free for the moment.
func freePort(t testing.TB) int {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().(*net.TCPAddr).Port
}

// pause waits before the next look at a server; false when ctx has ended.
func pause(ctx context.Context) bool {
	timer := time.NewTimer(10 * time.Millisecond)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// dial opens a connection that does not outlive the next seconds.
func dial(ctx context.Context, addr string) (net.Conn, error) {
	dialer := net.Dialer{Timeout: time.Second}
	conn, err := dialer.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	return conn, conn.SetDeadline(time.Now().Add(5 * time.Second))
}
