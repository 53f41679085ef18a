package smartcar

import (
	"context"
	"errors"
	"net/url"
	"sync"
	"time"

	"github.com/seed-498a1bc4/smartcar/internal/contexts"
	"github.com/seed-498a1bc4/smartcar/internal/lru"
	"github.com/seed-498a1bc4/smartcar/internal/randid"
	"github.com/seed-498a1bc4/smartcar/internal/records"
	"github.com/seed-498a1bc4/smartcar/store"
	"golang.org/x/oauth2"
)

const (
	// refreshTokenLife is documented; the answer does not say it.
	refreshTokenLife = 60 * 24 * time.Hour
	// tokenSkew renews an access token before its end, so that none runs out
	// on its way.
	tokenSkew = time.Minute
	// refreshTries is how often one refresh token is tried on unclear answers.
	refreshTries = 3
	// exchangeTimeout bounds one exchange of a code.
	exchangeTimeout = 30 * time.Second
)

// grantRecord is what is stored of a grant. It never leaves this file.
type grantRecord struct {
	UserID       string    `json:"user_id,omitempty"`
	AccessToken  string    `json:"access_token"`
	RefreshToken string    `json:"refresh_token"`
	Expires      time.Time `json:"expires"`
	ObtainedAt   time.Time `json:"obtained_at"`
	Spare        string    `json:"spare,omitempty"` // another refresh token, if it is not clear which of two is alive
	// A refresh under way: whose it is and until when the others wait.
	LeaseID    string    `json:"lease_id,omitempty"`
	LeaseUntil time.Time `json:"lease_until,omitzero"`
	// What Connect brought, until the grant is linked to its user.
	Pending *pendingGrant `json:"pending,omitempty"`
}

func (r *grantRecord) fresh(now time.Time) bool {
	return r.AccessToken != "" && now.Before(r.Expires.Add(-tokenSkew))
}

func grantKey(id string) string { return "grant/" + id }

// tokenKeeper owns the tokens of all grants: it stores a new pair before using
// it, refreshes once for all callers, and never drops a pair before the new
// one is safe.
type tokenKeeper struct {
	core    *core
	records records.Records
	// cached holds access tokens, to spare the store a load for each request.
	cached     *lru.Cache[string, *cachedGrant]
	refreshing records.Flights
	// unstored holds what the store would not take yet, by grant: a newPair, or
	// the grantRecord of a new grant.
	unstored sync.Map
	// notCovered is when a renewed token was refused for a car, by grant/vehicle.
	notCovered *lru.Cache[string, time.Time]
}

func newTokenKeeper(c *core) *tokenKeeper {
	return &tokenKeeper{
		core: c, records: records.New(c.opts.store, c.opts.clock),
		cached: lru.New[string, *cachedGrant](10_000),

		notCovered: lru.New[string, time.Time](1000),
	}
}

// grantCredential authorizes with the access token of a grant.
type grantCredential struct {
	keeper          *tokenKeeper
	grant           string
	userID, vehicle string // whose, and for which car; empty where it plays no role
}

func (g *grantCredential) ready() bool {
	r, ok := g.keeper.cached.Get(g.grant)
	return ok && r.fresh(g.keeper.core.opts.now())
}

func (g *grantCredential) header(ctx context.Context) ([]string, error) {
	r, err := g.keeper.valid(ctx, g.grant)
	if errors.Is(err, ErrReconnectRequired) && g.userID != "" {
		// Whoever noticed the end may not have known the user: the next call
		// shall use another grant.
		detached, cancel := contexts.Detached(ctx)
		defer cancel()
		err = errors.Join(err, g.keeper.core.accounts.end(detached, g.grant, g.userID))
	}
	if err != nil {
		return nil, err
	}
	return r.header, nil
}

// refused renews a token that Smartcar no longer takes, unless that has not
// helped this car before: then the token is fine and does not cover it.
func (g *grantCredential) refused(ctx context.Context, header []string) (renewed bool, err error) {
	r, err := g.keeper.load(ctx, g.grant)
	switch {
	case err != nil:
		return false, err
	case r.header[0] != header[0]:
		return false, nil // another replica has renewed it
	}
	if at, ok := g.keeper.notCovered.Get(g.grant + "/" + g.vehicle); ok && g.keeper.core.opts.now().Sub(at) < time.Hour {
		return false, errNoOtherToken // renewing did not help this car before
	}
	_, err = g.keeper.refreshed(ctx, g.grant, func(now grantRecord) bool { return now.AccessToken != r.AccessToken })
	return err == nil, err
}

// renewalHelped remembers a car that the grant does not cover, so that asking
// for it does not rotate the tokens each time.
func (g *grantCredential) renewalHelped(helped bool) string {
	if helped || g.vehicle == "" {
		return ""
	}
	g.keeper.notCovered.Put(g.grant+"/"+g.vehicle, g.keeper.core.opts.now())
	return "the user's token is good, but does not reach this vehicle"
}

func (g *grantCredential) refreshTokens() (current, spare string) {
	if r, ok := g.keeper.cached.Get(g.grant); ok {
		return r.RefreshToken, r.Spare
	}
	return "", ""
}

// cachedGrant is a record with the header that its access token makes.
type cachedGrant struct {
	grantRecord
	header []string
}

// keep caches a record that is stored. While it is being refreshed the store is
// asked each time: whoever does it may die of it.
func (k *tokenKeeper) keep(grant string, r grantRecord) *cachedGrant {
	c := &cachedGrant{r, []string{"Bearer " + r.AccessToken}}
	if r.LeaseID == "" {
		k.cached.Put(grant, c)
	} else {
		k.cached.Delete(grant)
	}
	return c
}

func (k *tokenKeeper) load(ctx context.Context, grant string) (*cachedGrant, error) {
	r, err := records.Read[grantRecord](ctx, k.records, grantKey(grant))
	if errors.Is(err, store.ErrNotFound) {
		return nil, endedError()
	}
	if err != nil {
		return nil, err
	}
	return k.keep(grant, r), nil
}

// valid returns a record whose access token can be used now.
func (k *tokenKeeper) valid(ctx context.Context, grant string) (*cachedGrant, error) {
	if r, ok := k.cached.Get(grant); ok && r.fresh(k.core.opts.now()) {
		return r, nil
	}
	r, err := k.refreshed(ctx, grant, func(r grantRecord) bool { return r.fresh(k.core.opts.now()) })
	if err == nil {
		return r, nil
	}
	// A token endpoint that is down does not matter before the token's end.
	if errors.Is(err, ErrReconnectRequired) {
		return nil, err
	}
	old, ok := k.cached.Get(grant)
	if !ok {
		var loadErr error
		if old, loadErr = k.load(ctx, grant); loadErr != nil {
			return nil, err
		}
	}
	if old.AccessToken == "" || !k.core.opts.now().Before(old.Expires) {
		return nil, err
	}
	return old, nil
}

// refreshed refreshes grant unless enough says that the stored pair will do.
// Inside this process one caller does it for all; across processes a lease in
// the store does the same.
func (k *tokenKeeper) refreshed(ctx context.Context, grant string, enough func(grantRecord) bool) (*cachedGrant, error) {
	for {
		var mine *cachedGrant
		err := k.refreshing.Do(ctx, grant, func() (err error) {
			mine, err = k.refreshShared(ctx, grant, enough)
			return err
		})
		switch {
		case err != nil:
			return nil, err
		case ctx.Err() != nil:
			return nil, contexts.EndOf(ctx)
		case mine != nil:
			return mine, nil
		}
		// Somebody else did it: see whether that is enough.
		r, err := k.load(ctx, grant)
		if err != nil {
			return nil, err
		}
		if enough(r.grantRecord) {
			return r, nil
		}
	}
}

// errLeaseTaken: another replica took the refresh over; wait for what it gets.
var errLeaseTaken = errors.New("another process has taken the refresh over")

// refreshShared takes the lease, or waits for whoever holds it.
func (k *tokenKeeper) refreshShared(ctx context.Context, grant string, enough func(grantRecord) bool) (*cachedGrant, error) {
	if unstored, ok := k.unstored.Load(grant); ok {
		if pair, isPair := unstored.(newPair); isPair {
			r, err := k.storePair(ctx, grant, pair)
			if err != nil || enough(r.grantRecord) {
				return r, err
			}
		}
	}
	id := randid.Text()
	poll := k.core.opts.refreshPoll()
	for waited := time.Duration(0); ; waited += poll {
		r, err := k.takeLease(ctx, grant, id, enough)
		switch {
		case errors.Is(err, errLeaseTaken) && waited < refreshTries*k.core.opts.refreshLease():
			if err := k.core.opts.clock.Sleep(ctx, poll); err != nil {
				return nil, err
			}
			continue
		case errors.Is(err, errLeaseTaken):
			return nil, &Error{Operation: opRefresh, reach: reachedNever, Err: err}
		case err != nil:
			return nil, err
		case r.LeaseID != id:
			return k.keep(grant, r), nil // enough
		}
		done, err := k.refreshLeased(ctx, grant, r, id)
		if !errors.Is(err, errLeaseTaken) {
			return done, err
		}
	}
}

// takeLease returns the record with our lease in it, or as it is if that is
// enough, or errLeaseTaken while somebody else refreshes. A lease that has ended
// and is still there is the trace of a refresh nobody knows the end of: the
// refresh token may be used up, and has to be tried again while Smartcar honors
// it, whatever the record is good for.
func (k *tokenKeeper) takeLease(ctx context.Context, grant, id string, enough func(grantRecord) bool) (grantRecord, error) {
	lease := k.core.opts.refreshLease()
	return records.Change(ctx, k.records, grantKey(grant), refreshTokenLife, func(r *grantRecord, found bool, now time.Time) error {
		leased := r.leased(now, lease)
		switch {
		case !found:
			return endedError()
		case enough(*r) && (leased || r.LeaseID == ""):
			return records.ErrUnchanged
		case enough(*r) && now.After(r.LeaseUntil.Add(k.core.opts.grace)):
			r.LeaseID, r.LeaseUntil = "", time.Time{} // too late to save anything
			return nil
		case leased:
			return errLeaseTaken
		}
		r.LeaseID, r.LeaseUntil = id, now.Add(lease)
		return nil
	})
}

// leased reports whether somebody refreshes.
func (r *grantRecord) leased(now time.Time, lease time.Duration) bool {
	return leaseHolds(r.LeaseID, r.LeaseUntil, now, lease)
}

// leaseHolds reports whether a stored lease counts. One that ends far from now
// was written by a clock that is off, and does not.
func leaseHolds(id string, until, now time.Time, lease time.Duration) bool {
	return id != "" && now.Before(until) && until.Sub(now) <= 2*lease
}

// refreshLeased asks for a new pair. On an unclear answer it tries the same
// refresh token again at once, well inside the time for which it is honored.
func (k *tokenKeeper) refreshLeased(ctx context.Context, grant string, r grantRecord, lease string) (*cachedGrant, error) {
	// From here on the caller's cancellation must not lose an answer on its
	// way: it holds the only copy of the next refresh token.
	// Every step is bounded by itself.
	ctx = context.WithoutCancel(ctx)
	var failed error
	unclear := false
	for try := range refreshTries {
		if try > 0 {
			if err := k.core.opts.clock.Sleep(ctx, k.core.opts.refreshPause()); err != nil {
				break
			}
			err := k.extendLease(ctx, grant, lease)
			if errors.Is(err, errLeaseTaken) || errors.Is(err, ErrReconnectRequired) {
				return nil, err
			}
			// Without the store, going on is what saves the login: nobody else
			// can try this token before its grace is over.
		}
		token, err := k.exchangeRefresh(ctx, r.RefreshToken)
		if err == nil {
			return k.storePair(ctx, grant, newPair{token, r.RefreshToken, r.UserID, k.core.opts.now()})
		}
		failed, unclear = err, unclear || mayHaveRotated(err)
		if errors.Is(err, ErrReconnectRequired) {
			spare, ok, storeErr := k.useSpare(ctx, grant, r)
			switch {
			case storeErr != nil:
				return nil, storeErr // there may be another refresh token: the end is not certain
			case !ok:
				return k.rejected(ctx, grant, r, err)
			}
			return k.refreshLeased(ctx, grant, spare, lease) // with tries of its own
		}
		if !Retryable(err) && !errors.Is(err, context.DeadlineExceeded) {
			break
		}
	}
	k.releaseLease(ctx, grant, lease, unclear)
	return nil, failed
}

// mayHaveRotated: the refresh token may have been traded for a pair that never
// came.
func mayHaveRotated(err error) bool {
	e, ok := errors.AsType[*Error](err)
	return !ok || e.reach != reachedNever && (e.StatusCode == 0 || e.StatusCode >= 500)
}

func (k *tokenKeeper) exchangeRefresh(ctx context.Context, refreshToken string) (*oauth2.Token, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, k.core.opts.refreshTimeout(), errAttemptTime)
	defer cancel()
	ctx = context.WithValue(ctx, oauth2.HTTPClient, k.core.http)
	token, err := k.core.oauth().TokenSource(ctx, &oauth2.Token{RefreshToken: refreshToken}).Token()
	if err != nil {
		return nil, tokenError(opRefresh, err, k.core.opts.now())
	}
	return token, nil
}

// rejected handles invalid_grant: final, unless another replica has rotated
// the token that we used.
func (k *tokenKeeper) rejected(ctx context.Context, grant string, used grantRecord, cause error) (*cachedGrant, error) {
	ctx, cancel := contexts.Detached(ctx)
	defer cancel()
	r, err := k.load(ctx, grant)
	if err == nil && r.RefreshToken != used.RefreshToken {
		return r, nil
	}
	if err != nil && !errors.Is(err, ErrReconnectRequired) {
		return nil, err // whether somebody has rotated it cannot be told
	}
	if err == nil {
		err = k.core.accounts.end(ctx, grant, r.UserID)
	}
	return nil, errors.Join(cause, err)
}

func (k *tokenKeeper) extendLease(ctx context.Context, grant, lease string) error {
	ctx, cancel := contexts.Detached(ctx)
	defer cancel()
	_, err := records.Change(ctx, k.records, grantKey(grant), refreshTokenLife, func(r *grantRecord, found bool, now time.Time) error {
		switch {
		case !found:
			return endedError()
		case r.LeaseID != lease:
			return errLeaseTaken
		}
		r.LeaseUntil = now.Add(k.core.opts.refreshLease())
		return nil
	})
	return err
}

// releaseLease lets others refresh at once; if it is unclear what became of the
// refresh token, they are to: see takeLease.
func (k *tokenKeeper) releaseLease(ctx context.Context, grant, lease string, unclear bool) {
	if unclear {
		k.cached.Delete(grant)
	}
	ctx, cancel := contexts.Detached(ctx)
	defer cancel()
	_, _ = records.Change(ctx, k.records, grantKey(grant), refreshTokenLife, func(r *grantRecord, _ bool, now time.Time) error {
		if r.LeaseID != lease {
			return records.ErrUnchanged
		}
		r.LeaseUntil = now
		if !unclear {
			r.LeaseID, r.LeaseUntil = "", time.Time{}
		}
		return nil
	})
}

// renew refreshes a grant whose refresh token has less than within to live, and
// one whose refresh is under way somewhere and does not come to its end.
func (k *tokenKeeper) renew(ctx context.Context, grant string, within time.Duration) error {
	_, err := k.refreshed(ctx, grant, func(r grantRecord) bool {
		return r.LeaseID == "" && r.ObtainedAt.Add(refreshTokenLife).Sub(k.core.opts.now()) >= within
	})
	return err
}

func endedError() error {
	return &Error{Operation: opRefresh, Code: "invalid_grant", Description: "the grant has ended; send the owner through Connect again"}
}

// tokenError turns x/oauth2's errors into ours, without the body it keeps.
func tokenError(op Operation, err error, now time.Time) error {
	var answered *oauth2.RetrieveError
	if errors.As(err, &answered) && answered.Response != nil && answered.Response.StatusCode >= 300 {
		e := decodeError(op, answered.Response.StatusCode, answered.Response.Header, answered.Body, now)
		e.Description = "" // it may quote the code or the token
		e.read = op == opRefresh
		return e
	}
	// The same refresh token may be sent again, a code never.
	e := &Error{Operation: op, reach: reachedUnsure, Err: errTokenAnswer, read: op == opRefresh}
	var failed *url.Error
	if errors.As(err, &failed) {
		e.Err = failed.Err
	}
	if certainlyNotSent(err) {
		e.reach = reachedNever
	}
	return e
}

// errTokenAnswer stands for x/oauth2's own texts, which could quote the answer.
var errTokenAnswer = errors.New("the token endpoint's answer cannot be read")

// exchangeCode trades the one-time code for the first pair. Only what was
// certainly not sent is sent again.
func (k *tokenKeeper) exchangeCode(ctx context.Context, code, redirectURL string) (*oauth2.Token, error) {
	for try := 1; ; try++ {
		attempt, cancel := context.WithTimeoutCause(ctx, min(exchangeTimeout, k.core.opts.attemptTimeout()), errAttemptTime)
		attempt = context.WithValue(attempt, oauth2.HTTPClient, k.core.http)
		token, err := k.core.oauth().Exchange(attempt, code, oauth2.SetAuthURLParam("redirect_uri", redirectURL))
		cancel()
		if err == nil {
			return token, nil
		}
		e := tokenError(opExchange, err, k.core.opts.now())
		if failed, ok := errors.AsType[*Error](e); !ok || failed.reach != reachedNever || try >= refreshTries || ctx.Err() != nil {
			return nil, e
		}
		if k.core.opts.clock.Sleep(ctx, k.core.opts.retry.BaseDelay) != nil {
			return nil, e
		}
	}
}
