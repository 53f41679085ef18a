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

// lateBody is a body that can be read from a time on. It needs no goroutine: Read
// waits, until the request's context ends or somebody closes the body.
type lateBody struct {
	readableAt  time.Time
	body        *bytes.Reader
	drop        bool
	requestDone <-chan struct{} // of the request
	requestErr  func() error
	closed      chan struct{}
	once        sync.Once
}

func newLateBody(ctx context.Context, at time.Time, body []byte, drop bool) *lateBody {
	return &lateBody{readableAt: at, body: bytes.NewReader(body), drop: drop, requestDone: ctx.Done(), requestErr: ctx.Err, closed: make(chan struct{})}
}

func (b *lateBody) Read(p []byte) (int, error) {
	t := time.NewTimer(max(0, time.Until(b.readableAt)))
	defer t.Stop()
	select { // the end of the request comes first, also when both are there
	case <-b.requestDone:
		return 0, b.requestErr()
	case <-b.closed:
		return 0, http.ErrBodyReadAfterClose
	default:
	}
	select {
	case <-b.requestDone:
		return 0, b.requestErr()
	case <-b.closed:
		return 0, http.ErrBodyReadAfterClose
	case <-t.C:
	}
	if b.drop {
		return 0, fmt.Errorf("smartcartest: connection dropped: %w", io.ErrUnexpectedEOF)
	}
	return b.body.Read(p)
}

func (b *lateBody) Close() error {
	b.once.Do(func() { close(b.closed) })
	return nil
}
