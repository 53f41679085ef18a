package smartcar

import (
	"strings"
	"time"

	"github.com/seed-498a1bc4/smartcar/internal/policy"
)

// Rules are the two windows of Smartcar's Tesla page. The defaults are the
// truth; tests may scale them down, and everything derived scales along.
//
// https://smartcar.com/docs/help/oem-integrations/tesla/virtual-key-tesla
type Rules struct {
	// KeylessWindow is how far apart data requests to a streaming-capable
	// Tesla without the virtual key must be. Default 8 hours.
	KeylessWindow time.Duration
	// LegacyRefresh is how often the data of a 2020-or-earlier Model S or X is
	// refreshed while the car is awake. Default 5 minutes.
	LegacyRefresh time.Duration
}

// DefaultRules returns the rules as Smartcar documents them.
func DefaultRules() Rules {
	return Rules{KeylessWindow: 8 * time.Hour, LegacyRefresh: 5 * time.Minute}
}

// policyRules are the rules as the state machine takes them.
func (o *options) policyRules() policy.Rules {
	return policy.Rules{
		KeylessWindow: o.rules.KeylessWindow, LegacyRefresh: o.rules.LegacyRefresh, MaxLease: o.lease(),
	}
}

// A Rule names what refused a request. It is a short code that does not change;
// String says it for people.
type Rule string

// The rules of the policy.
const (
	RuleNone Rule = ""
	// RuleKeyless: one data request per window, 8 hours, while the virtual key is missing.
	RuleKeyless Rule = "keyless-window"
	// RuleLegacy: a 2020-or-earlier Model S or X has nothing new before its next refresh.
	RuleLegacy Rule = "legacy-cadence"
	// RuleServer: Smartcar itself limits this vehicle.
	RuleServer Rule = "server-limit"
	// RuleApplication: Smartcar limits the whole application.
	RuleApplication Rule = "application-limit"
	// RuleStore: the store is away, and with it what is known of the car's window.
	RuleStore Rule = "store-away"
)

// String says the rule for people. The text may change.
func (r Rule) String() string {
	switch r {
	case RuleNone:
		return "no rule"
	case RuleKeyless:
		return "one data request per window while the virtual key is missing"
	case RuleLegacy:
		return "nothing new before the next refresh of a 2020-or-earlier Model S or X"
	case RuleServer:
		return "Smartcar limits this vehicle"
	case RuleApplication:
		return "Smartcar limits this application"
	case RuleStore:
		return "the store cannot be reached, so the window of a car without the virtual key is not known"
	}
	return string(r)
}

// A RateLimitError says that a request was not allowed now, by which rule and
// until when. Local errors cost nothing: no request was made.
type RateLimitError struct {
	Operation   Operation
	VehicleID   string // empty for RuleApplication
	NextAllowed time.Time
	Rule        Rule
	Local       bool // decided here, without asking Smartcar
	InFlight    bool // another request holds the turn; it may be given back earlier
	// Err is Smartcar's own answer, or the store's failure.
	Err error
}

func (e *RateLimitError) Error() string {
	var b strings.Builder
	b.WriteString("smartcar: ")
	b.WriteString(string(e.Operation))
	b.WriteString(": not now: ")
	b.WriteString(e.Rule.String())
	if e.InFlight {
		b.WriteString(" (a request is in flight)")
	}
	if !e.NextAllowed.IsZero() {
		b.WriteString("; next request allowed at ")
		b.WriteString(e.NextAllowed.Format(time.RFC3339))
	}
	return b.String()
}

// Unwrap returns Smartcar's own error, or nil for a local decision.
func (e *RateLimitError) Unwrap() error { return e.Err }

// Is reports whether target is [ErrRateLimited].
func (e *RateLimitError) Is(target error) bool { return target == ErrRateLimited }

// publicRules are the names of the rules that the state machine knows.
var publicRules = [...]Rule{
	policy.RuleNone: RuleNone, policy.RuleKeyless: RuleKeyless, policy.RuleLegacy: RuleLegacy, policy.RuleServer: RuleServer,
}
