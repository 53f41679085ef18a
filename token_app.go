package smartcar

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/seed-498a1bc4/smartcar/internal/contexts"
	"github.com/seed-498a1bc4/smartcar/internal/lenient"
	"github.com/seed-498a1bc4/smartcar/internal/randid"
	"github.com/seed-498a1bc4/smartcar/internal/records"
)

// TokenStyle is how API v3's credentials are sent for a token.
type TokenStyle uint8

// The styles: two are documented, the third is what OAuth servers take.
const (
	TokenForm  TokenStyle = iota // in a form body
	TokenJSON                    // in a JSON body
	TokenBasic                   // in the Authorization header
)

// WithTokenStyle chooses how API v3's token is asked for; default [TokenForm].
//
// https://smartcar.com/docs/api-reference/authorization/request-access-token
func WithTokenStyle(style TokenStyle) Option {
	return func(o *options) error {
		if style > TokenBasic {
			return argumentError("WithTokenStyle", "must be smartcar.TokenForm, TokenJSON or TokenBasic")
		}
		o.tokenStyle = style
		return nil
	}
}

const opAppToken Operation = "application-token"

const (
	// appTokenLife is documented, in case the answer does not say it.
	appTokenLife = time.Hour
	// mintLease is how long one replica may keep the others from asking for a
	// token, mintTimeout how long it may take for it.
	mintLease   = 15 * time.Second
	mintTimeout = 10 * time.Second
)

// appRecord is what is stored of the application's token: all replicas use one.
type appRecord struct {
	AccessToken string    `json:"access_token"`
	Expires     time.Time `json:"expires"` // when it is renewed, by the store's clock
	// A request for a new one under way: whose, and until when the others wait.
	LeaseID    string    `json:"lease_id,omitempty"`
	LeaseUntil time.Time `json:"lease_until,omitzero"`
}

// appToken is the token in use. It never prints.
type appToken struct {
	header  []string
	expires time.Time // when it is renewed, which is before its end
	minted  bool      // here, and not taken from what another replica has stored
}

// appCredential authorizes with the token of the application. It is minted
// once for all callers of all replicas, and again when Smartcar refuses it.
type appCredential struct {
	core    *core
	records records.Records
	key     string
	minting records.Flights
	current atomic.Pointer[appToken]
	// replaced is when a refused token was replaced by a new one, until that has
	// been accepted: in nanoseconds since 1970.
	replaced atomic.Int64
}

func newAppCredential(c *core) *appCredential {
	sum := sha256.Sum256([]byte(c.apiClientID))
	return &appCredential{
		core: c, records: records.New(c.opts.store, c.opts.clock),
		key: "application/" + hex.EncodeToString(sum[:16]),
	}
}

func (t *appToken) fresh(now time.Time) bool {
	return t != nil && now.Before(t.expires)
}

func (a *appCredential) ready() bool { return a.current.Load().fresh(a.core.opts.now()) }

func (a *appCredential) header(ctx context.Context) ([]string, error) {
	if t := a.current.Load(); t.fresh(a.core.opts.now()) {
		return t.header, nil
	}
	return a.renewed(ctx, "")
}

// refused replaces a token that Smartcar no longer takes. If it has replaced
// another one lately, the credentials are at fault and not the token.
func (a *appCredential) refused(ctx context.Context, header []string) (renewed bool, err error) {
	if t := a.current.Load(); t != nil && t.header[0] != header[0] {
		return false, nil
	}
	if a.core.opts.now().Sub(time.Unix(0, a.replaced.Load())) < time.Minute {
		return false, errNoOtherToken
	}
	if _, err = a.renewed(ctx, header[0]); err != nil {
		return false, err
	}
	// What another replica has stored may be as old: it is no new one.
	t := a.current.Load()
	return t.minted && t.header[0] != header[0], nil
}

func (a *appCredential) refreshTokens() (current, spare string) { return "", "" }

func (a *appCredential) renewalHelped(helped bool) string {
	if helped {
		a.replaced.Store(0)
		return ""
	}
	return "a new application token was refused, too: an application from before June 2025 may have to be upgraded to API v3 in the dashboard"
}

// renewed returns a token that is not the refused one: another caller's,
// another replica's, or a new one.
func (a *appCredential) renewed(ctx context.Context, refused string) ([]string, error) {
	for range refreshTries {
		err := a.minting.Do(ctx, "", func() error { return a.renew(ctx, refused) })
		if err != nil {
			return nil, err
		}
		if t := a.current.Load(); t != nil && t.header[0] != refused && a.core.opts.now().Before(t.expires) {
			return t.header, nil
		}
	}
	return nil, &Error{Operation: opAppToken, Err: errNoOtherToken, reach: reachedNever}
}

// renew takes what another replica has stored, or mints under a lease. Unlike a
// refresh token's, this answer can be asked for again: a store that is away
// only costs the sharing.
func (a *appCredential) renew(ctx context.Context, refused string) error {
	id := randid.Text()
	for {
		r, now, err := a.takeLease(ctx, id, refused)
		switch {
		case errors.Is(err, errLeaseTaken):
			if err := a.core.opts.clock.Sleep(ctx, a.core.opts.refreshPoll()); err != nil {
				return err
			}
			continue
		case errors.Is(err, ErrStore):
			_, _, err := a.mintFor(ctx, refused)
			return err
		case err != nil:
			return err
		case r.LeaseID != id: // somebody else's will do
			a.use(r.AccessToken, r.Expires.Sub(now), false)
			return nil
		}
		token, life, err := a.mintFor(ctx, refused)
		a.settle(ctx, id, token, life)
		return err
	}
}

func (a *appCredential) use(token string, life time.Duration, minted bool) {
	a.current.Store(&appToken{header: []string{"Bearer " + token}, expires: a.core.opts.now().Add(life), minted: minted})
}

// mintFor puts a new token into use, in place of a refused one if there is one.
func (a *appCredential) mintFor(ctx context.Context, refused string) (token string, life time.Duration, err error) {
	if token, life, err = a.mint(ctx); err != nil {
		return "", 0, err
	}
	if refused != "" {
		a.replaced.Store(a.core.opts.now().UnixNano()) // first: the new one may be refused at once
	}
	a.use(token, life, true)
	return token, life, nil
}

// takeLease returns the stored record: with our lease in it, or as it is if its
// token will do; and the store's time.
func (a *appCredential) takeLease(ctx context.Context, id, refused string) (appRecord, time.Time, error) {
	var at time.Time
	r, err := records.Change(ctx, a.records, a.key, 2*appTokenLife, func(r *appRecord, _ bool, now time.Time) error {
		at = now
		switch {
		case r.AccessToken != "" && "Bearer "+r.AccessToken != refused && now.Before(r.Expires):
			r.LeaseID = ""
			return records.ErrUnchanged
		case leaseHolds(r.LeaseID, r.LeaseUntil, now, mintLease):
			return errLeaseTaken
		}
		r.LeaseID, r.LeaseUntil = id, now.Add(mintLease)
		return nil
	})
	return r, at, err
}

// settle stores the new token for the other replicas, or gives the lease back.
func (a *appCredential) settle(ctx context.Context, id, token string, life time.Duration) {
	ctx, cancel := contexts.Detached(ctx)
	defer cancel()
	_, _ = records.Change(ctx, a.records, a.key, 2*appTokenLife, func(r *appRecord, _ bool, now time.Time) error {
		if r.LeaseID != id {
			return records.ErrUnchanged
		}
		r.LeaseID, r.LeaseUntil = "", time.Time{}
		if token != "" {
			r.AccessToken, r.Expires = token, now.Add(life)
		}
		return nil
	})
}

// mint asks for a new token and says for how long it is good to use. Asking
// twice does no harm.
func (a *appCredential) mint(ctx context.Context) (token string, life time.Duration, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, min(mintTimeout, a.core.opts.attemptTimeout()), errAttemptTime)
	defer cancel()
	req, err := a.request(ctx)
	if err != nil {
		return "", 0, &Error{Operation: opAppToken, reach: reachedNever, Err: err}
	}
	sent := a.core.opts.sentForToken(req)
	resp, err := a.core.opts.roundTrip(req) //nolint:bodyclose // readAnswer closes it
	if err != nil {
		e := &Error{Operation: opAppToken, read: true, reach: reachedUnsure, Err: sent.cause(causeOf(ctx, err))}
		if certainlyNotSent(err) {
			e.reach = reachedNever
		}
		return "", 0, e
	}
	if resp.StatusCode == http.StatusOK {
		sent = echo{} // a token is what it is for
	}
	answer, err := a.core.opts.readAnswer(ctx, resp, &sent)
	if err != nil {
		return "", 0, &Error{Operation: opAppToken, StatusCode: resp.StatusCode, read: true, reach: reachedUnsure, Err: err}
	}
	return a.decode(answer)
}

func (a *appCredential) decode(answer *answer) (token string, life time.Duration, err error) {
	if answer.status != http.StatusOK {
		e := decodeError(opAppToken, answer.status, answer.header, answer.body, answer.at)
		e = withoutSecret(e, a.core.secrets().apiClientSecret)
		if e.Code == "invalid_client" {
			e.Description = "look at Config.APIClientID and Config.APIClientSecret; the legacy credentials of API v2.0 are not taken here"
		}
		if e.isApplicationLimit() {
			return "", 0, a.core.pause.begin(opAppToken, e)
		}
		return "", 0, e
	}
	body, err := decodeObject[struct {
		AccessToken lenient.String `json:"access_token"`
		ExpiresIn   lenient.Float  `json:"expires_in"`
	}](answer.body)
	if err != nil || body.AccessToken == "" {
		return "", 0, &Error{Operation: opAppToken, StatusCode: answer.status, Err: errTokenAnswer}
	}
	life = appTokenLife
	if s := body.ExpiresIn.Value; s != nil && *s >= 1 && *s < 1e9 {
		life = time.Duration(*s * float64(time.Second))
	}
	// One that lives for moments only is used for half of them.
	return string(body.AccessToken), life - min(tokenSkew, life/2), nil
}

// withoutSecret keeps of an answer to credentials what does not repeat them.
func withoutSecret(e *Error, secret string) *Error {
	kept := &Error{
		Operation: e.Operation, StatusCode: e.StatusCode, Type: e.Type, Code: e.Code,
		RequestID: e.RequestID, RetryAfter: e.RetryAfter, read: true,
	}
	for _, text := range []*string{&kept.Type, &kept.Code, &kept.RequestID} {
		if strings.Contains(*text, secret) {
			*text = ""
		}
	}
	return kept
}

func (a *appCredential) request(ctx context.Context) (*http.Request, error) {
	id, secret := a.core.apiClientID, a.core.secrets().apiClientSecret
	var body []byte
	contentType := "application/x-www-form-urlencoded"
	switch a.core.opts.tokenStyle {
	case TokenJSON:
		contentType = "application/json"
		body, _ = json.Marshal(map[string]string{ // texts only: cannot fail
			"grant_type": "client_credentials", "client_id": id, "client_secret": secret,
		})
	case TokenBasic:
		body = []byte("grant_type=client_credentials")
	default:
		form := url.Values{"grant_type": {"client_credentials"}, "client_id": {id}, "client_secret": {secret}}
		body = []byte(form.Encode())
	}
	target := a.core.opts.origins.IAM.JoinPath("oauth2/token").String()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, target, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", contentType)
	req.Header.Set("Accept", "application/json")
	req.Header["User-Agent"] = a.core.opts.userAgent
	if a.core.opts.tokenStyle == TokenBasic {
		// RFC 6749 has both parts form-encoded first.
		pair := url.QueryEscape(id) + ":" + url.QueryEscape(secret)
		req.Header.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(strings.TrimSpace(pair))))
	}
	return req, nil
}

var _ credential = (*appCredential)(nil)
