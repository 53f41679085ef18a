package smartcar

import (
	"cmp"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/seed-498a1bc4/smartcar/internal/clocks"
	"github.com/seed-498a1bc4/smartcar/internal/records"
	"github.com/seed-498a1bc4/smartcar/internal/tokens"
	"github.com/seed-498a1bc4/smartcar/store"
)

// An Option changes how [New] makes a client.
type Option func(*options) error

type options struct {
	client  http.Client // a copy: the caller's is never edited
	origins Origins
	units   UnitSystem
	logger  *slog.Logger
	// observers are those of WithObserver. The emitter is nil if nobody listens.
	observers []Observer
	logs      bool // WithLogger was used
	emitter   *emitter
	retry     RetryPolicy
	store     store.Store
	// sharedStore: keys begin with the application and the mode.
	sharedStore bool

	storePolicy StorePolicy
	keyDomains  []string
	keyDomain   string
	cacheSize   int

	ignoreKeySignal, ignoreKeyEndpoint bool
	neverDetached                      bool
	// storedAnswers is nil unless answers are kept in the store.
	storedAnswers *StoredAnswers
	// budget is nil unless calls are counted.
	budget  *Budget
	mode    ConnectMode
	clock   *clocks.Clock
	steady  clocks.Steady // the same, never stepped: for what only this process remembers
	rules   Rules
	timeout time.Duration
	grace   time.Duration // for which a used refresh token is honored
	api     API           // empty until New has looked at the credentials

	// Header values that every request shares.
	userAgent, metric, imperial []string
}

// now is the client's clock.
func (o *options) now() time.Time { return o.clock.Now().UTC() }

// attemptMargin is how much longer than a request its lease is held.
const attemptMargin = 10 * time.Second

// attemptTimeout bounds one HTTP request.
func (o *options) attemptTimeout() time.Duration {
	if o.client.Timeout > 0 {
		return min(o.timeout, o.client.Timeout)
	}
	return o.timeout
}

// lease is how long a data request may keep a keyless car's turn.
func (o *options) lease() time.Duration { return o.timeout + attemptMargin }

// refreshLease is how long one replica may keep the others from refreshing. It is so
// short that three more replicas, one after the other, can try within the grace.
func (o *options) refreshLease() time.Duration { return o.grace / 4 }

// refreshTimeout bounds one request to the token endpoint, within the lease.
func (o *options) refreshTimeout() time.Duration { return min(o.grace/6, o.attemptTimeout()) }

// refreshPoll is how often a waiting replica looks into the store.
func (o *options) refreshPoll() time.Duration {
	return max(10*time.Millisecond, min(200*time.Millisecond, o.grace/300))
}

// refreshPause lies between two tries of one refresh token.
func (o *options) refreshPause() time.Duration {
	return min(o.retry.BaseDelay, o.refreshLease()/10)
}

// tokenTiming is what internal/tokens needs to know of all this.
func (o *options) tokenTiming() tokens.Timing {
	return tokens.Timing{
		Grace: o.grace, Lease: o.refreshLease(), Poll: o.refreshPoll(), Pause: o.refreshPause(),
		StorePause: o.retry.BaseDelay, StorePauseMax: o.retry.MaxDelay,
	}
}

func defaultOptions() options {
	return options{
		origins:   DefaultOrigins(),
		units:     Metric,
		logger:    slog.New(slog.DiscardHandler),
		retry:     RetryPolicy{MaxAttempts: 3, BaseDelay: 500 * time.Millisecond, MaxDelay: 10 * time.Second},
		keyDomain: defaultKeyDomain,
		cacheSize: 10_000,
		clock:     clocks.New(clocks.NewSystem()),
		rules:     DefaultRules(),
		timeout:   310 * time.Second,
		grace:     time.Minute,
		userAgent: []string{userAgent("")},
		metric:    []string{string(Metric)},
		imperial:  []string{string(Imperial)},
	}
}

// WithHTTPClient sets the transport, and the timeout of each request if the
// client has one and it is shorter. The client is copied. Redirects are never
// followed and cookies never kept, whatever the client says.
func WithHTTPClient(client *http.Client) Option {
	return func(o *options) error {
		if client == nil {
			return argumentError("WithHTTPClient", "the client is nil; leave the option out for the default")
		}
		if client.Timeout < 0 {
			return argumentError("WithHTTPClient", "the client's Timeout is negative")
		}
		o.client = *client
		return nil
	}
}

// WithTimeout bounds each HTTP request, from connecting to the last byte of
// the answer: above zero, at most an hour. Default 310 s, since Smartcar may
// take 300 s to reach a car. It is also how long a request whose process died
// keeps a keyless car's turn.
func WithTimeout(d time.Duration) Option {
	return func(o *options) error {
		if d <= 0 || d > time.Hour {
			return argumentError("WithTimeout", "must be above zero and at most an hour")
		}
		o.timeout = d
		return nil
	}
}

// WithRefreshGrace says how long Smartcar honors a refresh token after it was
// used: above zero, at most an hour. Default one minute, which is assumed:
// Smartcar does not document it. All clients that share a store must agree on it.
//
// If the answer to a refresh is lost, or its process dies before the new pair is
// stored, sending the used refresh token once more brings the login back. So the
// lease of a refresh, after which another client may try the same token, is a quarter
// of the grace, and one request to the token endpoint takes at most a sixth. A grace
// that is set too long costs logins; one that is set too short costs some requests.
func WithRefreshGrace(d time.Duration) Option {
	return func(o *options) error {
		if d <= 0 || d > time.Hour {
			return argumentError("WithRefreshGrace", "must be above zero and at most an hour")
		}
		o.grace = d
		return nil
	}
}

// Origins are the base URLs of Smartcar's hosts, without the API version.
// A nil URL keeps the default.
type Origins struct {
	Connect    *url.URL // https://connect.smartcar.com
	Auth       *url.URL // https://auth.smartcar.com
	API        *url.URL // https://api.smartcar.com
	Management *url.URL // https://management.smartcar.com
	// Of API v3:
	IAM           *url.URL // https://iam.smartcar.com, which gives tokens
	APIv3         *url.URL // https://vehicle.api.smartcar.com
	ManagementV3  *url.URL // https://management.api.smartcar.com
	Compatibility *url.URL // https://compatibility.api.smartcar.com
}

// DefaultOrigins returns the public hosts.
func DefaultOrigins() Origins {
	host := func(h string) *url.URL { return &url.URL{Scheme: "https", Host: h} }
	return Origins{
		Connect:    host("connect.smartcar.com"),
		Auth:       host("auth.smartcar.com"),
		API:        host("api.smartcar.com"),
		Management: host("management.smartcar.com"),

		IAM:           host("iam.smartcar.com"),
		APIv3:         host("vehicle.api.smartcar.com"),
		ManagementV3:  host("management.api.smartcar.com"),
		Compatibility: host("compatibility.api.smartcar.com"),
	}
}

// WithOrigins points the client elsewhere: at a simulator or a proxy.
func WithOrigins(origins Origins) Option {
	return func(o *options) error {
		for _, s := range []struct {
			name string
			from *url.URL
			to   **url.URL
		}{
			{"Connect", origins.Connect, &o.origins.Connect},
			{"Auth", origins.Auth, &o.origins.Auth},
			{"API", origins.API, &o.origins.API},
			{"Management", origins.Management, &o.origins.Management},
			{"IAM", origins.IAM, &o.origins.IAM},
			{"APIv3", origins.APIv3, &o.origins.APIv3},
			{"ManagementV3", origins.ManagementV3, &o.origins.ManagementV3},
			{"Compatibility", origins.Compatibility, &o.origins.Compatibility},
		} {
			if s.from == nil {
				continue
			}
			if err := validateOrigin("Origins."+s.name, s.from); err != nil {
				return err
			}
			*s.to = s.from.JoinPath() // a copy, cleaned
		}
		return nil
	}
}

func validateOrigin(argument string, u *url.URL) error {
	switch {
	case u.Scheme != "https" && u.Scheme != "http" || u.Host == "":
		return argumentError(argument, "must be an http or https URL with a host")
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || u.User != nil:
		return argumentError(argument, "must have neither query nor fragment nor user")
	}
	return nil
}

// WithEnvironment takes the origins from the environment, under the names that
// Smartcar's own SDKs read: SMARTCAR_CONNECT_ORIGIN, SMARTCAR_AUTH_ORIGIN,
// SMARTCAR_API_ORIGIN, SMARTCAR_API_V3_ORIGIN and
// SMARTCAR_MANAGEMENT_API_ORIGIN; and for the hosts that those do not know
// under SMARTCAR_IAM_ORIGIN, SMARTCAR_MANAGEMENT_API_V3_ORIGIN and
// SMARTCAR_COMPATIBILITY_API_V3_ORIGIN. Unset ones keep what they were.
// SMARTCAR_AUTH_ORIGIN may be the whole URL of the token endpoint, too, as
// Smartcar's SDK for Python wants it.
func WithEnvironment() Option {
	return func(o *options) error {
		var origins Origins
		for _, e := range []struct {
			name string
			to   **url.URL
		}{
			{"SMARTCAR_CONNECT_ORIGIN", &origins.Connect},
			{"SMARTCAR_AUTH_ORIGIN", &origins.Auth},
			{"SMARTCAR_API_ORIGIN", &origins.API},
			{"SMARTCAR_MANAGEMENT_API_ORIGIN", &origins.Management},
			{"SMARTCAR_IAM_ORIGIN", &origins.IAM},
			{"SMARTCAR_API_V3_ORIGIN", &origins.APIv3},
			{"SMARTCAR_MANAGEMENT_API_V3_ORIGIN", &origins.ManagementV3},
			{"SMARTCAR_COMPATIBILITY_API_V3_ORIGIN", &origins.Compatibility},
		} {
			value := os.Getenv(e.name)
			if value == "" {
				continue
			}
			u, err := url.Parse(value)
			if err != nil {
				return argumentError(e.name, "is not a URL")
			}
			if err := validateOrigin(e.name, u); err != nil {
				return err
			}
			if e.to == &origins.Auth {
				u.Path = strings.TrimSuffix(strings.TrimSuffix(u.Path, "/"), "/oauth/token")
			}
			*e.to = u
		}
		return WithOrigins(origins)(o)
	}
}

// WithUnitSystem sets the units of every read; default [Metric]. See [InUnits]
// for a single call.
func WithUnitSystem(units UnitSystem) Option {
	return func(o *options) error {
		if err := validateUnits("WithUnitSystem", units); err != nil {
			return err
		}
		o.units = units
		return nil
	}
}

func validateUnits(argument string, units UnitSystem) error {
	if units != Metric && units != Imperial {
		return argumentError(argument, "must be smartcar.Metric or smartcar.Imperial")
	}
	return nil
}

// WithLogger logs what happens, at the levels and with the keys that the package
// documentation lists under "Logs and observers": refusals and changes of keys at info,
// HTTP requests at debug, failures of tokens as warnings. What is logged is an allow-list:
// codes, numbers, times, and the ids of vehicles, users and requests; never a URL, body,
// token or location. What the list lacks says that something is wrong in this process: a
// turn that could not be booked, a function of the program that has panicked.
func WithLogger(logger *slog.Logger) Option {
	return func(o *options) error {
		if logger == nil {
			return argumentError("WithLogger", "the logger is nil; leave the option out for no logs")
		}
		o.logger, o.logs = logger, true
		return nil
	}
}

// A RetryPolicy bounds the repetition of requests that are safe to repeat:
// reads that met a SERVER or UPSTREAM error or a broken connection, anything
// that was certainly not sent, and what the application-wide limit refused.
// Its details may change between versions.
type RetryPolicy struct {
	// MaxAttempts is 1 to 10 requests in all; 1 never retries.
	MaxAttempts int
	// BaseDelay is the pause before the first repetition, from half of it to all
	// of it at random, and doubled each time. Zero is no pause.
	BaseDelay time.Duration
	// MaxDelay bounds a pause: at least BaseDelay, at most an hour. If Smartcar wants a
	// request repeated later than that, it is not repeated. With zero, only requests
	// that need no pause are repeated.
	MaxDelay time.Duration
}

// WithRetry replaces the retry policy as a whole; default is 3 attempts, a
// BaseDelay of 500 ms and a MaxDelay of 10 s.
func WithRetry(policy RetryPolicy) Option {
	return func(o *options) error {
		switch {
		case policy.MaxAttempts < 1 || policy.MaxAttempts > 10:
			return argumentError("RetryPolicy.MaxAttempts", "must be 1 to 10; 1 never retries")
		case policy.BaseDelay < 0 || policy.MaxDelay < policy.BaseDelay:
			return argumentError("RetryPolicy.BaseDelay", "must not be negative, nor above MaxDelay")
		case policy.MaxDelay > time.Hour:
			return argumentError("RetryPolicy.MaxDelay", "must be at most an hour")
		}
		o.retry = policy
		return nil
	}
}

// WithStore keeps tokens and policy state in store; default is a
// [store.Memory] of this client's own.
func WithStore(db store.Store) Option {
	return func(o *options) error {
		if db == nil {
			return argumentError("WithStore", "the store is nil; leave the option out for memory")
		}
		o.store = db
		return nil
	}
}

// WithSharedStore lets other applications, or another mode of this one (see
// [WithMode]), use the same store without meeting: what this client stores is under
// keys that begin with the application and the mode. What was stored before the option
// was set is found, and stays where it is. Set it in all processes of the application at
// once: one without it does not see what the others store anew.
func WithSharedStore() Option {
	return func(o *options) error {
		o.sharedStore = true
		return nil
	}
}

// storeOf is the part of the store that belongs to the application and its mode.
func (o *options) storeOf(application string) store.Store {
	if !o.sharedStore {
		return o.store
	}
	return records.NewSpace(o.store, "app/"+url.PathEscape(application)+"/"+string(cmp.Or(o.mode, ModeLive))+"/")
}

// A StorePolicy says what happens to requests to a vehicle while the store
// cannot be reached. The zero value is the default. What is refused is a
// [*RateLimitError] with [RuleStore].
type StorePolicy struct {
	// SendKeyless sends data requests to cars that may be without the key,
	// although nobody can tell whether their window is open. Default: refused.
	SendKeyless bool
	// RefuseOthers refuses commands, and data of cars known to be open, too.
	// Default: sent.
	RefuseOthers bool
}

// WithStorePolicy chooses between breaking windows and refusing requests while
// the store is away.
func WithStorePolicy(policy StorePolicy) Option {
	return func(o *options) error { o.storePolicy = policy; return nil }
}

// WithVirtualKeyDomain is for applications whose virtual key lives on a domain
// of their own (Enterprise, <name>.app.car): links to it are trusted, and it
// is the one shown when Smartcar sent no link. Default smartcar.com.
//
// https://smartcar.com/docs/help/oem-integrations/tesla/virtual-key-tesla
func WithVirtualKeyDomain(domain string) Option {
	return func(o *options) error {
		domain = strings.ToLower(domain)
		if !validKeyDomain(domain) {
			return argumentError("WithVirtualKeyDomain", "must be a plain DNS name such as example.app.car")
		}
		o.keyDomain = domain
		o.keyDomains = []string{domain}
		return nil
	}
}

// WithoutKeySignal keeps API v3's connectivitystatus-isdigitalkeypaired from
// counting as the status of the virtual key. Smartcar documents it as "a
// digital key has been paired" and does not say that this is Tesla's virtual
// key: should it turn out to be another one, what is left are Smartcar's own
// refusals, commands that worked, webhooks and [Vehicle.SetKeyState].
func WithoutKeySignal() Option {
	return func(o *options) error { o.ignoreKeySignal = true; return nil }
}

// WithoutKeyEndpoint is the same for API v2.0's status of the virtual key: should
// it say "paired" for ever, or be wrong otherwise, nobody asks for it. What is left
// are Smartcar's own refusals and limits, commands that worked, webhooks and
// [Vehicle.SetKeyState].
func WithoutKeyEndpoint() Option {
	return func(o *options) error { o.ignoreKeyEndpoint = true; return nil }
}

// WithCacheSize sets for how many vehicles this process keeps in memory what spares the
// store and Smartcar a question: the last answers, what is known of the cars, their
// users and their tokens. Default 10,000; give the number of cars that one process
// serves, beyond which a refusal costs calls of the store. A car with a user and tokens of
// its own takes about 3,700 bytes on API v2.0 and up to 45,000 on v3, where that is the whole
// list of its signals.
//
// Zero keeps no answers: reads of a legacy car that bring nothing new are then sent all
// the same, and [AllowStale] has nothing to give.
func WithCacheSize(vehicles int) Option {
	return func(o *options) error {
		if vehicles < 0 {
			return argumentError("WithCacheSize", "must not be negative; 0 keeps no answers")
		}
		o.cacheSize = vehicles
		return nil
	}
}

// WithMode sets the mode of every run of Connect that names none; default is
// Smartcar's own default, live.
func WithMode(mode ConnectMode) Option {
	return func(o *options) error {
		if err := mode.validate("WithMode"); err != nil {
			return err
		}
		o.mode = mode
		return nil
	}
}

// WithClock replaces the computer's clock, for tests and simulations: see [Clock].
func WithClock(clock Clock) Option {
	return func(o *options) error {
		if clock == nil {
			return argumentError("WithClock", "the clock is nil; leave the option out for the computer's")
		}
		o.clock = clocks.New(clock)
		return nil
	}
}

// WithRules scales the two windows of the policy, for tests against a
// simulator that is scaled the same way. Against Smartcar the defaults are right.
func WithRules(rules Rules) Option {
	return func(o *options) error {
		if rules.KeylessWindow <= 0 || rules.LegacyRefresh <= 0 {
			return argumentError("WithRules", "both windows must be above zero; start from smartcar.DefaultRules()")
		}
		o.rules = rules
		return nil
	}
}

// WithUserAgent appends to the User-Agent, such as "myapp/1.2".
func WithUserAgent(suffix string) Option {
	return func(o *options) error {
		if suffix == "" || strings.ContainsFunc(suffix, func(r rune) bool { return r < ' ' || r > '~' }) {
			return argumentError("WithUserAgent", "must be printable ASCII such as myapp/1.2")
		}
		o.userAgent = []string{userAgent(suffix)}
		return nil
	}
}
