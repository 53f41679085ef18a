package smartcartest

import (
	"slices"
	"strings"
	"time"
)

// Option changes how New builds a Server. Options are applied in order; values
// that make no sense (negative windows, nil functions) leave the default.
type Option func(*config)

// KeylessAnswer is what a streaming Tesla without the key answers to a second
// data request inside its window. What the vendor answers is not documented,
// so a client has to bear all three.
type KeylessAnswer int

const (
	// RateLimited answers 429 RATE_LIMIT:VEHICLE with Retry-After, in seconds,
	// rounded up.
	RateLimited KeylessAnswer = iota
	// StaleData answers 200 with the values of the window's first request and
	// their old SC-Data-Age and SC-Fetched-At.
	StaleData
	// KeyRequired answers 400 CONNECTED_SERVICES_ACCOUNT:VIRTUAL_KEY_REQUIRED.
	// In a batch and in v3 signals it stands inside the items, as the vendor
	// documents for errors there.
	KeyRequired
)

// config is what the options choose.
type config struct {
	now           func() time.Time
	cars          []Car
	ownCars       bool
	rules         rules
	refreshGrace  time.Duration
	rateBurst     int
	ratePerMinute float64
	basePath      string
	redirects     []string
	control       bool
	seed          uint64
	iamBasic      bool
	variants      Variants

	retries         []time.Duration
	deliveryTimeout time.Duration
	connectionLag   time.Duration
	subscriptionLag time.Duration
}

// defaults is the configuration without options.
func defaults() config {
	return config{
		now:          time.Now,
		rules:        rules{keylessWindow: 8 * time.Hour, legacyRefresh: 5 * time.Minute, keylessAnswer: RateLimited},
		refreshGrace: time.Minute,
		seed:         1,

		retries:         retryPauses(),
		deliveryTimeout: deliveryTimeout,
	}
}

// WithClock sets where the time comes from; default time.Now, which inside a
// synctest bubble is the bubble's. Advance adds to it. It is called with the
// server's lock held and must not call the Server.
func WithClock(now func() time.Time) Option {
	return func(c *config) {
		if now != nil {
			c.now = now
		}
	}
}

// WithCars replaces the default garage. Without arguments there are no cars.
func WithCars(cars ...Car) Option {
	return func(c *config) { c.cars, c.ownCars = slices.Clone(cars), true }
}

// WithKeylessAnswer sets what a second data request inside the window of a
// keyless car gets; default RateLimited.
func WithKeylessAnswer(a KeylessAnswer) Option {
	return func(c *config) { c.rules.keylessAnswer = a }
}

// WithKeylessWindow sets the window of keyless cars; default 8 h.
func WithKeylessWindow(d time.Duration) Option {
	return func(c *config) { setPositive(&c.rules.keylessWindow, d) }
}

// WithLegacyRefresh sets how often the data of an awake legacy car is
// refreshed; default 5 min. A refreshed value can be read 5 s after its beat,
// as the poller needs that long.
func WithLegacyRefresh(d time.Duration) Option {
	return func(c *config) { setPositive(&c.rules.legacyRefresh, d) }
}

// WithRefreshGrace sets how long a used refresh token is still honored after
// its first use; default 1 min. Zero honors it never again.
func WithRefreshGrace(d time.Duration) Option {
	return func(c *config) { c.refreshGrace = max(0, d) }
}

// WithAppRateLimit limits the whole application to a token bucket, whose
// overflow is 429 RATE_LIMIT:SMARTCAR_API without Retry-After. The vendor
// documents 120 and 2 a minute. Default: off. Only authenticated requests to
// the API of both versions draw from it, the token endpoints do not.
func WithAppRateLimit(burst int, refillPerMinute float64) Option {
	return func(c *config) { c.rateBurst, c.ratePerMinute = burst, refillPerMinute }
}

// WithBasePath makes the server answer below a path only, e.g. "/base": a trap
// for clients that build absolute URLs from the host alone. All other paths
// are a plain 404.
func WithBasePath(p string) Option {
	return func(c *config) {
		if p = strings.Trim(p, "/"); p != "" {
			c.basePath = "/" + p
		}
	}
}

// WithRedirectURLs registers further redirect URIs; they must match exactly.
// RedirectURL, and http URLs of a loopback host with any port and path, need
// no registration.
func WithRedirectURLs(urls ...string) Option {
	return func(c *config) { c.redirects = append(c.redirects, urls...) }
}

// WithControl serves the control API at /_sim/. It has no authentication: it
// belongs on loopback.
func WithControl() Option {
	return func(c *config) { c.control = true }
}

// WithVariants chooses the wire format of API v3 where it is in doubt.
func WithVariants(v Variants) Option {
	return func(c *config) { c.variants = v }
}

// WithIAMBasicAuth lets the token endpoint of v3 take the client credentials
// as HTTP Basic too. The vendor does not document it, so by default they are
// refused there as invalid_client.
func WithIAMBasicAuth() Option {
	return func(c *config) { c.iamBasic = true }
}

// WithConnectionLag makes GET /v3/connections show a new connection, or what a
// new Connect has changed about an old one, only after d; default at once.
func WithConnectionLag(d time.Duration) Option {
	return func(c *config) { setPositive(&c.connectionLag, d) }
}

// WithSubscriptionLag makes a subscription begin only d after it was accepted,
// as the vendor creates it in the background; default at once.
func WithSubscriptionLag(d time.Duration) Option {
	return func(c *config) { setPositive(&c.subscriptionLag, d) }
}

// WithWebhookTiming sets how long a webhook's receiver may take, and the pauses
// before each further attempt after a failure; default 15 s and 25, 50 and
// 100 s. Without pauses nothing is tried again.
func WithWebhookTiming(timeout time.Duration, retries ...time.Duration) Option {
	return func(c *config) {
		setPositive(&c.deliveryTimeout, timeout)
		c.retries = slices.Clone(retries)
	}
}

// WithSeed seeds the draws of Fault.Probability; default 1.
func WithSeed(seed uint64) Option {
	return func(c *config) { c.seed = seed }
}

// setPositive ignores a duration that makes no sense.
func setPositive(p *time.Duration, d time.Duration) {
	if d > 0 {
		*p = d
	}
}
