package smartcartest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"
)

// late is a body that can be read from a time on. It needs no goroutine: Read
// waits, until the request's context ends or somebody closes the body.
type late struct {
	at     time.Time
	body   *bytes.Reader
	drop   bool
	done   <-chan struct{} // of the request
	cause  func() error
	closed chan struct{}
	once   sync.Once
}

func newLate(ctx context.Context, at time.Time, body []byte, drop bool) *late {
	return &late{at: at, body: bytes.NewReader(body), drop: drop, done: ctx.Done(), cause: ctx.Err, closed: make(chan struct{})}
}

func (b *late) Read(p []byte) (int, error) {
	t := time.NewTimer(max(0, time.Until(b.at)))
	defer t.Stop()
	select { // the end of the request comes first, also when both are there
	case <-b.done:
		return 0, b.cause()
	case <-b.closed:
		return 0, http.ErrBodyReadAfterClose
	default:
	}
	select {
	case <-b.done:
		return 0, b.cause()
	case <-b.closed:
		return 0, http.ErrBodyReadAfterClose
	case <-t.C:
	}
	if b.drop {
		return 0, fmt.Errorf("smartcartest: connection dropped: %w", io.ErrUnexpectedEOF)
	}
	return b.body.Read(p)
}

func (b *late) Close() error {
	b.once.Do(func() { close(b.closed) })
	return nil
}
