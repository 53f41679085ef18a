package smartcar

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
			next := nextLegacy(policyNow.Add(-tt.age), policyNow, DefaultRules())
			require.Equal(t, tt.next, next.Sub(policyNow))
		})
	}
	require.Equal(t, policyNow.Add(5*time.Minute+15*time.Second), nextLegacy(time.Time{}, policyNow, DefaultRules()), "no recording time")
}

// What a clock that has since been set back wrote must not hold for longer
// than the rule and one lease, and a small difference between two readings of
// the same clock must not open a window early.
func TestClockSetBack(t *testing.T) {
	ask := event{kind: askData, nonce: 9, lease: testLease, sent: true}
	for name, tt := range map[string]struct {
		s    carState
		next time.Duration
	}{
		"used in the far future":       {carState{usedAt: policyNow.Add(240 * time.Hour)}, 8 * time.Hour},
		"used a moment in the future":  {carState{usedAt: policyNow.Add(time.Second)}, 8*time.Hour + time.Second},
		"a lease in the far future":    {carState{phase: turnSent, nonce: 7, leaseEnd: policyNow.Add(240 * time.Hour)}, 8*time.Hour + testLease},
		"a limit given in the future":  {carState{limitedAt: policyNow.Add(240 * time.Hour), limitedTo: policyNow.Add(243 * time.Hour)}, 3 * time.Hour},
		"a reserve in the far future":  {carState{phase: turnReserved, nonce: 7, leaseEnd: policyNow.Add(240 * time.Hour)}, testLease},
		"nothing in the future at all": {carState{usedAt: policyNow.Add(-time.Hour)}, 7 * time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			tt.s.class, tt.s.key = classStreaming, keyMissing
			after, d := step(tt.s, ask, policyNow, DefaultRules(), testLease)
			require.Equal(t, verdictRefuse, d.verdict)
			require.Equal(t, tt.next, d.next.Sub(policyNow))
			// The gate stores the state, so the wait does not move with the clock.
			_, again := step(after, ask, policyNow.Add(time.Hour), DefaultRules(), testLease)
			if again.verdict == verdictRefuse {
				require.Equal(t, d.next, again.next)
			}
		})
	}
}

func TestKeyStatusReadsBackOff(t *testing.T) {
	s := carState{class: classStreaming}
	now, reads := policyNow, 0
	for now.Before(policyNow.Add(30 * 24 * time.Hour)) {
		if s.wantsKey(now) {
			reads++
			s, _ = step(s, event{kind: learnKey, key: keyMissing, keySource: fromEndpoint, at: now}, now, DefaultRules(), testLease)
		}
		now = now.Add(time.Minute)
	}
	require.Less(t, reads, 400, "a month of a car polled each minute must leave most of a 500-call plan")
	require.Greater(t, reads, 300, "and pairing must be noticed within hours")

	s, _ = step(s, event{kind: learnKey, key: keyInstalled, keySource: fromEndpoint, at: now}, now, DefaultRules(), testLease)
	require.False(t, s.wantsKey(now.Add(time.Hour)), "an installed key is not asked about again")
	s, _ = step(s, event{kind: settle, outcome: outcomeLimited, retryAfter: time.Minute}, now, DefaultRules(), testLease)
	require.True(t, s.wantsKey(now.Add(time.Hour)), "unless Smartcar limits the car: the key may be gone")
}

func TestEvidenceNeverGoesBackwardsInTime(t *testing.T) {
	s := carState{class: classStreaming}
	apply := func(key keyKnowledge, at time.Time) {
		s, _ = step(s, event{kind: learnKey, key: key, keySource: fromWebhook, at: at}, policyNow, DefaultRules(), testLease)
	}
	apply(keyInstalled, policyNow.Add(-time.Minute))
	apply(keyMissing, policyNow.Add(-time.Hour))
	require.Equal(t, keyInstalled, s.key)
	apply(keyMissing, policyNow)
	require.Equal(t, keyMissing, s.key)
}

func TestInferenceDoesNotBeatTheServersAnswer(t *testing.T) {
	s, _ := step(carState{class: classLegacy}, event{kind: learnKey, key: keyMissing, keySource: fromError, at: policyNow}, policyNow, DefaultRules(), testLease)
	require.Equal(t, classStreaming, s.class)
	s, _ = step(s, event{kind: learnClass, class: classLegacy}, policyNow, DefaultRules(), testLease)
	require.Equal(t, classStreaming, s.class)
}
