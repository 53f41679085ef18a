package policy

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Data that nobody asked for moves what is known forward, never back, and takes
// no turn.
func TestLearnData(t *testing.T) {
	now := policyNow
	was := State{
		class: classKnown{is: ClassLegacy},
		data:  dataKnown{nothing: true, wake: WakeAsleep, recordedAt: now.Add(-time.Hour), fetchedAt: now.Add(-time.Hour)},
	}
	learn := func(s State, d Data, asOf time.Time) State {
		s, decision := Step(&s, LearnData(d, asOf), now, testRules)
		require.Zero(t, decision)
		return s
	}
	t.Run("newer", func(t *testing.T) {
		s := learn(was, Data{Stored: StoredSome, RecordedAt: now.Add(-time.Minute)}, now.Add(-30*time.Second))
		want := was
		want.data = dataKnown{wake: WakeAwake, recordedAt: now.Add(-time.Minute), fetchedAt: now.Add(-30 * time.Second), movedAt: now}
		require.Equal(t, want, s)
	})
	t.Run("older", func(t *testing.T) {
		s := learn(was, Data{Stored: StoredSome, RecordedAt: now.Add(-2 * time.Hour), Wake: WakeAwake}, now)
		want := was
		want.data.nothing = false
		require.Equal(t, want, s)
	})
	t.Run("undated", func(t *testing.T) {
		s := learn(was, Data{Wake: WakeAwake}, now)
		require.Equal(t, WakeAwake, s.Wake())
		require.Equal(t, was, learn(was, Data{Wake: WakeAwake}, now.Add(-2*time.Hour)), "older than the data")
		require.Equal(t, was, learn(was, Data{}, now), "it shows nothing")
	})
	t.Run("a clock that is ahead", func(t *testing.T) {
		s := learn(was, Data{Stored: StoredSome, RecordedAt: now.Add(time.Hour)}, now.Add(time.Hour))
		require.Equal(t, []time.Time{now, now}, []time.Time{s.data.recordedAt, s.data.fetchedAt})
		ahead := was
		ahead.data.recordedAt = now.Add(24 * time.Hour)
		require.Equal(t, now, learn(ahead, Data{Stored: StoredSome, RecordedAt: now}, now).data.recordedAt, "is not believed for ever")
	})
	t.Run("the pace of events proves no streaming", func(t *testing.T) {
		s := learn(was, Data{RecordedAt: now.Add(-time.Minute)}, now)
		require.False(t, learn(s, Data{RecordedAt: now}, now).data.streaming.on)
	})
	t.Run("an asleep car", func(t *testing.T) {
		s := learn(State{class: classKnown{is: ClassLegacy}}, Data{RecordedAt: now.Add(-11 * time.Minute)}, now)
		require.Equal(t, WakeAsleep, s.Wake())
		s = learn(State{class: classKnown{is: ClassStreaming}}, Data{RecordedAt: now.Add(-11 * time.Minute)}, now)
		require.Equal(t, WakeUnknown, s.Wake(), "a streaming car may just have nothing to say")
	})
}
