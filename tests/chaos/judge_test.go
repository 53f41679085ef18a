//go:build unix

package chaos

import (
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// observer is Smartcar's front door: it notes how each data request left.
type observer struct {
	smartcar http.Handler
	mu       sync.Mutex
	attempts map[string][]attempt // by vehicle
}

// attempt is a data request that reached Smartcar.
type attempt struct {
	at, end time.Time
	worker  string
	status  int
	lost    bool // no answer, or nobody who waited for it
}

func (o *observer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	vehicle, isData := strings.CutSuffix(strings.TrimPrefix(r.URL.Path, "/v2.0/vehicles/"), "/odometer")
	if !isData {
		o.smartcar.ServeHTTP(w, r)
		return
	}
	agent := r.UserAgent()
	a := attempt{at: time.Now(), worker: agent[strings.LastIndex(agent, " ")+1:], lost: true}
	status := &statusWriter{ResponseWriter: w, status: http.StatusOK}
	defer func() {
		a.end, a.status = time.Now(), status.status
		o.mu.Lock()
		defer o.mu.Unlock()
		o.attempts[vehicle] = append(o.attempts[vehicle], a)
	}()
	o.smartcar.ServeHTTP(status, r) // panics where the connection is cut
	a.lost = r.Context().Err() != nil
}

type statusWriter struct {
	http.ResponseWriter
	status int
}

func (w *statusWriter) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

type span struct{ from, to time.Time }

// history is what the parent did to the world, and when.
type history struct {
	mu      sync.Mutex
	killed  map[string]time.Time // workers
	outages []span               // of the store, until it answered again
	locked  map[string][]span    // cars, by the rule's own word after a kill
}

// lock notes until when the rule keeps a car after a worker was killed: it may
// have reserved the turn for a request that had not left, which no ledger shows.
// No lease is longer than what counts here.
func (h *history) lock(vehicle string, now, until time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.locked == nil {
		h.locked = map[string][]span{}
	}
	if longest := now.Add(lease + window); until.After(longest) {
		until = longest
	}
	h.locked[vehicle] = append(h.locked[vehicle], span{now, until})
}

// settleSlack is how soon after an answer a kill may have come before the
// worker had booked it.
const settleSlack = 250 * time.Millisecond

// opens is when the rule permits the next read of a keyless car after a, and
// whether a took the car's turn.
func (h *history) opens(a attempt) (next time.Time, used bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case a.lost || a.status != http.StatusUnauthorized && h.unsettled(a):
		// Nobody could book the outcome, so that the server may have counted
		// until the lease ended.
		return a.at.Add(lease + window), true
	case a.status == http.StatusUnauthorized:
		// Its worker holds the turn while it renews the token, and sends again.
		return a.end.Add(reserve), false
	}
	return a.end.Add(window), true
}

func (h *history) unsettled(a attempt) bool {
	killed, ok := h.killed[a.worker]
	if ok && killed.Before(a.end.Add(settleSlack)) {
		return true
	}
	return slices.ContainsFunc(h.outages, func(o span) bool {
		return o.from.Before(a.end.Add(settleSlack)) && a.end.Before(o.to)
	})
}

// share compares what one keyless car's ledger shows with what the rule
// permitted, between from and to.
//
// Used are its reads: every data request that took a turn, also if its answer
// got lost or its worker was killed. Such a read opens the next window when its
// outcome was booked, or, where nobody could book it, when its lease ended:
// that is the rule, so the time until then is not counted as lost. A request
// that was refused for its token is no read, but the rule keeps the turn for
// it while the token is renewed, or for the lease if its worker dies of that.
//
// Idle is the time in which the rule permitted a read, the store answered, and
// none came. It counts in full, with no allowance for polling and for the way
// to the car, and divided by the window it is the reads that were missed. A turn
// that a killed worker had reserved for a request that had not left yet keeps
// the car locked for its lease, which no ledger shows: after each kill the
// client is asked until when (Access.NextRead), and that time is not permitted.
//
// Permitted is used + idle/window. Time counts from the car's first read.
func (h *history) share(vehicle string, attempts []attempt, from, to time.Time) (used int, idle time.Duration) {
	attempts = slices.Clone(attempts)
	slices.SortFunc(attempts, func(a, b attempt) int { return a.at.Compare(b.at) })
	open := from
	for i, a := range attempts {
		if a.at.After(to) {
			break
		}
		if i > 0 {
			idle += h.available(vehicle, open, a.at)
		}
		next, turn := h.opens(a)
		if turn {
			used++
		}
		open = next
	}
	return used, idle + h.available(vehicle, open, to)
}

// available is how much of the time the store answered and the rule permitted a
// read.
func (h *history) available(vehicle string, from, to time.Time) time.Duration {
	h.mu.Lock()
	taken := slices.Concat(h.outages, h.locked[vehicle])
	h.mu.Unlock()
	slices.SortFunc(taken, func(a, b span) int { return a.from.Compare(b.from) })
	var d time.Duration
	for _, s := range append(taken, span{to, to}) {
		if free := s.from; free.After(from) {
			if free.After(to) {
				free = to
			}
			d += max(0, free.Sub(from))
		}
		if s.to.After(from) {
			from = s.to
		}
	}
	return d
}

// The judge itself, on a car whose every second is known.
func TestShare(t *testing.T) {
	zero := time.Unix(1_800_000_000, 0)
	at := func(d time.Duration) time.Time { return zero.Add(d) }
	read := func(d time.Duration) attempt { return attempt{at: at(d), end: at(d), worker: "w", status: 200} }
	lost, refused := read(0), read(time.Second)
	lost.lost, refused.status = true, 401
	for name, c := range map[string]struct {
		attempts []attempt
		history  *history
		used     int
		idle     time.Duration
	}{
		"never read":              {idle: 30 * time.Second},
		"read once":               {attempts: []attempt{read(0)}, used: 1, idle: 30*time.Second - window},
		"at each window":          {attempts: []attempt{read(27 * time.Second), read(21 * time.Second), read(24 * time.Second)}, used: 3},
		"a second late":           {attempts: []attempt{read(23 * time.Second), read(27 * time.Second)}, used: 2, idle: time.Second},
		"refused for its token":   {attempts: []attempt{refused}, idle: 29*time.Second - reserve},
		"token renewed":           {attempts: []attempt{refused, read(2 * time.Second)}, used: 1, idle: 28*time.Second - window},
		"answer lost":             {attempts: []attempt{lost}, used: 1, idle: 30*time.Second - lease - window},
		"worker killed at once":   {attempts: []attempt{read(0)}, history: &history{killed: map[string]time.Time{"w": at(time.Millisecond)}}, used: 1, idle: 30*time.Second - lease - window},
		"worker killed later":     {attempts: []attempt{read(0)}, history: &history{killed: map[string]time.Time{"w": at(time.Second)}}, used: 1, idle: 30*time.Second - window},
		"locked after a kill":     {attempts: []attempt{read(0)}, history: &history{locked: map[string][]span{"car": {{at(2 * time.Second), at(9 * time.Second)}, {at(8 * time.Second), at(10 * time.Second)}}, "other": {{zero, at(time.Minute)}}}}, used: 1, idle: 20 * time.Second},
		"locked and away":         {attempts: []attempt{read(0)}, history: &history{outages: []span{{at(4 * time.Second), at(7 * time.Second)}}, locked: map[string][]span{"car": {{at(5 * time.Second), at(9 * time.Second)}}}}, used: 1, idle: 30*time.Second - window - 5*time.Second},
		"store away for a second": {attempts: []attempt{read(0)}, history: &history{outages: []span{{at(10 * time.Second), at(11 * time.Second)}}}, used: 1, idle: 29*time.Second - window},
	} {
		t.Run(name, func(t *testing.T) {
			if c.history == nil {
				c.history = new(history)
			}
			used, idle := c.history.share("car", c.attempts, zero, at(30*time.Second))
			require.Equal(t, c.used, used)
			require.Equal(t, c.idle, idle)
		})
	}
}
