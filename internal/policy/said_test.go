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

// A limit doubts the key that a command has shown, also while the class cannot be told.
func TestLimitDoubtsAKeyOfAnyClass(t *testing.T) {
	for _, class := range []Class{ClassStreaming, ClassUnknown, ClassUnresolved} {
		l := newLife(class, KeyNotAsked)
		l.step(LearnKey(KeyInstalled, FromCommand, l.now))
		l.pass(time.Hour)
		l.limited(8 * time.Hour)
		l.pass(time.Hour)
		l.step(AccessChanged(), LearnClass(ClassStreaming), LearnKey(KeyMissing, FromEndpoint, l.now))
		require.Equal(t, KeyMissing, l.Key(), class)
	}
}

// A request that counts only to be safe shows no window of the server's: the one that
// the server keeps may end earlier, and newer data inside of it proves nothing.
func TestNoTrialInsideAWindowThatMayHaveEnded(t *testing.T) {
	for name, tt := range map[string]struct {
		answer Result
		trial  bool
	}{
		"newer data":             {Result{Outcome: OutcomeOK}, true},
		"newer data, of a while": {Result{Outcome: OutcomeOK, Data: Data{FetchedAt: policyNow}}, false},
		"the old data":           {Result{Outcome: OutcomeOK, Data: Data{RecordedAt: policyNow}}, false},
		"an error":               {Result{Outcome: OutcomeAnswered}, false},
		"nothing":                {Result{Outcome: OutcomeUnclear}, false},
	} {
		t.Run(name, func(t *testing.T) {
			l := saidSo()
			l.pass(8 * 24 * time.Hour)
			l.said.trialAt = l.now
			if tt.answer.Data.RecordedAt.IsZero() {
				tt.answer.Data.RecordedAt = l.now
			}
			require.Equal(t, VerdictTake, l.asks())
			l.step(Settle(9, testLease, tt.answer))
			used := l.now
			for l.pass(time.Minute); l.asks() == VerdictRefuse; l.pass(time.Minute) {
			}
			require.Equal(t, tt.trial, l.now.Sub(used) < 8*time.Hour, l.now.Sub(used))
		})
	}
}

// The key's signal does not say whose key it is: while the class is not known, it opens
// nothing. What proves a key on a Tesla does.
func TestSignalOpensNoCarOfUnknownClass(t *testing.T) {
	for source, keyless := range map[KeySource]bool{FromSignal: true, FromCommand: false, FromApplication: false} {
		l := newLife(ClassUnresolved, KeyNotAsked)
		l.step(LearnKey(KeyInstalled, source, l.now))
		require.Equal(t, keyless, l.Keyless(), source)
	}
}
