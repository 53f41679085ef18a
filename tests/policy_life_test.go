package smartcar_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/signals"
	"github.com/seed-498a1bc4/smartcar/smartcartest"
	"github.com/seed-498a1bc4/smartcar/store"
	"github.com/stretchr/testify/require"
)

// heard is what the answers have told the client of the key of one car.
type heard struct {
	// told is since when the newest word that has reached the client about the key is
	// that it is missing; zero while it is another one.
	told    time.Time
	proved  time.Time     // by the last command that worked, which outranks a status for a day
	since   time.Time     // when told turned so, or the last trial after that
	stepped time.Duration // the sum of the steps of all clocks
}

// witness is a transport that notes what the answers have told the client of the
// key of one car, and which windows are broken by which request.
type witness struct {
	http.RoundTripper
	sim *smartcartest.Server
	car string

	mu sync.Mutex
	heard
	readable   bool // the status of the key can be read
	seen       int  // of the broken windows
	broken     []string
	trials     int
	undetected int      // the second request left before anything had told
	story      []string // what went over the wire until the first broken window
}

// keySignal finds the key's signal in a list of signals of API v3.
func keySignal(body []byte) (paired, found bool) {
	var list struct {
		Data []struct {
			Attributes struct {
				Code signals.Code
				Body struct{ Value any }
			}
		}
	}
	if json.Unmarshal(body, &list) != nil {
		return false, false
	}
	for _, signal := range list.Data {
		if signal.Attributes.Code == signals.ConnectivityStatusIsDigitalKeyPaired {
			paired, found = signal.Attributes.Body.Value.(bool)
		}
	}
	return paired, found
}

func (w *witness) RoundTrip(r *http.Request) (*http.Response, error) {
	w.mu.Lock()
	toldBefore := !w.told.IsZero() && w.told.Before(time.Now()) // what comes in the same instant is not stored yet
	w.mu.Unlock()
	resp, err := w.RoundTripper.RoundTrip(r)
	var body []byte
	if err == nil {
		body, err = io.ReadAll(resp.Body)
		resp.Body = io.NopCloser(bytes.NewReader(body))
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	goesOn := len(w.broken) == 0
	if all := w.sim.BrokenWindows(w.car); len(all) > w.seen {
		w.seen = len(all)
		switch {
		case toldBefore && !w.readable && time.Since(w.since) >= 7*day-w.stepped:
			// Nothing else can show that the owner has added the key: one read a week
			// is a trial. By a clock that was set, a week is as much longer or shorter.
			w.trials, w.since = w.trials+1, time.Now()
		case toldBefore:
			w.broken = append(w.broken, fmt.Sprintf("%+v", all[len(all)-1]))
		default:
			w.undetected++
		}
	}
	said := fmt.Sprint(err)
	if err == nil {
		said = fmt.Sprintf("%d %.120s", resp.StatusCode, body)
		if strings.Contains(r.URL.Path, w.car) && json.Valid(body) {
			w.note(r, resp, body)
		}
	}
	if goesOn {
		w.story = append(w.story, fmt.Sprintf("%s %s %s: %s; told %v", time.Now().Format(time.DateTime), r.Method, r.URL.Path, said, w.told))
	}
	return resp, err
}

var succeeded = regexp.MustCompile(`(?i)"status":(\{"value":)?"success"`)

// note takes what an answer says of the key, if it is Smartcar's.
func (h *heard) note(r *http.Request, resp *http.Response, answer []byte) {
	retryAfter, _ := strconv.Atoi(resp.Header.Get("Retry-After"))
	body, status := string(answer), strings.HasSuffix(r.URL.Path, "/tesla/virtual_key")
	paired, signaled := keySignal(answer)
	command := r.Method == http.MethodPost && !strings.HasSuffix(r.URL.Path, "/batch")
	switch {
	case strings.Contains(body, "VIRTUAL_KEY_REQUIRED"),
		status && strings.Contains(body, `"isPaired":false`) && time.Since(h.proved) >= day+h.stepped,
		signaled && !paired,
		resp.StatusCode == http.StatusTooManyRequests && retryAfter >= 2*60*60:
		if h.told.IsZero() {
			h.since = time.Now()
		}
		h.told, h.proved = time.Now(), time.Time{}
	case command && resp.StatusCode == http.StatusOK && succeeded.Match(answer):
		h.told, h.proved = time.Time{}, time.Now()
	case status && strings.Contains(body, `"isPaired":true`), signaled:
		h.told = time.Time{}
	}
}

// A life is what happens to a car, its owner, two machines and Smartcar, drawn by
// chance.
type life struct {
	t       *testing.T
	sim     *smartcartest.Server
	random  *rand.Rand
	witness *witness
	cars    []*smartcar.Vehicle   // the same one, as each machine sees it
	steps   []func(time.Duration) // of the clocks: each machine's and the store's
	wire    *midway
	paired  bool
	asleep  bool
}

// lives is how many lives TestWindowsHoldForLife draws on each API; a full run of CI
// sets SMARTCAR_LIVES.
func lives(t *testing.T) uint64 {
	text := os.Getenv("SMARTCAR_LIVES")
	switch {
	case text != "":
		n, err := strconv.ParseUint(text, 10, 32)
		require.NoError(t, err)
		return n
	case testing.Short():
		return 2
	}
	return 10
}

// TestWindowsHoldForLife draws lives of a keyless car: keys that come and go, under
// each of the answers that a server may give, cars that sleep, callers that leave,
// answers that are lost, late, foreign or refused, permissions that are missing, clocks
// of the machines and of the store that are set, also during a request. No
// second request may leave inside of a window once anything has told the client that
// the rule holds, but for the weekly trial of a car whose status cannot be read, and the
// car may not be locked.
func TestWindowsHoldForLife(t *testing.T) {
	const workers = 2
	for _, api := range []smartcar.API{smartcar.V2, smartcar.V3} {
		for worker := range uint64(workers) {
			t.Run(fmt.Sprint(api, " ", worker), func(t *testing.T) {
				t.Parallel()
				drawn, asked, trials, undetected := 0, 0, 0, 0
				for seed := worker; seed < lives(t); seed += workers {
					synctest.Test(t, func(t *testing.T) {
						w := liveOnce(t, api, seed)
						require.Empty(t, w.broken, "seed %d: %s", seed, strings.Join(w.story[max(0, len(w.story)-30):], "\n"))
						drawn, asked = drawn+1, asked+countedData(w.sim, w.car)
						trials, undetected = trials+w.trials, undetected+w.undetected
					})
				}
				t.Logf("%s: %d lives, %d data requests counted, 0 windows broken, %d weekly trials, %d undetected", api, drawn, asked, trials, undetected)
				require.Greater(t, asked, 10*drawn, "the cars were hardly asked: the test proves nothing")
			})
		}
	}
}

func liveOnce(t *testing.T, api smartcar.API, seed uint64) *witness {
	random := rand.New(rand.NewPCG(seed, 11))
	answer := []smartcartest.KeylessAnswer{smartcartest.RateLimited, smartcartest.StaleData, smartcartest.KeyRequired}[random.IntN(3)]
	readable := random.IntN(4) > 0
	id := []string{smartcartest.ModelY, smartcartest.Cybertruck, smartcartest.Model3}[random.IntN(3)]
	sim := smartcartest.New(smartcartest.WithSeed(seed), smartcartest.WithKeylessAnswer(answer),
		garageWith(id, func(c *smartcartest.Car) {
			c.Paired = false
			if !readable {
				c.Permissions = []string{"read_battery", "read_odometer", "control_security"}
			}
		}))
	l := &life{t: t, sim: sim, random: random, witness: &witness{RoundTripper: sim.Transport(), sim: sim, car: id, readable: readable}}
	l.wire = &midway{RoundTripper: l.witness}
	db := newSteppingStore(store.NewMemory())
	l.steps = append(l.steps, db.step)
	var userID string
	for range 2 {
		clock := new(steppingClock)
		l.steps = append(l.steps, clock.step)
		client := apiClient(t, sim, api, smartcar.WithStore(db), smartcar.WithClock(clock),
			smartcar.WithHTTPClient(&http.Client{Transport: l.wire, Timeout: 30 * time.Second}))
		if userID == "" {
			userID = connect(t, sim, client).UserID
		}
		l.cars = append(l.cars, client.User(userID).Vehicle(id))
		t.Cleanup(func() { require.NoError(t, client.Drain(context.WithoutCancel(t.Context()))) })
	}
	for end := time.Now().Add(8 * day); time.Now().Before(end); {
		time.Sleep(time.Duration(1+random.IntN(90)) * time.Minute)
		l.happen()
		l.call(l.cars[random.IntN(2)])
	}
	// Whatever has happened: with no fault left, the car can be read within the rule.
	sim.ClearFaults()
	_ = sim.Wake(id)
	l.readable()
	return l.witness
}

// happen lets something happen to the car, its owner or Smartcar.
func (l *life) happen() {
	id := l.witness.car
	switch l.random.IntN(40) {
	case 0, 1:
		if l.paired = !l.paired; l.paired {
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
		l.wire.arm(l.step())
	}
}

// step draws by how much one of the clocks is set forward or back, and returns what
// sets it.
func (l *life) step() func() {
	by := time.Duration(l.random.Int64N(int64(20*time.Hour))) - 10*time.Hour
	if l.random.IntN(3) == 0 {
		by /= 100
	}
	which := l.random.IntN(len(l.steps))
	return func() {
		l.steps[which](by)
		l.witness.mu.Lock()
		defer l.witness.mu.Unlock()
		l.witness.stepped += by.Abs()
		l.witness.story = append(l.witness.story, fmt.Sprintf("clock %d of %d, 0 is the store's, is set by %v", which, len(l.steps), by))
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
func (l *life) call(v *smartcar.Vehicle) {
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
	switch which {
	case 0:
		_, _ = v.Snapshot(ctx, smartcar.Battery, smartcar.Odometer)
	case 1:
		_, _ = v.Lock(ctx)
	case 2:
		_, _ = v.Access(ctx)
	case 3:
		_, _ = v.KeyStatus(ctx)
	case 4, 5:
		_, _ = v.Odometer(ctx)
	default:
		_, _ = v.Battery(ctx)
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
	}
	var limited *smartcar.RateLimitError
	errors.As(err, &limited)
	require.NoError(l.t, err, "the car is locked: %+v", limited)
}
