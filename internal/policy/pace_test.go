package policy

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// visits reads a car at the pace for a while, and notes when. Each visit is followed by
// read, which books what it brought.
func (l *life) visits(p Pace, d time.Duration, read func(p *Pace)) (at []time.Duration) {
	began := l.now
	for l.now.Before(began.Add(d)) {
		if next := l.NextVisit(p, l.now, testRules); next.Next.After(l.now) {
			l.now = next.Next
			continue
		}
		at = append(at, l.now.Sub(began))
		read(&p)
	}
	return at
}

func (l *life) reads(age func() time.Duration) func(*Pace) {
	return func(p *Pace) {
		l.step(AskDataAndLeave(9, testLease), Settle(9, testLease, Result{Outcome: OutcomeOK, Data: Data{RecordedAt: l.now.Add(-age())}}))
		p.ReadAt = l.now
	}
}

func fresh() time.Duration { return 0 }

func TestPaceOfEachKindOfCar(t *testing.T) {
	const week = 7 * 24 * time.Hour
	for name, tt := range map[string]struct {
		class    Class
		key      Key
		pace     Pace
		from, to int // visits of a week
		rule     Rule
	}{
		"without its key: its window":             {ClassStreaming, KeyMissing, Pace{}, 21, 21, RuleKeyless},
		"without its key, asked for daily":        {ClassStreaming, KeyMissing, Pace{Every: 24 * time.Hour}, 7, 7, RulePace},
		"class not known yet: its window":         {ClassUnresolved, KeyNotAsked, Pace{}, 21, 21, RuleKeyless},
		"paired: each 3 minutes":                  {ClassStreaming, KeyInstalled, Pace{}, 3200, 3360, RulePace},
		"paired, as asked for":                    {ClassStreaming, KeyInstalled, Pace{Every: time.Hour}, 160, 168, RulePace},
		"another make: each half hour":            {ClassOther, KeyNotAsked, Pace{}, 320, 336, RulePace},
		"cannot be told: each half hour":          {ClassUnknown, KeyNotAsked, Pace{}, 320, 336, RulePace},
		"paired, 450 calls a month":               {ClassStreaming, KeyInstalled, Pace{Cost: 1, Left: 450}, 100, 110, RuleBudget},
		"paired, 450 calls a month, 3 for a read": {ClassStreaming, KeyInstalled, Pace{Cost: 3, Left: 450}, 34, 37, RuleBudget},
		"a budget larger than the pace":           {ClassOther, KeyNotAsked, Pace{Cost: 1, Left: 1 << 20}, 320, 336, RulePace},
		"without its key, within its budget":      {ClassStreaming, KeyMissing, Pace{Cost: 1, Left: 450}, 21, 21, RuleKeyless},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLife(tt.class, tt.key)
			l.now = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
			tt.pace.Car = 42
			read := l.reads(fresh)
			at := l.visits(tt.pace, week, func(p *Pace) {
				read(p)
				p.Left -= p.Cost
				require.Equal(t, tt.rule, l.NextVisit(*p, l.now, testRules).Rule)
			})
			require.GreaterOrEqual(t, len(at), tt.from)
			require.LessOrEqual(t, len(at), tt.to)
		})
	}
}

// A legacy car is read once a refresh while it is awake, and ever more seldom while it
// sleeps.
func TestPaceOfALegacyCar(t *testing.T) {
	l := newLife(ClassLegacy, KeyNotAsked)
	read := l.reads(func() time.Duration { return l.now.Sub(policyNow) % (5 * time.Minute) })
	awake := l.visits(Pace{Car: 1}, 6*time.Hour, read)
	require.InDelta(t, 72, len(awake), 2)
	slept := l.now
	asleep := l.visits(Pace{Car: 1}, 18*time.Hour, l.reads(func() time.Duration { return l.now.Sub(slept) }))
	require.InDelta(t, 21, len(asleep), 3, "5, 15 and then 60 minutes")
}

// While webhooks bring the data of a car, nobody reads it; when they fall silent, it is
// read ever more seldom, and after a day at its usual pace.
func TestPaceWhileWebhooksCarryTheData(t *testing.T) {
	l := newLife(ClassStreaming, KeyInstalled)
	p := Pace{Car: 7, ReadAt: l.now, PushedAt: l.now}
	for range 100 {
		l.pass(10 * time.Minute)
		p.PushedAt = l.now
		require.Equal(t, RulePushed, l.NextVisit(p, l.now, testRules).Rule)
	}
	at := l.visits(p, 72*time.Hour, l.reads(fresh))
	for i, after := range []time.Duration{time.Hour, 2 * time.Hour, 4 * time.Hour, 8 * time.Hour, 16 * time.Hour} {
		require.InDelta(t, after.Hours(), at[i].Hours(), after.Hours()/10)
	}
	require.Less(t, at[5], 36*time.Hour)
	require.Greater(t, len(at), 30*18, "then each 3 minutes")
	ahead := l.NextVisit(Pace{ReadAt: l.now, PushedAt: l.now.Add(20 * time.Hour)}, l.now, testRules)
	require.LessOrEqual(t, ahead.Next.Sub(l.now), 64*time.Minute, "an event from the future does not hold the pace up")
}

// An owner who adds the key opens the window early: the car is looked at, where that
// takes no turn.
func TestPaceLooksForAMissingKey(t *testing.T) {
	l := newLife(ClassStreaming, KeyNotAsked)
	l.step(AskDataAndLeave(9, testLease), Settle(9, testLease, Result{Outcome: OutcomeOK}), LearnKey(KeyMissing, FromEndpoint, l.now))
	next := l.NextVisit(Pace{KeyIsFree: true}, l.now, testRules)
	require.Equal(t, RuleKeyless, next.Rule)
	require.Equal(t, l.NextKeyLook(), next.Next)
	require.True(t, l.NextVisit(Pace{}, l.now, testRules).Next.After(l.now.Add(8*time.Hour-time.Minute)))
	l.pass(time.Hour)
	require.Equal(t, l.now.Add(time.Minute), l.NextVisit(Pace{KeyIsFree: true}, l.now, testRules).Next, "a look that nobody makes is no busy loop")
}

// The status of a key that is there is looked at each day, and that of a missing one ever
// more seldom. Where only data tells it, and for cars that need no key, nobody looks.
func TestHowOftenTheKeyIsLookedAt(t *testing.T) {
	l := newLife(ClassStreaming, KeyNotAsked)
	require.Zero(t, l.KeyLookEvery(true), "nothing is known yet")
	for _, every := range []time.Duration{
		5 * time.Minute, 15 * time.Minute, time.Hour, 4 * time.Hour, 24 * time.Hour, 5 * 24 * time.Hour, 5 * 24 * time.Hour,
	} {
		l.step(LearnKey(KeyMissing, FromEndpoint, l.now))
		require.Equal(t, every, l.KeyLookEvery(true))
		require.Zero(t, l.KeyLookEvery(false))
		l.pass(every)
	}
	l.step(LearnKey(KeyInstalled, FromEndpoint, l.now))
	l.pass(2 * time.Hour)
	require.Equal(t, 24*time.Hour, l.KeyLookEvery(true))
	l.class.is = ClassLegacy
	require.Zero(t, l.KeyLookEvery(true))
}

// The reads of a month are spread over all of it, none are left unused and none are
// made beyond it. The next month begins spread over a day.
func TestPaceOfAMonth(t *testing.T) {
	february := time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC)
	for _, cost := range []int{1, 2, 7} {
		l := newLife(ClassOther, KeyNotAsked)
		l.now = february
		read := l.reads(fresh)
		left := 450
		at := l.visits(Pace{Car: 3, Cost: cost, Left: left}, 28*24*time.Hour, func(p *Pace) {
			read(p)
			p.Left -= cost
			left = p.Left
		})
		require.InDelta(t, 450/cost, len(at), 1)
		require.GreaterOrEqual(t, left, 0)
		require.Less(t, left, 2*cost)
	}
	firsts := make(map[time.Duration]int)
	for car := range uint64(24000) {
		l := newLife(ClassOther, KeyNotAsked)
		l.now = february.Add(20 * 24 * time.Hour)
		next := l.NextVisit(Pace{Car: car, Cost: 1, ReadAt: l.now}, l.now, testRules)
		require.Equal(t, RuleBudget, next.Rule)
		firsts[next.Next.Sub(february.AddDate(0, 1, 0)).Truncate(time.Hour)]++
	}
	require.Len(t, firsts, 24)
	for hour, n := range firsts {
		require.InDelta(t, 1000, n, 150, hour.String())
	}
}

// Whatever has happened to a car: a visit is never due while the policy refuses, it gets
// the same answer again, and it is not put off for longer than what the answer names.
func TestPaceHoldsWhateverHappens(t *testing.T) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 0))
		l := newLife(Class(r.IntN(5)), Key(r.IntN(4)))
		p := Pace{Car: seed, KeyIsFree: r.IntN(2) == 0, Every: time.Duration(r.IntN(3)) * time.Hour, Cost: r.IntN(3), Left: r.IntN(500)}
		for range 60 {
			switch r.IntN(8) {
			case 0:
				p.PushedAt = l.now
			case 1:
				l.step(Paused(l.now.Add(time.Duration(r.IntN(48)) * time.Hour)))
			case 2:
				p.ReadAt = l.now.Add(time.Duration(r.IntN(48)-24) * time.Hour) // clocks step
			default:
				e := policyEvents[r.IntN(len(policyEvents))].Event
				if !e.asOf.IsZero() {
					e.asOf = l.now
				}
				l.step(e)
			}
			next := l.NextVisit(p, l.now, testRules)
			allowed := l.NextUseful(l.now, testRules)
			what := fmt.Sprintf("seed %d: %+v of %+v", seed, next, p)
			require.Equal(t, next, l.NextVisit(p, l.now, testRules), what)
			require.Equal(t, next.Next.IsZero(), next.Rule == RuleNone, what)
			if next.Next.IsZero() {
				require.Zero(t, allowed, what)
			} else {
				require.True(t, next.Next.After(l.now), what)
			}
			longest := max(8*time.Hour+testLease, 48*time.Hour, allowed.Next.Sub(l.now)) + 10*time.Minute
			if next.Rule == RuleBudget {
				longest = 33 * 24 * time.Hour
			}
			require.LessOrEqual(t, next.Next.Sub(l.now), longest, what)
			l.pass(time.Duration(r.IntN(5)) * time.Hour)
		}
	}
}

func TestMonthAfter(t *testing.T) {
	ahead := time.FixedZone("", 14*60*60)
	require.Equal(t, time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC), MonthAfter(time.Date(2026, 12, 31, 23, 59, 0, 0, time.UTC)))
	require.Equal(t, time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC), MonthAfter(time.Date(2026, 3, 1, 1, 0, 0, 0, ahead)), "months are those of UTC")
}
