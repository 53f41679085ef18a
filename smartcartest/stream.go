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

// lateBody is the body of a streamed answer in memory. Read waits until
// readableAt. It needs no goroutine, and ends early when the request's context
// ends or the client closes the body.
type lateBody struct {
	readableAt  time.Time
	body        *bytes.Reader
	drop        bool
	requestDone <-chan struct{}
	requestErr  func() error
	closed      chan struct{}
	once        sync.Once
}

// newLateBody is readable from at on; with drop it is never read, but fails
// like a dropped connection.
func newLateBody(ctx context.Context, at time.Time, body []byte, drop bool) *lateBody {
	return &lateBody{readableAt: at, body: bytes.NewReader(body), drop: drop, requestDone: ctx.Done(), requestErr: ctx.Err, closed: make(chan struct{})}
}

func (b *lateBody) Read(p []byte) (int, error) {
	t := time.NewTimer(max(0, time.Until(b.readableAt)))
	defer t.Stop()
	select { // first alone: the end of the request counts even if the timer has fired too
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
