package smartcartest

import (
	"html/template"
	"math/rand/v2"
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
	applicationName = "Simulated & Co"
	defaultUserID   = "e0514ef4-5226-41e8-8c13-8f6e8f02e27e"

	maxBody = 1 << 20
)

// Server is a simulated Smartcar. It is an http.Handler that answers for every
// host of the vendor by path alone: Connect, token, API v2.0, management and
// API v3 share no path. All methods may be called concurrently. The zero value is what
// [New] returns without options.
type Server struct {
	made            sync.Once
	cfg             config
	operations      []operation
	signals         []signal
	consentTemplate *template.Template

	// mu guards everything below. It is never held while sleeping or doing
	// I/O: a lock held across a sleep hangs a synctest bubble.
	mu           sync.Mutex
	offset       time.Duration // what Advance has added
	seen         time.Time     // see passed
	elapsed      time.Duration // until seen
	garage       []string      // ids of all vehicles, in order
	vehicles     map[string]*vehicle
	accounts     map[string]string // user id by account name
	connections  []*connection
	connectCount int // the seq of the newest connection
	tokens       *tokens
	bucket       bucket
	faults       []*activeFault
	random       *rand.Rand
	requests     []Request // the log

	hooks         []*hook
	subscriptions []*subscription
	events        []*event   // the queue
	deliveries    []Delivery // the log
	sequence      int64      // of the newest event
	mustObserve   bool       // this request has made a subscription or a connection
	counts        counts
}

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
	s := new(Server)
	s.made.Do(func() { s.build(cfg) })
	return s
}

// ready makes a server that was declared, and not made by New.
func (s *Server) ready() {
	s.made.Do(func() {
		cfg := defaults()
		cfg.cars = DefaultGarage()
		s.build(cfg)
	})
}

// lock takes mu.
func (s *Server) lock() {
	s.ready()
	s.mu.Lock()
}

func (s *Server) build(cfg config) {
	s.cfg = cfg
	s.consentTemplate = consentPage()
	s.vehicles = map[string]*vehicle{}
	s.accounts = map[string]string{"": defaultUserID}
	s.tokens = newTokens(cfg.refreshGrace)
	s.random = rand.New(rand.NewPCG(cfg.seed, cfg.seed))
	s.operations = operations()
	s.signals = signals()
	now := s.now()
	s.bucket = bucket{tokens: float64(cfg.rateBurst), filledAt: now}
	for i, c := range cfg.cars {
		c = c.withDefaults(i)
		if s.vehicles[c.ID] == nil {
			s.garage = append(s.garage, c.ID)
		}
		s.vehicles[c.ID] = newVehicle(c, cfg.rules, now)
	}
}

// ClientID is the application's id: of v2.0, and of Connect for v3 too.
func (s *Server) ClientID() string { return clientID }

// ClientSecret is the secret that belongs to ClientID.
func (s *Server) ClientSecret() string { return clientSecret }

// ApplicationID is the id that Connect takes as application_id: the same as
// ClientID, and never APIClientID.
func (s *Server) ApplicationID() string { return clientID }

// ApplicationName is the name that owners know the application by. It stands in
// the messages for owners, suggestedUserMessage.
func (s *Server) ApplicationName() string { return applicationName }

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
// path, if there is one. The vendor's SDKs for Node.js, Ruby and Java take
// these as they are; the one for Python takes [Server.PythonEnvironment].
func (s *Server) Environment(origin string) []string {
	s.ready()
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
		"SMARTCAR_COMPATIBILITY_API_V3_ORIGIN=" + origin,
		"SMARTCAR_APPLICATION_ID=" + clientID,
		"SMARTCAR_MANAGEMENT_TOKEN=" + managementToken,
		"SMARTCAR_API_CLIENT_ID=" + apiClientID,
		"SMARTCAR_API_CLIENT_SECRET=" + apiClientSecret,
	}
}

// PythonEnvironment is Environment for the vendor's SDK for Python: there,
// SMARTCAR_AUTH_ORIGIN is the whole URL of the token endpoint, to which the SDK
// adds nothing.
func (s *Server) PythonEnvironment(origin string) []string {
	lines := s.Environment(origin)
	for i, line := range lines {
		if strings.HasPrefix(line, "SMARTCAR_AUTH_ORIGIN=") {
			lines[i] = line + "/oauth/token"
		}
	}
	return lines
}
