package smartcar

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"runtime"
	"slices"
	"time"

	"github.com/seed-498a1bc4/smartcar/internal/contexts"
	"github.com/seed-498a1bc4/smartcar/internal/records"
	"github.com/seed-498a1bc4/smartcar/internal/users"
	"github.com/seed-498a1bc4/smartcar/store"
	"golang.org/x/oauth2"
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
// one and keep it. It starts no goroutine.
type Client struct{ core *core }

// core is what the handles of one client share: how a request goes out, and
// what is kept between requests. What is secret in it sits behind functions:
// package fmt prints nothing of what one holds, whatever the verb and however
// deep.
type core struct {
	appID       string // the application id, which is public
	apiClientID string // of API v3
	redirectURL string
	secrets     func() secrets
	opts        *options
	api         string // base URL of the API version in use
	oauth       func() *oauth2.Config
	http        *http.Client // a copy of the caller's, for x/oauth2
	wire        wire
	reach       reach
	send        layer // the pipeline
	pause       *pause
	gate        *gate
	cars        *cars
	answers     *answerCache
	links       *keyLinks
	users       *users.Users
	tokens      *tokenKeeper
	accounts    *accounts
}

type secrets struct {
	clientSecret, apiClientSecret, managementToken string
	stateKey                                       []byte
}

// leastUserCars is of how many cars this process remembers whose they are, also
// where it keeps no answers.
const leastUserCars = 10_000

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
	wire := o.api.wire()
	hidden := secrets{config.ClientSecret, config.APIClientSecret, config.ManagementToken, slices.Clone(config.StateKey)}
	c := &core{
		appID: config.application(), apiClientID: config.APIClientID, redirectURL: config.RedirectURL,
		secrets: func() secrets { return hidden },
		opts:    &o, wire: wire, api: wire.base(o.origins).String(), http: o.httpClient(),
	}
	if o.store == nil {
		o.store = store.NewMemoryAt(o.clock.Now)
	}
	c.oauth = func() *oauth2.Config {
		return &oauth2.Config{
			ClientID: config.application(), ClientSecret: config.ClientSecret, RedirectURL: config.RedirectURL,
			// Probing for the style would send a one-time code twice.
			Endpoint: oauth2.Endpoint{TokenURL: o.origins.Auth.JoinPath("oauth/token").String(), AuthStyle: oauth2.AuthStyleInHeader},
		}
	}
	kept := records.New(o.store, o.clock)
	c.users = users.New(kept, o.clock, max(o.cacheSize, leastUserCars))
	c.tokens = newTokenKeeper(c)
	c.answers = newAnswerCache(&o, kept, c.users)
	c.links = &keyLinks{&o, c.users}
	c.cars = newCars(&o, kept, c.users)
	c.pause = &pause{opts: &o}
	c.gate = &gate{opts: &o, pause: c.pause, cars: c.cars, links: c.links, answers: c.answers}
	c.send = newPipeline(c.gate, wire, c.secrets)
	c.accounts = &accounts{c.opts, c.sender(), c.users, c.tokens, c.answers, c.cars}
	c.reach = c.newReach()
	o.logger.LogAttrs(context.Background(), slog.LevelInfo, "smartcar client", slog.String("api", string(o.api)), slog.String("version", Version))
	return &Client{c}, nil
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

// newReach returns the way of the API version in use to users and cars.
func (c *core) newReach() reach {
	if c.opts.api == V3 {
		return appReach{c.opts, c.sender(), c.accounts, c.links, newAppCredential(c)}
	}
	return grantReach{c.opts, c.secrets, c.sender(), c.accounts, c.links}
}

func (c *core) sender() sender { return sender{c.send, c.api} }

func userAgent(suffix string) string {
	ua := "smartcar-go/" + Version + " (" + runtime.GOOS + "; " + runtime.GOARCH + ") " + runtime.Version()
	if suffix != "" {
		ua += " " + suffix
	}
	return ua
}

// A Clock is the client's only source of time beside the deadlines of
// requests. The default is the computer's.
type Clock interface {
	Now() time.Time
	// Sleep returns nil after d, or the cause of ctx's end.
	Sleep(ctx context.Context, d time.Duration) error
}

type systemClock struct{}

func (systemClock) Now() time.Time { return time.Now() }

func (systemClock) Sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return contexts.EndOf(ctx)
	}
}
