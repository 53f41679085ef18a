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
	"sync/atomic"
	"time"

	"github.com/seed-498a1bc4/smartcar/store"
	"golang.org/x/oauth2"
)

// Version of this module, as it stands in the User-Agent.
const Version = "0.1.0"

// Config is the application as the Smartcar dashboard knows it. Set what the
// API in use needs, or all of it to change between the two with [WithAPI] alone.
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
type Client struct{ *core }

// core holds what all handles share. What is secret in it sits behind
// functions: package fmt prints nothing of what one holds, whatever the verb
// and however deep.
type core struct {
	appID       string // the application id, which is public
	apiClientID string // of API v3
	redirectURL string
	secrets     func() secrets
	opts        options
	api         string // base URL of the API version in use
	oauth       func() *oauth2.Config
	http        *http.Client // a copy of the caller's, for x/oauth2
	wire        wire
	gate        *gate
	tokens      *tokenKeeper
	reach       reach
	answers     *answerCache
	send        layer // the whole chain: see newChain

	// pausedUntil is when the application-wide limit opens again, in
	// nanoseconds since 1970.
	pausedUntil atomic.Int64
}

type secrets struct {
	clientSecret, apiClientSecret, managementToken string
	stateKey                                       []byte
}

// made reports a zero value that somebody has declared.
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
	if err := config.validate(o.api); err != nil {
		return nil, err
	}
	hidden := secrets{config.ClientSecret, config.APIClientSecret, config.ManagementToken, slices.Clone(config.StateKey)}
	c := &core{
		appID: config.application(), apiClientID: config.APIClientID, redirectURL: config.RedirectURL,
		secrets: func() secrets { return hidden },
		opts:    o, wire: o.wire, api: o.wire.base(o.origins).String(), http: o.httpClient(),
	}
	if c.opts.store == nil {
		c.opts.store = store.NewMemoryAt(o.clock.Now)
	}
	c.oauth = func() *oauth2.Config {
		return &oauth2.Config{
			ClientID: config.application(), ClientSecret: config.ClientSecret, RedirectURL: config.RedirectURL,
			// Probing for the style would send a one-time code twice.
			Endpoint: oauth2.Endpoint{TokenURL: o.origins.Auth.JoinPath("oauth/token").String(), AuthStyle: oauth2.AuthStyleInHeader},
		}
	}
	c.answers = newAnswerCache(c)
	c.tokens = newTokenKeeper(c)
	c.reach = grantReach{c}
	if o.api == V3 {
		c.reach = newAppReach(c)
	}
	c.gate = newGate(c)
	c.send = c.newChain()
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
func (c *Client) User(userID string) *User { return c.user(userID) }

func (c *core) user(id string) *User { return &User{core: c, id: id} }

// now is the client's clock.
func (c *core) now() time.Time { return c.opts.clock.Now().UTC() }

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
		return endOf(ctx)
	}
}
