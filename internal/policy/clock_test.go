package policy

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The timeline of clock.go: what is from the future is bridged, and holds when the
// clock has been set right.
func TestTimesFromTheFutureAreBridged(t *testing.T) {
	slow := policyNow.Add(-24 * time.Hour) // the clock was set back by a day after a turn was used at policyNow
	ask, done := AskDataAndLeave(9, testLease), Settle(9, testLease, Result{Outcome: OutcomeOK})
	used := keylessState(policyNow)
	s, d := Step(&used, ask, slow, testRules)
	require.Equal(t, VerdictRefuse, d.Verdict)
	opens := slow.Add(8*time.Hour + testLease)
	require.Equal(t, opens, d.Next)
	require.Equal(t, policyNow, s.turn.usedAt, "the truth stays")

	right, _ := Step(&s, ask, policyNow.Add(time.Minute), testRules)
	require.Equal(t, keylessState(policyNow), right, "and counts once the clock is right")

	s, d = Step(&s, ask, opens, testRules)
	require.Equal(t, VerdictTake, d.Verdict)
	s, _ = Step(&s, done, opens, testRules)
	require.Equal(t, policyNow.Add(8*time.Hour), s.turn.usedAt, "as long after the other turn as the clock says")
	s, d = Step(&s, ask, opens.Add(time.Minute), testRules)
	require.Equal(t, opens.Add(8*time.Hour), d.Next, "a window from then")
	_, d = Step(&s, ask, opens.Add(24*time.Hour), testRules)
	require.Equal(t, policyNow.Add(16*time.Hour), d.Next, "also when the clock is set right")

	again, err := Decode(Encode(&s, 1))
	require.NoError(t, err)
	require.Equal(t, s, again)
}

// A limit from the future lasts as long as the server said, and what was true stays.
func TestLimitFromTheFutureIsBridged(t *testing.T) {
	was := State{class: classKnown{is: ClassOther}, limit: limit{at: policyNow, to: policyNow.Add(3 * time.Hour)}}
	slow := policyNow.Add(-24 * time.Hour)
	s, d := Step(&was, AskData(1, testLease), slow, testRules)
	require.Equal(t, slow.Add(3*time.Hour), d.Next)
	require.Equal(t, RuleServer, d.Rule)
	s, _ = Step(&s, AskData(1, testLease), policyNow.Add(time.Minute), testRules)
	require.Equal(t, was, s)
	s, _ = Step(&s, AskData(1, testLease), slow, testRules)
	s, _ = Step(&s, Settle(0, 0, Result{Outcome: OutcomeLimited, RetryAfter: 5 * time.Hour}), slow.Add(time.Hour), testRules)
	require.Equal(t, slow.Add(6*time.Hour), s.NextData(slow.Add(time.Hour), testRules).Next)
}

// What a clock that was wrong has dated in the future does not keep out what is
// learned after it, and what cannot be told to be wrong is kept.
func TestEvidenceFromTheFuture(t *testing.T) {
	ahead := policyNow.Add(61 * 24 * time.Hour)
	s := State{class: classKnown{is: ClassStreaming}, key: keyKnown{is: KeyInstalled, at: ahead, checkAt: ahead}}
	require.True(t, s.WantsKey(policyNow))
	late, _ := Step(&s, LearnKey(KeyMissing, FromWebhook, policyNow.Add(-time.Hour)), policyNow, testRules)
	require.Equal(t, s, late, "older than a lease")
	missing := LearnKey(KeyMissing, FromEndpoint, policyNow.Add(-time.Second))
	require.True(t, s.WorthStoring(policyNow, testRules, missing))
	s, _ = Step(&s, missing, policyNow, testRules)
	require.Equal(t, KeyMissing, s.Key())

	s = State{class: classKnown{is: ClassStreaming}, key: keyKnown{is: KeyMissing, at: ahead}}
	installed := LearnKey(KeyInstalled, FromEndpoint, policyNow)
	unsure, _ := Step(&s, installed, policyNow, testRules)
	require.Equal(t, KeyMissing, unsure.Key(), "whether it is newer cannot be told")
	for _, e := range []Event{installed.Knowing(ahead, policyNow), LearnKey(KeyInstalled, FromApplication, policyNow)} {
		after, _ := Step(&s, e, policyNow, testRules)
		require.Equal(t, KeyInstalled, after.Key())
	}

	for _, ahead := range []time.Duration{time.Second, testRules.MaxLease, testRules.MaxLease + time.Second, 9 * time.Hour} {
		s = State{class: classKnown{is: ClassStreaming}, key: keyKnown{is: KeyInstalled, at: policyNow.Add(ahead)}}
		after, _ := Step(&s, LearnKeyRequired(FromError, policyNow), policyNow, testRules)
		require.Equal(t, KeyMissing, after.Key(), "the clock was set back by %v more than has passed", ahead)
	}

	known := State{class: classKnown{is: ClassStreaming}, key: keyKnown{is: KeyMissing, at: policyNow.Add(-time.Second)}}
	for name, tt := range map[string]struct {
		e    Event
		want Key
	}{
		"dated before, by a clock that was set back":     {LearnKey(KeyInstalled, FromEndpoint, policyNow.Add(-time.Minute)).Knowing(known.key.at, policyNow.Add(time.Hour)), KeyInstalled},
		"dated after, by a clock that was set forward":   {installed.Knowing(policyNow.Add(-time.Hour), policyNow.Add(-time.Hour)), KeyMissing},
		"dated after, while something else was learned":  {installed.Knowing(policyNow.Add(-time.Hour), policyNow), KeyInstalled},
		"dated before, while something else was learned": {LearnKey(KeyInstalled, FromEndpoint, policyNow.Add(-time.Minute)).Knowing(policyNow.Add(-time.Hour), policyNow), KeyMissing},
	} {
		after, _ := Step(&known, tt.e, policyNow, testRules)
		require.Equal(t, tt.want, after.Key(), name)
	}

	s = State{class: classKnown{is: ClassUnknown, checkAt: ahead}}
	require.True(t, s.WantsClass(policyNow))
	s = State{class: classKnown{is: ClassLegacy}, data: dataKnown{fetchedAt: ahead, recordedAt: policyNow}}
	require.Zero(t, s.NextUseful(policyNow, testRules))
	s, _ = Step(&s, Settle(0, 0, Result{Outcome: OutcomeOK, Data: Data{RecordedAt: policyNow}}), policyNow, testRules)
	require.Equal(t, policyNow, s.data.fetchedAt)
}

// Other clocks object to one that claims that more time has passed.
func TestDoubts(t *testing.T) {
	used := policyNow.Add(-8 * time.Hour) // by the clock of the record; a minute ago in truth
	s := keylessState(used)
	judge := func(s State, machine time.Time, jumped time.Duration) time.Time {
		w := Witness{Machine: machine, Jumped: func(since time.Time) time.Duration {
			require.Equal(t, used.Add(-testLease), since)
			return jumped
		}}
		judged := s.Doubted(policyNow, w, testRules)
		return judged.NextData(policyNow, testRules).Next
	}
	require.Zero(t, judge(s, policyNow, 0))
	require.Equal(t, policyNow.Add(7*time.Hour), judge(s, policyNow, 7*time.Hour), "a jump was seen")
	slower := policyNow.Add(-7 * time.Hour) // the machine's clock says that an hour has passed
	require.Equal(t, policyNow.Add(7*time.Hour), judge(s, slower, 0))
	require.Zero(t, judge(s, policyNow.Add(-9*time.Hour), 0), "a machine for which the turn is yet to come is wrong")
	s.turn.ahead = -7 * time.Hour
	require.Zero(t, judge(s, slower, 0), "as it was when the turn was used")

	limited := State{class: classKnown{is: ClassOther}, limit: limit{at: used, to: used.Add(time.Hour)}}
	limited = limited.Doubted(policyNow, Witness{Jumped: func(time.Time) time.Duration { return 8 * time.Hour }}, testRules)
	require.Equal(t, used.Add(9*time.Hour), limited.NextData(policyNow, testRules).Next)
	judgeLimit := func(s State, machine time.Time) time.Time {
		w := Witness{Machine: machine, Jumped: func(time.Time) time.Duration { return 0 }}
		judged := s.Doubted(policyNow, w, testRules)
		return judged.NextData(policyNow, testRules).Next
	}
	for _, s := range []State{
		{gave: OutcomeLimited},
		{turn: turn{usedAt: used.Add(-24 * time.Hour)}},
	} {
		s.limit = limit{at: used, to: used.Add(8 * time.Hour)}
		require.Zero(t, judgeLimit(s, policyNow))
		require.Equal(t, policyNow.Add(7*time.Hour), judgeLimit(s, slower), "by the clock of the machine that asked last")
		require.Zero(t, judgeLimit(s, policyNow.Add(-9*time.Hour)), "a machine for which the limit is yet to come is wrong")
	}
	require.Zero(t, judgeLimit(State{limit: limit{at: used, to: used.Add(8 * time.Hour)}}, slower), "no machine has noted what it showed")

	after, err := Decode(Encode(&limited, 1))
	require.NoError(t, err)
	require.Zero(t, after.doubt, "is of one process, and not stored")
}

// The clock was behind by a day when the turn was used, or the limit came, and has jumped
// since: what it has jumped to where it would have been is no jump, and what it has jumped
// before it showed the time of the turn, as it was written, is one.
func TestDoubtsOfAClockThatWasBehind(t *testing.T) {
	const day = 24 * time.Hour
	at := policyNow // as it is written; the clock showed a day before
	now := policyNow.Add(8 * time.Hour)
	turns, limited := keylessState(at), State{limit: limit{at: at, to: at.Add(8 * time.Hour), behind: day}}
	turns.turn.behind = day
	for name, s := range map[string]State{"turn": turns, "limit": limited} {
		for excess, jumps := range map[time.Duration]map[time.Time]time.Duration{
			0:             {at.Add(-10 * time.Hour): 14 * time.Hour, at.Add(time.Hour): 10 * time.Hour},
			5 * time.Hour: {at.Add(-10 * time.Hour): 19 * time.Hour, at.Add(time.Hour): 10 * time.Hour},
		} {
			w := Witness{Machine: now, Jumped: func(since time.Time) (by time.Duration) {
				for to, jump := range jumps {
					if since.Before(to) {
						by += jump
					}
				}
				return by
			}}
			doubted := s.Doubted(now, w, testRules)
			_, d := Step(&doubted, AskDataAndLeave(1, testLease), now, testRules)
			if excess == 0 {
				require.NotEqual(t, VerdictRefuse, d.Verdict, name)
			} else {
				require.Equal(t, now.Add(excess), d.Next, name)
			}
		}
	}
}

// A turn, or a limit, that was not there when the car was seen last is not longer ago
// than that, whatever the clock says.
func TestDoubtsOfWhoHasSeenTheCarWithout(t *testing.T) {
	noJump := func(time.Time) time.Duration { return 0 }
	judge := func(s, seen State, ago time.Duration) State {
		return s.Doubted(policyNow, Witness{Machine: policyNow, Jumped: noJump, Seen: seen.SeenAgo(ago)}, testRules)
	}
	next := func(s State) time.Time { return s.NextData(policyNow, testRules).Next }
	used := policyNow.Add(-9 * time.Hour) // by the clock of the record
	for name, tt := range map[string]struct {
		state  State
		lasts  time.Duration
		before State
	}{
		"a turn":       {keylessState(used), 8 * time.Hour, keylessState(used.Add(-9 * time.Hour))},
		"a first turn": {keylessState(used), 8 * time.Hour, State{}},
		"a limit":      {State{limit: limit{at: used, to: used.Add(2 * time.Hour)}}, 2 * time.Hour, State{}},
	} {
		t.Run(name, func(t *testing.T) {
			doubted := judge(tt.state, tt.before, time.Minute)
			require.Equal(t, policyNow.Add(tt.lasts-time.Minute), next(doubted))
			require.Equal(t, next(doubted), next(judge(tt.state, doubted, 0)), "as long as it is the same one")
			require.Zero(t, next(judge(tt.state, tt.state, time.Minute)), "it was there")
			if rounded := tt.state; !rounded.turn.usedAt.IsZero() {
				rounded.turn.usedAt = rounded.turn.usedAt.Add(readGrain)
				require.Zero(t, next(judge(rounded, tt.state, time.Minute)), "and was rounded up when the key was gone")
			}
			require.Zero(t, next(judge(tt.state, tt.before, 9*time.Hour)), "it may be as old as it looks")
		})
	}
}
