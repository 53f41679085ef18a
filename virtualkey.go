package smartcar

import (
	"errors"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/seed-498a1bc4/smartcar/internal/vin"
)

// ErrUntrustedVirtualKeyURL matches every [*VirtualKeyURLError].
var ErrUntrustedVirtualKeyURL = errors.New("smartcar: untrusted virtual key URL")

// A VirtualKeyURLError says why a virtual key URL was refused. It never
// repeats the URL, which may come from an attacker.
type VirtualKeyURLError struct {
	Reason string
}

func (e *VirtualKeyURLError) Error() string {
	return "smartcar: virtual key URL refused: " + e.Reason
}

// Is reports whether target is [ErrUntrustedVirtualKeyURL].
func (e *VirtualKeyURLError) Is(target error) bool { return target == ErrUntrustedVirtualKeyURL }

// A VirtualKeyURL is a link that asks a Tesla owner to add a virtual key to
// the car. It is opened on a phone with the Tesla app. The zero value is no
// link; any other came from [ParseVirtualKeyURL] and is safe to redirect to or
// to show. Values can be compared with ==.
//
// https://smartcar.com/docs/help/oem-integrations/tesla/virtual-key-tesla
type VirtualKeyURL struct {
	host, domain, vin string
}

const (
	defaultKeyDomain = "smartcar.com"
	customKeySuffix  = ".app.car" // an Enterprise application has one label in front of it
	defaultKeyHost   = "www.tesla.com"
	keyPathPrefix    = "/_ak/"
	maxVirtualKeyURL = 512
)

// ParseVirtualKeyURL accepts a link of Tesla's that adds the key of Smartcar,
// of an Enterprise application below app.car, or of one of allowedDomains. An
// empty raw is no link and no error.
//
// The link usually arrives as a query parameter that anybody can forge. A
// genuine tesla.com link for a foreign domain would hand the car to that
// domain, so the domain is pinned as well as the host, and the result is built
// anew instead of repeating what came in. Errors match
// [ErrUntrustedVirtualKeyURL], or [ErrInvalidArgument] for a domain in
// allowedDomains that is none.
//
// https://smartcar.com/docs/connect/other-actions/tesla-virtual-key
func ParseVirtualKeyURL(raw string, allowedDomains ...string) (VirtualKeyURL, error) {
	if err := checkKeyDomains("allowedDomains", allowedDomains); err != nil {
		return VirtualKeyURL{}, err
	}
	if raw == "" {
		return VirtualKeyURL{}, nil
	}
	u, err := parsePlainHTTPS(raw)
	if err != nil {
		return VirtualKeyURL{}, err
	}
	host := strings.ToLower(u.Host)
	if !isKeyHost(host) {
		return VirtualKeyURL{}, untrustedKeyURL("the host is not Tesla's")
	}
	domain, err := keyDomain(u.Path, allowedDomains)
	if err != nil {
		return VirtualKeyURL{}, err
	}
	number, err := keyVIN(u.RawQuery)
	if err != nil {
		return VirtualKeyURL{}, err
	}
	return VirtualKeyURL{host: host, domain: domain, vin: number}, nil
}

// virtualKeyURLFor links to the key of a domain that the application itself configured.
func virtualKeyURLFor(domain string) VirtualKeyURL {
	return VirtualKeyURL{host: defaultKeyHost, domain: domain}
}

// String returns the link, or "" for the zero value.
func (u VirtualKeyURL) String() string {
	if u.IsZero() {
		return ""
	}
	link := "https://" + u.host + keyPathPrefix + u.domain
	if u.vin != "" {
		link += "?vin=" + u.vin
	}
	return link
}

// GoString keeps the VIN out of %#v, also of what holds a link.
func (u VirtualKeyURL) GoString() string {
	u.vin = ""
	return "smartcar.VirtualKeyURL(" + u.String() + ")"
}

// MarshalText makes the link a string in JSON.
func (u VirtualKeyURL) MarshalText() ([]byte, error) { return []byte(u.String()), nil }

// IsZero reports whether there is no link.
func (u VirtualKeyURL) IsZero() bool { return u == VirtualKeyURL{} }

// Domain returns the domain whose key the link adds, such as "smartcar.com".
func (u VirtualKeyURL) Domain() string { return u.domain }

// WithVIN returns the link with the car already chosen, which spares an owner
// of several cars from choosing it in the Tesla app first. A VIN is personal
// data: it goes to tesla.com and stays in the history of the browser and in
// every picture of the QR code. Use it only where that is fine.
func (u VirtualKeyURL) WithVIN(number string) (VirtualKeyURL, error) {
	if u.IsZero() {
		return VirtualKeyURL{}, argumentError("VirtualKeyURL", "is the zero value: there is no link to put a VIN into")
	}
	number, err := vin.Normalize(number)
	if err != nil {
		return VirtualKeyURL{}, argumentError("vin", err.Error())
	}
	u.vin = number
	return u, nil
}

func untrustedKeyURL(reason string) error { return &VirtualKeyURLError{Reason: reason} }

// parsePlainHTTPS refuses everything by which two readers of the same text
// could see two different URLs.
func parsePlainHTTPS(raw string) (*url.URL, error) {
	if len(raw) > maxVirtualKeyURL {
		return nil, untrustedKeyURL("it is too long")
	}
	if strings.ContainsFunc(raw, isAmbiguousInURL) {
		return nil, untrustedKeyURL("it has an escape, a backslash, a fragment, a space or another character that no key link needs")
	}
	u, err := url.Parse(raw)
	switch {
	case err != nil:
		return nil, untrustedKeyURL("it is not a URL") // the cause would repeat the URL
	case u.Scheme != "https":
		return nil, untrustedKeyURL("it is not an https link")
	case u.User != nil:
		return nil, untrustedKeyURL("it has a user name")
	}
	return u, nil
}

func isAmbiguousInURL(r rune) bool {
	return isNotVisibleASCII(r) || strings.ContainsRune(`%\#`, r)
}

func isNotVisibleASCII(r rune) bool { return r <= ' ' || '~' < r }

// isKeyHost compares the whole authority, so a port is refused too.
func isKeyHost(host string) bool {
	switch host {
	case "tesla.com", "www.tesla.com", "tesla.cn", "www.tesla.cn":
		return true
	}
	return false
}

func keyDomain(path string, allowed []string) (string, error) {
	domain, ok := strings.CutPrefix(path, keyPathPrefix)
	switch {
	case !ok:
		return "", untrustedKeyURL("the path does not add a key")
	case !validKeyDomain(domain):
		return "", untrustedKeyURL("the path does not end in a lower-case domain name")
	case domain != defaultKeyDomain && !isCustomKeyDomain(domain) && !slices.Contains(allowed, domain):
		return "", untrustedKeyURL("the key belongs to a domain that is not allowed")
	}
	return domain, nil
}

func isCustomKeyDomain(domain string) bool {
	label, ok := strings.CutSuffix(domain, customKeySuffix)
	return ok && !strings.Contains(label, ".")
}

func keyVIN(query string) (string, error) {
	if query == "" {
		return "", nil
	}
	number, ok := strings.CutPrefix(query, "vin=")
	if !ok {
		return "", untrustedKeyURL("the query has something else than a VIN")
	}
	number, err := vin.Normalize(number)
	if err != nil {
		return "", untrustedKeyURL(err.Error())
	}
	return number, nil
}

// checkKeyDomains refuses a list in which a domain could never match.
func checkKeyDomains(argument string, domains []string) error {
	for _, domain := range domains {
		if !validKeyDomain(domain) {
			return argumentError(argument, `must hold lower-case domain names such as "keys.example.com", without scheme, port, path or wildcard`)
		}
	}
	return nil
}

// validKeyDomain reports whether d is a lower-case DNS name of two labels or
// more. The last label is never a number, so that no IP address passes.
func validKeyDomain(d string) bool {
	const maxName = 253
	labels := strings.Split(d, ".")
	if len(d) > maxName || len(labels) < 2 {
		return false
	}
	for _, label := range labels {
		if !isDNSLabel(label) {
			return false
		}
	}
	return strings.Trim(labels[len(labels)-1], "0123456789") != ""
}

func isDNSLabel(label string) bool {
	const maxLabel = 63
	const characters = "abcdefghijklmnopqrstuvwxyz0123456789-"
	return 0 < len(label) && len(label) <= maxLabel &&
		strings.Trim(label, characters) == "" &&
		!strings.HasPrefix(label, "-") && !strings.HasSuffix(label, "-")
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
		return "not required"
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
	const firstTesla, refresh, lastSane = 2008, 2021, 2099
	switch {
	case year < firstTesla || year > lastSane:
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
// "Cyberbeast", and returns 0 for a name it does not know.
func teslaModelLetter(model string) byte {
	words := strings.FieldsFunc(strings.ToUpper(model), func(r rune) bool {
		return (r < '0' || '9' < r) && (r < 'A' || 'Z' < r)
	})
	if len(words) > 1 && words[0] == "TESLA" {
		words = words[1:]
	}
	if len(words) == 0 {
		return 0
	}
	name, named := strings.CutPrefix(words[0], "MODEL")
	if named && name == "" && len(words) > 1 {
		name = words[1]
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
	At     time.Time // when it was learned
	Reason string    // why nothing is known, or what was seen
}
