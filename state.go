package smartcar

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
)

// What can be wrong with the state of a Connect flow.
//
// https://smartcar.com/docs/connect/redirect-to-connect
var (
	// ErrStateMismatch: the callback belongs to no flow that this browser
	// started here. It may be an attack; more often cookies are blocked, the link
	// was opened in another browser, or the flow began at another host than that
	// of the redirect URL: localhost and 127.0.0.1 do not share cookies.
	ErrStateMismatch = errors.New("smartcar: the callback belongs to no Connect flow of this browser; start again")
	// ErrStateExpired: the owner took too long. Start the flow again.
	ErrStateExpired = errors.New("smartcar: the Connect flow has expired; start again")
	// ErrStateReplayed: the callback was handled before, for instance because
	// the page was loaded again.
	ErrStateReplayed = errors.New("smartcar: the callback was already handled")
)

// flowPurpose keeps the callback of one kind of flow from ending another.
type flowPurpose string

const (
	flowConnect flowPurpose = "connect"
	flowReauth  flowPurpose = "reauth"
)

// flow is what a signed cookie remembers in the owner's browser between the
// redirect to Connect and the callback. Comparing its State with the
// callback's proves that both happened in the same browser.
type flow struct {
	State       string
	Expires     time.Time // kept to the second
	Purpose     flowPurpose
	ExternalID  string
	ProofID     string // the external id that was sent in place of none
	UserID      string
	VehicleID   string
	RedirectURL string
	Mode        ConnectMode
}

// Format keeps the state out of every verb of package fmt.
func (f flow) Format(s fmt.State, _ rune) {
	fmt.Fprintf(s, "{%s flow until %s}", f.Purpose, f.Expires.Format(time.RFC3339))
}

// sealedFlow is flow as the cookie spells it.
type sealedFlow struct {
	Version     int         `json:"v"`
	State       string      `json:"s"`
	Expires     int64       `json:"e"`
	Purpose     flowPurpose `json:"p"`
	ExternalID  string      `json:"x,omitempty"`
	UserID      string      `json:"u,omitempty"`
	VehicleID   string      `json:"c,omitempty"`
	RedirectURL string      `json:"r,omitempty"`
	ProofID     string      `json:"i,omitempty"`
	Mode        ConnectMode `json:"m,omitempty"`
}

const (
	flowVersion = 1
	// flowDomain keeps a signature made here from being valid anywhere else
	// the application uses the same key.
	flowDomain = "smartcar Connect flow\x00"
	// maxFlowCookie leaves room for the name and the attributes: browsers drop
	// a cookie of more than 4096 bytes without a word.
	maxFlowCookie   = 3500
	minStateKey     = 32
	stateCookieBase = "smartcar_"
	stateCookieSum  = 8 // bytes of the state's hash in the name

	hostCookiePrefix = "__Host-"
)

// validStateKey refuses a key that could be guessed.
func validStateKey(key []byte) error {
	if len(key) < minStateKey {
		return argumentError("Config.StateKey", "must be at least 32 random bytes, the same in every process that serves the callback")
	}
	return nil
}

// stateCookieName gives every flow a cookie of its own, so that two tabs do
// not end each other's flow. The name does not reveal the state. A browser
// lets nobody but this very host set a __Host- cookie.
func stateCookieName(state string, secure bool) string {
	sum := sha256.Sum256([]byte(state))
	name := stateCookieBase + hex.EncodeToString(sum[:stateCookieSum])
	if secure {
		return hostCookiePrefix + name
	}
	return name
}

// isStateCookie knows the names that stateCookieName makes.
func isStateCookie(name string) bool {
	sum, ok := strings.CutPrefix(strings.TrimPrefix(name, hostCookiePrefix), stateCookieBase)
	decoded, err := hex.DecodeString(sum)
	return ok && err == nil && len(decoded) == stateCookieSum
}

// sealFlow returns the value of the cookie: readable, but not to be changed.
func sealFlow(key []byte, f flow) (string, error) {
	if err := errors.Join(validStateKey(key), checkOwnerID("ExternalID", f.ExternalID)); err != nil {
		return "", err
	}
	payload, err := json.Marshal(sealedFlow{
		Version:     flowVersion,
		State:       f.State,
		Expires:     f.Expires.Unix(),
		Purpose:     f.Purpose,
		ExternalID:  f.ExternalID,
		UserID:      f.UserID,
		VehicleID:   f.VehicleID,
		RedirectURL: f.RedirectURL,
		ProofID:     f.ProofID,
		Mode:        f.Mode,
	})
	if err != nil {
		return "", err
	}
	text := base64.RawURLEncoding.EncodeToString(payload)
	cookie := text + "." + flowSignature(key, text)
	if len(cookie) > maxFlowCookie {
		return "", argumentError("RedirectURL", "is too long to be kept in a cookie")
	}
	return cookie, nil
}

// openFlow reads what sealFlow wrote with the same key.
func openFlow(key []byte, cookieValue string, now time.Time) (flow, error) {
	if err := validStateKey(key); err != nil {
		return flow{}, err // with an empty key anybody could sign
	}
	text, signature, _ := strings.Cut(cookieValue, ".")
	if len(cookieValue) > maxFlowCookie || !hmac.Equal([]byte(signature), []byte(flowSignature(key, text))) {
		return flow{}, ErrStateMismatch
	}
	var sealed sealedFlow
	payload, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil || json.Unmarshal(payload, &sealed) != nil || sealed.Version != flowVersion {
		return flow{}, ErrStateMismatch
	}
	expires := time.Unix(sealed.Expires, 0).UTC()
	if !now.Before(expires) {
		return flow{}, ErrStateExpired
	}
	return flow{
		State:       sealed.State,
		Expires:     expires,
		Purpose:     sealed.Purpose,
		ExternalID:  sealed.ExternalID,
		UserID:      sealed.UserID,
		VehicleID:   sealed.VehicleID,
		RedirectURL: sealed.RedirectURL,
		ProofID:     sealed.ProofID,
		Mode:        sealed.Mode,
	}, nil
}

// flowSignature signs the encoded text, of which there is exactly one form.
func flowSignature(key []byte, text string) string {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(flowDomain))
	mac.Write([]byte(text))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}
