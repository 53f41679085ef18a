package policy

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestNextUsefulReadOfLegacyTesla(t *testing.T) {
	for name, tt := range map[string]struct{ age, next time.Duration }{
		"just recorded: after the next beat":              {0, 5*time.Minute + 15*time.Second},
		"recorded a minute ago":                           {time.Minute, 4*time.Minute + 15*time.Second},
		"on the beat, which the poller may not have seen": {5 * time.Minute, 15 * time.Second},
		"a beat was missed: the one after":                {7 * time.Minute, 3*time.Minute + 15*time.Second},
		"two refreshes old: asleep":                       {10 * time.Minute, 5*time.Minute + 15*time.Second},
		"a day old: asleep":                               {24 * time.Hour, 5*time.Minute + 15*time.Second},
		"recorded in the future":                          {-time.Hour, 5*time.Minute + 15*time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			next := Cadence{}.Next(policyNow.Add(-tt.age), policyNow, testRules)
			require.Equal(t, tt.next, next.Sub(policyNow))
		})
	}
	require.Equal(t, policyNow.Add(5*time.Minute+15*time.Second), Cadence{}.Next(time.Time{}, policyNow, testRules), "no recording time")
}

// What a clock that has since been set back wrote must not hold for longer
// than the rule and one lease, and a small difference between two readings of
// the same clock must not open a window early.
func TestClockSetBack(t *testing.T) {
	ask := AskDataAndLeave(9, testLease)
	for name, tt := range map[string]struct {
		s    State
		next time.Duration
	}{
		"used in the far future":       {State{turn: turn{usedAt: policyNow.Add(240 * time.Hour)}}, 8*time.Hour + testLease}, // it may be the end of a lease
		"used a moment in the future":  {State{turn: turn{usedAt: policyNow.Add(time.Second)}}, 8*time.Hour + time.Second},
		"a lease in the far future":    {State{turn: turn{phase: phaseSent, nonce: 7, leaseEnd: policyNow.Add(240 * time.Hour)}}, 8*time.Hour + testLease},
		"a limit given in the future":  {State{limit: limit{at: policyNow.Add(240 * time.Hour), to: policyNow.Add(243 * time.Hour)}}, 3 * time.Hour},
		"a reserve in the far future":  {State{turn: turn{phase: phaseReserved, nonce: 7, leaseEnd: policyNow.Add(240 * time.Hour)}}, testLease},
		"nothing in the future at all": {State{turn: turn{usedAt: policyNow.Add(-time.Hour)}}, 7 * time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			tt.s.class.is, tt.s.key.is = ClassStreaming, KeyMissing
			after, d := Step(&tt.s, ask, policyNow, testRules)
			require.Equal(t, VerdictRefuse, d.Verdict)
			require.Equal(t, tt.next, d.Next.Sub(policyNow))
			// The gate stores the state, so the wait does not move with the clock.
			_, again := Step(&after, ask, policyNow.Add(time.Hour), testRules)
			if again.Verdict == VerdictRefuse {
				require.Equal(t, d.Next, again.Next)
			}
		})
	}
}

func TestEvidenceNeverGoesBackwardsInTime(t *testing.T) {
	s := State{class: classKnown{is: ClassStreaming}}
	apply := func(key Key, at time.Time) {
		s, _ = Step(&s, LearnKey(key, FromWebhook, at), policyNow, testRules)
	}
	apply(KeyInstalled, policyNow.Add(-time.Minute))
	apply(KeyMissing, policyNow.Add(-time.Hour))
	require.Equal(t, KeyInstalled, s.Key())
	apply(KeyMissing, policyNow)
	require.Equal(t, KeyMissing, s.Key())
}

// A status that could not be read is no evidence. One that was asked for later than a
// command, while that was under way, does not hide what the command has shown.
func TestStatusThatCannotBeReadHidesNothing(t *testing.T) {
	for _, nothing := range []Event{LearnKey(KeyUnavailable, FromEndpoint, policyNow), KeyCheckFailed()} {
		s, _ := Step(&State{class: classKnown{is: ClassStreaming}}, nothing, policyNow, testRules)
		late, _ := Step(&s, LearnKeyRequired(FromError, policyNow.Add(-time.Minute)), policyNow, testRules)
		require.Equal(t, KeyMissing, late.Key())
	}
	s, _ := Step(&State{class: classKnown{is: ClassStreaming}}, LearnKey(KeyUnavailable, FromEndpoint, policyNow), policyNow, testRules)
	old, _ := Step(&s, LearnKeyRequired(FromWebhook, policyNow.Add(-time.Hour)), policyNow, testRules)
	require.Equal(t, KeyUnavailable, old.Key(), "the key may have been added since")
}

func TestInferenceDoesNotBeatTheServersAnswer(t *testing.T) {
	s, _ := Step(&State{class: classKnown{is: ClassLegacy}}, LearnKeyRequired(FromError, policyNow), policyNow, testRules)
	require.Equal(t, ClassStreaming, s.Class())
	s, _ = Step(&s, LearnClass(ClassLegacy), policyNow, testRules)
	require.Equal(t, ClassStreaming, s.Class())
}
