package smartcar

import (
	"context"
	"errors"
	"net/url"
	"slices"
	"strings"

	"github.com/seed-498a1bc4/smartcar/internal/policy"
	"github.com/seed-498a1bc4/smartcar/internal/users"
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
// anew instead of repeating what came in: a final slash, and parameters other
// than vin, are dropped. Errors match [ErrUntrustedVirtualKeyURL], or [ErrInvalidArgument] for a domain in
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

// parsePlainHTTPS refuses a text that two parsers could read as two different URLs.
func parsePlainHTTPS(raw string) (*url.URL, error) {
	if len(raw) > maxVirtualKeyURL {
		return nil, untrustedKeyURL("it is too long")
	}
	link, query, _ := strings.Cut(raw, "?")
	if strings.Contains(link, "%") || strings.ContainsFunc(link+query, isAmbiguousInURL) {
		return nil, untrustedKeyURL("it has an escape, a backslash, a fragment, a space or another character that no key link needs")
	}
	u, err := url.Parse(raw)
	switch {
	case err != nil:
		return nil, untrustedKeyURL("it is not a URL") // the error of package url would repeat it
	case u.Scheme != "https":
		return nil, untrustedKeyURL("it is not an https link")
	case u.User != nil:
		return nil, untrustedKeyURL("it has a user name")
	}
	return u, nil
}

func isAmbiguousInURL(r rune) bool {
	return isNotVisibleASCII(r) || strings.ContainsRune(`\#`, r)
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
	domain = strings.TrimSuffix(domain, "/") // one of them; the link is built anew without it
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

// keyVIN returns the VIN that the query names. Other parameters, such as those that
// follow a click, are dropped: the link is built anew without them.
func keyVIN(query string) (string, error) {
	number := ""
	for parameter := range strings.SplitSeq(query, "&") {
		raw, ok := strings.CutPrefix(parameter, "vin=")
		switch {
		case !ok:
			continue
		case number != "":
			return "", untrustedKeyURL("it names more than one VIN")
		}
		var err error
		if number, err = vin.Normalize(raw); err != nil {
			return "", untrustedKeyURL(err.Error())
		}
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

// keyLinks finds the link to show to the owner of a car that needs the key.
type keyLinks struct {
	opts  *options
	users *users.Users
}

// parse returns the zero value for a link that is not trusted: the allowed domains may
// have changed since it was stored.
func (l *keyLinks) parse(raw string) VirtualKeyURL {
	parsed, err := ParseVirtualKeyURL(raw, l.opts.keyDomains...)
	if err != nil {
		return VirtualKeyURL{}
	}
	return parsed
}

// forCar is the link to show for a car: the one in the server's error; if there is
// none, the one that Connect brought; else the one of the configured domain.
func (l *keyLinks) forCar(ctx context.Context, userID, fromError string) VirtualKeyURL {
	if parsed := l.parse(fromError); !parsed.IsZero() {
		return parsed
	}
	if record, err := l.users.Connected(ctx, userID); err == nil {
		if parsed := l.parse(record.VirtualKeyURL); !parsed.IsZero() {
			parsed.vin = "" // it may be the VIN of another car
			return parsed
		}
	}
	return virtualKeyURLFor(l.opts.keyDomain)
}

var keySources = [...]KeySource{
	policy.FromNowhere: KeySourceNone, policy.FromEndpoint: KeyFromEndpoint, policy.FromSignal: KeyFromSignal, policy.FromError: KeyFromError,
	policy.FromCommand: KeyFromCommand, policy.FromWebhook: KeyFromWebhook, policy.FromApplication: KeyFromApplication,
}

// keyStatus is the status of the key as callers see it. For a car that needs no key it
// is unknown, so that nobody asks its owner to add one.
func keyStatus(s *policy.State) KeyStatus {
	if s.Class() != policy.ClassStreaming {
		return KeyStatus{Reason: "the virtual key plays no role for this car, or that is not known yet"}
	}
	return knownKey(s)
}

// knownKey is what is known of the key, whatever the class of the car.
func knownKey(s *policy.State) KeyStatus {
	k := KeyStatus{At: s.KeyAt(), Since: s.KeySince()}
	if int(s.KeySource()) < len(keySources) {
		k.Source = keySources[s.KeySource()]
	}
	switch s.Key() {
	case policy.KeyInstalled:
		k.State, k.Reason = KeyInstalled, "the key is on the car"
	case policy.KeyMissing:
		k.State, k.Reason, k.Removed = KeyMissing, "the owner has not added the key, or has removed it", s.KeyRemoved()
		if k.Removed {
			k.Reason = "the key was on the car, and is not there any more"
		}
	case policy.KeyUnavailable:
		k.Reason = "the status cannot be read: the connected account is not the owner's, a permission is missing, or the integration is Tesla's retired one"
	default:
		k.Reason = "the status is not known for the moment: it could not be read, or, on API v3, comes with the next data"
	}
	return k
}

// KeyStatus asks Smartcar whether the virtual key is on the car, which takes no
// turn of it, and tells the policy. When the status can never be had with this
// connection, State is [KeyUnknown] and Reason says why. Permission
// read_vehicle_info.
//
// API v3 tells it with the car's data only: there it is what the policy has
// learned, from the last read, a webhook or another source, and nobody is asked.
//
// https://smartcar.com/docs/api-reference/tesla/get-virtual-key-status
func (v *Vehicle) KeyStatus(ctx context.Context) (KeyStatus, error) {
	r, err := v.calls().newRequest(ctx, opKeyStatus)
	if err != nil {
		return KeyStatus{}, err
	}
	g := v.handle.core.gate
	if g.probe.asksForKey() {
		if err := v.askKeyStatus(ctx, r); err != nil {
			return KeyStatus{}, err
		}
	}
	c, err := g.cars.load(ctx, r.car)
	if err == nil && c.state.WantsClass(c.now()) {
		if c, _, err = g.learn(ctx, r, r.car, &c, true, nil); notAsked(err) {
			err = nil
		}
	}
	return keyStatus(&c.state), err
}

// askKeyStatus reads the status through the pipeline, which tells the policy. It is no
// error if the status can never be read: the policy is told that, too.
func (v *Vehicle) askKeyStatus(ctx context.Context, r *request) error {
	_, err := v.decoded(ctx, opKeyStatus, nil)
	if err == nil || !keyStatusNeverHad(err) {
		return err
	}
	_, err = v.handle.core.cars.apply(ctx, r.car, nil, evidenceOfKeyCheck(err, v.handle.core.opts.now())...)
	return err
}

// SetKeyState is the application's own word about the key, such as an owner
// pressing "done". The policy takes it at once; later evidence beats it. It takes
// KeyInstalled and KeyMissing; errors are an [*ArgumentError] and [ErrStore].
func (v *Vehicle) SetKeyState(ctx context.Context, state KeyState) error {
	if _, err := v.calls().newRequest(ctx, opKeyStatus); err != nil {
		return err
	}
	events := evidenceOfApplication(state, v.handle.core.opts.now())
	if len(events) == 0 {
		return argumentError("SetKeyState", "takes smartcar.KeyInstalled or smartcar.KeyMissing")
	}
	_, err := v.handle.core.cars.apply(ctx, v.handle.car, nil, events...)
	return err
}
