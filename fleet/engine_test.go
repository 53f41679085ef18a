package fleet

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-498a1bc4/smartcar"
	"github.com/stretchr/testify/require"
)

// newEngine is a fleet whose visits are made up.
func newEngine(t testing.TB, rate float64, do func(context.Context, *entry) (smartcar.Visit, error), opts ...smartcar.Option) *Fleet {
	t.Helper()
	client, err := smartcar.New(smartcar.Config{ClientID: "a", ClientSecret: "b", RedirectURL: "https://example.com/"},
		append(opts, smartcar.WithStoredAnswers(smartcar.StoredAnswers{}))...)
	require.NoError(t, err)
	f, err := New(client, Config{
		Reads: []smartcar.Operation{smartcar.Battery}, Rate: rate,
		Handle: func(context.Context, *smartcar.Vehicle, *smartcar.Snapshot) error { return nil },
	})
	require.NoError(t, err)
	f.engine.do = do
	return f
}

func key(i int) string { return fmt.Sprintf("%036d%s%036d", i, keySeparator, i) }

// start runs the fleet until the test ends.
func start(t *testing.T, f *Fleet) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- f.Run(ctx, nil) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-done)
	})
}

// starts counts the visits that began in each second.
type starts struct {
	mu    sync.Mutex
	began time.Time
	each  map[int]int
}

func (s *starts) note() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.each == nil {
		s.each, s.began = make(map[int]int), time.Now()
	}
	s.each[int(time.Since(s.began)/time.Second)]++
}

// between returns how many there were, and the most of one second.
func (s *starts) between(from, to time.Duration) (sum, most int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for second, n := range s.each {
		if at := time.Duration(second) * time.Second; at >= from && at < to {
			sum, most = sum+n, max(most, n)
		}
	}
	return sum, most
}

// A car that sleeps takes less than 400 bytes, its ids included, and no goroutine.
func TestASleepingCarIsSmall(t *testing.T) {
	const n = 100_000
	f := newEngine(t, 0, nil)
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before, goroutines := heap(), runtime.NumGoroutine()
	for i := range n {
		f.engine.add(key(i))
	}
	each := (heap() - before) / n
	t.Logf("%d bytes a car", each)
	require.Less(t, each, uint64(400))
	require.LessOrEqual(t, runtime.NumGoroutine(), goroutines)
	runtime.KeepAlive(f)
}

// However many cars a restart finds, the first minute has no more visits than the rate
// allows, and none has many more than the others.
func TestARestartIsNoStampede(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n, rate = 20_000, 50
		var s starts
		f := newEngine(t, rate, func(context.Context, *entry) (smartcar.Visit, error) {
			s.note()
			return smartcar.Visit{Next: time.Now().Add(8*time.Hour + rand.N(time.Minute)), Rule: smartcar.RuleKeyless}, nil
		})
		for i := range n {
			f.engine.add(key(i))
		}
		start(t, f)
		time.Sleep(time.Hour)
		sum, most := s.between(0, time.Hour)
		require.Equal(t, n, sum, "each was visited")
		require.LessOrEqual(t, most, rate+1)
		first, _ := s.between(0, time.Minute)
		require.InDelta(t, n/10, first, n/50, "spread over ten minutes")
		require.Zero(t, f.Stats().Late)
		time.Sleep(30 * time.Hour)
		sum, _ = s.between(time.Hour, 31*time.Hour)
		require.GreaterOrEqual(t, sum, 3*n-n/5)
		require.LessOrEqual(t, runtime.NumGoroutine(), 30)
	})
}

// The visits of one second are at most twice the mean, and no car waits for long.
func TestVisitsAreEven(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 2000
		var s starts
		due := make(map[string]time.Time)
		var mu sync.Mutex
		latest := time.Duration(0)
		f := newEngine(t, 0, func(_ context.Context, e *entry) (smartcar.Visit, error) {
			s.note()
			mu.Lock()
			defer mu.Unlock()
			if at, ok := due[e.key]; ok && time.Since(s.began) > time.Hour {
				latest = max(latest, time.Since(at))
			}
			pause := 3 * time.Minute // paired
			switch i := e.key[35] - '0'; {
			case i < 2:
				pause = 8 * time.Hour
			case i < 3:
				pause = 5 * time.Minute
			}
			due[e.key] = time.Now().Add(pause + rand.N(pause/20))
			return smartcar.Visit{Next: due[e.key], Rule: smartcar.RulePace}, nil
		})
		for i := range n {
			f.engine.add(key(i))
		}
		start(t, f)
		time.Sleep(12 * time.Hour)
		sum, most := s.between(time.Hour, 12*time.Hour)
		mean := float64(sum) / (11 * 60 * 60)
		mu.Lock()
		defer mu.Unlock()
		t.Logf("mean %.1f, most %d, latest %v", mean, most, latest)
		require.LessOrEqual(t, float64(most), 2*mean)
		require.Less(t, latest, time.Minute)
	})
}

// The requests of one second are at most twice the mean, also in the minutes in which the
// keys of all cars are looked at, so that each visit takes two.
func TestLooksAtKeysAreEven(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n, paired, look = 1400, 3 * time.Minute, 6 * time.Hour
		var s starts
		var mu sync.Mutex
		looked := make(map[string]time.Time)
		f := newEngine(t, 0, func(_ context.Context, e *entry) (smartcar.Visit, error) {
			s.note()
			mu.Lock()
			defer mu.Unlock()
			visit := smartcar.Visit{Asked: true, KeyAsked: time.Since(looked[e.key]) >= look, KeyLookEvery: look, Rule: smartcar.RulePace}
			if visit.KeyAsked {
				s.note()
				looked[e.key] = time.Now().Truncate(look) // the next is due in the same moment for all
			}
			visit.Next = time.Now().Add(paired + rand.N(paired/20))
			return visit, nil
		})
		for i := range n {
			f.engine.add(key(i))
		}
		start(t, f)
		time.Sleep(25 * time.Hour)
		sum, most := s.between(time.Hour, 25*time.Hour)
		mean := float64(sum) / (24 * 60 * 60)
		t.Logf("mean %.1f, most %d", mean, most)
		require.GreaterOrEqual(t, sum, n*24*60/4)
		require.LessOrEqual(t, float64(most), 2*mean)
	})
}

// Engines are woken early, twice and late; whatever Next says, there is no busy loop.
func TestStrangeTimes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		strange := []time.Time{{}, time.Unix(0, 0), time.Now().AddDate(900, 0, 0), time.Now().Add(-time.Hour)}
		var visits atomic.Int32
		f := newEngine(t, 0, func(context.Context, *entry) (smartcar.Visit, error) {
			return smartcar.Visit{Next: strange[int(visits.Add(1))%len(strange)]}, nil
		})
		f.engine.add(key(0))
		start(t, f)
		time.Sleep(time.Minute)
		require.Positive(t, visits.Load())
		require.LessOrEqual(t, visits.Load(), int32(4), "one waits for years, that is for a week")
		require.NotEmpty(t, f.Stats().String())
		require.NotEmpty(t, f.Stats().LogValue().Group())
	})
}

// The pace of a fleet at its limit, and the requests that the pace takes. Looks that come
// each day are made with every second read if those are 17 hours apart, and with each one
// if they are farther apart than a day.
func TestPaceOf(t *testing.T) {
	const dayOf = 24 * 60 * 60
	for name, tt := range map[string]struct {
		cars      int
		looks     map[float32]int
		perMinute float64
		pace      time.Duration
	}{
		"no looks":                            {2000, nil, 2, 1000 * time.Minute},
		"a look with each read":               {2000, map[float32]int{dayOf: 1400}, 2, 1700 * time.Minute},
		"a look with every second read":       {2000, map[float32]int{dayOf: 1400}, 2.4, 1125 * time.Minute},
		"looks that come each five days, too": {2000, map[float32]int{dayOf: 1400, 5 * dayOf: 400}, 2, 1740 * time.Minute},
		"looks are rare beside the reads":     {1000, map[float32]int{dayOf: 1000}, 50, 1217 * time.Second},
		"no cars":                             {0, nil, 2, 0},
	} {
		t.Run(name, func(t *testing.T) { require.Equal(t, tt.pace, paceOf(tt.cars, tt.looks, tt.perMinute)) })
	}
}

// Looks at keys count as requests where they come before reads. A car without its key has
// visits of its own for them.
func TestLooksAtKeysTakeRequests(t *testing.T) {
	for name, tt := range map[string]struct {
		visit smartcar.Visit
		pace  time.Duration
	}{
		"paired, v3":      {smartcar.Visit{Rule: smartcar.RulePace}, 0},
		"paired, v2.0":    {smartcar.Visit{Rule: smartcar.RulePace, KeyLookEvery: 2 * time.Hour}, 75 * time.Minute},
		"without its key": {smartcar.Visit{Rule: smartcar.RuleKeyless, KeyLookEvery: 2 * time.Hour}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				limit := smartcar.ApplicationLimit{Requests: 120, PerMinute: 2}
				f := newEngine(t, 0, func(context.Context, *entry) (smartcar.Visit, error) {
					visit := tt.visit
					visit.Next = time.Now().Add(time.Hour)
					return visit, nil
				}, smartcar.WithBudget(smartcar.Budget{ApplicationLimit: limit}))
				for i := range 100 {
					f.engine.add(key(i))
				}
				start(t, f)
				time.Sleep(12 * time.Hour)
				require.Equal(t, tt.pace, f.Stats().Pace)
			})
		})
	}
}

// A rate may be so low that its pause is longer than any time.
func TestPauseOfTheLowestRate(t *testing.T) {
	for _, rate := range []float64{1e-10, math.SmallestNonzeroFloat64} {
		var g engine
		g.rest(time.Hour, rate)
		require.Equal(t, longestWait, g.pause)
		require.Equal(t, time.Hour+longestWait, g.ready)
	}
}
