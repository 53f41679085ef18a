package smartcar_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/seed-498a1bc4/smartcar/signals"
	"github.com/seed-498a1bc4/smartcar/smartcartest"
	"github.com/seed-498a1bc4/smartcar/store"
)

// heard is what the answers have told the client of the key of one car.
type heard struct {
	// told is since when the newest word that has reached the client about the key is
	// that it is missing; zero while it is another one.
	told    time.Time
	proved  time.Time     // by the last command that worked, which outranks a status for a day
	since   time.Time     // when anything told so first after the key was seen, or the last trial after that
	limited time.Time     // until when Smartcar has said that the car has to wait
	closed  time.Time     // when told was zero last
	closer  *replica      // which has heard then that the key is gone; nil if an event has told
	wasOpen bool          // the key had been seen before
	at      time.Time     // when the newest word about the key was true; zero if there is none
	misled  bool          // by an event that came late: see takes
	known   bool          // an answer that is stored by all means has told of the key
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
	readable bool      // the status of the key could be read all the time
	renewed  time.Time // windows from before are held, whatever was forgotten then
	excused  []span    // requests of which no client can know: see excuse

	seen       int // of the broken windows
	broken     []string
	trials     int
	undetected int      // the second request left before anything had told
	story      []string // what went over the wire until the first broken window
}

// keySignal finds the key's signal in a list of signals of API v3.
func keySignal(body []byte) (paired bool, at time.Time, found bool) {
	var list struct {
		Data []struct {
			Attributes struct {
				Code signals.Code
				Body struct{ Value any }
			}
			Meta struct{ OEMUpdatedAt any }
		}
	}
	if !bytes.Contains(body, []byte(signals.ConnectivityStatusIsDigitalKeyPaired)) || json.Unmarshal(body, &list) != nil {
		return false, at, false
	}
	for _, signal := range list.Data {
		if signal.Attributes.Code == signals.ConnectivityStatusIsDigitalKeyPaired {
			paired, found = signal.Attributes.Body.Value.(bool)
			at = timeOf(signal.Meta.OEMUpdatedAt)
		}
	}
	return paired, at, found
}

type overriding struct{}

// onBehalf is the witness as the transport of one replica.
func (w *witness) onBehalf(of *replica) http.RoundTripper {
	return roundTripFunc(func(r *http.Request) (*http.Response, error) { return w.send(r, of) })
}

func (w *witness) send(r *http.Request, of *replica) (*http.Response, error) {
	if of.isDead() {
		return nil, errDead
	}
	w.mu.Lock()
	now := time.Now()
	toldBefore := !w.told.IsZero() && w.told.Before(now) // what comes in the same instant is not stored yet
	limited := w.limited.After(now)
	w.mu.Unlock()
	resp, err := w.RoundTripper.RoundTrip(r)
	var body []byte
	if err == nil {
		body, err = io.ReadAll(resp.Body)
		resp.Body = io.NopCloser(bytes.NewReader(body))
	}
	died := of.diesNow()
	w.mu.Lock()
	defer w.mu.Unlock()
	goesOn := len(w.broken) == 0
	if all := w.brokenNow(r); len(all) > w.seen {
		w.seen = len(all)
		b := all[len(all)-1]
		first := b.First.Time
		told := toldBefore || first.Before(w.renewed)
		excused := slices.ContainsFunc(w.excused, func(s span) bool { return s.holds(first) })
		switch {
		case r.Context().Value(overriding{}) != nil:
		case (w.misled || w.wasOpen && of != w.closer) && time.Since(w.closed) <= 2*time.Minute: // by what it knows, the car is open
			w.undetected++
		case !told, excused && !limited:
			w.undetected++
		case !w.readable && time.Since(w.since) >= 7*day-w.stepped:
			// Nothing else can show that the owner has added the key: one read a week
			// is a trial. By a clock that was set, a week is as much longer or shorter.
			w.trials, w.since = w.trials+1, time.Now()
		default:
			w.broken = append(w.broken, fmt.Sprintf("%+v", b))
		}
	}
	if !toldBefore {
		if of.untold(span{now, time.Now()}); died {
			w.excused = append(w.excused, span{now, time.Now()})
		}
	}
	said := fmt.Sprint(err)
	if err == nil {
		said = fmt.Sprintf("%d %.120s", resp.StatusCode, body)
		if !died && strings.Contains(r.URL.Path, w.car) && json.Valid(body) {
			w.note(r, resp, body, of)
		}
	}
	if goesOn {
		w.story = append(w.story, fmt.Sprintf("%s %s %s: %s; told %v", time.Now().Format(time.DateTime), r.Method, r.URL.Path, said, w.told))
	}
	return resp, err
}

// brokenNow are the broken windows after a request, which may have read the car.
func (w *witness) brokenNow(r *http.Request) []smartcartest.Broken {
	_, of, found := strings.Cut(r.URL.Path, "/vehicles/"+w.car)
	if !found || slices.Contains([]string{"", "/vin", "/tesla/virtual_key", "/security"}, of) {
		return nil
	}
	return w.sim.BrokenWindows(w.car)
}

// span is from one moment to another, both included.
type span struct{ from, to time.Time }

func (s span) holds(at time.Time) bool { return !at.Before(s.from) && !at.After(s.to) }

// excuse lets a window be broken whose first request no client can know: one of another
// application, or one that took no turn, as nothing had told that the car needs one, and
// whose client died before it was booked.
func (w *witness) excuse(reads ...span) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.excused = append(w.excused, reads...)
	w.seen = len(w.sim.BrokenWindows(w.car))
}

// forgets notes that the client drops what it has learned of the car, but for the window
// that is open.
func (w *witness) forgets() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.told.IsZero() {
		w.renewed = time.Now()
	}
	w.told, w.limited, w.at, w.known = time.Time{}, time.Time{}, time.Time{}, false
}

// unreadable notes that the permission is missing which tells of class and key.
func (w *witness) unreadable() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.readable = false
}

// outlives takes back what the answers have told a client since its last call began, as
// it has died and may have stored none of it.
func (w *witness) outlives(died *replica) {
	before, reads := died.lastCall()
	w.excuse(reads...)
	w.mu.Lock()
	defer w.mu.Unlock()
	if before.told.IsZero() {
		w.told = before.told
	}
	if before.limited.Before(w.limited) {
		w.limited = before.limited
	}
	if before.proved.After(w.proved) {
		w.proved = before.proved
	}
	if w.since.IsZero() {
		w.since = before.since
	}
	w.stepped += time.Duration(died.clock.offset.Load()).Abs() // the next one has a clock that is right
}

func (w *witness) heardSoFar() heard {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.heard
}

// tell writes into the story.
func (w *witness) tell(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.broken) == 0 {
		w.story = append(w.story, time.Now().Format(time.DateTime)+" "+fmt.Sprintf(format, args...))
	}
}

var succeeded = regexp.MustCompile(`(?i)"status":(\{"value":)?"success"`)

// note takes what an answer to a process says of the key, if it is Smartcar's.
func (h *heard) note(r *http.Request, resp *http.Response, answer []byte, of *replica) {
	retryAfter, _ := strconv.Atoi(resp.Header.Get("Retry-After"))
	body, status := string(answer), strings.HasSuffix(r.URL.Path, "/tesla/virtual_key")
	paired, recorded, signaled := keySignal(answer)
	if signaled && !paired && h.misled && recorded.Before(h.at) {
		signaled = false // what the event has told is newer, as far as the client can know
	}
	command := r.Method == http.MethodPost && !strings.HasSuffix(r.URL.Path, "/batch")
	limited := resp.StatusCode == http.StatusTooManyRequests && retryAfter >= 2*60*60
	switch {
	case strings.Contains(body, "VIRTUAL_KEY_REQUIRED"),
		status && strings.Contains(body, `"isPaired":false`) && time.Since(h.proved) >= day+h.stepped,
		signaled && !paired,
		limited:
		if h.since.IsZero() {
			h.since = time.Now()
		}
		if h.told.IsZero() {
			h.closed, h.closer, h.wasOpen = time.Now(), of, h.known
		}
		h.told, h.proved, h.at, h.known = time.Now(), time.Time{}, time.Now(), true
		if limited {
			h.limited = time.Now().Add(time.Duration(retryAfter) * time.Second)
		}
	case command && resp.StatusCode == http.StatusOK && succeeded.Match(answer):
		h.told, h.since, h.limited, h.proved, h.at = time.Time{}, time.Time{}, time.Time{}, time.Now(), time.Now()
	case status && strings.Contains(body, `"isPaired":true`), signaled:
		h.told, h.since, h.limited, h.at, h.known = time.Time{}, time.Time{}, time.Time{}, time.Now(), true
	}
}

// A word is what an event has told of the key.
type word struct {
	installed bool
	at        time.Time // when that was so, as far as the client can know
	late      bool      // it was signed more than an hour ago
	overtaken bool      // by an event with a higher sequence
	unnamed   bool      // the event names no user: of a car of which nothing is known it teaches nothing
	wrong     bool      // it is not so any more
}

// takes lets an event count that the client has taken. One that is older than what is
// known counts for nothing, and one that came late need not close the car once a clock was
// set. An event that is late by a few minutes is as good as a new one, though it may not be
// so any more: then the car is open until something else tells, and for those processes
// that have not heard of that for two minutes longer.
func (w *witness) takes(of word) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.broken) == 0 {
		w.story = append(w.story, fmt.Sprintf("%s an event says installed %v as of %s, late %v, overtaken %v, wrong %v; told %v",
			time.Now().Format(time.DateTime), of.installed, of.at.Format(time.DateTime), of.late, of.overtaken, of.wrong, w.told))
	}
	switch {
	case of.overtaken, of.at.Before(w.at), of.unnamed && !w.known, of.late && !of.installed && w.stepped > 0:
	case of.installed:
		w.told, w.since, w.limited, w.at, w.known = time.Time{}, time.Time{}, time.Time{}, of.at, true
		w.renewed, w.misled = time.Time{}, of.wrong
	default:
		if w.told.IsZero() {
			w.closed, w.closer, w.wasOpen = time.Now(), nil, w.known
		}
		if w.since.IsZero() {
			w.since = time.Now()
		}
		w.told, w.proved, w.at, w.known = time.Now(), time.Time{}, of.at, true
	}
}

var errDead = errors.New("the process has died")

// A replica is a process on a machine of its own, which may die between any two steps.
// It is the store as that process sees it.
type replica struct {
	store.Store
	clock *steppingClock

	mu     sync.Mutex
	strike func() // is called at the store's access after so many others
	after  int
	dies   bool // while the next request is with the server
	dead   bool
	reads  []span // those since the last call that nothing had told to book before
	before heard  // as it was at the last call
}

func (r *replica) isDead() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.dead
}

func (r *replica) diesNow() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.dead = r.dead || r.dies
	return r.dead
}

func (r *replica) die() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.dead = true
}

// begins notes what was told when a call began.
func (r *replica) begins(before heard) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.before, r.reads = before, nil
}

func (r *replica) lastCall() (before heard, reads []span) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.before, r.reads
}

func (r *replica) untold(read span) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.reads = append(r.reads, read)
}

// arm calls a function once, when the store is asked for the n-th time from now.
func (r *replica) arm(n int, strike func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.after, r.strike = n, strike
}

// access is called before each access to the store.
func (r *replica) access() error {
	r.mu.Lock()
	strike := r.strike
	if r.after--; strike != nil && r.after <= 0 {
		r.strike = nil
	} else {
		strike = nil
	}
	r.mu.Unlock()
	if strike != nil {
		strike()
	}
	if r.isDead() {
		return errDead
	}
	return nil
}

func (r *replica) Load(ctx context.Context, key string) (store.Record, error) {
	if err := r.access(); err != nil {
		return store.Record{}, err
	}
	return r.Store.Load(ctx, key)
}

func (r *replica) CompareAndSwap(ctx context.Context, key string, old store.Revision, value []byte, ttl time.Duration) (store.Record, error) {
	if err := r.access(); err != nil {
		return store.Record{}, err
	}
	return r.Store.CompareAndSwap(ctx, key, old, value, ttl)
}

func (r *replica) Delete(ctx context.Context, key string, old store.Revision) error {
	if err := r.access(); err != nil {
		return err
	}
	return r.Store.Delete(ctx, key, old)
}
