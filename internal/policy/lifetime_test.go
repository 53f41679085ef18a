package policy

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// life steps a state through time, as a program that polls a car does.
type life struct {
	State
	now time.Time
}

func (l *life) step(events ...Event) Decision {
	var d Decision
	for _, e := range events {
		l.State, d = Step(&l.State, e, l.now, testRules)
	}
	return d
}

func (l *life) pass(d time.Duration) { l.now = l.now.Add(d) }

// answer settles a request without a turn, with data that was recorded so long ago.
func (l *life) answer(age time.Duration) {
	l.step(Settle(0, 0, Result{Outcome: OutcomeOK, Data: Data{RecordedAt: l.now.Add(-age)}}))
}

func (l *life) limited(retryAfter time.Duration) {
	l.step(Settle(0, 0, Result{Outcome: OutcomeLimited, RetryAfter: retryAfter}))
}

func (l *life) asks() Verdict { return l.step(AskDataAndLeave(9, testLease)).Verdict }

func newLife(class Class, key Key) *life {
	return &life{State: State{class: classKnown{is: class}, key: keyKnown{is: key}}, now: policyNow}
}

// looks polls each minute and notes how long after the start it looked at the key.
func (l *life) looks(d time.Duration, look Event, answer func()) (at []time.Duration) {
	began := l.now
	for l.now.Before(began.Add(d)) {
		if l.WantsKey(l.now) {
			at = append(at, l.now.Sub(began))
			look.asOf = l.now
			l.step(look)
		}
		if answer != nil {
			answer()
		}
		l.pass(time.Minute)
	}
	return at
}

func TestLooksAtAMissingKey(t *testing.T) {
	l := newLife(ClassStreaming, KeyNotAsked)
	at := l.looks(31*24*time.Hour, LearnKey(KeyMissing, FromEndpoint, policyNow), nil)
	require.Equal(t, []time.Duration{
		0, 5 * time.Minute, 20 * time.Minute, 80 * time.Minute, 320 * time.Minute, 1760 * time.Minute,
		1760*time.Minute + 120*time.Hour, 1760*time.Minute + 240*time.Hour, 1760*time.Minute + 360*time.Hour,
		1760*time.Minute + 480*time.Hour, 1760*time.Minute + 600*time.Hour,
	}, at)
	l.step(LearnKey(KeyInstalled, FromWebhook, l.now))
	l.pass(time.Hour)
	l.step(LearnKey(KeyMissing, FromWebhook, l.now))
	require.Equal(t, 5*time.Minute, l.NextKeyLook().Sub(l.now), "from the beginning for a key that was there")
}

func TestLooksAtAnInstalledKey(t *testing.T) {
	installed := LearnKey(KeyInstalled, FromEndpoint, policyNow)
	for name, tt := range map[string]struct {
		still time.Duration // when the data stands still
		want  []time.Duration
	}{
		"it moves": {100 * time.Hour, []time.Duration{0, 24 * time.Hour, 48 * time.Hour}},
		"it stands still": {2 * time.Hour, []time.Duration{
			0, 3*time.Hour + time.Minute, 6*time.Hour + time.Minute, 14*time.Hour + time.Minute, 38*time.Hour + time.Minute,
		}},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLife(ClassStreaming, KeyNotAsked)
			began := l.now
			at := l.looks(60*time.Hour, installed, func() { l.answer(max(0, l.now.Sub(began)-tt.still)) })
			require.Equal(t, tt.want, at)
		})
	}
	t.Run("not while it is not used", func(t *testing.T) {
		l := newLife(ClassStreaming, KeyInstalled)
		l.step(installed)
		l.answer(0)
		l.pass(13 * time.Hour)
		require.False(t, l.WantsKey(l.now), "one answer does not stand still")
	})
}

// Failed looks are repeated soon: what made them fail may end.
func TestLooksThatFail(t *testing.T) {
	l := newLife(ClassStreaming, KeyNotAsked)
	at := l.looks(5*24*time.Hour, KeyCheckFailed(), nil)
	require.Len(t, at, 4+59, "after 5, 15 and 60 minutes, and then every two hours")
	l.step(LearnKey(KeyMissing, FromEndpoint, l.now))
	require.Equal(t, 5*time.Minute, l.NextKeyLook().Sub(l.now), "they count as none where it was not known")
}

// A key that was removed is told from one that was never there, until it is back.
func TestKeyThatWasRemoved(t *testing.T) {
	l := newLife(ClassStreaming, KeyNotAsked)
	show := func(is Key, source KeySource) { l.pass(time.Hour); l.step(LearnKey(is, source, l.now)) }
	show(KeyMissing, FromEndpoint)
	require.False(t, l.KeyRemoved(), "nobody has seen it")
	show(KeyInstalled, FromCommand)
	require.False(t, l.KeyRemoved())
	show(KeyMissing, FromError)
	require.True(t, l.KeyRemoved())
	gone := l.now
	show(KeyMissing, FromEndpoint)
	require.True(t, l.KeyRemoved())
	require.Equal(t, gone, l.KeySince(), "seen again, not removed again")
	stored, err := Decode(Encode(&l.State, 1))
	require.NoError(t, err)
	require.True(t, stored.KeyRemoved())
	show(KeyInstalled, FromWebhook)
	require.False(t, l.KeyRemoved())
	show(KeyUnavailable, FromEndpoint)
	require.False(t, l.KeyRemoved(), "nobody can tell")
	show(KeyMissing, FromError)
	require.True(t, l.KeyRemoved(), "it was there before it could not be read")
}

func TestCommandAndStatus(t *testing.T) {
	status := func(l *life) Key { l.step(LearnKey(KeyMissing, FromEndpoint, l.now)); return l.Key() }
	start := func() *life {
		l := newLife(ClassStreaming, KeyMissing)
		l.step(LearnKey(KeyInstalled, FromCommand, l.now))
		l.pass(time.Hour)
		return l
	}
	l := start()
	require.Equal(t, KeyInstalled, status(l))
	require.False(t, l.WantsKey(l.now.Add(22*time.Hour)))
	l.pass(24 * time.Hour)
	require.True(t, l.WantsKey(l.now))
	require.Equal(t, KeyMissing, status(l))
	require.Equal(t, l.now, l.KeySince())

	for name, doubt := range map[string]Event{
		"a limit": Settle(0, 0, Result{Outcome: OutcomeLimited, RetryAfter: 7 * time.Hour}),
		"a key that is seen, as a status said so": LearnKey(KeyInstalled, FromEndpoint, policyNow.Add(time.Hour)),
	} {
		l := start()
		l.step(doubt)
		require.Equal(t, KeyMissing, status(l), name)
	}
	for _, e := range []Event{LearnKeyRequired(FromError, policyNow.Add(time.Hour)), LearnKey(KeyMissing, FromWebhook, policyNow.Add(time.Hour))} {
		l := start()
		l.step(e)
		require.Equal(t, KeyMissing, l.Key())
	}
}

// What the server's limits show, of a car whose status cannot be read.
func TestTheServerHasSaidSo(t *testing.T) {
	for _, class := range []Class{ClassStreaming, ClassUnknown} {
		untold := func() *life { return newLife(class, KeyUnavailable) }
		t.Run(classNames[class], func(t *testing.T) {
			l := untold()
			l.limited(119 * time.Minute)
			require.False(t, l.SaidKeyless())
			l.limited(2 * time.Hour)
			require.True(t, l.SaidKeyless())
			require.Equal(t, VerdictRefuse, l.asks())
			l.pass(2 * time.Hour)
			require.Equal(t, VerdictTake, l.asks())

			l = untold()
			l.limited(0)
			require.Equal(t, 16*time.Minute, l.NextData(l.now, testRules).Next.Sub(l.now))
			l.pass(15 * time.Minute)
			l.limited(0)
			require.False(t, l.SaidKeyless(), "they are of one moment")
			l.pass(time.Minute)
			l.limited(0)
			require.True(t, l.SaidKeyless())
			require.Equal(t, 8*time.Hour, l.NextData(l.now, testRules).Next.Sub(l.now))

			l = untold()
			l.limited(0)
			l.pass(8 * time.Hour)
			l.limited(0)
			require.False(t, l.SaidKeyless(), "they are of two windows")

			l = untold()
			l.limited(0)
			l.pass(20 * time.Minute)
			l.answer(time.Minute)
			l.limited(0)
			require.False(t, l.SaidKeyless(), "it answered in between")
		})
	}
	for _, class := range []Class{ClassLegacy, ClassOther} {
		l := newLife(class, KeyNotAsked)
		l.limited(7 * time.Hour)
		require.False(t, l.SaidKeyless(), "a limit of a car without a window")
	}
}

// saidSo is a car whose turn was used, of which the server has said so before.
func saidSo() *life {
	l := newLife(ClassStreaming, KeyUnavailable)
	l.limited(2 * time.Hour)
	l.pass(2 * time.Hour)
	l.step(AskDataAndLeave(9, testLease), Settle(9, testLease, Result{Outcome: OutcomeOK, Data: Data{RecordedAt: l.now}}))
	return l
}

func TestTrial(t *testing.T) {
	// up to the trial, a window after the other.
	wait := func(l *life) {
		for began := l.now; l.now.Sub(began) < 7*24*time.Hour; l.pass(time.Minute) {
			used := l.turn.usedAt
			if l.asks() == VerdictTake {
				inside := l.now.Sub(used) < 8*time.Hour
				if inside {
					return
				}
				l.step(Settle(9, testLease, Result{Outcome: OutcomeOK, Data: Data{RecordedAt: l.now}}))
			}
		}
		require.FailNow(t, "no trial in a week")
	}
	for name, tt := range map[string]struct {
		result Result
		ends   bool
	}{
		"newer data":   {Result{Outcome: OutcomeOK}, true},
		"the old data": {Result{Outcome: OutcomeOK, Data: Data{RecordedAt: policyNow}}, false},
		"a limit":      {Result{Outcome: OutcomeLimited, RetryAfter: 6 * time.Hour}, false},
		"nothing":      {Result{Outcome: OutcomeUnclear}, false},
	} {
		t.Run(name, func(t *testing.T) {
			l := saidSo()
			wait(l)
			if tt.ends {
				tt.result.Data.RecordedAt = l.now
			}
			at := l.now
			l.step(Settle(9, testLease, tt.result))
			require.Equal(t, !tt.ends, l.SaidKeyless())
			if tt.ends {
				require.Equal(t, VerdictSend, l.asks())
				return
			}
			l.pass(9 * time.Hour)
			wait(l)
			require.GreaterOrEqual(t, l.now.Sub(at), 7*24*time.Hour)
		})
	}
	l := newLife(ClassStreaming, KeyNotAsked)
	l.step(LearnKey(KeyMissing, FromEndpoint, l.now), LearnKeyRequired(FromError, l.now))
	require.False(t, l.onTrial(), "a status that can be read is looked up instead")
}

func TestConnectEndsWhatTheServerSaid(t *testing.T) {
	l := saidSo()
	l.step(AccessChanged())
	require.False(t, l.SaidKeyless())
	require.Equal(t, VerdictRefuse, l.asks(), "the window that is open stays so")
	l.pass(8 * time.Hour)
	require.Equal(t, VerdictSend, l.asks())

	l = saidSo()
	l.pass(9 * time.Hour)
	l.doubt.turn = 8 * time.Hour // the clock was set forward by as much since
	l.step(AccessChanged())
	l.doubt = doubt{}
	require.Equal(t, l.now, l.limit.at)
	require.Equal(t, VerdictRefuse, l.asks(), "so does one that ends later than the clock says")
	l.pass(7 * time.Hour)
	require.Equal(t, VerdictSend, l.asks())

	l = newLife(ClassOther, KeyUnavailable)
	l.turn.usedAt, l.said.at = l.now, l.now
	l.step(AccessChanged())
	require.Equal(t, VerdictSend, l.asks(), "a car without a window gets none")
}

// The class is open until each source has answered, in whatever order.
func TestClassThatIsNotTold(t *testing.T) {
	for name, tt := range map[string]struct {
		events []Event
		want   Class
	}{
		"attributes alone":      {[]Event{ClassNotTold()}, ClassUnresolved},
		"data alone":            {[]Event{DataTellsNoClass()}, ClassUnresolved},
		"attributes, then data": {[]Event{ClassNotTold(), DataTellsNoClass()}, ClassUnknown},
		"data, then attributes": {[]Event{DataTellsNoClass(), ClassNotTold()}, ClassUnknown},
		"the VIN in the data":   {[]Event{ClassNotTold(), LearnClassByVIN(ClassLegacy), DataTellsNoClass()}, ClassLegacy},
		"all at once":           {[]Event{LearnClass(ClassUnknown)}, ClassUnknown},
		"known, then not told":  {[]Event{LearnClass(ClassStreaming), LearnClass(ClassUnknown), ClassNotTold(), ClassCheckFailed()}, ClassStreaming},
		"a failure":             {[]Event{ClassCheckFailed()}, ClassUnresolved},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLife(ClassUnresolved, KeyNotAsked)
			l.step(tt.events...)
			require.Equal(t, tt.want, l.Class())
			require.Equal(t, tt.want == ClassUnresolved || tt.want == ClassStreaming, l.Keyless())
		})
	}
	l := newLife(ClassUnresolved, KeyNotAsked)
	for range 24 * 12 {
		l.step(ClassCheckFailed())
		require.Equal(t, ClassUnresolved, l.Class())
		l.pass(5 * time.Minute)
	}
	l.step(ClassCheckFailed())
	require.Equal(t, ClassUnknown, l.Class())
	require.False(t, l.WantsClass(l.now.Add(59*time.Minute)))
	l.pass(time.Hour)
	l.step(LearnClass(ClassStreaming))
	require.True(t, l.Keyless(), "it can be told again")
}

// What was booked only because nobody knew the class is void once there is no window.
func TestBookedForAnUnknownClass(t *testing.T) {
	for _, class := range []Class{ClassOther, ClassLegacy, ClassUnknown} {
		l := newLife(ClassUnresolved, KeyNotAsked)
		l.step(AskDataAndLeave(9, testLease), Settle(9, testLease, Result{Outcome: OutcomeLimited}))
		require.Equal(t, VerdictRefuse, l.asks())
		l.pass(2 * time.Minute)
		l.step(LearnClass(class))
		require.Equal(t, VerdictSend, l.asks(), classNames[class])
	}
	l := newLife(ClassUnresolved, KeyNotAsked)
	l.step(AskDataAndLeave(9, testLease), Settle(9, testLease, Result{Outcome: OutcomeLimited, RetryAfter: time.Hour}))
	l.step(LearnClass(ClassOther))
	require.Equal(t, time.Hour, l.NextData(l.now, testRules).Next.Sub(l.now), "the server's own word is not")
}

// A car that sleeps, or of which nothing is stored, is asked after 5, 15 and 60 minutes.
func TestQuietCars(t *testing.T) {
	asleep := Result{Outcome: OutcomeAsleep}
	empty := Result{Outcome: OutcomeReleased, Data: Data{Stored: StoredNothing}}
	pauses := func(l *life, r Result) (all []time.Duration) {
		for range 4 {
			l.step(AskDataAndLeave(9, testLease), Settle(9, testLease, r))
			all = append(all, l.NextData(l.now, testRules).Next.Sub(l.now))
			l.pass(all[len(all)-1])
		}
		return all
	}
	want := []time.Duration{5 * time.Minute, 15 * time.Minute, time.Hour, time.Hour}
	for name, tt := range map[string]struct {
		class  Class
		key    Key
		result Result
	}{
		"legacy asleep":    {ClassLegacy, KeyNotAsked, asleep},
		"keyless asleep":   {ClassStreaming, KeyMissing, asleep},
		"keyless, empty":   {ClassStreaming, KeyMissing, empty},
		"not known, empty": {ClassUnresolved, KeyNotAsked, empty},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLife(tt.class, tt.key)
			require.Equal(t, want, pauses(l, tt.result))
			require.True(t, l.turn.usedAt.IsZero(), "the turn is given back")
			l.step(Settle(0, 0, tt.result))
			if tt.result == empty {
				l.step(Subscribed())
			} else {
				l.step(Subscribed())
				require.Equal(t, VerdictRefuse, l.asks(), "that says nothing of sleep")
				l.step(LearnData(Data{Wake: WakeAwake}, l.now))
			}
			require.NotEqual(t, VerdictRefuse, l.asks())
		})
	}
	l := newLife(ClassStreaming, KeyMissing)
	l.step(Settle(0, 0, empty), LearnData(Data{Stored: StoredSome, RecordedAt: l.now.Add(-time.Hour)}, l.now))
	require.Equal(t, VerdictTake, l.asks(), "an event says that there is data")
	for class, key := range map[Class]Key{ClassOther: KeyNotAsked, ClassStreaming: KeyInstalled} {
		l := newLife(class, key)
		l.step(Settle(0, 0, asleep))
		require.Equal(t, VerdictSend, l.asks(), "a car without a rule of its own")
	}
}

// Of a car whose status cannot be read, data that was fetched long ago says that
// Smartcar repeats it.
func TestDataThatStandsStill(t *testing.T) {
	for age, wait := range map[time.Duration]time.Duration{14 * time.Minute: 0, 15 * time.Minute: time.Hour} {
		for _, class := range []Class{ClassStreaming, ClassUnknown} {
			l := newLife(class, KeyUnavailable)
			l.step(Settle(0, 0, Result{Outcome: OutcomeOK, Data: Data{RecordedAt: l.now, FetchedAt: l.now.Add(-age)}}))
			next := l.NextData(l.now, testRules)
			require.Equal(t, wait == 0, next.Next.IsZero())
			if wait > 0 {
				require.Equal(t, Decision{Next: l.now.Add(wait), Rule: RuleAsleep}, next)
			}
		}
	}
	l := newLife(ClassStreaming, KeyInstalled)
	l.step(Settle(0, 0, Result{Outcome: OutcomeOK, Data: Data{RecordedAt: l.now, FetchedAt: l.now.Add(-time.Hour)}}))
	require.Equal(t, VerdictSend, l.asks())
}

func TestStreamingOfALegacyCar(t *testing.T) {
	const minute = time.Minute
	for apart, proves := range map[time.Duration]bool{
		30 * time.Second: false, 31 * time.Second: true, 4*minute - 1: true, 4 * minute: false, 5 * minute: false, 6 * minute: false,
		6*minute + 1: true, 9*minute - 1: true, 9 * minute: false, 10 * minute: false, 12*minute + 30*time.Second: false,
	} {
		require.Equal(t, proves, provesStreaming(apart, testRules), "%v", apart)
	}
	awake := func(l *life, after time.Duration) { l.pass(after); l.answer(0) }
	l := newLife(ClassLegacy, KeyNotAsked)
	awake(l, 0)
	awake(l, 5*minute)
	awake(l, minute)
	require.False(t, l.Repeats())
	for range 3 {
		require.False(t, l.Repeats())
		awake(l, 5*minute)
	}
	require.True(t, l.Repeats(), "three in a row")
	awake(l, minute)
	require.False(t, l.Repeats())
	l.pass(7 * 24 * time.Hour)
	l.answer(0)
	require.True(t, l.Repeats(), "a week without proof")

	// The early looks of one that does not stream: daily, then weekly.
	l = newLife(ClassLegacy, KeyNotAsked)
	var early []time.Duration
	recorded := func() time.Time { return l.now.Truncate(5 * minute) }
	for began := l.now; l.now.Sub(began) < 14*24*time.Hour; {
		if !l.data.recordedAt.Before(recorded()) && !l.data.recordedAt.IsZero() {
			early = append(early, l.now.Sub(began).Truncate(time.Hour))
		}
		l.answer(l.now.Sub(recorded()))
		next := l.NextUseful(l.now, testRules).Next
		require.True(t, next.After(l.now))
		l.now = next
	}
	require.Equal(t, []time.Duration{1 * time.Hour, 25 * time.Hour, 49 * time.Hour, 217 * time.Hour}, early)
}

func TestPaceOfASleepingLegacyCar(t *testing.T) {
	l := newLife(ClassLegacy, KeyNotAsked)
	const margin = 15 * time.Second
	sleep := func() (pauses []time.Duration) {
		recorded := l.now.Add(-time.Hour)
		for began := l.now; l.now.Sub(began) < 24*time.Hour; {
			l.answer(l.now.Sub(recorded))
			l.answer(l.now.Sub(recorded)) // several reads at once are one look
			next := l.NextUseful(l.now, testRules).Next
			pauses = append(pauses, next.Sub(l.now)-margin)
			l.now = next
		}
		return pauses
	}
	pauses := sleep()
	require.Equal(t, []time.Duration{5 * time.Minute, 15 * time.Minute, time.Hour, time.Hour}, pauses[:4])
	require.LessOrEqual(t, len(pauses), 30)
	l.answer(0)
	require.Equal(t, 5*time.Minute+margin, l.NextUseful(l.now, testRules).Next.Sub(l.now))
	l.pass(2 * time.Hour)
	require.Equal(t, 5*time.Minute, sleep()[0], "it was awake in between")
}

// VIRTUAL_KEY_REQUIRED is the server's word, too: where the status cannot be read, a
// trial may end it.
func TestKeyRequiredWhereTheStatusCannotBeRead(t *testing.T) {
	l := newLife(ClassUnknown, KeyUnavailable)
	l.step(LearnKeyRequired(FromError, l.now), LearnKey(KeyUnavailable, FromEndpoint, l.now))
	require.Equal(t, KeyMissing, l.Key())
	require.True(t, l.onTrial())
	l.turn.usedAt = l.now.Add(7*24*time.Hour - time.Hour)
	l.pass(7 * 24 * time.Hour)
	require.Equal(t, VerdictTake, l.asks())
	l.step(Settle(9, testLease, Result{Outcome: OutcomeOK, Data: Data{RecordedAt: l.now}}))
	require.Equal(t, KeyUnavailable, l.Key())
	require.Equal(t, VerdictSend, l.asks())
}
