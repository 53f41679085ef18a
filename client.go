package smartcar

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"net/url"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/seed-498a1bc4/smartcar/internal/lru"
	"github.com/seed-498a1bc4/smartcar/internal/records"
	"github.com/seed-498a1bc4/smartcar/internal/tokens"
	"github.com/seed-498a1bc4/smartcar/internal/underway"
	"github.com/seed-498a1bc4/smartcar/internal/users"
	"github.com/seed-498a1bc4/smartcar/store"
)

// Version of this module, as it stands in the User-Agent.
const Version = "0.1.0"

// Config is the application as the Smartcar dashboard knows it. The credentials
// choose the version of the API: APIClientID and APIClientSecret mean v3, a
// ClientSecret means v2.0. A Config with all of them needs [WithAPI].
type Config struct {
	// ClientID and ClientSecret are the legacy credentials of API v2.0
	// (Configuration, Legacy credentials), which needs both. The ClientID is the
	// ApplicationID under its older name: set one of the two fields.
	ClientID     string
	ClientSecret string
	// ApplicationID is the UUID of the application (Configuration, Application
	// details): who asks, in Connect on both APIs.
	ApplicationID string
	// APIClientID (client_...) and APIClientSecret are the credentials of API v3
	// (Configuration, API credentials), which needs both.
	APIClientID     string
	APIClientSecret string
	// RedirectURL is where Connect returns to: absolute, and registered in the
	// dashboard. Required on API v2.0; on v3, Connect ends on a page of
	// Smartcar's without one.
	RedirectURL string
	// StateKey signs the cookie that binds a run of Connect to the browser
	// that began it: at least 32 random bytes, the same in every replica.
	// Required for [Connect.Start]; without it keep the state yourself and use
	// [Connect.AuthorizeURL], [ParseCallback] and [Connect.Exchange].
	StateKey []byte
	// ManagementToken is the application management token: the secret of
	// [Client.WebhookReceiver]. On API v2.0 it is required for
	// [Client.Connections], [Client.DeleteConnections] and [Vehicle.Unsubscribe],
	// too.
	ManagementToken string
}

// Format keeps the secrets out of every verb of package fmt.
func (c Config) Format(f fmt.State, _ rune) {
	_, _ = fmt.Fprintf(f, "smartcar.Config{ApplicationID:%q RedirectURL:%q}", c.application(), c.RedirectURL)
}

// MarshalJSON keeps the secrets out of logs that write JSON.
func (c Config) MarshalJSON() ([]byte, error) {
	return json.Marshal(map[string]any{"ApplicationID": c.application(), "RedirectURL": c.RedirectURL})
}

// LogValue keeps the secrets out of structured logs.
func (c Config) LogValue() slog.Value {
	return slog.GroupValue(slog.String("application_id", c.application()), slog.String("redirect_url", c.RedirectURL))
}

// A Client is one application at Smartcar. It is safe for concurrent use; make
// one and keep it. A read that has taken a car's turn may outlive its caller: see
// [Client.Drain]. Apart from that it starts no goroutine that outlives a call.
type Client struct{ core *core }

// core is what the handles of one client share: how a request goes out, and
// what is kept between requests. What is secret in it sits behind functions:
// package fmt prints nothing of what one holds, whatever the verb and however
// deep.
type core struct {
	appID       string // the application id, which is public
	redirectURL string
	secrets     func() secrets
	opts        *options
	api         string // base URL of the API version in use
	wire        wire
	rows        map[Operation][]operation // of the table, by their names
	reach       reach
	send        layer // the pipeline
	pause       *pause
	gate        *gate
	cars        *cars
	answers     *answerCache
	links       *keyLinks
	users       *users.Users
	visits      *visits
	wakers      *wakers
	accounts    *accounts
	compatible  *compatibleModels
}

type secrets struct {
	clientSecret, apiClientSecret, managementToken string
	stateKey                                       []byte
}

// leastCachedCars is the smallest number of cars about which this process remembers
// small facts (whose they are, a month that is used up, a budget), also with
// WithCacheSize(0).
const leastCachedCars = 10_000

// made returns an error for a Client that did not come from New.
func (c *core) made() error {
	if c == nil {
		return argumentError("Client", "must come from smartcar.New")
	}
	return nil
}

// New returns a client. It makes no request. Every problem of config and opts
// is reported here as an [*ArgumentError], not at the first call.
func New(config Config, opts ...Option) (*Client, error) {
	o := defaultOptions()
	for _, opt := range opts {
		if opt == nil {
			return nil, argumentError("Option", "is nil; leave it out")
		}
		if err := opt(&o); err != nil {
			return nil, err
		}
	}
	var err error
	if o.api, err = config.chosenAPI(o.api); err != nil {
		return nil, err
	}
	if err := config.validate(o.api); err != nil {
		return nil, err
	}
	if o.store == nil {
		o.store = store.NewMemoryAt(o.clock.Steady().Now)
	}
	c := newCore(config, &o)
	o.logger.LogAttrs(context.Background(), slog.LevelInfo, "smartcar client", slog.String("api", string(o.api)), slog.String("version", Version))
	return &Client{c}, nil
}

// newCore puts the parts of a client together, from the store up to the pipeline
// and the ways to users and cars.
func newCore(config Config, o *options) *core {
	o.steady, o.emitter = o.clock.Steady(), newEmitter(o)
	hidden := secrets{config.ClientSecret, config.APIClientSecret, config.ManagementToken, slices.Clone(config.StateKey)}
	wire := wireOf(o.api)
	c := &core{
		appID: config.application(), redirectURL: config.RedirectURL, secrets: func() secrets { return hidden },
		opts: o, wire: wire, rows: rowsByName(), api: wire.base(o.origins).String(), pause: &pause{opts: o},
		compatible: newCompatibleModels(),
	}
	stored := records.New(o.storeOf(config.application()), o.clock)
	c.users = users.New(stored, o.steady, max(o.cacheSize, leastCachedCars))
	c.answers = newAnswerCache(o, stored, c.users)
	c.links = &keyLinks{o, c.users}
	c.cars = newCars(o, stored, c.users)
	c.visits, c.wakers = &visits{o, stored, c.users, lru.New[string, heardHere](o.cacheSize)}, new(wakers)
	c.gate = &gate{
		opts: o, pause: c.pause, cars: c.cars, links: c.links, answers: c.answers,
		allowances: newAllowances(o), budgets: newBudgets(o, stored), underway: underway.New[shared](maxDetached),
		reserve: o.reserveLease(), lease: o.lease(), unseen: o.policyRules().Unseen(),
	}
	c.send = newPipeline(c.gate, wire, hidden)

	endpoints := newTokenEndpoints(config, o, c.pause, c.secrets)
	grants := tokens.NewGrants(stored, o.clock, o.steady, c.users, endpoints.exchangeRefresh, judgeRefresh, o.tokenTiming(), o.cacheSize)
	sender := sender{c.send, c.api}
	c.accounts = newAccounts(o, sender, &logins{grants, c.users, c.answers}, c.cars, c.visits)
	if o.api == V3 {
		token := tokens.NewApplication(stored, o.steady, config.APIClientID, endpoints.mintAppToken, o.refreshPoll())
		c.reach = appReach{o, sender, c.accounts, c.links, appCredential{token}}
	} else {
		c.reach = grantReach{o, c.secrets, sender, c.accounts, c.links, endpoints}
	}
	return c
}

// application is the public id under either of its names.
func (c Config) application() string { return cmp.Or(c.ApplicationID, c.ClientID) }

func validateRedirectURL(argument, raw string) error {
	u, err := url.Parse(raw)
	switch {
	case err != nil:
		return argumentError(argument, "is not a URL")
	case !u.IsAbs() || u.Host == "" || u.Scheme == "javascript" || u.Scheme == "data":
		return argumentError(argument, "must be absolute, such as https://example.com/callback")
	case u.Fragment != "":
		return argumentError(argument, "must not have a fragment; OAuth forbids it")
	case u.User != nil:
		return argumentError(argument, "must not hold a user name or password")
	}
	return nil
}

// Connect returns the Smartcar Connect flow of this application.
func (c *Client) Connect() *Connect { return &Connect{c.core} }

// User returns the handle of a Smartcar user who has connected: see
// [Grant.UserID]. It makes no request: a user who is not known shows at the
// first call, as [ErrNotConnected], and an empty id as [ErrInvalidArgument].
func (c *Client) User(userID string) *User { return &User{core: c.core, id: userID} }

// Vehicles yields all cars of all users that the store knows, so that a program that
// starts needs no list of its own. It makes no request. A car of two users comes once
// for each of them, and one may come twice; a car that the user has disconnected may be
// among them. A car is known once [User.Vehicles] has listed it, it was read, or
// [Client.MoveToV3] has filed it.
//
// The store has to be a [store.Lister], as store.Memory and those of sqlstore and
// redisstore are; else the error is [store.ErrCannotList]. Of a store with
// [WithSharedStore], what was stored before that option was set is not listed, since
// nobody can tell whose it is. After an error Vehicles stops.
func (c *Client) Vehicles(ctx context.Context) iter.Seq2[*Vehicle, error] {
	return func(yield func(*Vehicle, error) bool) {
		if err := errors.Join(c.core.made(), checkContext(ctx)); err != nil {
			yield(nil, err)
			return
		}
		for id, err := range c.core.users.All(ctx) {
			var cars []users.Car
			if err == nil {
				cars, err = c.core.accounts.carsOf(ctx, id)
			}
			if err != nil {
				yield(nil, err)
				return
			}
			user := c.User(id)
			for _, car := range cars {
				if !yield(user.Vehicle(car.ID), nil) {
					return
				}
			}
		}
	}
}

func (c *core) sender() sender { return sender{c.send, c.api} }

func userAgent(suffix string) string {
	ua := "smartcar-go/" + Version + " (" + runtime.GOOS + "; " + runtime.GOARCH + ") " + runtime.Version()
	if suffix != "" {
		ua += " " + suffix
	}
	return ua
}

// API is a version of Smartcar's API.
type API string

// The versions this package speaks.
const (
	// V2 is API v2.0: tokens of each user's grants. Smartcar has announced its
	// end within the fourth quarter of 2026.
	V2 API = "v2.0"
	// V3 is API v3: one token of the application, and signals.
	V3 API = "v3"
)

// WithAPI chooses the version of the API for a [Config] that has the
// credentials of both. Without it the credentials choose: APIClientID and
// APIClientSecret mean v3, a ClientSecret means v2.0. The same program runs on
// both: see "Two versions of the API" in the package documentation for the
// credentials each needs and for what only one can do, which is a
// [*NotSupportedError] before any request.
//
// https://smartcar.com/docs/getting-started/how-to/m2m/migration-guide
func WithAPI(api API) Option {
	return func(o *options) error {
		if api != V2 && api != V3 {
			return argumentError("WithAPI", "must be smartcar.V2 or smartcar.V3")
		}
		o.api = api
		return nil
	}
}

// API is the version of the API that the client speaks: what [WithAPI] or the
// credentials of its [Config] have chosen. It is empty for the zero Client.
func (c *Client) API() API {
	if c.core == nil {
		return ""
	}
	return c.core.opts.api
}

// chosenAPI is the version that the credentials mean, unless one was asked for.
func (c Config) chosenAPI(asked API) (API, error) {
	v2 := c.ClientSecret != ""
	v3 := c.APIClientID != "" || c.APIClientSecret != ""
	switch {
	case asked != "":
		return asked, nil
	case v2 && v3:
		return "", argumentError("Config", "has the credentials of API v2.0 (ClientSecret) and of v3 (APIClientID, APIClientSecret); choose one with the option WithAPI")
	case v2, c.ClientID != "" && !v3: // the field of v2.0, with its secret forgotten
		return V2, nil
	}
	return V3, nil
}

func wireOf(api API) wire {
	if api == V3 {
		return wireV3{}
	}
	return wireV2{}
}

// apiClientPrefix begins every API client id of v3. Smartcar does not promise it.
const apiClientPrefix = "client_"

// validate reports what the chosen API needs and config lacks, or has in the
// wrong field: the credentials of the two versions are easily confused.
func (c Config) validate(api API) error {
	for _, f := range []struct{ name, value string }{
		{"Config.ClientID", c.ClientID}, {"Config.ApplicationID", c.ApplicationID},
	} {
		if strings.HasPrefix(f.value, apiClientPrefix) {
			return argumentError(f.name, "is an API client id (client_...): put that into Config.APIClientID; the Application ID is the UUID under Configuration, Application details")
		}
	}
	if c.ClientID != "" && c.ApplicationID != "" && c.ClientID != c.ApplicationID {
		return argumentError("Config.ApplicationID", "is not Config.ClientID: both are the one UUID of the application, so set one of them")
	}
	var err error
	if api == V3 {
		err = c.validateV3()
	} else {
		err = c.validateV2()
	}
	switch {
	case err != nil:
		return err
	case c.RedirectURL != "":
		err = validateRedirectURL("Config.RedirectURL", c.RedirectURL)
	}
	if err == nil && len(c.StateKey) > 0 {
		err = validStateKey(c.StateKey)
	}
	return err
}

func (c Config) validateV2() error {
	switch {
	case c.ClientSecret == "" && (c.APIClientID != "" || c.APIClientSecret != ""):
		return argumentError("Config.ClientSecret", "is empty, and these are the API credentials of API v3; leave out the option WithAPI(smartcar.V2)")
	case c.ClientID == "" && c.ApplicationID == "":
		return argumentError("Config.ClientID", "is empty; copy it from the Smartcar dashboard, Configuration, Legacy credentials")
	case c.ClientSecret == "":
		return argumentError("Config.ClientSecret", "is empty; copy it from the Smartcar dashboard, Configuration, Legacy credentials")
	case c.RedirectURL == "":
		return argumentError("Config.RedirectURL", "is empty; use a redirect URI registered in the Smartcar dashboard")
	}
	return nil
}

func (c Config) validateV3() error {
	switch {
	case c.ClientID == "" && c.ApplicationID == "":
		return argumentError("Config.ApplicationID", "is empty; copy the UUID from the Smartcar dashboard, Configuration, Application details")
	case c.APIClientID == "":
		return argumentError("Config.APIClientID", "is empty; API v3 needs the client id (client_...) from the Smartcar dashboard, Configuration, API credentials")
	case c.APIClientID == c.ClientID || c.APIClientID == c.ApplicationID:
		return argumentError("Config.APIClientID", "is the Application ID; API v3 needs the client id (client_...) from the Smartcar dashboard, Configuration, API credentials")
	case c.APIClientSecret == "":
		return argumentError("Config.APIClientSecret", "is empty; create a secret in the Smartcar dashboard, Configuration, API credentials")
	case c.APIClientSecret == c.ClientSecret:
		return argumentError("Config.APIClientSecret", "is the legacy secret of API v2.0; create one in the Smartcar dashboard, Configuration, API credentials")
	}
	return nil
}

// A Clock is the client's only source of time beside the deadlines of
// requests. The default is the computer's.
//
// Now may be wrong, and may be stepped like the clock of any machine: that opens
// no window and ends no login. So it does not tell how much time has passed.
// That is:
//
//   - what the Clock's own method Elapsed() time.Duration says, if it has one,
//     which must never go back; the computer's and that of package smartcartest do
//   - for a Clock that runs by itself, the time that passes in this process
//   - for a Clock that stands still until it is moved, what it is moved forward
//
// A Clock that runs and is moved as well, as a way to let hours pass in a test,
// needs Elapsed: else it is taken for a clock that was stepped.
type Clock interface {
	Now() time.Time
	// Sleep returns nil after d, or the cause of ctx's end.
	Sleep(ctx context.Context, d time.Duration) error
}
