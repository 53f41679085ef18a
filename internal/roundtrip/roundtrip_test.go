package roundtrip

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestReadAtMost(t *testing.T) {
	for _, announced := range []int64{-1, 0, 5, 6, 7, 1 << 40} {
		body, err := ReadAtMost(strings.NewReader("answer"), 6, announced)
		require.NoError(t, err)
		require.Equal(t, "answer", string(body))

		body, err = ReadAtMost(strings.NewReader("answers"), 6, announced)
		require.ErrorIs(t, err, ErrTooLarge)
		require.Equal(t, "answer", string(body), "what could be read")
	}
	long := strings.Repeat("x", 1<<20)
	body, err := ReadAtMost(strings.NewReader(long), 1<<20, -1)
	require.NoError(t, err)
	require.Equal(t, long, string(body))

	body, err = ReadAtMost(io.MultiReader(strings.NewReader("ans"), failing{}), 6, -1)
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	require.Equal(t, "ans", string(body))
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

func TestNotSent(t *testing.T) {
	for text, want := range map[string]bool{
		"http2: Transport received Server's graceful shutdown GOAWAY":                                                                                               true,
		"http2: Transport received GOAWAY from server ErrCode:NO_ERROR":                                                                                             true,
		"stream error: stream ID 5; REFUSED_STREAM; received from peer":                                                                                             true,
		"stream error: stream ID 5; INTERNAL_ERROR; received from peer":                                                                                             false,
		"stream error: stream ID five; REFUSED_STREAM":                                                                                                              false,
		"the server said: http2: Transport received Server's graceful shutdown GOAWAY":                                                                              false,
		"http2: Transport: cannot retry err [stream error: stream ID 5; REFUSED_STREAM] after":                                                                      false,
		"http2: Transport: cannot retry err [stream error: stream ID 5; REFUSED_STREAM] after Request.Body was written; define Request.GetBody to avoid this error": true,
		"EOF": false,
	} {
		err := errors.New(text)
		require.Equal(t, want, NotSent(err), text)
		require.Equal(t, want, NotSent(fmt.Errorf("wrapped: %w", errors.Join(io.EOF, err))), text)
	}
	require.True(t, NotSent(&net.OpError{Op: "dial", Err: io.EOF}))
	require.False(t, NotSent(&net.OpError{Op: "read", Err: io.EOF}))
	require.True(t, NotSent(fmt.Errorf("wrapped: %w", &net.DNSError{})))
	require.False(t, NotSent(nil))
}

// A transport may leave out what a test does not need.
func TestAnswersOfSimpleTransports(t *testing.T) {
	for name, answer := range map[string]*http.Response{"empty": {}, "none": nil} {
		req, err := New(t.Context(), http.MethodGet, "https://api.example", nil, true)
		require.NoError(t, err)
		resp, err := Send(transport(func(*http.Request) (*http.Response, error) { return answer, nil }), req.Request)
		if answer == nil {
			require.ErrorIs(t, err, errNoAnswer, name)
			continue
		}
		require.NoError(t, err)
		require.NotNil(t, resp.Header)
		body, err := Body(resp, 10, 10)
		require.NoError(t, err)
		require.Empty(t, body)
	}
}

type transport func(*http.Request) (*http.Response, error)

func (f transport) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// What must not be repeated has a body that cannot be rewound, even a GET.
func TestRequestsThatAreNotRepeated(t *testing.T) {
	for _, method := range []string{http.MethodGet, http.MethodPost} {
		for _, body := range [][]byte{nil, []byte("{}")} {
			req, err := New(t.Context(), method, "https://api.example", body, false)
			require.NoError(t, err)
			require.Nil(t, req.GetBody)
			require.Equal(t, method == http.MethodPost && body == nil, req.Body == nil)
			require.False(t, req.NotSent(io.EOF), "no connection was asked for")
			req.watch.asked.Store(true)
			require.True(t, req.NotSent(io.EOF), "no connection was ever there")
			req.watch.connected.Store(true)
			require.False(t, req.NotSent(io.EOF))
		}
	}
	_, err := New(t.Context(), "BAD METHOD", "https://api.example", nil, false)
	require.Error(t, err)
}
