package smartcartest

import (
	"slices"
	"time"
)

const (
	codeLife    = 10 * time.Minute
	accessLife  = 2 * time.Hour
	refreshLife = 60 * 24 * time.Hour
	appLife     = time.Hour
)

// grant is one Connect by one account. Its refresh tokens are one family.
type grant struct {
	account  string
	user     string
	vehicles map[string][]string // permissions by vehicle id
	issued   int                 // pairs so far
	refresh  []string            // values that may still be honored, oldest first
	access   []string            // values that may not have expired yet
}

// vehicleIDs lists the cars in the order of the garage.
func (g *grant) vehicleIDs(garage []string) []string {
	ids := make([]string, 0, len(g.vehicles))
	for _, id := range garage {
		if _, ok := g.vehicles[id]; ok {
			ids = append(ids, id)
		}
	}
	return ids
}

// authCode is what Connect gives out and the token endpoint takes once.
type authCode struct {
	grant       *grant
	redirectURI string // "" when Connect was called without one
	expires     time.Time
	used        bool
}

// accessToken opens API v2.0 for the cars of a grant.
type accessToken struct {
	grant   *grant
	expires time.Time
}

// refreshToken gets a new pair for a grant.
type refreshToken struct {
	grant   *grant
	seq     int // the newer of two tokens of one grant has the higher number
	expires time.Time
	used    bool
	usedAt  time.Time // the first time
}

// honored says whether a refresh with this token works: once, and again for
// the grace time after that.
func (r *refreshToken) honored(now time.Time, grace time.Duration) bool {
	return !now.After(r.expires) && (!r.used || now.Sub(r.usedAt) <= grace)
}

// tokenPair is what a code or a refresh token is exchanged for.
type tokenPair struct{ access, refresh string }

// tokens are all codes and tokens that the server has given out and that a
// request may still use. The server's mutex guards them.
type tokens struct {
	grace   time.Duration // how long a used refresh token is still honored
	codes   map[string]*authCode
	access  map[string]*accessToken
	refresh map[string]*refreshToken
	apps    map[string]time.Time // v3 application tokens and when they end
}

// newTokens is empty.
func newTokens(grace time.Duration) *tokens {
	return &tokens{
		grace: grace, codes: map[string]*authCode{}, access: map[string]*accessToken{},
		refresh: map[string]*refreshToken{}, apps: map[string]time.Time{},
	}
}

// newCode gives out an authorization code for a grant.
func (t *tokens) newCode(g *grant, redirectURI string, now time.Time) string {
	value := randomUUID()
	t.codes[value] = &authCode{grant: g, redirectURI: redirectURI, expires: now.Add(codeLife)}
	return value
}

// grantOf finds the grant of an access token; nil when the token is unknown or
// has expired.
func (t *tokens) grantOf(access string, now time.Time) *grant {
	a := t.access[access]
	if a == nil || now.After(a.expires) {
		return nil
	}
	return a.grant
}

// renew rotates a refresh token; false when it is not honored. A token that was
// used before and is within its grace time gets another new pair, and every
// refresh token that was issued after it dies: only the newest lives on.
func (t *tokens) renew(value string, now time.Time) (tokenPair, bool) {
	r := t.refresh[value]
	if r == nil || !r.honored(now, t.grace) {
		return tokenPair{}, false
	}
	if r.used {
		t.forgetRefresh(r.grant, func(other *refreshToken) bool { return other.seq > r.seq })
	} else {
		r.used, r.usedAt = true, now
	}
	return t.issue(r.grant, now), true
}

// issue makes a new pair. Access tokens issued before live on until they
// expire; tokens that no request could use any more are dropped.
func (t *tokens) issue(g *grant, now time.Time) tokenPair {
	t.forgetRefresh(g, func(r *refreshToken) bool { return !r.honored(now, t.grace) })
	g.access = slices.DeleteFunc(g.access, func(value string) bool {
		if t.grantOf(value, now) != nil {
			return false
		}
		delete(t.access, value)
		return true
	})
	g.issued++
	p := tokenPair{access: randomUUID(), refresh: randomUUID()}
	t.refresh[p.refresh] = &refreshToken{grant: g, seq: g.issued, expires: now.Add(refreshLife)}
	g.refresh = append(g.refresh, p.refresh)
	t.access[p.access] = &accessToken{grant: g, expires: now.Add(accessLife)}
	g.access = append(g.access, p.access)
	return p
}

// forgetRefresh drops those refresh tokens of a grant that gone picks.
func (t *tokens) forgetRefresh(g *grant, gone func(*refreshToken) bool) {
	g.refresh = slices.DeleteFunc(g.refresh, func(value string) bool {
		if r := t.refresh[value]; r != nil && !gone(r) {
			return false
		}
		delete(t.refresh, value)
		return true
	})
}

// newApp gives out a v3 application token, and drops those that have ended.
func (t *tokens) newApp(now time.Time) string {
	for value, end := range t.apps {
		if now.After(end) {
			delete(t.apps, value)
		}
	}
	value := randomUUID()
	t.apps[value] = now.Add(appLife)
	return value
}

// isApp says whether a v3 application token is valid.
func (t *tokens) isApp(value string, now time.Time) bool {
	end, ok := t.apps[value]
	return ok && !now.After(end)
}

// grants are all that a token or a code still leads to.
func (t *tokens) grants() map[*grant]bool {
	all := map[*grant]bool{}
	for _, a := range t.access {
		all[a.grant] = true
	}
	for _, r := range t.refresh {
		all[r.grant] = true
	}
	for _, c := range t.codes {
		all[c.grant] = true
	}
	return all
}

// revokeUser ends all codes and tokens of a user.
func (t *tokens) revokeUser(user string) {
	for value, a := range t.access {
		if a.grant.user == user {
			delete(t.access, value)
		}
	}
	for value, r := range t.refresh {
		if r.grant.user == user {
			delete(t.refresh, value)
		}
	}
	for value, c := range t.codes {
		if c.grant.user == user {
			delete(t.codes, value)
		}
	}
}
