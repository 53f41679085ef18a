package smartcar_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/smartcartest"
	"github.com/seed-498a1bc4/smartcar/store"
	"github.com/stretchr/testify/require"
)

// A life is what happens to a car, its owner, two machines and Smartcar, drawn by
// chance.
type life struct {
	t        *testing.T
	api      smartcar.API
	sim      *smartcartest.Server
	random   *rand.Rand
	witness  *witness
	db       *steppingStore
	userID   string
	mu       sync.Mutex // of replicas and clients, for webhooks that come during a request
	replicas [2]*replica
	clients  [2]*smartcar.Client
	cars     [2]*smartcar.Vehicle // the same one, as each process sees it
	wires    [2]*midway
	other    *smartcar.Vehicle // as another application sees it
	post     *postman          // nil if the car is on no webhook
	paired   atomic.Bool
	asleep   bool
	// loggedOut: a process has died after a token was renewed, and before it was stored.
	loggedOut atomic.Bool
	bare      bool // the permission is missing that tells of class and key
	long      bool // more of it passes between two calls
}

// lives are the first seed that TestWindowsHoldForLife draws on each API, and the one
// after the last: a full run of CI sets SMARTCAR_LIVES to their number. SMARTCAR_LIFE is
// one seed to draw again.
func lives(t *testing.T) (first, end uint64) {
	for name, seeds := range map[string]func(n uint64) (first, end uint64){
		"SMARTCAR_LIFE":  func(n uint64) (first, end uint64) { return n, n + 1 },
		"SMARTCAR_LIVES": func(n uint64) (first, end uint64) { return 0, n },
	} {
		if text := os.Getenv(name); text != "" {
			n, err := strconv.ParseUint(text, 10, 32)
			require.NoError(t, err)
			return seeds(n)
		}
	}
	if testing.Short() {
		return 0, 2
	}
	return 0, 10
}

// TestWindowsHoldForLife draws lives of a keyless car: keys that come and go, under
// each of the answers that a server may give, cars that sleep, callers that leave,
// answers that are lost, late, foreign or refused, permissions that are missing or are
// withdrawn, webhooks that come twice, in any order or hours late, clocks of the machines
// and of the store that are set, also during a request, an access to the store or an event,
// processes that die between any two steps, owners who connect again or are forgotten,
// operators who reset the car or ignore the policy, and another application that reads the
// car. No second request may leave inside of a window once anything has told the client
// that the rule holds, but for the weekly trial of a car whose status cannot be read, and
// the car may not be locked.
func TestWindowsHoldForLife(t *testing.T) {
	const workers = 2
	for _, api := range []smartcar.API{smartcar.V2, smartcar.V3} {
		for worker := range uint64(workers) {
			t.Run(fmt.Sprint(api, " ", worker), func(t *testing.T) {
				t.Parallel()
				drawn, asked, trials, undetected := 0, 0, 0, 0
				first, end := lives(t)
				for seed := first; seed < end; seed++ {
					if seed%workers != worker {
						continue
					}
					synctest.Test(t, func(t *testing.T) {
						w := liveOnce(t, api, seed)
						require.Empty(t, w.broken, "seed %d: %s", seed, strings.Join(w.story[max(0, len(w.story)-30):], "\n"))
						drawn, asked = drawn+1, asked+countedData(w.sim, w.car)
						trials, undetected = trials+w.trials, undetected+w.undetected
					})
				}
				t.Logf("%s: %d lives, %d data requests counted, 0 windows broken, %d weekly trials, %d undetected", api, drawn, asked, trials, undetected)
				require.GreaterOrEqual(t, asked, 10*drawn, "the cars were hardly asked: the test proves nothing")
			})
		}
	}
}

// bareAccess are permissions without the one that tells of class and key.
var bareAccess = []string{"read_battery", "read_odometer", "control_security"}

func liveOnce(t *testing.T, api smartcar.API, seed uint64) *witness {
	random := rand.New(rand.NewPCG(seed, 11))
	answer := []smartcartest.KeylessAnswer{smartcartest.RateLimited, smartcartest.StaleData, smartcartest.KeyRequired}[random.IntN(3)]
	car := refreshedS()
	if random.IntN(4) > 0 {
		car = smartcartest.DefaultGarage()[random.IntN(3)]
	}
	car.Paired = false
	l := &life{t: t, api: api, random: random, bare: random.IntN(4) == 0, long: random.IntN(8) == 0}
	if l.bare {
		car.Permissions = bareAccess
	}
	l.sim = smartcartest.New(smartcartest.WithSeed(seed), smartcartest.WithKeylessAnswer(answer), smartcartest.WithCars(car))
	l.witness = &witness{RoundTripper: l.sim.Transport(), sim: l.sim, car: car.ID, readable: !l.bare}
	l.db = newSteppingStore(store.NewMemory())
	for i := range l.replicas {
		l.begin(i)
	}
	if random.IntN(4) > 0 {
		l.hook()
	}
	days, most := 8, 90
	if l.long {
		days, most = 24, 270
	}
	for end := time.Now().Add(time.Duration(days) * day); time.Now().Before(end); {
		l.pass(time.Duration(1+random.IntN(most)) * time.Minute)
		l.bury()
		l.happen()
		if l.post != nil && random.IntN(2) == 0 {
			l.post.bring()
		}
		if l.bury(); l.loggedOut.Load() {
			l.connect()
		}
		l.call(random.IntN(len(l.cars)))
	}
	l.spare(0)
	l.spare(1)
	l.bury()
	// Whatever has happened: with no fault left, the car can be read within the rule.
	l.sim.ClearFaults()
	_ = l.sim.Wake(car.ID)
	l.readable()
	return l.witness
}

// pass lets time pass.
func (l *life) pass(d time.Duration) {
	if l.post == nil {
		time.Sleep(d)
		return
	}
	l.post.pass(d)
}

// begin starts a process, on a machine whose clock is right by then.
func (l *life) begin(i int) {
	r := &replica{Store: l.db, clock: new(steppingClock)}
	l.wires[i] = &midway{RoundTripper: l.witness.onBehalf(r)}
	client := l.client(l.wires[i], smartcar.WithStore(r), smartcar.WithClock(r.clock))
	l.mu.Lock()
	defer l.mu.Unlock()
	l.replicas[i] = r
	if l.userID == "" {
		l.userID = connect(l.t, l.sim, client).UserID
	}
	l.clients[i] = client
	l.cars[i] = client.User(l.userID).Vehicle(l.witness.car)
}

func (l *life) client(wire http.RoundTripper, opts ...smartcar.Option) *smartcar.Client {
	client := apiClient(l.t, l.sim, l.api, append(opts, smartcar.WithHTTPClient(&http.Client{Transport: wire, Timeout: 30 * time.Second}))...)
	l.t.Cleanup(func() { require.NoError(l.t, client.Drain(context.WithoutCancel(l.t.Context()))) })
	return client
}

// happen lets something happen to the car, its owner or Smartcar.
func (l *life) happen() {
	id := l.witness.car
	switch l.random.IntN(40) {
	case 0, 1:
		if l.paired.Store(!l.paired.Load()); l.paired.Load() {
			require.NoError(l.t, l.sim.Pair(id))
		} else {
			require.NoError(l.t, l.sim.Unpair(id))
		}
	case 2:
		if l.asleep = !l.asleep; l.asleep {
			require.NoError(l.t, l.sim.Sleep(id))
		} else {
			require.NoError(l.t, l.sim.Wake(id))
		}
	case 3, 4, 5, 6, 7:
		l.sim.Inject(l.fault())
	case 8:
		l.sim.ClearFaults()
	case 9:
		l.step()()
	case 10:
		l.wires[l.random.IntN(2)].arm(l.step())
	case 11:
		l.replicas[l.random.IntN(2)].arm(1+l.random.IntN(6), l.step())
	case 12:
		l.death(l.random.IntN(2))
	case 13:
		l.ask("reset", func(ctx context.Context, v *smartcar.Vehicle) error {
			l.witness.forgets()
			return v.ResetCar(ctx)
		})
	case 14:
		l.permit()
	case 15:
		l.connect()
	case 16:
		l.otherApplication()
	case 17:
		l.ask("override", func(ctx context.Context, v *smartcar.Vehicle) error {
			_, err := v.With(smartcar.IgnorePolicy()).Battery(context.WithValue(ctx, overriding{}, true))
			return err
		})
	case 18, 19, 20:
		if l.post != nil {
			l.wires[l.random.IntN(2)].arm(l.post.bring)
		}
	}
}

// death ends a process: at once, while its next request is with the server, or before
// one of its next accesses to the store.
func (l *life) death(i int) {
	r := l.replicas[i]
	switch l.random.IntN(3) {
	case 0:
		r.begins(l.witness.heardSoFar())
		r.die()
	case 1:
		r.mu.Lock()
		r.dies = true
		r.mu.Unlock()
	case 2:
		r.arm(1+l.random.IntN(6), r.die)
	}
	l.witness.tell("process %d is to die", i)
}

// permit takes the permission away that tells of class and key, or gives it back, which
// takes the owner to run Connect.
func (l *life) permit() {
	if l.bare = !l.bare; l.bare {
		require.NoError(l.t, l.sim.SetPermissions(l.witness.car, bareAccess...))
		l.witness.unreadable()
		return
	}
	require.NoError(l.t, l.sim.SetPermissions(l.witness.car, append(slices.Clone(bareAccess), "read_vehicle_info", "read_vin")...))
	l.connect()
}

// connect lets the owner run Connect again, now and then after the application has
// forgotten them.
func (l *life) connect() {
	i := l.random.IntN(2)
	l.spare(i)
	if l.random.IntN(2) == 0 {
		require.NoError(l.t, l.clients[i].User(l.userID).Forget(l.t.Context()))
		if l.witness.heardSoFar().told.IsZero() {
			l.witness.excuse(span{time.Now().Add(-window), time.Now()})
		}
		l.witness.forgets()
		l.witness.tell("the owner is forgotten")
	}
	for {
		authorizeURL, cookies := begin(l.t, l.clients[i], smartcar.ConnectOptions{})
		callbackURL, err := l.sim.Grant(authorizeURL)
		require.NoError(l.t, err)
		if _, err = finish(l.clients[i], callbackURL, cookies); err == nil {
			break
		}
		require.ErrorIs(l.t, err, smartcar.ErrRateLimited)
		time.Sleep(time.Minute)
	}
	if !l.witness.readable {
		l.witness.forgets()
	}
	l.witness.tell("the owner has connected again")
	l.loggedOut.Store(false)
}

// otherApplication reads the car, of which no client here can know.
func (l *life) otherApplication() {
	if l.other == nil {
		client := l.client(l.sim.Transport())
		l.other = client.User(connect(l.t, l.sim, client).UserID).Vehicle(l.witness.car)
	}
	began := time.Now()
	_, _ = l.other.With(smartcar.IgnorePolicy()).Battery(l.t.Context())
	l.witness.excuse(span{began, time.Now()})
	l.witness.tell("another application has read the car")
}

// ask lets one of the processes do something that no caller leaves.
func (l *life) ask(what string, f func(context.Context, *smartcar.Vehicle) error) {
	i := l.random.IntN(2)
	l.spare(i)
	err := f(l.t.Context(), l.cars[i])
	l.witness.tell("process %d: %s: %v", i, what, err)
}

// spare takes back what was to happen to a process at one of its next steps.
func (l *life) spare(i int) {
	r := l.replicas[i]
	r.mu.Lock()
	defer r.mu.Unlock()
	r.strike, r.dies = nil, false
}

// bury replaces the processes that have died.
func (l *life) bury() {
	for i, r := range l.replicas {
		if !r.isDead() {
			continue
		}
		l.witness.outlives(r)
		l.begin(i)
		l.witness.tell("process %d begins again", i)
	}
}

// step draws by how much one of the clocks is set forward or back, and returns what
// sets it.
func (l *life) step() func() { return l.stepBy(l.random) }

// stepBy is step with what draws given.
func (l *life) stepBy(random *rand.Rand) func() {
	by := time.Duration(random.Int64N(int64(20*time.Hour))) - 10*time.Hour
	if random.IntN(3) == 0 {
		by /= 100
	}
	clocks := []*steppingClock{&l.db.steppingClock, l.replicas[0].clock, l.replicas[1].clock}
	which := random.IntN(len(clocks))
	return func() {
		clocks[which].step(by)
		l.witness.mu.Lock()
		defer l.witness.mu.Unlock()
		l.witness.stepped += by.Abs()
		if len(l.witness.broken) == 0 {
			l.witness.story = append(l.witness.story, fmt.Sprintf("clock %d, 0 is the store's, is set by %v", which, by))
		}
	}
}

// fault is one that meets the next requests of the car.
func (l *life) fault() smartcartest.Fault {
	faults := []smartcartest.Fault{
		{DropBefore: true},
		{DropAfter: true},
		{Status: http.StatusBadGateway},
		{Status: http.StatusInternalServerError, AfterProcessing: true},
		{LatencyAfter: 45 * time.Second},
		{Latency: 20 * time.Second},
		{Malformed: true},
		{Status: http.StatusOK, Body: `{"status":"welcome"}`},
		{Status: http.StatusOK, Body: `{"status":"welcome"}`, AfterProcessing: true},
		{Status: http.StatusOK, Body: `{}`},
		{ErrorType: "RATE_LIMIT", ErrorCode: "SMARTCAR_API"},
		{ErrorType: "VEHICLE_STATE", ErrorCode: "ASLEEP"},
		{ErrorType: "UPSTREAM", ErrorCode: "NO_RESPONSE", AfterProcessing: true},
	}
	f := faults[l.random.IntN(len(faults))]
	f.Path, f.Times = "/vehicles/"+l.witness.car, 1+l.random.IntN(4)
	return f
}

// call does what a program does, which may leave before the answer.
func (l *life) call(i int) {
	r, v := l.replicas[i], l.cars[i]
	r.begins(l.witness.heardSoFar())
	ctx, cancel := context.WithCancel(l.t.Context())
	defer cancel()
	if l.random.IntN(4) == 0 {
		ctx, cancel = context.WithTimeout(ctx, time.Duration(l.random.Int64N(int64(50*time.Second))))
		defer cancel()
	}
	var wait sync.WaitGroup
	for range 1 + l.random.IntN(3)/2 {
		which := l.random.IntN(10)
		wait.Go(func() { l.one(ctx, v, which) })
	}
	wait.Wait()
}

func (l *life) one(ctx context.Context, v *smartcar.Vehicle, which int) {
	var err error
	switch which {
	case 0:
		_, err = v.Snapshot(ctx, smartcar.Battery, smartcar.Odometer)
	case 1:
		_, err = v.Lock(ctx)
	case 2:
		_, err = v.Access(ctx)
	case 3:
		_, err = v.KeyStatus(ctx)
	case 4, 5:
		_, err = v.Odometer(ctx)
	default:
		_, err = v.Battery(ctx)
	}
	if errors.Is(err, smartcar.ErrReconnectRequired) {
		l.loggedOut.Store(true)
	}
}

// readable requires that the car is not locked for longer than the rule, a lease and
// the steps of the clocks.
func (l *life) readable() {
	var err error
	for end := time.Now().Add(maxBlocked + time.Hour + l.witness.stepped); time.Now().Before(end); time.Sleep(10 * time.Minute) {
		if _, err = l.cars[0].Battery(l.t.Context()); err == nil {
			return
		}
		if errors.Is(err, smartcar.ErrReconnectRequired) {
			l.connect()
		}
	}
	var limited *smartcar.RateLimitError
	errors.As(err, &limited)
	require.NoError(l.t, err, "the car is locked: %+v", limited)
}
