package redisstore

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestMilliseconds(t *testing.T) {
	for ttl, want := range map[time.Duration]int64{
		-1: 0, 0: 0, 1: 1,
		time.Millisecond - 1: 1, time.Millisecond: 1, time.Millisecond + 1: 2,
		time.Second:                     1000,
		time.Duration(math.MaxInt64):    9223372036855,
		time.Duration(math.MinInt64):    0,
		90*24*time.Hour + 1:             7776000001,
		time.Second + time.Nanosecond:   1001,
		time.Second + time.Microsecond:  1001,
		2*time.Millisecond - 1:          2,
		2 * time.Millisecond:            2,
		time.Hour + time.Millisecond*17: 3600017,
	} {
		require.Equal(t, want, milliseconds(ttl), "%d ns", ttl)
	}
}

func TestParseReply(t *testing.T) {
	r, err := parseReply([]any{"1700000000", "123456", int64(1), "data"})
	require.NoError(t, err)
	require.Equal(t, reply{now: time.Unix(1700000000, 123456000), done: true, found: true, data: "data"}, r)
	r, err = parseReply([]any{int64(1700000000), int64(1), int64(0), nil})
	require.NoError(t, err)
	require.False(t, r.found || r.done)
	for name, values := range map[string][]any{
		"nothing":            nil,
		"too short":          {"1", "2"},
		"time is no number":  {"x", "2", int64(1)},
		"time is missing":    {nil, nil, int64(1)},
		"done is missing":    {"1", "2", nil},
		"data is no text":    {"1", "2", int64(1), int64(3)},
		"time is a fraction": {1.5, "2", int64(1)},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := parseReply(values)
			require.ErrorIs(t, err, errReply)
		})
	}
}

// The scripts cut the revision off by numbers of their own.
func TestScriptsKnowTheSizeOfARevision(t *testing.T) {
	require.Equal(t, 17, headSize)
	require.Contains(t, swapSource, "string.sub(ARGV[2], 1, 17)")
	require.Contains(t, swapSource, "GETRANGE', KEYS[1], 0, 16")
	require.Contains(t, deleteSource, "GETRANGE', KEYS[1], 0, 16")
	one, two := newHead(), newHead()
	require.NotEqual(t, one, two)
}
