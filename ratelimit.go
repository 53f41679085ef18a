package smartcar

import (
	"cmp"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/seed-498a1bc4/smartcar/internal/policy"
	"github.com/seed-498a1bc4/smartcar/internal/vin"
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
	// RuleAsleep: the car has said that it sleeps, or its data stands still, so that
	// asking it soon brings nothing new.
	RuleAsleep Rule = "asleep"
	// RuleNothingStored: Smartcar has stored none of the car's data.
	RuleNothingStored Rule = "nothing-stored"
	// RuleApplication: Smartcar limits the whole application.
	RuleApplication Rule = "application-limit"
	// RuleBudget: the plan's calls of the month for this vehicle are used up. One read
	// a day is let through to see whether there are calls again; commands always are.
	RuleBudget Rule = "budget"
	// RulePaused: reads of this vehicle are paused; see [Vehicle.Pause].
	RulePaused Rule = "paused"
	// RulePace: a program that watches the car has read it lately, and asked for a slower
	// pace; see [Every]. It never refuses a read.
	RulePace Rule = "pace"
	// RuleWebhook: webhooks bring the car's data, so that a program that watches it need
	// not read. It never refuses a read.
	RuleWebhook Rule = "webhook"
	// RuleStore: the store is away, and with it what is known of the car's window.
	RuleStore Rule = "store-away"
	// RuleVirtualKey: the command needs the virtual key, which is missing. It stands in
	// [Refused] and in the log; the error is a [*VirtualKeyRequiredError].
	RuleVirtualKey Rule = "virtual-key"
)

// String says the rule for people. The text may change.
func (r Rule) String() string { return cmp.Or(policy.RuleWords(string(r)), string(r)) }

// A RateLimitError says that a request was not allowed now, by which rule and
// until when. Local errors cost nothing: no request was made.
type RateLimitError struct {
	Operation Operation
	VehicleID string // empty for RuleApplication
	// NextAllowed is the earliest time at which the same request may be allowed, by this
	// machine's clock. It is zero if no time is known, as with RuleStore.
	NextAllowed time.Time
	Rule        Rule
	Local       bool // decided here, without asking Smartcar
	InFlight    bool // another request holds the turn; it may be given back earlier
	// Err is Smartcar's own answer, or the store's failure.
	Err error

	lastAsked time.Time // of a local refusal: when the car was asked, by our clock
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
	b.WriteString(e.cause())
	if !e.NextAllowed.IsZero() {
		b.WriteString("; next request allowed at ")
		b.WriteString(e.NextAllowed.Format(time.RFC3339))
	}
	return b.String()
}

// cause is what the rule alone does not tell: that it is a guess, or why a store
// is away.
func (e *RateLimitError) cause() string {
	answer, ok := errors.AsType[*Error](e.Err)
	switch {
	case e.Rule == RuleApplication && ok && answer.Type == "" && answer.StatusCode == http.StatusTooManyRequests:
		return ", or so it seems: a 429 came that does not say what it limits"
	case e.Rule == RuleBudget && ok:
		return ": " + strconv.Itoa(answer.StatusCode) + " " + answer.label()
	case e.Rule == RuleStore && e.Err != nil:
		return ": " + printable(strings.TrimPrefix(e.Err.Error(), "smartcar: "), 300)
	}
	return ""
}

// Unwrap returns Smartcar's own error, or nil for a local decision.
func (e *RateLimitError) Unwrap() error { return e.Err }

// Is reports whether target is [ErrRateLimited].
func (e *RateLimitError) Is(target error) bool { return target == ErrRateLimited }

// publicRules are the names of the rules that the state machine knows.
var publicRules = [...]Rule{
	policy.RuleNone: RuleNone, policy.RuleKeyless: RuleKeyless, policy.RuleLegacy: RuleLegacy, policy.RuleServer: RuleServer,
	policy.RuleAsleep: RuleAsleep, policy.RuleNothing: RuleNothingStored, policy.RulePaused: RulePaused,
	policy.RulePace: RulePace, policy.RuleBudget: RuleBudget, policy.RulePushed: RuleWebhook,
}

// A VehicleClass says which of Smartcar's rules for data requests apply. It is a
// short code that does not change; String says it for people.
type VehicleClass string

// The classes of vehicles.
const (
	// ClassUnknown: not enough is known about the vehicle; the server's answer counts.
	ClassUnknown VehicleClass = "unknown"
	// ClassStreaming: a Tesla that streams its data once it has the virtual
	// key, and answers one data request per window before.
	ClassStreaming VehicleClass = "streaming"
	// ClassLegacy: a Model S or X from before the 2021 refresh. It needs no
	// key; its data is refreshed every five minutes while it is awake.
	ClassLegacy VehicleClass = "legacy"
	// ClassOther: any other make.
	ClassOther VehicleClass = "other"
)

// String says the class for people. The text may change.
func (c VehicleClass) String() string {
	switch c {
	case ClassStreaming:
		return "streaming Tesla"
	case ClassLegacy:
		return "legacy Tesla"
	case ClassOther:
		return "other make"
	}
	return string(c)
}

// A KeyNeed says whether a vehicle needs the virtual key at all. It is a short
// code that does not change; String says it for people.
type KeyNeed string

// The answers to whether a vehicle needs the virtual key. Ask an owner to add
// one only on [KeyRequired]: the Tesla app refuses a key for a car that takes none.
const (
	KeyNeedUnknown KeyNeed = "unknown"
	KeyRequired    KeyNeed = "required"
	KeyNotRequired KeyNeed = "not-required"
)

// String says the need for people. The text may change.
func (n KeyNeed) String() string {
	if n == KeyNotRequired {
		return "not needed"
	}
	return string(n)
}

// A KeyRequirement is what can be told about a vehicle without asking
// anybody. What Smartcar answers later outweighs it.
type KeyRequirement struct {
	Need   KeyNeed
	Class  VehicleClass
	Reason string // a sentence for a log; it does not identify the car
}

// A VehicleIdentity is what is known about a vehicle. Every field may be empty.
type VehicleIdentity struct {
	VIN   string
	Make  string
	Model string
	Year  int // the model year; 0 is not known
}

// KeyRequirement tells whether the vehicle needs the virtual key. A Tesla's VIN
// decides; what it leaves open, or where there is none, the make, the model and
// the year decide. The VIN alone can tell apart the old and the new hardware of a
// 2021 Model S or X. A make that says nothing, such as "UNKNOWN", is not another
// make.
//
// https://smartcar.com/docs/help/brand-quirks
func (v VehicleIdentity) KeyRequirement() KeyRequirement {
	maker, model := makeOf(v.Make), teslaModelLetter(v.Model)
	number, err := vin.Parse(v.VIN)
	if err == nil && number.IsTesla() {
		byVIN := teslaKeyRequirement(number.Model, number.Year, number.DriveUnit)
		if byVIN.Need != KeyNeedUnknown || maker == otherMaker {
			return byVIN
		}
		if !isTeslaModel(number.Model) {
			number.Model = model
		}
		if number.Year == yearNotKnown {
			number.Year = v.Year
		}
		return teslaKeyRequirement(number.Model, number.Year, number.DriveUnit)
	}
	switch maker {
	case makerNotKnown:
		return keyNeedUnknown("The make of the vehicle is not known.")
	case otherMaker:
		return KeyRequirement{KeyNotRequired, ClassOther, "Only a Tesla can need the virtual key."}
	}
	return teslaKeyRequirement(model, v.Year, driveUnitNotKnown)
}

type maker uint8

const (
	makerNotKnown maker = iota
	teslaMaker
	otherMaker
)

// makeOf reads "TESLA", "Tesla, Inc." or "tesla_motors". What stands for a make
// that is not known, as null and "N/A" do, says nothing, and neither does what has
// fewer than two different letters.
func makeOf(text string) maker {
	name := onlyASCII(text, func(r rune) bool { return 'A' <= r && r <= 'Z' })
	switch {
	case strings.HasPrefix(name, "TESLA"):
		return teslaMaker
	case name == "" || strings.Trim(name, name[:1]) == "":
		return makerNotKnown
	case strings.Contains(name, "TESLA"): // whatever that is, it is no other make
		return makerNotKnown
	case strings.HasPrefix(name, "UNKNOWN"), strings.HasPrefix(name, "UNDEFINED"), strings.HasPrefix(name, "UNSPECIFIED"),
		strings.HasPrefix(name, "NOT"):
		return makerNotKnown
	}
	switch name {
	case "NULL", "NIL", "NA", "NAN", "NONE", "NODATA", "EMPTY", "INVALID", "ERROR", "TBD", "TRUE", "FALSE",
		"MAKE", "VEHICLE", "CAR", "OTHER", "GENERIC", "DEFAULT", "STRING", "OBJECTOBJECT":
		return makerNotKnown
	}
	return otherMaker
}

// onlyASCII is text in upper case, without the characters that keep refuses.
func onlyASCII(text string, keep func(rune) bool) string {
	return strings.Map(func(r rune) rune {
		if 'a' <= r && r <= 'z' {
			r -= 'a' - 'A'
		}
		if keep(r) {
			return r
		}
		return -1
	}, text)
}

const (
	driveUnitNotKnown = 0
	yearNotKnown      = 0
)

// isTeslaModel: position 4 of a VIN stands for a model.
func isTeslaModel(letter byte) bool { return letter != 0 && strings.IndexByte("S3XYCRTA", letter) >= 0 }

// teslaKeyRequirement takes the model as position 4 of a VIN spells it.
func teslaKeyRequirement(model byte, year int, driveUnit byte) KeyRequirement {
	switch model {
	case '3', 'Y', 'C':
		return keyRequired("Every Model 3, Model Y and Cybertruck needs the virtual key.")
	case 'S', 'X':
		return modelSXKeyRequirement(year, driveUnit)
	case 'R', 'T', 'A':
		return keyNeedUnknown("Nothing is documented about the virtual key of a Roadster, Semi or Cybercab.")
	}
	return keyNeedUnknown("The Tesla model is not known.")
}

func modelSXKeyRequirement(year int, driveUnit byte) KeyRequirement {
	const refresh = 2021
	switch {
	case !isModelYear(year):
		return keyNeedUnknown("A Model S or Model X needs the virtual key since the 2021 refresh; its model year is not known.")
	case year < refresh:
		return keyNotRequired("A Model S or Model X of model year 2020 or earlier needs no virtual key.")
	case year > refresh:
		return keyRequired("A Model S or Model X of model year 2022 or later needs the virtual key.")
	}
	switch driveUnit {
	case '1', '2', '3', '4':
		return keyNotRequired("This 2021 Model S or Model X has the drive unit from before the refresh and needs no virtual key.")
	case '5', '6':
		return keyRequired("This 2021 Model S or Model X has the drive unit of the refresh and needs the virtual key.")
	}
	return keyNeedUnknown("A 2021 Model S or Model X can be from before or after the refresh; what is known of its VIN does not tell.")
}

func keyRequired(reason string) KeyRequirement {
	return KeyRequirement{KeyRequired, ClassStreaming, reason}
}

func keyNotRequired(reason string) KeyRequirement {
	return KeyRequirement{KeyNotRequired, ClassLegacy, reason}
}

func keyNeedUnknown(reason string) KeyRequirement {
	return KeyRequirement{KeyNeedUnknown, ClassUnknown, reason}
}

// teslaModelLetter reads "Model S", "MODEL-S-P100D", "ModelY-LR", "S75D" or
// "Cyberbeast", also behind the make or a year, and returns 0 for a name it does not
// know.
func teslaModelLetter(model string) byte {
	words := strings.FieldsFunc(strings.ToUpper(model), func(r rune) bool {
		return (r < '0' || '9' < r) && (r < 'A' || 'Z' < r)
	})
	for len(words) > 1 && (words[0] == "TESLA" || isYear(words[0])) {
		words = words[1:]
	}
	if len(words) == 0 {
		return 0
	}
	name, named := strings.CutPrefix(words[0], "MODEL")
	switch {
	case len(words) == 1:
	case named && name == "":
		name = words[1]
	case name == "CYBER":
		name += words[1]
	}
	switch {
	case strings.HasPrefix(name, "CYBERTRUCK"), strings.HasPrefix(name, "CYBERBEAST"):
		return 'C'
	case strings.HasPrefix(name, "CYBERCAB"):
		return 'A'
	case strings.HasPrefix(name, "ROADSTER"):
		return 'R'
	case name == "SEMI":
		return 'T'
	case name != "" && strings.IndexByte("S3XY", name[0]) >= 0 && isTeslaTrim(name[0], name[1:]):
		return name[0]
	}
	return 0
}

// isModelYear reports whether a Tesla can be of that year.
func isModelYear(year int) bool { return 2008 <= year && year <= 2099 }

// isYear reports whether a word is a model year.
func isYear(word string) bool {
	year, err := strconv.Atoi(word)
	return err == nil && isModelYear(year)
}

// isTeslaTrim tells what may stand behind the letter of a model without a space,
// as in S75D and ModelYLR, from the rest of another word, as in Sedan and 3500.
func isTeslaTrim(letter byte, rest string) bool {
	switch rest {
	case "", "P", "D", "LR", "SR", "MR", "RWD", "AWD", "PLAID", "PERFORMANCE", "LONGRANGE", "STANDARDRANGE", "STANDARD":
		return true
	}
	battery := strings.TrimSuffix(strings.TrimSuffix(strings.TrimPrefix(rest, "P"), "L"), "D") // P85D, P100DL
	_, err := strconv.ParseUint(battery, 10, 8)
	return err == nil && letter != '3'
}

// A KeyState says whether the virtual key is on the car. It is a short code that
// does not change; String says it for people.
type KeyState string

// The states of a virtual key. The zero value is [KeyUnknown].
const (
	KeyUnknown   KeyState = ""
	KeyInstalled KeyState = "installed"
	KeyMissing   KeyState = "missing"
)

// String says the state for people. The text may change.
func (s KeyState) String() string {
	if s == KeyUnknown {
		return "unknown"
	}
	return string(s)
}

// MarshalText gives [KeyUnknown] as "unknown", as the other codes of this package do.
func (s KeyState) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads what MarshalText gives.
func (s *KeyState) UnmarshalText(text []byte) error {
	*s = KeyState(text)
	if *s == KeyState(KeyUnknown.String()) {
		*s = KeyUnknown
	}
	return nil
}

// A KeySource says where a [KeyState] was learned. It is a short code that does
// not change; String says it for people.
type KeySource string

// The sources of a [KeyState].
const (
	KeySourceNone      KeySource = ""            // nobody has said anything yet
	KeyFromEndpoint    KeySource = "endpoint"    // https://smartcar.com/docs/api-reference/tesla/get-virtual-key-status
	KeyFromSignal      KeySource = "signal"      // https://smartcar.com/docs/api-reference/signals/connectivitystatus
	KeyFromError       KeySource = "error"       // a request answered with VIRTUAL_KEY_REQUIRED
	KeyFromCommand     KeySource = "command"     // a command that worked
	KeyFromWebhook     KeySource = "webhook"     // https://smartcar.com/docs/api-reference/webhooks/events/vehicle-error
	KeyFromApplication KeySource = "application" // the application's own word
)

// String says the source for people. The text may change.
func (s KeySource) String() string {
	switch s {
	case KeySourceNone:
		return "no source"
	case KeyFromEndpoint:
		return "key endpoint"
	case KeyFromSignal:
		return "key signal"
	case KeyFromError:
		return "API error"
	case KeyFromWebhook:
		return "webhook event"
	}
	return string(s)
}

// A KeyStatus is what is known about the virtual key of one car. An owner can
// remove a key at any time, so At matters as much as State.
type KeyStatus struct {
	State  KeyState
	Source KeySource
	At     time.Time `json:",omitzero"` // when it was learned
	Since  time.Time `json:",omitzero"` // when it was first seen to be so
	// Removed is true of a missing key that was seen on the car before: Since is when
	// it was first seen gone.
	Removed bool
	Reason  string // why nothing is known, or what was seen
}
