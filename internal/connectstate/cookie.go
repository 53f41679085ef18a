package connectstate

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/seed-498a1bc4/smartcar/internal/randid"
	"github.com/seed-498a1bc4/smartcar/internal/records"
	"github.com/seed-498a1bc4/smartcar/store"
)

const (
	cookieBase = "smartcar_"
	cookieSum  = 8 // bytes of the state's hash in the name
	hostPrefix = "__Host-"
	// keptFlows is how many older flows a browser keeps beside a new one: owners may
	// have several tabs open.
	keptFlows = 4
)

// cookieName gives every flow a cookie of its own, so that two tabs do
// not end each other's flow. The name does not reveal the state. A browser
// lets nobody but this very host set a __Host- cookie.
func cookieName(state string, secure bool) string {
	sum := sha256.Sum256([]byte(state))
	name := cookieBase + hex.EncodeToString(sum[:cookieSum])
	if secure {
		return hostPrefix + name
	}
	return name
}

// isCookieName reports whether a name may be one that cookieName has made.
func isCookieName(name string) bool {
	sum, ok := strings.CutPrefix(strings.TrimPrefix(name, hostPrefix), cookieBase)
	decoded, err := hex.DecodeString(sum)
	return ok && err == nil && len(decoded) == cookieSum
}

// Remember sets the cookie of a flow and deletes those of the oldest flows of
// this browser. On an error nothing is written: it is [ErrKey], [ErrOwnerID] or
// [ErrTooLong].
func Remember(w http.ResponseWriter, r *http.Request, key []byte, f Flow) error {
	sealed, err := seal(key, f)
	if err != nil {
		return err
	}
	deleteOldest(w, r)
	secure := isHTTPS(f.RedirectURL)
	http.SetCookie(w, newCookie(cookieName(f.State, secure), sealed, secure, int(Life/time.Second)))
	return nil
}

// deleteOldest keeps the cookies of the newest flows of this browser, which
// sends the oldest first: proxies refuse every request with too many of them.
func deleteOldest(w http.ResponseWriter, r *http.Request) {
	var names []string
	for _, c := range r.Cookies() {
		if isCookieName(c.Name) {
			names = append(names, c.Name)
		}
	}
	for _, name := range names[:max(len(names)-keptFlows, 0)] {
		http.SetCookie(w, newCookie(name, "", strings.HasPrefix(name, hostPrefix), -1))
	}
}

func newCookie(name, value string, secure bool, maxAge int) *http.Cookie {
	return &http.Cookie{
		Name: name, Value: value, Path: "/", MaxAge: maxAge,
		HttpOnly: true, Secure: secure,
		SameSite: http.SameSiteLaxMode, // the callback is a navigation from Smartcar's site
	}
}

func isHTTPS(raw string) bool {
	scheme, _, _ := strings.Cut(raw, ":")
	return strings.EqualFold(scheme, "https")
}

// Recall finds the flow that this browser began with the callback's state. The cookie
// stays until it expires: if the owner loads the callback page again, the error is
// [ErrReplayed] from UseUp, and not [ErrMismatch] as for an attack. Errors:
// [ErrMismatch], [ErrExpired], [ErrKey].
func Recall(r *http.Request, key []byte, state string, now time.Time) (Flow, error) {
	for _, secure := range []bool{true, false} {
		cookie, err := r.Cookie(cookieName(state, secure))
		if err != nil {
			continue
		}
		f, err := open(key, cookie.Value, now)
		switch {
		case err != nil:
			return Flow{}, err
		case secure != isHTTPS(f.RedirectURL):
			// A sibling domain can plant a cookie without the __Host- prefix.
			return Flow{}, ErrMismatch
		case Verify(state, f.State) != nil:
			return Flow{}, ErrMismatch
		}
		return f, nil
	}
	return Flow{}, ErrMismatch
}

// Verify returns [ErrMismatch] for a state that is not the expected one.
func Verify(state, expected string) error {
	if expected == "" || subtle.ConstantTimeCompare([]byte(state), []byte(expected)) != 1 {
		return ErrMismatch
	}
	return nil
}

// UseUp makes the state of a flow good for one callback: the second time it
// returns [ErrReplayed]. The record outlives the cookie.
func UseUp(ctx context.Context, r records.Records, state string) error {
	sum := sha256.Sum256([]byte(state))
	_, err := r.Swap(ctx, "state/"+hex.EncodeToString(sum[:]), "", []byte(randid.Text()), 2*Life)
	if errors.Is(err, store.ErrConflict) {
		return ErrReplayed
	}
	return err
}
