package policy

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Each test here is of a condition of the policy: without it no other test fails.

// A look at the key that has failed is not repeated for each command within a minute: then
// the server decides.
func TestCommandDoesNotWaitForAFailedLook(t *testing.T) {
	l := newLife(ClassStreaming, KeyNotAsked)
	l.step(LearnKey(KeyMissing, FromEndpoint, l.now))
	l.pass(time.Hour)
	require.Equal(t, VerdictRecheck, l.step(AskCommand(true)).Verdict)
	l.step(KeyCheckFailed())
	l.pass(30 * time.Second)
	require.Equal(t, VerdictSend, l.step(AskCommand(true)).Verdict)
	l.pass(time.Minute)
	require.Equal(t, VerdictRecheck, l.step(AskCommand(true)).Verdict)
}

// A trial that did not reach the car is not spent: the next is not a week away.
func TestTrialThatDidNotReachTheCarIsNotSpent(t *testing.T) {
	for _, o := range []Outcome{OutcomeReleased, OutcomeAsleep, OutcomeOK} {
		l := saidSo()
		l.said.trialAt = l.now
		l.pass(2 * time.Hour)
		require.Equal(t, VerdictTake, l.asks())
		l.step(Settle(9, testLease, Result{Outcome: o}))
		l.pass(testRules.asleepPause(maxQuiet))
		require.Equal(t, o != OutcomeOK, l.asks() == VerdictTake, o)
	}
}

// Only data that is newer than the window and than all that is known ends what the limits
// have shown.
func TestTrialNeedsNewerData(t *testing.T) {
	for name, tt := range map[string]struct {
		pushed, answered time.Duration // when the data was recorded, after the window began
		ends             bool
	}{
		"newer":                     {0, time.Hour, true},
		"from before the window":    {0, -time.Minute, false},
		"pushed by an event before": {time.Hour, time.Hour, false},
	} {
		l := saidSo()
		used := l.now
		l.said.trialAt = l.now
		l.pass(2 * time.Hour)
		if tt.pushed != 0 {
			l.step(LearnData(Data{Stored: StoredSome, RecordedAt: used.Add(tt.pushed)}, used.Add(tt.pushed)))
		} else {
			l.data.recordedAt = used.Add(-time.Hour)
		}
		require.Equal(t, VerdictTake, l.asks())
		l.step(Settle(9, testLease, Result{Outcome: OutcomeOK, Data: Data{RecordedAt: used.Add(tt.answered), Stored: StoredSome}}))
		require.Equal(t, !tt.ends, l.SaidKeyless(), name)
	}
}

// A limit is a reason to look at a key that is thought to be there, and not at one that is
// missing: that one has its own pace.
func TestLimitBringsNoLookAtAMissingKey(t *testing.T) {
	l := newLife(ClassStreaming, KeyNotAsked)
	l.step(LearnKey(KeyMissing, FromEndpoint, l.now))
	l.limited(3 * time.Hour)
	require.False(t, l.WantsKey(l.now))
	l.step(LearnKey(KeyInstalled, FromWebhook, l.now))
	require.False(t, l.WantsKey(l.now))
	l.limited(3 * time.Hour)
	require.True(t, l.WantsKey(l.now))
}

// A limit without a time was believed for a window while the class was not known. It still is
// where the car turns out to be without its key.
func TestBareLimitOfACarThatTurnsOutKeyless(t *testing.T) {
	l := newLife(ClassUnresolved, KeyNotAsked)
	until := l.now.Add(testRules.KeylessWindow)
	l.limited(0)
	l.step(LearnClass(ClassStreaming), LearnKey(KeyMissing, FromEndpoint, l.now))
	require.Equal(t, until, l.NextData(l.now, testRules).Next)
}

// Another Connect neither looks at a key that is there, nor ends a limit of the server's.
func TestConnectKeepsWhatItDoesNotChange(t *testing.T) {
	l := newLife(ClassStreaming, KeyNotAsked)
	l.step(LearnKey(KeyInstalled, FromEndpoint, l.now))
	l.pass(time.Hour)
	l.step(AccessChanged())
	require.False(t, l.WantsKey(l.now))

	l = saidSo()
	l.limited(20 * time.Hour)
	until := l.now.Add(20 * time.Hour)
	l.step(AccessChanged())
	require.Equal(t, until, l.NextData(l.now, testRules).Next)
}

// Any data that an event brings shows that Smartcar has stored some. Only newer data shows
// that a car which sleeps has woken.
func TestOldDataOfAnEvent(t *testing.T) {
	old := LearnData(Data{Stored: StoredSome, RecordedAt: policyNow.Add(-time.Hour)}, policyNow.Add(-time.Hour))
	l := newLife(ClassStreaming, KeyMissing)
	l.data.recordedAt = policyNow
	require.Equal(t, VerdictTake, l.asks())
	l.step(Settle(9, testLease, Result{Outcome: OutcomeReleased, Data: Data{Stored: StoredNothing}}))
	require.Equal(t, RuleNothing, l.NextData(l.now, testRules).Rule)
	l.step(old)
	require.Equal(t, VerdictTake, l.asks())

	l.step(Settle(9, testLease, Result{Outcome: OutcomeAsleep}))
	require.Equal(t, WakeAsleep, l.Wake())
	require.Equal(t, RuleAsleep, l.NextData(l.now, testRules).Rule)
	l.step(old)
	require.Equal(t, RuleAsleep, l.NextData(l.now, testRules).Rule)
}

// A request whose end nobody knows has used the turn until its lease ends. What comes back
// for another request meanwhile, and a key that is found missing, make that no earlier.
func TestTurnIsNeverUsedEarlier(t *testing.T) {
	for name, then := range map[string][]Event{
		"another request was answered": {settled(8, OutcomeOK, 0)},
		"the key is gone":              {LearnKey(KeyInstalled, FromCommand, policyNow), LearnKey(KeyMissing, FromWebhook, policyNow)},
	} {
		l := newLife(ClassStreaming, KeyMissing)
		require.Equal(t, VerdictTake, l.asks())
		l.step(settled(9, OutcomeUnclear, 0))
		until := l.NextData(l.now, testRules).Next
		require.Equal(t, policyNow.Add(testLease+testRules.KeylessWindow), until)
		l.step(then...)
		require.Equal(t, until, l.NextData(l.now, testRules).Next, name)
	}
}

// The turn that is kept for those who have not heard of a removed key belongs to nobody: what
// comes back for a request without a turn does not free it, and the car was never asked.
func TestTurnThatIsKeptForThoseWhoHaveNotHeard(t *testing.T) {
	l := newLife(ClassStreaming, KeyNotAsked)
	l.step(LearnKey(KeyInstalled, FromEndpoint, l.now))
	l.pass(time.Hour)
	l.step(LearnKey(KeyMissing, FromWebhook, l.now))
	kept := l.NextData(l.now, testRules)
	require.False(t, kept.Next.IsZero())
	at, _ := l.LastTurn(l.now)
	require.Zero(t, at)
	l.step(settled(0, OutcomeReleased, 0))
	require.Equal(t, kept, l.NextData(l.now, testRules))
}

// A reset closes no car that was never under a rule: its reads have taken no turn.
func TestResetOfACarThatWasReadWithoutATurn(t *testing.T) {
	for _, class := range []Class{ClassLegacy, ClassOther} {
		for _, o := range []Outcome{OutcomeOK, OutcomeUnclear} {
			l := newLife(class, KeyNotAsked)
			l.step(settled(0, o, 0))
			l.pass(time.Hour)
			l.step(Reset())
			l.pass(time.Hour)
			require.Equal(t, VerdictTake, l.asks(), class)
		}
	}
}
