package policy

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// An event has shown the key of a car whose class is not known, so it is read without a
// turn, and the answer is lost. Then the key is gone: the server may have counted the read.
func TestReadIsBookedBeforeTheClassIsKnown(t *testing.T) {
	for _, class := range []Class{ClassUnresolved, ClassStreaming} {
		s := State{class: classKnown{is: class}}
		s, _ = Step(&s, LearnKey(KeyInstalled, FromWebhook, policyNow), policyNow, testRules)
		asked := policyNow.Add(time.Hour)
		s, d := Step(&s, AskDataAndLeave(1, testLease), asked, testRules)
		require.Equal(t, VerdictSend, d.Verdict)
		result := Result{Outcome: OutcomeUnclear}
		require.True(t, s.WorthStoring(asked, testRules, Settle(0, testLease, result)))
		s, _ = Step(&s, Settle(0, testLease, result), asked, testRules)
		gone := asked.Add(time.Hour)
		s, _ = Step(&s, LearnKey(KeyMissing, FromWebhook, gone), gone, testRules)
		next := s.NextData(gone, testRules).Next
		require.False(t, next.Before(asked.Add(testRules.KeylessWindow)), "%s", next)
		require.False(t, next.After(asked.Add(testRules.KeylessWindow+testLease+readGrain)), "%s", next)
	}
}

// Two events say of the same millisecond that the key is there and that it is gone. They
// come in either order, and the record may have been in the store in between.
func TestEventsOfTheSameMillisecondCloseTheCar(t *testing.T) {
	at := policyNow.Add(100 * time.Microsecond)
	for _, stored := range []bool{true, false} {
		s := State{class: classKnown{is: ClassStreaming}}
		s, _ = Step(&s, LearnKey(KeyMissing, FromWebhook, at), at, testRules)
		if stored {
			var err error
			s, err = Decode(Encode(&s, 1))
			require.NoError(t, err)
		}
		late := at.Add(2 * time.Hour)
		s, _ = Step(&s, LearnKey(KeyInstalled, FromWebhook, at.Add(500*time.Microsecond)), late, testRules)
		require.True(t, s.NeedsKey())
		s, _ = Step(&s, LearnKey(KeyInstalled, FromWebhook, at.Add(time.Millisecond)), late, testRules)
		require.False(t, s.NeedsKey())
	}
}

// A read that took no turn is noted where the car may turn out to have been keyless: its key
// was there, or nobody can tell. Of any other car it is not worth a write.
func TestReadsOfACarThatMayTurnOutKeyless(t *testing.T) {
	for name, tt := range map[string]struct {
		state State
		noted bool
	}{
		"paired":              {State{class: classKnown{is: ClassStreaming}, key: keyKnown{is: KeyInstalled}}, true},
		"paired, by an event": {State{class: classKnown{is: ClassUnresolved}, key: keyKnown{is: KeyInstalled, source: FromWebhook}}, true},
		"status never had":    {State{class: classKnown{is: ClassStreaming}, key: keyKnown{is: KeyUnavailable}}, true},
		"class never told":    {State{class: classKnown{is: ClassUnknown}}, true},
		"legacy":              {State{class: classKnown{is: ClassLegacy}}, false},
		"another make":        {State{class: classKnown{is: ClassOther}}, false},
	} {
		read := settled(0, OutcomeOK, 0)
		require.Equal(t, tt.noted, tt.state.WorthStoring(policyNow, testRules, read), name)
		s, _ := Step(&tt.state, read, policyNow, testRules)
		at := policyNow.Add(time.Hour)
		s, _ = Step(&s, LearnKeyRequired(FromError, at), at, testRules)
		next := s.NextData(at, testRules).Next
		require.Equal(t, tt.noted, !next.Before(policyNow.Add(testRules.KeylessWindow)), name)
	}
}
