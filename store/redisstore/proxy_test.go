package redisstore_test

import (
	"net"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

// proxy is a network that cuts connections after the server has answered.
type proxy struct {
	addr string
	// lose is how many replies are still to be lost, each with its connection.
	lose atomic.Int32
}

func startProxy(t *testing.T, server string) *proxy {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	p := &proxy{addr: listener.Addr().String()}
	var open sync.Map
	var running sync.WaitGroup
	t.Cleanup(func() {
		listener.Close()
		open.Range(func(conn, _ any) bool { conn.(net.Conn).Close(); return true })
		running.Wait()
	})
	running.Go(func() {
		for {
			down, err := listener.Accept()
			if err != nil {
				return
			}
			up, err := net.Dial("tcp", server)
			if err != nil {
				down.Close()
				continue
			}
			open.Store(down, nil)
			open.Store(up, nil)
			running.Go(func() { forward(up, down, nil) })
			running.Go(func() { forward(down, up, &p.lose) })
		}
	})
	return p
}

func forward(to, from net.Conn, lose *atomic.Int32) {
	defer to.Close()
	defer from.Close()
	buffer := make([]byte, 1<<16)
	for {
		n, err := from.Read(buffer)
		if err != nil || lose != nil && lose.Load() > 0 && lose.Add(-1) >= 0 {
			return
		}
		if _, err := to.Write(buffer[:n]); err != nil {
			return
		}
	}
}
