package smartcar_test

import (
	"bytes"
	"encoding/json"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/seed-498a1bc4/smartcar"
	"github.com/seed-498a1bc4/smartcar/signals"
	"github.com/seed-498a1bc4/smartcar/smartcartest"
	"github.com/stretchr/testify/require"
)

// A postman brings the webhooks of a life: at once, twice, later than others that were
// sent after them, or hours late.
type postman struct {
	l *life

	mu     sync.Mutex
	random *rand.Rand
	held   []letter
	newest int64 // the highest sequence of an event about the key
	heard  time.Time
	done   map[string]bool // the events that were taken
}

// A letter is an event as it was signed.
type letter struct {
	header http.Header
	body   []byte
	due    time.Time
	tries  int // that failed
}

// hook subscribes the car to a webhook.
func (l *life) hook() {
	l.post = &postman{l: l, random: rand.New(rand.NewPCG(l.random.Uint64(), 4)), done: make(map[string]bool)}
	w := smartcartest.Webhook{
		CallbackURL: "https://example.com/hook", AutoSubscribe: true, Handler: l.post,
		Duplicate: l.random.IntN(4) == 0, Reverse: l.random.IntN(4) == 0,
		Variants: smartcartest.WebhookVariants{
			DataTriggers: l.random.IntN(4) == 0, FetchedAt: l.random.IntN(4) == 0, ISOTimes: l.random.IntN(4) == 0,
			Sparse: l.random.IntN(4) == 0, StateErrors: l.random.IntN(4) == 0,
		},
	}
	if l.api == smartcar.V2 && l.random.IntN(2) == 0 {
		w.Version, w.Data = "2.0", []string{"/battery", "/odometer"}
	}
	_, err := l.sim.AddWebhook(l.t.Context(), w)
	require.NoError(l.t, err)
}

// bring delivers what has happened.
func (p *postman) bring() {
	_, err := p.l.sim.Deliver(p.l.t.Context())
	require.NoError(p.l.t, err)
}

// pass lets time pass, and delivers meanwhile what was held back.
func (p *postman) pass(d time.Duration) {
	for end := time.Now().Add(d); ; {
		p.mu.Lock()
		next := -1
		for i, m := range p.held {
			if !m.due.After(end) && (next < 0 || m.due.Before(p.held[next].due)) {
				next = i
			}
		}
		if next < 0 {
			p.mu.Unlock()
			time.Sleep(time.Until(end))
			return
		}
		m := p.held[next]
		p.held = slices.Delete(p.held, next, next+1)
		p.mu.Unlock()
		time.Sleep(time.Until(m.due))
		p.hand(m)
	}
}

// ServeHTTP takes an event from the server.
func (p *postman) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body) // it is in memory: cannot fail
	m := letter{header: r.Header.Clone(), body: body}
	if bytes.Contains(body, []byte(`"challenge"`)) {
		p.serve(w, p.l.clients[0], m)
		return
	}
	p.mu.Lock()
	fate, wait := p.random.IntN(10), time.Duration(p.random.Int64N(int64(2*time.Minute)))
	if p.random.IntN(2) == 0 { // somebody between the server and the receiver is slow, or plays it again
		wait = time.Hour + 400*wait
	}
	p.mu.Unlock()
	m.due = time.Now().Add(wait)
	switch {
	case fate < 4:
		p.hold(m)
	case fate == 4:
		p.hold(m)
		p.hand(m)
	default:
		p.hand(m)
	}
}

func (p *postman) hold(m letter) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.held = append(p.held, m)
}

// hand gives an event to one of the processes, and again if that fails. A clock may be set
// meanwhile.
func (p *postman) hand(m letter) {
	p.mu.Lock()
	to, strikes, after := p.random.IntN(2), p.random.IntN(20) == 0, 1+p.random.IntN(6)
	p.l.mu.Lock()
	client, r := p.l.clients[to], p.l.replicas[to]
	if strikes {
		r.arm(after, p.l.stepBy(p.random))
	}
	p.l.mu.Unlock()
	p.mu.Unlock()
	w := httptest.NewRecorder()
	p.serve(w, client, m)
	switch {
	case w.Code == http.StatusOK && !r.isDead():
		p.told(m)
	case m.tries < 3:
		m.tries++
		m.due = time.Now().Add(25 * time.Second << m.tries)
		p.hold(m)
	}
}

func (p *postman) serve(w http.ResponseWriter, client *smartcar.Client, m letter) {
	r := httptest.NewRequestWithContext(p.l.t.Context(), http.MethodPost, "/hook", bytes.NewReader(m.body))
	r.Header = m.header.Clone()
	receiverOf(p.l.t, client, nil).ServeHTTP(w, r)
}

// told lets the witness know what an event has told the client of the key.
func (p *postman) told(m letter) {
	said := readLetter(m.body)
	now := time.Now()
	p.mu.Lock()
	if said.key == saysNothing || p.done[said.id] {
		p.mu.Unlock()
		return
	}
	p.done[said.id] = true
	late := now.Sub(said.deliveredAt) >= time.Hour
	overtaken := said.sequence != 0 && said.sequence < p.newest && now.Sub(p.heard) < time.Hour
	if said.sequence >= p.newest {
		p.newest, p.heard = said.sequence, now
	}
	p.mu.Unlock()
	at := said.at
	if at.IsZero() {
		if at = now; late {
			at = said.deliveredAt
		}
	}
	p.l.witness.takes(word{
		installed: said.key == saysInstalled, at: at, late: late, overtaken: overtaken, unnamed: said.unnamed,
		wrong: (said.key == saysInstalled) != p.l.paired.Load(),
	})
}

type keyWord uint8

const (
	saysNothing keyWord = iota
	saysMissing
	saysInstalled
)

// A saying is what an event says of the key.
type saying struct {
	id          string
	key         keyWord
	at          time.Time // of the key's own signal
	deliveredAt time.Time
	sequence    int64
	unnamed     bool // of version 2.0
}

func readLetter(body []byte) (s saying) {
	type problem struct{ Code, State string }
	var e struct {
		EventID   string
		EventName string
		Meta      struct {
			DeliveredAt any
			Sequence    int64
		}
		Data struct {
			Errors  []problem
			Signals []struct {
				Code   signals.Code
				Body   struct{ Value any }
				Meta   struct{ OEMUpdatedAt any }
				Status struct{ Error problem }
			}
		}
		Payload struct{ Vehicles []struct{ Timestamp any } }
	}
	if json.Unmarshal(body, &e) != nil {
		return s
	}
	if s.id = e.EventID; s.id == "" {
		s.id = string(body)
	}
	const required = "VIRTUAL_KEY_REQUIRED"
	if e.EventName != "" {
		if len(e.Payload.Vehicles) > 0 && strings.Contains(string(body), required) {
			s.key, s.deliveredAt = saysMissing, timeOf(e.Payload.Vehicles[0].Timestamp)
		}
		s.unnamed = true
		return s
	}
	s.deliveredAt, s.sequence = timeOf(e.Meta.DeliveredAt), e.Meta.Sequence
	for _, signal := range e.Data.Signals {
		if paired, found := signal.Body.Value.(bool); found && signal.Code == signals.ConnectivityStatusIsDigitalKeyPaired {
			s.at, s.sequence = timeOf(signal.Meta.OEMUpdatedAt), 0
			if s.key = saysMissing; paired {
				s.key = saysInstalled
			}
		}
	}
	for _, p := range e.Data.Errors {
		if p.Code == required {
			if s.key = saysMissing; p.State == smartcar.EventErrorResolved {
				s.key = saysInstalled
			}
		}
	}
	return s
}

func timeOf(v any) time.Time {
	switch v := v.(type) {
	case float64:
		return time.UnixMilli(int64(v))
	case string:
		t, _ := time.Parse(time.RFC3339, v)
		return t
	}
	return time.Time{}
}
