// Package connectstate keeps a run of Smartcar Connect, a flow, in the browser of the
// owner: in a signed cookie of its own, which is good for one callback.
package connectstate

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// What can be wrong with a callback: smartcar.ErrStateMismatch and so on.
var (
	ErrMismatch = errors.New("smartcar: the callback belongs to no Connect flow of this browser; start again")
	ErrExpired  = errors.New("smartcar: the Connect flow has expired; start again")
	ErrReplayed = errors.New("smartcar: the callback was already handled")
)

// What a flow cannot be sealed with.
var (
	ErrKey     = errors.New("the state key is shorter than 32 bytes")
	ErrOwnerID = errors.New("the external id is longer than 256 bytes or not printable")
	ErrTooLong = errors.New("the flow does not fit into a cookie")
)

// Life is how long an owner may take: Connect may include pairing a car.
const Life = time.Hour

// A Purpose keeps the callback of one kind of flow from ending another.
type Purpose string

// The two kinds of flow.
const (
	Connect Purpose = "connect"
	Reauth  Purpose = "reauth"
)

// A Flow is what the cookie holds between the redirect to Connect and the callback.
// If its State is that of the callback, both happened in the same browser.
type Flow struct {
	State       string
	Expires     time.Time // kept to the second
	Purpose     Purpose
	ExternalID  string
	ProofID     string // a random external id that Connect was given, if ExternalID is empty
	UserID      string
	VehicleID   string
	RedirectURL string
	Mode        string
}

// Format keeps the state out of every verb of package fmt.
func (f Flow) Format(s fmt.State, _ rune) {
	_, _ = fmt.Fprintf(s, "{%s flow until %s}", f.Purpose, f.Expires.Format(time.RFC3339))
}

// sealedFlow is Flow as the cookie spells it.
type sealedFlow struct {
	Version     int     `json:"v"`
	State       string  `json:"s"`
	Expires     int64   `json:"e"`
	Purpose     Purpose `json:"p"`
	ExternalID  string  `json:"x,omitempty"`
	UserID      string  `json:"u,omitempty"`
	VehicleID   string  `json:"c,omitempty"`
	RedirectURL string  `json:"r,omitempty"`
	ProofID     string  `json:"i,omitempty"`
	Mode        string  `json:"m,omitempty"`
}

const (
	flowVersion = 1
	// flowDomain keeps a signature made here from being valid anywhere else
	// the application uses the same key.
	flowDomain = "smartcar Connect flow\x00"
	// maxCookie leaves room for the name and the attributes: browsers drop
	// a cookie of more than 4096 bytes without a word.
	maxCookie = 3500
	minKey    = 32
)

// MaxOwnerID keeps the cookie that remembers an external id far below what
// browsers accept.
const MaxOwnerID = 256

// ValidOwnerID reports whether an external id survives the way through the cookie and
// through Smartcar unchanged.
func ValidOwnerID(id string) bool {
	return len(id) <= MaxOwnerID && utf8.ValidString(id) && !strings.ContainsFunc(id, unicode.IsControl)
}

// ValidKey reports whether a key is long enough not to be guessed.
func ValidKey(key []byte) bool { return len(key) >= minKey }

// seal returns the value of the cookie. It can be read, but not changed.
func seal(key []byte, f Flow) (string, error) {
	switch {
	case !ValidKey(key):
		return "", ErrKey
	case !ValidOwnerID(f.ExternalID):
		return "", ErrOwnerID
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
	cookie := text + "." + signature(key, text)
	if len(cookie) > maxCookie {
		return "", ErrTooLong
	}
	return cookie, nil
}

// open reads what seal wrote with the same key.
func open(key []byte, cookieValue string, now time.Time) (Flow, error) {
	if !ValidKey(key) {
		return Flow{}, ErrKey // with an empty key anybody could sign
	}
	text, signed, _ := strings.Cut(cookieValue, ".")
	if len(cookieValue) > maxCookie || !hmac.Equal([]byte(signed), []byte(signature(key, text))) {
		return Flow{}, ErrMismatch
	}
	var sealed sealedFlow
	payload, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil || json.Unmarshal(payload, &sealed) != nil || sealed.Version != flowVersion {
		return Flow{}, ErrMismatch
	}
	expires := time.Unix(sealed.Expires, 0).UTC()
	if !now.Before(expires) {
		return Flow{}, ErrExpired
	}
	return Flow{
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

// signature signs the encoded text, of which there is exactly one form.
func signature(key []byte, text string) string {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(flowDomain))
	mac.Write([]byte(text))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}
