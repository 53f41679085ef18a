package policy

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// What the server said while the clock was ahead ends like what it said today.
func TestWhatTheServerSaidInTheFuture(t *testing.T) {
	ahead := func() *life {
		l := newLife(ClassStreaming, KeyUnavailable)
		l.pass(61 * 24 * time.Hour)
		l.limited(2 * time.Hour)
		l.pass(-61 * 24 * time.Hour)
		require.Equal(t, VerdictRefuse, l.asks())
		return l
	}
	l := ahead()
	l.pass(time.Minute)
	l.step(LearnKey(KeyInstalled, FromWebhook, l.now))
	require.False(t, l.SaidKeyless(), "the key is there now")
	require.Equal(t, VerdictSend, l.asks())

	l = ahead()
	require.LessOrEqual(t, l.said.trialAt.Sub(l.now), 7*24*time.Hour, "the next trial comes within a week")
}

// A process dies in the middle of a trial. Another one waits for the window.
func TestTrialThatNobodyEnds(t *testing.T) {
	l := saidSo()
	l.said.trialAt = l.now
	l.pass(2 * time.Hour)
	require.Equal(t, VerdictTake, l.asks())
	l.pass(testLease + 2*time.Hour)
	require.Equal(t, VerdictRefuse, l.asks())
	l.pass(6 * time.Hour)
	require.Equal(t, VerdictTake, l.asks())
}
