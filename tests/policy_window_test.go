package smartcar_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/smartcartest"
	"github.com/seed-498a1bc4/smartcar/store"
	"github.com/stretchr/testify/require"
)

// crashingTransport ends the goroutine in the middle of a request, as a killed
// process would: nothing after it runs that would settle the turn. It notes
// when a vehicle's path was last on the wire.
type crashingTransport struct {
	http.RoundTripper
	mu      sync.Mutex
	last    map[string]time.Time // by vehicle id
	refused map[string]time.Time // first refusal since then
}

func (c *crashingTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	c.note(r)
	defer c.note(r)
	crash := rand.IntN(60) == 0 && r.URL.Path != "/oauth/token"
	if crash && rand.IntN(2) == 0 {
		runtime.Goexit()
	}
	resp, err := c.RoundTripper.RoundTrip(r)
	if crash {
		runtime.Goexit()
	}
	return resp, err
}

func (c *crashingTransport) note(r *http.Request) {
	segments := strings.Split(r.URL.Path, "/")
	if len(segments) < 5 || segments[4] == "tesla" { // not a request for data
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last[segments[3]] = time.Now()
}

// blocked is for how long the car has been refused, with nothing sent and no
// clock set back in between.
func (c *crashingTransport) blocked(vehicleID string, stepped time.Time) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	first := c.refused[vehicleID]
	if !first.After(c.last[vehicleID]) || !first.After(stepped) {
		c.refused[vehicleID] = time.Now()
	}
	return time.Since(c.refused[vehicleID])
}

// tornStore swaps without comparing, but for what keeps the login alive.
type tornStore struct{ store.Store }

func (s tornStore) CompareAndSwap(ctx context.Context, key string, old store.Revision, value []byte, ttl time.Duration) (store.Record, error) {
	if !strings.HasPrefix(key, "car/") {
		return s.Store.CompareAndSwap(ctx, key, old, value, ttl)
	}
	for {
		current, _ := s.Store.Load(ctx, key)
		record, err := s.Store.CompareAndSwap(ctx, key, current.Revision, value, ttl)
		if !errors.Is(err, store.ErrConflict) {
			return record, err
		}
	}
}

// TestNeverTwoDataRequestsInAWindow drives keyless cars through random
// interleavings of replicas that share a store: crashes between reserve and
// settle, dropped connections before and after processing, slow answers past
// the timeout, errors, canceled callers and clocks set back.
func TestNeverTwoDataRequestsInAWindow(t *testing.T) {
	for seed := range uint64(6) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			broken, asked := chaos(t, seed, slowStore{store.NewMemory()})
			require.Zero(t, broken)
			require.Greater(t, asked, 40, "the cars were hardly asked: the test proves nothing")
		})
	}
}

// TestTornSwapWouldBreakWindows proves that the test above can fail.
func TestTornSwapWouldBreakWindows(t *testing.T) {
	broken, _ := chaos(t, 1, slowStore{tornStore{store.NewMemory()}})
	require.NotZero(t, broken)
}

func chaos(t *testing.T, seed uint64, db store.Store) (broken, asked int) {
	cars := []string{smartcartest.ModelY, smartcartest.Cybertruck}
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New(smartcartest.WithSeed(seed))
		clock := new(steppingClock)
		transport := &crashingTransport{RoundTripper: sim.Transport(), last: make(map[string]time.Time), refused: make(map[string]time.Time)}
		replicas := make([]*smartcar.Client, 3)
		for i := range replicas {
			replicas[i] = newClientOver(t, sim, transport, smartcar.WithStore(db), smartcar.WithClock(clock))
		}
		userID := connect(t, sim, newClient(t, sim, smartcar.WithStore(db), smartcar.WithClock(clock))).UserID
		injectChaos(sim)

		var workers sync.WaitGroup
		deadline := time.Now().Add(14 * 24 * time.Hour)
		for w := range 9 {
			workers.Go(func() {
				random := rand.New(rand.NewPCG(seed, uint64(w)))
				user := replicas[w%len(replicas)].User(userID)
				for time.Now().Before(deadline) {
					// Everybody wakes on the hour or half past: they meet.
					time.Sleep(time.Until(time.Now().Truncate(30 * time.Minute).Add(time.Duration(1+random.IntN(5)) * 30 * time.Minute)))
					if random.IntN(300) == 0 {
						clock.stepBack(time.Duration(random.Int64N(int64(3 * time.Hour))))
					}
					oneRequest(t, transport, clock, user.Vehicle(cars[random.IntN(len(cars))]), random)
				}
			})
		}
		workers.Wait()
		for _, client := range replicas {
			require.NoError(t, client.Drain(t.Context()))
		}
		for _, id := range cars {
			broken += len(sim.BrokenWindows(id))
			asked += countedData(sim, id)
		}
	})
	return broken, asked
}

// injectChaos spoils a good part of the requests to the API.
func injectChaos(sim *smartcartest.Server) {
	for _, f := range []smartcartest.Fault{
		{DropBefore: true, Probability: 0.05},
		{DropAfter: true, Probability: 0.10},
		{Status: 502, Probability: 0.05},
		{Status: 500, AfterProcessing: true, Probability: 0.05},
		{LatencyAfter: 400 * time.Second, Probability: 0.03},
		{Latency: 20 * time.Second, Probability: 0.10},
		{LatencyAfter: 40 * time.Second, Probability: 0.10},
		{Malformed: true, Probability: 0.03},
		{ErrorType: "RATE_LIMIT", ErrorCode: "SMARTCAR_API", Probability: 0.02},
	} {
		f.Times = -1
		f.Path = "/v2.0/"
		sim.Inject(f)
	}
}

// oneRequest is a caller who may be gone before the answer, in a goroutine of
// its own because the process may die in it.
func oneRequest(t *testing.T, transport *crashingTransport, clock *steppingClock, v *smartcar.Vehicle, random *rand.Rand) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	if random.IntN(5) == 0 {
		ctx, cancel = context.WithTimeout(ctx, time.Duration(random.Int64N(int64(time.Minute))))
		defer cancel()
	}
	which := random.IntN(6)
	done := make(chan struct{})
	go func() {
		defer close(done)
		var err error
		switch which {
		case 0:
			_, err = v.Snapshot(ctx, smartcar.Battery, smartcar.Odometer, smartcar.ChargeLimit)
		case 1:
			_, err = v.Lock(ctx)
		case 2:
			_, err = v.Odometer(ctx)
		default:
			_, err = v.Battery(ctx)
		}
		notBlockedTooLong(t, transport, clock, v.ID(), err)
	}()
	<-done
}

func notBlockedTooLong(t *testing.T, transport *crashingTransport, clock *steppingClock, vehicleID string, err error) {
	var limited *smartcar.RateLimitError
	if !errors.As(err, &limited) || !limited.Local || limited.InFlight || limited.Rule != smartcar.RuleKeyless {
		return
	}
	if blocked := transport.blocked(vehicleID, time.Unix(0, clock.steppedAt.Load())); blocked > maxBlocked {
		t.Errorf("%s has been refused for %v", vehicleID, blocked)
	}
	if wait := limited.NextAllowed.Sub(clock.Now()); wait > maxBlocked {
		t.Errorf("%s is to wait for %v", vehicleID, wait)
	}
}

// TestNoReplayBelowTheClient cuts kept-alive connections after the server has
// processed the request, where net/http would send a GET again by itself.
func TestNoReplayBelowTheClient(t *testing.T) {
	require.Zero(t, brokenByCutConnections(t, &http.Transport{}))
}

// TestReplayBelowTheClientWouldBreakWindows proves that the test above can fail.
func TestReplayBelowTheClientWouldBreakWindows(t *testing.T) {
	require.NotZero(t, brokenByCutConnections(t, &replayingTransport{}))
}

// closingTransport keeps connections until it is told to close them.
type closingTransport interface {
	http.RoundTripper
	CloseIdleConnections()
}

// replayingTransport undoes what keeps net/http from sending a GET again: the
// client sends a body that cannot be read twice.
type replayingTransport struct{ http.Transport }

func (p *replayingTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Method != http.MethodGet || r.Body == nil {
		return p.Transport.RoundTrip(r)
	}
	body, err := io.ReadAll(r.Body)
	_ = r.Body.Close()
	if err != nil {
		return nil, err
	}
	again, err := http.NewRequestWithContext(r.Context(), r.Method, r.URL.String(), bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	again.Header = r.Header
	return p.Transport.RoundTrip(again)
}

// overASocket is a keyless car that is reached through a real socket.
func overASocket(t *testing.T, transport closingTransport) (*smartcartest.Server, *simClock, *smartcar.Vehicle) {
	t.Helper()
	clock := &simClock{}
	sim := smartcartest.New(smartcartest.WithClock(clock.Now))
	origin, stop, err := sim.Start()
	require.NoError(t, err)
	t.Cleanup(stop)
	base := mustParse(t, origin)
	t.Cleanup(transport.CloseIdleConnections)
	client := newClientOver(t, sim, transport,
		smartcar.WithClock(clock), smartcar.WithOrigins(smartcar.Origins{Connect: base, Auth: base, API: base}))
	return sim, clock, client.User(connect(t, sim, client).UserID).Vehicle(smartcartest.Cybertruck)
}

func brokenByCutConnections(t *testing.T, transport closingTransport) int {
	sim, clock, v := overASocket(t, transport)
	for range 10 {
		_, err := v.Attributes(t.Context()) // leaves a kept-alive connection
		require.NoError(t, err)
		sim.Inject(smartcartest.Fault{DropAfter: true, Path: "/battery"})
		_, err = v.Battery(t.Context())
		require.Error(t, err)
		clock.advance(9 * time.Hour)
	}
	return len(sim.BrokenWindows(smartcartest.Cybertruck))
}

// Where net/http would send a GET again by itself, on a real socket.
func TestGETWithABodyIsNotReplayedBelowTheClient(t *testing.T) {
	require.Equal(t, 1, sendsOfACutGET(t, &http.Transport{}))
	require.Equal(t, 2, sendsOfACutGET(t, &replayingTransport{}), "the test can fail")
}

func sendsOfACutGET(t *testing.T, transport closingTransport) int {
	t.Helper()
	sim, _, v := overASocket(t, transport)
	_, err := v.Attributes(t.Context()) // leaves a kept-alive connection
	require.NoError(t, err)
	sim.Inject(smartcartest.Fault{DropAfter: true, Path: "/battery"})
	// Whether it fails depends on who sends it again.
	_, _ = v.Request(t.Context(), smartcar.Request{Path: "battery", Body: map[string]int{"a": 1}})
	return countedData(sim, smartcartest.Cybertruck)
}

// A week of a keyless car polled every minute: 21 turns of 8 hours, and one
// more if the first falls on the start.
func TestWeekOfKeylessTeslaPolledEveryMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		_, user := connected(t, sim)
		v := user.Vehicle(smartcartest.Cybertruck)

		var next time.Time // what the refusals promised
		live := 0
		for range 7 * 24 * 60 {
			_, err := v.Battery(t.Context())
			var limited *smartcar.RateLimitError
			switch {
			case err == nil:
				require.False(t, time.Now().Before(next), "live read before the promised time")
				live++
				next = time.Now().Add(8 * time.Hour)
			default:
				require.ErrorAs(t, err, &limited)
				require.True(t, limited.Local)
				require.WithinDuration(t, next, limited.NextAllowed, 2*time.Millisecond)
				require.True(t, time.Now().Before(limited.NextAllowed))
			}
			time.Sleep(time.Minute)
		}
		require.GreaterOrEqual(t, live, 21)
		require.LessOrEqual(t, live, 22)
		require.Empty(t, sim.BrokenWindows(smartcartest.Cybertruck))
		require.Equal(t, live, countedData(sim, smartcartest.Cybertruck))
	})
}

// A day of a legacy car that is awake for six hours: from the first look on, an
// hour after it woke at the latest, every refresh is seen once, none twice, and the
// car is not asked more often than it could answer, wherever its beat lies.
func TestDayOfLegacyTeslaWatched(t *testing.T) {
	for _, wakes := range []time.Duration{9 * time.Hour, 9*time.Hour + time.Second, 7*time.Hour + 3*time.Minute + 20*time.Second, 13*time.Hour + 59*time.Second} {
		t.Run(wakes.String(), func(t *testing.T) { synctest.Test(t, func(t *testing.T) { watchLegacyDay(t, wakes) }) })
	}
}

func watchLegacyDay(t *testing.T, wakes time.Duration) {
	sim := smartcartest.New(garageWith(smartcartest.ModelS2018, func(c *smartcartest.Car) {
		c.AwakeFrom, c.AwakeFor = wakes, 6*time.Hour
	}))
	_, user := connected(t, sim)

	midnight := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), 24*time.Hour)
	defer cancel()
	seen := make(map[time.Time]int)
	for snapshot, err := range user.Vehicle(smartcartest.ModelS2018).Watch(ctx, smartcar.Battery) {
		if errors.Is(err, context.DeadlineExceeded) {
			break
		}
		require.NoError(t, err)
		battery, err := snapshot.Battery()
		require.NoError(t, err)
		seen[battery.RecordedAt]++
	}
	for beat := midnight.Add(wakes); !beat.After(midnight.Add(wakes + 6*time.Hour)); beat = beat.Add(5 * time.Minute) {
		if beat.Sub(midnight) >= wakes+time.Hour+time.Minute {
			require.Equal(t, 1, seen[beat.UTC()], "recorded %v", beat)
		}
		require.LessOrEqual(t, seen[beat.UTC()], 1, "recorded %v", beat)
		delete(seen, beat.UTC())
	}
	require.Len(t, seen, 1, "beside the day's values only the one from the day before")
	require.LessOrEqual(t, countedData(sim, smartcartest.ModelS2018), 288)
}

func TestIgnoredPolicyIsBooked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New(smartcartest.WithKeylessAnswer(smartcartest.StaleData))
		_, user := connected(t, sim)
		v := user.Vehicle(smartcartest.ModelY)
		_, err := v.Odometer(t.Context())
		require.NoError(t, err)
		time.Sleep(3 * time.Hour)
		forced, err := v.With(smartcar.IgnorePolicy()).Odometer(t.Context())
		require.NoError(t, err)
		require.True(t, forced.PolicyOverridden)
		require.Equal(t, smartcar.SourceLive, forced.Source)
		require.Equal(t, 2, countedData(sim, smartcartest.ModelY))
		refusedUntil(t, v, time.Now().Add(window))

		snapshot, err := v.With(smartcar.IgnorePolicy()).Snapshot(t.Context(), smartcar.Odometer)
		require.NoError(t, err)
		odometer, err := snapshot.Odometer()
		require.NoError(t, err)
		require.True(t, odometer.PolicyOverridden)
		again, err := v.With(smartcar.AllowStale()).Odometer(t.Context())
		require.NoError(t, err)
		require.True(t, again.Stale)
	})
}

func TestIgnoredPolicyOfACommand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := smartcartest.New()
		_, user := connected(t, sim)
		v := user.Vehicle(smartcartest.ModelY)
		_, err := v.Odometer(t.Context())
		require.NoError(t, err)
		_, err = v.With(smartcar.IgnorePolicy()).Lock(t.Context())
		var missing *smartcar.VirtualKeyRequiredError
		require.ErrorAs(t, err, &missing)
		require.False(t, missing.Local, "Smartcar was asked")
		require.NoError(t, sim.Pair(smartcartest.ModelY))
		result, err := v.With(smartcar.IgnorePolicy()).Lock(t.Context())
		require.NoError(t, err)
		require.True(t, result.PolicyOverridden)
		result, err = v.With(smartcar.IgnorePolicy(), smartcar.WithoutTurn()).Lock(t.Context())
		require.NoError(t, err)
		require.False(t, result.PolicyOverridden, "who wants no turn asks the policy")
		_, err = v.Odometer(t.Context())
		require.NoError(t, err, "a command that worked proves the key")
	})
}
