package roundtrip

import (
	"errors"
	"net"
	"slices"
	"strings"
)

// NotSent knows the errors after which the server has done nothing of a request:
// no byte of it left, or the HTTP/2 peer says that it did not process it. After
// any other error the request may have been carried out.
func NotSent(err error) bool {
	var dns *net.DNSError
	var op *net.OpError
	return errors.As(err, &dns) || errors.As(err, &op) && op.Op == "dial" || isUnprocessed(err)
}

// The texts of net/http for a stream that the peer has not processed, by RFC 9113,
// 8.7. Their types are not exported, and a request whose body cannot be sent again,
// as are all that take a turn, gets the text alone, inside another one. The test
// that meets a real HTTP/2 peer fails when a version of Go words them otherwise.
const (
	http2GoAway       = "http2: Transport received Server's graceful shutdown GOAWAY"
	http2GoAwayFirst  = "http2: Transport received GOAWAY from server ErrCode:" // the first stream of a connection, with an error
	http2StreamPrefix = "stream error: stream ID "
	http2Refused      = "; REFUSED_STREAM"
	http2FromPeer     = "; received from peer"
	http2NoRetry      = "http2: Transport: cannot retry err ["
	http2NoRetryEnd   = "] after Request.Body was written; "
)

// isUnprocessed looks for such a text in everything that err wraps or joins.
func isUnprocessed(err error) bool {
	if err == nil {
		return false
	}
	if saysUnprocessed(err.Error()) {
		return true
	}
	switch wrapped := err.(type) { //nolint:errorlint // this is the walk that errors.Is makes
	case interface{ Unwrap() error }:
		return isUnprocessed(wrapped.Unwrap())
	case interface{ Unwrap() []error }:
		return slices.ContainsFunc(wrapped.Unwrap(), isUnprocessed)
	}
	return false
}

// saysUnprocessed compares the whole text: what a server can have quoted in an
// error is never all of it. A GOAWAY ends with these errors only the streams
// beyond the last one that the peer names.
func saysUnprocessed(text string) bool {
	if wrapped, ok := strings.CutPrefix(text, http2NoRetry); ok {
		if text, _, ok = strings.Cut(wrapped, http2NoRetryEnd); !ok {
			return false
		}
	}
	if stream, ok := strings.CutPrefix(text, http2StreamPrefix); ok {
		id, refused := strings.CutSuffix(strings.TrimSuffix(stream, http2FromPeer), http2Refused)
		return refused && strings.Trim(id, "0123456789") == ""
	}
	return text == http2GoAway || strings.HasPrefix(text, http2GoAwayFirst)
}
