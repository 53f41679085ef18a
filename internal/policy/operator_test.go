package policy

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestPaused(t *testing.T) {
	rules := testRules
	until := policyNow.Add(30 * 24 * time.Hour)
	for name, s := range map[string]State{"nothing known": {}, "everything known": everything(), "another make": {class: classKnown{is: ClassOther}}} {
		s, _ := Step(&s, Paused(until).OnClock(policyNow, policyNow), policyNow, rules)
		d := s.NextData(policyNow, rules)
		require.Equal(t, Decision{Next: until, Rule: RulePaused}, d, name)
		_, d = Step(&s, AskData(1, time.Minute), policyNow.Add(time.Hour), rules)
		require.Equal(t, VerdictRefuse, d.Verdict, name)
		_, d = Step(&s, AskCommand(true), policyNow, rules)
		require.NotEqual(t, VerdictRefuse, d.Verdict, "a pause is of reads")
		require.NotEqual(t, RulePaused, s.NextData(until, rules).Rule, name)
		s, _ = Step(&s, Paused(time.Time{}).OnClock(policyNow, policyNow), policyNow, rules)
		require.NotEqual(t, RulePaused, s.NextData(policyNow, rules).Rule, name)
	}
}

// What the operator takes back is learned again; the window stays shut meanwhile, and
// afterwards if the car turns out to be keyless again.
func TestResetKeepsTheWindow(t *testing.T) {
	rules := testRules
	s := keylessState(policyNow)
	s.turn.usedAt = policyNow
	s.pausedTo = policyNow.Add(time.Minute)
	s.data = everything().data
	at := policyNow.Add(time.Hour)
	s, _ = Step(&s, Reset(), at, rules)
	require.Equal(t, ClassUnresolved, s.Class())
	require.Equal(t, KeyNotAsked, s.Key())
	require.True(t, s.WantsClass(at))
	require.Equal(t, RuleKeyless, s.NextData(at, rules).Rule)
	require.False(t, s.pausedTo.IsZero())
	s, _ = Step(&s, LearnClass(ClassStreaming), at, rules)
	require.Equal(t, policyNow.Add(rules.KeylessWindow), s.NextData(at, rules).Next)
	paired, _ := Step(&s, LearnKey(KeyInstalled, FromEndpoint, at), at, rules)
	require.Zero(t, paired.NextData(at, rules).Next)
	other, _ := Step(&s, LearnClassByVIN(ClassOther), at, rules)
	require.Zero(t, other.NextData(at, rules).Next)
	require.Zero(t, s.data)
}

// If the class cannot be told any more, the window stays until it is over, and no longer.
// One that was booked only because the class was not known does not.
func TestResetKeepsTheWindowOfACarWhoseClassCannotBeTold(t *testing.T) {
	const lease = time.Minute
	rules := testRules
	end := policyNow.Add(rules.KeylessWindow)
	for _, before := range []Class{ClassStreaming, ClassUnresolved} {
		s := keylessState(policyNow)
		s.class = classKnown{is: before}
		s.turn.usedAt = policyNow
		at := policyNow.Add(time.Hour)
		for _, e := range []Event{Reset(), Reset(), ClassNotTold(), DataTellsNoClass()} {
			s, _ = Step(&s, e, at, rules)
			var err error
			s, err = Decode(Encode(&s, 1))
			require.NoError(t, err)
		}
		require.Equal(t, ClassUnknown, s.Class())
		if before == ClassUnresolved {
			require.Zero(t, s.NextData(at, rules).Next)
			continue
		}
		require.Equal(t, Decision{Next: end, Rule: RuleKeyless}, s.NextData(at, rules))
		running := s.RunningWindow()
		require.Equal(t, end, running.NextData(at, rules).Next)
		again, _ := Step(&s, LearnClass(ClassUnknown), at, rules)
		require.Equal(t, end, again.NextData(at, rules).Next)
		paired, _ := Step(&s, LearnKey(KeyInstalled, FromCommand, at), at, rules)
		require.Zero(t, paired.NextData(at, rules).Next)
		other, _ := Step(&s, LearnClass(ClassOther), at, rules)
		require.Zero(t, other.NextData(at, rules).Next)
		s, d := Step(&s, AskDataAndLeave(1, lease), end, rules)
		require.Equal(t, VerdictSend, d.Verdict, "the window is over")
		s, _ = Step(&s, Settle(0, lease, Result{Outcome: OutcomeOK}), end, rules)
		require.Zero(t, s.NextData(end, rules).Next)
	}
}

// A car that has no window has none after a reset, if its class cannot be told any more.
func TestResetMakesNoWindow(t *testing.T) {
	rules := testRules
	for name, s := range map[string]State{
		"paired":       {class: classKnown{is: ClassStreaming}, key: keyKnown{is: KeyInstalled, at: policyNow}},
		"not told":     {class: classKnown{is: ClassUnknown}},
		"legacy":       {class: classKnown{is: ClassLegacy}},
		"another make": {class: classKnown{is: ClassOther}},
	} {
		s.turn.usedAt = policyNow
		at := policyNow.Add(time.Hour)
		for _, e := range []Event{Reset(), ClassNotTold(), DataTellsNoClass()} {
			s, _ = Step(&s, e, at, rules)
		}
		require.Equal(t, ClassUnknown, s.Class())
		require.Zero(t, s.NextData(at, rules), name)
	}
}

// So does a limit without a time, which a car without its key believes for a window.
func TestResetKeepsALimitWithoutATime(t *testing.T) {
	const lease = time.Minute
	rules := testRules
	end := policyNow.Add(rules.KeylessWindow)
	s := keylessState(policyNow.Add(-2 * rules.KeylessWindow))
	s, d := Step(&s, AskDataAndLeave(1, lease), policyNow, rules)
	require.Equal(t, VerdictTake, d.Verdict)
	s, _ = Step(&s, Settle(1, lease, Result{Outcome: OutcomeLimited}), policyNow, rules)
	at := policyNow.Add(time.Hour)
	for _, e := range []Event{Reset(), ClassNotTold(), DataTellsNoClass()} {
		s, _ = Step(&s, e, at, rules)
		require.Equal(t, end, s.NextData(at, rules).Next)
	}
	other, _ := Step(&s, LearnClass(ClassOther), at, rules)
	require.Zero(t, other.NextData(at, rules).Next)
	require.Zero(t, s.NextData(end, rules).Next)
}

// A car whose class is not known has a window although its key's signal has shown a key.
// Forgetting where the key was seen must not end the window.
func TestRunningWindowStaysWithoutItsSource(t *testing.T) {
	for _, class := range []Class{ClassUnresolved, ClassUnknown, ClassStreaming, ClassLegacy, ClassOther} {
		for _, key := range []Key{KeyNotAsked, KeyMissing, KeyInstalled, KeyUnavailable} {
			for _, source := range []KeySource{FromNowhere, FromEndpoint, FromSignal, FromCommand} {
				s := State{class: classKnown{is: class}, key: keyKnown{is: key, source: source}}
				if s.Keyless() {
					rest := s.RunningWindow()
					require.True(t, rest.Keyless(), "%v %v %v", class, key, source)
				}
			}
		}
	}
}

// What other clocks doubt of a window is doubted of what stays of it, too.
func TestRunningWindowStaysAsLongAsItIsDoubted(t *testing.T) {
	s := keylessState(policyNow.Add(-9 * time.Hour))
	s.turn.usedAt = policyNow.Add(-9 * time.Hour)
	s.doubt.turn = 8 * time.Hour // the clock was set forward by as much since
	next := s.NextData(policyNow, testRules).Next
	require.Equal(t, policyNow.Add(7*time.Hour), next)
	rest := s.RunningWindow()
	require.Equal(t, next, rest.NextData(policyNow, testRules).Next)
}

// What the last turn gave is told with its own time, never with that of another turn.
func TestLastTurn(t *testing.T) {
	const lease = time.Minute
	read := func(s State, nonce uint64, at time.Time, o Outcome) State {
		s, d := Step(&s, AskDataAndLeave(nonce, lease), at, testRules)
		require.Equal(t, VerdictTake, d.Verdict)
		s, _ = Step(&s, Settle(nonce, 0, Result{Outcome: o}), at, testRules)
		return s
	}
	first, second := policyNow, policyNow.Add(9*time.Hour)
	data := read(keylessState(time.Time{}), 1, first, OutcomeOK)
	at, gave := data.LastTurn(second)
	require.Equal(t, OutcomeOK, gave)
	require.Equal(t, first, at)

	released := read(data, 2, second, OutcomeReleased)
	at, gave = released.LastTurn(second)
	require.Equal(t, OutcomeReleased, gave)
	require.Zero(t, at, "it was given back")

	sent, _ := Step(&data, AskDataAndLeave(3, lease), second, testRules)
	at, gave = sent.LastTurn(second)
	require.Equal(t, OutcomeNone, gave, "it is under way")
	require.Equal(t, first, at)
	at, gave = sent.LastTurn(second.Add(2 * lease))
	require.Equal(t, OutcomeUnclear, gave, "whoever has sent it has died")
	require.Equal(t, second.Add(lease), at)
}
