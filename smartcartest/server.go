package smartcartest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"html/template"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

// Fixed identities of the simulated application and its first owner. None of
// them is worth anything anywhere else.
const (
	clientID        = "8229df9f-91a0-4ff0-a1ae-a1f38ee24d07"
	clientSecret    = "simulated-client-secret"
	managementToken = "simulated-management-token"
	apiClientID     = "client_01SIMULATED"
	apiClientSecret = "simulated-api-secret"
	redirectURL     = "http://localhost:8080/callback"
	defaultUserID   = "e0514ef4-5226-41e8-8c13-8f6e8f02e27e"

	maxBody = 1 << 20
)

// Server is a simulated Smartcar. It is an http.Handler that answers for every
// host of the vendor by path alone: Connect, token, API v2.0, management and
// API v3 share no path. All methods may be called concurrently.
type Server struct {
	cfg        config
	operations []operation
	signals    []signal
	page       *template.Template

	// mu guards everything below. It is never held while sleeping or doing
	// I/O: a lock held across a sleep hangs a synctest bubble.
	mu          sync.Mutex
	offset      time.Duration
	order       []string // vehicle ids as the garage lists them
	vehicles    map[string]*vehicle
	accounts    map[string]string // user id by account name
	connections []*connection
	connected   int // connections ever made, for cursors
	codes       map[string]*authCode
	access      map[string]*accessToken
	refresh     map[string]*refreshToken
	apps        map[string]time.Time // v3 application tokens and their ends
	bucket      bucket
	faults      []*activeFault
	random      *rand.Rand
	requests    []Request

	hooks         []*hook
	subscriptions []*subscription
	events        []*event   // still to be delivered
	sent          []Delivery // the log
	sequence      int64      // of events
	unseen        bool       // a request has changed the subscriptions
	counts        counts
}

// counts are kept beside the log, which forgets.
type counts struct{ token, appToken, codeReuse int }

// New returns a simulated Smartcar with the default garage, unless WithCars is
// given. It starts nothing and needs no closing.
func New(opts ...Option) *Server {
	cfg := defaults()
	for _, o := range opts {
		if o != nil {
			o(&cfg)
		}
	}
	if !cfg.ownCars {
		cfg.cars = DefaultGarage()
	}
	s := &Server{
		cfg:      cfg,
		page:     consentPage(),
		vehicles: map[string]*vehicle{},
		accounts: map[string]string{"": defaultUserID},
		codes:    map[string]*authCode{},
		access:   map[string]*accessToken{},
		refresh:  map[string]*refreshToken{},
		apps:     map[string]time.Time{},
		random:   rand.New(rand.NewPCG(cfg.seed, cfg.seed)),
	}
	s.operations = operations()
	s.signals = signals()
	now := s.now()
	s.bucket = bucket{tokens: float64(cfg.burst), filled: now}
	for i, c := range cfg.cars {
		c = c.filled(i)
		if s.vehicles[c.ID] == nil {
			s.order = append(s.order, c.ID)
		}
		s.vehicles[c.ID] = newVehicle(c, cfg.rules, now)
	}
	return s
}

// call is one request on its way through the server.
type call struct {
	r      *http.Request
	path   []string // segments below the base path, unescaped
	query  url.Values
	body   []byte
	now    time.Time
	id     string // request id
	v3     bool   // shape of the errors
	cfg    *config
	entry  *Entry   // for the ledger of ledger, when the path names a car
	ledger *vehicle // whose ledger it is
}

// ServeHTTP answers one request. A dropped connection is
// panic(http.ErrAbortHandler), which net/http turns into a closed connection.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Body == nil { // made by hand, not by a server
		r.Body = http.NoBody
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		status := http.StatusBadRequest
		if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) {
			status = http.StatusRequestEntityTooLarge
		}
		http.Error(w, err.Error(), status)
		return
	}
	c := &call{r: r, query: r.URL.Query(), body: body, id: randomUUID(), cfg: &s.cfg}
	inside := s.split(c)
	if inside && c.path[0] == "_sim" && s.cfg.control {
		s.control(r.Context(), c).write(w)
		return
	}
	f := s.pick(c)
	if !sleep(r.Context(), f.Latency) {
		s.abandon(c)
		panic(http.ErrAbortHandler) // the client is gone; nothing was processed
	}
	res, dropped := s.process(c, f, inside)
	if res != nil && res.streamed && (!dropped || f.Accepted) {
		res.stream(r.Context(), w, res.after+f.LatencyAfter, dropped)
		return
	}
	if !sleep(r.Context(), f.LatencyAfter) || dropped {
		panic(http.ErrAbortHandler)
	}
	res.write(w)
}

// process answers under the lock, in one step with the ledger and the log.
func (s *Server) process(c *call, f Fault, inside bool) (res *response, dropped bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c.now = s.now()
	switch {
	case f.DropBefore:
		s.log(c, 0, true)
		return nil, true
	case !inside:
		res = &response{status: http.StatusNotFound, contentType: "text/plain; charset=utf-8", body: []byte("nothing here: not below the base path\n")}
	case f.answers() && !f.AfterProcessing:
		s.name(c)
		res = f.response(c)
	default:
		res = s.route(c)
		if f.answers() {
			res = f.response(c)
		}
	}
	if f.Accepted && c.v3 {
		res.streamed, res.status = true, http.StatusAccepted
	}
	if f.Malformed {
		res.body = res.body[:len(res.body)/2]
	}
	if s.unseen || c.entry != nil && c.entry.Executed {
		s.unseen = false
		s.observe(c.now)
	}
	res.header("Date", c.now.Format(http.TimeFormat))
	if c.entry != nil {
		c.entry.Status, c.entry.Dropped = res.status, f.DropAfter
		c.ledger.ledger = capped(c.ledger.ledger, *c.entry)
	}
	s.log(c, res.status, f.DropAfter)
	return res, f.DropAfter
}

// abandon logs a request whose client left before it was processed.
func (s *Server) abandon(c *call) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c.now = s.now()
	s.log(c, 0, true)
}

// split finds the path below the base path; false when it is not below.
func (s *Server) split(c *call) bool {
	path, inside := strings.CutPrefix(c.r.URL.EscapedPath(), s.cfg.basePath)
	inside = inside && (path == "" || path[0] == '/')
	c.path = strings.Split(strings.Trim(path, "/"), "/")
	for i, segment := range c.path {
		// Split first: an escaped slash belongs to its segment.
		if plain, err := url.PathUnescape(segment); err == nil {
			c.path[i] = plain
		}
	}
	c.v3 = c.path[0] == "v3"
	return inside
}

func (s *Server) route(c *call) *response {
	rest := c.path[1:]
	switch c.path[0] {
	case "oauth":
		if len(rest) == 1 {
			switch rest[0] {
			case "authorize":
				return s.connect(c)
			case "reauthenticate":
				return s.reauthenticate(c)
			case "token":
				return s.token(c)
			}
		}
	case keyPath:
		return s.keyPage(c, rest)
	case "oauth2":
		if len(rest) == 1 && rest[0] == "token" {
			return s.appToken(c)
		}
	case "v2.0":
		return s.v2(c, rest)
	case "v3":
		return s.v3(c, rest)
	default:
		if v := c.path[0]; len(v) > 1 && v[0] == 'v' && v[1] >= '0' && v[1] <= '9' {
			return c.fail(newError("RESOURCE_NOT_FOUND", "VERSION"))
		}
	}
	return c.fail(newError("RESOURCE_NOT_FOUND", "PATH"))
}

// sleep waits for d without any lock; false when ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// now needs the lock.
func (s *Server) now() time.Time {
	return s.cfg.now().Round(0).UTC().Add(s.offset)
}

// Now is the simulated time: the clock plus everything Advance added, in UTC.
func (s *Server) Now() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now()
}

// Advance moves the simulated clock, which tokens, cars and windows live by.
// d may be negative.
func (s *Server) Advance(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.offset += d
}

// ClientID is the application's id: of v2.0, and of Connect for v3 too.
func (s *Server) ClientID() string { return clientID }

// ClientSecret is the secret that belongs to ClientID.
func (s *Server) ClientSecret() string { return clientSecret }

// ApplicationID is the id that Connect takes as application_id: the same as
// ClientID, and never APIClientID.
func (s *Server) ApplicationID() string { return clientID }

// ManagementToken is the application management token.
func (s *Server) ManagementToken() string { return managementToken }

// APIClientID is the client id of the v3 token endpoint.
func (s *Server) APIClientID() string { return apiClientID }

// APIClientSecret is the secret that belongs to APIClientID.
func (s *Server) APIClientSecret() string { return apiClientSecret }

// RedirectURL is the first registered redirect URI, which Connect uses when
// its URL names none.
func (s *Server) RedirectURL() string { return redirectURL }

// UserID is the vendor's id of the default owner.
func (s *Server) UserID() string { return defaultUserID }

// Environment is what a program needs to talk to this server at an origin such
// as "http://127.0.0.1:8787", as NAME=value lines. The origins carry the base
// path, if there is one.
func (s *Server) Environment(origin string) []string {
	origin = strings.TrimSuffix(origin, "/")
	if s.cfg.basePath != "" {
		origin = strings.TrimSuffix(origin, s.cfg.basePath) + s.cfg.basePath
	}
	return []string{
		"SMARTCAR_CLIENT_ID=" + clientID,
		"SMARTCAR_CLIENT_SECRET=" + clientSecret,
		"SMARTCAR_REDIRECT_URI=" + redirectURL,
		"SMARTCAR_CONNECT_ORIGIN=" + origin,
		"SMARTCAR_AUTH_ORIGIN=" + origin,
		"SMARTCAR_API_ORIGIN=" + origin,
		"SMARTCAR_MANAGEMENT_API_ORIGIN=" + origin,
		"SMARTCAR_API_V3_ORIGIN=" + origin,
		"SMARTCAR_IAM_ORIGIN=" + origin,
		"SMARTCAR_MANAGEMENT_API_V3_ORIGIN=" + origin,
		"SMARTCAR_APPLICATION_ID=" + clientID,
		"SMARTCAR_MANAGEMENT_TOKEN=" + managementToken,
		"SMARTCAR_API_CLIENT_ID=" + apiClientID,
		"SMARTCAR_API_CLIENT_SECRET=" + apiClientSecret,
	}
}

// change runs f on a car under the lock.
func (s *Server) change(vehicleID string, f func(*vehicle, time.Time) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	v := s.vehicles[vehicleID]
	if v == nil {
		return fmt.Errorf("smartcartest: no vehicle %q", vehicleID)
	}
	err := f(v, s.now())
	s.observe(s.now())
	return err
}

// Pair gives a streaming car the virtual key: its data and commands open at
// once. Any other car is an error, as it has no key.
func (s *Server) Pair(vehicleID string) error { return s.pair(vehicleID, true) }

// Unpair takes the key away; the car's next data request is answered and
// starts a new window.
func (s *Server) Unpair(vehicleID string) error { return s.pair(vehicleID, false) }

func (s *Server) pair(vehicleID string, paired bool) error {
	return s.change(vehicleID, func(v *vehicle, _ time.Time) error {
		if v.Integration != Streaming {
			return fmt.Errorf("smartcartest: vehicle %q is %v and has no virtual key", vehicleID, v.Integration)
		}
		v.setPaired(paired)
		return nil
	})
}

// Sleep puts a car to sleep until Wake or FollowSchedule.
func (s *Server) Sleep(vehicleID string) error { return s.setMode(vehicleID, keptAsleep) }

// Wake keeps a car awake until Sleep or FollowSchedule. When it was asleep,
// its refresh beats start now.
func (s *Server) Wake(vehicleID string) error { return s.setMode(vehicleID, keptAwake) }

// FollowSchedule undoes Sleep, Wake and Car.Asleep.
func (s *Server) FollowSchedule(vehicleID string) error { return s.setMode(vehicleID, bySchedule) }

func (s *Server) setMode(vehicleID string, mode sleepMode) error {
	return s.change(vehicleID, func(v *vehicle, now time.Time) error {
		v.setMode(mode, now)
		return nil
	})
}

// bodyOf is what Fault.Match may read, each time from the start.
func bodyOf(b []byte) io.ReadCloser { return io.NopCloser(bytes.NewReader(b)) }
